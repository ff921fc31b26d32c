/* SPDX-License-Identifier: MIT */
/* Buffered output of a stream, and the writing calls of coil/stream.h.
 *
 * What is written collects in one chunk. The transport sends from the chunk's start (the flight)
 * while further writes append behind it; when all has gone the chunk returns to the pool. The send
 * belongs to the stream, not to a fiber: a reader that is about to park starts it and parks once,
 * for its input, and a short send is continued in its completion.
 *
 * A write that does not fit parks. It sends the chunk and the caller's memory together, and takes
 * none of the caller's bytes before that, so that an interruption either finds the write not begun
 * (try again) or breaks the output for good.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "net/stream.h"

enum {
    PIECES_MAX = 16,       /* iovecs per system call, the caller's and the chunk */
    PRINTF_MAX = 64 * 1024 /* longer texts belong in coil_write() */
};

/* ---- The flight ---- */

static void drop_chunk(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    if (!output->chunk)
        return;
    coil__chunk_put(stream, output->chunk);
    output->chunk = NULL;
}

static void wake_writer(coil_stream *stream, int result)
{
    stream->output.is_parked = false;
    coil__wake(stream->output.writer, result);
}

/* The flight failed while nobody was in a write, so nobody was told. A peer that is gone ends the
 * input, too. After any other failure both could wait for ever, the reader for the next request and
 * the peer for the answer to this one: then it ends both directions, as a reset does. */
static void fail_reader(coil_stream *stream, int error)
{
    if (error != -EPIPE && error != -ECONNRESET)
        coil__input_end(stream, error);
}

/* A flight that failed, was short, or somebody waits for. */
static COIL_COLD void end_flight(coil_stream *stream, int result)
{
    struct coil__output *output = &stream->output;
    struct coil__lease *chunk = output->chunk;

    if (result > 0)
        chunk->start += (uint32_t)result;
    else if (result != -EINTR && result != -EAGAIN && result != -ECANCELED)
        output->error = result == 0 ? -EPIPE : result;

    if (chunk->start == chunk->end || output->error)
        drop_chunk(stream);
    else if (output->is_wanted && !stream->is_aborted)
        stream->ops->output_start(stream);

    if (output->is_parked && !output->flight)
        wake_writer(stream, 0);
    if (output->error && !output->writer)
        fail_reader(stream, output->error);
    if (stream->closer)
        coil__stream_settle(stream);
}

void coil__output_done(coil_stream *stream, int result)
{
    struct coil__output *output = &stream->output;
    struct coil__lease *chunk = output->chunk;

    output->flight = 0;
    output->sent += result > 0 ? (uint64_t)result : 0;
    if (COIL_UNLIKELY(result != (int)(chunk->end - chunk->start) || output->writer)) {
        end_flight(stream, result);
        return;
    }
    /* All has gone and nobody waits for that: the reply to a request. */
    output->chunk = NULL;
    coil__chunk_put(stream, chunk);
}

static void leave_wait(struct coil__tcb *tcb)
{
    coil_stream *stream = tcb->wait_object;

    stream->output.is_parked = false;
    coil__wake_interrupted(tcb);
}

int coil__output_drain(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    while (output->chunk && !output->error) {
        int result;

        output->is_wanted = true;
        if (!output->flight)
            stream->ops->output_start(stream);
        output->is_parked = true;
        result = coil__park("write", stream, leave_wait);
        if (result < 0)
            return result;
    }
    return output->error;
}

void coil__output_clear(coil_stream *stream)
{
    COIL_ASSERT(!stream->output.flight);
    drop_chunk(stream);
}

void coil__output_abandon(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    COIL_ASSERT(!output->writer && "by the one who writes");
    if (!output->error)
        output->error = -EPIPE;
    if (!output->flight)
        drop_chunk(stream);
}

