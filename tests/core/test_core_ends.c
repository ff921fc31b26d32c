/* SPDX-License-Identifier: MIT */
/* The cores of a run start together and end together: what one of them is refused undoes all, what
 * main leaves on any of them is cancelled, and what is lost on one is named.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "core/run.h"
#include "core/team.h"
#include "engine/uring.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    CORES = 3,
    ALLOCATIONS_MAX = 200,
    FIBERS = 50,
};

static const coil_options three = {.size = sizeof three, .cores = CORES};

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int return_seven(void *arg)
{
    (void)arg;
    return 7;
}

/* ---- The end ---- */

struct leftovers {
    atomic_int parked;
    atomic_int cancelled;
    atomic_int called; /* another core, during the end */
};

static int clean_up_elsewhere(void *arg)
{
    struct leftovers *leftovers = arg;
    coil_scope shield;

    leftovers->parked++;
    leftovers->cancelled += coil_sleep(COIL_NEVER) == -ECANCELED;
    coil_scope_enter_shield(&shield, COIL_SECONDS(5));
    leftovers->called += coil_on((coil_core() + 1) % CORES, do_nothing, NULL, NULL) == 0;
    (void)coil_scope_leave(&shield);
    return 0;
}

static int leave_fibers_everywhere(void *arg)
{
    struct leftovers *leftovers = arg;

    for (unsigned i = 0; i < FIBERS; i++)
        if (coil_spawn_on(i % CORES, clean_up_elsewhere, leftovers) < 0)
            return -1;
    while (leftovers->parked < FIBERS)
        coil_yield();
    return 4;
}

Test(core_ends, what_main_leaves_on_any_core_is_cancelled_and_may_still_call_over, .timeout = 60)
{
    struct leftovers leftovers = {0};
    const int64_t blocks = coil__alloc_live_count();
    const int fds = count_fds();
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(leave_fibers_everywhere, &leftovers, &three, &result), 0);

    cr_assert_eq(result, 4);
    cr_assert_eq(leftovers.cancelled, FIBERS);
    cr_assert_eq(leftovers.called, FIBERS);
    cr_assert_eq(coil__alloc_live_count(), blocks);
    cr_assert_eq(count_fds(), fds);
}

/* Ends while main of core 0 has long been done: core 1 alone is busy, and calls the idle cores. */
static int linger(void *arg)
{
    atomic_int *called = arg;
    coil_scope shield;

    (void)coil_sleep(COIL_NEVER);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    for (int i = 0; i < 20; i++) {
        (void)coil_sleep(COIL_MS(1));
        *called += coil_on(0, do_nothing, NULL, NULL) == 0;
        *called += coil_on(2, do_nothing, NULL, NULL) == 0;
        *called += coil_spawn_on(2, do_nothing, NULL) == 0;
    }
    (void)coil_scope_leave(&shield);
    return 0;
}

static int leave_a_lingerer(void *arg)
{
    return coil_spawn_on(1, linger, arg);
}

Test(core_ends, no_core_leaves_while_another_has_fibers, .timeout = 60)
{
    coil_options options = three;
    atomic_int called = 0;

    options.grace = COIL_SECONDS(50);
    cr_assert_eq(fiber_test_coil_run(leave_a_lingerer, &called, &options, NULL), 0);
    cr_assert_eq(called, 60);
}

static int hide_from_cancellation(void *arg)
{
    coil_scope shield;
    coil_sem never;
    int result;

    (void)arg;
    coil_fiber_name_set(coil_self(), "stubborn");
    coil_sem_init(&never, 0);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_sem_acquire(&never);
    (void)coil_scope_leave(&shield);
    return result;
}

static int leave_a_stubborn_fiber(void *arg)
{
    return coil_spawn_on(2, hide_from_cancellation, arg);
}

static int lose_a_fiber(void *arg)
{
    const coil_options options = {.size = sizeof options, .cores = CORES, .grace = COIL_MS(20)};
    int result = 77;

    (void)arg;
    child_check(fiber_test_coil_run(leave_a_stubborn_fiber, NULL, &options, &result) == -ETIMEDOUT,
                "status is not -ETIMEDOUT");
    child_check(result == 77, "a failed run stored a result");
    child_check(fiber_test_coil_run(return_seven, NULL, &options, &result) == 0 && result == 7,
                "coil_run() does not work again afterwards");
    return 0;
}

Test(core_ends, a_fiber_that_outlives_the_grace_on_another_core_is_named, .timeout = 60)
{
    struct child_end end;

    child_run(lose_a_fiber, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "fiber 2000000000000001 'stubborn' still waits for"),
                       "%s", end.output);
}

