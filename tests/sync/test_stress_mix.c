/* SPDX-License-Identifier: MIT */
/* Structures inside of structures, at random: groups in groups, whose members hold locks while they
 * select among channels, permits, locks and times, spawn into a pool, collect piles, start groups
 * of their own, or are cancelled in the middle of all that, by hand, by a failing sibling, or by a
 * deadline around the group.
 *
 * What must hold whatever the order: a lock has one owner, permits come back, each item is received
 * once, whoever was started has ended when its group was left, nothing is left. The seed is
 * printed; COIL_TEST_SEED repeats a run.
 */
#include "support/fiber_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHANNELS = 3,
    PERMITS = 3,
    POOL_SIZE = 4,
    DEPTH_MAX = 3,
    ROUNDS = 1500,
};

static struct {
    uint64_t random;
    coil_chan *chans[CHANNELS];
    coil_mutex mutexes[2];
    coil_fiber *inside[2];
    coil_sem sem;
    coil_flag flag;
    coil_event event;
    coil_pool *pool;
    int permits;
    int started;
    int ended;
    int tasks; /* of the pool */
    int tasks_ended;
    uint64_t item_next;
    uint64_t sent; /* sums */
    uint64_t received;
    /* What a run was like: each must have come up. */
    int selected;
    int interrupted;
    int failed_groups;
} world;

static uint32_t pick(uint32_t limit)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return (uint32_t)(world.random >> 32) % limit;
}

static void linger(void)
{
    if (pick(2))
        (void)coil_sleep(COIL_US(pick(60)));
    else
        coil_yield();
}

/* ---- Locks and permits ---- */

/* With the mutex held already. */
static void be_inside(uint32_t which)
{
    cr_assert_null(world.inside[which]);
    world.inside[which] = coil_self();
    linger();
    cr_assert_eq(world.inside[which], coil_self());
    world.inside[which] = NULL;
    cr_assert_eq(coil_mutex_unlock(&world.mutexes[which]), 0);
}

static void with_permit(void)
{
    cr_assert_leq(++world.permits, PERMITS);
    linger();
    world.permits--;
    cr_assert_eq(coil_sem_release(&world.sem), 0);
}

static void lock_some(void)
{
    const uint32_t which = pick(2);

    if (coil_mutex_lock(&world.mutexes[which]) == 0)
        be_inside(which);
    else
        world.interrupted++;
}

static void acquire_some(void)
{
    if (coil_sem_acquire(&world.sem) == 0)
        with_permit();
    else
        world.interrupted++;
}

/* ---- Channels and selects ---- */

static void send_some(void)
{
    const uint64_t item = ++world.item_next;

    if (coil_chan_send(world.chans[pick(CHANNELS)], &item) == 0)
        world.sent += item;
}

static void receive_some(void)
{
    uint64_t item = 0;
    const int result = coil_chan_recv(world.chans[pick(CHANNELS)], &item);

    cr_assert_eq(item != 0, result == 1);
    world.received += item;
}

enum {
    RECV,
    SEND,
    PERMIT,
    LOCK,
    FLAG,
    EVENT,
    AFTER,
    CASES,
};

static void settle(int index, uint64_t sent, uint64_t received)
{
    cr_assert_eq(received != 0, index == RECV, "only what happened has an effect");
    world.received += received;
    if (index == SEND)
        world.sent += sent;
    else if (index == PERMIT)
        with_permit();
    else if (index == LOCK)
        be_inside(0);
}

static void select_some(void)
{
    const uint64_t sent = ++world.item_next;
    uint64_t received = 0;
    coil_case cases[CASES] = {
        [RECV] = coil_case_recv(world.chans[pick(CHANNELS)], &received),
        [SEND] = coil_case_send(world.chans[pick(CHANNELS)], &sent),
        [PERMIT] = coil_case_acquire(&world.sem),
        [LOCK] = coil_case_lock(&world.mutexes[0]),
        [FLAG] = coil_case_flag(&world.flag),
        [EVENT] = coil_case_event(&world.event, NULL),
        [AFTER] = coil_case_after(COIL_US(20 + pick(100))),
    };
    int index;

    for (int i = 0; i < CASES; i++)
        if (pick(2))
            cases[i] = coil_case_none();
    index = coil_select_from(cases, CASES, pick(CASES));
    if (index >= 0)
        world.selected++;
    else
        world.interrupted++;
    settle(index, sent, received);
}

static void signal_some(void)
{
    if (pick(2))
        coil_flag_set(&world.flag);
    else
        coil_flag_clear(&world.flag);
    if (coil_event_set(&world.event, NULL) == -EALREADY)
        coil_event_reset(&world.event);
}

/* ---- The pool ---- */

static int do_task(void *arg)
{
    (void)arg;
    world.tasks++;
    if (pick(4) == 0)
        receive_some();
    else
        linger();
    world.tasks_ended++;
    return 0;
}

