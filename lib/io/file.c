/* SPDX-License-Identifier: MIT */
/* Files as operations of the engine (coil/file.h).
 *
 * Each call is one operation on the calling fiber's stack; the path and the buffer stay the
 * caller's, who does not return before the kernel is done with them (design D3). The same rule
 * keeps an open that succeeds while it is being cancelled from losing its descriptor: the success
 * is delivered.
 *
 * Staying beneath a directory is the kernel's work (RESOLVE_BENEATH). Any check of the path made
 * here could be undone by a rename before the open.
 */
#include <coil/file.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/op.h"

enum {
    /* The kernel gives up with -EAGAIN when something is renamed or mounted, anywhere, while it
     * walks through "..": an unlucky moment repeats a few times, an attack keeps repeating. */
    BENEATH_TRIES = 16,
};

COIL_STATIC_ASSERT(sizeof(coil_file_info) == 40, "its layout is ABI");

int coil_file_open(const char *path, int flags, unsigned mode)
{
    struct coil__op op = coil__op_make(COIL__OP_OPENAT, AT_FDCWD, (void *)(size_t)path, mode,
                                       (uint32_t)(flags | O_CLOEXEC));

    return coil__op_run(&op, "open");
}

int coil_file_open_beneath(int dir_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint32_t)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int result = -EAGAIN;

    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
        return -EINVAL;
    for (int i = 0; i < BENEATH_TRIES && result == -EAGAIN; i++) {
        struct coil__op op =
            coil__op_make(COIL__OP_OPENAT2, dir_fd, (void *)(size_t)path, sizeof how, 0);

        op.more.extra = &how;
        result = coil__op_run(&op, "open");
    }
    return result;
}

/* A file's time is whatever somebody has set it to, and 64 bits of seconds do not fit in 64 bits of
 * nanoseconds. */
static int64_t nanoseconds_of(const struct statx_timestamp *time)
{
    int64_t result;

    if (__builtin_mul_overflow(time->tv_sec, COIL_SECONDS(1), &result) ||
        __builtin_add_overflow(result, time->tv_nsec, &result))
        return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return result;
}

ssize_t coil_file_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    struct coil__op op = coil__op_make(COIL__OP_READ, fd, buffer, size, 0);

    op.more.offset = offset;
    return coil__op_run(&op, "file read");
}

ssize_t coil_file_write(int fd, const void *data, size_t size, uint64_t offset)
{
    struct coil__op op = coil__op_make(COIL__OP_WRITE, fd, (void *)(size_t)data, size, 0);

    op.more.offset = offset;
    return coil__op_run(&op, "file write");
}

int coil_file_stat(int fd, coil_file_info *ret_info)
{
    struct statx found;
    char itself[] = "";
    struct coil__op op =
        coil__op_make(COIL__OP_STATX, fd, itself, STATX_BASIC_STATS, AT_EMPTY_PATH);
    int result;

    op.more.extra = &found;
    result = coil__op_run(&op, "stat");
    if (result < 0)
        return result;
    *ret_info = (coil_file_info){
        .size = found.stx_size,
        .device = makedev(found.stx_dev_major, found.stx_dev_minor),
        .inode = found.stx_ino,
        .modified_ns = nanoseconds_of(&found.stx_mtime),
        .mode = found.stx_mode,
        .is_regular = S_ISREG(found.stx_mode),
        .is_directory = S_ISDIR(found.stx_mode),
    };
    return 0;
}

int coil_file_close(int fd)
{
    struct coil__op op = coil__op_make(COIL__OP_CLOSE, fd, NULL, 0, 0);

    if (fd < 0)
        return fd == -1 ? 0 : -EBADF;
    return coil__op_run_shielded(&op, "close");
}
