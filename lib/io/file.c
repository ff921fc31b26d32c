/* SPDX-License-Identifier: MIT */
/* Files as operations of the engine (coil/file.h).
 *
 * Each call is one operation on the calling fiber's stack; the path and the buffer stay the
 * caller's, who does not return before the kernel is done with them (design D3). The same rule
 * keeps an open that succeeds while it is being cancelled from losing its descriptor: the success
 * is delivered.
 *
 * Reading and writing whole amounts is a loop over those calls: an interruption between two of them
 * is one at a call's beginning, and ret_len says how far it went.
 *
 * Staying beneath a directory is the kernel's work (RESOLVE_BENEATH). Any check of the path made
 * here could be undone by a rename before the open.
 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "core/op.h"

enum {
    /* The kernel gives up with -EAGAIN when something is renamed or mounted, anywhere, while it
     * walks through "..": an unlucky moment repeats a few times, an attack keeps repeating. */
    BENEATH_TRIES = 16,
    LOAD_SIZE = 4096, /* what is made room for when the size is not known */
};

COIL_STATIC_ASSERT(sizeof(coil_file_info) == 40, "a promise of the header");

int coil__file_open_at(int dir_fd, const char *path, int flags, unsigned mode)
{
    struct coil__op op = coil__op_make(COIL__OP_OPENAT, dir_fd, (void *)(size_t)path, mode,
                                       (uint32_t)(flags | O_CLOEXEC));

    return coil__op_run(&op, "open");
}

int coil_file_open(const char *path, int flags, unsigned mode)
{
    return coil__file_open_at(AT_FDCWD, path, flags, mode);
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

ssize_t coil_file_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    struct coil__op op = coil__op_make(COIL__OP_READ, fd, buffer, size, 0);

    op.more.offset = offset;
    return coil__op_run(&op, "file read");
}

/* By what is known already: even of a network file system nobody is asked. */
static bool is_device(int fd)
{
    struct statx found;

    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &found) == 0 &&
           S_ISCHR(found.stx_mode);
}

/* What has offsets has no reader that could be missing or slow. A terminal says that it can be
 * written to, and blocks (net/pipe.c). */
static uint32_t write_flags(int fd, uint64_t offset)
{
    if (offset != COIL_FILE_POSITION)
        return 0;
    return COIL__OP_QUIET | (is_device(fd) ? (uint32_t)COIL__OP_MAY_BLOCK : 0);
}

ssize_t coil_file_write(int fd, const void *data, size_t size, uint64_t offset)
{
    struct coil__op op =
        coil__op_make(COIL__OP_WRITE, fd, (void *)(size_t)data, size, write_flags(fd, offset));

    op.more.offset = offset;
    return coil__op_run(&op, "file write");
}

ssize_t coil_file_readv(int fd, const struct iovec *pieces, int count, uint64_t offset)
{
    struct coil__op op =
        coil__op_make(COIL__OP_READV, fd, (void *)(size_t)pieces, (unsigned)count, 0);

    if (count < 0)
        return -EINVAL;
    op.more.offset = offset;
    return coil__op_run(&op, "file read");
}

ssize_t coil_file_writev(int fd, const struct iovec *pieces, int count, uint64_t offset)
{
    struct coil__op op = coil__op_make(COIL__OP_WRITEV, fd, (void *)(size_t)pieces, (unsigned)count,
                                       write_flags(fd, offset));

    if (count < 0)
        return -EINVAL;
    op.more.offset = offset;
    return coil__op_run(&op, "file write");
}

/* ---- Whole amounts ---- */

/* Where the next call goes on after `done` bytes. */
static uint64_t advanced(uint64_t offset, size_t done)
{
    return offset == COIL_FILE_POSITION ? offset : offset + done;
}

ssize_t coil_file_read_full(int fd, void *buffer, size_t size, uint64_t offset, size_t *ret_len)
{
    size_t done = 0;
    ssize_t length;

    do {
        length = coil_file_read(fd, (char *)buffer + done, size - done, advanced(offset, done));
        done += length > 0 ? (size_t)length : 0;
    } while (length > 0 && done < size);
    if (length >= 0)
        return (ssize_t)done;
    if (ret_len)
        *ret_len = done;
    return length;
}

