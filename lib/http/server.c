/* SPDX-License-Identifier: MIT */
/* The HTTP server: a connection's loop over its requests (coil/http.h, http/server.h).
 *
 * The connection parks in one place for its next request, with nothing borrowed: no request, no
 * input, no output (what was written has been sent by the read that parks). From the first byte on
 * it holds a request, and goes on with the same one as long as pipelined input is there, so that
 * all replies to it collect before the next wait.
 *
 * Every wait has a deadline: idle between requests, one for a whole head however slowly it comes,
 * one for a body that grows with what has come, one for each piece of a reply. A peer that misses
 * the first two is left without an answer: there is nothing to say to one who sends nothing.
 *
 * Closing, as seen from here, only ends the loop. The stream then lingers, because a peer that is
 * still sending when the socket closes would lose the last reply to a reset. A response that ended
 * badly is the exception: the peer must not take it for a whole one.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <coil/scope.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "core/run.h"
#include "http/idle.h"
#include "http/server.h"

COIL_STATIC_ASSERT(sizeof(coil_http_request) <= 3592, "a promise of the header");

enum {
    REQUESTS_PER_CHUNK = 8,
    LINGER_BYTES = 16 * 1024 * 1024, /* what a client has under way when it is refused */
};

static const coil_time linger_timeout = COIL_SECONDS(2);

/* ---- Per scheduler ---- */

struct coil__http {
    struct coil__slab requests;
    time_t second; /* that `date_line` is about */
    char date_line[COIL__HTTP_DATE_LINE_SIZE + 1];
};

static void http_init(struct coil__sched *sched, void *state)
{
    struct coil__http *http = state;

    (void)sched;
    coil__slab_init(&http->requests, sizeof(coil_http_request), REQUESTS_PER_CHUNK);
    http->second = -1;
}

static void http_fini(struct coil__sched *sched, void *state)
{
    struct coil__http *http = state;

    (void)sched;
    coil__slab_fini(&http->requests);
}

const char *coil__http_date_line(const coil_http_request *request)
{
    struct coil__http *http = request->http;
    const time_t now = time(NULL);

    if (COIL_UNLIKELY(now != http->second)) {
        memcpy(http->date_line, "Date: ", 6);
        coil_http_date(now, http->date_line + 6);
        memcpy(http->date_line + 6 + COIL_HTTP_DATE_SIZE - 1, "\r\n", 2);
        http->second = now;
    }
    return http->date_line;
}

/* ---- A request's life ---- */

static coil_http_request *new_request(const struct coil__http_server *server, coil_stream *stream)
{
    struct coil__http *http = coil__sched_part(stream->sched, COIL__PART_HTTP,
                                               sizeof(struct coil__http), http_init, http_fini);
    coil_http_request *request = http ? coil__slab_get(&http->requests) : NULL;

    if (!request)
        return NULL;
    request->http = http;
    request->server = server;
    request->stream = stream;
    request->copy = NULL;
    request->outlet.fields = (struct coil__http_fields){0};
    request->parser = server->parser;
    request->parser.head.headers = request->headers;
    return request;
}

/* Prepares for the next message of the connection. */
static void reset_request(coil_http_request *request)
{
    request->head_length = 0;
    request->is_last = request->server->options.close_always;
    request->is_broken = false;
    request->intake.is_continue_due = false;
    request->intake.error = 0;
    request->intake.left = 0;
    request->outlet = (struct coil__http_outlet){.fields = request->outlet.fields};
    request->outlet.fields.len = 0;
}

static void free_request(coil_http_request *request)
{
    coil__free(request->copy);
    coil__http_outlet_fini(request);
    coil__slab_put(&request->http->requests, request);
}

/* ---- Reading a head ---- */

/* Parses what is there until the head is complete: its length, 0 when the input ended before, a
 * coil__http_error or an errno. */
static ssize_t collect_head(coil_http_request *request, size_t need)
{
    for (;;) {
        const char *data;
        const ssize_t length = coil_peek(request->stream, need, &data);
        ssize_t result;

        if (length < 0)
            return length;
        if ((size_t)length < need)
            return 0;
        result = coil__http_parse(&request->parser, data, (size_t)length);
        if (result != 0)
            return result;
        need = (size_t)length + 1;
    }
}

