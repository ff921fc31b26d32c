/* SPDX-License-Identifier: MIT */
/* Fibers in words: what the deadlock report, the dump and the tools say about one.
 *
 * All of it only reads, allocates nothing, and believes nothing that it can check: it is for
 * programs that are broken. To be called on the thread of the fiber's scheduler, by a fiber or the
 * loop, or by a debugger that has stopped it.
 */
#ifndef COIL_LIB_CORE_DESCRIBE_H
#define COIL_LIB_CORE_DESCRIBE_H

#include "base/text.h"
#include "core/sched.h"

/* Code in front of a return address, as "function+0x1f (module+0x1234)". The function is missing
 * when it is static or the program was linked without -rdynamic; the second half is what
 * `addr2line -e module 0x1234` wants. */
void coil__describe_code(struct coil__text *text, const void *return_address);

/* A function by its address, in the same way. */
void coil__describe_function(struct coil__text *text, uintptr_t address);

/* A frame of a backtrace, the innermost being number 0: "#3  function+0x1f (module+0x1234)". */
void coil__describe_frame(struct coil__text *text, size_t number, const void *return_address);

/* "12 'name'" */
void coil__describe_name(struct coil__text *text, const struct coil_fiber *fiber);

/* What it does: "running", "runnable", or "waits for mutex held by 2 'b'". */
void coil__describe_state(struct coil__text *text, const struct coil__tcb *tcb);

/* One line: number, name, state, since when, deadline, cancellation. `now` is of the clock. */
void coil__describe_fiber(struct coil__text *text, const struct coil_fiber *fiber, int64_t now);

/* Who could end the wait of `tcb`, where that is one fiber and known; else NULL. It may have ended
 * and its handle been given back, by a fiber that forgot its lock: the memory is still a handle's,
 * so asking whether it is alive is safe. */
const struct coil_fiber *coil__describe_owner(const struct coil__tcb *tcb);

static inline bool coil__describe_is_alive(const struct coil_fiber *fiber)
{
    return fiber->tcb && fiber->tcb->handle == fiber;
}

#endif
