/* SPDX-License-Identifier: MIT */
/* The io_uring engine: requests, cancels, standing orders and the turn of the loop.
 *
 * submit() and its relatives only fill entries of the submission queue; wait() hands them all over
 * in the one system call that also waits, with the deadline as its timeout. What finds the queue
 * full is linked into a list, as are all cancels, and wait() refills the queue from the lists,
 * cancels first, until everything is with the kernel. So nothing is ever refused or forgotten.
 *
 * A request travels as its address, with a generation in the top 16 bits. The generation comes
 * from a counter of the engine, not of the request, because the next request at the same address
 * may be a new object on another stack. A late cancel thus finds nobody (-ENOENT) instead of the
 * next tenant, and a completion that meets the wrong tenant stops the program.
 *
 * A cancel's own result means nothing: the target's completion is what everybody waits for. Its
 * user_data is a constant and never dereferenced.
 *
 * Receives and accepts are multishot where the kernel has that; where not, one-shot requests that
 * are placed anew before the callback. A multishot ends whenever the kernel likes (buffers out,
 * completion queue overflown): that is a callback without `more`, never an error of ours.
 *
 * Waking: wake() sets a flag and, only if the owner sleeps, writes to an eventfd that is always
 * being read by the ring. The owner announces its sleep before it looks at the flag, wake() sets
 * the flag before it looks at the announcement, all in one total order: one of them sees the other.
 *
 * Invariants: a request is in at most one list, by its state (uring.h); while anybody else runs,
 * the queue list is empty or the submission queue is full or being refused; the wake read is with
 * the engine from open to close.
 */
#include "engine/uring.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

enum {
    USER_DATA_CANCEL = 1, /* no pointer: requests are aligned */
    GENERATION_SHIFT = 48,
    ENTER_ABS_TIMER = 1U << 5, /* newer than the headers of liburing 2.3 */
    CONGESTION_WAIT_NS = 1000000,
};

/* ---- Filling submission entries ---- */

static inline uint64_t user_data_of(const struct coil__request *request)
{
    return (uint64_t)(uintptr_t)request | (uint64_t)request->generation << GENERATION_SHIFT;
}

/* A free submission entry, or NULL. Whatever is taken must be filled. */
static inline struct io_uring_sqe *take_entry(struct coil__uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    const unsigned tail = sq->sqe_tail;

    /* The kernel moves its head during enter only, so that a plain load will do. */
    if (COIL_UNLIKELY(tail - *sq->khead >= sq->ring_entries))
        return NULL;
    sq->sqe_tail = tail + 1;
    return &sq->sqes[tail & sq->ring_mask];
}

static inline unsigned clamped(uint64_t length)
{
    return length > INT_MAX ? INT_MAX : (unsigned)length;
}

