/* SPDX-License-Identifier: MIT */
/* Counting semaphore (coil/sem.h).
 *
 * coil_sem_release() either raises `permits` or hands the permit to the first waiter, never both.
 * The hand-over is what makes the order fair: a fiber that runs between the release and the
 * waiter's turn finds no permit to take and queues behind it. It is also why a wake is final
 * (core/waitq.h): were an interruption allowed to overwrite it, the permit would be lost with it.
 *
 * Invariants: there are permits, or there are waiters, or neither; never both. permits <= limit.
 */
#include <coil/sem.h>

#include <errno.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_sem) == 24, "a promise of the header");

void coil_sem_init(coil_sem *sem, unsigned permits)
{
    COIL_ASSERT(permits <= COIL_SEM_MAX && "a balance is an int");
    sem->permits = permits;
    sem->limit = COIL_SEM_MAX;
    coil__waitq_init(&sem->waiters);
}

void coil_sem_init_bounded(coil_sem *sem, unsigned permits)
{
    coil_sem_init(sem, permits);
    sem->limit = permits;
}

int coil_sem_acquire(coil_sem *sem)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    COIL_ASSERT(sem->permits == 0 || coil__waitq_is_empty(&sem->waiters));
    if (sem->permits == 0)
        return coil__waitq_park(&sem->waiters, "semaphore", sem);
    sem->permits--;
    return 0;
}

int coil_sem_try_acquire(coil_sem *sem)
{
    if (sem->permits == 0)
        return -EAGAIN;
    sem->permits--;
    return 0;
}

int coil_sem_release(coil_sem *sem)
{
    struct coil__waiter *waiter = coil__waitq_first(&sem->waiters);

    if (waiter) {
        coil__waiter_wake(waiter, 0);
        return 0;
    }
    if (COIL_UNLIKELY(sem->permits >= sem->limit))
        return -EOVERFLOW;
    sem->permits++;
    return 0;
}

int coil_sem_balance(const coil_sem *sem)
{
    return (int)sem->permits - (int)coil__waitq_count(&sem->waiters);
}
