/* SPDX-License-Identifier: MIT */
/* coil/chan.h - channel: a queue of items between fibers.
 *
 * A channel copies items of one fixed size. Sending parks while it is full, receiving while it is
 * empty; both sides are served strictly in the order of arrival, and an item that is sent while
 * somebody waits for one is copied straight to that fiber, so nobody can overtake. With capacity 0
 * nothing is stored and a send ends when a receiver has its item: a rendezvous. A channel with
 * COIL_CHAN_UNBOUNDED never makes its senders wait; it refuses them at a limit.
 *
 * Items leave in the order in which they came, or the newest first (a stack), or the smallest first
 * (a priority queue, equal items in the order in which they came): coil_chan_new_with().
 *
 * Closing is how a sender says "that was all":
 *
 *     while ((got = coil_chan_recv(chan, &job)) > 0)
 *         run(&job);                                     (0: closed and drained)
 *
 * What was accepted before the close is still received; what was not accepted is the sender's to
 * deal with. An interruption loses nothing either: an interrupted send has sent nothing, an
 * interrupted receive has taken nothing. coil/select.h waits at several channels at once, with the
 * same promises.
 *
 * A send that finds room, and a receive that finds an item, do not park, and others get their turn
 * only when the turn's steps are spent, some hundreds of items later. Where somebody else must keep
 * up (a writer to a slow socket), make the capacity small or call coil_yield() now and then. With
 * capacity 0 a send returns when the receiver has the item, not when it has dealt with it.
 *
 * A channel is one block of 176 bytes and its slots; one that grows takes further slots besides.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_CHAN_H
#define COIL_CHAN_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_chan coil_chan;

/** Capacity of a channel that grows with what is sent. */
#define COIL_CHAN_UNBOUNDED SIZE_MAX

/** Items that an unbounded channel stores unless its options say otherwise: far more than a
 *  consumer that is merely slow leaves lying, and an end before a dead one takes all memory. */
#define COIL_CHAN_ITEMS_MAX ((size_t)16 * 1024 * 1024)

/** What leaves a channel first. */
enum coil_chan_order {
    COIL_CHAN_FIFO,     /* the oldest item */
    COIL_CHAN_LIFO,     /* the newest item */
    COIL_CHAN_PRIORITY, /* the smallest item, the oldest of equal ones */
};

/** Options of coil_chan_new_with(); start from COIL_CHAN_OPTIONS_INIT. Zero means the default. */
typedef struct coil_chan_options {
    size_t size; /* set by the initialiser */
    enum coil_chan_order order;
    /* For COIL_CHAN_PRIORITY: less than 0 when *a leaves before *b, 0 when they are equal. It must
     * not park nor use the channel. Like the function for qsort(3). */
    int (*compare)(const void *a, const void *b);
    size_t items_max; /* of an unbounded channel: COIL_CHAN_ITEMS_MAX */
} coil_chan_options;

#define COIL_CHAN_OPTIONS_INIT      \
 {                                  \
  .size = sizeof(coil_chan_options) \
 }

/* ---- Life ---- */

/** Makes a channel that stores up to @p capacity items of @p item_size bytes; their memory is
 *  allocated here, unless @p capacity is COIL_CHAN_UNBOUNDED. Never parks. The caller owns the
 *  channel and frees it.
 *  Returns 0, -EINVAL when @p item_size is 0, or -ENOMEM. Like eventlet.Queue(maxsize). */
COIL_API COIL_MUST_CHECK int coil_chan_new(size_t capacity, size_t item_size, coil_chan **ret_chan);

/** The same with @p options (NULL: the defaults); -EINVAL also when the order and the comparison
 *  do not belong together. Like eventlet.LifoQueue and eventlet.PriorityQueue. */
COIL_API COIL_MUST_CHECK int coil_chan_new_with(size_t capacity, size_t item_size,
                                                const coil_chan_options *options,
                                                coil_chan **ret_chan);

/** Closes @p chan, lets go of every fiber that waits, drops the stored items and frees it; NULL is
 *  harmless. Never parks. What the items point to is the caller's: drain the channel first, or see
 *  coil_chan_close_now(). */
COIL_API void coil_chan_free(coil_chan *chan);

/** Closes @p chan: sends fail with -EPIPE from now on, those that wait as well; receivers get the
 *  items that are stored, then 0. Harmless when closed. Never parks. Like gevent's
 *  Queue.shutdown(). */
COIL_API void coil_chan_close(coil_chan *chan);

