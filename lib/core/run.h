/* SPDX-License-Identifier: MIT */
/* What coil_run() leaves open to tests and to upper layers.
 *
 * Upper layers register a clean-up for the state that they hang on the scheduler
 * (coil__sched.parts); it runs on the scheduler's thread after the last fiber and before the engine
 * closes. Tests replace the engine's constructor to prove that nothing above knows io_uring.
 */
#ifndef COIL_LIB_CORE_RUN_H
#define COIL_LIB_CORE_RUN_H

#include <coil/run.h>

#include "core/sched.h"

/* The constructor that coil_run() uses; coil__uring_open unless a test says otherwise. */
extern coil__engine_open *coil__run_engine_open;

/* Returns the state of `part` for this scheduler, making it at first use: `size` zeroed bytes, then
 * `init`; `fini` runs at the end of coil_run(). NULL when there is no memory. */
void *coil__sched_part(struct coil__sched *sched, enum coil__part part, size_t size,
                       void (*init)(struct coil__sched *sched, void *state),
                       void (*fini)(struct coil__sched *sched, void *state));

#endif
