/* SPDX-License-Identifier: MIT */
/* Pools of connections: used again, replaced when the peer has spoken or left, dropped at once. */
#include <sys/socket.h>

#include "base/alloc.h"
#include "support/fiber_test.h"

struct peer {
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];
    coil_respool *pool;
};

static void setup(struct peer *peer)
{
    coil_respool_options options = COIL_CONNPOOL_OPTIONS_INIT;

    options.max = 2;
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &peer->listener), 0);
    cr_assert_gt(coil_listener_address(peer->listener, peer->address, sizeof peer->address), 0);
    cr_assert_eq(coil_respool_new(&options, &peer->pool), 0);
}

static void teardown(const struct peer *peer)
{
    coil_respool_free(peer->pool);
    coil_listener_close(peer->listener);
}

static coil_resource *get_connection(const struct peer *peer)
{
    coil_resource *connection = NULL;

    cr_assert_eq(coil_respool_get(peer->pool, peer->address, &connection), 0);
    return connection;
}

/* One exchange over `connection`; `other` is the peer's side. */
static void exchange(const coil_resource *connection, coil_stream *other)
{
    coil_stream *stream = coil_resource_value(connection);
    char line[8];

    cr_assert_eq(coil_write(stream, "ping\n", 5), 0);
    cr_assert_eq(coil_flush(stream), 0);
    cr_assert_eq(coil_read_line(other, line, sizeof line), 5);
    cr_assert_eq(coil_write(other, "pong\n", 5), 0);
    cr_assert_eq(coil_flush(other), 0);
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 5);
    cr_assert_str_eq(line, "pong\n");
}

FIBER_TEST(connpool, a_connection_is_used_again)
{
    struct peer peer;
    coil_resource *connection;
    coil_stream *other;

    setup(&peer);
    connection = get_connection(&peer);
    cr_assert_eq(coil_accept(peer.listener, &other), 0);
    exchange(connection, other);
    coil_respool_put(connection);
    connection = get_connection(&peer);
    cr_assert(coil_resource_is_reused(connection));
    exchange(connection, other);
    coil_respool_put(connection);

    cr_assert_eq(coil_close(other), 0);
    teardown(&peer);
}

FIBER_TEST(connpool, one_that_the_peer_closed_is_replaced)
{
    struct peer peer;
    coil_resource *connection;
    coil_stream *others[2];

    setup(&peer);
    connection = get_connection(&peer);
    cr_assert_eq(coil_accept(peer.listener, &others[0]), 0);
    exchange(connection, others[0]);
    coil_respool_put(connection);
    cr_assert_eq(coil_close(others[0]), 0);
    connection = get_connection(&peer);
    cr_assert_not(coil_resource_is_reused(connection));
    cr_assert_eq(coil_accept(peer.listener, &others[1]), 0);
    exchange(connection, others[1]);
    coil_respool_put(connection);

    cr_assert_eq(coil_close(others[1]), 0);
    teardown(&peer);
}

FIBER_TEST(connpool, one_on_which_the_peer_spoke_unasked_is_replaced)
{
    for (int has_read = 0; has_read < 2; has_read++) {
        struct peer peer;
        coil_resource *connection;
        coil_stream *other;

        setup(&peer);
        connection = get_connection(&peer);
        cr_assert_eq(coil_accept(peer.listener, &other), 0);
        if (has_read) /* and its receive is with the kernel */
            exchange(connection, other);
        coil_respool_put(connection);
        cr_assert_eq(coil_write(other, "surprise\n", 9), 0);
        cr_assert_eq(coil_flush(other), 0);
        connection = get_connection(&peer);

        cr_assert_not(coil_resource_is_reused(connection));
        coil_respool_put(connection);
        cr_assert_eq(coil_close(other), 0);
        teardown(&peer);
    }
}

FIBER_TEST(connpool, dropping_one_does_not_wait_for_a_peer_that_does_not_read)
{
    struct peer peer;
    coil_resource *connection;
    coil_stream *stream;
    coil_stream *other;
    static const char block[65536];

    setup(&peer);
    connection = get_connection(&peer);
    cr_assert_eq(coil_accept(peer.listener, &other), 0);
    stream = coil_resource_value(connection);
    while (send(coil_stream_fd(stream), block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    cr_assert_eq(coil_write(stream, "kept back\n", 10), 0);
    coil_respool_drop(connection);

    (void)coil_close(other);
    teardown(&peer);
}

FIBER_TEST(connpool, a_connect_that_fails_says_why)
{
    struct peer peer;
    coil_resource *connection = NULL;

    setup(&peer);
    coil_listener_close(peer.listener);
    cr_assert_eq(coil_respool_get(peer.pool, peer.address, &connection), -ECONNREFUSED);
    cr_assert_eq(coil_respool_get(peer.pool, "no address", &connection), -EINVAL);
    cr_assert_null(connection);
    coil_respool_free(peer.pool);
}

FIBER_TEST(connpool, when_any_allocation_of_a_get_fails_no_connection_and_no_place_is_lost)
{
    coil_resource *connection = NULL;
    struct peer peer;
    int result;
    int n = 0;

    setup(&peer); /* with two places: more failures than that would use them up */
    do {
        coil__alloc_fail_after(n++);
        result = coil_respool_get(peer.pool, peer.address, &connection);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM, "allocation %d: %d", n, result);
        cr_assert_lt(n, 100);
    } while (result < 0);
    cr_assert_gt(n, 3);
    coil_respool_drop(connection);
    teardown(&peer);
}
