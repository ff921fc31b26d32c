/* SPDX-License-Identifier: MIT */
/* The transport of everything that is no socket: pipes, FIFOs, terminals, devices, files.
 *
 * Input is one READ into a private chunk, placed when a reader is about to park. Others may read
 * from the same pipe or terminal (a child, the shell), so an interrupted reader takes its READ
 * back: what arrives later is theirs. For the same reason a file gets back, at the close, the
 * position behind the last byte that was used.
 *
 * O_NONBLOCK is a property of the open file, which a terminal shares with the user's shell, so it
 * is left as it is found. The ring waits for blocking and for non-blocking descriptors alike; where
 * it answers -EAGAIN instead (older kernels), the operation becomes a POLL, and then itself again.
 * Terminals say that they can be written to, and block: measured, 414 ms inside the submission. So
 * character devices are left to the kernel's worker threads.
 *
 * A write to a pipe without a reader is -EPIPE and raises no signal (COIL__OP_QUIET): DECISIONS 10.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/stream.h"

static void submit(coil_stream *stream, struct coil__op *op)
{
    stream->sched->engine->ops->submit(stream->sched->engine, op);
}

/* Turns `op`, which would have blocked, into a POLL; `done` makes it itself again. */
static void await(coil_stream *stream, struct coil__op *op, short events,
                  void (*done)(struct coil__op *op))
{
    op->request.kind = COIL__OP_POLL;
    op->flags = (uint32_t)events;
    op->done = done;
    submit(stream, op);
}

static uint32_t op_flags(const coil_stream *stream)
{
    return COIL__OP_QUIET | (stream->is_slow ? (uint32_t)COIL__OP_MAY_BLOCK : 0);
}

/* ---- Input ---- */

static void finish_read(coil_stream *stream, int result)
{
    struct coil__lease *chunk = stream->private_chunk;

    stream->input.is_active = false;
    stream->private_chunk = NULL;
    if (result > 0) {
        chunk->end = (uint32_t)result;
        coil__input_deliver(stream, chunk);
    } else {
        coil__chunk_put(stream, chunk);
        if (result == 0)
            coil__input_end(stream, COIL__INPUT_ENDED);
        else if (result != -ECANCELED && result != -EINTR)
            coil__input_end(stream, result);
    }
    coil__input_resume(stream);
}

static void begin_read(coil_stream *stream);

static void read_awaited(struct coil__op *op)
{
    coil_stream *stream = container_of(op, coil_stream, receive.private);

    if (op->result >= 0 && !stream->is_stopping)
        begin_read(stream);
    else
        finish_read(stream, op->result < 0 ? op->result : -ECANCELED);
}

static void read_done(struct coil__op *op)
{
    coil_stream *stream = container_of(op, coil_stream, receive.private);

    if (op->result == -EAGAIN && !stream->is_stopping)
        await(stream, op, POLLIN, read_awaited);
    else
        finish_read(stream, op->result == -EAGAIN ? -ECANCELED : op->result);
}

static void begin_read(coil_stream *stream)
{
    struct coil__op *op = &stream->receive.private;

    *op = coil__op_make(COIL__OP_READ, stream->fd, stream->private_chunk->data, COIL__CHUNK_SIZE,
                        op_flags(stream));
    op->more.offset = UINT64_MAX;
    op->done = read_done;
    coil__list_init(&op->request.link);
    submit(stream, op);
}

static int input_start(coil_stream *stream)
{
    if (stream->is_borrowed)
        coil__stdio_before_wait(stream);
    stream->private_chunk = coil__chunk_get(stream);
    if (!stream->private_chunk)
        return -ENOMEM;
    stream->is_stopping = false;
    stream->input.is_active = true;
    begin_read(stream);
    return 0;
}

static void input_stop(coil_stream *stream)
{
    if (stream->is_stopping)
        return;
    stream->is_stopping = true;
    stream->sched->engine->ops->cancel(stream->sched->engine, &stream->receive.private);
}

static bool input_is_waiting(coil_stream *stream)
{
    int length;

    return ioctl(stream->fd, FIONREAD, &length) == 0 && length > 0;
}

/* ---- Output ---- */

static void begin_write(coil_stream *stream);

static void write_awaited(struct coil__op *op)
{
    coil_stream *stream = container_of(op, coil_stream, send);

    if (op->result >= 0 && !stream->is_aborted)
        begin_write(stream);
    else
        coil__output_done(stream, op->result < 0 ? op->result : -ECANCELED);
}

