/* SPDX-License-Identifier: MIT */
/* The poll engine's operations on files and names: plain system calls. */
#ifndef COIL_TESTS_SUPPORT_POLL_FILES_H
#define COIL_TESTS_SUPPORT_POLL_FILES_H

#include "engine/engine.h"

/* Performs `op`. Returns its result, or -EAGAIN to be tried again. */
int coil__poll_file_op(struct coil__op *op);

#endif
