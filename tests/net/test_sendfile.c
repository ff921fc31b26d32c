/* SPDX-License-Identifier: MIT */
/* coil_sendfile(): a file's bytes arrive once, whole and in their place, and what it tells is what
 * the peer has got.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/output_fixture.h"

TestSuite(sendfile, .timeout = 60);

enum {
    SIZE = MIB + 777, /* of the file: many pieces and a rest */
};

/* ---- Helpers ---- */

/* An unnamed file that holds `size` bytes of the pattern. */
static int make_file(size_t size)
{
    const int fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    char *data = malloc(size + 1);

    cr_assert_geq(fd, 0);
    pattern_fill(data, size, 0);
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    free(data);
    return fd;
}

static void finish_file(coil_stream *stream, int peer, int fd)
{
    if (peer >= 0)
        cr_assert_eq(close(peer), 0);
    (void)coil_close(stream);
    cr_assert_eq(close(fd), 0);
}

static void write_pipe(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

struct sending {
    coil_stream *stream;
    int fd;
    uint64_t offset;
    uint64_t size;
    uint64_t sent;
};

static int send_it(void *arg)
{
    struct sending *sending = arg;

    return coil_sendfile(sending->stream, sending->fd, sending->offset, sending->size,
                         &sending->sent);
}

/* ---- What arrives ---- */

struct collecting {
    int fd;
    size_t size;
    char *data;
};

static int collect(void *arg)
{
    struct collecting *collecting = arg;

    return (int)coil_file_read_full(collecting->fd, collecting->data, collecting->size,
                                    COIL_FILE_POSITION, NULL);
}

FIBER_TEST(sendfile, a_file_arrives_whole_between_what_was_written_before_and_after)
{
    const size_t whole = 5 + SIZE + 4;
    struct collecting collecting = {.size = whole, .data = malloc(whole)};
    const int fd = make_file(SIZE);
    coil_stream *stream;
    coil_fiber *fiber;
    uint64_t sent = 0;

    stream_and_fd(&stream, &collecting.fd);
    fiber = spawn_until_parked(collect, &collecting);
    cr_assert_eq(coil_write(stream, "head:", 5), 0);
    cr_assert_eq(coil_sendfile(stream, fd, 0, SIZE, &sent), 0);
    cr_assert_eq(coil_write(stream, ":end", 4), 0);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(join_and_drop(fiber), (int)whole);
    cr_assert_eq(sent, SIZE);
    cr_assert_eq(coil_stream_sent(stream), whole);
    cr_assert_arr_eq(collecting.data, "head:", 5);
    cr_assert(pattern_matches(collecting.data + 5, SIZE, 0));
    cr_assert_arr_eq(collecting.data + 5 + SIZE, ":end", 4);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), SIZE, "the position is as make_file() left it");
    free(collecting.data);
    finish_file(stream, collecting.fd, fd);
}

FIBER_TEST(sendfile, a_small_file_leaves_with_its_head_in_one_send)
{
    const int fd = make_file(100);
    coil_stream *stream;
    char text[128];
    int peer;

    stream_and_fd(&stream, &peer);
    count_sends(stream);
    cr_assert_eq(coil_write(stream, "head:", 5), 0);
    cr_assert_eq(coil_sendfile(stream, fd, 0, 100, NULL), 0);
    cr_assert_eq(read_now(peer, text, sizeof text), 0, "not before the flush");
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(read_now(peer, text, sizeof text), 105);
    cr_assert(pattern_matches(text + 5, 100, 0));
    cr_assert_eq(send_count, 1);
    finish_file(stream, peer, fd);
}

FIBER_TEST(sendfile, offset_and_size_choose_the_bytes_and_the_end_of_the_file_ends_them)
{
    const int fd = make_file(1000);
    coil_stream *stream;
    char text[1024];
    uint64_t sent = 77;
    int peer;

    stream_and_fd(&stream, &peer);
    cr_assert_eq(coil_sendfile(stream, fd, 200, 50, &sent), 0);
    cr_assert_eq(sent, 50);
    cr_assert_eq(coil_sendfile(stream, fd, 900, UINT64_MAX, &sent), 0);
    cr_assert_eq(sent, 100, "up to the end");
    cr_assert_eq(coil_sendfile(stream, fd, 1000, 10, &sent), 0);
    cr_assert_eq(sent, 0);
    cr_assert_eq(coil_sendfile(stream, fd, 0, 0, &sent), 0);
    cr_assert_eq(sent, 0);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(read_now(peer, text, sizeof text), 150);
    cr_assert(pattern_matches(text, 50, 200));
    cr_assert(pattern_matches(text + 50, 100, 900));
    finish_file(stream, peer, fd);
}

