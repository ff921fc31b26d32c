/* SPDX-License-Identifier: MIT */
/* Passing descriptors, and credentials (coil/unix.h, net/unix.h).
 *
 * Every descriptor that the kernel hands over is accounted for at once: it goes into the queue of a
 * stream, to the caller, or is closed.
 */
#include "net/unix.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "net/udp.h"

COIL_STATIC_ASSERT(sizeof(coil_credentials) == 12, "a promise of the header");

enum {
    WANT_MAX = 1024, /* untaken descriptors of one stream, of the process's own limit */
    TYPE_PIDFD = 4,  /* SCM_PIDFD, newer than the C library's headers */
};

static bool is_unix(int fd)
{
    int family = -1;
    socklen_t size = sizeof family;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family == AF_UNIX;
}

/* ---- Control messages ---- */

static size_t fill_control(union coil__fds_control *control, const int *fds, size_t count)
{
    const size_t size = count * sizeof *fds;
    struct cmsghdr *header = (void *)control->bytes;

    header->cmsg_len = CMSG_LEN(size);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(header), fds, size);
    return CMSG_SPACE(size);
}

static void drop(int fd, void *arg)
{
    (void)arg;
    (void)close(fd);
}

/* Calls `give` for each descriptor that the sender has passed in a received message. Nobody takes
 * the one for the sender itself, which the kernel adds if the socket has an option that asks for
 * it. */
static void for_each_fd(struct msghdr *message, void (*give)(int fd, void *arg), void *arg)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        const size_t size = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level != SOL_SOCKET ||
            (header->cmsg_type != SCM_RIGHTS && header->cmsg_type != TYPE_PIDFD))
            continue;
        for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
            (header->cmsg_type == SCM_RIGHTS ? give : drop)(fd, arg);
        }
    }
}

/* ---- Into a stream ---- */

struct msghdr *coil__fds_message(struct coil__fds *fds, const struct coil__lease *chunk)
{
    fds->piece = (struct iovec){chunk->data, chunk->capacity};
    fds->message = (struct msghdr){
        .msg_iov = &fds->piece,
        .msg_iovlen = 1,
        .msg_control = fds->control.bytes,
        .msg_controllen = sizeof fds->control.bytes,
    };
    return &fds->message;
}

static void tell_of_drop(struct coil__fds *fds)
{
    fds->is_lost = true;
    if (fds->is_drop_told)
        return;
    fds->is_drop_told = true;
    coil__log(COIL_LOG_WARNING,
              "a stream was passed more descriptors than it can keep (%zu); they are closed",
              fds->max);
}

static void keep(int fd, void *arg)
{
    struct coil__fds *fds = arg;

    if (fds->count == fds->max) {
        (void)close(fd);
        tell_of_drop(fds);
        return;
    }
    fds->entries[fds->count++] = (struct coil__fds_entry){.place = fds->delivered, .fd = fd};
}

void coil__fds_collect(struct coil__fds *fds, size_t size)
{
    fds->delivered += size;
    for_each_fd(&fds->message, keep, fds);
    if (fds->message.msg_flags & MSG_CTRUNC)
        tell_of_drop(fds); /* the process has no descriptors left: the kernel has closed them */
}

void coil__fds_free(struct coil__fds *fds)
{
    if (!fds)
        return;
    for (size_t i = 0; i < fds->count; i++)
        (void)close(fds->entries[i].fd);
    coil__free(fds);
}

int coil_stream_want_fds(coil_stream *stream, size_t max)
{
    struct coil__fds *fds;

    if (max == 0 || max > WANT_MAX)
        return -EINVAL;
    if (!is_unix(stream->fd))
        return -EOPNOTSUPP;
    if (stream->fds)
        return 0;
    if (stream->input.is_active)
        return -EBUSY;
    fds = coil__alloc(sizeof *fds + max * sizeof *fds->entries);
    if (!fds)
        return -ENOMEM;
    fds->max = max;
    fds->delivered = stream->input.length;
    stream->fds = fds;
    return 0;
}

