/* SPDX-License-Identifier: MIT */
/* Raw peers, blocking threads and the pattern (tests/net/net_fixture.h). */
#include "net/net_fixture.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/addr.h"

enum {
    SMALL_BUFFER = 4096,
    PEER_STEP = 8192,
};

void write_fd(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        const ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

        cr_assert_gt(n, 0, "send: %s", strerror(errno));
        at += n;
        size -= (size_t)n;
    }
}

void write_text(int fd, const char *text)
{
    write_fd(fd, text, strlen(text));
}

size_t read_fd(int fd, void *buffer, size_t size)
{
    size_t length = 0;

    while (length < size) {
        const ssize_t n = recv(fd, (char *)buffer + length, size - length, 0);

        if (n <= 0)
            break;
        length += (size_t)n;
    }
    return length;
}

size_t read_now(int fd, void *buffer, size_t size)
{
    const ssize_t n = recv(fd, buffer, size, MSG_DONTWAIT);

    return n > 0 ? (size_t)n : 0;
}

size_t fill_fd(int fd)
{
    static const char bytes[1024];
    size_t length = 0;
    ssize_t n;

    while ((n = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
        length += (size_t)n;
    return length;
}

void shrink_buffers(int fd)
{
    const int size = SMALL_BUFFER;

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
}

void reset_fd(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    cr_assert_eq(close(fd), 0);
}

void await_fd(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};

    cr_assert_eq(poll(&entry, 1, 30000), 1, "nothing happened on the descriptor");
}

int dial(const char *address)
{
    coil_address addr;
    int fd;

    cr_assert_eq(coil_address_parse(address, &addr), 0);
    fd = socket(addr.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, coil__addr_sockaddr(&addr), addr.length), 0, "connect to %s: %s",
                 address, strerror(errno));
    return fd;
}

void tcp_and_fd(coil_stream **ret_stream, int *ret_fd)
{
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    *ret_fd = dial(address);
    cr_assert_eq(coil_accept(listener, ret_stream), 0);
    coil_listener_close(listener);
}

/* ---- Waiting for a stream ---- */

void until_received(const coil_stream *stream, size_t length)
{
    while (stream->input.length < length && stream->input.status == COIL__INPUT_OPEN)
        coil_yield();
}

void until_sent(const coil_stream *stream)
{
    while (stream->output.flight)
        coil_yield();
}

/* ---- Pattern ---- */

/* No period that a lost or doubled buffer of a power of two could hide behind. */
static unsigned char pattern_at(uint64_t offset)
{
    return (unsigned char)(offset * 131 + offset / 251 * 17 + offset / 65521);
}

void pattern_fill(void *data, size_t size, uint64_t offset)
{
    unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern_at(offset + i);
}

bool pattern_matches(const void *data, size_t size, uint64_t offset)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != pattern_at(offset + i))
            return false;
    return true;
}

/* ---- Threads ---- */

static void *peer_main(void *arg)
{
    struct peer *peer = arg;

    peer->run(peer);
    atomic_store(&peer->is_done, true);
    return NULL;
}

void peer_start(struct peer *peer, void (*run)(struct peer *peer), int fd, size_t size)
{
    *peer = (struct peer){.run = run, .fd = fd, .size = size, .is_intact = true};
    cr_assert_eq(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

void peer_join(struct peer *peer)
{
    while (!atomic_load(&peer->is_done))
        coil_yield();
    cr_assert_eq(pthread_join(peer->thread, NULL), 0);
}

void peer_send(struct peer *peer)
{
    char bytes[PEER_STEP];

    while (peer->count < peer->size) {
        const uint64_t left = peer->size - peer->count;
        const size_t step = left < sizeof bytes ? (size_t)left : sizeof bytes;
        ssize_t n;

        pattern_fill(bytes, step, peer->count);
        n = send(peer->fd, bytes, step, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        peer->count += (uint64_t)n;
    }
}

void peer_receive(struct peer *peer)
{
    char bytes[PEER_STEP];

    while (peer->count < peer->size) {
        const ssize_t n = recv(peer->fd, bytes, sizeof bytes, 0);

        if (n <= 0)
            return;
        peer->is_intact = peer->is_intact && pattern_matches(bytes, (size_t)n, peer->count);
        peer->count += (uint64_t)n;
    }
}

/* ---- The log ---- */

static struct {
    char *text;
    size_t size;
} kept;

static void keep(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)arg;
    (void)snprintf(kept.text, kept.size, "%s", message);
}

void log_keep(char *text, size_t size)
{
    kept.text = text;
    kept.size = size;
    text[0] = '\0';
    coil_log_set(keep, NULL);
}
