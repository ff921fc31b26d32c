/* SPDX-License-Identifier: MIT */
/* The poll engine: one list of requests, tried one after the other.
 *
 * A turn tries every request once without blocking. What would block stays in the list; when
 * nothing at all happened, poll(2) sleeps on the descriptors of all of them. Operations on files
 * and names are in poll_files.c.
 *
 * Invariant: a request is in `pending`, or in the batch of the turn that is running, exactly while
 * it is the engine's.
 */
#include "support/poll_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "support/poll_datagrams.h"
#include "support/poll_files.h"

enum {
    BUFFER_COUNT = 8,
    BUFFER_SIZE = 4096,
    WHY_SIZE = 256,
    DATAGRAMS_MAX = 4, /* held at a time, then the buffers are out */
    CONNECTING = 1,    /* in `generation`: connect(2) was called and is under way */
};

struct poll_engine {
    struct coil__engine engine;
    struct coil__list pending;
    struct pollfd *fds;
    size_t fds_size;
    struct coil__lease *leases;
    struct coil__lease *free_lease;
    unsigned datagram_count; /* held by somebody */
    char *memory;
    int wake_fd;
    atomic_bool is_woken;
    char description[96];
};

static struct poll_engine *poll_engine_of(struct coil__engine *engine)
{
    return container_of(engine, struct poll_engine, engine);
}

static int outcome(ssize_t result)
{
    return result < 0 ? -errno : (int)result;
}

static short poll_events(struct coil__request *request)
{
    switch ((enum coil__request_kind)request->kind) {
    case COIL__OP_POLL:
        return (short)container_of(request, struct coil__op, request)->flags;
    case COIL__OP_SEND:
    case COIL__OP_SENDMSG:
    case COIL__OP_CONNECT:
    case COIL__OP_WRITE:
    case COIL__OP_WRITEV:
        return POLLOUT;
    case COIL__OP_NOP:
    case COIL__OP_RECV:
    case COIL__OP_RECVMSG:
    case COIL__OP_READ:
    case COIL__OP_OPENAT:
    case COIL__OP_OPENAT2:
    case COIL__OP_STATX:
    case COIL__OP_FSYNC:
    case COIL__OP_CLOSE:
    case COIL__OP_READV:
    case COIL__OP_FALLOCATE:
    case COIL__OP_FADVISE:
    case COIL__OP_FTRUNCATE:
    case COIL__OP_RENAMEAT:
    case COIL__OP_LINKAT:
    case COIL__OP_SYMLINKAT:
    case COIL__OP_MKDIRAT:
    case COIL__OP_UNLINKAT:
    case COIL__REQUEST_RECEIVE:
    case COIL__REQUEST_DATAGRAMS:
    case COIL__REQUEST_ACCEPT:
        break;
    }
    return POLLIN;
}

/* What poll(2) says of the request's descriptor now: 0 when it would block. */
static int readiness(struct coil__request *request)
{
    struct pollfd fd = {.fd = request->fd, .events = poll_events(request)};

    if (request->fd < 0)
        return -EBADF;
    return poll(&fd, 1, 0) > 0 ? fd.revents : 0;
}

/* ---- One-shot operations: each returns a result, or -EAGAIN to be tried again ---- */

static int try_connect(struct coil__op *op)
{
    const int fd = op->request.fd;
    int error = 0;
    socklen_t length = sizeof error;

    if (op->request.generation != CONNECTING) {
        const int flags = fcntl(fd, F_GETFL);

        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        error = outcome(connect(fd, op->data, (socklen_t)op->length));
        (void)fcntl(fd, F_SETFL, flags);
        if (error != -EINPROGRESS)
            return error;
        op->request.generation = CONNECTING;
    }
    if (readiness(&op->request) == 0)
        return -EAGAIN;
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return -error;
}

static int try_poll(struct coil__op *op)
{
    const int events = readiness(&op->request);

    if (events & POLLNVAL)
        return -EBADF;
    return events == 0 ? -EAGAIN : events;
}

