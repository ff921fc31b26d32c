/* SPDX-License-Identifier: MIT */
/* Read/write lock (coil/rwlock.h).
 *
 * Like a mutex the lock is handed over, and one function does it: admit() lets in from the head of
 * the queue whatever the state permits. It runs after everything that may permit more: an unlock, a
 * downgrade, and the interruption of a waiting writer, which may have been all that kept the
 * readers behind it out. That one happens inside the interruption: were it left to the fiber that
 * is interrupted, the readers would wait for that fiber's turn.
 *
 * `holder` is the writer while there are no readers; else the reader that came first, as long as
 * that one reads, or NULL. It is what the report of deadlocks follows.
 *
 * Invariants: a free lock has no waiters; while fibers read, the first waiter is a writer.
 */
#include <coil/rwlock.h>

#include <errno.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_rwlock) == 32, "a promise of the header");

void coil_rwlock_init(coil_rwlock *lock)
{
    *lock = (coil_rwlock){.readers = 0};
    coil__waitq_init(&lock->waiters);
}

static bool is_written(const coil_rwlock *lock)
{
    return lock->holder && lock->readers == 0;
}

static bool is_free(const coil_rwlock *lock)
{
    return !lock->holder && lock->readers == 0;
}

static void begin_read(coil_rwlock *lock, struct coil__tcb *tcb)
{
    COIL_ASSERT(!is_written(lock));
    if (lock->readers++ == 0)
        lock->holder = tcb->handle;
    tcb->locks_held++;
}

static void begin_write(coil_rwlock *lock, struct coil__tcb *tcb)
{
    COIL_ASSERT(is_free(lock));
    lock->holder = tcb->handle;
    tcb->locks_held++;
}

/* A writer's object is the lock, a reader has none. */
static bool is_writer(const struct coil__waiter *waiter)
{
    return waiter->object != NULL;
}

static void admit(coil_rwlock *lock)
{
    struct coil__waiter *waiter;

    while ((waiter = coil__waitq_first(&lock->waiters)) != NULL) {
        if (is_written(lock) || (is_writer(waiter) && !is_free(lock)))
            return;
        if (is_writer(waiter))
            begin_write(lock, waiter->tcb);
        else
            begin_read(lock, waiter->tcb);
        coil__waiter_wake(waiter, 0);
    }
}

/* ---- Locking ---- */

int coil_rwlock_try_lock_read(coil_rwlock *lock)
{
    if (is_written(lock) || !coil__waitq_is_empty(&lock->waiters))
        return -EAGAIN;
    begin_read(lock, coil__self());
    return 0;
}

int coil_rwlock_lock_read(coil_rwlock *lock)
{
    struct coil__tcb *self = coil__self();
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    result = coil_rwlock_try_lock_read(lock);
    if (result != -EAGAIN)
        return result;
    if (lock->holder == self->handle)
        return -EDEADLK;
    return coil__waitq_park_owned(&lock->waiters, "read lock", NULL, &lock->holder);
}

int coil_rwlock_try_lock_write(coil_rwlock *lock)
{
    if (!is_free(lock))
        return -EAGAIN;
    COIL_ASSERT(coil__waitq_is_empty(&lock->waiters));
    begin_write(lock, coil__self());
    return 0;
}

static void writer_interrupted(struct coil__tcb *tcb)
{
    coil_rwlock *lock = tcb->waiter->object;

    coil__waitq_leave(tcb);
    admit(lock);
}

int coil_rwlock_lock_write(coil_rwlock *lock)
{
    struct coil__waiter waiter = {.object = lock, .owner = &lock->holder};
    struct coil__tcb *self = coil__self();
    int result;

    if (lock->holder == self->handle)
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    result = coil_rwlock_try_lock_write(lock);
    if (result != -EAGAIN)
        return result;
    return coil__waitq_park_waiter(&lock->waiters, "write lock", &waiter, writer_interrupted);
}

/* ---- Unlocking ---- */

static bool may_unlock(const coil_rwlock *lock, const struct coil__tcb *self)
{
    if (is_written(lock))
        return lock->holder == self->handle;
    return lock->readers > 0 && self->locks_held > 0;
}

int coil_rwlock_unlock(coil_rwlock *lock)
{
    struct coil__tcb *self = coil__self();

    if (!may_unlock(lock, self))
        return -EPERM;
    self->locks_held--;
    if (lock->readers > 0)
        lock->readers--;
    if (lock->holder == self->handle || lock->readers == 0)
        lock->holder = NULL;
    admit(lock);
    return 0;
}

int coil_rwlock_downgrade(coil_rwlock *lock)
{
    if (!is_written(lock) || lock->holder != coil__self()->handle)
        return -EPERM;
    lock->readers = 1;
    admit(lock);
    return 0;
}
