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

/* At most `size` bytes up to a NUL, control characters as blanks: names of fibers, say. */
void coil__text_add_plain(struct coil__text *text, const char *string, size_t size);

void coil__text_add_number(struct coil__text *text, uint64_t number);
void coil__text_add_hex(struct coil__text *text, uint64_t number);

/* A duration as "12.345 s"; negative ones count as 0. */
void coil__text_add_time(struct coil__text *text, int64_t time_ns);

#endif
