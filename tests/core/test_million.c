/* SPDX-License-Identifier: MIT */
/* A million fibers: all of them park, with default stacks and guards, in 4.6 GB of memory and fewer
 * than a thousand mappings, and all of them end.
 *
 * Skipped, and said so, where less than 8 GB are available, and under ASan, whose stacks are four
 * times as large and whose shadow comes on top.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

#include "base/sanitize.h"

enum {
    FIBERS = 1000000,
    MAPPINGS_MAX = 1000,
    SKIPPED = 77,
};

static const long bytes_max = 4600000000;
static const long available_min = 8L * 1024 * 1024 * 1024;

static void check(bool is_true, const char *what)
{
    if (is_true)
        return;
    (void)fprintf(stderr, "failed: %s\n", what);
    exit(EXIT_FAILURE);
}

/* The number behind `name` in a file of lines "Name:  number kB", in bytes. */
static long kernel_bytes(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[256];
    long kib = 0;

    check(file != NULL, path);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtol(line + strlen(name), NULL, 10);
    }
    (void)fclose(file);
    return kib * 1024;
}

static long count_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    long lines = 0;

    check(file != NULL, "/proc/self/maps");
    for (int c = getc(file); c != EOF; c = getc(file))
        lines += c == '\n';
    (void)fclose(file);
    return lines;
}

static long ended_count;

static int wait_for_end(void *arg)
{
    const int result = coil_sem_acquire(arg);

    ended_count += result == 0;
    return result;
}

static int run_a_million(void *arg)
{
    coil_sem end;
    long bytes;
    long mappings;

    (void)arg;
    coil_sem_init(&end, 0);
    for (long i = 0; i < FIBERS; i++)
        check(coil_spawn(wait_for_end, &end, NULL) == 0, "coil_spawn");
    while (coil_sem_balance(&end) > -FIBERS)
        coil_yield();
    bytes = kernel_bytes("/proc/self/status", "VmRSS:") +
            kernel_bytes("/proc/self/status", "VmSwap:") +
            kernel_bytes("/proc/self/status", "VmPTE:");
    mappings = count_mappings();
    (void)printf("%d parked fibers: %ld bytes, %ld mappings\n", FIBERS, bytes, mappings);
    check(bytes <= bytes_max, "too many bytes");
    check(mappings <= MAPPINGS_MAX, "too many mappings");

    for (long i = 0; i < FIBERS; i++)
        coil_sem_release(&end);
    while (ended_count < FIBERS)
        coil_yield();
    return 0;
}

int main(void)
{
    coil_options options = COIL_OPTIONS_INIT;
    int result = -1;

    if (COIL__HAS_ASAN || kernel_bytes("/proc/meminfo", "MemAvailable:") < available_min) {
        (void)printf("skipped: a million fibers need 8 GB of available memory and no sanitizer\n");
        return SKIPPED;
    }
    options.fibers_max = FIBERS + 1; /* main */
    check(coil_run(run_a_million, NULL, &options, &result) == 0, "coil_run");
    check(result == 0, "main's result");
    return EXIT_SUCCESS;
}
