/* SPDX-License-Identifier: MIT */
/* A response of the HTTP client: its head as text, its body as a stream (coil/http_client.h).
 *
 * The head is copied into one block: an array of fields, and behind it their names and values, each
 * with a NUL (the parser lets no NUL through). The body is read straight from the stream into the
 * caller's memory; of a chunked one, the coding is taken off in place on the way.
 *
 * The connection is given back as soon as the last byte of the body has been read, not at the
 * close: a program that works on what it has fetched does not keep others waiting.
 *
 * Invariant: connection is NULL iff the body has ended or the head never came.
 */
#include "http/client.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "http/chars.h"

enum {
    BODY_FIRST = 16 * 1024, /* what coil_http_response_body() begins with; then it doubles */
};

/* ---- The head ---- */

static char *copy_text(char *to, struct coil__slice text)
{
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    return to + text.len + 1;
}

static int copy_fields(coil_http_response *response, const struct coil__http_head *head)
{
    size_t size = head->header_count * sizeof *response->fields + 1;
    char *text;

    for (size_t i = 0; i < head->header_count; i++)
        size += head->headers[i].name.len + head->headers[i].value.len + 2;
    response->fields = coil__alloc(size);
    if (!response->fields)
        return -ENOMEM;
    text = (char *)(response->fields + head->header_count);
    for (size_t i = 0; i < head->header_count; i++) {
        response->fields[i].name = text;
        text = copy_text(text, head->headers[i].name);
        response->fields[i].value = text;
        text = copy_text(text, head->headers[i].value);
    }
    response->field_count = head->header_count;
    return 0;
}

int coil__http_client_start(coil_http_response *response, const struct coil__http_head *head,
                            struct coil__http_connection *connection)
{
    const int result = copy_fields(response, head);

    if (result < 0)
        return result;
    response->status = head->status;
    response->keep_alive = head->keep_alive;
    response->framing = coil__http_response_body(head, coil__slice_from("GET"));
    if (response->framing == COIL__HTTP_BODY_LENGTH) {
        response->length = head->content_length;
        response->left = (uint64_t)head->content_length;
    } else if (response->framing == COIL__HTTP_BODY_NONE) {
        response->length = 0;
    }
    coil__chunked_init(&response->chunked, NULL);
    response->connection = connection;
    return 0;
}

/* ---- The end of the body ---- */

static void finish(coil_http_response *response)
{
    struct coil__http_connection *connection = response->connection;

    response->connection = NULL;
    response->is_done = true;
    coil__http_pool_give(connection,
                         response->keep_alive && response->framing != COIL__HTTP_BODY_UNTIL_CLOSE);
}

static bool is_at_end(const coil_http_response *response)
{
    switch (response->framing) {
    case COIL__HTTP_BODY_NONE:
        return true;
    case COIL__HTTP_BODY_LENGTH:
        return response->left == 0;
    case COIL__HTTP_BODY_CHUNKED:
        return coil__chunked_is_done(&response->chunked);
    case COIL__HTTP_BODY_UNTIL_CLOSE:
    default:
        return false;
    }
}

void coil__http_client_settle(coil_http_response *response)
{
    if (is_at_end(response))
        finish(response);
}

/* ---- The body ---- */

/* Reads body bytes out of the chunked coding; 0 when it has ended without a further one. */
static ssize_t read_chunked(coil_http_response *response, char *buffer, size_t size)
{
    coil_stream *stream = response->connection->stream;

    while (!coil__chunked_is_done(&response->chunked)) {
        struct coil__slice body;
        const char *data;
        ssize_t got = coil_peek(stream, 1, &data);

        if (got <= 0)
            return got < 0 ? got : -EPROTO;
        if ((size_t)got > size)
            got = (ssize_t)size;
        got = coil__chunked_decode(&response->chunked, data, (size_t)got, &body);
        if (got < 0)
            return -EPROTO;
        if (body.len > 0)
            memcpy(buffer, body.data, body.len);
        coil_consume(stream, (size_t)got);
        if (body.len > 0)
            return (ssize_t)body.len;
    }
    return 0;
}

