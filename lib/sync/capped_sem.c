/* SPDX-License-Identifier: MIT */
/* Capped semaphore (coil/capped_sem.h).
 *
 * A permit goes straight from a release to an acquire when one of them waits, so the limit may be
 * 0. An acquire that frees room lets the longest waiting release use it at once, before a later one
 * can.
 *
 * Invariants: fibers wait to acquire only while there is no permit, and to release only while there
 * is no room; never both.
 */
#include <coil/capped_sem.h>

#include <errno.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_capped_sem) == 40, "a promise of the header");

void coil_capped_sem_init(coil_capped_sem *sem, unsigned permits, unsigned limit)
{
    COIL_ASSERT(permits <= limit && "a limit from the beginning");
    COIL_ASSERT(limit <= COIL_CAPPED_SEM_MAX && "a balance is an int");
    sem->permits = permits;
    sem->limit = limit;
    coil__waitq_init(&sem->acquirers);
    coil__waitq_init(&sem->releasers);
}

int coil_capped_sem_try_acquire(coil_capped_sem *sem)
{
    /* A release that waits gives its permit now: to this fiber, or in place of the one it takes. */
    if (coil__waitq_wake_one(&sem->releasers, 0))
        return 0;
    if (sem->permits == 0)
        return -EAGAIN;
    sem->permits--;
    return 0;
}

int coil_capped_sem_acquire(coil_capped_sem *sem)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (coil_capped_sem_try_acquire(sem) == 0)
        return 0;
    return coil__waitq_park(&sem->acquirers, "semaphore", sem);
}

int coil_capped_sem_try_release(coil_capped_sem *sem)
{
    if (coil__waitq_wake_one(&sem->acquirers, 0))
        return 0;
    if (sem->permits == sem->limit)
        return -EAGAIN;
    sem->permits++;
    return 0;
}

int coil_capped_sem_release(coil_capped_sem *sem)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (coil_capped_sem_try_release(sem) == 0)
        return 0;
    return coil__waitq_park(&sem->releasers, "semaphore release", sem);
}

int coil_capped_sem_balance(const coil_capped_sem *sem)
{
    return (int)sem->permits - (int)coil__waitq_count(&sem->acquirers) +
           (int)coil__waitq_count(&sem->releasers);
}
