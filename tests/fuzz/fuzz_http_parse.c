/* SPDX-License-Identifier: MIT */
/* Fuzzer of the HTTP head parser. The first byte of an input chooses kind and limits, the second
 * seeds the splits, the rest is the message.
 *
 * Properties: fed whole, byte by byte, in random pieces and from a buffer that moves, the verdict
 * and the head are the same; a strict prefix never succeeds with another length; a success ends
 * with CRLF CRLF (or a lone CRLF for no headers) and keeps the promises of parse.h.
 */
#include "http/parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADERS = 8,
};

struct run {
    struct coil__http_parser parser;
    struct coil__http_header headers[HEADERS];
    ssize_t n;
    const char *base; /* of the last call: where slices point */
};

static void require(int condition)
{
    if (!condition)
        abort();
}

static void run_init(struct run *run, uint8_t mode)
{
    static const struct coil__http_limits tight = {
        .start_line_max = 40, .header_line_max = 30, .headers_max = 100};

    memset(run, 0, sizeof *run);
    coil__http_parser_init(&run->parser, mode & 1 ? COIL__HTTP_RESPONSE : COIL__HTTP_REQUEST,
                           run->headers, mode & 2 ? 2 : HEADERS, mode & 4 ? &tight : NULL);
}

static void same_slice(const struct run *a, struct coil__slice x, const struct run *b,
                       struct coil__slice y)
{
    require(x.len == y.len && (x.data == NULL) == (y.data == NULL));
    if (x.data)
        require(x.data - a->base == y.data - b->base);
}

static void same(const struct run *a, const struct run *b)
{
    const struct coil__http_head *x = &a->parser.head;
    const struct coil__http_head *y = &b->parser.head;

    require(a->n == b->n);
    if (a->n <= 0)
        return;
    same_slice(a, x->method, b, y->method);
    same_slice(a, x->target, b, y->target);
    same_slice(a, x->reason, b, y->reason);
    same_slice(a, x->host, b, y->host);
    require(x->form == y->form && x->version_minor == y->version_minor && x->status == y->status);
    require(x->content_length == y->content_length && x->chunked == y->chunked);
    require(x->keep_alive == y->keep_alive && x->expect_continue == y->expect_continue);
    require(x->has_host == y->has_host && x->upgrade == y->upgrade);
    require(x->header_count == y->header_count);
    for (size_t i = 0; i < x->header_count; i++) {
        same_slice(a, x->headers[i].name, b, y->headers[i].name);
        same_slice(a, x->headers[i].value, b, y->headers[i].value);
    }
}

static void check_head(const struct run *run, const char *data, size_t len)
{
    const struct coil__http_head *head = &run->parser.head;
    const size_t n = (size_t)run->n;

    require(n >= 4 && n <= len && memcmp(data + n - 4, "\r\n\r\n", 4) == 0);
    require(memchr(data, '\0', n) == NULL);
    require(!(head->chunked && head->content_length >= 0));
    require(head->content_length >= -1);
    require(!head->chunked || head->version_minor == 1);
    for (size_t i = 0; i < head->header_count; i++) {
        const struct coil__slice value = head->headers[i].value;

        require(head->headers[i].name.len > 0);
        require(value.data >= data && value.data + value.len <= data + n);
        require(value.len == 0 || (value.data[0] != ' ' && value.data[value.len - 1] != ' '));
    }
}

static void feed_pieces(struct run *run, const char *data, size_t len, unsigned seed)
{
    unsigned state = seed;

    run->base = data;
    for (size_t given = 0; run->n == 0 && given < len;) {
        state = state * 1103515245U + 12345U;
        given += seed == 0 ? 1 : 1 + (state >> 16) % 23;
        given = given < len ? given : len;
        run->n = coil__http_parse(&run->parser, data, given);
    }
}

/* Each prefix in memory of its own size, so that the sanitizer sees a read beyond it. */
static void feed_moving(struct run *run, const char *data, size_t len, char **ret_last)
{
    char *last = NULL;

    for (size_t given = 1; run->n == 0 && given <= len; given++) {
        char *copy = malloc(given);

        require(copy != NULL);
        memcpy(copy, data, given);
        run->n = coil__http_parse(&run->parser, copy, given);
        run->base = copy;
        free(last);
        last = copy;
    }
    *ret_last = last;
}

/* NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct run whole;
    struct run bytes;
    struct run pieces;
    struct run moving;
    char *last;

    if (size < 3)
        return 0;

    const char *data = (const char *)input + 2;
    const size_t len = size - 2;

    run_init(&whole, input[0]);
    whole.base = data;
    whole.n = coil__http_parse(&whole.parser, data, len);
    if (whole.n > 0)
        check_head(&whole, data, len);

    run_init(&bytes, input[0]);
    feed_pieces(&bytes, data, len, 0);
    same(&whole, &bytes);

    run_init(&pieces, input[0]);
    feed_pieces(&pieces, data, len, input[1] + 1U);
    same(&whole, &pieces);

    if (len <= 300) {
        run_init(&moving, input[0]);
        feed_moving(&moving, data, len, &last);
        same(&whole, &moving);
        free(last);
    }
    return 0;
}
