/* SPDX-License-Identifier: MIT */
/* Bounded channel between threads (coil/xchan.h): the rules of sync/chan.c under a lock, with the
 * waits of sync/xwait.h.
 *
 * A send stores only when nobody receives; a receive that frees a slot fills it at once with the
 * item of the longest waiting sender. Whoever ends a wait copies the item under the lock, so no
 * item is ever promised but not delivered.
 *
 * Invariants: receivers wait only while nothing is stored and no sender waits; senders wait only
 * while the ring is full; a closed channel has no waiters.
 */
#include <coil/xchan.h>

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sync/xwait.h"

struct coil_xchan {
    struct coil__xshared shared;
    struct coil__list senders;   /* their item: struct sender */
    struct coil__list receivers; /* their item: where to put it */
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

int coil_xchan_new(size_t capacity, size_t item_size, coil_xchan **ret_chan)
{
    coil_xchan *chan;
    size_t size;

    if (item_size == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(capacity, item_size, &size) ||
        __builtin_add_overflow(size, sizeof *chan, &size))
        return -ENOMEM;
    chan = coil__alloc(size);
    if (!chan)
        return -ENOMEM;
    coil__xshared_init(&chan->shared);
    coil__list_init(&chan->senders);
    coil__list_init(&chan->receivers);
    chan->item_size = item_size;
    chan->capacity = capacity;
    *ret_chan = chan;
    return 0;
}

static void close_locked(coil_xchan *chan, struct coil__list *woken)
{
    chan->is_closed = true;
    coil__xwait_hand_all(&chan->senders, -EPIPE, woken);
    coil__xwait_hand_all(&chan->receivers, 0, woken);
}

void coil_xchan_free(coil_xchan *chan)
{
    struct coil__list woken;

    if (!chan)
        return;
    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    close_locked(chan, &woken);
    coil__xshared_leave(&chan->shared);
    coil__xwait_wake(&woken);
}

/* ---- The ring, with the lock ---- */

static void store(coil_xchan *chan, const void *item)
{
    const size_t room_at_end = chan->capacity - chan->head;
    const size_t slot = chan->len < room_at_end ? chan->head + chan->len : chan->len - room_at_end;

    COIL_ASSERT(chan->len < chan->capacity);
    memcpy(chan->slots + slot * chan->item_size, item, chan->item_size);
    chan->len++;
}

static void take_stored(coil_xchan *chan, void *ret_item)
{
    COIL_ASSERT(chan->len > 0);
    memcpy(ret_item, chan->slots + chan->head * chan->item_size, chan->item_size);
    chan->head = chan->head + 1 < chan->capacity ? chan->head + 1 : 0;
    chan->len--;
}

/* The item of the longest waiting sender, who has sent it; NULL when nobody waits. The item stays
 * in place until that one is woken. */
static const void *take_sender(coil_xchan *chan, struct coil__list *woken)
{
    struct coil__xwaiter *waiter = coil__xwait_first(&chan->senders);
    const struct sender *sender;

    if (!waiter)
        return NULL;
    sender = coil__xwait_item(waiter);
    coil__xwait_hand(waiter, 0, woken);
    return sender->item;
}

static int try_send(coil_xchan *chan, const void *item, struct coil__list *woken)
{
    struct coil__xwaiter *receiver;

    if (chan->is_closed)
        return -EPIPE;
    receiver = coil__xwait_first(&chan->receivers);
    if (receiver) {
        COIL_ASSERT(chan->len == 0 && "or the receiver would not wait");
        memcpy(coil__xwait_item(receiver), item, chan->item_size);
        coil__xwait_hand(receiver, 1, woken);
        return 0;
    }
    if (chan->len == chan->capacity)
        return -EAGAIN;
    store(chan, item);
    return 0;
}

static int try_recv(coil_xchan *chan, void *ret_item, struct coil__list *woken)
{
    const void *sent;

    if (chan->len > 0) {
        take_stored(chan, ret_item);
        sent = take_sender(chan, woken);
        if (sent)
            store(chan, sent);
        return 1;
    }
    sent = take_sender(chan, woken);
    if (sent) {
        COIL_ASSERT(chan->capacity == 0 && "senders wait only while the ring is full");
        memcpy(ret_item, sent, chan->item_size);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

/* ---- Sending ---- */

int coil_xchan_try_send(coil_xchan *chan, const void *item)
{
    struct coil__list woken;
    int result;

    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    result = try_send(chan, item, &woken);
    coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
    return result;
}

int coil_xchan_send(coil_xchan *chan, const void *item)
{
    struct sender sender = {.item = item};
    struct coil__list woken;
    int result = coil__xwait_checkpoint();

    if (result < 0)
        return result;
    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    result = try_send(chan, item, &woken);
    if (result == -EAGAIN)
        return coil__xwait(&chan->shared, &chan->senders, &sender, "xchan send");
    coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
    return result;
}

/* ---- Receiving ---- */

int coil_xchan_try_recv(coil_xchan *chan, void *ret_item)
{
    struct coil__list woken;
    int result;

    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    result = try_recv(chan, ret_item, &woken);
    coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
    return result;
}

int coil_xchan_recv(coil_xchan *chan, void *ret_item)
{
    struct coil__list woken;
    int result = coil__xwait_checkpoint();

    if (result < 0)
        return result;
    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    result = try_recv(chan, ret_item, &woken);
    if (result == -EAGAIN)
        return coil__xwait(&chan->shared, &chan->receivers, ret_item, "xchan receive");
    coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
    return result;
}

/* ---- State ---- */

void coil_xchan_close(coil_xchan *chan)
{
    struct coil__list woken;

    coil__list_init(&woken);
    coil__xshared_lock(&chan->shared);
    close_locked(chan, &woken);
    coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
}

bool coil_xchan_is_closed(coil_xchan *chan)
{
    bool is_closed;

    coil__xshared_lock(&chan->shared);
    is_closed = chan->is_closed;
    coil__xshared_unlock(&chan->shared);
    return is_closed;
}

size_t coil_xchan_len(coil_xchan *chan)
{
    size_t len;

    coil__xshared_lock(&chan->shared);
    len = chan->len;
    coil__xshared_unlock(&chan->shared);
    return len;
}

size_t coil_xchan_sending(coil_xchan *chan)
{
    return coil__xwait_count(&chan->shared, &chan->senders);
}

size_t coil_xchan_receiving(coil_xchan *chan)
{
    return coil__xwait_count(&chan->shared, &chan->receivers);
}
