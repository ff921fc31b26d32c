/* SPDX-License-Identifier: MIT */
/* Child processes: every end is told to everybody who waits, nobody else is signalled, and nothing
 * is left: no zombie, no descriptor, no waiting loop.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/process_fixture.h"

TestSuite(process, .timeout = 60);

/* ---- The end ---- */

static int end_of(const char *script)
{
    coil_process *process = spawn_script(script, NULL);
    const int status = status_of(process);

    coil_process_free(process);
    return status;
}

FIBER_TEST(process, the_status_is_the_exit_code_or_minus_the_signal)
{
    cr_assert_eq(end_of("exit 0"), 0);
    cr_assert_eq(end_of("exit 3"), 3);
    cr_assert_eq(end_of("exit 255"), 255);
    cr_assert_eq(end_of("kill -KILL $$"), -SIGKILL);
    cr_assert_eq(end_of("kill -TERM $$"), -SIGTERM);
    expect_no_children();
}

FIBER_TEST(process, the_program_is_looked_for_in_the_path)
{
    const char *const argv[] = {"false", NULL};
    coil_process *process;

    cr_assert_eq(coil_process_spawn(argv, NULL, &process), 0);
    cr_assert_eq(status_of(process), 1);
    coil_process_free(process);
}

struct waiting {
    coil_process *process;
    char *log;
    char name;
};

static int wait_and_log(void *arg)
{
    struct waiting *waiting = arg;
    int status;
    const int result = coil_process_wait(waiting->process, &status);

    if (result < 0)
        return result;
    strncat(waiting->log, &waiting->name, 1);
    return status;
}

FIBER_TEST(process, all_who_wait_get_the_status_in_the_order_in_which_they_came)
{
    coil_process *process = spawn_script("exec sleep 60", NULL);
    char log[4] = "";
    struct waiting waits[] = {{process, log, 'a'}, {process, log, 'b'}, {process, log, 'c'}};
    coil_fiber *fibers[3];

    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_and_log, &waits[i]);
    cr_assert_eq(coil_process_kill(process, SIGTERM), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), -SIGTERM);
    cr_assert_str_eq(log, "abc");

    cr_assert_eq(status_of(process), -SIGTERM, "also who comes later");
    cr_assert_eq(coil_process_wait(process, NULL), 0);
    coil_process_free(process);
    expect_no_children();
}

FIBER_TEST(process, an_interrupted_waiter_leaves_the_status_to_the_others)
{
    coil_process *process = spawn_script("exec sleep 60", NULL);
    char log[4] = "";
    struct waiting waits[] = {{process, log, 'a'}, {process, log, 'b'}};
    coil_fiber *first = spawn_until_parked(wait_and_log, &waits[0]);
    coil_fiber *second = spawn_until_parked(wait_and_log, &waits[1]);
    coil_scope scope;

    coil_cancel(first);
    cr_assert_eq(join_and_drop(first), -ECANCELED);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_process_wait(process, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_process_kill(process, SIGKILL), 0);

    cr_assert_eq(join_and_drop(second), -SIGKILL);
    cr_assert_str_eq(log, "b");
    coil_process_free(process);
}

FIBER_TEST(process, a_process_that_ended_before_anybody_waited_is_no_zombie_afterwards)
{
    coil_process *process = spawn_script("exit 7", NULL);
    siginfo_t info = {0};

    cr_assert_eq(waitid(P_PID, (id_t)coil_process_pid(process), &info, WEXITED | WNOWAIT), 0);

    cr_assert_eq(status_of(process), 7);
    expect_no_children();
    coil_process_free(process);
}

FIBER_TEST(process, two_hundred_children_at_once_each_have_their_own_end)
{
    enum {
        COUNT = 200,
    };

    static const char *const argv[] = {"sh", "-c", "read n; exit $n", NULL};
    coil_process *processes[COUNT];
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.in = COIL_PROCESS_PIPE;
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(coil_process_spawn(argv, &options, &processes[i]), 0);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(coil_printf(coil_process_in(processes[i]), "%d\n", i), 0);
        cr_assert_eq(coil_shutdown(coil_process_in(processes[i])), 0);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        cr_assert_eq(status_of(processes[i]), i);
        coil_process_free(processes[i]);
    }
    expect_no_children();
}