FIBER_TEST(sendfile, several_pieces_end_where_they_should_and_not_with_the_last_piece)
{
    const size_t wanted = 70000; /* one piece and a bit */
    char *data = malloc(2 * wanted);
    const int fd = make_file(SIZE);
    coil_stream *stream;
    uint64_t sent = 77;
    int peer;

    stream_and_fd(&stream, &peer);
    cr_assert_eq(coil_sendfile(stream, fd, 5, wanted, &sent), 0);
    cr_assert_eq(sent, wanted);
    cr_assert_eq(coil_flush(stream), 0);

    cr_assert_eq(read_now(peer, data, 2 * wanted), wanted);
    cr_assert(pattern_matches(data, wanted, 5));
    free(data);
    finish_file(stream, peer, fd);
}

FIBER_TEST(sendfile, a_pipe_is_sent_as_it_comes)
{
    coil_stream *stream;
    struct sending sending = {.offset = COIL_FILE_POSITION, .size = UINT64_MAX};
    coil_fiber *fiber;
    char text[16];
    int fds[2];
    int peer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    stream_and_fd(&stream, &peer);
    sending.stream = stream;
    sending.fd = fds[0];
    cr_assert_eq(coil_write(stream, "head:", 5), 0);
    fiber = spawn_until_parked(send_it, &sending);
    until_sent(stream);
    cr_assert_eq(read_fd(peer, text, 5), 5);
    write_pipe(fds[1], "first");
    cr_assert_eq(coil_file_read_full(peer, text, 5, COIL_FILE_POSITION, NULL), 5);
    cr_assert_arr_eq(text, "first", 5);
    write_pipe(fds[1], "second");
    cr_assert_eq(close(fds[1]), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(sending.sent, 11);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_fd(peer, text, 6), 6);
    cr_assert_arr_eq(text, "second", 6);
    finish_file(stream, peer, fds[0]);
}

/* ---- One writer ---- */

FIBER_TEST(sendfile, no_other_fiber_writes_in_between_and_the_reader_goes_on)
{
    char text[16];
    const int fd = make_file(SIZE);
    coil_stream *stream;
    struct sending sending = {.fd = fd, .size = SIZE};
    char *data = malloc(SIZE);
    char message[256];
    coil_fiber *fiber;
    int peer;

    log_keep(message, sizeof message);
    stream_and_fd(&stream, &peer);
    sending.stream = stream;
    fiber = spawn_until_parked(send_it, &sending);
    cr_assert_eq(coil_write(stream, "x", 1), -EBUSY);
    cr_assert_eq(coil_sendfile(stream, fd, 0, 1, NULL), -EBUSY);
    write_text(peer, "hello");
    cr_assert_eq(coil_read(stream, text, sizeof text), 5);
    cr_assert_eq(coil_file_read_full(peer, data, MIB, COIL_FILE_POSITION, NULL), MIB);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_write(stream, "x", 1), 0);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_fd(peer, data + MIB, SIZE - MIB), SIZE - MIB);
    cr_assert(pattern_matches(data, SIZE, 0));
    cr_assert_eq(read_now(peer, text, sizeof text), 1);
    free(data);
    finish_file(stream, peer, fd);
}

/* ---- Interruptions ---- */

FIBER_TEST(sendfile, an_expired_scope_sends_nothing_and_it_can_be_tried_again)
{
    const int fd = make_file(SIZE);
    coil_stream *stream;
    coil_scope scope;
    uint64_t sent = 77;
    char text[8];
    int peer;

    stream_and_fd(&stream, &peer);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_sendfile(stream, fd, 0, SIZE, &sent), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(sent, 0);

    cr_assert_eq(coil_sendfile(stream, fd, 0, 5, &sent), 0);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_now(peer, text, sizeof text), 5);
    finish_file(stream, peer, fd);
}

FIBER_TEST(sendfile, an_interruption_while_the_file_is_read_leaves_the_output_as_it_was)
{
    coil_stream *stream;
    struct sending sending = {.offset = COIL_FILE_POSITION, .size = 100};
    coil_fiber *fiber;
    char text[16];
    int fds[2];
    int peer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    stream_and_fd(&stream, &peer);
    sending.stream = stream;
    sending.fd = fds[0];
    write_pipe(fds[1], "abc");
    fiber = spawn_until_parked(send_it, &sending);
    cr_assert_eq(coil_file_read_full(peer, text, 3, COIL_FILE_POSITION, NULL), 3);
    until_parked(fiber);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(sending.sent, 3);

    cr_assert_eq(coil_write(stream, "def", 3), 0);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_fd(peer, text, 3), 3);
    cr_assert_arr_eq(text, "def", 3);
    cr_assert_eq(close(fds[1]), 0);
    finish_file(stream, peer, fds[0]);
}

