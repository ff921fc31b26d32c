/* SPDX-License-Identifier: MIT */
/* Listening sockets (coil/listener.h; how accepting adapts: net/listener.h).
 *
 * Errors of accept fall into three classes. Those of one connection (it was reset while it waited,
 * a firewall refused it) are skipped. Those of the moment (no descriptors, no memory) pause
 * accepting by a timer, 10 ms at first, doubled up to a second, since nothing tells when a
 * descriptor becomes free. All others are the listener's end.
 */
#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "net/stream.h"

enum {
    QUEUE_MAX = 64,       /* accepted connections that nobody has asked for yet, then a pause */
    QUEUE_SIZE_MIN = 128, /* a paused accept may still deliver what was under way; made by listen,
                           * so that a connection is not lost to a shortage of memory */
    FD_RESERVE = 64,      /* descriptors left to the program when accepting turns careful */
};

static const coil_time retry_delay_min = COIL_MS(10);
static const coil_time retry_delay_max = COIL_SECONDS(1);

/* ---- The queue ---- */

static bool grow_queue(coil_listener *listener)
{
    const size_t size = listener->queue_size * 2;
    int *queue = coil__alloc(size * sizeof *queue);

    if (!queue)
        return false;
    for (size_t i = 0; i < listener->queue_count; i++)
        queue[i] = listener->queue[(listener->queue_first + i) % listener->queue_size];
    coil__free(listener->queue);
    listener->queue = queue;
    listener->queue_size = size;
    listener->queue_first = 0;
    return true;
}

static void enqueue(coil_listener *listener, int fd)
{
    COIL_ASSERT(listener->queue_size > 0);
    if (listener->queue_count == listener->queue_size && !grow_queue(listener)) {
        coil__log(COIL_LOG_ERROR, "no memory to keep an accepted connection; it is closed");
        (void)close(fd);
        return;
    }
    listener->queue[(listener->queue_first + listener->queue_count++) % listener->queue_size] = fd;
}

static int dequeue(coil_listener *listener)
{
    const int fd = listener->queue[listener->queue_first];

    listener->queue_first = (listener->queue_first + 1) % listener->queue_size;
    listener->queue_count--;
    return fd;
}

/* ---- Accepting ---- */

static void start(coil_listener *listener)
{
    if (listener->is_active || listener->error || coil__heap_has(&listener->retry.node))
        return;
    listener->is_active = true;
    listener->is_stopping = false;
    listener->accept.once =
        listener->is_scarce || listener->is_near_limit || listener->retry_delay > 0;
    listener->sched->engine->ops->accept_start(listener->sched->engine, &listener->accept);
}

static void stop(coil_listener *listener)
{
    if (!listener->is_active || listener->is_stopping)
        return;
    listener->is_stopping = true;
    listener->sched->engine->ops->accept_stop(listener->sched->engine, &listener->accept);
}

static void retry(struct coil__timer *timer)
{
    coil_listener *listener = container_of(timer, coil_listener, retry);

    if (!coil__waitq_is_empty(&listener->acceptors))
        start(listener);
}

static void pause_accepting(coil_listener *listener)
{
    coil_time delay = listener->retry_delay * 2;

    if (listener->error)
        return; /* stopped meanwhile: a timer would outlive the listener */
    if (delay < retry_delay_min)
        delay = retry_delay_min;
    if (delay > retry_delay_max)
        delay = retry_delay_max;
    listener->retry_delay = delay;
    coil__timer_disarm(&listener->sched->timers, &listener->retry);
    coil__timer_arm(&listener->sched->timers, &listener->retry, coil__clock_deadline(delay));
}

void coil__listener_stop(coil_listener *listener, int error)
{
    if (!listener->error)
        listener->error = error;
    stop(listener);
    coil__timer_disarm(&listener->sched->timers, &listener->retry);
    (void)coil__waitq_wake_all(&listener->acceptors, listener->error);
}

void coil__listener_settle(coil_listener *listener)
{
    COIL_ASSERT(listener->error && "has been stopped");
    while (listener->is_active) {
        listener->closer = coil__self();
        (void)coil__park("end of accept", listener, NULL);
    }
}

static void accepted(coil_listener *listener, int fd)
{
    listener->retry_delay = 0;
    listener->is_near_limit = fd >= listener->fd_limit;
    if (!coil__waitq_wake_one(&listener->acceptors, fd))
        enqueue(listener, fd);
    if (listener->queue_count >= QUEUE_MAX)
        stop(listener);
    if ((listener->is_scarce || listener->is_near_limit) && !listener->accept.once)
        stop(listener);
}

static void accept_failed(coil_listener *listener, int result)
{
    switch (result) {
    case -ECANCELED: /* stopped, by us */
    case -EINTR:
    case -EAGAIN:
    case -ECONNABORTED:
    case -EPROTO:
    case -EPERM:
    case -ENETDOWN:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case -ENONET:
    case -ENOPROTOOPT:
    case -EOPNOTSUPP:
        return;
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
        pause_accepting(listener);
        return;
    default:
        coil__listener_stop(listener, result);
    }
}

