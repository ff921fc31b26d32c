/* SPDX-License-Identifier: MIT */
/* Options and multicast groups of datagram sockets (coil/udp.h).
 *
 * An IPv6 socket carries IPv4 as well, so each option that exists in both is set for both there.
 * Groups are joined by the calls that are the same for both families.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/udp.h"

enum {
    TTL_MAX = 255,
};

static int set(int fd, int level, int name, const void *value, size_t size)
{
    return setsockopt(fd, level, name, value, (socklen_t)size) < 0 ? -errno : 0;
}

static int set_number(int fd, int level, int name, int value)
{
    return set(fd, level, name, &value, sizeof value);
}

/* The index of an interface by its name or number, or -ENODEV. */
static int interface_index(const char *interface)
{
    unsigned long index = if_nametoindex(interface);
    char *end;

    if (index == 0) {
        index = strtoul(interface, &end, 10);
        if (end == interface || *end || index > INT32_MAX)
            index = 0;
    }
    return index > 0 ? (int)index : -ENODEV;
}

/* ---- Options ---- */

/* One number for IPv4 and, on an IPv6 socket, its counterpart. */
static int set_both(int fd, int family, int ipv4_name, int ipv6_name, int value)
{
    int result = set_number(fd, IPPROTO_IP, ipv4_name, value);

    if (result == 0 && family == AF_INET6)
        result = set_number(fd, IPPROTO_IPV6, ipv6_name, value);
    return result;
}

static int set_multicast_interface(int fd, int family, const char *interface)
{
    const int index = interface_index(interface);
    const struct ip_mreqn ipv4 = {.imr_ifindex = index};
    int result;

    if (index < 0)
        return index;
    result = set(fd, IPPROTO_IP, IP_MULTICAST_IF, &ipv4, sizeof ipv4);
    if (result == 0 && family == AF_INET6)
        result = set_number(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, index);
    return result;
}

static int set_network_options(int fd, int family, const coil_udp_options *options)
{
    int result = 0;

    if (family == AF_INET6) /* a system without IPv4 has nothing to share */
        (void)set_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (options->ttl)
        result = set_both(fd, family, IP_TTL, IPV6_UNICAST_HOPS, options->ttl);
    if (result == 0 && options->multicast_ttl)
        result =
            set_both(fd, family, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, options->multicast_ttl);
    if (result == 0 && options->no_multicast_loop)
        result = set_both(fd, family, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, 0);
    if (result == 0 && options->multicast_interface)
        result = set_multicast_interface(fd, family, options->multicast_interface);
    return result;
}

static bool is_ttl(int ttl)
{
    return ttl >= 0 && ttl <= TTL_MAX;
}

int coil__udp_set_options(int fd, int family, const coil_udp_options *options)
{
    int result = 0;

    if (!is_ttl(options->ttl) || !is_ttl(options->multicast_ttl) || options->receive_buffer < 0 ||
        options->send_buffer < 0)
        return -EINVAL;
    if (options->reuse_port)
        result = set_number(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (result == 0 && options->broadcast)
        result = set_number(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (result == 0 && options->receive_buffer)
        result = set_number(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer);
    if (result == 0 && options->send_buffer)
        result = set_number(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer);
    if (result == 0 && family != AF_UNIX)
        result = set_network_options(fd, family, options);
    return result;
}

/* ---- Groups ---- */

static int read_group(const char *group, struct group_req *ret_request)
{
    struct sockaddr_in *ipv4 = (void *)&ret_request->gr_group;
    struct sockaddr_in6 *ipv6 = (void *)&ret_request->gr_group;

    *ret_request = (struct group_req){0};
    if (inet_pton(AF_INET, group, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        return IN_MULTICAST(ntohl(ipv4->sin_addr.s_addr)) ? 0 : -EINVAL;
    }
    if (inet_pton(AF_INET6, group, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        return IN6_IS_ADDR_MULTICAST(&ipv6->sin6_addr) ? 0 : -EINVAL;
    }
    return -EINVAL;
}

static int change_membership(const coil_udp *udp, const char *group, const char *interface,
                             int name)
{
    struct group_req request;
    int level = IPPROTO_IP;
    int result = read_group(group, &request);

    if (result < 0)
        return result;
    if (interface) {
        result = interface_index(interface);
        if (result < 0)
            return result;
        request.gr_interface = (uint32_t)result;
    }
    if (request.gr_group.ss_family == AF_INET6)
        level = IPPROTO_IPV6;
    if (udp->family != AF_INET6 && udp->family != request.gr_group.ss_family)
        return -EINVAL;
    return set(udp->fd, level, name, &request, sizeof request);
}

int coil_udp_join(coil_udp *udp, const char *group, const char *interface)
{
    return change_membership(udp, group, interface, MCAST_JOIN_GROUP);
}

int coil_udp_leave(coil_udp *udp, const char *group, const char *interface)
{
    return change_membership(udp, group, interface, MCAST_LEAVE_GROUP);
}
