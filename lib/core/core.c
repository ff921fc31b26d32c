/* SPDX-License-Identifier: MIT */
/* Calls from core to core (coil/core.h).
 *
 * A call lies in the storage of the fiber that waits for it, and holds two posts. One carries the
 * start there and the end back; the other, if the caller is interrupted, carries the cancel there
 * and its receipt back. The caller counts what is on its way and goes on only when all of it has
 * come back, so neither core ever touches a call that is gone. In between, each field belongs to
 * the side that has the post.
 *
 * Both directions use the remotes that the team keeps until its threads are joined. A core refuses
 * posts when it has ended, which happens to a call that is under way only if fibers are lost.
 */
#include <coil/core.h>

#include <errno.h>

#include "base/alloc.h"
#include "core/team.h"

struct wait;

struct call {
    struct coil__post post;        /* the start; the end */
    struct coil__post cancel_post; /* the cancel; its receipt */
    struct wait *wait;
    coil_remote *to;
    int (*fn)(void *);
    void *arg;
    struct coil_fiber *fiber; /* there, while it runs */
    int status;               /* 0, or why the fiber could not be started */
    int result;
    bool is_detached; /* it ends when the fiber is made */
};

/* The caller's side. */
struct wait {
    struct coil__tcb *tcb;
    coil_remote *from;
    struct call *calls;
    unsigned call_count;
    unsigned pending_count; /* posts that have not come back */
    const void *spawn_site; /* of the public call */
};

unsigned coil_core(void)
{
    return coil__sched()->core;
}

unsigned coil_core_count(void)
{
    return coil__sched()->team->count;
}

/* ---- On the way back ---- */

static void came_back(struct wait *wait)
{
    COIL_ASSERT(wait->pending_count > 0);
    if (--wait->pending_count == 0)
        coil__wake(wait->tcb, 0);
}

static void ended(struct coil__post *post)
{
    came_back(container_of(post, struct call, post)->wait);
}

static void cancel_ended(struct coil__post *post)
{
    came_back(container_of(post, struct call, cancel_post)->wait);
}

/* Sends a post home. Refused only when the caller is lost, and its storage with it. */
static void send_back(const struct call *call, struct coil__post *post,
                      void (*run)(struct coil__post *post))
{
    post->run = run;
    (void)coil__remote_post(call->wait->from, post);
}

/* ---- There ---- */

static int run_call(void *arg)
{
    struct call *call = arg;
    struct coil_fiber *fiber = call->fiber;

    call->result = call->fn(call->arg);
    call->fiber = NULL;
    coil_fiber_unref(fiber);
    send_back(call, &call->post, ended);
    return 0;
}

static void start(struct coil__post *post)
{
    struct call *call = container_of(post, struct call, post);
    struct coil__sched *sched = coil__sched_this;
    const void *site = call->wait->spawn_site;

    if (call->is_detached)
        call->status = coil__fiber_spawn(sched, call->fn, call->arg, site, NULL);
    else
        call->status = coil__fiber_spawn(sched, run_call, call, site, &call->fiber);
    /* Before the caller can end: the team must not count nobody in between. */
    if (call->status == 0)
        coil__team_set_busy(container_of(sched, struct coil__core, sched), true);
    if (call->is_detached || call->status < 0)
        send_back(call, &call->post, ended);
}

static void cancel(struct coil__post *post)
{
    struct call *call = container_of(post, struct call, cancel_post);

    if (call->fiber)
        coil_cancel(call->fiber);
    send_back(call, post, cancel_ended);
}

/* ---- Here ---- */

static bool send(struct wait *wait, const struct call *call, struct coil__post *post)
{
    wait->pending_count++;
    if (coil_post(call->to, post) == 0)
        return true;
    wait->pending_count--;
    return false;
}

/* The interruption of the caller: cancels there, and the wait goes on. */
static void cancel_calls(struct coil__tcb *tcb)
{
    struct wait *wait = tcb->wait_object;

    tcb->is_interrupted = true;
    for (unsigned i = 0; i < wait->call_count; i++) {
        struct call *call = &wait->calls[i];

        call->cancel_post.run = cancel;
        (void)send(wait, call, &call->cancel_post);
    }
}

/* Sends the calls and parks until all have come back. */
static void perform(struct wait *wait, coil__interrupt *interrupt)
{
    struct coil__tcb *self = coil__self();

    wait->tcb = self;
    wait->from = self->sched->remote;
    for (unsigned i = 0; i < wait->call_count; i++) {
        struct call *call = &wait->calls[i];

        call->wait = wait;
        call->post.run = start;
        if (!send(wait, call, &call->post))
            call->status = -ESHUTDOWN;
    }
    self->is_interrupted = false;
    if (wait->pending_count == 0)
        return;
    (void)coil__park("call on another core", wait, interrupt);
}

/* What the caller is told of one call: 0 with the function's own result, or a failure. */
static int outcome(const struct call *call, int *ret_result)
{
    struct coil__tcb *self = coil__self();

    if (call->status < 0)
        return call->status;
    if (call->result == -ECANCELED && self->is_interrupted)
        return coil__scope_report(self);
    if (ret_result)
        *ret_result = call->result;
    return 0;
}

int coil_on(unsigned core, int (*fn)(void *), void *arg, int *ret_result)
{
    struct coil__tcb *self = coil__self();
    struct call call = {.to = coil__team_remote(self->sched, core), .fn = fn, .arg = arg};
    struct wait wait = {.calls = &call, .call_count = 1, .spawn_site = __builtin_return_address(0)};
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    if (!call.to)
        return -EINVAL;
    perform(&wait, cancel_calls);
    return outcome(&call, ret_result);
}

int coil_spawn_on(unsigned core, int (*fn)(void *), void *arg)
{
    struct coil__tcb *self = coil__self();
    struct call call = {
        .to = coil__team_remote(self->sched, core), .fn = fn, .arg = arg, .is_detached = true};
    struct wait wait = {.calls = &call, .call_count = 1, .spawn_site = __builtin_return_address(0)};
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    if (!call.to)
        return -EINVAL;
    perform(&wait, NULL);
    return call.status;
}

/* The first failure in the order of the cores. */
static int first_failure(const struct wait *wait)
{
    for (unsigned i = 0; i < wait->call_count; i++) {
        int value = 0;
        const int result = outcome(&wait->calls[i], &value);

        if (result < 0 || value < 0)
            return result < 0 ? result : value;
    }
    return 0;
}

int coil_each_core(int (*fn)(void *), void *arg)
{
    struct coil__tcb *self = coil__self();
    const unsigned count = coil_core_count();
    struct wait wait = {.call_count = count, .spawn_site = __builtin_return_address(0)};
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    wait.calls = coil__alloc(count * sizeof *wait.calls);
    if (!wait.calls)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        wait.calls[i].to = coil__team_remote(self->sched, i);
        wait.calls[i].fn = fn;
        wait.calls[i].arg = arg;
    }
    perform(&wait, cancel_calls);
    result = first_failure(&wait);
    coil__free(wait.calls);
    return result;
}
