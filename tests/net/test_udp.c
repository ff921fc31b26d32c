/* SPDX-License-Identifier: MIT */
/* coil_udp: a datagram arrives whole, says how long it was and who sent it. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/net_fixture.h"
#include "net/udp_fixture.h"

enum {
    LARGE = 60000,
};

/* ---- UDP ---- */

FIBER_TEST(udp, a_datagram_arrives_with_its_senders_address_and_can_be_answered)
{
    coil_udp *server = udp_at("127.0.0.1:0");
    coil_udp *client = udp_at("127.0.0.1:0");
    const coil_address server_address = address_of(server);
    const coil_address client_address = address_of(client);
    coil_address from;
    char data[16];

    cr_assert_eq(coil_udp_send(client, "ping", 4, &server_address), 0);
    cr_assert_eq(coil_udp_recv(server, data, sizeof data, &from), 4);
    cr_assert_eq(memcmp(data, "ping", 4), 0);
    cr_assert(coil_address_equal(&from, &client_address), "%s", text_of(&from));

    cr_assert_eq(coil_udp_send(server, "pong", 4, &from), 0);
    cr_assert_eq(coil_udp_recv(client, data, sizeof data, &from), 4);
    cr_assert_eq(memcmp(data, "pong", 4), 0);
    cr_assert(coil_address_equal(&from, &server_address), "%s", text_of(&from));
    coil_udp_close(client);
    coil_udp_close(server);
}

FIBER_TEST(udp, datagrams_stay_apart_and_in_order)
{
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    send_text(a, "one");
    send_text(a, "two");
    send_text(a, "three");

    expect_text(b, "one");
    expect_text(b, "two");
    expect_text(b, "three");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, port_0_is_replaced_by_the_one_that_the_kernel_chose)
{
    coil_udp *udp = udp_at("127.0.0.1:0");
    char text[COIL_ADDRESS_SIZE];
    char small[4];

    cr_assert_gt(coil_udp_address(udp, text, sizeof text), 0);
    cr_assert_eq(strncmp(text, "127.0.0.1:", 10), 0, "%s", text);
    cr_assert_str_neq(text, "127.0.0.1:0");
    cr_assert_eq(coil_udp_address(udp, small, sizeof small), -ENOBUFS);
    coil_udp_close(udp);
}

static void receive_cut(void (*make_pair)(coil_udp **, coil_udp **))
{
    coil_udp *a;
    coil_udp *b;
    char data[4] = "";

    make_pair(&a, &b);
    send_text(a, "abcdefgh");
    send_text(a, "next");

    cr_assert_eq(coil_udp_recv(b, data, 3, NULL), 8, "its full length");
    cr_assert_str_eq(data, "abc", "and what fits");
    expect_text(b, "next");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, a_datagram_longer_than_the_buffer_says_so_and_is_gone)
{
    receive_cut(udp_pair);
    receive_cut(unix_datagram_pair);
}

FIBER_TEST(udp, a_waiting_receiver_learns_the_full_length_too)
{
    coil_udp *a;
    coil_udp *b;
    struct receiver receiver;
    coil_fiber *fiber;
    char large[1000] = "x";

    udp_pair(&a, &b);
    receiver = (struct receiver){.udp = b};
    fiber = spawn_until_parked(receive_once, &receiver);
    cr_assert_eq(coil_udp_send(a, large, sizeof large, NULL), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, 1000);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, an_empty_datagram_is_a_datagram)
{
    coil_udp *a;
    coil_udp *b;
    struct receiver receiver;
    coil_fiber *fiber;
    char data[4];

    udp_pair(&a, &b);
    receiver = (struct receiver){.udp = b, .result = -1};
    fiber = spawn_until_parked(receive_once, &receiver);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_udp_send(a, "", 0, NULL), 0);
    send_text(a, "after");

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, 0);
    cr_assert_eq(coil_udp_recv(b, data, sizeof data, NULL), 0);
    cr_assert_eq(coil_udp_recv(b, data, sizeof data, NULL), 0);
    expect_text(b, "after");
    coil_udp_close(a);
    coil_udp_close(b);
}

static void exchange_large(coil_udp *a, coil_udp *b)
{
    static char sent[LARGE];
    static char received[LARGE + 1];

    pattern_fill(sent, LARGE, 7);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(coil_udp_send(a, sent, LARGE, NULL), 0);
        memset(received, 0, sizeof received);
        cr_assert_eq(coil_udp_recv(b, received, sizeof received, NULL), LARGE);
        cr_assert(pattern_matches(received, LARGE, 7));
    }
}

