/* SPDX-License-Identifier: MIT */
/* Heap: the smallest key comes out first, equal keys in order of insertion, whatever was removed in
 * between; checked against a sorted array and by walking the whole structure. */
#include "base/heap.h"

#include <criterion/criterion.h>

enum {
    NODE_COUNT = 300
};

TestSuite(heap, .timeout = 20);

static struct coil__heap_node nodes[NODE_COUNT];

/* A small generator, so that failures repeat. */
static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static bool is_before(const struct coil__heap_node *a, const struct coil__heap_node *b)
{
    return a->key < b->key || (a->key == b->key && a->sequence < b->sequence);
}

/* Checks links and order below `parent`, and counts. Depth is bounded by the number of nodes. */
static size_t count_checked(const struct coil__heap_node *parent) // NOLINT(misc-no-recursion)
{
    struct coil__heap_node *const *link = &parent->child;
    size_t count = 1;

    for (const struct coil__heap_node *node = parent->child; node; node = node->sibling) {
        cr_assert_eq(node->link, link);
        cr_assert(is_before(parent, node));
        count += count_checked(node);
        link = &node->sibling;
    }
    return count;
}

static size_t heap_count(const struct coil__heap *heap)
{
    if (!heap->root)
        return 0;
    cr_assert_eq(heap->root->link, &heap->root);
    cr_assert_null(heap->root->sibling);
    return count_checked(heap->root);
}

static void insert(struct coil__heap *heap, struct coil__heap_node *node, int64_t key)
{
    static uint64_t sequence;

    node->key = key;
    node->sequence = ++sequence;
    coil__heap_insert(heap, node);
}

static struct coil__heap_node *pop(struct coil__heap *heap)
{
    struct coil__heap_node *node = coil__heap_first(heap);

    coil__heap_remove(node);
    return node;
}

Test(heap, an_empty_heap_has_no_first_node)
{
    struct coil__heap heap = {0};

    cr_assert_null(coil__heap_first(&heap));
}

Test(heap, nodes_come_out_in_order_of_their_keys)
{
    struct coil__heap heap = {0};
    const int64_t keys[] = {5, -3, INT64_MAX, 0, INT64_MIN, 7, 1};
    const int64_t sorted[] = {INT64_MIN, -3, 0, 1, 5, 7, INT64_MAX};

    for (size_t i = 0; i < 7; i++)
        insert(&heap, &nodes[i], keys[i]);

    for (size_t i = 0; i < 7; i++)
        cr_assert_eq(pop(&heap)->key, sorted[i]);
    cr_assert_null(coil__heap_first(&heap));
}

Test(heap, equal_keys_come_out_in_order_of_insertion)
{
    struct coil__heap heap = {0};

    for (size_t i = 0; i < NODE_COUNT; i++)
        insert(&heap, &nodes[i], (int64_t)(i % 3));
    /* Removing and inserting again puts a node behind its equals. */
    coil__heap_remove(&nodes[0]);
    insert(&heap, &nodes[0], 0);

    for (size_t key = 0; key < 3; key++) {
        for (size_t i = key == 0 ? 3 : key; i < NODE_COUNT; i += 3)
            cr_assert_eq(pop(&heap), &nodes[i]);
        if (key == 0)
            cr_assert_eq(pop(&heap), &nodes[0]);
    }
    cr_assert_null(coil__heap_first(&heap));
}

Test(heap, a_node_leaves_from_any_place_and_the_rest_stays_in_order)
{
    for (size_t victim = 0; victim < 32; victim++) {
        struct coil__heap heap = {0};

        for (size_t i = 0; i < 33; i++)
            insert(&heap, &nodes[i], (int64_t)((i * 17) % 33));
        coil__heap_remove(coil__heap_first(&heap)); /* makes children of children */
        if (coil__heap_has(&nodes[victim])) {
            coil__heap_remove(&nodes[victim]);
            cr_assert_eq(heap_count(&heap), 31);
        }

        int64_t last = -1;

        while (coil__heap_first(&heap)) {
            const struct coil__heap_node *node = pop(&heap);

            cr_assert_neq(node, &nodes[victim]);
            cr_assert_gt(node->key, last);
            last = node->key;
        }
    }
}

