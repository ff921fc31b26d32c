/* SPDX-License-Identifier: MIT */
/* Bounded channel between threads (coil/xchan.h): the rules of sync/chan.c for threads, with the
 * waits of sync/xwait.h.
 *
 * A lock for those who send and one for those who receive, so that the two sides meet only in the
 * ring, and there only in what they tell each other: `sent` and `received`, which count up for
 * ever. Each side keeps what it last saw of the other's count and looks again only when that says
 * full or empty, so a stream of items moves a cache line for several of them, not several lines for
 * one. What the sides write lies a cache line apart.
 *
 * Whoever waits has both locks when it finds that it must and queues; so does whoever hands over,
 * leaves early, closes or frees. Hence no wake-up is lost: while a receiver holds the senders' lock
 * and finds the ring empty, nobody is half-way through a send; a later one sees, under its own
 * lock, that somebody waits, and takes the other lock too. The order is senders' lock, receivers'
 * lock; a receiver that needs both lets go of its own first, counted as a user meanwhile.
 *
 * A send stores only when nobody receives; a receive that frees a slot fills it at once with the
 * item of the longest waiting sender. Whoever ends a wait copies the item under the locks, so no
 * item is ever promised but not delivered.
 *
 * Invariants: receivers wait only while nothing is stored and no sender waits; senders wait only
 * while the ring is full; a closed channel has no waiters. `senders`, `receivers` and `is_closed`
 * change under both locks, so either is enough to read them.
 */
#include <coil/xchan.h>

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sync/xwait.h"

enum {
    LOOKS = 3, /* some microseconds in all, a tenth of what a wake costs */
};

/* What belongs to one side, under its lock. */
struct side {
    size_t slot; /* of the next item */
    size_t seen; /* of the other side's count, at some time */
};

struct coil_xchan {
    struct coil__xshared shared; /* its lock is the senders' */
    struct side sending;
    unsigned char apart_1[COIL__XSHARED_APART];
    pthread_mutex_t receivers_lock;
    struct side receiving;
    unsigned char apart_2[COIL__XSHARED_APART];
    _Atomic(size_t) sent; /* items stored, ever */
    unsigned char apart_3[COIL__XSHARED_APART];
    _Atomic(size_t) received; /* and taken out */
    unsigned char apart_4[COIL__XSHARED_APART];
    struct coil__list senders;   /* their item: struct sender */
    struct coil__list receivers; /* their item: where to put it */
    size_t item_size;
    size_t capacity; /* items */
    bool is_closed;
    unsigned char apart_5[COIL__XSHARED_APART];
    _Alignas(16) unsigned char slots[];
};

COIL_STATIC_ASSERT(sizeof(coil_xchan) <= 640, "a promise of the header");

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
    coil__xshared_init(&chan->shared, &chan->receivers_lock);
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
    coil__xshared_unlock(&chan->shared);
    coil__xshared_leave(&chan->shared);
    coil__xwait_wake(&woken);
}

/* ---- The locks of the sides ---- */

static void lock_senders(coil_xchan *chan)
{
    (void)pthread_mutex_lock(&chan->shared.lock);
}

static void unlock_senders(coil_xchan *chan)
{
    (void)pthread_mutex_unlock(&chan->shared.lock);
}

static void lock_receivers(coil_xchan *chan)
{
    (void)pthread_mutex_lock(&chan->receivers_lock);
}

static void unlock_receivers(coil_xchan *chan)
{
    (void)pthread_mutex_unlock(&chan->receivers_lock);
}

/* ---- The ring, each side with its lock ---- */

