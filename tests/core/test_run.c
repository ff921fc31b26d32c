/* SPDX-License-Identifier: MIT */
/* coil_run(): its status and main's result, the end of what main leaves, options, threads, and what
 * happens when the kernel or the allocator refuses.
 *
 * What loses memory by design, or needs limits of its own, runs in a child process.
 */
#include "core/run.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    THREAD_RUNS = 100,
    SPAWN_COUNT = 1000,
};

static int return_number(void *arg)
{
    return arg ? *(int *)arg : 0;
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

/* ---- Results ---- */

Test(run, mains_result_and_the_runs_own_status_are_two_things, .timeout = 60)
{
    int numbers[] = {0, 7, -EPIPE, -ECANCELED};
    int result = 0;

    for (int i = 0; i < 4; i++) {
        cr_assert_eq(fiber_test_coil_run(return_number, &numbers[i], NULL, &result), 0);
        cr_assert_eq(result, numbers[i]);
    }
    cr_assert_eq(fiber_test_coil_run(return_number, &numbers[2], NULL, NULL), 0);
    cr_assert_null(coil__sched_this);
}

static int run_again(void *arg)
{
    int result = 77;
    const int status = coil_run(return_number, arg, NULL, &result);

    return result == 77 ? status : 1;
}

Test(run, inside_of_itself_it_is_busy, .timeout = 60)
{
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(run_again, NULL, NULL, &result), 0);
    cr_assert_eq(result, -EBUSY);
}

/* ---- What main leaves ---- */

struct leftovers {
    int started;
    int cancelled;
    int cleaned;
};

static int end_when_cancelled(void *arg)
{
    struct leftovers *leftovers = arg;
    coil_scope shield;

    leftovers->started++;
    leftovers->cancelled += coil_sleep(COIL_NEVER) == -ECANCELED;
    coil_scope_enter_shield(&shield, COIL_SECONDS(5));
    leftovers->cleaned += coil_sleep(COIL_US(10)) == 0;
    (void)coil_scope_leave(&shield);
    return 0;
}

static int leave_many(void *arg)
{
    for (int i = 0; i < SPAWN_COUNT; i++) {
        if (coil_spawn(end_when_cancelled, arg, NULL) < 0)
            return -1;
        if (i == SPAWN_COUNT / 2)
            coil_yield();
    }
    return 3;
}

Test(run, what_main_leaves_is_cancelled_and_may_clean_up, .timeout = 60)
{
    struct leftovers leftovers = {0};
    const int64_t blocks = coil__alloc_live_count();
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(leave_many, &leftovers, NULL, &result), 0);

    cr_assert_eq(result, 3);
    cr_assert_eq(leftovers.started, SPAWN_COUNT, "also those that had not started yet");
    cr_assert_eq(leftovers.cancelled, SPAWN_COUNT);
    cr_assert_eq(leftovers.cleaned, SPAWN_COUNT);
    cr_assert_eq(coil__alloc_live_count(), blocks);
}

static int spawn_when_cancelled(void *arg)
{
    const int result = coil_sleep(COIL_NEVER);

    if (coil_spawn(sleep_forever, arg, NULL) < 0)
        return 1;
    return result;
}

static int leave_a_spawner(void *arg)
{
    const int result = coil_spawn(spawn_when_cancelled, arg, NULL);

    coil_yield();
    return result;
}

Test(run, what_is_spawned_during_the_end_is_cancelled_as_well, .timeout = 60)
{
    const coil_options options = {.size = sizeof options, .grace = COIL_SECONDS(2)};

    cr_assert_eq(fiber_test_coil_run(leave_a_spawner, NULL, &options, NULL), 0);
}

static int hide_from_cancellation(void *arg)
{
    coil_scope shield;
    int result;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_sem_acquire(arg);
    (void)coil_scope_leave(&shield);
    return result;
}

static int leave_stubborn_fibers(void *arg)
{
    for (int i = 0; i < 12; i++) {
        coil_fiber *fiber;
        char name[] = "stubborn_?";

        if (coil_spawn(hide_from_cancellation, arg, &fiber) < 0)
            return -1;
        name[9] = (char)('a' + i);
        coil_fiber_name_set(fiber, name);
        coil_fiber_unref(fiber);
    }
    coil_yield();
    return 0;
}

