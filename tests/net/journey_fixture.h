/* SPDX-License-Identifier: MIT */
/* What the tests of moved connections share: a server whose handler moves each connection through
 * one or more cores, and what has been seen of it there.
 *
 * What runs on another core reports through atomics: Criterion's assertions belong to main's
 * thread.
 */
#ifndef COIL_TESTS_NET_JOURNEY_FIXTURE_H
#define COIL_TESTS_NET_JOURNEY_FIXTURE_H

#include <stdatomic.h>

#include "net/serve_fixture.h"

enum {
    FAR = 1, /* the core that is not the server's */
    PLACES_MAX = 4,
};

#define CORES_TEST(suite, name) \
 FIBER_TEST_WITH(suite, name, (&(coil_options){.size = sizeof(coil_options), .cores = 2}))

/* The connections are moved through `route`, and served by `last` at its end. */
struct journey {
    struct site site; /* first: what the fixture gives to the handler */
    unsigned route[PLACES_MAX];
    unsigned route_length;
    coil_handler *last;
    coil_fiber *handler; /* the server's, while it runs */
    coil_stream *stream; /* for another fiber than the handler's */
    unsigned allocations;
    atomic_uint step;    /* moves that have begun */
    atomic_int moved;    /* the result of the last one, 1 before */
    atomic_int expired;  /* whether its handler has been cancelled meanwhile */
    atomic_uint arrived; /* at the end of the route */
    atomic_uint left;
    atomic_uint core;
    atomic_int result;       /* of what the last handler waits for */
    atomic_bool is_released; /* a handler that waits for this goes on */
};

/* A server on loopback with FAR for a route; on a unix socket (site_open_unix()); or with another
 * route. site_start() serves. */
void journey_open(struct journey *journey, coil_handler *last);
void journey_open_unix(struct journey *journey, coil_handler *last);
void journey_open_by(struct journey *journey, coil_handler *last, const unsigned *route,
                     unsigned length);

/* For coil_stream_move(): runs the last handler, and notes where, and with what result. */
int journey_arrive(coil_stream *stream, void *arg);

/* The last handler that most tests want: answers each byte, and is idle between two of them. */
int echo_bytes(coil_stream *stream, void *arg);

/* Yields until the server counts so many connections, here and elsewhere. */
void until_counted(const struct journey *journey, size_t count);

/* A client whose connection has arrived. */
int dial_and_send(struct journey *journey, const char *text);

/* Waits for a byte; for the end, or a reset, and closes. */
void expect_answer(int fd, char expected);
void expect_end(int fd);

#endif
