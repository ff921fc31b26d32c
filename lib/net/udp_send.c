/* SPDX-License-Identifier: MIT */
/* Sending datagrams (coil/udp.h).
 *
 * A send is tried at once: a datagram goes to the network or is dropped, so room is missing only
 * under load, and the fiber could not go on before the result anyway. (A stream's send joins the
 * turn's batch because nobody waits for it.) Without room the fiber takes the turn and
 * waits in the kernel; whoever comes after it waits behind it, so nobody overtakes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "net/udp.h"

enum {
    BATCH = 16,                 /* messages per system call: 1 KiB of the fiber's stack */
    SEGMENTS_MAX = 64,          /* the limit of kernels before 6.9 */
    SEGMENTED_SIZE_MAX = 65000, /* one IP packet, headers included, carries 65,535 bytes */
    FLAGS = MSG_NOSIGNAL,
};

static int outcome(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
}

static struct iovec piece_of(const void *data, size_t size)
{
    return (struct iovec){(void *)(uintptr_t)data, size};
}

static void set_address(struct msghdr *message, const coil_address *to)
{
    if (!to || to->length == 0)
        return;
    message->msg_name = coil__addr_sockaddr(to);
    message->msg_namelen = to->length;
}

/* ---- One message ---- */

static int try_message(const coil_udp *udp, const struct msghdr *message)
{
    int result;

    do
        result = outcome(sendmsg(udp->fd, message, FLAGS | MSG_DONTWAIT));
    while (result == -EINTR);
    return result;
}

/* Waits for the turn and then for room. */
static int send_in_turn(coil_udp *udp, struct msghdr *message)
{
    const struct coil__op op = coil__op_make(COIL__OP_SENDMSG, udp->fd, message, 0, FLAGS);
    int result = coil__udp_take_turn(udp, &udp->sending, "turn to send");

    if (result < 0)
        return result;
    result = coil__udp_run(udp, &udp->sending, &op, "room for a datagram");
    coil__udp_give_turn(&udp->sending);
    return result;
}

/* The calling fiber is a guest. Returns 0 or why it was not sent. */
static int send_message(coil_udp *udp, struct msghdr *message)
{
    int result = udp->sending.is_taken ? -EAGAIN : try_message(udp, message);

    if (result == -EAGAIN)
        result = send_in_turn(udp, message);
    return result < 0 ? result : 0;
}

int coil__udp_send_message(coil_udp *udp, struct msghdr *message)
{
    int result = coil__udp_enter(udp);

    if (result < 0)
        return result;
    result = send_message(udp, message);
    coil__udp_leave(udp);
    return result;
}

int coil_udp_send(coil_udp *udp, const void *data, size_t size, const coil_address *to)
{
    coil_address room;
    struct iovec piece = piece_of(data, size);
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    set_address(&message, coil__udp_address_to(udp, to, &room));
    return coil__udp_send_message(udp, &message);
}

int coil_udp_try_send(coil_udp *udp, const void *data, size_t size, const coil_address *to)
{
    coil_address room;
    struct iovec piece = piece_of(data, size);
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    int result;

    if (udp->is_closing)
        return -EBADF;
    if (udp->sending.is_taken)
        return -EAGAIN;
    set_address(&message, coil__udp_address_to(udp, to, &room));
    result = try_message(udp, &message);
    return result < 0 ? result : 0;
}

int coil_udp_send_segments(coil_udp *udp, const void *data, size_t size, size_t segment,
                           const coil_address *to)
{
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(uint16_t)),
                            .cmsg_level = IPPROTO_UDP,
                            .cmsg_type = UDP_SEGMENT}};

    const uint16_t segment_size = (uint16_t)segment;
    coil_address room;
    struct iovec piece = piece_of(data, size);
    struct msghdr message = {
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };

    if (udp->family == AF_UNIX) /* which would pass over what it does not know */
        return -EOPNOTSUPP;
    if (segment == 0 || size > SEGMENTED_SIZE_MAX ||
        segment < (size + SEGMENTS_MAX - 1) / SEGMENTS_MAX)
        return -EINVAL;
    if (size <= segment) /* one datagram: nothing to cut */
        message.msg_controllen = 0;
    memcpy(CMSG_DATA(&control.header), &segment_size, sizeof segment_size);
    set_address(&message, coil__udp_address_to(udp, to, &room));
    return coil__udp_send_message(udp, &message);
}

/* ---- Batches ---- */

/* What a system call of a batch takes. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    struct sockaddr_in6 rooms[BATCH]; /* for addresses that had to be changed */
};

static void fill(const coil_udp *udp, struct batch *batch, unsigned at, const coil_datagram *item)
{
    struct msghdr *message = &batch->messages[at].msg_hdr;
    const coil_address *to = &item->address;
    coil_address mapped;

    batch->pieces[at] = piece_of(item->data, item->size);
    *message = (struct msghdr){.msg_iov = &batch->pieces[at], .msg_iovlen = 1};
    if (coil__udp_address_to(udp, to, &mapped) == to) {
        set_address(message, to);
        return;
    }
    memcpy(&batch->rooms[at], &mapped.storage, sizeof batch->rooms[at]);
    message->msg_name = &batch->rooms[at];
    message->msg_namelen = sizeof batch->rooms[at];
}

/* Sends some of the items, at least one, without waiting: how many, or why none. */
static int try_some(const coil_udp *udp, const coil_datagram *items, size_t count)
{
    const unsigned size = count < BATCH ? (unsigned)count : BATCH;
    struct batch batch;
    int result;

    for (unsigned i = 0; i < size; i++)
        fill(udp, &batch, i, &items[i]);
    do
        result = outcome(sendmmsg(udp->fd, batch.messages, size, FLAGS | MSG_DONTWAIT));
    while (result == -EINTR);
    return result;
}

static int send_item(coil_udp *udp, const coil_datagram *item)
{
    coil_address room;
    struct iovec piece = piece_of(item->data, item->size);
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    set_address(&message, coil__udp_address_to(udp, &item->address, &room));
    return send_message(udp, &message);
}

static ssize_t send_items(coil_udp *udp, const coil_datagram *items, size_t count)
{
    size_t sent = 0;

    while (sent < count) {
        int result = -EAGAIN;

        if (!udp->sending.is_taken)
            result = try_some(udp, items + sent, count - sent);
        if (result == -EAGAIN) {
            result = send_item(udp, &items[sent]);
            result = result < 0 ? result : 1;
        }
        if (result < 0)
            return sent > 0 ? (ssize_t)sent : result;
        sent += (size_t)result;
    }
    return (ssize_t)sent;
}

ssize_t coil_udp_send_batch(coil_udp *udp, const coil_datagram *items, size_t count)
{
    ssize_t result = coil__udp_enter(udp);

    if (result < 0)
        return result;
    result = send_items(udp, items, count);
    coil__udp_leave(udp);
    return result;
}
