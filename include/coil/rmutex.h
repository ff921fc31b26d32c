/* SPDX-License-Identifier: MIT */
/* coil/rmutex.h - a mutex that its owner may lock again.
 *
 * For code whose functions lock and call each other: the owner locks as often as it likes, and the
 * mutex is free when it has unlocked as often. All else is as in coil/mutex.h, which is the better
 * choice where the nesting is known: it finds the mistakes that this one forgives.
 *
 * The struct (32 bytes) lives in the caller's storage and owns nothing.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_RMUTEX_H
#define COIL_RMUTEX_H

#include <coil/base.h>
#include <coil/mutex.h>

COIL_BEGIN_DECLS

typedef struct coil_rmutex {
    coil_mutex mutex; /* private, as all fields */
    unsigned depth;
} coil_rmutex;

/** Makes @p rmutex free. Never fails; needs no counterpart. */
COIL_API void coil_rmutex_init(coil_rmutex *rmutex);

/** Locks @p rmutex once more for the calling fiber. Parks while another fiber owns it, behind those
 *  who came first. Returns 0; -EOVERFLOW after UINT_MAX locks; or -ETIMEDOUT or -ECANCELED, also
 *  for the owner, and then it is locked no deeper.
 *  Like eventlet.green.threading.RLock.acquire(). */
COIL_API COIL_MUST_CHECK int coil_rmutex_lock(coil_rmutex *rmutex);

/** Locks @p rmutex once more if the calling fiber or nobody owns it. Never parks.
 *  Returns 0, -EAGAIN, or -EOVERFLOW as above. */
COIL_API COIL_MUST_CHECK int coil_rmutex_try_lock(coil_rmutex *rmutex);

/** Takes back one lock; with the last one, the fiber that has waited longest becomes the owner.
 *  Never parks. Returns 0, or -EPERM when the calling fiber does not own it. */
COIL_API int coil_rmutex_unlock(coil_rmutex *rmutex);

/** Returns how often the calling fiber has to unlock @p rmutex: 0 when it does not own it. */
COIL_API unsigned coil_rmutex_depth(const coil_rmutex *rmutex);

COIL_END_DECLS

#endif
