/* SPDX-License-Identifier: MIT */
/* Names to addresses, by the C library's resolver in a thread of the offload pool.
 *
 * The C library is the one that knows the machine's configuration (hosts file, search list, name
 * services), so its answers are those that every other program gets.
 *
 * Errors: -ENXIO when there is no such name or it has no address; -EAGAIN when no server answered,
 * or no thread could be had; -EREMOTEIO when a server failed for good; -ENOMEM; -EINVAL for a name
 * that can't be one; what the system said; or an interruption, which leaves the lookup to end by
 * itself.
 */
#ifndef COIL_LIB_NET_RESOLVE_H
#define COIL_LIB_NET_RESOLVE_H

#include <netdb.h>

#include "net/addr.h"

enum {
    COIL__RESOLVE_MAX = 16, /* addresses of one name; a connect would not try more in a lifetime */
};

/* Stores up to `max` (and COIL__RESOLVE_MAX) addresses of `host` with `port` for stream sockets, in
 * the order in which they should be tried. Parks. Returns how many, at least 1. */
int coil__resolve(const char *host, unsigned port, coil_address *ret_addrs, size_t max);

/* getaddrinfo(3), unless a test says otherwise. */
typedef int coil__resolver(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **ret_list);
extern coil__resolver *coil__resolve_with;

#endif
