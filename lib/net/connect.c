/* SPDX-License-Identifier: MIT */
/* Connecting (coil/stream.h).
 *
 * One socket, one connect operation. An interrupted connect closes its socket: the kernel has given
 * the operation up by then.
 *
 * The addresses of a name are tried in the resolver's order, each until it fails; trying IPv6 and
 * IPv4 side by side (RFC 8305) is left for later. The error that comes back is the last one's.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/addr.h"
#include "net/connect.h"
#include "net/resolve.h"
#include "net/stream.h"

static int open_socket(const coil_address *remote, const coil_address *local)
{
    const int family = remote->storage.ss_family;
    const int one = 1;
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    /* What is written is sent when the fiber would wait; delaying it further helps nobody. */
    if (family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (local && bind(fd, coil__addr_sockaddr(local), local->length) < 0) {
        const int error = errno;

        (void)close(fd);
        return -error;
    }
    return fd;
}

int coil__connect_to(const coil_address *remote, const coil_address *local,
                     coil_stream **ret_stream)
{
    const int fd = open_socket(remote, local);
    struct coil__op op;
    int result;

    if (fd < 0)
        return fd;
    op = coil__op_make(COIL__OP_CONNECT, fd, coil__addr_sockaddr(remote), remote->length, 0);
    result = coil__op_run(&op, "connect");
    if (result == 0)
        result = coil__stream_make(coil__sched(), fd, ret_stream);
    if (result < 0)
        (void)close(fd);
    return result;
}

/* Tries the addresses one after the other. A connect that the kernel gave up is a reason to go on,
 * an interruption is not. */
static int connect_to_any(const coil_address *addrs, int count, const coil_address *local,
                          coil_stream **ret_stream)
{
    int result = -EAFNOSUPPORT;

    for (int i = 0; i < count; i++) {
        if (local && local->storage.ss_family != addrs[i].storage.ss_family)
            continue;
        result = coil__connect_to(&addrs[i], local, ret_stream);
        if (result == 0 || ((result == -ETIMEDOUT || result == -ECANCELED) && coil_expired()))
            break;
    }
    return result;
}

static int connect_by_name(const char *address, const coil_address *local, coil_stream **ret_stream)
{
    coil_address *addrs;
    char host[COIL__HOST_SIZE];
    unsigned port;
    int result = coil__addr_split(address, host, &port);

    if (result < 0)
        return result;
    addrs = coil__alloc(COIL__RESOLVE_MAX * sizeof *addrs);
    if (!addrs)
        return -ENOMEM;
    result = coil__resolve(host, port, addrs, COIL__RESOLVE_MAX);
    if (result > 0)
        result = connect_to_any(addrs, result, local, ret_stream);
    coil__free(addrs);
    return result;
}

int coil_connect(const char *address, const char *local, coil_stream **ret_stream)
{
    coil_address remote_addr;
    coil_address local_addr;
    const int remote_result = coil_address_parse(address, &remote_addr);
    int result;

    if (remote_result < 0 && remote_result != -EDESTADDRREQ)
        return remote_result;
    if (local) {
        result = coil_address_parse(local, &local_addr);
        if (result < 0)
            return result == -EDESTADDRREQ ? -EINVAL : result;
    }
    if (remote_result < 0)
        return connect_by_name(address, local ? &local_addr : NULL, ret_stream);
    return coil__connect_to(&remote_addr, local ? &local_addr : NULL, ret_stream);
}
