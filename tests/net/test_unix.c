/* SPDX-License-Identifier: MIT */
/* coil/unix.h: descriptors arrive with the bytes that they were sent with, and none is leaked. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/net_fixture.h"
#include "net/udp_fixture.h"

enum {
    LARGE = 300000,
};

/* Two connected unix streams, the second of which wants descriptors. */
static void passing_pair(coil_stream **ret_from, coil_stream **ret_to)
{
    stream_pair(ret_from, ret_to);
    cr_assert_eq(coil_stream_want_fds(*ret_to, 16), 0);
}

static void close_both(coil_stream *a, coil_stream *b)
{
    cr_assert_eq(coil_close(a), 0);
    cr_assert_eq(coil_close(b), 0);
}

/* The reading end of a pipe that holds `text`. */
static int pipe_with(const char *text)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fds[1]);
    return fds[0];
}

/* Closes `fd`, which must be close-on-exec and hold `text`. */
static void expect_pipe(int fd, const char *text)
{
    char data[32] = "";

    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_assert_eq(read(fd, data, sizeof data - 1), (ssize_t)strlen(text));
    cr_assert_str_eq(data, text);
    (void)close(fd);
}

static void send_pipe(coil_stream *stream, const char *data, const char *text)
{
    const int fd = pipe_with(text);

    cr_assert_eq(coil_send_fds(stream, data, strlen(data), &fd, 1), 0);
    (void)close(fd);
}

/* ---- Streams ---- */

FIBER_TEST(unix_sockets, a_descriptor_arrives_with_its_bytes_and_works)
{
    coil_stream *from;
    coil_stream *to;
    char data[8] = "";
    size_t count = 99;
    int fd;

    passing_pair(&from, &to);
    send_pipe(from, "x", "inside");

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, &fd, 1, &count), 1);
    cr_assert_str_eq(data, "x");
    cr_assert_eq(count, 1);
    expect_pipe(fd, "inside");
    close_both(from, to);
}

FIBER_TEST(unix_sockets, several_descriptors_arrive_in_order)
{
    coil_stream *from;
    coil_stream *to;
    char data[8];
    size_t count;
    int sent[3] = {pipe_with("a"), pipe_with("b"), pipe_with("c")};
    int received[3];

    passing_pair(&from, &to);
    cr_assert_eq(coil_send_fds(from, "x", 1, sent, 3), 0);
    for (int i = 0; i < 3; i++)
        (void)close(sent[i]);

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, received, 3, &count), 1);
    cr_assert_eq(count, 3);
    expect_pipe(received[0], "a");
    expect_pipe(received[1], "b");
    expect_pipe(received[2], "c");
    close_both(from, to);
}

FIBER_TEST(unix_sockets, a_descriptor_follows_what_was_written_before_it)
{
    coil_stream *from;
    coil_stream *to;
    char line[32];
    int fd;

    passing_pair(&from, &to);
    cr_assert_eq(coil_write(from, "before\n", 7), 0);
    send_pipe(from, "with\n", "inside");
    cr_assert_eq(coil_write(from, "after\n", 6), 0);
    cr_assert_eq(coil_flush(from), 0);

    cr_assert_eq(coil_read_line(to, line, sizeof line), 7);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 0, "its bytes have not been read yet");
    cr_assert_eq(coil_read_line(to, line, sizeof line), 5);
    cr_assert_str_eq(line, "with\n");
    cr_assert_eq(coil_take_fds(to, &fd, 1), 1);
    expect_pipe(fd, "inside");
    cr_assert_eq(coil_read_line(to, line, sizeof line), 6);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 0);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, descriptors_of_messages_that_came_together_stay_with_their_bytes)
{
    coil_stream *from;
    coil_stream *to;
    char line[8];
    int fd;

    passing_pair(&from, &to);
    send_pipe(from, "one\n", "1");
    send_pipe(from, "two\n", "2");
    cr_assert_eq(coil_write(from, "three\n", 6), 0);
    cr_assert_eq(coil_flush(from), 0);

    cr_assert_eq(coil_read_line(to, line, sizeof line), 4);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 1);
    expect_pipe(fd, "1");
    cr_assert_eq(coil_read_line(to, line, sizeof line), 4);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 1);
    expect_pipe(fd, "2");
    cr_assert_eq(coil_read_line(to, line, sizeof line), 6);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 0);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, surplus_descriptors_are_closed)
{
    coil_stream *from;
    coil_stream *to;
    char data[8];
    size_t count;
    int sent[3] = {pipe_with("a"), pipe_with("b"), pipe_with("c")};
    int fd;

    passing_pair(&from, &to);
    cr_assert_eq(coil_send_fds(from, "x", 1, sent, 3), 0);
    for (int i = 0; i < 3; i++)
        (void)close(sent[i]);

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, &fd, 1, &count), 1);
    cr_assert_eq(count, 1);
    cr_assert(coil_stream_fds_lost(to));
    cr_assert_not(coil_stream_fds_lost(to), "told once");
    expect_pipe(fd, "a");
    cr_assert_eq(coil_take_fds(to, &fd, 1), 0); /* and the test counts its descriptors */
    close_both(from, to);
}

