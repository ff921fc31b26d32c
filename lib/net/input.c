/* SPDX-License-Identifier: MIT */
/* Buffered input of a stream, and the reading calls of coil/stream.h.
 *
 * Received bytes stay where the kernel put them, as a queue of leases, until a reading call copies
 * or consumes them. Two things keep a stream from hoarding the shared buffers: a small delivery is
 * appended to the spare room of the lease before it (a peer that sends byte by byte would pin a
 * 16 KiB buffer per byte), and at COIL__LEASES_MAX the input is stopped until a reader wants more.
 * A reader that needs more than that in one piece has it gathered into private memory.
 *
 * A reader parks in the stream, not on an operation: the receive is the stream's and outlives the
 * wait, so an interrupted reader leaves at once and loses nothing.
 */
#include <errno.h>
#include <string.h>

#include "net/stream.h"

enum {
    /* Deliveries up to this size are copied behind the bytes before them. Copying 2 KiB costs less
     * than the cache misses of one more buffer in circulation. */
    MERGE_MAX = 2048,

    GATHER_MIN = 1024,
};

static bool is_settled(const struct coil__input *input, size_t need)
{
    return input->length >= need || input->status != COIL__INPUT_OPEN;
}

static void wake_reader(coil_stream *stream, int result)
{
    stream->input.is_parked = false;
    coil__wake(stream->input.reader, result);
}

/* ---- Reports of the transport ---- */

static bool merge(struct coil__input *input, const struct coil__lease *lease)
{
    struct coil__lease *last = input->last;
    const uint32_t size = lease->end - lease->start;

    if (size > last->capacity - last->end || (size > MERGE_MAX && last->is_shared))
        return false;
    memcpy(last->data + last->end, lease->data + lease->start, size);
    last->end += size;
    return true;
}

static void append(struct coil__input *input, struct coil__lease *lease)
{
    lease->next = NULL;
    if (input->last)
        input->last->next = lease;
    else
        input->first = lease;
    input->last = lease;
    input->lease_count++;
}

/* A delivery behind bytes that nobody has read yet. */
void coil__input_deliver_behind(coil_stream *stream, struct coil__lease *lease)
{
    struct coil__input *input = &stream->input;

    input->length += lease->end - lease->start;
    if (merge(input, lease))
        coil__lease_drop(stream, lease);
    else
        append(input, lease);
    if (input->lease_count >= COIL__LEASES_MAX && input->is_active)
        stream->ops->input_stop(stream);
}

void coil__input_end(coil_stream *stream, int status)
{
    COIL_ASSERT(status != COIL__INPUT_OPEN);
    if (stream->input.status == COIL__INPUT_OPEN)
        stream->input.status = status;
    if (stream->input.is_parked)
        wake_reader(stream, 0);
}

void coil__input_fail(coil_stream *stream, int error)
{
    if (stream->input.is_parked)
        wake_reader(stream, error);
}

/* The order has ended: places it again if somebody waits for it. */
void coil__input_resume(coil_stream *stream)
{
    const struct coil__input *input = &stream->input;

    if (input->is_parked && input->status == COIL__INPUT_OPEN && !stream->is_aborted) {
        int result = 0;

        if (coil__input_is_drained(stream))
            coil__input_end(stream, COIL__INPUT_DRAINED);
        else if (input->lease_count >= COIL__LEASES_MAX)
            coil__input_fail(stream, 0); /* gathers what is there, then waits for the rest */
        else
            result = stream->ops->input_start(stream);
        if (result < 0)
            coil__input_fail(stream, result);
    }
    if (COIL_UNLIKELY(stream->closer != NULL))
        coil__stream_settle(stream);
}

void coil__input_evict(coil_stream *stream)
{
    if (stream->input.is_parked)
        wake_reader(stream, -EBADF);
}

/* ---- Consuming ---- */

static void drop_first(coil_stream *stream)
{
    struct coil__input *input = &stream->input;
    struct coil__lease *lease = input->first;

    input->first = lease->next;
    if (!input->first)
        input->last = NULL;
    input->lease_count--;
    coil__lease_drop(stream, lease);
}

static COIL_COLD void consume_over_leases(coil_stream *stream, size_t size)
{
    while (size > 0) {
        struct coil__lease *lease = stream->input.first;
        const uint32_t there = lease->end - lease->start;

        if (size < there) {
            lease->start += (uint32_t)size;
            return;
        }
        size -= there;
        drop_first(stream);
    }
}

static inline void consume(coil_stream *stream, size_t size)
{
    struct coil__input *input = &stream->input;
    struct coil__lease *first = input->first;

    COIL_ASSERT(size <= input->length);
    input->scanned = input->scanned > size ? input->scanned - size : 0;
    if (COIL_LIKELY(size == input->length && input->first == input->last)) {
        /* All there is, in one lease: the usual request. */
        input->length = 0;
        if (COIL_UNLIKELY(!first))
            return;
        input->first = NULL;
        input->last = NULL;
        input->lease_count = 0;
        coil__lease_drop(stream, first);
        return;
    }
    input->length -= size;
    consume_over_leases(stream, size);
}

