/* SPDX-License-Identifier: MIT */
/* What layers above want of a resource pool besides coil/respool.h.
 *
 * The HTTP client tries a request again, once, when a connection that was used before turns out to
 * be dead. The second try must not get another old one.
 */
#ifndef COIL_LIB_SYNC_RESPOOL_H
#define COIL_LIB_SYNC_RESPOOL_H

#include <coil/respool.h>

/* coil_respool_get() of a new resource; the idle ones of `key` are unmade. */
int coil__respool_get_fresh(coil_respool *pool, const char *key, coil_resource **ret_resource);

#endif
