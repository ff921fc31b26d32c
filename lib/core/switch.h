/* SPDX-License-Identifier: MIT */
/* The context switch (design D11): coil__switch(), in a header per architecture.
 *
 * A context that does not run is a pointer to where its frame pointer and the address to continue
 * at lie, at the low end of its stack's used part. All other registers that the code around a
 * switch may use are declared clobbered, so that the compiler saves those that it needs, in the
 * frame of the function around the switch. That function is COIL_OPAQUE: elsewhere, and with other
 * options of the compiler, more may be in use.
 *
 * It is inline and ends in an indirect jump for the processor's sake, which predicts a return from
 * the calls that it has seen. A switch that is called and left by a jump leaves one call too many
 * there, and every return of the fiber that continues is mispredicted; one that is left by ret is
 * itself mispredicted as often as the two fibers wait in different places. Without either, calls
 * and returns stay in balance, and a fiber that continues where the last one stopped returns as
 * fast as if it had never been away (lib/DECISIONS.md, 32).
 *
 * Not saved: the floating point control words (mxcsr, x87), which the ABI calls callee-saved but
 * nobody changes per fiber, and the shadow stack pointer, which the jump would not match: nothing
 * here claims support for shadow stacks or branch targets.
 *
 * Invariant: the function around a switch has a frame pointer (the library is built with them), by
 * which unwinders find their way out of it while the stack pointer moves: on AArch64 only those
 * that walk by frame pointers (core/switch_aarch64.h).
 */
#ifndef COIL_LIB_CORE_SWITCH_H
#define COIL_LIB_CORE_SWITCH_H

#include <stddef.h>

#if defined(__x86_64__)
# include "core/switch_x86_64.h"
#elif defined(__aarch64__)
# include "core/switch_aarch64.h"
#else
# error "coil has no context switch for this architecture: see lib/core/switch.h"
#endif

struct coil__context {
    const void *frame;  /* frame pointer */
    const void *resume; /* where to continue */
    /* Only in a context that has not run: */
    void (*entry)(void *arg);
    void *arg;
};

/* Where a context that has not run continues (switch_start_*.S): calls entry(arg), then goes to
 * coil__fiber_exit(arg), which continues somebody else. */
extern const char coil__switch_start[] __attribute__((visibility("hidden")));
void coil__fiber_exit(void *arg);

/* Prepares a context: the first switch to the result begins entry(arg) on the stack that ends at
 * `top` (16-byte aligned, grows down). Unwinders see what calls it as the outermost frame.
 *
 * The frame pointer is used even so, by an unwinder that comes with a signal right before the
 * switch's jump: by it the function around the switch was called from nowhere. */
static inline void *coil__switch_prepare(void *top, void (*entry)(void *arg), void *arg)
{
    static const void *const outermost[2]; /* a frame without caller and return address */
    struct coil__context *context = (struct coil__context *)top - 1;

    context->frame = outermost;
    context->resume = coil__switch_start;
    context->entry = entry;
    context->arg = arg;
    return context;
}

#endif
