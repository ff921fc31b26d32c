/* SPDX-License-Identifier: MIT */
/* The options of the HTTP server: defaults, and what is refused (coil/http.h).
 *
 * A head is parsed in one piece of the stream, so the largest one that the limits allow must be one
 * that coil_peek() can show: an empty line before it, the request line with its end, and all header
 * lines with theirs. Limits beyond that are refused here; a request could not be told that it broke
 * them.
 */
#include <errno.h>

#include "base/options.h"
#include "http/chars.h"
#include "http/server.h"

enum {
    HEAD_EXTRA = 4, /* the empty line and the end of the request line */
    HEAD_MAX = COIL__PEEK_MAX - HEAD_EXTRA,
    BODY_MAX = 1024 * 1024,
    BODY_RATE_MIN = 500, /* a bad mobile link carries ten times that */
};

static void fill_in_time(coil_time *value, coil_time by_default)
{
    if (!*value)
        *value = by_default;
}

static void fill_in_size(size_t *value, size_t by_default)
{
    if (!*value)
        *value = by_default;
}

static void fill_in(coil_http_options *options)
{
    fill_in_time(&options->header_timeout, COIL_SECONDS(30));
    fill_in_time(&options->idle_timeout, COIL_SECONDS(60));
    fill_in_time(&options->body_timeout, COIL_SECONDS(30));
    fill_in_time(&options->write_timeout, COIL_SECONDS(60));
    fill_in_size(&options->request_line_max, COIL__HTTP_START_LINE_MAX);
    fill_in_size(&options->header_line_max, COIL__HTTP_HEADER_LINE_MAX);
    fill_in_size(&options->headers_max, COIL__HTTP_HEADERS_MAX);
    if (!options->body_max)
        options->body_max = BODY_MAX;
    if (!options->body_rate_min)
        options->body_rate_min = BODY_RATE_MIN;
}

static bool is_plain(const char *text)
{
    const char *end = text + strlen(text);

    return coil__chars_find_control(text, end) == end;
}

int coil__http_server_init(struct coil__http_server *server, coil_http_app *app, void *arg,
                           const coil_http_options *given)
{
    coil_http_options *options = &server->options;
    int result = coil__options_read(options, sizeof *options, given);

    if (result == 0)
        result = coil__options_read(&server->serve, sizeof server->serve, options->serve);
    if (result < 0)
        return result;
    server->app = app;
    server->arg = arg;
    fill_in(options);
    if (options->request_line_max > HEAD_MAX || options->header_line_max > HEAD_MAX ||
        options->headers_max > HEAD_MAX - options->request_line_max)
        return -EINVAL;
    if (options->server_name && !is_plain(options->server_name))
        return -EINVAL;
    coil__http_parser_init(&server->parser, COIL__HTTP_REQUEST, NULL, COIL__HTTP_HEADER_COUNT_MAX,
                           &(struct coil__http_limits){
                               .start_line_max = options->request_line_max,
                               .header_line_max = options->header_line_max,
                               .headers_max = options->headers_max,
                           });
    return 0;
}
