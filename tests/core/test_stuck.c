/* SPDX-License-Identifier: MIT */
/* The deadlock report: when it comes, what it says, what happens then. The waits
 * that look alike and are none are in test_stuck_not.c. Most tests would hang without the report.
 */
#include "core/stuck.h"

#include <signal.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/waitq.h"
#include "io/offload.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    LOG_SIZE = 32768,
    MANY = 300,
};

static char logged[LOG_SIZE];

static void keep_line(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)arg;
    strncat(logged, message, LOG_SIZE - strlen(logged) - 2);
    strncat(logged, "\n", 2);
}

/* Runs main, which ends in a deadlock; returns what coil_run() says. */
static int run_stuck(int (*main)(void *), void *arg, const coil_options *options)
{
    const int64_t blocks = coil__alloc_live_count();
    int result = 77;
    int status;

    coil_log_set(keep_line, NULL);
    status = fiber_test_coil_run(main, arg, options, &result);
    coil_log_set(NULL, NULL);
    cr_assert_eq(coil__alloc_live_count(), blocks);
    cr_assert_null(coil__sched_this);
    cr_assert(status == 0 || result == 77, "results stay untouched on failure");
    return status;
}

static void assert_logged(const char *text)
{
    cr_assert_not_null(strstr(logged, text), "no '%s' in:\n%s", text, logged);
}

static void assert_not_logged(const char *text)
{
    cr_assert_null(strstr(logged, text), "'%s' in:\n%s", text, logged);
}

