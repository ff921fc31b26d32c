/* SPDX-License-Identifier: MIT */
/* coil/connpool.h - a pool of connections, ready to be used again.
 *
 * A resource pool (coil/respool.h) whose keys are addresses, as coil_connect() takes them, and
 * whose resources are streams:
 *
 *     coil_respool_options options = COIL_CONNPOOL_OPTIONS_INIT;
 *
 *     options.max = 8;                                     (connections per address)
 *     coil_respool_new(&options, &pool);
 *     ...
 *     result = coil_respool_get(pool, "db.example:6379", &connection);
 *     if (result < 0)
 *         return result;
 *     result = query(coil_resource_value(connection));     (a coil_stream)
 *     if (result < 0)
 *         coil_respool_drop(connection);                   (it is in the middle of something)
 *     else
 *         coil_respool_put(connection);
 *
 * This is the answer to two fibers that want to talk over one connection: each takes its own. An
 * idle connection that the peer has closed, or on which it has said something unasked, is replaced
 * before anybody gets it. The functions below may be wrapped, to log in after connecting, say.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_CONNPOOL_H
#define COIL_CONNPOOL_H

#include <coil/base.h>
#include <coil/respool.h>

COIL_BEGIN_DECLS

/** Options of a pool of connections. */
#define COIL_CONNPOOL_OPTIONS_INIT                                      \
 {                                                                      \
  .size = sizeof(coil_respool_options), .create = coil_connpool_create, \
  .destroy = coil_connpool_destroy, .check = coil_connpool_check        \
 }

/** Connects to @p key: the `create` of a pool of connections. Parks; returns what coil_connect()
 *  returns. */
COIL_API COIL_MUST_CHECK int coil_connpool_create(const char *key, void *arg, void **ret_value);

/** Closes a stream at once, without sending what it may still hold: the `destroy`. */
COIL_API void coil_connpool_destroy(void *value, void *arg);

/** Whether the peer has neither closed the stream nor said anything: the `check`. Parks, but only
 *  to let others run. */
COIL_API COIL_MUST_CHECK bool coil_connpool_check(void *value, void *arg);

COIL_END_DECLS

#endif
