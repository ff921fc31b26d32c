/* SPDX-License-Identifier: MIT */
/* coil/stats.h - numbers of a running scheduler: what a monitoring page wants to show.
 *
 * Counters only grow; take the difference of two looks to get a rate. What follows from them:
 *   - completions / enters: how well the loop batches. Near 1 is an idle loop, 40 and more a busy
 *     one. It is what makes a request cheap.
 *   - switches / turns: fibers run per look at I/O and timers.
 *   - starved_receives grows: the shared receive buffers are too few or too slowly consumed
 *     (coil_options.buffer_count); overflows: the completion queue is too small (cq_size);
 *     queued_submissions: the submission queue is (sq_size).
 *   - offload_queued stays above 0: all threads are busy (COIL_THREADS).
 *
 * Threads: the numbers are those of the calling thread's coil_run().
 */
#ifndef COIL_STATS_H
#define COIL_STATS_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Numbers at one moment, 216 bytes in this version; begin with COIL_STATS_INIT. Grows at its end
 *  only: what a library older than the program does not know is left 0. */
typedef struct coil_stats_info {
    size_t size; /* set by the initialiser */

    /* Fibers. */
    uint64_t fibers;      /* that have not ended */
    uint64_t fibers_peak; /* the most there have been at a time */
    uint64_t ready;       /* of them are runnable and wait for their turn */
    uint64_t spawns;      /* since the start */
    uint64_t switches;    /* from one fiber, or the loop, to another */

    /* The loop. */
    uint64_t turns;  /* looks at I/O and timers */
    uint64_t timers; /* armed now: deadlines of scopes, sleeps, coil's own */
    uint64_t posts;  /* messages from other threads and signal handlers that have been taken */

    /* The kernel. */
    uint64_t enters;             /* system calls that submit or wait */
    uint64_t submissions;        /* entries handed over */
    uint64_t completions;        /* entries taken back */
    uint64_t requests;           /* with the kernel now, open streams and listeners included */
    uint64_t queued_submissions; /* had to wait for room in the submission queue */
    uint64_t cancels;
    uint64_t overflows;        /* turns that found the completion queue overflown */
    uint64_t starved_receives; /* ended for lack of shared buffers */
    uint64_t rearms;           /* multishot receives and accepts started again, as is routine */
    uint64_t wakes;            /* of a sleeping loop by other threads */

    /* Threads for offloaded calls (coil/offload.h). */
    uint64_t offload_threads;
    uint64_t offload_running; /* calls under way, also those whose caller has left */
    uint64_t offload_queued;  /* calls that wait for a thread */

    /* Memory. */
    uint64_t stacks;      /* in use */
    uint64_t stacks_warm; /* free, with their pages, for the next fibers */
    uint64_t stacks_cold; /* free, pages given back */
    uint64_t stack_slabs; /* mappings that they come from */
    uint64_t stack_bytes; /* address space of these; only touched pages are memory */
} coil_stats_info;

#define COIL_STATS_INIT           \
 {                                \
  .size = sizeof(coil_stats_info) \
 }

/** Stores the numbers of this thread's scheduler in *@p ret_stats, whose `size` says how much of it
 *  there is. Takes some microseconds, more with many runnable fibers, which it counts.
 *  Never parks; from fibers and callbacks. Returns 0; -EINVAL for a struct without its initialiser;
 *  -ESRCH outside of coil_run(). */
COIL_API int coil_stats(coil_stats_info *ret_stats);

COIL_END_DECLS

#endif
