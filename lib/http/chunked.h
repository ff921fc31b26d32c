/* SPDX-License-Identifier: MIT */
/* Decoder of the chunked transfer coding (RFC 9112 7.1): an incremental state machine.
 *
 * Give it whatever has arrived, split anyhow. Each call consumes framing up to and including at
 * most one run of body bytes, and returns that run as a slice into the input: nothing is copied.
 * Call again with what is left until the input is used up or the body is done; bytes after the
 * body belong to the next message and are not touched.
 *
 * Extensions are skipped, trailer fields checked as strictly as header fields and discarded.
 */
#ifndef COIL_LIB_HTTP_CHUNKED_H
#define COIL_LIB_HTTP_CHUNKED_H

#include "base/slice.h"
#include "http/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Defaults, and their reasons. */
enum {
    COIL__CHUNKED_LINE_MAX = 4096,     /* after the size: signatures in use need some 100 bytes */
    COIL__CHUNKED_TRAILERS_MAX = 8192, /* checksums and timings; nobody here looks at them */
};

/* Zero in a field means its default. */
struct coil__chunked_limits {
    size_t line_max;     /* bytes after the size of one chunk, before CRLF */
    size_t trailers_max; /* bytes of the trailer section, line ends and last line included */
};

struct coil__chunked {
    struct coil__chunked_limits limits; /* all private */
    uint64_t left;                      /* size read so far, then data bytes still to come */
    size_t count;                       /* digits, or bytes counted against a limit */
    int state;
    int error; /* 0, or what every further call returns */
};

/** Prepares @p chunked for one body. @p limits may be NULL. */
void coil__chunked_init(struct coil__chunked *chunked, const struct coil__chunked_limits *limits);

/** Decodes from the @p len bytes at @p data, which follow those consumed before.
 *
 *  Returns how many bytes were consumed, and in @p ret_body those of them that are body (its len
 *  may be 0). Returns 0 only when @p len is 0 or the body is done. Returns an enum
 *  coil__http_error, and goes on returning it, when the coding is broken; body bytes before the
 *  fault have been returned by earlier calls. */
ssize_t coil__chunked_decode(struct coil__chunked *chunked, const char *data, size_t len,
                             struct coil__slice *ret_body);

/** Returns whether the last chunk and the trailers have been consumed. An input that ends before
 *  that is a body cut short. */
bool coil__chunked_is_done(const struct coil__chunked *chunked);

#endif
