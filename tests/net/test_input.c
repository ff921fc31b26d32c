/* SPDX-License-Identifier: MIT */
/* Reading from a stream: no byte is lost, doubled or reordered, whatever the peer and the deadlines
 * do, and every limit is exact.
 */
#include <stdlib.h>
#include <unistd.h>

#include "net/net_fixture.h"

TestSuite(input, .timeout = 60);

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

/* ---- coil_read ---- */

FIBER_TEST(input, read_gives_what_is_there_in_pieces_as_small_as_wanted)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "hello");

    cr_assert_eq(coil_read(stream, buffer, 3), 3);
    cr_assert_arr_eq(buffer, "hel", 3);
    cr_assert_eq(coil_read(stream, buffer, sizeof buffer), 2);
    cr_assert_arr_eq(buffer, "lo", 2);

    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, the_end_is_told_again_and_again)
{
    coil_stream *stream;
    const char *data = NULL;
    char buffer[16];
    size_t len = 99;
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "x");
    cr_assert_eq(close(fd), 0);

    cr_assert_eq(coil_read(stream, buffer, sizeof buffer), 1);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_read(stream, buffer, sizeof buffer), 0);
        cr_assert_eq(coil_read_line(stream, buffer, sizeof buffer), 0);
        cr_assert_eq(coil_read_full(stream, buffer, sizeof buffer, &len), 0);
        cr_assert_eq(len, 0);
        cr_assert_eq(coil_skip_line(stream), 0);
        cr_assert_eq(coil_peek(stream, 1, &data), 0);
    }
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, a_half_closed_peer_is_still_answered)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    tcp_and_fd(&stream, &fd);
    write_text(fd, "ask");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);

    cr_assert_eq(coil_read_line(stream, buffer, sizeof buffer), 3);
    cr_assert_eq(coil_read(stream, buffer, sizeof buffer), 0);
    cr_assert_eq(coil_write(stream, "answer", 6), 0);
    cr_assert_eq(coil_close(stream), 0);

    cr_assert_eq(read_fd(fd, buffer, sizeof buffer), 6);
    cr_assert_arr_eq(buffer, "answer", 6);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(input, a_mebibyte_comes_through_odd_little_reads)
{
    coil_stream *stream;
    struct peer peer;
    char buffer[977];
    uint64_t offset = 0;
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_send, fd, MIB);
    while (offset < MIB) {
        const ssize_t n = coil_read(stream, buffer, 1 + offset % sizeof buffer);

        cr_assert_gt(n, 0);
        cr_assert(pattern_matches(buffer, (size_t)n, offset), "at %llu",
                  (unsigned long long)offset);
        offset += (uint64_t)n;
    }
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

/* ---- coil_read_full ---- */

FIBER_TEST(input, read_full_waits_for_all_and_is_short_only_at_the_end)
{
    coil_stream *stream;
    struct peer peer;
    char *buffer = malloc(300 * KIB);
    size_t len = 0;
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_send, fd, 200 * KIB + 5);
    cr_assert_eq(coil_read_full(stream, buffer, 200 * KIB, &len), 200 * KIB);
    cr_assert_eq(len, 200 * KIB);
    cr_assert(pattern_matches(buffer, 200 * KIB, 0));
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);

    cr_assert_eq(coil_read_full(stream, buffer, 10, &len), 5);
    cr_assert_eq(len, 5);
    cr_assert(pattern_matches(buffer, 5, 200 * KIB));
    cr_assert_eq(coil_read_full(stream, buffer, 10, NULL), 0);
    cr_assert_eq(coil_close(stream), 0);
    free(buffer);
}

