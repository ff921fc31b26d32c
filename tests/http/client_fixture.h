/* SPDX-License-Identifier: MIT */
/* A scripted HTTP server for the tests of the client.
 *
 * It plays one connection after the other. For each it has a list of replies, bytes that are sent
 * as they are after a request's head has come, and a way to end the connection when the list is
 * through. It counts what it saw and keeps the last request.
 */
#ifndef COIL_TESTS_HTTP_CLIENT_FIXTURE_H
#define COIL_TESTS_HTTP_CLIENT_FIXTURE_H

#include <coil/http_client.h>

#include "support/fiber_test.h"

enum {
    REPLIES_MAX = 4,
    PLAYS_MAX = 6,
};

enum ending {
    ENDS_CLOSED,  /* in good order, when the list is through */
    ENDS_WAITING, /* reads until the client closes */
    ENDS_RESET,   /* with a reset, once the last reply has gone out */
    ENDS_AT_ONCE, /* closes before it has read anything */
};

/* One connection. */
struct play {
    const char *replies[REPLIES_MAX];
    enum ending ending;
    bool is_slow; /* byte by byte */
};

struct server {
    coil_listener *listener;
    coil_fiber *fiber;
    struct play plays[PLAYS_MAX + 1]; /* the one after the last has no replies */
    int play_count;
    int connections;
    int requests;
    int closed;          /* connections that have ended on this side */
    char url[256];       /* "http://127.0.0.1:port" */
    char request[16384]; /* the last one's head */
};

/* Starts a server that plays the `count` connections at `plays`. */
void server_start(struct server *server, const struct play *plays, int count);

/* The same with a single connection that gives one reply, and ends. */
void server_start_one(struct server *server, const char *reply, enum ending ending);

/* Waits until all connections have been played. */
void server_join(struct server *server);

/* Stops it wherever it is. */
void server_stop(struct server *server);

/* Fetches `path` and expects a response; its status. The body goes to `text` (may be NULL). */
int get_text(coil_http_client *client, const struct server *server, const char *path, char *text,
             size_t size);

/* Starts a get of `path` alone; its result. */
int get(coil_http_client *client, const struct server *server, const char *path,
        coil_http_response **ret_response);

/* A client with default options. */
coil_http_client *client_new(void);

#endif
