/* SPDX-License-Identifier: MIT */
/* Character references and blanks (demos/crawler_text.h).
 *
 * A reference is never shorter than what it stands for (the shortest, "&#0", is 3 bytes, as is the
 * replacement character), so decoding in place never overtakes itself. In attributes, a named
 * reference without its semicolon counts only when neither '=' nor a letter or digit follows:
 * "?a=1&lt=2" is a query, not a less-than sign.
 */
#include "crawler_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    REPLACEMENT = 0xfffd,
    CODE_MAX = 0x10ffff,
};

static const struct {
    const char *name;
    uint32_t code;
    bool may_lack_semicolon;
} named[] = {
    {"amp", '&', true},  {"lt", '<', true},     {"gt", '>', true},
    {"quot", '"', true}, {"apos", '\'', false}, {"nbsp", 0xa0, true},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t put_utf8(char *to, uint32_t code)
{
    unsigned char *out = (unsigned char *)to;

    if (code < 0x80) {
        out[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (unsigned char)(0xc0 | code >> 6);
        out[1] = (unsigned char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (unsigned char)(0xe0 | code >> 12);
        out[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | code >> 18);
    out[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (code & 0x3f));
    return 4;
}

/* The references of these functions begin after the '&'. Each returns how many bytes it takes,
 * 0 when there is none, and its code. */
static size_t numeric(const char *text, size_t length, uint32_t *ret_code)
{
    const bool is_hex = length > 1 && (text[1] == 'x' || text[1] == 'X');
    const size_t first = is_hex ? 2 : 1;
    uint32_t code = 0;
    size_t at = first;

    for (; at < length; at++) {
        const int digit = is_hex || is_digit(text[at]) ? hex_value(text[at]) : -1;

        if (digit < 0)
            break;
        if (code <= CODE_MAX)
            code = code * (is_hex ? 16 : 10) + (uint32_t)digit;
    }
    if (at == first)
        return 0;
    if (at < length && text[at] == ';')
        at++;
    if (code == 0 || code > CODE_MAX || (code >= 0xd800 && code <= 0xdfff))
        code = REPLACEMENT;
    *ret_code = code;
    return at;
}

static size_t by_name(const char *text, size_t length, uint32_t *ret_code)
{
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        const size_t len = strlen(named[i].name);

        if (length < len || memcmp(text, named[i].name, len) != 0)
            continue;
        *ret_code = named[i].code;
        if (length > len && text[len] == ';')
            return len + 1;
        if (named[i].may_lack_semicolon &&
            (length == len || (text[len] != '=' && !is_alphanumeric(text[len]))))
            return len;
    }
    return 0;
}

size_t text_decode(char *text, size_t length)
{
    size_t out = 0;

    for (size_t at = 0; at < length;) {
        const char *reference = text + at + 1;
        const size_t left = length - at - 1;
        uint32_t code = 0;
        size_t taken = 0;

        if (text[at] == '&' && left > 0)
            taken = *reference == '#' ? numeric(reference, left, &code)
                                      : by_name(reference, left, &code);
        if (taken > 0) {
            out += put_utf8(text + out, code);
            at += taken + 1;
        } else {
            text[out++] = text[at++];
        }
    }
    return out;
}

size_t text_strip(char *text, size_t length)
{
    size_t start = 0;
    size_t out = 0;

    while (start < length && (unsigned char)text[start] <= ' ')
        start++;
    while (length > start && (unsigned char)text[length - 1] <= ' ')
        length--;
    for (size_t at = start; at < length; at++) {
        if (text[at] != '\t' && text[at] != '\n' && text[at] != '\r')
            text[out++] = text[at];
    }
    text[out] = '\0';
    return out;
}
