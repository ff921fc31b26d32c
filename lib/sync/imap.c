/* SPDX-License-Identifier: MIT */
/* Ordered, bounded map over a stream of items (coil/imap.h).
 *
 * The feeder makes a record (struct element) per item, appends it to a list and starts a worker for
 * it; the worker marks its record as done; the consumer takes records from the front, and only when
 * the front is done. So the list is the order, and its length, which the feeder keeps at `size` or
 * less, is the bound on everything: fibers, items, memory.
 *
 * The record is made before the feeder's callback is asked for an item, so that no item is ever in
 * hand without a place to put it: when memory runs out, the input ends with -ENOMEM instead.
 *
 * Closing cancels and then waits for `fiber_count` to fall to 0, uninterrupted; what is in the list
 * then belongs to nobody else and is freed.
 *
 * Invariants: element_count is the length of `elements`, at most `size`; the feeder waits for room
 * only while it is `size`; the consumer waits only while the front is not done and, if the list is
 * empty, the feeder runs.
 */
#include <coil/imap.h>

#include <errno.h>

#include "base/alloc.h"
#include "base/slab.h"
#include "core/waitq.h"

enum {
    ELEMENTS_PER_CHUNK = 32,
};

struct coil_imap {
    int (*fn)(void *item);
    int (*next)(void *arg, void **ret_item);
    void *arg;
    void (*item_free)(void *item);
    size_t size;
    struct coil__list elements; /* in input order */
    size_t element_count;
    struct coil__slab element_slab;
    struct coil__waitq room;     /* the feeder, while element_count is `size` */
    struct coil__waitq consumer; /* parked in coil_imap_next() */
    struct coil__waitq closer;
    coil_fiber *feeder; /* borrowed; NULL when it has ended */
    size_t fiber_count; /* the feeder and the workers */
    int input_result;   /* what the feeder ended with: 0, or its error */
    const void *spawn_site;
    bool is_awaited; /* a fiber is in coil_imap_next() */
    bool is_closing;
};

struct element {
    struct coil__list link;
    coil_imap *imap;
    void *item;
    coil_fiber *fiber; /* borrowed; NULL when the worker has ended or there is none */
    int result;
    bool is_done;
};

/* The oldest item that was not taken, or NULL. */
static struct element *front_of(const coil_imap *imap)
{
    struct coil__list *link = coil__list_first(&imap->elements);

    return link ? container_of(link, struct element, link) : NULL;
}

/* ---- Fibers ---- */

/* The front of the list, or the end of the input, has changed. */
static void tell_consumer(coil_imap *imap)
{
    const struct element *front = front_of(imap);

    if (front ? front->is_done : !imap->feeder)
        coil__waitq_wake_one(&imap->consumer, 0);
}

/* The last thing that a fiber of the imap does with it. */
static void fiber_ends(coil_imap *imap)
{
    COIL_ASSERT(imap->fiber_count > 0);
    tell_consumer(imap);
    if (--imap->fiber_count == 0)
        coil__waitq_wake_all(&imap->closer, 0);
}

static int worker_main(void *arg)
{
    struct element *element = arg;
    coil_imap *imap = element->imap;

    element->result = imap->fn(element->item);
    element->is_done = true;
    element->fiber = NULL;
    fiber_ends(imap);
    return 0; /* the result reaches the consumer, not the hook for what nobody collects */
}

static void start_worker(coil_imap *imap, struct element *element)
{
    int result = -ECANCELED;

    if (!imap->is_closing)
        result = coil__fiber_spawn(coil__sched(), worker_main, element, imap->spawn_site,
                                   &element->fiber);
    if (result < 0) {
        element->result = result;
        element->is_done = true;
        tell_consumer(imap);
        return;
    }
    imap->fiber_count++;
    coil_fiber_unref(element->fiber);
}

/* Feeds one item: 1, or what ends the input. */
static int feed(coil_imap *imap)
{
    struct element *element;
    int result;

    if (imap->element_count == imap->size) {
        result = coil__waitq_park(&imap->room, "room in imap", imap);
        if (result < 0)
            return result;
    }
    element = coil__slab_get(&imap->element_slab);
    if (!element)
        return -ENOMEM;
    *element = (struct element){.imap = imap};
    result = imap->next(imap->arg, &element->item);
    if (result <= 0) {
        coil__slab_put(&imap->element_slab, element);
        return result;
    }
    coil__list_push_back(&imap->elements, &element->link);
    imap->element_count++;
    start_worker(imap, element);
    return 1;
}

