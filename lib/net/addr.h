/* SPDX-License-Identifier: MIT */
/* Addresses: socket addresses and their text.
 *
 *   127.0.0.1:80   [::1]:80   :80   unix:/path   unix:@abstract   name:80
 *
 * The text is strict: a port is 0 to 65535 in digits, an IPv6 address stands in brackets, a path
 * must fit. ":80" is every address, over one IPv6 socket that takes IPv4 too.
 */
#ifndef COIL_LIB_NET_ADDR_H
#define COIL_LIB_NET_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct coil__addr {
    struct sockaddr_storage storage;
    socklen_t length;
};

enum {
    COIL__HOST_SIZE = 256, /* the longest DNS name is 253 bytes */
};

static inline struct sockaddr *coil__addr_sockaddr(const struct coil__addr *addr)
{
    return (struct sockaddr *)(void *)&((struct coil__addr *)(size_t)addr)->storage;
}

/* Reads a literal address. Returns 0, -EINVAL, -ENAMETOOLONG for a path, or -EDESTADDRREQ when the
 * text is "name:port" in good form, whose name has to be looked up first. */
int coil__addr_parse(const char *text, struct coil__addr *ret_addr);

/* Splits "host:port"; ret_host has COIL__HOST_SIZE bytes. Returns 0 or -EINVAL. */
int coil__addr_split(const char *text, char *ret_host, unsigned *ret_port);

/* Writes the text; returns its length or -ENOBUFS. */
int coil__addr_format(const struct coil__addr *addr, char *ret_text, size_t size);

/* The same for the own address of the socket `fd`. */
int coil__addr_format_local(int fd, char *ret_text, size_t size);

/* The path of a unix socket that has one, else NULL. */
const char *coil__addr_unix_path(const struct coil__addr *addr);

#endif
