/* SPDX-License-Identifier: MIT */
/* Datagrams of the poll engine (tests/support/poll_datagrams.h). */
#include "support/poll_datagrams.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/alloc.h"

enum {
    SIZE = 65536, /* any datagram of UDP */
};

static int receive(int fd, struct coil__lease *lease)
{
    struct coil__datagram *head = (void *)lease->data;
    struct iovec piece = {lease->data + lease->start, SIZE};
    struct msghdr message = {
        .msg_name = head->address,
        .msg_namelen = sizeof head->address,
        .msg_iov = &piece,
        .msg_iovlen = 1,
    };
    const ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC);

    if (length < 0)
        return -errno;
    head->address_length = message.msg_namelen;
    head->length = (uint32_t)length;
    lease->end = lease->start + (uint32_t)(length < SIZE ? length : SIZE);
    return (int)(lease->end - lease->start);
}

int coil__poll_datagram(int fd, struct coil__lease **ret_lease)
{
    const size_t capacity = sizeof(struct coil__datagram) + SIZE;
    struct coil__lease *lease = coil__alloc(sizeof *lease + capacity);
    int result;

    if (!lease)
        return -ENOBUFS;
    lease->data = (char *)(lease + 1);
    lease->start = sizeof(struct coil__datagram);
    lease->capacity = (uint32_t)capacity;
    lease->is_shared = true;
    lease->group = COIL__POLL_DATAGRAM_GROUP;
    result = receive(fd, lease);
    if (result < 0)
        coil__free(lease);
    else
        *ret_lease = lease;
    return result;
}
