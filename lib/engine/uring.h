/* SPDX-License-Identifier: MIT */
/* What the parts of the io_uring engine share: uring.c (table and life), uring_submit.c and
 * uring_complete.c (requests on their way in and out), uring_turn.c (the one system call),
 * uring_setup.c (which ring this kernel gives us) and uring_buffers.c (where bytes go).
 *
 * Nobody else includes this file, except tests, which replace `coil__uring_kernel` to make the
 * kernel misbehave on purpose.
 */
#ifndef COIL_LIB_ENGINE_URING_H
#define COIL_LIB_ENGINE_URING_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

/* The only way from the engine to the kernel. Results are the system calls', failures negative. */
struct coil__uring_kernel {
    int (*setup)(unsigned entries, struct io_uring_params *params);
    int (*enter)(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, void *arg,
                 size_t argsize);
    int (*register_)(int fd, unsigned opcode, void *arg, unsigned nr);
};

extern const struct coil__uring_kernel *coil__uring_kernel;

enum {
    COIL__URING_STREAM_GROUP = 0,
    COIL__URING_DATAGRAM_GROUP = 1,

    COIL__URING_CANCEL = 1, /* user_data of cancels: no pointer, requests are aligned */
    COIL__URING_GENERATION_SHIFT = 48,
    COIL__URING_WHY_SIZE = 256,       /* of the caller's text, see engine.h */
    COIL__URING_RWF_NOSIGNAL = 0x100, /* newer than the headers of liburing 2.3 */
};

/* What a kernel may or may not give. Each can be left off by its name in COIL_URING_OFF. */
enum coil__uring_ability {
    COIL__URING_NO_IOWAIT = 1U << 0, /* waiting is idle time, not "waiting for the disk" */
    COIL__URING_ABS_TIMER = 1U << 1, /* deadlines as they are, without reading the clock */
    COIL__URING_DEFER_TASKRUN = 1U << 2,
    COIL__URING_SINGLE_ISSUER = 1U << 3,
    COIL__URING_MULTISHOT_RECV = 1U << 4,
    COIL__URING_TASKRUN_FLAG = 1U << 5,
    COIL__URING_COOP_TASKRUN = 1U << 6,
    COIL__URING_BUFFER_RING = 1U << 7,
    COIL__URING_MULTISHOT_ACCEPT = 1U << 8,
    COIL__URING_REGISTERED_FD = 1U << 9,
    COIL__URING_SUBMIT_ALL = 1U << 10,
    COIL__URING_CLAMP = 1U << 11,
    COIL__URING_CQSIZE = 1U << 12,
    COIL__URING_FILE_OPS = 1U << 13, /* operations that kernels from 5.11 need not have */
    COIL__URING_NOSIGNAL = 1U << 14, /* writes without SIGPIPE */
    COIL__URING_MULTISHOT_RECVMSG = 1U << 15,
    COIL__URING_ALL = (1U << 16) - 1,
};

/* Where received bytes go (uring_buffers.c). */
struct coil__uring_buffers {
    struct io_uring_buf_ring *ring; /* NULL until the first receive */
    struct coil__lease *leases;     /* by buffer id */
    size_t mapping_size;
    unsigned count;
    unsigned size;       /* bytes of one buffer */
    uint8_t group;       /* the kernel's number of the ring */
    uint16_t mask;       /* count - 1 */
    uint16_t tail;       /* of the ring, with what was returned in this turn */
    uint16_t published;  /* of the ring, as the kernel knows it */
    unsigned held_count; /* leases that somebody holds */
    struct coil__lease *private_free;
    unsigned private_free_count;
};

struct coil__uring {
    struct coil__engine engine;
    struct io_uring ring;
    unsigned enter_flags;  /* of every enter */
    int enter_fd;          /* the ring's descriptor or its registered index */
    unsigned abilities;    /* in effect, enum coil__uring_ability */
    uint16_t generation;   /* of the request started last */
    bool is_congested;     /* the last enter refused to take entries: reap first */
    bool is_relieved;      /* that was done, and no entry has been taken since: ask again at once */
    bool is_accept_proven; /* a multishot accept has worked */
    bool is_write_proven;  /* NOSIGNAL has been tried out */
    unsigned silent_count; /* completions of this turn that concern nobody outside */

    struct coil__list cancels;   /* CANCELLED, the kernel not asked yet */
    struct coil__list asked;     /* CANCELLED, the kernel asked, no final completion yet */
    struct coil__list queue;     /* QUEUED */
    struct coil__list cancelled; /* FINISHED with -ECANCELED */
    struct coil__list starved;   /* FINISHED with -ENOBUFS */

