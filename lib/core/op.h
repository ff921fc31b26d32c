/* SPDX-License-Identifier: MIT */
/* Running a one-shot operation: submit, park until its own completion, return its result.
 *
 * The operation lies on the stack of the fiber that waits (design D2), which is safe because that
 * fiber does not leave before the completion (D3): an interruption only asks the engine to cancel.
 * If the operation succeeds all the same, its result is returned and the interruption is left for
 * the next parking call, so no byte or descriptor is lost.
 */
#ifndef COIL_LIB_CORE_OP_H
#define COIL_LIB_CORE_OP_H

#include "core/sched.h"

/* Fills the common part; the caller sets the rest by designated fields before coil__op_run(). */
static inline struct coil__op coil__op_make(enum coil__request_kind kind, int fd, void *data,
                                            uint64_t length, uint32_t flags)
{
    return (struct coil__op){
        .request = {.kind = (uint8_t)kind, .fd = fd},
        .flags = flags,
        .data = data,
        .length = length,
    };
}

/* Performs `op` for the running fiber. Returns its result, or -ETIMEDOUT or -ECANCELED when an
 * interruption kept it from being done. A checkpoint is included. `name` is static. */
int coil__op_run(struct coil__op *op, const char *name);

/* The same for a call that has passed its checkpoint: no other fiber runs before the submission, so
 * what the caller has found out about its object still holds. */
int coil__op_run_begun(struct coil__op *op, const char *name);

/* Has the running `op` of another fiber cancelled, because its object goes: it returns -ECANCELED
 * if nothing was done. */
void coil__op_evict(struct coil__op *op);

/* The same for releasing calls: no checkpoint, nothing interrupts it. */
int coil__op_run_shielded(struct coil__op *op, const char *name);

#endif
