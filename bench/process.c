/* SPDX-License-Identifier: MIT */
/* Starting a process and waiting for its end, over and over: `process CASE COUNT`.
 *
 * `plain` is posix_spawn(3) and waitpid(2) in a loop. `fiber` is coil_process_spawn(), _wait() and
 * _free() in one fiber, `fibers` the same in eight fibers at once, `run` is coil_process_run(),
 * which also collects the output. The program that is run is true(1). Prints the wall clock's
 * nanoseconds per process: what is measured is mostly the kernel's, and partly in other processes.
 */
#include <coil/coil.h>

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

enum {
    FIBERS = 8,
};

static const char *const program[] = {"/bin/true", NULL};
static long count;

static int run_plain(void)
{
    char name[] = "/bin/true";
    char *const argv[] = {name, NULL};

    for (long i = 0; i < count; i++) {
        pid_t pid;
        int status;

        measure_check(-posix_spawn(&pid, name, NULL, NULL, argv, environ), "posix_spawn");
        measure_check(waitpid(pid, &status, 0), "waitpid");
        measure_check(-status, "true");
    }
    return 0;
}

static int run_some(void *arg)
{
    const long *share = arg;

    for (long i = 0; i < *share; i++) {
        coil_process *process;
        int status;

        measure_check(coil_process_spawn(program, NULL, &process), "coil_process_spawn");
        measure_check(coil_process_wait(process, &status), "coil_process_wait");
        measure_check(-status, "true");
        coil_process_free(process);
    }
    return 0;
}

static int run_in_fibers(void *arg)
{
    coil_fiber *fibers[FIBERS];
    long share = count / FIBERS;

    (void)arg;
    for (int i = 0; i < FIBERS; i++)
        measure_check(coil_spawn(run_some, &share, &fibers[i]), "coil_spawn");
    for (int i = 0; i < FIBERS; i++) {
        measure_check(coil_join(fibers[i], NULL), "coil_join");
        coil_fiber_unref(fibers[i]);
    }
    return 0;
}

static int run_collecting(void *arg)
{
    (void)arg;
    for (long i = 0; i < count; i++) {
        coil_process_output output = {0};

        measure_check(coil_process_run(program, NULL, NULL, 0, &output), "coil_process_run");
        coil_process_output_free(&output);
    }
    return 0;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: process plain|fiber|fibers|run COUNT (of %d or more)\n", FIBERS);
    return 2;
}

int main(int argc, char **argv)
{
    const char *name = argc == 3 ? argv[1] : "";
    char *end = NULL;
    int64_t start;

    count = argc == 3 ? strtol(argv[2], &end, 10) : 0;
    if (count < FIBERS || *end)
        return usage();
    count -= count % FIBERS;
    start = coil_now();
    if (strcmp(name, "plain") == 0)
        (void)run_plain();
    else if (strcmp(name, "fiber") == 0)
        measure_check(coil_run(run_some, &count, NULL, NULL), "coil_run");
    else if (strcmp(name, "fibers") == 0)
        measure_check(coil_run(run_in_fibers, NULL, NULL, NULL), "coil_run");
    else if (strcmp(name, "run") == 0)
        measure_check(coil_run(run_collecting, NULL, NULL, NULL), "coil_run");
    else
        return usage();
    (void)printf("%.0f\n", (double)(coil_now() - start) / (double)count);
    return 0;
}
