/* SPDX-License-Identifier: MIT */
/* The end of a stream: whatever is under way, closing returns, wakes
 * whoever waits, and frees everything; FIBER_TEST counts descriptors and blocks at the end.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/net_fixture.h"
#include "support/child.h"

TestSuite(close, .timeout = 30);

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
};

static int read_byte(void *arg)
{
    char byte;

    return (int)coil_read(arg, &byte, 1);
}

static int read_two_bytes(void *arg)
{
    char bytes[2];

    return (int)coil_read_full(arg, bytes, 2, NULL);
}

static int flush(void *arg)
{
    return coil_flush(arg);
}

static int write_mebibyte(void *arg)
{
    char *bytes = calloc(1, MIB);
    const int result = coil_write(arg, bytes, MIB);

    free(bytes);
    return result;
}

static int close_stream(void *arg)
{
    return coil_close(arg);
}

/* ---- What is sent ---- */

FIBER_TEST(close, close_sends_what_was_written)
{
    coil_stream *stream;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_write(stream, "bye", 3), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(read_fd(fd, buffer, sizeof buffer), 3, "and then the end");
    cr_assert_arr_eq(buffer, "bye", 3);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, close_of_nothing_is_harmless)
{
    cr_assert_eq(coil_close(NULL), 0);
}

FIBER_TEST(close, close_waits_for_a_slow_peer)
{
    coil_stream *stream;
    coil_fiber *fiber;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "bye", 3), 0);
    fiber = spawn_until_parked(close_stream, stream);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(read_fd(fd, buffer, 16), 3);
    cr_assert_eq(close(fd), 0);
    free(buffer);
}

FIBER_TEST(close, close_in_an_expired_scope_drops_the_output_and_tells)
{
    coil_stream *stream;
    coil_scope scope;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_write(stream, "bye", 3), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_close(stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(read_fd(fd, buffer, sizeof buffer), 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, close_in_an_expired_scope_with_nothing_to_send_succeeds)
{
    coil_stream *stream;
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_not(coil_scope_leave(&scope));
    cr_assert_eq(close(fd), 0);
}

static int write_and_close(void *arg)
{
    const int result = coil_write(arg, "bye", 3);
    const int close_result = coil_close(arg);

    return result < 0 && result != -ECANCELED ? result : close_result;
}

FIBER_TEST(close, close_of_a_cancelled_fiber_that_waits_for_the_peer_gives_up_and_frees)
{
    coil_stream *stream;
    coil_fiber *fiber;
    int fd;

    stream_and_fd(&stream, &fd);
    (void)fill_fd(coil_stream_fd(stream));
    fiber = spawn_until_parked(write_and_close, stream);
    cr_assert_gt(stream->output.flight, 0);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, close_within_a_deadline_ends_with_it)
{
    coil_stream *stream;
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    (void)fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "bye", 3), 0);
    coil_scope_enter(&scope, COIL_MS(20));
    cr_assert_eq(coil_close(stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, close_with_an_automatic_send_under_way_finishes_it)
{
    coil_stream *stream;
    coil_fiber *reader;
    coil_fiber *closer;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "one", 3), 0);
    reader = spawn_until_parked(read_byte, stream);
    cr_assert_eq(coil_write(stream, "two", 3), 0);
    closer = spawn_until_parked(close_stream, stream);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(join_and_drop(closer), 0);
    cr_assert_eq(read_fd(fd, buffer, 16), 6);
    cr_assert_arr_eq(buffer, "onetwo", 6);
    cr_assert_eq(close(fd), 0);
    free(buffer);
}

/* ---- Under fibers that wait ---- */

