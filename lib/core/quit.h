/* SPDX-License-Identifier: MIT */
/* SIGQUIT as a request for a dump: coil_options.dump_on_quit.
 *
 * The handler only posts to every scheduler that wants it; the dump runs on each one's loop, where
 * all its fibers are at rest. A loop that a fiber blocks does not get there: that is the watchdog's
 * business. The handler is the process's, installed while any scheduler wants it.
 */
#ifndef COIL_LIB_CORE_QUIT_H
#define COIL_LIB_CORE_QUIT_H

#include "core/sched.h"

/* Before the scheduler is in the census, and after it has left it; the end is harmless without a
 * beginning. */
void coil__quit_begin(struct coil__sched *sched);
void coil__quit_end(struct coil__sched *sched);

#endif
