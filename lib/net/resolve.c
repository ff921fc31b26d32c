/* SPDX-License-Identifier: MIT */
/* Looking up names (net/resolve.h).
 *
 * A lookup is a record on the heap that holds the question and the answer, because its thread goes
 * on when the fiber has been interrupted; then the pool frees it. The answer is copied out of the
 * resolver's list in the thread, whose stack is large enough for the resolver.
 */
#include "net/resolve.h"

#include <coil/offload.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

coil__resolver *coil__resolve_with = getaddrinfo;

struct lookup {
    char host[COIL__HOST_SIZE];
    char service[sizeof "65535"];
    coil_address addrs[COIL__RESOLVE_MAX];
};

static int error_of(int code)
{
    switch (code) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENXIO;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAIL:
        return -EREMOTEIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno ? -errno : -EREMOTEIO;
    default:
        return -EINVAL;
    }
}

/* Copies the addresses that coil can connect to. Returns how many. */
static int take_addresses(const struct addrinfo *list, struct lookup *lookup)
{
    int count = 0;

    for (; list && count < COIL__RESOLVE_MAX; list = list->ai_next) {
        coil_address *addr = &lookup->addrs[count];

        if ((list->ai_family != AF_INET && list->ai_family != AF_INET6) ||
            list->ai_addrlen > sizeof addr->storage)
            continue;
        memcpy(&addr->storage, list->ai_addr, list->ai_addrlen);
        addr->length = list->ai_addrlen;
        count++;
    }
    return count;
}

/* Runs in a thread of the pool. */
static int run_lookup(void *arg)
{
    struct lookup *lookup = arg;
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *list = NULL;
    int code;
    int count;

    errno = 0;
    code = coil__resolve_with(lookup->host, lookup->service, &hints, &list);
    if (code != 0)
        return error_of(code);
    count = take_addresses(list, lookup);
    freeaddrinfo(list);
    return count > 0 ? count : -ENXIO;
}

int coil__resolve(const char *host, unsigned port, coil_address *ret_addrs, size_t max)
{
    struct lookup *lookup;
    int count = 0;
    int result;

    if (strlen(host) >= sizeof lookup->host)
        return -EINVAL;
    lookup = coil__alloc(sizeof *lookup);
    if (!lookup)
        return -ENOMEM;
    memcpy(lookup->host, host, strlen(host) + 1);
    (void)snprintf(lookup->service, sizeof lookup->service, "%hu", (unsigned short)port);

    result = coil_offload(run_lookup, lookup, coil__free, &count);
    if (result < 0)
        return result;
    if (count > 0 && (size_t)count > max)
        count = (int)max;
    if (count > 0)
        memcpy(ret_addrs, lookup->addrs, (size_t)count * sizeof *ret_addrs);
    coil__free(lookup);
    return count;
}

int coil_address_resolve(const char *text, coil_address *ret_addresses, size_t max)
{
    char host[COIL__HOST_SIZE];
    unsigned port;
    int result = coil_address_parse(text, ret_addresses);

    if (result == 0)
        return 1;
    if (result != -EDESTADDRREQ)
        return result;
    result = coil__addr_split(text, host, &port);
    return result < 0 ? result : coil__resolve(host, port, ret_addresses, max);
}
