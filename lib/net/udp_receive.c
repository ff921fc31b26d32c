/* SPDX-License-Identifier: MIT */
/* Receiving datagrams (coil/udp.h).
 *
 * The fiber that has the turn receives straight into its caller's memory, by one operation; an
 * interruption cancels it, and a datagram that came all the same is returned. The others of a batch
 * are taken without waiting, by recvmmsg(2).
 *
 * Invariant: a datagram is taken from the kernel only for a call that returns it.
 */
#include <errno.h>
#include <sys/socket.h>

#include "net/udp.h"

enum {
    BATCH = 16, /* messages per system call: 1 KiB of the fiber's stack */

    /* The result is the full length of a datagram; descriptors that come with it are not wanted,
     * and must not reach a child meanwhile. */
    FLAGS = MSG_TRUNC | MSG_CMSG_CLOEXEC,
};

static int outcome(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
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
    coil__addr_unmap(&item->address);
}

/* ---- In the kernel ---- */

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

/* ---- In turn ---- */

static int take_error(coil_udp *udp)
{
    const int error = udp->error;

    udp->error = 0;
    return error;
}

/* The calling fiber has the turn. */
static ssize_t receive_batch(coil_udp *udp, coil_datagram *items, size_t count)
{
    size_t received = 1;
    int result = take_error(udp);

    if (result == 0)
        result = receive_waiting(udp, items);
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
    if (udp->is_stopped)
        return -ESHUTDOWN;
    if (udp->receiving.is_taken)
        return -EAGAIN;
    result = take_error(udp);
    if (result == 0)
        result = receive_some(udp, &item, 1);
    if (result < 0)
        return result;
    if (ret_from)
        *ret_from = item.address;
    return (ssize_t)item.length;
}
