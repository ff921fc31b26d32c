/* SPDX-License-Identifier: MIT */
/* The inside of the HTTP server: a connection's requests and their responses.
 *
 *   server.c           the loop over a connection's requests, and what follows an application's
 *                      result
 *   idle.c             waiting for the next request (http/idle.h)
 *   server_options.c   defaults and limits
 *   request.c          what an application asks of a request
 *   body.c             reading a request's body, and draining what was left of it
 *   response.c         heads and bodies on their way out
 *   date.c             the text of a time
 *
 * A request is some 4 KiB, most of it the table of headers, and comes from a pool of the scheduler:
 * a connection holds one from the first byte of a request until its input is used up, and none
 * while it waits for the next one. Its strings borrow from the stream, where the head stays
 * unconsumed until the application is done; only a request with a body, whose reading would move
 * those bytes, gets a copy of its head.
 *
 * Invariants: head_length > 0 iff the head is still in the stream; a response begins once, and what
 * frames it never changes afterwards.
 */
#ifndef COIL_LIB_HTTP_SERVER_H
#define COIL_LIB_HTTP_SERVER_H

#include <coil/http.h>

#include "http/chunked.h"
#include "http/parse.h"
#include "net/stream.h"

enum {
    COIL__HTTP_DATE_LINE_SIZE = 37, /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

    /* Left-over body bytes that are read and dropped to keep a connection. A new connection costs
     * some 50 us, so much data some 10; the time bounds what a slow client can hold. */
    COIL__HTTP_DRAIN_MAX = 65536,
    COIL__HTTP_DRAIN_MS = 1000,

    /* What a chunked body may come to beside body_max with all that frames it: trailers (8 KiB), a
     * few signed chunks, or some ten thousand plain ones. */
    COIL__HTTP_FRAMING_MAX = 65536,
};

/* One server: what all its connections share. */
struct coil__http_server {
    coil_http_app *app;
    void *arg;
    coil_http_options options; /* defaults filled in */
    coil_serve_options serve;
    struct coil__http_parser parser; /* prepared: every request begins with a copy */
};

struct coil__http; /* per scheduler, in server.c */

/* How the end of a response's body is told. */
enum coil__http_framing {
    COIL__HTTP_FRAMED_LENGTH,
    COIL__HTTP_FRAMED_CHUNKS,
    COIL__HTTP_FRAMED_CLOSE,
};

/* Header lines that the application has set, as they go on the wire. */
struct coil__http_fields {
    char *data;
    size_t len;
    size_t capacity;
};

struct coil__http_intake {
    enum coil__http_body kind;
    uint64_t left;    /* BODY_LENGTH: bytes still to be read */
    uint64_t count;   /* bytes given to the application or dropped */
    uint64_t wire;    /* bytes of the stream that they came in */
    coil_time waited; /* for them */
    struct coil__chunked chunked;
    int error; /* 0, or what every further read returns */
    int fault; /* the coil__http_error behind -EPROTO */
    bool is_done;
    bool is_continue_due; /* the client waits for a 100 */
};

struct coil__http_outlet {
    struct coil__http_fields fields;
    uint64_t left; /* FRAMED_LENGTH: bytes still to be written */
    enum coil__http_framing framing;
    bool has_date; /* among the fields */
    bool has_server;
    bool has_type;
    bool is_begun;
    bool is_ended;
    bool is_mute; /* the response has no body whatever is written */
};

struct coil_http_request {
    struct coil__http *http;
    const struct coil__http_server *server;
    coil_stream *stream;
    struct coil__http_parser parser;
    size_t
        head_length; /* unconsumed in the stream; 0 when the head is in `copy` or none is there */
    char *copy;
    struct coil__http_intake intake;
    struct coil__http_outlet outlet;
    bool is_last;   /* the connection ends after this response */
    bool is_broken; /* ... and its end can't be told otherwise than by cutting it */
    struct coil__http_header headers[COIL__HTTP_HEADER_COUNT_MAX];
};

/* ---- server_options.c ---- */

/* Fills in a server from its caller's options. Returns 0 or -EINVAL. */
int coil__http_server_init(struct coil__http_server *server, coil_http_app *app, void *arg,
                           const coil_http_options *given);

/* ---- server.c ---- */

/* The Date line of this second. */
const char *coil__http_date_line(const coil_http_request *request);

/* ---- body.c ---- */

/* Prepares the intake for the body that the parsed head announces. */
void coil__http_body_init(coil_http_request *request);

/* Reads what is left of the body, within bounds. Returns whether the next request can follow. */
bool coil__http_body_drain(coil_http_request *request);

/* ---- response.c ---- */

/* Answers with a line of text instead of the application, and has the connection closed. */
int coil__http_fail(coil_http_request *request, int status, const char *text);

/* Sends what the stream holds, in bounded time; a peer that does not take it is cut off. */
void coil__http_flush_or_cut(const struct coil__http_server *server, coil_stream *stream);

/* Has the close of the connection tell the peer that what it got is not whole. */
void coil__http_reset(coil_stream *stream);

void coil__http_outlet_fini(coil_http_request *request);

#endif
