/* SPDX-License-Identifier: MIT */
/* Streams whose sends are counted (tests/net/output_fixture.h). */
#include "net/output_fixture.h"

#include <unistd.h>

static struct coil__stream_ops counting;
unsigned send_count;

static void counted_start(coil_stream *stream)
{
    send_count++;
    coil__socket_ops.output_start(stream);
}

static ssize_t counted_send(coil_stream *stream, struct msghdr *message)
{
    send_count++;
    return coil__socket_ops.output_send(stream, message);
}

void count_sends(coil_stream *stream)
{
    counting = coil__socket_ops;
    counting.output_start = counted_start;
    counting.output_send = counted_send;
    stream->ops = &counting;
    send_count = 0;
}

void finish(coil_stream *stream, int fd)
{
    cr_assert_eq(close(fd), 0);
    (void)coil_close(stream);
}

int ask(void *arg)
{
    struct asker *asker = arg;
    const int result = coil_write(asker->stream, "question\n", 9);

    if (result < 0)
        return result;
    return (int)coil_read_line(asker->stream, asker->answer, sizeof asker->answer);
}
