/* SPDX-License-Identifier: MIT */
/* The transport of sockets: a stream's receive and send as requests of the engine.
 *
 * Receiving is one standing order over the engine's shared buffers, started at the first read that
 * parks and kept until the input is stopped or ends. Any of its reports may be the last; if a
 * reader is parked then, the order is placed again, which is routine. When the shared buffers are
 * out (-ENOBUFS) the next receive is a one-shot into a private chunk, so that a stream's progress
 * never depends on when others give buffers back; after it the shared ones get another chance.
 *
 * Sending is one operation, the stream's own, with MSG_WAITALL so that the kernel continues short
 * sends, in the turn's batch. Measured against trying send(2) first: design.md, section 5.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"
#include "net/unix.h"

static void input_failed(coil_stream *stream, int result)
{
    switch (result) {
    case 0:
        /* The kernel tells a reset once: if a send was told, the receive sees an end. */
        coil__input_end(stream,
                        stream->output.error == -ECONNRESET ? -ECONNRESET : COIL__INPUT_ENDED);
        return;
    case -ENOBUFS:
        stream->is_starved = true;
        return;
    case -ECANCELED: /* stopped, by us */
    case -EINTR:
    case -EAGAIN:
        return;
    case -ECONNRESET: /* ends both directions: writing into it would be told so much later */
        stream->output.error = stream->output.error ? stream->output.error : result;
        coil__input_end(stream, result);
        return;
    default:
        coil__input_end(stream, result);
    }
}

/* A report that ends the order, with bytes or without. */
static COIL_COLD void shared_ended(coil_stream *stream, struct coil__lease *lease, int result)
{
    stream->input.is_active = false;
    if (lease)
        coil__input_deliver(stream, lease);
    else
        input_failed(stream, result);
    coil__input_resume(stream);
}

static void shared_event(struct coil__receive *receive, struct coil__lease *lease, int result,
                         bool more)
{
    coil_stream *stream = container_of(receive, coil_stream, receive.shared);

    if (COIL_LIKELY(more))
        coil__input_deliver(stream, lease);
    else
        shared_ended(stream, lease, result);
}

static void private_done(struct coil__op *op)
{
    coil_stream *stream = container_of(op, coil_stream, receive.private);
    struct coil__lease *chunk = stream->private_chunk;

    stream->input.is_active = false;
    stream->is_starved = false;
    stream->private_chunk = NULL;
    if (op->result > 0) {
        if (COIL_UNLIKELY(stream->fds != NULL))
            coil__fds_collect(stream->fds, (size_t)op->result);
        chunk->end = (uint32_t)op->result;
        coil__input_deliver(stream, chunk);
    } else {
        coil__chunk_put(stream, chunk);
        input_failed(stream, op->result);
    }
    coil__input_resume(stream);
}

static void start_shared(coil_stream *stream)
{
    struct coil__receive *receive = &stream->receive.shared;

    *receive = (struct coil__receive){
        .request = {.kind = COIL__REQUEST_RECEIVE, .fd = stream->fd},
        .event = shared_event,
    };
    coil__list_init(&receive->request.link);
    stream->sched->engine->ops->receive_start(stream->sched->engine, receive);
}

static int start_private(coil_stream *stream)
{
    struct coil__op *op = &stream->receive.private;

    stream->private_chunk = coil__chunk_get(stream);
    if (!stream->private_chunk)
        return -ENOMEM;
    *op =
        coil__op_make(COIL__OP_RECV, stream->fd, stream->private_chunk->data, COIL__CHUNK_SIZE, 0);
    if (COIL_UNLIKELY(stream->fds != NULL)) {
        struct msghdr *message = coil__fds_message(stream->fds, stream->private_chunk);

        *op = coil__op_make(COIL__OP_RECVMSG, stream->fd, message, 0, MSG_CMSG_CLOEXEC);
    }
    op->done = private_done;
    coil__list_init(&op->request.link);
    stream->sched->engine->ops->submit(stream->sched->engine, op);
    return 0;
}

static int input_start(coil_stream *stream)
{
    int result = 0;

    stream->is_private = stream->is_starved || stream->fds;
    stream->is_stopping = false;
    if (COIL_UNLIKELY(stream->is_private))
        result = start_private(stream);
    else
        start_shared(stream);
    stream->input.is_active = result == 0;
    return result;
}

static void input_stop(coil_stream *stream)
{
    struct coil__engine *engine = stream->sched->engine;

    if (stream->is_stopping)
        return;
    stream->is_stopping = true;
    if (stream->is_private)
        engine->ops->cancel(engine, &stream->receive.private);
    else
        engine->ops->receive_stop(engine, &stream->receive.shared);
}

static void input_left(coil_stream *stream)
{
    (void)stream; /* the order stands: nobody else reads from this socket */
}

static bool input_is_waiting(coil_stream *stream)
{
    char byte;

    return recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* ---- Output ---- */

static void send_done(struct coil__op *op)
{
    coil__output_done(container_of(op, coil_stream, send), op->result);
}

static void output_start(coil_stream *stream)
{
    const struct coil__lease *chunk = stream->output.chunk;

    stream->output.flight = chunk->end - chunk->start;
    stream->send.data = chunk->data + chunk->start;
    stream->send.length = stream->output.flight;
    stream->sched->engine->ops->submit(stream->sched->engine, &stream->send);
}

static void output_stop(coil_stream *stream)
{
    stream->sched->engine->ops->cancel(stream->sched->engine, &stream->send);
}

static ssize_t output_send(coil_stream *stream, struct msghdr *message)
{
    /* A kernel that continues a short send by itself may send control data twice. */
    const uint32_t wait_all = message->msg_controllen > 0 ? 0 : MSG_WAITALL;
    struct coil__op op =
        coil__op_make(COIL__OP_SENDMSG, stream->fd, message, 0, wait_all | MSG_NOSIGNAL);
    int result;

    stream->direct = &op;
    result = coil__op_run(&op, "write");
    stream->direct = NULL;
    return result;
}

static int output_end(coil_stream *stream)
{
    return shutdown(stream->fd, SHUT_WR) < 0 ? -errno : 0;
}

static void release(coil_stream *stream)
{
    coil__fds_free(stream->fds);
    (void)close(stream->fd); /* the descriptor is gone whatever close(2) says */
}

void coil__socket_init(coil_stream *stream)
{
    struct coil__op *op = &stream->send;

    *op = coil__op_make(COIL__OP_SEND, stream->fd, NULL, 0, MSG_WAITALL | MSG_NOSIGNAL);
    op->done = send_done;
    coil__list_init(&op->request.link);
}

const struct coil__stream_ops coil__socket_ops = {
    .name = "socket",
    .input_start = input_start,
    .input_stop = input_stop,
    .input_left = input_left,
    .input_is_waiting = input_is_waiting,
    .output_start = output_start,
    .output_stop = output_stop,
    .output_send = output_send,
    .output_end = output_end,
    .release = release,
};
