/* SPDX-License-Identifier: MIT */
/* Writing to a stream: what was written arrives once and in order, leaves when it should and not
 * before, and a failure shows where the header says.
 */
#include <stdlib.h>

#include "net/output_fixture.h"

TestSuite(output, .timeout = 60);

/* ---- When bytes leave ---- */

FIBER_TEST(output, small_writes_stay_until_the_flush)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_write(stream, "ab", 2), 0);
    cr_assert_eq(coil_write(stream, "", 0), 0);
    cr_assert_eq(coil_write(stream, "cd", 2), 0);
    cr_assert_eq(coil_printf(stream, "%d", 5), 0);
    coil_yield();
    coil_yield();
    cr_assert_eq(read_now(fd, buffer, sizeof buffer), 0);
    cr_assert_eq(coil_stream_sent(stream), 0);

    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(coil_stream_sent(stream), 5);
    cr_assert_eq(read_now(fd, buffer, sizeof buffer), 5);
    cr_assert_arr_eq(buffer, "abcd5", 5);
    cr_assert_null(stream->output.chunk, "nothing to send, no buffer");
    cr_assert_eq(coil_flush(stream), 0, "with nothing to flush");
    finish(stream, fd);
}

FIBER_TEST(output, writing_nothing_takes_no_buffer)
{
    coil_stream *stream;
    const struct iovec empty[2] = {{NULL, 0}, {NULL, 0}};
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_write(stream, NULL, 0), 0);
    cr_assert_eq(coil_writev(stream, NULL, 0), 0);
    cr_assert_eq(coil_writev(stream, empty, 2), 0);
    cr_assert_eq(coil_writev(stream, empty, -1), -EINVAL);
    cr_assert_eq(coil_printf(stream, "%s", ""), 0);
    cr_assert_null(stream->output.chunk);
    finish(stream, fd);
}

FIBER_TEST(output, a_read_that_parks_sends_what_was_written)
{
    struct asker asker;
    coil_fiber *fiber;
    char buffer[16];
    int fd;

    stream_and_fd(&asker.stream, &fd);
    fiber = spawn_until_parked(ask, &asker);
    until_sent(asker.stream);
    cr_assert_eq(read_now(fd, buffer, sizeof buffer), 9);
    write_text(fd, "answer\n");
    cr_assert_eq(join_and_drop(fiber), 7);
    finish(asker.stream, fd);
}

FIBER_TEST(output, a_read_that_need_not_park_sends_nothing)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    count_sends(stream);
    write_text(fd, "ab");
    cr_assert_eq(coil_read(stream, buffer, 1), 1);
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    cr_assert_eq(coil_read(stream, buffer, 1), 1);
    cr_assert_eq(send_count, 0);
    finish(stream, fd);
}

static int echo_lines(void *arg)
{
    coil_stream *stream = arg;
    char line[64];
    ssize_t n;

    while ((n = coil_read_line(stream, line, sizeof line)) > 0) {
        const int result = coil_write(stream, line, (size_t)n);

        if (result < 0)
            return result;
    }
    return (int)n;
}

FIBER_TEST(output, the_replies_to_pipelined_requests_leave_in_one_send)
{
    coil_stream *stream;
    coil_fiber *fiber;
    char requests[16 * 8 + 1] = "";
    char replies[256];
    int fd;

    for (size_t i = 0; i < 16; i++)
        memcpy(requests + 8 * i, "request\n", 9);
    tcp_and_fd(&stream, &fd);
    count_sends(stream);
    fiber = spawn_until_parked(echo_lines, stream);
    write_text(fd, requests);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(send_count, 1);
    cr_assert_eq(read_fd(fd, replies, strlen(requests)), strlen(requests));
    cr_assert_arr_eq(replies, requests, strlen(requests));
    finish(stream, fd);
}

/* ---- All of it, in order ---- */

struct writer {
    coil_stream *stream;
    size_t size;     /* of everything */
    uint64_t offset; /* in the pattern */
};

/* Writes the pattern by every call there is, in sizes from a byte to many buffers. */
static int write_in_every_way(void *arg)
{
    const struct writer *writer = arg;
    static const size_t steps[] = {1, 100, 16384, 16383, 3, 40000, 16385, 200000, 7, 5000};
    char *bytes = malloc(writer->size);
    size_t offset = 0;
    int result = 0;

    pattern_fill(bytes, writer->size, 0);
    for (unsigned i = 0; offset < writer->size && result == 0; i++) {
        const size_t left = writer->size - offset;
        const size_t wanted = steps[i % (sizeof steps / sizeof *steps)];
        const size_t step = wanted < left ? wanted : left;
        const char *at = bytes + offset;
        const struct iovec pieces[] = {
            {NULL, 0}, {(void *)(uintptr_t)at, step / 3},
            {NULL, 0}, {(void *)(uintptr_t)(at + step / 3), step - step / 3},
            {NULL, 0},
        };

        if (i % 3 == 2)
            result = coil_writev(writer->stream, pieces, 5);
        else
            result = coil_write(writer->stream, at, step);
        if (i % 7 == 6 && result == 0)
            result = coil_flush(writer->stream);
        offset += step;
    }
    free(bytes);
    return result < 0 ? result : coil_flush(writer->stream);
}

static void assert_all_arrives(coil_stream *stream, int fd, int (*write_all)(void *), size_t size)
{
    struct writer writer = {.stream = stream, .size = size};
    struct peer peer;

    peer_start(&peer, peer_receive, fd, size);
    cr_assert_eq(write_all(&writer), 0);
    cr_assert_eq(coil_stream_sent(stream), size);
    peer_join(&peer);
    cr_assert_eq(peer.count, size);
    cr_assert(peer.is_intact);
}