FIBER_TEST(input, read_full_tells_what_it_consumed_before_the_deadline)
{
    coil_stream *stream;
    coil_scope scope;
    char buffer[8];
    size_t len = 0;
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "abc");
    coil_scope_enter(&scope, COIL_MS(20));
    cr_assert_eq(coil_read_full(stream, buffer, 8, &len), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(len, 3);
    cr_assert_arr_eq(buffer, "abc", 3);

    write_text(fd, "defgh");
    cr_assert_eq(coil_read_full(stream, buffer, 5, &len), 5);
    cr_assert_arr_eq(buffer, "defgh", 5);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, read_full_tells_what_it_consumed_before_a_reset)
{
    coil_stream *stream;
    char buffer[8];
    size_t len = 0;
    int fd;

    tcp_and_fd(&stream, &fd);
    write_text(fd, "abc");
    cr_assert_eq(coil_read_full(stream, buffer, 1, NULL), 1);
    reset_fd(fd);

    cr_assert_eq(coil_read_full(stream, buffer, 8, &len), -ECONNRESET);
    cr_assert_eq(len, 2);
    cr_assert_arr_eq(buffer, "bc", 2);
    cr_assert_eq(coil_read_full(stream, buffer, 8, &len), -ECONNRESET);
    cr_assert_eq(len, 0);
    (void)coil_close(stream);
}

/* ---- Lines ---- */

FIBER_TEST(input, a_line_may_come_byte_by_byte)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n";
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    /* The first byte has to be asked for; from then on the receive is a standing order. */
    write_fd(fd, "<", 1);
    cr_assert_eq(coil_read(stream, (char[1]){0}, 1), 1);
    for (size_t i = 0; text[i]; i++) {
        write_fd(fd, &text[i], 1);
        until_received(stream, stream->input.is_active ? i + 1 : 0);
    }
    cr_assert_leq(stream->input.lease_count, 1, "small deliveries share a buffer");

    assert_line(stream, "GET / HTTP/1.1\r\n");
    assert_line(stream, "Host: a\r\n");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
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

FIBER_TEST(input, a_parked_reader_of_a_line_wakes_for_the_newline_that_comes_byte_by_byte)
{
    static const char text[] = "one at a time\nrest";
    struct line_reader reader;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    fiber = spawn_until_parked(read_a_line, &reader);
    for (size_t i = 0; text[i]; i++) {
        write_fd(fd, &text[i], 1);
        coil_yield();
        coil_yield();
    }
    cr_assert_eq(join_and_drop(fiber), 14);
    cr_assert_str_eq(reader.line, "one at a time\n");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    assert_line(reader.stream, "rest");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

FIBER_TEST(input, many_lines_in_a_packet_and_one_over_two_packets_are_told_apart)
{
    struct line_reader reader;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&reader.stream, &fd);
    write_text(fd, "a\n\n\r\nbc\nde");
    assert_line(reader.stream, "a\n");
    assert_line(reader.stream, "\n");
    assert_line(reader.stream, "\r\n");
    assert_line(reader.stream, "bc\n");
    fiber = spawn_until_parked(read_a_line, &reader);
    write_text(fd, "f\ng\n");
    cr_assert_eq(join_and_drop(fiber), 4);
    cr_assert_str_eq(reader.line, "def\n");
    assert_line(reader.stream, "g\n");

    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader.stream), 0);
}