static void fill_op(struct io_uring_sqe *sqe, const struct coil__op *op)
{
    const int fd = op->request.fd;
    const unsigned length = clamped(op->length);

    switch ((enum coil__request_kind)op->request.kind) {
    case COIL__OP_NOP:
        io_uring_prep_nop(sqe);
        return;
    case COIL__OP_POLL:
        io_uring_prep_poll_add(sqe, fd, op->flags);
        return;
    case COIL__OP_RECV:
        io_uring_prep_rw(IORING_OP_RECV, sqe, fd, op->data, length, 0);
        sqe->msg_flags = op->flags;
        return;
    case COIL__OP_SEND:
        io_uring_prep_rw(IORING_OP_SEND, sqe, fd, op->data, length, 0);
        sqe->msg_flags = op->flags;
        return;
    case COIL__OP_SENDMSG:
        io_uring_prep_sendmsg(sqe, fd, op->data, op->flags);
        return;
    case COIL__OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, fd, op->data, op->flags);
        return;
    case COIL__OP_CONNECT:
        io_uring_prep_connect(sqe, fd, op->data, length);
        return;
    case COIL__OP_READ:
        io_uring_prep_read(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_WRITE:
        io_uring_prep_write(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_OPENAT:
        io_uring_prep_openat(sqe, fd, op->data, (int)op->flags, length);
        return;
    case COIL__OP_STATX:
        io_uring_prep_statx(sqe, fd, op->data, (int)op->flags, length, op->more.extra);
        return;
    case COIL__OP_FSYNC:
        io_uring_prep_fsync(sqe, fd, op->flags);
        return;
    case COIL__OP_CLOSE:
        io_uring_prep_close(sqe, fd);
        return;
    case COIL__REQUEST_RECEIVE:
    case COIL__REQUEST_ACCEPT:
        break;
    }
    COIL_ASSERT(false && "submit() takes one-shot operations");
}

static void fill_receive(struct coil__uring *uring, struct io_uring_sqe *sqe,
                         const struct coil__receive *receive)
{
    const struct coil__lease *lease = receive->lease;

    if (lease) {
        io_uring_prep_rw(IORING_OP_RECV, sqe, receive->request.fd, lease->data, lease->capacity, 0);
        return;
    }
    COIL_ASSERT(coil__uring_can(uring, COIL__URING_MULTISHOT_RECV));
    io_uring_prep_rw(IORING_OP_RECV, sqe, receive->request.fd, NULL, 0, 0);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
}

static void fill_accept(struct coil__uring *uring, struct io_uring_sqe *sqe,
                        const struct coil__accept *accept)
{
    io_uring_prep_accept(sqe, accept->request.fd, NULL, NULL, SOCK_CLOEXEC);
    if (!accept->once && coil__uring_can(uring, COIL__URING_MULTISHOT_ACCEPT))
        sqe->ioprio = IORING_ACCEPT_MULTISHOT;
}

/* ---- Handing requests to the submission queue ---- */

static inline struct coil__op *op_of(struct coil__request *request)
{
    return container_of(request, struct coil__op, request);
}

static inline struct coil__receive *receive_of(struct coil__request *request)
{
    return container_of(request, struct coil__receive, request);
}

static inline struct coil__accept *accept_of(struct coil__request *request)
{
    return container_of(request, struct coil__accept, request);
}

/* A one-shot receive needs a buffer of its own. False when there is none to have. */
static bool prepare_receive(struct coil__uring *uring, struct coil__receive *receive)
{
    if (receive->lease || coil__uring_can(uring, COIL__URING_MULTISHOT_RECV))
        return true;
    receive->lease = coil__uring_private_lease(&uring->buffers);
    return receive->lease != NULL;
}

static void starve(struct coil__uring *uring, struct coil__request *request)
{
    request->state = COIL__REQUEST_FINISHED;
    coil__list_push_back(&uring->starved, &request->link);
}

/* Fills an entry for `request`, which is in no list. False when there is no room. */
static bool place(struct coil__uring *uring, struct coil__request *request)
{
    struct io_uring_sqe *sqe = take_entry(uring);

    if (!sqe)
        return false;
    if (request->kind == COIL__REQUEST_RECEIVE)
        fill_receive(uring, sqe, receive_of(request));
    else if (request->kind == COIL__REQUEST_ACCEPT)
        fill_accept(uring, sqe, accept_of(request));
    else
        fill_op(sqe, op_of(request));
    request->state = COIL__REQUEST_ACTIVE;
    request->generation = ++uring->generation;
    sqe->user_data = user_data_of(request);
    return true;
}

static void place_or_queue(struct coil__uring *uring, struct coil__request *request)
{
    if (COIL_LIKELY(coil__list_is_empty(&uring->queue)) && COIL_LIKELY(place(uring, request)))
        return;
    request->state = COIL__REQUEST_QUEUED;
    uring->engine.stats.queued_count++;
    coil__list_push_back(&uring->queue, &request->link);
}

static void uring_submit(struct coil__engine *engine, struct coil__op *op)
{
    struct coil__uring *uring = coil__uring_of(engine);

    engine->stats.active_count++;
    place_or_queue(uring, &op->request);
}

/* Moves what waits into the submission queue, cancels first. True when nothing waits any more. */
static bool refill(struct coil__uring *uring)
{
    struct coil__list *link;

    while ((link = coil__list_first(&uring->cancels)) != NULL) {
        const struct coil__request *target = container_of(link, struct coil__request, link);
        struct io_uring_sqe *sqe = take_entry(uring);

        if (!sqe)
            return false;
        io_uring_prep_cancel64(sqe, user_data_of(target), 0);
        sqe->user_data = USER_DATA_CANCEL;
        coil__list_remove(link);
    }
    while ((link = coil__list_first(&uring->queue)) != NULL) {
        struct coil__request *request = container_of(link, struct coil__request, link);

        if (!place(uring, request))
            return false;
        coil__list_remove(link);
    }
    return true;
}

/* ---- Cancelling ---- */

static void cancel(struct coil__uring *uring, struct coil__request *request)
{
    switch ((enum coil__request_state)request->state) {
    case COIL__REQUEST_QUEUED:
        coil__list_remove(&request->link);
        request->state = COIL__REQUEST_FINISHED;
        coil__list_push_back(&uring->cancelled, &request->link);
        break;
    case COIL__REQUEST_ACTIVE:
        request->state = COIL__REQUEST_CANCELLED;
        coil__list_push_back(&uring->cancels, &request->link);
        break;
    case COIL__REQUEST_CANCELLED:
    case COIL__REQUEST_FINISHED:
        return;
    case COIL__REQUEST_IDLE:
        COIL_ASSERT(false && "only what has been started can be cancelled");
        return;
    }
    uring->engine.stats.cancel_count++;
}

static void uring_cancel(struct coil__engine *engine, struct coil__op *op)
{
    cancel(coil__uring_of(engine), &op->request);
}

/* The request goes back to its owner. Only a cancelled one can be in a list still. */
static inline void retire(struct coil__uring *uring, struct coil__request *request)
{
    if (COIL_UNLIKELY(request->state == COIL__REQUEST_CANCELLED))
        coil__list_remove(&request->link);
    request->state = COIL__REQUEST_IDLE;
    uring->engine.stats.active_count--;
}

/* ---- Receiving ---- */

/* Decides, once there is somebody to receive, between shared buffers and private ones. */
static void open_buffers(struct coil__uring *uring)
{
    if (uring->buffers.ring || !coil__uring_can(uring, COIL__URING_MULTISHOT_RECV))
        return;
    if (coil__uring_buffers_open(uring) < 0) {
        coil__uring_drop_ability(uring, COIL__URING_MULTISHOT_RECV);
        coil__uring_drop_ability(uring, COIL__URING_BUFFER_RING);
    }
}

static void uring_receive_start(struct coil__engine *engine, struct coil__receive *receive)
{
    struct coil__uring *uring = coil__uring_of(engine);

    engine->stats.active_count++;
    receive->lease = NULL;
    open_buffers(uring);
    if (prepare_receive(uring, receive))
        place_or_queue(uring, &receive->request);
    else
        starve(uring, &receive->request);
}

static void uring_receive_stop(struct coil__engine *engine, struct coil__receive *receive)
{
    cancel(coil__uring_of(engine), &receive->request);
}

static void uring_lease_return(struct coil__engine *engine, struct coil__lease *lease)
{
    coil__uring_lease_return(&coil__uring_of(engine)->buffers, lease);
}

/* The final callback of a receive, except one that carries bytes. */
static void end_receive(struct coil__uring *uring, struct coil__receive *receive, int result)
{
    if (result == -ENOBUFS)
        uring->engine.stats.starved_count++;
    retire(uring, &receive->request);
    receive->event(receive, NULL, result, false);
}

/* A one-shot receive came back: goes on with a new buffer, unless it is stopped or ended. */
static void complete_private(struct coil__uring *uring, struct coil__receive *receive, int result)
{
    struct coil__lease *lease = receive->lease;
    bool more;

    receive->lease = NULL;
    if (result <= 0) {
        coil__uring_lease_return(&uring->buffers, lease);
        end_receive(uring, receive, result);
        return;
    }
    lease->end = (uint32_t)result;
    if (coil__uring_can(uring, COIL__URING_MULTISHOT_RECV)) {
        /* Placed by retry_private(): this socket works, so it is multishot that does not. */
        coil__uring_drop_ability(uring, COIL__URING_MULTISHOT_RECV);
    }
    more = receive->request.state == COIL__REQUEST_ACTIVE && prepare_receive(uring, receive);
    if (more)
        place_or_queue(uring, &receive->request);
    else
        retire(uring, &receive->request);
    receive->event(receive, lease, result, more);
}

/* EINVAL of a multishot receive: this kernel may know it one-shot only. True when tried again. */
static bool retry_private(struct coil__uring *uring, struct coil__receive *receive)
{
    if (receive->request.state != COIL__REQUEST_ACTIVE)
        return false;
    receive->lease = coil__uring_private_lease(&uring->buffers);
    if (!receive->lease)
        return false;
    uring->silent_count++;
    place_or_queue(uring, &receive->request);
    return true;
}

/* A completion without bytes: end of the stream, buffers out, stopped, or a true error. */
static void complete_empty(struct coil__uring *uring, struct coil__receive *receive,
                           const struct io_uring_cqe *cqe)
{
    if (cqe->flags & IORING_CQE_F_BUFFER)
        coil__uring_lease_return(
            &uring->buffers,
            coil__uring_lease_take(&uring->buffers, cqe->flags >> IORING_CQE_BUFFER_SHIFT, 0));
    if (cqe->flags & IORING_CQE_F_MORE) {
        uring->silent_count++; /* nothing to tell: the final one follows */
        return;
    }
    if (cqe->res == -EINVAL && retry_private(uring, receive))
        return;
    end_receive(uring, receive, cqe->res);
}

static void complete_receive(struct coil__uring *uring, struct coil__receive *receive,
                             const struct io_uring_cqe *cqe)
{
    const bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    struct coil__lease *lease;

    if (COIL_UNLIKELY(receive->lease)) {
        complete_private(uring, receive, cqe->res);
        return;
    }
    if (COIL_UNLIKELY(cqe->res <= 0)) {
        complete_empty(uring, receive, cqe);
        return;
    }
    lease = coil__uring_lease_take(&uring->buffers, cqe->flags >> IORING_CQE_BUFFER_SHIFT,
                                   (unsigned)cqe->res);
    if (COIL_UNLIKELY(!more)) {
        if (receive->request.state == COIL__REQUEST_ACTIVE)
            uring->engine.stats.rearm_count++;
        retire(uring, &receive->request);
    }
    receive->event(receive, lease, cqe->res, more);
}

/* ---- Accepting ---- */

static void uring_accept_start(struct coil__engine *engine, struct coil__accept *accept)
{
    engine->stats.active_count++;
    place_or_queue(coil__uring_of(engine), &accept->request);
}

static void uring_accept_stop(struct coil__engine *engine, struct coil__accept *accept)
{
    cancel(coil__uring_of(engine), &accept->request);
}

static void complete_accept(struct coil__uring *uring, struct coil__accept *accept,
                            const struct io_uring_cqe *cqe)
{
    const bool is_wanted = accept->request.state == COIL__REQUEST_ACTIVE && !accept->once;
    bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;

    if (more)
        uring->is_accept_proven = true;
    if (cqe->res == -EINVAL && is_wanted && !uring->is_accept_proven &&
        coil__uring_can(uring, COIL__URING_MULTISHOT_ACCEPT)) {
        /* Either multishot is unknown here, or this is no listener: one-shot will tell. */
        coil__uring_drop_ability(uring, COIL__URING_MULTISHOT_ACCEPT);
        uring->silent_count++;
        place_or_queue(uring, &accept->request);
        return;
    }
    if (!more && cqe->res >= 0 && is_wanted) {
        uring->engine.stats.rearm_count++;
        if (!coil__uring_can(uring, COIL__URING_MULTISHOT_ACCEPT)) {
            more = true;
            place_or_queue(uring, &accept->request);
        }
    }
    if (!more)
        retire(uring, &accept->request);
    accept->event(accept, cqe->res, more);
}

/* ---- Completions ---- */

static inline void complete_op(struct coil__uring *uring, struct coil__op *op, int result)
{
    /* The kernel's worker threads tell a cancel by the signal that it was to them. */
    if (COIL_UNLIKELY(op->request.state == COIL__REQUEST_CANCELLED) && result == -EINTR)
        result = -ECANCELED;
    op->result = result;
    retire(uring, &op->request);
    op->done(op);
}

static inline void complete(struct coil__uring *uring, const struct io_uring_cqe *cqe)
{
    const uint64_t data = cqe->user_data;
    struct coil__request *request;

    if (COIL_UNLIKELY(data == USER_DATA_CANCEL)) {
        uring->silent_count++;
        return;
    }
    request = (void *)(uintptr_t)(data & ((UINT64_C(1) << GENERATION_SHIFT) - 1));
    COIL_ASSERT(request->generation == data >> GENERATION_SHIFT);
    if (request->kind == COIL__REQUEST_RECEIVE)
        complete_receive(uring, receive_of(request), cqe);
    else if (COIL_UNLIKELY(request->kind == COIL__REQUEST_ACCEPT))
        complete_accept(uring, accept_of(request), cqe);
    else
        complete_op(uring, op_of(request), cqe->res);
}

/* Takes all completions that are there now; returns how many of them somebody was told about.
 * The entries are read in place: callbacks submit, but never enter the kernel. */
static unsigned reap(struct coil__uring *uring)
{
    struct io_uring_cq *cq = &uring->ring.cq;
    const unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    const unsigned start = *cq->khead;

    uring->silent_count = 0;
    for (unsigned head = start; head != tail; head++)
        complete(uring, &cq->cqes[head & cq->ring_mask]);
    __atomic_store_n(cq->khead, tail, __ATOMIC_RELEASE);

    uring->engine.stats.completion_count += tail - start;
    if (COIL_UNLIKELY(__atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED) &
                      IORING_SQ_CQ_OVERFLOW))
        uring->engine.stats.overflow_count++;
    return tail - start - uring->silent_count;
}

