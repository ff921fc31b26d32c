/* SPDX-License-Identifier: MIT */
/* Everything in sync at once, at random: tasks of a pool spawn into it, send, receive, wait and map
 * under random deadlines while others cancel them. What must hold whatever the order: no item is
 * lost or doubled, no slot is lost, nothing is left. The seed is printed; COIL_TEST_SEED repeats
 * a run.
 */
#include "support/fiber_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHANNELS = 3,
    VICTIMS = 32,
    TASKS = 3000,
    POOL_SIZE = 12,
};

struct world {
    uint64_t random;
    coil_pool *pool;
    coil_chan *chans[CHANNELS];
    coil_sem sem;
    coil_event event;
    coil_fiber *victims[VICTIMS]; /* handles to cancel and join, the oldest is replaced */
    int victim_next;
    int spawned;
    int ended;
    int permits;       /* held by tasks */
    uint64_t sent;     /* sum of the items whose send succeeded */
    uint64_t received; /* sum of the items that were received */
    uint64_t item_next;
    int mapped; /* items in the hands of imaps and their consumers */
};

static uint32_t pick(struct world *world, uint32_t limit)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (uint32_t)(world->random >> 32) % limit;
}

static void send_some(struct world *world)
{
    const uint64_t item = ++world->item_next;
    coil_chan *chan = world->chans[pick(world, CHANNELS)];
    const int result =
        pick(world, 4) ? coil_chan_send(chan, &item) : coil_chan_try_send(chan, &item);

    if (result == 0)
        world->sent += item;
}

static void receive_some(struct world *world)
{
    uint64_t item = 0;
    coil_chan *chan = world->chans[pick(world, CHANNELS)];
    const int result =
        pick(world, 4) ? coil_chan_recv(chan, &item) : coil_chan_try_recv(chan, &item);

    cr_assert_eq(item != 0, result == 1);
    world->received += item;
}

static void hold_a_permit(struct world *world)
{
    if (coil_sem_acquire(&world->sem) < 0)
        return;
    cr_assert_leq(++world->permits, 2);
    if (pick(world, 2))
        (void)coil_sleep(COIL_US(pick(world, 100)));
    else
        coil_yield();
    world->permits--;
    coil_sem_release(&world->sem);
}

static void wait_or_set(struct world *world)
{
    if (pick(world, 3))
        cr_assert_leq(coil_event_wait(&world->event, NULL), 0);
    else if (coil_event_set(&world->event, NULL) == -EALREADY)
        coil_event_reset(&world->event);
}

/* ---- Maps ---- */

static int feed_world(void *arg, void **ret_item)
{
    struct world *world = arg;

    if (pick(world, 20) == 0)
        return pick(world, 2) ? 0 : -EIO;
    if (pick(world, 4) == 0) {
        const int result = coil_sleep(COIL_US(pick(world, 50)));

        if (result < 0)
            return result;
    }
    world->mapped++;
    *ret_item = world;
    return 1;
}

static int work_on_world(void *arg)
{
    return coil_sleep(COIL_US(pick(arg, 50)));
}

static void unmap(void *arg)
{
    struct world *world = arg;

    world->mapped--;
}

static void map_some(struct world *world)
{
    coil_imap *imap;
    int limit = (int)pick(world, 20);
    void *item;

    if (coil_imap_new(1 + pick(world, 5), work_on_world, feed_world, world, unmap, &imap) < 0)
        return;
    while (limit-- > 0 && coil_imap_next(imap, &item, NULL) > 0)
        unmap(item);
    coil_imap_close(imap);
}

/* ---- Tasks ---- */

static int live(void *arg);

static void spawn_some(struct world *world)
{
    coil_fiber *fiber;
    coil_fiber *old;

    if (coil_pool_spawn(world->pool, live, world, &fiber) < 0)
        return;
    world->spawned++;
    old = world->victims[world->victim_next];
    world->victims[world->victim_next] = fiber;
    world->victim_next = (world->victim_next + 1) % VICTIMS;
    coil_fiber_unref(old);
}

static void cancel_some(struct world *world)
{
    coil_fiber *victim = world->victims[pick(world, VICTIMS)];

    if (victim)
        coil_cancel(victim);
}

static void join_some(struct world *world)
{
    coil_fiber *fiber = world->victims[pick(world, VICTIMS)];

    if (!fiber || fiber == coil_self())
        return;
    coil_fiber_ref(fiber);
    (void)coil_join(fiber, NULL);
    coil_fiber_unref(fiber);
}

static void step(struct world *world)
{
    static void (*const steps[])(struct world *) = {
        send_some,   send_some,  receive_some, receive_some, hold_a_permit,
        wait_or_set, spawn_some, cancel_some,  join_some,    map_some,
    };
    coil_scope scope;

    coil_scope_enter(&scope, COIL_US(pick(world, 300)));
    steps[pick(world, sizeof steps / sizeof *steps)](world);
    (void)coil_scope_leave(&scope);
}

static int live(void *arg)
{
    struct world *world = arg;
    const uint32_t count = pick(world, 8);

    for (uint32_t i = 0; i < count; i++)
        step(world);
    world->ended++;
    return 0;
}

static void resize_some(struct world *world)
{
    if (pick(world, 20) == 0)
        coil_pool_resize(world->pool, 1 + pick(world, POOL_SIZE));
}

static void drain(struct world *world)
{
    for (int i = 0; i < CHANNELS; i++) {
        uint64_t item;

        while (coil_chan_try_recv(world->chans[i], &item) > 0)
            world->received += item;
        cr_assert_eq(coil_chan_sending(world->chans[i]), 0);
        cr_assert_eq(coil_chan_receiving(world->chans[i]), 0);
        coil_chan_free(world->chans[i]);
    }
}

static void run_world(uint64_t seed)
{
    struct world world = {.random = seed};

    cr_assert_eq(coil_pool_new(POOL_SIZE, &world.pool), 0);
    for (int i = 0; i < CHANNELS; i++)
        cr_assert_eq(coil_chan_new((size_t)i, sizeof(uint64_t), &world.chans[i]), 0);
    coil_sem_init(&world.sem, 2);
    coil_event_init(&world.event);

    while (world.spawned < TASKS) {
        spawn_some(&world);
        resize_some(&world);
        cancel_some(&world);
    }
    cr_assert_eq(coil_pool_wait(world.pool), 0);

    for (int i = 0; i < VICTIMS; i++)
        coil_fiber_unref(world.victims[i]);
    drain(&world);
    cr_assert_eq(world.ended, world.spawned);
    cr_assert_eq(world.received, world.sent);
    cr_assert_eq(world.mapped, 0);
    cr_assert_eq(world.permits, 0);
    cr_assert_eq(coil_sem_balance(&world.sem), 2);
    cr_assert_eq(coil_pool_running(world.pool), 0);
    cr_assert_eq(coil_pool_waiting(world.pool), 0);
    coil_pool_free(world.pool);
}

FIBER_TEST(stress, whatever_the_order_nothing_is_lost_doubled_or_left)
{
    const char *given = getenv("COIL_TEST_SEED");
    const uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20 | (uint64_t)coil_now() % 1000;

    printf("stress: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    run_world(seed ? seed : 1);
}
