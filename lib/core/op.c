/* SPDX-License-Identifier: MIT */
/* One-shot operations of fibers (core/op.h).
 *
 * An interrupted operation ends in one of three ways: with a result that beat the cancellation
 * (returned), with -ECANCELED or, from the kernel's worker threads, -EINTR (reported as whatever
 * interrupted), or with an error of its own (returned; the interruption speaks at the next call).
 */
#include "core/op.h"

#include <errno.h>

static void wake_waiter(struct coil__op *op)
{
    coil__wake(op->waiter, op->result);
}

static void cancel_op(struct coil__tcb *tcb)
{
    tcb->is_interrupted = true;
    tcb->sched->engine->ops->cancel(tcb->sched->engine, tcb->wait_object);
}

static int submit_and_park(struct coil__tcb *self, struct coil__op *op, const char *name,
                           coil__interrupt *interrupt)
{
    struct coil__engine *engine = self->sched->engine;

    op->done = wake_waiter;
    op->waiter = self;
    coil__list_init(&op->request.link);
    engine->ops->submit(engine, op);
    return coil__park(name, op, interrupt);
}

int coil__op_run_begun(struct coil__op *op, const char *name)
{
    struct coil__tcb *self = coil__self();
    const int result = submit_and_park(self, op, name, cancel_op);

    if ((result == -ECANCELED || result == -EINTR) && self->is_interrupted)
        return coil__scope_report(self);
    return result;
}

int coil__op_run(struct coil__op *op, const char *name)
{
    const int result = coil__checkpoint(coil__self());

    return result < 0 ? result : coil__op_run_begun(op, name);
}

void coil__op_evict(struct coil__op *op)
{
    const struct coil__tcb *tcb = op->waiter;

    if (tcb->state == COIL__FIBER_PARKED)
        tcb->sched->engine->ops->cancel(tcb->sched->engine, op);
}

int coil__op_run_shielded(struct coil__op *op, const char *name)
{
    return submit_and_park(coil__self(), op, name, NULL);
}
