/* SPDX-License-Identifier: MIT */
/* Slab: objects do not overlap, come back last in first out, and chunks are asked for only when all
 * objects are out. */
#include "base/slab.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/sanitize.h"

TestSuite(slab, .timeout = 10);

Test(slab, objects_are_aligned_and_do_not_overlap)
{
    enum {
        COUNT = 100,
        SIZE = 37
    };
    struct coil__slab slab;
    unsigned char *objects[COUNT];

    coil__slab_init(&slab, SIZE, 8);
    for (int i = 0; i < COUNT; i++) {
        objects[i] = coil__slab_get(&slab);
        cr_assert_not_null(objects[i]);
        cr_assert_eq((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], i, SIZE);
    }

    for (int i = 0; i < COUNT; i++) {
        for (int at = 0; at < SIZE; at++)
            cr_assert_eq(objects[i][at], i);
        coil__slab_put(&slab, objects[i]);
    }
    coil__slab_fini(&slab);
}

Test(slab, the_object_put_last_is_the_next_one_out)
{
    struct coil__slab slab;
    void *a;
    void *b;

    coil__slab_init(&slab, 64, 8);
    a = coil__slab_get(&slab);
    b = coil__slab_get(&slab);
    coil__slab_put(&slab, a);
    coil__slab_put(&slab, b);

    cr_assert_eq(coil__slab_get(&slab), b);
    cr_assert_eq(coil__slab_get(&slab), a);

    coil__slab_put(&slab, a);
    coil__slab_put(&slab, b);
    coil__slab_fini(&slab);
}

Test(slab, a_chunk_is_allocated_when_the_last_one_is_used_up)
{
    struct coil__slab slab;
    void *objects[9];
    const int64_t before = coil__alloc_total_count();

    coil__slab_init(&slab, 16, 4);
    cr_assert_eq(coil__alloc_total_count(), before);
    for (size_t i = 0; i < 9; i++) {
        objects[i] = coil__slab_get(&slab);
        cr_assert_eq(coil__alloc_total_count(), before + 1 + (int64_t)i / 4);
        cr_assert_eq(slab.live_count, i + 1);
    }
    for (size_t i = 0; i < 9; i++)
        coil__slab_put(&slab, objects[i]);
    for (size_t i = 0; i < 9; i++)
        objects[i] = coil__slab_get(&slab);

    cr_assert_eq(coil__alloc_total_count(), before + 3, "recycling allocates nothing");
    for (size_t i = 0; i < 9; i++)
        coil__slab_put(&slab, objects[i]);
    coil__slab_fini(&slab);
    cr_assert_eq(coil__alloc_live_count(), 0);
}

Test(slab, a_failed_allocation_gives_null_and_the_slab_goes_on)
{
    struct coil__slab slab;
    void *object;

    coil__slab_init(&slab, 16, 1);
    coil__alloc_fail_after(0);
    cr_assert_null(coil__slab_get(&slab));
    cr_assert_eq(slab.live_count, 0);

    coil__alloc_fail_after(-1);
    object = coil__slab_get(&slab);
    cr_assert_not_null(object);
    coil__slab_put(&slab, object);
    coil__slab_fini(&slab);
    cr_assert_eq(coil__alloc_live_count(), 0);
}

Test(slab, a_slab_never_used_needs_nothing)
{
    struct coil__slab slab;

    coil__slab_init(&slab, 1, 1);
    coil__slab_fini(&slab);
    cr_assert_eq(coil__alloc_total_count(), 0);
}

/* As a call, for compilers that complain of dead code behind a constant. */
static bool has_asan(void)
{
    return COIL__HAS_ASAN;
}

/* Whether ASan stops a process that writes to `address`. */
static bool is_reported(char *address)
{
    int status = 0;
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        *(volatile char *)address = 1;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

Test(slab, using_an_object_after_its_return_is_reported)
{
    struct coil__slab slab;
    char *object;

    if (!has_asan())
        cr_skip_test("ASan only");
    coil__slab_init(&slab, 32, 4);
    object = coil__slab_get(&slab);
    cr_assert(is_reported(object + 32), "the next one is not handed out yet");
    coil__slab_put(&slab, object);

    cr_assert(is_reported(object));
    cr_assert(is_reported(object + 31));
    coil__slab_fini(&slab);
}

Test(slab, ending_it_with_objects_out_stops_the_program, .signal = SIGABRT)
{
    struct coil__slab slab;

    coil__slab_init(&slab, 16, 4);
    cr_assert_not_null(coil__slab_get(&slab));
    coil__slab_fini(&slab);
}
