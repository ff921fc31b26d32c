/* SPDX-License-Identifier: MIT */
/* Allocator seam: what it hands out, that it counts, and that failures come when planned. */
#include "base/alloc.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

TestSuite(alloc, .timeout = 20);

static bool is_zeroed(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (memory[i] != 0)
            return false;
    }
    return true;
}

Test(alloc, blocks_are_zeroed_and_aligned_for_any_type)
{
    for (size_t size = 1; size < 5000; size += 123) {
        char *memory = coil__alloc(size);

        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % _Alignof(max_align_t), 0);
        cr_assert(is_zeroed(memory, size));
        memset(memory, 0xff, size); /* the next block may be the same memory */
        coil__free(memory);
    }
}

Test(alloc, mappings_are_zeroed_writable_pages)
{
    char *memory = coil__map(100000);

    cr_assert_not_null(memory);
    cr_assert_eq((uintptr_t)memory % (uintptr_t)getpagesize(), 0);
    cr_assert(is_zeroed(memory, 100000));
    memory[99999] = 1;
    coil__unmap(memory, 100000);
}

Test(alloc, resizing_keeps_the_contents)
{
    char *memory = coil__realloc(NULL, 4);

    memcpy(memory, "abc", 4);
    memory = coil__realloc(memory, 100000);
    cr_assert_str_eq(memory, "abc");
    memory = coil__realloc(memory, 3);
    cr_assert_eq(memcmp(memory, "abc", 3), 0);
    coil__free(memory);
}

Test(alloc, live_blocks_are_counted_until_they_are_freed)
{
    const int64_t before = coil__alloc_live_count();
    void *block = coil__alloc(1);
    void *grown = coil__realloc(NULL, 1);
    void *mapped = coil__map(1);

    cr_assert_eq(coil__alloc_live_count(), before + 3);
    grown = coil__realloc(grown, 1000);
    cr_assert_eq(coil__alloc_live_count(), before + 3);

    coil__free(block);
    coil__free(grown);
    coil__unmap(mapped, 1);
    coil__free(NULL);
    coil__unmap(NULL, 1);
    cr_assert_eq(coil__alloc_live_count(), before);
}

Test(alloc, every_request_is_counted_also_a_refused_one)
{
    const int64_t before = coil__alloc_total_count();
    void *block = coil__alloc(1);

    block = coil__realloc(block, 2);
    coil__alloc_fail_after(0);
    cr_assert_null(coil__alloc(1));
    coil__alloc_fail_after(-1);
    coil__free(block);

    cr_assert_eq(coil__alloc_total_count(), before + 3);
}

Test(alloc, a_planned_failure_lets_so_many_pass_and_none_after)
{
    void *blocks[3];

    coil__alloc_fail_after(3);
    for (int i = 0; i < 3; i++) {
        blocks[i] = coil__alloc(1);
        cr_assert_not_null(blocks[i]);
    }
    cr_assert_null(coil__alloc(1));
    cr_assert_null(coil__map(1));
    cr_assert_null(coil__realloc(NULL, 1));

    coil__alloc_fail_after(-1);
    for (int i = 0; i < 3; i++)
        coil__free(blocks[i]);
    coil__free(coil__alloc(1));
    cr_assert_eq(coil__alloc_live_count(), 0);
}

Test(alloc, a_block_survives_the_failure_to_resize_it)
{
    char *memory = coil__alloc(4);

    memcpy(memory, "abc", 4);
    coil__alloc_fail_after(0);
    cr_assert_null(coil__realloc(memory, 100000));

    cr_assert_str_eq(memory, "abc");
    coil__free(memory);
    cr_assert_eq(coil__alloc_live_count(), 0);
}

Test(alloc, more_than_there_is_gives_null)
{
    /* Read at run time, or the compiler objects to the size. */
    volatile size_t too_much = SIZE_MAX / 4;

    cr_assert_null(coil__map(too_much));
    cr_assert_eq(coil__alloc_live_count(), 0);
}

enum {
    THREAD_COUNT = 4,
    BLOCKS_PER_THREAD = 5000
};

static void *count_granted(void *arg)
{
    int *granted = arg;

    for (int i = 0; i < BLOCKS_PER_THREAD; i++) {
        void *block = coil__alloc(1);

        *granted += block != NULL;
        coil__free(block);
    }
    return NULL;
}

Test(alloc, a_plan_is_exact_between_threads)
{
    pthread_t threads[THREAD_COUNT];
    int granted[THREAD_COUNT] = {0};
    int sum = 0;

    coil__alloc_fail_after(7000);
    for (int i = 0; i < THREAD_COUNT; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_granted, &granted[i]), 0);
    for (int i = 0; i < THREAD_COUNT; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        sum += granted[i];
    }

    cr_assert_eq(sum, 7000);
    cr_assert_eq(coil__alloc_live_count(), 0);
    cr_assert_eq(coil__alloc_total_count(), (int64_t)THREAD_COUNT * BLOCKS_PER_THREAD);
}