FIBER_TEST(close, a_waiting_reader_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *reader;
    int fd;

    stream_and_fd(&stream, &fd);
    reader = spawn_until_parked(read_byte, stream);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_reader_about_to_run_and_to_wait_again_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *reader;
    int fd;

    stream_and_fd(&stream, &fd);
    reader = spawn_until_parked(read_two_bytes, stream);
    write_text(fd, "x");
    while (reader->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_waiting_flush_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *flusher;
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    (void)fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    flusher = spawn_until_parked(flush, stream);
    coil_scope_enter(&scope, COIL_MS(20));
    cr_assert_eq(coil_close(stream), -ETIMEDOUT, "it still tries to send, within its scope");
    (void)coil_scope_leave(&scope);
    cr_assert_eq(join_and_drop(flusher), -EBADF);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_waiting_large_write_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *writer;
    int fd;

    stream_and_fd(&stream, &fd);
    writer = spawn_until_parked(write_mebibyte, stream);
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(writer), -EBADF);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_large_write_that_waits_for_the_buffered_bytes_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *reader;
    coil_fiber *writer;
    coil_scope scope;
    int fd;

    stream_and_fd(&stream, &fd);
    (void)fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    reader = spawn_until_parked(read_byte, stream);
    cr_assert_gt(stream->output.flight, 0);
    writer = spawn_until_parked(write_mebibyte, stream);
    coil_scope_enter(&scope, COIL_MS(20));
    (void)coil_close(stream);
    (void)coil_scope_leave(&scope);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(join_and_drop(writer), -EBADF);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_large_write_about_to_run_and_to_send_directly_gets_ebadf)
{
    coil_stream *stream;
    coil_fiber *reader;
    coil_fiber *writer;
    char *buffer = malloc(MIB);
    size_t filled;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    reader = spawn_until_parked(read_byte, stream);
    writer = spawn_until_parked(write_mebibyte, stream);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    while (writer->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(join_and_drop(writer), -EBADF);
    cr_assert_eq(close(fd), 0);
    free(buffer);
}

FIBER_TEST(close, a_large_write_that_has_ended_but_not_run_does_not_disturb_the_close)
{
    coil_stream *stream;
    coil_fiber *writer;
    char *buffer = malloc(MIB);
    int result;
    int fd;

    stream_and_fd(&stream, &fd);
    (void)fill_fd(coil_stream_fd(stream));
    writer = spawn_until_parked(write_mebibyte, stream);
    /* The peer goes: the send ends with an error that the writer has not seen yet. */
    cr_assert_eq(close(fd), 0);
    while (writer->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    (void)coil_close(stream);
    result = join_and_drop(writer);
    cr_assert(result == -EBADF || result == -EPIPE || result == -ECONNRESET, "%d", result);
    free(buffer);
}

FIBER_TEST(close, a_reader_and_a_writer_both_get_ebadf)
{
    coil_stream *stream;
    coil_fiber *reader;
    coil_fiber *writer;
    int fd;

    tcp_and_fd(&stream, &fd);
    shrink_buffers(coil_stream_fd(stream));
    reader = spawn_until_parked(read_byte, stream);
    (void)fill_fd(coil_stream_fd(stream));
    writer = spawn_until_parked(write_mebibyte, stream);
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(join_and_drop(writer), -EBADF);
    cr_assert_eq(close(fd), 0);
}

static int read_when_the_turn_ends(void *arg)
{
    coil__sched()->budget = 1;
    return read_byte(arg);
}

static int write_when_the_turn_ends(void *arg)
{
    coil__sched()->budget = 1;
    return coil_write(arg, "x", 1);
}

FIBER_TEST(close, a_call_that_yields_at_its_beginning_is_inside_all_the_same)
{
    int (*const calls[])(void *) = {read_when_the_turn_ends, write_when_the_turn_ends};

    for (int i = 0; i < 2; i++) {
        coil_stream *stream;
        coil_fiber *fiber;
        int fd;

        stream_and_fd(&stream, &fd);
        cr_assert_eq(coil_spawn(calls[i], stream, &fiber), 0);
        coil__sched()->budget = 100;
        coil_yield();
        cr_assert_not_null(fiber->tcb);
        (void)coil_close(stream);
        cr_assert_eq(join_and_drop(fiber), -EBADF);
        cr_assert_eq(close(fd), 0);
    }
}

static int close_later(void *arg)
{
    return coil_close(arg);
}

FIBER_TEST(close, a_close_that_waits_for_its_peer_turns_newcomers_away)
{
    coil_stream *stream;
    coil_fiber *closer;
    char *buffer = malloc(MIB);
    size_t filled;
    char byte;
    int fd;

    stream_and_fd(&stream, &fd);
    filled = fill_fd(coil_stream_fd(stream));
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    closer = spawn_until_parked(close_later, stream);
    cr_assert_eq(coil_read(stream, &byte, 1), -EBADF);
    cr_assert_eq(coil_write(stream, "y", 1), -EBADF);
    cr_assert_eq(coil_flush(stream), -EBADF);
    cr_assert_eq(read_fd(fd, buffer, filled), filled);
    cr_assert_eq(join_and_drop(closer), 0);
    cr_assert_eq(close(fd), 0);
    free(buffer);
}

FIBER_TEST(close, a_cancel_that_races_with_the_close_frees_everything)
{
    for (int i = 0; i < 60; i++) {
        coil_stream *stream;
        coil_fiber *reader;
        coil_fiber *writer;
        int fd;

        stream_and_fd(&stream, &fd);
        reader = spawn_until_parked(read_byte, stream);
        writer = spawn_until_parked(write_mebibyte, stream);
        if (i & 1)
            coil_cancel(reader);
        if (i & 2)
            coil_cancel(writer);
        if (i & 4)
            write_text(fd, "x");
        for (int turns = i / 8 % 4; turns > 0; turns--)
            coil_yield();
        (void)coil_close(stream);
        (void)join_and_drop(reader);
        cr_assert_lt(join_and_drop(writer), 0);
        cr_assert_eq(close(fd), 0);
    }
}

/* ---- Lingering ---- */

struct slow_listener {
    size_t size; /* what it sends before it reads the reply */
    char reply[64];
    size_t reply_length;
};

static struct slow_listener client;

static void send_all_then_read(struct peer *peer)
{
    char bytes[1000];

    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 0; i < peer->size; i++)
        if (send(peer->fd, bytes, sizeof bytes, MSG_NOSIGNAL) != sizeof bytes)
            return;
    client.reply_length = read_fd(peer->fd, client.reply, sizeof client.reply);
}

FIBER_TEST(close, a_client_that_sends_a_mebibyte_before_it_reads_gets_its_reply_from_a_linger)
{
    coil_stream *stream;
    struct peer peer;
    char buffer[100];
    int fd;

    client = (struct slow_listener){.size = 0};
    tcp_and_fd(&stream, &fd);
    peer_start(&peer, send_all_then_read, fd, 1048);
    cr_assert_gt(coil_read(stream, buffer, sizeof buffer), 0);
    cr_assert_eq(coil_write(stream, "431 too much\n", 13), 0);
    coil_stream_linger(stream, COIL_SECONDS(20), 4 * MIB);
    /* The client ends its side when it has read the end of ours. */
    cr_assert_eq(coil_spawn(close_stream, stream, NULL), 0);
    while (client.reply_length == 0 && !atomic_load(&peer.is_done))
        coil_yield();
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(client.reply_length, 13);
    cr_assert_arr_eq(client.reply, "431 too much\n", 13);
}

FIBER_TEST(close, a_linger_ends_with_its_time)
{
    coil_stream *stream;
    int64_t start = coil_now();
    int fd;

    tcp_and_fd(&stream, &fd);
    coil_stream_linger(stream, COIL_MS(30), MIB);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_geq(coil_now() - start, COIL_MS(30));
    cr_assert_eq(close(fd), 0);
}

static void send_until_it_fails(struct peer *peer)
{
    static const char bytes[1000];

    while (send(peer->fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
        peer->count += sizeof bytes;
}

FIBER_TEST(close, a_linger_ends_with_its_bytes)
{
    coil_stream *stream;
    struct peer peer;
    int fd;

    tcp_and_fd(&stream, &fd);
    peer_start(&peer, send_until_it_fails, fd, 0);
    coil_stream_linger(stream, COIL_NEVER, 3 * MIB);
    cr_assert_eq(coil_close(stream), 0);
    peer_join(&peer);
    cr_assert_geq(peer.count, 3 * MIB);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, a_linger_ends_with_the_peers_close_and_with_the_callers_scope)
{
    coil_stream *stream;
    coil_scope scope;
    int fd;

    tcp_and_fd(&stream, &fd);
    coil_stream_linger(stream, COIL_NEVER, MIB);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(stream), 0);

    tcp_and_fd(&stream, &fd);
    coil_stream_linger(stream, COIL_NEVER, MIB);
    coil_scope_enter(&scope, COIL_MS(10));
    cr_assert_eq(coil_close(stream), 0);
    (void)coil_scope_leave(&scope);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(close, no_linger_without_bytes)
{
    coil_stream *stream;
    int fd;

    tcp_and_fd(&stream, &fd);
    coil_stream_linger(stream, COIL_NEVER, MIB);
    coil_stream_linger(stream, COIL_NEVER, 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- Never ---- */

static int forget_a_stream(void *arg)
{
    const char *data;
    coil_stream *stream;
    int fd;

    (void)arg;
    stream_and_fd(&stream, &fd);
    child_check(write(fd, "unread", 6) == 6, "write");
    (void)close(fd);
    child_check(coil_peek(stream, 100, &data) == 6, "peek");
    return 0;
}

static int run_and_forget(void *arg)
{
    int result = -1;

    child_check(fiber_test_coil_run(forget_a_stream, arg, NULL, &result) == 0, "coil_run");
    return result;
}

Test(close, a_stream_that_was_never_closed_is_named_and_ends_no_program)
{
    struct child_end end;

    child_run(run_and_forget, NULL, &end);
    cr_assert_eq(end.signal, 0, "signal %d: %s", end.signal, end.output);
    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_not_null(strstr(end.output, "not closed"), "%s", end.output);
}
