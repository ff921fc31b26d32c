/* SPDX-License-Identifier: MIT */
/* Datagram sockets: opening, closing and who is inside (coil/udp.h, net/udp.h).
 *
 * A close tells everybody to leave: those who wait for a turn are woken with -EBADF, those whose
 * operation is with the kernel have it cancelled. Each of them, when it runs, finds is_closing
 * before it could park again, so the last one to leave wakes the closer. Stopping does the same to
 * the receiving side alone and waits for nobody.
 */
#include "net/udp.h"

#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/options.h"
#include "net/adopt.h"
#include "net/resolve.h"

COIL_STATIC_ASSERT(sizeof(coil_udp) <= 328, "a promise of the header");
COIL_STATIC_ASSERT(sizeof(coil_datagram) == 168, "a promise of the header");

/* ---- Guests and turns ---- */

int coil__udp_enter(coil_udp *udp)
{
    int result;

    COIL_ASSERT(udp->sched == coil__sched_this && "used inside the coil_run() that made it");
    udp->guest_count++;
    result = coil__checkpoint(coil__self());
    if (udp->is_closing)
        result = -EBADF;
    if (result < 0)
        coil__udp_leave(udp);
    return result;
}

void coil__udp_leave(coil_udp *udp)
{
    COIL_ASSERT(udp->guest_count > 0);
    udp->guest_count--;
    coil__udp_settle(udp);
}

static bool is_in_use(const coil_udp *udp)
{
    return udp->guest_count > 0 || udp->order.is_active;
}

void coil__udp_settle(coil_udp *udp)
{
    if (is_in_use(udp) || !udp->closer)
        return;
    coil__wake(udp->closer, 0);
    udp->closer = NULL;
}

int coil__udp_take_turn(coil_udp *udp, struct coil__udp_turn *turn, const char *name)
{
    if (turn->is_taken)
        return coil__waitq_park(&turn->waiters, name, udp);
    turn->is_taken = true;
    return 0;
}

void coil__udp_give_turn(struct coil__udp_turn *turn)
{
    COIL_ASSERT(turn->is_taken);
    turn->is_taken = coil__waitq_wake_one(&turn->waiters, 0);
}

int coil__udp_why_over(const coil_udp *udp, const struct coil__udp_turn *turn)
{
    if (udp->is_closing)
        return -EBADF;
    return udp->is_stopped && turn == &udp->receiving ? -ESHUTDOWN : 0;
}

int coil__udp_run(coil_udp *udp, struct coil__udp_turn *turn, const struct coil__op *op,
                  const char *name)
{
    for (;;) {
        struct coil__op copy = *op;
        int result = coil__udp_why_over(udp, turn);

        if (result < 0)
            return result;
        turn->op = &copy;
        result = coil__op_run_begun(&copy, name);
        turn->op = NULL;
        if (result == -ECANCELED && coil__udp_why_over(udp, turn) < 0)
            return coil__udp_why_over(udp, turn);
        if (result != -EINTR && result != -EAGAIN)
            return result;
    }
}

static void end_turn(struct coil__udp_turn *turn, int error)
{
    (void)coil__waitq_wake_all(&turn->waiters, error);
    if (turn->op)
        coil__op_evict(turn->op);
}

/* ---- Opening ---- */

static int make(int fd, int family, coil_udp **ret_udp)
{
    coil_udp *udp = coil__alloc(sizeof *udp);

    if (!udp)
        return -ENOMEM;
    *udp = (coil_udp){.sched = coil__sched(), .fd = fd, .family = family};
    coil__waitq_init(&udp->receiving.waiters);
    coil__waitq_init(&udp->sending.waiters);
    coil__udp_order_init(udp);
    udp->sched->opened[COIL__OPENED_UDP]++;
    *ret_udp = udp;
    return 0;
}

static int open_at(coil_address *addr, const char *text, const coil_udp_options *options)
{
    const int fd = coil__addr_socket(addr, text, SOCK_DGRAM);
    int result;

    if (fd < 0)
        return fd;
    result = coil__udp_set_options(fd, addr->storage.ss_family, options);
    if (result == 0) {
        coil__addr_remove_stale(addr);
        if (bind(fd, coil__addr_sockaddr(addr), addr->length) < 0)
            result = -errno;
    }
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    return fd;
}

/* Makes a socket that is bound, or fails and removes its file again. */
static int make_at(int fd, const coil_address *addr, const coil_udp_options *options,
                   coil_udp **ret_udp)
{
    const int result = make(fd, addr->storage.ss_family, ret_udp);

    if (result < 0) {
        if (coil__addr_unix_path(addr))
            (void)unlink(coil__addr_unix_path(addr));
        (void)close(fd);
        return result;
    }
    (*ret_udp)->addr = *addr;
    (*ret_udp)->keep_unix = options->keep_unix;
    return 0;
}

static int parse_own(const char *address, coil_address *ret_addr)
{
    const int result = coil_address_parse(address, ret_addr);

    return result == -EDESTADDRREQ ? -EINVAL : result;
}

