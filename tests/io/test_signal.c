/* SPDX-License-Identifier: MIT */
/* Signals as events: each one that was delivered is told once to everybody who wants it, and what
 * was there before comes back.
 */
#include <coil/signal.h>

#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/signal.h"
#include "support/child.h"
#include "support/fiber_test.h"

TestSuite(signal, .timeout = 60);

static coil_signal *open_signals(int first, int second)
{
    coil_signal *signal;
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, first);
    (void)sigaddset(&signals, second);
    cr_assert_eq(coil_signal_open(&signals, &signal), 0);
    return signal;
}

static int next(coil_signal *signal)
{
    int number = 0;
    const int result = coil_signal_wait(signal, &number);

    return result < 0 ? result : number;
}

/* What comes without waiting; -ETIMEDOUT for nothing. */
static int next_now(coil_signal *signal)
{
    coil_scope scope;
    int number;

    coil_scope_enter(&scope, COIL_MS(5));
    number = next(signal);
    (void)coil_scope_leave(&scope);
    return number;
}

static int wait_for_one(void *arg)
{
    return next(arg);
}

FIBER_TEST(signal, a_waiting_fiber_is_told_the_number)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    coil_fiber *fiber = spawn_until_parked(wait_for_one, signal);

    cr_assert_eq(raise(SIGUSR2), 0);

    cr_assert_eq(join_and_drop(fiber), SIGUSR2);
    coil_signal_close(signal);
    coil_signal_close(NULL);
}

FIBER_TEST(signal, as_many_as_were_delivered_are_told_the_lowest_first)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);

    cr_assert_eq(raise(SIGUSR2), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(raise(SIGUSR1), 0);

    for (int i = 0; i < 3; i++)
        cr_assert_eq(next(signal), SIGUSR1);
    cr_assert_eq(next(signal), SIGUSR2);
    cr_assert_eq(next_now(signal), -ETIMEDOUT);
    coil_signal_close(signal);
}

/* The descriptor is shared with the child, what was counted is not. */
FIBER_TEST(signal, what_strikes_a_forked_child_before_its_exec_is_not_told_here)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    const pid_t child = fork();
    int status;

    if (child == 0) {
        (void)raise(SIGUSR1);
        _exit(0);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);

    cr_assert_eq(next_now(signal), -ETIMEDOUT);
    cr_assert_eq(raise(SIGUSR2), 0);
    cr_assert_eq(next(signal), SIGUSR2);
    coil_signal_close(signal);
}

FIBER_TEST(signal, everybody_who_wants_a_signal_is_told)
{
    coil_signal *first = open_signals(SIGUSR1, SIGUSR1);
    coil_signal *second = open_signals(SIGUSR1, SIGUSR2);

    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(next(first), SIGUSR1);
    coil_signal_close(first);
    cr_assert_eq(raise(SIGUSR1), 0);

    cr_assert_eq(next(second), SIGUSR1);
    cr_assert_eq(next(second), SIGUSR1);
    coil_signal_close(second);
}

FIBER_TEST(signal, an_interrupted_wait_loses_no_signal)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);

    for (int i = 0; i < 20; i++) {
        coil_fiber *fiber = spawn_until_parked(wait_for_one, signal);
        int result;

        coil_cancel(fiber);
        cr_assert_eq(raise(SIGUSR1), 0);
        result = join_and_drop(fiber);
        if (result == -ECANCELED)
            result = next(signal);
        cr_assert_eq(result, SIGUSR1);
    }
    cr_assert_eq(next_now(signal), -ETIMEDOUT);
    coil_signal_close(signal);
}

FIBER_TEST(signal, a_second_waiter_is_refused)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    coil_fiber *fiber = spawn_until_parked(wait_for_one, signal);

    cr_assert_eq(next(signal), -EBUSY);

    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(join_and_drop(fiber), SIGUSR1);
    coil_signal_close(signal);
}

static volatile sig_atomic_t caught_before;

static void catch_before(int number)
{
    caught_before = number;
}

