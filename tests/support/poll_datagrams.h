/* SPDX-License-Identifier: MIT */
/* Datagrams of the poll engine: each gets a lease of its own, from the heap. */
#ifndef COIL_TESTS_SUPPORT_POLL_DATAGRAMS_H
#define COIL_TESTS_SUPPORT_POLL_DATAGRAMS_H

#include "engine/engine.h"

enum {
    COIL__POLL_DATAGRAM_GROUP = 1, /* lease.group */
};

/* Receives a datagram without waiting. Returns the bytes of its payload in *ret_lease, which goes
 * back by coil__free(); -EAGAIN, -ENOBUFS when there is no memory, or an error of the network. */
int coil__poll_datagram(int fd, struct coil__lease **ret_lease);

#endif
