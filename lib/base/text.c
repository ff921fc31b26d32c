/* SPDX-License-Identifier: MIT */
/* Text built piece by piece (base/text.h). */
#include "base/text.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

enum {
    DIGITS_SIZE = 24, /* the longest number, 20 digits, and a NUL */
    MS_IN_NS = 1000000,
};

void coil__text_init(struct coil__text *text, char *data, size_t size,
                     void (*flush)(struct coil__text *text))
{
    COIL_ASSERT(size > 0 && "there is room for the NUL");
    *text = (struct coil__text){.data = data, .size = size, .flush = flush};
    data[0] = '\0';
}

static void add_char(struct coil__text *text, char character)
{
    if (text->len + 1 >= text->size && text->flush)
        text->flush(text);
    if (text->len + 1 >= text->size)
        return;
    text->data[text->len++] = character;
    text->data[text->len] = '\0';
}

void coil__text_add(struct coil__text *text, const char *string)
{
    for (; *string; string++)
        add_char(text, *string);
}

static bool is_plain(uint32_t point)
{
    return (point >= ' ' && point < 0x7f) ||
           (point >= 0xa0 && !(point >= 0x2028 && point <= 0x202e) &&
            !(point >= 0x2066 && point <= 0x2069));
}

/* 0: no character begins like this. */
static size_t length_by_lead(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc0 || lead > 0xf7)
        return 0;
    if (lead < 0xe0)
        return 2;
    return lead < 0xf0 ? 3 : 4;
}

size_t coil__text_plain_length(const char *at, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* that needs so many bytes */
    const unsigned char *bytes = (const unsigned char *)at;
    const size_t length = length_by_lead(bytes[0]);
    uint32_t point = length > 1 ? bytes[0] & (0x7fU >> length) : bytes[0];

    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (bytes[i] & 0x3f);
    }
    if (point < least[length] || (point >= 0xd800 && point <= 0xdfff) || point > 0x10ffff)
        return 0;
    return is_plain(point) ? length : 0;
}

void coil__text_add_plain(struct coil__text *text, const char *string, size_t size)
{
    const char *const end = string + strnlen(string, size);

    while (string < end) {
        size_t length = coil__text_plain_length(string, (size_t)(end - string));

        if (length == 0) {
            add_char(text, ' ');
            string++;
        }
        while (length-- > 0)
            add_char(text, *string++);
    }
}

static void add_in_base(struct coil__text *text, uint64_t number, unsigned base)
{
    char digits[DIGITS_SIZE];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    coil__text_add(text, &digits[at]);
}

void coil__text_add_number(struct coil__text *text, uint64_t number)
{
    add_in_base(text, number, 10);
}

void coil__text_add_hex(struct coil__text *text, uint64_t number)
{
    coil__text_add(text, "0x");
    add_in_base(text, number, 16);
}

void coil__text_add_time(struct coil__text *text, int64_t time_ns)
{
    const uint64_t ms = time_ns > 0 ? (uint64_t)time_ns / MS_IN_NS : 0;
    const uint64_t fraction = ms % 1000;

    coil__text_add_number(text, ms / 1000);
    coil__text_add(text, fraction < 10 ? ".00" : (fraction < 100 ? ".0" : "."));
    coil__text_add_number(text, fraction);
    coil__text_add(text, " s");
}