void coil__input_clear(coil_stream *stream)
{
    consume(stream, stream->input.length);
}

/* Copies the first `size` bytes out and consumes them. */
static void take(coil_stream *stream, char *buffer, size_t size)
{
    const struct coil__lease *lease = stream->input.first;
    size_t left = size;

    while (left > 0) {
        const size_t there = lease->end - lease->start;
        const size_t part = left < there ? left : there;

        memcpy(buffer, lease->data + lease->start, part);
        buffer += part;
        left -= part;
        lease = lease->next;
    }
    consume(stream, size);
}

/* Brings all input into one private lease with room for `need` bytes; 0 or -ENOMEM. */
static COIL_COLD int gather(coil_stream *stream, size_t need)
{
    struct coil__input *input = &stream->input;
    const size_t length = input->length;
    const size_t scanned = input->scanned;
    struct coil__lease *whole;
    size_t capacity = GATHER_MIN;

    while (capacity < need || capacity < length)
        capacity *= 2;
    whole = coil__lease_make((uint32_t)capacity);
    if (!whole)
        return -ENOMEM;
    take(stream, whole->data, length);
    whole->end = (uint32_t)length;
    append(input, whole);
    input->length = length;
    input->scanned = scanned;
    return 0;
}

/* ---- Waiting ---- */

static void leave_wait(struct coil__tcb *tcb)
{
    coil_stream *stream = tcb->wait_object;

    stream->input.is_parked = false;
    if (stream->input.is_active)
        stream->ops->input_left(stream);
    coil__wake_interrupted(tcb);
}

/* Whether an idle read ends now because the server stops. */
bool coil__input_is_drained(coil_stream *stream)
{
    return stream->is_draining && stream->is_idle && stream->input.length == 0 &&
           !stream->ops->input_is_waiting(stream);
}

bool coil_stream_is_silent(coil_stream *stream)
{
    const struct coil__sched *sched = stream->sched;
    const uint64_t turn = sched->turn_count;

    /* What the kernel has taken from the socket is delivered between two turns of the loop. */
    while (sched->turn_count == turn)
        coil_yield();
    return stream->input.length == 0 && stream->input.status == COIL__INPUT_OPEN &&
           !stream->ops->input_is_waiting(stream);
}

/* An idle read while the server stops. True when it has ended; what the kernel has already taken
 * from the socket comes before the order's end, which is awaited first. */
static COIL_COLD bool end_idle(coil_stream *stream)
{
    if (stream->input.is_active) {
        stream->ops->input_stop(stream);
        return false;
    }
    if (!coil__input_is_drained(stream))
        return false;
    coil__input_end(stream, COIL__INPUT_DRAINED);
    return true;
}

static int wait_unsettled(coil_stream *stream, size_t need)
{
    struct coil__input *input = &stream->input;

    do {
        int result;

        if (stream->output.chunk)
            coil__output_push(stream);
        if (COIL_UNLIKELY(stream->is_draining) && stream->is_idle && end_idle(stream))
            return 0;
        if (COIL_UNLIKELY(input->lease_count >= COIL__LEASES_MAX)) {
            result = gather(stream, need);
            if (result < 0)
                return result;
        }
        result = input->is_active ? 0 : stream->ops->input_start(stream);
        if (result < 0)
            return result;
        input->need = need;
        input->is_parked = true;
        result = coil__park("read", stream, leave_wait);
        if (result < 0)
            return result;
    } while (!is_settled(input, need));
    return 0;
}

int coil__input_wait(coil_stream *stream, size_t need)
{
    return is_settled(&stream->input, need) ? 0 : wait_unsettled(stream, need);
}

/* ---- The frame of every reading call ---- */

static inline int begin(coil_stream *stream)
{
    struct coil__tcb *self = coil__stream_caller(stream);
    const int result = coil__stream_checkpoint(stream, self);

    if (COIL_UNLIKELY(result < 0))
        return result;
    if (COIL_UNLIKELY(stream->input.reader != NULL))
        return coil__stream_busy(stream, stream->input.reader, "read");
    stream->input.reader = self;
    return 0;
}

static inline void end(coil_stream *stream)
{
    stream->input.reader = NULL;
    if (COIL_UNLIKELY(stream->closer != NULL))
        coil__stream_settle(stream);
}

/* What a call returns that finds no byte: 0 at the end, or the input's error. */
static int end_of_input(const coil_stream *stream)
{
    return stream->input.status < 0 ? stream->input.status : 0;
}

/* ---- Reading calls ---- */

ssize_t coil_read(coil_stream *stream, void *buffer, size_t size)
{
    ssize_t result = begin(stream);

    if (result < 0)
        return result;
    COIL_ASSERT(size > 0 && "a read wants room for a byte");
    result = coil__input_wait(stream, 1);
    if (result == 0 && stream->input.length > 0) {
        result = (ssize_t)(size < stream->input.length ? size : stream->input.length);
        take(stream, buffer, (size_t)result);
    } else if (result == 0) {
        result = end_of_input(stream);
    }
    end(stream);
    return result;
}

