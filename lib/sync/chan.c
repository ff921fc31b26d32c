/* SPDX-License-Identifier: MIT */
/* Bounded channel (coil/chan.h).
 *
 * Stored items live in a ring of `capacity` slots behind the struct. A fiber that waits parks with
 * the address of its item or of its buffer, and whoever makes the wait end copies the item before
 * the wake, so that no state exists in which an item is promised but not delivered: an interrupted
 * waiter has left its queue and nothing was copied; a woken one has what it waited for, whatever
 * cancels it then. Nobody touches the channel after its wait, so freeing lets go of everybody.
 *
 * Order: a send stores only when nobody receives, a receive that frees a slot fills it at once with
 * the item of the longest waiting sender. With capacity 0 the ring is empty for ever and the same
 * two rules make a rendezvous.
 *
 * Invariants: receivers wait only while nothing is stored and no sender waits; senders wait only
 * while the ring is full; a closed channel has no waiters.
 */
#include <coil/chan.h>

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "core/waitq.h"

struct coil_chan {
    struct coil__waitq senders;   /* object: struct sender */
    struct coil__waitq receivers; /* object: the buffer that the item goes to */
    size_t item_size;
    size_t capacity; /* items */
    size_t head;     /* slot of the oldest item */
    size_t len;      /* items stored */
    bool is_closed;
    unsigned char slots[];
};

struct sender {
    const void *item;
};

int coil_chan_new(size_t capacity, size_t item_size, coil_chan **ret_chan)
{
    coil_chan *chan;
    size_t size;

    if (item_size == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(capacity, item_size, &size) ||
        __builtin_add_overflow(size, sizeof *chan, &size))
        return -ENOMEM;
    chan = coil__alloc(size);
    if (!chan)
        return -ENOMEM;

    chan->item_size = item_size;
    chan->capacity = capacity;
    coil__waitq_init(&chan->senders);
    coil__waitq_init(&chan->receivers);
    *ret_chan = chan;
    return 0;
}

void coil_chan_free(coil_chan *chan)
{
    if (!chan)
        return;
    coil_chan_close(chan);
    coil__free(chan);
}

/* ---- The ring ---- */

static void store(coil_chan *chan, const void *item)
{
    const size_t room_at_end = chan->capacity - chan->head;
    const size_t slot = chan->len < room_at_end ? chan->head + chan->len : chan->len - room_at_end;

    COIL_ASSERT(chan->len < chan->capacity);
    memcpy(chan->slots + slot * chan->item_size, item, chan->item_size);
    chan->len++;
}

static void take_stored(coil_chan *chan, void *ret_item)
{
    COIL_ASSERT(chan->len > 0);
    memcpy(ret_item, chan->slots + chan->head * chan->item_size, chan->item_size);
    chan->head = chan->head + 1 < chan->capacity ? chan->head + 1 : 0;
    chan->len--;
}

/* The item of the longest waiting sender, who is woken and has sent it; NULL when nobody waits. The
 * item stays in place until that fiber runs. */
static const void *take_sender(coil_chan *chan)
{
    const struct coil__waiter *waiter = coil__waitq_first(&chan->senders);
    const struct sender *sender;

    if (!waiter)
        return NULL;
    sender = waiter->object;
    coil__waitq_wake_one(&chan->senders, 0);
    return sender->item;
}

/* ---- Sending ---- */

int coil_chan_try_send(coil_chan *chan, const void *item)
{
    const struct coil__waiter *receiver;

    if (chan->is_closed)
        return -EPIPE;
    receiver = coil__waitq_first(&chan->receivers);
    if (receiver) {
        COIL_ASSERT(chan->len == 0 && "or the receiver would not wait");
        memcpy(receiver->object, item, chan->item_size);
        coil__waitq_wake_one(&chan->receivers, 1);
        return 0;
    }
    if (chan->len == chan->capacity)
        return -EAGAIN;
    store(chan, item);
    return 0;
}

int coil_chan_send(coil_chan *chan, const void *item)
{
    struct sender sender = {.item = item};
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    result = coil_chan_try_send(chan, item);
    if (result != -EAGAIN)
        return result;
    return coil__waitq_park(&chan->senders, "channel send", &sender);
}

/* ---- Receiving ---- */

int coil_chan_try_recv(coil_chan *chan, void *ret_item)
{
    const void *sent;

    if (chan->len > 0) {
        take_stored(chan, ret_item);
        sent = take_sender(chan);
        if (sent)
            store(chan, sent);
        return 1;
    }
    sent = take_sender(chan);
    if (sent) {
        COIL_ASSERT(chan->capacity == 0 && "senders wait only while the ring is full");
        memcpy(ret_item, sent, chan->item_size);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

int coil_chan_recv(coil_chan *chan, void *ret_item)
{
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    result = coil_chan_try_recv(chan, ret_item);
    if (result != -EAGAIN)
        return result;
    return coil__waitq_park(&chan->receivers, "channel receive", ret_item);
}

/* ---- State ---- */

void coil_chan_close(coil_chan *chan)
{
    chan->is_closed = true;
    coil__waitq_wake_all(&chan->senders, -EPIPE);
    coil__waitq_wake_all(&chan->receivers, 0);
}

bool coil_chan_is_closed(const coil_chan *chan)
{
    return chan->is_closed;
}

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