static ssize_t read_framed(coil_http_response *response, char *buffer, size_t size)
{
    ssize_t got;

    if (response->framing == COIL__HTTP_BODY_CHUNKED)
        return read_chunked(response, buffer, size);
    if (response->framing == COIL__HTTP_BODY_UNTIL_CLOSE)
        return coil_read(response->connection->stream, buffer, size);
    if (size > response->left)
        size = (size_t)response->left;
    got = coil_read(response->connection->stream, buffer, size);
    if (got == 0)
        return -EPROTO;
    if (got > 0)
        response->left -= (uint64_t)got;
    return got;
}

static ssize_t fail(coil_http_response *response, ssize_t error)
{
    if (error != -ETIMEDOUT && error != -ECANCELED)
        response->error = (int)error;
    return error;
}

/* Reads on within `max` bytes of body in all; a byte beyond is -EMSGSIZE. */
static ssize_t read_within(coil_http_response *response, void *buffer, size_t size, uint64_t max)
{
    const uint64_t room = max - response->received;
    char beyond;
    ssize_t got;

    if (response->error)
        return response->error;
    if (response->is_done)
        return 0;
    if (response->framing == COIL__HTTP_BODY_LENGTH && response->left > room)
        return fail(response, -EMSGSIZE);
    if (room == 0)
        got = read_framed(response, &beyond, 1);
    else
        got = read_framed(response, buffer, size < room ? size : (size_t)room);
    if (got < 0)
        return fail(response, got);
    if (got > 0 && room == 0)
        return fail(response, -EMSGSIZE);
    response->received += (uint64_t)got;
    if (got == 0 || is_at_end(response))
        finish(response);
    return got;
}

ssize_t coil_http_response_read(coil_http_response *response, void *buffer, size_t size)
{
    return read_within(response, buffer, size, response->client->options.body_max);
}

/* Makes room for at least one more byte and the NUL. */
static int make_room(coil_http_response *response)
{
    size_t room = response->body_room ? response->body_room * 2 : BODY_FIRST;
    char *body;

    if (response->body_room > response->body_len + 1)
        return 0;
    /* The server's word alone reserves no memory beyond the first step. */
    if (!response->body_room && response->length >= 0 && response->length < BODY_FIRST)
        room = (size_t)response->length + 2;
    body = coil__realloc(response->body, room);
    if (!body)
        return -ENOMEM;
    response->body = body;
    response->body_room = room;
    return 0;
}

ssize_t coil_http_response_body(coil_http_response *response, size_t max, const char **ret_data)
{
    const uint64_t before = response->received - response->body_len;
    uint64_t limit = response->client->options.body_max;

    if (limit - before > max)
        limit = before + max;
    for (;;) {
        ssize_t got = make_room(response);

        if (got < 0)
            return got;
        if (response->received > limit)
            return -EMSGSIZE;
        got = read_within(response, response->body + response->body_len,
                          response->body_room - response->body_len - 1, limit);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        response->body_len += (size_t)got;
    }
    response->body[response->body_len] = '\0';
    *ret_data = response->body;
    return (ssize_t)response->body_len;
}

/* ---- What it tells ---- */

int coil_http_response_status(const coil_http_response *response)
{
    return response->status;
}

const char *coil_http_response_url(const coil_http_response *response)
{
    return response->url;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Whether both names are equal but for the case of ASCII letters. */
static bool is_same_name(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *coil_http_response_header(const coil_http_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++) {
        if (is_same_name(response->fields[i].name, name))
            return response->fields[i].value;
    }
    return NULL;
}

const char *coil_http_response_header_at(const coil_http_response *response, size_t index,
                                         const char **ret_name)
{
    if (index >= response->field_count)
        return NULL;
    if (ret_name)
        *ret_name = response->fields[index].name;
    return response->fields[index].value;
}

int64_t coil_http_response_length(const coil_http_response *response)
{
    return response->length;
}

void coil_http_response_close(coil_http_response *response)
{
    if (!response)
        return;
    if (response->connection)
        coil__http_pool_give(response->connection, false);
    response->client->users--;
    coil__free(response->body);
    coil__free(response->fields);
    coil__free(response->url);
    coil__free(response);
}