/* Reports requests that never reached the kernel. Callbacks may add to the list: next turn's. */
static unsigned report(struct coil__uring *uring, struct coil__list *finished, int result)
{
    struct coil__list batch;
    struct coil__list *link;
    unsigned count = 0;

    coil__list_init(&batch);
    coil__list_splice_back(&batch, finished);
    while ((link = coil__list_pop_front(&batch)) != NULL) {
        struct coil__request *request = container_of(link, struct coil__request, link);
        const struct io_uring_cqe cqe = {.res = result};

        count++;
        if (request->kind == COIL__REQUEST_RECEIVE) {
            struct coil__receive *receive = receive_of(request);

            if (receive->lease)
                coil__uring_lease_return(&uring->buffers, receive->lease);
            receive->lease = NULL;
            end_receive(uring, receive, result);
        } else if (request->kind == COIL__REQUEST_ACCEPT) {
            complete_accept(uring, accept_of(request), &cqe);
        } else {
            complete_op(uring, op_of(request), result);
        }
    }
    return count;
}

/* ---- The turn ---- */

/* What enter's failures mean for the turn: 0 to go on, or the error when the ring is broken. */
static int enter_failed(struct coil__uring *uring, int error, unsigned flags)
{
    switch (-error) {
    case ETIME: /* the deadline passed */
    case EINTR: /* a signal */
        return 0;
    case EAGAIN: /* no memory for requests, or the completion queue is overflown */
    case EBUSY:
        uring->is_congested = true;
        return 0;
    case EINVAL:
        if (!(flags & ENTER_ABS_TIMER))
            return error;
        coil__uring_drop_ability(uring, COIL__URING_ABS_TIMER);
        return 0;
    default:
        return error;
    }
}

