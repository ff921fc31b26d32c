/* SPDX-License-Identifier: MIT */
/* The cases of coil/select.h: how each is tried, queued for, and brought to its end.
 *
 * Every kind does here what its own parking call does: the same try, the same queue, the same
 * object for the waker. That is all it takes to wait for it beside others; a new kind is a line in
 * each of the switches below.
 *
 * A waker writes to the case itself, to `kept`, where the caller's variable must not change unless
 * the case succeeds, or may be missing.
 */
#include "sync/case.h"

#include <errno.h>

#include "sync/chan.h"

COIL_STATIC_ASSERT(sizeof(coil_case) == 32, "a promise of the header");

/* ---- Making them ---- */

coil_case coil_case_none(void)
{
    return (coil_case){.kind = COIL__CASE_NONE};
}

coil_case coil_case_send(coil_chan *chan, const void *item)
{
    return (coil_case){.kind = COIL__CASE_SEND, .on.chan = chan, .with.item = item};
}

coil_case coil_case_recv(coil_chan *chan, void *ret_item)
{
    return (coil_case){.kind = COIL__CASE_RECV, .on.chan = chan, .with.buffer = ret_item};
}

coil_case coil_case_event(coil_event *event, void **ret_value)
{
    return (coil_case){.kind = COIL__CASE_EVENT, .on.event = event, .with.value = ret_value};
}

coil_case coil_case_acquire(coil_sem *sem)
{
    return (coil_case){.kind = COIL__CASE_ACQUIRE, .on.sem = sem};
}

coil_case coil_case_join(coil_fiber *fiber, int *ret_result)
{
    return (coil_case){.kind = COIL__CASE_JOIN, .on.fiber = fiber, .with.joined = ret_result};
}

coil_case coil_case_flag(coil_flag *flag)
{
    return (coil_case){.kind = COIL__CASE_FLAG, .on.flag = flag};
}

coil_case coil_case_capped_acquire(coil_capped_sem *sem)
{
    return (coil_case){.kind = COIL__CASE_CAPPED_ACQUIRE, .on.capped = sem};
}

coil_case coil_case_capped_release(coil_capped_sem *sem)
{
    return (coil_case){.kind = COIL__CASE_CAPPED_RELEASE, .on.capped = sem};
}

coil_case coil_case_lock(coil_mutex *mutex)
{
    return (coil_case){.kind = COIL__CASE_LOCK, .on.mutex = mutex};
}

coil_case coil_case_waitgroup(coil_waitgroup *group)
{
    return (coil_case){.kind = COIL__CASE_WAITGROUP, .on.group = group};
}

coil_case coil_case_after(coil_time duration)
{
    return (coil_case){.kind = COIL__CASE_AFTER, .on.duration = duration};
}

bool coil_case_is_done(const coil_case *it)
{
    return it->kind == COIL__CASE_DONE;
}

/* ---- Trying ---- */

static bool try_event(coil_case *it)
{
    const coil_event *event = it->on.event;

    if (!event->is_set)
        return false;
    it->kept.value = event->value;
    coil__case_finish(it, event->result);
    return true;
}

static bool try_join(coil_case *it)
{
    if (it->on.fiber == coil_self()) {
        it->result = -EDEADLK;
        return true;
    }
    if (coil_try_join(it->on.fiber, &it->kept.joined) < 0)
        return false;
    coil__case_finish(it, 0);
    return true;
}

static int try_lock(coil_mutex *mutex)
{
    coil_fiber *owner = coil_mutex_owner(mutex);

    return owner && owner == coil_self() ? -EDEADLK : coil_mutex_try_lock(mutex);
}

static bool try_after(const coil_case *it)
{
    const int64_t deadline = it->with.deadline;

    return it->on.duration <= 0 || (deadline != 0 && deadline <= coil__clock_now());
}

