/* SPDX-License-Identifier: MIT */
/* The public face of URLs (coil/url.h): NUL-terminated text around http/url.h.
 *
 * Resolving and normalising are one public step, since a link that was resolved and not normalised
 * is of no use to anybody: it can't be compared, and may hold bytes that no request line may have.
 * The text between the two steps is of any length, so it lives on the heap and not on a fiber's
 * stack.
 */
#include <coil/url.h>

#include <errno.h>

#include "base/alloc.h"
#include "http/url.h"

ssize_t coil_url_normalise(const char *url, char *ret_text, size_t size)
{
    return coil__url_normalise(coil__slice_from(url), ret_text, size);
}

ssize_t coil_url_resolve(const char *base, const char *reference, char *ret_text, size_t size)
{
    const struct coil__slice from = coil__slice_from(base);
    const struct coil__slice to = coil__slice_from(reference);
    const size_t room = from.len + to.len + 2; /* always enough: http/url.h */
    char *absolute = coil__alloc(room);
    ssize_t result;

    if (!absolute)
        return -ENOMEM;
    result = coil__url_resolve(from, to, absolute, room);
    if (result >= 0) {
        const struct coil__slice joined = {.data = absolute, .len = (size_t)result};

        result = coil__url_normalise(joined, ret_text, size);
    }
    coil__free(absolute);
    return result;
}
