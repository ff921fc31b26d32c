/* SPDX-License-Identifier: MIT */
/* crawler: what its files share.
 *
 *   crawler.c           arguments, and the crawl itself: a feeder, 200 fetchers, a reporter
 *   crawler_fetch.c     one page: fetched, written to disk, its links added to the frontier
 *   crawler_frontier.c  what is still to fetch, and what was ever seen
 *   crawler_html.c      the tags and attributes of a page while it arrives
 *   crawler_links.c     which of them are links; crawler_text.c decodes them
 *   crawler_output.c    bodies as files
 *   crawler_report.c    lines, JSON, progress and the summary
 */
#ifndef COIL_DEMOS_CRAWLER_H
#define COIL_DEMOS_CRAWLER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <coil/coil.h>

#include "crawler_frontier.h"
#include "crawler_output.h"

enum {
    KINDS_MAX = 32, /* of errors told apart in the summary */
};

struct arguments {
    char **urls;
    int url_count;
    size_t concurrency;
    size_t pages_max;
    coil_time timeout;
    const char *output; /* NULL: bodies are dropped */
    bool is_recursive;
    bool is_json;
};

struct kind {
    int failure;
    size_t count;
};

struct report {
    coil_stream *out; /* standard output */
    bool is_json;
    bool is_interactive; /* results go to a terminal, line by line */
    bool has_progress;
    int64_t started;
    int64_t shown; /* when the progress line was written last */
    size_t pages;
    size_t failed;
    uint64_t bytes;
    size_t kind_count;
    struct kind kinds[KINDS_MAX];
};

struct crawl {
    const struct arguments *arguments;
    coil_http_client *client;
    struct frontier frontier;
    struct output output;
    struct report report;
};

/* One page, from the feeder to the reporter. */
struct page {
    struct crawl *crawl;
    const char *url; /* the frontier's */
    uint64_t bytes;
    coil_time time;
    int status;  /* 0: no response */
    int failure; /* 0; a status of 400 or more; or a negative error */
};

/* The imap's function: fetches one struct page. Parks. */
int fetch_page(void *item);

/* These write to standard output, as any fiber does: only the reporter waits for a slow reader.
 * Each returns 0 or why it can't. */
int report_start(struct report *report, bool is_json);
int report_page(struct report *report, const struct frontier *frontier, const struct page *page);
int report_end(struct report *report, const struct frontier *frontier);

#endif
