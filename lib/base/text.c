/* SPDX-License-Identifier: MIT */
/* Text built piece by piece (base/text.h). */
#include "base/text.h"

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

void coil__text_add_plain(struct coil__text *text, const char *string, size_t size)
{
    for (size_t i = 0; i < size && string[i]; i++) {
        const unsigned char byte = (unsigned char)string[i];

        add_char(text, (char)(byte < ' ' || byte == 0x7f ? ' ' : string[i]));
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
