/* SPDX-License-Identifier: MIT */
/* The chunked decoder: the body comes out whole however the coding was split, nothing after it is
 * touched, and every departure from the grammar is a typed error.
 *
 * Each row is fed whole, byte by byte, in every two parts, and cut at every position; always from
 * memory that ends at a guard page.
 */
#include "http/chunked.h"

#include "feed.h"

#define LEN(array) (sizeof(array) / sizeof(array)[0])

struct row {
    const char *text;
    size_t len;
    const char *body; /* what comes out, also before an error */
    int error;        /* 0: done, or `cut` */
    size_t extra;     /* bytes after the body */
    bool cut;         /* the body is not over at the end */
};

struct outcome {
    char body[512];
    size_t body_len;
    size_t consumed;
    int error;
    bool done;
};

/* Feeds [from, from + len) until it is used up or the decoder stops. */
static void feed(struct coil__chunked *chunked, const char *from, size_t len,
                 struct outcome *outcome)
{
    size_t at = 0;

    while (at < len && outcome->error == 0) {
        struct coil__slice body;
        const ssize_t n = coil__chunked_decode(chunked, from + at, len - at, &body);

        if (n < 0) {
            outcome->error = (int)n;
            break;
        }
        cr_assert_leq((size_t)n, len - at);
        cr_assert_leq(outcome->body_len + body.len, sizeof outcome->body);
        memcpy(outcome->body + outcome->body_len, body.data, body.len);
        outcome->body_len += body.len;
        at += (size_t)n;
        if (n == 0)
            break;
    }
    outcome->consumed += at;
    outcome->done = coil__chunked_is_done(chunked);
}

static struct outcome feed_split(const struct row *row, const struct coil__chunked_limits *limits,
                                 size_t first, size_t step)
{
    struct guarded memory = guarded_new(row->len + 1);
    struct coil__chunked chunked;
    struct outcome outcome = {0};
    size_t at = 0;
    size_t part = first;

    coil__chunked_init(&chunked, limits);
    while (at < row->len && outcome.error == 0 && !outcome.done) {
        const size_t len = part < row->len - at ? part : row->len - at;

        feed(&chunked, guarded_copy(&memory, row->text + at, len), len, &outcome);
        at += len;
        part = step;
    }
    guarded_free(&memory);
    return outcome;
}

static void check_outcome(const struct row *row, const struct outcome *got)
{
    cr_expect_eq(got->error, row->error, "%s: %d", row->text, got->error);
    cr_expect_eq(got->body_len, strlen(row->body), "%s: body of %zu", row->text, got->body_len);
    cr_expect_eq(memcmp(got->body, row->body, strlen(row->body)), 0, "%s", row->text);
    cr_expect_eq(got->done, row->error == 0 && !row->cut, "%s", row->text);
    if (got->done)
        cr_expect_eq(got->consumed, row->len - row->extra, "%s: %zu", row->text, got->consumed);
}

static void check_prefixes(const struct row *row, const struct coil__chunked_limits *limits)
{
    for (size_t len = 1; len < row->len - row->extra; len++) {
        const struct row prefix = {.text = row->text, .len = len};
        const struct outcome got = feed_split(&prefix, limits, len, len);

        cr_expect(!got.done, "%s: done at %zu", row->text, len);
        cr_expect(got.error == 0 || got.error == row->error, "%s: %d at %zu", row->text, got.error,
                  len);
        cr_expect_eq(memcmp(got.body, row->body, got.body_len), 0, "%s", row->text);
    }
}

static void check_rows(const struct row *rows, size_t count,
                       const struct coil__chunked_limits *limits)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t first = 1; first <= rows[i].len; first++) {
            const struct outcome halves = feed_split(&rows[i], limits, first, rows[i].len);
            const struct outcome bytes = feed_split(&rows[i], limits, first, 1);

            check_outcome(&rows[i], &halves);
            check_outcome(&rows[i], &bytes);
        }
        check_prefixes(&rows[i], limits);
    }
}

#define BYTES(text_) .text = (text_), .len = sizeof(text_) - 1

