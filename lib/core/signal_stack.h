/* SPDX-License-Identifier: MIT */
/* A stack for signal handlers, one per thread: for what must be told about a fiber whose own stack
 * is no place to run on, because it has overflown, or may have little room left.
 *
 * Counted per thread. A thread that has an alternate stack already (a sanitizer's, say) keeps it.
 */
#ifndef COIL_LIB_CORE_SIGNAL_STACK_H
#define COIL_LIB_CORE_SIGNAL_STACK_H

/* Without memory the thread goes without. */
void coil__signal_stack_begin(void);
void coil__signal_stack_end(void);

#endif
