/* SPDX-License-Identifier: MIT */
/* Output that waits or fails: slow peers, deadlines, resets, a second writer, the half-close. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/output_fixture.h"

TestSuite(output_waits, .timeout = 60);

struct writer {
    coil_stream *stream;
    size_t size;     /* of everything */
    uint64_t offset; /* in the pattern */
};

/* ---- Waiting for a slow peer ---- */

static int flush(void *arg)
{
    return coil_flush(arg);
}

FIBER_TEST(output_waits, flush_waits_until_the_kernel_has_taken_all)
{
    coil_stream *stream;
    coil_fiber *fiber;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "end", 3), 0);
    fiber = spawn_until_parked(flush, stream);
    coil_yield();
    coil_yield();
    cr_assert_not_null(fiber->tcb, "still waits");
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(read_now(fd, buffer, 8), 3);
    free(buffer);
    finish(stream, fd);
}

FIBER_TEST(output_waits, an_interrupted_flush_can_be_tried_again_and_doubles_nothing)
{
    coil_stream *stream;
    coil_fiber *fiber;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "abc", 3), 0);
    fiber = spawn_until_parked(flush, stream);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(coil_write(stream, "def", 3), 0);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_now(fd, buffer, 16), 6);
    cr_assert_arr_eq(buffer, "abcdef", 6);
    free(buffer);
    finish(stream, fd);
}

FIBER_TEST(output_waits, a_write_that_times_out_before_its_first_byte_can_be_tried_again)
{
    coil_stream *stream;
    coil_scope scope;
    struct peer peer;
    char *bytes = malloc(100 * KIB);
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    pattern_fill(bytes, 100 * KIB, 0);
    coil_scope_enter(&scope, COIL_MS(10));
    cr_assert_eq(coil_write(stream, bytes, 100 * KIB), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_stream_sent(stream), 0);

    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    peer_start(&peer, peer_receive, fd, 100 * KIB);
    cr_assert_eq(coil_write(stream, bytes, 100 * KIB), 0);
    peer_join(&peer);
    cr_assert(peer.is_intact);
    cr_assert_eq(peer.count, 100 * KIB);
    free(bytes);
    free(buffer);
    finish(stream, fd);
}

