/* SPDX-License-Identifier: MIT */
/* proxy: passes TCP or unix connections on to another address; a tour of groups and deadlines.
 *
 *     proxy --listen 127.0.0.1:8080 --to 127.0.0.1:80 --console unix:/run/proxy
 *
 * A connection is a group of two fibers, one for each direction. The end of one direction is passed
 * on and the other one goes on; a failure ends both, since the group cancels what is left, and is
 * passed on as a reset: what was cut short must not look complete. Nothing takes a timeout: a
 * deadline is a scope around the calls that it is for. Bytes are not copied into a buffer of the
 * program: they are sent from where they were received.
 *
 * Fibers have names, so that who asks the console ("ps") or sends SIGQUIT sees what each connection
 * does. On SIGTERM or SIGINT no new connections are taken, those that are quiet are ended, and what
 * is being transferred has 30 s to get through. Then it exits with 0.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <coil/coil.h>

#include "plain.h"

enum {
    SECONDS_MAX = 1000000,
    LOG_LINES = 256, /* that whoever reads the log may be behind */
};

static const coil_time idle_default = COIL_SECONDS(300);
static const coil_time connect_timeout_default = COIL_SECONDS(10);
static const coil_time close_timeout = COIL_SECONDS(5); /* for the last bytes */
static const coil_time quiet =
    COIL_SECONDS(2); /* without a byte: not worth waiting for at a stop */
static const coil_time quiet_check = COIL_MS(100);

struct connection;

struct proxy {
    const char *listen;
    const char *to;
    const char *console; /* NULL: none */
    coil_time idle;
    coil_time connect_timeout;
    bool is_verbose;
    coil_chan *log; /* struct report, to the fiber that writes them; NULL: none are wanted */
    unsigned long long lost_lines;
    coil_listener *listener;
    coil_backdoor *backdoor;
    struct connection *connections;
};

/* One direction. */
struct way {
    struct connection *connection;
    coil_stream *from;
    coil_stream *to;
    uint64_t bytes;
    bool is_behind; /* has bytes, or the end, that it has not passed on */
};

struct connection {
    struct proxy *proxy;
    struct connection *next;
    char peer[COIL_ADDRESS_SIZE];
    coil_group group;
    bool has_failed; /* one of its directions, not by being cancelled */
    struct way up;
    struct way down;
    int64_t active; /* when bytes went through, in either direction */
};

/* ---- A direction ---- */

/* Parks until there are bytes to pass on. A direction is idle when the other one is, too: who
 * downloads has nothing to say meanwhile. */
static ssize_t wait_for_bytes(struct way *way, const char **ret_bytes)
{
    const struct connection *connection = way->connection;
    const coil_time idle = connection->proxy->idle;
    coil_scope scope;
    ssize_t length;

    do {
        coil_scope_enter(&scope, connection->active + idle - coil_now());
        length = coil_peek(way->from, 1, ret_bytes);
        if (!coil_scope_leave(&scope))
            return length;
    } while (coil_now() - connection->active < idle);
    return -ETIMEDOUT;
}

static int send_bytes(const struct way *way, const char *bytes, size_t length)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, way->connection->proxy->idle);
    result = length > 0 ? coil_write(way->to, bytes, length) : coil_shutdown(way->to);
    if (result == 0 && length > 0)
        result = coil_flush(way->to);
    (void)coil_scope_leave(&scope);
    return result;
}

static int pass_bytes(struct way *way)
{
    const char *bytes = NULL;
    ssize_t length;
    int result;

    do {
        length = wait_for_bytes(way, &bytes);
        if (length < 0)
            return (int)length;
        way->connection->active = coil_now();
        way->is_behind = true;
        result = send_bytes(way, bytes, (size_t)length);
        if (result < 0)
            return result;
        way->is_behind = false;
        way->connection->active = coil_now();
        way->bytes += (uint64_t)length;
        coil_consume(way->from, (size_t)length);
    } while (length > 0);
    return 0;
}

/* A reset ends both directions, and both meet it; the group wants to hear of it once. */
static int pass_on(void *arg)
{
    struct way *way = arg;
    const int result = pass_bytes(way);

    if (result >= 0 || way->connection->has_failed)
        return 0;
    way->connection->has_failed = result != -ECANCELED;
    return result;
}

/* ---- The log ---- */

struct report {
    char peer[COIL_ADDRESS_SIZE];
    uint64_t up;
    uint64_t down;
    const char *what;
    int result;
};

