/* SPDX-License-Identifier: MIT */
/* coil/file.h - files: open, read, write, stat and close without stopping the other fibers.
 *
 * Disks are slow, network file systems slower, and poll(2) calls a file always ready. Here every
 * access is an operation of the ring, and only the calling fiber waits for it. Files are plain
 * descriptors, so everything else that takes one works too: fstat(2), fallocate(2), coil_adopt() of
 * a socket. They are opened close-on-exec.
 *
 * Reads and writes name their offset and leave the file's own position alone, so that fibers can
 * share a descriptor. What has no offsets (pipes, terminals) is read and written with
 * COIL_FILE_POSITION.
 *
 * FIFOs: whether an open waits for the other side depends on the kernel, unless O_NONBLOCK says so.
 *
 * An interrupted call has done nothing, or says what it did: when the file was opened, or bytes
 * were moved, at the moment of the interruption, the call succeeds and the next one fails.
 *
 * Errors common to all: -ETIMEDOUT and -ECANCELED (coil/scope.h), and what the kernel says as the
 * system call of the same name: -ENOENT, -EACCES, -EBADF, -EIO, -ENOSPC, ...
 */
#ifndef COIL_FILE_H
#define COIL_FILE_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Instead of an offset: at the file's own position, which moves on, as read(2) and write(2) do. */
#define COIL_FILE_POSITION UINT64_MAX

/** Opens @p path with the O_* @p flags of open(2), to which O_CLOEXEC is added; @p mode counts when
 *  a file is created. Parks. The caller owns the descriptor and closes it with coil_file_close().
 *  Returns the descriptor. Like open(2). */
COIL_API COIL_MUST_CHECK int coil_file_open(const char *path, int flags, unsigned mode);

/** Opens @p path, which exists, beneath the directory @p dir_fd and nowhere else: for paths that
 *  somebody else has chosen, as a client of a server does.
 *
 *  Parks. Neither "..", nor an absolute path, nor a symbolic link, nor any race with somebody who
 *  renames leads out: -EXDEV. Symbolic links that stay inside are followed, those of /proc are
 *  -ELOOP. O_CREAT and O_TMPFILE are -EINVAL. -EAGAIN says that directories are being renamed so
 *  fast that the kernel could not make sure.
 *  Returns the descriptor. Like openat2(2) with RESOLVE_BENEATH. */
COIL_API COIL_MUST_CHECK int coil_file_open_beneath(int dir_fd, const char *path, int flags);

/** Reads up to @p size bytes at @p offset. Parks.
 *  Returns how many; fewer than asked for are no sign of the end, 0 is. Like pread(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_file_read(int fd, void *buffer, size_t size, uint64_t offset);

/** Writes up to @p size bytes at @p offset. Parks.
 *  Returns how many; fewer when the device is full or a limit was met, which the next write
 *  reports. Like pwrite(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_file_write(int fd, const void *data, size_t size,
                                                 uint64_t offset);

/** What coil_file_stat() tells. The numbers of device and inode name a file for as long as it
 *  exists. */
typedef struct coil_file_info {
    uint64_t size; /* bytes */
    uint64_t device;
    uint64_t inode;
    int64_t modified_ns; /* the content's last change, since 1970; at the limits beyond 292 years */
    unsigned mode;       /* type and permissions, as st_mode of stat(2) */
    bool is_regular;
    bool is_directory;
} coil_file_info;

/** Stores what is known of the open file @p fd. Parks. Returns 0. Like fstat(2). */
COIL_API COIL_MUST_CHECK int coil_file_stat(int fd, coil_file_info *ret_info);

/** Closes @p fd, always, also in an expired scope or a cancelled fiber; -1 is harmless. Parks.
 *  Returns 0, or the error that writing back has met. Like close(2). */
COIL_API int coil_file_close(int fd);

COIL_END_DECLS

#endif
