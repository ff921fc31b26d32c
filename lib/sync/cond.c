/* SPDX-License-Identifier: MIT */
/* Condition variable (coil/cond.h).
 *
 * A waiter is not woken by its signal but moved to the queue of its mutex, or made the owner if the
 * mutex is free. So it runs once, with the mutex, a broadcast wakes no crowd that then queues
 * again, and the order of the signals is the order of the re-locks. From the move on it waits like
 * any other fiber for a mutex, but shielded (design D5).
 *
 * An interruption moves the waiter in the same way, only without the mark of a signal: it is what
 * ends the wait, at the moment it happens, that decides what the wait reports.
 */
#include <coil/cond.h>

#include <errno.h>

#include "core/waitq.h"
#include "sync/mutex.h"

COIL_STATIC_ASSERT(sizeof(coil_cond) == 16, "a promise of the header");

struct sleeper {
    struct coil__waiter waiter; /* its object is the sleeper */
    coil_mutex *mutex;
    bool is_signalled;
};

void coil_cond_init(coil_cond *cond)
{
    coil__waitq_init(&cond->waiters);
}

static void interrupted(struct coil__tcb *tcb)
{
    const struct sleeper *sleeper = tcb->waiter->object;

    coil__mutex_pass(sleeper->mutex, tcb->waiter);
}

int coil_cond_wait(coil_cond *cond, coil_mutex *mutex)
{
    struct coil__tcb *self = coil__self();
    struct sleeper sleeper = {.waiter = {.object = &sleeper}, .mutex = mutex};

    if (mutex->owner != self->handle)
        return -EPERM;
    /* Not a whole checkpoint, which may yield: what the caller has just seen must not change before
     * it is in the queue. The park itself costs budget. */
    if (self->interrupts && coil__scope_due(self) < 0)
        return coil__checkpoint(self);

    coil_mutex_unlock(mutex);
    (void)coil__waitq_park_waiter(&cond->waiters, "condition", &sleeper.waiter, interrupted);
    COIL_ASSERT(mutex->owner == self->handle && "a wait ends with the mutex");
    return sleeper.is_signalled ? 0 : coil__scope_report(self);
}

static bool signal_one(coil_cond *cond)
{
    struct coil__waiter *waiter = coil__waitq_first(&cond->waiters);
    struct sleeper *sleeper;

    if (!waiter)
        return false;
    sleeper = waiter->object;
    sleeper->is_signalled = true;
    coil__mutex_pass(sleeper->mutex, waiter);
    return true;
}

void coil_cond_signal(coil_cond *cond)
{
    (void)signal_one(cond);
}

void coil_cond_broadcast(coil_cond *cond)
{
    while (signal_one(cond))
        continue;
}
