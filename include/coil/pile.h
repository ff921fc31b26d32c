/* SPDX-License-Identifier: MIT */
/* coil/pile.h - start calls one by one in a pool, collect their results in the same order.
 *
 * Where coil_imap draws its items from a function, a pile is fed by hand:
 *
 *     coil_pile_new(pool, 0, NULL, &pile);
 *     for (size_t i = 0; i < count; i++)
 *         coil_pile_spawn(pile, fetch, &pages[i]);        (parks while the pool is full)
 *     while ((got = coil_pile_next(pile, &page, &result)) > 0)
 *         report(page, result);
 *     coil_pile_close(pile);
 *
 * Several piles can share a pool, which bounds how many calls run at a time. Results wait in the
 * pile until they are taken; as whoever spawns is often the one who takes them later, a full pile
 * does not park but refuses.
 *
 * An item is a pointer to whatever the user made; the function leaves its results inside. It is the
 * pile's from the spawn until coil_pile_next() gives it back, or item_free gets it at the close.
 *
 * A pile is 144 bytes, and 88 and a slot of its pool for each call.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_PILE_H
#define COIL_PILE_H

#include <coil/base.h>
#include <coil/pool.h>

COIL_BEGIN_DECLS

typedef struct coil_pile coil_pile;

/** Makes an empty pile over @p pool, which must outlive it. It holds at most @p limit calls that
 *  run or were not taken, 0 means 1,000,000. @p item_free (may be NULL) gets every item that was
 *  not taken. Never parks. The caller owns the pile and closes it.
 *  Returns 0 or -ENOMEM. Like eventlet.GreenPile(pool). */
COIL_API COIL_MUST_CHECK int coil_pile_new(coil_pool *pool, size_t limit,
                                           void (*item_free)(void *item), coil_pile **ret_pile);

/** Runs @p fn(@p item) in the pool. Parks while no slot is free; a member of the pool lends its own
 *  (coil/pool.h). Its place among the results is that of this call.
 *
 *  Returns 0, and the item is the pile's; after an error it is the caller's and @p fn does not run:
 *  -ENOBUFS at the limit of the pile; -ETIMEDOUT or -ECANCELED while waiting for a slot;
 *  -EAGAIN at the limit of fibers, -ENOMEM, -ESHUTDOWN of the pool.
 *  Like GreenPile.spawn(). */
COIL_API COIL_MUST_CHECK int coil_pile_spawn(coil_pile *pile, int (*fn)(void *item), void *item);

/** Takes the item of the oldest call, with its result (@p ret_result may be NULL). Parks until its
 *  function has returned. Any fiber may take, one at a time.
 *
 *  Returns 1 with the item; 0 when no call is left; -EBUSY when another fiber waits in this call;
 *  -EDEADLK to a call that is the oldest itself; -ETIMEDOUT or -ECANCELED, which take nothing. Like
 *  next() on a GreenPile. */
COIL_API COIL_MUST_CHECK int coil_pile_next(coil_pile *pile, void **ret_item, int *ret_result);

/** Cancels the calls that run, waits until they have ended, gives the items that are left to
 *  item_free, and frees @p pile; NULL is harmless. The pool stays.
 *
 *  Parks, and nothing interrupts it: a releasing call. Fibers that are in coil_pile_spawn(), calls
 *  that lend their slots among them, are waited for; what they spawn is born cancelled. Must not be
 *  called by one of the calls, nor while another fiber is in coil_pile_next(). eventlet has no
 *  counterpart: there, results that nobody takes leak. */
COIL_API void coil_pile_close(coil_pile *pile);

COIL_END_DECLS

#endif