static int feeder_main(void *arg)
{
    coil_imap *imap = arg;
    int result = 1;

    while (result > 0 && !imap->is_closing)
        result = feed(imap);
    imap->input_result = result < 0 ? result : 0;
    imap->feeder = NULL;
    fiber_ends(imap);
    return 0;
}

/* ---- Public ---- */

int coil_imap_new(size_t size, int (*fn)(void *item), int (*next)(void *arg, void **ret_item),
                  void *arg, void (*item_free)(void *item), coil_imap **ret_imap)
{
    coil_imap *imap;
    int result;

    if (size == 0)
        return -EINVAL;
    imap = coil__alloc(sizeof *imap);
    if (!imap)
        return -ENOMEM;
    *imap = (coil_imap){
        .fn = fn,
        .next = next,
        .arg = arg,
        .item_free = item_free,
        .size = size,
        .fiber_count = 1,
        .spawn_site = __builtin_return_address(0),
    };
    coil__list_init(&imap->elements);
    coil__slab_init(&imap->element_slab, sizeof(struct element), ELEMENTS_PER_CHUNK);
    coil__waitq_init(&imap->room);
    coil__waitq_init(&imap->consumer);
    coil__waitq_init(&imap->closer);

    result = coil__fiber_spawn(coil__sched(), feeder_main, imap, imap->spawn_site, &imap->feeder);
    if (result < 0) {
        coil__slab_fini(&imap->element_slab);
        coil__free(imap);
        return result;
    }
    coil_fiber_unref(imap->feeder);
    *ret_imap = imap;
    return 0;
}

/* Takes the front, whose worker is done, out of the list. */
static void take_front(coil_imap *imap, void **ret_item, int *ret_result)
{
    struct element *front = front_of(imap);

    COIL_ASSERT(front);
    COIL_ASSERT(front->is_done && "await_front() said so");
    *ret_item = front->item;
    if (ret_result)
        *ret_result = front->result;
    coil__list_remove(&front->link);
    coil__slab_put(&imap->element_slab, front);
    imap->element_count--;
    coil__waitq_wake_one(&imap->room, 0);
}

/* Parks until the front is done (1), or there is none and none will come (0). */
static int await_front(coil_imap *imap)
{
    for (;;) {
        const struct element *front = front_of(imap);
        int result;

        if (front && front->is_done)
            return 1;
        if (!front && !imap->feeder)
            return 0;
        result = coil__waitq_park(&imap->consumer, "next of imap", imap);
        if (result < 0)
            return result;
    }
}

int coil_imap_next(coil_imap *imap, void **ret_item, int *ret_result)
{
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (imap->is_awaited)
        return -EBUSY;
    imap->is_awaited = true;
    result = await_front(imap);
    imap->is_awaited = false;
    if (result == 0)
        return imap->input_result;
    if (result > 0)
        take_front(imap, ret_item, ret_result);
    return result;
}

static void cancel_fibers(coil_imap *imap)
{
    struct coil__list *link;

    if (imap->feeder)
        coil_cancel(imap->feeder);
    for (link = imap->elements.next; link != &imap->elements; link = link->next) {
        struct element *element = container_of(link, struct element, link);

        if (element->fiber)
            coil_cancel(element->fiber);
    }
}

void coil_imap_close(coil_imap *imap)
{
    struct element *front;

    if (!imap)
        return;
    COIL_ASSERT(!imap->is_awaited && "nobody is in coil_imap_next()");
    imap->is_closing = true;
    cancel_fibers(imap);
    if (imap->fiber_count > 0)
        coil__waitq_park_shielded(&imap->closer, "cancelled imap workers");

    for (front = front_of(imap); front; front = front_of(imap)) {
        coil__list_remove(&front->link);
        if (imap->item_free)
            imap->item_free(front->item);
        coil__slab_put(&imap->element_slab, front);
    }
    coil__slab_fini(&imap->element_slab);
    coil__free(imap);
}
