/* SPDX-License-Identifier: MIT */
/* What the tests of coil_serve() share: a server as a fiber, and what its handlers have seen.
 *
 * A handler gets its site as argument and tells it by came() and went(); the test looks at the
 * counts. site_end() gives up after a while, so a server that does not end fails the test at once.
 */
#ifndef COIL_TESTS_NET_SERVE_FIXTURE_H
#define COIL_TESTS_NET_SERVE_FIXTURE_H

#include "net/net_fixture.h"

struct site {
    coil_listener *listener;
    coil_serve_options options;
    coil_handler *handler;
    char address[COIL_ADDRESS_SIZE];
    coil_fiber *fiber;
    unsigned running;
    unsigned running_max;
    unsigned served;
    unsigned failed;
    int failure; /* the last one */
};

/* Listens, on loopback. site_start() serves; options are set in between. */
void site_open(struct site *site, coil_handler *handler);

/* The same on a Unix socket, where what was sent is at once in the buffer of the peer. */
void site_open_unix(struct site *site, coil_handler *handler);
void site_start(struct site *site);

/* Fiber: coil_serve() of the site. */
int site_serve(void *arg);

/* Joins the server, closes the listener and returns the server's result. */
int site_end(struct site *site);

/* The same after coil_serve_stop(), whose result is 0. */
void site_stop(struct site *site);

/* For options.failed. */
void note_failure(int result, void *arg);

/* For handlers. */
void came(struct site *site);
void went(struct site *site);

/* A handler that answers one line with "done", and never says that it is idle before. */
int wait_for_line(coil_stream *stream, void *arg);

/* Yields until so many handlers run. */
void until_running(const struct site *site, unsigned count);

#endif
