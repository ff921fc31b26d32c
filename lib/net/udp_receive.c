/* SPDX-License-Identifier: MIT */
/* Receiving datagrams (coil/udp.h).
 *
 * UDP comes by a standing order: the engine delivers datagrams as leases, many in a turn, without a
 * system call for each, and they wait in the socket's queue for a fiber. The order starts with the
 * first receive that finds none and is kept. At LEASES_MAX it is stopped, so that a slow receiver
 * leaves the rest to the kernel, which drops what its own buffer has no room for. Any report may be
 * the last; if a fiber waits, the order is placed again.
 *
 * Everything else is received by the fiber that has the turn, straight into its caller's memory, by
 * one operation, and the others of a batch without waiting, by recvmmsg(2): unix datagrams, which
 * may be longer than any buffer and carry descriptors; UDP where the engine has no such order; and
 * the next datagram after the shared buffers were out, so that nobody depends on when others give
 * theirs back. Then the order gets another chance.
 *
 * Invariants: a lease is in the queue or has been given back; a fiber receives by itself only while
 * the order is not active, so nothing overtakes; the order has a waiter only while it is active.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/udp.h"

enum {
    BATCH = 16,      /* messages per system call: 1 KiB of the fiber's stack */
    LEASES_MAX = 64, /* of 256 that all sockets share */

    /* The result is the full length of a datagram; descriptors that come with it are not wanted,
     * and must not reach a child meanwhile. */
    FLAGS = MSG_TRUNC | MSG_CMSG_CLOEXEC,
};

static int outcome(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
}

static int take_error(coil_udp *udp)
{
    const int error = udp->error;

    udp->error = 0;
    return error;
}

static void set_up(struct msghdr *message, struct iovec *piece, coil_datagram *item)
{
    *piece = (struct iovec){item->data, item->size};
    *message = (struct msghdr){
        .msg_name = &item->address.storage,
        .msg_namelen = sizeof item->address.storage,
        .msg_iov = piece,
        .msg_iovlen = 1,
    };
}

static void finish(coil_datagram *item, const struct msghdr *message, size_t length)
{
    item->length = length;
    item->address.length = message->msg_namelen;
    item->has_lost_fds = message->msg_flags & MSG_CTRUNC;
    coil__addr_unmap(&item->address);
}

/* ---- The order ---- */

static void queue_lease(struct coil__udp_order *order, struct coil__lease *lease)
{
    lease->next = NULL;
    if (order->last)
        order->last->next = lease;
    else
        order->first = lease;
    order->last = lease;
    order->lease_count++;
}

static struct coil__lease *unqueue_lease(struct coil__udp_order *order)
{
    struct coil__lease *lease = order->first;

    order->first = lease->next;
    if (!order->first)
        order->last = NULL;
    order->lease_count--;
    return lease;
}

static void wake_waiter(struct coil__udp_order *order)
{
    struct coil__tcb *waiter = order->waiter;

    order->waiter = NULL;
    if (waiter)
        coil__wake(waiter, 0);
}

static void stop_order(coil_udp *udp)
{
    struct coil__engine *engine = udp->sched->engine;

    if (!udp->order.is_active || udp->order.is_stopping)
        return;
    udp->order.is_stopping = true;
    engine->ops->receive_stop(engine, &udp->order.receive);
}

static void order_ended(coil_udp *udp, const struct coil__lease *lease, int result)
{
    udp->order.is_active = false;
    if (lease || result == -ECANCELED || result == -EINTR || result == -EAGAIN)
        return;
    if (result == -ENOBUFS)
        udp->order.is_starved = true;
    else
        udp->error = result;
}

static void delivered(struct coil__receive *receive, struct coil__lease *lease, int result,
                      bool more)
{
    coil_udp *udp = container_of(receive, coil_udp, order.receive);

    if (lease)
        queue_lease(&udp->order, lease);
    if (!more)
        order_ended(udp, lease, result);
    else if (udp->order.lease_count >= LEASES_MAX)
        stop_order(udp);
    wake_waiter(&udp->order);
    if (!more)
        coil__udp_settle(udp);
}

static void start_order(coil_udp *udp)
{
    struct coil__engine *engine = udp->sched->engine;

    udp->order.is_active = true;
    udp->order.is_stopping = false;
    engine->ops->receive_start(engine, &udp->order.receive);
}

void coil__udp_order_init(coil_udp *udp)
{
    udp->order.receive = (struct coil__receive){
        .request = {.kind = COIL__REQUEST_DATAGRAMS, .fd = udp->fd},
        .event = delivered,
    };
    coil__list_init(&udp->order.receive.request.link);
}

void coil__udp_order_stop(coil_udp *udp)
{
    stop_order(udp);
    wake_waiter(&udp->order);
}

static void drop_lease(coil_udp *udp, struct coil__lease *lease)
{
    udp->sched->engine->ops->lease_return(udp->sched->engine, lease);
}

void coil__udp_order_clear(coil_udp *udp)
{
    while (udp->order.first)
        drop_lease(udp, unqueue_lease(&udp->order));
}

/* Up to `count` of the datagrams in the queue: how many. */
static size_t take_delivered(coil_udp *udp, coil_datagram *items, size_t count)
{
    size_t taken = 0;

    while (taken < count && udp->order.first) {
        struct coil__lease *lease = unqueue_lease(&udp->order);
        const struct coil__datagram *head = (const void *)lease->data;
        const size_t there = lease->end - lease->start;
        coil_datagram *item = &items[taken++];

        if (item->size > 0) /* or there need not be any place */
            memcpy(item->data, lease->data + lease->start, there < item->size ? there : item->size);
        memcpy(&item->address.storage, head->address, sizeof head->address);
        item->length = head->length;
        item->has_lost_fds = false;
        item->address.length = head->address_length;
        coil__addr_unmap(&item->address);
        drop_lease(udp, lease);
    }
    return taken;
}