static int count_of(const char *text)
{
    int count = 0;

    for (const char *at = logged; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* ---- What is a deadlock ---- */

static int wait_for_nobody(void *arg)
{
    coil_sem sem;

    (void)arg;
    coil_sem_init(&sem, 0);
    return coil_sem_acquire(&sem);
}

Test(stuck, a_wait_that_nobody_can_end_ends_the_run, .timeout = 20)
{
    cr_assert_eq(run_stuck(wait_for_nobody, NULL, NULL), -EDEADLK);
    assert_logged("deadlock: 1 fiber waits, and nothing can ever wake it\n"
                  "fiber 1 'main': waits for semaphore for ");
    assert_logged(" s, spawned at ");
    assert_not_logged("circle");
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

Test(stuck, a_sleep_without_end_is_one_too, .timeout = 20)
{
    cr_assert_eq(run_stuck(sleep_for_ever, NULL, NULL), -EDEADLK);
    assert_logged("waits for sleep");
}

static int wait_in_a_call(void *arg)
{
    return coil_on(coil_core(), wait_for_nobody, arg, NULL);
}

Test(stuck, a_call_to_the_only_core_waits_for_nobody_outside, .timeout = 20)
{
    cr_assert_eq(run_stuck(wait_in_a_call, NULL, NULL), -EDEADLK);
    assert_logged("fiber 1 'main': waits for call on another core");
    assert_logged("waits for semaphore");
}

static int wait_with_company(void *arg)
{
    coil_fiber *fibers[3];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        fibers[i] = spawn_until_parked(wait_for_nobody, NULL);
        coil_fiber_name_set(fibers[i], "waiter");
    }
    coil_cancel(fibers[0]);
    for (int i = 0; i < 3; i++) {
        (void)coil_join(fibers[i], NULL);
        coil_fiber_unref(fibers[i]);
    }
    return 0;
}

Test(stuck, only_fibers_that_are_left_are_named_oldest_first, .timeout = 20)
{
    const char *main_line;

    cr_assert_eq(run_stuck(wait_with_company, NULL, NULL), -EDEADLK);
    assert_logged("deadlock: 3 fibers");
    assert_logged("fiber 1 'main': waits for join of 3 'waiter' for ");
    assert_not_logged("fiber 2 ");
    main_line = strstr(logged, "fiber 1 ");
    cr_assert_lt(main_line, strstr(logged, "fiber 3 'waiter'"));
    cr_assert_lt(strstr(logged, "fiber 3 'waiter'"), strstr(logged, "fiber 4 'waiter'"));
}

static int wait_as_one_of_many(void *arg)
{
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(coil_spawn(wait_for_nobody, NULL, NULL), 0);
    return wait_for_nobody(arg);
}

Test(stuck, a_crowd_is_counted_and_not_named_to_the_last, .timeout = 20)
{
    cr_assert_eq(run_stuck(wait_as_one_of_many, NULL, NULL), -EDEADLK);
    assert_logged("deadlock: 301 fibers");
    cr_assert_eq(count_of("waits for semaphore"), 50);
    assert_logged("and 251 more");
}

struct abandoned {
    int fds[2];
};

static int read_pipe(void *arg)
{
    const struct abandoned *abandoned = arg;
    char byte;

    return (int)read(abandoned->fds[0], &byte, 1);
}

static void forget(void *arg)
{
    (void)arg;
}

static int abandon_a_call(void *arg)
{
    struct abandoned *abandoned = arg;
    coil_scope scope;

    cr_assert_eq(pipe(abandoned->fds), 0);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_offload(read_pipe, abandoned, forget, NULL), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    cr_assert_eq(wait_for_nobody(NULL), -ECANCELED);
    cr_assert_eq(write(abandoned->fds[1], "x", 1), 1);
    return 0;
}

Test(stuck, a_call_whose_caller_has_left_wakes_nobody, .timeout = 20)
{
    struct abandoned abandoned = {{0}};

    coil__offload_leave_time = COIL_SECONDS(15); /* nothing is left behind on a busy machine */
    cr_assert_eq(run_stuck(abandon_a_call, &abandoned, NULL), -EDEADLK);
    (void)close(abandoned.fds[0]);
    (void)close(abandoned.fds[1]);
}

/* ---- Circles ---- */

struct lock {
    struct coil__waitq waiters;
    coil_fiber *owner;
};

struct crossing {
    struct lock first;
    struct lock second;
    coil_fiber *peers[3];
};

/* A fiber that has one lock and wants another one, in the words of a mutex. */
static int wait_for_lock(struct lock *lock)
{
    return coil__waitq_park_owned(&lock->waiters, "mutex", NULL, &lock->owner);
}

static int hold_first_and_want_second(void *arg)
{
    struct crossing *crossing = arg;

    crossing->first.owner = coil_self();
    coil_yield();
    return wait_for_lock(&crossing->second);
}

static int cross(void *arg)
{
    struct crossing crossing = {.second.owner = coil_self()};
    coil_fiber *other;

    (void)arg;
    coil__waitq_init(&crossing.first.waiters);
    coil__waitq_init(&crossing.second.waiters);
    cr_assert_eq(coil_spawn(hold_first_and_want_second, &crossing, &other), 0);
    coil_fiber_name_set(other, "other");
    coil_yield();
    cr_assert_eq(wait_for_lock(&crossing.first), -ECANCELED);
    coil_fiber_unref(other);
    return 0;
}

Test(stuck, two_fibers_that_wait_for_each_other_are_shown_as_a_circle, .timeout = 20)
{
    cr_assert_eq(run_stuck(cross, NULL, NULL), -EDEADLK);
    assert_logged("circle: 1 'main' waits for mutex held by 2 'other' "
                  "waits for mutex held by 1 'main'\n");
    cr_assert_eq(count_of("circle: "), 1);
}

static int join_peer(void *arg)
{
    coil_fiber *const *peer = arg;

    return coil_join(*peer, NULL);
}

/* 2 joins 3, 3 joins 4, 4 joins 2; 1 joins 2 from outside the circle. */
static int join_in_a_ring(void *arg)
{
    struct crossing crossing;
    coil_fiber **peers = crossing.peers;

    (void)arg;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_spawn(join_peer, &peers[(i + 1) % 3], &peers[i]), 0);
    cr_assert_eq(coil_join(peers[0], NULL), -ECANCELED);
    for (int i = 0; i < 3; i++)
        coil_fiber_unref(peers[i]);
    return 0;
}

Test(stuck, a_ring_of_joins_is_shown_once_without_who_waits_outside, .timeout = 20)
{
    cr_assert_eq(run_stuck(join_in_a_ring, NULL, NULL), -EDEADLK);
    assert_logged("circle: 2 '' waits for join of 3 '' waits for join of 4 '' "
                  "waits for join of 2 ''\n");
    cr_assert_eq(count_of("circle: "), 1);
}

struct locks {
    coil_mutex first;
    coil_mutex second;
};

static int lock_second_then_first(void *arg)
{
    struct locks *locks = arg;
    int result;

    cr_assert_eq(coil_mutex_lock(&locks->second), 0);
    coil_yield();
    result = coil_mutex_lock(&locks->first);
    if (result == 0)
        coil_mutex_unlock(&locks->first);
    coil_mutex_unlock(&locks->second);
    return result;
}

static int lock_first_then_second(void *arg)
{
    struct locks locks;
    coil_fiber *other;

    (void)arg;
    coil_mutex_init(&locks.first);
    coil_mutex_init(&locks.second);
    cr_assert_eq(coil_mutex_lock(&locks.first), 0);
    cr_assert_eq(coil_spawn(lock_second_then_first, &locks, &other), 0);
    coil_fiber_name_set(other, "other");
    coil_yield();
    cr_assert_eq(coil_mutex_lock(&locks.second), -ECANCELED);
    coil_mutex_unlock(&locks.first);
    coil_fiber_unref(other);
    coil_yield(); /* the other one lives in this frame */
    return 0;
}

Test(stuck, two_mutexes_taken_in_two_orders_are_shown_as_a_circle, .timeout = 20)
{
    cr_assert_eq(run_stuck(lock_first_then_second, NULL, NULL), -EDEADLK);
    assert_logged("circle: 1 'main' waits for mutex held by 2 'other' "
                  "waits for mutex held by 1 'main'\n");
}

static int lock_and_unlock(void *arg)
{
    const int result = coil_mutex_lock(arg);

    if (result == 0)
        coil_mutex_unlock(arg);
    return result;
}

static int join_with_the_lock(void *arg)
{
    coil_mutex mutex;
    coil_fiber *other;

    (void)arg;
    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(coil_spawn(lock_and_unlock, &mutex, &other), 0);
    cr_assert_eq(coil_join(other, NULL), -ECANCELED);
    coil_mutex_unlock(&mutex);
    coil_fiber_unref(other);
    coil_yield();
    return 0;
}

Test(stuck, joining_who_waits_for_the_joiners_mutex_is_shown_as_a_circle, .timeout = 20)
{
    cr_assert_eq(run_stuck(join_with_the_lock, NULL, NULL), -EDEADLK);
    assert_logged("circle: 1 'main' waits for join of 2 '' waits for mutex held by 1 'main'\n");
}

static int wait_for_an_ended_owner(void *arg)
{
    struct lock lock;

    (void)arg;
    coil__waitq_init(&lock.waiters);
    lock.owner = spawn_until_parked(sleep_for_ever, NULL);
    coil_cancel(lock.owner);
    (void)coil_join(lock.owner, NULL);
    (void)wait_for_lock(&lock);
    coil_fiber_unref(lock.owner);
    return 0;
}

Test(stuck, a_lock_whose_holder_has_ended_says_so, .timeout = 20)
{
    cr_assert_eq(run_stuck(wait_for_an_ended_owner, NULL, NULL), -EDEADLK);
    assert_logged("fiber 1 'main': waits for mutex held by a fiber that has ended");
}

/* ---- What happens then ---- */

struct clean_up {
    int result;
    int slept;
    bool is_cancelled_at_birth;
};

static int spawned_late(void *arg)
{
    struct clean_up *clean_up = arg;

    clean_up->is_cancelled_at_birth = coil_sleep(0) == -ECANCELED;
    return 0;
}

static int clean_up_after_deadlock(void *arg)
{
    struct clean_up *clean_up = arg;
    coil_scope shield;

    clean_up->result = wait_for_nobody(NULL);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    clean_up->slept = coil_sleep(COIL_MS(1));
    (void)coil_scope_leave(&shield);
    return coil_spawn(spawned_late, clean_up, NULL);
}

Test(stuck, its_fibers_are_cancelled_and_may_clean_up, .timeout = 20)
{
    struct clean_up clean_up = {.slept = -1};

    cr_assert_eq(run_stuck(clean_up_after_deadlock, &clean_up, NULL), -EDEADLK);
    cr_assert_eq(clean_up.result, -ECANCELED);
    cr_assert_eq(clean_up.slept, 0);
    cr_assert(clean_up.is_cancelled_at_birth);
    cr_assert_eq(count_of("deadlock: "), 1);
}

static int ignore_the_cancellation(void *arg)
{
    coil_scope shield;

    (void)arg;
    coil_scope_enter_shield(&shield, COIL_NEVER);
    return coil_sleep(COIL_NEVER);
}

/* In a child: what outlives the grace is lost with its memory. */
static int run_ignoring(void *arg)
{
    const coil_options *options = arg;
    int result = 7;

    child_check(fiber_test_coil_run(ignore_the_cancellation, NULL, options, &result) == -ETIMEDOUT,
                "a status of its own");
    child_check(result == 7, "untouched");
    return 0;
}

Test(stuck, who_ignores_the_cancellation_is_lost_when_the_grace_is_over, .timeout = 20)
{
    coil_options options = COIL_OPTIONS_INIT;
    struct child_end end;

    options.grace = COIL_MS(5);
    child_run(run_ignoring, &options, &end);
    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_not_null(strstr(end.output, "deadlock: 1 fiber waits"), "%s", end.output);
    cr_assert_not_null(strstr(end.output, "outlived the grace"), "%s", end.output);

    options.grace = COIL_NEVER;
    child_run(run_ignoring, &options, &end);
    cr_assert_eq(end.exit_code, 0, "a grace without end helps nobody: %s", end.output);
}

static int run_and_abort(void *arg)
{
    coil_options options = COIL_OPTIONS_INIT;
    int result;

    options.on_deadlock = COIL_DEADLOCK_ABORT;
    return coil_run(wait_for_nobody, arg, &options, &result);
}

Test(stuck, it_aborts_when_a_core_is_wanted, .timeout = 20)
{
    struct child_end end;

    child_run(run_and_abort, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT);
    cr_assert_not_null(strstr(end.output, "waits for semaphore"), "the report comes first");
}

Test(stuck, a_policy_that_is_none_is_refused, .timeout = 20)
{
    coil_options options = COIL_OPTIONS_INIT;

    options.on_deadlock = (coil_deadlock_policy)3; /* NOLINT: on purpose */
    cr_assert_eq(run_stuck(wait_for_nobody, NULL, &options), -EINVAL);
    assert_logged("on_deadlock is 3");
}
