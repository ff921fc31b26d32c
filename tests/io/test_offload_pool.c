/* SPDX-License-Identifier: MIT */
/* The threads behind coil_offload(): how many there are, whom they serve, and how they end. */
#include <sched.h>

#include "base/alloc.h"
#include "io/offload_fixture.h"

/* ---- Threads ---- */

enum {
    THREADS = 20, /* the default */
    MANY_THREADS = 64,
    CALLS = 100,
};

static struct overlap {
    pthread_barrier_t barrier; /* for all threads and the test */
    atomic_int running;
    atomic_int running_max;
} overlap;

static int meet_others(void *arg)
{
    const int running = atomic_fetch_add(&overlap.running, 1) + 1;
    int max = atomic_load(&overlap.running_max);

    (void)arg;
    while (running > max && !atomic_compare_exchange_weak(&overlap.running_max, &max, running))
        ;
    (void)pthread_barrier_wait(&overlap.barrier);
    atomic_fetch_sub(&overlap.running, 1);
    return 1;
}

static int offload_meeting(void *arg)
{
    int result = 0;

    cr_assert_eq(coil_offload(meet_others, arg, NULL, &result), 0);
    return result;
}

static int tick(void *arg)
{
    int *tick_count = arg;

    while (coil_sleep(COIL_US(50)) == 0)
        ++*tick_count;
    return 0;
}

FIBER_TEST(offload, a_hundred_calls_overlap_on_twenty_threads_while_fibers_run)
{
    coil_fiber *fibers[CALLS];
    coil_fiber *heartbeat;
    int tick_count = 0;
    int returned_count = 0;

    cr_assert_eq(pthread_barrier_init(&overlap.barrier, NULL, THREADS + 1), 0);
    heartbeat = spawn_until_parked(tick, &tick_count);
    for (int i = 0; i < CALLS; i++)
        fibers[i] = spawn_until_parked(offload_meeting, NULL);
    for (int round = 0; round < CALLS / THREADS; round++) {
        const int ticks_before = tick_count;

        while (atomic_load(&overlap.running) < THREADS || tick_count < ticks_before + 3)
            coil_yield();
        (void)pthread_barrier_wait(&overlap.barrier); /* lets this round go */
        for (int i = round * THREADS; i < (round + 1) * THREADS; i++)
            returned_count += join_and_drop(fibers[i]);
    }

    cr_assert_eq(returned_count, CALLS);
    cr_assert_eq(overlap.running_max, THREADS);
    cr_assert_eq(coil__offload_thread_count(), THREADS);
    coil_cancel(heartbeat);
    cr_assert_eq(join_and_drop(heartbeat), 0);
    cr_assert_eq(pthread_barrier_destroy(&overlap.barrier), 0);
}

FIBER_TEST(offload, threads_are_started_only_when_all_are_busy)
{
    struct call call;
    struct call blocking[2];
    coil_fiber *fibers[2];

    call_init(&call, 0);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(offload_at_once(&call), 0);
    cr_assert_leq(coil__offload_thread_count(), 2, "one may not have sat down when the next came");
    for (int i = 0; i < 2; i++) {
        call_init(&blocking[i], i);
        fibers[i] = spawn_into_thread(&blocking[i]);
    }
    cr_assert_eq(coil__offload_thread_count(), 2);
    for (int i = 0; i < 2; i++) {
        call_proceed(&blocking[i]);
        cr_assert_eq(join_and_drop(fibers[i]), i);
    }
}

FIBER_TEST(offload, threads_without_work_end_and_new_ones_come)
{
    struct call call;

    coil__offload_idle_time = COIL_MS(1);
    call_init(&call, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(offload_at_once(&call), 3);
        while (coil__offload_thread_count() > 0)
            coil_yield();
    }
}

