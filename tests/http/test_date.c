/* SPDX-License-Identifier: MIT */
/* Dates: those that the C library would write, and the limits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include <coil/http.h>

static void assert_date(int64_t seconds)
{
    char text[COIL_HTTP_DATE_SIZE];
    char expected[64];
    const time_t time = (time_t)seconds;
    struct tm parts;

    cr_assert_not_null(gmtime_r(&time, &parts));
    (void)strftime(expected, sizeof expected, "%a, %d %b ", &parts);
    (void)snprintf(expected + 12, sizeof expected - 12, "%04d %02d:%02d:%02d GMT",
                   parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
    coil_http_date(seconds, text);
    cr_assert_str_eq(text, expected, "%lld", (long long)seconds);
}

Test(http_date, every_day_of_a_few_centuries_is_that_of_the_c_library)
{
    for (int64_t day = -800 * 366; day < 800 * 366; day++)
        assert_date(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
}

Test(http_date, the_example_of_the_standard_is_right)
{
    char text[COIL_HTTP_DATE_SIZE];

    coil_http_date(784111777, text);
    cr_assert_str_eq(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}

Test(http_date, times_beyond_the_years_of_four_digits_are_clamped)
{
    char text[COIL_HTTP_DATE_SIZE];

    coil_http_date(INT64_MAX, text);
    cr_assert_str_eq(text, "Fri, 31 Dec 9999 23:59:59 GMT");
    coil_http_date(INT64_MIN, text);
    cr_assert_str_eq(text, "Sat, 01 Jan 0000 00:00:00 GMT");
    assert_date(-62167219200);
    assert_date(253402300799);
}
