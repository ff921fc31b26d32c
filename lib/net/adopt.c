/* SPDX-License-Identifier: MIT */
/* Sockets that somebody else has opened (net/adopt.h). */
#include "net/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

int coil__adopt_socket(int fd, int type)
{
    int present;
    socklen_t size = sizeof present;
    int flags;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &present, &size) < 0)
        return -errno;
    if (present != type)
        return -EPROTOTYPE;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    if ((flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return -errno;
    return 0;
}
