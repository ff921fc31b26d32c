/* SPDX-License-Identifier: MIT */
/* Responses on their way out: header lines, the head, and a body in one of three framings.
 *
 * A head is a handful of pieces that one coil_writev() copies into the stream's buffer, together
 * with the body when the whole answer is given at once. The parts that change are built by copying
 * bytes: a formatting function would cost as much as all the rest, and a fiber's stack.
 *
 * How the body ends is decided when the head is written, and with it whether the connection can go
 * on: not when the peer does not want to, the server stops, the length is unknown to HTTP/1.0, or
 * the request's body is still due and more than would be drained, or waits for a 100 in vain: then
 * whether it comes is anybody's guess.
 *
 * Invariant: bytes of a body go out only within its framing, so that a connection that goes on is
 * at a message boundary; whatever breaks that sets `is_broken`.
 */
#include <errno.h>
#include <string.h>

#include <coil/scope.h>

#include "base/alloc.h"
#include "http/chars.h"
#include "http/server.h"
#include "http/status.h"

enum {
    FIELDS_MIN = 256,
    FIELDS_MAX = 65536, /* of one response; clients take 8 to 64 KiB */
    TYPE_MAX = 64,      /* of a type that is copied with the head: usual ones */
    HEAD_SIZE = 320,    /* status line, Date, framing, Connection, Keep-Alive: 210; the type: 80 */
    HEAD_PIECES = 10,
    SLICE_MAX = 262144, /* what write_timeout is given for */
    NUMBER_SIZE = 20,
};

/* ---- Header lines ---- */

static const char *const own_names[] = {"content-length", "transfer-encoding", "connection",
                                        "keep-alive",     "upgrade",           "trailer"};

static bool is_text(struct coil__slice text)
{
    const char *end = text.data + text.len;

    return coil__chars_find_control(text.data, end) == end;
}

static bool is_settable(struct coil__slice name)
{
    const char *end = name.data + name.len;

    if (name.len == 0 || coil__chars_skip(name.data, end, COIL__CHAR_TOKEN) != end)
        return false;
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++) {
        if (coil__chars_equal_nocase(name, own_names[i], strlen(own_names[i])))
            return false;
    }
    return true;
}

static int check_field(const coil_http_request *request, struct coil__slice name,
                       struct coil__slice value)
{
    if (request->outlet.is_begun)
        return -EALREADY;
    return is_settable(name) && is_text(value) ? 0 : -EINVAL;
}

static int grow(struct coil__http_fields *fields, size_t more)
{
    size_t capacity = fields->capacity ? fields->capacity : FIELDS_MIN;
    char *data;

    if (more > FIELDS_MAX - fields->len)
        return -EINVAL;
    while (capacity < fields->len + more)
        capacity *= 2;
    if (capacity == fields->capacity)
        return 0;
    data = coil__realloc(fields->data, capacity);
    if (!data)
        return -ENOMEM;
    fields->data = data;
    fields->capacity = capacity;
    return 0;
}

static inline char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static inline char *put_text(char *at, const char *text)
{
    return put(at, text, strlen(text));
}

static int add(struct coil__http_outlet *outlet, struct coil__slice name, struct coil__slice value)
{
    struct coil__http_fields *fields = &outlet->fields;
    const size_t len = name.len + value.len + 4;
    int result = value.len > FIELDS_MAX || name.len > FIELDS_MAX ? -EINVAL : grow(fields, len);
    char *at;

    if (result < 0)
        return result;
    at = fields->data + fields->len;
    at = put(at, name.data, name.len);
    at = put_text(at, ": ");
    at = put(at, value.data, value.len);
    (void)put_text(at, "\r\n");
    fields->len += len;
    outlet->has_date |= coil__chars_equal_nocase(name, "date", 4);
    outlet->has_server |= coil__chars_equal_nocase(name, "server", 6);
    outlet->has_type |= coil__chars_equal_nocase(name, "content-type", 12);
    return 0;
}

static bool is_line_of(const char *line, struct coil__slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char a = (unsigned char)line[i];
        const unsigned char b = (unsigned char)name.data[i];

        if (a != b && ((a | 0x20) != (b | 0x20) || (a | 0x20) < 'a' || (a | 0x20) > 'z'))
            return false;
    }
    return line[name.len] == ':';
}

