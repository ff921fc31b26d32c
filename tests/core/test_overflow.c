/* SPDX-License-Identifier: MIT */
/* Stack overflow: with coil_options.report_overflow the fiber is named before the program dies as
 * it would have died anyway; without the option nothing is installed.
 *
 * Each case dies in a child process. Under ASan, which has a handler of its own, the death is an
 * exit with its report instead of SIGSEGV, seen by us as any failure.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    HUGE_ARRAY = 4 * 1024 * 1024, /* well beyond stack and guard together */
    HANDLER_EXIT = 7,
};

/* What a fiber named "deep" is to do, with the option or without. */
struct death {
    int (*fiber)(void *arg);
    bool report;
};

/* NOLINTNEXTLINE(misc-no-recursion): that is the point */
static int recurse(volatile int *depth)
{
    volatile char frame[512];

    frame[0] = (char)++*depth;
    return frame[0] + (*depth > 0 ? recurse(depth) : 0) + frame[0];
}

static int overflow_slowly(void *arg)
{
    volatile int depth = 0;

    (void)arg;
    return recurse(&depth);
}

/* -fstack-clash-protection touches each page on the way down; the access itself would miss the
 * guard by megabytes. */
static int overflow_by_a_jump(void *arg)
{
    volatile char array[HUGE_ARRAY];

    (void)arg;
    array[0] = 1;
    return array[0];
}

static int follow_a_wild_pointer(void *arg)
{
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)arg;
    *(volatile char *)page = 1;
    return 0;
}

static int get_a_signal_from_outside(void *arg)
{
    (void)arg;
    (void)kill(getpid(), SIGSEGV);
    return 0;
}

static int run_deep(void *arg)
{
    const struct death *death = arg;
    coil_fiber *fiber = NULL;
    int result = coil_spawn(death->fiber, NULL, &fiber);

    if (result < 0)
        return result;
    coil_fiber_name_set(fiber, "deep");
    result = coil_join(fiber, NULL);
    coil_fiber_unref(fiber);
    return result;
}

static int die(void *arg)
{
    const struct death *death = arg;
    const coil_options options = {.size = sizeof options, .report_overflow = death->report};

    return fiber_test_coil_run(run_deep, arg, &options, NULL) == 0 ? 0 : 3;
}

static void expect_death(int (*fiber)(void *), bool report, struct child_end *ret_end)
{
    struct death death = {.fiber = fiber, .report = report};

    child_run(die, &death, ret_end);
    if (COIL__HAS_ASAN)
        cr_assert_neq(ret_end->exit_code, 0);
    else
        cr_assert_eq(ret_end->signal, SIGSEGV, "exit %d: %s", ret_end->exit_code, ret_end->output);
}

Test(overflow, a_fiber_that_recurses_too_deep_is_named_before_the_program_dies, .timeout = 60)
{
    struct child_end end;

    expect_death(overflow_slowly, true, &end);

    cr_assert_not_null(strstr(end.output, "coil: stack overflow in fiber 2 'deep'"), "%s",
                       end.output);
    cr_assert_not_null(strstr(end.output, "stack_size"), "what to do is missing");
}

Test(overflow, a_big_local_array_cannot_jump_over_the_guard, .timeout = 60)
{
    struct child_end end;

    expect_death(overflow_by_a_jump, true, &end);

    cr_assert_not_null(strstr(end.output, "coil: stack overflow in fiber 2 'deep'"), "%s",
                       end.output);
}

Test(overflow, without_the_option_it_dies_without_a_word, .timeout = 60)
{
    struct child_end end;

    expect_death(overflow_slowly, false, &end);

    cr_assert_null(strstr(end.output, "stack overflow in fiber"));
}

Test(overflow, other_faults_are_not_called_overflows, .timeout = 60)
{
    struct child_end end;

    expect_death(follow_a_wild_pointer, true, &end);

    cr_assert_null(strstr(end.output, "stack overflow in fiber"));
}

Test(overflow, a_signal_from_outside_kills_at_once, .timeout = 60)
{
    struct child_end end;

    expect_death(get_a_signal_from_outside, true, &end);

    cr_assert_null(strstr(end.output, "stack overflow in fiber"));
}

