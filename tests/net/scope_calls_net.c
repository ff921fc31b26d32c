/* SPDX-License-Identifier: MIT */
/* The parking calls of io and net for the checks of scopes (tests/core/scope_checks.h). */
#include "core/scope_checks.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/net_fixture.h"

static struct {
    coil_listener *silent_listener;
    coil_listener *busy_listener;
    char busy_address[COIL_ADDRESS_SIZE];
    char full_address[COIL_ADDRESS_SIZE]; /* its queue has no room, and nobody accepts */
    int full_fds[2];
    coil_stream *silent; /* nobody writes to it, and nobody reads what it has sent */
    coil_stream *talking;
    coil_stream *pipe_reader;
    coil_stream *pipe_writer;
    coil_udp *deaf; /* nobody reads what it sends */
    coil_udp *deaf_peer;
    coil_udp *chatting;
    coil_udp *chatting_peer;
    coil_process *endless;
    coil_process *ended;
    coil_signal *never;
    coil_signal *often; /* one has always come */
    sem_t gate;         /* threads wait here */
    atomic_int in_threads;
    int silent_fd;
    int talking_fd;
    int pipe_fds[2];
} fixture;

/* ---- Streams ---- */

static int wait_accept(void)
{
    coil_stream *stream;

    return coil_accept(fixture.silent_listener, &stream);
}

static int succeed_accept(void)
{
    coil_stream *stream;
    const int fd = dial(fixture.busy_address);
    const int result = coil_accept(fixture.busy_listener, &stream);

    cr_assert_eq(close(fd), 0);
    if (result == 0)
        cr_assert_eq(coil_close(stream), 0);
    return result;
}

static int wait_connect(void)
{
    coil_stream *stream;

    return coil_connect(fixture.full_address, NULL, &stream);
}

static int succeed_connect(void)
{
    coil_stream *stream;
    const int result = coil_connect(fixture.busy_address, NULL, &stream);

    if (result == 0)
        cr_assert_eq(coil_close(stream), 0);
    return result;
}

static int wait_line(void)
{
    char line[8];

    return (int)coil_read_line(fixture.silent, line, sizeof line);
}

static int succeed_line(void)
{
    char line[8];
    const int result = (int)coil_read_line(fixture.talking, line, sizeof line);

    if (result > 0)
        write_text(fixture.talking_fd, "line\n");
    return result;
}

static int wait_stream_peek(void)
{
    const char *data;

    return (int)coil_peek(fixture.silent, 1, &data);
}

static int succeed_stream_peek(void)
{
    const char *data;

    return (int)coil_peek(fixture.talking, 5, &data);
}

static int wait_flush(void)
{
    return coil_flush(fixture.silent);
}

static int succeed_flush(void)
{
    return coil_flush(fixture.talking);
}

static int wait_pipe(void)
{
    char byte;

    return (int)coil_read(fixture.pipe_reader, &byte, 1);
}

static int succeed_pipe(void)
{
    return coil_flush(fixture.pipe_writer);
}

/* ---- Datagrams ---- */

static int wait_udp_recv(void)
{
    char byte;

    return (int)coil_udp_recv(fixture.deaf, &byte, 1, NULL);
}

static int succeed_udp_recv(void)
{
    char byte;
    const int result = (int)coil_udp_recv(fixture.chatting, &byte, 1, NULL);

    if (result == 1)
        cr_assert_eq(coil_udp_try_send(fixture.chatting_peer, "x", 1, NULL), 0);
    return result;
}

static int wait_udp_batch(void)
{
    char byte;
    coil_datagram item = {.data = &byte, .size = 1};

    return (int)coil_udp_recv_batch(fixture.deaf, &item, 1);
}

static int succeed_udp_batch(void)
{
    char byte;
    coil_datagram item = {.data = &byte, .size = 1};
    const int result = (int)coil_udp_recv_batch(fixture.chatting, &item, 1);

    if (result == 1)
        cr_assert_eq(coil_udp_try_send(fixture.chatting_peer, "x", 1, NULL), 0);
    return result;
}

static int wait_udp_send(void)
{
    return coil_udp_send(fixture.deaf, "x", 1, NULL);
}

static int succeed_udp_send(void)
{
    char byte;
    const int result = coil_udp_send(fixture.chatting, "x", 1, NULL);

    if (result == 0)
        cr_assert_eq(coil_udp_try_recv(fixture.chatting_peer, &byte, 1, NULL), 1);
    return result;
}

