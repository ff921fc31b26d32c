/* SPDX-License-Identifier: MIT */
/* Standard input, output and error: whatever they are connected to, nothing written is lost,
 * nothing unread is taken from who comes after, and the descriptors stay as they were.
 *
 * Each test runs in a process of its own, whose descriptors 0 and 1 it may replace; what is seen on
 * descriptor 2 is the log.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/stream.h"
#include "support/child.h"
#include "support/fiber_test.h"

TestSuite(stdio, .timeout = 60);

static struct child_end run_child(int (*function)(void *arg))
{
    struct child_end end;

    child_run(function, NULL, &end);
    return end;
}

static void expect_success(int (*function)(void *arg))
{
    const struct child_end end = run_child(function);

    cr_assert_eq(end.signal, 0, "signal %d", end.signal);
    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_str_eq(end.output, "");
}

/* ---- In the child ---- */

/* Makes `fd` standard input or output. */
static void become(int fd, int standard)
{
    child_check(dup2(fd, standard) == standard, "dup2");
    (void)close(fd);
}

/* Makes descriptor 0 or 1 one end of a new pipe; returns the other. */
static int pipe_to(int standard)
{
    int fds[2];

    child_check(pipe(fds) == 0, "pipe");
    become(fds[standard], standard);
    return fds[1 - standard];
}

static void run(int (*body)(void *arg), void *arg)
{
    int result = -1;

    child_check(fiber_test_coil_run(body, arg, NULL, &result) == 0, "coil_run");
    child_check(result == 0, "main's result");
}

static void expect_text(int fd, const char *text)
{
    char buffer[256] = "";

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    child_check(read(fd, buffer, sizeof buffer - 1) == (ssize_t)strlen(text), buffer);
    child_check(strcmp(buffer, text) == 0, buffer);
}

static void put(int fd, const char *text)
{
    child_check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write");
}

static int print_hello(void *arg)
{
    coil_stream *out;
    int result = coil_stdout(&out);

    (void)arg;
    return result < 0 ? result : coil_printf(out, "hello\n");
}

/* ---- Output ---- */

static int check_last_output(void *arg)
{
    const int fd = pipe_to(STDOUT_FILENO);

    (void)arg;
    run(print_hello, NULL);
    expect_text(fd, "hello\n");
    run(print_hello, NULL);
    expect_text(fd, "hello\n");
    return 0;
}

Test(stdio, what_is_still_buffered_is_written_when_the_run_ends)
{
    expect_success(check_last_output);
}

static int print_and_sleep(void *arg)
{
    coil_stream *out;

    (void)arg;
    child_check(coil_stdout(&out) == 0, "stdout");
    child_check(coil_printf(out, "sleeping, ") == 0, "printf");
    while (coil_sleep(COIL_SECONDS(100)) == 0)
        continue;
    child_check(coil_write(out, "x", 1) == -ECANCELED, "cancelled");
    return 0;
}

static int leave_a_sleeper(void *arg)
{
    (void)arg;
    child_check(coil_spawn(print_and_sleep, NULL, NULL) == 0, "spawn");
    coil_yield();
    return print_hello(NULL);
}

static int check_cancelled_fibers(void *arg)
{
    const int fd = pipe_to(STDOUT_FILENO);

    (void)arg;
    run(leave_a_sleeper, NULL);
    expect_text(fd, "sleeping, hello\n");
    return 0;
}

Test(stdio, what_fibers_wrote_before_they_were_cancelled_is_written_too)
{
    expect_success(check_cancelled_fibers);
}

static int print_to_nobody(void *arg)
{
    coil_stream *out;

    (void)arg;
    child_check(coil_stdout(&out) == 0, "stdout");
    child_check(coil_printf(out, "hello\n") == 0, "printf");
    child_check(coil_flush(out) == -EPIPE, "EPIPE");
    child_check(coil_write(out, "x", 1) == -EPIPE, "EPIPE again");
    return 0;
}

