/* SPDX-License-Identifier: MIT */
/* Moving a stream to another core (coil_stream_move() in coil/stream.h).
 *
 * A stream is tied to its core by what the ring does for it and by the pools that its buffers come
 * from. So it is taken apart as for a close, without sending or closing: its orders are asked to
 * end, and what they deliver meanwhile is kept. What is left is a descriptor, unread bytes and the
 * descriptors that came with them, unsent bytes and a few facts, in one block that crosses over, of
 * which the other core makes a stream.
 *
 * A stream that is lent to a handler is taken from whoever lent it first; what a server is to know
 * of it from then on is net/away.h's.
 *
 * Invariant: the descriptor is owned by exactly one of: the old stream, the block, the new stream.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <coil/core.h>
#include <coil/scope.h>

#include "base/alloc.h"
#include "net/away.h"
#include "net/unix.h"

struct moved {
    int fd;                    /* -1 when the new stream has it */
    struct coil__lease *input; /* unread bytes, or NULL */
    struct coil__fds *fds;     /* of a stream that wants descriptors, else NULL */
    int input_status;
    int output_error;
    bool output_is_ended;
    bool output_is_wanted;
    bool is_idle;
    uint64_t sent;
    coil_time linger_timeout;
    size_t linger_bytes;
    int (*handler)(coil_stream *stream, void *arg);
    void *arg;
    coil_stream *stream;     /* the new one */
    struct coil__away *away; /* of a server's connection, else NULL */
    size_t unsent_length;
    char unsent[COIL__CHUNK_SIZE];
};

static void free_moved(struct moved *moved)
{
    if (moved->fd >= 0)
        (void)close(moved->fd);
    coil__fds_free(moved->fds);
    coil__free(moved->input);
    coil__free(moved);
}

/* ---- There ---- */

static int run_moved(void *arg)
{
    struct moved *moved = arg;
    coil_stream *stream = moved->stream;
    struct coil__loan loan = {.stream = stream, .away = moved->away};
    int (*const handler)(coil_stream *, void *) = moved->handler;
    void *const handler_arg = moved->arg;
    int result;

    free_moved(moved);
    coil_fiber_name_set(coil_self(), "connection");
    stream->loan = &loan;
    if (loan.away)
        coil__away_arrive(loan.away, &loan);
    result = handler(stream, handler_arg);
    coil__loan_end(&loan, loan.away ? coil__away_close_timeout(loan.away) : COIL_NEVER);
    coil__away_end(loan.away);
    return result == -ECONNRESET || result == -EPIPE ? 0 : result;
}

static void restore_input(coil_stream *stream, struct moved *moved)
{
    struct coil__input *input = &stream->input;
    struct coil__lease *lease = moved->input;

    input->status = moved->input_status;
    if (!lease)
        return;
    moved->input = NULL;
    input->first = lease;
    input->last = lease;
    input->lease_count = 1;
    input->length = lease->end - lease->start;
}

static int restore_output(coil_stream *stream, const struct moved *moved)
{
    struct coil__output *output = &stream->output;

    output->error = moved->output_error;
    output->is_ended = moved->output_is_ended;
    output->sent = moved->sent;
    if (moved->unsent_length == 0)
        return 0;
    output->chunk = coil__chunk_get(stream);
    if (!output->chunk)
        return -ENOMEM;
    memcpy(output->chunk->data, moved->unsent, moved->unsent_length);
    output->chunk->end = (uint32_t)moved->unsent_length;
    return 0;
}

/* Makes the new stream and its fiber. After a failure the descriptor is the block's again. */
static int arrive(void *arg)
{
    struct moved *moved = arg;
    coil_stream *stream;
    int result = coil__stream_make(coil__sched(), moved->fd, &stream);

    if (result < 0)
        return result;
    result = restore_output(stream, moved);
    moved->stream = stream;
    if (result == 0)
        result = coil_spawn(run_moved, moved, NULL);
    if (result < 0) {
        coil__stream_forget(stream);
        return result;
    }
    restore_input(stream, moved);
    stream->fds = moved->fds;
    moved->fds = NULL;
    moved->fd = -1;
    stream->is_idle = moved->is_idle;
    stream->linger_timeout = moved->linger_timeout;
    stream->linger_bytes = moved->linger_bytes;
    if (stream->output.chunk && moved->output_is_wanted)
        coil__output_push(stream);
    return 0;
}

/* ---- Here ---- */

/* Copies what is unread; the leases are this core's. */
static int take_input(coil_stream *stream, struct moved *moved)
{
    const struct coil__lease *lease = stream->input.first;

    moved->input_status = stream->input.status;
    if (stream->input.length == 0)
        return 0;
    moved->input = coil__lease_make((uint32_t)stream->input.length);
    if (!moved->input)
        return -ENOMEM;
    for (; lease; lease = lease->next) {
        const uint32_t size = lease->end - lease->start;

        memcpy(moved->input->data + moved->input->end, lease->data + lease->start, size);
        moved->input->end += size;
    }
    return 0;
}

static void take_output(const coil_stream *stream, struct moved *moved)
{
    const struct coil__output *output = &stream->output;

    moved->output_error = output->error;
    moved->output_is_ended = output->is_ended;
    moved->output_is_wanted = output->is_wanted;
    moved->sent = output->sent;
    if (!output->chunk)
        return;
    moved->unsent_length = output->chunk->end - output->chunk->start;
    memcpy(moved->unsent, output->chunk->data + output->chunk->start, moved->unsent_length);
}

static int pack(coil_stream *stream, struct moved **ret_moved)
{
    struct moved *moved = coil__alloc(sizeof *moved);
    int result;

    if (!moved)
        return -ENOMEM;
    moved->fd = -1;
    result = take_input(stream, moved);
    if (result < 0) {
        free_moved(moved);
        return result;
    }
    take_output(stream, moved);
    moved->is_idle = stream->is_idle;
    moved->linger_timeout = stream->linger_timeout;
    moved->linger_bytes = stream->linger_bytes;
    moved->fds = stream->fds;
    moved->fd = stream->fd;
    *ret_moved = moved;
    return 0;
}

static int send_over(struct moved *moved, unsigned core)
{
    coil_scope shield;
    int arrival = 0;
    int result;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_on(core, arrive, moved, &arrival);
    (void)coil_scope_leave(&shield);
    if (result == 0)
        result = arrival;
    if (result < 0)
        free_moved(moved);
    return result;
}

int coil_stream_move(coil_stream *stream, unsigned core, int (*handler)(coil_stream *, void *),
                     void *arg)
{
    struct moved *moved = NULL;
    struct coil__away *away = NULL;
    int result;

    result = coil__away_begin(stream, &away);
    if (core >= coil_core_count())
        result = -EINVAL;
    else if (stream->ops != &coil__socket_ops)
        result = -EOPNOTSUPP;
    coil__stream_detach(stream);
    if (result == 0)
        result = pack(stream, &moved);
    if (result < 0)
        stream->ops->release(stream);
    coil__stream_forget(stream);
    if (result == 0) {
        moved->handler = handler;
        moved->arg = arg;
        moved->away = away;
        result = send_over(moved, core);
    }
    if (result < 0)
        coil__away_end(away);
    return result;
}
