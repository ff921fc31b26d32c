/* SPDX-License-Identifier: MIT */
/* The io_uring engine, on the way out: from completions to callbacks.
 *
 * A one-shot operation ends with its completion. A standing order goes on while its completions
 * say MORE, and ends whenever the kernel likes: buffers out, completion queue overflown. That is
 * a callback without `more`, whether or not it carries bytes, and never an error of ours. Where the
 * kernel knows no multishot, the order is served by one-shot requests, each placed anew before the
 * callback of the one before, so that the callback may stop it like any other.
 *
 * Abilities that set-up cannot probe are found out here: a multishot request that fails with EINVAL
 * is tried again as a one-shot request, and only if that works was it the multishot.
 *
 * A cancel's own completion is dropped: the target's is what everybody waits for. But "no such
 * request" may mean that the target was just then on its way between two queues of the kernel (a
 * connect that is handed to a worker thread is). So it makes us ask again for every target that has
 * been asked for and has not completed.
 */
#include "engine/uring.h"

#include <errno.h>

#include "base/assert.h"

enum {
    /* From here on the kernel's own codes: "restart this system call", which openat passes on. */
    ERRNO_INTERNAL_FIRST = 512,
};

/* The request goes back to its owner. Only a cancelled one is in a list still. */
static inline void retire(struct coil__uring *uring, struct coil__request *request)
{
    if (COIL_UNLIKELY(request->state == COIL__REQUEST_CANCELLED))
        coil__list_remove(&request->link);
    request->state = COIL__REQUEST_IDLE;
    uring->engine.stats.active_count--;
}

/* ---- Receiving ---- */

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
    more = receive->request.state == COIL__REQUEST_ACTIVE &&
           coil__uring_prepare_receive(uring, receive);
    if (more)
        coil__uring_start(uring, &receive->request);
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
    coil__uring_start(uring, &receive->request);
    return true;
}

/* A completion without bytes: end of the stream, buffers out, stopped, or a true error. */
static void complete_empty(struct coil__uring *uring, struct coil__receive *receive,
                           const struct io_uring_cqe *cqe)
{
    struct coil__uring_buffers *buffers = &uring->buffers;
    const unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

    if (cqe->flags & IORING_CQE_F_BUFFER)
        coil__uring_lease_return(buffers, coil__uring_lease_take(buffers, id, 0));
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

/* ---- Datagrams ---- */

/* An empty datagram ends the order like any other reason may. */
static void complete_datagrams(struct coil__uring *uring, struct coil__receive *receive,
                               const struct io_uring_cqe *cqe)
{
    const bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    struct coil__lease *lease = NULL;
    int result = cqe->res;

    if (cqe->flags & IORING_CQE_F_BUFFER)
        lease = coil__uring_lease_take(&uring->datagrams, cqe->flags >> IORING_CQE_BUFFER_SHIFT,
                                       result > 0 ? (unsigned)result : 0);
    if (COIL_UNLIKELY(result < (int)sizeof(struct coil__datagram))) {
        if (lease)
            coil__uring_lease_return(&uring->datagrams, lease);
        if (more) {
            uring->silent_count++;
            return;
        }
        if (result == -EINVAL) {
            /* This kernel knows it one-shot only, as the caller will find. */
            coil__uring_drop_datagrams(uring);
            result = -ENOBUFS;
        }
        end_receive(uring, receive, result);
        return;
    }
    if (COIL_UNLIKELY(!more)) {
        if (receive->request.state == COIL__REQUEST_ACTIVE)
            uring->engine.stats.rearm_count++;
        retire(uring, &receive->request);
    }
    COIL_ASSERT(lease && "a message comes in a buffer");
    lease->start = sizeof(struct coil__datagram);
    receive->event(receive, lease, result - (int)sizeof(struct coil__datagram), more);
}

/* ---- Accepting ---- */

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
        coil__uring_start(uring, &accept->request);
        return;
    }
    if (!more && cqe->res >= 0 && is_wanted) {
        uring->engine.stats.rearm_count++;
        if (!coil__uring_can(uring, COIL__URING_MULTISHOT_ACCEPT)) {
            more = true;
            coil__uring_start(uring, &accept->request);
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
    if (COIL_UNLIKELY(op->request.state == COIL__REQUEST_CANCELLED) &&
        (result == -EINTR || result <= -ERRNO_INTERNAL_FIRST))
        result = -ECANCELED;
    op->result = result;
    retire(uring, &op->request);
    op->done(op);
}

static inline void complete(struct coil__uring *uring, const struct io_uring_cqe *cqe)
{
    const uint64_t data = cqe->user_data;
    struct coil__request *request;

    if (COIL_UNLIKELY(data == COIL__URING_CANCEL)) {
        uring->silent_count++;
        if (cqe->res == -ENOENT)
            coil__list_splice_back(&uring->cancels, &uring->asked);
        return;
    }
    request = (void *)(uintptr_t)(data & ((UINT64_C(1) << COIL__URING_GENERATION_SHIFT) - 1));
    COIL_ASSERT(request->generation == data >> COIL__URING_GENERATION_SHIFT);
    if (request->kind == COIL__REQUEST_RECEIVE)
        complete_receive(uring, coil__receive_of(request), cqe);
    else if (COIL_UNLIKELY(request->kind == COIL__REQUEST_DATAGRAMS))
        complete_datagrams(uring, coil__receive_of(request), cqe);
    else if (COIL_UNLIKELY(request->kind == COIL__REQUEST_ACCEPT))
        complete_accept(uring, coil__accept_of(request), cqe);
    else
        complete_op(uring, coil__op_of(request), cqe->res);
}

/* Takes all completions that are there now; returns how many of them somebody was told about.
 * The entries are read in place: callbacks submit, but never enter the kernel. */
unsigned coil__uring_reap(struct coil__uring *uring)
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
static unsigned report_list(struct coil__uring *uring, struct coil__list *finished, int result)
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
        if (request->kind == COIL__REQUEST_DATAGRAMS) {
            end_receive(uring, coil__receive_of(request), result);
        } else if (request->kind == COIL__REQUEST_RECEIVE) {
            struct coil__receive *receive = coil__receive_of(request);

            if (receive->lease)
                coil__uring_lease_return(&uring->buffers, receive->lease);
            receive->lease = NULL;
            end_receive(uring, receive, result);
        } else if (request->kind == COIL__REQUEST_ACCEPT) {
            complete_accept(uring, coil__accept_of(request), &cqe);
        } else {
            complete_op(uring, coil__op_of(request), result);
        }
    }
    return count;
}

unsigned coil__uring_report(struct coil__uring *uring)
{
    return report_list(uring, &uring->cancelled, -ECANCELED) +
           report_list(uring, &uring->starved, -ENOBUFS);
}
