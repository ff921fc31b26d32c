/* SPDX-License-Identifier: MIT */
/* A borrowed run of bytes: where it starts and how long it is.
 *
 * A slice owns nothing and is not NUL-terminated. Whoever hands one out says how long the bytes
 * behind it live. `data` is NULL for "not there" where a function tells that apart from empty.
 */
#ifndef COIL_LIB_BASE_SLICE_H
#define COIL_LIB_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct coil__slice {
    const char *data;
    size_t len;
};

/** Returns the slice over the NUL-terminated @p text, which must outlive it. */
static inline struct coil__slice coil__slice_from(const char *text)
{
    return (struct coil__slice){.data = text, .len = strlen(text)};
}

/** Returns whether @p slice holds exactly the bytes of @p text. */
static inline bool coil__slice_is(struct coil__slice slice, const char *text)
{
    const size_t len = strlen(text);

    return slice.len == len && (len == 0 || memcmp(slice.data, text, len) == 0);
}

#endif
