/* SPDX-License-Identifier: MIT */
/* A stream's life apart from its bytes: marks between messages, adoption, addresses, reuse. */
#include <fcntl.h>
#include <unistd.h>

#include "net/net_fixture.h"

TestSuite(stream, .timeout = 30);

static int read_byte(void *arg)
{
    char byte;

    return (int)coil_read(arg, &byte, 1);
}

/* ---- Idle and drain ---- */

FIBER_TEST(stream, drain_ends_an_idle_read_at_once)
{
    coil_stream *stream;
    coil_fiber *reader;
    char byte;
    int fd;

    stream_and_fd(&stream, &fd);
    coil_stream_idle(stream);
    reader = spawn_until_parked(read_byte, stream);
    coil__stream_drain(stream);
    cr_assert_eq(join_and_drop(reader), 0);
    cr_assert_eq(coil_read(stream, &byte, 1), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(stream, drain_leaves_a_read_in_the_middle_of_a_message_and_input_that_is_there)
{
    coil_stream *stream;
    coil_fiber *reader;
    char byte;
    int fd;

    /* In the middle: not marked idle since the last byte. */
    stream_and_fd(&stream, &fd);
    coil_stream_idle(stream);
    write_text(fd, "x");
    cr_assert_eq(coil_read(stream, &byte, 1), 1);
    reader = spawn_until_parked(read_byte, stream);
    coil__stream_drain(stream);
    coil_yield();
    coil_yield();
    cr_assert_not_null(reader->tcb);
    write_text(fd, "y");
    cr_assert_eq(join_and_drop(reader), 1);

    /* Idle, but a message has come. */
    coil_stream_idle(stream);
    write_text(fd, "z");
    cr_assert_eq(coil_read(stream, &byte, 1), 1);
    cr_assert_eq(byte, 'z');

    /* Idle, and nothing there. */
    coil_stream_idle(stream);
    cr_assert_eq(coil_read(stream, &byte, 1), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(stream, a_drained_read_first_sends_the_last_reply)
{
    coil_stream *stream;
    char byte;
    char buffer[16];
    int fd;

    stream_and_fd(&stream, &fd);
    coil__stream_drain(stream);
    cr_assert_eq(coil_write(stream, "reply", 5), 0);
    coil_stream_idle(stream);
    cr_assert_eq(coil_read(stream, &byte, 1), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(read_fd(fd, buffer, sizeof buffer), 5);
    cr_assert_eq(close(fd), 0);
}

/* ---- Adoption and addresses ---- */

FIBER_TEST(stream, adopt_refuses_what_is_no_stream_and_closes_it)
{
    coil_stream *stream = NULL;
    int fd;

    cr_assert_eq(coil_adopt(-1, &stream), -EBADF);
    cr_assert_eq(coil_adopt(12345, &stream), -EBADF);
    fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(coil_adopt(fd, &stream), -EISDIR);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "owned, also on failure");
    fd = open("/dev/null", O_PATH | O_CLOEXEC);
    cr_assert_eq(coil_adopt(fd, &stream), -EINVAL);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "owned, also on failure");
    cr_assert_eq(coil_adopt(socket(AF_INET, SOCK_DGRAM, 0), &stream), -EPROTOTYPE);
    cr_assert_null(stream);
}

FIBER_TEST(stream, adopt_takes_a_nonblocking_socket)
{
    coil_stream *stream;
    coil_fiber *reader;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(coil_adopt(fds[0], &stream), 0);
    cr_assert_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    reader = spawn_until_parked(read_byte, stream);
    write_text(fds[1], "x");
    cr_assert_eq(join_and_drop(reader), 1);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fds[1]), 0);
}

FIBER_TEST(stream, both_ends_agree_on_their_addresses)
{
    coil_stream *a;
    coil_stream *b;
    char peer[COIL_ADDRESS_SIZE];
    char local[COIL_ADDRESS_SIZE];
    int length;

    tcp_pair(&a, &b);
    length = coil_stream_peer(a, peer, sizeof peer);
    cr_assert_eq(length, (int)strlen(peer));
    cr_assert_eq(coil_stream_local(b, local, sizeof local), length);
    cr_assert_str_eq(peer, local);
    cr_assert_eq(strncmp(peer, "127.0.0.1:", 10), 0);
    cr_assert_gt(coil_stream_peer(b, peer, sizeof peer), 0);
    cr_assert_gt(coil_stream_local(a, local, sizeof local), 0);
    cr_assert_str_eq(peer, local);
    cr_assert_eq(coil_stream_peer(a, peer, (size_t)length), -ENOBUFS);
    cr_assert_eq(coil_close(a), 0);
    cr_assert_eq(coil_close(b), 0);

    stream_pair(&a, &b);
    cr_assert_eq(coil_stream_peer(a, peer, sizeof peer), 5);
    cr_assert_str_eq(peer, "unix:");
    cr_assert_eq(coil_close(a), 0);
    cr_assert_eq(coil_close(b), 0);

    cr_assert_eq(coil_adopt(socket(AF_INET, SOCK_STREAM, 0), &a), 0);
    cr_assert_eq(coil_stream_peer(a, peer, sizeof peer), -ENOTCONN);
    cr_assert_eq(coil_close(a), 0);
}

FIBER_TEST(stream, a_new_stream_with_the_old_descriptors_number_starts_clean)
{
    int number = -1;

    for (int i = 0; i < 20; i++) {
        coil_stream *stream;
        coil_fiber *reader;
        char byte;
        int fd;

        stream_and_fd(&stream, &fd);
        if (number < 0)
            number = coil_stream_fd(stream);
        cr_assert_eq(coil_stream_fd(stream), number);
        reader = spawn_until_parked(read_byte, stream);
        coil_cancel(reader);
        cr_assert_eq(join_and_drop(reader), -ECANCELED);
        write_fd(fd, &(char){(char)i}, 1);
        cr_assert_eq(coil_read(stream, &byte, 1), 1);
        cr_assert_eq(byte, i);
        reader = spawn_until_parked(read_byte, stream);
        cr_assert_eq(coil_close(stream), 0);
        cr_assert_eq(join_and_drop(reader), -EBADF);
        cr_assert_eq(close(fd), 0);
    }
}
