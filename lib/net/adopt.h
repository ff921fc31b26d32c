/* SPDX-License-Identifier: MIT */
/* Sockets that somebody else has opened: coil_adopt(), coil_udp_adopt().
 *
 * Invariant: on failure the socket is as it was, and still the caller's.
 */
#ifndef COIL_LIB_NET_ADOPT_H
#define COIL_LIB_NET_ADOPT_H

/* Checks that `fd` is a socket of `type`, SOCK_STREAM say, and makes it block: one that does not
 * would answer the ring with -EAGAIN instead of waiting in the kernel. Returns 0, -EPROTOTYPE, or
 * what the kernel says. */
int coil__adopt_socket(int fd, int type);

#endif
