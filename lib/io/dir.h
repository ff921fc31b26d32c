/* SPDX-License-Identifier: MIT */
/* Directories, as tests see them.
 *
 * What becomes of a call that is abandoned depends on where its thread is, so tests put a gate
 * before the system call; and no disk that they could have fails at will.
 */
#ifndef COIL_LIB_IO_DIR_H
#define COIL_LIB_IO_DIR_H

#include <coil/dir.h>

/* What a thread calls: getdents64(2). Tests put something before it that waits or fails. */
extern ssize_t (*coil__dir_read)(int fd, void *batch, size_t size);

#endif