static int take_status_away(void *arg)
{
    coil_process *process = arg;

    cr_assert_eq(waitpid(coil_process_pid(process), NULL, 0), coil_process_pid(process));
    return 0;
}

FIBER_TEST(process, who_reaps_children_behind_our_back_takes_the_status_and_hangs_nobody)
{
    coil_process *process = spawn_script("exit 7", NULL);

    cr_assert_eq(take_status_away(process), 0);

    cr_assert_eq(coil_process_wait(process, NULL), -ECHILD);
    cr_assert_eq(coil_process_wait(process, NULL), -ECHILD);
    cr_assert_eq(coil_process_kill(process, 0), -ESRCH);
    coil_process_free(process);
}

/* ---- Signals ---- */

FIBER_TEST(process, a_signal_reaches_the_process_and_nobody_after_its_end)
{
    coil_process *process = spawn_script("exec sleep 60", NULL);

    cr_assert_eq(coil_process_kill(process, 0), 0);
    cr_assert_eq(coil_process_kill(process, 1000), -EINVAL);
    cr_assert_eq(coil_process_kill(process, SIGINT), 0);
    cr_assert_eq(status_of(process), -SIGINT);

    cr_assert_eq(coil_process_kill(process, SIGINT), -ESRCH);
    cr_assert_eq(coil_process_kill(process, 0), -ESRCH);
    coil_process_free(process);
}

/* A script that leaves a grandchild, both of which hold the given pipe. */
static coil_process *spawn_family(const char *script, int *ret_fd)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    options.fds = &fds[1];
    options.fd_count = 1;
    options.new_group = true;
    process = spawn_script(script, &options);
    cr_assert_eq(close(fds[1]), 0);
    *ret_fd = fds[0];
    return process;
}

FIBER_TEST(process, a_group_is_signalled_as_a_whole)
{
    char text[8];
    int fd;
    coil_process *process = spawn_family("sleep 60 & sleep 60", &fd);

    cr_assert_eq(coil_process_kill(process, SIGTERM), 0);

    cr_assert_eq(status_of(process), -SIGTERM);
    cr_assert_eq(read_to_end(fd, text, sizeof text), 0);
    coil_process_free(process);
    cr_assert_eq(close(fd), 0);
    expect_no_children();
}

FIBER_TEST(process, what_is_left_of_a_group_ends_with_it_although_its_leader_ended_before)
{
    char text[8];
    int fd;
    coil_process *process = spawn_family("sleep 60 & exit 5", &fd);

    cr_assert_eq(status_of(process), 5);
    cr_assert_eq(kill(coil_process_pid(process), 0), 0, "the number is still its own");
    cr_assert_eq(coil_process_kill(process, 0), 0, "the group is still there");
    coil_process_free(process);

    cr_assert_eq(read_to_end(fd, text, sizeof text), 0);
    cr_assert_eq(close(fd), 0);
    expect_no_children();
}

/* ---- Free ---- */

FIBER_TEST(process, free_kills_waits_and_leaves_no_zombie)
{
    coil_process *process = spawn_script("trap '' TERM INT; exec sleep 60", NULL);
    const pid_t pid = coil_process_pid(process);

    coil_process_free(process);

    cr_assert_eq(kill(pid, 0), -1);
    cr_assert_eq(errno, ESRCH);
    expect_no_children();
    coil_process_free(NULL);
}

FIBER_TEST(process, free_works_in_an_expired_scope_and_drops_what_was_not_sent)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    coil_scope scope;

    options.in = COIL_PROCESS_PIPE;
    options.out = COIL_PROCESS_PIPE;
    process = spawn_script("exec sleep 60", &options);
    cr_assert_eq(coil_write(coil_process_in(process), "unsent", 6), 0);
    coil_scope_enter(&scope, 0);
    coil_process_free(process);
    (void)coil_scope_leave(&scope);

    expect_no_children();
}

