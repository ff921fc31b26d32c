/* SPDX-License-Identifier: MIT */
/* Intrusive doubly linked list.
 *
 * A `struct coil__list` is both a list's head and the link inside an element: the element is found
 * again by container_of. Intrusive, because an element that waits must not need memory to wait,
 * and must leave the middle of a queue in O(1) when it is cancelled.
 *
 * Invariant: a link is either in a list or alone (pointing at itself), so that removing twice is
 * harmless and "is it queued?" needs no flag. A zeroed link is not valid: init first.
 */
#ifndef COIL_LIB_BASE_LIST_H
#define COIL_LIB_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include <coil/private.h> /* struct coil__list */

#include "base/assert.h"

#define container_of(pointer, type, member) \
 ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void coil__list_init(struct coil__list *list)
{
    list->next = list;
    list->prev = list;
}

/* For a head: no elements. For a link: in no list. */
static inline bool coil__list_is_empty(const struct coil__list *list)
{
    return list->next == list;
}

static inline void coil__list_insert_between(struct coil__list *link, struct coil__list *prev,
                                             struct coil__list *next)
{
    link->prev = prev;
    link->next = next;
    prev->next = link;
    next->prev = link;
}

static inline void coil__list_push_back(struct coil__list *head, struct coil__list *link)
{
    coil__list_insert_between(link, head->prev, head);
}

static inline void coil__list_push_front(struct coil__list *head, struct coil__list *link)
{
    coil__list_insert_between(link, head, head->next);
}

/* Takes `link` out of its list; harmless when it is in none. */
static inline void coil__list_remove(struct coil__list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    coil__list_init(link);
}

/* The same for a link that is next queued, or never used again: it is left as it is. */
static inline void coil__list_remove_raw(const struct coil__list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

static inline struct coil__list *coil__list_first(const struct coil__list *head)
{
    return coil__list_is_empty(head) ? NULL : head->next;
}

static inline struct coil__list *coil__list_pop_front(struct coil__list *head)
{
    struct coil__list *link = coil__list_first(head);

    if (link)
        coil__list_remove(link);
    return link;
}

/* The same for an element whose link is next used as one to be queued: it is left as it is, in no
 * list but not alone. */
static inline struct coil__list *coil__list_pop_front_raw(struct coil__list *head)
{
    struct coil__list *link = head->next;

    if (link == head)
        return NULL;
    head->next = link->next;
    link->next->prev = head;
    return link;
}

/* The number of elements; walks the list. */
static inline size_t coil__list_count(const struct coil__list *head)
{
    size_t count = 0;

    for (const struct coil__list *link = head->next; link != head; link = link->next)
        count++;
    return count;
}

/* Moves all elements of `from` behind those of `to`; `from` is empty afterwards. */
static inline void coil__list_splice_back(struct coil__list *to, struct coil__list *from)
{
    if (coil__list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    coil__list_init(from);
}

#endif