    struct coil__uring_buffers buffers;
    struct coil__uring_buffers datagrams; /* each holds the largest datagram there is */

    struct coil__op wake_op; /* always with the kernel: reads wake_fd */
    uint64_t wake_value;
    int wake_fd;
    bool is_closing;
    atomic_bool is_sleeping; /* the owner is, or is about to be, asleep in the kernel */
    atomic_bool is_woken;    /* wake() was called; the owner clears it at the end of a turn */

    struct __kernel_timespec timeout; /* of the enter that is under way */
    struct io_uring_getevents_arg timeout_arg;

    unsigned abilities_off; /* by COIL_URING_OFF */
    char description[256];
};

static inline struct coil__uring *coil__uring_of(struct coil__engine *engine)
{
    return container_of(engine, struct coil__uring, engine);
}

static inline bool coil__uring_can(const struct coil__uring *uring, enum coil__uring_ability what)
{
    return (uring->abilities & (unsigned)what) != 0;
}

static inline struct coil__op *coil__op_of(struct coil__request *request)
{
    return container_of(request, struct coil__op, request);
}

static inline struct coil__receive *coil__receive_of(struct coil__request *request)
{
    return container_of(request, struct coil__receive, request);
}

static inline struct coil__accept *coil__accept_of(struct coil__request *request)
{
    return container_of(request, struct coil__accept, request);
}

/* ---- uring_submit.c ---- */

void coil__uring_submit(struct coil__engine *engine, struct coil__op *op);

/* Fills an entry for `request`, which is in no list, or queues it; a receive that finds no buffer
 * at all is finished with -ENOBUFS. */
void coil__uring_start(struct coil__uring *uring, struct coil__request *request);

/* A one-shot receive needs a buffer of its own. False when there is none to have. */
bool coil__uring_prepare_receive(struct coil__uring *uring, struct coil__receive *receive);

void coil__uring_cancel(struct coil__uring *uring, struct coil__request *request);

/* Moves what waits into the submission queue, cancels first. True when nothing waits any more. */
bool coil__uring_refill(struct coil__uring *uring);

/* ---- uring_complete.c ---- */

/* Takes all completions that are there now; returns how many of them somebody was told about. */
unsigned coil__uring_reap(struct coil__uring *uring);

/* Reports requests that ended without the kernel; returns how many. */
unsigned coil__uring_report(struct coil__uring *uring);

/* ---- uring_turn.c ---- */

int coil__uring_wait(struct coil__engine *engine, int64_t deadline);

/* Gives the kernel all that waits, and with the last of it waits until `deadline`. Returns 0 or the
 * negative errno of a broken ring. */
int coil__uring_hand_over(struct coil__uring *uring, int64_t deadline);

/* ---- uring_setup.c ---- */

/* Creates and maps the ring, with every ability that the kernel and the environment allow. The
 * table of operations and the lists are the caller's. On failure nothing is left behind. */
int coil__uring_set_up(struct coil__uring *uring, const struct coil__engine_options *options,
                       char *ret_why);
void coil__uring_tear_down(struct coil__uring *uring);

/* Finds out, once, whether the kernel can write without SIGPIPE (6.18). */
void coil__uring_prove_write(struct coil__uring *uring);

/* The kernel turned out not to have `what` after all. */
void coil__uring_drop_ability(struct coil__uring *uring, enum coil__uring_ability what);
void coil__uring_drop_datagrams(struct coil__uring *uring);

/* ---- uring_buffers.c ---- */

/* Maps the shared buffers and tells the kernel. */
int coil__uring_buffers_open(struct coil__uring *uring, struct coil__uring_buffers *buffers);
void coil__uring_buffers_close(struct coil__uring *uring, struct coil__uring_buffers *buffers);

/* A lease of its own for a receive that cannot have shared ones, or NULL. */
struct coil__lease *coil__uring_private_lease(struct coil__uring_buffers *buffers);

void coil__uring_lease_return(struct coil__uring_buffers *buffers, struct coil__lease *lease);

/* The shared buffer that a completion names. */
static inline struct coil__lease *coil__uring_lease_take(struct coil__uring_buffers *buffers,
                                                         unsigned id, unsigned length)
{
    struct coil__lease *lease = &buffers->leases[id];

    COIL_ASSERT(id < buffers->count && length <= lease->capacity);
    buffers->held_count++;
    lease->next = NULL;
    lease->start = 0;
    lease->end = length;
    return lease;
}

/* Lets the kernel see what was returned since the last call. */
static inline void coil__uring_buffers_publish(struct coil__uring_buffers *buffers)
{
    if (buffers->tail == buffers->published)
        return;
    buffers->published = buffers->tail;
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

#endif