FIBER_TEST(output_waits, a_write_cut_in_the_middle_ends_the_output_and_sent_tells_where)
{
    coil_stream *stream;
    coil_scope scope;
    char *bytes = malloc(4 * MIB);
    char *buffer = malloc(4 * MIB);
    size_t length;
    int fd;

    stream_and_fd(&stream, &fd);
    pattern_fill(bytes, 4 * MIB, 0);
    cr_assert_eq(coil_write(stream, bytes, 10), 0);
    do { /* on a busy machine the time may be up before the write begins */
        coil_scope_enter(&scope, COIL_MS(20));
        cr_assert_eq(coil_write(stream, bytes + 10, 4 * MIB - 10), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
    } while (coil_stream_sent(stream) <= 10);

    cr_assert_eq(coil_write(stream, "x", 1), -EPIPE, "a retry would double bytes");
    cr_assert_eq(coil_flush(stream), -EPIPE);
    cr_assert_eq(coil_shutdown(stream), -EPIPE);
    cr_assert_gt(coil_stream_sent(stream), 10);
    length = (size_t)coil_stream_sent(stream);
    cr_assert_eq(coil_close(stream), -EPIPE);
    cr_assert_eq(read_fd(fd, buffer, 4 * MIB), length);
    cr_assert(pattern_matches(buffer, length, 0));
    cr_assert_eq(close(fd), 0);
    free(bytes);
    free(buffer);
}

/* ---- Failures ---- */

FIBER_TEST(output_waits, a_peer_that_has_closed_gives_epipe_again_and_again)
{
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    cr_assert_eq(coil_flush(stream), -EPIPE);
    cr_assert_eq(coil_write(stream, "x", 1), -EPIPE);
    cr_assert_eq(coil_printf(stream, "x"), -EPIPE);
    cr_assert_eq(coil_flush(stream), -EPIPE);
    cr_assert_null(stream->output.chunk, "what can't be sent is dropped");
    cr_assert_eq(coil_close(stream), -EPIPE);
}

FIBER_TEST(output_waits, a_large_write_to_a_peer_that_has_closed_gives_epipe)
{
    coil_stream *stream;
    char *bytes = calloc(1, 100 * KIB);
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    cr_assert_eq(coil_write(stream, bytes, 100 * KIB), -EPIPE);
    cr_assert_null(stream->output.chunk);
    cr_assert_eq(coil_close(stream), -EPIPE);
    free(bytes);
}

FIBER_TEST(output_waits, a_reset_shows_at_the_flush_and_ends_the_input_too)
{
    coil_stream *stream;
    char byte;
    int fd;

    tcp_and_fd(&stream, &fd);
    reset_fd(fd);
    await_fd(coil_stream_fd(stream), POLLIN);
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    cr_assert_eq(coil_flush(stream), -ECONNRESET);
    cr_assert_eq(coil_write(stream, "x", 1), -ECONNRESET);
    cr_assert_eq(coil_read(stream, &byte, 1), -ECONNRESET, "not a clean end");
    cr_assert_eq(coil_close(stream), -ECONNRESET);
}

FIBER_TEST(output_waits, a_failed_automatic_send_shows_at_the_next_write_not_at_the_read)
{
    struct asker asker;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&asker.stream, &fd);
    cr_assert_eq(shutdown(fd, SHUT_RD), 0);
    fiber = spawn_until_parked(ask, &asker);
    until_sent(asker.stream);
    write_text(fd, "unasked\n");

    cr_assert_eq(join_and_drop(fiber), 8);
    cr_assert_str_eq(asker.answer, "unasked\n");
    cr_assert_eq(coil_write(asker.stream, "x", 1), -EPIPE);
    cr_assert_eq(coil_flush(asker.stream), -EPIPE);
    cr_assert_eq(coil_close(asker.stream), -EPIPE);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(output_waits, a_failed_automatic_send_shows_at_the_close_if_nobody_writes_again)
{
    struct asker asker;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&asker.stream, &fd);
    cr_assert_eq(shutdown(fd, SHUT_RD), 0);
    fiber = spawn_until_parked(ask, &asker);
    write_text(fd, "unasked\n");
    cr_assert_eq(join_and_drop(fiber), 8);
    cr_assert_eq(coil_close(asker.stream), -EPIPE);
    cr_assert_eq(close(fd), 0);
}

/* ---- Who may write, and when ---- */

static int write_large(void *arg)
{
    const struct writer *writer = arg;
    char *bytes = malloc(writer->size);
    int result;

    pattern_fill(bytes, writer->size, writer->offset);
    result = coil_write(writer->stream, bytes, writer->size);
    free(bytes);
    return result;
}

FIBER_TEST(output_waits, a_second_writer_is_refused_and_the_log_names_both)
{
    struct writer writer = {.size = 2 * MIB};
    struct peer peer;
    coil_fiber *fiber;
    char message[512];
    int fd;

    stream_and_fd(&writer.stream, &fd);
    log_keep(message, sizeof message);
    fiber = spawn_until_parked(write_large, &writer);
    coil_fiber_name_set(fiber, "first writer");
    coil_fiber_name_set(coil_self(), "second writer");

    cr_assert_eq(coil_write(writer.stream, "x", 1), -EBUSY);
    cr_assert_not_null(strstr(message, "first writer"), "%s", message);
    cr_assert_not_null(strstr(message, "second writer"), "%s", message);
    cr_assert_eq(coil_printf(writer.stream, "x"), -EBUSY);
    cr_assert_eq(coil_flush(writer.stream), -EBUSY);
    cr_assert_eq(coil_shutdown(writer.stream), -EBUSY);

    peer_start(&peer, peer_receive, fd, writer.size);
    cr_assert_eq(join_and_drop(fiber), 0);
    peer_join(&peer);
    cr_assert(peer.is_intact);
    cr_assert_eq(peer.count, writer.size);
    coil_log_set(NULL, NULL);
    finish(writer.stream, fd);
}

static int read_byte(void *arg)
{
    char byte;

    return (int)coil_read(arg, &byte, 1);
}