/* Takes out every line called `name` but those from `end` on. */
static void drop_lines(struct coil__http_fields *fields, struct coil__slice name, size_t end)
{
    size_t at = 0;

    while (at < end) {
        char *line = fields->data + at;
        const size_t len = (size_t)((char *)memchr(line, '\n', end - at) - line) + 1;

        if (len > name.len && is_line_of(line, name)) {
            memmove(line, line + len, fields->len - at - len);
            fields->len -= len;
            end -= len;
        } else {
            at += len;
        }
    }
}

int coil_http_header_add(coil_http_request *request, const char *name, const char *value)
{
    const struct coil__slice name_slice = coil__slice_from(name);
    const struct coil__slice value_slice = coil__slice_from(value);
    const int result = check_field(request, name_slice, value_slice);

    return result < 0 ? result : add(&request->outlet, name_slice, value_slice);
}

int coil_http_header_set(coil_http_request *request, const char *name, const char *value)
{
    const size_t before = request->outlet.fields.len;
    const int result = coil_http_header_add(request, name, value);

    if (result == 0 && before > 0)
        drop_lines(&request->outlet.fields, coil__slice_from(name), before);
    return result;
}

void coil_http_close(coil_http_request *request)
{
    request->is_last = true;
}

void coil__http_outlet_fini(coil_http_request *request)
{
    coil__free(request->outlet.fields.data);
    request->outlet.fields = (struct coil__http_fields){0};
}

/* ---- Sending ---- */

/* Whether a write of `size` bytes finds room at once, which spares it a deadline. */
static bool has_room(const coil_stream *stream, size_t size)
{
    const struct coil__lease *chunk = stream->output.chunk;

    return size <= (chunk ? (size_t)(chunk->capacity - chunk->end) : (size_t)COIL__CHUNK_SIZE);
}

/* A peer that took nothing for a whole write_timeout is not waited for again: whatever else would
 * be sent fails at once. */
static void note_stall(coil_http_request *request, bool is_late)
{
    if (is_late)
        coil__output_abandon(request->stream);
    request->is_broken |= request->stream->output.error < 0;
}

/* Writes all pieces or none, else the response is broken. */
static int send_pieces(coil_http_request *request, const struct iovec *pieces, int count)
{
    coil_stream *stream = request->stream;
    size_t size = 0;
    coil_scope scope;
    int result;

    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    if (has_room(stream, size)) {
        result = coil_writev(stream, pieces, count);
        note_stall(request, false);
    } else {
        coil_scope_enter(&scope, request->server->options.write_timeout);
        result = coil_writev(stream, pieces, count);
        note_stall(request, coil_scope_leave(&scope));
    }
    return result;
}

static struct iovec piece(const char *text, size_t len)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = len};
}

void coil__http_reset(coil_stream *stream)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    coil_stream_linger(stream, 0, 0);
}

void coil__http_flush_or_cut(const struct coil__http_server *server, coil_stream *stream)
{
    coil_scope scope;

    if (!stream->output.chunk)
        return;
    coil_scope_enter(&scope, server->options.write_timeout);
    (void)coil_flush(stream);
    if (coil_scope_leave(&scope)) {
        coil__output_abandon(stream);
        coil__http_reset(stream);
    }
}

/* ---- The head ---- */