static int try_op(struct coil__op *op)
{
    const int fd = op->request.fd;
    const size_t length = op->length > INT_MAX ? INT_MAX : op->length;
    const int flags = (int)op->flags;

    switch ((enum coil__request_kind)op->request.kind) {
    case COIL__OP_NOP:
        return 0;
    case COIL__OP_POLL:
        return try_poll(op);
    case COIL__OP_RECV:
        return outcome(recv(fd, op->data, length, flags | MSG_DONTWAIT));
    case COIL__OP_SEND:
        return outcome(send(fd, op->data, length, flags | MSG_DONTWAIT));
    case COIL__OP_SENDMSG:
        return outcome(sendmsg(fd, op->data, flags | MSG_DONTWAIT));
    case COIL__OP_RECVMSG:
        return outcome(recvmsg(fd, op->data, flags | MSG_DONTWAIT));
    case COIL__OP_CONNECT:
        return try_connect(op);
    case COIL__OP_READ:
    case COIL__OP_WRITE:
    case COIL__OP_OPENAT:
    case COIL__OP_OPENAT2:
    case COIL__OP_STATX:
    case COIL__OP_FSYNC:
    case COIL__OP_CLOSE:
    case COIL__OP_READV:
    case COIL__OP_WRITEV:
    case COIL__OP_FALLOCATE:
    case COIL__OP_FADVISE:
    case COIL__OP_FTRUNCATE:
    case COIL__OP_RENAMEAT:
    case COIL__OP_LINKAT:
    case COIL__OP_SYMLINKAT:
    case COIL__OP_MKDIRAT:
    case COIL__OP_UNLINKAT:
        return coil__poll_file_op(op);
    case COIL__REQUEST_RECEIVE:
    case COIL__REQUEST_DATAGRAMS:
    case COIL__REQUEST_ACCEPT:
        break;
    }
    return -EINVAL;
}

/* ---- Trying what is pending: each returns false when the request would block ---- */

static void keep(struct poll_engine *self, struct coil__request *request)
{
    coil__list_push_back(&self->pending, &request->link);
}

static void retire(struct poll_engine *self, struct coil__request *request)
{
    request->state = COIL__REQUEST_IDLE;
    self->engine.stats.active_count--;
    self->engine.stats.completion_count++;
}

static bool advance_op(struct poll_engine *self, struct coil__op *op)
{
    const bool is_cancelled = op->request.state == COIL__REQUEST_CANCELLED;
    const int result = is_cancelled ? -ECANCELED : try_op(op);

    if (result == -EAGAIN || result == -EINTR) {
        keep(self, &op->request);
        return false;
    }
    op->result = result;
    retire(self, &op->request);
    op->done(op);
    return true;
}

static void end_receive(struct poll_engine *self, struct coil__receive *receive, int result)
{
    if (result == -ENOBUFS)
        self->engine.stats.starved_count++;
    retire(self, &receive->request);
    receive->event(receive, NULL, result, false);
}

static bool advance_receive(struct poll_engine *self, struct coil__receive *receive)
{
    struct coil__lease *lease = self->free_lease;
    int result = -ENOBUFS;

    if (receive->request.state == COIL__REQUEST_CANCELLED) {
        end_receive(self, receive, -ECANCELED);
        return true;
    }
    if (readiness(&receive->request) == 0) {
        keep(self, &receive->request);
        return false;
    }
    if (lease)
        result = outcome(recv(receive->request.fd, lease->data, lease->capacity, MSG_DONTWAIT));
    if (result == -EAGAIN || result == -EINTR) {
        keep(self, &receive->request);
        return false;
    }
    if (result <= 0) {
        end_receive(self, receive, result);
        return true;
    }
    self->free_lease = lease->next;
    lease->next = NULL;
    lease->start = 0;
    lease->end = (uint32_t)result;
    keep(self, &receive->request);
    receive->event(receive, lease, result, true);
    return true;
}

static bool advance_datagrams(struct poll_engine *self, struct coil__receive *receive)
{
    struct coil__lease *lease = NULL;
    int result = -ENOBUFS;

    if (receive->request.state == COIL__REQUEST_CANCELLED) {
        end_receive(self, receive, -ECANCELED);
        return true;
    }
    if (readiness(&receive->request) == 0) {
        keep(self, &receive->request);
        return false;
    }
    if (self->datagram_count < DATAGRAMS_MAX)
        result = coil__poll_datagram(receive->request.fd, &lease);
    if (result >= 0) {
        self->datagram_count++;
        keep(self, &receive->request);
        receive->event(receive, lease, result, true);
        return true;
    }
    if (result == -EAGAIN || result == -EINTR) {
        keep(self, &receive->request);
        return false;
    }
    end_receive(self, receive, result);
    return true;
}

