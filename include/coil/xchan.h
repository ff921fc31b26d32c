/* SPDX-License-Identifier: MIT */
/* coil/xchan.h - bounded channel between threads: fibers of any core or run, and plain threads.
 *
 * Like coil/chan.h: items of one size are copied in and out, first in, first out; a send parks
 * while the channel is full, a receive while it is empty, and both sides are served in the order of
 * arrival, wherever they are. A fiber that waits parks; a thread without coil_run() that waits
 * blocks, so this is also how other threads feed fibers and get their results.
 *
 *     while ((got = coil_xchan_recv(jobs, &job)) > 0)     (on every core)
 *         run(&job);                                      (0: closed and drained)
 *
 * An interrupted send has sent nothing, an interrupted receive has taken nothing; what was handed
 * over before the interruption stays so, and the interruption speaks at the next call.
 *
 * An operation takes a lock while it copies an item: pointers and small structs are what it is for.
 * Senders have one and receivers another, so that the sides seldom wait for each other: the two
 * calls are some 40 ns together, and what has to cross from core to core comes on top. Waking a
 * fiber of another core costs a message, of which those that come while it is awake share one; that
 * is some 20 us. So who has to wait looks for a few microseconds before it sleeps, and for up to 30
 * where its thread has just woken somebody, who most likely answers. Fibers of its core that are
 * runnable run meanwhile. Within one core use coil/chan.h, which needs none of this.
 *
 * A channel is one block of at most 640 bytes, mostly to keep the sides apart, and its slots.
 *
 * Threads: any, for all functions; not signal handlers.
 */
#ifndef COIL_XCHAN_H
#define COIL_XCHAN_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_xchan coil_xchan;

/** Makes a channel that stores up to @p capacity items of @p item_size bytes. Never parks. With
 *  capacity 0 nothing is stored and a send ends when a receiver has its item: a rendezvous.
 *  Returns 0, -EINVAL when @p item_size is 0, or -ENOMEM. Like Python's queue.Queue(maxsize). */
COIL_API COIL_MUST_CHECK int coil_xchan_new(size_t capacity, size_t item_size,
                                            coil_xchan **ret_chan);

/** Closes @p chan, drops the stored items and frees it; NULL is harmless. Never parks. Whoever
 *  waits is let go as by a close; nobody may begin a call any more. */
COIL_API void coil_xchan_free(coil_xchan *chan);

/** Copies the item at @p item into @p chan. Parks (a plain thread: blocks) while it is full.
 *  Returns 0; -EPIPE when the channel is closed, also while waiting; -ETIMEDOUT or -ECANCELED.
 *  After any error the item has not been sent. */
COIL_API COIL_MUST_CHECK int coil_xchan_send(coil_xchan *chan, const void *item);

/** The same without waiting: -EAGAIN when the channel is full, with capacity 0 when nobody waits
 *  for an item. */
COIL_API COIL_MUST_CHECK int coil_xchan_try_send(coil_xchan *chan, const void *item);

/** Takes the oldest item and copies it to @p ret_item. Parks (a plain thread: blocks) while there
 *  is none. Returns 1 with the item; 0 when the channel is closed and drained; -ETIMEDOUT or
 *  -ECANCELED without one. */
COIL_API COIL_MUST_CHECK int coil_xchan_recv(coil_xchan *chan, void *ret_item);

/** The same without waiting: -EAGAIN when there is no item. */
COIL_API COIL_MUST_CHECK int coil_xchan_try_recv(coil_xchan *chan, void *ret_item);

/** Closes @p chan: sends fail with -EPIPE from now on, those that wait as well; receivers get the
 *  items that are stored, then 0. Harmless when closed. Never parks. */
COIL_API void coil_xchan_close(coil_xchan *chan);

/** Returns whether @p chan has been closed. */
COIL_API bool coil_xchan_is_closed(coil_xchan *chan);

/** Returns the number of stored items at some moment of the call. */
COIL_API size_t coil_xchan_len(coil_xchan *chan);

/** Returns how many wait in coil_xchan_send(), at some moment of the call. */
COIL_API size_t coil_xchan_sending(coil_xchan *chan);

/** Returns how many wait in coil_xchan_recv(), at some moment of the call. */
COIL_API size_t coil_xchan_receiving(coil_xchan *chan);

COIL_END_DECLS

#endif
