/* SPDX-License-Identifier: MIT */
/* Files for the poll engine (tests/support/poll_files.h).
 *
 * Files never block longer than the disk, so their operations are simply done; pipes and sockets
 * are asked first whether they would block. COIL__OP_FTRUNCATE is refused, as by a kernel that does
 * not have it.
 */
#include "support/poll_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int outcome(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
}

static bool would_block(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    return fd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

static int read_now(struct coil__op *op)
{
    const int fd = op->request.fd;
    const size_t length = op->length > INT_MAX ? INT_MAX : op->length;
    const bool has_offset = op->more.offset != UINT64_MAX;

    if (would_block(fd, POLLIN))
        return -EAGAIN;
    if (op->request.kind == COIL__OP_READV)
        return outcome(has_offset ? preadv(fd, op->data, (int)length, (off_t)op->more.offset)
                                  : readv(fd, op->data, (int)length));
    return outcome(has_offset ? pread(fd, op->data, length, (off_t)op->more.offset)
                              : read(fd, op->data, length));
}

/* writev(2), but a pipe without a reader sends no SIGPIPE. */
static ssize_t write_quietly(int fd, const struct iovec *pieces, int count)
{
    const struct timespec at_once = {0};
    sigset_t signals;
    sigset_t before;
    sigset_t pending;
    ssize_t result;
    int error;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &signals, &before);
    (void)sigpending(&pending);
    result = writev(fd, pieces, count);
    error = errno;
    if (result < 0 && error == EPIPE && sigismember(&pending, SIGPIPE) == 0)
        (void)sigtimedwait(&signals, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return result;
}

static int write_now(struct coil__op *op)
{
    const int fd = op->request.fd;
    const bool has_offset = op->more.offset != UINT64_MAX;
    size_t length = op->length > INT_MAX ? INT_MAX : op->length;
    struct iovec piece;
    struct stat status;

    if (would_block(fd, POLLOUT))
        return -EAGAIN;
    if (has_offset && op->request.kind == COIL__OP_WRITEV)
        return outcome(pwritev(fd, op->data, (int)length, (off_t)op->more.offset));
    if (has_offset)
        return outcome(pwrite(fd, op->data, length, (off_t)op->more.offset));
    if (op->request.kind == COIL__OP_WRITEV)
        return outcome(write_quietly(fd, op->data, (int)length));
    /* POLLOUT promises room for this much and no more. */
    if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && length > PIPE_BUF)
        length = PIPE_BUF;
    piece = (struct iovec){op->data, length};
    return outcome(write_quietly(fd, &piece, 1));
}

static int name_op(struct coil__op *op)
{
    const int fd = op->request.fd;
    const int other_fd = (int)op->length;
    const int flags = (int)op->flags;
    const mode_t mode = (mode_t)op->length;

    switch ((int)op->request.kind) {
    case COIL__OP_OPENAT:
        return outcome(openat(fd, op->data, flags, mode));
    case COIL__OP_OPENAT2:
        return outcome(syscall(SYS_openat2, fd, op->data, op->more.extra, sizeof(struct open_how)));
    case COIL__OP_STATX:
        return outcome(statx(fd, op->data, flags, (unsigned)op->length, op->more.extra));
    case COIL__OP_RENAMEAT:
        return outcome(renameat2(fd, op->data, other_fd, op->more.extra, op->flags));
    case COIL__OP_LINKAT:
        return outcome(linkat(fd, op->data, other_fd, op->more.extra, flags));
    case COIL__OP_SYMLINKAT:
        return outcome(symlinkat(op->more.extra, fd, op->data));
    case COIL__OP_MKDIRAT:
        return outcome(mkdirat(fd, op->data, mode));
    case COIL__OP_UNLINKAT:
        return outcome(unlinkat(fd, op->data, flags));
    default:
        return -EINVAL;
    }
}

int coil__poll_file_op(struct coil__op *op)
{
    const int fd = op->request.fd;
    const int flags = (int)op->flags;
    const off_t offset = (off_t)op->more.offset;
    const off_t length = (off_t)op->length;

    switch ((int)op->request.kind) {
    case COIL__OP_READ:
    case COIL__OP_READV:
        return read_now(op);
    case COIL__OP_WRITE:
    case COIL__OP_WRITEV:
        return write_now(op);
    case COIL__OP_FSYNC:
        return outcome(flags & COIL__FSYNC_DATA ? fdatasync(fd) : fsync(fd));
    case COIL__OP_FALLOCATE:
        return outcome(fallocate(fd, flags, offset, length));
    case COIL__OP_FADVISE:
        return -posix_fadvise(fd, offset, length, flags);
    case COIL__OP_CLOSE:
        return outcome(close(fd));
    default:
        return name_op(op);
    }
}
