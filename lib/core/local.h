/* SPDX-License-Identifier: MIT */
/* What a fiber's life has to do with its locals (coil/local.h): a spawn lets the child inherit, the
 * end destroys.
 *
 * Invariant: a fiber that has ended, or that never came to be, has no table.
 */
#ifndef COIL_LIB_CORE_LOCAL_H
#define COIL_LIB_CORE_LOCAL_H

#include <coil/local.h>

#include "core/sched.h"

/* Gives `child`, which has not run, what `parent` lets it inherit. Returns 0 or -ENOMEM, when the
 * child has nothing. */
int coil__local_inherit(const struct coil__tcb *parent, struct coil__tcb *child);

/* Destroys the values of the running fiber, which ends. */
void coil__local_end(struct coil__tcb *self);

#endif