void coil__output_evict(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    if (output->is_parked) {
        wake_writer(stream, -EBADF);
    } else if (stream->direct && output->writer->state == COIL__FIBER_PARKED &&
               !output->writer->is_interrupted) {
        output->writer->is_interrupted = true;
        stream->sched->engine->ops->cancel(stream->sched->engine, stream->direct);
    }
}

/* ---- The frame of every writing call ---- */

static inline int begin(coil_stream *stream)
{
    const int result = coil__stream_checkpoint(stream, coil__stream_caller(stream));

    if (COIL_UNLIKELY(result < 0))
        return result;
    if (COIL_UNLIKELY(stream->output.writer != NULL))
        return coil__stream_busy(stream, stream->output.writer, "write");
    return stream->output.error;
}

/* The calls that may park hold the writer's place meanwhile. */
static void hold(coil_stream *stream)
{
    stream->output.writer = coil__self();
}

static void release(coil_stream *stream)
{
    stream->output.writer = NULL;
    /* A reader that parked meanwhile has left its bytes to this writer. */
    if (stream->input.is_parked && stream->output.chunk && !stream->output.error)
        coil__output_push(stream);
    if (stream->closer)
        coil__stream_settle(stream);
}

/* ---- Writing ---- */

/* Room for `size` bytes in the chunk, or NULL; NULL for no bytes at all, which need none. (One
 * less, unsigned, is more than any room.) */
static inline char *reserve(coil_stream *stream, size_t size)
{
    struct coil__lease *chunk = stream->output.chunk;

    if (chunk)
        return size - 1 < chunk->capacity - chunk->end ? chunk->data + chunk->end : NULL;
    if (size - 1 >= COIL__CHUNK_SIZE)
        return NULL;
    chunk = coil__chunk_get(stream);
    if (!chunk)
        return NULL;
    stream->output.chunk = chunk;
    stream->output.is_wanted = false;
    return chunk->data;
}

/* Where a write from the caller's memory stands: the chunk's bytes go first. */
struct progress {
    const struct iovec *pieces;
    size_t piece_count;
    size_t skip;  /* bytes of pieces[0] that have gone */
    size_t taken; /* bytes of the caller that have gone, in all */
};

static void fill_message(coil_stream *stream, const struct progress *progress, struct iovec *iov,
                         struct msghdr *message)
{
    const struct coil__lease *chunk = stream->output.chunk;
    size_t count = 0;

    if (chunk)
        iov[count++] = (struct iovec){chunk->data + chunk->start, chunk->end - chunk->start};
    for (size_t i = 0; i < progress->piece_count && count < PIECES_MAX; i++) {
        iov[count] = progress->pieces[i];
        if (i == 0) {
            iov[count].iov_base = (char *)iov[count].iov_base + progress->skip;
            iov[count].iov_len -= progress->skip;
        }
        count++;
    }
    *message = (struct msghdr){.msg_iov = iov, .msg_iovlen = count};
}

static void account(coil_stream *stream, struct progress *progress, size_t sent)
{
    struct coil__lease *chunk = stream->output.chunk;

    stream->output.sent += sent;
    if (chunk) {
        const size_t there = chunk->end - chunk->start;
        const size_t part = sent < there ? sent : there;

        chunk->start += (uint32_t)part;
        sent -= part;
        if (chunk->start == chunk->end)
            drop_chunk(stream);
    }
    progress->taken += sent;
    progress->skip += sent;
    while (progress->piece_count > 0 && progress->skip >= progress->pieces->iov_len) {
        progress->skip -= progress->pieces->iov_len;
        progress->pieces++;
        progress->piece_count--;
    }
}

/* Waits until the chunk is not in flight, then sends it and the pieces. */
static int send_directly(coil_stream *stream, struct progress *progress)
{
    int result = stream->output.flight ? coil__output_drain(stream) : 0;

    while (result == 0 && progress->piece_count > 0) {
        struct iovec iov[PIECES_MAX];
        struct msghdr message;
        ssize_t sent;

        if (stream->is_closing)
            return -EBADF;
        fill_message(stream, progress, iov, &message);
        sent = stream->ops->output_send(stream, &message);
        if (sent >= 0)
            account(stream, progress, (size_t)sent);
        else if (sent != -EINTR && sent != -EAGAIN)
            result = (int)sent;
    }
    return result;
}

