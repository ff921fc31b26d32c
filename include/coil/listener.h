/* SPDX-License-Identifier: MIT */
/* coil/listener.h - listening sockets and the server loop.
 *
 * coil_listen() and coil_accept() are the pieces; coil_serve() is the loop that most programs want:
 * a fiber per connection, at most so many at a time (the rest wait their turn, none is dropped),
 * and a graceful stop: no new connections, reads between two messages (coil_stream_idle()) end at
 * once, what is under way finishes, within a bound.
 *
 * A stop loses no connection that was made before it, be it in the kernel's backlog: all are still
 * accepted and served, within the limit, as long as the grace lasts. While there are any left, a
 * TCP client that begins to connect gets no answer and tries again a second later; then it is
 * refused, at once, while the last handlers may still be running. On a port that is shared it meets
 * another listener.
 *
 * Running out of descriptors does not end a server: accepting pauses, 10 ms at first and up to a
 * second, and goes on. After an error that no pause helps against, the kernel refuses who connects,
 * even before the listener is closed; only who waits in a unix socket's backlog hears of it then.
 *
 * A listener is 344 bytes and a queue of accepted descriptors.
 */
#ifndef COIL_LISTENER_H
#define COIL_LISTENER_H

#include <coil/base.h>
#include <coil/stream.h>

COIL_BEGIN_DECLS

typedef struct coil_listener coil_listener;

/** Options of coil_listen(); start from COIL_LISTEN_OPTIONS_INIT. Zero means the default. */
typedef struct coil_listen_options {
    size_t size;        /* set by the initialiser */
    int backlog;        /* connections the kernel keeps until they are accepted: SOMAXCONN */
    bool reuse_port;    /* share the port with other listeners that ask for the same */
    bool keep_unix;     /* leave the socket file of a "unix:" address in place at close */
    unsigned unix_mode; /* permissions of that file, from the beginning: 0777; less the umask */

    /* As of coil_serve_options, from now on: a signal that comes before coil_serve() begins is kept
     * and stops it at once, instead of ending the program by its default action. Caught until the
     * listener is closed, so what takes long before or after serving can't be ended by these. */
    bool stop_on_signals;
} coil_listen_options;

#define COIL_LISTEN_OPTIONS_INIT      \
 {                                    \
  .size = sizeof(coil_listen_options) \
 }

/** Listens on @p address: "127.0.0.1:5000", "[::1]:0", ":8080" (all addresses, IPv6 and IPv4),
 *  "unix:/path", "unix:@abstract". Port 0 lets the kernel choose; coil_listener_address() tells.
 *  SO_REUSEADDR and TCP_NODELAY are on. A unix socket file that nobody listens on any more is
 *  replaced. @p options may be NULL. Never parks.
 *  Returns 0; -EINVAL for an address that can't be read or options without their initialiser;
 *  -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, ...; -EAGAIN for a signal watch too many (coil/signal.h).
 *  Like eventlet.listen(). */
COIL_API COIL_MUST_CHECK int coil_listen(const char *address, const coil_listen_options *options,
                                         coil_listener **ret_listener);

/** Takes the next connection. Parks until there is one; several fibers are served in turn.
 *  Returns 0; -EBADF when the listener is closed meanwhile; -ESHUTDOWN after coil_serve_stop(), to
 *  those who wait, and to later calls when what was made before it has been taken. */
COIL_API COIL_MUST_CHECK int coil_accept(coil_listener *listener, coil_stream **ret_stream);

/** Stores the listener's address as text, as coil_stream_peer() does. */
COIL_API int coil_listener_address(const coil_listener *listener, char *ret_text, size_t size);

/** Stops listening and frees; NULL is harmless. Fibers in coil_accept() get -EBADF. Parks. */
COIL_API void coil_listener_close(coil_listener *listener);

/** Serves one connection. The stream is closed when it returns, unless the handler has closed it
 *  (to have the result, or within its own scope), or coil_stream_move() has taken it to a handler
 *  on another core: then when that one returns. A negative result goes to the hook of the serve
 *  options; it does not end the server. Without that hook it goes to the unhandled hook
 *  (coil/fiber.h), unless it only says that the peer went away: -ECONNRESET, -EPIPE. The fiber's
 *  name is "connection" (coil_fiber_name_set() gives it another one). */
typedef int coil_handler(coil_stream *stream, void *arg);

/** Options of coil_serve(); start from COIL_SERVE_OPTIONS_INIT. Zero means the default. */
typedef struct coil_serve_options {
    size_t size;             /* set by the initialiser */
    size_t concurrency;      /* connections served at a time, moved ones too: 100,000 */
    coil_time grace;         /* for what is under way at a stop, then it is cancelled: 30 s */
    coil_time close_timeout; /* for sending what a handler left unsent, then it is dropped: 60 s */
    bool stop_on_signals; /* SIGTERM and SIGINT stop gracefully, a second one without grace; those
                                that come earlier: coil_listen_options.stop_on_signals */
    void (*failed)(int result, void *arg); /* told of handlers' negative results; arg as theirs */
} coil_serve_options;

#define COIL_SERVE_OPTIONS_INIT      \
 {                                   \
  .size = sizeof(coil_serve_options) \
 }

/** Accepts connections and runs @p handler(stream, @p arg) for each in a fiber of its own, until
 *  coil_serve_stop() or a signal, if asked for; then stops gracefully. An interruption stops it
 *  too, but cancels the handlers at once.
 *
 *  Parks until the last handler has returned, also of those on other cores that connections were
 *  moved to (coil_stream_move()). The listener stays the caller's, to be closed.
 *  Returns 0 after a stop; -ETIMEDOUT or -ECANCELED when interrupted; -EBUSY if it is already being
 *  served; -EINVAL for options without their initialiser; or why the listener failed. Like
 *  eventlet.serve(). */
COIL_API COIL_MUST_CHECK int coil_serve(coil_listener *listener, coil_handler *handler, void *arg,
                                        const coil_serve_options *options);

/** Stops the coil_serve() of @p listener gracefully, also one that has yet to begin: it returns at
 *  once, as any later one does; to serve again, listen again. Connections that were made before are
 *  still served. A handler learns of the stop by its idle reads (coil_stream_idle()), which end;
 *  one that never reads, when the grace is over, by being cancelled. Never parks; from any fiber of
 *  the run. */
COIL_API void coil_serve_stop(coil_listener *listener);

COIL_END_DECLS

#endif
