/* SPDX-License-Identifier: MIT */
/* Naming the fiber that overflows its stack (design D10). Opt-in: coil_options.report_overflow.
 *
 * A fault in a guard leaves no stack to report on, so the handler for SIGSEGV and SIGBUS runs on
 * the thread's alternate stack (core/signal_stack.h). It writes one line with write(2) and then
 * calls the handler that was there before, or lets the fault happen again under the default action,
 * so sanitizers and core dumps see it as if nothing had been in between. Faults elsewhere go
 * straight on.
 *
 * A stack without a guard (core/stack.h) does not fault: its canary is looked at when the fiber
 * ends, in every program, and one that is gone ends the program, for other memory may have been
 * overwritten as well.
 */
#ifndef COIL_LIB_CORE_OVERFLOW_H
#define COIL_LIB_CORE_OVERFLOW_H

#include "core/sched.h"

/* For the calling thread's scheduler; the handler is the process's, installed while any uses it. */
void coil__overflow_report_begin(void);
void coil__overflow_report_end(void);

/* Names the fiber whose canary is gone and aborts. It needs a few hundred bytes of stack. */
_Noreturn void coil__overflow_die(const struct coil__tcb *tcb) __attribute__((cold));

#endif
