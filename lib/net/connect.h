/* SPDX-License-Identifier: MIT */
/* Connecting to one socket address.
 *
 * coil_connect() does this for a literal address, and in turn for each address of a host name.
 *
 * Invariant: on failure, an interruption included, the socket that was tried is closed.
 */
#ifndef COIL_LIB_NET_CONNECT_H
#define COIL_LIB_NET_CONNECT_H

#include <coil/stream.h>

#include "net/addr.h"

/* `local` may be NULL. Parks. Returns 0 or why not. */
int coil__connect_to(const coil_address *remote, const coil_address *local,
                     coil_stream **ret_stream);

#endif
