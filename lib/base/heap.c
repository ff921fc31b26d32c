/* SPDX-License-Identifier: MIT */
/* Pairing heap (base/heap.h).
 *
 * A node's children form a list: `child` points at the first, `sibling` at the next. Two heaps are
 * melded by making the one with the larger root the first child of the other. Inserting melds with
 * a heap of one node; removing melds the children of the removed node in two passes, first in
 * pairs, then all pairs into one, and puts that one in the node's place: that order is what makes
 * removal O(log n) amortised.
 *
 * The first pass keeps its pairs in a list through `sibling`, so the passes need neither recursion
 * nor an array: they run on fiber stacks, over as many timers as there are connections.
 *
 * Equal keys are ordered by `sequence`, which no two nodes share: the order is total, and timers
 * armed for the same moment fire in the order in which they were armed.
 */
#include "base/heap.h"

static bool is_before(const struct coil__heap_node *a, const struct coil__heap_node *b)
{
    return a->key < b->key || (a->key == b->key && a->sequence < b->sequence);
}

/* Melds two roots; the result's sibling and link are the caller's to set. */
static struct coil__heap_node *meld(struct coil__heap_node *a, struct coil__heap_node *b)
{
    struct coil__heap_node *parent = is_before(a, b) ? a : b;
    struct coil__heap_node *child = parent == a ? b : a;

    child->link = &parent->child;
    child->sibling = parent->child;
    if (parent->child)
        parent->child->link = &child->sibling;
    parent->child = child;
    return parent;
}

/* Melds a list of siblings, one or more, into one heap and returns its root. */
static struct coil__heap_node *meld_siblings(struct coil__heap_node *first)
{
    struct coil__heap_node *pairs = NULL;
    struct coil__heap_node *root;

    do {
        struct coil__heap_node *pair = first;
        struct coil__heap_node *partner = first->sibling;

        first = partner ? partner->sibling : NULL;
        if (partner)
            pair = meld(pair, partner);
        pair->sibling = pairs;
        pairs = pair;
    } while (first);
    root = pairs;
    pairs = root->sibling;
    while (pairs) {
        struct coil__heap_node *pair = pairs;

        pairs = pair->sibling;
        root = meld(root, pair);
    }
    return root;
}

void coil__heap_insert(struct coil__heap *heap, struct coil__heap_node *node)
{
    COIL_ASSERT(!coil__heap_has(node) && "a node is in one heap, once");

    node->child = NULL;
    heap->root = heap->root ? meld(heap->root, node) : node;
    heap->root->sibling = NULL;
    heap->root->link = &heap->root;
}

void coil__heap_remove_parent(struct coil__heap_node *node)
{
    struct coil__heap_node *heir = meld_siblings(node->child);

    heir->link = node->link;
    heir->sibling = node->sibling;
    *heir->link = heir;
    if (heir->sibling)
        heir->sibling->link = &heir->sibling;
    node->child = NULL;
    node->link = NULL;
}

/* Seen as a binary tree, with `child` to the left and `sibling` to the right, the heap is turned to
 * the right at its root until that has nothing on its left. Each turn brings a node to the spine
 * of the right, which none leaves but at its top: n turns are enough for n nodes. */
struct coil__heap_node *coil__heap_take_any(struct coil__heap *heap)
{
    struct coil__heap_node *node = heap->root;

    if (!node)
        return NULL;
    while (node->child) {
        struct coil__heap_node *child = node->child;

        node->child = child->sibling;
        child->sibling = node;
        node = child;
    }
    heap->root = node->sibling;
    node->link = NULL;
    return node;
}