static int write_log(void *arg)
{
    struct proxy *proxy = arg;
    struct report report;
    coil_stream *out;
    int result = coil_stdout(&out);

    coil_fiber_name_set(coil_self(), "log");
    while (result == 0 && coil_chan_recv(proxy->log, &report) > 0) {
        make_plain(report.peer, strlen(report.peer)); /* of a unix socket: any bytes */
        (void)coil_printf(out, "%s: %llu bytes up, %llu down, %s%s%s\n", report.peer,
                          (unsigned long long)report.up, (unsigned long long)report.down,
                          report.what, report.result < 0 ? ": " : "",
                          report.result < 0 ? coil_strerror(report.result) : "");
        if (proxy->lost_lines > 0)
            (void)coil_printf(out, "%llu lines were lost\n", proxy->lost_lines);
        proxy->lost_lines = 0;
        result = coil_flush(out);
    }
    return 0;
}

/* ---- A connection ---- */

/* Never waits: of a log that nobody reads, lines are lost instead. */
static void tell(const struct connection *connection, const char *what, int result)
{
    struct proxy *proxy = connection->proxy;
    struct report report = {
        .up = connection->up.bytes,
        .down = connection->down.bytes,
        .what = what,
        .result = result,
    };

    memcpy(report.peer, connection->peer, sizeof report.peer);
    if (proxy->log && coil_chan_try_send(proxy->log, &report) < 0)
        proxy->lost_lines++;
}

static int spawn_way(struct way *way, const char *name)
{
    char text[COIL_ADDRESS_SIZE];
    coil_fiber *fiber;
    const int result = coil_group_spawn(&way->connection->group, pass_on, way, &fiber);

    if (result < 0)
        return result;
    (void)snprintf(text, sizeof text, "%s %.100s", name, way->connection->peer);
    coil_fiber_name_set(fiber, text);
    coil_fiber_unref(fiber);
    return 0;
}

/* Returns when both directions have ended. */
static int pass_both_on(struct connection *connection)
{
    struct proxy *proxy = connection->proxy;
    struct connection **link = &proxy->connections;
    int result;
    int failure;

    connection->active = coil_now();
    coil_group_enter(&connection->group, 0);
    connection->next = proxy->connections;
    proxy->connections = connection;

    result = spawn_way(&connection->up, "up");
    if (result == 0)
        result = spawn_way(&connection->down, "down");
    if (result < 0)
        coil_group_cancel(&connection->group);
    failure = coil_group_leave(&connection->group);

    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    return result < 0 ? result : failure;
}

