/* SPDX-License-Identifier: MIT */
/* What a child process starts with: its descriptors, environment, directory, group and signals, and
 * nothing else of its parent.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/process_fixture.h"
#include "support/child.h"

TestSuite(process_options, .timeout = 60);

static void expect_output(const char *script, coil_process_options *options, const char *text)
{
    coil_process_output output = {0};

    options->out = options->out ? options->out : COIL_PROCESS_PIPE;
    cr_assert_eq(run_script(script, options, &output), 0);
    cr_assert_not_null(output.out);
    cr_assert_str_eq(output.out, text);
    coil_process_output_free(&output);
}

/* ---- Descriptors ---- */

FIBER_TEST(process_options, pipes_are_streams_of_the_parent)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    char line[32];

    options.in = COIL_PROCESS_PIPE;
    options.out = COIL_PROCESS_PIPE;
    options.err = COIL_PROCESS_PIPE;
    process = spawn_script("read a; echo \"got $a\"; echo bad >&2; cat", &options);

    cr_assert_eq(coil_printf(coil_process_in(process), "it\nrest"), 0);
    cr_assert_eq(coil_flush(coil_process_in(process)), 0);
    cr_assert_eq(coil_read_line(coil_process_out(process), line, sizeof line), 7);
    cr_assert_str_eq(line, "got it\n");
    cr_assert_eq(coil_read_line(coil_process_err(process), line, sizeof line), 4);
    cr_assert_str_eq(line, "bad\n");
    cr_assert_eq(coil_shutdown(coil_process_in(process)), 0);
    cr_assert_eq(coil_read_line(coil_process_out(process), line, sizeof line), 4);
    cr_assert_str_eq(line, "rest");
    cr_assert_eq(coil_read(coil_process_out(process), line, 1), 0);
    cr_assert_eq(status_of(process), 0);
    coil_process_free(process);
}

FIBER_TEST(process_options, what_is_no_pipe_has_no_stream)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;

    options.in = COIL_PROCESS_NULL;
    process = spawn_script("cat", &options);

    cr_assert_null(coil_process_in(process));
    cr_assert_null(coil_process_out(process));
    cr_assert_null(coil_process_err(process));
    cr_assert_eq(status_of(process), 0, "reads nothing from /dev/null");
    coil_process_free(process);
}

FIBER_TEST(process_options, errors_can_go_where_the_output_goes)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.err = COIL_PROCESS_TO_OUT;
    expect_output("echo one; echo two >&2; echo three", &options, "one\ntwo\nthree\n");
}

FIBER_TEST(process_options, what_goes_to_null_is_gone)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.err = COIL_PROCESS_NULL;
    expect_output("echo one; echo two >&2", &options, "one\n");
}

FIBER_TEST(process_options, given_descriptors_arrive_as_3_and_4_and_stay_the_callers)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    int first[2];
    int second[2];
    int given[2];
    char text[8] = "";

    cr_assert_eq(pipe2(first, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(second, O_CLOEXEC), 0);
    given[0] = second[1];
    given[1] = first[1];
    options.fds = given;
    options.fd_count = 2;
    expect_output("echo three >&3; echo four >&4; echo", &options, "\n");

    cr_assert_eq(close(first[1]), 0);
    cr_assert_eq(close(second[1]), 0);
    cr_assert_eq(read(second[0], text, sizeof text), 6);
    cr_assert_eq(memcmp(text, "three\n", 6), 0);
    cr_assert_eq(read(first[0], text, sizeof text), 5);
    cr_assert_eq(memcmp(text, "four\n", 5), 0);
    cr_assert_eq(close(first[0]), 0);
    cr_assert_eq(close(second[0]), 0);
}

