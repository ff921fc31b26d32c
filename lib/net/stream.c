/* SPDX-License-Identifier: MIT */
/* Life of a stream: made, drained, closed, and what it tells of itself.
 *
 * Closing is where a completion-based library earns its keep. The order: refuse newcomers and wake
 * the fibers inside with -EBADF; send what was written, within the caller's scope; linger if asked;
 * ask the transport to give up what is still under way; wait, uninterruptibly, until it has and
 * every other fiber has left; only then close the descriptor and free the memory that the kernel
 * might have written to.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/run.h"
#include "net/addr.h"
#include "net/adopt.h"
#include "net/stream.h"

enum {
    STREAMS_PER_CHUNK = 64,
    CHUNKS_PER_CHUNK = 16,
};

COIL_STATIC_ASSERT(sizeof(coil_stream) <= 352, "a promise of the header");

/* ---- Pools ---- */

static void net_init(struct coil__sched *sched, void *state)
{
    struct coil__net *net = state;

    (void)sched;
    coil__slab_init(&net->streams, sizeof(coil_stream), STREAMS_PER_CHUNK);
    coil__slab_init(&net->chunks, sizeof(struct coil__lease) + COIL__CHUNK_SIZE, CHUNKS_PER_CHUNK);
}

static void net_fini(struct coil__sched *sched, void *state)
{
    struct coil__net *net = state;

    (void)sched;
    if (net->streams.live_count > 0) {
        coil__log(COIL_LOG_WARNING, "%zu streams were not closed: coil_close()",
                  net->streams.live_count);
        net->streams.live_count = 0; /* the kernel has done with them: free them all the same */
        net->chunks.live_count = 0;
    }
    coil__slab_fini(&net->streams);
    coil__slab_fini(&net->chunks);
}

struct coil__net *coil__net_of(struct coil__sched *sched)
{
    return coil__sched_part(sched, COIL__PART_NET, sizeof(struct coil__net), net_init, net_fini);
}

struct coil__lease *coil__lease_make(uint32_t capacity)
{
    struct coil__lease *lease = coil__alloc(sizeof *lease + capacity);

    if (lease) {
        lease->data = (char *)(lease + 1);
        lease->capacity = capacity;
    }
    return lease;
}

void coil__lease_free(coil_stream *stream, struct coil__lease *lease)
{
    if (lease->id == COIL__LEASE_OF_CHUNK)
        coil__chunk_put(stream, lease);
    else
        coil__free(lease);
}

/* ---- Making ---- */

coil_stream *coil__stream_new(struct coil__sched *sched, int fd)
{
    struct coil__net *net = coil__net_of(sched);
    coil_stream *stream = net ? coil__slab_get(&net->streams) : NULL;

    if (stream)
        *stream = (coil_stream){.sched = sched, .net = net, .fd = fd};
    return stream;
}

int coil__stream_make(struct coil__sched *sched, int fd, coil_stream **ret_stream)
{
    coil_stream *stream = coil__stream_new(sched, fd);

    if (!stream)
        return -ENOMEM;
    stream->ops = &coil__socket_ops;
    coil__socket_init(stream);
    *ret_stream = stream;
    return 0;
}

static int adopt_socket(int fd, coil_stream **ret_stream)
{
    const int result = coil__adopt_socket(fd, SOCK_STREAM);

    return result < 0 ? result : coil__stream_make(coil__sched(), fd, ret_stream);
}

int coil_adopt(int fd, coil_stream **ret_stream)
{
    struct stat status;
    int result;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISSOCK(status.st_mode))
        result = adopt_socket(fd, ret_stream);
    else
        result = coil__pipe_make(coil__sched(), fd, ret_stream);
    if (result < 0 && result != -EBADF)
        (void)close(fd);
    return result;
}

/* ---- Closing ---- */

static bool has_guests(const coil_stream *stream)
{
    return stream->input.reader || stream->output.writer || stream->visitor_count > 0;
}

static bool is_about_to_run(const struct coil__tcb *guest)
{
    return guest && guest->state != COIL__FIBER_PARKED;
}

static bool is_busy(const coil_stream *stream)
{
    return stream->input.is_active || stream->output.flight;
}

void coil__stream_settle(coil_stream *stream)
{
    struct coil__tcb *closer = stream->closer;

    stream->closer = NULL;
    if (closer)
        coil__wake(closer, 0);
}

/* Waits for the transport. Nothing interrupts it: all it waits for has been told to end. */
static void wait_while_busy(coil_stream *stream)
{
    while (is_busy(stream)) {
        stream->closer = coil__self();
        (void)coil__park("close", stream, NULL);
    }
}

/* Waits until no other fiber is inside. One that is runnable may park in here once more before it
 * notices, so it gets its turn and is looked at again. */
static void evict_guests(coil_stream *stream)
{
    while (has_guests(stream)) {
        coil__input_evict(stream);
        coil__output_evict(stream);
        if (stream->visitor_count > 0 || is_about_to_run(stream->input.reader) ||
            is_about_to_run(stream->output.writer)) {
            coil__yield(coil__self());
        } else {
            stream->closer = coil__self();
            (void)coil__park("close", stream, NULL);
        }
    }
}

