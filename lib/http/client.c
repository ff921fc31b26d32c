/* SPDX-License-Identifier: MIT */
/* The HTTP client: its options, one request, the head of its response (coil/http_client.h).
 *
 * The head is parsed in place, in what the stream shows, and copied once it is complete. Interim
 * responses (1xx) are skipped, a bounded number of them.
 *
 * A request on a connection that was idle may meet a server that has just closed it. Nobody can
 * tell that before; so if such a connection ends before a byte of the response has come, the
 * request goes out once more, on a new connection. A GET may be sent twice (RFC 9110 9.2.2), and
 * one that was answered in part is not.
 */
#include "http/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <coil/scope.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/options.h"
#include "http/chars.h"
#include "http/url.h"

COIL_STATIC_ASSERT(sizeof(coil_http_client) <= 80, "a promise of the header");
COIL_STATIC_ASSERT(sizeof(coil_http_response) <= 144, "a promise of the header");

enum {
    PER_HOST_MAX = 8,
    IDLE_MAX = 64,
    IDLE_SECONDS = 15,       /* servers close theirs after 5 (Apache) to 75 (nginx) */
    HEAD_LIMIT = 512 * 1024, /* with the start line, what coil_peek() shows in one piece */
    INTERIM_MAX = 16,
    ADDRESS_EXTRA = 16, /* brackets, colon, port */
    SKIP_MAX = 1024,    /* of a redirect's body: the usual note with a link */
    SKIP_MS = 10,       /* for the rest of it: no more than what a new connection may take */
    STATUS_SWITCHING = 101,
};

/* One get, on its way. */
struct request {
    coil_http_client *client;
    struct coil__url url; /* into the response's url */
    char *address;        /* where to connect */
    bool has_received;    /* at least a byte of the response */
};

/* ---- Client ---- */

static int fill_in(coil_http_client_options *options)
{
    const char *agent;

    if (!options->per_host_max)
        options->per_host_max = PER_HOST_MAX;
    if (!options->idle_max)
        options->idle_max = IDLE_MAX;
    if (options->idle_timeout <= 0)
        options->idle_timeout = COIL_SECONDS(IDLE_SECONDS);
    if (!options->head_max)
        options->head_max = COIL__HTTP_HEADERS_MAX;
    if (!options->body_max)
        options->body_max = UINT64_MAX;
    if (!options->user_agent)
        options->user_agent = "coil";
    agent = options->user_agent + strlen(options->user_agent);
    if (options->head_max > HEAD_LIMIT ||
        coil__chars_find_control(options->user_agent, agent) != agent)
        return -EINVAL;
    return 0;
}

int coil_http_client_new(const coil_http_client_options *options, coil_http_client **ret_client)
{
    coil_http_client_options filled;
    coil_http_client *client;
    size_t agent_size;

    if (coil__options_read(&filled, sizeof filled, options) < 0 || fill_in(&filled) < 0)
        return -EINVAL;
    agent_size = strlen(filled.user_agent) + 1;
    client = coil__alloc(sizeof *client + agent_size);
    if (!client)
        return -ENOMEM;
    client->options = filled;
    client->user_agent = (char *)(client + 1);
    memcpy(client->user_agent, filled.user_agent, agent_size);
    client->options.user_agent = client->user_agent;
    if (coil__http_pool_init(client) < 0) {
        coil__free(client);
        return -ENOMEM;
    }
    *ret_client = client;
    return 0;
}

void coil_http_client_free(coil_http_client *client)
{
    if (!client)
        return;
    COIL_ASSERT(client->users == 0 && "all responses have been closed");
    coil_respool_free(client->connections);
    coil__free(client);
}

/* ---- The head ---- */

static int error_of(ssize_t http_error)
{
    const bool is_long =
        http_error == COIL__HTTP_LONG_START_LINE || http_error == COIL__HTTP_LONG_HEADER ||
        http_error == COIL__HTTP_LONG_HEADERS || http_error == COIL__HTTP_MANY_HEADERS;

    return is_long ? -EMSGSIZE : -EPROTO;
}

/* Waits until the parser has a complete head. Returns its length; nothing has been consumed. */
static ssize_t read_one_head(struct request *request, struct coil__http_connection *connection)
{
    size_t need = 1;

    for (;;) {
        const char *data;
        const ssize_t got = coil_peek(connection->stream, need, &data);
        ssize_t length;

        if (got < 0)
            return got;
        if (got > 0)
            request->has_received = true;
        if ((size_t)got < need)
            return -EPROTO;
        length = coil__http_parse(&connection->parser, data, (size_t)got);
        if (length != 0)
            return length < 0 ? error_of(length) : length;
        need = (size_t)got + 1;
    }
}

/* The same, past interim responses. */
static ssize_t read_head(struct request *request, struct coil__http_connection *connection)
{
    for (int i = 0; i < INTERIM_MAX; i++) {
        ssize_t length;

        coil__http_parser_reset(&connection->parser);
        length = read_one_head(request, connection);
        if (length < 0 || connection->parser.head.status >= 200)
            return length;
        /* Nobody asked for another protocol. */
        if (connection->parser.head.status == STATUS_SWITCHING)
            return -EPROTO;
        coil_consume(connection->stream, (size_t)length);
    }
    return -EPROTO;
}

/* ---- One request ---- */

