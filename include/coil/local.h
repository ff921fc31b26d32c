/* SPDX-License-Identifier: MIT */
/* coil/local.h - values that each fiber has for itself.
 *
 * What a thread-local variable is to threads: a request's number for the log, a connection to a
 * database, a scratch buffer. A local is a static object that says how its values are made and
 * unmade; the values live with the fibers.
 *
 *     static const coil_local request_id = {.destroy = free, .inherit = copy_of};
 *
 *     coil_local_set(&request_id, id);
 *     log_line("%s: ...", coil_local_get(&request_id));
 *
 * All three functions may be NULL. `create` makes the value of a fiber that asks for one it does
 * not have. `inherit` runs at a spawn, in the parent, and makes the child's value of the parent's
 * (take a reference, copy); without it children start without one. `destroy` gets the value when
 * its fiber ends, in that fiber, after its function has returned and its exit hooks have run, last
 * set first destroyed; it may park, within the fiber's cancellation if there is one. `inherit` must
 * not park: a spawn never does.
 *
 * A local is 24 bytes. A fiber without any pays nothing; the first one allocates a table. A look-up
 * compares the fiber's locals one after the other: a handful is what this is made for.
 *
 * Threads: a local itself may be used by the fibers of any thread.
 */
#ifndef COIL_LOCAL_H
#define COIL_LOCAL_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** A kind of value. Its address is its identity: make it static, and it must outlive the fibers. */
typedef struct coil_local {
    void *(*create)(void);         /* the value for a fiber that has none; NULL is no value */
    void (*destroy)(void *value);  /* not called for NULL */
    void *(*inherit)(void *value); /* the child's value; NULL is no value */
} coil_local;

/** Returns the calling fiber's value of @p local, what `create` makes if it has none, or NULL.
 *  Borrowed: it is valid until it is set again or the fiber ends. A value that `create` made and no
 *  memory was left to remember is destroyed, and NULL returned. Never parks (unless `create` does).
 *  Like eventlet.corolocal.local, pthread_getspecific(3). */
COIL_API void *coil_local_get(const coil_local *local);

/** Gives the calling fiber the value @p value of @p local, NULL for none. The value that was there
 *  is destroyed, unless it is the same. Never parks (unless `destroy` does).
 *  Returns 0, or -ENOMEM, when @p value is still the caller's. Like pthread_setspecific(3). */
COIL_API COIL_MUST_CHECK int coil_local_set(const coil_local *local, void *value);

COIL_END_DECLS

#endif
