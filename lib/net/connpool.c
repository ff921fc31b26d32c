/* SPDX-License-Identifier: MIT */
/* What makes a resource pool one of connections (coil/connpool.h).
 *
 * A connection is unmade inside a scope of no time: whoever drops one may have left a request in
 * its buffer that the peer does not read, and a pool must not wait for that.
 */
#include <coil/connpool.h>

#include <coil/scope.h>
#include <coil/stream.h>

int coil_connpool_create(const char *key, void *arg, void **ret_value)
{
    coil_stream *stream;
    const int result = coil_connect(key, NULL, &stream);

    (void)arg;
    if (result == 0)
        *ret_value = stream;
    return result;
}

void coil_connpool_destroy(void *value, void *arg)
{
    coil_scope at_once;

    (void)arg;
    coil_scope_enter(&at_once, 0);
    (void)coil_close(value);
    (void)coil_scope_leave(&at_once);
}

bool coil_connpool_check(void *value, void *arg)
{
    (void)arg;
    return coil_stream_is_silent(value);
}
