/* SPDX-License-Identifier: MIT */
/* The io_uring engine, on the way in: from requests to submission entries.
 *
 * A request travels as its address, with a generation in the top 16 bits. The generation comes
 * from a counter of the engine, not of the request, because the next request at the same address
 * may be a new object on another stack. A late cancel thus finds nobody (-ENOENT) instead of the
 * next tenant, and a completion that meets the wrong tenant stops the program.
 *
 * What finds the submission queue full waits in `queue`, and every cancel in `cancels`, until
 * refill() moves them on: cancels first, because a cancel that is not sent is a fiber that hangs.
 * A target that completes in the meantime takes its cancel out of the list.
 *
 * Invariant: between turns `queue` is empty, or the kernel is refusing entries.
 */
#include "engine/uring.h"

#include <limits.h>

/* ---- Entries ---- */

static inline uint64_t user_data_of(const struct coil__request *request)
{
    return (uint64_t)(uintptr_t)request | (uint64_t)request->generation
                                              << COIL__URING_GENERATION_SHIFT;
}

/* The kernel moves its head during enter only, so that a plain load will do. */
static inline bool is_full(const struct coil__uring *uring)
{
    const struct io_uring_sq *sq = &uring->ring.sq;

    return sq->sqe_tail - *sq->khead >= sq->ring_entries;
}

/* A free submission entry of a queue that is not full. It must be filled. */
static inline struct io_uring_sqe *take_entry(struct coil__uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;

    return &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
}

static inline unsigned clamped(uint64_t length)
{
    return length > INT_MAX ? INT_MAX : (unsigned)length;
}

static inline void fill_send(struct io_uring_sqe *sqe, const struct coil__op *op)
{
    io_uring_prep_rw(IORING_OP_SEND, sqe, op->request.fd, op->data, clamped(op->length), 0);
    sqe->msg_flags = op->flags;
}

/* Newer than the headers of liburing 2.3. */
enum {
    OP_FTRUNCATE = 55, /* 6.9 */
    OP_NONE = 255,     /* what every kernel refuses */
};

COIL_STATIC_ASSERT(COIL__FSYNC_DATA == IORING_FSYNC_DATASYNC, "handed through");

/* Operations on names. */
static void fill_name_op(struct io_uring_sqe *sqe, const struct coil__op *op)
{
    const int fd = op->request.fd;
    const unsigned length = (unsigned)op->length;
    const int flags = (int)op->flags;

    switch ((int)op->request.kind) {
    case COIL__OP_OPENAT:
        io_uring_prep_openat(sqe, fd, op->data, flags, length);
        return;
    case COIL__OP_OPENAT2:
        io_uring_prep_openat2(sqe, fd, op->data, op->more.extra);
        return;
    case COIL__OP_STATX:
        io_uring_prep_statx(sqe, fd, op->data, flags, length, op->more.extra);
        return;
    case COIL__OP_RENAMEAT:
        io_uring_prep_renameat(sqe, fd, op->data, (int)op->length, op->more.extra, op->flags);
        return;
    case COIL__OP_LINKAT:
        io_uring_prep_linkat(sqe, fd, op->data, (int)op->length, op->more.extra, flags);
        return;
    case COIL__OP_SYMLINKAT:
        io_uring_prep_symlinkat(sqe, op->more.extra, fd, op->data);
        return;
    case COIL__OP_MKDIRAT:
        io_uring_prep_mkdirat(sqe, fd, op->data, length);
        return;
    default:
        io_uring_prep_unlinkat(sqe, fd, op->data, flags);
    }
}

/* What the flags of a READ, WRITE or WRITEV ask for. A worker of the kernel may wait, and a SIGPIPE
 * that it gets reaches nobody. */
static void heed_flags(struct coil__uring *uring, struct io_uring_sqe *sqe,
                       const struct coil__op *op)
{
    bool is_for_worker = (op->flags & COIL__OP_MAY_BLOCK) != 0;

    if (op->request.kind != COIL__OP_READ && (op->flags & COIL__OP_QUIET)) {
        if (!uring->is_write_proven)
            coil__uring_prove_write(uring);
        if (coil__uring_can(uring, COIL__URING_NOSIGNAL))
            sqe->rw_flags = COIL__URING_RWF_NOSIGNAL;
        else
            is_for_worker = true;
    }
    if (is_for_worker)
        sqe->flags |= IOSQE_ASYNC;
}