static void write_done(struct coil__op *op)
{
    coil_stream *stream = container_of(op, coil_stream, send);

    if (op->result == -EAGAIN && !stream->is_aborted)
        await(stream, op, POLLOUT, write_awaited);
    else
        coil__output_done(stream, op->result);
}

static void begin_write(coil_stream *stream)
{
    const struct coil__lease *chunk = stream->output.chunk;
    struct coil__op *op = &stream->send;

    *op = coil__op_make(COIL__OP_WRITE, stream->fd, chunk->data + chunk->start,
                        stream->output.flight, op_flags(stream));
    op->more.offset = UINT64_MAX;
    op->done = write_done;
    coil__list_init(&op->request.link);
    submit(stream, op);
}

static void output_start(coil_stream *stream)
{
    stream->output.flight = stream->output.chunk->end - stream->output.chunk->start;
    begin_write(stream);
}

static void output_stop(coil_stream *stream)
{
    stream->sched->engine->ops->cancel(stream->sched->engine, &stream->send);
}

/* One piece at a time: the caller goes on with the next. */
static ssize_t output_send(coil_stream *stream, struct msghdr *message)
{
    const struct iovec *piece = message->msg_iov;
    struct coil__op op;
    int result;

    while (piece->iov_len == 0)
        piece++;
    stream->direct = &op;
    do {
        op = coil__op_make(COIL__OP_WRITE, stream->fd, piece->iov_base, piece->iov_len,
                           op_flags(stream));
        op.more.offset = UINT64_MAX;
        result = coil__op_run(&op, "write");
        if (result != -EAGAIN)
            break;
        op = coil__op_make(COIL__OP_POLL, stream->fd, NULL, 0, POLLOUT);
        result = coil__op_run(&op, "write");
    } while (result >= 0);
    stream->direct = NULL;
    return result;
}

/* The reader of a pipe sees its end when the last writer has closed. */
static int output_end(coil_stream *stream)
{
    if (stream->is_borrowed || stream->input.status != -EBADF)
        return -EOPNOTSUPP;
    (void)close(stream->fd); /* the descriptor is gone whatever close(2) says */
    stream->fd = -1;
    return 0;
}

/* ---- Life ---- */

static void release(coil_stream *stream)
{
    if (stream->is_seekable && stream->input.length > 0)
        (void)lseek(stream->fd, -(off_t)stream->input.length, SEEK_CUR);
    if (stream->is_borrowed)
        coil__stdio_forget(stream);
    else if (stream->fd >= 0)
        (void)close(stream->fd);
}

static const struct coil__stream_ops pipe_ops = {
    .name = "pipe",
    .input_start = input_start,
    .input_stop = input_stop,
    .input_left = input_stop,
    .input_is_waiting = input_is_waiting,
    .output_start = output_start,
    .output_stop = output_stop,
    .output_send = output_send,
    .output_end = output_end,
    .release = release,
};

int coil__pipe_make(struct coil__sched *sched, int fd, coil_stream **ret_stream)
{
    const int mode = fcntl(fd, F_GETFL);
    struct stat status;
    coil_stream *stream;

    if (mode < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (mode & O_PATH)
        return -EINVAL;
    stream = coil__stream_new(sched, fd);
    if (!stream)
        return -ENOMEM;
    stream->ops = &pipe_ops;
    stream->is_slow = S_ISCHR(status.st_mode);
    stream->is_seekable = S_ISREG(status.st_mode);
    if ((mode & O_ACCMODE) == O_WRONLY)
        stream->input.status = -EBADF;
    if ((mode & O_ACCMODE) == O_RDONLY) {
        stream->output.error = -EBADF;
        stream->output.is_ended = true; /* nothing that the close could have failed to send */
    }
    *ret_stream = stream;
    return 0;
}

int coil_pipe(coil_stream **ret_reader, coil_stream **ret_writer)
{
    coil_stream *reader;
    int fds[2];
    int result;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    result = coil_adopt(fds[0], &reader);
    if (result < 0) {
        (void)close(fds[1]);
        return result;
    }
    result = coil_adopt(fds[1], ret_writer);
    if (result < 0) {
        (void)coil_close(reader);
        return result;
    }
    *ret_reader = reader;
    return 0;
}