static int check_no_peer(void *arg)
{
    int fds[2];

    (void)arg;
    child_check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
    become(fds[0], STDOUT_FILENO);
    (void)close(fds[1]);
    run(print_to_nobody, NULL);
    return 0;
}

Test(stdio, a_peer_that_has_gone_is_an_error_and_ends_neither_program_nor_run)
{
    expect_success(check_no_peer);
}

static int check_no_reader(void *arg)
{
    (void)arg;
    (void)close(pipe_to(STDOUT_FILENO));
    run(print_to_nobody, NULL);
    return 0;
}

Test(stdio, a_reader_that_has_gone_is_an_error_and_ends_neither_program_nor_run)
{
    expect_success(check_no_reader);
}

static int check_stuck_output(void *arg)
{
    static char bytes[1024 * 1024];
    const int fd = pipe_to(STDOUT_FILENO);
    coil_options options = COIL_OPTIONS_INIT;
    int result = -1;

    (void)arg;
    options.grace = COIL_MS(10);
    (void)fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    (void)!write(STDOUT_FILENO, bytes, sizeof bytes);
    /* The sleeper arms the grace of the run, which would be over before that of the output. */
    child_check(fiber_test_coil_run(leave_a_sleeper, NULL, &options, &result) == 0, "coil_run");
    (void)close(fd);
    return 0;
}

Test(stdio, output_that_nobody_takes_is_given_up_after_the_grace_and_named)
{
    const struct child_end end = run_child(check_stuck_output);

    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_not_null(strstr(end.output, "standard output was not written to its end"), "%s",
                       end.output);
}

static int print_and_close(void *arg)
{
    coil_stream *out;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        child_check(coil_stdout(&out) == 0, "stdout");
        child_check(coil_printf(out, "%d", i) == 0, "printf");
        child_check(coil_close(out) == 0, "close");
    }
    return 0;
}

static int check_closing(void *arg)
{
    const int fd = pipe_to(STDOUT_FILENO);

    (void)arg;
    run(print_and_close, NULL);
    child_check(fcntl(STDOUT_FILENO, F_GETFD) >= 0, "descriptor 1 was closed");
    expect_text(fd, "012");
    return 0;
}

Test(stdio, a_closed_stream_leaves_the_descriptor_open_and_the_next_use_makes_a_new_one)
{
    expect_success(check_closing);
}

static int check_file_output(void *arg)
{
    char name[] = "/tmp/coil-test-stdio-XXXXXX";
    const int fd = mkstemp(name);
    const int appending = open(name, O_WRONLY | O_APPEND);

    (void)arg;
    (void)unlink(name);
    put(fd, "before\n");
    become(appending, STDOUT_FILENO);
    run(print_hello, NULL);
    put(STDOUT_FILENO, "after\n");
    child_check(lseek(fd, 0, SEEK_SET) == 0, "lseek");
    expect_text(fd, "before\nhello\nafter\n");
    return 0;
}

Test(stdio, output_to_a_file_is_appended_where_the_file_stands)
{
    expect_success(check_file_output);
}

/* ---- Input ---- */

/* The person at the other end of both pipes. */
struct person {
    int hears;
    int types;
};

static int answer_the_question(void *arg)
{
    const struct person *person = arg;
    coil_stream *hears;
    char text[16];

    child_check(coil_adopt(dup(person->hears), &hears) == 0, "adopt");
    child_check(coil_read_full(hears, text, 6, NULL) == 6, "no question");
    child_check(memcmp(text, "name? ", 6) == 0, "another question");
    put(person->types, "Ada\n");
    return coil_close(hears);
}

static int ask(void *arg)
{
    coil_stream *in;
    coil_stream *out;
    char name[16];

    child_check(coil_spawn(answer_the_question, arg, NULL) == 0, "spawn");
    child_check(coil_stdin(&in) == 0, "stdin");
    child_check(coil_stdout(&out) == 0, "stdout");
    child_check(coil_printf(out, "name? ") == 0, "printf");
    child_check(coil_read_line(in, name, sizeof name) == 4, "read_line");
    return coil_printf(out, "hello %s", name);
}

