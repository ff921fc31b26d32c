/* SPDX-License-Identifier: MIT */
/* URLs as a crawler and a file server need them (RFC 3986), strict and without allocation.
 *
 * A crawler takes a link from a page through three steps: coil__url_resolve() against the address
 * of the page, coil__url_normalise() to one spelling per resource (which also makes every byte fit
 * to be sent in a request line), and coil__url_parse() to know where to connect. A server decodes
 * the path of a request with coil__url_path_decode().
 *
 * Functions that write take a buffer that must not overlap their input, NUL-terminate it and
 * return the length without the NUL, or -ENAMETOOLONG when it does not fit (with the dot segments
 * that are removed from it at the end); then the contents of the buffer are undefined. Slices that
 * are returned borrow from the input.
 */
#ifndef COIL_LIB_HTTP_URL_H
#define COIL_LIB_HTTP_URL_H

#include "base/slice.h"

#include <stdbool.h>
#include <sys/types.h>

struct coil__authority {
    struct coil__slice host; /* without the brackets of an IPv6 address */
    int port;                /* 1 to 65535; 0: none was written */
    bool is_v6;              /* the host stood in brackets */
};

struct coil__url {
    struct coil__slice authority; /* "host[:port]" as written: the value of a Host field */
    struct coil__slice host;      /* without brackets */
    struct coil__slice target;    /* path and query; begins with '?' when the path is empty */
    int port;                     /* of the URL, else that of the scheme */
    bool is_v6;
    bool is_https;
};

/** Parses "host", "host:port" or "[v6]:port"; an empty port is as none.
 *
 *  Returns 0 or -EINVAL: empty host, user data, a byte that no resolvable name has, an address in
 *  brackets that is none, a port of 0 or above 65535. */
int coil__authority_parse(struct coil__slice text, struct coil__authority *ret_authority);

/** Parses an absolute http or https URL; a fragment is dropped.
 *
 *  Returns 0, -EPROTONOSUPPORT for another scheme, or -EINVAL: no scheme, a bad authority (see
 *  above), a control byte or space anywhere. */
int coil__url_parse(struct coil__slice text, struct coil__url *ret_url);

/** Resolves @p reference against the absolute @p base (RFC 3986 5.2, strict) into @p buf.
 *
 *  Any scheme will do; the fragment of the reference is kept. Returns the length, -EINVAL when the
 *  base has no scheme, either holds a control byte, or the result would read as having a host
 *  that neither has ("a:/b" and ".//c"); or -ENAMETOOLONG, which room for the lengths of both
 *  and 2 bytes more rules out. */
ssize_t coil__url_resolve(struct coil__slice base, struct coil__slice reference, char *buf,
                          size_t size);

/** Writes the one spelling of the http or https URL @p text into @p buf: scheme and host in lower
 *  case, no default port, no dot segments, "/" for an empty path, no fragment, upper-case hex,
 *  nothing encoded that need not be, everything encoded that must (spaces, bytes above 0x7e).
 *
 *  Writing what it wrote again changes nothing. Returns the length, -ENAMETOOLONG, or the errors
 *  of coil__url_parse(); -EINVAL also for '%' without two hex digits. */
ssize_t coil__url_normalise(struct coil__slice text, char *buf, size_t size);

/** Decodes the percent signs of @p path (no query) into @p buf.
 *
 *  "%2F" becomes a slash like any other: check what the path reaches after decoding, not before.
 *  Returns the length, -ENAMETOOLONG, or -EINVAL: '%' without two hex digits, "%00" or a NUL. */
ssize_t coil__url_path_decode(struct coil__slice path, char *buf, size_t size);

#endif
