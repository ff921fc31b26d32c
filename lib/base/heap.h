/* SPDX-License-Identifier: MIT */
/* Intrusive priority queue (a pairing heap) ordered by key, equal keys by sequence.
 *
 * Timers live in it. A pairing heap, because arming a timer must not allocate (scopes cannot
 * fail), and because the common life of a timer, armed with a late deadline and disarmed soon, is
 * two or three pointer writes: insertion is O(1), removal of a node without children is O(1), the
 * rest is O(log n) amortised. All walks are iterative: fiber stacks are small.
 *
 * `link` is the pointer that points at the node, wherever that is: in its parent, in the sibling
 * before, in the heap. So a node leaves without knowing which heap it is in, and a list through
 * `sibling` and `link` of nodes that are in no heap yet (core/timer.h) is left in the same way.
 *
 * Invariant: no node's (key, sequence) is smaller than its parent's; *node->link == node.
 */
#ifndef COIL_LIB_BASE_HEAP_H
#define COIL_LIB_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <coil/private.h> /* struct coil__heap_node */

#include "base/assert.h"

struct coil__heap {
    struct coil__heap_node *root;
};

static inline bool coil__heap_has(const struct coil__heap_node *node)
{
    return node->link != NULL;
}

/* The node with the smallest key, or NULL. */
static inline struct coil__heap_node *coil__heap_first(const struct coil__heap *heap)
{
    return heap->root;
}

/* Puts `node` in, whose key and sequence are set and which is in no heap. No two nodes have the
 * same sequence. */
void coil__heap_insert(struct coil__heap *heap, struct coil__heap_node *node);

/* Makes `node`, which is in no heap, the first of a list. */
static inline void coil__heap_list_push(struct coil__heap_node **list, struct coil__heap_node *node)
{
    node->child = NULL;
    node->sibling = *list;
    node->link = list;
    if (*list)
        (*list)->link = &node->sibling;
    *list = node;
}

/* Slow part of coil__heap_remove(). */
void coil__heap_remove_parent(struct coil__heap_node *node);

/* Takes `node` out of its heap or list; harmless when it is in none. */
static inline void coil__heap_remove(struct coil__heap_node *node)
{
    if (!node->link)
        return;
    if (node->child) {
        coil__heap_remove_parent(node);
        return;
    }
    *node->link = node->sibling;
    if (node->sibling)
        node->sibling->link = node->link;
    node->link = NULL;
}

/* Takes out any node, NULL when none is left; O(1) amortised. It breaks the order: until the heap
 * is empty nothing else may be done with it. */
struct coil__heap_node *coil__heap_take_any(struct coil__heap *heap);

#endif