FIBER_TEST(output_waits, no_automatic_send_comes_between_the_pieces_of_another_fibers_write)
{
    struct writer writer = {.size = 2 * MIB, .offset = 10};
    struct peer peer;
    coil_fiber *write_fiber;
    coil_fiber *read_fiber;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&writer.stream, &fd);
    count_sends(writer.stream);
    filled = fill_fd(coil_stream_fd(writer.stream));
    pattern_fill(buffer, 10, 0);
    cr_assert_eq(coil_write(writer.stream, buffer, 10), 0);
    write_fiber = spawn_until_parked(write_large, &writer);
    cr_assert_eq(send_count, 1);
    read_fiber = spawn_until_parked(read_byte, writer.stream);
    cr_assert_eq(send_count, 1);

    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    peer_start(&peer, peer_receive, fd, writer.size + 10);
    cr_assert_eq(join_and_drop(write_fiber), 0);
    peer_join(&peer);
    cr_assert(peer.is_intact);
    cr_assert_eq(peer.count, writer.size + 10);
    write_text(fd, "!");
    cr_assert_eq(join_and_drop(read_fiber), 1);
    free(buffer);
    finish(writer.stream, fd);
}

static int write_large_for_20_ms(void *arg)
{
    struct writer *writer = arg;
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_MS(20));
    result = write_large(writer);
    (void)coil_scope_leave(&scope);
    return result;
}

/* The reader leaves its reply to the writer, who is in the middle of its own and then gives up. */
FIBER_TEST(output_waits, what_a_reader_wrote_is_sent_when_another_writer_gives_up)
{
    struct writer writer = {.size = 2 * MIB};
    coil_fiber *write_fiber;
    coil_fiber *read_fiber;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&writer.stream, &fd);
    filled = fill_fd(coil_stream_fd(writer.stream));
    cr_assert_eq(coil_write(writer.stream, "REPLY", 5), 0);
    write_fiber = spawn_until_parked(write_large_for_20_ms, &writer);
    read_fiber = spawn_until_parked(read_byte, writer.stream);
    cr_assert_eq(join_and_drop(write_fiber), -ETIMEDOUT);

    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    while (read_now(fd, buffer, 5) != 5)
        coil_yield();
    cr_assert_eq(memcmp(buffer, "REPLY", 5), 0);
    write_text(fd, "!");
    cr_assert_eq(join_and_drop(read_fiber), 1);
    free(buffer);
    finish(writer.stream, fd);
}

FIBER_TEST(output_waits, an_expired_scope_fails_every_write_even_where_there_is_room)
{
    coil_stream *stream;
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_write(stream, "x", 1), -ETIMEDOUT);
    cr_assert_eq(coil_printf(stream, "x"), -ETIMEDOUT);
    cr_assert_eq(coil_flush(stream), -ETIMEDOUT);
    cr_assert_eq(coil_shutdown(stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_write(stream, "x", 1), 0, "nothing has failed for good");
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(coil_stream_sent(stream), 1);
    finish(stream, fd);
}

/* What a connection answers whose peer has vanished: TCP gives up after a while. */
static ssize_t time_out(coil_stream *stream, struct msghdr *message)
{
    (void)stream;
    (void)message;
    return -ETIMEDOUT;
}

FIBER_TEST(output_waits, a_timeout_of_the_kernels_own_is_for_good)
{
    struct coil__stream_ops ops = coil__socket_ops;
    char *bytes = calloc(1, MIB);
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    ops.output_send = time_out;
    stream->ops = &ops;
    cr_assert_eq(coil_write(stream, bytes, MIB), -ETIMEDOUT);
    stream->ops = &coil__socket_ops;

    cr_assert_eq(coil_write(stream, "x", 1), -ETIMEDOUT);
    cr_assert_eq(coil_flush(stream), -ETIMEDOUT);
    free(bytes);
    finish(stream, fd);
}

/* ---- coil_shutdown ---- */

FIBER_TEST(output_waits, shutdown_sends_the_rest_ends_the_output_and_lets_reading_go_on)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    tcp_and_fd(&stream, &fd);
    cr_assert_eq(coil_write(stream, "last", 4), 0);
    cr_assert_eq(coil_shutdown(stream), 0);
    cr_assert_eq(read_fd(fd, buffer, sizeof buffer), 4, "then the end");
    cr_assert_eq(coil_write(stream, "x", 1), -EPIPE);

    write_text(fd, "still here");
    cr_assert_eq(coil_read_full(stream, buffer, 10, NULL), 10);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_read(stream, buffer, 1), 0);
    cr_assert_eq(coil_close(stream), 0);
}
