/* SPDX-License-Identifier: MIT */
/* Which characters can be shown (demos/plain.h).
 *
 * Control characters play tricks on terminals: they move the cursor, rename the window, have it
 * type. Beyond those of ASCII there are U+0080 to U+009F, and what is no UTF-8 may be taken for
 * one of them by a reader that is lenient. A line with a separator in it, or with its direction
 * turned, is still one line to a program and says something else to a person.
 */
#include "plain.h"

#include <stdbool.h>

/* U+2028 to 202E and U+2066 to 2069, in UTF-8. */
static bool is_misleading(const unsigned char *at)
{
    return at[0] == 0xe2 && ((at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) ||
                             (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
}

/* Returns how many bytes at `text` make up a character that can be shown, or 0. The NUL at the end
 * of the text ends every search. */
static size_t shown_length(const char *text)
{
    /* Well-formed sequences by their first two bytes (Unicode, table 3-7), without controls: a
     * second byte below 0xa0 behind 0xc2 would be one. */
    static const struct {
        unsigned char first[2]; /* from, to */
        unsigned char second[2];
        size_t length;
    } sequences[] = {
        {{0x20, 0x7e}, {0x00, 0xff}, 1}, {{0xc2, 0xc2}, {0xa0, 0xbf}, 2},
        {{0xc3, 0xdf}, {0x80, 0xbf}, 2}, {{0xe0, 0xe0}, {0xa0, 0xbf}, 3},
        {{0xe1, 0xec}, {0x80, 0xbf}, 3}, {{0xed, 0xed}, {0x80, 0x9f}, 3},
        {{0xee, 0xef}, {0x80, 0xbf}, 3}, {{0xf0, 0xf0}, {0x90, 0xbf}, 4},
        {{0xf1, 0xf3}, {0x80, 0xbf}, 4}, {{0xf4, 0xf4}, {0x80, 0x8f}, 4},
    };

    const unsigned char *at = (const unsigned char *)text;
    size_t row = 0;
    size_t i = 2;

    while (row < sizeof sequences / sizeof sequences[0] && at[0] > sequences[row].first[1])
        row++;
    if (row == sizeof sequences / sizeof sequences[0] || at[0] < sequences[row].first[0] ||
        at[1] < sequences[row].second[0] || at[1] > sequences[row].second[1])
        return 0;
    while (i < sequences[row].length && (at[i] & 0xc0) == 0x80)
        i++;
    return i < sequences[row].length || is_misleading(at) ? 0 : sequences[row].length;
}

void make_plain(char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        const size_t shown = shown_length(text + i);

        if (shown == 0)
            text[i] = '?';
        i += shown > 0 ? shown : 1;
    }
}
