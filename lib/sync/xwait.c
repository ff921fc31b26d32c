/* SPDX-License-Identifier: MIT */
/* Waiting across threads (sync/xwait.h says how). */
#include "sync/xwait.h"

#include <errno.h>
#include <semaphore.h>

#include "base/alloc.h"
#include "core/remote.h"

struct coil__xwaiter {
    struct coil__list link;
    struct coil__post post;
    struct coil__xshared *shared;
    struct coil__tcb *tcb; /* NULL: a plain thread */
    sem_t ring;            /* that this one waits for */
    void *item;
    int result;
    bool is_handed;
};

void coil__xshared_init(struct coil__xshared *shared)
{
    (void)pthread_mutex_init(&shared->lock, NULL);
    shared->user_count = 1;
}

void coil__xshared_leave(struct coil__xshared *shared)
{
    bool is_last;

    COIL_ASSERT(shared->user_count > 0);
    is_last = --shared->user_count == 0;
    coil__xshared_unlock(shared);
    if (!is_last)
        return;
    (void)pthread_mutex_destroy(&shared->lock);
    coil__free(shared);
}

/* ---- Waiting ---- */

int coil__xwait_checkpoint(void)
{
    return coil__sched_this ? coil__checkpoint(coil__self()) : 0;
}

static void leave(struct coil__tcb *tcb)
{
    struct coil__xwaiter *waiter = tcb->wait_object;
    bool is_handed;

    coil__xshared_lock(waiter->shared);
    is_handed = waiter->is_handed;
    if (!is_handed)
        coil__list_remove(&waiter->link);
    coil__xshared_unlock(waiter->shared);
    if (!is_handed)
        coil__wake_interrupted(tcb);
}

static int wait_as_fiber(struct coil__xwaiter *waiter, const char *name)
{
    struct coil__sched *sched = waiter->tcb->sched;
    int result;

    COIL_ASSERT(sched == coil__sched_this && "a fiber waits on its own core");
    sched->outside_count++;
    result = coil__park(name, waiter, leave);
    sched->outside_count--;
    return result;
}

static int wait_as_thread(struct coil__xwaiter *waiter)
{
    while (sem_wait(&waiter->ring) < 0)
        COIL_ASSERT(errno == EINTR);
    (void)sem_destroy(&waiter->ring);
    return waiter->result;
}

int coil__xwait(struct coil__xshared *shared, struct coil__list *queue, void *item,
                const char *name)
{
    struct coil__xwaiter waiter = {
        .shared = shared,
        .tcb = coil__sched_this ? coil__self() : NULL,
        .item = item,
    };
    int result;

    if (!waiter.tcb)
        (void)sem_init(&waiter.ring, 0, 0);
    coil__list_push_back(queue, &waiter.link);
    shared->user_count++;
    coil__xshared_unlock(shared);

    result = waiter.tcb ? wait_as_fiber(&waiter, name) : wait_as_thread(&waiter);

    coil__xshared_lock(shared);
    coil__xshared_leave(shared);
    return result;
}

/* ---- Handing over ---- */

struct coil__xwaiter *coil__xwait_first(const struct coil__list *queue)
{
    struct coil__list *link = coil__list_first(queue);

    return link ? container_of(link, struct coil__xwaiter, link) : NULL;
}

void *coil__xwait_item(const struct coil__xwaiter *waiter)
{
    return waiter->item;
}

void coil__xwait_hand(struct coil__xwaiter *waiter, int result, struct coil__list *woken)
{
    COIL_ASSERT(!waiter->is_handed && "handed once");
    waiter->is_handed = true;
    waiter->result = result;
    coil__list_remove(&waiter->link);
    coil__list_push_back(woken, &waiter->link);
}

void coil__xwait_hand_all(struct coil__list *queue, int result, struct coil__list *woken)
{
    struct coil__xwaiter *waiter;

    while ((waiter = coil__xwait_first(queue)) != NULL)
        coil__xwait_hand(waiter, result, woken);
}

static void ring_arrived(struct coil__post *post)
{
    struct coil__xwaiter *waiter = container_of(post, struct coil__xwaiter, post);

    coil__wake(waiter->tcb, waiter->result);
}

static void ring(struct coil__xwaiter *waiter)
{
    if (!waiter->tcb) {
        (void)sem_post(&waiter->ring);
    } else if (waiter->tcb->sched == coil__sched_this) {
        coil__wake(waiter->tcb, waiter->result);
    } else {
        waiter->post.run = ring_arrived;
        (void)coil__remote_post(waiter->tcb->sched->remote, &waiter->post);
    }
}

void coil__xwait_wake(struct coil__list *woken)
{
    struct coil__list *link;

    while ((link = coil__list_pop_front(woken)) != NULL)
        ring(container_of(link, struct coil__xwaiter, link));
}

unsigned coil__xwait_count(struct coil__xshared *shared, const struct coil__list *queue)
{
    unsigned count = 0;

    coil__xshared_lock(shared);
    for (const struct coil__list *link = queue->next; link != queue; link = link->next)
        count++;
    coil__xshared_unlock(shared);
    return count;
}
