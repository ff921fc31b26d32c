/* SPDX-License-Identifier: MIT */
/* coil_mutex: one owner, who alone unlocks; handed over in the order of arrival; never lost. */
#include <signal.h>

#include "core/waitq.h"
#include "support/child.h"
#include "support/fiber_test.h"

struct turn {
    coil_mutex *mutex;
    char *log;
    char name;
};

static int lock_log_unlock(void *arg)
{
    const struct turn *turn = arg;
    const int result = coil_mutex_lock(turn->mutex);

    if (result < 0)
        return result;
    strncat(turn->log, &turn->name, 1);
    return coil_mutex_unlock(turn->mutex);
}

FIBER_TEST(mutex, an_unlock_hands_over_to_the_longest_waiter)
{
    coil_mutex mutex;
    char log[4] = "";
    struct turn turns[] = {{&mutex, log, 'a'}, {&mutex, log, 'b'}, {&mutex, log, 'c'}};
    coil_fiber *fibers[3];

    coil_mutex_init(&mutex);
    cr_assert_null(coil_mutex_owner(&mutex));
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(coil_mutex_owner(&mutex), coil_self());
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(lock_log_unlock, &turns[i]);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(coil_mutex_owner(&mutex), fibers[0], "before it runs");
    cr_assert_str_eq(log, "", "unlocking must not switch");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
    cr_assert_null(coil_mutex_owner(&mutex));
}

FIBER_TEST(mutex, a_fiber_that_comes_late_cannot_overtake)
{
    coil_mutex mutex;
    char log[4] = "";
    struct turn turn = {&mutex, log, 'a'};
    coil_fiber *fiber;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    fiber = spawn_until_parked(lock_log_unlock, &turn);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(coil_mutex_try_lock(&mutex), -EAGAIN);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    strncat(log, "b", 2);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);

    cr_assert_str_eq(log, "ab");
    cr_assert_eq(join_and_drop(fiber), 0);
}

static int unlock_now(void *arg)
{
    return coil_mutex_unlock(arg);
}

FIBER_TEST(mutex, only_the_owner_can_unlock)
{
    coil_mutex mutex;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_unlock(&mutex), -EPERM, "nobody owns it");
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(unlock_now, &mutex)), -EPERM);
    cr_assert_eq(coil_mutex_owner(&mutex), coil_self());
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(coil_mutex_unlock(&mutex), -EPERM);
}

FIBER_TEST(mutex, locking_twice_is_refused_and_changes_nothing)
{
    coil_mutex mutex;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(coil_mutex_lock(&mutex), -EDEADLK);
    cr_assert_eq(coil_mutex_try_lock(&mutex), -EAGAIN);
    cr_assert_eq(coil_mutex_owner(&mutex), coil_self());
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_null(coil_mutex_owner(&mutex));
}

static int try_now(void *arg)
{
    const int result = coil_mutex_try_lock(arg);

    if (result == 0)
        coil_mutex_unlock(arg);
    return result;
}

FIBER_TEST(mutex, trying_locks_a_free_mutex_and_nothing_else)
{
    coil_mutex mutex;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_try_lock(&mutex), 0);
    cr_assert_eq(coil_mutex_owner(&mutex), coil_self());
    cr_assert_eq(join_and_drop(spawn_until_parked(try_now, &mutex)), -EAGAIN);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(try_now, &mutex)), 0);
}

/* ---- Interruptions ---- */

static int lock_for_a_moment(void *arg)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_MS(1));
    result = coil_mutex_lock(arg);
    return coil_scope_leave(&scope) ? result : 1;
}

FIBER_TEST(mutex, a_timeout_leaves_neither_a_waiter_nor_an_owner)
{
    coil_mutex mutex;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(lock_for_a_moment, &mutex)), -ETIMEDOUT);
    cr_assert(coil__waitq_is_empty(&mutex.waiters));
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_null(coil_mutex_owner(&mutex));
}