/* The end of a write from the caller's memory. Returns `result`. */
static int end_write(coil_stream *stream, const struct progress *progress, int result)
{
    /* An interruption, which can be tried again, is not the kernel's own -ETIMEDOUT. */
    if (result < 0 && result != coil__scope_due(stream->output.writer) && !stream->is_closing)
        stream->output.error = result;
    else if (result < 0 && progress->taken > 0)
        stream->output.error = -EPIPE; /* cut in the middle: nobody can go on from here */
    if (stream->output.error && !stream->output.flight)
        drop_chunk(stream);
    return result;
}

/* For the one who holds the writer's place. */
static int write_held(coil_stream *stream, const struct iovec *pieces, size_t count)
{
    struct progress progress = {.pieces = pieces, .piece_count = count};

    account(stream, &progress, 0); /* skips empty pieces at the front */
    return end_write(stream, &progress, send_directly(stream, &progress));
}

static int write_large(coil_stream *stream, const struct iovec *pieces, size_t count)
{
    int result;

    hold(stream);
    result = write_held(stream, pieces, count);
    release(stream);
    return result;
}

/* Sends the first bytes of the caller with `control`; how many the kernel takes is up to it. */
static int send_first(coil_stream *stream, struct progress *progress, void *control,
                      size_t control_length)
{
    while (progress->taken == 0) {
        struct msghdr message = {
            .msg_iov = (struct iovec *)(uintptr_t)progress->pieces,
            .msg_iovlen = 1,
            .msg_control = control,
            .msg_controllen = control_length,
        };
        ssize_t sent;

        if (stream->is_closing)
            return -EBADF;
        sent = stream->ops->output_send(stream, &message);
        if (sent >= 0)
            account(stream, progress, (size_t)sent);
        else if (sent != -EINTR && sent != -EAGAIN)
            return (int)sent;
    }
    return 0;
}

int coil__output_send_with(coil_stream *stream, const void *data, size_t size, void *control,
                           size_t control_length)
{
    const struct iovec piece = {(void *)(uintptr_t)data, size};
    struct progress progress = {.pieces = &piece, .piece_count = 1};
    int result = begin(stream);

    if (result < 0)
        return result;
    hold(stream);
    result = coil__output_drain(stream);
    if (result == 0)
        result = send_first(stream, &progress, control, control_length);
    if (result == 0)
        result = send_directly(stream, &progress);
    /* These are about the control data, when nothing has gone: the stream is as it was. */
    if (progress.taken > 0 || (result != -EBADF && result != -EINVAL && result != -ETOOMANYREFS))
        result = end_write(stream, &progress, result);
    release(stream);
    return result;
}

/* A write that found no room: because it is large, or for lack of memory. */
static COIL_COLD int write_without_room(coil_stream *stream, const void *data, size_t size)
{
    const struct iovec piece = {(void *)(uintptr_t)data, size};

    if (size == 0)
        return 0;
    if (size <= COIL__CHUNK_SIZE && !stream->output.chunk)
        return -ENOMEM;
    return write_large(stream, &piece, 1);
}

int coil_write(coil_stream *stream, const void *data, size_t size)
{
    const int result = begin(stream);
    char *room;

    if (COIL_UNLIKELY(result < 0))
        return result;
    room = reserve(stream, size);
    if (COIL_UNLIKELY(!room))
        return write_without_room(stream, data, size);
    stream->output.chunk->end += (uint32_t)size;
    memcpy(room, data, size);
    return 0;
}

