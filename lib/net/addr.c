/* SPDX-License-Identifier: MIT */
/* Addresses as text (net/addr.h). */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

COIL_STATIC_ASSERT(sizeof(coil_address) == 136, "a promise of the header");

static const char unix_prefix[] = "unix:";

static struct sockaddr_un *as_unix(coil_address *addr)
{
    return (struct sockaddr_un *)(void *)&addr->storage;
}

static struct sockaddr_in *as_ipv4(coil_address *addr)
{
    return (struct sockaddr_in *)(void *)&addr->storage;
}

static struct sockaddr_in6 *as_ipv6(coil_address *addr)
{
    return (struct sockaddr_in6 *)(void *)&addr->storage;
}

/* ---- Reading ---- */

static int parse_unix(const char *path, coil_address *ret_addr)
{
    struct sockaddr_un *address = as_unix(ret_addr);
    const size_t length = strlen(path);

    if (length == 0 || (path[0] == '@' && length == 1))
        return -EINVAL;
    if (length >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    *ret_addr = (coil_address){.length = 0};
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    ret_addr->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    if (path[0] == '@') {
        address->sun_path[0] = '\0'; /* abstract: no file, and the length tells where it ends */
        ret_addr->length--;
    }
    return 0;
}

static int parse_port(const char *text, unsigned *ret_port)
{
    unsigned port = 0;
    const char *at;

    for (at = text; *at >= '0' && *at <= '9'; at++) {
        port = port * 10 + (unsigned)(*at - '0');
        if (port > 65535)
            return -EINVAL;
    }
    if (at == text || *at)
        return -EINVAL;
    *ret_port = port;
    return 0;
}

/* A name that a resolver could know: letters, digits, dots, hyphens, underscores. */
static bool is_host_name(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    const size_t length = strlen(host);

    return length > 0 && strspn(host, allowed) == length && host[0] != '-' && host[0] != '.';
}

int coil__addr_split(const char *text, char *ret_host, unsigned *ret_port)
{
    const char *host = text;
    const char *colon = strrchr(text, ':');
    size_t length;

    if (!colon || parse_port(colon + 1, ret_port) < 0)
        return -EINVAL;
    length = (size_t)(colon - text);
    if (host[0] == '[') {
        if (length < 3 || colon[-1] != ']')
            return -EINVAL;
        host++;
        length -= 2;
        if (!memchr(host, ':', length))
            return -EINVAL;
    } else if (memchr(host, ':', length)) {
        return -EINVAL; /* IPv6 without brackets: where would the port begin? */
    }
    if (length >= COIL__HOST_SIZE)
        return -EINVAL;
    memcpy(ret_host, host, length);
    ret_host[length] = '\0';
    return 0;
}

/* "fe80::1%eth0": the zone is an interface's name or number. */
static int parse_ipv6(char *host, unsigned port, coil_address *ret_addr)
{
    struct sockaddr_in6 *address = as_ipv6(ret_addr);
    char *zone = strchr(host, '%');

    *ret_addr = (coil_address){.length = sizeof *address};
    if (zone) {
        *zone++ = '\0';
        address->sin6_scope_id = if_nametoindex(zone);
        if (address->sin6_scope_id == 0 && parse_port(zone, &address->sin6_scope_id) < 0)
            return -EINVAL;
    }
    address->sin6_family = AF_INET6;
    address->sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, host, &address->sin6_addr) == 1 ? 0 : -EINVAL;
}

static int parse_ipv4(const char *host, unsigned port, coil_address *ret_addr)
{
    struct sockaddr_in *address = as_ipv4(ret_addr);

    *ret_addr = (coil_address){.length = sizeof *address};
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &address->sin_addr) == 1 ? 0 : -EINVAL;
}

int coil_address_parse(const char *text, coil_address *ret_address)
{
    coil_address addr;
    char host[COIL__HOST_SIZE];
    unsigned port;
    int result;

    if (strncmp(text, unix_prefix, strlen(unix_prefix)) == 0) {
        result = parse_unix(text + strlen(unix_prefix), &addr);
    } else {
        result = coil__addr_split(text, host, &port);
        if (result < 0)
            return result;
        if (host[0] == '\0')
            result = parse_ipv6((char[]){"::"}, port, &addr);
        else if (strchr(host, ':'))
            result = parse_ipv6(host, port, &addr);
        else
            result = parse_ipv4(host, port, &addr);
        if (result < 0 && is_host_name(host))
            /* Digits and dots alone are a mistyped address, not a name. */
            result = strspn(host, "0123456789.") == strlen(host) ? -EINVAL : -EDESTADDRREQ;
    }
    if (result == 0)
        *ret_address = addr;
    return result;
}

/* ---- Writing ---- */

const char *coil__addr_unix_path(const coil_address *addr)
{
    const struct sockaddr_un *address = (const void *)&addr->storage;

    if (address->sun_family != AF_UNIX || addr->length <= offsetof(struct sockaddr_un, sun_path))
        return NULL;
    return address->sun_path[0] ? address->sun_path : NULL;
}

static int format_unix(const coil_address *addr, char *ret_text, size_t size)
{
    const struct sockaddr_un *address = (const void *)&addr->storage;
    const size_t offset = offsetof(struct sockaddr_un, sun_path);
    const int length = addr->length > offset ? (int)(addr->length - offset) : 0;

    if (length > 0 && address->sun_path[0] == '\0')
        return snprintf(ret_text, size, "unix:@%.*s", length - 1, address->sun_path + 1);
    return snprintf(ret_text, size, "unix:%.*s", length, address->sun_path);
}

