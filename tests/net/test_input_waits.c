/* SPDX-License-Identifier: MIT */
/* Waiting for input: one reader at a time, interruptions that lose nothing, slow streams. */
#include <stdlib.h>
#include <unistd.h>

#include "net/net_fixture.h"

TestSuite(input_waits, .timeout = 60);

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
};

static void assert_line(coil_stream *stream, const char *expected)
{
    char line[256];
    const ssize_t n = coil_read_line(stream, line, sizeof line);

    cr_assert_eq(n, (ssize_t)strlen(expected), "%zd instead of \"%s\"", n, expected);
    cr_assert_str_eq(line, expected);
}

struct line_reader {
    coil_stream *stream;
    char line[64];
};

static int read_a_line(void *arg)
{
    struct line_reader *reader = arg;

    return (int)coil_read_line(reader->stream, reader->line, sizeof reader->line);
}

/* ---- Who may read, and when ---- */

FIBER_TEST(input_waits, a_second_reader_is_refused_and_the_log_names_both)
{
    struct line_reader reader;
    coil_fiber *fiber;
    char message[512];
    char byte;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    log_keep(message, sizeof message);
    fiber = spawn_until_parked(read_a_line, &reader);
    coil_fiber_name_set(fiber, "first reader");
    coil_fiber_name_set(coil_self(), "second reader");

    cr_assert_eq(coil_read(reader.stream, &byte, 1), -EBUSY);
    cr_assert_not_null(strstr(message, "first reader"), "%s", message);
    cr_assert_not_null(strstr(message, "second reader"), "%s", message);

    write_text(fd, "line\n");
    cr_assert_eq(join_and_drop(fiber), 5, "the first one is not disturbed");
    coil_log_set(NULL, NULL);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

FIBER_TEST(input_waits, an_interrupted_read_loses_no_byte)
{
    struct line_reader reader;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    for (int i = 0; i < 50; i++) {
        fiber = spawn_until_parked(read_a_line, &reader);
        write_text(fd, "abc");
        for (int turns = i % 4; turns > 0; turns--)
            coil_yield();
        coil_cancel(fiber);
        cr_assert_eq(join_and_drop(fiber), -ECANCELED);
        write_text(fd, "\n");
        assert_line(reader.stream, "abc\n");
    }
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

FIBER_TEST(input_waits, a_line_that_raced_with_the_cancellation_is_delivered_or_left_never_lost)
{
    struct line_reader reader;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    for (int i = 0; i < 50; i++) {
        coil_fiber *fiber = spawn_until_parked(read_a_line, &reader);
        int result;

        write_text(fd, "line\n");
        for (int turns = i % 5; turns > 0; turns--)
            coil_yield();
        coil_cancel(fiber);
        result = join_and_drop(fiber);
        if (result == -ECANCELED)
            assert_line(reader.stream, "line\n");
        else
            cr_assert_eq(result, 5);
    }
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

FIBER_TEST(input_waits, an_expired_scope_fails_every_read_even_with_bytes_at_hand)
{
    coil_stream *stream;
    coil_scope scope;
    const char *data;
    char buffer[8];
    size_t len = 99;
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "ab\ncd");
    assert_line(stream, "ab\n");

    coil_scope_enter(&scope, 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_read(stream, buffer, 1), -ETIMEDOUT);
        cr_assert_eq(coil_read_full(stream, buffer, 1, &len), -ETIMEDOUT);
        cr_assert_eq(len, 0);
        cr_assert_eq(coil_read_line(stream, buffer, 8), -ETIMEDOUT);
        cr_assert_eq(coil_skip_line(stream), -ETIMEDOUT);
        cr_assert_eq(coil_peek(stream, 1, &data), -ETIMEDOUT);
    }
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_read(stream, buffer, 8), 2);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

struct full_reader {
    coil_stream *stream;
    coil_time timeout;
    size_t len;
};

static int read_full_within(void *arg)
{
    struct full_reader *reader = arg;
    char buffer[100];
    coil_scope scope;
    ssize_t result;

    coil_scope_enter(&scope, reader->timeout);
    result = coil_read_full(reader->stream, buffer, sizeof buffer, &reader->len);
    (void)coil_scope_leave(&scope);
    return (int)result;
}

FIBER_TEST(input_waits, a_deadline_that_passes_while_the_reader_is_about_to_run_is_not_forgotten)
{
    struct full_reader reader = {.timeout = COIL_MS(30)};
    int64_t start = coil_now();
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    fiber = spawn_until_parked(read_full_within, &reader);
    write_text(fd, "x");
    while (fiber->tcb->state == COIL__FIBER_PARKED && coil_now() - start < COIL_MS(30))
        coil_yield();
    /* The reader is runnable; the deadline passes, and the loop comes round before it runs. */
    while (coil_now() - start < COIL_MS(40))
        continue;
    coil__sched()->budget = 1;
    coil_yield();

    cr_assert_eq(join_and_drop(fiber), -ETIMEDOUT);
    cr_assert_eq(reader.len, 1);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

/* ---- Both ways, fast and slow ---- */

struct flow {
    coil_stream *stream;
    size_t size;
};

static int write_pattern(void *arg)
{
    const struct flow *flow = arg;
    char bytes[5000];

    for (size_t offset = 0; offset < flow->size;) {
        const size_t left = flow->size - offset;
        const size_t step = left < sizeof bytes ? left : 1 + offset % sizeof bytes;
        int result;

        pattern_fill(bytes, step, offset);
        result = coil_write(flow->stream, bytes, step);
        if (result < 0)
            return result;
        offset += step;
    }
    return coil_flush(flow->stream);
}

static int read_pattern(void *arg)
{
    const struct flow *flow = arg;
    char bytes[6000];

    for (size_t offset = 0; offset < flow->size;) {
        const ssize_t n = coil_read(flow->stream, bytes, sizeof bytes);

        if (n <= 0)
            return n < 0 ? (int)n : -ENODATA;
        if (!pattern_matches(bytes, (size_t)n, offset))
            return -EILSEQ;
        offset += (size_t)n;
    }
    return 0;
}

FIBER_TEST(input_waits, a_reader_and_a_writer_share_a_stream_at_full_speed_both_ways)
{
    coil_fiber *fibers[4];
    struct flow a = {.size = 8 * MIB};
    struct flow b = {.size = 8 * MIB};

    tcp_pair(&a.stream, &b.stream);
    cr_assert_eq(coil_spawn(write_pattern, &a, &fibers[0]), 0);
    cr_assert_eq(coil_spawn(read_pattern, &a, &fibers[1]), 0);
    cr_assert_eq(coil_spawn(write_pattern, &b, &fibers[2]), 0);
    cr_assert_eq(coil_spawn(read_pattern, &b, &fibers[3]), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0, "fiber %d", i);

    cr_assert_eq(coil_stream_sent(a.stream), 8 * MIB);
    cr_assert_eq(coil_close(a.stream), 0);
    cr_assert_eq(coil_close(b.stream), 0);
}

FIBER_TEST(input_waits, a_slow_reader_pauses_its_peer_and_gets_every_byte)
{
    struct flow flow = {.size = 16 * MIB - 1};
    struct peer peer;
    char byte;
    int fd;

    stream_and_fd(&flow.stream, &fd);
    write_text(fd, "!");
    cr_assert_eq(coil_read(flow.stream, &byte, 1), 1);
    peer_start(&peer, peer_send, fd, flow.size);
    /* Nobody reads: the input stops by itself. */
    while (flow.stream->input.is_active)
        coil_yield();
    cr_assert_gt(flow.stream->input.length, 0);
    /* Without DEFER_TASKRUN all shared buffers, 8 MiB, can be filled before the stop is seen. */
    cr_assert_leq(flow.stream->input.length, 9 * MIB, "the stream does not hoard");

    cr_assert_eq(read_pattern(&flow), 0);
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(flow.stream), 0);
}

enum {
    HUNGRY_COUNT = 20,
    HUNGRY_SIZE = 50000,
};

FIBER_TEST_WITH(input_waits, more_streams_than_shared_buffers_make_progress_each,
                (&(coil_options){.size = sizeof(coil_options), .buffer_count = 4}))
{
    struct flow flows[HUNGRY_COUNT];
    coil_fiber *fibers[HUNGRY_COUNT];
    struct peer peers[HUNGRY_COUNT];
    int fds[HUNGRY_COUNT];
    char byte;

    /* Each holds bytes of at least one buffer unread, more than there are. */
    for (int i = 0; i < HUNGRY_COUNT; i++) {
        stream_and_fd(&flows[i].stream, &fds[i]);
        flows[i].size = HUNGRY_SIZE;
        write_text(fds[i], "!?");
        cr_assert_eq(coil_read(flows[i].stream, &byte, 1), 1, "stream %d", i);
    }
    for (int i = 0; i < HUNGRY_COUNT; i++)
        cr_assert_eq(coil_read(flows[i].stream, &byte, 1), 1);
    for (int i = 0; i < HUNGRY_COUNT; i++) {
        peer_start(&peers[i], peer_send, fds[i], HUNGRY_SIZE);
        cr_assert_eq(coil_spawn(read_pattern, &flows[i], &fibers[i]), 0);
    }
    for (int i = 0; i < HUNGRY_COUNT; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0, "stream %d", i);
        peer_join(&peers[i]);
        cr_assert_eq(close(fds[i]), 0);
        cr_assert_eq(coil_close(flows[i].stream), 0);
    }
}

