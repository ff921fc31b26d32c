/* SPDX-License-Identifier: MIT */
/* Channels of every kind, selects, waits, cancellations, deadlines, changes of capacity and ends,
 * at random. Every item has a number and a record: accepted at most once, received at most once,
 * and in the end everything accepted was received or dropped by an end, nothing else was. The seed
 * is printed; COIL_TEST_SEED repeats a run.
 */
#include "support/fiber_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHANNELS = 7,
    FIBERS = 24, /* at a time */
    LIVES = 300, /* in all */
    STEPS = 200, /* of each, unless it is cancelled */
    CASES = 20,
    GRAVES = 1000,
    ITEMS = LIVES * STEPS * CASES + 1,
};

struct record {
    uint8_t accepted;
    uint8_t received;
    uint8_t dropped;
};

struct world {
    uint64_t random;
    coil_chan *chans[CHANNELS];
    coil_chan *graves[GRAVES]; /* closed, for those who were about to use one when it was */
    coil_sem sem;
    coil_event event;
    coil_fiber *fibers[FIBERS];
    int permits;
    int running;
    uint64_t item_last;
    struct record records[ITEMS];
    /* What a run was like: each must have come up. */
    int selected;
    int interrupted;
    int cut_short;
    int closed;
};

static struct world world;

static uint32_t pick(uint32_t limit)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return (uint32_t)(world.random >> 32) % limit;
}

static coil_chan *any_chan(void)
{
    return world.chans[pick(CHANNELS)];
}

static uint64_t new_item(void)
{
    cr_assert_lt(world.item_last + 1, ITEMS);
    return ++world.item_last;
}

static void accepted(uint64_t item)
{
    cr_assert_eq(world.records[item].accepted++, 0);
}

static void received(uint64_t item)
{
    cr_assert_neq(item, 0);
    cr_assert_eq(world.records[item].received++, 0, "item %llu", (unsigned long long)item);
}

static void dropped(void *item, void *arg)
{
    (void)arg;
    cr_assert_eq(world.records[*(uint64_t *)item].dropped++, 0);
}

/* ---- Cases ---- */

struct choice {
    coil_case cases[CASES];
    uint64_t items[CASES];
    uint8_t kinds[CASES]; /* 0 none, 1 send, 2 receive, 3 permit, 4 other */
    size_t count;
};

static void add_case(struct choice *choice)
{
    const size_t i = choice->count++;
    const uint32_t kind = pick(12);

    choice->items[i] = 0;
    if (kind < 4) {
        choice->kinds[i] = 1;
        choice->items[i] = new_item();
        choice->cases[i] = coil_case_send(any_chan(), &choice->items[i]);
    } else if (kind < 9) {
        choice->kinds[i] = 2;
        choice->cases[i] = coil_case_recv(any_chan(), &choice->items[i]);
    } else if (kind == 9) {
        choice->kinds[i] = 3;
        choice->cases[i] = coil_case_acquire(&world.sem);
    } else {
        choice->kinds[i] = 4;
        choice->cases[i] = kind == 10 ? coil_case_event(&world.event, NULL)
                                      : coil_case_after(COIL_US(20 + pick(400)));
    }
}

/* Books what a case came to, if it happened, and that nothing came of it otherwise. */
static void book(struct choice *choice, size_t i, bool has_happened)
{
    const int result = choice->cases[i].result;

    if (choice->kinds[i] == 1 && has_happened && result == 0)
        accepted(choice->items[i]);
    if (choice->kinds[i] == 2) {
        cr_assert_eq(choice->items[i] != 0, has_happened && result == 1);
        if (choice->items[i])
            received(choice->items[i]);
    }
    if (choice->kinds[i] == 3 && has_happened) {
        cr_assert_leq(++world.permits, 2);
        if (pick(2))
            coil_yield();
        world.permits--;
        coil_sem_release(&world.sem);
    }
}

static void select_some(void)
{
    struct choice choice = {.count = 0};
    const uint32_t count = 1 + (pick(10) ? pick(6) : pick(CASES));
    int index;

    for (uint32_t i = 0; i < count; i++)
        add_case(&choice);
    index = pick(4) ? coil_select_from(choice.cases, choice.count, pick(CASES))
                    : coil_try_select(choice.cases, choice.count);
    if (index >= 0)
        world.selected++;
    else
        world.interrupted++;
    for (size_t i = 0; i < choice.count; i++)
        book(&choice, i, index == (int)i);
}

static void wait_some(void)
{
    struct choice choice = {.count = 0};
    const uint32_t count = 1 + (pick(10) ? pick(6) : pick(CASES));
    const uint32_t needed = 1 + pick(count);
    size_t order[CASES];
    int done;
    int seen = 0;

    for (uint32_t i = 0; i < count; i++)
        add_case(&choice);
    done = coil_wait_some(choice.cases, choice.count, needed, order);
    if (done < 0)
        world.interrupted++;
    else if ((uint32_t)done < needed)
        world.cut_short++;
    cr_assert_leq(done, (int)needed);
    for (int i = 0; i < done; i++)
        cr_assert(coil_case_is_done(&choice.cases[order[i]]));
    for (size_t i = 0; i < choice.count; i++) {
        const bool is_done = coil_case_is_done(&choice.cases[i]);

        seen += is_done;
        book(&choice, i, is_done);
    }
    cr_assert_eq(seen, done < 0 ? 0 : done);
}