FIBER_TEST(offload, the_environment_says_how_many_threads_there_may_be)
{
    struct call calls[3];
    coil_fiber *fibers[3];

    set_threads("2");
    for (int i = 0; i < 3; i++) {
        call_init(&calls[i], i);
        fibers[i] = spawn_until_parked(offload_blocking, &calls[i]);
    }
    until_count(&calls[1].run_count, 1);
    cr_assert_eq(coil__offload_thread_count(), 2);
    cr_assert_eq(calls[2].run_count, 0);
    for (int i = 0; i < 3; i++) {
        call_proceed(&calls[i]);
        cr_assert_eq(join_and_drop(fibers[i]), i);
    }
}

Test(offload, a_number_of_threads_that_is_none_is_reported_and_ignored, .timeout = 60)
{
    static const char *const wrong[] = {
        "0", "-1", "1025", "4x", " 4", "many", "99999999999999999999"};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char messages[1024] = "";
        struct call call;
        int result = -1;

        call_init(&call, 9);
        set_threads(wrong[i]);
        coil_log_set(keep_message, messages);
        cr_assert_eq(fiber_test_coil_run(offload_at_once, &call, NULL, &result), 0);
        cr_assert_eq(result, 9);
        cr_assert_not_null(strstr(messages, "COIL_THREADS"), "'%s' went unnoticed", wrong[i]);
    }
}

/* ---- Order and limits ---- */

static struct order {
    atomic_int next;
    int places[COIL__OFFLOAD_JOBS_MAX + 8];
} order;

static int note_place(void *arg)
{
    *(int *)arg = atomic_fetch_add(&order.next, 1);
    return 0;
}

static int offload_place(void *arg)
{
    return coil_offload(note_place, arg, NULL, NULL);
}

FIBER_TEST(offload, beyond_the_limit_callers_park_and_all_are_served_in_order)
{
    enum {
        COUNT = COIL__OFFLOAD_JOBS_MAX + 4, /* one more is in the thread */
        QUEUED = COIL__OFFLOAD_JOBS_MAX - 1,
    };

    static coil_fiber *fibers[COUNT];
    struct call first;
    coil_fiber *blocker;

    set_threads("1");
    call_init(&first, 0);
    blocker = spawn_into_thread(&first);
    for (int i = 0; i < COUNT; i++)
        fibers[i] = spawn_until_parked(offload_place, &order.places[i]);

    cr_assert_str_eq(fibers[QUEUED - 1]->tcb->wait_name, "offloaded call");
    cr_assert_str_eq(fibers[QUEUED]->tcb->wait_name, "semaphore", "no room for one more");
    call_proceed(&first);
    cr_assert_eq(join_and_drop(blocker), 0);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(order.places[i], i);
    }
}

FIBER_TEST(offload, abandoned_calls_make_room)
{
    struct call calls[3];
    struct call next;
    coil_fiber *fibers[3];

    set_threads("1");
    for (int round = 0; round < COIL__OFFLOAD_JOBS_MAX / 2; round++) {
        for (int i = 0; i < 3; i++) {
            call_init(&calls[i], 0);
            fibers[i] = spawn_until_parked(offload_blocking, &calls[i]);
        }
        until_count(&calls[0].run_count, 1);
        for (int i = 0; i < 3; i++) {
            coil_cancel(fibers[i]);
            cr_assert_eq(join_and_drop(fibers[i]), -ECANCELED);
        }
        call_proceed(&calls[0]);
        until_count(&calls[0].abandoned_count, 1);
    }
    call_init(&next, 5);
    cr_assert_eq(offload_at_once(&next), 5);
}

/* ---- The end of coil_run() ---- */

FIBER_TEST(offload, the_end_waits_for_calls_that_are_about_to_return)
{
    static struct call call; /* outlives this fiber */
    coil_fiber *fiber;

    call_init(&call, 1);
    fiber = spawn_into_thread(&call);
    coil_fiber_unref(fiber);
    call_proceed(&call);
}