int coil_file_write_all(int fd, const void *data, size_t size, uint64_t offset, size_t *ret_len)
{
    size_t done = 0;
    ssize_t length;

    do {
        length =
            coil_file_write(fd, (const char *)data + done, size - done, advanced(offset, done));
        done += length > 0 ? (size_t)length : 0;
    } while (length > 0 && done < size);
    if (length >= 0 && done == size)
        return 0;
    if (ret_len)
        *ret_len = done;
    return length < 0 ? (int)length : -EIO;
}

/* What a load has so far, in a block of `room` bytes. */
struct load {
    char *data;
    size_t size;
    size_t room;
};

/* One byte more than the limit and one for the NUL is as much as a load ever takes. */
static int make_room(struct load *load, size_t wanted, size_t limit)
{
    const size_t most = limit > SIZE_MAX - 2 ? SIZE_MAX : limit + 2;
    const size_t room = wanted < most ? wanted : most;
    char *data = coil__realloc(load->data, room);

    if (!data)
        return -ENOMEM;
    load->data = data;
    load->room = room;
    return 0;
}

/* Until the end of the file, or one byte beyond the limit. */
static int load_all(int fd, size_t limit, struct load *load)
{
    coil_file_info info;
    int result = coil_file_stat(fd, &info);
    ssize_t length;

    if (result < 0)
        return result;
    if (info.is_regular && info.size > limit)
        return -EFBIG;
    result = make_room(load, info.size ? (size_t)info.size + 2 : LOAD_SIZE, limit);
    while (result == 0) {
        length = coil_file_read(fd, load->data + load->size, load->room - load->size - 1,
                                COIL_FILE_POSITION);
        if (length <= 0)
            return (int)length;
        load->size += (size_t)length;
        if (load->size > limit)
            return -EFBIG;
        if (load->size + 1 == load->room)
            result = make_room(load, 2 * load->room, limit);
    }
    return result;
}

int coil_file_load(const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
    struct load load = {0};
    const int fd = coil_file_open(path, O_RDONLY, 0);
    int result;

    if (fd < 0)
        return fd;
    result = load_all(fd, limit, &load);
    (void)coil_file_close(fd); /* it was only read */
    if (result < 0) {
        coil__free(load.data);
        return result;
    }
    load.data[load.size] = '\0';
    *ret_data = load.data;
    *ret_size = load.size;
    return 0;
}

void coil_file_data_free(char *data)
{
    coil__free(data);
}

/* ---- What is known of a file ---- */

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

int coil__file_stat(int fd, const char *path, int flags, coil_file_info *ret_info)
{
    struct statx found;
    struct coil__op op =
        coil__op_make(COIL__OP_STATX, fd, (void *)(size_t)path, STATX_BASIC_STATS, (uint32_t)flags);
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

int coil_file_stat(int fd, coil_file_info *ret_info)
{
    return coil__file_stat(fd, "", AT_EMPTY_PATH, ret_info);
}

/* ---- Syncing, length and room ---- */

int coil_file_sync(int fd)
{
    struct coil__op op = coil__op_make(COIL__OP_FSYNC, fd, NULL, 0, 0);

    return coil__op_run(&op, "sync");
}

int coil_file_sync_data(int fd)
{
    struct coil__op op = coil__op_make(COIL__OP_FSYNC, fd, NULL, 0, COIL__FSYNC_DATA);

    return coil__op_run(&op, "sync");
}

int coil_file_truncate(int fd, uint64_t size)
{
    struct coil__op op = coil__op_make(COIL__OP_FTRUNCATE, fd, NULL, size, 0);

    return coil__file_op_run(&op, "truncate");
}

int coil_file_allocate(int fd, int mode, uint64_t offset, uint64_t size)
{
    struct coil__op op = coil__op_make(COIL__OP_FALLOCATE, fd, NULL, size, (uint32_t)mode);

    op.more.offset = offset;
    return coil__file_op_run(&op, "allocate");
}

int coil_file_advise(int fd, uint64_t offset, uint64_t size, int advice)
{
    struct coil__op op = coil__op_make(COIL__OP_FADVISE, fd, NULL, size, (uint32_t)advice);

    op.more.offset = offset;
    return coil__file_op_run(&op, "advise");
}

int coil_file_close(int fd)
{
    struct coil__op op = coil__op_make(COIL__OP_CLOSE, fd, NULL, 0, 0);

    if (fd < 0)
        return fd == -1 ? 0 : -EBADF;
    return coil__op_run_shielded(&op, "close");
}
