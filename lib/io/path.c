/* SPDX-License-Identifier: MIT */
/* Names of files as operations of the engine (coil/path.h).
 *
 * Each call is one operation, whose paths are the caller's until the kernel is done with them. What
 * an engine does not have, coil__file_op_run() calls in a thread.
 */
#include <coil/path.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "io/file.h"

COIL_STATIC_ASSERT(COIL_RENAME_NOREPLACE == RENAME_NOREPLACE, "handed through");
COIL_STATIC_ASSERT(COIL_RENAME_EXCHANGE == RENAME_EXCHANGE, "handed through");

/* One name: of a kind, below a directory. */
static struct coil__op name_op(enum coil__request_kind kind, int dir_fd, const char *path,
                               uint64_t length, unsigned flags)
{
    return coil__op_make(kind, dir_fd, (void *)(size_t)path, length, flags);
}

/* Two names. The second directory travels as a length. */
static int two_names(struct coil__op *op, int new_dir_fd, const char *new_path, const char *name)
{
    op->length = (uint64_t)(int64_t)new_dir_fd;
    op->more.extra = (void *)(size_t)new_path;
    return coil__file_op_run(op, name);
}

int coil_path_stat(int dir_fd, const char *path, int flags, coil_file_info *ret_info)
{
    if (flags & ~AT_SYMLINK_NOFOLLOW)
        return -EINVAL;
    return coil__file_stat(dir_fd, path, flags, ret_info);
}

int coil_path_rename(int dir_fd, const char *path, int new_dir_fd, const char *new_path,
                     unsigned flags)
{
    struct coil__op op = name_op(COIL__OP_RENAMEAT, dir_fd, path, 0, flags);

    return two_names(&op, new_dir_fd, new_path, "rename");
}

int coil_path_unlink(int dir_fd, const char *path)
{
    struct coil__op op = name_op(COIL__OP_UNLINKAT, dir_fd, path, 0, 0);

    return coil__file_op_run(&op, "unlink");
}

int coil_path_rmdir(int dir_fd, const char *path)
{
    struct coil__op op = name_op(COIL__OP_UNLINKAT, dir_fd, path, 0, AT_REMOVEDIR);

    return coil__file_op_run(&op, "rmdir");
}

int coil_path_mkdir(int dir_fd, const char *path, unsigned mode)
{
    struct coil__op op = name_op(COIL__OP_MKDIRAT, dir_fd, path, mode, 0);

    return coil__file_op_run(&op, "mkdir");
}

int coil_path_link(int dir_fd, const char *path, int new_dir_fd, const char *new_path)
{
    struct coil__op op = name_op(COIL__OP_LINKAT, dir_fd, path, 0, 0);

    return two_names(&op, new_dir_fd, new_path, "link");
}

int coil_path_symlink(const char *target, int dir_fd, const char *path)
{
    struct coil__op op = name_op(COIL__OP_SYMLINKAT, dir_fd, path, 0, 0);

    op.more.extra = (void *)(size_t)target;
    return coil__file_op_run(&op, "symlink");
}
