/* SPDX-License-Identifier: MIT */
/* Chunked decoder.
 *
 * One state per kind of byte that may come next; step() takes one framing byte and either moves on
 * or names the fault. Only the data of a chunk is handled in bulk. There are few framing bytes per
 * chunk, so the simple machine costs nothing, and because it sees one byte at a time its verdict
 * can't depend on how the input was split.
 *
 * It is stricter than the grammar where readers differ: white space after the size only before an
 * extension, no more than 16 digits (leading zeros count), no control byte in an extension, quoted
 * or not. A chunk's CRLF is not a separator to be skipped but two bytes that must be there.
 *
 * Invariant: left > 0 in DATA; state never leaves DONE; once `error` is set nothing is consumed.
 */
#include "http/chunked.h"

#include "base/assert.h"
#include "http/chars.h"

enum state {
    SIZE,          /* digits of the size */
    SIZE_BLANK,    /* white space after the size, which only an extension may follow */
    EXTENSION,     /* anything up to CR */
    SIZE_LF,       /* the LF of the size line */
    DATA,          /* `left` bytes of body */
    DATA_CR,       /* the CRLF after them */
    DATA_LF,       /* likewise */
    TRAILER,       /* first byte of a trailer line, or CR of the last line */
    TRAILER_NAME,  /* up to the colon */
    TRAILER_VALUE, /* up to CR */
    TRAILER_LF,    /* the LF of a trailer line */
    LAST_LF,       /* the LF of the last line */
    DONE,
};

enum {
    DIGITS_MAX = 16,
};

static int step_size(struct coil__chunked *chunked, char byte)
{
    const int digit = coil__char_hex(byte);

    if (digit >= 0) {
        chunked->left = chunked->left * 16 + (uint64_t)digit;
        chunked->count++;
        if (chunked->count > DIGITS_MAX || chunked->left > INT64_MAX)
            return COIL__HTTP_BAD_CHUNK_SIZE;
        return 0;
    }
    if (chunked->count == 0)
        return COIL__HTTP_BAD_CHUNK_SIZE;
    chunked->count = 1;
    switch (byte) {
    case '\r':
        chunked->state = SIZE_LF;
        return 0;
    case ';':
        chunked->state = EXTENSION;
        return 0;
    case ' ':
    case '\t':
        chunked->state = SIZE_BLANK;
        return 0;
    default:
        return COIL__HTTP_BAD_CHUNK_SIZE;
    }
}

static int step_extension(struct coil__chunked *chunked, char byte)
{
    if (chunked->state == EXTENSION && byte == '\r') {
        chunked->state = SIZE_LF;
        return 0;
    }
    if (coil__char_is(byte, COIL__CHAR_CONTROL))
        return COIL__HTTP_BAD_CHUNK_LINE;
    if (byte == ';')
        chunked->state = EXTENSION;
    if (chunked->state == SIZE_BLANK && byte != ' ' && byte != '\t')
        return COIL__HTTP_BAD_CHUNK_LINE;
    chunked->count++;
    return chunked->count > chunked->limits.line_max ? COIL__HTTP_LONG_CHUNK_LINE : 0;
}

static int step_size_lf(struct coil__chunked *chunked, char byte)
{
    if (byte != '\n')
        return COIL__HTTP_BAD_CHUNK_LINE;
    chunked->count = 0;
    chunked->state = chunked->left > 0 ? DATA : TRAILER;
    return 0;
}

static int step_data_end(struct coil__chunked *chunked, char byte)
{
    if (byte != (chunked->state == DATA_CR ? '\r' : '\n'))
        return COIL__HTTP_BAD_CHUNK_END;
    chunked->state = chunked->state == DATA_CR ? DATA_LF : SIZE;
    return 0;
}

/* Returns the state after @byte of the trailer section, or an error. */
static int next_trailer_state(int state, char byte)
{
    const bool token = coil__char_is(byte, COIL__CHAR_TOKEN);

    switch (state) {
    case TRAILER:
        if (byte == '\r')
            return LAST_LF;
        return token ? TRAILER_NAME : COIL__HTTP_BAD_TRAILER;
    case TRAILER_NAME:
        if (byte == ':')
            return TRAILER_VALUE;
        return token ? TRAILER_NAME : COIL__HTTP_BAD_TRAILER;
    case TRAILER_VALUE:
        if (byte == '\r')
            return TRAILER_LF;
        return coil__char_is(byte, COIL__CHAR_CONTROL) ? COIL__HTTP_BAD_TRAILER : TRAILER_VALUE;
    default:
        if (byte != '\n')
            return COIL__HTTP_BAD_TRAILER;
        return state == LAST_LF ? DONE : TRAILER;
    }
}

static int step_trailer(struct coil__chunked *chunked, char byte)
{
    const int next = next_trailer_state(chunked->state, byte);

    if (next < 0)
        return next;
    chunked->count++;
    if (chunked->count > chunked->limits.trailers_max)
        return COIL__HTTP_LONG_TRAILERS;
    chunked->state = next;
    return 0;
}

static int step(struct coil__chunked *chunked, char byte)
{
    switch (chunked->state) {
    case SIZE:
        return step_size(chunked, byte);
    case SIZE_BLANK:
    case EXTENSION:
        return step_extension(chunked, byte);
    case SIZE_LF:
        return step_size_lf(chunked, byte);
    case DATA_CR:
    case DATA_LF:
        return step_data_end(chunked, byte);
    default:
        return step_trailer(chunked, byte);
    }
}

static size_t take_data(struct coil__chunked *chunked, size_t len)
{
    const size_t taken = chunked->left < len ? (size_t)chunked->left : len;

    COIL_ASSERT(taken > 0 && "a chunk without data has no DATA state");
    chunked->left -= taken;
    if (chunked->left == 0)
        chunked->state = DATA_CR;
    return taken;
}

void coil__chunked_init(struct coil__chunked *chunked, const struct coil__chunked_limits *limits)
{
    *chunked = (struct coil__chunked){
        .limits = {.line_max = COIL__CHUNKED_LINE_MAX, .trailers_max = COIL__CHUNKED_TRAILERS_MAX},
        .state = SIZE,
    };
    if (limits && limits->line_max)
        chunked->limits.line_max = limits->line_max;
    if (limits && limits->trailers_max)
        chunked->limits.trailers_max = limits->trailers_max;
}

ssize_t coil__chunked_decode(struct coil__chunked *chunked, const char *data, size_t len,
                             struct coil__slice *ret_body)
{
    size_t at = 0;

    if (chunked->error != 0)
        return chunked->error;
    while (at < len && chunked->state != DONE) {
        if (chunked->state == DATA) {
            const size_t taken = take_data(chunked, len - at);

            *ret_body = (struct coil__slice){data + at, taken};
            return (ssize_t)(at + taken);
        }
        chunked->error = step(chunked, data[at]);
        if (chunked->error != 0)
            return chunked->error;
        at++;
    }
    *ret_body = (struct coil__slice){data, 0};
    return (ssize_t)at;
}

bool coil__chunked_is_done(const struct coil__chunked *chunked)
{
    return chunked->state == DONE;
}
