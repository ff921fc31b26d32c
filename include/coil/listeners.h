/* SPDX-License-Identifier: MIT */
/* coil/listeners.h - servers on all cores: a listener of its own for each (coil/core.h).
 *
 *     static int serve(void *arg)                          (main, with coil_options.cores)
 *     {
 *         coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
 *         coil_listeners *listeners;
 *         int result = coil_listen_cores(":8080", NULL, &listeners);
 *
 *         if (result < 0)
 *             return result;
 *         options.stop_on_signals = true;
 *         result = coil_serve_cores(listeners, echo, NULL, &options);
 *         coil_listeners_close(listeners);
 *         return result;
 *     }
 *
 * The listeners share the port (SO_REUSEPORT), so the kernel spreads connections over the cores,
 * and each is served to its end on the core that got it, unless its handler moves it to another one
 * (coil_stream_move()). Handlers on different cores run at the same time, with the same argument:
 * what they share needs a lock, or coil/xchan.h.
 *
 * The listeners of all cores together are at most 168 bytes, and 72 and a coil_listener for each
 * core.
 *
 * Threads: fibers of any core of the run, one for coil_listeners_close() after all else.
 */
#ifndef COIL_LISTENERS_H
#define COIL_LISTENERS_H

#include <coil/base.h>
#include <coil/listener.h>

COIL_BEGIN_DECLS

typedef struct coil_listeners coil_listeners;

/** Listens on @p address on every core. Port 0 lets the kernel choose for the first core; the
 *  others join it. @p options may be NULL; reuse_port is implied. Parks: the other cores are asked.
 *  Returns 0; -EOPNOTSUPP for a "unix:" address, which can't be shared like this; -ENOMEM; what
 *  coil_listen() and coil_on() return. */
COIL_API COIL_MUST_CHECK int coil_listen_cores(const char *address,
                                               const coil_listen_options *options,
                                               coil_listeners **ret_listeners);

/** Stores the address as coil_listener_address() does. */
COIL_API int coil_listeners_address(const coil_listeners *listeners, char *ret_text, size_t size);

/** Stops listening on all cores and frees; NULL is harmless. Parks, uninterruptibly. */
COIL_API void coil_listeners_close(coil_listeners *listeners);

/** Runs @p serve(listener, @p arg) on every core with that core's listener, a loop like
 *  coil_serve() or one of the program's own, and waits for all of them.
 *
 *  The first that returns, for whatever reason, stops the others as coil_serve_cores_stop() does.
 *  With @p stop_on_signals, or that of coil_listen_options, SIGTERM and SIGINT stop all, and a
 *  second one cancels all. Parks. An interruption cancels all and waits.
 *  Returns 0 when each returned 0 or more; else the negative result that came first; -EBUSY when
 *  they are being served; -EAGAIN, -ENOMEM; -ETIMEDOUT or -ECANCELED when interrupted. */
COIL_API COIL_MUST_CHECK int coil_listeners_run(coil_listeners *listeners,
                                                int (*serve)(coil_listener *listener, void *arg),
                                                void *arg, bool stop_on_signals);

/** Runs coil_serve() on every core, until a stop on any of them stops all. @p options may be NULL;
 *  `concurrency` counts for each core by itself; `failed` is called on the core of the handler.
 *  Parks, and returns as coil_listeners_run() does. */
COIL_API COIL_MUST_CHECK int coil_serve_cores(coil_listeners *listeners, coil_handler *handler,
                                              void *arg, const coil_serve_options *options);

/** Stops all loops gracefully, each as coil_serve_stop() does. Never parks; from any fiber, thread
 *  or signal handler, as long as the listeners are not being closed. */
COIL_API void coil_serve_cores_stop(coil_listeners *listeners);

COIL_END_DECLS

#endif