FIBER_TEST(unix_sockets, descriptors_beyond_the_limit_are_closed_with_a_word_in_the_log)
{
    coil_stream *from;
    coil_stream *to;
    char message[256];
    char data[8];
    size_t count;
    int fds[4];

    log_keep(message, sizeof message);
    stream_pair(&from, &to);
    cr_assert_eq(coil_stream_want_fds(to, 2), 0);
    send_pipe(from, "x", "1");
    send_pipe(from, "y", "2");
    send_pipe(from, "z", "3");
    cr_assert_eq(coil_peek(to, 3, &(const char *){NULL}), 3);

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, fds, 4, &count), 3);
    cr_assert_eq(count, 2);
    expect_pipe(fds[0], "1");
    expect_pipe(fds[1], "2");
    cr_assert(coil_stream_fds_lost(to));
    cr_assert_not_null(strstr(message, "more descriptors"), "%s", message);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, descriptors_that_nobody_takes_are_closed_with_the_stream)
{
    coil_stream *from;
    coil_stream *to;
    char data[8];

    passing_pair(&from, &to);
    send_pipe(from, "x", "never seen");
    cr_assert_eq(coil_read(to, data, sizeof data), 1);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, a_stream_that_wants_none_gets_the_bytes_alone)
{
    coil_stream *from;
    coil_stream *to;
    char data[8];
    int fd;

    stream_pair(&from, &to);
    send_pipe(from, "x", "never seen");
    cr_assert_eq(coil_read(to, data, sizeof data), 1);
    cr_assert_eq(coil_take_fds(to, &fd, 1), 0);
    cr_assert_not(coil_stream_fds_lost(to), "it wants to know nothing of them");
    close_both(from, to);
}

static int read_all(void *arg)
{
    coil_stream *stream = arg;
    char *data = coil__alloc(LARGE);
    int fd;

    cr_assert_eq(coil_read_full(stream, data, LARGE, NULL), LARGE);
    cr_assert(pattern_matches(data, LARGE, 0));
    coil__free(data);
    cr_assert_eq(coil_take_fds(stream, &fd, 1), 1);
    expect_pipe(fd, "inside");
    cr_assert_eq(coil_take_fds(stream, &fd, 1), 0, "passed once");
    return 0;
}

FIBER_TEST(unix_sockets, a_message_larger_than_all_buffers_passes_its_descriptor_once)
{
    coil_stream *from;
    coil_stream *to;
    char *data = coil__alloc(LARGE);
    coil_fiber *reader;
    const int fd = pipe_with("inside");

    passing_pair(&from, &to);
    shrink_buffers(coil_stream_fd(from));
    pattern_fill(data, LARGE, 0);
    reader = spawn_until_parked(read_all, to);
    cr_assert_eq(coil_send_fds(from, data, LARGE, &fd, 1), 0);
    (void)close(fd);
    coil__free(data);
    cr_assert_eq(join_and_drop(reader), 0);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, a_bad_descriptor_is_an_error_and_the_stream_goes_on)
{
    coil_stream *from;
    coil_stream *to;
    char line[16];

    passing_pair(&from, &to);
    cr_assert_eq(coil_write(from, "before\n", 7), 0);
    cr_assert_eq(coil_send_fds(from, "x", 1, &(int){9999}, 1), -EBADF);
    cr_assert_eq(coil_send_fds(from, "x", 0, &(int){0}, 1), -EINVAL);
    cr_assert_eq(coil_send_fds(from, "x", 1, &(int){0}, 0), -EINVAL);
    cr_assert_eq(coil_send_fds(from, "x", 1, &(int){0}, COIL_FDS_MAX + 1), -EINVAL);
    cr_assert_eq(coil_write(from, "after\n", 6), 0);
    cr_assert_eq(coil_flush(from), 0);

    cr_assert_eq(coil_read_line(to, line, sizeof line), 7);
    cr_assert_eq(coil_read_line(to, line, sizeof line), 6);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, only_unix_sockets_carry_descriptors)
{
    coil_stream *client;
    coil_stream *server;
    coil_credentials credentials;

    tcp_pair(&client, &server);
    cr_assert_eq(coil_send_fds(client, "x", 1, &(int){0}, 1), -EOPNOTSUPP);
    cr_assert_eq(coil_stream_want_fds(server, 1), -EOPNOTSUPP);
    cr_assert_eq(coil_stream_credentials(server, &credentials), -EOPNOTSUPP);
    close_both(client, server);
}

