/* SPDX-License-Identifier: MIT */
/* Listening sockets (coil/listener.h; how accepting adapts: net/listener.h).
 *
 * Errors of accept fall into three classes. Those of one connection (it was reset while it waited,
 * a firewall refused it) are skipped. Those of the moment (no descriptors, no memory) pause
 * accepting by a timer, 10 ms at first, doubled up to a second, since nothing tells when a
 * descriptor becomes free. All others are the listener's end: the kernel refuses from then on, for
 * the close may have to wait for handlers, and who connects meanwhile would wait with them.
 *
 * A graceful stop loses no connection that the kernel has accepted for us: closing would reset what
 * is in the backlog, and shutdown(2) on a TCP listener does the same. So first a filter drops what
 * would open a new connection, but nothing of handshakes under way (such a client tries again a
 * second later, and meets the successor on the same port, or nobody); then the backlog is taken,
 * one by one as there is room; and then shutdown(2) makes the kernel refuse at once, long before
 * the last handler has returned and the listener is closed. On a unix listener shutdown(2) refuses
 * new ones and leaves the backlog alone, so it comes first.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "io/signal.h"
#include "net/stream.h"

COIL_STATIC_ASSERT(sizeof(coil_listener) <= 344, "a promise of the header");

enum {
    QUEUE_MAX = 64,       /* accepted connections that nobody has asked for yet, then a pause */
    QUEUE_SIZE_MIN = 128, /* a paused accept may still deliver what was under way; made by listen,
                           * so that a connection is not lost to a shortage of memory */
    FD_RESERVE = 64,      /* descriptors left to the program when accepting turns careful */

    /* For the backlog of a stopped listener. */
    SHORTAGES_MAX = 100,   /* tries, each after retry_delay_min: a second in all */
    TCP_FLAGS_OFFSET = 13, /* RFC 9293, section 3.1 */
    TCP_FLAG_SYN = 0x02,
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

/* Lets no new connection begin. Where the kernel refuses a filter (seccomp), what comes while the
 * backlog is taken is taken as well, if it comes fast enough. */
static void refuse_new(const coil_listener *listener)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_OFFSET),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TCP_FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {sizeof code / sizeof code[0], code};
    const int fd = listener->accept.request.fd;

    if (listener->addr.storage.ss_family == AF_UNIX)
        (void)shutdown(fd, SHUT_RD);
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void coil__listener_stop(coil_listener *listener, int error)
{
    if (!listener->error && error == -ESHUTDOWN)
        refuse_new(listener);
    if (!listener->error || error == -EBADF)
        listener->error = error;
    stop(listener);
    coil__timer_disarm(&listener->sched->timers, &listener->retry);
    (void)coil__waitq_wake_all(&listener->acceptors, listener->error);
}

void coil__listener_settle(coil_listener *listener)
{
    COIL_ASSERT(listener->error && "has been stopped");
    while (listener->is_active)
        (void)coil__waitq_park_shielded(&listener->settlers, "end of accept");
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

enum failure {
    PASSING, /* of one connection, or of the attempt */
    SHORTAGE,
    FINAL,
};

static enum failure class_of(int error)
{
    switch (error) {
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
        return PASSING;
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
        return SHORTAGE;
    default:
        return FINAL;
    }
}

static void end_backlog(coil_listener *listener)
{
    const int fd = listener->accept.request.fd;
    coil_address bound = {.length = sizeof bound.storage};

    if (listener->is_over)
        return;
    /* A port that the kernel chose is given back, and its number forgotten. */
    if (getsockname(fd, coil__addr_sockaddr(&bound), &bound.length) == 0)
        listener->addr = bound;
    listener->is_over = true;
    (void)shutdown(fd, SHUT_RD);
}

static void accept_failed(coil_listener *listener, int result)
{
    const enum failure failure = class_of(result);

    if (failure == SHORTAGE) {
        pause_accepting(listener);
    } else if (failure == FINAL && !listener->error) { /* that of a stop is take_left_over()'s */
        coil__listener_stop(listener, result);
        end_backlog(listener); /* nobody will take it, and the close may be far */
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
    if (!listener->is_active)
        (void)coil__waitq_wake_all(&listener->settlers, 0);
}

void coil__listener_abandon(coil_listener *listener)
{
    if (listener->error == -ESHUTDOWN)
        end_backlog(listener);
}

/* Waits a moment, in the queue, where a close finds it. A second stop is no news. */
static int wait_for_descriptors(coil_listener *listener)
{
    coil_scope moment;
    int result;

    coil_scope_enter(&moment, retry_delay_min);
    do
        result = coil__waitq_park(&listener->acceptors, "descriptors", listener);
    while (result == -ESHUTDOWN && listener->error == -ESHUTDOWN);
    if (coil_scope_leave(&moment))
        result = 0;
    return listener->error == -ESHUTDOWN ? result : listener->error;
}

/* A connection from the backlog of a listener that has been stopped, or why there is none. */
static int take_left_over(coil_listener *listener)
{
    const int fd = listener->accept.request.fd;
    int shortages = 0;
    int result = 0;

    if (listener->is_over)
        return -ESHUTDOWN;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    while (result == 0 && shortages < SHORTAGES_MAX) {
        const int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (accepted >= 0)
            return accepted;
        if (errno == EAGAIN || class_of(-errno) == FINAL)
            break;
        if (class_of(-errno) == SHORTAGE) {
            shortages++;
            result = wait_for_descriptors(listener);
        }
    }
    if (result < 0)
        return result;
    end_backlog(listener);
    return -ESHUTDOWN;
}

int coil__listener_take(coil_listener *listener)
{
    int fd;

    if (listener->queue_count > 0)
        return dequeue(listener);
    if (listener->error == -ESHUTDOWN) {
        coil__listener_settle(listener);
        if (listener->queue_count > 0)
            return dequeue(listener);
    }
    if (listener->error == -ESHUTDOWN)
        return take_left_over(listener);
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
    int watch = -1;
    int result = coil_address_parse(address, &addr);

    if (result < 0)
        return result == -EDESTADDRREQ ? -EINVAL : result;
    result = coil__options_read(&chosen, sizeof chosen, options);
    if (result < 0)
        return result;
    listener = coil__alloc(sizeof *listener);
    queue = coil__alloc(QUEUE_SIZE_MIN * sizeof *queue);
    result = listener && queue ? 0 : -ENOMEM;
    if (result == 0 && chosen.stop_on_signals)
        result = watch = coil__signal_watch_stop();
    if (result >= 0)
        result = open_socket(&addr, address, &chosen);
    if (result < 0) {
        if (watch >= 0)
            coil__signal_unwatch(watch);
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
        .signal_watch = watch,
        .addr = addr,
    };
    coil__list_init(&listener->accept.request.link);
    coil__waitq_init(&listener->acceptors);
    coil__waitq_init(&listener->settlers);
    listener->sched->opened[COIL__OPENED_LISTENER]++;
    *ret_listener = listener;
    return 0;
}

int coil_listener_address(const coil_listener *listener, char *ret_text, size_t size)
{
    if (listener->is_over)
        return coil_address_format(&listener->addr, ret_text, size);
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

    if (listener->signal_watch >= 0)
        coil__signal_unwatch(listener->signal_watch);
    path = coil__addr_unix_path(&listener->addr);
    if (path && !listener->keep_unix)
        (void)unlink(path);
    (void)close(listener->accept.request.fd);
    coil__free(listener->queue);
    listener->sched->opened[COIL__OPENED_LISTENER]--;
    coil__free(listener);
}
