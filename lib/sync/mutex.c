/* SPDX-License-Identifier: MIT */
/* Mutex (coil/mutex.h).
 *
 * Ownership is handed over: the unlock makes the first waiter the owner before that fiber runs, so
 * no fiber can come in between, and a waiter that is cancelled after it was made the owner still
 * owns the mutex when its lock call returns.
 *
 * A fiber counts the locks that only it can unlock (`locks_held` of its control block): what is not
 * 0 when it ends is a mistake, and `owner` would point to nothing.
 *
 * Invariant: fibers wait only while the mutex has an owner.
 */
#include "sync/mutex.h"

#include <errno.h>

COIL_STATIC_ASSERT(sizeof(coil_mutex) == 24, "a promise of the header");

static const char wait_name[] = "mutex";

void coil_mutex_init(coil_mutex *mutex)
{
    mutex->owner = NULL;
    coil__waitq_init(&mutex->waiters);
}

static void own(coil_mutex *mutex, struct coil__tcb *tcb)
{
    mutex->owner = tcb->handle;
    tcb->locks_held++;
}

int coil_mutex_lock(coil_mutex *mutex)
{
    struct coil__tcb *self = coil__self();
    int result;

    if (mutex->owner == self->handle)
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    if (mutex->owner)
        return coil__waitq_park_owned(&mutex->waiters, wait_name, mutex, &mutex->owner);
    own(mutex, self);
    return 0;
}

int coil_mutex_try_lock(coil_mutex *mutex)
{
    if (mutex->owner)
        return -EAGAIN;
    COIL_ASSERT(coil__waitq_is_empty(&mutex->waiters));
    own(mutex, coil__self());
    return 0;
}

/* A choice that waits for the mutex twice would wait for itself, now that it has it. */
static void refuse_again(const coil_mutex *mutex, const struct coil__choice *choice)
{
    for (size_t i = 0; i < choice->count; i++) {
        struct coil__waiter *waiter = &choice->waiters[i];

        if (waiter->is_queued && waiter->owner == &mutex->owner)
            coil__waiter_wake(waiter, -EDEADLK);
    }
}

int coil_mutex_unlock(coil_mutex *mutex)
{
    struct coil__tcb *self = coil__self();
    struct coil__waiter *next;

    if (mutex->owner != self->handle)
        return -EPERM;
    COIL_ASSERT(self->locks_held > 0);
    self->locks_held--;
    mutex->owner = NULL;
    next = coil__waitq_first(&mutex->waiters);
    if (next) {
        own(mutex, next->tcb);
        coil__waiter_wake(next, 0);
        if (COIL_UNLIKELY(next->choice))
            refuse_again(mutex, next->choice);
    }
    return 0;
}

coil_fiber *coil_mutex_owner(const coil_mutex *mutex)
{
    return mutex->owner;
}

void coil__mutex_pass(coil_mutex *mutex, struct coil__waiter *waiter)
{
    if (mutex->owner) {
        coil__waiter_move(waiter, &mutex->waiters, wait_name, &mutex->owner);
        return;
    }
    own(mutex, waiter->tcb);
    coil__waiter_wake(waiter, 0);
}
