/* SPDX-License-Identifier: MIT */
/* Log and assertions: one line per message, to the hook or to standard error. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

TestSuite(log, .timeout = 10);

static coil_log_level seen_level;
static char seen[1000];

static void keep(coil_log_level level, const char *message, void *arg)
{
    seen_level = level;
    (void)snprintf(seen, sizeof seen, "%s", message);
    *(int *)arg += 1;
    errno = EIO;
}

/* Runs `body` with standard error going to `ret_text`. */
static void capture_stderr(void (*body)(void), char *ret_text, size_t size)
{
    int fds[2];
    int saved = dup(STDERR_FILENO);
    ssize_t len;

    cr_assert_eq(pipe(fds), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    (void)close(fds[1]);
    body();
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    len = read(fds[0], ret_text, size - 1);
    cr_assert_geq(len, 0);
    ret_text[len] = '\0';
    (void)close(fds[0]);
}

Test(log, the_hook_gets_level_text_and_its_argument)
{
    int calls = 0;

    coil_log_set(keep, &calls);
    coil__log(COIL_LOG_INFO, "fiber %d of '%s'", 7, "run");

    cr_assert_eq(calls, 1);
    cr_assert_eq(seen_level, COIL_LOG_INFO);
    cr_assert_str_eq(seen, "fiber 7 of 'run'");
}

Test(log, the_callers_errno_survives_the_hook)
{
    int calls = 0;

    coil_log_set(keep, &calls);
    errno = ENOENT;
    coil__log(COIL_LOG_ERROR, "x");

    cr_assert_eq(errno, ENOENT);
}

Test(log, a_message_of_399_bytes_is_whole_and_a_longer_one_ends_in_dots)
{
    int calls = 0;
    char text[501];

    memset(text, 'x', sizeof text);
    text[500] = '\0';
    coil_log_set(keep, &calls);

    coil__log(COIL_LOG_INFO, "%.399s", text);
    cr_assert_eq(strlen(seen), 399);
    cr_assert_eq(seen[398], 'x');

    coil__log(COIL_LOG_INFO, "%s", text);
    cr_assert_eq(strlen(seen), 399);
    cr_assert_str_eq(seen + 395, "x...");
}

Test(log, control_characters_cannot_forge_a_second_line)
{
    int calls = 0;

    coil_log_set(keep, &calls);
    coil__log(COIL_LOG_WARNING, "name '%s'", "a\nb\r\x1b[1m\x7f \xc3\xa4");

    cr_assert_str_eq(seen, "name 'a b  [1m  \xc3\xa4'");
    coil__log(COIL_LOG_WARNING, "%s", "\x9b[2J \xc2\x9b \xe2\x80\xae \xff \xe2\x82\xac");
    cr_assert_str_eq(seen, " [2J          \xe2\x82\xac");
}

static void log_all_levels(void)
{
    coil__log(COIL_LOG_ERROR, "one");
    coil__log(COIL_LOG_WARNING, "two");
    coil__log(COIL_LOG_INFO, "three");
}

Test(log, without_a_hook_errors_and_warnings_go_to_standard_error)
{
    char text[200];

    capture_stderr(log_all_levels, text, sizeof text);

    cr_assert_str_eq(text, "coil: error: one\ncoil: warning: two\n");
}

Test(log, setting_no_hook_restores_standard_error)
{
    int calls = 0;
    char text[200];

    coil_log_set(keep, &calls);
    coil_log_set(NULL, NULL);
    capture_stderr(log_all_levels, text, sizeof text);

    cr_assert_eq(calls, 0);
    cr_assert_str_eq(text, "coil: error: one\ncoil: warning: two\n");
}

static void break_an_assertion(void)
{
    const pid_t child = fork();
    int status = 0;

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        COIL_ASSERT(1 + 1 == 3 && "arithmetic");
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
}

Test(log, a_broken_assertion_says_where_and_what_and_aborts)
{
    char text[500];

    capture_stderr(break_an_assertion, text, sizeof text);

    cr_assert_not_null(strstr(text, "test_log.c:"));
    cr_assert_not_null(
        strstr(text, ": break_an_assertion: assertion failed: 1 + 1 == 3 && \"arithmetic\"\n"));
}

static void call_assert_failed(void)
{
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        coil__assert_failed("x", "dir/file.c", 1020, "f");
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(log, the_line_number_of_an_assertion_is_exact)
{
    char text[500];

    capture_stderr(call_assert_failed, text, sizeof text);

    cr_assert_str_eq(text, "coil: dir/file.c:1020: f: assertion failed: x\n");
}
