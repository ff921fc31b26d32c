/* SPDX-License-Identifier: MIT */
/* The inside of coil/dump.h: the same into any text.
 *
 * The text may be flushed while the dump is made, but nothing may run meanwhile: the fibers are
 * read where they are.
 */
#ifndef COIL_LIB_CORE_DUMP_H
#define COIL_LIB_CORE_DUMP_H

#include <coil/dump.h>

#include "base/text.h"
#include "core/sched.h"

/* Adds a dump of the fibers of `sched`, the calling thread's. `options` have been read. Returns 0,
 * or -ENOENT when options->fiber_id is nobody. */
int coil__dump_text(struct coil__text *text, struct coil__sched *sched,
                    const coil_dump_options *options);

#endif