static int read_once(void *arg)
{
    char data[8];

    return (int)coil_read(arg, data, sizeof data);
}

FIBER_TEST(unix_sockets, wanting_comes_before_reading)
{
    coil_stream *from;
    coil_stream *to;
    coil_fiber *reader;

    stream_pair(&from, &to);
    cr_assert_eq(coil_stream_want_fds(to, 0), -EINVAL);
    cr_assert_eq(coil_stream_want_fds(to, 100000), -EINVAL);
    reader = spawn_until_parked(read_once, to);
    cr_assert_eq(coil_stream_want_fds(to, 4), -EBUSY);

    cr_assert_eq(coil_write(from, "x", 1), 0);
    cr_assert_eq(coil_flush(from), 0);
    cr_assert_eq(join_and_drop(reader), 1);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, an_interrupted_read_loses_no_descriptor)
{
    coil_stream *from;
    coil_stream *to;
    coil_scope scope;
    char data[8];
    size_t count;
    int fd;

    passing_pair(&from, &to);
    coil_scope_enter(&scope, COIL_MS(2));
    cr_assert_eq(coil_recv_fds(to, data, sizeof data, &fd, 1, &count), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    send_pipe(from, "x", "inside");

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, &fd, 1, &count), 1);
    cr_assert_eq(count, 1);
    expect_pipe(fd, "inside");
    close_both(from, to);
}

FIBER_TEST(unix_sockets, a_process_without_free_descriptors_gets_the_bytes_and_a_word_in_the_log)
{
    coil_stream *from;
    coil_stream *to;
    struct rlimit limit;
    struct rlimit tight;
    char message[256];
    char data[8];
    size_t count;
    int fd;

    log_keep(message, sizeof message);
    passing_pair(&from, &to);
    send_pipe(from, "x", "lost");
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);

    cr_assert_eq(coil_recv_fds(to, data, sizeof data, &fd, 1, &count), 1);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(count, 0);
    cr_assert(coil_stream_fds_lost(to));
    cr_assert_not_null(strstr(message, "descriptors"), "%s", message);
    close_both(from, to);
}

FIBER_TEST(unix_sockets, without_memory_wanting_fails_and_changes_nothing)
{
    coil_stream *from;
    coil_stream *to;

    stream_pair(&from, &to);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_stream_want_fds(to, 4), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_eq(coil_stream_want_fds(to, 4), 0);
    cr_assert_eq(coil_stream_want_fds(to, 4), 0, "again does nothing");
    close_both(from, to);
}

/* ---- Credentials ---- */

FIBER_TEST(unix_sockets, the_peer_is_who_the_kernel_says)
{
    coil_listener *listener;
    coil_stream *client;
    coil_stream *server;
    coil_credentials credentials;
    char address[COIL_ADDRESS_SIZE];

    (void)snprintf(address, sizeof address, "unix:@coil credentials %d", (int)getpid());
    cr_assert_eq(coil_listen(address, NULL, &listener), 0);
    cr_assert_eq(coil_connect(address, NULL, &client), 0);
    cr_assert_eq(coil_accept(listener, &server), 0);

    cr_assert_eq(coil_stream_credentials(server, &credentials), 0);
    cr_assert_eq(credentials.pid, getpid());
    cr_assert_eq(credentials.uid, getuid());
    cr_assert_eq(credentials.gid, getgid());
    close_both(client, server);
    coil_listener_close(listener);
}

/* ---- Datagrams ---- */

