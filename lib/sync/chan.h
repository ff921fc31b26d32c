/* SPDX-License-Identifier: MIT */
/* The inside of a channel, for the files that make it: chan.c has sending, receiving and waiting,
 * chan_store.c how items are kept, select.c waits at several channels at once.
 *
 * Items lie in an array of `slot_count` slots, `stride` bytes each, first behind the struct, later
 * in memory of its own. First in, first out, it is a ring; the other two orders begin at slot 0: a
 * stack, whose newest item is the last, and a heap, whose slots end in a number that tells equal
 * items' age.
 *
 * `room` is what may be stored without further ado, so that a send compares once whatever kind of
 * channel it is: the capacity, or what an unbounded channel has slots for at present.
 *
 * Invariants: receivers and those that peek wait only while nothing is stored and no sender but one
 * of the same select waits; senders wait only while len >= room, in a bounded channel; a closed
 * channel has none of them.
 */
#ifndef COIL_LIB_SYNC_CHAN_H
#define COIL_LIB_SYNC_CHAN_H

#include <coil/chan.h>

#include <string.h>

#include "core/waitq.h"

struct coil_chan {
    struct coil__waitq senders;   /* object: where the address of the item is, const void ** */
    struct coil__waitq receivers; /* object: the buffer that the item goes to */
    size_t len;                   /* items stored; more than `room` after a resize */
    size_t room;
    size_t head; /* slot of the oldest item of a ring */
    size_t slot_count;
    size_t item_size;
    size_t stride;
    unsigned char *slots;
    size_t unfinished; /* accepted items without their task_done */
    uint8_t order;     /* enum coil_chan_order */
    bool is_closed;
    bool is_large;                /* slots that an empty unbounded channel gives back */
    struct coil__waitq peekers;   /* object: the buffer that the item is copied to */
    struct coil__waitq finishing; /* wait for `unfinished` to be 0 */
    size_t capacity;
    size_t items_max; /* of an unbounded channel */
    int (*compare)(const void *a, const void *b);
    uint64_t sequence; /* of the last item in a heap */
    size_t first_slot_count;
    _Alignas(16) unsigned char first_slots[];
};

/* ---- Waiting (chan.c) ---- */

/* Copies `item`, which waits in a send, to all that peek. */
void coil__chan_show(coil_chan *chan, const void *item);

/* ---- Storing (chan_store.c) ---- */

/* Moves the items to `slot_count` new slots, which are enough for them. Returns 0, or -ENOMEM and
 * nothing has changed. The caller sets the room anew. */
int coil__chan_set_slots(coil_chan *chan, size_t slot_count);

/* Makes room for one more item in a channel that has none. Returns 0; -EAGAIN when it is full;
 * -ENOMEM or -ENOBUFS when it is unbounded. */
int coil__chan_grow(coil_chan *chan);

/* Gives the slots of a large channel back, which is empty. */
void coil__chan_shrink(coil_chan *chan);

/* `room` anew, after a change of capacity or slots. */
void coil__chan_set_room(coil_chan *chan);

/* Stores into a channel that is no ring, or removes what is received next; the caller counts. */
void coil__chan_push(coil_chan *chan, const void *item);
void coil__chan_remove(coil_chan *chan);

/* The item that is received next, of a channel that stores some. */
void *coil__chan_next(const coil_chan *chan);

/* Items of the size of a pointer are what most channels carry, and a call to memcpy costs more than
 * the rest of a copy. */
static inline void coil__chan_copy(const coil_chan *chan, void *to, const void *from)
{
    if (COIL_LIKELY(chan->item_size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, chan->item_size);
}

#endif
