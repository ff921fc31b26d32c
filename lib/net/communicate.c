/* SPDX-License-Identifier: MIT */
/* Talking to a child process (coil/process.h): feeding it and collecting what it says.
 *
 * A child may stop reading until somebody reads from it, on either pipe, so each of the three has a
 * fiber of its own, and the caller leaves their group. Where they stand is kept in the caller's
 * output record: a call that is interrupted can be made again.
 * Input is handed on in buffers, since what an interrupted write has sent nobody can tell, while a
 * flush goes on by itself.
 */
#include "net/process.h"

#include <errno.h>
#include <string.h>

#include <coil/group.h>

#include "base/alloc.h"
#include "base/options.h"
#include "net/stream.h"

enum {
    LIMIT_DEFAULT = 16 * 1024 * 1024,
    CAPACITY_MIN = 4096,
};

COIL_STATIC_ASSERT(sizeof(coil_process_output) == 72, "a promise of the header");

struct talk {
    coil_process *process;
    coil_process_output *output;
    const char *input;
    size_t size;
    coil_group pumps;
    int result; /* the first error of a pump */
};

/* ---- The pumps ---- */

/* Ends a pump. One that somebody else has cancelled ends the others, too, which a group alone would
 * not do: the child would wait for it. */
static int leave(struct talk *talk, int result)
{
    if (result < 0 && talk->result == 0) {
        talk->result = result;
        coil_group_cancel(&talk->pumps);
    }
    return 0;
}

static int feed(struct talk *talk)
{
    coil_stream *in = coil_process_in(talk->process);
    coil_process_output *output = talk->output;
    int result = coil_flush(in); /* of a call that was interrupted */

    while (result == 0 && output->in_len < talk->size) {
        const size_t left = talk->size - output->in_len;
        const size_t part = left < COIL__CHUNK_SIZE ? left : COIL__CHUNK_SIZE;

        result = coil_write(in, talk->input + output->in_len, part);
        if (result < 0)
            break;
        output->in_len += part;
        result = coil_flush(in);
    }
    if (result == 0)
        result = coil_shutdown(in);
    if (result == 0 || result == -EPIPE) {
        output->is_in_over = true;
        result = 0;
    }
    return result;
}

static int feed_input(void *arg)
{
    struct talk *talk = arg;

    return leave(talk, feed(talk));
}

/* What has been collected of one stream. */
struct collected {
    char **data;
    size_t *length;
    size_t *capacity;
    bool *is_over;
};

/* Room for a byte more and the NUL. */
static int reserve(const struct collected *to)
{
    size_t capacity = *to->capacity;
    char *data;

    if (*to->length + 1 < capacity)
        return 0;
    capacity = capacity ? 2 * capacity : CAPACITY_MIN;
    data = coil__realloc(*to->data, capacity);
    if (!data)
        return -ENOMEM;
    *to->data = data;
    *to->capacity = capacity;
    data[*to->length] = '\0';
    return 0;
}

static int collect(coil_stream *from, const struct collected *to, size_t limit)
{
    for (;;) {
        const char *there;
        ssize_t n = coil_peek(from, 1, &there);
        size_t room;

        if (n <= 0) {
            *to->is_over = n == 0;
            return (int)n;
        }
        if (*to->length >= limit)
            return -EMSGSIZE;
        if (reserve(to) < 0)
            return -ENOMEM;
        room = *to->capacity - *to->length - 1;
        room = room < limit - *to->length ? room : limit - *to->length;
        n = (size_t)n < room ? n : (ssize_t)room;
        memcpy(*to->data + *to->length, there, (size_t)n);
        coil_consume(from, (size_t)n);
        *to->length += (size_t)n;
        (*to->data)[*to->length] = '\0';
    }
}

static int collect_out(void *arg)
{
    struct talk *talk = arg;
    coil_process_output *output = talk->output;
    const struct collected to = {&output->out, &output->out_len, &output->out_capacity,
                                 &output->is_out_over};

    return leave(talk, collect(coil_process_out(talk->process), &to, output->limit));
}

static int collect_err(void *arg)
{
    struct talk *talk = arg;
    coil_process_output *output = talk->output;
    const struct collected to = {&output->err, &output->err_len, &output->err_capacity,
                                 &output->is_err_over};

    return leave(talk, collect(coil_process_err(talk->process), &to, output->limit));
}

/* ---- The caller ---- */

static int start_pump(struct talk *talk, int (*pump)(void *arg))
{
    coil_fiber *fiber;
    const int result = coil_group_spawn(&talk->pumps, pump, talk, &fiber);

    if (result < 0)
        return result;
    coil_fiber_name_set(fiber, "process pump");
    coil_fiber_unref(fiber);
    return 0;
}

static int start_pumps(struct talk *talk)
{
    const coil_process_output *output = talk->output;
    int result = 0;

    if (coil_process_in(talk->process) && !output->is_in_over)
        result = start_pump(talk, feed_input);
    if (result == 0 && coil_process_out(talk->process) && !output->is_out_over)
        result = start_pump(talk, collect_out);
    if (result == 0 && coil_process_err(talk->process) && !output->is_err_over)
        result = start_pump(talk, collect_err);
    return result;
}

int coil_process_communicate(coil_process *process, const void *input, size_t size,
                             coil_process_output *output)
{
    struct talk talk = {.process = process, .output = output, .input = input, .size = size};
    int result = coil__checkpoint(coil__self());
    int interruption;

    if (result < 0)
        return result;
    if (!output->limit)
        output->limit = LIMIT_DEFAULT;
    coil_group_enter(&talk.pumps, 0);
    result = start_pumps(&talk);
    if (result < 0)
        coil_group_cancel(&talk.pumps);
    interruption = coil_group_leave(&talk.pumps);
    if (result == 0)
        result = interruption;
    if (result == 0)
        result = talk.result;
    return result < 0 ? result : coil_process_wait(process, &output->status);
}

int coil_process_run(const char *const argv[], const coil_process_options *options,
                     const void *input, size_t size, coil_process_output *output)
{
    coil_process_options chosen = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    int result;

    chosen.in = COIL_PROCESS_NULL;
    chosen.out = COIL_PROCESS_PIPE;
    chosen.err = COIL_PROCESS_PIPE;
    result = options ? coil__options_read(&chosen, sizeof chosen, options) : 0;
    if (result < 0)
        return result;
    if (size > 0)
        chosen.in = COIL_PROCESS_PIPE;
    result = coil_process_spawn(argv, &chosen, &process);
    if (result < 0)
        return result;
    result = coil_process_communicate(process, input, size, output);
    coil_process_free(process);
    return result;
}

void coil_process_output_free(coil_process_output *output)
{
    coil__free(output->out);
    coil__free(output->err);
    *output = (coil_process_output){.limit = output->limit};
}