FIBER_TEST(udp, the_largest_datagrams_come_whole)
{
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    exchange_large(a, b);
    coil_udp_close(a);
    coil_udp_close(b);

    unix_datagram_pair(&a, &b);
    exchange_large(a, b);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, what_is_too_long_for_a_datagram_is_refused)
{
    static char large[70000];
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    cr_assert_eq(coil_udp_send(a, large, sizeof large, NULL), -EMSGSIZE);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, ipv6_works_as_ipv4_does)
{
    coil_udp *server;
    coil_udp *client;
    coil_address from;
    char data[8];

    if (coil_udp_open("[::1]:0", NULL, &server) < 0)
        cr_skip_test("no IPv6 here");
    client = udp_to(server);
    send_text(client, "six");

    cr_assert_eq(coil_udp_recv(server, data, sizeof data, &from), 3);
    cr_assert_eq(strncmp(text_of(&from), "[::1]:", 6), 0);
    cr_assert_eq(coil_udp_send(server, "xis", 3, &from), 0);
    expect_text(client, "xis");
    coil_udp_close(client);
    coil_udp_close(server);
}

FIBER_TEST(udp, a_socket_of_all_addresses_sees_ipv4_peers_as_ipv4)
{
    coil_udp *server = udp_at(":0");
    coil_address address = address_of(server);
    char text[COIL_ADDRESS_SIZE];
    coil_udp *client;
    coil_address from;
    char data[8];

    (void)snprintf(text, sizeof text, "127.0.0.1%s", strrchr(text_of(&address), ':'));
    cr_assert_eq(coil_udp_connect(text, NULL, NULL, &client), 0);
    send_text(client, "four");

    cr_assert_eq(coil_udp_recv(server, data, sizeof data, &from), 4);
    cr_assert_eq(from.storage.ss_family, AF_INET);
    address = address_of(client);
    cr_assert(coil_address_equal(&from, &address), "%s", text_of(&from));
    cr_assert_eq(coil_udp_send(server, "ruof", 4, &from), 0);
    expect_text(client, "ruof");
    coil_udp_close(client);
    coil_udp_close(server);
}

/* ---- Connected sockets ---- */

FIBER_TEST(udp, a_connected_socket_receives_from_its_peer_alone)
{
    coil_udp *a;
    coil_udp *b;
    coil_udp *stranger;

    udp_pair(&a, &b);
    stranger = udp_to(b);
    send_text(a, "peer");
    /* The stranger may be told that nobody is there for it: not delivered either way. */
    (void)coil_udp_send(stranger, "stranger", 8, NULL);
    send_text(a, "peer again");

    expect_text(b, "peer");
    expect_text(b, "peer again");
    coil_udp_close(stranger);
    coil_udp_close(a);
    coil_udp_close(b);
}

/* A socket whose peer has gone. */
static coil_udp *udp_to_nobody(void)
{
    coil_udp *peer = udp_at("127.0.0.1:0");
    coil_udp *udp = udp_to(peer);

    coil_udp_close(peer);
    return udp;
}

FIBER_TEST(udp, a_port_where_nobody_listens_is_an_error_of_the_next_receive_once)
{
    coil_udp *udp = udp_to_nobody();
    char data[4];

    send_text(udp, "anybody?");

    cr_assert_eq(coil_udp_recv(udp, data, sizeof data, NULL), -ECONNREFUSED);
    cr_assert_eq(coil_udp_try_recv(udp, data, sizeof data, NULL), -EAGAIN);
    coil_udp_close(udp);
}

FIBER_TEST(udp, a_port_where_nobody_listens_is_an_error_of_the_waiting_receive)
{
    coil_udp *udp = udp_to_nobody();
    struct receiver receiver = {.udp = udp};
    coil_fiber *fiber = spawn_until_parked(receive_once, &receiver);

    send_text(udp, "anybody?");

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, -ECONNREFUSED);
    coil_udp_close(udp);
}

FIBER_TEST(udp, a_port_where_nobody_listens_is_an_error_of_the_next_send_and_not_of_the_one_after)
{
    coil_udp *udp = udp_to_nobody();

    send_text(udp, "anybody?");

    cr_assert_eq(coil_udp_send(udp, "still not?", 10, NULL), -ECONNREFUSED);
    send_text(udp, "no");
    coil_udp_close(udp);
}