/* Returns how many entries the kernel took, 0 when it was none for a passing reason, or the
 * negative errno of a broken ring. */
static int enter(struct coil__uring *uring, unsigned submit_count, unsigned min_complete,
                 unsigned flags, struct io_uring_getevents_arg *arg)
{
    const int result =
        coil__uring_kernel->enter(uring->enter_fd, submit_count, min_complete,
                                  flags | uring->enter_flags, arg, arg ? sizeof *arg : 0);

    uring->engine.stats.enter_count++;
    if (COIL_UNLIKELY(result < 0))
        return enter_failed(uring, result, flags);
    uring->engine.stats.submission_count += (unsigned)result;
    return result;
}

/* Writes `deadline` as the kernel wants it; returns the flags that say so. */
static unsigned set_timeout(const struct coil__uring *uring, int64_t deadline,
                            struct __kernel_timespec *timeout)
{
    unsigned flags = IORING_ENTER_EXT_ARG;

    if (coil__uring_can(uring, COIL__URING_ABS_TIMER)) {
        flags |= ENTER_ABS_TIMER;
    } else {
        const int64_t now = coil__clock_now();

        deadline = deadline > now ? deadline - now : 0;
    }
    timeout->tv_sec = deadline / 1000000000;
    timeout->tv_nsec = deadline % 1000000000;
    return flags;
}

