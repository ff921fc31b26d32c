/* SPDX-License-Identifier: MIT */
/* Options and multicast groups of datagram sockets, on the loopback interface. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/udp_fixture.h"

static int option_of(const coil_udp *udp, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;

    cr_assert_eq(getsockopt(coil_udp_fd(udp), level, name, &value, &size), 0);
    return value;
}

FIBER_TEST(udp_options, every_option_reaches_the_socket)
{
    coil_udp_options options = {
        .size = sizeof options,
        .broadcast = true,
        .receive_buffer = 100000,
        .send_buffer = 50000,
        .ttl = 7,
        .multicast_ttl = 3,
        .no_multicast_loop = true,
    };
    coil_udp *udp;

    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &udp), 0);

    cr_assert_eq(option_of(udp, SOL_SOCKET, SO_BROADCAST), 1);
    cr_assert_geq(option_of(udp, SOL_SOCKET, SO_RCVBUF), 100000);
    cr_assert_geq(option_of(udp, SOL_SOCKET, SO_SNDBUF), 50000);
    cr_assert_eq(option_of(udp, IPPROTO_IP, IP_TTL), 7);
    cr_assert_eq(option_of(udp, IPPROTO_IP, IP_MULTICAST_TTL), 3);
    cr_assert_eq(option_of(udp, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
    coil_udp_close(udp);
}

FIBER_TEST(udp_options, a_socket_of_both_families_has_them_for_both)
{
    coil_udp_options options = {
        .size = sizeof options, .ttl = 7, .multicast_ttl = 3, .no_multicast_loop = true};
    coil_udp *udp;

    if (coil_udp_open("[::]:0", &options, &udp) < 0)
        cr_skip_test("no IPv6 here");

    cr_assert_eq(option_of(udp, IPPROTO_IP, IP_TTL), 7);
    cr_assert_eq(option_of(udp, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 7);
    cr_assert_eq(option_of(udp, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 3);
    cr_assert_eq(option_of(udp, IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0);
    cr_assert_eq(option_of(udp, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    coil_udp_close(udp);
}

FIBER_TEST(udp_options, options_out_of_range_are_refused_and_nothing_stays_open)
{
    coil_udp_options options = COIL_UDP_OPTIONS_INIT;
    coil_udp *udp = NULL;

    options.ttl = 256;
    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &udp), -EINVAL);
    cr_assert_eq(coil_udp_connect("127.0.0.1:1", NULL, &options, &udp), -EINVAL);
    options = (coil_udp_options){.size = sizeof options, .receive_buffer = -1};
    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &udp), -EINVAL);
    options = (coil_udp_options){.size = sizeof options, .multicast_interface = "nosuch0"};
    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &udp), -ENODEV);
    options = (coil_udp_options){.size = 0};
    cr_assert_eq(coil_udp_open("127.0.0.1:0", &options, &udp), -EINVAL, "not initialised");
    cr_assert_null(udp);
}

FIBER_TEST(udp_options, a_broadcast_has_to_be_asked_for)
{
    coil_udp *udp = udp_at("127.0.0.1:0");
    coil_address address;

    cr_assert_eq(coil_address_parse("255.255.255.255:9", &address), 0);
    cr_assert_eq(coil_udp_send(udp, "x", 1, &address), -EACCES);
    coil_udp_close(udp);
}

/* ---- Groups ---- */

/* A socket on every address, and one that sends to `group` over loopback at that socket's port. */
static void open_group(const char *at, const char *group, coil_udp **ret_receiver,
                       coil_udp **ret_sender, coil_address *ret_group)
{
    coil_udp_options options = {.size = sizeof options, .multicast_interface = "lo"};
    char text[COIL_ADDRESS_SIZE];
    coil_address own;

    if (coil_udp_open(at, NULL, ret_receiver) < 0 || coil_udp_open(at, &options, ret_sender) < 0)
        cr_skip_test("this family is not to be had here");
    own = address_of(*ret_receiver);
    (void)snprintf(text, sizeof text, "%s%s", group, strrchr(text_of(&own), ':'));
    cr_assert_eq(coil_address_parse(text, ret_group), 0, "%s", text);
}

static void join_and_leave(const char *at, const char *group, const char *in_brackets)
{
    coil_udp *receiver;
    coil_udp *sender;
    coil_address to;
    bool is_routed;
    char data[8];

    open_group(at, in_brackets, &receiver, &sender, &to);
    cr_assert_eq(coil_udp_join(receiver, group, "lo"), 0);
    cr_assert_eq(coil_udp_join(receiver, group, "lo"), -EADDRINUSE, "joined twice");
    is_routed = coil_udp_send(sender, "all", 3, &to) == 0; /* IPv6: not on every loopback */
    cr_assert(is_routed || to.storage.ss_family == AF_INET6);
    if (is_routed)
        expect_text(receiver, "all");

    cr_assert_eq(coil_udp_leave(receiver, group, "1"), 0, "lo has number 1");
    cr_assert_eq(coil_udp_leave(receiver, group, "lo"), -EADDRNOTAVAIL);
    cr_assert(!is_routed || coil_udp_send(sender, "gone", 4, &to) == 0);
    cr_assert_eq(coil_udp_try_recv(receiver, data, sizeof data, NULL), -EAGAIN);
    coil_udp_close(sender);
    coil_udp_close(receiver);
}

FIBER_TEST(udp_options, a_group_of_ipv4_is_joined_and_left)
{
    join_and_leave("0.0.0.0:0", "239.1.2.3", "239.1.2.3");
}

FIBER_TEST(udp_options, a_group_of_ipv6_is_joined_and_left)
{
    join_and_leave("[::]:0", "ff11::1234", "[ff11::1234]");
}

FIBER_TEST(udp_options, what_is_no_group_is_refused)
{
    coil_udp *udp = udp_at("127.0.0.1:0");

    cr_assert_eq(coil_udp_join(udp, "127.0.0.1", "lo"), -EINVAL);
    cr_assert_eq(coil_udp_join(udp, "239.1.2.3:5", "lo"), -EINVAL);
    cr_assert_eq(coil_udp_join(udp, "nonsense", NULL), -EINVAL);
    cr_assert_eq(coil_udp_join(udp, "ff02::1", "lo"), -EINVAL, "of another family");
    cr_assert_eq(coil_udp_join(udp, "239.1.2.3", "nosuch0"), -ENODEV);
    cr_assert_eq(coil_udp_leave(udp, "239.1.2.3", "lo"), -EADDRNOTAVAIL);
    coil_udp_close(udp);
}
