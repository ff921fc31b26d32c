/* SPDX-License-Identifier: MIT */
/* What the crawler says: a line or a JSON object per page, progress on a terminal, the summary.
 *
 * Lines go to standard output in the order of the pages. The progress line goes to standard error
 * if that is a terminal, is overwritten at most ten times a second, and is wiped before every line
 * that would run into it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crawler.h"

void report_start(struct report *report, bool is_json)
{
    *report = (struct report){
        .is_json = is_json,
        .has_progress = isatty(STDERR_FILENO) == 1,
        .started = coil_now(),
    };
}

static double seconds(coil_time time)
{
    return (double)time / 1e9;
}

static void failure_text(int failure, char *text, size_t size)
{
    if (failure > 0)
        (void)snprintf(text, size, "HTTP status %d", failure);
    else if (failure == -EPROTONOSUPPORT)
        (void)snprintf(text, size, "only http:// is supported");
    else if (failure == -ENXIO)
        (void)snprintf(text, size, "no such host");
    else if (failure == -EINVAL)
        (void)snprintf(text, size, "not a URL");
    else
        (void)snprintf(text, size, "%s", coil_strerror(failure));
}

static void put_json_string(const char *text)
{
    (void)putchar('"');
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\')
            (void)printf("\\%c", byte);
        else if (byte < ' ' || byte > '~')
            (void)printf("\\u%04x", byte);
        else
            (void)putchar(byte);
    }
    (void)putchar('"');
}

static void count_failure(struct report *report, int failure)
{
    size_t i = 0;

    report->failed++;
    while (i < report->kind_count && report->kinds[i].failure != failure)
        i++;
    if (i == KINDS_MAX)
        return;
    if (i == report->kind_count)
        report->kinds[report->kind_count++] = (struct kind){.failure = failure};
    report->kinds[i].count++;
}

static void show_progress(struct report *report, const struct frontier *frontier)
{
    const int64_t now = coil_now();

    if (!report->has_progress || now - report->shown < COIL_MS(100))
        return;
    report->shown = now;
    (void)fprintf(stderr, "\r\033[K%zu pages, %zu to go, %zu failed, %.1f MiB", report->pages,
                  frontier->count - report->pages, report->failed,
                  (double)report->bytes / (1024 * 1024));
}

static void wipe_progress(const struct report *report)
{
    if (report->has_progress)
        (void)fputs("\r\033[K", stderr);
}

void report_page(struct report *report, const struct frontier *frontier, const struct page *page)
{
    char text[128] = "";

    report->pages++;
    report->bytes += page->bytes;
    if (page->failure) {
        count_failure(report, page->failure);
        failure_text(page->failure, text, sizeof text);
    }
    wipe_progress(report);
    if (report->is_json) {
        (void)printf("{\"url\": ");
        put_json_string(page->url);
        (void)printf(", \"status\": %d, \"bytes\": %" PRIu64 ", \"seconds\": %.6f", page->status,
                     page->bytes, seconds(page->time));
        if (page->failure) {
            (void)printf(", \"error\": ");
            put_json_string(text);
        }
        (void)printf("}\n");
    } else {
        (void)printf("%3d %10" PRIu64 " %8.3f %s%s%s\n", page->status, page->bytes,
                     seconds(page->time), page->url, *text ? "  " : "", text);
    }
    show_progress(report, frontier);
}

/* The most memory that was resident at a time, in KiB; 0 when the kernel does not tell. */
static long peak_rss(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long peak = 0;

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = strtol(line + 6, NULL, 10);
    }
    (void)fclose(file);
    return peak;
}

static void end_json(const struct report *report, const struct frontier *frontier, double time)
{
    (void)printf("{\"summary\": true, \"pages\": %zu, \"bytes\": %" PRIu64
                 ", \"failed\": %zu, \"dropped\": %zu, \"seconds\": %.6f"
                 ", \"pages_per_second\": %.1f, \"peak_rss_kib\": %ld, \"errors\": {",
                 report->pages, report->bytes, report->failed, frontier->dropped, time,
                 (double)report->pages / time, peak_rss());
    for (size_t i = 0; i < report->kind_count; i++) {
        char text[128];

        failure_text(report->kinds[i].failure, text, sizeof text);
        (void)printf("%s", i ? ", " : "");
        put_json_string(text);
        (void)printf(": %zu", report->kinds[i].count);
    }
    (void)printf("}}\n");
}

void report_end(struct report *report, const struct frontier *frontier)
{
    const double time = seconds(coil_now() - report->started);

    wipe_progress(report);
    if (report->is_json) {
        end_json(report, frontier, time);
        return;
    }
    (void)fflush(stdout);
    (void)fprintf(stderr,
                  "%zu pages, %" PRIu64 " bytes, %zu failed, %.3f s, %.0f pages/s, %ld KiB\n",
                  report->pages, report->bytes, report->failed, time, (double)report->pages / time,
                  peak_rss());
    for (size_t i = 0; i < report->kind_count; i++) {
        char text[128];

        failure_text(report->kinds[i].failure, text, sizeof text);
        (void)fprintf(stderr, "%8zu  %s\n", report->kinds[i].count, text);
    }
    if (frontier->dropped)
        (void)fprintf(stderr, "%8zu  links not followed: over the limits\n", frontier->dropped);
}
