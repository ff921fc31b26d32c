/* SPDX-License-Identifier: MIT */
/* Text built piece by piece in a caller's buffer.
 *
 * For reports about a program that may be broken, from places where snprintf(3) does not fit: it
 * allocates nothing, takes no lock, has small frames, and is safe in a signal handler. What does
 * not fit is cut, unless `flush` makes room.
 *
 * Invariant: the buffer holds `len` bytes and a NUL, with len < size.
 */
#ifndef COIL_LIB_BASE_TEXT_H
#define COIL_LIB_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct coil__text {
    char *data;
    size_t size;
    size_t len;
    /* Called when the buffer is full: to empty it or to give a larger one. Without it, or when it
     * makes no room, the rest of the text is lost. */
    void (*flush)(struct coil__text *text);
};

/* `size` is at least 1. */
void coil__text_init(struct coil__text *text, char *data, size_t size,
                     void (*flush)(struct coil__text *text));

void coil__text_add(struct coil__text *text, const char *string);

/* Returns the length of the character at `at`, where there are `size` > 0 bytes, or 0 when its
 * first byte must not be shown. Names and peers' bytes get into logs and consoles, and from there
 * to terminals. Shown is UTF-8, as terminals read it; not what is none, which each reads in its own
 * way; not control characters (the byte 0x9b and U+009B begin a command as ESC [ does), nor what
 * breaks a line or turns the direction of text (U+2028 to 202E, U+2066 to 2069). */
size_t coil__text_plain_length(const char *at, size_t size);

/* What a noun ends in behind a number. */
static inline const char *coil__text_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* At most `size` bytes up to a NUL, blanks for what is not plain: names of fibers, say. */
void coil__text_add_plain(struct coil__text *text, const char *string, size_t size);

void coil__text_add_number(struct coil__text *text, uint64_t number);
void coil__text_add_hex(struct coil__text *text, uint64_t number);

/* A duration as "12.345 s"; negative ones count as 0. */
void coil__text_add_time(struct coil__text *text, int64_t time_ns);

#endif
