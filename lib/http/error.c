/* SPDX-License-Identifier: MIT */
/* The table behind error.h: one row per way in which HTTP can be wrong.
 *
 * Everything that makes the end of a message uncertain is 400; only limits and abilities of this
 * server have codes of their own, because a client can do something about those.
 */
#include "http/error.h"

#include <stddef.h>

struct row {
    int error;
    int status;
    const char *text;
};

static const struct row rows[] = {
    {COIL__HTTP_BAD_LINE, 400, "Control Byte Or Bad Line End"},
    {COIL__HTTP_BAD_START_LINE, 400, "Malformed Start Line"},
    {COIL__HTTP_BAD_TARGET, 400, "Malformed Request Target"},
    {COIL__HTTP_BAD_VERSION, 505, "HTTP Version Not Supported"},
    {COIL__HTTP_BAD_HEADER, 400, "Malformed Header Line"},
    {COIL__HTTP_BAD_HOST, 400, "Missing, Repeated Or Malformed Host"},
    {COIL__HTTP_BAD_LENGTH, 400, "Malformed Or Repeated Content-Length"},
    {COIL__HTTP_BAD_CODING, 400, "Ambiguous Transfer-Encoding"},
    {COIL__HTTP_UNKNOWN_CODING, 501, "Transfer Coding Not Implemented"},
    {COIL__HTTP_LONG_START_LINE, 414, "Request Line Too Long"},
    {COIL__HTTP_LONG_HEADER, 431, "Header Line Too Long"},
    {COIL__HTTP_LONG_HEADERS, 431, "Headers Too Large"},
    {COIL__HTTP_MANY_HEADERS, 431, "Too Many Headers"},
    {COIL__HTTP_BAD_CHUNK_SIZE, 400, "Malformed Chunk Size"},
    {COIL__HTTP_BAD_CHUNK_LINE, 400, "Malformed Chunk Line"},
    {COIL__HTTP_BAD_CHUNK_END, 400, "Chunk Data Without Line End"},
    {COIL__HTTP_BAD_TRAILER, 400, "Malformed Trailer"},
    {COIL__HTTP_LONG_CHUNK_LINE, 400, "Chunk Extension Too Long"},
    {COIL__HTTP_LONG_TRAILERS, 431, "Trailers Too Large"},
};

static const struct row *find(int error)
{
    static const struct row unknown = {0, 400, "Bad Request"};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].error == error)
            return &rows[i];
    }
    return &unknown;
}

int coil__http_error_status(int error)
{
    return find(error)->status;
}

const char *coil__http_error_text(int error)
{
    return find(error)->text;
}
