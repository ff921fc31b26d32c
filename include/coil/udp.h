/* SPDX-License-Identifier: MIT */
/* coil/udp.h - datagram sockets: UDP, and unix datagram sockets by the same calls.
 *
 * A datagram is sent and received as a whole, and may be lost on the way, come twice or overtake
 * another (unix ones do none of that). There is no stream and no buffer to flush: a send is handed
 * to the kernel at once, a receive takes one datagram.
 *
 *     coil_udp_open("127.0.0.1:5353", NULL, &udp);
 *     while ((n = coil_udp_recv(udp, data, sizeof data, &peer)) >= 0)
 *         coil_udp_send(udp, data, (size_t)n, &peer);
 *
 * Truncation shows: a receive returns the datagram's full length. A result beyond the size of the
 * buffer says that the rest of this datagram is gone. A result of 0 is an empty datagram, not an
 * end.
 *
 * A connected socket (coil_udp_connect()) has one peer: sends need no address, datagrams of others
 * are not received, and an ICMP error, such as a port where nobody listens, shows as -ECONNREFUSED
 * at the next call, once. On other sockets Linux keeps such errors to itself.
 *
 * Several fibers may receive from one socket: each datagram goes to the one that has waited
 * longest. Several may send; a full send buffer is waited for in the order of arrival. Closing
 * makes all their calls return -EBADF.
 *
 * Batches save system calls, not copies: coil_udp_recv_batch() takes what is there, up to the size
 * of the array. coil_udp_serve() is the loop that most servers want: a fiber per datagram, so many
 * at a time.
 *
 * Addresses of IPv4 peers are IPv4 addresses, also on an IPv6 socket (":5353").
 *
 * A socket is 328 bytes; what has come and not been received is held in buffers of the core.
 */
#ifndef COIL_UDP_H
#define COIL_UDP_H

#include <coil/address.h>
#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_udp coil_udp;

/** Options of the opening calls; start from COIL_UDP_OPTIONS_INIT. Zero means the default. */
typedef struct coil_udp_options {
    size_t size;                     /* set by the initialiser */
    bool reuse_port;                 /* share the port with other sockets that ask for the same */
    bool broadcast;                  /* sending to broadcast addresses is allowed */
    bool keep_unix;                  /* leave the socket file of a "unix:" address at close */
    bool no_multicast_loop;          /* what is sent to a group does not come back to this host */
    int receive_buffer;              /* bytes the kernel keeps for the receiver: the system's */
    int send_buffer;                 /* bytes it keeps for the network: the system's */
    int ttl;                         /* hops that a datagram may make, 1 to 255: the system's */
    int multicast_ttl;               /* the same for groups: 1, this network only */
    const char *multicast_interface; /* that datagrams to groups leave by, name or number */
} coil_udp_options;

#define COIL_UDP_OPTIONS_INIT      \
 {                                 \
  .size = sizeof(coil_udp_options) \
 }

/** Opens a datagram socket at @p address: "127.0.0.1:0", "[::1]:0", ":5353" (all addresses, IPv6
 *  and IPv4), "unix:/path", "unix:@abstract". Port 0 lets the kernel choose; coil_udp_address()
 *  tells. A unix socket file that nobody holds any more is replaced. @p options may be NULL. Never
 *  parks.
 *  Returns 0; -EINVAL for an address that can't be read or an option out of range; -ENODEV for an
 *  unknown interface; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -ENOMEM, ... */
COIL_API COIL_MUST_CHECK int coil_udp_open(const char *address, const coil_udp_options *options,
                                           coil_udp **ret_udp);

/** Opens a socket connected to @p address, which may be a name ("host:53": the first of its
 *  addresses that can be had is taken; nobody is asked whether anyone is there). @p local (may be
 *  NULL) is the address to open it at; a unix socket without one can't be answered. Parks for a
 *  name.
 *  Returns 0; as coil_udp_open(); -ENXIO, -EAGAIN, -EREMOTEIO as coil_address_resolve();
 *  -EAFNOSUPPORT when no address is of the kind of @p local; -ENOENT, -ECONNREFUSED (unix). */
