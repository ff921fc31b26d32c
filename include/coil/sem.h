/* SPDX-License-Identifier: MIT */
/* coil/sem.h - counting semaphore for fibers.
 *
 * A semaphore holds permits. coil_sem_acquire() takes one and parks the calling fiber while there
 * is none; coil_sem_release() gives one back. Waiters are served strictly in the order of arrival,
 * and a permit given back while somebody waits is handed over: a fiber that comes late cannot
 * overtake. The struct (24 bytes) lives in the caller's storage and owns nothing while nobody
 * waits.
 *
 * Threads: fibers of one coil_run() only.
 */
#ifndef COIL_SEM_H
#define COIL_SEM_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_sem {
    struct coil__waitq waiters; /* private, as all fields */
    unsigned permits;
} coil_sem;

/** Makes @p sem hold @p permits. Never fails; needs no counterpart. */
COIL_API void coil_sem_init(coil_sem *sem, unsigned permits);

/** Takes one permit. Parks while there is none.
 *  Returns 0 with the permit, or takes none and returns -ETIMEDOUT or -ECANCELED.
 *  Like eventlet.semaphore.Semaphore.acquire(). */
COIL_API COIL_MUST_CHECK int coil_sem_acquire(coil_sem *sem);

/** Takes a permit if there is one and nobody waits for it. Never parks. Returns 0 or -EAGAIN.
 *  Like Semaphore.acquire(blocking=False). */
COIL_API COIL_MUST_CHECK int coil_sem_try_acquire(coil_sem *sem);

/** Gives one permit back, to the fiber that has waited longest if there is one. Never parks. */
COIL_API void coil_sem_release(coil_sem *sem);

/** Returns the permits left, less the number of fibers that wait. Like Semaphore.balance. */
COIL_API int coil_sem_balance(const coil_sem *sem);

COIL_END_DECLS

#endif
