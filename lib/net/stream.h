/* SPDX-License-Identifier: MIT */
/* The inside of a stream: buffered input, buffered output, and the transport below.
 *
 *   input.c    leases in order of arrival, and the reading calls
 *   output.c   one chunk of unsent bytes, and the writing calls
 *   sendfile.c writing what is in a file
 *   stream.c   making and closing
 *   socket.c   the transport of sockets: engine requests, and what to do when buffers run out
 *   unix.c     descriptors that come with the bytes of unix sockets
 *   pipe.c     the transport of pipes, terminals and files
 *   stdio.c    the streams of standard input, output and error
 *
 * The transport is a table (struct coil__stream_ops) that is asked to start and stop things and
 * reports back by coil__input_deliver(), coil__input_end() and coil__output_done(), always from the
 * loop. Layers that transform bytes (TLS) are further transports; nothing above knows.
 *
 * Neither direction owns a buffer while it is empty: input is leases of the engine's shared
 * buffers, output a chunk from the scheduler's pool. Ten thousand idle streams hold none.
 *
 * A call enters a direction by taking its place (input.reader, output.writer), or, when it can't
 * park, by finding it empty. The close takes both places for good.
 *
 * Invariants: input.length is the sum over the leases; no lease in the queue is empty; chunk is
 * NULL iff no byte waits to be sent; a parked reader implies that input is on its way or is being
 * asked for.
 */
#ifndef COIL_LIB_NET_STREAM_H
#define COIL_LIB_NET_STREAM_H

#include <sys/socket.h>

#include <coil/stream.h>

#include "core/op.h"
#include "core/waitq.h"

enum {
    /* Output buffer, and private receive buffer: as much as a socket takes or gives in one go
     * without memory of its own growing, and four pages. */
    COIL__CHUNK_SIZE = 16384,

    /* Leases that a stream may hold unread before its input is stopped: 8 x 16 KiB. A slow reader
     * must not drain the ring that it shares. */
    COIL__LEASES_MAX = 8,

    /* What coil_peek() may be asked for in one piece: heads of protocols, not bodies. */
    COIL__PEEK_MAX = 1024 * 1024,
};

/* input.status */
enum {
    COIL__INPUT_OPEN = 0,
    COIL__INPUT_ENDED = 1,   /* by the peer; negative: failed with that errno */
    COIL__INPUT_DRAINED = 2, /* by a graceful stop; the peer may still send */
};

struct coil__away;
struct coil__fds;
struct coil__loan;
struct coil__server;

struct coil__stream_ops {
    const char *name;

    /* A reader is about to park: have input delivered. Called only while input.is_active is false,
     * which the transport sets until its order has come to an end. Returns 0 or -ENOMEM. */
    int (*input_start)(coil_stream *stream);

    /* Enough for now, or for ever: end the order, soon. Only while input.is_active; asking again
     * before the end is harmless. */
    void (*input_stop)(coil_stream *stream);

    /* The reader has been interrupted. Only while input.is_active. */
    void (*input_left)(coil_stream *stream);

    /* Whether bytes have arrived that were not delivered yet. */
    bool (*input_is_waiting)(coil_stream *stream);

    /* Send output.chunk[start, end), which becomes output.flight, and report by
     * coil__output_done(). */
    void (*output_start)(coil_stream *stream);
    void (*output_stop)(coil_stream *stream);

    /* Sends from the caller's memory. Parks. Returns the number of bytes or an error. */
    ssize_t (*output_send)(coil_stream *stream, struct msghdr *message);

    /* Ends the output (half-close). Returns 0 or an error. Never parks. */
    int (*output_end)(coil_stream *stream);

    /* Closes what is below. Nothing is under way any more. */
    void (*release)(coil_stream *stream);
};

struct coil__input {
    struct coil__lease *first;
    struct coil__lease *last;
    size_t length;            /* bytes in all leases */
    size_t scanned;           /* that many at the front hold no `scanned_for` */
    size_t need;              /* the parked reader wakes at this length */
    struct coil__tcb *reader; /* inside a reading call */
    int status;
    uint16_t lease_count;
    char scanned_for;
    bool is_active; /* the transport has an order to deliver */
    bool is_parked; /* the reader is */
};

struct coil__output {
    struct coil__lease *chunk; /* NULL: nothing to send */
    size_t flight;             /* bytes at its start that the transport is sending */
    uint64_t sent;
    struct coil__tcb *writer; /* inside a write that parks, a flush or the close */
    int error;                /* 0, or why nothing can be written any more */
    bool is_ended;            /* half-closed by us, with everything sent */
    bool is_wanted;           /* everything in the chunk is to go, not only the flight */
    bool is_parked;           /* the writer is, until the chunk is gone or an error */
};

/* Per-scheduler pools. */
struct coil__net {
    struct coil__slab streams;
    struct coil__slab chunks;
    coil_stream *standard[3]; /* by descriptor: stdio.c */
};

