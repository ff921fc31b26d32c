/* SPDX-License-Identifier: MIT */
/* Wait queue: fibers parked until somebody hands them a result, first come, first served.
 *
 * The building block of everything in sync. A queue holds waiters, small records on the stacks of
 * the fibers that wait. A fiber usually waits in one queue; with a choice it waits in several at
 * once (select) and runs when as many of them as it asked for have been woken.
 *
 * A wake is final (design D3): a waiter that has been given a result reports it, whatever cancels
 * its fiber afterwards, so a permit or an item handed to it is never lost. A waiter that is
 * interrupted first has left its queue, so nothing can be handed to it any more. Between the two
 * there is no state in which both could happen. The wake that completes a choice takes all its
 * other waiters out of their queues in the same step, for the same reason.
 *
 * A waker that hands something over looks at the waiter first: its `object` says where to.
 */
#ifndef COIL_LIB_CORE_WAITQ_H
#define COIL_LIB_CORE_WAITQ_H

#include "core/sched.h"

/* A fiber's place in one queue. */
struct coil__waiter {
    struct coil__list link; /* in the queue; once woken as part of a choice, in its `woken` */
    struct coil__tcb *tcb;
    void *object;                    /* what the waker wants to know of the waiter */
    struct coil_fiber *const *owner; /* who could end the wait, if one fiber is known to; or NULL */
    struct coil__choice *choice;     /* what it is a part of; NULL when it waits by itself */
    int result;                      /* what it was woken with, in a choice */
    bool is_queued;                  /* in a choice: not woken yet */
};

/* One wait in several queues. The caller provides the waiters, in an array. */
struct coil__choice {
    struct coil__waiter *waiters;
    size_t count;
    size_t needed;           /* wakes that are still missing */
    struct coil__list woken; /* waiters in the order of their wakes */
};

static inline void coil__waitq_init(struct coil__waitq *queue)
{
    coil__list_init(&queue->waiters);
}

static inline bool coil__waitq_is_empty(const struct coil__waitq *queue)
{
    return coil__list_is_empty(&queue->waiters);
}

/* Parks the running fiber at the end of `queue`. Returns what it is woken with, or -ETIMEDOUT or
 * -ECANCELED. No checkpoint: the caller has passed one. `object` is what the waker wants to know of
 * the waiter (coil__waitq_first); may be NULL. */
int coil__waitq_park(struct coil__waitq *queue, const char *name, void *object);

/* The same for what one fiber has and would give: *owner names it, at any time of the wait, for the
 * report of deadlocks; it may change and be NULL. */
int coil__waitq_park_owned(struct coil__waitq *queue, const char *name, void *object,
                           struct coil_fiber *const *owner);

/* The same, but nothing interrupts it: for releasing calls. */
int coil__waitq_park_shielded(struct coil__waitq *queue, const char *name);

/* The same for an object that has to know at once when a waiter is interrupted, before that fiber
 * runs: whatever interrupts it calls `interrupt` instead of taking it out of the queue. `waiter` is
 * the caller's, with `object` and `owner` filled in and the rest zero; it may be part of something
 * larger. */
int coil__waitq_park_waiter(struct coil__waitq *queue, const char *name,
                            struct coil__waiter *waiter, coil__interrupt *interrupt);

/* For such an `interrupt`: takes the fiber out of its queue, and it will report the interruption.
 * The queue is the fiber's `wait_object`, the waiter its `waiter`. */
void coil__waitq_leave(struct coil__tcb *tcb);

/* The longest waiter, or NULL. */
static inline struct coil__waiter *coil__waitq_first(const struct coil__waitq *queue)
{
    struct coil__list *link = coil__list_first(&queue->waiters);

    return link ? container_of(link, struct coil__waiter, link) : NULL;
}

/* The same as coil__waiter_wake() for a part of a choice that has left its queue. */
void coil__choice_wake(struct coil__waiter *waiter, int result);

/* Gives `waiter`, which is in a queue, its result: it leaves the queue, and its fiber runs. */
static inline void coil__waiter_wake(struct coil__waiter *waiter, int result)
{
    coil__list_remove_raw(&waiter->link);
    if (COIL_UNLIKELY(waiter->choice))
        coil__choice_wake(waiter, result);
    else
        coil__wake(waiter->tcb, result);
}

/* Moves `waiter` to the end of another queue, without waking it: its wait goes on there, under
 * another name and for another owner, and nothing interrupts it any more. Not for choices. */
void coil__waiter_move(struct coil__waiter *waiter, struct coil__waitq *queue, const char *name,
                       struct coil_fiber *const *owner);

/* Wakes the longest waiter with `result`; false when there is none. */
bool coil__waitq_wake_one(struct coil__waitq *queue, int result);

/* Wakes all that wait now, in order; who queues meanwhile stays. Returns how many. */
size_t coil__waitq_wake_all(struct coil__waitq *queue, int result);

/* The number of waiters; walks the queue. */
size_t coil__waitq_count(const struct coil__waitq *queue);

/* ---- Waiting in several queues ---- */

/* Begins a choice over `count` waiters, which are in no queue yet. */
void coil__choice_init(struct coil__choice *choice, struct coil__waiter *waiters, size_t count,
                       size_t needed);

/* Puts waiter number `index` at the end of `queue`. */
void coil__choice_queue(struct coil__choice *choice, size_t index, struct coil__waitq *queue,
                        void *object, struct coil_fiber *const *owner);

/* Parks the running fiber until `needed` waiters have been woken. Returns 0, or -ETIMEDOUT or
 * -ECANCELED; either way no waiter is in a queue any more, and those in `woken` have their results,
 * which are final also after an interruption. No checkpoint. */
int coil__choice_park(struct coil__choice *choice, const char *name);

/* Takes the waiters that are still queued out of their queues: instead of parking. */
void coil__choice_withdraw(struct coil__choice *choice);

#endif
