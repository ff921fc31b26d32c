/* SPDX-License-Identifier: MIT */
/* The byte classes of HTTP and URLs, and the scan that finds the end of a line.
 *
 * One table of 256 entries holds a bit per class, so that a test is one load. Classes that framing
 * depends on (token, control) are exactly those of RFC 9110; the classes for URLs are of RFC 3986.
 */
#ifndef COIL_LIB_HTTP_CHARS_H
#define COIL_LIB_HTTP_CHARS_H

#include "base/slice.h"

#include <stdbool.h>

enum coil__http_class {
    COIL__CHAR_TOKEN = 1,       /* tchar: may stand in a method or a field name */
    COIL__CHAR_TARGET = 2,      /* request target: all but controls, space, DEL and '#' */
    COIL__CHAR_HOST = 4,        /* letters, digits and "-._~": a name that can be resolved */
    COIL__CHAR_SCHEME = 8,      /* letters, digits and "+-." */
    COIL__CHAR_UNRESERVED = 16, /* never needs a percent sign */
    COIL__CHAR_URL = 32,        /* may stand in a path or query as it is; '%' is not among them */
    COIL__CHAR_CONTROL = 64,    /* below 0x20 except HTAB, and 0x7f */
};

extern const unsigned char coil__http_chars[256];

/** Returns whether @p byte is of one of the classes in @p mask. */
static inline bool coil__char_is(char byte, unsigned mask)
{
    return (coil__http_chars[(unsigned char)byte] & mask) != 0;
}

/** Returns the value of the hex digit @p byte, or -1. */
static inline int coil__char_hex(char byte)
{
    const unsigned digit = (unsigned)(unsigned char)byte - '0';
    const unsigned letter = ((unsigned)(unsigned char)byte | 0x20U) - 'a';

    if (digit < 10)
        return (int)digit;
    return letter < 6 ? (int)letter + 10 : -1;
}

/** Returns the first byte of [@p from, @p end) outside the classes in @p mask, or @p end. */
static inline const char *coil__chars_skip(const char *from, const char *end, unsigned mask)
{
    while (from < end && coil__char_is(*from, mask))
        from++;
    return from;
}

/** Returns the first control byte (HTAB is none) of [@p from, @p end), or @p end. */
const char *coil__chars_find_control(const char *from, const char *end);

/** Returns whether @p text equals @p lower but for the case of ASCII letters.
 *
 *  @p lower is in lower case and holds letters, digits and '-' only, @p text no control bytes:
 *  then setting bit 5 maps only the upper-case twin of a letter onto it. */
static inline bool coil__chars_equal_nocase(struct coil__slice text, const char *lower, size_t len)
{
    if (text.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)text.data[i] | 0x20U) != (unsigned char)lower[i])
            return false;
    }
    return true;
}

/** Returns @p text without the spaces and tabs at both ends, and those only: a byte of 0x80 or
 *  more is data even where some locale calls it blank. */
static inline struct coil__slice coil__chars_trim(struct coil__slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

#endif
