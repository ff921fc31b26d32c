/* SPDX-License-Identifier: MIT */
/* coil/mutex.h - mutual exclusion between fibers, across parking calls.
 *
 * Between two parking calls a fiber has its thread to itself, so data that is changed without
 * parking needs no lock. A mutex is for the rest: a region of code that parks and must still run in
 * one fiber at a time, such as a request and its reply on one connection.
 *
 * The fiber that locked a mutex owns it, and only that fiber can unlock it, which catches the two
 * usual mistakes: locking twice and unlocking what another fiber holds. An unlock hands the mutex
 * to the fiber that has waited longest; a fiber that comes late cannot overtake. Unlocking always
 * works, also in a cancelled fiber or an expired scope. A fiber that ends while it owns a mutex
 * would let all others wait for ever: coil names the fiber in the log and aborts.
 *
 * The struct (24 bytes) lives in the caller's storage and owns nothing; it may go as soon as nobody
 * owns it. For locking by depth see coil/rmutex.h, for readers and writers coil/rwlock.h, for
 * waiting until data changes coil/cond.h.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_MUTEX_H
#define COIL_MUTEX_H

#include <coil/base.h>
#include <coil/fiber.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_mutex {
    struct coil__waitq waiters; /* private, as all fields */
    struct coil_fiber *owner;
} coil_mutex;

/** Makes @p mutex free. Never fails; needs no counterpart. */
COIL_API void coil_mutex_init(coil_mutex *mutex);

/** Locks @p mutex for the calling fiber. Parks while another one owns it, behind those who came
 *  first. Returns 0 as its owner; -EDEADLK when the caller owns it already; or -ETIMEDOUT or
 *  -ECANCELED without it.
 *  Like eventlet.green.threading.Lock.acquire() and pthread_mutex_lock(3). */
COIL_API COIL_MUST_CHECK int coil_mutex_lock(coil_mutex *mutex);

/** Locks @p mutex if nobody owns it. Never parks. Returns 0 or -EAGAIN (also for its owner).
 *  Like pthread_mutex_trylock(3). */
COIL_API COIL_MUST_CHECK int coil_mutex_try_lock(coil_mutex *mutex);

/** Unlocks @p mutex: the fiber that has waited longest owns it from now on. Never parks.
 *  Returns 0, or -EPERM when the calling fiber does not own it, and then changes nothing.
 *  Like pthread_mutex_unlock(3) of an error-checking mutex. */
COIL_API int coil_mutex_unlock(coil_mutex *mutex);

/** Returns the fiber that owns @p mutex, borrowed until it unlocks; NULL when it is free. */
COIL_API coil_fiber *coil_mutex_owner(const coil_mutex *mutex);

COIL_END_DECLS

#endif