/* Makes the close a reset, where there is such a thing: on TCP. */
static void reset_at_close(const coil_stream *stream)
{
    const struct linger at_once = {.l_onoff = 1};

    (void)setsockopt(coil_stream_fd(stream), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static int serve_client(coil_stream *client, void *arg)
{
    struct proxy *proxy = arg;
    struct connection connection = {.proxy = proxy};
    coil_stream *upstream;
    coil_scope scope;
    int result;

    (void)coil_stream_peer(client, connection.peer, sizeof connection.peer);
    coil_fiber_name_set(coil_self(), connection.peer);
    coil_scope_enter(&scope, proxy->connect_timeout);
    result = coil_connect(proxy->to, NULL, &upstream);
    (void)coil_scope_leave(&scope);
    if (result < 0) {
        tell(&connection, "not connected", result);
        return 0;
    }
    connection.up = (struct way){.connection = &connection, .from = client, .to = upstream};
    connection.down = (struct way){.connection = &connection, .from = upstream, .to = client};
    result = pass_both_on(&connection);
    tell(&connection, result < 0 ? "failed" : "ended", result);

    /* Nobody misses anything when it was only quiet for too long. */
    if (connection.up.is_behind || connection.down.is_behind ||
        (result < 0 && result != -ETIMEDOUT)) {
        reset_at_close(client);
        reset_at_close(upstream);
    }
    /* What the other side of a failure has not read yet is not worth a wait. */
    coil_scope_enter(&scope, result < 0 ? 0 : close_timeout);
    (void)coil_close(upstream);
    (void)coil_scope_leave(&scope);
    return 0;
}

static int end_quiet(void *arg)
{
    const struct proxy *proxy = arg;

    coil_fiber_name_set(coil_self(), "end quiet");
    do {
        for (struct connection *it = proxy->connections; it; it = it->next)
            if (coil_now() - it->active >= quiet)
                coil_group_cancel(&it->group);
    } while (coil_sleep(quiet_check) == 0);
    return 0;
}

/* ---- The server ---- */

/* Stops the server, also before it has begun. It waits for all connections, but those that are
 * quiet are not worth it. */
static void drain(void *arg)
{
    struct proxy *proxy = arg;

    if (proxy->listener)
        coil_serve_stop(proxy->listener);
    if (coil_spawn(end_quiet, proxy, NULL) < 0)
        (void)fprintf(stderr, "proxy: the quiet ones stay until the grace is over\n");
}

static int on_signal(int number, void *arg)
{
    (void)number;
    drain(arg);
    return 0;
}

static int open_all(struct proxy *proxy)
{
    coil_backdoor_options options = COIL_BACKDOOR_OPTIONS_INIT;
    int result = coil_listen(proxy->listen, NULL, &proxy->listener);

    if (result < 0)
        (void)fprintf(stderr, "proxy: cannot listen on %s: %s\n", proxy->listen,
                      coil_strerror(result));
    if (result < 0 || !proxy->console)
        return result;
    options.drain = drain;
    options.arg = proxy;
    result = coil_backdoor_open(proxy->console, &options, &proxy->backdoor);
    if (result < 0)
        (void)fprintf(stderr, "proxy: no console at %s: %s\n", proxy->console,
                      coil_strerror(result));
    return result;
}

static int listen_and_serve(struct proxy *proxy)
{
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener;
    int result = open_all(proxy);

    if (result == 0)
        result = coil_signal_handle(SIGTERM, on_signal, proxy, NULL);
    if (result == 0)
        result = coil_signal_handle(SIGINT, on_signal, proxy, NULL);
    if (result == 0) {
        (void)coil_listener_address(proxy->listener, address, sizeof address);
        (void)printf("listening on %s\n", address);
        (void)fflush(stdout);
        options.stop_on_signals = true; /* a second one ends the grace */
        options.close_timeout = close_timeout;
        result = coil_serve(proxy->listener, serve_client, proxy, &options);
    }
    listener = proxy->listener;
    proxy->listener = NULL; /* for a signal that comes now */
    coil_backdoor_close(proxy->backdoor);
    coil_listener_close(listener);
    return result;
}

static int serve(void *arg)
{
    struct proxy *proxy = arg;
    coil_group writer;
    coil_scope scope;
    int result = 0;

    if (proxy->is_verbose)
        result = coil_chan_new(LOG_LINES, sizeof(struct report), &proxy->log);
    if (result < 0)
        return result;
    coil_group_enter(&writer, 0);
    if (proxy->log)
        result = coil_group_spawn(&writer, write_log, proxy, NULL);
    if (result == 0)
        result = listen_and_serve(proxy);
    if (proxy->log)
        coil_chan_close(proxy->log);
    coil_scope_enter(&scope, close_timeout); /* for the last lines */
    (void)coil_group_leave(&writer);
    (void)coil_scope_leave(&scope);
    coil_chan_free(proxy->log);
    return result;
}

/* ---- Arguments ---- */

static int usage(FILE *out, int status)
{
    (void)fprintf(out, "usage: proxy --listen ADDRESS --to ADDRESS [OPTION ...]\n"
                       "Passes connections on. ADDRESS is 127.0.0.1:80, [::1]:80, :80, unix:PATH,\n"
                       "and behind --to also NAME:80.\n\n"
                       "  --idle SECONDS             without a byte a connection is ended: 300\n"
                       "  --connect-timeout SECONDS  10\n"
                       "  --console unix:PATH        where to ask (ps, help) what all fibers do\n"
                       "  --verbose                  a line for each connection that has ended\n"
                       "  --help                     this text\n");
    return status;
}

static bool parse_seconds(const char *text, coil_time *ret_time)
{
    char *end;
    const long seconds = strtol(text, &end, 10);

    if (!*text || *end || seconds < 1 || seconds > SECONDS_MAX)
        return false;
    *ret_time = COIL_SECONDS(seconds);
    return true;
}

/* Returns whether `option` takes a value and this is one. */
static bool parse_option(struct proxy *proxy, const char *option, const char *value)
{
    if (!value)
        return false;
    if (strcmp(option, "--idle") == 0)
        return parse_seconds(value, &proxy->idle);
    if (strcmp(option, "--connect-timeout") == 0)
        return parse_seconds(value, &proxy->connect_timeout);
    if (strcmp(option, "--listen") == 0)
        proxy->listen = value;
    else if (strcmp(option, "--to") == 0)
        proxy->to = value;
    else if (strcmp(option, "--console") == 0)
        proxy->console = strncmp(value, "unix:", 5) == 0 ? value + 5 : value;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct proxy proxy = {.idle = idle_default, .connect_timeout = connect_timeout_default};
    coil_options options = COIL_OPTIONS_INIT;
    int result;
    int status = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, 0);
        if (strcmp(argv[i], "--verbose") == 0) {
            proxy.is_verbose = true;
        } else if (parse_option(&proxy, argv[i], argv[i + 1])) {
            i++;
        } else {
            (void)fprintf(stderr, "proxy: wrong argument %s\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    if (!proxy.listen || !proxy.to)
        return usage(stderr, 2);

    options.report_overflow = true;
    options.dump_on_quit = true;
    result = coil_run(serve, &proxy, &options, &status);
    if (result < 0)
        (void)fprintf(stderr, "proxy: %s\n", coil_strerror(result));
    return result < 0 || status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
