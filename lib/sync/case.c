/* SPDX-License-Identifier: MIT */
/* The cases of coil/select.h: how each is tried, queued for, and brought to its end.
 *
 * Every kind does here what its own parking call does: the same try, the same queue, the same
 * object for the waker. That is all it takes to wait for it beside others; a new kind is a line in
 * each of the functions below.
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

static bool try_after(const coil_case *it)
{
    const int64_t deadline = it->with.deadline;

    return it->on.duration <= 0 || (deadline != 0 && deadline <= coil__clock_now());
}

bool coil__case_try(coil_case *it)
{
    switch ((enum coil__case_kind)it->kind) {
    case COIL__CASE_NONE:
    case COIL__CASE_DONE:
        break;
    case COIL__CASE_AFTER:
        it->result = 0;
        return try_after(it);
    case COIL__CASE_SEND:
        it->result = coil_chan_try_send(it->on.chan, it->with.item);
        return it->result != -EAGAIN;
    case COIL__CASE_RECV:
        it->result = coil_chan_try_recv(it->on.chan, it->with.buffer);
        return it->result != -EAGAIN;
    case COIL__CASE_EVENT:
        return try_event(it);
    case COIL__CASE_ACQUIRE:
        it->result = coil_sem_try_acquire(it->on.sem);
        return it->result == 0;
    case COIL__CASE_JOIN:
        return try_join(it);
    }
    return false;
}

/* ---- Waiting ---- */

void coil__case_queue(coil_case *it, struct coil__choice *choice, size_t index)
{
    switch ((enum coil__case_kind)it->kind) {
    case COIL__CASE_NONE:
    case COIL__CASE_DONE:
    case COIL__CASE_AFTER:
        COIL_ASSERT(false && "nothing to queue for");
        break;
    case COIL__CASE_SEND:
        coil__chan_show(it->on.chan, it->with.item);
        coil__choice_queue(choice, index, &it->on.chan->senders, &it->with.item, NULL);
        break;
    case COIL__CASE_RECV:
        coil__choice_queue(choice, index, &it->on.chan->receivers, it->with.buffer, NULL);
        break;
    case COIL__CASE_EVENT:
        coil__choice_queue(choice, index, &it->on.event->waiters, &it->kept.value, NULL);
        break;
    case COIL__CASE_ACQUIRE:
        coil__choice_queue(choice, index, &it->on.sem->waiters, it->on.sem, NULL);
        break;
    case COIL__CASE_JOIN:
        coil__choice_queue(choice, index, &it->on.fiber->joiners, &it->kept.joined, &it->on.fiber);
        break;
    }
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
