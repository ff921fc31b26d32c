/* SPDX-License-Identifier: MIT */
/* Waiting for foreign descriptors (coil/poll.h).
 *
 * poll(2) is asked first, without waiting: what is ready costs no operation, and the odd cases
 * (files, closed and negative descriptors) are its own. Else one POLL per descriptor is placed. The
 * first that completes ends the wait; the others are cancelled and waited for, because they lie in
 * the caller's storage. Then poll(2) is asked again, and its answer is the result: a completion is
 * only a reason to ask.
 *
 * The ring tells more than was asked for: that a peer has half-closed (POLLRDHUP), as long as it
 * lasts. A wait that was ended for nothing therefore goes on by way of an epoll descriptor, which
 * wakes for what was asked, errors and hang-ups, as poll(2) does.
 *
 * Invariant: when the call returns, no operation of it is with the engine.
 */
#include <coil/poll.h>

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/op.h"

enum {
    OPS_ON_STACK = 16, /* beyond, from the allocator */
};

struct wait {
    struct coil__tcb *tcb;
    struct coil__op *ops;
    size_t count;   /* of ops */
    size_t pending; /* with the engine */
    bool is_parked; /* until the first completion, or, when being cancelled, the last */
    bool is_over;
};

/* A look, without waiting. A signal that strikes meanwhile is told only when all have been looked
 * at and none was ready. */
static int look(struct pollfd *fds, size_t count)
{
    const int result = poll(fds, count, 0); /* tidy: allow blocking-call: its timeout is 0 */

    if (result < 0)
        return errno == EINTR ? 0 : -errno;
    return result;
}

static void has_completed(struct coil__op *op)
{
    struct wait *wait = op->waiter;

    wait->pending--;
    if (!wait->is_parked || (wait->is_over && wait->pending > 0))
        return;
    wait->is_parked = false;
    coil__wake(wait->tcb, 0);
}

static void leave(struct coil__tcb *tcb)
{
    struct wait *wait = tcb->wait_object;

    wait->is_parked = false;
    coil__wake_interrupted(tcb);
}

static int park(struct wait *wait, coil__interrupt *interrupt)
{
    wait->is_parked = true;
    return coil__park("poll", wait, interrupt);
}

static void place(struct wait *wait, const struct pollfd *fds, size_t count)
{
    struct coil__engine *engine = wait->tcb->sched->engine;

    for (size_t i = 0; i < count; i++) {
        struct coil__op *op = &wait->ops[wait->count];

        if (fds[i].fd < 0)
            continue;
        *op = coil__op_make(COIL__OP_POLL, fds[i].fd, NULL, 0, (uint16_t)fds[i].events);
        op->done = has_completed;
        op->waiter = wait;
        coil__list_init(&op->request.link);
        wait->count++;
        wait->pending++;
        engine->ops->submit(engine, op);
    }
}

/* Ends all operations, uninterruptibly: each has been told to end. */
static void withdraw(struct wait *wait)
{
    struct coil__engine *engine = wait->tcb->sched->engine;

    wait->is_over = true;
    for (size_t i = 0; i < wait->count; i++)
        if (wait->ops[i].request.state != COIL__REQUEST_IDLE)
            engine->ops->cancel(engine, &wait->ops[i]);
    if (wait->pending > 0)
        (void)park(wait, NULL);
}

/* Waits, in `ops`, until poll(2) may have something to tell. Returns 0 or an interruption. */
static int wait_once(const struct pollfd *fds, size_t count, struct coil__op *ops)
{
    struct wait wait = {.tcb = coil__self(), .ops = ops};
    int result;

    place(&wait, fds, count);
    result = park(&wait, leave);
    withdraw(&wait);
    return result;
}

/* All that is asked of fds[at].fd up to that place: an epoll descriptor has each once. */
static unsigned events_of(const struct pollfd *fds, size_t at)
{
    unsigned events = 0;

    for (size_t i = 0; i <= at; i++)
        if (fds[i].fd == fds[at].fd)
            events |= (uint16_t)fds[i].events;
    return events;
}

static void fill_epoll(int epoll_fd, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = (uint16_t)fds[i].events};

        /* What can't be added, poll(2) knows all about. */
        if (fds[i].fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i].fd, &event) == 0 ||
            errno != EEXIST)
            continue;
        event.events = events_of(fds, i);
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fds[i].fd, &event);
    }
}

/* The same, for nothing but what is asked. */
static int wait_exactly(const struct pollfd *fds, size_t count, struct coil__op *ops)
{
    const struct pollfd all = {.fd = epoll_create1(EPOLL_CLOEXEC), .events = POLLIN};
    int result;

    if (all.fd < 0)
        return -errno;
    fill_epoll(all.fd, fds, count);
    result = wait_once(&all, 1, ops);
    (void)close(all.fd);
    return result;
}

/* Waits, in `ops`, for what poll(2) has not told at the first look. */
static int wait_in(struct pollfd *fds, size_t count, struct coil__op *ops)
{
    int result = wait_once(fds, count, ops);

    while (result == 0) {
        result = look(fds, count);
        if (result == 0)
            result = wait_exactly(fds, count, ops);
    }
    return result;
}

static int wait_for_few(struct pollfd *fds, size_t count)
{
    struct coil__op ops[OPS_ON_STACK];

    return wait_in(fds, count, ops);
}

static int wait_for_many(struct pollfd *fds, size_t count)
{
    struct coil__op *ops = coil__alloc(count * sizeof *ops);
    int result;

    if (!ops)
        return -ENOMEM;
    result = wait_in(fds, count, ops);
    coil__free(ops);
    return result;
}

int coil_poll(struct pollfd *fds, size_t count)
{
    int result = coil__checkpoint(coil__self());

    if (result == 0)
        result = count <= UINT32_MAX ? look(fds, count) : -EINVAL; /* poll(2) would cut it */
    if (result != 0)
        return result;
    return count <= OPS_ON_STACK ? wait_for_few(fds, count) : wait_for_many(fds, count);
}

int coil_poll_fd(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    struct coil__op op;
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (fd < 0)
        return -EBADF;
    result = look(&poll_fd, 1);
    if (result == 0)
        result = wait_in(&poll_fd, 1, &op);
    if (result < 0)
        return result;
    return poll_fd.revents & POLLNVAL ? -EBADF : poll_fd.revents;
}
