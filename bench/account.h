/* SPDX-License-Identifier: MIT */
/* What the kernel has accounted to a process: the load generators read it for the server that they
 * measure and for themselves.
 *
 * CPU time is that of the whole process, io_uring's workers and threads that have ended included,
 * and exact at any moment. How long threads waited is brought up to date when they get their core,
 * and known of those only that still exist.
 */
#ifndef BENCH_ACCOUNT_H
#define BENCH_ACCOUNT_H

#include <stdint.h>

struct account {
    uint64_t cpu_ns;
    uint64_t wait_ns; /* ready to run while something else had the core: disturbance */
};

/* Nanoseconds on the monotonic clock. */
uint64_t account_clock(void);

struct account account_of(int pid);

/* The same, to be called with nothing under way, after a pause in which the process reaches its
 * wait; all zero for process 0, nobody. */
struct account account_settled(int pid, int pause_ms);

/* Nanoseconds that `later` is ahead of `earlier`; 0 where a thread has taken its part along. */
uint64_t account_difference(uint64_t later, uint64_t earlier);

/* Prints `, "WHO_cpu_ns": N, "WHO_wait_ns": N`, the difference of the two. */
void account_print(const char *who, const struct account *before, const struct account *after);

#endif