static int format(const coil_address *addr, char *text, size_t size)
{
    const struct sockaddr_in *ipv4 = (const void *)&addr->storage;
    const struct sockaddr_in6 *ipv6 = (const void *)&addr->storage;
    char host[INET6_ADDRSTRLEN];
    int length;

    switch (addr->storage.ss_family) {
    case AF_UNIX:
        length = format_unix(addr, text, size);
        break;
    case AF_INET:
        (void)inet_ntop(AF_INET, &ipv4->sin_addr, host, sizeof host);
        length = snprintf(text, size, "%s:%u", host, ntohs(ipv4->sin_port));
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &ipv6->sin6_addr, host, sizeof host);
        length = ipv6->sin6_scope_id
                     ? snprintf(text, size, "[%s%%%u]:%u", host, ipv6->sin6_scope_id,
                                ntohs(ipv6->sin6_port))
                     : snprintf(text, size, "[%s]:%u", host, ntohs(ipv6->sin6_port));
        break;
    default:
        return -EAFNOSUPPORT;
    }
    return length >= 0 && (size_t)length < size ? length : -ENOBUFS;
}

int coil_address_format(const coil_address *address, char *ret_text, size_t size)
{
    char text[COIL_ADDRESS_SIZE];
    const int length = format(address, text, sizeof text);

    if (length < 0)
        return length;
    if ((size_t)length >= size)
        return -ENOBUFS;
    memcpy(ret_text, text, (size_t)length + 1);
    return length;
}

int coil__addr_format_local(int fd, char *ret_text, size_t size)
{
    coil_address addr = {.length = sizeof addr.storage};

    if (getsockname(fd, coil__addr_sockaddr(&addr), &addr.length) < 0)
        return -errno;
    return coil_address_format(&addr, ret_text, size);
}

/* ---- Comparing ---- */

static const struct sockaddr_in *get_ipv4(const coil_address *addr)
{
    return (const void *)&addr->storage;
}

static const struct sockaddr_in6 *get_ipv6(const coil_address *addr)
{
    return (const void *)&addr->storage;
}

bool coil_address_equal(const coil_address *a, const coil_address *b)
{
    const struct sockaddr_in6 *a6 = get_ipv6(a);
    const struct sockaddr_in6 *b6 = get_ipv6(b);

    if (a->length != b->length)
        return false;
    if (a->length == 0)
        return true;
    if (a->storage.ss_family != b->storage.ss_family)
        return false;
    switch (a->storage.ss_family) {
    case AF_INET:
        return get_ipv4(a)->sin_port == get_ipv4(b)->sin_port &&
               get_ipv4(a)->sin_addr.s_addr == get_ipv4(b)->sin_addr.s_addr;
    case AF_INET6: /* without the flow label, which is the packet's */
        return a6->sin6_port == b6->sin6_port && a6->sin6_scope_id == b6->sin6_scope_id &&
               memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0;
    default:
        return memcmp(&a->storage, &b->storage, a->length) == 0;
    }
}

/* ---- IPv4 in IPv6 ---- */

void coil__addr_map(coil_address *addr)
{
    const struct sockaddr_in ipv4 = *get_ipv4(addr);
    struct sockaddr_in6 *ipv6 = as_ipv6(addr);

    if (addr->storage.ss_family != AF_INET)
        return;
    *addr = (coil_address){.length = sizeof *ipv6};
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = ipv4.sin_port;
    ipv6->sin6_addr.s6_addr[10] = 0xff;
    ipv6->sin6_addr.s6_addr[11] = 0xff;
    memcpy(&ipv6->sin6_addr.s6_addr[12], &ipv4.sin_addr, sizeof ipv4.sin_addr);
}

void coil__addr_unmap(coil_address *addr)
{
    const struct sockaddr_in6 ipv6 = *get_ipv6(addr);
    struct sockaddr_in *ipv4 = as_ipv4(addr);

    if (addr->length != sizeof ipv6 || ipv6.sin6_family != AF_INET6 ||
        !IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr))
        return;
    *addr = (coil_address){.length = sizeof *ipv4};
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = ipv6.sin6_port;
    memcpy(&ipv4->sin_addr, &ipv6.sin6_addr.s6_addr[12], sizeof ipv4->sin_addr);
}

/* ---- Sockets ---- */

/* The probe is a datagram socket: a stream listener that lives refuses it without seeing a
 * connection, and a datagram socket is not told. */
void coil__addr_remove_stale(const coil_address *addr)
{
    const char *path = coil__addr_unix_path(addr);
    struct stat status;
    int fd;

    if (!path || lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, coil__addr_sockaddr(addr), addr->length) < 0 /* tidy: allow connect: local and
                                                                    non-blocking */
        && errno == ECONNREFUSED)
        (void)unlink(path);
    (void)close(fd);
}

int coil__addr_socket(coil_address *addr, const char *text, int type)
{
    char every_ipv4[COIL_ADDRESS_SIZE];
    int fd = socket(addr->storage.ss_family, type | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0 && errno == EAFNOSUPPORT && text[0] == ':') {
        (void)snprintf(every_ipv4, sizeof every_ipv4, "0.0.0.0%s", text);
        result = coil_address_parse(every_ipv4, addr);
        if (result < 0)
            return result;
        fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    }
    return fd < 0 ? -errno : fd;
}