static int lose_fibers(void *arg)
{
    const coil_options options = {.size = sizeof options, .grace = COIL_MS(20)};
    const int64_t start = coil_now();
    int result = 77;
    coil_sem sem;

    (void)arg;
    coil_sem_init(&sem, 0);
    child_check(fiber_test_coil_run(leave_stubborn_fibers, &sem, &options, &result) == -ETIMEDOUT,
                "status is not -ETIMEDOUT");
    child_check(coil_now() - start >= COIL_MS(20), "the grace was not given");
    child_check(result == 77, "a failed run stored a result");
    child_check(fiber_test_coil_run(return_number, NULL, NULL, &result) == 0 && result == 0,
                "coil_run() does not work again afterwards");
    return 0;
}

Test(run, fibers_that_outlive_the_grace_are_named_and_lost, .timeout = 60)
{
    struct child_end end;

    child_run(lose_fibers, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "'stubborn_a' still waits for semaphore"));
    cr_assert_not_null(strstr(end.output, "'stubborn_j'"));
    cr_assert_null(strstr(end.output, "'stubborn_k'"), "ten names are enough");
    cr_assert_not_null(strstr(end.output, "12 fibers"));
}

static int outlast_the_grace(void *arg)
{
    const int64_t start = coil_now();

    (void)arg;
    (void)coil_sleep(COIL_NEVER);
    while (coil_now() - start < COIL_MS(20))
        continue;
    return 0;
}

static int leave_a_burner(void *arg)
{
    const int result = coil_spawn(outlast_the_grace, arg, NULL);

    coil_yield();
    return result < 0 ? result : 9;
}

static int end_with_the_grace(void *arg)
{
    const coil_options options = {.size = sizeof options, .grace = 1};
    int result = 0;

    child_check(fiber_test_coil_run(leave_a_burner, arg, &options, &result) == 0,
                "nothing is lost, but the status says so");
    child_check(result == 9, "main's result is lost");
    return 0;
}

Test(run, a_fiber_that_ends_in_the_very_turn_of_the_grace_is_not_lost, .timeout = 60)
{
    struct child_end end;

    child_run(end_with_the_grace, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
    cr_assert_str_empty(end.output);
}

/* ---- Options ---- */

static int report_sizes(void *arg)
{
    *(size_t *)arg = coil__sched_this->stacks.usable_size;
    return coil_spawn(return_number, NULL, NULL);
}

struct message_log {
    int count;
    char last[400];
};

static void keep_message(coil_log_level level, const char *message, void *arg)
{
    struct message_log *log = arg;

    (void)level;
    log->count++;
    (void)snprintf(log->last, sizeof log->last, "%s", message);
}

Test(run, options_are_honoured_and_zero_means_default, .timeout = 60)
{
    struct message_log log = {0};
    coil_options options = COIL_OPTIONS_INIT;
    size_t default_size = 0;
    size_t size = 0;
    int result = 0;

    coil_log_set(keep_message, &log);
    cr_assert_eq(fiber_test_coil_run(report_sizes, &default_size, NULL, NULL), 0);
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, NULL), 0);
    cr_assert_eq(size, default_size);
    options.stack_size = 300001;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, NULL), 0);
    cr_assert_eq(size, 303104, "whole pages");
    cr_assert_eq(log.count, 0);

    options.fibers_max = 1;
    options.report_engine = true;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), 0);
    cr_assert_eq(result, -EAGAIN);
    cr_assert_eq(log.count, 1);
    cr_assert_not_null(strstr(log.last, "buffers"), "the engine's line: %s", log.last);
    coil_log_set(NULL, NULL);
}

Test(run, a_program_with_older_shorter_options_gets_defaults_for_the_rest, .timeout = 60)
{
    struct message_log log = {0};
    const coil_options options = {
        .size = offsetof(coil_options, fibers_max),
        .stack_size = 128 * 1024,
        .fibers_max = 1,
        .report_engine = true,
    };
    size_t size = 0;
    int result = 77;

    coil_log_set(keep_message, &log);
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), 0);
    coil_log_set(NULL, NULL);

    cr_assert_eq(size, 128 * 1024);
    cr_assert_eq(result, 0, "fibers_max lies beyond what the caller knows");
    cr_assert_eq(log.count, 0);
}

