/* SPDX-License-Identifier: MIT */
/* A stack for signal handlers (core/signal_stack.h). */
#include "core/signal_stack.h"

#include <signal.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    /* A kernel frame with all vector registers (some 11 KiB at most) and an unwinder. */
    SIGNAL_STACK_SIZE = 64 * 1024,
};

/* Mapped: that much thread-local storage would be taken from every thread of the program, and is
 * more than dlopen(3) has to give. */
static _Thread_local void *signal_stack __attribute__((tls_model("initial-exec")));

void coil__signal_stack_begin(void)
{
    stack_t stack = {.ss_size = SIGNAL_STACK_SIZE};
    stack_t present;

    COIL_ASSERT(!signal_stack);
    if (sigaltstack(NULL, &present) < 0 || !(present.ss_flags & SS_DISABLE))
        return;
    signal_stack = coil__map(SIGNAL_STACK_SIZE);
    stack.ss_sp = signal_stack;
    if (signal_stack)
        (void)sigaltstack(&stack, NULL);
}

void coil__signal_stack_end(void)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    stack_t present;

    if (!signal_stack)
        return;
    if (sigaltstack(NULL, &present) == 0 && present.ss_sp == signal_stack)
        (void)sigaltstack(&none, NULL); /* the program may have given the thread its own since */
    coil__unmap(signal_stack, SIGNAL_STACK_SIZE);
    signal_stack = NULL;
}
