/* SPDX-License-Identifier: MIT */
/* Waiting across threads: the base of coil/xchan.h and coil/xsem.h.
 *
 * Like a wait queue (core/waitq.h), for objects that fibers of any scheduler and plain threads
 * share. The object has a lock, held for a few instructions and never across a wait, or two, which
 * are taken together here and apart where the object can do with one (xchan.c). A waiter queues
 * under the lock, lets go of it and sleeps: a fiber by parking, a thread on a semaphore of its own.
 * Whoever hands it something takes it out of the queue under the lock, which settles the matter,
 * and rings after the lock: an interruption that comes second finds itself too late, and the fiber
 * stays until the ring arrives. A fiber of the ringing core is woken directly, others by a post.
 *
 * Waking a core costs ten times what waiting awake for a moment does, and two that hand each other
 * something would both sleep each time, because a wake takes longer than the answer. So a waiter
 * looks a little before it sleeps: queued, so that it keeps its turn, and yielding, so that its
 * core goes on. One whose thread has just rung a sleeper looks for as long as a wake takes, once
 * for each time: the answer most likely comes from there. Looking and asleep, one of the two is
 * what the ringer finds in the waiter's state when it exchanges it for handed; the waiter exchanges
 * looking for asleep, and finds handed if the ringer was first. So there is a ring iff it sleeps.
 *
 * Freeing an object lets go of its waiters, but some are still about to lock it on their way out,
 * so the object goes with its last user.
 *
 * Invariant: a waiter is in a queue of its object, or is handed, or is on no list and about to run.
 */
#ifndef COIL_LIB_SYNC_XWAIT_H
#define COIL_LIB_SYNC_XWAIT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"

enum {
    COIL__XSHARED_APART = 64, /* a cache line: what different cores write lies this far apart */
};

/* What a shared object begins with. */
struct coil__xshared {
    _Atomic(unsigned) user_count; /* the owner until it frees, and whoever waits or is about to */
    pthread_mutex_t *second_lock; /* NULL, or taken after the first */
    unsigned char apart[COIL__XSHARED_APART];
    pthread_mutex_t lock;
};

struct coil__xwaiter;

/* `second_lock`, if any, is part of the object. */
void coil__xshared_init(struct coil__xshared *shared, pthread_mutex_t *second_lock);

/* All locks of the object. */
static inline void coil__xshared_lock(struct coil__xshared *shared)
{
    (void)pthread_mutex_lock(&shared->lock);
    if (shared->second_lock)
        (void)pthread_mutex_lock(shared->second_lock);
}

static inline void coil__xshared_unlock(struct coil__xshared *shared)
{
    if (shared->second_lock)
        (void)pthread_mutex_unlock(shared->second_lock);
    (void)pthread_mutex_unlock(&shared->lock);
}

/* One more use, by a user or with one of the locks: the object stays until all have left. */
static inline void coil__xshared_join(struct coil__xshared *shared)
{
    atomic_fetch_add_explicit(&shared->user_count, 1, memory_order_relaxed);
}

/* Gives up one use, without locks; frees the object, which begins with `shared`, with the last. */
void coil__xshared_leave(struct coil__xshared *shared);

/* Begins a call that may wait: coil__checkpoint() of a fiber; plain threads always pass. */
int coil__xwait_checkpoint(void);

/* Lets a moment pass, some microsecond, for who would rather look again than wait. Returns false,
 * and at once, when the core has something better to do. Costs budget, by the time that passes. */
bool coil__xwait_pass(void);

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