/* Operations on open files. */
static void fill_file_op(struct io_uring_sqe *sqe, const struct coil__op *op)
{
    const int fd = op->request.fd;
    const unsigned length = clamped(op->length);

    switch ((int)op->request.kind) {
    case COIL__OP_READ:
        io_uring_prep_read(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_WRITE:
        io_uring_prep_write(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_READV:
        io_uring_prep_readv(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_WRITEV:
        io_uring_prep_writev(sqe, fd, op->data, length, op->more.offset);
        return;
    case COIL__OP_FSYNC:
        io_uring_prep_fsync(sqe, fd, op->flags);
        return;
    case COIL__OP_FALLOCATE:
        io_uring_prep_fallocate(sqe, fd, (int)op->flags, (off_t)op->more.offset, (off_t)op->length);
        return;
    case COIL__OP_FADVISE:
        /* What 32 bits do not hold goes into a field that older kernels refuse. */
        io_uring_prep_rw(IORING_OP_FADVISE, sqe, fd, NULL, 0, op->more.offset);
        sqe->fadvise_advice = op->flags;
        if (op->length <= UINT32_MAX)
            sqe->len = (unsigned)op->length;
        else
            sqe->addr = op->length;
        return;
    case COIL__OP_FTRUNCATE:
        io_uring_prep_rw(OP_FTRUNCATE, sqe, fd, NULL, 0, op->length);
        return;
    default:
        io_uring_prep_close(sqe, fd);
    }
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
        fill_send(sqe, op);
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
    case COIL__OP_WRITE:
    case COIL__OP_READV:
    case COIL__OP_WRITEV:
    case COIL__OP_FSYNC:
    case COIL__OP_FALLOCATE:
    case COIL__OP_FADVISE:
    case COIL__OP_FTRUNCATE:
    case COIL__OP_CLOSE:
        fill_file_op(sqe, op);
        return;
    case COIL__OP_OPENAT:
    case COIL__OP_OPENAT2:
    case COIL__OP_STATX:
    case COIL__OP_RENAMEAT:
    case COIL__OP_LINKAT:
    case COIL__OP_SYMLINKAT:
    case COIL__OP_MKDIRAT:
    case COIL__OP_UNLINKAT:
        fill_name_op(sqe, op);
        return;
    case COIL__REQUEST_RECEIVE:
    case COIL__REQUEST_DATAGRAMS:
    case COIL__REQUEST_ACCEPT:
        break;
    }
    COIL_ASSERT(false && "submit() takes one-shot operations");
}

/* What COIL__URING_FILE_OPS stands for. */
static bool is_newer(const struct coil__request *request)
{
    return request->kind >= COIL__OP_FALLOCATE && request->kind <= COIL__OP_UNLINKAT;
}

static void fill_receive(struct io_uring_sqe *sqe, const struct coil__receive *receive)
{
    const struct coil__lease *lease = receive->lease;

    if (lease) {
        io_uring_prep_rw(IORING_OP_RECV, sqe, receive->request.fd, lease->data, lease->capacity, 0);
        return;
    }
    io_uring_prep_rw(IORING_OP_RECV, sqe, receive->request.fd, NULL, 0, 0);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = COIL__URING_STREAM_GROUP;
}

/* The head of a lease, as the kernel lays it out for a message of this shape. */
COIL_STATIC_ASSERT(offsetof(struct coil__datagram, address) == sizeof(struct io_uring_recvmsg_out),
                   "the address follows the kernel's head");
static const struct msghdr datagram_shape = {
    .msg_namelen = sizeof((struct coil__datagram *)NULL)->address,
};

static void fill_datagrams(struct io_uring_sqe *sqe, const struct coil__receive *receive)
{
    io_uring_prep_rw(IORING_OP_RECVMSG, sqe, receive->request.fd, &datagram_shape, 1, 0);
    sqe->msg_flags = MSG_TRUNC;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = COIL__URING_DATAGRAM_GROUP;
}

static void fill_accept(struct coil__uring *uring, struct io_uring_sqe *sqe,
                        const struct coil__accept *accept)
{
    io_uring_prep_accept(sqe, accept->request.fd, NULL, NULL, SOCK_CLOEXEC);
    if (!accept->once && coil__uring_can(uring, COIL__URING_MULTISHOT_ACCEPT))
        sqe->ioprio = IORING_ACCEPT_MULTISHOT;
}

/* ---- Handing requests to the submission queue ---- */

bool coil__uring_prepare_receive(struct coil__uring *uring, struct coil__receive *receive)
{
    if (receive->lease || coil__uring_can(uring, COIL__URING_MULTISHOT_RECV))
        return true;
    receive->lease = coil__uring_private_lease(&uring->buffers);
    return receive->lease != NULL;
}

/* The last step of filling an entry: from here on the request is with the kernel. */
static inline void hand_out(struct coil__uring *uring, struct coil__request *request,
                            struct io_uring_sqe *sqe)
{
    request->state = COIL__REQUEST_ACTIVE;
    request->generation = ++uring->generation;
    sqe->user_data = user_data_of(request);
}

/* Ends a request that is in no list and not with the kernel. */
static void finish(struct coil__request *request, struct coil__list *finished)
{
    request->state = COIL__REQUEST_FINISHED;
    coil__list_push_back(finished, &request->link);
}

/* Whether there is a buffer to be had, for a request that needs one. */
static bool can_receive(struct coil__uring *uring, struct coil__request *request)
{
    if (request->kind == COIL__REQUEST_DATAGRAMS)
        return coil__uring_can(uring, COIL__URING_MULTISHOT_RECVMSG);
    return request->kind != COIL__REQUEST_RECEIVE ||
           coil__uring_prepare_receive(uring, coil__receive_of(request));
}

/* Fills an entry for `request`, which is in no list, where there is room. */
static void place(struct coil__uring *uring, struct coil__request *request)
{
    struct io_uring_sqe *sqe;

    if (!can_receive(uring, request)) {
        finish(request, &uring->starved);
        return;
    }
    sqe = take_entry(uring);
    if (request->kind == COIL__REQUEST_RECEIVE)
        fill_receive(sqe, coil__receive_of(request));
    else if (request->kind == COIL__REQUEST_DATAGRAMS)
        fill_datagrams(sqe, coil__receive_of(request));
    else if (request->kind == COIL__REQUEST_ACCEPT)
        fill_accept(uring, sqe, coil__accept_of(request));
    else
        fill_op(sqe, coil__op_of(request));
    if (request->kind == COIL__OP_READ || request->kind == COIL__OP_WRITE ||
        request->kind == COIL__OP_WRITEV)
        heed_flags(uring, sqe, coil__op_of(request));
    if (COIL_UNLIKELY(!coil__uring_can(uring, COIL__URING_FILE_OPS)) && is_newer(request))
        sqe->opcode = OP_NONE;
    hand_out(uring, request, sqe);
}

void coil__uring_start(struct coil__uring *uring, struct coil__request *request)
{
    if (coil__list_is_empty(&uring->queue) && !is_full(uring)) {
        place(uring, request);
        return;
    }
    request->state = COIL__REQUEST_QUEUED;
    uring->engine.stats.queued_count++;
    coil__list_push_back(&uring->queue, &request->link);
}

/* Sends are what a busy server submits most, one per request: they get the short way. */
void coil__uring_submit(struct coil__engine *engine, struct coil__op *op)
{
    struct coil__uring *uring = coil__uring_of(engine);
    struct io_uring_sqe *sqe;

    engine->stats.active_count++;
    if (COIL_UNLIKELY(op->request.kind != COIL__OP_SEND || is_full(uring))) {
        coil__uring_start(uring, &op->request);
        return;
    }
    sqe = take_entry(uring);
    fill_send(sqe, op);
    hand_out(uring, &op->request, sqe);
}

bool coil__uring_refill(struct coil__uring *uring)
{
    struct coil__list *link;

    while ((link = coil__list_first(&uring->cancels)) != NULL) {
        struct coil__request *target = container_of(link, struct coil__request, link);
        struct io_uring_sqe *sqe;

        if (is_full(uring))
            return false;
        sqe = take_entry(uring);
        io_uring_prep_cancel64(sqe, user_data_of(target), 0);
        sqe->user_data = COIL__URING_CANCEL;
        coil__list_remove(link);
        coil__list_push_back(&uring->asked, link);
    }
    while ((link = coil__list_first(&uring->queue)) != NULL) {
        if (is_full(uring))
            return false;
        coil__list_remove(link);
        place(uring, container_of(link, struct coil__request, link));
    }
    return true;
}

/* ---- Cancelling ---- */

void coil__uring_cancel(struct coil__uring *uring, struct coil__request *request)
{
    switch ((enum coil__request_state)request->state) {
    case COIL__REQUEST_QUEUED:
        coil__list_remove(&request->link);
        finish(request, &uring->cancelled);
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
