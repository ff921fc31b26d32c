/* SPDX-License-Identifier: MIT */
/* Scripts to run, and proof that nothing of them is left (tests/net/process_fixture.h). */
#include "net/process_fixture.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

coil_process *spawn_script(const char *script, const coil_process_options *options)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    coil_process *process;

    cr_assert_eq(coil_process_spawn(argv, options, &process), 0);
    return process;
}

int status_of(coil_process *process)
{
    int status = INT32_MIN;

    cr_assert_eq(coil_process_wait(process, &status), 0);
    return status;
}

int run_script(const char *script, const coil_process_options *options, coil_process_output *output)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    const int result = coil_process_run(argv, options, NULL, 0, output);

    cr_assert_eq(result, 0, "%s", coil_strerror(result));
    return output->status;
}

void expect_no_children(void)
{
    const pid_t pid = waitpid(-1, NULL, WNOHANG);

    cr_assert_eq(pid, -1, "child %d", (int)pid);
    cr_assert_eq(errno, ECHILD);
}

size_t read_to_end(int fd, char *text, size_t size)
{
    size_t length = 0;

    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        coil_yield();
        if (poll(&poll_fd, 1, 0) == 0)
            continue;
        n = read(fd, text + length, size - length);
        if (n <= 0)
            return length;
        length += (size_t)n;
    }
}
