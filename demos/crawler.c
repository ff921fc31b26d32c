/* SPDX-License-Identifier: MIT */
/* crawler: fetches URLs, 200 at a time, and prints one line for each in the order given.
 *
 *     crawler http://127.0.0.1:8080/a http://127.0.0.1:8080/b
 *     crawler --recursive --output mirror http://127.0.0.1:8080/
 *
 * The heart is coil_imap: a feeder that takes URLs from the frontier (and parks there while pages
 * under way may still bring new ones), fetch_page() for each in a fiber of its own, and the main
 * fiber, which takes the pages back in order and reports them. The imap's size bounds everything:
 * connections, files, memory. SIGTERM or SIGINT cancels it; what has been reported by then is
 * written.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "crawler.h"

enum {
    CONCURRENCY = 200,
    CONCURRENCY_MAX = 10000,
    PAGES_MAX = 1000000,
    TIMEOUT_SECONDS = 30,
    REDIRECTS_MAX = 10,
    EXIT_SOME_FAILED = 1,
    EXIT_USAGE = 2,
};

/* ---- The crawl ---- */

static int next_page(void *arg, void **ret_item)
{
    struct crawl *crawl = arg;
    struct page *page = calloc(1, sizeof *page);
    int result;

    if (!page)
        return -ENOMEM;
    result = frontier_take(&crawl->frontier, &page->url);
    if (result <= 0) {
        free(page);
        return result;
    }
    page->crawl = crawl;
    *ret_item = page;
    return 1;
}

/* Adds what the command line names; what is no URL fails at its place like any other. */
static int add_urls(struct crawl *crawl)
{
    const struct arguments *arguments = crawl->arguments;

    for (int i = 0; i < arguments->url_count; i++) {
        const char *url = arguments->urls[i];
        const size_t room = strlen(url) * 3 + 16;
        char *normal = malloc(room);
        int result = -ENOMEM;

        if (normal) {
            if (coil_url_normalise(url, normal, room) >= 0)
                url = normal;
            result = frontier_add(&crawl->frontier, url, arguments->is_recursive);
        }
        free(normal);
        if (result < 0)
            return result;
    }
    return 0;
}

static int report_all(struct crawl *crawl, coil_imap *imap)
{
    void *item;
    int result;
    int got = 0;
    int written = 0;

    while (written == 0 && (got = coil_imap_next(imap, &item, &result)) > 0) {
        struct page *page = item;

        if (page->failure == 0)
            page->failure = result;
        frontier_done(&crawl->frontier);
        written = report_page(&crawl->report, &crawl->frontier, page);
        free(page);
    }
    return written < 0 ? written : got;
}

static int crawl_all(struct crawl *crawl)
{
    coil_imap *imap;
    int written;
    int result = add_urls(crawl);

    if (result < 0)
        return result;
    result =
        coil_imap_new(crawl->arguments->concurrency, fetch_page, next_page, crawl, free, &imap);
    if (result < 0)
        return result;
    result = report_all(crawl, imap);
    coil_imap_close(imap);
    written = report_end(&crawl->report, &crawl->frontier);
    return result < 0 ? result : written;
}

/* Ends what is under way as a deadline would, so that no part of a file stays. */
static int cancel(int number, void *arg)
{
    coil_fiber *crawler = arg;

    (void)number;
    coil_cancel(crawler);
    return 0;
}

/* Main of the coil_run(): 0 when all pages have come, 1 when some have not, or a negative error. */
static int run(void *arg)
{
    const struct arguments *arguments = arg;
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    struct crawl crawl = {.arguments = arguments, .output.directory = arguments->output};
    int result;

    options.per_host_max = (unsigned)arguments->concurrency;
    options.idle_max = (unsigned)arguments->concurrency;
    options.redirects_max = arguments->is_recursive ? 0 : REDIRECTS_MAX;
    options.user_agent = "coil-crawler";
    result = coil_http_client_new(&options, &crawl.client);
    if (result < 0)
        return result;
    frontier_init(&crawl.frontier, arguments->pages_max);
    result = report_start(&crawl.report, arguments->is_json);
    if (result == 0) /* main's handle lives as long as the run */
        result = coil_signal_handle(SIGTERM, cancel, coil_self(), NULL);
    if (result == 0)
        result = coil_signal_handle(SIGINT, cancel, coil_self(), NULL);
    if (result == 0)
        result = crawl_all(&crawl);
    frontier_free(&crawl.frontier);
    coil_http_client_free(crawl.client);
    return result < 0 ? result : crawl.report.failed > 0;
}

