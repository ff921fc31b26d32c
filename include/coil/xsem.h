/* SPDX-License-Identifier: MIT */
/* coil/xsem.h - counting semaphore between threads: fibers of any core or run, and plain threads.
 *
 * Like coil/sem.h: waiters are served in the order of arrival, wherever they are, and a permit that
 * is given back while somebody waits is handed over. A fiber that waits parks; a thread without
 * coil_run() that waits blocks. An interrupted fiber has taken nothing; a permit that was handed to
 * it before is its own, and the interruption speaks at its next call.
 *
 * An operation takes a lock for a few instructions: an acquire and a release that nobody waits for
 * are some 25 ns together, three times coil/sem.h. Waking a waiter of another core costs a message;
 * hence a waiter looks a little before it sleeps, as in coil/xchan.h.
 *
 * A semaphore is at most 192 bytes.
 *
 * Threads: any, for all functions; not signal handlers.
 */
#ifndef COIL_XSEM_H
#define COIL_XSEM_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_xsem coil_xsem;

/** The most permits that a semaphore can hold. */
#define COIL_XSEM_MAX ((unsigned)INT32_MAX)

/** Makes a semaphore with @p permits, COIL_XSEM_MAX at most; more stop the program. Never parks.
 *  Returns 0 or -ENOMEM. */
COIL_API COIL_MUST_CHECK int coil_xsem_new(unsigned permits, coil_xsem **ret_sem);

/** Frees @p sem; whoever waits for it gets -EBADF. NULL is harmless. Never parks. */
COIL_API void coil_xsem_free(coil_xsem *sem);

/** Takes one permit. Parks the fiber, or blocks the plain thread, while there is none.
 *  Returns 0 with the permit; -EBADF when the semaphore is freed meanwhile; or, to a fiber,
 *  -ETIMEDOUT or -ECANCELED without one. Like gevent's Semaphore.acquire() between threads. */
COIL_API COIL_MUST_CHECK int coil_xsem_acquire(coil_xsem *sem);

/** Takes a permit if there is one. Never parks. Returns 0 or -EAGAIN. */
COIL_API COIL_MUST_CHECK int coil_xsem_try_acquire(coil_xsem *sem);

/** Gives one permit back, to whoever has waited longest if somebody does. Never parks.
 *  Returns 0; or -EOVERFLOW, and gives none, when nobody waits and @p sem holds COIL_XSEM_MAX. */
COIL_API int coil_xsem_release(coil_xsem *sem);

/** Returns the permits left, less the number of those who wait, at some moment of the call. */
COIL_API int coil_xsem_balance(coil_xsem *sem);

COIL_END_DECLS

#endif
