/* SPDX-License-Identifier: MIT */
/* What a parked fiber costs: resident memory, page tables and mappings of 100,000 of them.
 *
 * The fibers wait for a semaphore, with default stacks and guards. The figures are the kernel's
 * (/proc/self/status, /proc/self/maps), before the fibers and while all of them are parked; what
 * has gone to swap counts as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

#include "measure.h"

struct footprint {
    long resident_kib; /* with what is swapped out */
    long tables_kib;
    long mappings;
};

static long status_kib(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line ? strtol(line + strlen(name), NULL, 10) : 0;
}

static size_t read_file(const char *path, char *buffer, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length;

    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    length = fread(buffer, 1, size - 1, file);
    buffer[length] = '\0';
    (void)fclose(file);
    return length;
}

static struct footprint footprint(void)
{
    static char buffer[1 << 20];
    struct footprint now = {0};

    (void)read_file("/proc/self/status", buffer, sizeof buffer);
    now.resident_kib = status_kib(buffer, "\nVmRSS:") + status_kib(buffer, "\nVmSwap:");
    now.tables_kib = status_kib(buffer, "\nVmPTE:");
    (void)read_file("/proc/self/maps", buffer, sizeof buffer);
    for (const char *at = buffer; (at = strchr(at, '\n')) != NULL; at++)
        now.mappings++;
    return now;
}

static int wait_for_end(void *arg)
{
    return coil_sem_acquire(arg);
}

static int measure(void *arg)
{
    const long fibers = *(long *)arg;
    struct footprint before;
    struct footprint after;
    coil_sem end;

    coil_sem_init(&end, 0);
    before = footprint(); /* makes the buffer resident */
    before = footprint();
    for (long i = 0; i < fibers; i++)
        measure_check(coil_spawn(wait_for_end, &end, NULL), "coil_spawn");
    while (coil_sem_balance(&end) > -(int)fibers)
        coil_yield();
    after = footprint();

    (void)printf("{\"fibers\": %ld, \"resident\": %.1f, \"tables\": %.1f, \"mappings\": %ld}\n",
                 fibers, (double)(after.resident_kib - before.resident_kib) * 1024 / (double)fibers,
                 (double)(after.tables_kib - before.tables_kib) * 1024 / (double)fibers,
                 after.mappings);
    for (long i = 0; i < fibers; i++)
        coil_sem_release(&end);
    while (coil_sem_balance(&end) < 0)
        coil_yield();
    return 0;
}

int main(int argc, char **argv)
{
    coil_options options = COIL_OPTIONS_INIT;
    char *end = NULL;
    long fibers = argc > 1 ? strtol(argv[1], &end, 10) : 100000;

    if (argc > 2 || (end && *end) || fibers < 1 || fibers > 1000000) {
        (void)fprintf(stderr, "usage: memory [FIBERS, up to 1,000,000]\n");
        return 2;
    }
    options.fibers_max = (size_t)fibers + 1; /* main */
    measure_check(coil_run(measure, &fibers, &options, NULL), "coil_run");
    return 0;
}