FIBER_TEST(udp, a_send_without_an_address_needs_a_peer)
{
    coil_udp *udp = udp_at("127.0.0.1:0");

    cr_assert_eq(coil_udp_send(udp, "x", 1, NULL), -EDESTADDRREQ);
    cr_assert_eq(coil_udp_try_send(udp, "x", 1, NULL), -EDESTADDRREQ);
    coil_udp_close(udp);
}

/* ---- Unix ---- */

FIBER_TEST(udp, unix_datagrams_carry_the_address_of_a_sender_that_has_one)
{
    char server_path[COIL_ADDRESS_SIZE];
    char client_path[COIL_ADDRESS_SIZE];
    coil_udp *server;
    coil_udp *client;
    coil_address from;
    char data[8];

    (void)snprintf(server_path, sizeof server_path, "unix:/tmp/coil-test-%d-a", (int)getpid());
    (void)snprintf(client_path, sizeof client_path, "unix:/tmp/coil-test-%d-b", (int)getpid());
    server = udp_at(server_path);
    cr_assert_eq(coil_udp_connect(server_path, client_path, NULL, &client), 0);
    send_text(client, "hello");

    cr_assert_eq(coil_udp_recv(server, data, sizeof data, &from), 5);
    cr_assert_str_eq(text_of(&from), client_path);
    cr_assert_eq(coil_udp_send(server, "olleh", 5, &from), 0);
    expect_text(client, "olleh");
    coil_udp_close(client);
    coil_udp_close(server);
    cr_assert_eq(access(server_path + 5, F_OK), -1, "the file goes with the socket");
    cr_assert_eq(access(client_path + 5, F_OK), -1);
}

/* As long as they can be: 107 bytes, and behind the abstract name's own NUL as many. */
FIBER_TEST(udp, a_unix_sender_may_have_the_longest_address)
{
    static const char *const beginnings[] = {"unix:/tmp/coil-test-", "unix:@coil test "};

    for (int i = 0; i < 2; i++) {
        char server_path[COIL_ADDRESS_SIZE];
        char client_path[COIL_ADDRESS_SIZE];
        coil_udp *server;
        coil_udp *client;
        coil_address from;
        char data[8];
        int length;

        (void)snprintf(server_path, sizeof server_path, "%s%d", beginnings[i], (int)getpid());
        length = snprintf(client_path, sizeof client_path, "%s%d-", beginnings[i], (int)getpid());
        memset(client_path + length, 'x', sizeof "unix:" + 106 - (size_t)length);
        client_path[sizeof "unix:" + 106] = '\0';
        server = udp_at(server_path);
        cr_assert_eq(coil_udp_connect(server_path, client_path, NULL, &client), 0);
        for (int j = 0; j < 2; j++) {
            send_text(client, "hello");
            cr_assert_eq(j ? coil_udp_try_recv(server, data, sizeof data, &from)
                           : coil_udp_recv(server, data, sizeof data, &from),
                         5);
            cr_assert_str_eq(text_of(&from), client_path);
            cr_assert_eq(coil_udp_send(server, "olleh", 5, &from), 0);
            expect_text(client, "olleh");
        }
        coil_udp_close(client);
        coil_udp_close(server);
    }
}

FIBER_TEST(udp, abstract_unix_datagrams_need_no_file)
{
    char path[COIL_ADDRESS_SIZE];
    coil_udp *server;
    coil_udp *client;
    coil_address from;
    char data[8];

    (void)snprintf(path, sizeof path, "unix:@coil udp %d", (int)getpid());
    server = udp_at(path);
    client = udp_to(server);
    send_text(client, "hello");

    cr_assert_eq(coil_udp_recv(server, data, sizeof data, &from), 5);
    cr_assert_eq(from.length, 0, "a sender without a name");
    coil_udp_close(client);
    coil_udp_close(server);
}

FIBER_TEST(udp, a_socket_file_that_nobody_holds_is_replaced_and_a_live_one_is_not)
{
    char path[COIL_ADDRESS_SIZE];
    coil_udp_options options = COIL_UDP_OPTIONS_INIT;
    coil_udp *first;
    coil_udp *second = NULL;

    (void)snprintf(path, sizeof path, "unix:/tmp/coil-test-%d-c", (int)getpid());
    options.keep_unix = true;
    cr_assert_eq(coil_udp_open(path, &options, &first), 0);
    cr_assert_eq(coil_udp_open(path, NULL, &second), -EADDRINUSE);
    cr_assert_null(second);
    coil_udp_close(first);
    cr_assert_eq(access(path + 5, F_OK), 0, "kept");

    second = udp_at(path);
    coil_udp_close(second);
    cr_assert_eq(access(path + 5, F_OK), -1);
}