COIL_API COIL_MUST_CHECK int coil_udp_connect(const char *address, const char *local,
                                              const coil_udp_options *options, coil_udp **ret_udp);

/** Makes one of the datagram socket @p fd (inherited, from socketpair(2), ...), which it owns from
 *  now on, also on failure. O_NONBLOCK is taken off. Never parks.
 *  Returns 0; -ENOTSOCK, -EBADF, -EPROTOTYPE (not SOCK_DGRAM), -ENOMEM. */
COIL_API COIL_MUST_CHECK int coil_udp_adopt(int fd, coil_udp **ret_udp);

/** Closes and frees; NULL is harmless. Fibers that wait in calls on @p udp get -EBADF; datagrams
 *  that were not received are lost. Always closes. Parks. */
COIL_API void coil_udp_close(coil_udp *udp);

/* ---- One at a time ---- */

/** Receives one datagram: its first @p size bytes into @p data and, if @p ret_from is not NULL, its
 *  sender's address (length 0 for a unix socket without a name). Parks until there is one.
 *  Returns the datagram's full length, which is more than @p size when it was cut; -ECONNREFUSED
 *  and other errors of the network, once each; -EBADF; -ESHUTDOWN after coil_udp_serve_stop().
 *  Like recvfrom(2) with MSG_TRUNC. */
COIL_API COIL_MUST_CHECK ssize_t coil_udp_recv(coil_udp *udp, void *data, size_t size,
                                               coil_address *ret_from);

/** The same without parking: -EAGAIN when there is no datagram, or fibers wait for one. */
COIL_API COIL_MUST_CHECK ssize_t coil_udp_try_recv(coil_udp *udp, void *data, size_t size,
                                                   coil_address *ret_from);

/** Sends @p size bytes as one datagram to @p to, NULL for the connected peer. Parks while the
 *  socket's send buffer (of a unix socket: the receiver's) is full.
 *  Returns 0; -EMSGSIZE when it is longer than a datagram can be; -EDESTADDRREQ or -ENOTCONN
 *  without an address; -ECONNREFUSED, which may tell of an earlier datagram: this one was not sent;
 *  -ENETUNREACH, -EACCES (broadcast), -EBADF, ... Like sendto(2). */
COIL_API int coil_udp_send(coil_udp *udp, const void *data, size_t size, const coil_address *to);

/** The same without parking: -EAGAIN when the buffer is full, or fibers wait for room. */
COIL_API int coil_udp_try_send(coil_udp *udp, const void *data, size_t size,
                               const coil_address *to);

/* ---- Several ---- */

/** A datagram of a batch, 168 bytes without its data. */
typedef struct coil_datagram {
    void *data;           /* the caller's bytes */
    size_t size;          /* room at data, or bytes to send */
    size_t length;        /* received: the full length, more than size when it was cut */
    coil_address address; /* received: the sender; sent: the receiver, length 0 for the peer */
    bool has_lost_fds;    /* received: descriptors that came with it were closed (coil/unix.h) */
} coil_datagram;

/** Receives up to @p count (> 0) datagrams: parks for the first, takes the others only if they are
 *  there. @p items tell where to and get the rest. An error behind the first datagram is returned
 *  by the next call. Returns how many, else as coil_udp_recv(). Like recvmmsg(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_udp_recv_batch(coil_udp *udp, coil_datagram *items,
                                                     size_t count);

/** Sends @p count datagrams in order. Parks while there is no room.
 *  Returns how many were sent: less than @p count when the next one failed, for a reason that
 *  sending it again shows, if it lasts; an error when the first one fails. Like sendmmsg(2). */
COIL_API COIL_MUST_CHECK ssize_t coil_udp_send_batch(coil_udp *udp, const coil_datagram *items,
                                                     size_t count);