static int swap_in_child(void *arg)
{
    const char *const argv[] = {"sh", "-c", "echo out; echo err >&2", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    int status = -1;

    (void)arg;
    options.out = STDERR_FILENO;
    options.err = STDOUT_FILENO;
    child_check(coil_process_spawn(argv, &options, &process) == 0, "spawn");
    child_check(coil_process_wait(process, &status) == 0, "wait");
    coil_process_free(process);
    return status;
}

static int check_swap(void *arg)
{
    int fds[2];
    char text[8] = "";
    int result = -1;

    (void)arg;
    child_check(pipe(fds) == 0 && dup2(fds[1], STDOUT_FILENO) == STDOUT_FILENO, "pipe");
    child_check(fiber_test_coil_run(swap_in_child, NULL, NULL, &result) == 0, "coil_run");
    child_check(result == 0, "status");
    child_check(read(fds[0], text, sizeof text) == 4 && memcmp(text, "err\n", 4) == 0, text);
    return 0;
}

Test(process_options, descriptors_can_be_swapped)
{
    struct child_end end;

    child_run(check_swap, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_str_eq(end.output, "out\n");
}

enum {
    GIVEN = 8,
};

static int give_many(void *arg)
{
    const char *const argv[] = {"sh", "-c", "for i in 3 4 5 6 7 8 9; do echo $i >&$i; done", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    int status = -1;

    options.fds = arg;
    options.fd_count = GIVEN;
    child_check(coil_process_spawn(argv, &options, &process) == 0, "spawn");
    child_check(coil_process_wait(process, &status) == 0, "wait");
    coil_process_free(process);
    return status;
}

/* With the low numbers free: duplicates may land on targets. */
static int check_many(void *arg)
{
    int ours[GIVEN];
    int given[GIVEN];
    int result = -1;

    (void)arg;
    child_check(close_range(3, ~0U, 0) == 0, "close_range");
    for (int i = 0; i < GIVEN; i++) {
        int fds[2];

        child_check(pipe(fds) == 0, "pipe");
        ours[i] = fcntl(fds[0], F_DUPFD, 100);
        given[i] = fcntl(fds[1], F_DUPFD, 100);
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    child_check(fiber_test_coil_run(give_many, given, NULL, &result) == 0, "coil_run");
    child_check(result == 0, "status");
    for (int i = 0; i < GIVEN - 1; i++) {
        char text[8] = "";
        const char expected[] = {(char)('3' + i), '\n', '\0'};

        child_check(read(ours[i], text, sizeof text) == 2, "nothing came");
        child_check(strcmp(text, expected) == 0, text);
    }
    return 0;
}

Test(process_options, many_given_descriptors_are_not_mixed_up)
{
    struct child_end end;

    child_run(check_many, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%s", end.output);
}

FIBER_TEST(process_options, nothing_else_of_the_programs_is_open_in_the_child)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    const int careless = open("/dev/null", O_RDONLY); /* without close-on-exec */
    const int given = dup(careless);

    options.in = COIL_PROCESS_NULL;
    options.fds = &given;
    options.fd_count = 1;
    expect_output("ls /proc/$$/fd", &options, "0\n1\n2\n3\n");
    cr_assert_eq(close(careless), 0);
    cr_assert_eq(close(given), 0);
}

FIBER_TEST(process_options, a_descriptor_that_is_not_open_is_refused)
{
    const char *const argv[] = {"true", NULL};
    const int closed[] = {-1};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process = NULL;

    options.out = 12345;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EBADF);
    options.out = 0;
    options.fds = closed;
    options.fd_count = 1;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EBADF);
    cr_assert_null(process);
}

FIBER_TEST(process_options, impossible_options_are_refused)
{
    static const int many[COIL_PROCESS_FDS_MAX + 1];
    const char *const argv[] = {"true", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process = NULL;

    options.in = COIL_PROCESS_TO_OUT;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EINVAL);
    options.in = 0;
    options.err = -4;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EINVAL);
    options.err = 0;
    options.fds = many;
    options.fd_count = COIL_PROCESS_FDS_MAX + 1;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EINVAL);
    options.fds = NULL;
    options.fd_count = 1;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EINVAL);
    options.fd_count = 0;
    options.size = 0;
    cr_assert_eq(coil_process_spawn(argv, &options, &process), -EINVAL);
    cr_assert_null(process);
}

/* ---- The rest ---- */

FIBER_TEST(process_options, the_environment_is_inherited_or_given_whole)
{
    const char *const env[] = {"COLOUR=green", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    cr_assert_eq(setenv("COLOUR", "red", 1), 0);
    expect_output("echo $COLOUR", &options, "red\n");
    options.env = env;
    expect_output("echo $COLOUR $HOME", &options, "green\n");
}

FIBER_TEST(process_options, the_child_starts_in_its_directory_and_the_parent_stays)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    char before[256];
    char after[256];

    cr_assert_not_null(getcwd(before, sizeof before));
    options.cwd = "/usr/bin";
    expect_output("pwd -P", &options, "/usr/bin\n");
    cr_assert_not_null(getcwd(after, sizeof after));
    cr_assert_str_eq(before, after);
}

FIBER_TEST(process_options, the_child_can_lead_a_group_or_a_session)
{
    static const char script[] =
        "set -- $(cat /proc/$$/stat); test $1 = $5 && echo group; test $1 = $6 && echo session; :";
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.new_group = true;
    expect_output(script, &options, "group\n");
    options.new_group = false;
    options.new_session = true;
    expect_output(script, &options, "group\nsession\n");
}

FIBER_TEST(process_options, no_signal_is_blocked_or_ignored_in_the_child)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t signals;

    cr_assert_eq(sigaction(SIGPIPE, &ignore, NULL), 0);
    cr_assert_eq(sigaction(SIGUSR1, &ignore, NULL), 0);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR2);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &signals, NULL), 0);

    /* The last digits are those of signals 1 to 28. Some above are the C library's own. */
    expect_output("grep -E 'Sig(Blk|Ign)' /proc/self/status | grep -o '.......$'", &options,
                  "0000000\n0000000\n");
}

static const coil_options pinned = {.size = sizeof pinned, .pin_cores = true};

FIBER_TEST_WITH(process_options, a_child_may_use_all_cpus_that_the_program_may, &pinned)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    char expected[16];
    cpu_set_t cpus;

    /* Criterion's own process has never been tied to one. */
    cr_assert_eq(sched_getaffinity(getppid(), sizeof cpus, &cpus), 0);
    (void)snprintf(expected, sizeof expected, "%d\n", CPU_COUNT(&cpus));
    expect_output("nproc", &options, expected);
}