int coil_udp_open(const char *address, const coil_udp_options *options, coil_udp **ret_udp)
{
    coil_udp_options chosen;
    coil_address addr;
    int result = coil__options_read(&chosen, sizeof chosen, options);

    if (result == 0)
        result = parse_own(address, &addr);
    if (result < 0)
        return result;
    result = open_at(&addr, address, &chosen);
    return result < 0 ? result : make_at(result, &addr, &chosen, ret_udp);
}

/* Connecting a datagram socket only notes the peer: it does not wait. */
static int connect_to(coil_udp *udp, const coil_address *peer)
{
    coil_address room;
    const coil_address *to = coil__udp_address_to(udp, peer, &room);

    if (to->storage.ss_family != udp->family)
        return -EAFNOSUPPORT;
    if (connect(udp->fd, coil__addr_sockaddr(to), to->length) < 0) /* tidy: allow connect: of a
                                                                      datagram socket */
        return -errno;
    return 0;
}

/* Opens a socket that is not bound: the kernel gives it an address when it is connected. */
static int open_anywhere(int family, const coil_udp_options *options, coil_udp **ret_udp)
{
    const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0)
        return -errno;
    result = coil__udp_set_options(fd, family, options);
    if (result == 0)
        result = make(fd, family, ret_udp);
    if (result < 0)
        (void)close(fd);
    return result;
}

static int open_to(const coil_address *peer, const char *local, const coil_udp_options *options,
                   coil_udp **ret_udp)
{
    coil_udp *udp = NULL;
    int result = local ? coil_udp_open(local, options, &udp)
                       : open_anywhere(peer->storage.ss_family, options, &udp);

    if (result < 0)
        return result;
    COIL_ASSERT(udp && "has been opened");
    result = connect_to(udp, peer);
    if (result < 0)
        coil_udp_close(udp);
    else
        *ret_udp = udp;
    return result;
}

static int connect_by_name(const char *address, const char *local, const coil_udp_options *options,
                           coil_udp **ret_udp)
{
    coil_address *peers = coil__alloc(COIL__RESOLVE_MAX * sizeof *peers);
    int result = -ENOMEM;
    int count;

    if (!peers)
        return result;
    count = coil_address_resolve(address, peers, COIL__RESOLVE_MAX);
    result = count;
    for (int i = 0; i < count; i++) {
        result = open_to(&peers[i], local, options, ret_udp);
        if (result == 0)
            break;
    }
    coil__free(peers);
    return result;
}

int coil_udp_connect(const char *address, const char *local, const coil_udp_options *options,
                     coil_udp **ret_udp)
{
    coil_udp_options chosen;
    coil_address peer;
    int result = coil__options_read(&chosen, sizeof chosen, options);

    if (result < 0)
        return result;
    result = coil_address_parse(address, &peer);
    if (result == -EDESTADDRREQ)
        return connect_by_name(address, local, &chosen, ret_udp);
    return result < 0 ? result : open_to(&peer, local, &chosen, ret_udp);
}

int coil_udp_adopt(int fd, coil_udp **ret_udp)
{
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    int result = coil__adopt_socket(fd, SOCK_DGRAM);

    if (result == 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0)
        result = -errno;
    if (result == 0)
        result = make(fd, family, ret_udp);
    if (result < 0 && result != -EBADF)
        (void)close(fd);
    return result;
}

/* ---- The end ---- */

void coil__udp_stop(coil_udp *udp)
{
    udp->is_stopped = true;
    end_turn(&udp->receiving, -ESHUTDOWN);
    coil__udp_order_stop(udp);
}

void coil_udp_close(coil_udp *udp)
{
    const char *path;

    if (!udp)
        return;
    COIL_ASSERT(!udp->is_closing && "closed once, by its owner");
    COIL_ASSERT(!udp->server && "coil_udp_serve() returns first: coil_udp_serve_stop()");
    udp->is_closing = true;
    end_turn(&udp->receiving, -EBADF);
    end_turn(&udp->sending, -EBADF);
    coil__udp_order_stop(udp);
    if (is_in_use(udp)) {
        udp->closer = coil__self();
        (void)coil__park("close", udp, NULL);
    }
    COIL_ASSERT(!is_in_use(udp) && "nobody comes in after is_closing");
    coil__udp_order_clear(udp);

    path = coil__addr_unix_path(&udp->addr);
    if (path && !udp->keep_unix)
        (void)unlink(path);
    (void)close(udp->fd); /* the descriptor is gone whatever close(2) says */
    udp->sched->opened[COIL__OPENED_UDP]--;
    coil__free(udp);
}

/* ---- About ---- */

int coil_udp_address(const coil_udp *udp, char *ret_text, size_t size)
{
    return coil__addr_format_local(udp->fd, ret_text, size);
}

int coil_udp_fd(const coil_udp *udp)
{
    return udp->fd;
}
