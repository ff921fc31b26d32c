/* SPDX-License-Identifier: MIT */
/* All schedulers of the process, one per thread that is inside coil_run(): for signal handlers and
 * debuggers, which can take no lock.
 *
 * The table is fixed. A visitor announces itself, then reads; a scheduler that ends takes itself
 * out, then waits until no visitor is left that may have read it before: a few instructions of a
 * signal handler.
 */
#ifndef COIL_LIB_CORE_CENSUS_H
#define COIL_LIB_CORE_CENSUS_H

#include <stdatomic.h>

#include "core/sched.h"

enum {
    COIL__CENSUS_MAX = 1024, /* threads with a coil_run(); a further one is not in the table */
};

extern _Atomic(struct coil__sched *) coil__census[COIL__CENSUS_MAX];

void coil__census_enter(struct coil__sched *sched);
void coil__census_leave(struct coil__sched *sched);

/* Calls visit(sched) for each. Async-signal-safe if `visit` is. */
void coil__census_visit(void (*visit)(struct coil__sched *sched));

#endif