static void spawn_tasks(void)
{
    for (uint32_t i = pick(3); i > 0; i--)
        world.interrupted += coil_pool_spawn_detached(world.pool, do_task, NULL) < 0;
}

static void pile_up(void)
{
    coil_pile *pile;
    void *item;

    if (coil_pile_new(world.pool, 3, NULL, &pile) < 0)
        return;
    for (uint32_t i = pick(4); i > 0; i--)
        if (coil_pile_spawn(pile, do_task, NULL) < 0)
            break;
    for (uint32_t i = pick(4); i > 0; i--)
        if (coil_pile_next(pile, &item, NULL) <= 0)
            break;
    coil_pile_close(pile);
}

/* ---- Groups ---- */

struct member {
    coil_group *group;
    int depth;
};

static void run_group(int depth);

static void step(const struct member *member)
{
    static void (*const steps[])(void) = {
        lock_some,   acquire_some, send_some,   receive_some, send_some, receive_some,
        select_some, select_some,  signal_some, spawn_tasks,  pile_up,   linger,
    };
    const uint32_t which = pick(16);
    coil_scope scope;

    coil_scope_enter(&scope, pick(8) ? COIL_US(pick(400)) : COIL_NEVER - 1);
    if (which < 12)
        steps[which]();
    else if (which < 14 && member->depth < DEPTH_MAX)
        run_group(member->depth + 1);
    else if (which == 14 && pick(4) == 0)
        coil_group_cancel(member->group);
    else if (which == 15 && pick(4) == 0)
        coil_cancel(coil_self());
    (void)coil_scope_leave(&scope);
}

static int live(void *arg)
{
    const struct member *member = arg;
    const uint32_t count = pick(6);

    world.started++;
    for (uint32_t i = 0; i < count; i++)
        step(member);
    world.ended++;
    return pick(30) ? 0 : -EIO;
}

/* Runs a group to its end, under a deadline, since its members may wait for each other. */
static void run_group(int depth)
{
    coil_group group;
    struct member member = {&group, depth};
    const int open_before = world.started - world.ended;
    const uint32_t count = 1 + pick(5);
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_US(100 + pick(2000)));
    coil_group_enter(&group, pick(2) ? COIL_GROUP_COLLECT : 0);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(coil_group_spawn(&group, live, &member, NULL), 0);
    if (pick(4) == 0)
        world.interrupted += coil_group_wait(&group) < 0;
    result = coil_group_leave(&group);
    (void)coil_scope_leave(&scope);

    world.failed_groups += result == -EIO;
    cr_assert_eq(coil_group_running(&group), 0);
    if (depth == 0)
        cr_assert_eq(world.started - world.ended, open_before, "all members have ended");
}

static void ignore_failures(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)arg;
    cr_assert_eq(result, -EIO);
}

static void open_world(uint64_t seed)
{
    world.random = seed;
    for (int i = 0; i < CHANNELS; i++)
        cr_assert_eq(coil_chan_new((size_t)i, sizeof(uint64_t), &world.chans[i]), 0);
    for (int i = 0; i < 2; i++)
        coil_mutex_init(&world.mutexes[i]);
    coil_sem_init(&world.sem, PERMITS);
    coil_flag_init(&world.flag);
    coil_event_init(&world.event);
    cr_assert_eq(coil_pool_new(POOL_SIZE, &world.pool), 0);
    coil_unhandled_set(ignore_failures, NULL); /* a later failure of a group */
}

static void close_world(void)
{
    coil_pool_free(world.pool);
    for (int i = 0; i < CHANNELS; i++) {
        uint64_t item;

        while (coil_chan_try_recv(world.chans[i], &item) > 0)
            world.received += item;
        cr_assert_eq(coil_chan_sending(world.chans[i]), 0);
        cr_assert_eq(coil_chan_receiving(world.chans[i]), 0);
        coil_chan_free(world.chans[i]);
    }
    for (int i = 0; i < 2; i++)
        cr_assert_null(coil_mutex_owner(&world.mutexes[i]));
    cr_assert_eq(coil_sem_balance(&world.sem), PERMITS);
    cr_assert_eq(world.permits, 0);
    cr_assert_eq(world.received, world.sent);
    cr_assert_eq(world.tasks, world.tasks_ended);
}

FIBER_TEST(stress_mix, structures_in_structures_leave_nothing_whatever_the_order)
{
    const char *given = getenv("COIL_TEST_SEED");
    const uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20 | (uint64_t)coil_now() % 1000;

    printf("stress_mix: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    open_world(seed ? seed : 1);
    for (int i = 0; i < ROUNDS; i++)
        run_group(0);
    close_world();

    cr_assert_gt(world.started, ROUNDS);
    cr_assert_gt(world.selected, 0);
    cr_assert_gt(world.interrupted, 0);
    cr_assert_gt(world.failed_groups, 0);
}