/* ---- Arguments ---- */

static int usage(FILE *out, int status)
{
    (void)fprintf(out,
                  "usage: crawler [OPTIONS] URL...\n"
                  "Fetches the URLs and prints for each, in order: status, bytes, seconds, URL.\n\n"
                  "  --recursive        follow the links of HTML pages to the same host\n"
                  "  --concurrency N    so many at a time: %d\n"
                  "  --pages-max N      stop after so many: %d\n"
                  "  --timeout SECONDS  for each page: %d\n"
                  "  --output DIR       write the bodies to files below DIR\n"
                  "  --json             one JSON object per line, the last one a summary\n"
                  "  --help             this text\n\n"
                  "Exit status: 0 all fetched, 1 some failed, 2 wrong arguments.\n",
                  CONCURRENCY, PAGES_MAX, TIMEOUT_SECONDS);
    return status;
}

/* Reads a number from 1 to `max`; `text` may be NULL. */
static int read_number(const char *text, long max, long *ret_number)
{
    char *end;
    long number;

    if (!text)
        return -EINVAL;
    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || *end || end == text || number < 1 || number > max)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

/* Takes the option at argv[*at] and its value. Returns 0 or -EINVAL. */
static int read_option(char **argv, int *at, struct arguments *arguments)
{
    const char *name = argv[*at];
    char *value = argv[*at + 1];
    long number;

    if (strcmp(name, "--recursive") == 0) {
        arguments->is_recursive = true;
        return 0;
    }
    if (strcmp(name, "--json") == 0) {
        arguments->is_json = true;
        return 0;
    }
    *at += 1;
    if (strcmp(name, "--output") == 0 && value && *value)
        arguments->output = value;
    else if (strcmp(name, "--concurrency") == 0 &&
             read_number(value, CONCURRENCY_MAX, &number) == 0)
        arguments->concurrency = (size_t)number;
    else if (strcmp(name, "--pages-max") == 0 && read_number(value, PAGES_MAX, &number) == 0)
        arguments->pages_max = (size_t)number;
    else if (strcmp(name, "--timeout") == 0 && read_number(value, 1000000, &number) == 0)
        arguments->timeout = COIL_SECONDS(number);
    else
        return -EINVAL;
    return 0;
}

/* A fetch holds a socket and a file, and the usual soft limit is 1024. */
static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int crawl_with(struct arguments *arguments)
{
    const struct output output = {.directory = arguments->output};
    coil_options options = COIL_OPTIONS_INIT;
    int status = 0;
    int result = output.directory ? output_prepare(&output) : 0;

    if (result < 0) {
        (void)fprintf(stderr, "crawler: cannot write to %s: %s\n", output.directory,
                      coil_strerror(result));
        return EXIT_USAGE;
    }
    raise_limits();
    options.report_overflow = true;
    result = coil_run(run, arguments, &options, &status);
    if (result == 0 && status < 0)
        result = status;
    if (result < 0)
        (void)fprintf(stderr, "crawler: %s\n", coil_strerror(result));
    return result < 0 || status > 0 ? EXIT_SOME_FAILED : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .concurrency = CONCURRENCY,
        .pages_max = PAGES_MAX,
        .timeout = COIL_SECONDS(TIMEOUT_SECONDS),
    };
    int at = 1;

    for (; at < argc && argv[at][0] == '-'; at++) {
        const char *name = argv[at];

        if (strcmp(name, "--help") == 0)
            return usage(stdout, 0);
        if (read_option(argv, &at, &arguments) < 0) {
            (void)fprintf(stderr, "crawler: %s is unknown or lacks a valid value\n", name);
            return usage(stderr, EXIT_USAGE);
        }
    }
    arguments.urls = argv + at;
    arguments.url_count = argc - at;
    if (arguments.url_count == 0) {
        (void)fprintf(stderr, "crawler: no URL given\n");
        return usage(stderr, EXIT_USAGE);
    }
    return crawl_with(&arguments);
}