int coil_writev(coil_stream *stream, const struct iovec *pieces, int count)
{
    const int result = begin(stream);
    size_t size = 0;
    char *room;

    if (result < 0)
        return result;
    if (count < 0)
        return -EINVAL;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    if (size == 0)
        return 0;
    room = reserve(stream, size);
    if (!room) {
        if (size <= COIL__CHUNK_SIZE && !stream->output.chunk)
            return -ENOMEM;
        return write_large(stream, pieces, (size_t)count);
    }
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len == 0)
            continue;
        memcpy(room, pieces[i].iov_base, pieces[i].iov_len);
        room += pieces[i].iov_len;
    }
    stream->output.chunk->end += (uint32_t)size;
    return 0;
}

/* ---- Several writes as one ---- */

int coil__output_enter(coil_stream *stream)
{
    const int result = begin(stream);

    if (result == 0)
        hold(stream);
    return result;
}

int coil__output_append(coil_stream *stream, const void *data, size_t size)
{
    const struct iovec piece = {(void *)(uintptr_t)data, size};
    char *room = reserve(stream, size);

    if (room) {
        stream->output.chunk->end += (uint32_t)size;
        memcpy(room, data, size);
        return 0;
    }
    if (size <= COIL__CHUNK_SIZE && !stream->output.chunk)
        return -ENOMEM;
    return write_held(stream, &piece, 1);
}

void coil__output_hurry(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    if (!output->chunk || output->error)
        return;
    output->is_wanted = true;
    if (!output->flight)
        stream->ops->output_start(stream);
}

void coil__output_leave(coil_stream *stream)
{
    release(stream);
}

/* ---- Formatting ---- */

struct formatting {
    char *room;
    size_t size;
    const char *format;
    va_list arguments;
    int length;
};

/* Runs on the loop's stack: printf takes 2 to 5 KiB. */
static void format_text(void *arg)
{
    struct formatting *formatting = arg;

    formatting->length =
        vsnprintf(formatting->room, formatting->size, formatting->format, formatting->arguments);
}

/* A text that did not fit in the chunk, `length` bytes long. */
static int write_text(coil_stream *stream, struct formatting *formatting, size_t length)
{
    int result;

    if (length > PRINTF_MAX)
        return -EMSGSIZE;
    formatting->room = coil__alloc(length + 1);
    formatting->size = length + 1;
    if (!formatting->room)
        return -ENOMEM;
    coil__sched_call(format_text, formatting);
    result = coil_write(stream, formatting->room, length);
    coil__free(formatting->room);
    return result;
}

int coil_printf(coil_stream *stream, const char *format, ...)
{
    struct formatting formatting = {.format = format};
    int result = begin(stream);
    struct coil__lease *chunk;

    if (result < 0)
        return result;
    formatting.room = reserve(stream, 1);
    chunk = stream->output.chunk;
    formatting.size = formatting.room ? chunk->capacity - chunk->end : 0;

    va_start(formatting.arguments, format);
    coil__sched_call(format_text, &formatting);
    va_end(formatting.arguments);
    if (formatting.length >= 0 && (size_t)formatting.length < formatting.size) {
        chunk->end += (uint32_t)formatting.length;
        if (chunk->start == chunk->end)
            drop_chunk(stream);
        return 0;
    }
    if (chunk && chunk->start == chunk->end)
        drop_chunk(stream);
    if (formatting.length < 0)
        return -EINVAL;

    va_start(formatting.arguments, format);
    result = write_text(stream, &formatting, (size_t)formatting.length);
    va_end(formatting.arguments);
    return result;
}

/* ---- Flush and half-close ---- */

int coil_flush(coil_stream *stream)
{
    int result = begin(stream);

    if (result < 0 || !stream->output.chunk)
        return result;
    hold(stream);
    result = coil__output_drain(stream);
    release(stream);
    return result;
}

int coil_shutdown(coil_stream *stream)
{
    int result = coil_flush(stream);

    if (result < 0)
        return result;
    result = stream->ops->output_end(stream);
    stream->output.is_ended = result == 0;
    stream->output.error = -EPIPE;
    return result;
}

uint64_t coil_stream_sent(const coil_stream *stream)
{
    return stream->output.sent;
}
