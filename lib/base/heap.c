/* SPDX-License-Identifier: MIT */
/* Pairing heap (base/heap.h).
 *
 * A node's children form a list: `child` points at the first, `sibling` at the next, `prev` back at
 * the sibling before or, for a first child, at the parent. Two heaps are melded by making the one
 * with the larger root the first child of the other. Inserting melds with a heap of one node;
 * removing melds the children of the removed node in two passes, first in pairs, then all pairs
 * into one: that order is what makes removal O(log n) amortised.
 *
 * The first pass keeps its pairs in a list through `sibling`, so the passes need neither recursion
 * nor an array: they run on fiber stacks, over as many timers as there are connections.
 *
 * Equal keys are ordered by `sequence`, which no two nodes share: the order is total, and timers
 * armed for the same moment fire in the order in which they were armed.
 */
#include "base/heap.h"

#include "base/assert.h"

static bool is_before(const struct coil__heap_node *a, const struct coil__heap_node *b)
{
    return a->key < b->key || (a->key == b->key && a->sequence < b->sequence);
}

/* Melds two roots; the result's sibling and prev are the caller's to set. */
static struct coil__heap_node *meld(struct coil__heap_node *a, struct coil__heap_node *b)
{
    struct coil__heap_node *parent = is_before(a, b) ? a : b;
    struct coil__heap_node *child = parent == a ? b : a;

    child->prev = parent;
    child->sibling = parent->child;
    if (parent->child)
        parent->child->prev = child;
    parent->child = child;
    return parent;
}

/* Melds a list of siblings into one heap and returns its root; NULL for an empty list. */
static struct coil__heap_node *meld_siblings(struct coil__heap_node *first)
{
    struct coil__heap_node *pairs = NULL;
    struct coil__heap_node *root = NULL;

    while (first) {
        struct coil__heap_node *pair = first;
        struct coil__heap_node *partner = first->sibling;

        first = partner ? partner->sibling : NULL;
        if (partner)
            pair = meld(pair, partner);
        pair->sibling = pairs;
        pairs = pair;
    }
    while (pairs) {
        struct coil__heap_node *pair = pairs;

        pairs = pair->sibling;
        root = root ? meld(root, pair) : pair;
    }
    return root;
}

static void set_root(struct coil__heap *heap, struct coil__heap_node *root)
{
    heap->root = root;
    if (root) {
        root->prev = NULL;
        root->sibling = NULL;
    }
}

void coil__heap_insert(struct coil__heap *heap, struct coil__heap_node *node, int64_t key)
{
    COIL_ASSERT(!coil__heap_has(node) && "a node is in one heap, once");

    node->child = NULL;
    node->key = key;
    node->sequence = ++heap->sequence;
    set_root(heap, heap->root ? meld(heap->root, node) : node);
}

/* Cuts a node that is not the root out of its parent's children. */
static void unlink_child(struct coil__heap_node *node)
{
    struct coil__heap_node *prev = node->prev;

    /* prev is the parent exactly if it has node as first child: a sibling's children are others. */
    if (prev->child == node)
        prev->child = node->sibling;
    else
        prev->sibling = node->sibling;
    if (node->sibling)
        node->sibling->prev = prev;
}

void coil__heap_remove(struct coil__heap *heap, struct coil__heap_node *node)
{
    struct coil__heap_node *orphans;

    if (!coil__heap_has(node))
        return;

    orphans = meld_siblings(node->child);
    if (node == heap->root) {
        set_root(heap, orphans);
    } else {
        unlink_child(node);
        if (orphans)
            set_root(heap, meld(heap->root, orphans));
    }
    node->child = NULL;
    node->sibling = NULL;
    node->prev = NULL;
    node->sequence = 0;
}

struct coil__heap_node *coil__heap_next(struct coil__heap_node *node)
{
    if (node->child)
        return node->child;
    while (node && !node->sibling) {
        /* Back to the first child, and from there to the parent. */
        while (node->prev && node->prev->child != node)
            node = node->prev;
        node = node->prev;
    }
    return node ? node->sibling : NULL;
}

size_t coil__heap_count(const struct coil__heap *heap)
{
    size_t count = 0;

    for (struct coil__heap_node *node = heap->root; node; node = coil__heap_next(node))
        count++;
    return count;
}
