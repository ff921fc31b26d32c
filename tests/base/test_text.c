/* SPDX-License-Identifier: MIT */
/* Text built piece by piece: what fits, what is cut, what a flush is for. */
#include "base/text.h"

#include <criterion/criterion.h>
#include <stdbool.h>
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

/* ---- What is plain ---- */

static size_t encode(uint32_t point, char *bytes)
{
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 63));
        bytes[2] = (char)(0x80 | (point & 63));
        return 3;
    }
    bytes[0] = (char)(0xf0 | point >> 18);
    bytes[1] = (char)(0x80 | (point >> 12 & 63));
    bytes[2] = (char)(0x80 | (point >> 6 & 63));
    bytes[3] = (char)(0x80 | (point & 63));
    return 4;
}

/* The characters that are not, written out. */
static bool is_harmful(uint32_t point)
{
    static const uint32_t harmful[] = {0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d,
                                       0x202e, 0x2066, 0x2067, 0x2068, 0x2069};

    for (size_t i = 0; i < sizeof harmful / sizeof harmful[0]; i++)
        if (point == harmful[i])
            return true;
    return point < 0x20 || (point >= 0x7f && point <= 0x9f);
}

/* Of each length; with the count of all strings that are taken, no other one is. */
static const size_t plain_counts[] = {0, 95, 0x800 - 0x80 - 32, 0x10000 - 0x800 - 0x800 - 11,
                                      0x100000};

Test(text, every_character_is_plain_but_controls_separators_and_turns)
{
    size_t counts[5] = {0};

    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        char bytes[4];
        const size_t length = encode(point, bytes);
        const bool is_wrong = is_harmful(point) || (point >= 0xd800 && point <= 0xdfff);
        const size_t got = coil__text_plain_length(bytes, length);

        cr_assert_eq(got, is_wrong ? 0 : length, "U+%04X", point);
        if (length > 1)
            cr_assert_eq(coil__text_plain_length(bytes, length - 1), 0, "cut: U+%04X", point);
        counts[got]++;
    }
    cr_assert_arr_eq(counts + 1, plain_counts + 1, sizeof counts - sizeof counts[0]);
}

Test(text, nothing_that_is_no_utf8_is_plain)
{
    size_t counts[5] = {0};

    for (uint32_t all = 0; all < 1U << 24; all++) {
        const char bytes[] = {(char)(all >> 16), (char)(all >> 8), (char)all};
        const size_t got = coil__text_plain_length(bytes, 3);

        counts[got] += got < 3 ? (all & ((1U << (8 * (3 - got))) - 1)) == 0 : 1;
    }
    for (uint32_t all = 0; all < 16U << 18; all++) {
        const char bytes[] = {(char)(0xf0 | all >> 18), (char)(0x80 | (all >> 12 & 63)),
                              (char)(0x80 | (all >> 6 & 63)), (char)(0x80 | (all & 63))};

        counts[4] += coil__text_plain_length(bytes, 4) == 4;
    }
    cr_assert_arr_eq(counts + 1, plain_counts + 1, sizeof counts - sizeof counts[0]);
    for (int at = 1; at < 4; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char bytes[] = "\xf0\x9f\x98\x80";

            bytes[at] = (char)byte;
            if (byte < 0x80 || byte > 0xbf)
                cr_assert_eq(coil__text_plain_length(bytes, 4), 0, "%d at %d", byte, at);
        }
    }
}

Test(text, only_plain_characters_are_added)
{
    static const struct {
        const char *given;
        const char *want;
    } cases[] = {
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"a\x9b[2Jb", "a [2Jb"},
        {"a\xc2\x9b[2Jb", "a  [2Jb"},
        {"a\xc2", "a "},
        {"a\xe2\x80\xae z", "a    z"},
        {"\xff\xc3\xbc", " \xc3\xbc"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct coil__text text = fresh(sizeof buffer);

        coil__text_add_plain(&text, cases[i].given, 100);
        cr_expect_str_eq(buffer, cases[i].want);
    }
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