FIBER_TEST(output, small_and_large_writes_keep_their_order)
{
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    assert_all_arrives(stream, fd, write_in_every_way, 3 * MIB + 17);
    finish(stream, fd);
}

FIBER_TEST(output, nothing_is_lost_through_the_smallest_socket_buffers)
{
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    shrink_buffers(coil_stream_fd(stream));
    shrink_buffers(fd);
    assert_all_arrives(stream, fd, write_in_every_way, 600 * KIB);
    finish(stream, fd);
}

/* 300 pieces of 0 to 299 bytes, behind a few buffered ones: more than one sendmsg takes. */
static int write_many_pieces(void *arg)
{
    const struct writer *writer = arg;
    struct iovec *pieces = malloc(300 * sizeof *pieces);
    char *bytes = malloc(writer->size);
    size_t offset = 10;
    int result;

    pattern_fill(bytes, writer->size, 0);
    for (size_t i = 0; i < 300; i++) {
        pieces[i] = (struct iovec){bytes + offset, i};
        offset += i;
    }
    result = coil_write(writer->stream, bytes, 10);
    if (result == 0)
        result = coil_writev(writer->stream, pieces, 300);
    if (result == 0)
        result = coil_flush(writer->stream);
    free(bytes);
    free(pieces);
    return result;
}

FIBER_TEST(output, writev_takes_more_pieces_than_a_system_call)
{
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    assert_all_arrives(stream, fd, write_many_pieces, 10 + 299 * 300 / 2);
    finish(stream, fd);
}

FIBER_TEST(output, a_write_of_exactly_the_buffer_does_not_park)
{
    coil_stream *stream;
    char *bytes = calloc(1, COIL__CHUNK_SIZE + 1);
    int fd;

    stream_and_fd(&stream, &fd);
    count_sends(stream);
    cr_assert_eq(coil_write(stream, bytes, COIL__CHUNK_SIZE), 0);
    cr_assert_eq(send_count, 0);
    cr_assert_eq(coil_write(stream, bytes, 1), 0, "full: this one sends all");
    cr_assert_eq(send_count, 1);
    cr_assert_eq(coil_stream_sent(stream), COIL__CHUNK_SIZE + 1);
    free(bytes);
    finish(stream, fd);
}

FIBER_TEST(output, writes_during_a_send_follow_it)
{
    struct asker asker;
    coil_fiber *fiber;
    size_t filled;
    char *buffer = malloc(MIB);
    int fd;

    stream_and_fd(&asker.stream, &fd);
    filled = fill_fd(coil_stream_fd(asker.stream));
    fiber = spawn_until_parked(ask, &asker);
    cr_assert_gt(asker.stream->output.flight, 0, "the automatic send has begun");
    cr_assert_eq(coil_write(asker.stream, "more", 4), 0);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(coil_flush(asker.stream), 0);
    cr_assert_eq(read_now(fd, buffer, 20), 13);
    cr_assert_arr_eq(buffer, "question\nmore", 13);
    write_text(fd, "\n");
    cr_assert_eq(join_and_drop(fiber), 1);
    free(buffer);
    finish(asker.stream, fd);
}

/* ---- coil_printf ---- */

FIBER_TEST(output, printf_formats_short_and_long_texts)
{
    coil_stream *stream;
    char *text = malloc(64 * KIB + 2);
    char *got = malloc(64 * KIB + 2);
    int fd;

    stream_and_fd(&stream, &fd);
    memset(text, 'y', 64 * KIB + 1);
    text[64 * KIB + 1] = '\0';
    cr_assert_eq(coil_printf(stream, "%s-%04d %.2f|", "a", 7, 1.5), 0);
    cr_assert_eq(coil_printf(stream, "%s", text + 1), 0, "64 KiB are allowed");
    cr_assert_eq(coil_printf(stream, "%s", text), -EMSGSIZE);
    cr_assert_eq(coil_printf(stream, "%d", 9), 0);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(read_fd(fd, got, 12), 12);
    cr_assert_arr_eq(got, "a-0007 1.50|", 12);
    cr_assert_eq(read_fd(fd, got, 64 * KIB), 64 * KIB);
    cr_assert_arr_eq(got, text, 64 * KIB);
    cr_assert_eq(read_now(fd, got, 16), 1, "nothing of the refused text");
    cr_assert_eq(got[0], '9');
    free(text);
    free(got);
    finish(stream, fd);
}

FIBER_TEST(output, printf_fills_the_buffer_to_the_last_byte)
{
    coil_stream *stream;
    struct peer peer;
    char *text = malloc(COIL__CHUNK_SIZE + 1);
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_receive, fd, 100 * KIB);
    for (size_t offset = 0; offset < 100 * KIB;) {
        const size_t left = 100 * KIB - offset;
        const size_t wanted = COIL__CHUNK_SIZE - 3 + offset % 5;
        const size_t step = left < wanted ? left : wanted;

        pattern_fill(text, step, offset);
        for (size_t i = 0; i < step; i++)
            cr_assert_eq(coil_printf(stream, "%c", text[i]), 0);
        offset += step;
    }
    cr_assert_eq(coil_flush(stream), 0);
    peer_join(&peer);
    cr_assert(peer.is_intact);
    cr_assert_eq(peer.count, 100 * KIB);
    free(text);
    finish(stream, fd);
}