/** Sends @p size bytes as datagrams of @p segment bytes each, the last one shorter if need be: cut
 *  by the kernel or the network card, which is several times cheaper than sending them one by one.
 *  At most 64 datagrams and 65,000 bytes. UDP only. Parks as coil_udp_send().
 *  Returns 0; -EINVAL beyond these limits; -EOPNOTSUPP for a unix socket; -EIO when the route can't
 *  do it; else as coil_udp_send(). Like UDP_SEGMENT in udp(7). */
COIL_API int coil_udp_send_segments(coil_udp *udp, const void *data, size_t size, size_t segment,
                                    const coil_address *to);

/* ---- Groups ---- */

/** Joins the multicast group @p group, an address without a port ("239.1.2.3", "ff02::fb"), on
 *  @p interface, a name or a number; NULL lets the kernel choose. Never parks.
 *  Returns 0; -EINVAL for what is no group, or one of another family than the socket; -ENODEV for
 *  an unknown interface or none that can; -EADDRINUSE when it has joined before. */
COIL_API COIL_MUST_CHECK int coil_udp_join(coil_udp *udp, const char *group, const char *interface);

/** Leaves a group that it has joined on the same interface. Closing leaves all. Returns 0;
 *  -EADDRNOTAVAIL when it has not joined; as coil_udp_join(). */
COIL_API int coil_udp_leave(coil_udp *udp, const char *group, const char *interface);

/* ---- Serving ---- */

/** Handles one datagram: @p size bytes at @p data, the handler's until it returns, from @p from. A
 *  negative result goes to the hook of coil_unhandled_set(); it does not end the server. */
typedef int coil_udp_handler(const void *data, size_t size, const coil_address *from, coil_udp *udp,
                             void *arg);

/** Options of coil_udp_serve(); start from COIL_UDP_SERVE_OPTIONS_INIT. Zero means the default. */
typedef struct coil_udp_serve_options {
    size_t size;        /* set by the initialiser */
    size_t concurrency; /* handlers at a time; beyond, datagrams wait in the kernel: 1,000 */
    size_t size_max;    /* longer datagrams are dropped, with a word in the log: 65,536 bytes */
    coil_time grace;    /* for what is under way at a stop, then it is cancelled: 30 s */
} coil_udp_serve_options;

#define COIL_UDP_SERVE_OPTIONS_INIT      \
 {                                       \
  .size = sizeof(coil_udp_serve_options) \
 }

/** Receives datagrams and runs @p handler for each in a fiber of its own, until
 *  coil_udp_serve_stop(). An interruption stops it too, but cancels the handlers at once.
 *
 *  While all are busy nothing is received, and the kernel drops what its buffer has no room for.
 *  Errors of the network (-ECONNREFUSED) are passed over. Parks until the last handler has
 *  returned. The socket stays the caller's, to be closed.
 *  Returns 0 after a stop; -ETIMEDOUT or -ECANCELED when interrupted; -EBUSY if it is being served
 *  already; -ENOMEM; or why receiving failed. Like gevent.server.DatagramServer. */
COIL_API COIL_MUST_CHECK int coil_udp_serve(coil_udp *udp, coil_udp_handler *handler, void *arg,
                                            const coil_udp_serve_options *options);

/** Stops receiving on @p udp for good: its coil_udp_serve(), also one that has yet to begin, hands
 *  out what it has received and returns when the handlers have; every receive returns -ESHUTDOWN.
 *  Sending goes on. Never parks. */
COIL_API void coil_udp_serve_stop(coil_udp *udp);

/* ---- About ---- */

/** Stores the socket's own address as text, as coil_address_format() does. */
COIL_API int coil_udp_address(const coil_udp *udp, char *ret_text, size_t size);

/** Returns the descriptor, for setsockopt(2) and the like; do not read, write or close it. */
COIL_API int coil_udp_fd(const coil_udp *udp);

COIL_END_DECLS

#endif