static ssize_t read_full(coil_stream *stream, char *buffer, size_t size, size_t *len)
{
    while (*len < size) {
        const int result = coil__input_wait(stream, 1);
        size_t part = size - *len;

        if (result < 0)
            return result;
        if (stream->input.length == 0)
            return stream->input.status < 0 ? stream->input.status : (ssize_t)*len;
        if (part > stream->input.length)
            part = stream->input.length;
        take(stream, buffer + *len, part);
        *len += part;
    }
    return (ssize_t)size;
}

ssize_t coil_read_full(coil_stream *stream, void *buffer, size_t size, size_t *ret_len)
{
    size_t len = 0;
    ssize_t result = begin(stream);

    if (result == 0) {
        result = read_full(stream, buffer, size, &len);
        end(stream);
    }
    if (ret_len)
        *ret_len = len;
    return result;
}

/* The length up to and including `delimiter` if it is among the first `limit` bytes, else 0.
 * Remembers what was looked at, so that a line that comes in pieces is scanned once. */
static size_t find(struct coil__input *input, char delimiter, size_t limit)
{
    const struct coil__lease *lease = input->first;
    size_t skip = input->scanned_for == delimiter ? input->scanned : 0;
    size_t before = 0;

    for (; lease && before < limit; lease = lease->next) {
        const size_t there = lease->end - lease->start;

        if (skip < there) {
            const char *from = lease->data + lease->start;
            const char *at = memchr(from + skip, delimiter, there - skip);

            if (at) {
                const size_t length = before + (size_t)(at - from) + 1;

                return length <= limit ? length : 0;
            }
            skip = 0;
        } else {
            skip -= there;
        }
        before += there;
    }
    input->scanned_for = delimiter;
    input->scanned = before < limit ? before : limit;
    return 0;
}

static ssize_t read_until(coil_stream *stream, char *buffer, size_t size, char delimiter)
{
    struct coil__input *input = &stream->input;

    for (;;) {
        size_t length = find(input, delimiter, size - 1);
        int result;

        if (length == 0 && input->length >= size)
            return -EMSGSIZE;
        if (length == 0 && input->status > COIL__INPUT_OPEN)
            length = input->length;
        if (length == 0 && input->status != COIL__INPUT_OPEN)
            return end_of_input(stream);
        if (length > 0) {
            take(stream, buffer, length);
            buffer[length] = '\0';
            return (ssize_t)length;
        }
        result = coil__input_wait(stream, input->length + 1);
        if (result < 0)
            return result;
    }
}

ssize_t coil_read_until(coil_stream *stream, char *buffer, size_t size, char delimiter)
{
    ssize_t result = begin(stream);

    if (result < 0)
        return result;
    COIL_ASSERT(size > 1 && "room for a byte and the NUL");
    result = read_until(stream, buffer, size, delimiter);
    end(stream);
    return result;
}

ssize_t coil_read_line(coil_stream *stream, char *buffer, size_t size)
{
    return coil_read_until(stream, buffer, size, '\n');
}

static int skip_line(coil_stream *stream)
{
    struct coil__input *input = &stream->input;

    for (;;) {
        const size_t length = find(input, '\n', SIZE_MAX);
        int result;

        consume(stream, length > 0 ? length : input->length);
        if (length > 0)
            return 1;
        if (input->status != COIL__INPUT_OPEN)
            return end_of_input(stream);
        result = coil__input_wait(stream, 1);
        if (result < 0)
            return result;
    }
}

int coil_skip_line(coil_stream *stream)
{
    int result = begin(stream);

    if (result < 0)
        return result;
    result = skip_line(stream);
    end(stream);
    return result;
}

static ssize_t peek(coil_stream *stream, size_t need, const char **ret_data)
{
    struct coil__input *input = &stream->input;
    const struct coil__lease *first;
    int result = is_settled(input, need) ? 0 : wait_unsettled(stream, need);

    if (result < 0)
        return result;
    if (input->length == 0) {
        if (input->status > COIL__INPUT_OPEN)
            *ret_data = "";
        return end_of_input(stream);
    }
    first = input->first;
    if (first->next && first->end - first->start < need) {
        result = gather(stream, need);
        if (result < 0)
            return result;
        first = input->first;
    }
    *ret_data = first->data + first->start;
    return first->end - first->start;
}

ssize_t coil_peek(coil_stream *stream, size_t need, const char **ret_data)
{
    ssize_t result = begin(stream);

    if (result < 0)
        return result;
    COIL_ASSERT(need > 0);
    result = need <= COIL__PEEK_MAX ? peek(stream, need, ret_data) : -EMSGSIZE;
    end(stream);
    return result;
}

void coil_consume(coil_stream *stream, size_t size)
{
    consume(stream, size);
}

void coil_stream_idle(coil_stream *stream)
{
    stream->is_idle = stream->input.length == 0;
}
