/* SPDX-License-Identifier: MIT */
/* Descriptors on their way into a stream.
 *
 * A stream that wants descriptors receives by recvmsg(2) into a private chunk, one message at a
 * time; all others use receives that cannot carry any, upon which the kernel closes them. The
 * kernel ends a message at the bytes that descriptors came with, so the end of the delivery is the
 * place in the input behind which they can be taken.
 *
 * Invariant: `delivered` less the stream's unread bytes is the place of the reader.
 */
#ifndef COIL_LIB_NET_UNIX_H
#define COIL_LIB_NET_UNIX_H

#include <coil/unix.h>

#include "net/stream.h"

enum {
    COIL__FDS_SPACE = CMSG_SPACE(COIL_FDS_MAX * sizeof(int)),
};

union coil__fds_control {
    size_t alignment;
    char bytes[COIL__FDS_SPACE];
};

struct coil__fds_entry {
    uint64_t place; /* in the input: taken when the reader has come so far */
    int fd;
};

struct coil__fds {
    uint64_t delivered; /* bytes of input so far */
    struct msghdr message;
    struct iovec piece;
    union coil__fds_control control;
    bool is_drop_told;
    bool is_lost; /* some have been closed, and nobody has asked since */
    size_t max;
    size_t count;
    struct coil__fds_entry entries[]; /* oldest first */
};

/* The message that receives into `chunk` and whatever comes with it. */
struct msghdr *coil__fds_message(struct coil__fds *fds, const struct coil__lease *chunk);

/* Takes over what came with `size` bytes that are about to be delivered. */
void coil__fds_collect(struct coil__fds *fds, size_t size);

/* Closes what nobody took; NULL is harmless. */
void coil__fds_free(struct coil__fds *fds);

#endif
