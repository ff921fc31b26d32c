/* SPDX-License-Identifier: MIT */
/* Wait queues and choices (core/waitq.h): lists of waiters, which lie on the stacks of their parked
 * fibers. Waking takes a waiter out of its queue and makes its fiber runnable; interrupting does
 * the same without a result.
 *
 * Invariant: a parked fiber's `waiter` is its place in the queue, or the first of its choice.
 */
#include "core/waitq.h"

/* ---- One queue ---- */

void coil__waitq_leave(struct coil__tcb *tcb)
{
    coil__list_remove_raw(&tcb->waiter->link);
    coil__wake_interrupted(tcb);
}

static int park(struct coil__waitq *queue, const char *name, struct coil__waiter *waiter,
                coil__interrupt *interrupt)
{
    struct coil__tcb *self = coil__sched_this->current; /* the checkpoint made sure of it */
    int result;

    waiter->tcb = self;
    coil__list_push_back(&queue->waiters, &waiter->link);
    self->waiter = waiter;
    result = coil__park(name, queue, interrupt);
    self->waiter = NULL;
    return result;
}

int coil__waitq_park(struct coil__waitq *queue, const char *name, void *object)
{
    struct coil__waiter waiter;

    waiter.object = object;
    waiter.owner = NULL;
    waiter.choice = NULL;
    return park(queue, name, &waiter, coil__waitq_leave);
}

int coil__waitq_park_owned(struct coil__waitq *queue, const char *name, void *object,
                           struct coil_fiber *const *owner)
{
    struct coil__waiter waiter = {.object = object, .owner = owner};

    return park(queue, name, &waiter, coil__waitq_leave);
}

int coil__waitq_park_shielded(struct coil__waitq *queue, const char *name)
{
    struct coil__waiter waiter = {.object = NULL};

    return park(queue, name, &waiter, NULL);
}

int coil__waitq_park_waiter(struct coil__waitq *queue, const char *name,
                            struct coil__waiter *waiter, coil__interrupt *interrupt)
{
    COIL_ASSERT(!waiter->choice && "a choice parks by itself");
    return park(queue, name, waiter, interrupt);
}

void coil__choice_wake(struct coil__waiter *waiter, int result)
{
    struct coil__choice *choice = waiter->choice;

    COIL_ASSERT(choice->needed > 0 && "a completed choice has no waiter in a queue");
    waiter->result = result;
    waiter->is_queued = false;
    coil__list_push_back(&choice->woken, &waiter->link);
    if (--choice->needed > 0)
        return;
    coil__choice_withdraw(choice);
    coil__wake(waiter->tcb, 0);
}

void coil__waiter_move(struct coil__waiter *waiter, struct coil__waitq *queue, const char *name,
                       struct coil_fiber *const *owner)
{
    struct coil__tcb *tcb = waiter->tcb;

    COIL_ASSERT(!waiter->choice && "a choice waits for something in particular");
    COIL_ASSERT(tcb->state == COIL__FIBER_PARKED);
    coil__list_remove_raw(&waiter->link);
    coil__list_push_back(&queue->waiters, &waiter->link);
    waiter->owner = owner;
    tcb->wait_name = name;
    tcb->wait_object = queue;
    tcb->interrupt = NULL;
}

bool coil__waitq_wake_one(struct coil__waitq *queue, int result)
{
    struct coil__waiter *waiter = coil__waitq_first(queue);

    if (!waiter)
        return false;
    coil__waiter_wake(waiter, result);
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
    return coil__list_count(&queue->waiters);
}

/* ---- Several queues ---- */

void coil__choice_init(struct coil__choice *choice, struct coil__waiter *waiters, size_t count,
                       size_t needed)
{
    *choice = (struct coil__choice){.waiters = waiters, .count = count, .needed = needed};
    coil__list_init(&choice->woken);
    for (size_t i = 0; i < count; i++)
        waiters[i] = (struct coil__waiter){.tcb = coil__self(), .choice = choice};
}

void coil__choice_queue(struct coil__choice *choice, size_t index, struct coil__waitq *queue,
                        void *object, struct coil_fiber *const *owner)
{
    struct coil__waiter *waiter = &choice->waiters[index];

    COIL_ASSERT(index < choice->count);
    COIL_ASSERT(!waiter->is_queued && "a waiter is in one queue");
    waiter->object = object;
    waiter->owner = owner;
    waiter->is_queued = true;
    coil__list_push_back(&queue->waiters, &waiter->link);
}

void coil__choice_withdraw(struct coil__choice *choice)
{
    for (size_t i = 0; i < choice->count; i++) {
        struct coil__waiter *waiter = &choice->waiters[i];

        if (!waiter->is_queued)
            continue;
        waiter->is_queued = false;
        coil__list_remove(&waiter->link);
    }
}

static void leave_all(struct coil__tcb *tcb)
{
    coil__choice_withdraw(tcb->wait_object);
    coil__wake_interrupted(tcb);
}

int coil__choice_park(struct coil__choice *choice, const char *name)
{
    struct coil__tcb *self = coil__self();
    int result;

    COIL_ASSERT(choice->needed > 0 && "there is something to wait for");
    self->waiter = choice->waiters;
    result = coil__park(name, choice, leave_all);
    self->waiter = NULL;
    return result;
}
