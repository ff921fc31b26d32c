/* SPDX-License-Identifier: MIT */
/* coil/offload.h - calls that block, in a thread of a pool, while only the calling fiber waits.
 *
 * For what has no fiber-friendly form: a database library, a compressor, a resolver. The pool
 * belongs to the coil_run() of the calling thread. It has at most 20 threads (COIL_THREADS in the
 * environment changes that, 1 to 1024), which start when there is work and end after a few idle
 * seconds. At most 1000 calls are under way, waiting for a thread or in one; further callers park
 * until there is room. Everybody is served in the order of arrival.
 *
 * A thread can't be interrupted. When a scope ends, its fiber leaves at once, and the call goes on
 * without it; that is why arg must not be the fiber's own storage, unless nothing can interrupt:
 *
 *     job = make_job(query);
 *     result = coil_offload(run_job, job, free_job, NULL);
 *     if (result < 0)
 *         return result;                  (job is gone, or will be: free_job has it)
 *     use(job->rows);
 *     free_job(job);
 *
 * A call is 80 bytes besides what arg points to, and a thread the stack that the system gives it.
 *
 * Calls that are still running at the end of coil_run() are waited for for a second, then left.
 *
 * Threads: the function runs in a thread without fibers; of coil it may call what is marked "any
 * thread", and coil_offload(), which there calls the function directly. Signals are blocked in it,
 * except those of faults.
 */
#ifndef COIL_OFFLOAD_H
#define COIL_OFFLOAD_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Calls @p fn(@p arg) in a thread of the pool and stores what it returned, whatever that is, in
 *  *@p ret_result (may be NULL). Parks until it has returned.
 *
 *  Returns 0, and @p arg is the caller's again. After any error @p arg is not: @p abandoned (may be
 *  NULL) is called with it exactly once, when @p fn no longer uses it or will never run; it runs in
 *  a thread of the pool or within any coil call of this one, and must neither block nor park.
 *  -ETIMEDOUT or -ECANCELED: interrupted, @p fn has run, runs, or never will; -EAGAIN: no thread
 *  could be started and there is none; -ENOMEM. Like eventlet.tpool.execute(). */
COIL_API COIL_MUST_CHECK int coil_offload(int (*fn)(void *), void *arg, void (*abandoned)(void *),
                                          int *ret_result);

COIL_END_DECLS

#endif
