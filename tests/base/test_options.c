/* SPDX-License-Identifier: MIT */
/* Reading an options struct of a caller that knows a shorter, a longer, the same, or none. */
#include "base/options.h"

#include <criterion/criterion.h>

struct options {
    size_t size;
    int first;
    int second;
};

struct newer_options {
    struct options known;
    int third;
};

Test(options, all_of_the_same_struct_is_read)
{
    const struct options given = {.size = sizeof given, .first = 1, .second = 2};
    struct options read;

    cr_assert_eq(coil__options_read(&read, sizeof read, &given), 0);
    cr_assert_eq(read.size, sizeof read);
    cr_assert_eq(read.first, 1);
    cr_assert_eq(read.second, 2);
}

Test(options, what_an_older_caller_does_not_know_is_zero)
{
    const struct options given = {
        .size = offsetof(struct options, second), .first = 1, .second = 2};
    struct options read = {.second = 3};

    cr_assert_eq(coil__options_read(&read, sizeof read, &given), 0);
    cr_assert_eq(read.size, sizeof read);
    cr_assert_eq(read.first, 1);
    cr_assert_eq(read.second, 0);
}

Test(options, what_a_newer_caller_adds_is_ignored)
{
    const struct newer_options given = {{.size = sizeof given, .first = 1, .second = 2}, 3};
    struct newer_options read = {.third = 4};

    cr_assert_eq(coil__options_read(&read, sizeof read.known, &given), 0);
    cr_assert_eq(read.known.size, sizeof read.known);
    cr_assert_eq(read.known.second, 2);
    cr_assert_eq(read.third, 4, "beyond what was asked for");
}

Test(options, none_are_all_zero)
{
    struct options read = {.first = 1, .second = 2};

    cr_assert_eq(coil__options_read(&read, sizeof read, NULL), 0);
    cr_assert_eq(read.size, sizeof read);
    cr_assert_eq(read.first, 0);
    cr_assert_eq(read.second, 0);
}

Test(options, a_struct_without_a_size_is_refused_and_touches_nothing)
{
    struct options given = {.first = 1};
    struct options read = {.first = 2};

    for (size_t size = 0; size < sizeof size; size++) {
        given.size = size;
        cr_assert_eq(coil__options_read(&read, sizeof read, &given), -EINVAL);
        cr_assert_eq(read.first, 2);
    }
}
