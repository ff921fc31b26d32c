/* SPDX-License-Identifier: MIT */
/* coil/remote.h - reaching a core from outside: from any thread, and from signal handlers.
 *
 * A remote is a counted handle of one core of a coil_run(). Whoever holds one may post to that core
 * as long as they like: threads that know nothing of coil, other runs, signal handlers. What is
 * posted is called once on the core, between two turns of its fibers, in the order of the thread
 * that posted it. When the core has ended, posts are refused with -ESHUTDOWN, and nothing of it is
 * touched any more; whatever was accepted before has been called.
 *
 *     static void job_done(coil_post_node *node)          (on the core: wakes the fiber that waits)
 *     {
 *         struct job *job = (struct job *)node;           (node is its first member)
 *
 *         job->is_told = coil_event_set(&job->done, job) == 0;
 *     }
 *
 *     job->node.run = job_done;                           (in a thread of some other library)
 *     if (coil_post(job->remote, &job->node) < 0)
 *         forget(job);
 *
 * Posting takes no lock, allocates nothing, and costs a system call only if the core sleeps. For
 * items and permits between threads see coil/xchan.h and coil/xsem.h, for calls between the cores
 * of one run coil/core.h. Like gevent's loop.run_callback_threadsafe().
 *
 * A remote is 56 bytes, one for each core.
 *
 * Threads: coil_remote_get() is for fibers; everything else is for any thread.
 */
#ifndef COIL_REMOTE_H
#define COIL_REMOTE_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_remote coil_remote;

/** What is posted, in the caller's storage (16 bytes): set `run`, no more. It is coil's from an
 *  accepted coil_post() until `run` is called with it, which may post it again or free it.
 *
 *  `run` is called on the core's own stack, outside of fibers: it may spawn, cancel, release, set,
 *  call what is named try_x, but nothing that parks. coil_self() is NULL in it. */
typedef struct coil__post coil_post_node;

/** Returns a handle of core @p core of this run, referenced once for the caller, who gives it back
 *  with coil_remote_unref(); NULL when there is no such core. Never parks. For the caller's own
 *  core: coil_remote_get(coil_core()). */
COIL_API coil_remote *coil_remote_get(unsigned core);

/** Takes another reference. Returns @p remote. Any thread. */
COIL_API coil_remote *coil_remote_ref(coil_remote *remote);

/** Gives a reference back; NULL is harmless. Any thread. */
COIL_API void coil_remote_unref(coil_remote *remote);

/** Has @p node->run(@p node) called on the core of @p remote.
 *
 *  Never blocks, parks, or fails while the core lives; any thread, and signal handlers (errno stays
 *  as it is). Returns 0, or -ESHUTDOWN when the core has ended: then @p node is the caller's. Like
 *  gevent's async watcher. */
COIL_API COIL_MUST_CHECK int coil_post(coil_remote *remote, coil_post_node *node);

/** Starts a detached fiber that runs @p fn(@p arg) on the core of @p remote.
 *
 *  Allocates, so not for signal handlers; otherwise like coil_post(). Returns 0, and @p arg is the
 *  fiber's. If the core can't start a fiber when the post arrives (coil_options.fibers_max, no
 *  memory), @p refused (may be NULL) is called there instead, with @p arg, as a node's `run` is.
 *  Returns -ESHUTDOWN when the core has ended, or -ENOMEM; then @p arg is the caller's.
 *  Like asyncio's call_soon_threadsafe(). */
COIL_API COIL_MUST_CHECK int coil_post_spawn(coil_remote *remote, int (*fn)(void *), void *arg,
                                             void (*refused)(void *arg));

COIL_END_DECLS

#endif
