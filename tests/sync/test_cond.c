/* SPDX-License-Identifier: MIT */
/* coil_cond: every wait ends with the mutex, a signal reaches one waiter and is never eaten. */
#include "core/waitq.h"
#include "support/fiber_test.h"

struct world {
    coil_mutex mutex;
    coil_cond cond;
    char log[8];
};

struct waiter {
    struct world *world;
    coil_mutex *mutex;
    char name;
};

static void world_init(struct world *world)
{
    coil_mutex_init(&world->mutex);
    coil_cond_init(&world->cond);
    world->log[0] = '\0';
}

static int wait_then_log(void *arg)
{
    const struct waiter *waiter = arg;
    int result;

    cr_assert_eq(coil_mutex_lock(waiter->mutex), 0);
    result = coil_cond_wait(&waiter->world->cond, waiter->mutex);
    cr_assert_eq(coil_mutex_owner(waiter->mutex), coil_self());
    strncat(waiter->world->log, &waiter->name, 1);
    cr_assert_eq(coil_mutex_unlock(waiter->mutex), 0);
    return result;
}

static int lock_then_log(void *arg)
{
    const struct waiter *waiter = arg;

    cr_assert_eq(coil_mutex_lock(waiter->mutex), 0);
    strncat(waiter->world->log, &waiter->name, 1);
    return coil_mutex_unlock(waiter->mutex);
}

static void spawn_waiters(struct world *world, struct waiter *waiters, coil_fiber **fibers,
                          int count)
{
    for (int i = 0; i < count; i++) {
        waiters[i] = (struct waiter){world, &world->mutex, (char)('a' + i)};
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    }
}

/* ---- Signals ---- */

FIBER_TEST(cond, a_wait_gives_the_mutex_up_and_has_it_again)
{
    struct world world;
    struct waiter waiter;
    coil_fiber *fiber;

    world_init(&world);
    spawn_waiters(&world, &waiter, &fiber, 1);
    cr_assert_null(coil_mutex_owner(&world.mutex));
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_cond_signal(&world.cond);
    coil_yield();
    cr_assert_str_eq(world.log, "", "signalled, but without the mutex");
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_str_eq(world.log, "a");
}

FIBER_TEST(cond, a_signal_ends_the_wait_of_the_longest_waiter_only)
{
    struct world world;
    struct waiter waiters[3];
    coil_fiber *fibers[3];

    world_init(&world);
    spawn_waiters(&world, waiters, fibers, 3);
    for (int i = 0; i < 3; i++) {
        coil_cond_signal(&world.cond);
        cr_assert_eq(coil__waitq_count(&world.cond.waiters), (size_t)(2 - i));
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    }

    cr_assert_str_eq(world.log, "abc");
}

FIBER_TEST(cond, a_broadcast_ends_all_waits_in_order_and_they_run_once_each)
{
    struct world world;
    struct waiter waiters[3];
    coil_fiber *fibers[3];
    uint64_t switches;

    world_init(&world);
    spawn_waiters(&world, waiters, fibers, 3);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_cond_broadcast(&world.cond);
    cr_assert(coil__waitq_is_empty(&world.cond.waiters));
    memset(&world.cond, 0xff, sizeof world.cond);
    coil_yield();
    cr_assert_str_eq(world.log, "");
    switches = coil__sched_this->switch_count;
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(world.log, "abc");
    cr_assert_leq(coil__sched_this->switch_count - switches, 9, "to each, to the loop, to me");
}

FIBER_TEST(cond, a_signal_for_nobody_is_forgotten)
{
    struct world world;
    coil_scope scope;

    world_init(&world);
    coil_cond_signal(&world.cond);
    coil_cond_broadcast(&world.cond);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_cond_wait(&world.cond, &world.mutex), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
}

