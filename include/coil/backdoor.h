/* SPDX-License-Identifier: MIT */
/* coil/backdoor.h - a console into a running program.
 *
 * A backdoor listens on a unix socket and answers line commands about the thread it runs on:
 *
 *     $ socat - UNIX-CONNECT:/run/server.sock
 *     ps
 *     coil: 3 fibers, 0 runnable, 17 turns, 21 switches
 *     fiber 1 'main': waits for accept for 12.204 s
 *     ...
 *     ok
 *
 *     help       the list of commands
 *     ps         all fibers, children below their parents, a line each
 *     dump       the same with functions, spawn sites and backtraces (coil/dump.h)
 *     bt ID      one fiber of it
 *     fds        the descriptors of the process, with the addresses of sockets
 *     timers     how many are armed, the nearest ones and what they call
 *     stats      the numbers of coil/stats.h
 *     kill ID    cancels a fiber (coil_cancel()), but not the one that serves the backdoor
 *     drain      calls the function of the options, coil_serve_stop() in most programs
 *     quit       ends the connection
 *
 * Every answer ends with a line "ok", or "error: " and why. Whoever can open the socket can cancel
 * fibers and see the names of functions: the file is made for its owner only. An open backdoor is a
 * request with the kernel, so it keeps coil_run() from noticing a deadlock; ask it instead. Should
 * its socket fail, the log says so, the file goes, and the program goes on.
 *
 * A backdoor is 72 bytes, a listener and a fiber, and a fiber and a stream for each client.
 *
 * Threads: as coil/base.h says; one backdoor shows one thread.
 */
#ifndef COIL_BACKDOOR_H
#define COIL_BACKDOOR_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_backdoor coil_backdoor;

/** Options of coil_backdoor_open(); start from COIL_BACKDOOR_OPTIONS_INIT. Zero means the
 *  default. */
typedef struct coil_backdoor_options {
    size_t size;              /* set by the initialiser */
    unsigned mode;            /* of the socket file: 0600 */
    size_t clients_max;       /* at a time, further ones wait: 8 */
    coil_time idle;           /* then a silent client is disconnected: 10 minutes */
    void (*drain)(void *arg); /* what the command calls, in a fiber: there is none */
    void *arg;                /* of drain */
} coil_backdoor_options;

#define COIL_BACKDOOR_OPTIONS_INIT      \
 {                                      \
  .size = sizeof(coil_backdoor_options) \
 }

/** Opens a backdoor at @p path, a file or "@name" for an abstract one, which any user of the
 *  machine can open, with or without "unix:" in front. Serves it in a fiber of its own, until
 *  coil_backdoor_close(). @p options may be NULL. Never parks.
 *  Returns 0; -EINVAL for an empty path or options without their initialiser; -EADDRINUSE, -EACCES,
 *  ... as coil_listen() does; -EAGAIN or -ENOMEM. Like eventlet.backdoor.backdoor_server(), without
 *  an interpreter. */
COIL_API COIL_MUST_CHECK int coil_backdoor_open(const char *path,
                                                const coil_backdoor_options *options,
                                                coil_backdoor **ret_backdoor);

/** Disconnects all clients, removes the socket file and frees; NULL is harmless. Not from a drain
 *  function. Parks until the clients' fibers have ended. */
COIL_API void coil_backdoor_close(coil_backdoor *backdoor);

COIL_END_DECLS

#endif
