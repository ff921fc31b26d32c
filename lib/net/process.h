/* SPDX-License-Identifier: MIT */
/* Child processes, inside: the record of a child (process.c) and how it is started (spawn.c).
 *
 * A spawn runs in a thread of the pool, which its fiber may leave at any time. So all that the
 * thread needs is in a record of its own, copied, with duplicates of the descriptors.
 */
#ifndef COIL_LIB_NET_PROCESS_H
#define COIL_LIB_NET_PROCESS_H

#include <coil/process.h>

#include "core/op.h"
#include "core/waitq.h"

struct coil_process {
    struct coil__op op;       /* polls pidfd, from the first wait on */
    struct coil__timer retry; /* then, while a tracer keeps the end from us */
    struct coil__sched *sched;
    struct coil__waitq waiters;
    pid_t pid;
    int pidfd;
    int status;
    int result; /* 0, or why there is no status */
    bool is_watched;
    bool is_over;
    bool leads_group; /* stays a zombie until it is freed, so that its number is its group's */
    coil_stream *streams[3]; /* by the child's descriptor; NULL where there is no pipe */
};

/* Starts the process that `options` (read, and checked) describe. The pipes of the child's side are
 * `child_fds`, -1 where there is none. Parks. Stores pid and pidfd. */
int coil__process_start(const char *const argv[], const coil_process_options *options,
                        const int child_fds[3], coil_process *process);

#endif
