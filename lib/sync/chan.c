/* SPDX-License-Identifier: MIT */
/* Channels (coil/chan.h): sending, receiving, and who waits. The fields are in sync/chan.h, storing
 * in chan_store.c.
 *
 * A fiber that waits parks with the place of its item or of its buffer, and whoever makes the wait
 * end copies the item before the wake, so that no state exists in which an item is promised but not
 * delivered: an interrupted waiter has left its queue and nothing was copied; a woken one has what
 * it waited for, whatever cancels it then. Nobody touches the channel after its wait, so freeing
 * lets go of everybody. A fiber that waits at several channels (select) has its places in the same
 * queues and is woken in the same way.
 *
 * Order: a send stores only when nobody receives, a receive that frees a slot fills it at once with
 * the item of the longest waiting sender. With capacity 0 nothing is ever stored and the same two
 * rules make a rendezvous.
 */
#include "sync/chan.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/options.h"

COIL_STATIC_ASSERT(sizeof(coil_chan) <= 176, "a promise of the header");

enum {
    UNBOUNDED_SLOTS = 16, /* the first ones, in the block of the channel itself */
    SLOT_ALIGNMENT = 16,
};

COIL_STATIC_ASSERT(offsetof(coil_chan, first_slots) % SLOT_ALIGNMENT == 0, "items are aligned");

/* ---- Life ---- */

static int check_options(const coil_chan_options *options)
{
    switch (options->order) {
    case COIL_CHAN_FIFO:
    case COIL_CHAN_LIFO:
        return options->compare ? -EINVAL : 0;
    case COIL_CHAN_PRIORITY:
        return options->compare ? 0 : -EINVAL;
    }
    return -EINVAL;
}

/* The distance between slots: in a heap, an item is followed by its number. */
static int stride_of(size_t item_size, enum coil_chan_order order, size_t *ret_stride)
{
    *ret_stride = item_size;
    if (order != COIL_CHAN_PRIORITY)
        return 0;
    if (__builtin_add_overflow(item_size, sizeof(uint64_t) + SLOT_ALIGNMENT - 1, ret_stride))
        return -ENOMEM;
    *ret_stride -= *ret_stride % SLOT_ALIGNMENT;
    return 0;
}

int coil_chan_new_with(size_t capacity, size_t item_size, const coil_chan_options *options,
                       coil_chan **ret_chan)
{
    const size_t slot_count = capacity == COIL_CHAN_UNBOUNDED ? UNBOUNDED_SLOTS : capacity;
    coil_chan_options read;
    coil_chan *chan;
    size_t stride;
    size_t size;

    if (coil__options_read(&read, sizeof read, options) < 0 || check_options(&read) < 0 ||
        item_size == 0)
        return -EINVAL;
    if (stride_of(item_size, read.order, &stride) < 0 ||
        __builtin_mul_overflow(slot_count, stride, &size) ||
        __builtin_add_overflow(size, sizeof *chan, &size))
        return -ENOMEM;
    chan = coil__alloc(size);
    if (!chan)
        return -ENOMEM;

    coil__waitq_init(&chan->senders);
    coil__waitq_init(&chan->receivers);
    coil__waitq_init(&chan->peekers);
    coil__waitq_init(&chan->finishing);
    chan->capacity = capacity;
    chan->item_size = item_size;
    chan->stride = stride;
    chan->order = (uint8_t)read.order;
    chan->compare = read.compare;
    chan->items_max = read.items_max > 0 ? read.items_max : COIL_CHAN_ITEMS_MAX;
    chan->slots = chan->first_slots;
    chan->slot_count = slot_count;
    chan->first_slot_count = slot_count;
    coil__chan_set_room(chan);
    *ret_chan = chan;
    return 0;
}

int coil_chan_new(size_t capacity, size_t item_size, coil_chan **ret_chan)
{
    return coil_chan_new_with(capacity, item_size, NULL, ret_chan);
}

void coil_chan_free(coil_chan *chan)
{
    if (!chan)
        return;
    coil_chan_close(chan);
    coil__waitq_wake_all(&chan->finishing, -EPIPE);
    if (chan->slots != chan->first_slots)
        coil__free(chan->slots);
    coil__free(chan);
}

/* ---- Items ---- */

