/* SPDX-License-Identifier: MIT */
/* What can be wrong with bytes that claim to be HTTP, and what a server answers to it.
 *
 * The head parser and the chunked decoder return one of these. The values lie below the range of
 * errno (-4095 .. -1), so one that slips into an errno path is recognisable and can't be taken for
 * another error. A client that meets one reports -EPROTO.
 */
#ifndef COIL_LIB_HTTP_ERROR_H
#define COIL_LIB_HTTP_ERROR_H

enum coil__http_error {
    COIL__HTTP_BAD_LINE = -5001,        /* bare CR or LF, NUL or another control byte */
    COIL__HTTP_BAD_START_LINE = -5002,  /* not "method target version" or "version status" */
    COIL__HTTP_BAD_TARGET = -5003,      /* a target of no form, or of one the method excludes */
    COIL__HTTP_BAD_VERSION = -5004,     /* well formed, but not HTTP/1.x */
    COIL__HTTP_BAD_HEADER = -5005,      /* no colon, space before it, folded, not a token */
    COIL__HTTP_BAD_HOST = -5006,        /* missing on 1.1, repeated, or not a host */
    COIL__HTTP_BAD_LENGTH = -5007,      /* Content-Length not one number, repeated, too big */
    COIL__HTTP_BAD_CODING = -5008,      /* Transfer-Encoding that frames ambiguously */
    COIL__HTTP_UNKNOWN_CODING = -5009,  /* a transfer coding other than chunked */
    COIL__HTTP_LONG_START_LINE = -5010, /* over start_line_max */
    COIL__HTTP_LONG_HEADER = -5011,     /* a line over header_line_max */
    COIL__HTTP_LONG_HEADERS = -5012,    /* all lines together over headers_max */
    COIL__HTTP_MANY_HEADERS = -5013,    /* more lines than the caller has room for */
    COIL__HTTP_BAD_CHUNK_SIZE = -5014,  /* not 1 to 16 hex digits, or over 2^63-1 */
    COIL__HTTP_BAD_CHUNK_LINE = -5015,  /* what follows the size is no extension and no CRLF */
    COIL__HTTP_BAD_CHUNK_END = -5016,   /* no CRLF after the data */
    COIL__HTTP_BAD_TRAILER = -5017,     /* a trailer line that would be no header line */
    COIL__HTTP_LONG_CHUNK_LINE = -5018, /* extensions of one chunk over their limit */
    COIL__HTTP_LONG_TRAILERS = -5019,   /* trailer section over its limit */
};

/** Returns the status code that answers @p error: 400, 414, 431, 501 or 505. 400 when unknown. */
int coil__http_error_status(int error);

/** Returns a short English sentence about @p error, for logs and the body of the answer. Static. */
const char *coil__http_error_text(int error);

#endif
