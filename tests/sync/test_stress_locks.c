/* SPDX-License-Identifier: MIT */
/* All locks, signals and counters of sync at once, at random: fibers lock, wait, signal and count
 * under random deadlines while others cancel them. What must hold whatever the order: a writer is
 * alone, permits are neither lost nor doubled, no signal and no turn is eaten, nothing is left. The
 * seed is printed; COIL_TEST_SEED repeats a run.
 */
#include "core/waitq.h"
#include "support/fiber_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    FIBERS = 2000,
    AT_A_TIME = 40,
    PERMITS = 3,
    CAP = 2,
    PARTIES = 3,
};

struct world {
    uint64_t random;
    coil_fiber *fibers[AT_A_TIME];
    int ended;

    coil_mutex mutex;
    int inside_mutex;
    coil_rmutex rmutex;
    int inside_rmutex;
    coil_rwlock rwlock;
    int reading;
    int writing;
    coil_sem sem;
    int permits;
    coil_capped_sem capped;
    int capped_balance; /* releases less acquires that succeeded */
    coil_cond cond;     /* with `mutex` */
    int signals;        /* waits that ended with a signal */
    int signalled;      /* signals that found a waiter */
    coil_flag flag;
    coil_event event;
    coil_once once;
    int inside_once;
    int once_done;
    coil_waitgroup group;
    coil_barrier barrier;
    int passed;
    int rounds;
};

static uint32_t pick(struct world *world, uint32_t limit)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (uint32_t)(world->random >> 32) % limit;
}

/* What a fiber does while it holds something. */
static void linger(struct world *world)
{
    switch (pick(world, 4)) {
    case 0:
        (void)coil_sleep(COIL_US(pick(world, 60)));
        break;
    case 1:
        coil_yield();
        break;
    default:
        break;
    }
}

/* ---- Locks ---- */

static void use_mutex(struct world *world)
{
    const int result =
        pick(world, 4) ? coil_mutex_lock(&world->mutex) : coil_mutex_try_lock(&world->mutex);

    if (result < 0)
        return;
    cr_assert_eq(world->inside_mutex++, 0);
    linger(world);
    world->inside_mutex--;
    cr_assert_eq(coil_mutex_unlock(&world->mutex), 0);
}

static void use_rmutex(struct world *world)
{
    unsigned depth = 0;

    for (uint32_t i = pick(world, 4); i > 0; i--) {
        const int result = pick(world, 4) ? coil_rmutex_lock(&world->rmutex)
                                          : coil_rmutex_try_lock(&world->rmutex);

        if (result < 0)
            continue;
        cr_assert_eq(coil_rmutex_depth(&world->rmutex), ++depth);
        if (depth == 1)
            cr_assert_eq(world->inside_rmutex++, 0);
        linger(world);
    }
    if (depth > 0)
        world->inside_rmutex--;
    for (; depth > 0; depth--)
        cr_assert_eq(coil_rmutex_unlock(&world->rmutex), 0);
    cr_assert_eq(coil_rmutex_unlock(&world->rmutex), -EPERM);
}

static void read_some(struct world *world)
{
    const int result = pick(world, 4) ? coil_rwlock_lock_read(&world->rwlock)
                                      : coil_rwlock_try_lock_read(&world->rwlock);

    if (result < 0)
        return;
    world->reading++;
    cr_assert_eq(world->writing, 0);
    linger(world);
    cr_assert_eq(world->writing, 0);
    world->reading--;
    cr_assert_eq(coil_rwlock_unlock(&world->rwlock), 0);
}

static void write_some(struct world *world)
{
    const int result = pick(world, 4) ? coil_rwlock_lock_write(&world->rwlock)
                                      : coil_rwlock_try_lock_write(&world->rwlock);

    if (result < 0)
        return;
    cr_assert_eq(world->reading, 0);
    cr_assert_eq(world->writing++, 0);
    linger(world);
    cr_assert_eq(world->reading, 0);
    cr_assert_eq(--world->writing, 0);
    if (pick(world, 3) == 0) {
        cr_assert_eq(coil_rwlock_downgrade(&world->rwlock), 0);
        world->reading++;
        linger(world);
        cr_assert_eq(world->writing, 0);
        world->reading--;
    }
    cr_assert_eq(coil_rwlock_unlock(&world->rwlock), 0);
}

/* ---- Permits ---- */

static void hold_a_permit(struct world *world)
{
    if (coil_sem_acquire(&world->sem) < 0)
        return;
    cr_assert_leq(++world->permits, PERMITS);
    linger(world);
    world->permits--;
    cr_assert_eq(coil_sem_release(&world->sem), 0);
}

static void take_capped(struct world *world)
{
    const int result = pick(world, 2) ? coil_capped_sem_acquire(&world->capped)
                                      : coil_capped_sem_try_acquire(&world->capped);

    if (result == 0)
        world->capped_balance--;
}

static void give_capped(struct world *world)
{
    const int result = pick(world, 2) ? coil_capped_sem_release(&world->capped)
                                      : coil_capped_sem_try_release(&world->capped);

    if (result == 0)
        world->capped_balance++;
}

/* ---- Signals ---- */

static void wait_for_a_signal(struct world *world)
{
    int result;

    if (coil_mutex_lock(&world->mutex) < 0)
        return;
    cr_assert_eq(world->inside_mutex++, 0);
    world->inside_mutex--;
    result = coil_cond_wait(&world->cond, &world->mutex);
    cr_assert_eq(world->inside_mutex++, 0);
    world->signals += result == 0;
    linger(world);
    world->inside_mutex--;
    cr_assert_eq(coil_mutex_unlock(&world->mutex), 0);
}