static int enter_sleeping(struct coil__uring *uring, unsigned submit_count, int64_t deadline)
{
    struct __kernel_timespec timeout;
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&timeout};
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned min_complete = 1;
    int result;

    if (deadline != INT64_MAX)
        flags |= set_timeout(uring, deadline, &timeout);
    atomic_store(&uring->is_sleeping, true);
    if (atomic_load(&uring->is_woken))
        min_complete = 0;
    result = enter(uring, submit_count, min_complete, flags, deadline == INT64_MAX ? NULL : &arg);
    atomic_store_explicit(&uring->is_sleeping, false, memory_order_relaxed);
    return result;
}

/* Shows the filled entries to the kernel; returns how many it has not taken yet. */
static unsigned publish_entries(struct coil__uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;

    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - *sq->khead;
}

static bool has_completions(const struct coil__uring *uring)
{
    const struct io_uring_cq *cq = &uring->ring.cq;

    return __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE) != *cq->khead;
}

/* Would an enter that neither submits nor waits bring anything? */
static bool has_kernel_work(const struct coil__uring *uring)
{
    const unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);

    return !coil__uring_can(uring, COIL__URING_TASKRUN_FLAG) ||
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* The enter of a turn once everything is in the submission queue. */
static int enter_last(struct coil__uring *uring, unsigned submit_count, int64_t deadline)
{
    if (deadline != 0 && !has_completions(uring) && coil__list_is_empty(&uring->starved))
        return enter_sleeping(uring, submit_count, deadline);
    if (submit_count == 0 && !has_kernel_work(uring))
        return 0;
    return enter(uring, submit_count, 0, IORING_ENTER_GETEVENTS, NULL);
}

