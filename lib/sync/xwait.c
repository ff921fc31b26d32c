/* SPDX-License-Identifier: MIT */
/* Waiting across threads (sync/xwait.h says how). */
#include "sync/xwait.h"

#include <errno.h>
#include <semaphore.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "core/remote.h"

enum {
    PASSES_MAX = 15, /* so that looks fit again soon where answers have become fast */

    /* Of the loop's budget, what a moment is worth: as much inline work is done in it. A stream
     * whose items all come while their receiver looks never parks it, and calls alone, at a step
     * each, would keep I/O and timers waiting for 250 moments. */
    MOMENT_STEPS = 32,
};

/* How long a waiter looks: what an answer takes of a core that is awake, and of one that has just
 * been rung (a wake takes 20 us on a virtual machine). */
static const coil_time look_awake = COIL_US(2);
static const coil_time look_rung = COIL_US(30);

/* Some tens of items can come in it. */
static const coil_time moment = 1500;

/* Of this thread: whether it has rung a sleeper since it last looked, and how long looks for the
 * answer have fared. Each that fails in a row doubles the number of those that are passed over. */
static _Thread_local struct {
    bool has_rung;
    unsigned passes;
    unsigned passes_left;
} answers;

enum state {
    ASLEEP, /* or about to be */
    LOOKING,
    HANDED,
};

struct coil__xwaiter {
    struct coil__list link;
    struct coil__post post;
    struct coil__xshared *shared;
    struct coil__tcb *tcb; /* NULL: a plain thread */
    sem_t ring;            /* that this one waits for */
    void *item;
    int result;
    bool is_handed;
    _Atomic(enum state) state; /* what the ringer has to know */
};

void coil__xshared_init(struct coil__xshared *shared, pthread_mutex_t *second_lock)
{
    (void)pthread_mutex_init(&shared->lock, NULL);
    if (second_lock)
        (void)pthread_mutex_init(second_lock, NULL);
    shared->second_lock = second_lock;
    atomic_init(&shared->user_count, 1);
}

void coil__xshared_leave(struct coil__xshared *shared)
{
    const unsigned before = atomic_fetch_sub_explicit(&shared->user_count, 1, memory_order_acq_rel);

    COIL_ASSERT(before > 0);
    if (before > 1)
        return;
    if (shared->second_lock)
        (void)pthread_mutex_destroy(shared->second_lock);
    (void)pthread_mutex_destroy(&shared->lock);
    coil__free(shared);
}

/* ---- Looking ---- */

bool coil__xwait_pass(void)
{
    struct coil__sched *sched = coil__sched_this;
    int64_t end;

    if (sched) {
        if (!coil__list_is_empty(&sched->ready) || coil__remote_has_posts(sched->remote))
            return false;
        sched->budget -= MOMENT_STEPS;
    }
    end = coil__clock_now() + moment;
    while (coil__clock_now() < end)
        ;
    return true;
}

static bool is_handed(struct coil__xwaiter *waiter)
{
    return atomic_load_explicit(&waiter->state, memory_order_acquire) == HANDED;
}

static bool expects_answer(void)
{
    const bool has_rung = answers.has_rung;

    answers.has_rung = false;
    if (!has_rung || answers.passes_left == 0)
        return has_rung;
    answers.passes_left--;
    return false;
}

static void was_answered(bool is_answered)
{
    if (is_answered)
        answers.passes = 0;
    else if (answers.passes < PASSES_MAX)
        answers.passes = answers.passes * 2 + 1;
    answers.passes_left = answers.passes;
}

/* Returns whether it has been handed something; if not, it is asleep from now on. */
static bool look(struct coil__xwaiter *waiter)
{
    const bool is_long = expects_answer();
    const int64_t end = coil__clock_now() + (is_long ? look_rung : look_awake);
    enum state looking = LOOKING;

    while (!is_handed(waiter) && coil__clock_now() < end) {
        if (!waiter->tcb)
            continue;
        if (waiter->tcb->interrupts)
            break;
        coil__yield(waiter->tcb);
    }
    (void)atomic_compare_exchange_strong(&waiter->state, &looking, ASLEEP);
    if (is_long)
        was_answered(looking == HANDED);
    return looking == HANDED;
}

/* ---- Waiting ---- */

int coil__xwait_checkpoint(void)
{
    return coil__sched_this ? coil__checkpoint(coil__self()) : 0;
}

static void leave(struct coil__tcb *tcb)
{
    struct coil__xwaiter *waiter = tcb->wait_object;
    bool is_too_late;

    coil__xshared_lock(waiter->shared);
    is_too_late = waiter->is_handed;
    if (!is_too_late)
        coil__list_remove(&waiter->link);
    coil__xshared_unlock(waiter->shared);
    if (!is_too_late)
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
    return waiter->result;
}

int coil__xwait(struct coil__xshared *shared, struct coil__list *queue, void *item,
                const char *name)
{
    struct coil__xwaiter waiter = {
        .shared = shared,
        .tcb = coil__sched_this ? coil__self() : NULL,
        .item = item,
        .state = LOOKING,
    };
    int result;

    if (!waiter.tcb)
        (void)sem_init(&waiter.ring, 0, 0);
    coil__list_push_back(queue, &waiter.link);
    coil__xshared_join(shared);
    coil__xshared_unlock(shared);

    if (look(&waiter))
        result = waiter.result;
    else
        result = waiter.tcb ? wait_as_fiber(&waiter, name) : wait_as_thread(&waiter);

    if (!waiter.tcb)
        (void)sem_destroy(&waiter.ring);
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
    if (atomic_exchange(&waiter->state, HANDED) == LOOKING)
        return; /* and it may be gone */
    if (!waiter->tcb) {
        answers.has_rung = true;
        (void)sem_post(&waiter->ring);
    } else if (waiter->tcb->sched == coil__sched_this) {
        coil__wake(waiter->tcb, waiter->result);
    } else {
        answers.has_rung = true;
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
    unsigned count;

    coil__xshared_lock(shared);
    count = (unsigned)coil__list_count(queue);
    coil__xshared_unlock(shared);
    return count;
}
