/* SPDX-License-Identifier: MIT */
/* What a program opens and does not close: at the end of the run the log names it, and the function
 * that would have closed it, and nothing else is said.
 *
 * Each case is a process of its own, since what is not closed is lost.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <coil/coil.h>

#include "support/child.h"
#include "support/fiber_test.h"

TestSuite(unclosed, .timeout = 60);

static int open_listener(void)
{
    coil_listener *listener;

    return coil_listen("127.0.0.1:0", NULL, &listener);
}

/* So that the kernel has a request of it. */
static int open_listener_and_accept(void)
{
    coil_listener *listener;
    coil_stream *stream;
    coil_scope scope;
    int result = coil_listen("127.0.0.1:0", NULL, &listener);

    coil_scope_enter(&scope, 0);
    if (result == 0)
        result = coil_accept(listener, &stream) == -ETIMEDOUT ? 0 : -EINVAL;
    (void)coil_scope_leave(&scope);
    return result;
}

static int open_udp(void)
{
    coil_udp *udp;

    return coil_udp_open("127.0.0.1:0", NULL, &udp);
}

static int open_signal(void)
{
    coil_signal *signal;
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    return coil_signal_open(&signals, &signal);
}

static int open_dir(void)
{
    coil_dir *dir;

    return coil_dir_open(AT_FDCWD, "/", &dir);
}

static int open_process(void)
{
    static const char *const argv[] = {"true", NULL};
    coil_process *process;
    const int result = coil_process_spawn(argv, NULL, &process);

    return result < 0 ? result : coil_process_wait(process, NULL);
}

static int open_backdoor(void)
{
    coil_backdoor *backdoor;
    char path[64];
    int result;

    (void)snprintf(path, sizeof path, "@coil-unclosed-%d", (int)getpid());
    result = coil_backdoor_open(path, NULL, &backdoor);
    if (result == 0)
        coil_yield(); /* it serves */
    return result;
}

static int open_two(void)
{
    const int result = open_udp();

    return result < 0 ? result : open_udp();
}

static int open_and_close_all(void)
{
    static const char *const argv[] = {"true", NULL};
    coil_listener *listener;
    coil_udp *udp;
    coil_dir *dir;
    coil_process *process;
    coil_signal *signal;
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    child_check(coil_listen("127.0.0.1:0", NULL, &listener) == 0, "listen");
    child_check(coil_udp_open("127.0.0.1:0", NULL, &udp) == 0, "udp");
    child_check(coil_dir_open(AT_FDCWD, "/", &dir) == 0, "dir");
    child_check(coil_process_spawn(argv, NULL, &process) == 0, "process");
    child_check(coil_signal_open(&signals, &signal) == 0, "signal");
    coil_signal_close(signal);
    coil_process_free(process);
    coil_dir_close(dir);
    coil_udp_close(udp);
    coil_listener_close(listener);
    return 0;
}

static int call(void *arg)
{
    int (*const *open)(void) = arg;

    return (*open)();
}

static int run(void *arg)
{
    int result = -1;

    child_check(fiber_test_coil_run(call, arg, NULL, &result) == 0, "coil_run");
    return result == 0 ? 0 : 2;
}

static void expect_output(int (*open)(void), const char *expected, const char *more)
{
    struct child_end end;
    char output[512];

    child_run(run, &open, &end);
    cr_assert_eq(end.exit_code, 0, "%d: %s", end.exit_code, end.output);
    (void)snprintf(output, sizeof output, "%s%s", expected, more);
    cr_assert_str_eq(end.output, output);
}

Test(unclosed, it_is_named_with_the_function_that_closes_it)
{
    static const struct {
        int (*open)(void);
        const char *output;
    } cases[] = {
        {open_listener, "1 coil_listener not closed at the end of the run: coil_listener_close()"},
        {open_udp, "1 coil_udp not closed at the end of the run: coil_udp_close()"},
        {open_two, "2 coil_udp not closed at the end of the run: coil_udp_close()"},
        {open_signal, "1 coil_signal not closed at the end of the run: coil_signal_close()"},
        {open_dir, "1 coil_dir not closed at the end of the run: coil_dir_close()"},
        {open_process, "1 coil_process not closed at the end of the run: coil_process_free()"},
        {open_backdoor, "1 coil_backdoor not closed at the end of the run: coil_backdoor_close()"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char output[256];

        (void)snprintf(output, sizeof output, "coil: warning: %s\n", cases[i].output);
        expect_output(cases[i].open, output, "");
    }
}

Test(unclosed, what_the_kernel_still_works_for_is_named_too)
{
    struct child_end end;
    int (*open)(void) = open_listener_and_accept;

    child_run(run, &open, &end);
    cr_assert_eq(end.exit_code, 0, "%d: %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "coil_listener_close()"), "%s", end.output);
}

Test(unclosed, a_program_that_closes_everything_hears_nothing)
{
    expect_output(open_and_close_all, "", "");
}