static bool advance_accept(struct poll_engine *self, struct coil__accept *accept)
{
    bool more = !accept->once;
    int result = -ECANCELED;

    if (accept->request.state != COIL__REQUEST_CANCELLED) {
        if (readiness(&accept->request) == 0) {
            keep(self, &accept->request);
            return false;
        }
        result = outcome(accept4(accept->request.fd, NULL, NULL, SOCK_CLOEXEC));
    }
    if (result < 0)
        more = false;
    if (more)
        keep(self, &accept->request);
    else
        retire(self, &accept->request);
    accept->event(accept, result, more);
    return true;
}

static bool advance(struct poll_engine *self, struct coil__request *request)
{
    if (request->kind == COIL__REQUEST_RECEIVE)
        return advance_receive(self, container_of(request, struct coil__receive, request));
    if (request->kind == COIL__REQUEST_DATAGRAMS)
        return advance_datagrams(self, container_of(request, struct coil__receive, request));
    if (request->kind == COIL__REQUEST_ACCEPT)
        return advance_accept(self, container_of(request, struct coil__accept, request));
    return advance_op(self, container_of(request, struct coil__op, request));
}

static unsigned advance_all(struct poll_engine *self)
{
    struct coil__list batch;
    struct coil__list *link;
    unsigned told_count = 0;

    coil__list_init(&batch);
    coil__list_splice_back(&batch, &self->pending);
    while ((link = coil__list_pop_front(&batch)) != NULL) {
        if (advance(self, container_of(link, struct coil__request, link)))
            told_count++;
    }
    return told_count;
}

/* ---- Sleeping ---- */

static int add_fd(struct poll_engine *self, size_t at, int fd, short events)
{
    if (at == self->fds_size) {
        const size_t size = self->fds_size ? 2 * self->fds_size : 64;
        struct pollfd *fds = coil__realloc(self->fds, size * sizeof *fds);

        if (!fds)
            return -ENOMEM;
        self->fds = fds;
        self->fds_size = size;
    }
    self->fds[at] = (struct pollfd){.fd = fd, .events = events};
    return 0;
}

static int sleep_until(struct poll_engine *self, int64_t deadline)
{
    struct timespec timeout;
    size_t count = 0;
    uint64_t wake_value;
    int64_t left = deadline;

    if (add_fd(self, count++, self->wake_fd, POLLIN) < 0)
        return -ENOMEM;
    for (struct coil__list *link = self->pending.next; link != &self->pending; link = link->next) {
        struct coil__request *request = container_of(link, struct coil__request, link);

        if (add_fd(self, count++, request->fd, poll_events(request)) < 0)
            return -ENOMEM;
    }
    if (deadline != INT64_MAX) {
        left = deadline - coil__clock_now();
        left = left > 0 ? left : 0;
    }
    timeout = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    self->engine.stats.enter_count++;
    if (ppoll(self->fds, count, deadline == INT64_MAX ? NULL : &timeout, NULL) > 0 &&
        self->fds[0].revents != 0)
        (void)!read(self->wake_fd, &wake_value, sizeof wake_value);
    return 0;
}

static int poll_engine_wait(struct coil__engine *engine, int64_t deadline)
{
    struct poll_engine *self = poll_engine_of(engine);

    for (;;) {
        const bool has_news = advance_all(self) > 0;
        int error;

        if (atomic_exchange(&self->is_woken, false)) {
            engine->stats.wake_count++;
            return 0;
        }
        if (has_news || deadline == 0 || (deadline != INT64_MAX && coil__clock_now() >= deadline))
            return 0;
        error = sleep_until(self, deadline);
        if (error < 0)
            return error;
    }
}

static void poll_engine_wake(struct coil__engine *engine)
{
    struct poll_engine *self = poll_engine_of(engine);
    const uint64_t one = 1;
    const int saved_errno = errno;

    atomic_store(&self->is_woken, true);
    (void)!write(self->wake_fd, &one, sizeof one);
    errno = saved_errno;
}

/* ---- The rest of the table ---- */

static void start(struct coil__engine *engine, struct coil__request *request)
{
    request->state = COIL__REQUEST_ACTIVE;
    request->generation = 0;
    engine->stats.active_count++;
    engine->stats.submission_count++;
    keep(poll_engine_of(engine), request);
}