FIBER_TEST(input, a_line_fits_up_to_size_less_one_and_not_a_byte_more)
{
    coil_stream *stream;
    char line[9];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "1234567\n12345678\nx\n");

    memset(line, '#', sizeof line);
    cr_assert_eq(coil_read_line(stream, line, 9), 8);
    cr_assert_str_eq(line, "1234567\n");
    memset(line, '#', sizeof line);
    cr_assert_eq(coil_read_line(stream, line, 9), -EMSGSIZE);
    cr_assert_arr_eq(line, "#########", 9, "untouched on failure");
    cr_assert_eq(coil_read_line(stream, line, 9), -EMSGSIZE, "the line is left in place");
    assert_line(stream, "12345678\n");
    assert_line(stream, "x\n");

    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, a_line_that_is_too_long_is_known_before_its_newline_and_not_too_early)
{
    coil_stream *stream;
    char line[9];
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "12345678");
    coil_scope_enter(&scope, COIL_MS(20));
    cr_assert_eq(coil_read_line(stream, line, 9), -ETIMEDOUT, "a ninth byte may never come");
    cr_assert(coil_scope_leave(&scope));
    write_text(fd, "9");
    cr_assert_eq(coil_read_line(stream, line, 9), -EMSGSIZE);

    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, a_last_line_without_newline_counts_even_at_the_limit)
{
    coil_stream *stream;
    char line[9];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "\n12345678");
    cr_assert_eq(close(fd), 0);

    cr_assert_eq(coil_read_line(stream, line, sizeof line), 1);
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 8);
    cr_assert_str_eq(line, "12345678");
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, nul_bytes_are_data)
{
    coil_stream *stream;
    char line[16];
    int fd;

    stream_and_fd(&stream, &fd);
    write_fd(fd, "a\0b\0\nc\0d", 8);
    cr_assert_eq(close(fd), 0);

    cr_assert_eq(coil_read_line(stream, line, sizeof line), 5);
    cr_assert_arr_eq(line, "a\0b\0\n", 6);
    cr_assert_eq(coil_read_until(stream, line, sizeof line, '\0'), 2);
    cr_assert_arr_eq(line, "c\0", 3);
    cr_assert_eq(coil_read_until(stream, line, sizeof line, '\0'), 1);
    cr_assert_arr_eq(line, "d", 2);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, delimiters_may_change_between_calls)
{
    coil_stream *stream;
    char text[16];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "key=value;rest\n");

    cr_assert_eq(coil_read_until(stream, text, 4, ';'), -EMSGSIZE);
    cr_assert_eq(coil_read_until(stream, text, sizeof text, '='), 4);
    cr_assert_str_eq(text, "key=");
    cr_assert_eq(coil_read_until(stream, text, sizeof text, ';'), 6);
    cr_assert_str_eq(text, "value;");
    assert_line(stream, "rest\n");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

static void send_long_line(struct peer *peer)
{
    char bytes[1000];

    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 0; i < peer->size; i++)
        write_fd(peer->fd, bytes, sizeof bytes);
    write_text(peer->fd, "\nnext\n");
}

FIBER_TEST(input, skip_line_drops_a_line_far_beyond_every_buffer)
{
    coil_stream *stream;
    struct peer peer;
    char line[32];
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, send_long_line, fd, 700);
    cr_assert_eq(coil_read_line(stream, line, sizeof line), -EMSGSIZE);
    cr_assert_eq(coil_skip_line(stream), 1);
    assert_line(stream, "next\n");
    peer_join(&peer);

    write_text(fd, "no end");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_skip_line(stream), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, a_line_longer_than_all_leases_is_read_in_one_piece)
{
    coil_stream *stream;
    struct peer peer;
    char *line = malloc(MIB);
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, send_long_line, fd, 700);
    cr_assert_eq(coil_read_line(stream, line, MIB), 700001);
    cr_assert_eq(line[700000], '\n');
    cr_assert_eq(strspn(line, "x"), 700000);
    assert_line(stream, "next\n");
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
    free(line);
}

FIBER_TEST(input, a_reset_in_mid_line_is_an_error_and_leaves_the_bytes_to_be_read)
{
    coil_stream *stream;
    char text[16];
    int fd;

    tcp_and_fd(&stream, &fd);
    write_text(fd, "ok\nhalf a li");
    assert_line(stream, "ok\n");
    reset_fd(fd);

    cr_assert_eq(coil_read_line(stream, text, sizeof text), -ECONNRESET);
    cr_assert_eq(coil_read(stream, text, sizeof text), 9);
    cr_assert_arr_eq(text, "half a li", 9);
    cr_assert_eq(coil_read(stream, text, sizeof text), -ECONNRESET);
    cr_assert_eq(coil_write(stream, "x", 1), -ECONNRESET, "a reset ends both sides");
    (void)coil_close(stream);
}

/* ---- coil_peek and coil_consume ---- */

