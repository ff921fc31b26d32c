/* SPDX-License-Identifier: MIT */
/* What the kernel has accounted to a process: the load generators read it for the server that they
 * measure and for themselves.
 *
 * The kernel brings the numbers up to date when a thread goes to sleep, so they are exact for a
 * process that waits, and only then.
 */
#ifndef BENCH_ACCOUNT_H
#define BENCH_ACCOUNT_H

#include <stdint.h>

/* Over all threads of a process. */
struct account {
    uint64_t cpu_ns;
    uint64_t wait_ns; /* ready to run while something else had the core: disturbance */
};

struct account account_of(int pid);

/* Prints `, "WHO_cpu_ns": N, "WHO_wait_ns": N`, the difference of the two. */
void account_print(const char *who, const struct account *before, const struct account *after);

#endif
