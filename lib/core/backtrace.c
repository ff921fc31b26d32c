/* SPDX-License-Identifier: MIT */
/* Backtraces by frame pointers (core/backtrace.h). On both architectures a frame pointer points at
 * the caller's frame pointer, with the return address in the next word.
 */
#include "core/backtrace.h"

#include "base/sanitize.h"
#include "core/switch.h"

struct frame {
    uintptr_t outer;
    const void *return_address;
};

COIL_NO_ASAN size_t coil__backtrace_frames(uintptr_t frame, uintptr_t low, uintptr_t high,
                                           const void **ret_addresses, size_t max)
{
    size_t count = 0;

    while (count < max && frame >= low && frame < high && high - frame >= sizeof(struct frame) &&
           frame % sizeof(void *) == 0) {
        const struct frame *at = (const struct frame *)frame;

        if (!at->return_address)
            break;
        ret_addresses[count++] = at->return_address;
        if (at->outer <= frame)
            break;
        frame = at->outer;
    }
    return count;
}

COIL_NO_ASAN size_t coil__backtrace(const struct coil__tcb *tcb, const void **ret_addresses,
                                    size_t max)
{
    const uintptr_t high = (uintptr_t)tcb->stack_top;
    const uintptr_t low = high - tcb->sched->stacks.usable_size;
    const uintptr_t at = (uintptr_t)tcb->context;
    const struct coil__context *context = tcb->context;

    if (max == 0)
        return 0;
    if (tcb->state == COIL__FIBER_RUNNING)
        return coil__backtrace_frames((uintptr_t)__builtin_frame_address(0), low, high,
                                      ret_addresses, max);
    if (at < low || at >= high || high - at < offsetof(struct coil__context, entry))
        return 0;
    ret_addresses[0] = context->resume;
    return 1 +
           coil__backtrace_frames((uintptr_t)context->frame, low, high, ret_addresses + 1, max - 1);
}