FIBER_TEST(input, peek_shows_and_consume_takes)
{
    coil_stream *stream;
    const char *data;
    char text[8];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "abcdef");

    cr_assert_eq(coil_peek(stream, 1, &data), 6);
    cr_assert_arr_eq(data, "abcdef", 6);
    cr_assert_eq(coil_peek(stream, 6, &data), 6);
    coil_consume(stream, 0);
    coil_consume(stream, 2);
    cr_assert_eq(coil_peek(stream, 1, &data), 4);
    cr_assert_arr_eq(data, "cdef", 4);
    cr_assert_eq(coil_read(stream, text, 2), 2);
    cr_assert_eq(coil_peek(stream, 2, &data), 2);
    cr_assert_arr_eq(data, "ef", 2);
    coil_consume(stream, 2);

    write_text(fd, "gh");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_peek(stream, 3, &data), 2, "fewer only at the end");
    cr_assert_arr_eq(data, "gh", 2);
    coil_consume(stream, 2);
    cr_assert_eq(coil_peek(stream, 1, &data), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, peek_brings_together_what_lies_in_many_leases)
{
    coil_stream *stream;
    struct peer peer;
    const char *data;
    size_t consumed = 0;
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_send, fd, 600 * KIB);
    for (size_t need = 1; need <= 256 * KIB; need *= 2) {
        const ssize_t n = coil_peek(stream, need, &data);

        cr_assert_geq(n, (ssize_t)need);
        cr_assert(pattern_matches(data, (size_t)n, consumed), "for a need of %zu", need);
        coil_consume(stream, need / 3);
        consumed += need / 3;
    }
    while (consumed < 600 * KIB) {
        const ssize_t n = coil_peek(stream, 1, &data);

        cr_assert_gt(n, 0);
        cr_assert(pattern_matches(data, (size_t)n, consumed));
        coil_consume(stream, (size_t)n);
        consumed += (size_t)n;
    }
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, peek_gives_a_mebibyte_in_one_piece_and_refuses_a_byte_more)
{
    coil_stream *stream;
    struct peer peer;
    const char *data = NULL;
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_send, fd, MIB);
    cr_assert_eq(coil_peek(stream, MIB + 1, &data), -EMSGSIZE);
    cr_assert_null(data, "untouched on failure");
    cr_assert_eq(coil_peek(stream, MIB, &data), MIB);
    cr_assert(pattern_matches(data, MIB, 0));
    coil_consume(stream, MIB);
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}

FIBER_TEST(input, a_newline_is_found_in_bytes_that_were_gathered_behind_scanned_ones)
{
    enum {
        LENGTH = 17000, /* more than a buffer */
    };

    coil_stream *stream;
    const char *data;
    coil_scope scope;
    char *line = malloc(LENGTH + 10);
    int fd;

    stream_and_fd(&stream, &fd);
    memset(line, 'x', LENGTH);
    write_fd(fd, line, LENGTH);
    coil_scope_enter(&scope, COIL_MS(10));
    cr_assert_eq(coil_read_line(stream, line, LENGTH + 10), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    write_text(fd, "\na\n");
    cr_assert_eq(coil_peek(stream, LENGTH + 3, &data), LENGTH + 3);
    cr_assert_eq(coil_read_line(stream, line, LENGTH + 10), LENGTH + 1);
    assert_line(stream, "a\n");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
    free(line);
}

FIBER_TEST(input, what_was_scanned_for_a_newline_is_remembered_rightly_across_consume)
{
    coil_stream *stream;
    const char *data;
    coil_scope scope;
    char line[64];
    int fd;

    stream_and_fd(&stream, &fd);
    write_text(fd, "0123456789");
    coil_scope_enter(&scope, COIL_MS(10));
    cr_assert_eq(coil_read_line(stream, line, sizeof line), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    coil_consume(stream, 4);
    write_text(fd, "a\nb\n");
    cr_assert_geq(coil_peek(stream, 10, &data), 10);
    assert_line(stream, "456789a\n");
    assert_line(stream, "b\n");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);
}