static ssize_t read_head(coil_http_request *request)
{
    const char *data;
    coil_scope scope;
    ssize_t result = coil_peek(request->stream, 1, &data);

    if (result <= 0)
        return result;

    const size_t length = (size_t)result;

    result = coil__http_parse(&request->parser, data, length);
    if (COIL_LIKELY(result != 0))
        return result;
    coil_scope_enter(&scope, request->server->options.header_timeout);
    result = collect_head(request, length + 1);
    return coil_scope_leave(&scope) ? 0 : result;
}

/* Moves a slice of the head from the stream's bytes to the copy. */
static void rebase(struct coil__slice *slice, const char *from, const char *to)
{
    if (slice->data)
        slice->data = to + (slice->data - from);
}

/* Takes the head out of the stream, since reading the body moves the bytes there. */
static int copy_head(coil_http_request *request)
{
    struct coil__http_head *head = &request->parser.head;
    const size_t length = request->head_length;
    const char *from;
    char *copy;

    if (coil_peek(request->stream, length, &from) < (ssize_t)length)
        return -ECANCELED; /* the bytes are there: only an interruption keeps them back */
    copy = coil__realloc(request->copy, length);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, from, length);
    request->copy = copy;
    rebase(&head->method, from, copy);
    rebase(&head->target, from, copy);
    rebase(&head->host, from, copy);
    for (size_t i = 0; i < head->header_count; i++) {
        rebase(&head->headers[i].name, from, copy);
        rebase(&head->headers[i].value, from, copy);
    }
    coil_consume(request->stream, length);
    request->head_length = 0;
    return 0;
}

/* ---- The application's result ---- */

static void report(const coil_http_request *request, int result)
{
    const struct coil__http_server *server = request->server;

    if (result == -ECANCELED || request->stream->output.error < 0)
        return;
    if (server->serve.failed)
        server->serve.failed(result, server->arg);
    else
        coil__log(COIL_LOG_WARNING, "http: the application failed on %s %.200s: %s",
                  coil_http_method(request), coil_http_target(request), coil_strerror(result));
}

/* Ends a response that can't be completed, so that the client sees that it is not whole. */
static void cut(coil_http_request *request)
{
    /* The end of the connection is the end of such a body: only a reset tells. */
    if (request->outlet.framing == COIL__HTTP_FRAMED_CLOSE)
        coil__http_reset(request->stream);
}

/* The application has given no answer. */
static void answer_failure(coil_http_request *request, int result)
{
    const struct coil__http_intake *intake = &request->intake;

    switch (intake->error) {
    case -EMSGSIZE:
        (void)coil__http_fail(request, 413, "Request Body Too Large\n");
        break;
    case -EPROTO:
        (void)coil__http_fail(request, coil__http_error_status(intake->fault),
                              coil__http_error_text(intake->fault));
        break;
    case -ETIMEDOUT:
        (void)coil__http_fail(request, 408, "Request Body Too Slow\n");
        break;
    case -ECONNRESET:
        break; /* nobody is there to read it */
    default:
        report(request, result < 0 ? result : -ENODATA);
        (void)coil__http_fail(request, 500, "Internal Server Error\n");
    }
}

/* Returns whether the connection goes on. */
static bool conclude(coil_http_request *request, int result)
{
    if (!request->outlet.is_begun) {
        answer_failure(request, result);
        return false;
    }
    if (result < 0)
        report(request, result);
    if (result < 0 || request->is_broken || coil_http_end(request) < 0) {
        cut(request);
        return false;
    }
    if (request->is_last || !coil__http_body_drain(request))
        return false;
    if (request->head_length > 0)
        coil_consume(request->stream, request->head_length);
    return true;
}

/* ---- The loop ---- */

/* A peer that goes away is an everyday end; what concerns this side is passed on. */
static int end_of_connection(ssize_t result)
{
    return result == -ETIMEDOUT || result == -ECANCELED || result == -ENOMEM ? (int)result : 0;
}

