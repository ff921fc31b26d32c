/* SPDX-License-Identifier: MIT */
/* The pool of threads, as tests see it.
 *
 * Its number of threads and its two waiting times are nobody's business but the pool's; tests look
 * at the one and shorten the others, because they must not wait for time to pass.
 */
#ifndef COIL_LIB_IO_OFFLOAD_H
#define COIL_LIB_IO_OFFLOAD_H

#include <coil/offload.h>

enum {
    /* Calls under way, waiting for a thread or in one. Beyond it a queue only hides that the
     * threads can't keep up; callers park instead. */
    COIL__OFFLOAD_JOBS_MAX = 1000,
};

/* How long a thread without work stays, and how long the end of coil_run() waits for calls that
 * nobody waits for any more. */
extern coil_time coil__offload_idle_time;
extern coil_time coil__offload_leave_time;

struct coil__sched;

/* What a scheduler's pool has to do at the moment; all 0 before its first call. */
struct coil__offload_load {
    unsigned threads;
    unsigned running; /* calls, in a thread each */
    unsigned queued;  /* calls that wait for a thread */
};

void coil__offload_measure(const struct coil__sched *sched, struct coil__offload_load *ret_load);

/* Threads of the calling scheduler's pool. */
unsigned coil__offload_thread_count(void);

#endif
