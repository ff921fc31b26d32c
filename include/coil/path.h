/* SPDX-License-Identifier: MIT */
/* coil/path.h - names of files: stat, rename, remove, make directories and links.
 *
 * Every call names its file as the *at() system calls do: by a path and the directory that it is
 * relative to, a descriptor from coil_file_open() or coil_dir_fd(), or AT_FDCWD of <fcntl.h> for
 * the working directory. An absolute path needs no directory. Working through a directory's
 * descriptor is the way to stay in a tree that others rename meanwhile.
 *
 * All calls park the calling fiber alone. An interrupted call has done nothing; when it was done at
 * the moment of the interruption it succeeds, and the next call fails. Operations that the kernel
 * does not offer on a ring (before 5.15: links and directories) run in a thread of coil/offload.h,
 * and then an interruption waits for them.
 *
 * Errors common to all: -ETIMEDOUT and -ECANCELED (coil/scope.h), and what the kernel says as the
 * system call of the same name: -ENOENT, -ENOTDIR, -EACCES, -EPERM, -EROFS, -ENAMETOOLONG, -ELOOP,
 * -EBADF, -ENOSPC, ...
 */
#ifndef COIL_PATH_H
#define COIL_PATH_H

#include <coil/base.h>
#include <coil/file.h>

COIL_BEGIN_DECLS

/** Stores what is known of the file @p path. With @p flags AT_SYMLINK_NOFOLLOW, of a symbolic link
 *  itself; else 0. Parks. Returns 0. Like fstatat(2). */
COIL_API COIL_MUST_CHECK int coil_path_stat(int dir_fd, const char *path, int flags,
                                            coil_file_info *ret_info);

/** For coil_path_rename(): fail with -EEXIST instead of replacing. */
#define COIL_RENAME_NOREPLACE 1U

/** For coil_path_rename(): both exist, and change places. */
#define COIL_RENAME_EXCHANGE 2U

/** Gives the file or directory @p path the new name @p new_path, in one step: whoever looks sees
 *  the old one or the new. What had the new name is replaced, unless @p flags say otherwise. Parks.
 *
 *  Returns 0; -EXDEV between file systems; -EEXIST; -ENOTEMPTY; -EISDIR; -EINVAL for a directory
 *  into itself, or flags that the file system can't do. Like renameat2(2). */
COIL_API COIL_MUST_CHECK int coil_path_rename(int dir_fd, const char *path, int new_dir_fd,
                                              const char *new_path, unsigned flags);

/** Removes the name @p path of a file, which lives on while it has another one or is open. Parks.
 *  Returns 0; -EISDIR for a directory. Like unlink(2). */
COIL_API COIL_MUST_CHECK int coil_path_unlink(int dir_fd, const char *path);

/** Removes the empty directory @p path. Parks. Returns 0; -ENOTEMPTY. Like rmdir(2). */
COIL_API COIL_MUST_CHECK int coil_path_rmdir(int dir_fd, const char *path);

/** Makes the directory @p path with the permissions @p mode, less the umask. Parks.
 *  Returns 0; -EEXIST. Like mkdir(2). */
COIL_API COIL_MUST_CHECK int coil_path_mkdir(int dir_fd, const char *path, unsigned mode);

/** Gives the file @p path a second name, @p new_path. Symbolic links are not followed. Parks.
 *  Returns 0; -EEXIST; -EXDEV between file systems; -EPERM for a directory. Like link(2). */
COIL_API COIL_MUST_CHECK int coil_path_link(int dir_fd, const char *path, int new_dir_fd,
                                            const char *new_path);

/** Makes @p path a symbolic link to @p target, which need not exist. Parks.
 *  Returns 0; -EEXIST. Like symlink(2). */
COIL_API COIL_MUST_CHECK int coil_path_symlink(const char *target, int dir_fd, const char *path);

COIL_END_DECLS

#endif
