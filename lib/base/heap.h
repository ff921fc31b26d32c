/* SPDX-License-Identifier: MIT */
/* Intrusive priority queue (a pairing heap) ordered by key, equal keys in order of insertion.
 *
 * Timers live in it. A pairing heap, because arming a timer must not allocate (scopes cannot
 * fail), and because the common life of a timer, armed with a late deadline and disarmed soon, is
 * two or three pointer writes: insertion is O(1), removal of a node without children is O(1), the
 * rest is O(log n) amortised. All walks are iterative: fiber stacks are small.
 *
 * Invariant: no node's (key, sequence) is smaller than its parent's.
 */
#ifndef COIL_LIB_BASE_HEAP_H
#define COIL_LIB_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <coil/private.h> /* struct coil__heap_node */

struct coil__heap {
    struct coil__heap_node *root;
    uint64_t sequence; /* of the last insertion */
};

/* Puts `node` in with `key`. The node must be in no heap (zeroed, or removed before). */
void coil__heap_insert(struct coil__heap *heap, struct coil__heap_node *node, int64_t key);

/* Takes `node` out; harmless when it is in no heap. */
void coil__heap_remove(struct coil__heap *heap, struct coil__heap_node *node);

/* The node with the smallest key, or NULL. */
static inline struct coil__heap_node *coil__heap_first(const struct coil__heap *heap)
{
    return heap->root;
}

/* The node after `node` in the order parent, children, siblings, which begins with the first node
 * and is not that of the keys; NULL after the last one. */
struct coil__heap_node *coil__heap_next(struct coil__heap_node *node);

/* The number of nodes; visits each. */
size_t coil__heap_count(const struct coil__heap *heap);

static inline bool coil__heap_has(const struct coil__heap_node *node)
{
    return node->sequence != 0;
}

#endif