/* What the kinds say whose calls never fail with -EAGAIN but for want of something. */
static int try_result(const coil_case *it)
{
    switch ((enum coil__case_kind)it->kind) {
    case COIL__CASE_AFTER:
        return try_after(it) ? 0 : -EAGAIN;
    case COIL__CASE_SEND:
        return coil_chan_try_send(it->on.chan, it->with.item);
    case COIL__CASE_RECV:
        return coil_chan_try_recv(it->on.chan, it->with.buffer);
    case COIL__CASE_ACQUIRE:
        return coil_sem_try_acquire(it->on.sem);
    case COIL__CASE_FLAG:
        return coil_flag_is_set(it->on.flag) ? 0 : -EAGAIN;
    case COIL__CASE_CAPPED_ACQUIRE:
        return coil_capped_sem_try_acquire(it->on.capped);
    case COIL__CASE_CAPPED_RELEASE:
        return coil_capped_sem_try_release(it->on.capped);
    case COIL__CASE_LOCK:
        return try_lock(it->on.mutex);
    case COIL__CASE_WAITGROUP:
        return coil_waitgroup_count(it->on.group) == 0 ? 0 : -EAGAIN;
    case COIL__CASE_EVENT:
    case COIL__CASE_JOIN:
    case COIL__CASE_NONE:
    case COIL__CASE_DONE:
        break;
    }
    COIL_ASSERT(false && "no such case");
    return -EAGAIN;
}

bool coil__case_try(coil_case *it)
{
    if (it->kind == COIL__CASE_EVENT)
        return try_event(it);
    if (it->kind == COIL__CASE_JOIN)
        return try_join(it);
    it->result = try_result(it);
    return it->result != -EAGAIN;
}

/* ---- Waiting ---- */

/* What it waits in the queue of, what the waker has to know, and who could end the wait. */
struct place {
    struct coil__waitq *queue;
    void *object;
    struct coil_fiber *const *owner;
};

static struct place place_of(coil_case *it)
{
    switch ((enum coil__case_kind)it->kind) {
    case COIL__CASE_SEND:
        return (struct place){&it->on.chan->senders, &it->with.item, NULL};
    case COIL__CASE_RECV:
        return (struct place){&it->on.chan->receivers, it->with.buffer, NULL};
    case COIL__CASE_EVENT:
        return (struct place){&it->on.event->waiters, &it->kept.value, NULL};
    case COIL__CASE_ACQUIRE:
        return (struct place){&it->on.sem->waiters, it->on.sem, NULL};
    case COIL__CASE_JOIN:
        return (struct place){&it->on.fiber->joiners, &it->kept.joined, &it->on.fiber};
    case COIL__CASE_FLAG:
        return (struct place){&it->on.flag->waiters, it->on.flag, NULL};
    case COIL__CASE_CAPPED_ACQUIRE:
        return (struct place){&it->on.capped->acquirers, it->on.capped, NULL};
    case COIL__CASE_CAPPED_RELEASE:
        return (struct place){&it->on.capped->releasers, it->on.capped, NULL};
    case COIL__CASE_LOCK:
        return (struct place){&it->on.mutex->waiters, it->on.mutex, &it->on.mutex->owner};
    case COIL__CASE_WAITGROUP:
        return (struct place){&it->on.group->waiters, it->on.group, NULL};
    case COIL__CASE_AFTER:
    case COIL__CASE_NONE:
    case COIL__CASE_DONE:
        break;
    }
    COIL_ASSERT(false && "nothing to queue for");
    return (struct place){NULL, NULL, NULL};
}

void coil__case_queue(coil_case *it, struct coil__choice *choice, size_t index)
{
    const struct place place = place_of(it);

    if (it->kind == COIL__CASE_SEND)
        coil__chan_show(it->on.chan, it->with.item);
    coil__choice_queue(choice, index, place.queue, place.object, place.owner);
}

void coil__case_finish(coil_case *it, int result)
{
    it->result = result;
    if (result < 0)
        return;
    if (it->kind == COIL__CASE_EVENT && it->with.value)
        *it->with.value = it->kept.value;
    if (it->kind == COIL__CASE_JOIN && it->with.joined)
        *it->with.joined = it->kept.joined;
}
