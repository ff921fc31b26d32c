/* SPDX-License-Identifier: MIT */
/* The io_uring engine: its table of operations, its life, and how it is woken.
 *
 * submit() and its relatives only fill entries of the submission queue (uring_submit.c); wait()
 * hands them all over in the one system call that also waits (uring_turn.c) and turns what comes
 * back into callbacks (uring_complete.c). What finds the queue full is linked into a list, as are
 * all cancels. So nothing is ever refused or forgotten, and nothing allocates.
 *
 * The ring reads an eventfd all the time, so that a write to it ends a sleep. wake() writes only
 * if the owner sleeps and no other wake is on its way.
 *
 * Invariants: a request is in at most one list, by its state (uring.h); the wake read is with the
 * engine from open to close.
 */
#include "engine/uring.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

/* ---- Starting and stopping ---- */

static void uring_cancel(struct coil__engine *engine, struct coil__op *op)
{
    coil__uring_cancel(coil__uring_of(engine), &op->request);
}

/* Decides, once there is somebody to receive, between shared buffers and private ones. */
static void open_buffers(struct coil__uring *uring)
{
    if (uring->buffers.ring || !coil__uring_can(uring, COIL__URING_MULTISHOT_RECV))
        return;
    if (coil__uring_buffers_open(uring, &uring->buffers) < 0) {
        coil__uring_drop_ability(uring, COIL__URING_MULTISHOT_RECV);
        coil__uring_drop_ability(uring, COIL__URING_BUFFER_RING);
    }
}

static void open_datagram_buffers(struct coil__uring *uring)
{
    if (uring->datagrams.ring || !coil__uring_can(uring, COIL__URING_MULTISHOT_RECVMSG))
        return;
    if (coil__uring_buffers_open(uring, &uring->datagrams) < 0)
        coil__uring_drop_datagrams(uring);
}

static void uring_receive_start(struct coil__engine *engine, struct coil__receive *receive)
{
    struct coil__uring *uring = coil__uring_of(engine);

    engine->stats.active_count++;
    receive->lease = NULL;
    if (receive->request.kind == COIL__REQUEST_DATAGRAMS)
        open_datagram_buffers(uring);
    else
        open_buffers(uring);
    coil__uring_start(uring, &receive->request);
}

static void uring_receive_stop(struct coil__engine *engine, struct coil__receive *receive)
{
    coil__uring_cancel(coil__uring_of(engine), &receive->request);
}

static void uring_lease_return(struct coil__engine *engine, struct coil__lease *lease)
{
    struct coil__uring *uring = coil__uring_of(engine);
    const bool is_datagram = lease->group == COIL__URING_DATAGRAM_GROUP;

    coil__uring_lease_return(is_datagram ? &uring->datagrams : &uring->buffers, lease);
}

static void uring_accept_start(struct coil__engine *engine, struct coil__accept *accept)
{
    engine->stats.active_count++;
    coil__uring_start(coil__uring_of(engine), &accept->request);
}

static void uring_accept_stop(struct coil__engine *engine, struct coil__accept *accept)
{
    coil__uring_cancel(coil__uring_of(engine), &accept->request);
}

/* ---- Waking ---- */

static void uring_wake(struct coil__engine *engine)
{
    struct coil__uring *uring = coil__uring_of(engine);
    const uint64_t one = 1;
    const int saved_errno = errno; /* of the code that a signal handler interrupted */
    ssize_t length;

    if (atomic_exchange(&uring->is_woken, true) || !atomic_load(&uring->is_sleeping))
        return;
    length = write(uring->wake_fd, &one, sizeof one);
    COIL_ASSERT(length == (ssize_t)sizeof one && "the counter of an eventfd has room");
    errno = saved_errno;
}

/* The wake read is the engine's own business and not counted as active. */
static void arm_wake(struct coil__uring *uring)
{
    coil__uring_submit(&uring->engine, &uring->wake_op);
    uring->engine.stats.active_count--;
}

static void wake_read(struct coil__op *op)
{
    struct coil__uring *uring = container_of(op, struct coil__uring, wake_op);

    uring->engine.stats.active_count++;
    uring->silent_count++;
    if (!uring->is_closing)
        arm_wake(uring);
}

/* ---- Life ---- */

static void uring_close(struct coil__engine *engine)
{
    struct coil__uring *uring = coil__uring_of(engine);

    COIL_ASSERT(engine->stats.active_count == 0 && "every request had its final callback");
    uring->is_closing = true;
    if (uring->wake_op.request.state != COIL__REQUEST_IDLE)
        coil__uring_cancel(uring, &uring->wake_op.request);
    while (uring->wake_op.request.state != COIL__REQUEST_IDLE) {
        /* A broken ring gives nothing back; the kernel ends the read when the ring is closed. */
        if (coil__uring_hand_over(uring, INT64_MAX) < 0)
            break;
        (void)coil__uring_reap(uring);
        (void)coil__uring_report(uring);
    }
    coil__uring_buffers_close(uring, &uring->buffers);
    coil__uring_buffers_close(uring, &uring->datagrams);
    coil__uring_tear_down(uring);
    (void)close(uring->wake_fd);
    coil__free(uring);
}

static const char *uring_describe(const struct coil__engine *engine)
{
    /* Cast away and back: container_of knows no const. */
    return ((const struct coil__uring *)(const void *)engine)->description;
}

static const struct coil__engine_ops uring_ops = {
    .name = "io_uring",
    .close = uring_close,
    .submit = coil__uring_submit,
    .cancel = uring_cancel,
    .receive_start = uring_receive_start,
    .receive_stop = uring_receive_stop,
    .lease_return = uring_lease_return,
    .accept_start = uring_accept_start,
    .accept_stop = uring_accept_stop,
    .wait = coil__uring_wait,
    .wake = uring_wake,
    .describe = uring_describe,
};

static void init(struct coil__uring *uring)
{
    uring->engine.ops = &uring_ops;
    coil__list_init(&uring->cancels);
    coil__list_init(&uring->asked);
    coil__list_init(&uring->queue);
    coil__list_init(&uring->cancelled);
    coil__list_init(&uring->starved);
    uring->timeout_arg.ts = (uint64_t)(uintptr_t)&uring->timeout;
    uring->wake_op = (struct coil__op){
        .request = {.kind = COIL__OP_READ, .fd = uring->wake_fd},
        .done = wake_read,
        .data = &uring->wake_value,
        .length = sizeof uring->wake_value,
    };
    arm_wake(uring);
}

int coil__uring_open(const struct coil__engine_options *options, struct coil__engine **ret_engine,
                     char *ret_why)
{
    struct coil__uring *uring = coil__alloc(sizeof *uring);
    int error;

    if (!uring) {
        (void)snprintf(ret_why, COIL__URING_WHY_SIZE, "no memory for the engine");
        return -ENOMEM;
    }
    error = coil__uring_set_up(uring, options, ret_why);
    if (error < 0)
        goto free_engine;
    uring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (uring->wake_fd < 0) {
        error = -errno;
        (void)snprintf(ret_why, COIL__URING_WHY_SIZE,
                       "no file descriptor left for waking: raise the limit (ulimit -n)");
        goto tear_down;
    }
    init(uring);
    *ret_engine = &uring->engine;
    return 0;

tear_down:
    coil__uring_tear_down(uring);
free_engine:
    coil__free(uring);
    return error;
}
