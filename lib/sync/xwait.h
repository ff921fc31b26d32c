/* SPDX-License-Identifier: MIT */
/* Waiting across threads: the base of coil/xchan.h and coil/xsem.h.
 *
 * Like a wait queue (core/waitq.h), for objects that fibers of any scheduler and plain threads
 * share. The object has a lock, held for a few instructions and never across a wait. A waiter
 * queues under the lock, lets go of it and sleeps: a fiber by parking, a thread on a semaphore of
 * its own. Whoever hands it something takes it out of the queue under the lock, which settles the
 * matter, and rings after the lock: an interruption that comes second finds itself too late, and
 * the fiber stays until the ring arrives. A fiber of the ringing core is woken directly, others by
 * a post.
 *
 * Freeing an object lets go of its waiters, but each still has to look at it on its way out, so the
 * object goes with its last user.
 *
 * Invariant: a waiter is in a queue of its object, or is handed, or is on no list and about to run.
 */
#ifndef COIL_LIB_SYNC_XWAIT_H
#define COIL_LIB_SYNC_XWAIT_H

#include <pthread.h>

#include "base/list.h"

/* What a shared object begins with. */
struct coil__xshared {
    pthread_mutex_t lock;
    unsigned user_count; /* the owner until it frees, and everybody who waits; under the lock */
};

struct coil__xwaiter;

void coil__xshared_init(struct coil__xshared *shared);

static inline void coil__xshared_lock(struct coil__xshared *shared)
{
    (void)pthread_mutex_lock(&shared->lock);
}

static inline void coil__xshared_unlock(struct coil__xshared *shared)
{
    (void)pthread_mutex_unlock(&shared->lock);
}

/* Unlocks and gives up one use; frees the object, which begins with `shared`, with the last. */
void coil__xshared_leave(struct coil__xshared *shared);

/* Begins a call that may wait: coil__checkpoint() of a fiber; plain threads always pass. */
int coil__xwait_checkpoint(void);

/* Queues the caller at the end of `queue` and waits; called with the lock, returns without. Returns
 * what it is handed, or an interruption. `item` is for whoever hands; `name` is static. */
int coil__xwait(struct coil__xshared *shared, struct coil__list *queue, void *item,
                const char *name);

/* ---- For the other side, with the lock ---- */

/* The longest waiter, or NULL. */
struct coil__xwaiter *coil__xwait_first(const struct coil__list *queue);
void *coil__xwait_item(const struct coil__xwaiter *waiter);

/* Ends the wait with `result`: final. Moves the waiter to `woken`, for coil__xwait_wake(). */
void coil__xwait_hand(struct coil__xwaiter *waiter, int result, struct coil__list *woken);
void coil__xwait_hand_all(struct coil__list *queue, int result, struct coil__list *woken);

/* ---- Without the lock ---- */

void coil__xwait_wake(struct coil__list *woken);

/* The number of waiters. */
unsigned coil__xwait_count(struct coil__xshared *shared, const struct coil__list *queue);

#endif
