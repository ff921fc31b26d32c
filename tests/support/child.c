/* SPDX-License-Identifier: MIT */
/* Processes of their own (tests/support/child.h). The output is read until the child closes it, so
 * a child that writes more than fits loses the rest but is never blocked by a full pipe.
 */
#include "support/child.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void be_child(int (*function)(void *arg), void *arg, const int pipe_fds[2])
{
    const struct rlimit no_core = {0};

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)dup2(pipe_fds[1], STDERR_FILENO);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    _exit(function(arg));
}

static void collect(int fd, char *output)
{
    char rest[1024];
    size_t len = 0;
    ssize_t count;

    do {
        count = read(fd, rest, sizeof rest);
        if (count > 0 && len + (size_t)count < CHILD_OUTPUT_SIZE) {
            memcpy(output + len, rest, (size_t)count);
            len += (size_t)count;
        }
    } while (count > 0);
    output[len] = '\0';
}

void child_run(int (*function)(void *arg), void *arg, struct child_end *ret_end)
{
    int pipe_fds[2];
    int status = 0;
    pid_t pid;

    cr_assert_eq(pipe(pipe_fds), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        be_child(function, arg, pipe_fds);
    cr_assert_eq(close(pipe_fds[1]), 0);
    collect(pipe_fds[0], ret_end->output);
    cr_assert_eq(close(pipe_fds[0]), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    ret_end->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ret_end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void child_check(int is_true, const char *text)
{
    if (is_true)
        return;
    (void)!write(STDERR_FILENO, text, strlen(text));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(1);
}
