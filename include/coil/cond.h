/* SPDX-License-Identifier: MIT */
/* coil/cond.h - waiting under a mutex until some data has changed.
 *
 * A fiber that holds a mutex and finds the data not yet as it needs them gives the mutex up, waits,
 * and has it again when it goes on:
 *
 *     result = coil_mutex_lock(&mutex);
 *     while (result == 0 && queue_is_empty(&queue))
 *         result = coil_cond_wait(&cond, &mutex);
 *     if (result == 0)
 *         take_from(&queue);
 *     if (coil_mutex_owner(&mutex) == coil_self())
 *         coil_mutex_unlock(&mutex);
 *
 * Look again after each wait: fibers that were already waiting for the mutex come first and may
 * have changed the data once more. No wait ends without a reason, though. Waiters are signalled in
 * the order in which they came, and get the mutex in the order in which they were signalled.
 *
 * A wait that fails has the mutex again, like one that succeeds: only so can the caller unlock in
 * one place. So it may last longer than a deadline or a cancellation says, until whoever owns the
 * mutex gives it up. A fiber that was signalled reports the signal, whatever interrupts it then;
 * one that was interrupted first has taken no signal from anybody.
 *
 * The struct (16 bytes) lives in the caller's storage, and may go as soon as all waiters have been
 * signalled, before they run.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_COND_H
#define COIL_COND_H

#include <coil/base.h>
#include <coil/mutex.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_cond {
    struct coil__waitq waiters; /* private */
} coil_cond;

/** Makes @p cond one that nobody waits for. Never fails; needs no counterpart. */
COIL_API void coil_cond_init(coil_cond *cond);

/** Unlocks @p mutex and waits for a signal, in one step: no signal can fall in between. Parks until
 *  it is signalled and owns @p mutex again; nothing interrupts the second part.
 *
 *  Returns 0 after a signal; -ETIMEDOUT or -ECANCELED without one; in each case as the owner of
 *  @p mutex. -EPERM at once when the calling fiber does not own it.
 *  Like threading.Condition.wait() and pthread_cond_wait(3). */
COIL_API COIL_MUST_CHECK int coil_cond_wait(coil_cond *cond, coil_mutex *mutex);

/** Ends the wait of the fiber that has waited longest, if there is one; it goes on when it has its
 *  mutex. The caller need not own that. Never parks. Like Condition.notify(). */
COIL_API void coil_cond_signal(coil_cond *cond);

/** The same for all fibers that wait now. Like Condition.notify_all(). */
COIL_API void coil_cond_broadcast(coil_cond *cond);

COIL_END_DECLS

#endif
