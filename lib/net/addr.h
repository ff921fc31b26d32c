/* SPDX-License-Identifier: MIT */
/* The inside of addresses: what coil/address.h leaves to the library.
 *
 * An address of IPv4 has two forms, its own and the one that IPv6 sockets use; what users see is
 * always the former, what goes to such a socket the latter.
 */
#ifndef COIL_LIB_NET_ADDR_H
#define COIL_LIB_NET_ADDR_H

#include <coil/address.h>

enum {
    COIL__HOST_SIZE = 256, /* the longest DNS name is 253 bytes */
};

static inline struct sockaddr *coil__addr_sockaddr(const coil_address *addr)
{
    return (struct sockaddr *)(void *)&((coil_address *)(size_t)addr)->storage;
}

/* Splits "host:port"; ret_host has COIL__HOST_SIZE bytes. Returns 0 or -EINVAL. */
int coil__addr_split(const char *text, char *ret_host, unsigned *ret_port);

/* Writes the text of the own address of the socket `fd`; returns its length or -ENOBUFS. */
int coil__addr_format_local(int fd, char *ret_text, size_t size);

/* The path of a unix socket that has one, else NULL. */
const char *coil__addr_unix_path(const coil_address *addr);

/* Removes the socket file of a unix address if nobody holds it any more: a leftover of a process
 * that ended without clean-up. */
void coil__addr_remove_stale(const coil_address *addr);

/* Opens a socket of `type` to be bound to *addr, which was read from `text`. Where there is no IPv6
 * ":80" becomes every IPv4 address. Returns the descriptor or a negative errno. */
int coil__addr_socket(coil_address *addr, const char *text, int type);

/* An IPv4 address as IPv6 sockets know it (::ffff:1.2.3.4), and back; other addresses stay. */
void coil__addr_map(coil_address *addr);
void coil__addr_unmap(coil_address *addr);

#endif
