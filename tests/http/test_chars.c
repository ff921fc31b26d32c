/* SPDX-License-Identifier: MIT */
/* The byte table against the grammar, the word-wide scan against a byte-wise one, and the small
 * text helpers. */
#include "http/chars.h"

#include "feed.h"

Test(chars, the_byte_table_agrees_with_the_grammar, .timeout = 20)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    for (int byte = 0; byte < 256; byte++) {
        const bool alnum = byte > 0 && strchr(letters, byte);
        const bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
        const bool token = alnum || (byte > 0 && strchr("!#$%&'*+-.^_`|~", byte));
        const bool target = byte > 0x20 && byte != 0x7f && byte != '#';
        const bool plain = alnum || (byte > 0 && strchr("-._~", byte));
        const bool scheme = alnum || (byte > 0 && strchr("+-.", byte));
        const bool url = plain || (byte > 0 && strchr("!$&'()*+,;=:@/?", byte));

        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_CONTROL), control, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_TOKEN), token, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_TARGET), target, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_HOST), plain, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_UNRESERVED), plain, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_SCHEME), scheme, "%#x", byte);
        cr_expect_eq(coil__char_is((char)byte, COIL__CHAR_URL), url, "%#x", byte);
    }
}

/* Every byte value at every place of a word, between neighbours that could confuse the borrow. */
Test(chars, the_word_scan_finds_what_a_byte_scan_finds, .timeout = 20)
{
    static const char neighbours[] = {' ', 'a', '\t', '\x7e', '\x1f', '\x7f', '\x80', '\xff', '!'};
    struct guarded memory = guarded_new(64);

    for (size_t n = 0; n < sizeof neighbours; n++) {
        for (size_t len = 0; len <= 35; len++) {
            for (int byte = 0; byte < 256 && len > 0; byte += byte < 0x22 || byte > 0x7d ? 1 : 13) {
                for (size_t at = 0; at < len; at++) {
                    char text[40];
                    memset(text, neighbours[n], len);
                    memset(text, ' ', at);
                    text[at] = (char)byte;
                    const char *copy = guarded_copy(&memory, text, len);
                    const char *want = copy;

                    while (want < copy + len && !coil__char_is(*want, COIL__CHAR_CONTROL))
                        want++;
                    cr_assert_eq(coil__chars_find_control(copy, copy + len), want,
                                 "byte %#x at %zu of %zu", byte, at, len);
                }
            }
        }
    }
    guarded_free(&memory);
}

Test(chars, trimming_takes_spaces_and_tabs_only, .timeout = 20)
{
    static const char *const rows[][2] = {
        {"", ""},         {" ", ""},         {"\t \t", ""},
        {"a", "a"},       {" a b\t", "a b"}, {"\xa0 a\x0b", "\xa0 a\x0b"},
        {"\r a", "\r a"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect(coil__slice_is(coil__chars_trim(coil__slice_from(rows[i][0])), rows[i][1]), "%s",
                  rows[i][0]);
}

Test(chars, comparison_ignores_the_case_of_letters_and_nothing_else, .timeout = 20)
{
    cr_expect(coil__chars_equal_nocase(coil__slice_from("ChUnKed-1"), "chunked-1", 9));
    cr_expect(!coil__chars_equal_nocase(coil__slice_from("chunke"), "chunked", 7));
    cr_expect(!coil__chars_equal_nocase(coil__slice_from("chunkedd"), "chunked", 7));
    for (int byte = 0x20; byte < 256; byte++) {
        const char text[] = {(char)byte, '-', '\0'};
        const bool want = byte == 'k' || byte == 'K';

        if (byte != 0x7f)
            cr_expect_eq(coil__chars_equal_nocase((struct coil__slice){text, 2}, "k-", 2), want,
                         "%#x", byte);
    }
}

Test(chars, hex_digits_have_their_value_and_nothing_else_has_one, .timeout = 20)
{
    static const char digits[] = "0123456789abcdef";

    for (int byte = 0; byte < 256; byte++) {
        const char lower = (char)(byte >= 'A' && byte <= 'F' ? byte + 32 : byte);
        const char *found = byte > 0 ? strchr(digits, lower) : NULL;

        cr_expect_eq(coil__char_hex((char)byte), found ? (int)(found - digits) : -1, "%#x", byte);
    }
}
