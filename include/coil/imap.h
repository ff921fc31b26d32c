/* SPDX-License-Identifier: MIT */
/* coil/imap.h - apply a function to a stream of items, many at a time, bounded, in order or not.
 *
 * An imap has a feeder, which brings items; a number of workers, one fiber for each item under way;
 * and a consumer, who takes the items back in the order in which they were fed, each with what the
 * function returned for it:
 *
 *     coil_imap_new(200, fetch, next_url, &urls, free_page, &imap);
 *     while ((got = coil_imap_next(imap, &page, &result)) > 0)
 *         report(page, result);
 *     coil_imap_close(imap);
 *
 * An item is a pointer to whatever the user made; the function leaves its results inside. Items
 * change hands: the feeder gives them to the imap, which gives them to the consumer, or to
 * item_free when it is closed before.
 *
 * Memory is bounded: at most `size` items are under way or finished and not yet taken. The feeder
 * is not asked for more, so a slow consumer slows down the input, be it endless. The feeder runs in
 * a fiber of its own and may park (read the next line, wait for a channel).
 *
 * Failures stay where they belong: an item whose function fails is delivered at its place with its
 * negative result and the rest goes on; a feeder that fails ends the input, and the consumer gets
 * its error after the last item that came before.
 *
 * An imap is 208 bytes, and 48 and a fiber for each item under way.
 *
 * Threads: fibers of one core only. One consumer at a time.
 */
#ifndef COIL_IMAP_H
#define COIL_IMAP_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_imap coil_imap;

/** Starts an imap with room for @p size items and schedules its feeder; nothing has run yet when
 *  this returns. Never parks. The caller owns the imap and closes it.
 *
 *  @p fn(item) works on one item and returns its result, negative for a failure. @p next(@p arg,
 *  &item) returns 1 with the next item, 0 at the end, or a negative error; it is called only while
 *  there is room, and never again after an end or an error. @p item_free (may be NULL) gets every
 *  item that the consumer did not take. @p arg stays the caller's and must live until
 *  coil_imap_close(). All three may park.
 *
 *  Returns 0, -EINVAL when @p size is 0, -EAGAIN at the limit of fibers, or -ENOMEM. A worker that
 *  can't be started later gives its item that -EAGAIN or -ENOMEM as result.
 *  Like GreenPool.imap(). */
COIL_API COIL_MUST_CHECK int coil_imap_new(size_t size, int (*fn)(void *item),
                                           int (*next)(void *arg, void **ret_item), void *arg,
                                           void (*item_free)(void *item), coil_imap **ret_imap);

/** The same, but coil_imap_next() gives each item as soon as it is done, in that order.
 *  Like gevent's imap_unordered(). */
COIL_API COIL_MUST_CHECK int coil_imap_new_unordered(size_t size, int (*fn)(void *item),
                                                     int (*next)(void *arg, void **ret_item),
                                                     void *arg, void (*item_free)(void *item),
                                                     coil_imap **ret_imap);

/** Takes the next item in input order, with its result (@p ret_result may be NULL). Parks until the
 *  item's function has returned. The item is the caller's from now on.
 *
 *  Returns 1 with the item; 0 at the end; the feeder's negative error after the last item, again at
 *  each further call; -EDEADLK to a worker or the feeder of this imap, which might wait for itself,
 *  whatever there is to take; -EBUSY when another fiber waits in this call; -ETIMEDOUT or
 *  -ECANCELED of the calling fiber's scopes, which take nothing: just call again.
 *  Like next() on what GreenPool.imap() returns. */
COIL_API COIL_MUST_CHECK int coil_imap_next(coil_imap *imap, void **ret_item, int *ret_result);

/** Cancels the feeder and the workers, waits until they have ended, gives the items that are left
 *  to item_free, and frees @p imap; NULL is harmless. Fine at any time, also after the end.
 *
 *  Parks, and nothing interrupts it: a releasing call. Results of the items that are left are
 *  dropped. Must not be called by the imap's own feeder or workers, nor while another fiber is in
 *  coil_imap_next(). eventlet has no counterpart: there, workers of an abandoned imap leak. */
COIL_API void coil_imap_close(coil_imap *imap);

COIL_END_DECLS

#endif
