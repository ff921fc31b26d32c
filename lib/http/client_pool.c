/* SPDX-License-Identifier: MIT */
/* Connections of the HTTP client: slots per host, and what is kept for later (http/client.h).
 *
 * Idle connections hang in two lists, one of their host (the last used is taken first: it is the
 * least likely to have been closed by the server) and one of the client (the longest idle goes
 * first when there are too many, or when its time is over). No timer watches them: whoever takes
 * or gives a connection closes those whose time is over, and before use an idle connection is
 * looked at for anything the server sent meanwhile, be it the end.
 *
 * Closing parks, so a connection leaves both lists before it is closed, and loops over a list
 * start again at its head.
 */
#include "http/client.h"

#include <errno.h>
#include <string.h>

#include <coil/fiber.h>

#include "base/alloc.h"
#include "net/stream.h"

void coil__http_pool_init(coil_http_client *client)
{
    for (int i = 0; i < COIL__HTTP_HOST_BUCKETS; i++)
        coil__list_init(&client->buckets[i]);
    coil__list_init(&client->idle);
}

/* ---- Hosts ---- */

/* FNV-1a: the keys are short and not chosen to collide, a long bucket would only cost time. */
static struct coil__list *bucket_of(coil_http_client *client, const char *address)
{
    uint32_t hash = 2166136261U;

    for (; *address; address++)
        hash = (hash ^ (unsigned char)*address) * 16777619U;
    return &client->buckets[hash % COIL__HTTP_HOST_BUCKETS];
}

/* Returns the host with one more user, or NULL without memory. */
static struct coil__http_host *host_get(coil_http_client *client, const char *address)
{
    struct coil__list *bucket = bucket_of(client, address);
    const size_t size = strlen(address) + 1;
    struct coil__http_host *host;

    for (struct coil__list *link = bucket->next; link != bucket; link = link->next) {
        host = container_of(link, struct coil__http_host, link);
        if (strcmp(host->address, address) == 0) {
            host->users++;
            return host;
        }
    }
    host = coil__alloc(sizeof *host + size);
    if (!host)
        return NULL;
    coil__list_push_front(bucket, &host->link);
    coil__list_init(&host->idle);
    coil_sem_init(&host->slots, client->options.per_host_max);
    host->users = 1;
    memcpy(host->address, address, size);
    return host;
}

static void host_put(struct coil__http_host *host)
{
    if (--host->users > 0)
        return;
    coil__list_remove(&host->link);
    coil__free(host);
}

/* ---- Idle connections ---- */

static void take_out(coil_http_client *client, struct coil__http_connection *connection)
{
    coil__list_remove(&connection->link);
    coil__list_remove(&connection->host_link);
    client->idle_count--;
    host_put(connection->host);
}

static void destroy(struct coil__http_connection *connection)
{
    (void)coil_close(connection->stream);
    coil__free(connection);
}

static struct coil__http_connection *longest_idle(const coil_http_client *client)
{
    struct coil__list *link = coil__list_first(&client->idle);

    return link ? container_of(link, struct coil__http_connection, link) : NULL;
}

static void close_surplus(coil_http_client *client)
{
    struct coil__http_connection *connection;

    while ((connection = longest_idle(client)) != NULL) {
        if (client->idle_count <= client->options.idle_max &&
            coil_now() - connection->idle_since < client->options.idle_timeout)
            break;
        take_out(client, connection);
        destroy(connection);
    }
}

/* Has the loop deliver what the ring has taken from sockets: it does so between two turns. */
static void await_deliveries(const struct coil__sched *sched)
{
    const uint64_t turn = sched->turn_count;

    while (sched->turn_count == turn)
        coil_yield();
}

/* Whether the server has said nothing since: anything would be an answer to no request. */
static bool is_silent(const struct coil__http_connection *connection)
{
    coil_stream *stream = connection->stream;

    return stream->input.length == 0 && stream->input.status == COIL__INPUT_OPEN &&
           !stream->ops->input_is_waiting(stream);
}

/* Returns the host's last used connection that is still good, or NULL. */
static struct coil__http_connection *reuse(coil_http_client *client, struct coil__http_host *host,
                                           bool is_wanted)
{
    struct coil__list *link;

    while ((link = coil__list_first(&host->idle)) != NULL) {
        struct coil__http_connection *connection =
            container_of(link, struct coil__http_connection, host_link);

        take_out(client, connection);
        await_deliveries(connection->stream->sched);
        if (is_wanted && is_silent(connection)) {
            connection->is_reused = true;
            return connection;
        }
        destroy(connection);
    }
    return NULL;
}

void coil__http_pool_fini(coil_http_client *client)
{
    struct coil__http_connection *connection;

    while ((connection = longest_idle(client)) != NULL) {
        take_out(client, connection);
        destroy(connection);
    }
}

/* ---- Taking and giving ---- */

static int connect_to(const coil_http_client *client, const char *address,
                      struct coil__http_connection **ret_connection)
{
    const struct coil__http_limits limits = {
        .header_line_max = client->options.head_max,
        .headers_max = client->options.head_max,
    };
    struct coil__http_connection *connection = coil__alloc(sizeof *connection);
    int result;

    if (!connection)
        return -ENOMEM;
    result = coil_connect(address, NULL, &connection->stream);
    if (result < 0) {
        coil__free(connection);
        return result;
    }
    coil__list_init(&connection->link);
    coil__list_init(&connection->host_link);
    coil__http_parser_init(&connection->parser, COIL__HTTP_RESPONSE, connection->headers,
                           COIL__HTTP_HEADER_COUNT_MAX, &limits);
    *ret_connection = connection;
    return 0;
}

int coil__http_pool_take(coil_http_client *client, const char *address, bool is_fresh,
                         struct coil__http_connection **ret_connection)
{
    struct coil__http_host *host = host_get(client, address);
    struct coil__http_connection *connection;
    int result;

    if (!host)
        return -ENOMEM;
    result = coil_sem_acquire(&host->slots);
    if (result < 0) {
        host_put(host);
        return result;
    }
    close_surplus(client);
    connection = reuse(client, host, !is_fresh);
    if (!connection)
        result = connect_to(client, host->address, &connection);
    if (result < 0) {
        coil_sem_release(&host->slots);
        host_put(host);
        return result;
    }
    connection->host = host;
    *ret_connection = connection;
    return 0;
}

void coil__http_pool_give(coil_http_client *client, struct coil__http_connection *connection,
                          bool is_reusable)
{
    struct coil__http_host *host = connection->host;

    if (is_reusable && is_silent(connection)) {
        connection->idle_since = coil_now();
        coil__list_push_front(&host->idle, &connection->host_link);
        coil__list_push_back(&client->idle, &connection->link);
        client->idle_count++;
        host->users++;
    } else {
        destroy(connection);
    }
    coil_sem_release(&host->slots);
    host_put(host);
    close_surplus(client);
}