static void signal_some(struct world *world)
{
    const int waiting = (int)coil__waitq_count(&world->cond.waiters);

    if (pick(world, 4) == 0) {
        world->signalled += waiting;
        coil_cond_broadcast(&world->cond);
    } else {
        world->signalled += waiting > 0;
        coil_cond_signal(&world->cond);
    }
}

static void use_flag(struct world *world)
{
    switch (pick(world, 4)) {
    case 0:
        coil_flag_set(&world->flag);
        break;
    case 1:
        coil_flag_clear(&world->flag);
        break;
    default:
        cr_assert_leq(coil_flag_wait(&world->flag), 0);
        break;
    }
}

static void use_event(struct world *world)
{
    void *value = NULL;

    if (pick(world, 3) == 0) {
        if (coil_event_set(&world->event, world) == -EALREADY)
            coil_event_reset(&world->event);
    } else if (coil_event_wait(&world->event, &value) == 0) {
        cr_assert_eq(value, world);
    }
}

/* ---- Counts ---- */

static int set_up(void *arg)
{
    struct world *world = arg;

    cr_assert_eq(world->inside_once++, 0);
    linger(world);
    world->inside_once--;
    return pick(world, 3) ? -EIO : ++world->once_done;
}

static void use_once(struct world *world)
{
    const int result = coil_once_do(&world->once, set_up, world);

    if (result >= 0)
        cr_assert_eq(result, 1);
    if (coil_once_is_done(&world->once)) {
        cr_assert_eq(world->once_done, 1);
        world->once_done = 0;
        coil_once_init(&world->once);
    }
}

static void use_waitgroup(struct world *world)
{
    if (pick(world, 2)) {
        coil_waitgroup_add(&world->group, 1);
        linger(world);
        coil_waitgroup_done(&world->group);
    } else {
        cr_assert_leq(coil_waitgroup_wait(&world->group), 0);
    }
}

static void use_barrier(struct world *world)
{
    const int result = coil_barrier_wait(&world->barrier);

    world->passed += result >= 0;
    world->rounds += result == 1;
    cr_assert_lt(coil_barrier_waiting(&world->barrier), PARTIES);
}

/* ---- Fibers ---- */

static void cancel_some(struct world *world)
{
    coil_fiber *victim = world->fibers[pick(world, AT_A_TIME)];

    if (victim && pick(world, 4) == 0)
        coil_cancel(victim);
}

static void step(struct world *world)
{
    static void (*const steps[])(struct world *) = {
        use_mutex,     use_rmutex,  read_some,     read_some,   write_some,  take_capped,
        hold_a_permit, give_capped, use_flag,      use_event,   use_once,    wait_for_a_signal,
        signal_some,   use_flag,    use_waitgroup, use_barrier, cancel_some,
    };
    coil_scope scope;

    coil_scope_enter(&scope, COIL_US(pick(world, 300)));
    steps[pick(world, sizeof steps / sizeof *steps)](world);
    (void)coil_scope_leave(&scope);
}

static int live(void *arg)
{
    struct world *world = arg;
    const uint32_t count = 1 + pick(world, 12);

    for (uint32_t i = 0; i < count; i++)
        step(world);
    world->ended++;
    return 0;
}

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed};
    coil_mutex_init(&world->mutex);
    coil_rmutex_init(&world->rmutex);
    coil_rwlock_init(&world->rwlock);
    coil_sem_init_bounded(&world->sem, PERMITS);
    coil_capped_sem_init(&world->capped, 0, CAP);
    coil_cond_init(&world->cond);
    coil_flag_init(&world->flag);
    coil_event_init(&world->event);
    coil_once_init(&world->once);
    coil_waitgroup_init(&world->group);
    coil_barrier_init(&world->barrier, PARTIES);
}

static void assert_nothing_is_left(struct world *world)
{
    cr_assert_eq(world->ended, FIBERS);
    cr_assert_eq(coil_mutex_try_lock(&world->mutex), 0);
    cr_assert_eq(coil_mutex_unlock(&world->mutex), 0);
    cr_assert_null(coil_mutex_owner(&world->rmutex.mutex));
    cr_assert_eq(coil_rwlock_try_lock_write(&world->rwlock), 0);
    cr_assert_eq(coil_rwlock_unlock(&world->rwlock), 0);
    cr_assert_eq(coil_sem_balance(&world->sem), PERMITS);
    cr_assert_eq(coil_capped_sem_balance(&world->capped), world->capped_balance);
    cr_assert_eq(world->signals, world->signalled);
    cr_assert_eq(coil_waitgroup_count(&world->group), 0);
    cr_assert_eq(coil_barrier_waiting(&world->barrier), 0);
    cr_assert_eq(world->passed, world->rounds * PARTIES);
    cr_assert(coil__waitq_is_empty(&world->cond.waiters));
    cr_assert(coil__waitq_is_empty(&world->flag.waiters));
    cr_assert(coil__waitq_is_empty(&world->event.waiters));
    cr_assert_null(world->once.runner);
}

static void run_world(uint64_t seed)
{
    struct world world;

    world_init(&world, seed);
    for (int spawned = 0; spawned < FIBERS + AT_A_TIME; spawned++) {
        coil_fiber **slot = &world.fibers[spawned % AT_A_TIME];

        if (*slot)
            cr_assert_eq(join_and_drop(*slot), 0);
        *slot = NULL;
        if (spawned < FIBERS)
            cr_assert_eq(coil_spawn(live, &world, slot), 0);
    }
    assert_nothing_is_left(&world);
}

FIBER_TEST(stress_locks, whatever_the_order_everybody_is_alone_or_together_as_promised)
{
    const char *given = getenv("COIL_TEST_SEED");
    const uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) << 20 | (uint64_t)coil_now() % 1000;

    printf("stress_locks: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    run_world(seed ? seed : 1);
}
