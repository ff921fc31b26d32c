/* SPDX-License-Identifier: MIT */
/* coil_offload() as its caller sees it: results, interruptions, failures; every call ends once.
 *
 * Nobody waits for time to pass, except where passing time is the matter.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/remote.h"
#include "io/offload_fixture.h"

/* ---- Results ---- */

FIBER_TEST(offload, a_call_runs_in_another_thread_and_its_result_comes_back)
{
    struct call call;
    int result = 0;

    call_init(&call, 42);
    cr_assert_eq(coil_offload(run_at_once, &call, count_abandoned, &result), 0);

    cr_assert_eq(result, 42);
    cr_assert_eq(call.run_count, 1);
    cr_assert_eq(call.abandoned_count, 0, "the argument is the caller's again");
    cr_assert_not(pthread_equal(call.thread, pthread_self()));
}

FIBER_TEST(offload, a_negative_result_is_the_functions_own)
{
    struct call call;
    int result = 0;

    call_init(&call, -ETIMEDOUT);
    cr_assert_eq(coil_offload(run_at_once, &call, count_abandoned, &result), 0);
    cr_assert_eq(result, -ETIMEDOUT);
    cr_assert_eq(coil_offload(run_at_once, &call, NULL, NULL), 0, "nobody has to want the result");
    cr_assert_eq(call.run_count, 2);
}

static int offload_inside(void *arg)
{
    struct call *call = arg;
    int result = 0;

    cr_assert_eq(coil_offload(run_at_once, call, count_abandoned, &result), 0);
    cr_assert_eq(coil_offload(run_at_once, call, count_abandoned, NULL), 0);
    return pthread_equal(call->thread, pthread_self()) ? result : -1;
}

FIBER_TEST(offload, a_call_within_a_call_runs_in_the_same_thread)
{
    struct call call;
    int result = 0;

    call_init(&call, 7);
    set_threads("1");
    cr_assert_eq(coil_offload(offload_inside, &call, NULL, &result), 0);
    cr_assert_eq(result, 7);
    cr_assert_eq(call.run_count, 2);
    cr_assert_eq(call.abandoned_count, 0);
}

static int look_at_signals(void *arg)
{
    sigset_t *mask = arg;

    return pthread_sigmask(SIG_SETMASK, NULL, mask);
}

FIBER_TEST(offload, signals_are_left_to_the_threads_of_the_program)
{
    sigset_t before;
    sigset_t inside;
    sigset_t after;

    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    cr_assert_eq(coil_offload(look_at_signals, &inside, NULL, NULL), 0);
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);

    cr_assert_eq(sigismember(&inside, SIGTERM), 1);
    cr_assert_eq(sigismember(&inside, SIGCHLD), 1);
    cr_assert_eq(sigismember(&inside, SIGSEGV), 0, "a fault is the thread's own");
    for (int number = 1; number < 65; number++)
        cr_assert_eq(sigismember(&before, number), sigismember(&after, number));
}

/* ---- Interruptions ---- */

