/* SPDX-License-Identifier: MIT */
/* Connections of the HTTP client: a resource pool with the host's address as key (http/client.h).
 *
 * Before use an idle connection is looked at for anything the server sent meanwhile, be it the end:
 * it would be an answer to no request. That, and closing without a wait, is coil/connpool.h's; here
 * a connection brings its parser along.
 */
#include "http/client.h"

#include <errno.h>

#include <coil/connpool.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sync/respool.h"

COIL_STATIC_ASSERT(sizeof(struct coil__http_connection) <= 3416, "a promise of the header");

static int create(const char *key, void *arg, void **ret_value)
{
    const coil_http_client *client = arg;
    const struct coil__http_limits limits = {
        .header_line_max = client->options.head_max,
        .headers_max = client->options.head_max,
    };
    struct coil__http_connection *connection = coil__alloc(sizeof *connection);
    int result;

    if (!connection)
        return -ENOMEM;
    result = coil_connect(key, NULL, &connection->stream);
    if (result < 0) {
        coil__free(connection);
        return result;
    }
    coil__http_parser_init(&connection->parser, COIL__HTTP_RESPONSE, connection->headers,
                           COIL__HTTP_HEADER_COUNT_MAX, &limits);
    *ret_value = connection;
    return 0;
}

static void destroy(void *value, void *arg)
{
    struct coil__http_connection *connection = value;

    coil_connpool_destroy(connection->stream, arg);
    coil__free(connection);
}

static bool check(void *value, void *arg)
{
    const struct coil__http_connection *connection = value;

    return coil_connpool_check(connection->stream, arg);
}

int coil__http_pool_init(coil_http_client *client)
{
    coil_respool_options options = COIL_RESPOOL_OPTIONS_INIT;

    options.create = create;
    options.destroy = destroy;
    options.check = check;
    options.arg = client;
    options.max = client->options.per_host_max;
    options.idle_max = client->options.idle_max;
    options.idle_timeout = client->options.idle_timeout;
    return coil_respool_new(&options, &client->connections);
}

int coil__http_pool_take(coil_http_client *client, const char *address, bool is_fresh,
                         struct coil__http_connection **ret_connection)
{
    coil_resource *resource;
    struct coil__http_connection *connection;
    const int result = is_fresh ? coil__respool_get_fresh(client->connections, address, &resource)
                                : coil_respool_get(client->connections, address, &resource);

    if (result < 0)
        return result;
    connection = coil_resource_value(resource);
    connection->resource = resource;
    *ret_connection = connection;
    return 0;
}

void coil__http_pool_give(struct coil__http_connection *connection, bool is_reusable)
{
    if (is_reusable)
        coil_respool_put(connection->resource);
    else
        coil_respool_drop(connection->resource);
}