static void accept_event(struct coil__accept *accept, int result, bool more)
{
    coil_listener *listener = container_of(accept, coil_listener, accept);

    listener->is_active = more;
    if (result >= 0)
        accepted(listener, result);
    else
        accept_failed(listener, result);
    if (more)
        return;
    if (!coil__waitq_is_empty(&listener->acceptors))
        start(listener);
    if (!listener->is_active && listener->closer) {
        coil__wake(listener->closer, 0);
        listener->closer = NULL;
    }
}

int coil__listener_take(coil_listener *listener)
{
    int fd;

    if (listener->queue_count > 0)
        return dequeue(listener);
    if (listener->error)
        return listener->error;
    start(listener);
    fd = coil__waitq_park(&listener->acceptors, "accept", listener);
    return fd;
}

static int accept_inside(coil_listener *listener, coil_stream **ret_stream)
{
    int result = coil__checkpoint(coil__self());
    int fd;

    if (result < 0)
        return result;
    fd = coil__listener_take(listener);
    if (fd < 0)
        return fd;
    result = coil__stream_make(listener->sched, fd, ret_stream);
    if (result < 0)
        enqueue(listener, fd); /* it waits for better times */
    return result;
}

int coil_accept(coil_listener *listener, coil_stream **ret_stream)
{
    int result;

    listener->guest_count++;
    result = accept_inside(listener, ret_stream);
    listener->guest_count--;
    return result;
}

/* ---- Opening ---- */

static int set_up(int fd, const coil_address *addr, const coil_listen_options *options)
{
    const int one = 1;
    const int zero = 0;
    const int family = addr->storage.ss_family;

    if (family == AF_UNIX) {
        coil__addr_remove_stale(addr);
        /* Before it has a name, so nobody can open it in between. */
        if (options->unix_mode && fchmod(fd, options->unix_mode) < 0)
            return -errno;
    } else {
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
            return -errno;
        /* Accepted sockets inherit it: no system call per connection. */
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
            return -errno;
    }
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0)
        return -errno;
    if (bind(fd, coil__addr_sockaddr(addr), addr->length) < 0)
        return -errno;
    return listen(fd, options->backlog > 0 ? options->backlog : SOMAXCONN) < 0 ? -errno : 0;
}

static int open_socket(coil_address *addr, const char *address, const coil_listen_options *options)
{
    const int fd = coil__addr_socket(addr, address, SOCK_STREAM);
    int result;

    if (fd < 0)
        return fd;
    result = set_up(fd, addr, options);
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    return fd;
}

static int fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    return (int)limit.rlim_cur - FD_RESERVE;
}

int coil_listen(const char *address, const coil_listen_options *options,
                coil_listener **ret_listener)
{
    coil_listen_options chosen;
    coil_address addr;
    coil_listener *listener;
    int *queue;
    int result = coil_address_parse(address, &addr);

    if (result < 0)
        return result == -EDESTADDRREQ ? -EINVAL : result;
    result = coil__options_read(&chosen, sizeof chosen, options);
    if (result < 0)
        return result;
    listener = coil__alloc(sizeof *listener);
    queue = coil__alloc(QUEUE_SIZE_MIN * sizeof *queue);
    result = listener && queue ? open_socket(&addr, address, &chosen) : -ENOMEM;
    if (result < 0) {
        coil__free(queue);
        coil__free(listener);
        return result;
    }

    *listener = (coil_listener){
        .sched = coil__sched(),
        .accept = {.request = {.kind = COIL__REQUEST_ACCEPT, .fd = result}, .event = accept_event},
        .retry = {.fire = retry},
        .queue = queue,
        .queue_size = QUEUE_SIZE_MIN,
        .fd_limit = fd_limit(),
        .is_near_limit = result >= fd_limit(),
        .keep_unix = chosen.keep_unix,
        .addr = addr,
    };
    coil__list_init(&listener->accept.request.link);
    coil__waitq_init(&listener->acceptors);
    *ret_listener = listener;
    return 0;
}

int coil_listener_address(const coil_listener *listener, char *ret_text, size_t size)
{
    return coil__addr_format_local(listener->accept.request.fd, ret_text, size);
}

void coil_listener_close(coil_listener *listener)
{
    const char *path;

    if (!listener)
        return;
    COIL_ASSERT(!listener->server && "coil_serve() returns first: coil_serve_stop()");
    coil__listener_stop(listener, -EBADF);
    coil__listener_settle(listener);
    while (listener->guest_count > 0)
        coil__yield(coil__self()); /* they are all runnable, some with a connection in hand */
    while (listener->queue_count > 0)
        (void)close(dequeue(listener));

    path = coil__addr_unix_path(&listener->addr);
    if (path && !listener->keep_unix)
        (void)unlink(path);
    (void)close(listener->accept.request.fd);
    coil__free(listener->queue);
    coil__free(listener);
}