/* Core 0 is held in a post until its grace is over and a call has come, which it has no turn left
 * to look at. Core 2 has something to do last, after which no grace bounds its waiting for others.
 */
struct late_call {
    coil_post_node hold;
    atomic_bool is_holding;
};

static void hold_core(coil_post_node *post)
{
    struct late_call *late = (struct late_call *)(void *)post;
    const coil_time start = coil_now();

    late->is_holding = true;
    while (coil_now() - start < COIL_MS(60) || !coil__remote_has_posts(coil__sched_this->remote))
        (void)sched_yield();
}

static int call_late(void *arg)
{
    struct late_call *late = arg;
    coil_scope shield;
    int result;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    while (!late->is_holding)
        (void)sched_yield(); /* without a turn in which the end could begin here */
    result = coil_on(0, do_nothing, NULL, NULL);
    (void)coil_scope_leave(&shield);
    return result;
}

static int do_something_last(void *arg)
{
    coil_scope shield;
    int result;

    (void)arg;
    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_sleep(COIL_MS(150)); /* core 0 is gone by then */
    (void)coil_scope_leave(&shield);
    return result;
}

static int have_something_last(void *arg)
{
    (void)arg;
    coil__sched_this->last = do_something_last;
    return 0;
}

static int leave_a_late_caller(void *arg)
{
    struct late_call *late = arg;

    late->hold.run = hold_core;
    if (coil_on(2, have_something_last, NULL, NULL) < 0 || coil_spawn_on(1, call_late, arg) < 0)
        return -1;
    return coil__remote_post(coil__sched_this->remote, &late->hold);
}

static int meet_the_end_of_the_grace(void *arg)
{
    const coil_options options = {.size = sizeof options, .cores = CORES, .grace = COIL_MS(20)};
    struct late_call late = {.is_holding = false};

    (void)arg;
    child_check(coil_run(leave_a_late_caller, &late, &options, NULL) == -ETIMEDOUT,
                "status is not -ETIMEDOUT");
    return 0;
}