/* Items of the size of a pointer are what most channels carry (sync/chan.h). */
static void copy(const coil_xchan *chan, void *to, const void *from)
{
    if (COIL_LIKELY(chan->item_size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, chan->item_size);
}

static void *next_slot(coil_xchan *chan, struct side *side)
{
    const size_t slot = side->slot;

    side->slot = slot + 1 < chan->capacity ? slot + 1 : 0;
    return chan->slots + slot * chan->item_size;
}

static bool has_room(coil_xchan *chan)
{
    const size_t sent = atomic_load_explicit(&chan->sent, memory_order_relaxed);

    if (sent - chan->sending.seen < chan->capacity)
        return true;
    chan->sending.seen = atomic_load_explicit(&chan->received, memory_order_acquire);
    return sent - chan->sending.seen < chan->capacity;
}

static void store(coil_xchan *chan, const void *item)
{
    const size_t sent = atomic_load_explicit(&chan->sent, memory_order_relaxed);

    copy(chan, next_slot(chan, &chan->sending), item);
    atomic_store_explicit(&chan->sent, sent + 1, memory_order_release);
}

static bool has_items(coil_xchan *chan)
{
    const size_t received = atomic_load_explicit(&chan->received, memory_order_relaxed);

    if (chan->receiving.seen != received)
        return true;
    chan->receiving.seen = atomic_load_explicit(&chan->sent, memory_order_acquire);
    return chan->receiving.seen != received;
}

static void take_stored(coil_xchan *chan, void *ret_item)
{
    const size_t received = atomic_load_explicit(&chan->received, memory_order_relaxed);

    copy(chan, ret_item, next_slot(chan, &chan->receiving));
    atomic_store_explicit(&chan->received, received + 1, memory_order_release);
}

/* ---- Handing over, with both locks ---- */

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

static int send_with_both(coil_xchan *chan, const void *item, struct coil__list *woken)
{
    struct coil__xwaiter *receiver = coil__xwait_first(&chan->receivers);

    if (receiver) {
        COIL_ASSERT(!has_items(chan) && "or the receiver would not wait");
        copy(chan, coil__xwait_item(receiver), item);
        coil__xwait_hand(receiver, 1, woken);
        return 0;
    }
    if (!has_room(chan))
        return -EAGAIN;
    store(chan, item);
    return 0;
}

static int recv_with_both(coil_xchan *chan, void *ret_item, struct coil__list *woken)
{
    const void *sent;

    if (has_items(chan)) {
        take_stored(chan, ret_item);
        sent = take_sender(chan, woken);
        if (sent)
            store(chan, sent);
        return 1;
    }
    sent = take_sender(chan, woken);
    if (sent) {
        COIL_ASSERT(chan->capacity == 0 && "senders wait only while the ring is full");
        copy(chan, ret_item, sent);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

/* ---- Looking ---- */

/* Until the other side's count is no longer what it was seen to be, or for a few moments. Moments,
 * because to look all the time would have the line of the count go to and fro for each item. */
static void look(_Atomic(size_t) *theirs, size_t seen)
{
    for (int i = 0; i < LOOKS && coil__xwait_pass(); i++)
        if (atomic_load_explicit(theirs, memory_order_relaxed) != seen)
            return;
}

/* ---- Sending ---- */

/* With the senders' lock. */
static int try_send(coil_xchan *chan, const void *item, struct coil__list *woken)
{
    int result;

    if (chan->is_closed)
        return -EPIPE;
    if (COIL_LIKELY(coil__list_is_empty(&chan->receivers))) {
        if (!has_room(chan))
            return -EAGAIN;
        store(chan, item);
        return 0;
    }
    lock_receivers(chan);
    result = send_with_both(chan, item, woken);
    unlock_receivers(chan);
    return result;
}

int coil_xchan_try_send(coil_xchan *chan, const void *item)
{
    struct coil__list woken;
    int result;

    coil__list_init(&woken);
    lock_senders(chan);
    result = try_send(chan, item, &woken);
    unlock_senders(chan);
    coil__xwait_wake(&woken);
    return result;
}

/* A send that has found no room. With the senders' lock, which it gives up. */
static int send_late(coil_xchan *chan, const void *item)
{
    struct sender sender = {.item = item};
    struct coil__list woken;
    int result;

    coil__list_init(&woken);
    coil__xshared_join(&chan->shared);
    if (chan->capacity > 0 && coil__list_is_empty(&chan->senders)) {
        const size_t seen = chan->sending.seen;

        unlock_senders(chan);
        look(&chan->received, seen);
        lock_senders(chan);
    }
    result = try_send(chan, item, &woken);
    if (result == -EAGAIN) {
        lock_receivers(chan);
        result = send_with_both(chan, item, &woken);
        if (result == -EAGAIN)
            result = coil__xwait(&chan->shared, &chan->senders, &sender, "xchan send");
        else
            coil__xshared_unlock(&chan->shared);
    } else {
        unlock_senders(chan);
    }
    coil__xwait_wake(&woken);
    coil__xshared_leave(&chan->shared);
    return result;
}

int coil_xchan_send(coil_xchan *chan, const void *item)
{
    struct coil__list woken;
    int result = coil__xwait_checkpoint();

    if (result < 0)
        return result;
    coil__list_init(&woken);
    lock_senders(chan);
    result = try_send(chan, item, &woken);
    if (result == -EAGAIN)
        return send_late(chan, item);
    unlock_senders(chan);
    coil__xwait_wake(&woken);
    return result;
}

/* ---- Receiving ---- */

enum {
    NEEDS_BOTH = -EINPROGRESS,
};

/* With the receivers' lock; NEEDS_BOTH when there is a sender to hand over. */
static int try_recv(coil_xchan *chan, void *ret_item)
{
    if (!coil__list_is_empty(&chan->senders))
        return NEEDS_BOTH;
    if (COIL_LIKELY(has_items(chan))) {
        take_stored(chan, ret_item);
        return 1;
    }
    return chan->is_closed ? 0 : -EAGAIN;
}

/* A receive that needs the senders' lock, too. With the receivers' lock, which it gives up. */
static int recv_with_help(coil_xchan *chan, void *ret_item, bool may_wait)
{
    struct coil__list woken;
    int result;

    coil__list_init(&woken);
    coil__xshared_join(&chan->shared);
    unlock_receivers(chan);
    coil__xshared_lock(&chan->shared);
    result = recv_with_both(chan, ret_item, &woken);
    if (result == -EAGAIN && may_wait)
        result = coil__xwait(&chan->shared, &chan->receivers, ret_item, "xchan receive");
    else
        coil__xshared_unlock(&chan->shared);
    coil__xwait_wake(&woken);
    coil__xshared_leave(&chan->shared);
    return result;
}

/* A receive that has found nothing. With the receivers' lock, which it gives up. */
static int recv_late(coil_xchan *chan, void *ret_item)
{
    int result = -EAGAIN;

    coil__xshared_join(&chan->shared);
    if (chan->capacity > 0 && coil__list_is_empty(&chan->receivers)) {
        const size_t seen = chan->receiving.seen;

        unlock_receivers(chan);
        look(&chan->sent, seen);
        lock_receivers(chan);
        result = try_recv(chan, ret_item);
    }
    if (result < 0)
        result = recv_with_help(chan, ret_item, true);
    else
        unlock_receivers(chan);
    coil__xshared_leave(&chan->shared);
    return result;
}

int coil_xchan_try_recv(coil_xchan *chan, void *ret_item)
{
    int result;

    lock_receivers(chan);
    result = try_recv(chan, ret_item);
    if (result == NEEDS_BOTH)
        return recv_with_help(chan, ret_item, false);
    unlock_receivers(chan);
    return result;
}

int coil_xchan_recv(coil_xchan *chan, void *ret_item)
{
    int result = coil__xwait_checkpoint();

    if (result < 0)
        return result;
    lock_receivers(chan);
    result = try_recv(chan, ret_item);
    if (result == -EAGAIN)
        return recv_late(chan, ret_item);
    if (result == NEEDS_BOTH)
        return recv_with_help(chan, ret_item, true);
    unlock_receivers(chan);
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

    lock_receivers(chan);
    is_closed = chan->is_closed;
    unlock_receivers(chan);
    return is_closed;
}

size_t coil_xchan_len(coil_xchan *chan)
{
    size_t len;

    coil__xshared_lock(&chan->shared);
    len = atomic_load_explicit(&chan->sent, memory_order_relaxed) -
          atomic_load_explicit(&chan->received, memory_order_relaxed);
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
