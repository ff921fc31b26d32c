/* SPDX-License-Identifier: MIT */
/* Operations that the kernel's ring need not have (io/file.h).
 *
 * Kernels do not tell an operation that they do not know from one with wrong arguments: both are
 * -EINVAL. So that answer is never believed; the system call is made in a thread, and what it says
 * is the truth. Wrong arguments thus cost a thread's round trip, and a kernel without the operation
 * a refusal before each call, which is a tenth of that.
 *
 * The call in the thread uses the operation on the caller's stack and the caller's own paths, so
 * nothing may interrupt it: the same rule, and the same wait, as for an operation of the ring that
 * is too far to be cancelled (design D3).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <coil/offload.h>
#include <coil/scope.h>

#include "io/file.h"

static int outcome(int result)
{
    return result < 0 ? -errno : result;
}

/* In a thread. */
static int call(void *arg)
{
    const struct coil__op *op = arg;
    const int fd = op->request.fd;
    const int flags = (int)op->flags;
    const int other_fd = (int)op->length;
    const off_t length = (off_t)op->length;
    const off_t offset = (off_t)op->more.offset;

    switch ((int)op->request.kind) {
    case COIL__OP_FTRUNCATE:
        return outcome(ftruncate(fd, length));
    case COIL__OP_FALLOCATE:
        return outcome(fallocate(fd, flags, offset, length));
    case COIL__OP_FADVISE:
        return -posix_fadvise(fd, offset, length, flags);
    case COIL__OP_RENAMEAT:
        return outcome(renameat2(fd, op->data, other_fd, op->more.extra, op->flags));
    case COIL__OP_LINKAT:
        return outcome(linkat(fd, op->data, other_fd, op->more.extra, flags));
    case COIL__OP_SYMLINKAT:
        return outcome(symlinkat(op->more.extra, fd, op->data));
    case COIL__OP_MKDIRAT:
        return outcome(mkdirat(fd, op->data, (mode_t)op->length));
    case COIL__OP_UNLINKAT:
        return outcome(unlinkat(fd, op->data, flags));
    default:
        return -EINVAL;
    }
}

int coil__file_op_run(struct coil__op *op, const char *name)
{
    coil_scope shield;
    int answer = -EINVAL;
    int result = coil__op_run(op, name);

    if (result != -EINVAL)
        return result;
    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_offload(call, op, NULL, &answer);
    (void)coil_scope_leave(&shield);
    return result < 0 ? result : answer;
}
