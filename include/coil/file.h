/* SPDX-License-Identifier: MIT */
/* coil/file.h - files: open, read, write, sync and close without stopping the other fibers.
 *
 * Disks are slow, network file systems slower, and poll(2) calls a file always ready. Here every
 * access is an operation of the ring, and only the calling fiber waits for it. Files are plain
 * descriptors, so everything else that takes one works too: fcntl(2), flock(2), lseek(2). They are
 * opened close-on-exec. Names of files (rename, remove, ...) are in coil/path.h, directories in
 * coil/dir.h.
 *
 * Reads and writes name their offset and leave the file's own position alone, so that fibers can
 * share a descriptor. What has no offsets (pipes, terminals) is read and written with
 * COIL_FILE_POSITION. A pipe that nobody reads is -EPIPE, without a SIGPIPE.
 *
 * FIFOs: whether an open waits for the other side depends on the kernel, unless O_NONBLOCK says so.
 *
 * An interrupted call has done nothing, or says what it did: when the file was opened, or bytes
 * were moved, at the moment of the interruption, the call succeeds and the next one fails.
 *
 * What a kernel does not offer as a ring operation (coil_file_truncate() before 6.9) is called in a
 * thread of coil/offload.h instead, and then an interruption waits for it.
 *
 * Errors common to all: -ETIMEDOUT and -ECANCELED (coil/scope.h), and what the kernel says as the
 * system call of the same name: -ENOENT, -EACCES, -EBADF, -EIO, -ENOSPC, ...
 */
#ifndef COIL_FILE_H
#define COIL_FILE_H

#include <coil/base.h>
#include <sys/uio.h>

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

/** Reads into the @p count pieces of @p pieces, one after the other, as one coil_file_read(). Like
 *  preadv(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_file_readv(int fd, const struct iovec *pieces, int count,
                                                 uint64_t offset);

/** Writes the @p count pieces of @p pieces as one coil_file_write(). Like pwritev(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_file_writev(int fd, const struct iovec *pieces, int count,
                                                  uint64_t offset);

/** Reads exactly @p size bytes at @p offset, in as many reads as it takes. Parks.
 *  Returns @p size, or what there was before the end of the file. On an error, *@p ret_len (may be
 *  NULL) tells how many bytes were read into @p buffer before it. */
COIL_API COIL_MUST_CHECK ssize_t coil_file_read_full(int fd, void *buffer, size_t size,
                                                     uint64_t offset, size_t *ret_len);

/** Writes all @p size bytes at @p offset, in as many writes as it takes. Parks.
 *  Returns 0. On an error, an interruption among them, *@p ret_len (may be NULL) tells how many
 *  bytes were written before it. */
COIL_API COIL_MUST_CHECK int coil_file_write_all(int fd, const void *data, size_t size,
                                                 uint64_t offset, size_t *ret_len);

/** Opens @p path, reads all of it and closes it again. Parks.
 *
 *  Works for files that do not tell their size, too (pipes, /proc). Returns 0, and *@p ret_data
 *  holds *@p ret_size bytes and a NUL behind them; the caller frees them by coil_file_data_free().
 *  -EFBIG when there are more than @p limit bytes, -ENOMEM, or what opening and reading met.
 *  Like open(path).read(). */
COIL_API COIL_MUST_CHECK int coil_file_load(const char *path, size_t limit, char **ret_data,
                                            size_t *ret_size);

/** Frees what coil_file_load() has read; NULL is harmless. Never parks. */
COIL_API void coil_file_data_free(char *data);

/** What coil_file_stat() tells, 40 bytes. The numbers of device and inode name a file for as long
 *  as it exists. */
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

/** Waits until what was written to @p fd, and all that is known of the file, is on the disk. Parks.
 *  Returns 0, or the error that writing back has met: -EIO, -ENOSPC, -EDQUOT; -EINVAL for what has
 *  no disk. A new file's name is safe only when its directory has been synced, too.
 *  Like fsync(2). */
COIL_API COIL_MUST_CHECK int coil_file_sync(int fd);

/** The same for the bytes and the size alone, without times. Like fdatasync(2). */
COIL_API COIL_MUST_CHECK int coil_file_sync_data(int fd);

/** Cuts the file to @p size bytes, or lengthens it by zeroes that take no room. Parks.
 *  Returns 0; -EINVAL when @p fd is no file or was not opened for writing; -EFBIG.
 *  Like ftruncate(2). */
COIL_API COIL_MUST_CHECK int coil_file_truncate(int fd, uint64_t size);

/** Makes sure that the @p size bytes (> 0) at @p offset have room on the disk, and lengthens the
 *  file to hold them, or does what else the FALLOC_FL_* @p mode of fallocate(2) says. Parks.
 *  Returns 0; -ENOSPC; -EOPNOTSUPP when the file system can't. Like fallocate(2). */
COIL_API COIL_MUST_CHECK int coil_file_allocate(int fd, int mode, uint64_t offset, uint64_t size);

/** Tells the kernel how the @p size bytes at @p offset (0: all behind it) will be used:
 *  POSIX_FADV_SEQUENTIAL, _WILLNEED, _DONTNEED, ... Parks, but does not wait for the disk.
 *  Returns 0; -ESPIPE for a pipe. Like posix_fadvise(2). */
COIL_API int coil_file_advise(int fd, uint64_t offset, uint64_t size, int advice);

/** Closes @p fd, always, also in an expired scope or a cancelled fiber; -1 is harmless. Parks.
 *  Returns 0, or the error that writing back has met. Like close(2). */
COIL_API int coil_file_close(int fd);

COIL_END_DECLS

#endif