/** Closes @p chan and drops the stored items, in the order in which they would have been received:
 *  each is given to @p drop (may be NULL) first, in place, with @p arg. Dropped items count as done
 *  (coil_chan_task_done). Never parks, nor may @p drop, which must leave the channel alone.
 *  Returns how many were dropped. Like Queue.shutdown(immediate=True). */
COIL_API size_t coil_chan_close_now(coil_chan *chan, void (*drop)(void *item, void *arg),
                                    void *arg);

/** Returns whether @p chan has been closed. */
COIL_API bool coil_chan_is_closed(const coil_chan *chan);

/* ---- Items ---- */

/** Copies the item at @p item into @p chan. Parks while the channel is full, with capacity 0 until
 *  a receiver has taken the item; never in an unbounded channel.
 *  Returns 0; -EPIPE when the channel is closed, also while waiting; -ETIMEDOUT or -ECANCELED; of
 *  an unbounded channel -ENOMEM, or -ENOBUFS at its limit of items.
 *  After any error the item has not been sent. Like Queue.put(). */
COIL_API COIL_MUST_CHECK int coil_chan_send(coil_chan *chan, const void *item);

/** The same without parking: -EAGAIN when the channel is full, with capacity 0 when nobody waits
 *  for an item. Also for callbacks outside of fibers. Like Queue.put_nowait(). */
COIL_API COIL_MUST_CHECK int coil_chan_try_send(coil_chan *chan, const void *item);

/** Takes the item that is due and copies it to @p ret_item. Parks while there is none.
 *  Returns 1 with the item; 0 when the channel is closed and drained; -ETIMEDOUT or -ECANCELED
 *  without one. Like Queue.get(). */
COIL_API COIL_MUST_CHECK int coil_chan_recv(coil_chan *chan, void *ret_item);

/** The same without parking: -EAGAIN when there is no item. Like Queue.get_nowait(). */
COIL_API COIL_MUST_CHECK int coil_chan_try_recv(coil_chan *chan, void *ret_item);

/** Copies to @p ret_item what coil_chan_recv() would take now, and leaves it there for others; with
 *  capacity 0, the item of the sender that waits longest. Parks while there is none; all that peek
 *  see the next item, before it is received. Returns as coil_chan_recv(). Like Queue.peek(). */
COIL_API COIL_MUST_CHECK int coil_chan_peek(coil_chan *chan, void *ret_item);

/** The same without parking: -EAGAIN when there is no item. Like Queue.peek_nowait(). */
COIL_API COIL_MUST_CHECK int coil_chan_try_peek(const coil_chan *chan, void *ret_item);

/* ---- Capacity ---- */

/** Makes @p capacity the capacity of @p chan, as for coil_chan_new(). Growing lets waiting senders
 *  in, in order, as many as there is room for; shrinking keeps what is stored, and nobody gets in
 *  until less than the new capacity is left. Never parks.
 *  Returns 0, or -ENOMEM and nothing has changed. Like Queue.resize(). */
COIL_API COIL_MUST_CHECK int coil_chan_resize(coil_chan *chan, size_t capacity);

/** Returns the capacity. Like Queue.maxsize. */
COIL_API size_t coil_chan_capacity(const coil_chan *chan);

/** Returns the number of stored items, without those of waiting senders. With capacity 0 a channel
 *  is always both empty and full. Like Queue.qsize(). */
COIL_API size_t coil_chan_len(const coil_chan *chan);

/** Returns how many fibers wait in coil_chan_send(), or with a send in coil/select.h. Like
 *  Queue.putting(). */
COIL_API size_t coil_chan_sending(const coil_chan *chan);

/** Returns how many fibers wait in coil_chan_recv(), or with a receive in coil/select.h. Like
 *  Queue.getting(). */
COIL_API size_t coil_chan_receiving(const coil_chan *chan);

/* ---- Work that is done ---- */

/** Says that one received item has been dealt with; the last one wakes all that join. Never parks.
 *  Returns 0, or -EINVAL when everything that was ever sent is done. Like Queue.task_done(). */
COIL_API int coil_chan_task_done(coil_chan *chan);

/** Waits until every item that was sent has been dealt with: coil_chan_task_done() was called as
 *  often as items were accepted. Parks, unless that is so already.
 *  Returns 0; -EPIPE when the channel is freed; -ETIMEDOUT or -ECANCELED. Like Queue.join(). */
COIL_API COIL_MUST_CHECK int coil_chan_join(coil_chan *chan);

/** Returns how many sent items have not been dealt with. Like Queue.unfinished_tasks. */
COIL_API size_t coil_chan_unfinished(const coil_chan *chan);

COIL_END_DECLS

#endif