static char *put_number(char *at, uint64_t number)
{
    char digits[NUMBER_SIZE];
    size_t len = 0;

    do {
        digits[sizeof digits - ++len] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(at, digits + sizeof digits - len, len);
}

/* Whether the framing leaves no body, neither bytes nor headers about them (RFC 9110 6.4.1). */
static bool excludes_body(const struct coil__http_head *head, int status)
{
    return status == 204 || status == 304 ||
           (status < 300 && coil__slice_is(head->method, "CONNECT"));
}

/* Settles framing and persistence. */
static void settle(coil_http_request *request, int status, int64_t length)
{
    const struct coil__http_head *head = &request->parser.head;
    const struct coil__http_intake *intake = &request->intake;
    struct coil__http_outlet *outlet = &request->outlet;
    const bool is_open = length < 0 && !excludes_body(head, status);

    outlet->left = length < 0 ? 0 : (uint64_t)length;
    outlet->framing = COIL__HTTP_FRAMED_LENGTH;
    if (length < 0)
        outlet->framing =
            head->version_minor > 0 ? COIL__HTTP_FRAMED_CHUNKS : COIL__HTTP_FRAMED_CLOSE;
    outlet->is_mute = excludes_body(head, status) || coil__slice_is(head->method, "HEAD");

    request->is_last |= !head->keep_alive || request->stream->is_draining ||
                        intake->is_continue_due || intake->error < 0 ||
                        intake->left > COIL__HTTP_DRAIN_MAX ||
                        (is_open && outlet->framing == COIL__HTTP_FRAMED_CLOSE) ||
                        coil__slice_is(head->method, "CONNECT");
}

/* Says whether the connection goes on, where the version does not imply it, and for how long to
 * whoever asked for it to go on. */
static char *put_persistence(const coil_http_request *request, char *at)
{
    const struct coil__http_head *head = &request->parser.head;
    const coil_time idle = request->server->options.idle_timeout;

    if (request->is_last)
        return put_text(at, "Connection: close\r\n");
    if (head->version_minor > 0 &&
        !coil__chars_equal_nocase(coil__http_header_find(head, "connection"), "keep-alive", 10))
        return at;
    at = put_text(at, "Connection: keep-alive\r\n");
    if (idle == COIL_NEVER || idle < 0)
        return at;
    at = put_text(at, "Keep-Alive: timeout=");
    at = put_number(at, (uint64_t)(idle / COIL_SECONDS(1)));
    return put_text(at, "\r\n");
}

/* Builds what is not a piece of its own; returns its end. */
static char *put_head(const coil_http_request *request, int status, char *at)
{
    const struct coil__http_head *head = &request->parser.head;
    const struct coil__http_outlet *outlet = &request->outlet;
    const struct coil__slice line = coil__http_status_line(status);

    if (line.len > 0) {
        at = put(at, line.data, line.len);
    } else {
        at = put_text(at, "HTTP/1.1 ");
        at = put_number(at, (uint64_t)status);
        at = put_text(at, " \r\n");
    }
    if (!outlet->has_date)
        at = put(at, coil__http_date_line(request), COIL__HTTP_DATE_LINE_SIZE);
    if (excludes_body(head, status)) {
        /* Nothing about a body that can't be. */
    } else if (outlet->framing == COIL__HTTP_FRAMED_LENGTH) {
        at = put_text(at, "Content-Length: ");
        at = put_number(at, outlet->left);
        at = put_text(at, "\r\n");
    } else if (outlet->framing == COIL__HTTP_FRAMED_CHUNKS && !outlet->is_mute) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    }
    return put_persistence(request, at);
}

/* A header line in three pieces; returns their number. */
static int put_line(struct iovec *pieces, const char *name, const char *value, size_t len)
{
    pieces[0] = piece(name, strlen(name));
    pieces[1] = piece(value, len);
    pieces[2] = piece("\r\n", 2);
    return 3;
}

/* Writes the head, and a body with it. */
static int send_head(coil_http_request *request, int status, struct coil__slice type,
                     struct coil__slice body)
{
    const struct coil__http_outlet *outlet = &request->outlet;
    const char *server_name = request->server->options.server_name;
    const bool is_named = server_name && !outlet->has_server;
    char head[HEAD_SIZE];
    char *at = put_head(request, status, head);
    struct iovec pieces[HEAD_PIECES];
    int count = 1;

    if (type.data && type.len <= TYPE_MAX) {
        at = put_text(at, "Content-Type: ");
        at = put(at, type.data, type.len);
        at = put_text(at, "\r\n");
    } else if (type.data) {
        count += put_line(pieces + count, "Content-Type: ", type.data, type.len);
    }
    if (is_named)
        count += put_line(pieces + count, "Server: ", server_name, strlen(server_name));
    if (outlet->fields.len > 0)
        pieces[count++] = piece(outlet->fields.data, outlet->fields.len);
    if (count > 1)
        pieces[count++] = piece("\r\n", 2);
    else
        at = put_text(at, "\r\n");
    if (body.len > 0)
        pieces[count++] = piece(body.data, body.len);
    pieces[0] = piece(head, (size_t)(at - head));
    return send_pieces(request, pieces, count);
}

/* Begins a response, with the first `len` bytes of its body. */
static int begin(coil_http_request *request, int status, const char *content_type, int64_t length,
                 struct coil__slice body)
{
    struct coil__http_outlet *outlet = &request->outlet;
    struct coil__slice type = {NULL, 0};
    int result;