/* Serves the request that has begun to arrive. Returns 1 when the connection goes on. */
static int serve_request(coil_http_request *request)
{
    const struct coil__http_server *server = request->server;
    ssize_t length;
    int result;

    coil__http_parser_reset(&request->parser);
    reset_request(request);
    length = read_head(request);
    if (COIL_UNLIKELY(length <= 0)) {
        const int error = (int)length;

        if (error >= -4095)
            return end_of_connection(error);
        (void)coil__http_fail(request, coil__http_error_status(error),
                              coil__http_error_text(error));
        return 0;
    }

    request->head_length = (size_t)length;
    coil__http_body_init(request);
    if (COIL_UNLIKELY(request->intake.left > server->options.body_max)) {
        (void)coil__http_fail(request, 413, "Request Body Too Large\n");
        return 0;
    }
    if (!request->intake.is_done) {
        result = copy_head(request);
        if (result < 0)
            return end_of_connection(result);
    }
    result = server->app(request, server->arg);
    return conclude(request, result);
}

/* Whether a request has begun to arrive. A CR begins an empty line, which the idle wait skips. */
static bool has_request(const coil_stream *stream)
{
    const struct coil__lease *first = stream->input.first;

    return first && first->data[first->start] != '\r';
}

/* Serves requests while there is input, so that a wait for more finds nothing borrowed. */
static int serve_burst(const struct coil__http_server *server, coil_stream *stream)
{
    coil_http_request *request = new_request(server, stream);
    int result;

    if (!request)
        return -ENOMEM;
    do
        result = serve_request(request);
    while (result > 0 && has_request(stream));
    free_request(request);
    return result;
}

static int serve_connection(const struct coil__http_server *server, coil_stream *stream)
{
    struct coil__http_idle idle;
    int result;

    stream->is_held = true;
    coil_stream_linger(stream, linger_timeout, LINGER_BYTES);
    coil__http_idle_init(&idle, stream, server->options.idle_timeout);
    do {
        result = coil__http_idle_wait(&idle);
        result = result > 0 ? serve_burst(server, stream) : end_of_connection(result);
    } while (result > 0);
    coil__http_idle_fini(&idle);
    coil__http_flush_or_cut(server, stream);
    stream->is_held = false;
    /* What interrupted the application, or the answer to it, is the caller's to know. */
    return result < 0 ? result : coil_expired();
}

/* ---- Public ---- */

static int handle(coil_stream *stream, void *arg)
{
    return serve_connection(arg, stream);
}

static void pass_failure(int result, void *arg)
{
    const struct coil__http_server *server = arg;

    server->serve.failed(result, server->arg);
}

int coil_http_serve(coil_listener *listener, coil_http_app *app, void *arg,
                    const coil_http_options *options)
{
    struct coil__http_server server;
    coil_serve_options serve_options;
    const int result = coil__http_server_init(&server, app, arg, options);

    if (result < 0)
        return result;
    serve_options = server.serve;
    serve_options.size = sizeof serve_options;
    serve_options.failed = server.serve.failed ? pass_failure : NULL;
    return coil_serve(listener, handle, &server, &serve_options);
}

/* What each core makes a server of its own of. */
struct server_of_cores {
    coil_http_app *app;
    void *arg;
    coil_http_options options;
    coil_serve_options serve;
};

static int serve_on_core(coil_listener *listener, void *arg)
{
    const struct server_of_cores *server = arg;

    return coil_http_serve(listener, server->app, server->arg, &server->options);
}

int coil_http_serve_cores(coil_listeners *listeners, coil_http_app *app, void *arg,
                          const coil_http_options *options)
{
    struct server_of_cores server = {.app = app, .arg = arg};
    int result = coil__options_read(&server.options, sizeof server.options, options);
    bool stop_on_signals;

    if (result == 0)
        result = coil__options_read(&server.serve, sizeof server.serve, server.options.serve);
    if (result < 0)
        return result;
    stop_on_signals = server.serve.stop_on_signals;
    server.serve.stop_on_signals = false;
    server.options.serve = &server.serve;
    return coil_listeners_run(listeners, serve_on_core, &server, stop_on_signals);
}

int coil_http_serve_stream(coil_stream *stream, coil_http_app *app, void *arg,
                           const coil_http_options *options)
{
    struct coil__http_server server;
    const int result = coil__http_server_init(&server, app, arg, options);

    return result < 0 ? result : serve_connection(&server, stream);
}