FIBER_TEST(process, free_tells_the_status_to_who_still_waits)
{
    coil_process *process = spawn_script("exec sleep 60", NULL);
    char log[4] = "";
    struct waiting wait = {process, log, 'a'};
    coil_fiber *fiber = spawn_until_parked(wait_and_log, &wait);

    coil_process_free(process);

    cr_assert_eq(join_and_drop(fiber), -SIGKILL);
}

FIBER_TEST(process, free_kills_a_child_that_has_left_its_group)
{
    const char *const argv[] = {"perl", "-e",
                                "setpgrp(0, getpgrp(getppid())) or die; syswrite(STDOUT, 'x'); "
                                "sleep 60",
                                NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    coil_scope scope;
    char byte;

    options.new_group = true;
    options.out = COIL_PROCESS_PIPE;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), 0);
    cr_assert_eq(coil_read(coil_process_out(process), &byte, 1), 1);

    coil_scope_enter(&scope, COIL_SECONDS(30));
    coil_process_free(process);
    cr_assert_eq(coil_expired(), 0, "it was waited for, not killed");
    (void)coil_scope_leave(&scope);
    expect_no_children();
}

/* A child with the number `pid`, which leads a group of that number. */
static pid_t fork_with_number(pid_t pid)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD,
        .set_tid = (uint64_t)(uintptr_t)&pid,
        .set_tid_size = 1,
    };
    const pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);

    if (child == 0) {
        (void)setpgid(0, 0);
        for (;;)
            (void)pause();
    }
    if (child > 0)
        (void)setpgid(child, child);
    return child;
}

FIBER_TEST(process, who_gets_the_number_of_a_group_whose_leader_was_reaped_by_others_is_left_alone)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    pid_t stranger;
    pid_t pid;

    options.new_group = true;
    process = spawn_script("exit 0", &options);
    pid = coil_process_pid(process);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    stranger = fork_with_number(pid);
    if (stranger < 0) {
        coil_process_free(process);
        cr_skip_test("this kernel or user chooses no number");
    }

    cr_assert_eq(coil_process_kill(process, SIGTERM), -ESRCH);
    coil_process_free(process);

    cr_assert_eq(waitpid(stranger, NULL, WNOHANG), 0, "it was killed");
    cr_assert_eq(kill(stranger, SIGKILL), 0);
    cr_assert_eq(waitpid(stranger, NULL, 0), stranger);
}