static int send_request(const struct request *request, coil_stream *stream)
{
    const struct coil__slice target = request->url.target;
    const struct coil__slice authority = request->url.authority;

    return coil_printf(stream,
                       "GET %.*s HTTP/1.1\r\n"
                       "Host: %.*s\r\n"
                       "User-Agent: %s\r\n"
                       "Accept: */*\r\n"
                       "\r\n",
                       (int)target.len, target.data, (int)authority.len, authority.data,
                       request->client->user_agent);
}

/* Runs the request on one connection. */
static int try_exchange(struct request *request, struct coil__http_connection *connection,
                        coil_http_response *response)
{
    int result = send_request(request, connection->stream);
    ssize_t length;

    if (result < 0)
        return result;
    length = read_head(request, connection);
    if (length < 0)
        return (int)length;
    result = coil__http_client_start(response, &connection->parser.head, connection);
    if (result == 0)
        coil_consume(connection->stream, (size_t)length);
    return result;
}

static bool is_lost_connection(int error)
{
    return error == -EPROTO || error == -ECONNRESET || error == -EPIPE;
}

static int exchange(struct request *request, coil_http_response *response)
{
    bool is_fresh = false;

    for (;;) {
        struct coil__http_connection *connection;
        bool is_stale;
        int result = coil__http_pool_take(request->client, request->address, is_fresh, &connection);

        if (result < 0)
            return result;
        request->has_received = false;
        result = try_exchange(request, connection, response);
        if (result == 0)
            return 0;
        is_stale = coil_resource_is_reused(connection->resource) && !request->has_received &&
                   is_lost_connection(result);
        coil__http_pool_give(connection, false);
        if (!is_stale)
            return result == -EPIPE ? -ECONNRESET : result;
        is_fresh = true;
    }
}

/* ---- Get ---- */

/* Stores the normal form of `url` on the heap. */
static int copy_normal(struct coil__slice url, char **ret_url)
{
    const size_t room = url.len * 3 + 16; /* every byte encoded, and a path of "/" */
    char *text;
    ssize_t length;

    if (url.len > COIL__HTTP_START_LINE_MAX)
        return -ENAMETOOLONG;
    text = coil__alloc(room);
    if (!text)
        return -ENOMEM;
    length = coil__url_normalise(url, text, room);
    if (length < 0) {
        coil__free(text);
        return (int)length;
    }
    *ret_url = text;
    return 0;
}

/* Fetches response->url. */
static int get_once(coil_http_client *client, coil_http_response *response)
{
    struct request request = {.client = client};
    size_t room;
    int result = coil__url_parse(coil__slice_from(response->url), &request.url);

    if (result < 0)
        return result;
    if (request.url.is_https)
        return -EPROTONOSUPPORT;
    room = request.url.host.len + ADDRESS_EXTRA;
    request.address = coil__alloc(room);
    if (!request.address)
        return -ENOMEM;
    (void)snprintf(request.address, room, request.url.is_v6 ? "[%.*s]:%d" : "%.*s:%d",
                   (int)request.url.host.len, request.url.host.data, request.url.port);
    result = exchange(&request, response);
    coil__free(request.address);
    if (result == 0)
        coil__http_client_settle(response);
    return result;
}

static int make_response(coil_http_client *client, const char *base, const char *reference,
                         coil_http_response **ret_response)
{
    const struct coil__slice link = coil__slice_from(reference);
    coil_http_response *response = coil__alloc(sizeof *response);
    int result;

    if (!response)
        return -ENOMEM;
    response->client = client;
    response->length = -1;
    if (base) {
        const size_t room = strlen(base) + link.len + 2;
        char *joined = coil__alloc(room);
        const ssize_t length =
            joined ? coil__url_resolve(coil__slice_from(base), link, joined, room) : -ENOMEM;

        result = length < 0
                     ? (int)length
                     : copy_normal((struct coil__slice){joined, (size_t)length}, &response->url);
        coil__free(joined);
    } else {
        result = copy_normal(link, &response->url);
    }
    if (result < 0) {
        coil__free(response);
        return result;
    }
    client->users++;
    *ret_response = response;
    return 0;
}

/* A short body that nobody wants is read all the same, to keep the connection, unless that takes
 * longer than a new one. */
static void skip_body(coil_http_response *response)
{
    char bytes[SKIP_MAX];
    coil_scope scope;

    if (response->length < 0 || response->length > SKIP_MAX)
        return;
    coil_scope_enter(&scope, COIL_MS(SKIP_MS));
    while (coil_http_response_read(response, bytes, sizeof bytes) > 0)
        continue;
    (void)coil_scope_leave(&scope);
}

/* Returns where the response sends its reader, or NULL. */
static const char *redirect_of(const coil_http_response *response)
{
    switch (response->status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return coil_http_response_header(response, "location");
    default:
        return NULL;
    }
}

int coil_http_get(coil_http_client *client, const char *url, coil_http_response **ret_response)
{
    unsigned redirects = client->options.redirects_max;
    coil_http_response *response;
    int result = make_response(client, NULL, url, &response);

    while (result == 0) {
        coil_http_response *next = NULL;
        const char *location;

        result = get_once(client, response);
        if (result < 0) {
            coil_http_response_close(response);
            return result;
        }
        location = client->options.redirects_max ? redirect_of(response) : NULL;
        if (!location) {
            *ret_response = response;
            return 0;
        }
        skip_body(response);
        result = redirects-- > 0 ? make_response(client, response->url, location, &next) : -ELOOP;
        coil_http_response_close(response);
        if (result == 0)
            response = next;
    }
    return result;
}