FIBER_TEST(unix_sockets, a_descriptor_travels_with_a_datagram)
{
    coil_udp *a;
    coil_udp *b;
    char data[8];
    const coil_datagram sent = {.data = (char[]){"fd"}, .size = 2};
    coil_datagram received = {.data = data, .size = sizeof data};
    const int fd = pipe_with("inside");
    int taken;

    unix_datagram_pair(&a, &b);
    cr_assert_eq(coil_udp_send_fds(a, &sent, &fd, 1), 0);
    (void)close(fd);
    send_text(a, "plain");

    cr_assert_eq(coil_udp_recv_fds(b, &received, &taken, 1), 1);
    cr_assert_eq(received.length, 2);
    cr_assert_not(received.has_lost_fds);
    expect_pipe(taken, "inside");
    cr_assert_eq(coil_udp_recv_fds(b, &received, &taken, 1), 0);
    cr_assert_eq(received.length, 5);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(unix_sockets, unwanted_descriptors_of_datagrams_are_closed)
{
    coil_udp *a;
    coil_udp *b;
    char data[8];
    const coil_datagram sent = {.data = (char[]){"fd"}, .size = 2};
    coil_datagram received = {.data = data, .size = sizeof data};
    int fds[2] = {pipe_with("a"), pipe_with("b")};
    int taken;

    unix_datagram_pair(&a, &b);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_udp_send_fds(a, &sent, fds, 2), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);

    cr_assert_eq(coil_udp_recv_fds(b, &received, &taken, 1), 1);
    cr_assert(received.has_lost_fds);
    expect_pipe(taken, "a");
    received.has_lost_fds = false;
    cr_assert_eq(coil_udp_recv_batch(b, &received, 1), 1);
    cr_assert(received.has_lost_fds);
    received.has_lost_fds = false;
    cr_assert_eq(coil_udp_recv_fds(b, &received, NULL, 0), 0);
    cr_assert(received.has_lost_fds);
    cr_assert_eq(coil_udp_send_fds(a, &sent, &(int){9999}, 1), -EBADF);
    cr_assert_eq(coil_udp_send_fds(a, &sent, NULL, 0), -EINVAL);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(unix_sockets, a_process_without_room_for_all_descriptors_of_a_datagram_is_told)
{
    coil_udp *a;
    coil_udp *b;
    char data[8];
    const coil_datagram sent = {.data = (char[]){"fd"}, .size = 2};
    coil_datagram received = {.data = data, .size = sizeof data};
    int fds[2] = {pipe_with("a"), pipe_with("b")};
    struct rlimit limit;
    struct rlimit tight;
    int taken[2];

    unix_datagram_pair(&a, &b);
    cr_assert_eq(coil_udp_send_fds(a, &sent, fds, 2), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)fds[0] + 1, .rlim_max = limit.rlim_max};
    (void)close(fds[0]);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);

    cr_assert_eq(coil_udp_recv_fds(b, &received, taken, 2), 1, "the lowest free number, and none");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert(received.has_lost_fds);
    cr_assert_eq(received.length, 2);
    expect_pipe(taken[0], "a");
    (void)close(fds[1]);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(unix_sockets, udp_carries_no_descriptors)
{
    coil_udp *udp = udp_at("127.0.0.1:0");
    coil_datagram item = {.size = 0};

    cr_assert_eq(coil_udp_send_fds(udp, &item, &(int){0}, 1), -EOPNOTSUPP);
    cr_assert_eq(coil_udp_recv_fds(udp, &item, NULL, 0), -EOPNOTSUPP);
    coil_udp_close(udp);
}

/* Linux 6.5; newer than the C library's headers. */
static bool ask_for_pidfds(int fd)
{
    const int yes = 1;

    return setsockopt(fd, SOL_SOCKET, 76, &yes, sizeof yes) == 0; /* SO_PASSPIDFD */
}

FIBER_TEST(unix_sockets, descriptors_that_the_kernel_adds_for_the_sender_are_closed)
{
    char byte;
    coil_datagram item = {.data = &byte, .size = 1};
    coil_stream *a;
    coil_stream *b;
    coil_udp *c;
    coil_udp *d;
    int fd;

    stream_pair(&a, &b);
    unix_datagram_pair(&c, &d);
    if (ask_for_pidfds(coil_stream_fd(b)) && ask_for_pidfds(coil_udp_fd(d))) {
        cr_assert_eq(coil_stream_want_fds(b, 4), 0);
        cr_assert_eq(coil_write(a, "x", 1), 0);
        cr_assert_eq(coil_flush(a), 0);
        cr_assert_eq(coil_read(b, &byte, 1), 1);
        cr_assert_eq(coil_take_fds(b, &fd, 1), 0);
        send_text(c, "y");
        cr_assert_eq(coil_udp_recv_fds(d, &item, &fd, 1), 0);
    }
    cr_assert_eq(coil_close(a) + coil_close(b), 0);
    coil_udp_close(c);
    coil_udp_close(d);
}
