/* SPDX-License-Identifier: MIT */
/* Connecting: the kernel's reasons reach the caller, and an interrupted connect leaves nothing. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/net_fixture.h"

TestSuite(connect, .timeout = 30);

struct connector {
    const char *address;
    coil_stream *stream;
};

static int connect_to(void *arg)
{
    struct connector *connector = arg;

    return coil_connect(connector->address, NULL, &connector->stream);
}

/* A listening socket that never accepts, with its backlog filled; its address as text. */
struct full {
    int listener;
    int fds[8];
    size_t count;
    char address[COIL_ADDRESS_SIZE];
};

static void full_open(struct full *full, const char *address)
{
    coil_address addr;

    *full = (struct full){.count = 0};
    cr_assert_eq(coil_address_parse(address, &addr), 0);
    full->listener = socket(addr.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(full->listener, coil__addr_sockaddr(&addr), addr.length), 0);
    cr_assert_eq(listen(full->listener, 0), 0);
    cr_assert_gt(coil__addr_format_local(full->listener, full->address, sizeof full->address), 0);
    cr_assert_eq(coil_address_parse(full->address, &addr), 0);
    while (full->count < 8) {
        const int fd =
            socket(addr.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        full->fds[full->count++] = fd;
        if (connect(fd, coil__addr_sockaddr(&addr), addr.length) < 0 && errno == EAGAIN)
            break; /* unix sockets say so */
    }
}

static void full_close(struct full *full)
{
    while (full->count > 0)
        cr_assert_eq(close(full->fds[--full->count]), 0);
    cr_assert_eq(close(full->listener), 0);
}

static void unix_address(char text[COIL_ADDRESS_SIZE])
{
    (void)snprintf(text, COIL_ADDRESS_SIZE, "unix:@coil connect %d", (int)getpid());
}

FIBER_TEST(connect, failures_tell_why)
{
    coil_stream *stream = NULL;
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_connect("nonsense", NULL, &stream), -EINVAL);
    cr_assert_eq(coil_connect("127.0.0.1:99999", NULL, &stream), -EINVAL);
    cr_assert_eq(coil_connect("unix:/nonexistent/socket", NULL, &stream), -ENOENT);
    cr_assert_eq(coil_connect("unix:@nobody listens here", NULL, &stream), -ECONNREFUSED);

    /* A port that was free a moment ago. */
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    coil_listener_close(listener);
    cr_assert_eq(coil_connect(address, NULL, &stream), -ECONNREFUSED);
    cr_assert_null(stream, "untouched on failure");
}

FIBER_TEST(connect, every_family_connects)
{
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0", NULL};

    for (int i = 0; i < 3; i++) {
        coil_listener *listener;
        coil_stream *client;
        coil_stream *server;
        char address[COIL_ADDRESS_SIZE];
        char text[COIL_ADDRESS_SIZE];

        unix_address(address);
        cr_assert_eq(coil_listen(addresses[i] ? addresses[i] : address, NULL, &listener), 0);
        cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
        cr_assert_eq(coil_connect(address, NULL, &client), 0);
        cr_assert_eq(coil_accept(listener, &server), 0);
        cr_assert_gt(coil_stream_peer(client, text, sizeof text), 0);
        cr_assert_str_eq(text, address);
        cr_assert_eq(coil_write(client, "ping\n", 5), 0);
        cr_assert_eq(coil_flush(client), 0);
        cr_assert_eq(coil_read_line(server, text, sizeof text), 5);
        cr_assert_eq(coil_close(client), 0);
        cr_assert_eq(coil_close(server), 0);
        coil_listener_close(listener);
    }
}

FIBER_TEST(connect, the_local_address_can_be_chosen)
{
    coil_listener *listener;
    coil_stream *stream = NULL;
    char address[COIL_ADDRESS_SIZE];
    char text[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    cr_assert_eq(coil_connect(address, "bad", &stream), -EINVAL);
    cr_assert_eq(coil_connect(address, "192.0.2.1:0", &stream), -EADDRNOTAVAIL);
    cr_assert_eq(coil_connect(address, address, &stream), -EADDRINUSE);
    cr_assert_null(stream);
    cr_assert_eq(coil_connect(address, "127.0.0.2:0", &stream), 0);
    cr_assert_gt(coil_stream_local(stream, text, sizeof text), 0);
    cr_assert_eq(strncmp(text, "127.0.0.2:", 10), 0, "%s", text);
    cr_assert_eq(coil_close(stream), 0);
    coil_listener_close(listener);
}

FIBER_TEST(connect, a_deadline_ends_a_connect_that_nobody_answers)
{
    char address[COIL_ADDRESS_SIZE];
    const char *const addresses[] = {"127.0.0.1:0", address};

    unix_address(address);
    for (int i = 0; i < 2; i++) {
        struct full full;
        coil_stream *stream = NULL;
        coil_scope scope;

        full_open(&full, addresses[i]);
        coil_scope_enter(&scope, COIL_MS(30));
        cr_assert_eq(coil_connect(full.address, NULL, &stream), -ETIMEDOUT, "%s", full.address);
        cr_assert(coil_scope_leave(&scope));
        cr_assert_null(stream);
        full_close(&full);
    }
}

FIBER_TEST(connect, cancelling_ends_a_connect_that_nobody_answers)
{
    char address[COIL_ADDRESS_SIZE];
    const char *const addresses[] = {"127.0.0.1:0", address};

    unix_address(address);
    for (int i = 0; i < 2; i++) {
        struct full full;
        struct connector connector;
        coil_fiber *fiber;

        full_open(&full, addresses[i]);
        connector = (struct connector){.address = full.address};
        fiber = spawn_until_parked(connect_to, &connector);
        coil_cancel(fiber);
        cr_assert_eq(join_and_drop(fiber), -ECANCELED);
        full_close(&full);
    }
}

FIBER_TEST(connect, an_expired_scope_connects_nowhere)
{
    coil_stream *stream = NULL;
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_connect("127.0.0.1:1", NULL, &stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_null(stream);
}

FIBER_TEST(connect, a_connection_that_raced_with_the_cancellation_is_whole_or_not_there)
{
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    for (int i = 0; i < 40; i++) {
        struct connector connector = {.address = address};
        coil_fiber *fiber = spawn_until_parked(connect_to, &connector);
        int result;

        if (i % 2)
            cr_assert_eq(coil_sleep(0), 0);
        coil_cancel(fiber);
        result = join_and_drop(fiber);
        if (result == 0)
            cr_assert_eq(coil_close(connector.stream), 0);
        else
            cr_assert_eq(result, -ECANCELED);
    }
    coil_listener_close(listener);
}