/* ---- Without guard pages ---- */

/* Reaches `depth` bytes into the stack, which may be more than it has, and comes back. */
/* NOLINTNEXTLINE(misc-no-recursion): that is the point */
static int reach(size_t depth)
{
    volatile char frame[64];

    frame[0] = 1;
    if ((uintptr_t)coil__self()->stack_top - (uintptr_t)frame >= depth)
        return frame[0];
    return reach(depth) + frame[0];
}

static int use_all_of_the_stack(void *arg)
{
    enum {
        RESERVE = 4096, /* for the frames of this test and of sanitizers */
    };

    (void)arg;
    return reach(coil__sched()->stacks.usable_size - RESERVE) > 0 ? 0 : -EINVAL;
}

static int overflow_a_little(void *arg)
{
    (void)arg;
    return reach(coil__sched()->stacks.usable_size + 64) > 0 ? 0 : -EINVAL;
}

static int die_without_guards(void *arg)
{
    coil__stack_guard_limit(COIL__GUARD_CANARY);
    return die(arg);
}

Test(overflow, without_guards_a_fiber_that_overflowed_is_named_when_it_ends, .timeout = 60)
{
    struct death death = {.fiber = overflow_a_little};
    struct child_end end;

    child_run(die_without_guards, &death, &end);

    cr_assert_eq(end.signal, SIGABRT, "exit %d: %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "coil: stack overflow in fiber 2 'deep'"), "%s",
                       end.output);
    cr_assert_not_null(strstr(end.output, "no guard page"), "%s", end.output);
}

Test(overflow, without_guards_a_fiber_may_use_all_of_its_stack, .timeout = 60)
{
    struct death death = {.fiber = use_all_of_the_stack};
    struct child_end end;

    child_run(die_without_guards, &death, &end);

    cr_assert_eq(end.exit_code, 0, "signal %d: %s", end.signal, end.output);
}

/* ---- The handler that was there before ---- */

static char handler_stack[64 * 1024];

static void say_and_exit(int signal_number)
{
    (void)signal_number;
    (void)!write(STDERR_FILENO, "previous handler\n", 17);
    _exit(HANDLER_EXIT);
}