FIBER_TEST(mutex, a_cancelled_waiter_is_passed_over_and_does_not_look_back)
{
    coil_mutex mutex;
    char log[4] = "";
    struct turn turns[] = {{&mutex, log, 'a'}, {&mutex, log, 'b'}};
    coil_fiber *fibers[2];

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(lock_log_unlock, &turns[i]);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(coil_mutex_owner(&mutex), fibers[1]);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_str_eq(log, "b");
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);

    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    fibers[0] = spawn_until_parked(lock_log_unlock, &turns[0]);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    memset(&mutex, 0xff, sizeof mutex);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
}

static int lock_park_unlock(void *arg)
{
    int result = coil_mutex_lock(arg);

    if (result < 0)
        return result;
    result = coil_sleep(COIL_NEVER);
    cr_assert_eq(coil_mutex_owner(arg), coil_self());
    cr_assert_eq(coil_mutex_unlock(arg), 0, "in a cancelled fiber");
    return result == -ECANCELED ? 5 : result;
}

FIBER_TEST(mutex, a_mutex_handed_over_before_the_cancellation_is_kept_and_can_be_unlocked)
{
    coil_mutex mutex;
    coil_fiber *fiber;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    fiber = spawn_until_parked(lock_park_unlock, &mutex);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 5);
    cr_assert_null(coil_mutex_owner(&mutex));
}

FIBER_TEST(mutex, an_expired_scope_refuses_to_lock_but_not_to_unlock)
{
    coil_mutex mutex;
    coil_mutex other;
    coil_scope scope;

    coil_mutex_init(&mutex);
    coil_mutex_init(&other);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_mutex_lock(&other), -ETIMEDOUT);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_null(coil_mutex_owner(&mutex));
    cr_assert_null(coil_mutex_owner(&other));
}

/* ---- Exclusion ---- */

struct shared {
    coil_mutex mutex;
    int inside;
    int visits;
};

static int visit_often(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < 100; i++) {
        cr_assert_eq(coil_mutex_lock(&shared->mutex), 0);
        cr_assert_eq(shared->inside++, 0);
        for (int j = 0; j < i % 3; j++)
            coil_yield();
        shared->visits++;
        shared->inside--;
        cr_assert_eq(coil_mutex_unlock(&shared->mutex), 0);
    }
    return 0;
}

FIBER_TEST(mutex, one_fiber_at_a_time_is_inside_whatever_it_waits_for_there)
{
    struct shared shared = {.inside = 0};
    coil_fiber *fibers[10];

    coil_mutex_init(&shared.mutex);
    for (int i = 0; i < 10; i++)
        fibers[i] = spawn_until_parked(visit_often, &shared);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_eq(shared.visits, 1000);
}

/* ---- For the report of deadlocks, and its like ---- */

FIBER_TEST(mutex, who_waits_names_the_present_owner)
{
    coil_mutex mutex;
    char log[4] = "";
    struct turn turn = {&mutex, log, 'b'};
    coil_fiber *first;
    coil_fiber *second;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    first = spawn_until_parked(lock_park_unlock, &mutex);
    second = spawn_until_parked(lock_log_unlock, &turn);
    cr_assert_str_eq(second->tcb->wait_name, "mutex");
    cr_assert_eq(*second->tcb->waiter->owner, coil_self());
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    cr_assert_eq(*second->tcb->waiter->owner, first);

    coil_cancel(first);
    cr_assert_eq(join_and_drop(first), 5);
    cr_assert_eq(join_and_drop(second), 0);
}

static int end_as_the_owner(void *arg)
{
    coil_fiber_name_set(coil_self(), "forgetful");
    return coil_mutex_lock(arg);
}

static int spawn_the_forgetful(void *arg)
{
    coil_mutex mutex;
    coil_fiber *fiber;

    (void)arg;
    coil_mutex_init(&mutex);
    if (coil_spawn(end_as_the_owner, &mutex, &fiber) < 0)
        return 1;
    return coil_join(fiber, NULL);
}

static int run_the_forgetful(void *arg)
{
    return fiber_test_coil_run(spawn_the_forgetful, arg, NULL, NULL);
}

Test(mutex, a_fiber_that_ends_as_the_owner_is_named_and_the_program_stops, .timeout = 60)
{
    struct child_end end;

    child_run(run_the_forgetful, NULL, &end);

    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "'forgetful' ends and still holds 1 lock\n"), "%s",
                       end.output);
}
