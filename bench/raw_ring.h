/* SPDX-License-Identifier: MIT */
/* How the hand-written servers on io_uring set up their ring and its shared buffers.
 *
 * None of this runs while a measurement does. It is kept apart from raw.h for the sake of raw_epoll
 * and load_churn, which do without liburing.
 */
#ifndef BENCH_RAW_RING_H
#define BENCH_RAW_RING_H

#include <liburing.h>

/* Opens a ring for this thread alone, set up as is best for one loop, or ends the program. Four
 * completions fit for each of @p entries, and never fewer than 4096. */
void raw_open_ring(struct io_uring *ring, unsigned entries);

/* Registers a ring of @p count shared buffers, still empty, as @p group, or ends the program. */
struct io_uring_buf_ring *raw_share_buffers(struct io_uring *ring, unsigned count,
                                            unsigned short group);

#endif