int coil_take_fds(coil_stream *stream, int *ret_fds, size_t max)
{
    struct coil__fds *fds = stream->fds;
    size_t due = 0;
    size_t taken = 0;

    if (!fds)
        return 0;
    while (due < fds->count && fds->entries[due].place <= fds->delivered - stream->input.length) {
        if (taken < max)
            ret_fds[taken++] = fds->entries[due].fd;
        else
            (void)close(fds->entries[due].fd);
        due++;
    }
    if (due > taken)
        fds->is_lost = true;
    fds->count -= due;
    memmove(fds->entries, fds->entries + due, fds->count * sizeof *fds->entries);
    return (int)taken;
}

bool coil_stream_fds_lost(coil_stream *stream)
{
    const bool is_lost = stream->fds && stream->fds->is_lost;

    if (is_lost)
        stream->fds->is_lost = false;
    return is_lost;
}

ssize_t coil_recv_fds(coil_stream *stream, void *data, size_t size, int *ret_fds, size_t max,
                      size_t *ret_count)
{
    const ssize_t result = coil_read(stream, data, size);

    if (result >= 0)
        *ret_count = (size_t)coil_take_fds(stream, ret_fds, max);
    return result;
}

/* ---- Out of a stream ---- */

int coil_send_fds(coil_stream *stream, const void *data, size_t size, const int *fds, size_t count)
{
    union coil__fds_control control;

    if (size == 0 || count == 0 || count > COIL_FDS_MAX)
        return -EINVAL;
    if (!is_unix(stream->fd))
        return -EOPNOTSUPP;
    return coil__output_send_with(stream, data, size, control.bytes,
                                  fill_control(&control, fds, count));
}

int coil_stream_credentials(const coil_stream *stream, coil_credentials *ret_credentials)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;

    if (!is_unix(stream->fd))
        return -EOPNOTSUPP;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -errno;
    *ret_credentials = (coil_credentials){
        .pid = credentials.pid,
        .uid = credentials.uid,
        .gid = credentials.gid,
    };
    return 0;
}

/* ---- With a datagram ---- */

int coil_udp_send_fds(coil_udp *udp, const coil_datagram *item, const int *fds, size_t count)
{
    union coil__fds_control control;
    struct iovec piece = {item->data, item->size};
    struct msghdr message = {
        .msg_name = item->address.length ? coil__addr_sockaddr(&item->address) : NULL,
        .msg_namelen = item->address.length,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
    };

    if (count == 0 || count > COIL_FDS_MAX)
        return -EINVAL;
    if (udp->family != AF_UNIX)
        return -EOPNOTSUPP;
    message.msg_controllen = fill_control(&control, fds, count);
    return coil__udp_send_message(udp, &message);
}

/* Where the descriptors of a datagram go. */
struct wanted {
    int *fds;
    size_t max;
    size_t count;
    bool is_lost;
};

static void give(int fd, void *arg)
{
    struct wanted *wanted = arg;

    if (wanted->count < wanted->max) {
        wanted->fds[wanted->count++] = fd;
        return;
    }
    (void)close(fd);
    wanted->is_lost = true;
}

int coil_udp_recv_fds(coil_udp *udp, coil_datagram *item, int *ret_fds, size_t max)
{
    union coil__fds_control control;
    struct wanted wanted = {.max = max};
    struct iovec piece = {item->data, item->size};
    struct msghdr message = {
        .msg_name = &item->address.storage,
        .msg_namelen = sizeof item->address.storage,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    int result;

    if (udp->family != AF_UNIX)
        return -EOPNOTSUPP;
    result = coil__udp_receive_message(udp, &message);
    if (result < 0)
        return result;
    item->length = (size_t)result;
    item->address.length = message.msg_namelen;
    wanted.fds = ret_fds;
    for_each_fd(&message, give, &wanted);
    item->has_lost_fds = wanted.is_lost || message.msg_flags & MSG_CTRUNC;
    return (int)wanted.count;
}
