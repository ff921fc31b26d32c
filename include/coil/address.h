/* SPDX-License-Identifier: MIT */
/* coil/address.h - socket addresses as values, and their text.
 *
 *     127.0.0.1:80   [::1]:80   :80   unix:/path   unix:@abstract   name:80
 *
 * Most calls take an address as text. A program that keeps peers, answers them or compares them
 * (coil/udp.h) wants it as a value: a coil_address, in the caller's storage (136 bytes), copied by
 * assignment. It owns nothing.
 *
 * The text is strict: a port is 0 to 65535 in digits, an IPv6 address stands in brackets, with its
 * zone if it needs one ("[fe80::1%eth0]:80"), a path must fit. ":80" is every address, IPv6 and
 * IPv4.
 *
 * Threads: any; these are plain values. coil_address_resolve() alone parks.
 */
#ifndef COIL_ADDRESS_H
#define COIL_ADDRESS_H

#include <coil/base.h>
#include <sys/socket.h>

COIL_BEGIN_DECLS

typedef struct coil_address {
    struct sockaddr_storage storage; /* what the socket calls take */
    socklen_t length;                /* bytes of it; 0: no address */
} coil_address;

/** Bytes that suffice for the text of any address, with its NUL. */
#define COIL_ADDRESS_SIZE 128

/** Reads a literal address. Never parks.
 *  Returns 0; -EINVAL for what is none; -ENAMETOOLONG for a path; -EDESTADDRREQ when @p text is
 *  "name:port" in good form, whose name has to be looked up: coil_address_resolve(). */
COIL_API COIL_MUST_CHECK int coil_address_parse(const char *text, coil_address *ret_address);

/** Stores the text of @p address, with a NUL, in the form that coil_address_parse() reads ("unix:"
 *  for a unix socket without a name). COIL_ADDRESS_SIZE bytes always suffice.
 *  Returns its length; -ENOBUFS when @p size is too small; -EAFNOSUPPORT for no address or a
 *  foreign one. */
COIL_API int coil_address_format(const coil_address *address, char *ret_text, size_t size);

/** Returns whether both are the same address and port, or the same unix socket's name. */
COIL_API bool coil_address_equal(const coil_address *a, const coil_address *b);

/** Reads @p text as coil_address_parse() does, but looks a name up, by the C library in a thread
 *  (coil/offload.h). Stores at most @p max (> 0) addresses, in the order in which they should be
 *  tried; no name has more than 16. Parks for a name.
 *  Returns how many, at least 1; -EINVAL, -ENAMETOOLONG; -ENXIO for a name that nobody has, -EAGAIN
 *  when no name server answered, -EREMOTEIO when one failed; -ENOMEM, -ETIMEDOUT, -ECANCELED.
 *  Like getaddrinfo(3). */
COIL_API COIL_MUST_CHECK int coil_address_resolve(const char *text, coil_address *ret_addresses,
                                                  size_t max);

COIL_END_DECLS

#endif