    if (content_type)
        type = coil__slice_from(content_type);
    if (outlet->is_begun)
        return -EALREADY;
    if (status < 200 || status > 599 || !is_text(type))
        return -EINVAL;
    if (content_type && outlet->has_type)
        drop_lines(&outlet->fields, coil__slice_from("Content-Type"), outlet->fields.len);
    settle(request, status, length);
    if (outlet->is_mute)
        body.len = 0;
    result = send_head(request, status, type, body);
    if (result < 0)
        return result;
    outlet->is_begun = true;
    outlet->left -= body.len;
    return 0;
}

int coil_http_begin(coil_http_request *request, int status, const char *content_type,
                    int64_t length)
{
    return begin(request, status, content_type, length, (struct coil__slice){"", 0});
}

int coil_http_respond(coil_http_request *request, int status, const char *content_type,
                      const void *body, size_t len)
{
    const size_t first = len < COIL__CHUNK_SIZE ? len : 0;
    int result =
        begin(request, status, content_type, (int64_t)len, (struct coil__slice){body, first});

    if (result == 0 && len > first)
        result = coil_http_write(request, body, len);
    if (result == 0)
        request->outlet.is_ended = true;
    return result;
}

int coil__http_fail(coil_http_request *request, int status, const char *text)
{
    request->outlet.fields.len = 0;
    request->outlet.has_date = false;
    request->outlet.has_server = false;
    request->outlet.has_type = false;
    request->is_last = true;
    return coil_http_respond(request, status, "text/plain", text, strlen(text));
}

/* ---- The body ---- */

static int write_chunk(coil_http_request *request, const char *data, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    char line[NUMBER_SIZE];
    char *at = line + sizeof line;
    size_t left = size;

    at -= 2;
    (void)put_text(at, "\r\n");
    do {
        *--at = hex[left % 16];
        left /= 16;
    } while (left > 0);

    const struct iovec pieces[] = {
        piece(at, (size_t)(line + sizeof line - at)),
        piece(data, size),
        piece("\r\n", 2),
    };

    return send_pieces(request, pieces, 3);
}

static int write_slice(coil_http_request *request, const char *data, size_t size)
{
    struct coil__http_outlet *outlet = &request->outlet;
    struct iovec all;
    int result;

    if (outlet->framing == COIL__HTTP_FRAMED_CHUNKS)
        return write_chunk(request, data, size);
    all = piece(data, size);
    result = send_pieces(request, &all, 1);
    if (result == 0 && outlet->framing == COIL__HTTP_FRAMED_LENGTH)
        outlet->left -= size;
    return result;
}

int coil_http_write(coil_http_request *request, const void *data, size_t size)
{
    struct coil__http_outlet *outlet = &request->outlet;
    const char *at = data;
    int result = 0;

    if (!outlet->is_begun || outlet->is_ended)
        return -EINVAL;
    if (outlet->is_mute)
        return 0;
    if (outlet->framing == COIL__HTTP_FRAMED_LENGTH && size > outlet->left)
        return -EMSGSIZE;
    while (size > 0 && result == 0) {
        const size_t part = size < SLICE_MAX ? size : SLICE_MAX;

        result = write_slice(request, at, part);
        /* What is left of a call that was interrupted in the middle can't be asked for again. */
        request->is_broken |= result < 0 && at != data;
        at += part;
        size -= part;
    }
    return result;
}

int coil_http_flush(coil_http_request *request)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, request->server->options.write_timeout);
    result = coil_flush(request->stream);
    note_stall(request, coil_scope_leave(&scope));
    return result;
}

int coil_http_end(coil_http_request *request)
{
    struct coil__http_outlet *outlet = &request->outlet;
    struct iovec last = piece("0\r\n\r\n", 5);
    int result = 0;

    if (!outlet->is_begun)
        return -EINVAL;
    if (outlet->is_ended || outlet->is_mute) {
        outlet->is_ended = true;
        return 0;
    }
    if (outlet->framing == COIL__HTTP_FRAMED_LENGTH && outlet->left > 0) {
        request->is_broken = true;
        return -EMSGSIZE;
    }
    if (outlet->framing == COIL__HTTP_FRAMED_CHUNKS)
        result = send_pieces(request, &last, 1);
    outlet->is_ended = result == 0;
    return result;
}
