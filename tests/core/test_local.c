/* SPDX-License-Identifier: MIT */
/* Fiber-local values: separate, made on demand, inherited if asked for, destroyed with the fiber.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "core/local.h"
#include "support/fiber_test.h"

enum {
    MANY = 40,
    HEIRLOOMS = 6, /* more than the first table of a fiber holds */
    BEYOND = 1025, /* more locals than one fiber may have */
};

static int created_count;
static int destroyed_count;
static char destroyed_log[64];

static void *create_number(void)
{
    int *value = malloc(sizeof *value);

    cr_assert_not_null(value);
    *value = ++created_count;
    return value;
}

static void destroy_number(void *value)
{
    destroyed_count++;
    free(value);
}

static void *copy_number(void *value)
{
    int *copy = malloc(sizeof *copy);

    cr_assert_not_null(copy);
    created_count++;
    *copy = *(int *)value + 100;
    return copy;
}

static void log_letter(void *value)
{
    strncat(destroyed_log, value, 1);
}

static const coil_local plain = {.create = NULL};
static const coil_local numbers = {.create = create_number, .destroy = destroy_number};
static const coil_local inherited = {.destroy = destroy_number, .inherit = copy_number};
static const coil_local letters[3] = {
    {.destroy = log_letter}, {.destroy = log_letter}, {.destroy = log_letter}};

static int set_and_check(void *arg)
{
    cr_assert_null(coil_local_get(&plain));
    cr_assert_eq(coil_local_set(&plain, arg), 0);
    coil_yield();
    cr_assert_eq(coil_local_get(&plain), arg);
    return 0;
}

FIBER_TEST(local, each_fiber_has_its_own_value_and_none_at_first)
{
    int values[2];
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_spawn(set_and_check, &values[i], &fibers[i]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_null(coil_local_get(&plain));
}

static int get_number(void *arg)
{
    const int *value = coil_local_get(&numbers);

    (void)arg;
    cr_assert_eq(coil_local_get(&numbers), value, "made once");
    return *value;
}

FIBER_TEST(local, a_value_is_made_at_the_first_look_and_destroyed_when_its_fiber_ends)
{
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_spawn(get_number, NULL, &fibers[i]), 0);
    cr_assert_eq(created_count, 0);

    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(join_and_drop(fibers[1]), 2);
    cr_assert_eq(destroyed_count, 2);
}

FIBER_TEST(local, setting_destroys_the_value_before_unless_it_is_the_same)
{
    int *first = create_number();
    int *second = create_number();

    cr_assert_eq(coil_local_set(&numbers, first), 0);
    cr_assert_eq(coil_local_set(&numbers, first), 0);
    cr_assert_eq(destroyed_count, 0);
    cr_assert_eq(coil_local_set(&numbers, second), 0);
    cr_assert_eq(destroyed_count, 1);
    cr_assert_eq(coil_local_set(&numbers, NULL), 0);
    cr_assert_eq(destroyed_count, 2);
}

static int read_inherited(void *arg)
{
    const int *value = coil_local_get(&inherited);

    (void)arg;
    cr_assert_null(coil_local_get(&plain), "it does not say how to be inherited");
    return value ? *value : 0;
}

static int spawn_grandchild(void *arg)
{
    coil_fiber *fiber;

    cr_assert_eq(read_inherited(arg), 101);
    cr_assert_eq(coil_spawn(read_inherited, NULL, &fiber), 0);
    return join_and_drop(fiber);
}

FIBER_TEST(local, children_inherit_what_says_how_at_the_time_of_the_spawn)
{
    int *one = malloc(sizeof *one);
    coil_fiber *before;
    coil_fiber *after;
    int anything;

    cr_assert_not_null(one);
    *one = 1;
    cr_assert_eq(coil_spawn(read_inherited, NULL, &before), 0);
    cr_assert_eq(coil_local_set(&plain, &anything), 0);
    cr_assert_eq(coil_local_set(&inherited, one), 0);
    cr_assert_eq(coil_spawn(spawn_grandchild, NULL, &after), 0);
    *one = 7;

    cr_assert_eq(join_and_drop(before), 0);
    cr_assert_eq(join_and_drop(after), 201);
    cr_assert_eq(destroyed_count, 2, "the child's and the grandchild's");
    cr_assert_eq(coil_local_set(&inherited, NULL), 0);
}

static int set_letters(void *arg)
{
    static char names[] = "abc";

    (void)arg;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_local_set(&letters[i], &names[i]), 0);
    return 0;
}

FIBER_TEST(local, values_are_destroyed_last_set_first)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(set_letters, NULL, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_str_eq(destroyed_log, "cba");
}

static void set_first_letter(void *value);

static const coil_local reviving = {.destroy = set_first_letter};

static void set_first_letter(void *value)
{
    static char again[] = "r";

    cr_assert_eq(coil_local_set(&letters[0], value), 0);
    if (*(char *)value == 'x')
        cr_assert_eq(coil_local_set(&reviving, again), 0);
}

static int set_reviving(void *arg)
{
    return coil_local_set(&reviving, arg);
}

FIBER_TEST(local, values_that_destructors_set_are_destroyed_as_well)
{
    char value[] = "x";
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(set_reviving, value, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_str_eq(destroyed_log, "xr");
}

static void *addresses[MANY];

static int set_many(void *arg)
{
    static coil_local many[MANY];

    (void)arg;
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(coil_local_set(&many[i], &addresses[i]), 0);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(coil_local_get(&many[i]), &addresses[i]);
    return 0;
}

FIBER_TEST(local, a_fiber_may_have_many)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(set_many, NULL, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(local, beyond_the_limit_there_is_no_room_for_another)
{
    static coil_local locals[BEYOND];

    for (int i = 0; i < BEYOND - 1; i++)
        cr_assert_eq(coil_local_set(&locals[i], addresses), 0);
    cr_assert_eq(coil_local_set(&locals[BEYOND - 1], addresses), -ENOMEM);
}

FIBER_TEST(local, without_memory_no_value_is_kept)
{
    int value;

    coil__alloc_fail_after(0);
    cr_assert_null(coil_local_get(&numbers));
    cr_assert_eq(coil_local_set(&plain, &value), -ENOMEM);
    coil__alloc_fail_after(-1);

    cr_assert_eq(created_count, 1);
    cr_assert_eq(destroyed_count, 1);
    cr_assert_null(coil_local_get(&plain));
}

static int return_zero(void *arg)
{
    (void)arg;
    return 0;
}

FIBER_TEST(local, a_spawn_that_cannot_inherit_everything_fails_and_destroys_what_it_had)
{
    static coil_local many[HEIRLOOMS];
    int failures = 0;
    coil_fiber *fiber;

    for (int i = 0; i < HEIRLOOMS; i++) {
        many[i] = inherited;
        cr_assert_eq(coil_local_set(&many[i], create_number()), 0);
    }
    coil__alloc_fail_after(0);
    while (coil_spawn(return_zero, NULL, &fiber) == -ENOMEM) {
        cr_assert_eq(created_count - destroyed_count, HEIRLOOMS, "the parent's are left");
        coil__alloc_fail_after(++failures);
    }
    coil__alloc_fail_after(-1);

    cr_assert_geq(failures, 2, "no table, and no larger table");
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(created_count - destroyed_count, HEIRLOOMS);
}