static void stop(struct coil__engine *engine, struct coil__request *request)
{
    COIL_ASSERT(request->state != COIL__REQUEST_IDLE);
    request->state = COIL__REQUEST_CANCELLED;
    engine->stats.cancel_count++;
}

static void poll_engine_submit(struct coil__engine *engine, struct coil__op *op)
{
    start(engine, &op->request);
}

static void poll_engine_cancel(struct coil__engine *engine, struct coil__op *op)
{
    stop(engine, &op->request);
}

static void poll_engine_receive_start(struct coil__engine *engine, struct coil__receive *receive)
{
    start(engine, &receive->request);
}

static void poll_engine_receive_stop(struct coil__engine *engine, struct coil__receive *receive)
{
    stop(engine, &receive->request);
}

static void poll_engine_lease_return(struct coil__engine *engine, struct coil__lease *lease)
{
    struct poll_engine *self = poll_engine_of(engine);

    COIL_ASSERT(lease->is_shared);
    if (lease->group == COIL__POLL_DATAGRAM_GROUP) {
        self->datagram_count--;
        coil__free(lease);
        return;
    }
    lease->next = self->free_lease;
    self->free_lease = lease;
}

static void poll_engine_accept_start(struct coil__engine *engine, struct coil__accept *accept)
{
    start(engine, &accept->request);
}

static void poll_engine_accept_stop(struct coil__engine *engine, struct coil__accept *accept)
{
    stop(engine, &accept->request);
}

static const char *poll_engine_describe(const struct coil__engine *engine)
{
    return ((const struct poll_engine *)(const void *)engine)->description;
}

static void poll_engine_close(struct coil__engine *engine)
{
    struct poll_engine *self = poll_engine_of(engine);

    COIL_ASSERT(engine->stats.active_count == 0);
    (void)close(self->wake_fd);
    coil__free(self->fds);
    coil__free(self->memory);
    coil__free(self->leases);
    coil__free(self);
}

static const struct coil__engine_ops poll_engine_ops = {
    .name = "poll",
    .close = poll_engine_close,
    .submit = poll_engine_submit,
    .cancel = poll_engine_cancel,
    .receive_start = poll_engine_receive_start,
    .receive_stop = poll_engine_receive_stop,
    .lease_return = poll_engine_lease_return,
    .accept_start = poll_engine_accept_start,
    .accept_stop = poll_engine_accept_stop,
    .wait = poll_engine_wait,
    .wake = poll_engine_wake,
    .describe = poll_engine_describe,
};

static int make_leases(struct poll_engine *self, unsigned count, unsigned size)
{
    self->leases = coil__alloc(count * sizeof *self->leases);
    self->memory = coil__alloc((size_t)count * size);
    if (!self->leases || !self->memory)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        self->leases[i] = (struct coil__lease){
            .next = self->free_lease,
            .data = self->memory + (size_t)i * size,
            .capacity = size,
            .is_shared = true,
        };
        self->free_lease = &self->leases[i];
    }
    return 0;
}

int coil__poll_engine_open(const struct coil__engine_options *options,
                           struct coil__engine **ret_engine, char *ret_why)
{
    const unsigned count = options->buffer_count ? options->buffer_count : BUFFER_COUNT;
    const unsigned size = options->buffer_size ? options->buffer_size : BUFFER_SIZE;
    struct poll_engine *self = coil__alloc(sizeof *self);
    int error = -ENOMEM;

    if (!self || make_leases(self, count, size) < 0)
        goto fail;
    /* The first descriptors' room now, or a test that fails an allocation breaks the engine. */
    if (add_fd(self, 0, -1, 0) < 0)
        goto fail;
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        error = -errno;
        goto fail;
    }
    self->engine.ops = &poll_engine_ops;
    self->engine.has_datagrams = true;
    coil__list_init(&self->pending);
    (void)snprintf(self->description, sizeof self->description, "poll, buffers %u x %u bytes",
                   count, size);
    *ret_engine = &self->engine;
    return 0;

fail:
    (void)snprintf(ret_why, WHY_SIZE, "the poll engine got no memory or descriptor");
    if (self) {
        coil__free(self->fds);
        coil__free(self->memory);
        coil__free(self->leases);
    }
    coil__free(self);
    return error;
}
