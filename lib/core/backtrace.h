/* SPDX-License-Identifier: MIT */
/* Backtraces by frame pointers, within the bounds of one stack.
 *
 * A frame pointer is believed while it lies in the stack, is aligned and moves outwards; so a walk
 * ends, and reads nothing else, whatever the stack holds. coil keeps its frame pointers
 * (DECISIONS 7). Code that was compiled without them is left out, but for the function that called
 * coil: -fno-omit-frame-pointer shows the rest. The gdb script has no such limits.
 */
#ifndef COIL_LIB_CORE_BACKTRACE_H
#define COIL_LIB_CORE_BACKTRACE_H

#include "core/sched.h"

enum {
    COIL__BACKTRACE_MAX = 64, /* frames; deeper ones are left out at the outer end */
};

/* Stores the return addresses of the frames from `frame` on that lie in [low, high), innermost
 * first, `max` at most. Returns how many. Async-signal-safe. */
size_t coil__backtrace_frames(uintptr_t frame, uintptr_t low, uintptr_t high,
                              const void **ret_addresses, size_t max);

/* The same for a fiber of the calling thread: from where it parked, from its beginning if it has
 * not run, or from here if it is the running one. */
size_t coil__backtrace(const struct coil__tcb *tcb, const void **ret_addresses, size_t max);

#endif
