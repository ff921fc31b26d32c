/* SPDX-License-Identifier: MIT */
/* The inside of the HTTP client.
 *
 *   client.c            options, the life of a client, one request and the head of its response
 *   client_pool.c       connections, kept per host to be used again
 *   client_response.c   what a response tells, and its body
 *
 * A request goes: take a connection of the host from the pool, an idle one or a new one, when it is
 * its turn; send; read the head; the response owns the connection until the end of the body or its
 * close.
 *
 * Invariants: connections to a host <= per_host_max, which the pool sees to; an idle connection has
 * no request under way.
 */
#ifndef COIL_LIB_HTTP_CLIENT_H
#define COIL_LIB_HTTP_CLIENT_H

#include <coil/http_client.h>
#include <coil/respool.h>
#include <coil/stream.h>

#include "http/chunked.h"
#include "http/parse.h"

struct coil__http_connection {
    coil_resource *resource; /* of the pool, while somebody uses it */
    coil_stream *stream;
    struct coil__http_parser parser;
    struct coil__http_header headers[COIL__HTTP_HEADER_COUNT_MAX];
};

struct coil_http_client {
    coil_http_client_options options; /* with the defaults filled in */
    coil_respool *connections;        /* by "host:port", as coil_connect() takes it */
    size_t users;                     /* gets under way and open responses */
    char *user_agent;
};

struct coil__http_client_field {
    const char *name;
    const char *value;
};

struct coil_http_response {
    coil_http_client *client;
    struct coil__http_connection *connection; /* NULL once given back */
    char *url;
    struct coil__http_client_field *fields; /* with their text behind them, one block */
    size_t field_count;
    int64_t length; /* -1: not told */
    int status;
    int error; /* what every further read returns, if not 0 */
    bool keep_alive;
    bool is_done; /* the end of the body has been reached */
    enum coil__http_body framing;
    struct coil__chunked chunked;
    uint64_t left;     /* BODY_LENGTH: to come */
    uint64_t received; /* of the body */
    char *body;        /* coil_http_response_body(): what has been read so far */
    size_t body_len;
    size_t body_room;
};

/* ---- client_pool.c ---- */

/* Makes client->connections. Returns 0 or -ENOMEM. */
int coil__http_pool_init(coil_http_client *client);

/* Takes a connection to `address`; a new one if `is_fresh`, which also closes the idle ones: when
 * the last used one is dead, the others are. Parks. Returns 0 or an error. */
int coil__http_pool_take(coil_http_client *client, const char *address, bool is_fresh,
                         struct coil__http_connection **ret_connection);

/* Gives the connection back; closes it unless it may be used again. Parks. */
void coil__http_pool_give(struct coil__http_connection *connection, bool is_reusable);

/* ---- client_response.c ---- */

/* Fills in what `head` says; the connection is the response's on success. Returns 0 or -ENOMEM. */
int coil__http_client_start(coil_http_response *response, const struct coil__http_head *head,
                            struct coil__http_connection *connection);

/* Ends a body of no bytes: gives the connection back. Parks. */
void coil__http_client_settle(coil_http_response *response);

#endif