FIBER_TEST(signal, what_was_there_before_comes_back)
{
    const struct sigaction before = {.sa_handler = catch_before};
    coil_signal *signal;

    cr_assert_eq(sigaction(SIGUSR1, &before, NULL), 0);
    signal = open_signals(SIGUSR1, SIGUSR2);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(caught_before, 0);
    coil_signal_close(signal);

    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(caught_before, SIGUSR1);
}

static void catch_later(int number)
{
    (void)number;
}

FIBER_TEST(signal, what_somebody_else_has_installed_meanwhile_stays)
{
    const struct sigaction later = {.sa_handler = catch_later};
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    struct sigaction over;
    struct sigaction after;

    cr_assert_eq(sigaction(SIGUSR1, &later, &over), 0);
    coil_signal_close(signal);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, catch_later);
    cr_assert_eq(sigaction(SIGUSR2, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_DFL);

    /* Out of order: coil's comes back when nobody needs it, and goes with its next use. */
    cr_assert_eq(sigaction(SIGUSR1, &over, NULL), 0);
    signal = open_signals(SIGUSR1, SIGUSR2);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(next(signal), SIGUSR1);
    coil_signal_close(signal);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_DFL);
}

FIBER_TEST(signal, what_somebody_else_has_taken_away_again_does_not_come_back)
{
    const struct sigaction later = {.sa_handler = catch_later};
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    struct sigaction over;
    struct sigaction after;

    cr_assert_eq(sigaction(SIGUSR1, &later, &over), 0);
    coil_signal_close(signal);
    coil_signal_close(open_signals(SIGUSR1, SIGUSR2)); /* over that one */
    cr_assert_eq(sigaction(SIGUSR1, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, catch_later);

    cr_assert_eq(sigaction(SIGUSR1, &over, NULL), 0);
    coil_signal_close(open_signals(SIGUSR1, SIGUSR2));
    cr_assert_eq(sigaction(SIGUSR1, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_DFL);
}

FIBER_TEST(signal, what_cannot_be_caught_is_refused_and_there_is_a_limit)
{
    coil_signal *signals[COIL__SIGNAL_WATCHES_MAX];
    coil_signal *more = NULL;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGKILL);
    cr_assert_eq(coil_signal_open(&set, &more), -EINVAL);
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        signals[i] = open_signals(SIGUSR1, SIGUSR2);
    (void)sigemptyset(&set);
    cr_assert_eq(coil_signal_open(&set, &more), -EAGAIN);
    cr_assert_null(more);
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        coil_signal_close(signals[i]);
}

/* ---- Small stacks ---- */

enum {
    LEFT_OVER = 1024, /* for raise(3), and not for the kernel's frame of a signal as well */
};

/* Raises a signal where so much of the fiber's stack is left. */
/* NOLINTNEXTLINE(misc-no-recursion): that is the point */
static int raise_deep_down(int number)
{
    volatile char frame[64];
    const struct coil__tcb *self = coil__self();
    const size_t used = (uintptr_t)self->stack_top - (uintptr_t)frame;

    frame[0] = 1;
    if (used + LEFT_OVER >= self->sched->stacks.usable_size)
        return raise(number);
    return raise_deep_down(number) + frame[0] - 1;
}

static int be_struck_deep_down(void *arg)
{
    coil_signal *signal = open_signals(SIGUSR1, SIGUSR2);
    int result = raise_deep_down(SIGUSR1);

    (void)arg;
    if (result == 0)
        result = next(signal) == SIGUSR1 ? 0 : -EILSEQ;
    coil_signal_close(signal);
    return result;
}

static int run_on_a_small_stack(void *arg)
{
    const coil_options options = {.size = sizeof options, .stack_size = (size_t)16 * 1024};
    int result = -1;

    (void)arg;
    child_check(coil_run(be_struck_deep_down, NULL, &options, &result) == 0, "status");
    child_check(result == 0, "result");
    return 0;
}

Test(signal, handlers_need_no_room_on_the_stack_of_a_fiber)
{
    struct child_end end;

    child_run(run_on_a_small_stack, NULL, &end);
    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
}

/* ---- Handlers ---- */

struct seen {
    unsigned count;
    unsigned done;
    int number;
};

static int count_signal(int number, void *arg)
{
    struct seen *seen = arg;

    seen->count++;
    seen->number = number;
    coil_yield();
    seen->done++;
    return 0;
}

FIBER_TEST(signal, a_function_runs_in_a_fiber_for_each_signal_until_it_is_cancelled)
{
    const struct sigaction before = {.sa_handler = catch_before};
    struct seen seen = {0};
    coil_fiber *watcher;

    cr_assert_eq(sigaction(SIGUSR1, &before, NULL), 0);
    cr_assert_eq(coil_signal_handle(SIGUSR1, count_signal, &seen, &watcher), 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(raise(SIGUSR1), 0);
    while (seen.done < 5)
        coil_yield();
    cr_assert_eq(seen.count, 5);
    cr_assert_eq(seen.number, SIGUSR1);

    coil_cancel(watcher);
    cr_assert_eq(join_and_drop(watcher), -ECANCELED);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(caught_before, SIGUSR1);
    cr_assert_eq(seen.count, 5);
}

FIBER_TEST(signal, a_handler_without_a_handle_lasts_until_the_run_ends)
{
    struct seen seen = {0};

    cr_assert_eq(coil_signal_handle(SIGUSR1, count_signal, &seen, NULL), 0);
    cr_assert_eq(raise(SIGUSR1), 0);
    while (seen.done < 1)
        coil_yield();
}

FIBER_TEST(signal, impossible_numbers_are_refused)
{
    cr_assert_eq(coil_signal_handle(0, count_signal, NULL, NULL), -EINVAL);
    cr_assert_eq(coil_signal_handle(1000, count_signal, NULL, NULL), -EINVAL);
    cr_assert_eq(coil_signal_handle(SIGSTOP, count_signal, NULL, NULL), -EINVAL);
}

FIBER_TEST(signal, without_memory_none_is_opened_and_nothing_is_watched)
{
    coil_signal *signal = NULL;
    struct sigaction now;
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_signal_open(&signals, &signal), -ENOMEM);
    coil__alloc_fail_after(1);
    cr_assert_eq(coil_signal_open(&signals, &signal), 0, "it needs no more than one block");
    coil__alloc_fail_after(-1);
    coil_signal_close(signal);
    cr_assert_eq(sigaction(SIGUSR1, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, SIG_DFL);
}

FIBER_TEST(signal, without_memory_for_a_fiber_the_watching_one_runs_the_function)
{
    struct seen seen = {0};
    coil_fiber *watcher = NULL;

    for (int n = 0; n < 3; n++) {
        coil__alloc_fail_after(n);
        if (coil_signal_handle(SIGUSR1, count_signal, &seen, &watcher) == 0)
            break;
        coil__alloc_fail_after(-1);
    }
    cr_assert_not_null(watcher);
    until_parked(watcher);
    coil__alloc_fail_after(0);
    cr_assert_eq(raise(SIGUSR1), 0);
    while (seen.done < 1)
        coil_yield();
    coil__alloc_fail_after(-1);
    cr_assert_eq(seen.count, 1);
    coil_cancel(watcher);
    cr_assert_eq(join_and_drop(watcher), -ECANCELED);
}

static const coil_options two_fibers = {.size = sizeof two_fibers, .fibers_max = 2};

FIBER_TEST_WITH(signal, at_the_limit_of_fibers_the_watching_one_runs_the_function, &two_fibers)
{
    struct seen seen = {0};
    coil_fiber *watcher;

    cr_assert_eq(coil_signal_handle(SIGUSR1, count_signal, &seen, &watcher), 0);
    until_parked(watcher);
    cr_assert_eq(raise(SIGUSR1), 0);
    while (seen.done < 1)
        coil_yield();
    cr_assert_eq(seen.count, 1);
    coil_cancel(watcher);
    cr_assert_eq(join_and_drop(watcher), -ECANCELED);
}
