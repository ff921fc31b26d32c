/* SPDX-License-Identifier: MIT */
/* coil/rwlock.h - many readers or one writer, across parking calls.
 *
 * Any number of fibers may hold a read/write lock for reading, or one for writing. Who waits is
 * served in the order of arrival: a writer that waits keeps later readers behind it, so that
 * readers who overlap can't starve it, and readers who wait next to each other are let in together.
 * A writer that gives up its wait lets the readers behind it in at once.
 *
 * What a fiber locked, it unlocks itself, also when it was cancelled meanwhile, and before it ends
 * (else coil names it in the log and aborts). A writer is checked exactly. Readers are only
 * counted, except for the one who found the lock free: coil refuses what it knows for a deadlock,
 * which with several readers is not everything.
 *
 * A reader can't become a writer: two that tried would wait for each other. Unlock, lock for
 * writing, and look again at what you read. The other way, coil_rwlock_downgrade(), is safe.
 *
 * The struct (32 bytes) lives in the caller's storage and owns nothing.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_RWLOCK_H
#define COIL_RWLOCK_H

#include <coil/base.h>
#include <coil/fiber.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_rwlock {
    struct coil__waitq waiters; /* private, as all fields */
    struct coil_fiber *holder;
    unsigned readers;
} coil_rwlock;

/** Makes @p lock free. Never fails; needs no counterpart. */
COIL_API void coil_rwlock_init(coil_rwlock *lock);

/** Locks @p lock for reading. Parks while a fiber writes or any fiber waits.
 *
 *  Returns 0 as a reader; -ETIMEDOUT or -ECANCELED without the lock; -EDEADLK when the calling
 *  fiber writes, or when it reads already, as far as coil knows, and would have to wait. A fiber
 *  may read twice and then has to unlock twice, but a writer that came in between makes it wait for
 *  itself: better don't. Like pthread_rwlock_rdlock(3). */
COIL_API COIL_MUST_CHECK int coil_rwlock_lock_read(coil_rwlock *lock);

/** Locks @p lock for writing. Parks while any other fiber holds it, behind those who came first.
 *
 *  Returns 0 as the only holder; -ETIMEDOUT or -ECANCELED without the lock; -EDEADLK when the
 *  calling fiber writes already, or reads, as far as coil knows. Like pthread_rwlock_wrlock(3). */
COIL_API COIL_MUST_CHECK int coil_rwlock_lock_write(coil_rwlock *lock);

/** Locks @p lock for reading if no fiber writes and none waits. Never parks.
 *  Returns 0 or -EAGAIN. */
COIL_API COIL_MUST_CHECK int coil_rwlock_try_lock_read(coil_rwlock *lock);

/** Locks @p lock for writing if it is free. Never parks. Returns 0 or -EAGAIN. */
COIL_API COIL_MUST_CHECK int coil_rwlock_try_lock_write(coil_rwlock *lock);

/** Gives up one lock of the calling fiber, whichever kind; when that makes @p lock free, the
 *  longest waiter has it from now on, if that is a reader together with the readers next to it.
 *  Never parks. Returns 0, or -EPERM when another fiber writes, nobody holds the lock, or the
 *  caller holds no lock at all. Like pthread_rwlock_unlock(3). */
COIL_API int coil_rwlock_unlock(coil_rwlock *lock);

/** Makes the calling fiber, which writes, a reader, and lets in the readers who wait next. No other
 *  writer comes in between. Never parks. Returns 0, or -EPERM when it does not write. */
COIL_API int coil_rwlock_downgrade(coil_rwlock *lock);

COIL_END_DECLS

#endif
