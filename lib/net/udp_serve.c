/* SPDX-License-Identifier: MIT */
/* The server loop of datagrams: coil_udp_serve() (coil/udp.h).
 *
 * The serving fiber receives into one buffer that any datagram fits in, copies what came into a
 * record of its own size, and gives that to a fiber of a pool, which is what bounds the handlers.
 * While the pool is full the loop waits in the spawn and receives nothing.
 *
 * A stop ends the receive with -ESHUTDOWN, once all that was received before is handed out. The
 * loop may also be waiting for a slot: the stop adds one, for the datagram it has in hand. Then the
 * pool is waited for within the grace, and what is left is cancelled with the pool.
 */
#include <errno.h>
#include <string.h>

#include <coil/pool.h>
#include <coil/scope.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "net/udp.h"

enum {
    CONCURRENCY_DEFAULT = 1000,
    SIZE_MAX_DEFAULT = 65536, /* no UDP datagram is longer */
};

static const coil_time grace_default = COIL_SECONDS(30);
static const coil_time shortage_delay = COIL_MS(10);

struct coil__udp_server {
    coil_udp *udp;
    coil_udp_handler *handler;
    void *arg;
    coil_udp_serve_options options;
    coil_pool *pool;
    char *buffer; /* size_max bytes */
    bool is_drop_told;
};

/* A datagram on its way to its handler. */
struct parcel {
    struct coil__udp_server *server;
    coil_address from;
    size_t size;
    char data[];
};

static int handle(void *arg)
{
    struct parcel *parcel = arg;
    const struct coil__udp_server *server = parcel->server;
    const int result =
        server->handler(parcel->data, parcel->size, &parcel->from, server->udp, server->arg);

    coil__free(parcel);
    return result;
}

static struct parcel *pack(struct coil__udp_server *server, size_t size, const coil_address *from)
{
    struct parcel *parcel = coil__alloc(sizeof *parcel + size);

    if (!parcel)
        return NULL;
    parcel->server = server;
    parcel->from = *from;
    parcel->size = size;
    memcpy(parcel->data, server->buffer, size);
    return parcel;
}

/* Gives a datagram to a handler. In a shortage (fibers, memory) waits and tries again; meanwhile
 * the kernel keeps what comes, as far as its buffer goes. */
static int hand_out(struct coil__udp_server *server, size_t size, const coil_address *from)
{
    for (;;) {
        struct parcel *parcel = pack(server, size, from);
        int result = -ENOMEM;

        if (parcel)
            result = coil_pool_spawn_detached(server->pool, handle, parcel);
        if (result == 0)
            return 0;
        coil__free(parcel);
        if (result == -ENOMEM || result == -EAGAIN)
            result = coil_sleep(shortage_delay);
        if (result < 0)
            return result;
    }
}

static void tell_of_drop(struct coil__udp_server *server, size_t size)
{
    if (server->is_drop_told)
        return;
    server->is_drop_told = true;
    coil__log(
        COIL_LOG_WARNING,
        "a datagram of %zu bytes was dropped, more than coil_udp_serve() takes (size_max %zu)",
        size, server->options.size_max);
}

/* Errors that tell of a datagram or of the moment, not of the socket. */
static bool is_passing(ssize_t error)
{
    switch (error) {
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -ENETDOWN:
    case -EPROTO:
    case -EMSGSIZE:
    case -ENOPROTOOPT:
        return true;
    default:
        return false;
    }
}

static int serve_one(struct coil__udp_server *server)
{
    coil_address from;
    const ssize_t size =
        coil_udp_recv(server->udp, server->buffer, server->options.size_max, &from);

    if (size == -ENOMEM || size == -ENOBUFS)
        return coil_sleep(shortage_delay);
    if (size < 0)
        return is_passing(size) ? 0 : (int)size;
    if ((size_t)size > server->options.size_max) {
        tell_of_drop(server, (size_t)size);
        return 0;
    }
    return hand_out(server, (size_t)size, &from);
}

/* Waits for the handlers within the grace. Returns 0 or the interruption of the caller. */
static int drain(struct coil__udp_server *server)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, server->options.grace);
    result = coil_pool_wait(server->pool);
    return coil_scope_leave(&scope) ? 0 : result;
}

static int serve(struct coil__udp_server *server)
{
    int result;
    int interruption;

    do
        result = serve_one(server);
    while (result == 0);
    interruption = drain(server);
    return result == -ESHUTDOWN ? interruption : result;
}

static int start(struct coil__udp_server *server)
{
    coil_udp_serve_options *options = &server->options;

    if (!options->concurrency)
        options->concurrency = CONCURRENCY_DEFAULT;
    if (!options->size_max)
        options->size_max = SIZE_MAX_DEFAULT;
    if (!options->grace)
        options->grace = grace_default;
    server->buffer = coil__alloc(options->size_max);
    if (!server->buffer)
        return -ENOMEM;
    return coil_pool_new(options->concurrency, &server->pool);
}

int coil_udp_serve(coil_udp *udp, coil_udp_handler *handler, void *arg,
                   const coil_udp_serve_options *options)
{
    struct coil__udp_server server = {.udp = udp, .handler = handler, .arg = arg};
    int result;

    if (udp->server)
        return -EBUSY;
    result = coil__options_read(&server.options, sizeof server.options, options);
    if (result < 0)
        return result;
    result = start(&server);
    if (result == 0) {
        udp->server = &server;
        result = serve(&server);
        udp->server = NULL;
    }
    coil_pool_free(server.pool);
    coil__free(server.buffer);
    return result;
}

void coil_udp_serve_stop(coil_udp *udp)
{
    coil__udp_stop(udp);
    if (udp->server)
        coil_pool_resize(udp->server->pool, udp->server->options.concurrency + 1);
}
