/* SPDX-License-Identifier: MIT */
/* coil/capped_sem.h - semaphore whose release waits, too.
 *
 * A semaphore (coil/sem.h) that never holds more than a given number of permits: a release that
 * would exceed it parks until somebody acquires. So it is a channel without items: a limit on how
 * far producers may be ahead of consumers. With a limit of 0 each release meets an acquire, a
 * rendezvous: both go on at the same time, neither before.
 *
 * Both sides are served in the order of arrival, and what is handed over is handed over: who is
 * interrupted first has neither taken nor given anything. The struct (40 bytes) lives in the
 * caller's storage and owns nothing while nobody waits.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_CAPPED_SEM_H
#define COIL_CAPPED_SEM_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_capped_sem {
    struct coil__waitq acquirers; /* private, as all fields */
    struct coil__waitq releasers;
    unsigned permits;
    unsigned limit;
} coil_capped_sem;

/** The highest limit: a balance counts fibers that wait beside the permits, and is an int. */
#define COIL_CAPPED_SEM_MAX ((unsigned)INT32_MAX / 2)

/** Makes @p sem hold @p permits, at most @p limit now and later, which is COIL_CAPPED_SEM_MAX or
 *  less; anything else stops the program. Never fails; needs no counterpart.
 *  Like eventlet.semaphore.CappedSemaphore(count, limit). */
COIL_API void coil_capped_sem_init(coil_capped_sem *sem, unsigned permits, unsigned limit);

/** Takes one permit, and lets the longest waiting release give its own. Parks while there is none.
 *  Returns 0 with the permit, or takes none and returns -ETIMEDOUT or -ECANCELED. */
COIL_API COIL_MUST_CHECK int coil_capped_sem_acquire(coil_capped_sem *sem);

/** Takes a permit if there is one, or a release that waits. Never parks. Returns 0 or -EAGAIN. */
COIL_API COIL_MUST_CHECK int coil_capped_sem_try_acquire(coil_capped_sem *sem);

/** Gives one permit, to the fiber that has waited longest if there is one. Parks while there is
 *  room for no more, so unlike other releases it can fail.
 *  Returns 0, or gives none and returns -ETIMEDOUT or -ECANCELED. */
COIL_API COIL_MUST_CHECK int coil_capped_sem_release(coil_capped_sem *sem);

/** Gives a permit if there is room or somebody waits for one. Never parks, also in a cancelled
 *  fiber. Returns 0 or -EAGAIN. */
COIL_API COIL_MUST_CHECK int coil_capped_sem_try_release(coil_capped_sem *sem);

/** Returns the permits left, less the number of fibers that wait to acquire, plus that of fibers
 *  that wait to release. Like CappedSemaphore.balance. */
COIL_API int coil_capped_sem_balance(const coil_capped_sem *sem);

COIL_END_DECLS

#endif