FIBER_TEST(offload, a_deadline_leaves_the_thread_alone_and_the_next_call_is_fine)
{
    struct call slow;
    struct call quick;
    coil_time timeout = COIL_MS(10);

    call_init(&quick, 2);
    do { /* until the thread was faster */
        coil_scope scope;

        timeout *= 2;
        call_init(&slow, 1);
        coil_scope_enter(&scope, timeout);
        cr_assert_eq(offload_blocking(&slow), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
    } while (slow.abandoned_count == 1);
    until_count(&slow.run_count, 1);
    cr_assert_eq(slow.abandoned_count, 0, "its argument is in use");

    cr_assert_eq(offload_at_once(&quick), 2);

    call_proceed(&slow);
    until_count(&slow.abandoned_count, 1);
}

FIBER_TEST(offload, a_call_cancelled_before_its_turn_never_runs)
{
    struct call first;
    struct call second;
    coil_fiber *fibers[2];

    set_threads("1");
    call_init(&first, 1);
    call_init(&second, 2);
    fibers[0] = spawn_into_thread(&first);
    fibers[1] = spawn_until_parked(offload_at_once, &second);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    cr_assert_eq(second.abandoned_count, 1, "nobody uses its argument");

    call_proceed(&first);
    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(second.run_count, 0);
    cr_assert_eq(second.abandoned_count, 1);
    cr_assert_eq(first.abandoned_count, 0);
}

FIBER_TEST(offload, in_an_expired_scope_nothing_runs_and_the_argument_is_given_up)
{
    struct call call;
    coil_scope scope;

    call_init(&call, 1);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(offload_at_once(&call), -ETIMEDOUT);
    cr_assert_eq(coil_offload(run_at_once, &call, NULL, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_eq(call.run_count, 0);
    cr_assert_eq(call.abandoned_count, 1);
    cr_assert_eq(coil__offload_thread_count(), 0);
}

FIBER_TEST(offload, a_result_that_is_on_its_way_beats_the_cancellation)
{
    struct call call;
    coil_fiber *fiber;

    call_init(&call, 77);
    fiber = spawn_into_thread(&call);
    cr_assert_not(coil__remote_has_posts(coil__sched()->remote));
    call_proceed(&call);
    while (!coil__remote_has_posts(coil__sched()->remote))
        (void)sched_yield(); /* no turn of the loop meanwhile */
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 77);
    cr_assert_eq(call.abandoned_count, 0);
}

struct race {
    int delay; /* of the call, in rounds of a loop */
    coil_time timeout;
};

static atomic_int raced_count;
static atomic_int given_up_count;

static int take_a_while(void *arg)
{
    const struct race *race = arg;

    for (volatile int i = 0; i < race->delay; i++)
        ;
    atomic_fetch_add(&raced_count, 1);
    return race->delay;
}

static void give_up(void *arg)
{
    atomic_fetch_add(&given_up_count, 1);
    free(arg);
}

/* Returns whether the call won. */
static int race_once(void *arg)
{
    const unsigned seed = (unsigned)(uintptr_t)arg;
    struct race *race = malloc(sizeof *race);
    coil_scope scope;
    int result = -1;
    int error;

    cr_assert_not_null(race);
    race->delay = (int)(seed * 2654435761U % 40000);
    coil_scope_enter(&scope, seed % 8 == 0 ? COIL_NEVER : COIL_US(seed * 7 % 120));
    error = coil_offload(take_a_while, race, give_up, &result);
    (void)coil_scope_leave(&scope);
    if (error < 0) {
        cr_assert_eq(error, -ETIMEDOUT);
        cr_assert_eq(result, -1);
        return 0;
    }
    cr_assert_eq(result, race->delay);
    free(race);
    return 1;
}

FIBER_TEST(offload, when_result_and_deadline_race_there_is_one_outcome)
{
    enum {
        ROUNDS = 100,
        RACERS = 40,
    };

    int won_count = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        coil_fiber *fibers[RACERS];

        for (unsigned i = 0; i < RACERS; i++) {
            void *seed = (void *)(uintptr_t)(round * RACERS + i); /* NOLINT */

            cr_assert_eq(coil_spawn(race_once, seed, &fibers[i]), 0);
        }
        for (int i = 0; i < RACERS; i++)
            won_count += join_and_drop(fibers[i]);
    }
    until_count(&given_up_count, ROUNDS * RACERS - won_count);
    cr_assert_gt(won_count, 0);
    cr_assert_lt(won_count, ROUNDS * RACERS);
    cr_assert_eq(given_up_count, ROUNDS * RACERS - won_count);
    cr_assert_geq(raced_count, won_count);
}

/* ---- Failures ---- */

FIBER_TEST(offload, without_memory_the_call_fails_and_leaves_nothing)
{
    int64_t after = 0;
    int result;

    do {
        struct call call;

        call_init(&call, 1);
        coil__alloc_fail_after(after++);
        result = offload_at_once(&call);
        coil__alloc_fail_after(-1);
        cr_assert(result == 1 || result == -ENOMEM, "%d", result);
        cr_assert_eq(call.abandoned_count, result < 0);
        cr_assert_eq(call.run_count, result > 0);
    } while (result < 0);
    cr_assert_gt(after, 2, "more than one allocation has failed");
}

static bool is_root;

/* No more threads for this user, whom root has to become first. */
static void forbid_threads(struct rlimit *ret_before)
{
    struct rlimit none;

    is_root = geteuid() == 0;
    if (is_root)
        cr_assert_eq(setresuid(65534, 65534, 0), 0);
    cr_assert_eq(getrlimit(RLIMIT_NPROC, ret_before), 0);
    none = *ret_before;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &none), 0);
}

static void allow_threads(const struct rlimit *before)
{
    if (is_root)
        cr_assert_eq(setresuid(0, 0, 0), 0);
    cr_assert_eq(setrlimit(RLIMIT_NPROC, before), 0);
}

FIBER_TEST(offload, without_a_thread_the_call_fails_and_later_ones_work)
{
    struct rlimit before;
    struct call call;

    call_init(&call, 1);
    forbid_threads(&before);
    cr_assert_eq(offload_at_once(&call), -EAGAIN);
    cr_assert_eq(call.run_count, 0);
    cr_assert_eq(call.abandoned_count, 1);

    allow_threads(&before);
    cr_assert_eq(offload_at_once(&call), 1);
    cr_assert_eq(call.abandoned_count, 1);
}

FIBER_TEST(offload, with_too_few_threads_calls_take_turns)
{
    struct rlimit before;
    struct call first;
    struct call second;
    coil_fiber *fibers[2];

    call_init(&first, 1);
    call_init(&second, 2);
    fibers[0] = spawn_into_thread(&first);
    forbid_threads(&before);
    fibers[1] = spawn_until_parked(offload_at_once, &second);
    cr_assert_eq(coil__offload_thread_count(), 1);
    call_proceed(&first);

    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(join_and_drop(fibers[1]), 2);
    allow_threads(&before);
}
