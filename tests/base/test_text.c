/* SPDX-License-Identifier: MIT */
/* Text built piece by piece: what fits, what is cut, what a flush is for. */
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static char buffer[40];

static struct coil__text fresh(size_t size)
{
    struct coil__text text;

    memset(buffer, '#', sizeof buffer);
    coil__text_init(&text, buffer, size, NULL);
    return text;
}

Test(text, numbers_are_written_in_both_bases)
{
    struct coil__text text = fresh(sizeof buffer);

    coil__text_add_number(&text, 0);
    coil__text_add(&text, " ");
    coil__text_add_number(&text, UINT64_MAX);
    coil__text_add(&text, " ");
    coil__text_add_hex(&text, 0xbeef);
    cr_assert_str_eq(buffer, "0 18446744073709551615 0xbeef");
    cr_assert_eq(text.len, strlen(buffer));
}

Test(text, times_are_seconds_with_three_decimals)
{
    static const struct {
        int64_t time;
        const char *expected;
    } rows[] = {
        {0, "0.000 s"},
        {-5, "0.000 s"},
        {999999, "0.000 s"},
        {1000000, "0.001 s"},
        {12000000, "0.012 s"},
        {120000000, "0.120 s"},
        {61234567890, "61.234 s"},
        {1005000000, "1.005 s"},
        {INT64_MAX, "9223372036.854 s"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct coil__text text = fresh(sizeof buffer);

        coil__text_add_time(&text, rows[i].time);
        cr_assert_str_eq(buffer, rows[i].expected);
    }
}

Test(text, what_does_not_fit_is_cut_and_terminated)
{
    struct coil__text text = fresh(4);

    coil__text_add(&text, "ab");
    coil__text_add(&text, "cdef");
    cr_assert_str_eq(buffer, "abc");
    cr_assert_eq(buffer[4], '#', "nothing behind the end is touched");

    text = fresh(1);
    coil__text_add_number(&text, 7);
    cr_assert_str_eq(buffer, "");
    cr_assert_eq(buffer[1], '#');
}

Test(text, names_lose_control_characters_and_end_at_their_size)
{
    struct coil__text text = fresh(sizeof buffer);
    const char unterminated[] = {'a', '\n', '\033', '\x7f', 'b'};

    coil__text_add_plain(&text, unterminated, sizeof unterminated);
    coil__text_add_plain(&text, "c\0d", 3);
    cr_assert_str_eq(buffer, "a   bc");
}

static char collected[100];

static void collect(struct coil__text *text)
{
    strncat(collected, text->data, text->len);
    text->len = 0;
}

Test(text, a_flush_makes_room_so_that_nothing_is_lost)
{
    struct coil__text text;

    coil__text_init(&text, buffer, 4, collect);
    coil__text_add(&text, "the quick brown ");
    coil__text_add_number(&text, 1234567);
    collect(&text);
    cr_assert_str_eq(collected, "the quick brown 1234567");
}