static inline void store(coil_chan *chan, const void *item)
{
    const size_t room_at_end = chan->slot_count - chan->head;
    size_t slot;

    COIL_ASSERT(chan->len < chan->slot_count);
    if (COIL_UNLIKELY(chan->order != COIL_CHAN_FIFO)) {
        coil__chan_push(chan, item);
    } else {
        slot = chan->len < room_at_end ? chan->head + chan->len : chan->len - room_at_end;
        coil__chan_copy(chan, chan->slots + slot * chan->item_size, item);
    }
    chan->len++;
}

/* Lets go of the item that is received next. */
static inline void drop_stored(coil_chan *chan)
{
    COIL_ASSERT(chan->len > 0);
    if (COIL_UNLIKELY(chan->order != COIL_CHAN_FIFO))
        coil__chan_remove(chan);
    else
        chan->head = chan->head + 1 < chan->slot_count ? chan->head + 1 : 0;
    chan->len--;
    if (COIL_UNLIKELY(chan->is_large) && chan->len == 0)
        coil__chan_shrink(chan);
}

static inline void take_stored(coil_chan *chan, void *ret_item)
{
    if (COIL_UNLIKELY(chan->order != COIL_CHAN_FIFO))
        coil__chan_copy(chan, ret_item, coil__chan_next(chan));
    else
        coil__chan_copy(chan, ret_item, chan->slots + chan->head * chan->item_size);
    drop_stored(chan);
}

/* The item of the longest waiting sender, who is woken and has sent it; NULL when nobody waits. The
 * item stays in place until that fiber runs. */
static inline const void *take_sender(coil_chan *chan)
{
    struct coil__waiter *waiter = coil__waitq_first(&chan->senders);
    const void *item;

    if (!waiter)
        return NULL;
    item = *(const void **)waiter->object;
    coil__waiter_wake(waiter, 0);
    chan->unfinished++;
    return item;
}

/* Gives an item to the longest waiting receiver, or stores it where there is room. */
static COIL_ALWAYS_INLINE int give(coil_chan *chan, const void *item)
{
    struct coil__waiter *receiver = coil__waitq_first(&chan->receivers);

    if (receiver) {
        COIL_ASSERT(chan->len == 0 && "or the receiver would not wait");
        coil__chan_copy(chan, receiver->object, item);
        coil__waiter_wake(receiver, 1);
        return 0;
    }
    if (COIL_UNLIKELY(chan->len >= chan->room)) {
        const int result = coil__chan_grow(chan);

        if (result < 0)
            return result;
    }
    store(chan, item);
    return 0;
}

/* Fills the room that there is with the items of waiting senders. */
COIL_COLD static void let_senders_in(coil_chan *chan)
{
    while (chan->len < chan->room) {
        const void *sent = take_sender(chan);

        if (!sent)
            return;
        (void)give(chan, sent); /* there is room */
    }
}

/* ---- Sending ---- */

void coil__chan_show(coil_chan *chan, const void *item)
{
    struct coil__waiter *waiter;

    while ((waiter = coil__waitq_first(&chan->peekers)) != NULL) {
        coil__chan_copy(chan, waiter->object, item);
        coil__waiter_wake(waiter, 1);
    }
}

static inline int try_send(coil_chan *chan, const void *item)
{
    int result;

    if (chan->is_closed)
        return -EPIPE;
    result = give(chan, item);
    if (result < 0)
        return result;
    chan->unfinished++;
    if (COIL_UNLIKELY(!coil__waitq_is_empty(&chan->peekers)))
        coil__chan_show(chan, item);
    return 0;
}

int coil_chan_try_send(coil_chan *chan, const void *item)
{
    return try_send(chan, item);
}

/* By itself, or `item` would live in memory in every send. */
static __attribute__((noinline)) int wait_to_send(coil_chan *chan, const void *item)
{
    if (COIL_UNLIKELY(!coil__waitq_is_empty(&chan->peekers)))
        coil__chan_show(chan, item);
    return coil__waitq_park(&chan->senders, "channel send", &item);
}

int coil_chan_send(coil_chan *chan, const void *item)
{
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    result = try_send(chan, item);
    return COIL_LIKELY(result != -EAGAIN) ? result : wait_to_send(chan, item);
}

/* ---- Receiving ---- */