Test(chunked, valid_bodies_are_decoded_and_what_follows_is_left_alone, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("0\r\n\r\n"), .body = ""},
        {BYTES("3\r\nabc\r\n0\r\n\r\n"), .body = "abc"},
        {BYTES("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), .body = "abcde", .extra = 16},
        {BYTES("00000000000000a\r\n0123456789\r\n000\r\n\r\n"), .body = "0123456789"},
        {BYTES("0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n"), .body = "abc"},
        {BYTES("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), .body = "01234567890123456789"},
        {BYTES("2\r\n\r\n\r\n0\r\n\r\n"), .body = "\r\n"},
        {BYTES("3;a\r\nabc\r\n0;b=c\r\n\r\n"), .body = "abc"},
        {BYTES("3 \t; here is dirt\r\nabc\r\n0\r\n\r\n"), .body = "abc"},
        {BYTES("3;a=\"q;\\\"\xff\"\r\nabc\r\n0\r\n\r\n"), .body = "abc"},
        {BYTES("3;;\tx\r\nabc\r\n0\r\n\r\n"), .body = "abc"},
        {BYTES("3\r\nabc\r\n0\r\nX: y\r\nz:\r\n\r\n0\r\n\r\n"), .body = "abc", .extra = 5},
        {BYTES("0\r\nContent-Length: 7\r\nHost: \xe9 \t\r\n\r\n"), .body = ""},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, a_body_cut_short_is_neither_done_nor_an_error, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("def\r\n0123456789012345"), .body = "0123456789012345", .cut = true},
        {BYTES("4\r\nthi"), .body = "thi", .cut = true},
        {BYTES("4\r\nthis"), .body = "this", .cut = true},
        {BYTES("4\r\nthis\r\n0\r\n"), .body = "this", .cut = true},
        {BYTES("7fffffffffffffff\r\nx"), .body = "x", .cut = true},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, a_size_is_1_to_16_hex_digits, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("cats\r\n"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES(";a\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES(" 3\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("-3\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("+3\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("0x3\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3g\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3,3\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3\0\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3\x0b\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("00000000000000003\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("00000000000000000\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("8000000000000000\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("ffffffffffffffff\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("10000000000000003\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("3\r\nabc\r\n\r\n0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_SIZE},
        {BYTES("0GET /evil HTTP/1.1\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_CHUNK_SIZE},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, the_rest_of_a_size_line_is_an_extension_or_nothing, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("3 \r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3 a\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3 a;b\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3\r\rabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3\rabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3;a\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3;a\rb\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3; here is dirt\0bla\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("3;\"\x7f\"\r\nabc"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
        {BYTES("0;\n\n"), .body = "", .error = COIL__HTTP_BAD_CHUNK_LINE},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, data_ends_with_crlf, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("3\r\nabc0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nabc\n\n0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nabc\r\r0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nabc\n0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nabc\r0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nabcd\r\n0\r\n\r\n"), .body = "abc", .error = COIL__HTTP_BAD_CHUNK_END},
        {BYTES("3\r\nab\r\n0\r\n\r\n"), .body = "ab\r", .error = COIL__HTTP_BAD_CHUNK_END},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, a_trailer_is_as_strict_as_a_header, .timeout = 60)
{
    static const struct row rows[] = {
        {BYTES("0\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"), .body = "",
         .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX: y\r\nGET /evil HTTP/1.1\r\n\r\n"), .body = "",
         .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\n X: y\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX: y\r\n z\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX : y\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\n: y\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX: y\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX: y\rz\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\nX: \0\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\n\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\n\rX"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
        {BYTES("0\r\n0\r\n\r\n"), .body = "", .error = COIL__HTTP_BAD_TRAILER},
    };

    check_rows(rows, LEN(rows), NULL);
}

Test(chunked, limits_hold_at_the_exact_byte_and_for_each_chunk_anew, .timeout = 60)
{
    static const struct coil__chunked_limits limits = {.line_max = 4, .trailers_max = 9};
    static const struct row rows[] = {
        {BYTES("1;23\r\na\r\n1;234\r\nb\r\n0;23\r\n\r\n"), .body = "ab", .error = 0},
        {BYTES("1;234\r\na\r\n"), .body = "a", .cut = true},
        {BYTES("1;2345\r\na\r\n"), .body = "", .error = COIL__HTTP_LONG_CHUNK_LINE},
        {BYTES("1    ;\r\na\r\n"), .body = "", .error = COIL__HTTP_LONG_CHUNK_LINE},
        {BYTES("0;234\r\nX:345\r\n\r\n"), .body = ""},
        {BYTES("0;234\r\nX:3456\r\n\r\n"), .body = "", .error = COIL__HTTP_LONG_TRAILERS},
        {BYTES("0\r\nX:\r\nY:\r\n\r\n"), .body = "", .error = COIL__HTTP_LONG_TRAILERS},
    };

    check_rows(rows, LEN(rows), &limits);
}

static int decode_filled(const char *before, size_t fill, const char *after)
{
    char *text = filled(before, fill, after);
    struct coil__chunked chunked;
    struct outcome outcome = {0};

    coil__chunked_init(&chunked, NULL);
    feed(&chunked, text, strlen(text), &outcome);
    free(text);
    return outcome.error ? outcome.error : (int)outcome.done;
}

Test(chunked, defaults_are_4096_for_extensions_and_8192_for_trailers, .timeout = 20)
{
    cr_expect_eq(decode_filled("0;", 4095, "\r\n\r\n"), 1);
    cr_expect_eq(decode_filled("0;", 4096, "\r\n\r\n"), COIL__HTTP_LONG_CHUNK_LINE);
    cr_expect_eq(decode_filled("0\r\nx:", 8192 - 6, "\r\n\r\n"), 1);
    cr_expect_eq(decode_filled("0\r\nx:", 8192 - 5, "\r\n\r\n"), COIL__HTTP_LONG_TRAILERS);
}

Test(chunked, an_error_is_final_and_done_consumes_nothing, .timeout = 20)
{
    struct coil__chunked chunked;
    struct coil__slice body = {"untouched", 9};

    coil__chunked_init(&chunked, NULL);
    cr_expect_eq(coil__chunked_decode(&chunked, "x", 1, &body), COIL__HTTP_BAD_CHUNK_SIZE);
    cr_expect_eq(coil__chunked_decode(&chunked, "0\r\n\r\n", 5, &body), COIL__HTTP_BAD_CHUNK_SIZE);
    cr_expect_eq(body.len, 9);
    cr_expect(!coil__chunked_is_done(&chunked));

    coil__chunked_init(&chunked, NULL);
    cr_expect_eq(coil__chunked_decode(&chunked, "0\r\n\r\nx", 6, &body), 5);
    cr_expect_eq(coil__chunked_decode(&chunked, "x", 1, &body), 0);
    cr_expect_eq(body.len, 0);
    cr_expect(coil__chunked_is_done(&chunked));
}

Test(chunked, body_bytes_are_not_copied, .timeout = 20)
{
    static const char text[] = "5\r\nhello\r\n0\r\n\r\n";
    struct coil__chunked chunked;
    struct coil__slice body;

    coil__chunked_init(&chunked, NULL);
    cr_expect_eq(coil__chunked_decode(&chunked, text, sizeof text - 1, &body), 8);
    cr_expect_eq(body.data, text + 3);
    cr_expect_eq(body.len, 5);
}