static int check_prompt(void *arg)
{
    struct person person = {.hears = pipe_to(STDOUT_FILENO), .types = pipe_to(STDIN_FILENO)};

    (void)arg;
    run(ask, &person);
    expect_text(person.hears, "hello Ada\n");
    return 0;
}

Test(stdio, a_prompt_is_shown_before_the_answer_is_awaited)
{
    expect_success(check_prompt);
}

static int close_at_once(void *arg)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, 0);
    result = coil_close(arg);
    (void)coil_scope_leave(&scope);
    return result;
}

/* Reads between the end of what the close had under way and the closing fiber's turn. */
static int read_under_a_close(void *arg)
{
    const struct person *person = arg;
    coil_fiber *closer;
    coil_scope scope;
    coil_stream *in;
    coil_stream *out;
    char block[4096] = "";

    (void)fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    while (write(STDOUT_FILENO, block, sizeof block) > 0)
        continue;
    child_check(coil_stdin(&in) == 0, "stdin");
    child_check(coil_stdout(&out) == 0, "stdout");
    child_check(coil_write(out, "unsent", 6) == 0, "write");
    coil_scope_enter(&scope, COIL_MS(1));
    child_check(coil_read(in, block, 1) == -ETIMEDOUT, "the prompt that has no room");
    (void)coil_scope_leave(&scope);
    child_check(out->output.flight > 0, "is not under way");

    child_check(coil_spawn(close_at_once, out, &closer) == 0, "spawn");
    while (out->output.flight > 0)
        coil_yield();
    child_check(closer->tcb && closer->tcb->state == COIL__FIBER_READY, "has not run yet");
    coil_scope_enter(&scope, COIL_MS(1));
    child_check(coil_read(in, block, 1) == -ETIMEDOUT, "read");
    (void)coil_scope_leave(&scope);
    for (int i = 0; i < 100 && closer->tcb; i++)
        coil_yield();
    child_check(!closer->tcb, "the close waits for a send that began under it");
    child_check(join_and_drop(closer) == -ETIMEDOUT, "close");
    (void)person;
    return 0;
}

static int check_read_under_a_close(void *arg)
{
    struct person person = {.hears = pipe_to(STDOUT_FILENO), .types = pipe_to(STDIN_FILENO)};

    (void)arg;
    run(read_under_a_close, &person);
    return 0;
}

Test(stdio, a_prompt_is_not_shown_under_a_close)
{
    expect_success(check_read_under_a_close);
}

static int read_a_line(void *arg)
{
    coil_stream *in;
    coil_stream *again;
    char line[16];

    (void)arg;
    child_check(coil_stdin(&in) == 0, "stdin");
    child_check(coil_stdin(&again) == 0 && again == in, "one stream per run");
    child_check(coil_read_line(in, line, sizeof line) == 4, "read_line");
    child_check(strcmp(line, "one\n") == 0, line);
    return 0;
}

static int check_file_input(void *arg)
{
    char name[] = "/tmp/coil-test-stdio-XXXXXX";
    const int fd = mkstemp(name);

    (void)arg;
    (void)unlink(name);
    put(fd, "one\ntwo\n");
    child_check(lseek(fd, 0, SEEK_SET) == 0, "lseek");
    become(fd, STDIN_FILENO);
    run(read_a_line, NULL);
    expect_text(STDIN_FILENO, "two\n");
    return 0;
}

Test(stdio, what_was_not_read_of_a_file_is_left_to_who_reads_next)
{
    expect_success(check_file_input);
}

static int give_up_reading(void *arg)
{
    coil_scope scope;
    coil_stream *in;
    char byte;

    (void)arg;
    child_check(coil_stdin(&in) == 0, "stdin");
    coil_scope_enter(&scope, COIL_MS(1));
    child_check(coil_read(in, &byte, 1) == -ETIMEDOUT, "timeout");
    (void)coil_scope_leave(&scope);
    return 0;
}