static inline int try_recv(coil_chan *chan, void *ret_item)
{
    const void *sent;

    if (chan->len > 0) {
        take_stored(chan, ret_item);
        if (chan->len < chan->room && (sent = take_sender(chan)) != NULL)
            store(chan, sent);
        return 1;
    }
    sent = take_sender(chan);
    if (sent) {
        COIL_ASSERT(chan->capacity == 0 && "senders wait only while there is no room");
        coil__chan_copy(chan, ret_item, sent);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

int coil_chan_try_recv(coil_chan *chan, void *ret_item)
{
    return try_recv(chan, ret_item);
}

int coil_chan_recv(coil_chan *chan, void *ret_item)
{
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    result = try_recv(chan, ret_item);
    if (result != -EAGAIN)
        return result;
    return coil__waitq_park(&chan->receivers, "channel receive", ret_item);
}

int coil_chan_try_peek(const coil_chan *chan, void *ret_item)
{
    const struct coil__waiter *sender;

    if (chan->len > 0) {
        coil__chan_copy(chan, ret_item, coil__chan_next(chan));
        return 1;
    }
    sender = coil__waitq_first(&chan->senders);
    if (sender) {
        coil__chan_copy(chan, ret_item, *(const void **)sender->object);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

int coil_chan_peek(coil_chan *chan, void *ret_item)
{
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    result = coil_chan_try_peek(chan, ret_item);
    if (result != -EAGAIN)
        return result;
    return coil__waitq_park(&chan->peekers, "channel peek", ret_item);
}

/* ---- Capacity ---- */

/* The slots that a channel of `capacity` starts with when it holds what this one holds, and what
 * its senders wait with. */
static size_t slots_for(const coil_chan *chan, size_t capacity)
{
    size_t count = capacity;

    if (capacity == COIL_CHAN_UNBOUNDED) {
        count = chan->len + coil__waitq_count(&chan->senders);
        if (count < UNBOUNDED_SLOTS)
            count = UNBOUNDED_SLOTS;
        if (count > chan->items_max)
            count = chan->items_max;
    }
    return count > chan->len ? count : chan->len;
}

int coil_chan_resize(coil_chan *chan, size_t capacity)
{
    const size_t slot_count = slots_for(chan, capacity);

    if (capacity == chan->capacity)
        return 0;
    /* What can't be given back for want of memory is kept: more slots than needed do no harm. */
    if (slot_count != chan->slot_count && coil__chan_set_slots(chan, slot_count) < 0 &&
        slot_count > chan->slot_count)
        return -ENOMEM;
    chan->capacity = capacity;
    coil__chan_set_room(chan);
    let_senders_in(chan);
    if (capacity == COIL_CHAN_UNBOUNDED)
        coil__waitq_wake_all(&chan->senders, -ENOBUFS);
    return 0;
}

size_t coil_chan_capacity(const coil_chan *chan)
{
    return chan->capacity;
}

/* ---- Finishing ---- */

static void finish(coil_chan *chan, size_t count)
{
    COIL_ASSERT(count <= chan->unfinished);
    chan->unfinished -= count;
    if (chan->unfinished == 0)
        coil__waitq_wake_all(&chan->finishing, 0);
}

int coil_chan_task_done(coil_chan *chan)
{
    if (chan->unfinished == 0)
        return -EINVAL;
    finish(chan, 1);
    return 0;
}

int coil_chan_join(coil_chan *chan)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0 || chan->unfinished == 0)
        return result;
    return coil__waitq_park(&chan->finishing, "channel join", NULL);
}

size_t coil_chan_unfinished(const coil_chan *chan)
{
    return chan->unfinished;
}

/* ---- The end ---- */

void coil_chan_close(coil_chan *chan)
{
    chan->is_closed = true;
    coil__waitq_wake_all(&chan->senders, -EPIPE);
    coil__waitq_wake_all(&chan->receivers, 0);
    coil__waitq_wake_all(&chan->peekers, 0);
}

size_t coil_chan_close_now(coil_chan *chan, void (*drop)(void *item, void *arg), void *arg)
{
    const size_t count = chan->len;

    coil_chan_close(chan);
    while (chan->len > 0) {
        if (drop)
            drop(coil__chan_next(chan), arg);
        drop_stored(chan);
    }
    if (count > 0)
        finish(chan, count < chan->unfinished ? count : chan->unfinished);
    return count;
}

bool coil_chan_is_closed(const coil_chan *chan)
{
    return chan->is_closed;
}

/* ---- State ---- */

size_t coil_chan_len(const coil_chan *chan)
{
    return chan->len;
}

size_t coil_chan_sending(const coil_chan *chan)
{
    return coil__waitq_count(&chan->senders);
}

size_t coil_chan_receiving(const coil_chan *chan)
{
    return coil__waitq_count(&chan->receivers);
}
