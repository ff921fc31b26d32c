/* SPDX-License-Identifier: MIT */
/* Wait queues (core/waitq.h): a list of control blocks through the link that also serves the ready
 * queue. Waking moves a fiber from one list to the other; interrupting does the same without a
 * result.
 */
#include "core/waitq.h"

static void leave(struct coil__tcb *tcb)
{
    coil__list_remove(&tcb->link);
    coil__wake_interrupted(tcb);
}

int coil__waitq_park(struct coil__waitq *queue, const char *name, void *object)
{
    struct coil__tcb *self = coil__self();

    coil__list_push_back(&queue->waiters, &self->link);
    return coil__park(name, object, leave);
}

int coil__waitq_park_shielded(struct coil__waitq *queue, const char *name)
{
    struct coil__tcb *self = coil__self();

    coil__list_push_back(&queue->waiters, &self->link);
    return coil__park(name, queue, NULL);
}

bool coil__waitq_wake_one(struct coil__waitq *queue, int result)
{
    struct coil__tcb *tcb = coil__waitq_first(queue);

    if (!tcb)
        return false;
    coil__list_remove(&tcb->link);
    coil__wake(tcb, result);
    return true;
}

size_t coil__waitq_wake_all(struct coil__waitq *queue, int result)
{
    size_t count = 0;

    while (coil__waitq_wake_one(queue, result))
        count++;
    return count;
}

size_t coil__waitq_count(const struct coil__waitq *queue)
{
    size_t count = 0;
    const struct coil__list *link;

    for (link = queue->waiters.next; link != &queue->waiters; link = link->next)
        count++;
    return count;
}