struct coil_stream {
    const struct coil__stream_ops *ops;
    struct coil__sched *sched;
    struct coil__net *net;
    struct coil__input input;
    struct coil__output output;
    struct coil__tcb *closer; /* waits until nothing is under way */
    struct coil__op *direct; /* the writer's own send from its memory, to be cancelled by a close */
    uint32_t visitor_count;  /* fibers that yield at the beginning of a call */
    bool is_closing;         /* by coil_close(): nobody may come in */
    bool is_aborted;         /* what the transport has under way is being given up */
    bool is_idle;            /* between two messages (coil_stream_idle) */
    bool is_draining;        /* idle reads end (graceful stop) */
    bool is_held;            /* by the HTTP server, which goes on with it: stays open, and here */

    /* socket.c */
    bool is_starved;  /* shared buffers ran out: the next receive is a private one */
    bool is_private;  /* the receive under way is */
    bool is_stopping; /* and has been asked to end */

    /* pipe.c */
    bool is_slow;     /* may block although it said that it would not */
    bool is_seekable; /* what was read ahead can be given back */
    bool is_borrowed; /* a standard stream: the descriptor stays open */

    int fd;

    union {
        struct coil__receive shared;
        struct coil__op private;
    } receive;
    struct coil__lease *private_chunk;
    struct coil__fds *fds; /* unix.c: of a stream that wants descriptors, else NULL */
    struct coil__op send;

    size_t linger_bytes;
    coil_time linger_timeout;
    struct coil__loan *loan; /* by whom it is lent to a handler; NULL: it is the program's own */
};

/* Of whoever has lent a stream to a handler and closes it when that has returned (serve.c, move.c).
 * In the frame of the fiber that called the handler. */
struct coil__loan {
    coil_stream *stream;         /* NULL when it has been moved away, or closing has begun */
    struct coil__server *server; /* of this core, whose connection it is; or NULL */
    struct coil__away *away;     /* of another core's server (net/away.h); or NULL */
};

/* The fiber that calls. */
static inline struct coil__tcb *coil__stream_caller(const coil_stream *stream)
{
    COIL_ASSERT(stream->sched == coil__sched_this && "used inside the coil_run() that made it");
    return stream->sched->current;
}

/* ---- stream.c ---- */

/* Slow part of coil__stream_checkpoint(). */
COIL_COLD int coil__stream_visit(coil_stream *stream, struct coil__tcb *self);

/* coil__checkpoint() at the beginning of a call: a close meanwhile waits for the call, which then
 * returns -EBADF. */
static inline int coil__stream_checkpoint(coil_stream *stream, struct coil__tcb *self)
{
    if (COIL_LIKELY(self->interrupts == 0 && --self->sched->budget > 0))
        return 0;
    return coil__stream_visit(stream, self);
}

/* Makes a stream of a connected socket, which it owns on success only. */
int coil__stream_make(struct coil__sched *sched, int fd, coil_stream **ret_stream);

/* A stream without its transport, or NULL. */
coil_stream *coil__stream_new(struct coil__sched *sched, int fd);

/* The pools of `sched`, or NULL. */
struct coil__net *coil__net_of(struct coil__sched *sched);

/* Ends what is under way as a close does, but sends nothing and closes nothing. Then: frees the
 * stream, whatever it holds. */
void coil__stream_detach(coil_stream *stream);
void coil__stream_forget(coil_stream *stream);

/* Closes what was lent, when its handler has returned, unless it has been moved away. The close may
 * have to wait for a slow peer: no longer than for `close_timeout`, and a stop still cancels it. */
void coil__loan_end(struct coil__loan *loan, coil_time close_timeout);

/* Ends idle reads from now on (graceful stop). */
void coil__stream_drain(coil_stream *stream);

/* Called by the transport and by leaving readers and writers: a close may be waiting. */
void coil__stream_settle(coil_stream *stream);

/* Frees a private lease of either kind. */
COIL_COLD void coil__lease_free(coil_stream *stream, struct coil__lease *lease);

enum {
    COIL__LEASE_OF_CHUNK = 1, /* lease.id of a private lease from the pool; 0 from the allocator */
};

/* A private lease with room for COIL__CHUNK_SIZE bytes, or NULL. */
static inline struct coil__lease *coil__chunk_get(coil_stream *stream)
{
    struct coil__lease *chunk = coil__slab_get(&stream->net->chunks);

    if (COIL_LIKELY(chunk != NULL)) {
        chunk->data = (char *)(chunk + 1);
        chunk->start = 0;
        chunk->end = 0;
        chunk->capacity = COIL__CHUNK_SIZE;
        chunk->id = COIL__LEASE_OF_CHUNK;
        chunk->is_shared = false;
    }
    return chunk;
}