/* A process that traces `pid` and reaps it when it is told to. */
static pid_t fork_tracer(pid_t pid, int *ret_tell)
{
    int told[2];
    int ready[2];
    pid_t tracer;
    char byte;

    cr_assert_eq(pipe2(told, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    tracer = fork();
    if (tracer == 0) {
        (void)close(told[1]);
        byte = (char)(ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0);
        (void)!write(ready[1], &byte, 1);
        (void)!read(told[0], &byte, 1);
        (void)waitpid(pid, NULL, __WALL);
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(close(ready[0]) + close(ready[1]) + close(told[0]), 0);
    *ret_tell = told[1];
    if (byte)
        return tracer;
    cr_assert_eq(close(told[1]), 0);
    cr_assert_eq(waitpid(tracer, NULL, 0), tracer);
    return -1;
}

FIBER_TEST(process, the_status_of_a_child_that_is_traced_is_awaited_until_its_tracer_lets_go)
{
    coil_process *process = spawn_script("exec sleep 60", NULL);
    char log[4] = "";
    struct waiting wait = {process, log, 'a'};
    coil_fiber *fiber;
    pid_t tracer;
    int tell;

    tracer = fork_tracer(coil_process_pid(process), &tell);
    if (tracer < 0) {
        coil_process_free(process);
        cr_skip_test("tracing is not allowed");
    }
    fiber = spawn_until_parked(wait_and_log, &wait);
    cr_assert_eq(coil_process_kill(process, SIGKILL), 0);
    for (int i = 0; i < 20; i++)
        (void)coil_sleep(COIL_MS(1));
    cr_assert_eq(close(tell), 0);

    cr_assert_eq(join_and_drop(fiber), -SIGKILL);
    coil_process_free(process);
    cr_assert_eq(waitpid(tracer, NULL, 0), tracer);
    expect_no_children();
}

/* ---- Starting ---- */

static int spawn_true(void *arg)
{
    const char *const argv[] = {"true", NULL};
    coil_process *process;
    const int result = coil_process_spawn(argv, arg, &process);

    if (result < 0)
        return result;
    coil_process_free(process);
    return 0;
}

FIBER_TEST(process, other_fibers_run_while_a_process_is_started)
{
    coil_fiber *fiber = spawn_until_parked(spawn_true, NULL);

    cr_assert_not_null(fiber->tcb, "the spawn is over before it let others run");
    cr_assert_eq(join_and_drop(fiber), 0);
}

static int spawn_and_give_up(void *arg)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    for (int i = 0; i < 20; i++) {
        const char *const argv[] = {"sleep", "60", NULL};
        coil_process *process = NULL;
        coil_scope scope;
        int result;

        options.fds = arg;
        options.fd_count = 1;
        coil_scope_enter(&scope, COIL_US(20 * i));
        result = coil_process_spawn(argv, &options, &process);
        (void)coil_scope_leave(&scope);
        cr_assert(result == -ETIMEDOUT || result == 0);
        coil_process_free(process);
    }
    return 0;
}

Test(process, a_spawn_that_is_given_up_leaves_no_process_behind)
{
    char text[8];
    int fds[2];
    int result = -1;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(fiber_test_coil_run(spawn_and_give_up, &fds[1], NULL, &result), 0);
    cr_assert_eq(result, 0);

    cr_assert_eq(close(fds[1]), 0);
    cr_assert_eq(read(fds[0], text, sizeof text), 0, "somebody still holds the pipe");
    expect_no_children();
}

FIBER_TEST(process, what_cannot_be_started_says_why_and_leaves_nothing)
{
    const char *const nowhere[] = {"/nowhere/program", NULL};
    const char *const unknown[] = {"coil-no-such-program", NULL};
    const char *const text[] = {"/etc/passwd", NULL};
    const char *const nothing[] = {NULL};
    const char *const good[] = {"true", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process = NULL;

    options.in = COIL_PROCESS_PIPE;
    options.out = COIL_PROCESS_PIPE;
    cr_assert_eq(coil_process_spawn(nowhere, &options, &process), -ENOENT);
    cr_assert_eq(coil_process_spawn(unknown, &options, &process), -ENOENT);
    cr_assert_eq(coil_process_spawn(text, &options, &process), -EACCES);
    cr_assert_eq(coil_process_spawn(nothing, &options, &process), -EINVAL);
    options.cwd = "/nowhere";
    cr_assert_eq(coil_process_spawn(good, &options, &process), -ENOENT);

    cr_assert_null(process);
    expect_no_children();
}

/* ---- Shortages ---- */

static int talk_to_cat(void *arg)
{
    const char *const argv[] = {"cat", NULL};
    coil_process_output output = {0};
    const int result = coil_process_run(argv, NULL, "text", 4, &output);

    (void)arg;
    cr_assert(result < 0 || (output.out_len == 4 && strcmp(output.out, "text") == 0));
    coil_process_output_free(&output);
    return result;
}

Test(process, every_allocation_may_fail_and_nothing_is_left)
{
    int failures;

    for (failures = 0; run_with_allocations(talk_to_cat, NULL, failures) != 0; failures++) {
        expect_no_children();
        cr_assert_lt(failures, 1000);
    }
    expect_no_children();
    cr_assert_gt(failures, 10);
}

FIBER_TEST(process, without_descriptors_no_process_and_nothing_left)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    const int next = dup(0);
    struct rlimit limit;
    int result = -1;

    options.in = COIL_PROCESS_PIPE;
    options.out = COIL_PROCESS_PIPE;
    options.err = COIL_PROCESS_PIPE;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(close(next), 0);
    for (int room = 0; result != 0; room++) {
        const struct rlimit tight = {.rlim_cur = (rlim_t)(next + room), .rlim_max = limit.rlim_max};

        cr_assert_lt(room, 20);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        result = spawn_true(&options);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        /* Where a duplicate would be beyond the limit the kernel says EINVAL. */
        cr_assert(result == 0 || result == -EMFILE || result == -EINVAL, "%d", result);
        expect_no_children();
    }
}
