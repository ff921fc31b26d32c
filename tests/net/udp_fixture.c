/* SPDX-License-Identifier: MIT */
/* Datagram sockets for tests (tests/net/udp_fixture.h). */
#include "net/udp_fixture.h"

#include <sys/socket.h>

coil_udp *udp_at(const char *address)
{
    coil_udp *udp;

    cr_assert_eq(coil_udp_open(address, NULL, &udp), 0, "%s", address);
    return udp;
}

coil_udp *udp_to(const coil_udp *udp)
{
    char address[COIL_ADDRESS_SIZE];
    coil_udp *client;

    cr_assert_gt(coil_udp_address(udp, address, sizeof address), 0);
    cr_assert_eq(coil_udp_connect(address, NULL, NULL, &client), 0, "%s", address);
    return client;
}

void udp_pair(coil_udp **ret_a, coil_udp **ret_b)
{
    char address[COIL_ADDRESS_SIZE];
    coil_address a;

    *ret_a = udp_at("127.0.0.1:0");
    a = address_of(*ret_a);
    *ret_b = udp_to(*ret_a);
    cr_assert_gt(coil_udp_address(*ret_b, address, sizeof address), 0);
    coil_udp_close(*ret_a);
    cr_assert_eq(coil_udp_connect(address, text_of(&a), NULL, ret_a), 0);
}

void unix_datagram_pair(coil_udp **ret_a, coil_udp **ret_b)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(coil_udp_adopt(fds[0], ret_a), 0);
    cr_assert_eq(coil_udp_adopt(fds[1], ret_b), 0);
}

coil_address address_of(const coil_udp *udp)
{
    char text[COIL_ADDRESS_SIZE];
    coil_address address;

    cr_assert_gt(coil_udp_address(udp, text, sizeof text), 0);
    cr_assert_eq(coil_address_parse(text, &address), 0, "%s", text);
    return address;
}

const char *text_of(const coil_address *address)
{
    static char text[COIL_ADDRESS_SIZE];

    cr_assert_gt(coil_address_format(address, text, sizeof text), 0);
    return text;
}

void send_text(coil_udp *udp, const char *text)
{
    cr_assert_eq(coil_udp_send(udp, text, strlen(text), NULL), 0);
}

void expect_text(coil_udp *udp, const char *text)
{
    char data[1024];
    const ssize_t length = coil_udp_recv(udp, data, sizeof data, NULL);

    cr_assert_eq(length, (ssize_t)strlen(text), "%zd for \"%s\"", length, text);
    cr_assert_eq(memcmp(data, text, strlen(text)), 0, "\"%.*s\" is not \"%s\"", (int)length, data,
                 text);
}

unsigned fill_peer(coil_udp *udp)
{
    unsigned count = 0;
    int result;

    do {
        result = coil_udp_try_send(udp, "x", 1, NULL);
        count += result == 0;
    } while (result == 0);
    cr_assert_eq(result, -EAGAIN);
    return count;
}

int receive_once(void *arg)
{
    struct receiver *receiver = arg;

    receiver->result =
        coil_udp_recv(receiver->udp, receiver->data, sizeof receiver->data - 1, NULL);
    if (receiver->order)
        receiver->place = ++*receiver->order;
    return 0;
}
