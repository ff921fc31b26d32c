/* SPDX-License-Identifier: MIT */
/* What the tests of datagrams share: sockets on loopback, and texts sent and received.
 *
 * Datagrams on loopback and unix sockets are not lost while the receiver's buffer has room, which
 * is what every test here relies on.
 */
#ifndef COIL_TESTS_NET_UDP_FIXTURE_H
#define COIL_TESTS_NET_UDP_FIXTURE_H

#include "net/udp.h"
#include "support/fiber_test.h"

/* A socket at `address` with default options. */
coil_udp *udp_at(const char *address);

/* A socket connected to `udp`, without a chosen address of its own. */
coil_udp *udp_to(const coil_udp *udp);

/* A connected pair on loopback, or of unix sockets. */
void udp_pair(coil_udp **ret_a, coil_udp **ret_b);
void unix_datagram_pair(coil_udp **ret_a, coil_udp **ret_b);

coil_address address_of(const coil_udp *udp);

/* The text of an address, until the next call. */
const char *text_of(const coil_address *address);

/* Sends a text to the peer; receives one and compares. */
void send_text(coil_udp *udp, const char *text);
void expect_text(coil_udp *udp, const char *text);

/* Sends to the peer until the kernel takes no more; returns how many. */
unsigned fill_peer(coil_udp *udp);

/* Fiber: receives one datagram from `udp` and notes what came of it. */
struct receiver {
    coil_udp *udp;
    ssize_t result;
    char data[64];
    unsigned *order; /* counts up; `place` is what it was */
    unsigned place;
};

int receive_once(void *arg);

#endif