/* After a refusal: lets the kernel finish something before it is asked again. It may also be out
 * of memory without having anything of ours to finish, hence the short limit. */
static int relieve(struct coil__uring *uring, int64_t deadline)
{
    uring->is_congested = false;
    if (deadline != 0) {
        const int64_t limit = coil__clock_deadline(CONGESTION_WAIT_NS);

        if (limit < deadline)
            deadline = limit;
    }
    return enter_last(uring, 0, deadline);
}

/* Gives the kernel all that waits, and with the last of it the rest of the turn. A kernel that
 * takes part of the entries returns without waiting, so go round. Returns 0 or a broken ring's
 * negative errno. */
static int hand_over(struct coil__uring *uring, int64_t deadline)
{
    if (COIL_UNLIKELY(uring->is_congested)) {
        const int result = relieve(uring, deadline);

        return result < 0 ? result : 0;
    }
    for (;;) {
        const bool is_last = refill(uring);
        const unsigned submit_count = publish_entries(uring);
        const int result = is_last ? enter_last(uring, submit_count, deadline)
                                   : enter(uring, submit_count, 0, 0, NULL);

        if (result <= 0)
            return result;
        if (is_last && (unsigned)result == submit_count)
            return 0;
    }
}

/* Was wake() called? The flag is cleared before the caller looks at what it was woken for. */
static bool take_wake(struct coil__uring *uring)
{
    if (COIL_LIKELY(!atomic_load_explicit(&uring->is_woken, memory_order_relaxed)))
        return false;
    uring->engine.stats.wake_count++;
    (void)atomic_exchange(&uring->is_woken, false);
    return true;
}

static bool is_over(int64_t deadline)
{
    return deadline == 0 || (deadline != INT64_MAX && coil__clock_now() >= deadline);
}

static int uring_wait(struct coil__engine *engine, int64_t deadline)
{
    struct coil__uring *uring = coil__uring_of(engine);
    unsigned told_count = 0;

    for (;;) {
        int error;

        if (COIL_UNLIKELY(!coil__list_is_empty(&uring->cancelled)))
            told_count += report(uring, &uring->cancelled, -ECANCELED);
        if (COIL_UNLIKELY(!coil__list_is_empty(&uring->starved)))
            told_count += report(uring, &uring->starved, -ENOBUFS);
        coil__uring_buffers_publish(&uring->buffers);
        error = hand_over(uring, told_count > 0 ? 0 : deadline);
        if (COIL_UNLIKELY(error < 0))
            return error;
        told_count += reap(uring);
        if (take_wake(uring) || told_count > 0 || is_over(deadline))
            return 0;
    }
}