/* Leaves a thread for each of the calls, which has none any more. */
static int leave_idle_threads(void *arg)
{
    struct call *calls = arg;
    coil_fiber *fibers[MANY_THREADS];

    for (int i = 0; i < MANY_THREADS; i++)
        fibers[i] = spawn_into_thread(&calls[i]);
    for (int i = 0; i < MANY_THREADS; i++)
        call_proceed(&calls[i]);
    for (int i = 0; i < MANY_THREADS; i++)
        (void)join_and_drop(fibers[i]);
    return 0;
}

Test(offload, the_end_waits_for_idle_threads_however_long_they_take_to_leave, .timeout = 60)
{
    const int64_t blocks_before = coil__alloc_live_count();
    char messages[1024] = "";
    struct call calls[MANY_THREADS];

    for (int i = 0; i < MANY_THREADS; i++)
        call_init(&calls[i], 1);
    cr_assert_eq(setenv("COIL_THREADS", "64", 1), 0);
    coil__offload_leave_time = 0;
    coil_log_set(keep_message, messages);
    cr_assert_eq(fiber_test_coil_run(leave_idle_threads, calls, NULL, NULL), 0);
    cr_assert_str_eq(messages, "");
    cr_assert_eq(coil__alloc_live_count(), blocks_before);
}

static int abandon_blocked_call(void *arg)
{
    coil_fiber *fiber = spawn_into_thread(arg);

    coil_cancel(fiber);
    return join_and_drop(fiber);
}

Test(offload, a_call_that_does_not_return_is_left_behind_and_cleans_up_itself, .timeout = 60)
{
    const int64_t blocks_before = coil__alloc_live_count();
    char messages[1024] = "";
    struct call call;
    int result = 0;

    call_init(&call, 1);
    coil__offload_leave_time = COIL_MS(1);
    coil_log_set(keep_message, messages);
    cr_assert_eq(fiber_test_coil_run(abandon_blocked_call, &call, NULL, &result), 0);
    cr_assert_eq(result, -ECANCELED);
    cr_assert_not_null(strstr(messages, "1 offloaded call"), "%s", messages);
    cr_assert_eq(call.abandoned_count, 0);

    call_proceed(&call);
    while (coil__alloc_live_count() != blocks_before)
        (void)sched_yield();
    cr_assert_eq(call.abandoned_count, 1);
}

static void *run_offloads(void *arg)
{
    struct call call;
    int *ret_sum = arg;

    call_init(&call, 1);
    for (int i = 0; i < 20; i++) {
        int result = 0;

        cr_assert_eq(fiber_test_coil_run(offload_at_once, &call, NULL, &result), 0);
        *ret_sum += result;
    }
    return NULL;
}

Test(offload, every_thread_of_fibers_has_a_pool_of_its_own, .timeout = 60)
{
    pthread_t threads[3];
    int sums[3] = {0};

    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run_offloads, &sums[i]), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(sums[i], 20);
    }
}

/* ---- CPUs ---- */

static int count_cpus(void *arg)
{
    cpu_set_t cpus;

    (void)arg;
    return sched_getaffinity(0, sizeof cpus, &cpus) < 0 ? -errno : CPU_COUNT(&cpus);
}

static int count_cpus_in_thread(void *arg)
{
    int *ret_own = arg;
    int count = 0;
    const int result = coil_offload(count_cpus, NULL, NULL, &count);

    *ret_own = count_cpus(NULL);
    return result < 0 ? result : count;
}

Test(offload, threads_are_not_tied_to_the_cpu_of_a_core_that_is, .timeout = 60)
{
    const coil_options options = {.size = sizeof options, .pin_cores = true};
    int own = 0;
    int count = 0;

    cr_assert_eq(fiber_test_coil_run(count_cpus_in_thread, &own, &options, &count), 0);
    cr_assert_eq(own, 1);
    cr_assert_eq(count, count_cpus(NULL));
}
