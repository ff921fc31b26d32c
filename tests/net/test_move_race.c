/* SPDX-License-Identifier: MIT */
/* Streams that are moved between cores while their peers send and receive without a pause: a plain
 * program, made for ThreadSanitizer.
 *
 *     test_move_race [SEED]
 *
 * Each connection echoes on one core until some bytes have passed, a deadline has, or its fiber is
 * cancelled, then moves and goes on echoing on another one. Passes when every peer has got back
 * what it sent, to the byte, and nothing is left. In every other run main returns in the middle:
 * then what has come back must be right as far as it goes. The seed is printed: a run with the same
 * one makes the same choices, though not in the same order.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coil/coil.h>

#include "base/alloc.h"

enum {
    CORES = 3,
    RUNS = 8,
    CONNECTIONS = 4, /* that begin on each core */
    ALL_CONNECTIONS = CORES * CONNECTIONS,
    SIZE = 120 * 1000, /* bytes of each, there and back */
    PIECE_MAX = 3000,
};

struct connection {
    struct run *run;
    unsigned id;
    unsigned target; /* core */
    int fd;          /* of the peer */
    int echo_fd;
    atomic_long returned;
    pthread_t sender;
    pthread_t receiver;
};

struct run {
    unsigned seed;
    bool is_cut; /* main does not wait */
    coil_xsem *ended;
    atomic_int faults;
    struct connection connections[ALL_CONNECTIONS];
};

static unsigned next_random(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static unsigned below(unsigned *state, unsigned end)
{
    return next_random(state) % end;
}

static void check(struct run *run, bool is_true, const char *text)
{
    if (is_true)
        return;
    atomic_fetch_add(&run->faults, 1);
    (void)fprintf(stderr, "seed %u: %s\n", run->seed, text);
}

/* ---- The peers ---- */

static char byte_at(const struct connection *connection, long offset)
{
    return (char)(offset * 7 + offset / 251 + (long)connection->id);
}

static void *send_all(void *arg)
{
    struct connection *connection = arg;
    unsigned state = (connection->run->seed * 17 + connection->id) | 1;
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
            check(connection->run, false, "a byte is lost, doubled, or in another's place");
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
        n = coil_read(stream, piece, 1 + below(state, PIECE_MAX));
        if (n > 0 && write_shielded(stream, piece, (size_t)n) < 0)
            n = -EPIPE;
        limit -= n;
    }
    return n;
}

static int echo_to_the_end(coil_stream *stream, void *arg)
{
    struct connection *connection = arg;
    unsigned state = (connection->run->seed * 5 + connection->id) | 1;
    const ssize_t n = echo(stream, &state, 2L * SIZE);

    check(connection->run, coil_core() == connection->target, "a stream went to another core");
    check(connection->run, n == 0 || connection->run->is_cut, "reading has failed after a move");
    coil_xsem_release(connection->run->ended);
    return 0;
}

static int echo_and_move(void *arg)
{
    struct connection *connection = arg;
    struct run *run = connection->run;
    unsigned state = (run->seed * 3 + connection->id) | 1;
    coil_stream *stream;
    coil_scope scope;
    int result = coil_adopt(connection->echo_fd, &stream);

    check(run, result == 0, "no stream");
    if (result < 0)
        return result;
    connection->target = below(&state, CORES);
    coil_scope_enter(&scope, below(&state, 2) == 0 ? COIL_US(below(&state, 500)) : COIL_NEVER);
    (void)echo(stream, &state, (long)below(&state, SIZE / 2));
    (void)coil_scope_leave(&scope);
    result = coil_stream_move(stream, connection->target, echo_to_the_end, connection);
    check(run, result == 0 || run->is_cut, "a move has failed");
    if (result < 0)
        coil_xsem_release(run->ended);
    return 0;
}

/* ---- A run ---- */

static int start_here(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->seed + coil_core()) | 1;
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

static int run_connections(void *arg)
{
    struct run *run = arg;
    unsigned state = run->seed | 1;
    const int result = coil_each_core(start_here, run);

    if (run->is_cut) {
        (void)coil_sleep(COIL_US(below(&state, 5000)));
        return result;
    }
    for (int i = 0; i < ALL_CONNECTIONS; i++)
        if (coil_xsem_acquire(run->ended) < 0)
            return -1;
    return result;
}

static int connect_peers(struct run *run)
{
    for (unsigned i = 0; i < ALL_CONNECTIONS; i++) {
        struct connection *connection = &run->connections[i];
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
            return -errno;
        connection->run = run;
        connection->id = i;
        connection->fd = fds[0];
        connection->echo_fd = fds[1];
        if (pthread_create(&connection->sender, NULL, send_all, connection) != 0 ||
            pthread_create(&connection->receiver, NULL, receive_all, connection) != 0)
            return -EAGAIN;
    }
    return 0;
}

static int run_once(unsigned seed, bool is_cut)
{
    static struct run run;
    const coil_options options = {.size = sizeof options, .cores = CORES};
    int result = -1;
    int status;

    run = (struct run){.seed = seed, .is_cut = is_cut};
    if (coil_xsem_new(0, &run.ended) < 0 || connect_peers(&run) < 0)
        return 1;
    status = coil_run(run_connections, &run, &options, &result);
    check(&run, status == 0 && result == 0, "the run has failed");
    for (unsigned i = 0; i < ALL_CONNECTIONS; i++) {
        struct connection *connection = &run.connections[i];

        (void)pthread_join(connection->sender, NULL);
        (void)pthread_join(connection->receiver, NULL);
        (void)close(connection->fd);
        check(&run, is_cut || connection->returned == SIZE, "not all bytes have come back");
    }
    coil_xsem_free(run.ended);
    return run.faults;
}

int main(int argc, char **argv)
{
    unsigned seed =
        argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)(coil_now() ^ getpid());
    int faults = 0;

    (void)printf("seed %u\n", seed);
    for (unsigned i = 0; i < RUNS && faults == 0; i++)
        faults = run_once(seed + i, i % 2 == 1);
    if (coil__alloc_live_count() != 0) {
        (void)fprintf(stderr, "seed %u: memory is left\n", seed);
        faults++;
    }
    return faults > 0;
}