FIBER_TEST(input_waits, an_idle_stream_holds_no_buffer)
{
    coil_stream *stream;
    char buffer[8];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "ask");
    cr_assert_eq(coil_read(stream, buffer, 8), 3);
    cr_assert_eq(coil_write(stream, "answer", 6), 0);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_null(stream->input.first);
    cr_assert_eq(stream->input.lease_count, 0);
    cr_assert_null(stream->output.chunk);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

static int peek_100_kib(void *arg)
{
    const char *data;

    return (int)coil_peek(arg, (size_t)100 * KIB, &data);
}

/* Pieces that are too large to be merged, each received for itself while the reader is parked. */
FIBER_TEST(input_waits, a_reader_that_wants_much_does_not_pin_a_buffer_for_each_piece)
{
    coil_stream *stream;
    coil_fiber *reader;
    char piece[2100];
    size_t received = 0;
    int fd;

    stream_and_fd(&stream, &fd);
    reader = spawn_until_parked(peek_100_kib, stream);
    pattern_fill(piece, sizeof piece, 0);
    while (received + sizeof piece < (size_t)100 * KIB) {
        write_fd(fd, piece, sizeof piece);
        received += sizeof piece;
        until_received(stream, received);
        /* A few may be on their way when it stops. */
        cr_assert_lt(stream->input.lease_count, 2 * COIL__LEASES_MAX, "%zu bytes", received);
    }
    write_fd(fd, piece, sizeof piece);

    cr_assert_geq(join_and_drop(reader), 100 * KIB);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}