FIBER_TEST(sendfile, an_interruption_in_the_middle_of_a_piece_ends_the_output)
{
    const int fd = make_file(SIZE);
    coil_stream *stream;
    struct sending sending = {.fd = fd, .size = SIZE};
    coil_fiber *fiber;
    char *data = malloc(SIZE);
    uint64_t arrived;
    int peer;

    stream_and_fd(&stream, &peer);
    shrink_buffers(coil_stream_fd(stream));
    sending.stream = stream;
    fiber = spawn_until_parked(send_it, &sending);
    while (poll(&(struct pollfd){.fd = peer, .events = POLLIN}, 1, 0) == 0)
        coil_yield(); /* the first piece does not fit */
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    arrived = read_now(peer, data, SIZE);
    cr_assert_lt(arrived, SIZE);
    cr_assert_gt(arrived, sending.sent, "part of a piece went out");
    cr_assert_eq(arrived, coil_stream_sent(stream));
    cr_assert(pattern_matches(data, arrived, 0));
    cr_assert_eq(coil_write(stream, "x", 1), -EPIPE);
    cr_assert_eq(coil_sendfile(stream, fd, 0, 1, NULL), -EPIPE);
    free(data);
    finish_file(stream, peer, fd);
}

/* ---- Errors ---- */

FIBER_TEST(sendfile, what_cannot_be_read_is_told_and_harms_no_output)
{
    coil_stream *stream;
    uint64_t sent = 77;
    char text[8];
    int peer;
    const int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    stream_and_fd(&stream, &peer);
    cr_assert_eq(coil_sendfile(stream, directory, 0, 10, &sent), -EISDIR);
    cr_assert_eq(sent, 0);
    cr_assert_eq(coil_sendfile(stream, -1, 0, 10, &sent), -EBADF);
    cr_assert_eq(coil_sendfile(stream, directory, (uint64_t)INT64_MAX + 1, 10, &sent), -EINVAL);
    cr_assert_eq(coil_write(stream, "fine", 4), 0);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_now(peer, text, sizeof text), 4);
    finish_file(stream, peer, directory);
}

FIBER_TEST(sendfile, a_peer_that_is_gone_ends_the_output)
{
    const int fd = make_file(SIZE);
    coil_stream *stream;
    uint64_t sent = 77;
    int peer;

    stream_and_fd(&stream, &peer);
    cr_assert_eq(close(peer), 0);
    cr_assert_eq(coil_sendfile(stream, fd, 0, SIZE, &sent), -EPIPE);
    cr_assert_eq(sent, 0);
    cr_assert_eq(coil_write(stream, "x", 1), -EPIPE);
    finish_file(stream, -1, fd);
}

/* ---- A close meanwhile ---- */

FIBER_TEST(sendfile, a_close_ends_the_wait_for_the_file_and_the_wait_for_the_peer)
{
    const int fd = make_file(SIZE);
    struct sending sending;
    coil_stream *stream;
    coil_fiber *fiber;
    int fds[2];
    int peer;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    stream_and_fd(&stream, &peer);
    sending = (struct sending){stream, fds[0], COIL_FILE_POSITION, 100, 0};
    fiber = spawn_until_parked(send_it, &sending);
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(fiber), -EBADF);
    cr_assert_eq(close(peer), 0);
    write_pipe(fds[1], "late");
    cr_assert_eq(close(fds[0]), 0);
    cr_assert_eq(close(fds[1]), 0);

    stream_and_fd(&stream, &peer);
    sending = (struct sending){stream, fd, 0, SIZE, 0};
    fiber = spawn_until_parked(send_it, &sending);
    for (int i = 0; i < 100; i++)
        coil_yield();
    (void)coil_close(stream);
    cr_assert_eq(join_and_drop(fiber), -EBADF);
    cr_assert_eq(close(peer), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- Memory ---- */

FIBER_TEST(sendfile, without_memory_it_fails_and_can_be_tried_again)
{
    const int fd = make_file(100);
    coil_stream *stream;
    uint64_t sent = 77;
    char text[128];
    int64_t after = 0;
    int result;
    int peer;

    stream_and_fd(&stream, &peer);
    do {
        coil__alloc_fail_after(after++);
        result = coil_sendfile(stream, fd, 0, 100, &sent);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || (result == -ENOMEM && sent == 0), "%d", result);
    } while (result < 0);
    cr_assert_gt(after, 2, "the buffer and the stream's chunk");
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(read_now(peer, text, sizeof text), 100);
    finish_file(stream, peer, fd);
}
