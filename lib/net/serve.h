/* SPDX-License-Identifier: MIT */
/* The inside of the server loop.
 *
 *   serve.c   the loop, a fiber for each connection, and the graceful stop
 *   away.c    connections that have been moved to other cores
 *
 * Invariant: running counts the fibers of connections and the records of moved ones; what it counts
 * may use the server, so that ends only when it is 0.
 */
#ifndef COIL_LIB_NET_SERVE_H
#define COIL_LIB_NET_SERVE_H

#include <coil/listener.h>

#include "core/timer.h"
#include "core/waitq.h"
#include "net/stream.h"

struct coil__server {
    coil_listener *listener;
    coil_handler *handler;
    void *arg;
    coil_serve_options options;
    struct coil__loan loan; /* of streams whose fibers have yet to run */
    struct coil__list connections;
    struct coil__list away; /* moved to other cores: away.c */
    size_t running;
    struct coil__waitq idle; /* the serving fiber, while it waits for a place or for the end */
    struct coil__timer grace;
    bool is_draining;
    bool is_cancelling;
};

/* One that was counted is no more. */
void coil__server_left(struct coil__server *server);

#endif