/* ---- Waking ---- */

static void uring_wake(struct coil__engine *engine)
{
    struct coil__uring *uring = coil__uring_of(engine);
    const uint64_t one = 1;
    const int saved_errno = errno; /* of the code that a signal handler interrupted */
    ssize_t length;

    if (atomic_exchange(&uring->is_woken, true) || !atomic_load(&uring->is_sleeping))
        return;
    length = write(uring->wake_fd, &one, sizeof one);
    COIL_ASSERT(length == (ssize_t)sizeof one && "the counter of an eventfd has room");
    errno = saved_errno;
}

/* The wake read is the engine's own business and not counted as active. */
static void arm_wake(struct coil__uring *uring)
{
    uring_submit(&uring->engine, &uring->wake_op);
    uring->engine.stats.active_count--;
}

static void wake_read(struct coil__op *op)
{
    struct coil__uring *uring = container_of(op, struct coil__uring, wake_op);

    uring->engine.stats.active_count++;
    uring->silent_count++;
    if (!uring->is_closing)
        arm_wake(uring);
}

/* ---- Life ---- */

static void uring_close(struct coil__engine *engine)
{
    struct coil__uring *uring = coil__uring_of(engine);

    COIL_ASSERT(engine->stats.active_count == 0 && "every request had its final callback");
    uring->is_closing = true;
    if (uring->wake_op.request.state != COIL__REQUEST_IDLE)
        uring_cancel(engine, &uring->wake_op);
    while (uring->wake_op.request.state != COIL__REQUEST_IDLE) {
        /* A broken ring gives nothing back; the kernel ends the read when the ring is closed. */
        if (hand_over(uring, INT64_MAX) < 0)
            break;
        (void)reap(uring);
    }
    coil__uring_buffers_close(uring);
    coil__uring_tear_down(uring);
    (void)close(uring->wake_fd);
    coil__free(uring);
}

static const char *uring_describe(const struct coil__engine *engine)
{
    /* Cast away and back: container_of knows no const. */
    return ((const struct coil__uring *)(const void *)engine)->description;
}

static const struct coil__engine_ops uring_ops = {
    .name = "io_uring",
    .close = uring_close,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .receive_start = uring_receive_start,
    .receive_stop = uring_receive_stop,
    .lease_return = uring_lease_return,
    .accept_start = uring_accept_start,
    .accept_stop = uring_accept_stop,
    .wait = uring_wait,
    .wake = uring_wake,
    .describe = uring_describe,
};

static void init(struct coil__uring *uring)
{
    uring->engine.ops = &uring_ops;
    coil__list_init(&uring->cancels);
    coil__list_init(&uring->queue);
    coil__list_init(&uring->cancelled);
    coil__list_init(&uring->starved);
    uring->wake_op = (struct coil__op){
        .request = {.kind = COIL__OP_READ, .fd = uring->wake_fd},
        .done = wake_read,
        .data = &uring->wake_value,
        .length = sizeof uring->wake_value,
    };
    arm_wake(uring);
}

int coil__uring_open(const struct coil__engine_options *options, struct coil__engine **ret_engine,
                     char *ret_why)
{
    struct coil__uring *uring = coil__alloc(sizeof *uring);
    int error;

    if (!uring) {
        (void)strcpy(ret_why, "no memory for the engine");
        return -ENOMEM;
    }
    error = coil__uring_set_up(uring, options, ret_why);
    if (error < 0)
        goto free_engine;
    uring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (uring->wake_fd < 0) {
        error = -errno;
        (void)strcpy(ret_why, "no file descriptor left for waking; raise ulimit -n");
        goto tear_down;
    }
    init(uring);
    *ret_engine = &uring->engine;
    return 0;

tear_down:
    coil__uring_tear_down(uring);
free_engine:
    coil__free(uring);
    return error;
}
