/* SPDX-License-Identifier: MIT */
/* coil/url.h - http and https URLs as text: one spelling each, and links against their page.
 *
 * Two URLs name the same resource if their normal forms are equal: scheme and host in lower case,
 * no default port, no dot segments, "/" for an empty path, no fragment, percent signs only where
 * they must be. In that form everything up to the first '/' after "://" is the origin (scheme, host
 * and port), so URLs of one site share that prefix.
 *
 * Both functions write into a buffer of the caller, which must not overlap their input, terminate
 * it with a NUL and return the length without it. After an error the buffer's contents are
 * undefined.
 *
 * Threads: any; nothing here parks or needs a coil_run().
 */
#ifndef COIL_URL_H
#define COIL_URL_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Writes the normal form of @p url into @p ret_text.
 *
 *  Three bytes for each of @p url and 16 more always suffice. Returns the length; -ENAMETOOLONG
 *  when it does not fit; -EPROTONOSUPPORT for a scheme other than http and https; -EINVAL for what
 *  is no URL: no host, user data, a bad port, a control byte, '%' without two hex digits. */
COIL_API COIL_MUST_CHECK ssize_t coil_url_normalise(const char *url, char *ret_text, size_t size);

/** Writes the normal form of @p reference, a link of any kind ("../a", "//host/b", "?c", "") that
 *  stands in the document at the URL @p base, into @p ret_text.
 *  Returns as coil_url_normalise(), and -ENOMEM. Like urllib.parse.urljoin(). */
COIL_API COIL_MUST_CHECK ssize_t coil_url_resolve(const char *base, const char *reference,
                                                  char *ret_text, size_t size);

COIL_END_DECLS

#endif