/* ---- Files, threads, processes ---- */

static int wait_file_read(void)
{
    char byte;

    return (int)coil_file_read(fixture.pipe_fds[0], &byte, 1, COIL_FILE_POSITION);
}

static int succeed_file_write(void)
{
    char byte;
    const int result = (int)coil_file_write(fixture.pipe_fds[1], "x", 1, COIL_FILE_POSITION);

    if (result == 1)
        cr_assert_eq(read(fixture.pipe_fds[0], &byte, 1), 1);
    return result;
}

static int pass_the_gate(void *arg)
{
    (void)arg;
    while (sem_wait(&fixture.gate) < 0)
        continue;
    return 0;
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void count_down(void *arg)
{
    (void)arg;
    atomic_fetch_sub(&fixture.in_threads, 1);
}

static int offload(int (*fn)(void *))
{
    int result;

    atomic_fetch_add(&fixture.in_threads, 1);
    result = coil_offload(fn, &fixture, count_down, NULL);
    if (result == 0)
        count_down(NULL);
    return result;
}

static int wait_offload(void)
{
    return offload(pass_the_gate);
}

static int succeed_offload(void)
{
    return offload(do_nothing);
}

static int wait_process(void)
{
    return coil_process_wait(fixture.endless, NULL);
}

static int succeed_process(void)
{
    return coil_process_wait(fixture.ended, NULL);
}

/* ---- Foreign descriptors, signals ---- */

static int wait_poll_fd(void)
{
    return coil_poll_fd(fixture.pipe_fds[0], POLLIN);
}

static int succeed_poll_fd(void)
{
    return coil_poll_fd(fixture.pipe_fds[1], POLLOUT);
}

static int wait_poll(void)
{
    struct pollfd asked[] = {{.fd = fixture.pipe_fds[0], .events = POLLIN}, {.fd = -1}};

    return coil_poll(asked, 2);
}

static int succeed_poll(void)
{
    struct pollfd asked[] = {{.fd = fixture.pipe_fds[0], .events = POLLIN},
                             {.fd = fixture.pipe_fds[1], .events = POLLOUT}};

    return coil_poll(asked, 2);
}

static int wait_signal(void)
{
    return coil_signal_wait(fixture.never, NULL);
}

static int succeed_signal(void)
{
    int number = 0;
    const int result = coil_signal_wait(fixture.often, &number);

    if (result == 0)
        cr_assert_eq(raise(number), 0);
    return result;
}

static int wait_fds(void)
{
    char byte;
    int fd;
    size_t count;

    return (int)coil_recv_fds(fixture.silent, &byte, 1, &fd, 1, &count);
}

static const struct parking_call calls[] = {
    {"accept", wait_accept, succeed_accept},
    {"connect", wait_connect, succeed_connect},
    {"read line", wait_line, succeed_line},
    {"peek", wait_stream_peek, succeed_stream_peek},
    {"flush", wait_flush, succeed_flush},
    {"pipe", wait_pipe, succeed_pipe},
    {"datagram, receive", wait_udp_recv, succeed_udp_recv},
    {"datagrams, receive", wait_udp_batch, succeed_udp_batch},
    {"datagram, send", wait_udp_send, succeed_udp_send},
    {"file", wait_file_read, succeed_file_write},
    {"offload", wait_offload, succeed_offload},
    {"process", wait_process, succeed_process},
    {"poll, one", wait_poll_fd, succeed_poll_fd},
    {"poll", wait_poll, succeed_poll},
    {"signal", wait_signal, succeed_signal},
    {"receive descriptors", wait_fds, succeed_line},
};

/* ---- The fixture ---- */

static void open_streams(void)
{
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &fixture.silent_listener), 0);
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &fixture.busy_listener), 0);
    cr_assert_gt(coil_listener_address(fixture.busy_listener, fixture.busy_address,
                                       sizeof fixture.busy_address),
                 0);
    stream_and_fd(&fixture.silent, &fixture.silent_fd);
    stream_and_fd(&fixture.talking, &fixture.talking_fd);
    (void)fill_fd(coil_stream_fd(fixture.silent));
    cr_assert_eq(coil_write(fixture.silent, "x", 1), 0);
    write_text(fixture.talking_fd, "line\n");
    cr_assert_eq(coil_pipe(&fixture.pipe_reader, &fixture.pipe_writer), 0);
    cr_assert_eq(pipe2(fixture.pipe_fds, O_CLOEXEC), 0);
}

