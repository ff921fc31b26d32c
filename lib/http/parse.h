/* SPDX-License-Identifier: MIT */
/* The head of an HTTP/1.x message, request or response: bytes in, structure and framing out.
 *
 * Prepare a parser once per connection, then give coil__http_parse() all bytes of the message that
 * have arrived so far, from the first one on, as often as more arrive. It returns 0 while the head
 * is incomplete and remembers where it stopped, so feeding byte by byte costs linear time. When
 * the blank line is there it returns the length of the head and `parser->head` is complete. Then
 * read the body as `head` says, and coil__http_parser_reset() before the next message.
 *
 * All slices borrow from the bytes given to the last call and live as long as those. The buffer
 * may move between calls; the parser then starts over (a buffer that grows by doubling pays once
 * per doubling). The bytes already given must not change.
 *
 * Nothing is allocated, read or logged here, and no fiber parks.
 */
#ifndef COIL_LIB_HTTP_PARSE_H
#define COIL_LIB_HTTP_PARSE_H

#include "base/slice.h"
#include "http/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Defaults, and their reasons. A line limit counts the bytes before CRLF. */
enum {
    COIL__HTTP_START_LINE_MAX = 8192, /* the longest URL that browsers and proxies agree to carry */
    COIL__HTTP_HEADER_LINE_MAX = 8192, /* room for two full cookies (4096 each) in one line */
    COIL__HTTP_HEADERS_MAX = 65536,    /* what one connection may make a server hold */
    COIL__HTTP_HEADER_COUNT_MAX = 100, /* browsers send 15 to 30; a lookup stays cheap */
};

enum coil__http_kind {
    COIL__HTTP_REQUEST,
    COIL__HTTP_RESPONSE,
};

enum coil__http_form {
    COIL__HTTP_ORIGIN,    /* "/path?query" */
    COIL__HTTP_ABSOLUTE,  /* "http://host/path": the host of the target rules, not the field */
    COIL__HTTP_AUTHORITY, /* "host:port", CONNECT only */
    COIL__HTTP_ASTERISK,  /* "*", OPTIONS only */
};

enum coil__http_body {
    COIL__HTTP_BODY_NONE,
    COIL__HTTP_BODY_LENGTH,      /* content_length bytes */
    COIL__HTTP_BODY_CHUNKED,     /* see chunked.h */
    COIL__HTTP_BODY_UNTIL_CLOSE, /* all bytes until the peer closes; the connection ends with it */
};

struct coil__http_header {
    struct coil__slice name;  /* as sent, never empty */
    struct coil__slice value; /* without spaces and tabs at the ends, may be empty */
};

struct coil__http_head {
    struct coil__slice method;         /* request */
    struct coil__slice target;         /* request */
    enum coil__http_form form;         /* request: which form the target has */
    int version_minor;                 /* 0 or 1; a higher 1.x counts as 1 (RFC 9110 2.5) */
    int status;                        /* response: 100 to 599 */
    struct coil__slice reason;         /* response: may be empty */
    struct coil__http_header *headers; /* the caller's array, in the order received */
    size_t header_count;
    struct coil__slice host; /* value of Host; empty also when there is none */
    int64_t content_length;  /* -1: no such field */
    bool chunked;            /* Transfer-Encoding is exactly "chunked" */
    bool keep_alive;         /* the peer allows another message on this connection */
    bool expect_continue;    /* the client waits for 100; false on 1.0, which has none */
    bool has_host;
    bool upgrade; /* Upgrade is there and Connection names it; false on 1.0 */
};

/* Zero in a field means its default. */
struct coil__http_limits {
    size_t start_line_max;
    size_t header_line_max;
    size_t headers_max; /* header section with all line ends and the blank line */
};

struct coil__http_parser {
    struct coil__http_head head;
    /* The rest is private. */
    enum coil__http_kind kind;
    struct coil__http_limits limits;
    size_t header_max;
    uintptr_t base;  /* address of the bytes at the last call */
    size_t line;     /* offset of the line that is being collected */
    size_t scanned;  /* no control byte lies between `line` and here */
    size_t section;  /* offset of the first header line; 0 before it is known */
    ssize_t result;  /* what every further call returns: final once not 0 */
    unsigned seen;   /* bits of enum seen in parse.c */
    bool blank_seen; /* the one tolerated empty line before a request */
};

/** Prepares @p parser for one message. @p headers is the caller's array of @p header_max entries
 *  and outlives the parser; one header more is COIL__HTTP_MANY_HEADERS. @p limits may be NULL. */
void coil__http_parser_init(struct coil__http_parser *parser, enum coil__http_kind kind,
                            struct coil__http_header *headers, size_t header_max,
                            const struct coil__http_limits *limits);

/** Forgets the message and keeps kind, array and limits. */
void coil__http_parser_reset(struct coil__http_parser *parser);

/** Parses the first @p len bytes of a message, @p data being its first byte.
 *
 *  Returns the length of the head including the blank line (and an empty line before a request),
 *  0 when it is incomplete, or an enum coil__http_error. Both verdicts are final until the reset,
 *  and do not depend on how the bytes were split into calls: an error is reported as soon as the
 *  byte that causes it (or completes its line) is there. */
ssize_t coil__http_parse(struct coil__http_parser *parser, const char *data, size_t len);

/** Returns the value of the first header called @p name (lower case), or a slice with NULL data. */
struct coil__slice coil__http_header_find(const struct coil__http_head *head, const char *name);

/** Returns how the body of a request ends; never COIL__HTTP_BODY_UNTIL_CLOSE. */
enum coil__http_body coil__http_request_body(const struct coil__http_head *head);

/** Returns how the body of a response to a request with @p method ends (RFC 9112 6.3).
 *
 *  HEAD, 1xx, 204, 304 and a 2xx to CONNECT have none whatever the fields say; after the last the
 *  connection is a tunnel, and after 101 another protocol. */
enum coil__http_body coil__http_response_body(const struct coil__http_head *head,
                                              struct coil__slice method);

#endif
