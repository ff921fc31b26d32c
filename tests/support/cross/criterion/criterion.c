/* SPDX-License-Identifier: MIT */
/* Runs the tests that were compiled against criterion.h beside it: one process for each, with a
 * clock that ends it. Test programs are called as with Criterion, whose options are ignored. Tests
 * named in COIL_CROSS_WITHOUT, each between spaces, are skipped.
 */
#include "criterion.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TIMEOUT_DEFAULT = 60,
    EXIT_FAILED = 1,
    EXIT_SKIPPED = 77,
};

static struct cross_test *first;
static bool is_failed; /* an expectation of the running test was not met */

void cross_test_add(struct cross_test *test)
{
    struct cross_test **link = &first;

    while (*link)
        link = &(*link)->next;
    *link = test;
}

void cross_expect(bool is_true, const char *file, int line, const char *text)
{
    if (is_true)
        return;
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, text);
    is_failed = true;
}

void cross_assert(bool is_true, const char *file, int line, const char *text)
{
    cross_expect(is_true, file, line, text);
    if (!is_true)
        _exit(EXIT_FAILED);
}

_Noreturn void cross_skip(void)
{
    _exit(EXIT_SKIPPED);
}

/* What the test leaves open its suite may set. */
static struct cross_options options_of(const struct cross_test *test)
{
    struct cross_options options = test->options;

    for (const struct cross_test *suite = first; suite; suite = suite->next) {
        if (suite->name || strcmp(suite->suite, test->suite) != 0)
            continue;
        options.init = options.init ? options.init : suite->options.init;
        options.fini = options.fini ? options.fini : suite->options.fini;
        options.timeout = options.timeout ? options.timeout : suite->options.timeout;
    }
    options.timeout = options.timeout ? options.timeout : TIMEOUT_DEFAULT;
    return options;
}

static bool is_left_out(const struct cross_test *test)
{
    const char *names = getenv("COIL_CROSS_WITHOUT");
    char name[256];

    (void)snprintf(name, sizeof name, " %s ", test->name);
    return names && strstr(names, name);
}

static _Noreturn void run_here(const struct cross_test *test, const struct cross_options *options)
{
    (void)alarm((unsigned)options->timeout);
    if (options->init)
        options->init();
    test->body();
    if (options->fini)
        options->fini();
    _exit(is_failed ? EXIT_FAILED : 0);
}

/* Returns the exit status as a shell has it: 128 and more for a signal that was not expected. */
static int run(const struct cross_test *test)
{
    const struct cross_options options = options_of(test);
    const pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        run_here(test, &options);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return EXIT_FAILED;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == options.signal ? 0 : 128 + WTERMSIG(status);
    return options.signal && WEXITSTATUS(status) == 0 ? EXIT_FAILED : WEXITSTATUS(status);
}

int main(void)
{
    int tested_count = 0;
    int crashed_count = 0;
    int failed_count = 0;

    for (const struct cross_test *test = first; test; test = test->next) {
        const int status = test->name && !is_left_out(test) ? run(test) : EXIT_SKIPPED;

        if (status == EXIT_SKIPPED)
            continue;
        tested_count++;
        failed_count += status != 0;
        crashed_count += status >= 128;
        if (status != 0)
            (void)printf("[FAIL] %s::%s: status %d\n", test->suite, test->name, status);
    }
    (void)printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n",
                 tested_count, tested_count - failed_count, failed_count, crashed_count);
    return failed_count > 0;
}