FIBER_TEST(udp, a_unix_peer_that_is_not_there_is_an_error_of_connect)
{
    coil_udp *udp = NULL;

    cr_assert_eq(coil_udp_connect("unix:/tmp/coil-test-nobody", NULL, NULL, &udp), -ENOENT);
    cr_assert_eq(coil_udp_connect("unix:@coil nobody", NULL, NULL, &udp), -ECONNREFUSED);
    cr_assert_null(udp);
}

/* ---- Opening ---- */

FIBER_TEST(udp, what_is_no_address_is_refused_and_nothing_is_stored)
{
    coil_udp *udp = NULL;

    cr_assert_eq(coil_udp_open("nonsense", NULL, &udp), -EINVAL);
    cr_assert_eq(coil_udp_open("some.name:53", NULL, &udp), -EINVAL, "names are for peers");
    cr_assert_eq(coil_udp_connect("nonsense", NULL, NULL, &udp), -EINVAL);
    cr_assert_eq(coil_udp_connect("127.0.0.1:1", "nonsense", NULL, &udp), -EINVAL);
    cr_assert_eq(coil_udp_connect("127.0.0.1:1", "unix:@coil x", NULL, &udp), -EAFNOSUPPORT);
    cr_assert_eq(coil_udp_open("192.0.2.1:0", NULL, &udp), -EADDRNOTAVAIL);
    cr_assert_null(udp);
}

FIBER_TEST(udp, a_port_is_taken_once_unless_both_share_it)
{
    coil_udp_options options = COIL_UDP_OPTIONS_INIT;
    coil_udp *first = udp_at("127.0.0.1:0");
    coil_udp *second = NULL;
    char text[COIL_ADDRESS_SIZE];

    cr_assert_gt(coil_udp_address(first, text, sizeof text), 0);
    cr_assert_eq(coil_udp_open(text, NULL, &second), -EADDRINUSE);
    cr_assert_null(second);
    coil_udp_close(first);

    options.reuse_port = true;
    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &first), 0);
    cr_assert_gt(coil_udp_address(first, text, sizeof text), 0);
    cr_assert_eq(coil_udp_open(text, &options, &second), 0);
    coil_udp_close(first);
    coil_udp_close(second);
}

FIBER_TEST(udp, an_adopted_socket_is_made_blocking_and_anything_else_is_refused)
{
    coil_udp *udp = NULL;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(coil_udp_adopt(fds[0], &udp), 0);
    cr_assert_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(coil_udp_fd(udp), fds[0]);
    coil_udp_close(udp);
    (void)close(fds[1]);

    udp = NULL;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(coil_udp_adopt(fds[0], &udp), -EPROTOTYPE);
    cr_assert_eq(fcntl(fds[0], F_GETFD), -1, "owned also on failure");
    (void)close(fds[1]);
    cr_assert_eq(coil_udp_adopt(open("/dev/null", O_RDONLY | O_CLOEXEC), &udp), -ENOTSOCK);
    cr_assert_eq(coil_udp_adopt(-1, &udp), -EBADF);
    cr_assert_null(udp);
}

FIBER_TEST(udp, closing_nothing_is_harmless)
{
    coil_udp_close(NULL);
}

FIBER_TEST(udp, a_sender_without_a_name_has_no_address_whatever_was_there_before)
{
    char data[8];
    coil_datagram item = {.data = data, .size = sizeof data};
    coil_udp *a;
    coil_udp *b;

    unix_datagram_pair(&a, &b);
    cr_assert_eq(coil_address_parse("[::ffff:127.0.0.1]:53", &item.address), 0);
    send_text(a, "x");
    cr_assert_eq(coil_udp_recv_batch(b, &item, 1), 1);
    cr_assert_eq(item.address.length, 0);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp, a_receive_without_room_tells_the_length_alone)
{
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    for (int i = 0; i < 3; i++) {
        send_text(a, "four");
        cr_assert_eq(coil_udp_recv(b, NULL, 0, NULL), 4);
    }
    coil_udp_close(a);
    coil_udp_close(b);
}