Test(core_ends, a_call_that_meets_the_end_of_the_grace_holds_nobody_up, .timeout = 20)
{
    struct child_end end;

    child_run(meet_the_end_of_the_grace, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
}

/* ---- The start ---- */

struct message_log {
    char last[400];
};

static void keep_message(coil_log_level level, const char *message, void *arg)
{
    struct message_log *log = arg;

    (void)level;
    (void)snprintf(log->last, sizeof log->last, "%s", message);
}

Test(core_ends, more_cores_than_can_be_are_refused_with_a_reason, .timeout = 60)
{
    coil_options options = {.size = sizeof options, .cores = COIL__CORES_MAX + 1};
    struct message_log log = {""};
    int result = 77;

    coil_log_set(keep_message, &log);
    cr_assert_eq(fiber_test_coil_run(return_seven, NULL, &options, &result), -EINVAL);
    coil_log_set(NULL, NULL);
    cr_assert_not_null(strstr(log.last, "coil_options.cores is 1025"), "%s", log.last);
    cr_assert_eq(result, 77);
}

Test(core_ends, the_nth_allocation_fails_cleanly_for_each_n, .timeout = 60)
{
    const int fds = count_fds();
    struct message_log log;
    int n;

    coil_log_set(keep_message, &log);
    for (n = 0; n < ALLOCATIONS_MAX; n++) {
        const int64_t blocks = coil__alloc_live_count();
        int result = 77;
        int status;

        coil__alloc_fail_after(n);
        status = fiber_test_coil_run(return_seven, NULL, &three, &result);
        coil__alloc_fail_after(-1);
        cr_assert_eq(coil__alloc_live_count(), blocks, "leaked when allocation %d failed", n);
        cr_assert_eq(count_fds(), fds, "descriptors leaked when allocation %d failed", n);
        if (status == 0)
            break;
        cr_assert_eq(status, -ENOMEM, "allocation %d: status %d", n, status);
        cr_assert_eq(result, 77);
    }
    coil_log_set(NULL, NULL);
    cr_assert_gt(n, 2 * CORES);
    cr_assert_lt(n, ALLOCATIONS_MAX, "it never passes");
}

static atomic_int engines_left; /* until one is refused */
static coil__engine_open *real_open;

static int open_some(const struct coil__engine_options *options, struct coil__engine **ret_engine,
                     char *ret_why)
{
    if (atomic_fetch_sub(&engines_left, 1) <= 0) {
        (void)snprintf(ret_why, 100, "no more engines today");
        return -EMFILE;
    }
    return real_open(options, ret_engine, ret_why);
}

Test(core_ends, a_core_that_gets_no_engine_undoes_all_and_says_why, .timeout = 60)
{
    const int64_t blocks = coil__alloc_live_count();
    const int fds = count_fds();
    struct message_log log = {""};
    int result = 77;

    real_open = coil__run_engine_open;
    coil__run_engine_open = open_some;
    coil_log_set(keep_message, &log);
    for (int i = 0; i < CORES; i++) {
        engines_left = i;
        cr_assert_eq(coil_run(return_seven, NULL, &three, &result), -EMFILE, "%d engines", i);
        cr_assert_str_eq(log.last, "no more engines today");
        cr_assert_eq(coil__alloc_live_count(), blocks, "%d engines", i);
        cr_assert_eq(count_fds(), fds, "%d engines", i);
    }
    coil_log_set(NULL, NULL);
    cr_assert_eq(result, 77, "main has not run");
    engines_left = CORES;
    cr_assert_eq(coil_run(return_seven, NULL, &three, &result), 0);
    coil__run_engine_open = real_open;
}

/* ---- A ring that breaks in the middle ---- */

static const struct coil__uring_kernel *real_kernel;
static _Thread_local bool is_broken;

static int enter_or_break(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                          void *arg, size_t argsize)
{
    return is_broken ? -EBADF
                     : real_kernel->enter(fd, to_submit, min_complete, flags, arg, argsize);
}

static int break_this_ring(void *arg)
{
    (void)arg;
    is_broken = true;
    return coil_sleep(COIL_NEVER);
}

static int wait_beside_a_broken_core(void *arg)
{
    const int result = coil_spawn_on(1, break_this_ring, arg);

    return result < 0 ? result : coil_sleep(COIL_NEVER);
}

static int break_a_ring(void *arg)
{
    static struct coil__uring_kernel kernel;
    int result = 77;

    (void)arg;
    real_kernel = coil__uring_kernel;
    kernel = *real_kernel;
    kernel.enter = enter_or_break;
    coil__uring_kernel = &kernel;
    child_check(coil_run(wait_beside_a_broken_core, NULL, &three, &result) == -EBADF,
                "status is not the ring's error");
    child_check(result == 77, "a failed run stored a result");
    return 0;
}

Test(core_ends, a_ring_that_breaks_on_one_core_ends_the_whole_run, .timeout = 60)
{
    struct child_end end;

    child_run(break_a_ring, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "signal %d: %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "coil: error: the engine failed"), "%s", end.output);
}

/* ---- Off the scheduler ---- */

static void *sleep_off_scheduler(void *arg)
{
    (void)coil_sleep(0);
    return arg;
}

static int call_from_a_plain_thread(void *arg)
{
    pthread_t thread;

    (void)arg;
    child_check(pthread_create(&thread, NULL, sleep_off_scheduler, NULL) == 0, "no thread");
    (void)pthread_join(thread, NULL);
    return 0;
}

Test(core_ends, a_call_from_a_thread_without_coil_run_stops_with_a_sentence, .timeout = 60)
{
    struct child_end end;

    child_run(call_from_a_plain_thread, NULL, &end);

    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "called inside coil_run()"), "%s", end.output);
}

static int wait_for_permit(void *arg)
{
    return coil_sem_acquire(arg);
}

static int release_foreign(void *arg)
{
    coil_sem_release(arg);
    return 0;
}

static int wake_a_fiber_elsewhere(void *arg)
{
    coil_sem sem;

    (void)arg;
    coil_sem_init(&sem, 0);
    (void)spawn_until_parked(wait_for_permit, &sem);
    return coil_on(1, release_foreign, &sem, NULL);
}

static int run_wake_elsewhere(void *arg)
{
    (void)arg;
    return fiber_test_coil_run(wake_a_fiber_elsewhere, NULL, &three, NULL);
}

Test(core_ends, a_wake_from_another_core_stops_with_a_sentence, .timeout = 60)
{
    struct child_end end;

    child_run(run_wake_elsewhere, NULL, &end);

    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "from its own thread"), "%s", end.output);
}

static int cancel_foreign_fiber(void *arg)
{
    coil_cancel(arg);
    return 0;
}

static int use_a_fiber_elsewhere(void *arg)
{
    (void)arg;
    return coil_on(1, cancel_foreign_fiber, coil_self(), NULL);
}

static int run_use_elsewhere(void *arg)
{
    (void)arg;
    return fiber_test_coil_run(use_a_fiber_elsewhere, NULL, &three, NULL);
}

Test(core_ends, a_handle_used_on_another_core_stops_with_a_sentence, .timeout = 60)
{
    struct child_end end;

    child_run(run_use_elsewhere, NULL, &end);

    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "a fiber's handle stays on its core"), "%s", end.output);
}