Test(run, stacks_have_a_minimum_that_the_libraries_own_calls_need, .timeout = 60)
{
    coil_options options = COIL_OPTIONS_INIT;
    size_t size = 0;

    options.stack_size = 1;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, NULL), 0);
    cr_assert_eq(size, 16 * 1024);
    options.stack_size = (size_t)16 * 1024 + 1;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, NULL), 0);
    cr_assert_eq(size, 20 * 1024);
}

Test(run, options_without_their_initialiser_are_refused_with_a_reason, .timeout = 60)
{
    const coil_options options = {.fibers_max = 1};
    struct message_log log = {0};
    size_t size = 0;
    int result = 77;

    coil_log_set(keep_message, &log);
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), -EINVAL);
    coil_log_set(NULL, NULL);
    cr_assert_not_null(strstr(log.last, "COIL_OPTIONS_INIT"), "%s", log.last);
    cr_assert_eq(result, 77);
    cr_assert_eq(size, 0, "main has not run");
}

Test(run, options_that_cannot_be_are_refused_with_a_reason, .timeout = 60)
{
    struct message_log log = {0};
    coil_options options = COIL_OPTIONS_INIT;
    size_t size = 0;
    int result = 77;

    coil_log_set(keep_message, &log);
    options.stack_size = SIZE_MAX;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), -EINVAL);
    cr_assert_not_null(strstr(log.last, "stack_size"), "%s", log.last);
    options.stack_size = (size_t)1024 * 1024 * 1024 + 1;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), -EINVAL);
    options.stack_size--;
    cr_assert_eq(fiber_test_coil_run(report_sizes, &size, &options, &result), 0);
    cr_assert_eq(size, options.stack_size);
    coil_log_set(NULL, NULL);

    cr_assert_eq(log.count, 2);
    cr_assert_eq(result, 0);
}

static int forget_handles(void *arg)
{
    coil_fiber *forgotten;

    for (int i = 0; i < 3; i++)
        if (coil_spawn(i == 0 ? sleep_forever : return_number, arg, &forgotten) < 0)
            return -1;
    return 4;
}

Test(run, handles_that_are_never_given_back_are_named_and_freed, .timeout = 60)
{
    struct message_log log = {0};
    const int64_t blocks = coil__alloc_live_count();
    int result = 0;

    coil_log_set(keep_message, &log);
    cr_assert_eq(fiber_test_coil_run(forget_handles, NULL, NULL, &result), 0);
    coil_log_set(NULL, NULL);

    cr_assert_eq(result, 4);
    cr_assert_eq(log.count, 1);
    cr_assert_not_null(strstr(log.last, "3 handles"), "%s", log.last);
    cr_assert_not_null(strstr(log.last, "coil_fiber_unref"), "%s", log.last);
    cr_assert_eq(coil__alloc_live_count(), blocks);
}

/* ---- Streams and listeners that main forgets ---- */

struct forgotten {
    coil_listener *listener;
    coil_stream *stream;
    bool with_orders; /* the kernel still has to do something for them */
};

static int accept_and_read(void *arg)
{
    struct forgotten *forgotten = arg;
    char byte;
    int result = coil_accept(forgotten->listener, &forgotten->stream);

    if (result == 0 && forgotten->with_orders)
        result = (int)coil_read(forgotten->stream, &byte, 1);
    return result;
}

static int forget_a_stream(void *arg)
{
    struct forgotten *forgotten = arg;
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;
    coil_fiber *fiber;

    child_check(coil_listen("127.0.0.1:0", NULL, &forgotten->listener) == 0, "listen");
    child_check(coil_listener_address(forgotten->listener, address, sizeof address) > 0, "address");
    child_check(coil_spawn(accept_and_read, forgotten, &fiber) == 0, "spawn");
    child_check(coil_connect(address, NULL, &stream) == 0, "connect");
    while (!forgotten->stream)
        coil_yield();
    if (!forgotten->with_orders)
        coil_listener_close(forgotten->listener);
    (void)coil_close(stream);
    (void)coil_join(fiber, NULL);
    coil_fiber_unref(fiber);
    return 5;
}

