/* SPDX-License-Identifier: MIT */
/* The inside of a listener.
 *
 *   listener.c   the listening socket and the queue of accepted connections
 *   serve.c      the server loop on top
 *
 * Accepting is a standing order (multishot) while there is plenty of room, and one connection per
 * order when there is not: near the server's limit, near RLIMIT_NOFILE, or after an error. A
 * standing order accepts past any limit, and the descriptors that it takes are missing for the
 * program's own files. What is accepted beyond the waiting fibers is queued and served, never
 * dropped; the queue holds plain descriptors.
 */
#ifndef COIL_LIB_NET_LISTENER_H
#define COIL_LIB_NET_LISTENER_H

#include <coil/listener.h>

#include "core/waitq.h"
#include "net/addr.h"

struct coil__server;

struct coil_listener {
    struct coil__sched *sched;
    struct coil__accept accept;
    struct coil__waitq acceptors;
    size_t guest_count;          /* fibers inside coil_accept() */
    struct coil__waitq settlers; /* who waits for the end of the accept */
    struct coil__timer retry;    /* armed after an error such as -EMFILE */
    coil_time retry_delay;       /* of the last error in a row, 0 after a success */
    int *queue;                  /* accepted descriptors, a ring */
    size_t queue_size;           /* a power of two */
    size_t queue_first;
    size_t queue_count;
    int fd_limit; /* descriptors from here on are nearly the last */
    int error;    /* 0, or why it accepts no more */
    bool is_active;
    bool is_stopping;   /* the accept has been asked to end */
    bool is_scarce;     /* room for few more: set by the server */
    bool is_near_limit; /* the last descriptor was beyond fd_limit */
    bool is_over;       /* stopped, and what had come before has been taken */
    bool keep_unix;
    int signal_watch;            /* of coil_listen_options.stop_on_signals; or -1 */
    struct coil__server *server; /* that serves it, or NULL */
    coil_address addr;
};

/* Takes a connection: the caller has passed a checkpoint. Returns the descriptor or an error. */
int coil__listener_take(coil_listener *listener);

/* Ends accepting with `error`: fibers that wait get it, queued connections can still be taken. With
 * -ESHUTDOWN also those that have come as far as the kernel's backlog, until `is_over`. The first
 * error stays, but -EBADF, with which the listener is closed, comes last. */
void coil__listener_stop(coil_listener *listener, int error);

/* Gives up what is still in the backlog of a listener stopped with -ESHUTDOWN: `is_over`. */
void coil__listener_abandon(coil_listener *listener);

/* Waits, uninterruptibly, until a stopped listener can get no more connections: what the kernel had
 * handed over by then is in the queue. */
void coil__listener_settle(coil_listener *listener);

#endif
