/* SPDX-License-Identifier: MIT */
/* Files over streams: coil_sendfile() of coil/stream.h.
 *
 * Read into a buffer, write, again. Splicing through a pipe saves a copy, but each splice goes to a
 * worker thread of the kernel, and that costs two to four times the copy (bench/raw_sendfile.c,
 * lib/DECISIONS.md).
 *
 * The fiber keeps the writer's place from the first piece to the last, so that nobody's bytes come
 * between them. While it waits for the file, its read is the stream's `direct` operation: a close
 * cancels that as it cancels a send.
 *
 * Invariant: what *ret_sent counts is in the stream, whole pieces of it; an error while reading
 * leaves the output as good as it was.
 */
#include <errno.h>

#include <coil/file.h>

#include "base/alloc.h"
#include "net/stream.h"

enum {
    PIECE_SIZE = 64 * 1024, /* larger ones gained nothing */
};

struct piece {
    char *data;
    size_t size;
};

/* Reads the next piece. Returns its length, 0 at the end. */
static ssize_t read_piece(coil_stream *stream, int fd, const struct piece *piece, uint64_t offset)
{
    struct coil__op op = coil__op_make(COIL__OP_READ, fd, piece->data, piece->size, 0);
    int result;

    op.more.offset = offset;
    if (offset == COIL_FILE_POSITION)
        coil__output_hurry(stream); /* who knows when more will come */
    stream->direct = &op;
    result = coil__op_run(&op, "sendfile");
    stream->direct = NULL;
    return stream->is_closing ? -EBADF : result;
}

static int send_pieces(coil_stream *stream, int fd, uint64_t offset, uint64_t size,
                       uint64_t *ret_sent)
{
    const size_t room = size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
    struct piece piece = {.data = coil__realloc(NULL, room)};
    ssize_t length = 1;
    int result = piece.data ? 0 : -ENOMEM;

    while (result == 0 && length > 0 && *ret_sent < size) {
        const uint64_t at = offset == COIL_FILE_POSITION ? offset : offset + *ret_sent;
        const uint64_t left = size - *ret_sent;

        piece.size = left < room ? (size_t)left : room;
        length = read_piece(stream, fd, &piece, at);
        if (length > 0)
            result = coil__output_append(stream, piece.data, (size_t)length);
        if (length > 0 && result == 0)
            *ret_sent += (uint64_t)length;
    }
    coil__free(piece.data);
    return length < 0 ? (int)length : result;
}

int coil_sendfile(coil_stream *stream, int fd, uint64_t offset, uint64_t size, uint64_t *ret_sent)
{
    uint64_t sent = 0;
    int result = coil__output_enter(stream);

    if (result == 0) {
        if (size > 0)
            result = send_pieces(stream, fd, offset, size, &sent);
        coil__output_leave(stream);
    }
    if (ret_sent)
        *ret_sent = sent;
    return result;
}