int coil__stream_visit(coil_stream *stream, struct coil__tcb *self)
{
    int result;

    stream->visitor_count++;
    result = coil__checkpoint_slow(self);
    stream->visitor_count--;
    return stream->is_closing ? -EBADF : result;
}

/* The parts of a close that an interruption cuts short. */
static int send_rest(coil_stream *stream)
{
    int result = stream->output.is_ended ? 0 : stream->output.error;

    if (stream->output.chunk && result == 0) {
        result = coil__checkpoint(coil__self());
        if (result == 0)
            result = coil__output_drain(stream);
    }
    return result;
}

/* Whether the peer may still be sending. */
static bool is_peer_open(const coil_stream *stream)
{
    return stream->input.status == COIL__INPUT_OPEN || stream->input.status == COIL__INPUT_DRAINED;
}

/* Reads and drops what the peer still sends, within bounds, so that it can read the last reply
 * before a reset takes it away. */
static void linger(coil_stream *stream)
{
    size_t left = stream->linger_bytes;
    coil_scope scope;

    if (stream->ops->output_end(stream) < 0)
        return;
    stream->is_draining = false;
    if (stream->input.status == COIL__INPUT_DRAINED)
        stream->input.status = COIL__INPUT_OPEN; /* a request may be crossing our end */
    coil_scope_enter(&scope, stream->linger_timeout);
    while (left > 0 && coil__checkpoint(coil__self()) == 0) {
        const size_t length = stream->input.length;

        left -= left < length ? left : length;
        coil__input_clear(stream);
        if (stream->input.status != COIL__INPUT_OPEN || left == 0)
            break;
        if (coil__input_wait(stream, 1) < 0)
            left = 0;
    }
    (void)coil_scope_leave(&scope);
}

/* The fibers inside leave with -EBADF; nobody comes in after them. */
static void take_places(coil_stream *stream)
{
    COIL_ASSERT(!stream->is_closing && "closed once, by its owner");
    COIL_ASSERT(!stream->is_held && "the HTTP server goes on with what it serves");
    stream->is_closing = true;
    evict_guests(stream);
    stream->input.reader = coil__self();
    stream->output.writer = coil__self();
}

/* What the transport has under way is given up, and what it still reports is kept. */
static void stop_transport(coil_stream *stream)
{
    stream->is_aborted = true;
    if (stream->output.flight)
        stream->ops->output_stop(stream);
    if (stream->input.is_active)
        stream->ops->input_stop(stream);
    wait_while_busy(stream);
}

int coil_close(coil_stream *stream)
{
    int result;

    if (!stream)
        return 0;
    if (stream->loan && !stream->is_closing) {
        /* A handler may close what it serves, for the result. It may also leave it to another fiber
         * and return as soon as that has begun. */
        stream->loan->stream = NULL;
        stream->loan = NULL;
    }
    take_places(stream);
    result = send_rest(stream);
    if (result == 0 && stream->linger_bytes > 0 && is_peer_open(stream))
        linger(stream);

    stop_transport(stream);
    stream->ops->release(stream); /* may still look at what nobody has read */
    coil__stream_forget(stream);
    return result;
}

void coil__loan_end(struct coil__loan *loan, coil_time close_timeout)
{
    coil_stream *stream = loan->stream;
    coil_scope scope;

    loan->stream = NULL;
    coil_scope_enter(&scope, close_timeout);
    (void)coil_close(stream);
    (void)coil_scope_leave(&scope);
}

void coil__stream_detach(coil_stream *stream)
{
    take_places(stream);
    stop_transport(stream);
}

void coil__stream_forget(coil_stream *stream)
{
    coil__input_clear(stream);
    coil__output_clear(stream);
    coil__slab_put(&stream->net->streams, stream);
}

void coil_stream_linger(coil_stream *stream, coil_time timeout, size_t bytes)
{
    stream->linger_timeout = timeout;
    stream->linger_bytes = bytes;
}

void coil__stream_drain(coil_stream *stream)
{
    stream->is_draining = true;
    /* resume() ends the read when the order has ended: until then, bytes may be on their way. */
    if (stream->is_idle && stream->input.is_parked && stream->input.length == 0)
        stream->ops->input_stop(stream);
}

/* ---- About ---- */

int coil__stream_busy(const coil_stream *stream, const struct coil__tcb *holder,
                      const char *direction)
{
    const struct coil_fiber *self = coil__self()->handle;

    if (stream->is_closing)
        return -EBADF;
    coil__log(
        COIL_LOG_WARNING,
        "fiber %llu '%s' tried to %s a stream that fiber %llu '%s' is in the middle of a %s of",
        (unsigned long long)self->id, self->name, direction, (unsigned long long)holder->handle->id,
        holder->handle->name, direction);
    return -EBUSY;
}

int coil_stream_peer(const coil_stream *stream, char *ret_text, size_t size)
{
    coil_address addr = {.length = sizeof addr.storage};

    if (getpeername(stream->fd, coil__addr_sockaddr(&addr), &addr.length) < 0)
        return -errno;
    return coil_address_format(&addr, ret_text, size);
}

int coil_stream_local(const coil_stream *stream, char *ret_text, size_t size)
{
    return coil__addr_format_local(stream->fd, ret_text, size);
}

int coil_stream_fd(const coil_stream *stream)
{
    return stream->fd;
}
