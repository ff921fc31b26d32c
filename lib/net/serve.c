/* SPDX-License-Identifier: MIT */
/* The server loop: coil_serve() and its graceful stop (coil/listener.h).
 *
 * The serving fiber takes a connection only when it has a place for it, so at the limit the surplus
 * waits in the listener's queue and in the kernel's backlog, in order. Each connection is a fiber;
 * its entry in the server's list lies in that fiber's own frame.
 *
 * A stop has three steps: no new connection can begin (what has come as far as the kernel's backlog
 * is still served, within the limit: net/listener.c), every stream is told to end its idle reads,
 * and after the grace the fibers that are left are cancelled. The server waits for all of them in
 * any case: they own streams that belong to this loop. Connections that have been moved to other
 * cores (net/away.h) are told the same, and waited for.
 */
#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "io/signal.h"
#include "net/away.h"
#include "net/listener.h"
#include "net/serve.h"

enum {
    CONCURRENCY_DEFAULT = 100000, /* some 500 MB of stacks and streams */

    /* With fewer places than this left, connections are accepted one at a time. */
    SCARCE = 64,
};

static const coil_time grace_default = COIL_SECONDS(30);
static const coil_time close_timeout_default = COIL_SECONDS(60);
static const coil_time shortage_delay = COIL_MS(10);

struct connection {
    struct coil__list link;
    struct coil__loan loan;
    coil_fiber *fiber;
};

/* ---- A connection ---- */

void coil__server_left(struct coil__server *server)
{
    server->running--;
    (void)coil__waitq_wake_one(&server->idle, 0);
}

/* Tells of a handler's negative result; what nobody was told of is the fiber's result, for the
 * unhandled hook. That a peer went away is no news to anybody. */
static int report(const struct coil__server *server, int result)
{
    if (result >= 0)
        return 0;
    if (server->options.failed) {
        server->options.failed(result, server->arg);
        return 0;
    }
    return result == -ECONNRESET || result == -EPIPE ? 0 : result;
}

static int run_connection(void *arg)
{
    coil_stream *stream = arg;
    struct coil__server *server = stream->loan->server;
    struct connection connection = {.loan = {.stream = stream, .server = server},
                                    .fiber = coil_self()};
    int result;

    coil_fiber_name_set(connection.fiber, "connection");
    stream->loan = &connection.loan;
    coil__list_push_back(&server->connections, &connection.link);
    if (server->is_draining)
        coil__stream_drain(stream);
    if (server->is_cancelling)
        coil_cancel(connection.fiber);

    result = server->handler(stream, server->arg);
    coil__loan_end(&connection.loan, server->options.close_timeout);
    coil__list_remove(&connection.link);
    result = report(server, result);
    coil__server_left(server);
    return result;
}

/* ---- Stopping ---- */

static void cancel_connections(struct coil__server *server)
{
    struct coil__list *link;

    server->is_cancelling = true;
    for (link = server->connections.next; link != &server->connections; link = link->next)
        coil_cancel(container_of(link, struct connection, link)->fiber);
    coil__away_cancel_all(server);
}

/* The end of the grace, which is one for who is in the backlog, too: where nothing keeps new ones
 * from coming (net/listener.c), it would never be empty. */
static void end_grace(struct coil__server *server)
{
    coil__listener_abandon(server->listener);
    cancel_connections(server);
}

static void grace_over(struct coil__timer *timer)
{
    end_grace(container_of(timer, struct coil__server, grace));
}

static void begin_drain(struct coil__server *server)
{
    struct coil__list *link;

    if (server->is_draining)
        return;
    server->is_draining = true;
    coil__listener_stop(server->listener, -ESHUTDOWN);
    for (link = server->connections.next; link != &server->connections; link = link->next) {
        coil_stream *stream = container_of(link, struct connection, link)->loan.stream;

        if (stream)
            coil__stream_drain(stream);
    }
    coil__away_drain_all(server);
    coil__timer_arm(&server->listener->sched->timers, &server->grace,
                    coil__clock_deadline(server->options.grace));
}

void coil_serve_stop(coil_listener *listener)
{
    if (listener->server)
        begin_drain(listener->server);
    else
        coil__listener_stop(listener, -ESHUTDOWN);
}

/* Runs as a fiber beside the server: the first signal stops, the second one cancels. */
struct stopper {
    struct coil__server *server;
    int watch;
};

static int watch_signals(void *arg)
{
    const struct stopper *stopper = arg;

    if (coil__signal_wait(stopper->watch) < 0)
        return 0;
    begin_drain(stopper->server);
    if (coil__signal_wait(stopper->watch) < 0)
        return 0;
    end_grace(stopper->server);
    return 0;
}

/* The listener's own watch goes on. */
static void end_watch(const struct stopper *stopper)
{
    if (stopper->server->listener->signal_watch < 0)
        coil__signal_unwatch(stopper->watch);
}

