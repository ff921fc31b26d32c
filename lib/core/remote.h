/* SPDX-License-Identifier: MIT */
/* The way into a scheduler from other threads (coil/remote.h).
 *
 * Posts are a stack that any thread pushes to by one compare-and-swap and that the scheduler takes
 * as a whole, once per turn. Whoever finds the stack empty rings the engine's bell; the rest ride
 * along. The remote outlives the scheduler, because handles to it are counted; at the scheduler's
 * end a mark takes the place of the stack for ever, and pushing onto the mark is refused.
 *
 * The race to get right is the bell: a post may have been taken, its fiber may have run, and the
 * engine may be about to be closed, when the thread that pushed it comes to ring. Hence visitors:
 * whoever may ring is counted from before its look at the stack until after the ring, and the end
 * waits, after it has put the mark, until nobody is left inside: a few instructions of theirs. No
 * lock, so a signal handler may post whatever it has interrupted.
 *
 * References: one is the team's (team.h), the others are handles. While a scheduler is alone in its
 * run, it counts in outside_count whether there are any: the first is made by its own thread, and
 * the last is given back there too, by a post when that happens on another thread.
 *
 * Invariant: after the mark nothing of the scheduler or the engine is touched through the remote.
 */
#ifndef COIL_LIB_CORE_REMOTE_H
#define COIL_LIB_CORE_REMOTE_H

#include <stdatomic.h>

#include <coil/remote.h>

#include "core/sched.h"

struct coil_remote {
    _Atomic(struct coil__post *) posts; /* newest first; the mark when no more are taken */
    _Atomic(unsigned) visitor_count;
    _Atomic(unsigned) reference_count;
    struct coil__sched *sched; /* its fields other than the engine are its own thread's */
    uint64_t post_count;       /* that have been called; its scheduler's own */
    bool is_alone;             /* the scheduler is the only one of its run */
    struct coil__post unref_post;
};

/* Returns the remote of `sched`, whose engine it rings, with the team's reference; or NULL. */
coil_remote *coil__remote_new(struct coil__sched *sched, bool is_alone);

/* Gives the team's reference back, after the scheduler's end; NULL is harmless. */
void coil__remote_free(coil_remote *remote);

/* coil_post(), for callers to whom a refusal makes no difference. */
int coil__remote_post(coil_remote *remote, struct coil__post *post);

/* Ends a sleep of the scheduler, if it lives. Any thread. */
void coil__remote_ring(coil_remote *remote);

/* ---- For the scheduler's thread ---- */

bool coil__remote_has_posts(const coil_remote *remote);

/* Calls all posts that are there now, oldest first. */
void coil__remote_run_posts(coil_remote *remote);

/* Refuses posts from now on, unless there are some to be called first. */
bool coil__remote_try_close(coil_remote *remote);

/* Refuses posts from now on, calls those that are there, and waits until no thread is inside. Must
 * come before the engine is closed. */
void coil__remote_close(coil_remote *remote);

#endif
