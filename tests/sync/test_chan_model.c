/* SPDX-License-Identifier: MIT */
/* coil_chan against a reference: an array that is searched for what has to leave next. Random
 * sends, receives, looks, changes of capacity and ends, one after the other, must give the same
 * results for every order. The seed is printed; COIL_TEST_SEED repeats a run.
 */
#include "support/fiber_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    STEPS = 20000,
    ITEMS = 4096,
};

struct item {
    uint32_t rank;
    uint32_t id;
};

struct model {
    uint64_t random;
    coil_chan *chan;
    enum coil_chan_order order;
    size_t capacity;
    struct item items[ITEMS]; /* in the order in which they came */
    size_t count;
    size_t unfinished;
    uint32_t id_last;
};

static uint32_t pick(struct model *model, uint32_t limit)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)(model->random >> 32) % limit;
}

static int by_rank(const void *a, const void *b)
{
    const uint32_t x = ((const struct item *)a)->rank;
    const uint32_t y = ((const struct item *)b)->rank;

    return (x > y) - (x < y);
}

static size_t next_of(const struct model *model)
{
    size_t next = model->order == COIL_CHAN_LIFO ? model->count - 1 : 0;

    if (model->order != COIL_CHAN_PRIORITY)
        return next;
    for (size_t i = 1; i < model->count; i++)
        if (model->items[i].rank < model->items[next].rank)
            next = i;
    return next;
}

static void send_one(struct model *model)
{
    const struct item item = {.rank = pick(model, 8), .id = ++model->id_last};
    const bool fits = model->count < model->capacity && model->count < ITEMS;

    if (model->count == ITEMS)
        return;
    cr_assert_eq(coil_chan_try_send(model->chan, &item), fits ? 0 : -EAGAIN);
    if (!fits)
        return;
    model->items[model->count++] = item;
    model->unfinished++;
}

static void look_or_take(struct model *model, bool is_taken)
{
    struct item item = {0};
    const int result =
        is_taken ? coil_chan_try_recv(model->chan, &item) : coil_chan_try_peek(model->chan, &item);
    size_t next;

    if (model->count == 0) {
        cr_assert_eq(result, -EAGAIN);
        return;
    }
    cr_assert_eq(result, 1);
    next = next_of(model);
    cr_assert_eq(item.id, model->items[next].id);
    if (!is_taken)
        return;
    model->count--;
    memmove(&model->items[next], &model->items[next + 1],
            (model->count - next) * sizeof *model->items);
}

static void resize(struct model *model)
{
    model->capacity = pick(model, 3) ? pick(model, 40) : COIL_CHAN_UNBOUNDED;
    cr_assert_eq(coil_chan_resize(model->chan, model->capacity), 0);
}

static void finish_one(struct model *model)
{
    cr_assert_eq(coil_chan_task_done(model->chan), model->unfinished ? 0 : -EINVAL);
    if (model->unfinished)
        model->unfinished--;
}

static void step(struct model *model)
{
    /* Now more sends, now more receives: the channel fills and empties in long waves. */
    const uint32_t sends = model->id_last / 500 % 2 ? 40 : 55;
    const uint32_t chosen = pick(model, 100);

    if (chosen < sends)
        send_one(model);
    else if (chosen < 90)
        look_or_take(model, true);
    else if (chosen < 95)
        look_or_take(model, false);
    else if (chosen < 98)
        finish_one(model);
    else if (pick(model, 4) == 0)
        resize(model);
    cr_assert_eq(coil_chan_len(model->chan), model->count);
    cr_assert_eq(coil_chan_unfinished(model->chan), model->unfinished);
}

static void drop_expected(void *item, void *arg)
{
    struct model *model = arg;
    const size_t next = next_of(model);

    cr_assert_eq(((const struct item *)item)->id, model->items[next].id);
    model->count--;
    memmove(&model->items[next], &model->items[next + 1],
            (model->count - next) * sizeof *model->items);
}

static void compare_with_model(enum coil_chan_order order)
{
    static struct model model;
    const char *given = getenv("COIL_TEST_SEED");
    const uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20 | (uint64_t)coil_now() % 1000;
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    size_t left;

    printf("chan_model: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    model = (struct model){.random = seed ? seed : 1, .order = order, .capacity = 5};
    options.order = order;
    options.compare = order == COIL_CHAN_PRIORITY ? by_rank : NULL;
    cr_assert_eq(coil_chan_new_with(model.capacity, sizeof(struct item), &options, &model.chan), 0);
    for (int i = 0; i < STEPS; i++)
        step(&model);
    left = model.count;
    cr_assert_eq(coil_chan_close_now(model.chan, drop_expected, &model), left);
    cr_assert_eq(model.count, 0);
    coil_chan_free(model.chan);
}

FIBER_TEST(chan_model, a_queue_does_what_its_reference_does)
{
    compare_with_model(COIL_CHAN_FIFO);
}

FIBER_TEST(chan_model, a_stack_does_what_its_reference_does)
{
    compare_with_model(COIL_CHAN_LIFO);
}

FIBER_TEST(chan_model, a_priority_queue_does_what_its_reference_does)
{
    compare_with_model(COIL_CHAN_PRIORITY);
}