static int start_stopper(struct stopper *stopper, coil_fiber **ret_fiber)
{
    const coil_listener *listener = stopper->server->listener;
    int result = listener->signal_watch;

    if (result < 0)
        result = coil__signal_watch_stop();
    if (result < 0)
        return result;
    stopper->watch = result;
    result = coil_spawn(watch_signals, stopper, ret_fiber);
    if (result < 0)
        end_watch(stopper);
    else
        coil_fiber_name_set(*ret_fiber, "signals");
    return result;
}

static void end_stopper(const struct stopper *stopper, coil_fiber *fiber)
{
    coil_scope shield;

    coil_cancel(fiber);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    (void)coil_join(fiber, NULL);
    (void)coil_scope_leave(&shield);
    coil_fiber_unref(fiber);
    end_watch(stopper);
}

/* ---- The loop ---- */

/* Gives a taken connection to a fiber. In a shortage (fibers, memory) waits for one to end and
 * tries again: the connection is not the one to suffer. */
static int start_connection(struct coil__server *server, coil_stream *stream)
{
    /* As a return address in the handler would be: one past its beginning. */
    const void *spawn_site = (const char *)(uintptr_t)server->handler + 1;

    stream->loan = &server->loan;
    for (;;) {
        int result =
            coil__fiber_spawn(server->listener->sched, run_connection, stream, spawn_site, NULL);

        if (result == 0) {
            server->running++;
            return 0;
        }
        result = server->is_cancelling ? -ESHUTDOWN : coil_expired();
        if (result == 0)
            result = coil_sleep(shortage_delay); /* others may end it, not only a connection */
        if (result < 0) {
            (void)coil_close(stream);
            return result;
        }
    }
}

static int serve_one(struct coil__server *server)
{
    coil_stream *stream;
    size_t left_over;
    int result = coil__checkpoint(coil__self());

    while (result == 0 && server->running >= server->options.concurrency)
        result = coil__waitq_park(&server->idle, "connection slot", server);
    if (result < 0)
        return result;

    left_over = server->options.concurrency - server->running;
    server->listener->is_scarce = left_over <= SCARCE;
    result = coil_accept(server->listener, &stream);
    if (result == -ENOMEM)
        return coil_sleep(shortage_delay);
    return result < 0 ? result : start_connection(server, stream);
}

/* Whether the listener, stopped, may have more than was taken. */
static bool is_left_over(struct coil__server *server)
{
    const coil_listener *listener = server->listener;

    coil__listener_settle(server->listener);
    return listener->queue_count > 0 || !listener->is_over;
}

/* Waits for the last one. Returns 0, or the interruption of the caller, who wants out: it cancels
 * what runs, whatever is left of the grace. */
static int wait_for_connections(struct coil__server *server)
{
    int result = 0;

    while (server->running > 0 && result == 0) {
        result = coil_expired();
        if (result == 0)
            result = coil__waitq_park(&server->idle, "connections", server);
    }
    if (result < 0)
        cancel_connections(server);
    while (server->running > 0)
        (void)coil__waitq_park_shielded(&server->idle, "connections");
    return result;
}

static int serve(struct coil__server *server)
{
    int result;
    int interruption;

    if (server->listener->error == -ESHUTDOWN)
        begin_drain(server); /* stopped before: the grace is for what is served now */
    do
        result = serve_one(server);
    while (result == 0 || (result == -ESHUTDOWN && is_left_over(server)));

    begin_drain(server);
    interruption = wait_for_connections(server);
    coil__timer_disarm(&server->listener->sched->timers, &server->grace);
    return result == -ESHUTDOWN ? interruption : result;
}

int coil_serve(coil_listener *listener, coil_handler *handler, void *arg,
               const coil_serve_options *options)
{
    struct coil__server server = {
        .listener = listener,
        .handler = handler,
        .arg = arg,
        .grace = {.fire = grace_over},
    };
    struct stopper stopper = {.server = &server};
    coil_fiber *stopper_fiber = NULL;
    int result = 0;

    if (listener->server)
        return -EBUSY;
    result = coil__options_read(&server.options, sizeof server.options, options);
    if (result < 0)
        return result;
    if (!server.options.concurrency)
        server.options.concurrency = CONCURRENCY_DEFAULT;
    if (!server.options.grace)
        server.options.grace = grace_default;
    if (!server.options.close_timeout)
        server.options.close_timeout = close_timeout_default;
    server.loan.server = &server;
    coil__list_init(&server.connections);
    coil__list_init(&server.away);
    coil__waitq_init(&server.idle);

    if (server.options.stop_on_signals || listener->signal_watch >= 0)
        result = start_stopper(&stopper, &stopper_fiber);
    if (result < 0)
        return result;
    listener->server = &server;
    result = serve(&server);
    listener->server = NULL;
    if (stopper_fiber)
        end_stopper(&stopper, stopper_fiber);
    return result;
}
