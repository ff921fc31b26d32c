/* SPDX-License-Identifier: MIT */
/* Counting semaphore between threads (coil/xsem.h): sync/sem.c under a lock, with the waits of
 * sync/xwait.h.
 *
 * Invariants: there are permits, or there are waiters, or neither; never both. permits is at most
 * COIL_XSEM_MAX.
 */
#include <coil/xsem.h>

#include <errno.h>

#include "base/alloc.h"
#include "sync/xwait.h"

struct coil_xsem {
    struct coil__xshared shared;
    struct coil__list waiters;
    unsigned permits;
};

COIL_STATIC_ASSERT(sizeof(coil_xsem) <= 192, "a promise of the header");

int coil_xsem_new(unsigned permits, coil_xsem **ret_sem)
{
    coil_xsem *sem = coil__alloc(sizeof *sem);

    COIL_ASSERT(permits <= COIL_XSEM_MAX && "a balance is an int");
    if (!sem)
        return -ENOMEM;
    coil__xshared_init(&sem->shared, NULL);
    coil__list_init(&sem->waiters);
    sem->permits = permits;
    *ret_sem = sem;
    return 0;
}

void coil_xsem_free(coil_xsem *sem)
{
    struct coil__list woken;

    if (!sem)
        return;
    coil__list_init(&woken);
    coil__xshared_lock(&sem->shared);
    coil__xwait_hand_all(&sem->waiters, -EBADF, &woken);
    coil__xshared_unlock(&sem->shared);
    coil__xshared_leave(&sem->shared);
    coil__xwait_wake(&woken);
}

int coil_xsem_acquire(coil_xsem *sem)
{
    const int result = coil__xwait_checkpoint();

    if (result < 0)
        return result;
    coil__xshared_lock(&sem->shared);
    COIL_ASSERT(sem->permits == 0 || coil__list_is_empty(&sem->waiters));
    if (sem->permits == 0)
        return coil__xwait(&sem->shared, &sem->waiters, NULL, "xsem");
    sem->permits--;
    coil__xshared_unlock(&sem->shared);
    return 0;
}

int coil_xsem_try_acquire(coil_xsem *sem)
{
    bool is_taken;

    coil__xshared_lock(&sem->shared);
    is_taken = sem->permits > 0;
    sem->permits -= is_taken;
    coil__xshared_unlock(&sem->shared);
    return is_taken ? 0 : -EAGAIN;
}

int coil_xsem_release(coil_xsem *sem)
{
    struct coil__xwaiter *waiter;
    struct coil__list woken;
    bool is_full = false;

    coil__list_init(&woken);
    coil__xshared_lock(&sem->shared);
    waiter = coil__xwait_first(&sem->waiters);
    if (waiter)
        coil__xwait_hand(waiter, 0, &woken);
    else if (COIL_UNLIKELY(sem->permits >= COIL_XSEM_MAX))
        is_full = true;
    else
        sem->permits++;
    coil__xshared_unlock(&sem->shared);
    coil__xwait_wake(&woken);
    return is_full ? -EOVERFLOW : 0;
}

int coil_xsem_balance(coil_xsem *sem)
{
    int permits;

    coil__xshared_lock(&sem->shared);
    permits = (int)sem->permits;
    coil__xshared_unlock(&sem->shared);
    return permits > 0 ? permits : -(int)coil__xwait_count(&sem->shared, &sem->waiters);
}
