/* SPDX-License-Identifier: MIT */
/* coil/dir.h - reading directories without stopping the other fibers.
 *
 *     result = coil_dir_open(AT_FDCWD, path, &dir);
 *     while ((result = coil_dir_next(dir, &entry)) > 0)
 *         visit(coil_dir_fd(dir), entry.name, entry.type);
 *     coil_dir_close(dir);
 *
 * The kernel offers no ring operation for this, so a thread of coil/offload.h reads, 32 KiB of
 * entries at a time, some hundreds: most calls find their entry already there. Entries come in the
 * order of the file system, which means nothing; "." and ".." are left out. What is made or removed
 * meanwhile may or may not be seen.
 *
 * An interrupted call has taken nothing: the next one goes on with the same entry.
 *
 * An open directory is 48 bytes and a buffer of those 32 KiB.
 *
 * Threads: fibers of one core only, one at a time for each directory.
 */
#ifndef COIL_DIR_H
#define COIL_DIR_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_dir coil_dir;

/** One name in a directory. 24 bytes. */
typedef struct coil_dir_entry {
    const char *name; /* the directory's: valid until the next call on it */
    uint64_t inode;
    unsigned type; /* S_IFREG, S_IFDIR, S_IFLNK, ... of <sys/stat.h>; 0: the file system does not
                      say, coil_path_stat() does */
} coil_dir_entry;

/** Opens the directory @p path, relative to the directory @p dir_fd (AT_FDCWD of <fcntl.h>: the
 *  working directory). Parks. The caller owns *@p ret_dir and closes it with coil_dir_close().
 *
 *  Returns 0; -ENOENT; -ENOTDIR; -EACCES; -EMFILE; -ENOMEM; -ETIMEDOUT or -ECANCELED.
 *  Like opendir(3). */
COIL_API COIL_MUST_CHECK int coil_dir_open(int dir_fd, const char *path, coil_dir **ret_dir);

/** Takes the next entry. Parks while a thread reads.
 *
 *  Returns 1 with the entry; 0 at the end, and then always; -ENOENT when the directory itself has
 *  been removed; -EIO; -EBUSY while another fiber is in this call; -EAGAIN when no thread can be
 *  had; -ENOMEM; -ETIMEDOUT or -ECANCELED. Like readdir(3). */
COIL_API COIL_MUST_CHECK int coil_dir_next(coil_dir *dir, coil_dir_entry *ret_entry);

/** Returns the descriptor, which stays the directory's: for coil_file_open_beneath() and the calls
 *  of coil/path.h on its entries. Never parks. Like dirfd(3). */
COIL_API int coil_dir_fd(const coil_dir *dir);

/** Closes and frees @p dir, always, also in an expired scope or a cancelled fiber; NULL is
 *  harmless. Not while another fiber is in coil_dir_next(). Parks. Like closedir(3). */
COIL_API void coil_dir_close(coil_dir *dir);

COIL_END_DECLS

#endif
