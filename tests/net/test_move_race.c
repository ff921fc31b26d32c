/* SPDX-License-Identifier: MIT */
/* Streams that are moved between cores while their peers send and receive without a pause: a plain
 * program, made for ThreadSanitizer.
 *
 *     test_move_race [SEED]
 *
 * Each connection echoes on one core until some bytes have passed, a deadline has, or its fiber is
 * cancelled, then moves, up to three times, and goes on echoing on another one. Passes when every
 * peer has got back what it sent, to the byte, and nothing is left. In every other run main returns
 * in the middle: then what has come back must be right as far as it goes. In half of the runs the
 * connections are those of a server on all cores, which is stopped instead, with little grace, and
 * must not return before the last handler, wherever that is. The seed is printed: a run with the
 * same one makes the same choices, though not in the same order.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coil/coil.h>

#include "support/race.h"

enum {
    CORES = 3,
    RUNS = 12,
    HOPS_MAX = 3,
    CONNECTIONS = 4, /* that begin on each core */
    ALL_CONNECTIONS = CORES * CONNECTIONS,
    SIZE = 120 * 1000, /* bytes of each, there and back */
    PIECE_MAX = 3000,
};

struct connection {
    struct run *run;
    unsigned id;
    unsigned target; /* core */
    unsigned hops;   /* that are left */
    unsigned state;  /* of who has the stream */
    int fd;          /* of the peer */
    int echo_fd;     /* of one that nobody serves */
    atomic_long returned;
    pthread_t sender;
    pthread_t receiver;
};

struct run {
    struct race race;
    bool is_cut; /* main does not wait */
    coil_listeners *listeners;
    atomic_int inside; /* connections that a handler has or a move is under way of */
    coil_xsem *ended;
    struct connection connections[ALL_CONNECTIONS];
};

/* ---- The peers ---- */

static char byte_at(const struct connection *connection, long offset)
{
    return (char)(offset * 7 + offset / 251 + (long)connection->id);
}

