/* SPDX-License-Identifier: MIT */
/* Fuzzer of the chunked decoder: whole, byte by byte and in random pieces, the body, the verdict
 * and the place where the body ends are the same. The first byte of an input seeds the pieces and
 * chooses the limits.
 */
#include "http/chunked.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct outcome {
    char *body;
    size_t body_len;
    size_t consumed;
    int error;
    bool done;
};

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Decodes one piece, from memory of its own so that the sanitizer sees a read beyond it. */
static void feed(struct coil__chunked *chunked, const char *from, size_t len, struct outcome *out)
{
    char *copy = malloc(len);
    size_t at = 0;

    require(copy != NULL);
    memcpy(copy, from, len);
    while (at < len && !coil__chunked_is_done(chunked)) {
        struct coil__slice body;
        const ssize_t n = coil__chunked_decode(chunked, copy + at, len - at, &body);

        if (n < 0) {
            out->error = (int)n;
            require(coil__chunked_decode(chunked, copy, 1, &body) == n);
            break;
        }
        require(n > 0 && (size_t)n <= len - at);
        require(body.len == 0 || body.data + body.len == copy + at + (size_t)n);
        memcpy(out->body + out->body_len, body.data, body.len);
        out->body_len += body.len;
        at += (size_t)n;
    }
    out->consumed += at;
    out->done = coil__chunked_is_done(chunked);
    free(copy);
}

static struct outcome decode(const char *data, size_t len, uint8_t mode, size_t piece_max)
{
    static const struct coil__chunked_limits tight = {.line_max = 8, .trailers_max = 20};
    struct outcome out = {.body = malloc(len)};
    struct coil__chunked chunked;
    unsigned state = mode;
    size_t at = 0;

    require(out.body != NULL);
    coil__chunked_init(&chunked, mode & 1 ? &tight : NULL);
    while (at < len && out.error == 0 && !out.done) {
        state = state * 1103515245U + 12345U;
        size_t piece = 1 + (state >> 16) % piece_max;
        piece = piece < len - at ? piece : len - at;
        piece = piece_max == len ? len : piece;
        feed(&chunked, data + at, piece, &out);
        at += piece;
    }
    return out;
}

/* A whole and a split feed may consume differently before an error, but give the same body. */
static void same(const struct outcome *a, const struct outcome *b)
{
    require(a->error == b->error && a->done == b->done && a->body_len == b->body_len);
    require(memcmp(a->body, b->body, a->body_len) == 0);
    if (a->done)
        require(a->consumed == b->consumed);
}

/* NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 2)
        return 0;

    const char *data = (const char *)input + 1;
    const size_t len = size - 1;
    struct outcome whole = decode(data, len, input[0], len);
    struct outcome bytes = decode(data, len, input[0], 1);
    struct outcome pieces = decode(data, len, input[0], 7);

    same(&whole, &bytes);
    same(&whole, &pieces);
    free(whole.body);
    free(bytes.body);
    free(pieces.body);
    return 0;
}