static void leave_wait(struct coil__tcb *tcb)
{
    coil_udp *udp = tcb->wait_object;

    udp->order.waiter = NULL;
    coil__wake_interrupted(tcb);
}

/* Whether the calling fiber is to receive by itself. */
static bool is_direct(const coil_udp *udp)
{
    return udp->family == AF_UNIX || udp->order.is_starved || !udp->sched->engine->has_datagrams;
}

/* Waits until the queue holds something. Returns 1; 0 when the fiber is to receive by itself; or an
 * error. */
static int wait_for_delivery(coil_udp *udp)
{
    while (!udp->order.first) {
        int result;

        if (udp->is_closing)
            return -EBADF;
        if (udp->error)
            return take_error(udp);
        if (!udp->order.is_active) {
            result = coil__udp_why_over(udp, &udp->receiving);
            if (result < 0)
                return result;
            if (is_direct(udp))
                return 0;
            start_order(udp);
        }
        udp->order.waiter = coil__self();
        result = coil__park("datagram", udp, leave_wait);
        if (result < 0)
            return result;
    }
    return 1;
}

/* ---- By itself ---- */

static int receive_waiting(coil_udp *udp, coil_datagram *item)
{
    struct iovec piece;
    struct msghdr message;
    const struct coil__op op = coil__op_make(COIL__OP_RECVMSG, udp->fd, &message, 0, FLAGS);
    int result;

    set_up(&message, &piece, item);
    result = coil__udp_run(udp, &udp->receiving, &op, "datagram");
    if (result < 0)
        return result;
    finish(item, &message, (size_t)result);
    return 0;
}

/* Up to `count` datagrams that are there: how many, or -EAGAIN or an error of the network. */
static int receive_some(const coil_udp *udp, coil_datagram *items, size_t count)
{
    const unsigned size = count < BATCH ? (unsigned)count : BATCH;
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    int result;

    for (unsigned i = 0; i < size; i++)
        set_up(&messages[i].msg_hdr, &pieces[i], &items[i]);
    do
        result = outcome(recvmmsg(udp->fd, messages, size, FLAGS | MSG_DONTWAIT, NULL));
    while (result == -EINTR);
    for (int i = 0; i < result; i++)
        finish(&items[i], &messages[i].msg_hdr, messages[i].msg_len);
    return result;
}

/* The first datagram by waiting, further ones if they are there. */
static ssize_t receive_directly(coil_udp *udp, coil_datagram *items, size_t count)
{
    size_t received = 1;
    int result = receive_waiting(udp, items);

    udp->order.is_starved = false;
    if (result < 0)
        return result;
    while (received < count) {
        result = receive_some(udp, items + received, count - received);
        if (result < 0)
            break;
        received += (size_t)result;
        if (result < BATCH)
            return (ssize_t)received;
    }
    if (result < 0 && result != -EAGAIN)
        udp->error = result; /* the kernel tells it once: the next call does */
    return (ssize_t)received;
}

/* ---- In turn ---- */

/* The calling fiber has the turn. */
static ssize_t receive_batch(coil_udp *udp, coil_datagram *items, size_t count)
{
    const int result = wait_for_delivery(udp);

    if (result < 0)
        return result;
    if (result == 0)
        return receive_directly(udp, items, count);
    return (ssize_t)take_delivered(udp, items, count);
}

ssize_t coil_udp_recv_batch(coil_udp *udp, coil_datagram *items, size_t count)
{
    ssize_t result = coil__udp_enter(udp);

    if (result < 0)
        return result;
    COIL_ASSERT(count > 0 && "room for a datagram");
    result = coil__udp_take_turn(udp, &udp->receiving, "turn to receive");
    if (result == 0) {
        result = receive_batch(udp, items, count);
        coil__udp_give_turn(&udp->receiving);
    }
    coil__udp_leave(udp);
    return result;
}

int coil__udp_receive_message(coil_udp *udp, struct msghdr *message)
{
    const struct coil__op op = coil__op_make(COIL__OP_RECVMSG, udp->fd, message, 0, FLAGS);
    int result = coil__udp_enter(udp);

    if (result < 0)
        return result;
    COIL_ASSERT(udp->family == AF_UNIX && "others have an order");
    result = coil__udp_take_turn(udp, &udp->receiving, "turn to receive");
    if (result == 0) {
        result = coil__udp_run(udp, &udp->receiving, &op, "datagram");
        coil__udp_give_turn(&udp->receiving);
    }
    coil__udp_leave(udp);
    return result;
}

/* ---- One at a time ---- */

ssize_t coil_udp_recv(coil_udp *udp, void *data, size_t size, coil_address *ret_from)
{
    coil_datagram item = {.data = data, .size = size};
    const ssize_t result = coil_udp_recv_batch(udp, &item, 1);

    if (result < 0)
        return result;
    if (ret_from)
        *ret_from = item.address;
    return (ssize_t)item.length;
}

ssize_t coil_udp_try_recv(coil_udp *udp, void *data, size_t size, coil_address *ret_from)
{
    coil_datagram item = {.data = data, .size = size};
    int result;

    if (udp->is_closing)
        return -EBADF;
    if (udp->receiving.is_taken)
        return -EAGAIN;
    result = (int)take_delivered(udp, &item, 1);
    if (result == 0)
        result = take_error(udp);
    if (result == 0)
        result = coil__udp_why_over(udp, &udp->receiving);
    if (result == 0)
        result = receive_some(udp, &item, 1);
    if (result < 0)
        return result;
    if (ret_from)
        *ret_from = item.address;
    return (ssize_t)item.length;
}