static void *send_all(void *arg)
{
    struct connection *connection = arg;
    unsigned state = (connection->run->race.seed * 17 + connection->id) | 1;
    char piece[PIECE_MAX];
    long offset = 0;

    while (offset < SIZE) {
        long size = 1 + (long)below(&state, PIECE_MAX);
        ssize_t sent;

        if (size > SIZE - offset)
            size = SIZE - offset;
        for (long i = 0; i < size; i++)
            piece[i] = byte_at(connection, offset + i);
        sent = send(connection->fd, piece, (size_t)size, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        offset += sent;
    }
    (void)shutdown(connection->fd, SHUT_WR);
    return NULL;
}

static void *receive_all(void *arg)
{
    struct connection *connection = arg;
    char piece[PIECE_MAX];
    long offset = 0;
    ssize_t n;

    while ((n = recv(connection->fd, piece, sizeof piece, 0)) > 0) {
        for (ssize_t i = 0; i < n; i++, offset++) {
            if (piece[i] == byte_at(connection, offset))
                continue;
            race_check(&connection->run->race, false,
                       "a byte is lost, doubled, or in another's place");
            return NULL;
        }
    }
    atomic_store(&connection->returned, offset);
    return NULL;
}

/* ---- The echo ---- */

/* Only reads are interrupted: it would end the output for good. */
static int write_shielded(coil_stream *stream, const void *data, size_t size)
{
    coil_scope shield;
    int result;

    coil_scope_enter_shield(&shield, COIL_SECONDS(60));
    result = coil_write(stream, data, size);
    (void)coil_scope_leave(&shield);
    return result;
}

/* Until `limit` bytes have passed, or reading fails. Returns what it failed with, 0 at the end. */
static ssize_t echo(coil_stream *stream, unsigned *state, long limit)
{
    char piece[PIECE_MAX];
    ssize_t n = 1;

    while (limit > 0 && n > 0) {
        if (below(state, 4) == 0)
            coil_stream_idle(stream);
        n = coil_read(stream, piece, 1 + below(state, PIECE_MAX));
        if (n > 0 && write_shielded(stream, piece, (size_t)n) < 0)
            n = -EPIPE;
        limit -= n;
    }
    return n;
}

static void leave(struct connection *connection)
{
    (void)atomic_fetch_sub(&connection->run->inside, 1);
    coil_xsem_release(connection->run->ended);
}

static void echo_some(coil_stream *stream, struct connection *connection)
{
    unsigned *state = &connection->state;
    coil_scope scope;

    coil_scope_enter(&scope, below(state, 2) == 0 ? COIL_US(below(state, 500)) : COIL_NEVER);
    (void)echo(stream, state, (long)below(state, SIZE / 3));
    (void)coil_scope_leave(&scope);
}

static int echo_here(coil_stream *stream, void *arg);

static int move_on(coil_stream *stream, struct connection *connection)
{
    struct run *run = connection->run;
    int result;

    connection->hops--;
    connection->target = below(&connection->state, CORES);
    result = coil_stream_move(stream, connection->target, echo_here, connection);
    race_check(&run->race, result == 0 || run->is_cut, "a move has failed");
    if (result < 0)
        leave(connection);
    return 0;
}

/* Where the stream was moved to. */
static int echo_here(coil_stream *stream, void *arg)
{
    struct connection *connection = arg;
    ssize_t n;

    race_check(&connection->run->race, coil_core() == connection->target,
               "a stream went to another core");
    if (connection->hops > 0) {
        echo_some(stream, connection);
        return move_on(stream, connection);
    }
    n = echo(stream, &connection->state, 2L * SIZE);
    race_check(&connection->run->race, n == 0 || connection->run->is_cut,
               "reading has failed after a move");
    leave(connection);
    return 0;
}

static void begin(struct connection *connection)
{
    connection->state = (connection->run->race.seed * 3 + connection->id) | 1;
    connection->hops = 1 + below(&connection->state, HOPS_MAX);
    (void)atomic_fetch_add(&connection->run->inside, 1);
}

/* A fiber of its own, which may be cancelled. */
static int echo_and_move(void *arg)
{
    struct connection *connection = arg;
    coil_stream *stream;
    const int result = coil_adopt(connection->echo_fd, &stream);

    race_check(&connection->run->race, result == 0, "no stream");
    if (result < 0)
        return result;
    begin(connection);
    echo_some(stream, connection);
    return move_on(stream, connection);
}

/* The server's handler: the first byte tells whose connection it is. */
static int look_and_move(coil_stream *stream, void *arg)
{
    struct run *run = arg;
    struct connection *connection;
    const char *data;

    if (coil_peek(stream, 1, &data) < 1) {
        race_check(&run->race, run->is_cut, "nothing has come");
        return 0;
    }
    connection = &run->connections[(unsigned char)data[0]];
    begin(connection);
    if (below(&connection->state, 2) == 0)
        echo_some(stream, connection);
    if (below(&connection->state, 4) == 0)
        coil_cancel(coil_self());
    return move_on(stream, connection);
}

/* ---- A run ---- */

static int start_here(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed + coil_core()) | 1;
    coil_fiber *fibers[CONNECTIONS];

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &run->connections[coil_core() * CONNECTIONS + i];

        if (coil_spawn(echo_and_move, connection, &fibers[i]) < 0)
            return -1;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (below(&state, 4) == 0) {
            (void)coil_sleep(COIL_US(below(&state, 2000)));
            coil_cancel(fibers[i]);
        }
        coil_fiber_unref(fibers[i]);
    }
    return 0;
}

static int await_all(struct run *run)
{
    unsigned state = run->race.seed | 1;

    if (run->is_cut) {
        (void)coil_sleep(COIL_US(below(&state, 5000)));
        return 0;
    }
    for (int i = 0; i < ALL_CONNECTIONS; i++)
        if (coil_xsem_acquire(run->ended) < 0)
            return -1;
    return 0;
}

