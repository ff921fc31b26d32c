/* SPDX-License-Identifier: MIT */
/* Echo server on epoll, written by hand: what a careful C programmer writes without a library.
 *
 * One thread, level-triggered, non-blocking sockets. An event leads to one recv(2) into a buffer
 * that all connections share and one send(2) of what came: level-triggering saves the second
 * receive that edge-triggering needs to see EAGAIN. Replies normally fit the socket buffer; what
 * does not is copied into the connection's backlog, and until that has left the connection is
 * watched for output only, so a peer that does not read holds at most one buffer here.
 *
 * Invariant: a connection with a backlog is not read; backlogs are empty otherwise.
 */
#include "raw.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 512

struct backlog {
    char *data; /* NULL while nothing is left over */
    size_t len;
    size_t sent;
};

struct server {
    int epoll;
    int listener;
    struct backlog *backlogs; /* by descriptor */
    unsigned descriptors_max;
    char *buffer; /* shared by all connections */
    size_t buffer_size;
};

static void watch(struct server *server, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(server->epoll, operation, fd, &event) < 0)
        raw_die("epoll_ctl", errno);
}

static void drop(struct server *server, int fd)
{
    struct backlog *backlog = &server->backlogs[fd];

    free(backlog->data);
    *backlog = (struct backlog){0};
    close(fd);
}

static void accept_all(struct server *server)
{
    for (;;) {
        const int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        if ((unsigned)fd >= server->descriptors_max) {
            close(fd);
            return;
        }
        watch(server, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

static void keep_rest(struct server *server, int fd, const char *data, size_t len)
{
    struct backlog *backlog = &server->backlogs[fd];

    *backlog = (struct backlog){.data = malloc(len), .len = len};
    if (!backlog->data)
        raw_die("backlog", ENOMEM);
    memcpy(backlog->data, data, len);
    watch(server, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void echo(struct server *server, int fd)
{
    const ssize_t got = recv(fd, server->buffer, server->buffer_size, 0);

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(server, fd);
        return;
    }

    ssize_t sent = send(fd, server->buffer, (size_t)got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0 && errno != EAGAIN) {
        drop(server, fd);
        return;
    }
    if (sent < 0)
        sent = 0;
    keep_rest(server, fd, server->buffer + sent, (size_t)(got - sent));
}

static void send_rest(struct server *server, int fd)
{
    struct backlog *backlog = &server->backlogs[fd];
    const ssize_t sent =
        send(fd, backlog->data + backlog->sent, backlog->len - backlog->sent, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN)
            drop(server, fd);
        return;
    }
    backlog->sent += (size_t)sent;
    if (backlog->sent < backlog->len)
        return;
    free(backlog->data);
    *backlog = (struct backlog){0};
    watch(server, EPOLL_CTL_MOD, fd, EPOLLIN);
}

_Noreturn static void run(struct server *server)
{
    static struct epoll_event events[EVENTS_MAX];

    for (;;) {
        const int count = epoll_wait(server->epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;

            if (fd == server->listener)
                accept_all(server);
            else if (server->backlogs[fd].data)
                send_rest(server, fd);
            else
                echo(server, fd);
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: raw_epoll [--listen HOST:PORT] [--size BUFFER_BYTES]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"size", required_argument, NULL, 's'},
        {0},
    };
    const char *address = "127.0.0.1:0";
    struct server server = {.buffer_size = 16384};

    for (;;) {
        const int option = getopt_long(argc, argv, "", options, NULL);

        if (option == -1)
            break;
        if (option == 'l') {
            address = optarg;
        } else if (option == 's') {
            server.buffer_size = (size_t)raw_number("--size", optarg, 1, 1 << 24);
        } else {
            return usage();
        }
    }
    if (optind < argc)
        return usage();

    server.descriptors_max = raw_descriptors_max();
    server.backlogs = calloc(server.descriptors_max, sizeof *server.backlogs);
    server.buffer = malloc(server.buffer_size);
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!server.backlogs || !server.buffer || server.epoll < 0)
        raw_die("start", errno);
    server.listener = raw_listen(address, SOCK_NONBLOCK);
    watch(&server, EPOLL_CTL_ADD, server.listener, EPOLLIN);
    run(&server);
}
