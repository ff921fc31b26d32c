/* SPDX-License-Identifier: MIT */
/* Calls between the cores of one run: who runs where, and what becomes of results, interruptions,
 * limits and shortages on the way.
 *
 * What runs on other cores reports by its result: Criterion's assertions belong to main's thread.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "core/team.h"
#include "support/fiber_test.h"

enum {
    CORES = 3,
    ALLOCATIONS_MAX = 20,
};

#define CORES_TEST(name) \
 FIBER_TEST_WITH(core, name, (&(coil_options){.size = sizeof(coil_options), .cores = CORES}))

static int tell_core(void *arg)
{
    if (arg)
        *(pthread_t *)arg = pthread_self();
    return (int)coil_core();
}

static int return_number(void *arg)
{
    return *(int *)arg;
}

static int on(unsigned core, int (*fn)(void *), void *arg)
{
    int result = INT32_MIN;

    cr_assert_eq(coil_on(core, fn, arg, &result), 0);
    return result;
}

/* ---- Where things run ---- */

FIBER_TEST(core, by_default_there_is_one)
{
    cr_assert_eq(coil_core(), 0);
    cr_assert_eq(coil_core_count(), 1);
    cr_assert_eq(on(0, tell_core, NULL), 0);
    cr_assert_eq(coil_on(1, tell_core, NULL, NULL), -EINVAL);
}

CORES_TEST(a_call_runs_on_the_thread_of_its_core)
{
    pthread_t threads[CORES];

    cr_assert_eq(coil_core(), 0, "main is on core 0");
    cr_assert_eq(coil_core_count(), CORES);
    for (unsigned i = 0; i < CORES; i++)
        cr_assert_eq(on(i, tell_core, &threads[i]), (int)i);
    cr_assert(pthread_equal(threads[0], pthread_self()));
    cr_assert_not(pthread_equal(threads[1], threads[0]));
    cr_assert_not(pthread_equal(threads[2], threads[0]));
    cr_assert_not(pthread_equal(threads[2], threads[1]));
}

static int call_back(void *arg)
{
    int result = -1;

    return coil_on(0, tell_core, arg, &result) == 0 ? result : -2;
}

CORES_TEST(a_call_may_call_back_and_its_result_is_no_status)
{
    int number = -EPIPE;

    cr_assert_eq(on(1, call_back, NULL), 0);
    cr_assert_eq(on(2, return_number, &number), -EPIPE);
    cr_assert_eq(coil_on(2, return_number, &number, NULL), 0);
}

CORES_TEST(there_is_no_call_to_a_core_that_is_not)
{
    int result = 77;

    cr_assert_eq(coil_on(CORES, return_number, &result, &result), -EINVAL);
    cr_assert_eq(coil_spawn_on(CORES, return_number, &result), -EINVAL);
    cr_assert_null(coil_remote_get(CORES));
    cr_assert_eq(result, 77);
}

static int store_id(void *arg)
{
    *(uint64_t *)arg = coil_fiber_id(coil_self());
    return 0;
}

CORES_TEST(the_number_of_a_fiber_shows_its_core)
{
    uint64_t ids[CORES];

    for (unsigned i = 0; i < CORES; i++) {
        cr_assert_eq(on(i, store_id, &ids[i]), 0);
        cr_assert_eq(ids[i] / 1000000000000000, i);
        cr_assert_gt(ids[i] % 1000000000000000, 0);
    }
}

/* ---- Interruptions ---- */

struct visit {
    atomic_int began;
    atomic_int ended;
    int result;        /* when it is cancelled; 0: what cancelled it */
    atomic_bool leave; /* it returns of itself */
};

static int stay(void *arg)
{
    struct visit *visit = arg;
    int result = 0;

    visit->began++;
    while (result == 0 && !visit->leave)
        result = coil_sleep(COIL_US(100));
    coil_yield();
    if (visit->result)
        result = visit->result;
    visit->ended++; /* not always awaited: there is no visit any more */
    return result;
}

