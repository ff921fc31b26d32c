/* SPDX-License-Identifier: MIT */
/* The ring of the hand-written servers and its shared buffers (see raw_ring.h). */
#include "raw_ring.h"

#include <stdint.h>

#include "raw.h"

void raw_open_ring(struct io_uring *ring, unsigned entries)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = entries * 4 < 4096 ? 4096 : entries * 4,
    };
    int status = io_uring_queue_init_params(entries, ring, &params);

    if (status < 0)
        raw_die("io_uring_queue_init_params", status);
    status = io_uring_register_ring_fd(ring);
    if (status < 0)
        raw_die("io_uring_register_ring_fd", status);
}

struct io_uring_buf_ring *raw_share_buffers(struct io_uring *ring, unsigned count,
                                            unsigned short group)
{
    struct io_uring_buf_ring *shared = raw_map(count * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)shared,
        .ring_entries = count,
        .bgid = group,
    };
    int status;

    io_uring_buf_ring_init(shared);
    status = io_uring_register_buf_ring(ring, &reg, 0);
    if (status < 0)
        raw_die("io_uring_register_buf_ring", status);
    return shared;
}