FIBER_TEST(cond, a_signal_with_a_free_mutex_gives_that_at_once)
{
    struct world world;
    struct waiter waiter;
    coil_fiber *fiber;

    world_init(&world);
    spawn_waiters(&world, &waiter, &fiber, 1);
    coil_cond_signal(&world.cond);
    cr_assert_eq(coil_mutex_owner(&world.mutex), fiber);
    cr_assert_eq(coil_mutex_try_lock(&world.mutex), -EAGAIN);

    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(cond, the_signalled_queue_behind_those_who_already_wait_for_the_mutex)
{
    struct world world;
    struct waiter sleeper;
    struct waiter lockers[] = {{&world, &world.mutex, '1'}, {&world, &world.mutex, '2'}};
    coil_fiber *fibers[3];

    world_init(&world);
    spawn_waiters(&world, &sleeper, fibers, 1);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    fibers[1] = spawn_until_parked(lock_then_log, &lockers[0]);
    coil_cond_signal(&world.cond);
    fibers[2] = spawn_until_parked(lock_then_log, &lockers[1]);
    cr_assert_str_eq(fibers[0]->tcb->wait_name, "mutex");
    cr_assert_eq(*fibers[0]->tcb->waiter->owner, coil_self());
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(world.log, "1a2");
}

FIBER_TEST(cond, waiters_with_different_mutexes_get_their_own)
{
    struct world world;
    coil_mutex other;
    struct waiter waiters[] = {{&world, &world.mutex, 'a'}, {&world, &other, 'b'}};
    coil_fiber *fibers[2];

    world_init(&world);
    coil_mutex_init(&other);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_cond_broadcast(&world.cond);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_str_eq(world.log, "b");
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
}

/* ---- Misuse ---- */

static int wait_with_the_mutex_of(void *arg)
{
    struct world *world = arg;

    return coil_cond_wait(&world->cond, &world->mutex);
}

FIBER_TEST(cond, waiting_without_the_mutex_is_refused)
{
    struct world world;

    world_init(&world);
    cr_assert_eq(coil_cond_wait(&world.cond, &world.mutex), -EPERM);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(wait_with_the_mutex_of, &world)), -EPERM);
    cr_assert_eq(coil_mutex_owner(&world.mutex), coil_self());
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
}

/* ---- Interruptions ---- */

FIBER_TEST(cond, an_expired_scope_fails_at_once_and_never_lets_go_of_the_mutex)
{
    struct world world;
    struct waiter locker = {&world, &world.mutex, '1'};
    coil_fiber *fiber;
    coil_scope scope;

    world_init(&world);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    fiber = spawn_until_parked(lock_then_log, &locker);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_cond_wait(&world.cond, &world.mutex), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_str_eq(world.log, "");
    cr_assert_eq(coil_mutex_owner(&world.mutex), coil_self());
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(cond, a_shielded_wait_is_not_interrupted_by_what_is_outside)
{
    struct world world;
    struct waiter waiter;
    coil_fiber *fiber;
    coil_scope outer;
    coil_scope shield;

    world_init(&world);
    spawn_waiters(&world, &waiter, &fiber, 1);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_scope_enter(&outer, 0);
    coil_scope_enter_shield(&shield, COIL_MS(1));
    cr_assert_eq(coil_cond_wait(&world.cond, &world.mutex), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&shield), "its own deadline, after it had waited");
    cr_assert_eq(coil_cond_wait(&world.cond, &world.mutex), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&outer));
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);

    coil_cond_signal(&world.cond);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(cond, an_interrupted_wait_ends_with_the_mutex_and_not_before)
{
    struct world world;
    struct waiter waiter;
    coil_fiber *fiber;

    world_init(&world);
    spawn_waiters(&world, &waiter, &fiber, 1);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_cancel(fiber);
    cr_assert(coil__waitq_is_empty(&world.cond.waiters));
    coil_yield();
    cr_assert_eq(fiber->tcb->state, COIL__FIBER_PARKED);
    cr_assert_str_eq(world.log, "");
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);

    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_str_eq(world.log, "a");
}

FIBER_TEST(cond, an_interrupted_waiter_eats_no_signal)
{
    for (int is_locked = 0; is_locked < 2; is_locked++) {
        struct world world;
        struct waiter waiters[2];
        coil_fiber *fibers[2];

        world_init(&world);
        spawn_waiters(&world, waiters, fibers, 2);
        if (is_locked)
            cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
        coil_cancel(fibers[0]);
        coil_cond_signal(&world.cond);
        if (is_locked)
            cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);

        cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
        cr_assert_eq(join_and_drop(fibers[1]), 0);
    }
}