CORES_TEST(an_interrupted_call_cancels_what_runs_and_awaits_its_end)
{
    struct visit visit = {.result = 0};
    coil_scope scope;
    int result = 77;

    coil_scope_enter(&scope, COIL_MS(5));
    cr_assert_eq(coil_on(1, stay, &visit, &result), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_eq(visit.began, 1);
    cr_assert_eq(visit.ended, 1, "it has ended when the call returns");
    cr_assert_eq(result, 77);
}

CORES_TEST(a_result_that_beats_the_interruption_is_delivered)
{
    int results[] = {5, -EPIPE};
    coil_scope scope;

    for (int i = 0; i < 2; i++) {
        struct visit visit = {.result = results[i]};

        coil_scope_enter(&scope, COIL_MS(5));
        cr_assert_eq(on(1, stay, &visit), results[i]);
        cr_assert_eq(coil_sleep(0), -ETIMEDOUT, "the next call speaks");
        cr_assert(coil_scope_leave(&scope));
    }
}

static int call_and_stay(void *arg)
{
    return coil_on(1, stay, arg, NULL);
}

CORES_TEST(a_cancelled_caller_cancels_there)
{
    struct visit visit = {.result = 0};
    coil_fiber *caller = spawn_until_parked(call_and_stay, &visit);

    while (!visit.began)
        cr_assert_eq(coil_sleep(COIL_US(10)), 0);
    coil_cancel(caller);
    cr_assert_eq(join_and_drop(caller), -ECANCELED);
    cr_assert_eq(visit.ended, 1);
}

CORES_TEST(an_interrupted_caller_does_not_even_begin)
{
    struct visit visit = {.result = 0};
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_on(1, stay, &visit, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_spawn_on(1, stay, &visit), -ETIMEDOUT);
    cr_assert_eq(coil_each_core(stay, &visit), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(visit.began, 0);
}

/* ---- Detached ---- */

CORES_TEST(a_fiber_spawned_on_another_core_runs_by_itself)
{
    struct visit visit = {.result = 1};

    cr_assert_eq(coil_spawn_on(2, stay, &visit), 0);
    cr_assert_eq(visit.ended, 0, "the call does not wait for it");
    visit.leave = true;
    while (!visit.ended)
        cr_assert_eq(coil_sleep(COIL_US(50)), 0);
}

FIBER_TEST_WITH(core, a_core_at_its_limit_of_fibers_says_so,
                (&(coil_options){.size = sizeof(coil_options), .cores = 2, .fibers_max = 1}))
{
    struct visit visit = {.result = 1};

    cr_assert_eq(coil_spawn_on(1, stay, &visit), 0);
    cr_assert_eq(coil_on(1, tell_core, NULL, NULL), -EAGAIN);
    cr_assert_eq(coil_spawn_on(1, stay, &visit), -EAGAIN);
    cr_assert_eq(coil_each_core(stay, &visit), -EAGAIN);
    cr_assert_eq(coil_on(0, tell_core, NULL, NULL), -EAGAIN, "main is one");
    visit.leave = true;
    while (!visit.ended) /* it uses the storage of this test */
        cr_assert_eq(coil_sleep(COIL_US(50)), 0);
}

/* ---- All cores ---- */

static int meet_the_others(void *arg)
{
    struct visit *visit = arg;

    visit->began++;
    while (visit->began < CORES)
        if (coil_sleep(COIL_US(50)) < 0)
            return -1;
    visit->ended++;
    return 0;
}

CORES_TEST(each_core_runs_at_the_same_time_and_all_are_awaited)
{
    struct visit visit = {.result = 0};

    cr_assert_eq(coil_each_core(meet_the_others, &visit), 0);
    cr_assert_eq(visit.ended, CORES);
}

static int fail_from_core_1(void *arg)
{
    (void)arg;
    return coil_core() == 0 ? 3 : -(int)(coil_core() * 10);
}

CORES_TEST(the_failure_of_the_lowest_core_is_returned)
{
    cr_assert_eq(coil_each_core(fail_from_core_1, NULL), -10);
}

CORES_TEST(interrupted_each_core_cancels_all_and_awaits_them)
{
    struct visit visit = {.result = 0};
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(5));
    cr_assert_eq(coil_each_core(stay, &visit), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(visit.began, CORES);
    cr_assert_eq(visit.ended, CORES);
}

/* On one core: the others have their own business with the allocator meanwhile. */
FIBER_TEST(core, without_memory_calls_fail_and_leave_nothing)
{
    int64_t blocks;
    int n;

    cr_assert_eq(coil_each_core(tell_core, NULL), 0);
    blocks = coil__alloc_live_count();
    for (n = 0; n < ALLOCATIONS_MAX; n++) {
        int result;

        coil__alloc_fail_after(n);
        result = coil_each_core(tell_core, NULL);
        coil__alloc_fail_after(-1);
        cr_assert_eq(coil__alloc_live_count(), blocks);
        if (result == 0)
            break;
        cr_assert_eq(result, -ENOMEM);
    }
    cr_assert_gt(n, 0);
    cr_assert_lt(n, ALLOCATIONS_MAX);
}

/* ---- Where the threads run ---- */

static int count_own_cpus(void *arg)
{
    cpu_set_t cpus;

    (void)arg;
    return sched_getaffinity(0, sizeof cpus, &cpus) < 0 ? -errno : CPU_COUNT(&cpus);
}

static int count_cpus_of_all(void *arg)
{
    int sum = 0;

    (void)arg;
    for (unsigned i = 0; i < coil_core_count(); i++) {
        int result = -1;

        if (coil_on(i, count_own_cpus, NULL, &result) < 0)
            return -1;
        sum += result;
    }
    return sum;
}

Test(core, threads_are_tied_to_cpus_if_asked_and_the_caller_is_freed_again, .timeout = 60)
{
    const int before = count_own_cpus(NULL);
    coil_options options = {.size = sizeof options, .cores = CORES, .pin_cores = true};
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(count_cpus_of_all, NULL, &options, &result), 0);
    cr_assert_eq(result, CORES);
    cr_assert_eq(count_own_cpus(NULL), before);

    options.pin_cores = false;
    cr_assert_eq(fiber_test_coil_run(count_cpus_of_all, NULL, &options, &result), 0);
    cr_assert_eq(result, CORES * before);
}

static int count_cores(void *arg)
{
    (void)arg;
    return (int)coil_core_count();
}

Test(core, all_cores_are_as_many_as_the_cpus_that_may_be_used, .timeout = 60)
{
    const coil_options options = {.size = sizeof options, .cores = COIL_CORES_ALL};
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(count_cores, NULL, &options, &result), 0);
    cr_assert_eq(result, count_own_cpus(NULL));
}
