/* SPDX-License-Identifier: MIT */
/* Addresses as text (net/addr.h). */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <coil/stream.h>

#include "base/assert.h"

static const char unix_prefix[] = "unix:";

static struct sockaddr_un *as_unix(struct coil__addr *addr)
{
    return (struct sockaddr_un *)(void *)&addr->storage;
}

static struct sockaddr_in *as_ipv4(struct coil__addr *addr)
{
    return (struct sockaddr_in *)(void *)&addr->storage;
}

static struct sockaddr_in6 *as_ipv6(struct coil__addr *addr)
{
    return (struct sockaddr_in6 *)(void *)&addr->storage;
}

/* ---- Reading ---- */

static int parse_unix(const char *path, struct coil__addr *ret_addr)
{
    struct sockaddr_un *address = as_unix(ret_addr);
    const size_t length = strlen(path);

    if (length == 0 || (path[0] == '@' && length == 1))
        return -EINVAL;
    if (length >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    *ret_addr = (struct coil__addr){.length = 0};
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
static int parse_ipv6(char *host, unsigned port, struct coil__addr *ret_addr)
{
    struct sockaddr_in6 *address = as_ipv6(ret_addr);
    char *zone = strchr(host, '%');

    *ret_addr = (struct coil__addr){.length = sizeof *address};
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

static int parse_ipv4(const char *host, unsigned port, struct coil__addr *ret_addr)
{
    struct sockaddr_in *address = as_ipv4(ret_addr);

    *ret_addr = (struct coil__addr){.length = sizeof *address};
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &address->sin_addr) == 1 ? 0 : -EINVAL;
}

int coil__addr_parse(const char *text, struct coil__addr *ret_addr)
{
    struct coil__addr addr;
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
        *ret_addr = addr;
    return result;
}

/* ---- Writing ---- */

const char *coil__addr_unix_path(const struct coil__addr *addr)
{
    const struct sockaddr_un *address = (const void *)&addr->storage;

    if (address->sun_family != AF_UNIX || addr->length <= offsetof(struct sockaddr_un, sun_path))
        return NULL;
    return address->sun_path[0] ? address->sun_path : NULL;
}

static int format_unix(const struct coil__addr *addr, char *ret_text, size_t size)
{
    const struct sockaddr_un *address = (const void *)&addr->storage;
    const size_t offset = offsetof(struct sockaddr_un, sun_path);
    const int length = addr->length > offset ? (int)(addr->length - offset) : 0;

    if (length > 0 && address->sun_path[0] == '\0')
        return snprintf(ret_text, size, "unix:@%.*s", length - 1, address->sun_path + 1);
    return snprintf(ret_text, size, "unix:%.*s", length, address->sun_path);
}

static int format(const struct coil__addr *addr, char *text, size_t size)
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

int coil__addr_format(const struct coil__addr *addr, char *ret_text, size_t size)
{
    char text[COIL_ADDRESS_SIZE];
    const int length = format(addr, text, sizeof text);

    if (length < 0)
        return length;
    if ((size_t)length >= size)
        return -ENOBUFS;
    memcpy(ret_text, text, (size_t)length + 1);
    return length;
}

int coil__addr_format_local(int fd, char *ret_text, size_t size)
{
    struct coil__addr addr = {.length = sizeof addr.storage};

    if (getsockname(fd, coil__addr_sockaddr(&addr), &addr.length) < 0)
        return -errno;
    return coil__addr_format(&addr, ret_text, size);
}
