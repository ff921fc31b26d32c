/* SPDX-License-Identifier: MIT */
/* What file.c, path.c, dir.c and file_op.c share.
 *
 * A path in these calls is relative to a directory's descriptor, or to the working directory with
 * AT_FDCWD, as in the system calls.
 */
#ifndef COIL_LIB_IO_FILE_H
#define COIL_LIB_IO_FILE_H

#include <coil/file.h>

#include "core/op.h"

/* Performs `op`, one that an engine need not have (engine.h), as coil__op_run() does: where it is
 * refused, by the system call of the same meaning in a thread (file_op.c). */
int coil__file_op_run(struct coil__op *op, const char *name);

/* coil_file_open() of what `path` names below the directory `dir_fd`. */
int coil__file_open_at(int dir_fd, const char *path, int flags, unsigned mode);

/* coil_file_stat() of what `path` names below the directory `fd`. */
int coil__file_stat(int fd, const char *path, int flags, coil_file_info *ret_info);

#endif