/* ---- Other steps ---- */

static void send_some(void)
{
    const uint64_t item = new_item();
    coil_chan *chan = any_chan();
    const int result = pick(4) ? coil_chan_send(chan, &item) : coil_chan_try_send(chan, &item);

    if (result == 0)
        accepted(item);
}

static void receive_some(void)
{
    uint64_t item = 0;
    coil_chan *chan = any_chan();
    const int result = pick(4) ? coil_chan_recv(chan, &item) : coil_chan_try_recv(chan, &item);

    cr_assert_eq(item != 0, result == 1);
    if (item)
        received(item);
}

static void look(void)
{
    uint64_t item = 0;
    const int result = coil_chan_peek(any_chan(), &item);

    cr_assert_eq(item != 0, result == 1);
}

static void cancel_one(void)
{
    coil_fiber *victim = world.fibers[pick(FIBERS)];

    if (victim && pick(10) == 0)
        coil_cancel(victim);
}

static void set_or_reset(void)
{
    if (coil_event_set(&world.event, NULL) == -EALREADY)
        coil_event_reset(&world.event);
}

static int order_by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void open_chan(int i)
{
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    const size_t capacity = i == 4 ? COIL_CHAN_UNBOUNDED : i < 4 ? (size_t)i : 3;

    options.items_max = 40;
    options.order = i == 5 ? COIL_CHAN_LIFO : i == 6 ? COIL_CHAN_PRIORITY : COIL_CHAN_FIFO;
    options.compare = i == 6 ? order_by_number : NULL;
    cr_assert_eq(coil_chan_new_with(capacity, sizeof(uint64_t), &options, &world.chans[i]), 0);
}

static void resize_or_end(void)
{
    const uint32_t i = pick(CHANNELS);

    if (pick(8)) {
        cr_assert_eq(coil_chan_resize(world.chans[i], pick(8) ? pick(5) : COIL_CHAN_UNBOUNDED), 0);
        return;
    }
    (void)coil_chan_close_now(world.chans[i], dropped, NULL);
    cr_assert_lt(world.closed, GRAVES);
    world.graves[world.closed++] = world.chans[i];
    open_chan((int)i);
}

static void step(void)
{
    static void (*const steps[])(void) = {send_some,   send_some,   receive_some, receive_some,
                                          select_some, select_some, select_some,  select_some,
                                          wait_some,   wait_some,   look,         set_or_reset,
                                          cancel_one,  coil_yield,  resize_or_end};
    coil_scope scope;

    coil_scope_enter(&scope, COIL_US(pick(300)));
    steps[pick(sizeof steps / sizeof *steps)]();
    (void)coil_scope_leave(&scope);
}

static int live(void *arg)
{
    (void)arg;
    for (int i = 0; i < STEPS && coil_expired() == 0; i++)
        step();
    world.running--;
    return 0;
}

static void check_the_end(void)
{
    for (int i = 0; i < CHANNELS; i++) {
        uint64_t item;

        cr_assert_eq(coil_chan_sending(world.chans[i]), 0);
        cr_assert_eq(coil_chan_receiving(world.chans[i]), 0);
        while (coil_chan_try_recv(world.chans[i], &item) > 0)
            received(item);
        coil_chan_free(world.chans[i]);
    }
    for (uint64_t i = 1; i <= world.item_last; i++) {
        const struct record *record = &world.records[i];

        cr_assert_eq(record->accepted, record->received + record->dropped, "item %llu",
                     (unsigned long long)i);
    }
    for (int i = 0; i < world.closed; i++)
        coil_chan_free(world.graves[i]);
    cr_assert_eq(world.permits, 0);
    cr_assert_eq(coil_sem_balance(&world.sem), 2);
    cr_assert_gt(world.selected, 0);
    cr_assert_gt(world.interrupted, 0);
    cr_assert_gt(world.cut_short, 0);
    cr_assert_gt(world.closed, 0);
}

FIBER_TEST(select_stress, every_item_is_received_once_or_still_there_whatever_the_order)
{
    const char *given = getenv("COIL_TEST_SEED");
    const uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20 | (uint64_t)coil_now() % 1000;

    printf("select_stress: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    world.random = seed ? seed : 1;
    coil_sem_init(&world.sem, 2);
    coil_event_init(&world.event);
    for (int i = 0; i < CHANNELS; i++)
        open_chan(i);
    world.running = LIVES;
    for (int i = 0; i < LIVES + FIBERS; i++) {
        coil_fiber **place = &world.fibers[i % FIBERS];

        if (*place)
            cr_assert_eq(join_and_drop(*place), 0);
        *place = NULL;
        if (i < LIVES)
            cr_assert_eq(coil_spawn(live, NULL, place), 0);
    }
    cr_assert_eq(world.running, 0);
    check_the_end();
}