Test(heap, a_removed_node_knows_that_it_is_in_no_heap)
{
    struct coil__heap heap = {0};

    cr_assert_not(coil__heap_has(&nodes[0]));
    insert(&heap, &nodes[0], 1);
    insert(&heap, &nodes[1], 2);
    cr_assert(coil__heap_has(&nodes[0]));

    coil__heap_remove(&nodes[0]);
    coil__heap_remove(&nodes[0]);

    cr_assert_not(coil__heap_has(&nodes[0]));
    cr_assert_eq(coil__heap_first(&heap), &nodes[1]);
}

Test(heap, a_long_random_history_agrees_with_a_search_through_all_nodes)
{
    struct coil__heap heap = {0};
    unsigned random = 1;
    size_t count = 0;

    for (int step = 0; step < 30000; step++) {
        struct coil__heap_node *node = &nodes[next_random(&random) % NODE_COUNT];

        if (coil__heap_has(node)) {
            coil__heap_remove(node);
            count--;
        } else {
            insert(&heap, node, (int64_t)(next_random(&random) % 50));
            count++;
        }
        if (step % 64 == 0)
            cr_assert_eq(heap_count(&heap), count);

        const struct coil__heap_node *first = NULL;

        for (size_t i = 0; i < NODE_COUNT; i++) {
            if (coil__heap_has(&nodes[i]) && (!first || is_before(&nodes[i], first)))
                first = &nodes[i];
        }
        cr_assert_eq(coil__heap_first(&heap), first);
    }
}

Test(heap, a_million_children_of_one_root_are_melded_without_deep_stacks)
{
    enum {
        MANY = 1000000
    };
    struct coil__heap heap = {0};
    struct coil__heap_node *many = calloc(MANY, sizeof *many);

    cr_assert_not_null(many);
    for (int64_t i = 0; i < MANY; i++)
        insert(&heap, &many[i], i);

    for (int64_t i = 0; i < MANY; i++)
        cr_assert_eq(pop(&heap)->key, i);
    cr_assert_null(coil__heap_first(&heap));
    free(many);
}

Test(heap, taking_any_takes_every_node_once_and_leaves_an_empty_heap)
{
    for (size_t removed = 0; removed <= 40; removed += 5) {
        struct coil__heap heap = {0};
        size_t count = 0;

        for (size_t i = 0; i < NODE_COUNT; i++)
            insert(&heap, &nodes[i], (int64_t)((i * 17) % 101));
        for (size_t i = 0; i < removed; i++)
            (void)pop(&heap); /* makes children of children */
        for (const struct coil__heap_node *node; (node = coil__heap_take_any(&heap)) != NULL;) {
            cr_assert_not(coil__heap_has(node));
            count++;
        }

        cr_assert_eq(count, NODE_COUNT - removed);
        cr_assert_null(coil__heap_take_any(&heap));
        for (size_t i = 0; i < NODE_COUNT; i++)
            cr_assert_not(coil__heap_has(&nodes[i]));
    }
}

Test(heap, taking_any_is_linear_also_when_each_node_has_one_child)
{
    enum {
        MANY = 1000000
    };
    struct coil__heap heap = {0};
    struct coil__heap_node *many = calloc(MANY, sizeof *many);

    cr_assert_not_null(many);
    for (int64_t i = 0; i < MANY; i++)
        insert(&heap, &many[i], -i);

    for (int64_t i = 0; i < MANY; i++)
        cr_assert_not_null(coil__heap_take_any(&heap));
    cr_assert_null(coil__heap_first(&heap));
    free(many);
}

Test(heap, a_node_leaves_a_list_from_any_place)
{
    for (size_t victim = 0; victim < 3; victim++) {
        struct coil__heap_node *list = NULL;
        size_t count = 0;

        for (size_t i = 0; i < 3; i++)
            coil__heap_list_push(&list, &nodes[i]);
        coil__heap_remove(&nodes[victim]);

        cr_assert_not(coil__heap_has(&nodes[victim]));
        for (struct coil__heap_node **link = &list; *link; link = &(*link)->sibling) {
            cr_assert_eq((*link)->link, link);
            cr_assert_neq(*link, &nodes[victim]);
            count++;
        }
        cr_assert_eq(count, 2);
        for (size_t i = 0; i < 3; i++)
            coil__heap_remove(&nodes[i]);
        cr_assert_null(list);
    }
}