static int check_interrupted_input(void *arg)
{
    const int fd = pipe_to(STDIN_FILENO);

    (void)arg;
    run(give_up_reading, NULL);
    put(fd, "rest");
    expect_text(STDIN_FILENO, "rest");
    return 0;
}

Test(stdio, a_reader_that_gave_up_takes_nothing_from_who_reads_next)
{
    expect_success(check_interrupted_input);
}

/* ---- The descriptors ---- */

static int copy_a_line(void *arg)
{
    coil_stream *in;
    coil_stream *out;
    char line[64];
    ssize_t n;

    (void)arg;
    child_check(coil_stdin(&in) == 0, "stdin");
    child_check(coil_stdout(&out) == 0, "stdout");
    n = coil_read_line(in, line, sizeof line);
    child_check(n > 0, "read_line");
    return coil_write(out, line, (size_t)n);
}

static void check_copy(int mode)
{
    int fds[2];

    child_check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
    child_check(dup2(fds[0], STDIN_FILENO) == STDIN_FILENO, "dup2");
    become(fds[0], STDOUT_FILENO);
    child_check(fcntl(STDIN_FILENO, F_SETFL, mode) == 0, "F_SETFL");
    put(fds[1], "echo\n");
    run(copy_a_line, NULL);
    expect_text(fds[1], "echo\n");
    child_check((fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK) == mode, "the mode of 0");
    child_check((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) == mode, "the mode of 1");
    (void)close(fds[1]);
}

static int check_sockets(void *arg)
{
    (void)arg;
    check_copy(0);
    check_copy(O_NONBLOCK);
    return 0;
}

Test(stdio, sockets_serve_as_well_and_every_mode_is_kept)
{
    expect_success(check_sockets);
}

static int ask_for_closed_ones(void *arg)
{
    coil_stream *stream = NULL;

    (void)arg;
    child_check(close(STDIN_FILENO) == 0, "close");
    child_check(coil_stdin(&stream) == -EBADF, "EBADF");
    child_check(stream == NULL, "untouched");
    return 0;
}

static int check_closed(void *arg)
{
    (void)arg;
    run(ask_for_closed_ones, NULL);
    return 0;
}

Test(stdio, a_descriptor_that_is_not_open_is_refused)
{
    expect_success(check_closed);
}

static int print_on_both(void *arg)
{
    coil_stream *stream;

    (void)arg;
    child_check(coil_stderr(&stream) == 0, "stderr");
    return coil_printf(stream, "an error\n");
}

static int check_error(void *arg)
{
    (void)arg;
    run(print_on_both, NULL);
    return 0;
}

Test(stdio, standard_error_is_written_at_the_end_too)
{
    const struct child_end end = run_child(check_error);

    cr_assert_eq(end.exit_code, 0);
    cr_assert_str_eq(end.output, "an error\n");
}

/* ---- Without memory ---- */

static void be_silent(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

static int check_memory(void *arg)
{
    const int fd = pipe_to(STDOUT_FILENO);
    const int64_t blocks = coil__alloc_live_count();
    int run_result;
    int result;
    int n = 0;

    (void)arg;
    coil_log_set(be_silent, NULL);
    do {
        result = -1;
        coil__alloc_fail_after(n++);
        run_result = fiber_test_coil_run(print_hello, NULL, NULL, &result);
        coil__alloc_fail_after(-1);
        child_check(coil__alloc_live_count() == blocks, "nothing is left");
        child_check(n < 1000, "it passes some time");
    } while (run_result < 0 || result < 0);
    child_check(n > 3, "it failed before");
    expect_text(fd, "hello\n");
    return 0;
}

Test(stdio, when_any_allocation_fails_nothing_is_written_or_left)
{
    expect_success(check_memory);
}
