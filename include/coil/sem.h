/* SPDX-License-Identifier: MIT */
/* coil/sem.h - counting semaphore for fibers.
 *
 * A semaphore holds permits. coil_sem_acquire() takes one and parks the calling fiber while there
 * is none; coil_sem_release() gives one back. Waiters are served strictly in the order of arrival,
 * and a permit given back while somebody waits is handed over: a fiber that comes late cannot
 * overtake. The struct (24 bytes) lives in the caller's storage and owns nothing while nobody
 * waits.
 *
 * A bounded semaphore refuses more permits than it began with: where each release must belong to an
 * acquire, it finds the one that does not. (One whose release waits: coil/capped_sem.h.)
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_SEM_H
#define COIL_SEM_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_sem {
    struct coil__waitq waiters; /* private, as all fields */
    unsigned permits;
    unsigned limit;
} coil_sem;

/** The most permits that a semaphore can hold. */
#define COIL_SEM_MAX ((unsigned)INT32_MAX)

/** Makes @p sem hold @p permits, COIL_SEM_MAX at most: more stop the program. Needs no
 *  counterpart. */
COIL_API void coil_sem_init(coil_sem *sem, unsigned permits);

/** The same, and it will never hold more than that.
 *  Like eventlet.semaphore.BoundedSemaphore. */
COIL_API void coil_sem_init_bounded(coil_sem *sem, unsigned permits);

/** Takes one permit. Parks while there is none.
 *  Returns 0 with the permit, or takes none and returns -ETIMEDOUT or -ECANCELED.
 *  Like eventlet.semaphore.Semaphore.acquire(). */
COIL_API COIL_MUST_CHECK int coil_sem_acquire(coil_sem *sem);

/** Takes a permit if there is one and nobody waits for it. Never parks. Returns 0 or -EAGAIN.
 *  Like Semaphore.acquire(blocking=False). */
COIL_API COIL_MUST_CHECK int coil_sem_try_acquire(coil_sem *sem);

/** Gives one permit back, to the fiber that has waited longest if there is one. Never parks.
 *  Returns 0; or -EOVERFLOW, and gives none, when nobody waits and @p sem is bounded and holds what
 *  it began with, or COIL_SEM_MAX. */
COIL_API int coil_sem_release(coil_sem *sem);

/** Returns the permits left, less the number of fibers that wait. Like Semaphore.balance. */
COIL_API int coil_sem_balance(const coil_sem *sem);

COIL_END_DECLS

#endif
