/* SPDX-License-Identifier: MIT */
/* Results in the order of the spawns (coil/pile.h).
 *
 * A call is a record in a list, put there before the pool is asked for a slot: its place is that of
 * the spawn, and whoever takes results meanwhile knows that one is to come. If the spawn fails, the
 * record goes, and the taker looks again.
 *
 * The call's fiber marks the record as done. It learns of a close that came before its first turn
 * from `is_closing`; after that `fiber` lets the close cancel it.
 *
 * A call may spawn into its own pile, and be in there when that is closed: so the close waits for
 * the spawns, too.
 *
 * Invariants: call_count is the length of `calls`, at most `limit`; running and spawning count the
 * fibers that will still look at the pile; the taker waits only while the front is not done.
 */
#include <coil/pile.h>

#include <errno.h>

#include "base/alloc.h"
#include "base/slab.h"
#include "core/waitq.h"

enum {
    LIMIT_DEFAULT = 1000000, /* some 70 MB of records: beyond it a loop has gone wild */
    CALLS_PER_CHUNK = 32,
};

struct coil_pile {
    coil_pool *pool;
    size_t limit;
    void (*item_free)(void *item);
    struct coil__list calls; /* in the order of the spawns */
    size_t call_count;
    struct coil__slab call_slab;
    struct coil__waitq taker; /* parked in coil_pile_next() */
    struct coil__waitq closer;
    size_t running;
    size_t spawning; /* fibers in coil_pile_spawn() */
    bool is_awaited; /* a fiber is in coil_pile_next() */
    bool is_closing;
};

COIL_STATIC_ASSERT(sizeof(coil_pile) <= 144, "a promise of the header");

struct call {
    struct coil__list link;
    coil_pile *pile;
    int (*fn)(void *item);
    void *item;
    coil_fiber *fiber; /* borrowed; NULL before its first turn and after its end */
    int result;
    bool is_done;
};

COIL_STATIC_ASSERT(sizeof(struct call) <= 88, "a promise of the header");

int coil_pile_new(coil_pool *pool, size_t limit, void (*item_free)(void *item),
                  coil_pile **ret_pile)
{
    coil_pile *pile = coil__alloc(sizeof *pile);

    if (!pile)
        return -ENOMEM;
    *pile = (coil_pile){
        .pool = pool,
        .limit = limit ? limit : LIMIT_DEFAULT,
        .item_free = item_free,
    };
    coil__list_init(&pile->calls);
    coil__slab_init(&pile->call_slab, sizeof(struct call), CALLS_PER_CHUNK);
    coil__waitq_init(&pile->taker);
    coil__waitq_init(&pile->closer);
    *ret_pile = pile;
    return 0;
}

static struct call *front_of(const coil_pile *pile)
{
    struct coil__list *link = coil__list_first(&pile->calls);

    return link ? container_of(link, struct call, link) : NULL;
}

static void remove_call(struct call *call)
{
    coil__list_remove(&call->link);
    call->pile->call_count--;
    coil__slab_put(&call->pile->call_slab, call);
}

/* The front may have changed. */
static void tell_taker(coil_pile *pile)
{
    const struct call *front = front_of(pile);

    if (!front || front->is_done)
        coil__waitq_wake_one(&pile->taker, 0);
}

/* The last thing that a fiber does with the pile. */
static void tell_closer(struct coil_pile *pile)
{
    if (pile->running == 0 && pile->spawning == 0)
        coil__waitq_wake_all(&pile->closer, 0);
}

/* ---- Spawning ---- */

static int call_main(void *arg)
{
    struct call *call = arg;
    coil_pile *pile = call->pile;

    call->fiber = coil_self();
    if (pile->is_closing)
        coil_cancel(call->fiber);
    call->result = call->fn(call->item);
    call->is_done = true;
    call->fiber = NULL;
    tell_taker(pile);
    pile->running--;
    tell_closer(pile);
    return 0; /* the result reaches the taker, not the hook for what nobody collects */
}

int coil_pile_spawn(coil_pile *pile, int (*fn)(void *item), void *item)
{
    struct call *call;
    int result;

    if (pile->call_count >= pile->limit)
        return -ENOBUFS;
    call = coil__slab_get(&pile->call_slab);
    if (!call)
        return -ENOMEM;
    *call = (struct call){.pile = pile, .fn = fn, .item = item};
    coil__list_push_back(&pile->calls, &call->link);
    pile->call_count++;
    pile->running++;
    pile->spawning++;

    result = coil_pool_spawn_detached(pile->pool, call_main, call);
    pile->spawning--;
    if (result < 0) {
        pile->running--;
        remove_call(call);
        tell_taker(pile);
    }
    tell_closer(pile);
    return result;
}

/* ---- Taking ---- */

/* Parks until the front is done (1), or there is none (0). */
static int await_front(coil_pile *pile)
{
    for (;;) {
        const struct call *front = front_of(pile);
        int result;

        if (!front)
            return 0;
        if (front->is_done)
            return 1;
        if (front->fiber == coil_self())
            return -EDEADLK;
        result = coil__waitq_park(&pile->taker, "next of pile", pile);
        if (result < 0)
            return result;
    }
}

int coil_pile_next(coil_pile *pile, void **ret_item, int *ret_result)
{
    struct call *front;
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (pile->is_awaited)
        return -EBUSY;
    pile->is_awaited = true;
    result = await_front(pile);
    pile->is_awaited = false;
    if (result <= 0)
        return result;
    front = front_of(pile);
    COIL_ASSERT(front && "await_front() said so");
    *ret_item = front->item;
    if (ret_result)
        *ret_result = front->result;
    remove_call(front);
    return 1;
}

/* ---- The end ---- */

void coil_pile_close(coil_pile *pile)
{
    struct coil__list *link;
    struct call *call;

    if (!pile)
        return;
    COIL_ASSERT(!pile->is_awaited && "nobody is in coil_pile_next()");
    pile->is_closing = true;
    for (link = pile->calls.next; link != &pile->calls; link = link->next) {
        call = container_of(link, struct call, link);
        if (!call->fiber)
            continue;
        COIL_ASSERT(call->fiber != coil_self() && "a call would wait for itself");
        coil_cancel(call->fiber);
    }
    if (pile->running > 0 || pile->spawning > 0)
        (void)coil__waitq_park_shielded(&pile->closer, "cancelled pile calls");

    for (call = front_of(pile); call; call = front_of(pile)) {
        if (pile->item_free)
            pile->item_free(call->item);
        remove_call(call);
    }
    coil__slab_fini(&pile->call_slab);
    coil__free(pile);
}
