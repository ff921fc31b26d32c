/* SPDX-License-Identifier: MIT */
/* Reading the body of a request, by its length or its chunks, and what to do with the rest of it.
 *
 * Both framings come down to runs: some body bytes in place in the stream, and how many of the
 * stream's bytes they stand for. A read copies a run and consumes it; draining only consumes.
 *
 * Both are bounded, the body bytes and those that frame them: a chunk of one byte may say it in
 * four thousand. And the time is, of all waits for one body together: body_timeout, and what the
 * bytes that came have earned at body_rate_min. Only waiting counts; how long the application takes
 * is not the client's fault.
 *
 * What goes wrong is sticky: whatever the application does after it, the server knows why the body
 * ended and answers accordingly. Only an interruption by the application's own scope leaves
 * everything as it was.
 */
#include <errno.h>
#include <string.h>

#include <coil/scope.h>

#include "http/server.h"

enum {
    EARNED_MAX = 1000000000, /* seconds: for ever, and no overflow */
};

struct run {
    const char *data;
    size_t len;  /* body bytes */
    size_t used; /* bytes of the stream that they came in */
};

void coil__http_body_init(coil_http_request *request)
{
    const struct coil__http_head *head = &request->parser.head;
    struct coil__http_intake *intake = &request->intake;

    intake->kind = coil__http_request_body(head);
    intake->left = 0;
    intake->count = 0;
    intake->wire = 0;
    intake->waited = 0;
    intake->error = 0;
    intake->fault = 0;
    intake->is_done = intake->kind == COIL__HTTP_BODY_NONE;
    intake->is_continue_due = head->expect_continue && !intake->is_done;
    if (intake->kind == COIL__HTTP_BODY_LENGTH)
        intake->left = (uint64_t)head->content_length;
    if (intake->kind == COIL__HTTP_BODY_CHUNKED)
        coil__chunked_init(&intake->chunked, NULL);
}

static int fail(struct coil__http_intake *intake, int error)
{
    intake->error = error;
    return error;
}

/* ---- Runs ---- */

/* How long the client may still keep the server waiting. */
static coil_time time_left(const coil_http_request *request)
{
    const coil_http_options *options = &request->server->options;
    const uint64_t earned = request->intake.wire / options->body_rate_min;

    if (options->body_timeout > COIL_SECONDS(EARNED_MAX) || earned > EARNED_MAX)
        return COIL_NEVER;
    return options->body_timeout - request->intake.waited + COIL_SECONDS((coil_time)earned);
}

/* Waits for bytes: their number at *ret_data, or the error of the body. */
static ssize_t wait_for_bytes(coil_http_request *request, const char **ret_data)
{
    struct coil__http_intake *intake = &request->intake;
    const coil_time left = time_left(request);
    const coil_time limit = request->server->options.body_timeout;
    const coil_time begun = coil_now();
    coil_scope scope;
    ssize_t length;
    bool is_late;

    coil_scope_enter(&scope, left < limit ? left : limit);
    length = coil_peek(request->stream, 1, ret_data);
    is_late = coil_scope_leave(&scope);
    intake->waited += coil_now() - begun;
    if (length > 0)
        return length;
    if (is_late)
        return fail(intake, -ETIMEDOUT);
    if (length == -ETIMEDOUT || length == -ECANCELED || length == -ENOMEM)
        return length;
    return fail(intake, -ECONNRESET);
}

/* Cuts `len` bytes at data->data into a run of at most `max` body bytes. */
static int decode(struct coil__http_intake *intake, const char *data, size_t len, size_t max,
                  struct run *ret_run)
{
    struct coil__slice body;
    ssize_t used;

    if (intake->kind == COIL__HTTP_BODY_LENGTH) {
        size_t part = len < max ? len : max;

        if (part > intake->left)
            part = (size_t)intake->left;
        intake->left -= part;
        intake->is_done = intake->left == 0;
        *ret_run = (struct run){.data = data, .len = part, .used = part};
        return 0;
    }
    /* A call decodes one run at most, so fewer bytes in are fewer bytes out. */
    used = coil__chunked_decode(&intake->chunked, data, len < max ? len : max, &body);
    if (used < 0) {
        intake->fault = (int)used;
        return fail(intake, -EPROTO);
    }
    intake->is_done = coil__chunked_is_done(&intake->chunked);
    *ret_run = (struct run){.data = body.data, .len = body.len, .used = (size_t)used};
    return 0;
}

/* Returns 1 with a run, which may hold no body bytes; 0 at the end; or an error. */
static int next_run(coil_http_request *request, size_t max, struct run *ret_run)
{
    struct coil__http_intake *intake = &request->intake;
    const uint64_t body_max = request->server->options.body_max;
    const char *data;
    ssize_t length;
    int result;

    if (intake->error < 0)
        return intake->error;
    if (intake->is_done)
        return 0;
    if (request->stream->input.length > 0)
        length = coil_peek(request->stream, 1, &data);
    else
        length = wait_for_bytes(request, &data);
    if (length < 0)
        return (int)length;
    result = decode(intake, data, (size_t)length, max, ret_run);
    if (result < 0)
        return result;
    intake->count += ret_run->len;
    intake->wire += ret_run->used;
    if (intake->count > body_max ||
        (intake->wire > body_max && intake->wire - body_max > COIL__HTTP_FRAMING_MAX))
        return fail(intake, -EMSGSIZE);
    return 1;
}

/* ---- For the application ---- */

static int ask_for_body(coil_http_request *request)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    int result;

    if (!request->intake.is_continue_due || request->outlet.is_begun)
        return 0;
    result = coil_write(request->stream, text, sizeof text - 1);
    if (result == 0)
        request->intake.is_continue_due = false;
    return result;
}

ssize_t coil_http_read(coil_http_request *request, void *buffer, size_t size)
{
    const struct coil__http_intake *intake = &request->intake;
    struct run run;
    int result;

    COIL_ASSERT(size > 0 && "a read wants room for a byte");
    if (COIL_LIKELY(intake->is_done && intake->error == 0))
        return 0;
    result = ask_for_body(request);
    if (result < 0)
        return result;
    do {
        result = next_run(request, size, &run);
        if (result <= 0)
            return result;
        memcpy(buffer, run.data, run.len);
        coil_consume(request->stream, run.used);
    } while (run.len == 0);
    return (ssize_t)run.len;
}

/* ---- For the server ---- */

static bool drop_rest(coil_http_request *request)
{
    const uint64_t limit = request->intake.wire + COIL__HTTP_DRAIN_MAX;
    struct run run;
    int result;

    while ((result = next_run(request, SIZE_MAX, &run)) > 0) {
        coil_consume(request->stream, run.used);
        if (request->intake.wire > limit)
            return false;
    }
    return result == 0;
}

static COIL_COLD bool drop_rest_in_time(coil_http_request *request)
{
    coil_scope scope;
    bool is_clear;

    coil_scope_enter(&scope, COIL_MS(COIL__HTTP_DRAIN_MS));
    is_clear = drop_rest(request);
    (void)coil_scope_leave(&scope);
    return is_clear;
}

bool coil__http_body_drain(coil_http_request *request)
{
    const struct coil__http_intake *intake = &request->intake;

    if (intake->error < 0)
        return false;
    return intake->is_done || drop_rest_in_time(request);
}