static int run_connections(void *arg)
{
    struct run *run = arg;
    const int result = coil_each_core(start_here, run);

    return result < 0 ? result : await_all(run);
}

static int start_peer(struct connection *connection)
{
    if (pthread_create(&connection->sender, NULL, send_all, connection) != 0 ||
        pthread_create(&connection->receiver, NULL, receive_all, connection) != 0)
        return -EAGAIN;
    return 0;
}

static int pair_peers(struct run *run)
{
    int result = 0;

    for (unsigned i = 0; i < ALL_CONNECTIONS && result == 0; i++) {
        struct connection *connection = &run->connections[i];
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
            return -errno;
        connection->fd = fds[0];
        connection->echo_fd = fds[1];
        result = start_peer(connection);
    }
    return result;
}

/* The kernel takes them before the server does. */
static int dial_peers(struct run *run)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    char text[COIL_ADDRESS_SIZE];
    int result = coil_listeners_address(run->listeners, text, sizeof text);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons((uint16_t)strtol(strrchr(text, ':') + 1, NULL, 10));
    for (unsigned i = 0; i < ALL_CONNECTIONS && result >= 0; i++) {
        struct connection *connection = &run->connections[i];

        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(connection->fd, (struct sockaddr *)&addr, sizeof addr) < 0)
            return -errno;
        result = start_peer(connection);
    }
    return result;
}

static int serve(void *arg)
{
    struct run *run = arg;
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    unsigned state = run->race.seed | 1;
    int result;

    options.grace = COIL_US(1 + below(&state, 3000));
    result = coil_serve_cores(run->listeners, look_and_move, run, &options);
    race_check(&run->race, run->inside == 0, "the server has left a connection behind");
    return result;
}

static int run_server(void *arg)
{
    struct run *run = arg;
    coil_fiber *server = NULL;
    int status = coil_listen_cores("127.0.0.1:0", NULL, &run->listeners);
    int result = -1;

    if (status == 0)
        status = dial_peers(run);
    if (status == 0)
        status = coil_spawn(serve, run, &server);
    if (status < 0)
        return status;
    status = await_all(run);
    coil_serve_cores_stop(run->listeners);
    if (coil_join(server, &result) < 0)
        status = -1;
    coil_fiber_unref(server);
    coil_listeners_close(run->listeners);
    return status < 0 ? status : result;
}

static int run_once(unsigned seed, bool is_cut, bool is_served)
{
    static struct run run;
    const coil_options options = {.size = sizeof options, .cores = CORES};
    int result = -1;
    int status;

    run = (struct run){.race.seed = seed, .is_cut = is_cut};
    for (unsigned i = 0; i < ALL_CONNECTIONS; i++) {
        run.connections[i].run = &run;
        run.connections[i].id = i;
    }
    if (coil_xsem_new(0, &run.ended) < 0 || (!is_served && pair_peers(&run) < 0))
        return 1;
    status = coil_run(is_served ? run_server : run_connections, &run, &options, &result);
    race_check(&run.race, status == 0 && result == 0, "the run has failed");
    for (unsigned i = 0; i < ALL_CONNECTIONS; i++) {
        struct connection *connection = &run.connections[i];

        (void)pthread_join(connection->sender, NULL);
        (void)pthread_join(connection->receiver, NULL);
        (void)close(connection->fd);
        race_check(&run.race, is_cut || connection->returned == SIZE,
                   "not all bytes have come back");
    }
    coil_xsem_free(run.ended);
    return run.race.faults;
}

int main(int argc, char **argv)
{
    const unsigned seed = race_begin(argc, argv);
    int faults = 0;

    for (unsigned i = 0; i < RUNS && faults == 0; i++)
        faults = run_once(seed + i, i % 2 == 1, i % 4 >= 2);
    return race_end(seed, faults);
}
