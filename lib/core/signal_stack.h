/* SPDX-License-Identifier: MIT */
/* A stack for signal handlers, one per thread: for what must be told about a fiber whose own stack
 * is no place to run on, because it has overflown, or may have little room left: the kernel's frame
 * of a signal alone takes 1.8 KiB, 3.6 with AVX-512, 11 with AMX. Every thread that runs fibers has
 * one meanwhile, and all of coil's handlers have SA_ONSTACK.
 *
 * A thread that has an alternate stack already (a sanitizer's, say) keeps it.
 */
#ifndef COIL_LIB_CORE_SIGNAL_STACK_H
#define COIL_LIB_CORE_SIGNAL_STACK_H

/* For the calling thread, which has not begun already. Without memory it goes without. */
void coil__signal_stack_begin(void);
void coil__signal_stack_end(void);

#endif