static int die_with_a_handler(void *arg)
{
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    const struct sigaction action = {.sa_handler = say_and_exit, .sa_flags = SA_ONSTACK};

    child_check(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    child_check(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
    return die(arg);
}

Test(overflow, the_previous_handler_is_called_after_the_report, .timeout = 60)
{
    struct death death = {.fiber = overflow_slowly, .report = true};
    struct child_end end;
    const char *report;

    child_run(die_with_a_handler, &death, &end);

    cr_assert_eq(end.exit_code, HANDLER_EXIT, "signal %d: %s", end.signal, end.output);
    report = strstr(end.output, "stack overflow in fiber 2 'deep'");
    cr_assert_not_null(report);
    cr_assert_not_null(strstr(report, "previous handler"));
}

static struct sigaction under;

static void say_and_pass_on(int signal_number, siginfo_t *info, void *context)
{
    (void)!write(STDERR_FILENO, "later handler\n", 14);
    under.sa_sigaction(signal_number, info, context);
}

static int install_over(void *arg)
{
    const struct sigaction later = {
        .sa_sigaction = say_and_pass_on,
        .sa_flags = SA_SIGINFO | SA_ONSTACK,
    };

    (void)arg;
    return sigaction(SIGSEGV, &later, &under);
}

static int die_in_a_second_run(void *arg)
{
    const coil_options options = {.size = sizeof options, .report_overflow = true};
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction after;

    child_check(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    child_check(fiber_test_coil_run(install_over, NULL, &options, NULL) == 0, "first run");
    child_check(sigaction(SIGSEGV, NULL, &after) == 0, "sigaction");
    child_check(after.sa_sigaction == say_and_pass_on, "what came later stays");
    return die(arg);
}

Test(overflow, a_handler_that_was_installed_over_ours_stays_and_may_call_it, .timeout = 60)
{
    struct death death = {.fiber = overflow_slowly, .report = true};
    struct child_end end;
    const char *later;

    child_run(die_in_a_second_run, &death, &end);

    later = strstr(end.output, "later handler\n");
    cr_assert_not_null(later, "%s", end.output);
    later += strlen("later handler\n");
    cr_assert_not_null(strstr(later, "stack overflow in fiber 2 'deep'"), "%s", end.output);
    cr_assert_null(strstr(later, "later handler"), "once: %s", end.output);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int die_after_others_have_gone(void *arg)
{
    const coil_options options = {.size = sizeof options, .report_overflow = true};
    struct sigaction before;

    child_check(sigaction(SIGSEGV, NULL, &before) == 0, "sigaction");
    child_check(fiber_test_coil_run(install_over, NULL, &options, NULL) == 0, "first run");
    child_check(sigaction(SIGSEGV, &before, NULL) == 0, "sigaction");
    child_check(fiber_test_coil_run(do_nothing, NULL, &options, NULL) == 0, "second run");
    return die_with_a_handler(arg);
}

Test(overflow, a_handler_that_was_installed_over_ours_and_is_gone_matters_no_more, .timeout = 60)
{
    struct death death = {.fiber = overflow_slowly, .report = true};
    struct child_end end;

    child_run(die_after_others_have_gone, &death, &end);
    cr_assert_eq(end.exit_code, HANDLER_EXIT, "signal %d: %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "stack overflow in fiber 2 'deep'"), "%s", end.output);
}

struct handlers {
    struct sigaction segv;
    struct sigaction bus;
};

static int look_at_handlers(void *arg)
{
    struct handlers *handlers = arg;

    return sigaction(SIGSEGV, NULL, &handlers->segv) + sigaction(SIGBUS, NULL, &handlers->bus);
}

static bool are_same(const struct handlers *a, const struct handlers *b)
{
    return a->segv.sa_handler == b->segv.sa_handler && a->bus.sa_handler == b->bus.sa_handler;
}

Test(overflow, handlers_are_installed_only_on_request_and_taken_away_again, .timeout = 60)
{
    coil_options options = COIL_OPTIONS_INIT;
    struct handlers before;
    struct handlers during;
    struct handlers after;

    cr_assert_eq(look_at_handlers(&before), 0);
    cr_assert_eq(fiber_test_coil_run(look_at_handlers, &during, &options, NULL), 0);
    cr_assert(are_same(&before, &during), "nothing was asked for");

    options.report_overflow = true;
    cr_assert_eq(fiber_test_coil_run(look_at_handlers, &during, &options, NULL), 0);
    cr_assert_eq(look_at_handlers(&after), 0);
    cr_assert_neq(during.segv.sa_handler, before.segv.sa_handler);
    cr_assert_neq(during.bus.sa_handler, before.bus.sa_handler);
    cr_assert(are_same(&before, &after));
}

/* ---- A handler that recovers ---- */

static sigjmp_buf recovery;
static volatile sig_atomic_t recovery_count;

static void recover_once(int signal_number)
{
    if (recovery_count++ > 0)
        say_and_exit(signal_number);
    siglongjmp(recovery, 1);
}

static int recover_then_overflow(void *arg)
{
    struct sigaction now;

    if (sigsetjmp(recovery, 1) == 0)
        return follow_a_wild_pointer(arg);
    child_check(sigaction(SIGSEGV, NULL, &now) == 0, "sigaction");
    child_check(now.sa_handler != recover_once, "the reporter is gone");
    return overflow_slowly(arg);
}

static int die_after_a_recovery(void *arg)
{
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    const struct sigaction action = {.sa_handler = recover_once, .sa_flags = SA_ONSTACK};

    child_check(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    child_check(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
    return die(arg);
}

Test(overflow, after_a_fault_that_the_program_handles_overflows_are_still_reported, .timeout = 60)
{
    struct death death = {.fiber = recover_then_overflow, .report = true};
    struct child_end end;

    child_run(die_after_a_recovery, &death, &end);

    cr_assert_eq(end.exit_code, HANDLER_EXIT, "signal %d: %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "stack overflow in fiber 2 'deep'"), "%s", end.output);
}
