/* SPDX-License-Identifier: MIT */
/* Tables of heads and verdicts for the tests of the HTTP head parser.
 *
 * Each row is fed whole, byte by byte, cut at every position, from a buffer that moves at every
 * byte, and always ending at a guard page. `want` is the summary of the head for a success; `error`
 * is the verdict otherwise.
 */
#ifndef COIL_TESTS_HTTP_PARSE_ROWS_H
#define COIL_TESTS_HTTP_PARSE_ROWS_H

#include "http/parse.h"

#include "feed.h"

#include <inttypes.h>
#include <stdio.h>

#define LEN(array) (sizeof(array) / sizeof(array)[0])
#define H          "GET / HTTP/1.1\r\nHost: x\r\n"
#define P          "POST / HTTP/1.1\r\nHost: x\r\n"
#define OK         "HTTP/1.1 200 OK\r\n"

struct row {
    const char *text;
    size_t len;
    const char *want; /* NULL: error */
    int error;        /* 0: incomplete */
    size_t extra;     /* bytes after the head, which are not part of it */
};

#define MORE(bytes, head, more)                                              \
 {                                                                           \
  .text = (bytes), .len = sizeof(bytes) - 1, .want = (head), .extra = (more) \
 }
#define GOOD(bytes, head) MORE(bytes, head, 0)
#define BAD(bytes, verdict)                                     \
 {                                                              \
  .text = (bytes), .len = sizeof(bytes) - 1, .error = (verdict) \
 }

struct subject {
    struct coil__http_parser parser;
    struct coil__http_header headers[COIL__HTTP_HEADER_COUNT_MAX];
};

static inline void subject_init(struct subject *subject, enum coil__http_kind kind,
                                const struct coil__http_limits *limits)
{
    coil__http_parser_init(&subject->parser, kind, subject->headers, LEN(subject->headers), limits);
}

static inline void summarise(const struct coil__http_head *head, enum coil__http_kind kind,
                             char *out, size_t size)
{
    static const char *const forms[] = {"", " absolute", " authority", " asterisk"};
    int at;

    if (kind == COIL__HTTP_REQUEST) {
        at = snprintf(out, size, "%.*s %.*s %d%s", (int)head->method.len, head->method.data,
                      (int)head->target.len, head->target.data, head->version_minor,
                      forms[head->form]);
    } else {
        at = snprintf(out, size, "%d '%.*s' %d", head->status, (int)head->reason.len,
                      head->reason.data, head->version_minor);
    }
    if (head->content_length >= 0)
        at += snprintf(out + at, size - (size_t)at, " length=%" PRId64, head->content_length);
    at += snprintf(out + at, size - (size_t)at, "%s%s%s%s", head->chunked ? " chunked" : "",
                   head->keep_alive ? " keep" : "", head->expect_continue ? " expect" : "",
                   head->upgrade ? " upgrade" : "");
    for (size_t i = 0; i < head->header_count; i++) {
        at += snprintf(out + at, size - (size_t)at, " [%.*s=%.*s]", (int)head->headers[i].name.len,
                       head->headers[i].name.data, (int)head->headers[i].value.len,
                       head->headers[i].value.data);
    }
}

static inline ssize_t feed_whole(struct subject *subject, const struct guarded *memory,
                                 const char *text, size_t len)
{
    return coil__http_parse(&subject->parser, guarded_copy(memory, text, len), len);
}

static inline ssize_t feed_bytes(struct subject *subject, const struct guarded *memory,
                                 const char *text, size_t len)
{
    const char *copy = guarded_copy(memory, text, len);
    ssize_t n = 0;

    for (size_t i = 0; i <= len && n == 0; i++)
        n = coil__http_parse(&subject->parser, copy, i);
    return n;
}

static inline ssize_t feed_moving(struct subject *subject, const struct guarded *memory,
                                  const char *text, size_t len)
{
    ssize_t n = 0;

    for (size_t i = 0; i <= len && n == 0; i++)
        n = coil__http_parse(&subject->parser, guarded_copy(memory, text, i), i);
    return n;
}

typedef ssize_t feed_fn(struct subject *, const struct guarded *, const char *, size_t);

static inline void check_feed(const struct row *row, enum coil__http_kind kind,
                              const struct coil__http_limits *limits, feed_fn *feed)
{
    const size_t len = row->len;
    const ssize_t want_n = row->want ? (ssize_t)(len - row->extra) : row->error;
    struct guarded memory = guarded_new(len);
    struct subject subject;
    char got[4096];

    subject_init(&subject, kind, limits);
    const ssize_t n = feed(&subject, &memory, row->text, len);

    cr_expect_eq(n, want_n, "%.300s: got %zd, want %zd", row->text, n, want_n);
    if (n > 0 && row->want) {
        summarise(&subject.parser.head, kind, got, sizeof got);
        cr_expect_str_eq(got, row->want, "%s: %s", row->text, got);
    }
    guarded_free(&memory);
}

/* A prefix is incomplete, or wrong in the way the whole is wrong; never complete. */
static inline void check_prefixes(const struct row *row, enum coil__http_kind kind,
                                  const struct coil__http_limits *limits)
{
    const size_t len = row->len;
    const size_t head_len = row->want ? len - row->extra : len + 1;
    struct guarded memory = guarded_new(len);

    for (size_t i = 0; i < len; i++) {
        struct subject subject;
        subject_init(&subject, kind, limits);
        const ssize_t n = feed_whole(&subject, &memory, row->text, i);

        if (i >= head_len) {
            cr_expect_eq(n, (ssize_t)head_len, "%.300s: cut at %zu gives %zd", row->text, i, n);
        } else {
            cr_expect(n == 0 || (!row->want && n == row->error), "%.300s: cut at %zu gives %zd",
                      row->text, i, n);
        }
    }
    guarded_free(&memory);
}

static inline void check_rows(const struct row *rows, size_t count, enum coil__http_kind kind,
                              const struct coil__http_limits *limits)
{
    for (size_t i = 0; i < count; i++) {
        check_feed(&rows[i], kind, limits, feed_whole);
        check_feed(&rows[i], kind, limits, feed_bytes);
        check_feed(&rows[i], kind, limits, feed_moving);
        check_prefixes(&rows[i], kind, limits);
    }
}

static inline void check_requests(const struct row *rows, size_t count)
{
    check_rows(rows, count, COIL__HTTP_REQUEST, NULL);
}

static inline void check_responses(const struct row *rows, size_t count)
{
    check_rows(rows, count, COIL__HTTP_RESPONSE, NULL);
}

#endif
