/* SPDX-License-Identifier: MIT */
/* coil/chan.h - bounded channel: a queue of items between fibers, first in, first out.
 *
 * A channel copies items of one fixed size. Sending parks while it is full, receiving while it is
 * empty; both sides are served strictly in the order of arrival, and an item that is sent while
 * somebody waits for one is copied straight to that fiber, so nobody can overtake. With capacity 0
 * nothing is stored and a send ends when a receiver has its item: a rendezvous.
 *
 * Closing is how a sender says "that was all":
 *
 *     while ((got = coil_chan_recv(chan, &job)) > 0)
 *         run(&job);                                     (0: closed and drained)
 *
 * What was accepted before the close is still received; what was not accepted is the sender's to
 * deal with. An interruption loses nothing either: an interrupted send has sent nothing, an
 * interrupted receive has taken nothing.
 *
 * Threads: fibers of one coil_run() only.
 */
#ifndef COIL_CHAN_H
#define COIL_CHAN_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_chan coil_chan;

/** Makes a channel that stores up to @p capacity items of @p item_size bytes; their memory is
 *  allocated here. Never parks. The caller owns the channel and frees it.
 *  Returns 0, -EINVAL when @p item_size is 0, or -ENOMEM. Like eventlet.Queue(maxsize), where
 *  maxsize None has no counterpart: every channel has a limit. */
COIL_API COIL_MUST_CHECK int coil_chan_new(size_t capacity, size_t item_size, coil_chan **ret_chan);

/** Closes @p chan, lets go of every fiber that waits, drops the stored items and frees it; NULL is
 *  harmless. Never parks. What the items point to is the caller's: drain the channel first. */
COIL_API void coil_chan_free(coil_chan *chan);

/** Copies the item at @p item into @p chan. Parks while the channel is full, with capacity 0 until
 *  a receiver has taken the item.
 *  Returns 0; -EPIPE when the channel is closed, also while waiting; -ETIMEDOUT or -ECANCELED.
 *  After any error the item has not been sent. Like Queue.put(). */
COIL_API COIL_MUST_CHECK int coil_chan_send(coil_chan *chan, const void *item);

/** The same without parking: -EAGAIN when the channel is full, with capacity 0 when nobody waits
 *  for an item. Also for callbacks outside of fibers. Like Queue.put_nowait(). */
COIL_API COIL_MUST_CHECK int coil_chan_try_send(coil_chan *chan, const void *item);

/** Takes the oldest item and copies it to @p ret_item. Parks while there is none.
 *  Returns 1 with the item; 0 when the channel is closed and drained; -ETIMEDOUT or -ECANCELED
 *  without one. Like Queue.get(). */
COIL_API COIL_MUST_CHECK int coil_chan_recv(coil_chan *chan, void *ret_item);

/** The same without parking: -EAGAIN when there is no item. Like Queue.get_nowait(). */
COIL_API COIL_MUST_CHECK int coil_chan_try_recv(coil_chan *chan, void *ret_item);

/** Closes @p chan: sends fail with -EPIPE from now on, those that wait as well; receivers get the
 *  items that are stored, then 0. Harmless when closed. Never parks. */
COIL_API void coil_chan_close(coil_chan *chan);

/** Returns whether @p chan has been closed. */
COIL_API bool coil_chan_is_closed(const coil_chan *chan);

/** Returns the number of stored items, without those of waiting senders. Like Queue.qsize(). */
COIL_API size_t coil_chan_len(const coil_chan *chan);

/** Returns how many fibers wait in coil_chan_send(). Like Queue.putting(). */
COIL_API size_t coil_chan_sending(const coil_chan *chan);

/** Returns how many fibers wait in coil_chan_recv(). Like Queue.getting(). */
COIL_API size_t coil_chan_receiving(const coil_chan *chan);

COIL_END_DECLS

#endif
