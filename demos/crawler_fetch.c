/* SPDX-License-Identifier: MIT */
/* One page of a crawl: plain blocking code that 200 fibers run at a time.
 *
 * The body is never held: each piece that arrives goes to the file and through the link scanner,
 * and is forgotten. What a page needs meanwhile (one buffer, one scanner) is allocated for the time
 * of its fetch, too big for a fiber's stack.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "crawler.h"
#include "crawler_links.h"

enum {
    PIECE = 16 * 1024,
    URL_ROOM = 4096, /* links that are longer in normal form are not followed */
};

struct fetch {
    struct page *page;
    struct frontier *frontier;
    int error; /* of adding links */
    struct links links;
    struct sink sink;
    char base[URL_ROOM];
    char link[URL_ROOM];
    char piece[PIECE];
};

/* Whether both URLs, in normal form, have the same scheme, host and port. */
static bool is_same_origin(const char *a, const char *b)
{
    const char *path = strchr(strstr(a, "://") + 3, '/');

    return strncmp(a, b, (size_t)(path - a) + 1) == 0;
}

/* A link as the page has it. What can't be fetched (mailto:, javascript:, broken) is no link. */
static void add_link(const char *text, bool is_base, void *arg)
{
    struct fetch *fetch = arg;
    const ssize_t length = coil_url_resolve(fetch->base, text, fetch->link, sizeof fetch->link);
    int result = 0;

    if (length == -ENOMEM) {
        result = -ENOMEM;
    } else if (length == -ENAMETOOLONG) {
        fetch->frontier->dropped++;
    } else if (length < 0) {
        return;
    } else if (is_base) {
        memcpy(fetch->base, fetch->link, (size_t)length + 1);
    } else if (is_same_origin(fetch->page->url, fetch->link)) {
        result = frontier_add(fetch->frontier, fetch->link, true);
    }
    if (result < 0)
        fetch->error = result;
}

static bool is_html(const coil_http_response *response)
{
    const char *type = coil_http_response_header(response, "content-type");

    return type && (strncasecmp(type, "text/html", 9) == 0 ||
                    strncasecmp(type, "application/xhtml+xml", 21) == 0);
}

/* Reads the body to its end; what of it is wanted goes to the sink and the scanner. */
static int read_body(struct fetch *fetch, coil_http_response *response, bool has_sink,
                     bool has_links)
{
    ssize_t got;

    while ((got = coil_http_response_read(response, fetch->piece, sizeof fetch->piece)) > 0) {
        fetch->page->bytes += (uint64_t)got;
        if (has_links)
            links_feed(&fetch->links, fetch->piece, (size_t)got);
        if (has_sink) {
            const int result = sink_write(&fetch->sink, fetch->piece, (size_t)got);

            if (result < 0)
                return result;
        }
    }
    return (int)got;
}

static int take_body(struct fetch *fetch, coil_http_response *response)
{
    struct crawl *crawl = fetch->page->crawl;
    const bool is_page = fetch->page->status >= 200 && fetch->page->status < 300;
    const bool has_sink = is_page && crawl->arguments->output;
    const bool has_links = is_page && crawl->arguments->is_recursive && is_html(response);
    int result;

    if (has_sink) {
        result = sink_open(&crawl->output, fetch->page->url, &fetch->sink);
        if (result < 0)
            return result;
    }
    result = read_body(fetch, response, has_sink, has_links);
    if (has_sink && result < 0)
        sink_abort(&fetch->sink);
    else if (has_sink)
        result = sink_commit(&fetch->sink);
    return result;
}

/* In a recursive crawl, where a redirect leads is a page like others. */
static void take_redirect(struct fetch *fetch, const coil_http_response *response)
{
    const char *location = coil_http_response_header(response, "location");

    if (location && fetch->page->status >= 300 && fetch->page->status < 400 &&
        fetch->page->crawl->arguments->is_recursive)
        add_link(location, false, fetch);
}

static int run(struct fetch *fetch)
{
    struct page *page = fetch->page;
    coil_http_response *response;
    int result = coil_http_get(page->crawl->client, page->url, &response);

    if (result < 0)
        return result;
    page->status = coil_http_response_status(response);
    take_redirect(fetch, response);
    result = take_body(fetch, response);
    coil_http_response_close(response);
    return result < 0 ? result : fetch->error;
}

int fetch_page(void *item)
{
    struct page *page = item;
    struct fetch *fetch = calloc(1, sizeof *fetch);
    const int64_t started = coil_now();
    coil_scope scope;

    if (!fetch) {
        page->failure = -ENOMEM;
    } else {
        fetch->page = page;
        fetch->frontier = &page->crawl->frontier;
        links_init(&fetch->links, add_link, fetch);
        if (strlen(page->url) < sizeof fetch->base)
            memcpy(fetch->base, page->url, strlen(page->url) + 1);
        coil_scope_enter(&scope, page->crawl->arguments->timeout);
        page->failure = run(fetch);
        (void)coil_scope_leave(&scope);
        fetch->frontier->dropped += fetch->links.too_long;
        free(fetch);
    }
    if (page->failure == 0 && page->status >= 400)
        page->failure = page->status;
    page->time = coil_now() - started;
    return page->failure;
}
