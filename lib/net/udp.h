/* SPDX-License-Identifier: MIT */
/* The inside of a datagram socket.
 *
 *   udp.c           life: opening, connecting, closing, stopping
 *   udp_options.c   socket options and multicast groups
 *   udp_receive.c   receiving, one by one and in batches
 *   udp_send.c      sending
 *   udp_serve.c     the server loop
 *
 * Each direction is a turn: the fiber that has it may wait in the kernel, the others wait for it in
 * the order of arrival. A fiber inside a call is a guest; the close tells all of them to leave and
 * waits until they have.
 *
 * Invariants: nobody waits for a turn that is free; an operation is with the kernel only while its
 * fiber has the turn and is a guest; after is_closing no guest parks again.
 */
#ifndef COIL_LIB_NET_UDP_H
#define COIL_LIB_NET_UDP_H

#include <coil/udp.h>

#include "core/op.h"
#include "core/waitq.h"
#include "net/addr.h"

struct coil__udp_server;

struct coil__udp_turn {
    struct coil__waitq waiters;
    struct coil__op *op; /* with the kernel, of the fiber that has the turn; or NULL */
    bool is_taken;
};

/* Datagrams that the engine delivers by itself. */
struct coil__udp_order {
    struct coil__receive receive;
    struct coil__lease *first; /* delivered, not received by anybody yet; oldest first */
    struct coil__lease *last;
    unsigned lease_count;
    struct coil__tcb *waiter; /* parked until something is delivered, or the order has ended */
    bool is_active;           /* the order is with the engine */
    bool is_stopping;         /* and has been asked to end */
    bool is_starved;          /* the shared buffers ran out: the next receive is by itself */
};

struct coil_udp {
    struct coil__sched *sched;
    struct coil__udp_order order;
    struct coil__udp_turn receiving;
    struct coil__udp_turn sending;
    size_t guest_count;
    struct coil__tcb *closer;        /* waits until the guests have left */
    coil_address addr;               /* of a unix socket whose file goes with it */
    struct coil__udp_server *server; /* that serves it, or NULL */
    int fd;
    int family;
    int error; /* 0, or what the network told and the next receive returns */
    bool is_closing;
    bool is_stopped; /* nothing is received any more */
    bool keep_unix;
};

/* ---- udp.c ---- */

/* Begins a call that may park. Returns 0, and the fiber is a guest until it leaves; or an error. */
int coil__udp_enter(coil_udp *udp);
void coil__udp_leave(coil_udp *udp);

/* Why the fiber that has `turn` must not wait any more: 0, -EBADF or -ESHUTDOWN. */
int coil__udp_why_over(const coil_udp *udp, const struct coil__udp_turn *turn);

/* Takes a turn, after waiting for it if need be. Returns 0, or an error without it. */
int coil__udp_take_turn(coil_udp *udp, struct coil__udp_turn *turn, const char *name);
void coil__udp_give_turn(struct coil__udp_turn *turn);

/* Runs `op`, a receive or send of the fiber that has `turn`, until it is done or can't be. */
int coil__udp_run(coil_udp *udp, struct coil__udp_turn *turn, const struct coil__op *op,
                  const char *name);

/* The address as the socket wants it: *room if it had to be changed. NULL stays NULL. */
static inline const coil_address *coil__udp_address_to(const coil_udp *udp, const coil_address *to,
                                                       coil_address *room)
{
    if (!to || udp->family != AF_INET6 || to->storage.ss_family != AF_INET)
        return to;
    *room = *to;
    coil__addr_map(room);
    return room;
}

/* Ends receiving for good: who waits, and who comes, gets -ESHUTDOWN. */
void coil__udp_stop(coil_udp *udp);

/* Wakes the closer if nothing is left to wait for. */
void coil__udp_settle(coil_udp *udp);

/* ---- udp_receive.c ---- */

/* Makes the socket's order; nothing is delivered before the first receive. */
void coil__udp_order_init(coil_udp *udp);

/* Asks for the order's end, and has its waiter look again. */
void coil__udp_order_stop(coil_udp *udp);

/* Drops what was delivered. */
void coil__udp_order_clear(coil_udp *udp);

/* Receives into `message`, whose control data may bring descriptors: a unix socket's. Returns the
 * datagram's full length. */
int coil__udp_receive_message(coil_udp *udp, struct msghdr *message);

/* ---- udp_send.c ---- */

int coil__udp_send_message(coil_udp *udp, struct msghdr *message);

/* ---- udp_options.c ---- */

/* Sets what can be set before the socket is bound. Returns 0 or an error. */
int coil__udp_set_options(int fd, int family, const coil_udp_options *options);

#endif
