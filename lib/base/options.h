/* SPDX-License-Identifier: MIT */
/* Reading a caller's options struct.
 *
 * Every public options struct begins with `size_t size`, set by its initialiser, and grows at its
 * end only. A program built against an older header gives a shorter struct, whose missing fields
 * are zero, the default; one built against a newer header gives a longer one, whose end is ignored.
 * A size of 0 is a struct without its initialiser: refused, since all of it would be ignored.
 */
#ifndef COIL_LIB_BASE_OPTIONS_H
#define COIL_LIB_BASE_OPTIONS_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Fills *ret_options, `size` bytes that begin with their size, from the caller's, which may be
 * NULL. Returns 0 or -EINVAL. */
static inline int coil__options_read(void *ret_options, size_t size, const void *options)
{
    size_t given = 0;

    if (options) {
        memcpy(&given, options, sizeof given);
        if (given < sizeof given)
            return -EINVAL;
    }
    memset(ret_options, 0, size);
    if (options)
        memcpy(ret_options, options, given < size ? given : size);
    memcpy(ret_options, &size, sizeof size);
    return 0;
}

#endif
