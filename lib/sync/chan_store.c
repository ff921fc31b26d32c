/* SPDX-License-Identifier: MIT */
/* How a channel keeps its items (sync/chan.h): slots, their growth, and the two orders that are not
 * first in, first out.
 *
 * An unbounded channel doubles its slots when they are full, and gives a large array back when it
 * is drained: what a burst took does not stay. A resize allocates before it changes anything, and
 * moves the items in order to the beginning of the new slots.
 *
 * The heap is binary and orders by the caller's comparison, then by age. Sifting moves a hole
 * instead of swapping, so that no item needs a third place: one that comes is in its sender's
 * hands, and the last, which takes the root's place, stays where it is until the hole is found.
 */
#include "sync/chan.h"

#include <errno.h>

#include "base/alloc.h"

enum {
    GROWN_SLOTS = 32,    /* at least, when an unbounded channel grows */
    LARGE_BYTES = 65536, /* slots that stay with an empty channel take no more */
};

static unsigned char *slot(const coil_chan *chan, size_t index)
{
    return chan->slots + index * chan->stride;
}

void *coil__chan_next(const coil_chan *chan)
{
    COIL_ASSERT(chan->len > 0);
    return slot(chan, chan->order == COIL_CHAN_LIFO ? chan->len - 1 : chan->head);
}

/* ---- Slots ---- */

void coil__chan_set_room(coil_chan *chan)
{
    const bool is_unbounded = chan->capacity == COIL_CHAN_UNBOUNDED;
    const size_t limit = is_unbounded ? chan->items_max : chan->capacity;

    chan->room = is_unbounded && chan->slot_count < limit ? chan->slot_count : limit;
    chan->is_large = is_unbounded && chan->slot_count * chan->stride > LARGE_BYTES;
    COIL_ASSERT(chan->room <= chan->slot_count);
}

static void replace_slots(coil_chan *chan, unsigned char *slots, size_t slot_count)
{
    if (chan->slots != chan->first_slots)
        coil__free(chan->slots);
    chan->slots = slots;
    chan->slot_count = slot_count;
    chan->head = 0;
}

int coil__chan_set_slots(coil_chan *chan, size_t slot_count)
{
    const size_t at_end = chan->slot_count - chan->head;
    const size_t unwrapped = chan->len < at_end ? chan->len : at_end;
    unsigned char *slots;
    size_t size;

    COIL_ASSERT(slot_count >= chan->len);
    if (__builtin_mul_overflow(slot_count, chan->stride, &size))
        return -ENOMEM;
    slots = coil__alloc(size > 0 ? size : 1);
    if (!slots)
        return -ENOMEM;
    memcpy(slots, slot(chan, chan->head), unwrapped * chan->stride);
    memcpy(slots + unwrapped * chan->stride, chan->slots, (chan->len - unwrapped) * chan->stride);
    replace_slots(chan, slots, slot_count);
    return 0;
}

int coil__chan_grow(coil_chan *chan)
{
    size_t wanted = chan->slot_count < GROWN_SLOTS / 2 ? GROWN_SLOTS / 2 : chan->slot_count;
    int result;

    if (chan->capacity != COIL_CHAN_UNBOUNDED)
        return -EAGAIN;
    if (chan->len >= chan->items_max)
        return -ENOBUFS;
    if (__builtin_mul_overflow(wanted, 2, &wanted))
        return -ENOMEM;
    result = coil__chan_set_slots(chan, wanted < chan->items_max ? wanted : chan->items_max);
    if (result == 0)
        coil__chan_set_room(chan);
    return result;
}

void coil__chan_shrink(coil_chan *chan)
{
    COIL_ASSERT(chan->len == 0 && chan->is_large);
    replace_slots(chan, chan->first_slots, chan->first_slot_count);
    coil__chan_set_room(chan);
}

/* ---- Heap ---- */

static uint64_t *sequence_of(const coil_chan *chan, unsigned char *item)
{
    return (uint64_t *)(void *)(item + chan->stride - sizeof(uint64_t));
}

static bool leaves_before(const coil_chan *chan, unsigned char *a, unsigned char *b)
{
    const int difference = chan->compare(a, b);

    return difference < 0 || (difference == 0 && *sequence_of(chan, a) < *sequence_of(chan, b));
}

static void push_heap(coil_chan *chan, const void *item)
{
    size_t hole = chan->len;
    unsigned char *place;

    /* The newest leaves after its equals, so it passes only those that are greater. */
    while (hole > 0 && chan->compare(item, slot(chan, (hole - 1) / 2)) < 0) {
        memcpy(slot(chan, hole), slot(chan, (hole - 1) / 2), chan->stride);
        hole = (hole - 1) / 2;
    }
    place = slot(chan, hole);
    memcpy(place, item, chan->item_size);
    *sequence_of(chan, place) = ++chan->sequence;
}

/* Fills the root with the last of `chan->len` items. */
static void refill_root(coil_chan *chan)
{
    const size_t count = chan->len - 1;
    unsigned char *last = slot(chan, count);
    size_t hole = 0;

    for (;;) {
        size_t child = 2 * hole + 1;

        if (child >= count)
            break;
        if (child + 1 < count && leaves_before(chan, slot(chan, child + 1), slot(chan, child)))
            child++;
        if (!leaves_before(chan, slot(chan, child), last))
            break;
        memcpy(slot(chan, hole), slot(chan, child), chan->stride);
        hole = child;
    }
    if (hole != count)
        memcpy(slot(chan, hole), last, chan->stride);
}

/* ---- Orders ---- */

void coil__chan_push(coil_chan *chan, const void *item)
{
    COIL_ASSERT(chan->len < chan->slot_count && chan->head == 0);
    if (chan->order == COIL_CHAN_PRIORITY)
        push_heap(chan, item);
    else
        memcpy(slot(chan, chan->len), item, chan->item_size);
}

void coil__chan_remove(coil_chan *chan)
{
    COIL_ASSERT(chan->len > 0 && chan->head == 0);
    if (chan->order == COIL_CHAN_PRIORITY)
        refill_root(chan);
}
