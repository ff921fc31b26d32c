/* SPDX-License-Identifier: MIT */
/* Wait queue: fibers parked until somebody hands them a result, first come, first served.
 *
 * The building block of everything in sync. A wake is final (design D3): a waiter that has been
 * given a result reports it, whatever cancels it afterwards, so a permit or an item handed to it
 * is never lost. A waiter that is interrupted first has left the queue, so nothing can be handed
 * to it any more. Between the two there is no state in which both could happen.
 */
#ifndef COIL_LIB_CORE_WAITQ_H
#define COIL_LIB_CORE_WAITQ_H

#include "core/sched.h"

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

/* The same, but nothing interrupts it: for releasing calls. */
int coil__waitq_park_shielded(struct coil__waitq *queue, const char *name);

/* The longest waiter, or NULL. */
static inline struct coil__tcb *coil__waitq_first(const struct coil__waitq *queue)
{
    struct coil__list *link = coil__list_first(&queue->waiters);

    return link ? container_of(link, struct coil__tcb, link) : NULL;
}

/* Wakes the longest waiter with `result`; false when there is none. */
bool coil__waitq_wake_one(struct coil__waitq *queue, int result);

/* Wakes all waiters, in order. Returns how many. */
size_t coil__waitq_wake_all(struct coil__waitq *queue, int result);

/* The number of waiters; walks the queue. */
size_t coil__waitq_count(const struct coil__waitq *queue);

#endif