static int forget_a_listener(void *arg)
{
    struct forgotten *forgotten = arg;
    coil_fiber *fiber;

    child_check(coil_listen("127.0.0.1:0", NULL, &forgotten->listener) == 0, "listen");
    child_check(coil_spawn(accept_and_read, forgotten, &fiber) == 0, "spawn");
    child_check(coil_sleep(COIL_MS(1)) == 0, "sleep");
    coil_fiber_unref(fiber);
    return 5;
}

struct forgetting {
    int (*main)(void *arg);
    bool with_orders;
};

static int run_and_forget(void *arg)
{
    const struct forgetting *forgetting = arg;
    struct forgotten forgotten = {.with_orders = forgetting->with_orders};
    int result = 0;

    child_check(fiber_test_coil_run(forgetting->main, &forgotten, NULL, &result) == 0, "status");
    child_check(result == 5, "main's result is lost");
    child_check(fiber_test_coil_run(return_number, NULL, NULL, &result) == 0 && result == 0,
                "coil_run() does not work again afterwards");
    return 0;
}

Test(run, streams_and_listeners_that_are_never_closed_are_named_and_not_fatal, .timeout = 60)
{
    struct forgetting cases[] = {
        {forget_a_stream, false}, {forget_a_stream, true}, {forget_a_listener, true}};
    struct child_end end;

    for (int i = 0; i < 3; i++) {
        child_run(run_and_forget, &cases[i], &end);
        cr_assert_eq(end.exit_code, 0, "case %d: signal %d, %s", i, end.signal, end.output);
        cr_assert_not_null(strstr(end.output, "not closed"), "case %d: %s", i, end.output);
        cr_assert_not_null(strstr(end.output, "coil_close()"), "case %d: %s", i, end.output);
    }
}

/* ---- Threads ---- */

struct thread_run {
    pthread_t thread;
    int status;
    int result;
    int number;
};

static int sleep_and_spawn(void *arg)
{
    coil_fiber *fiber;
    int sum = 0;

    for (int i = 0; i < SPAWN_COUNT; i++) {
        int result = 0;

        if (coil_spawn(return_number, arg, &fiber) < 0 || coil_join(fiber, &result) < 0)
            return -1;
        coil_fiber_unref(fiber);
        sum += result;
        if (i % 100 == 0 && coil_sleep(COIL_US(100)) < 0)
            return -1;
    }
    return sum;
}

static void *run_in_thread(void *arg)
{
    struct thread_run *run = arg;

    run->status = fiber_test_coil_run(sleep_and_spawn, &run->number, NULL, &run->result);
    return NULL;
}

Test(run, two_threads_run_apart, .timeout = 60)
{
    struct thread_run runs[2] = {{.number = 1}, {.number = 2}};

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&runs[i].thread, NULL, run_in_thread, &runs[i]), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(runs[i].thread, NULL), 0);
        cr_assert_eq(runs[i].status, 0);
        cr_assert_eq(runs[i].result, SPAWN_COUNT * runs[i].number);
    }
}

static void *run_briefly(void *arg)
{
    struct thread_run *run = arg;

    run->status = fiber_test_coil_run(return_number, &run->number, NULL, &run->result);
    return NULL;
}

Test(run, a_hundred_fresh_threads_leave_nothing, .timeout = 60)
{
    const int64_t blocks = coil__alloc_live_count();
    const int fds = count_fds();

    for (int i = 0; i < THREAD_RUNS; i++) {
        struct thread_run run = {.number = i};

        cr_assert_eq(pthread_create(&run.thread, NULL, run_briefly, &run), 0);
        cr_assert_eq(pthread_join(run.thread, NULL), 0);
        cr_assert_eq(run.status, 0);
        cr_assert_eq(run.result, i);
    }

    cr_assert_eq(coil__alloc_live_count(), blocks);
    cr_assert_eq(count_fds(), fds);
}