FIBER_TEST(cond, a_waiter_that_is_cancelled_after_its_signal_reports_the_signal)
{
    for (int is_locked = 0; is_locked < 2; is_locked++) {
        struct world world;
        struct waiter waiters[2];
        coil_fiber *fibers[2];

        world_init(&world);
        spawn_waiters(&world, waiters, fibers, 2);
        if (is_locked)
            cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
        coil_cond_signal(&world.cond);
        coil_cancel(fibers[0]);
        if (is_locked)
            cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);

        cr_assert_eq(join_and_drop(fibers[0]), 0);
        cr_assert_eq(coil__waitq_count(&world.cond.waiters), 1, "nobody else got it");
        coil_cond_signal(&world.cond);
        cr_assert_eq(join_and_drop(fibers[1]), 0);
    }
}

FIBER_TEST(cond, a_cancellation_after_the_signal_costs_no_place_in_the_line)
{
    struct world world;
    struct waiter waiters[3];
    coil_fiber *fibers[3];

    world_init(&world);
    spawn_waiters(&world, waiters, fibers, 3);
    cr_assert_eq(coil_mutex_lock(&world.mutex), 0);
    coil_cond_broadcast(&world.cond);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_mutex_unlock(&world.mutex), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(world.log, "abc");
}

/* ---- Programs ---- */

struct mailbox {
    coil_mutex mutex;
    coil_cond changed;
    bool is_full;
};

static int fill_without_the_mutex(void *arg)
{
    struct mailbox *mailbox = arg;

    mailbox->is_full = true;
    coil_cond_signal(&mailbox->changed);
    return 0;
}

FIBER_TEST(cond, nothing_comes_between_the_callers_look_and_the_wait)
{
    struct mailbox mailbox = {.is_full = false};
    coil_scope scope;
    coil_fiber *fiber;

    coil_mutex_init(&mailbox.mutex);
    coil_cond_init(&mailbox.changed);
    cr_assert_eq(coil_mutex_lock(&mailbox.mutex), 0);
    cr_assert_eq(coil_spawn(fill_without_the_mutex, &mailbox, &fiber), 0);
    coil_scope_enter(&scope, COIL_SECONDS(30));
    coil__sched_this->budget = 1;
    while (!mailbox.is_full)
        cr_assert_eq(coil_cond_wait(&mailbox.changed, &mailbox.mutex), 0);
    cr_assert_not(coil_scope_leave(&scope));

    cr_assert_eq(coil_mutex_unlock(&mailbox.mutex), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
}

enum {
    MAIL = 500,
};

static int fill_often(void *arg)
{
    struct mailbox *mailbox = arg;

    for (int i = 0; i < MAIL; i++) {
        cr_assert_eq(coil_mutex_lock(&mailbox->mutex), 0);
        while (mailbox->is_full)
            cr_assert_eq(coil_cond_wait(&mailbox->changed, &mailbox->mutex), 0);
        mailbox->is_full = true;
        coil_cond_broadcast(&mailbox->changed);
        cr_assert_eq(coil_mutex_unlock(&mailbox->mutex), 0);
    }
    return 0;
}

FIBER_TEST(cond, producers_and_a_consumer_share_a_mailbox)
{
    struct mailbox mailbox = {.is_full = false};
    coil_fiber *fibers[2];

    coil_mutex_init(&mailbox.mutex);
    coil_cond_init(&mailbox.changed);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(fill_often, &mailbox);
    for (int i = 0; i < 2 * MAIL; i++) {
        cr_assert_eq(coil_mutex_lock(&mailbox.mutex), 0);
        while (!mailbox.is_full)
            cr_assert_eq(coil_cond_wait(&mailbox.changed, &mailbox.mutex), 0);
        mailbox.is_full = false;
        coil_cond_broadcast(&mailbox.changed);
        cr_assert_eq(coil_mutex_unlock(&mailbox.mutex), 0);
    }

    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    cr_assert_not(mailbox.is_full);
}