static inline void coil__chunk_put(coil_stream *stream, struct coil__lease *chunk)
{
    coil__slab_put(&stream->net->chunks, chunk);
}

/* The end of any lease's life. */
static inline void coil__lease_drop(coil_stream *stream, struct coil__lease *lease)
{
    struct coil__engine *engine = stream->sched->engine;

    if (COIL_LIKELY(lease->is_shared))
        engine->ops->lease_return(engine, lease);
    else
        coil__lease_free(stream, lease);
}

/* A private lease of any capacity, or NULL. */
struct coil__lease *coil__lease_make(uint32_t capacity);

/* Why a call can't enter a stream's direction, which `holder` is in: -EBADF when that is the close,
 * else -EBUSY, and the log names both fibers. */
COIL_COLD int coil__stream_busy(const coil_stream *stream, const struct coil__tcb *holder,
                                const char *direction);

/* ---- input.c ---- */

/* The transport's reports. A lease is the input's from then on. */
COIL_COLD void coil__input_deliver_behind(coil_stream *stream, struct coil__lease *lease);

/* Inline, because it is the way of every request: bytes for a reader who waits for them. */
static inline void coil__input_deliver(coil_stream *stream, struct coil__lease *lease)
{
    struct coil__input *input = &stream->input;

    COIL_ASSERT(lease->end > lease->start && "a lease holds bytes");
    stream->is_idle = false;
    if (COIL_LIKELY(!input->first)) {
        lease->next = NULL;
        input->first = lease;
        input->last = lease;
        input->lease_count = 1;
        input->length = lease->end - lease->start;
    } else {
        coil__input_deliver_behind(stream, lease);
    }
    if (input->is_parked && input->length >= input->need) {
        input->is_parked = false;
        coil__wake(input->reader, 0);
    }
}

void coil__input_end(coil_stream *stream, int status);

/* Called by the transport last in its report that an order has come to an end. */
void coil__input_resume(coil_stream *stream);

/* Fails the parked reader's call, once; the input stays open. */
void coil__input_fail(coil_stream *stream, int error);

/* For the close: drops all leases. Then: waits for more within `need`. */
void coil__input_clear(coil_stream *stream);
int coil__input_wait(coil_stream *stream, size_t need);

/* Whether an idle read ends now because the server stops. Only while no order is under way. */
COIL_COLD bool coil__input_is_drained(coil_stream *stream);

/* Ends the parked reader's call with -EBADF. */
void coil__input_evict(coil_stream *stream);

/* ---- output.c ---- */

/* The transport's report on the flight: bytes sent, or a negative errno. */
void coil__output_done(coil_stream *stream, int result);

/* Starts sending what waits, unless that is under way or another fiber is inside a write: it is
 * never a second writer. Never parks. For the fiber that reads. */
static inline void coil__output_push(coil_stream *stream)
{
    struct coil__output *output = &stream->output;

    if (COIL_UNLIKELY(output->writer && output->writer != stream->input.reader))
        return;
    output->is_wanted = true;
    if (!output->flight)
        stream->ops->output_start(stream);
}

/* A write in several parts, into which no other fiber writes: enter (0, or the error that the call
 * returns), append `size` > 0 bytes as often as it takes, leave. An error of append is the call's,
 * and as final as that of any write. Hurry starts sending what has been appended, without waiting
 * for it. */
int coil__output_enter(coil_stream *stream);
int coil__output_append(coil_stream *stream, const void *data, size_t size);
void coil__output_hurry(coil_stream *stream);
void coil__output_leave(coil_stream *stream);

/* Parks until the chunk is gone. Returns 0, the output's error, or an interruption. */
int coil__output_drain(coil_stream *stream);

/* Sends what waits, then the caller's bytes, the first of them with `control` data. Parks. As a
 * large write in everything else. */
int coil__output_send_with(coil_stream *stream, const void *data, size_t size, void *control,
                           size_t control_length);

/* Drops what waits (nothing is in flight). */
void coil__output_clear(coil_stream *stream);

/* Gives up what waits to be sent and all that would follow: -EPIPE, for every call and the close.
 * What is in flight is awaited by nobody but the close, which cancels it. */
void coil__output_abandon(coil_stream *stream);
void coil__output_evict(coil_stream *stream);

/* ---- socket.c ---- */

void coil__socket_init(coil_stream *stream);

extern const struct coil__stream_ops coil__socket_ops;

/* ---- pipe.c ---- */

/* Makes a stream of a descriptor of any kind but sockets, which it owns on success only. */
int coil__pipe_make(struct coil__sched *sched, int fd, coil_stream **ret_stream);

/* ---- stdio.c ---- */

/* A reader of `stream` is about to wait: shows the user what was written on standard output. */
void coil__stdio_before_wait(coil_stream *stream);

/* A standard stream is gone. */
void coil__stdio_forget(const coil_stream *stream);

#endif
