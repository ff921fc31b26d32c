/* SPDX-License-Identifier: MIT */
/* Bounded map over a stream of items, in input order or as they are done (coil/imap.h).
 *
 * The feeder makes a record (struct element) per item, appends it to a list and starts a worker for
 * it; the worker marks its record as done; the consumer takes records from the front, and only when
 * the front is done. So the list is the order, and its length, which the feeder keeps at `size` or
 * less, is the bound on everything: fibers, items, memory. Without order, a record that is done
 * moves to a second list, and the consumer takes the front of that one; both count.
 *
 * The record is made before the feeder's callback is asked for an item, so that no item is ever in
 * hand without a place to put it: when memory runs out, the input ends with -ENOMEM instead.
 *
 * Workers and feeder are known by their entry and its argument, without a mark on the fiber, as the
 * members of a pool.
 *
 * Closing cancels and then waits for `fiber_count` to fall to 0, uninterrupted; what is in the list
 * then belongs to nobody else and is freed.
 *
 * Invariants: element_count is the length of `elements` and `finished`, at most `size`; the feeder
 * waits for room only while it is `size`; the consumer waits only while the front is not done and,
 * if there are no elements, the feeder runs.
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
    struct coil__list finished; /* without order: those that are done, in the order of their ends */
    size_t element_count;
    struct coil__slab element_slab;
    struct coil__waitq room;     /* the feeder, while element_count is `size` */
    struct coil__waitq consumer; /* parked in coil_imap_next() */
    struct coil__waitq closer;
    coil_fiber *feeder; /* borrowed; NULL when it has ended */
    size_t fiber_count; /* the feeder and the workers */
    int input_result;   /* what the feeder ended with: 0, or its error */
    const void *spawn_site;
    bool is_unordered;
    bool is_awaited; /* a fiber is in coil_imap_next() */
    bool is_closing;
};

COIL_STATIC_ASSERT(sizeof(coil_imap) <= 208, "a promise of the header");

struct element {
    struct coil__list link;
    coil_imap *imap;
    void *item;
    coil_fiber *fiber; /* borrowed; NULL when the worker has ended or there is none */
    int result;
    bool is_done;
};

COIL_STATIC_ASSERT(sizeof(struct element) <= 48, "a promise of the header");

/* What the consumer takes next, be it done or not, or NULL. */
static struct element *front_of(const coil_imap *imap)
{
    struct coil__list *link =
        coil__list_first(imap->is_unordered ? &imap->finished : &imap->elements);

    return link ? container_of(link, struct element, link) : NULL;
}

/* No element is left and none will come. */
static bool is_at_end(const coil_imap *imap)
{
    return imap->element_count == 0 && !imap->feeder;
}

/* ---- Fibers ---- */

/* The front of the list, or the end of the input, has changed. */
static void tell_consumer(coil_imap *imap)
{
    const struct element *front = front_of(imap);

    if ((front && front->is_done) || is_at_end(imap))
        coil__waitq_wake_one(&imap->consumer, 0);
}

static void mark_done(struct element *element, int result)
{
    element->result = result;
    element->is_done = true;
    if (!element->imap->is_unordered)
        return;
    coil__list_remove(&element->link);
    coil__list_push_back(&element->imap->finished, &element->link);
}

/* The last thing that a fiber of the imap does with it. */
static void fiber_ends(coil_imap *imap)
{
    COIL_ASSERT(imap->fiber_count > 0);
    coil__self()->entry = NULL; /* what it calls from now on, it calls as a stranger */
    tell_consumer(imap);
    if (--imap->fiber_count == 0)
        coil__waitq_wake_all(&imap->closer, 0);
}

static int worker_main(void *arg)
{
    struct element *element = arg;
    coil_imap *imap = element->imap;

    mark_done(element, imap->fn(element->item));
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
        mark_done(element, result);
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

/* Whether the fiber is a worker or the feeder of the imap. */
static bool is_member(const coil_imap *imap, const struct coil__tcb *tcb)
{
    if (tcb->entry == worker_main)
        return ((const struct element *)tcb->arg)->imap == imap;
    return tcb->entry == feeder_main && tcb->arg == imap;
}

/* ---- Public ---- */

static int start(struct coil_imap spec, coil_imap **ret_imap)
{
    coil_imap *imap;
    int result;

    if (spec.size == 0)
        return -EINVAL;
    imap = coil__alloc(sizeof *imap);
    if (!imap)
        return -ENOMEM;
    *imap = spec;
    imap->fiber_count = 1;
    coil__list_init(&imap->elements);
    coil__list_init(&imap->finished);
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
    coil_fiber_name_set(imap->feeder, "imap feeder");
    coil_fiber_unref(imap->feeder);
    *ret_imap = imap;
    return 0;
}

int coil_imap_new(size_t size, int (*fn)(void *item), int (*next)(void *arg, void **ret_item),
                  void *arg, void (*item_free)(void *item), coil_imap **ret_imap)
{
    const struct coil_imap spec = {
        .fn = fn,
        .next = next,
        .arg = arg,
        .item_free = item_free,
        .size = size,
        .spawn_site = __builtin_return_address(0),
    };

    return start(spec, ret_imap);
}

int coil_imap_new_unordered(size_t size, int (*fn)(void *item),
                            int (*next)(void *arg, void **ret_item), void *arg,
                            void (*item_free)(void *item), coil_imap **ret_imap)
{
    const struct coil_imap spec = {
        .fn = fn,
        .next = next,
        .arg = arg,
        .item_free = item_free,
        .size = size,
        .is_unordered = true,
        .spawn_site = __builtin_return_address(0),
    };

    return start(spec, ret_imap);
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
        if (is_at_end(imap))
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
    if (is_member(imap, coil__self()))
        return -EDEADLK;
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

/* A fiber of the imap, or NULL. */
static void cancel_fiber(coil_fiber *fiber)
{
    if (!fiber)
        return;
    COIL_ASSERT(fiber != coil_self() && "a worker or the feeder would wait for itself");
    coil_cancel(fiber);
}

static void cancel_fibers(coil_imap *imap)
{
    struct coil__list *link;

    cancel_fiber(imap->feeder);
    for (link = imap->elements.next; link != &imap->elements; link = link->next)
        cancel_fiber(container_of(link, struct element, link)->fiber);
}

static void free_elements(coil_imap *imap, struct coil__list *elements)
{
    struct coil__list *link;

    while ((link = coil__list_pop_front(elements)) != NULL) {
        struct element *element = container_of(link, struct element, link);

        if (imap->item_free)
            imap->item_free(element->item);
        coil__slab_put(&imap->element_slab, element);
    }
}

void coil_imap_close(coil_imap *imap)
{
    if (!imap)
        return;
    COIL_ASSERT(!imap->is_awaited && "nobody is in coil_imap_next()");
    imap->is_closing = true;
    cancel_fibers(imap);
    if (imap->fiber_count > 0)
        coil__waitq_park_shielded(&imap->closer, "cancelled imap workers");

    free_elements(imap, &imap->elements);
    free_elements(imap, &imap->finished);
    coil__slab_fini(&imap->element_slab);
    coil__free(imap);
}