/* A unix socket whose queue of one is taken makes who connects wait. */
static void open_full_listener(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const int length = snprintf(fixture.full_address, sizeof fixture.full_address,
                                "unix:@coil scope %d", (int)getpid());
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length - 5);

    memcpy(name.sun_path + 1, fixture.full_address + 6, (size_t)length - 6);
    for (int i = 0; i < 2; i++)
        fixture.full_fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fixture.full_fds[0], (struct sockaddr *)&name, size), 0);
    cr_assert_eq(listen(fixture.full_fds[0], 0), 0);
    cr_assert_eq(connect(fixture.full_fds[1], (struct sockaddr *)&name, size), 0);
}

static void open_pair(coil_udp **ret_a, coil_udp **ret_b)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(coil_udp_adopt(fds[0], ret_a), 0);
    cr_assert_eq(coil_udp_adopt(fds[1], ret_b), 0);
}

static void open_datagrams(void)
{
    open_pair(&fixture.deaf, &fixture.deaf_peer);
    open_pair(&fixture.chatting, &fixture.chatting_peer);
    while (coil_udp_try_send(fixture.deaf, "x", 1, NULL) == 0)
        continue;
    cr_assert_eq(coil_udp_try_send(fixture.chatting_peer, "x", 1, NULL), 0);
}

static void open_processes(void)
{
    static const char *const endless[] = {"cat", NULL}; /* ends with this program at the latest */
    static const char *const ended[] = {"true", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.in = COIL_PROCESS_PIPE;
    cr_assert_eq(coil_process_spawn(endless, &options, &fixture.endless), 0);
    cr_assert_eq(coil_process_spawn(ended, NULL, &fixture.ended), 0);
    cr_assert_eq(coil_process_wait(fixture.ended, NULL), 0);
}

static coil_signal *open_signal(int number)
{
    coil_signal *signal;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, number);
    cr_assert_eq(coil_signal_open(&set, &signal), 0);
    return signal;
}

void parking_calls_open(void)
{
    open_full_listener();
    fixture.never = open_signal(SIGUSR2);
    fixture.often = open_signal(SIGUSR1);
    cr_assert_eq(raise(SIGUSR1), 0);
    open_streams();
    open_datagrams();
    open_processes();
    cr_assert_eq(sem_init(&fixture.gate, 0, 0), 0);
    parking_calls_add(calls, sizeof calls / sizeof calls[0]);
}

static void close_streams(void)
{
    char line[8];
    coil_scope scope;

    cr_assert_eq(coil_read_line(fixture.talking, line, sizeof line), 5, "it is always there");
    coil_listener_close(fixture.silent_listener);
    coil_listener_close(fixture.busy_listener);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_close(fixture.silent), -ETIMEDOUT, "what nobody reads is dropped");
    (void)coil_scope_leave(&scope);
    cr_assert_eq(coil_close(fixture.talking), 0);
    cr_assert_eq(coil_close(fixture.pipe_reader), 0);
    cr_assert_eq(coil_close(fixture.pipe_writer), 0);
    cr_assert_eq(close(fixture.silent_fd), 0);
    cr_assert_eq(close(fixture.talking_fd), 0);
    cr_assert_eq(close(fixture.pipe_fds[0]), 0);
    cr_assert_eq(close(fixture.pipe_fds[1]), 0);
    cr_assert_eq(close(fixture.full_fds[0]), 0);
    cr_assert_eq(close(fixture.full_fds[1]), 0);
}

void parking_calls_close(void)
{
    int number = 0;

    cr_assert_eq(coil_signal_wait(fixture.often, &number), 0);
    cr_assert_eq(number, SIGUSR1);
    coil_signal_close(fixture.never);
    coil_signal_close(fixture.often);
    close_streams();
    coil_udp_close(fixture.deaf);
    coil_udp_close(fixture.deaf_peer);
    coil_udp_close(fixture.chatting);
    coil_udp_close(fixture.chatting_peer);
    coil_process_free(fixture.endless);
    coil_process_free(fixture.ended);
    while (atomic_load(&fixture.in_threads) > 0) {
        cr_assert_eq(sem_post(&fixture.gate), 0);
        coil_yield();
    }
    cr_assert_eq(sem_destroy(&fixture.gate), 0);
}
