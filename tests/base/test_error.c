/* SPDX-License-Identifier: MIT */
/* coil_strerror, coil_now and the arithmetic of deadlines. */
#include <coil/base.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"

TestSuite(error, .timeout = 10);

Test(error, both_signs_of_a_number_give_the_same_sentence)
{
    cr_assert_str_eq(coil_strerror(-ETIMEDOUT), "Connection timed out");
    cr_assert_eq(coil_strerror(-ETIMEDOUT), coil_strerror(ETIMEDOUT));
    cr_assert_str_neq(coil_strerror(-ECANCELED), coil_strerror(-ETIMEDOUT));
    cr_assert_str_eq(coil_strerror(0), "Success");
}

Test(error, numbers_that_are_no_errors_have_a_sentence_too)
{
    const int strange[] = {-100000, 100000, INT_MAX, INT_MIN, INT_MIN + 1};

    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++)
        cr_assert_str_eq(coil_strerror(strange[i]), "Unknown error");
}

Test(error, the_clock_never_goes_back)
{
    int64_t last = coil_now();

    cr_assert_gt(last, 0);
    for (int i = 0; i < 1000; i++) {
        const int64_t now = coil_now();

        cr_assert_geq(now, last);
        last = now;
    }
}

Test(error, a_deadline_is_now_plus_the_duration)
{
    const int64_t before = coil_now();
    const int64_t deadline = coil__clock_deadline(COIL_SECONDS(5));

    cr_assert_geq(deadline, before + COIL_SECONDS(5));
    cr_assert_leq(deadline, coil_now() + COIL_SECONDS(5));
}

Test(error, never_and_durations_beyond_the_clock_are_never)
{
    cr_assert_eq(coil__clock_deadline(COIL_NEVER), INT64_MAX);
    cr_assert_eq(coil__clock_deadline(COIL_NEVER - 1), INT64_MAX);
}

Test(error, a_negative_duration_counts_as_zero)
{
    const int64_t before = coil_now();
    const int64_t deadline = coil__clock_deadline(INT64_MIN);

    cr_assert_geq(deadline, before);
    cr_assert_leq(deadline, coil_now());
}
