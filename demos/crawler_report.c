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

int report_start(struct report *report, bool is_json)
{
    *report = (struct report){
        .is_json = is_json,
        .is_interactive = isatty(STDOUT_FILENO) == 1,
        .has_progress = isatty(STDERR_FILENO) == 1,
        .started = coil_now(),
    };
    return coil_stdout(&report->out);
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

static void put_json_string(coil_stream *out, const char *text)
{
    coil_write(out, "\"", 1);
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\' || byte < ' ' || byte > '~')
            coil_printf(out, "\\u%04x", byte);
        else
            coil_write(out, text, 1);
    }
    coil_write(out, "\"", 1);
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

int report_page(struct report *report, const struct frontier *frontier, const struct page *page)
{
    coil_stream *out = report->out;
    char text[128] = "";
    int result;

    report->pages++;
    report->bytes += page->bytes;
    if (page->failure) {
        count_failure(report, page->failure);
        failure_text(page->failure, text, sizeof text);
    }
    wipe_progress(report);
    if (report->is_json) {
        coil_printf(out, "{\"url\": ");
        put_json_string(out, page->url);
        coil_printf(out, ", \"status\": %d, \"bytes\": %" PRIu64 ", \"seconds\": %.6f",
                    page->status, page->bytes, seconds(page->time));
        if (page->failure) {
            coil_printf(out, ", \"error\": ");
            put_json_string(out, text);
        }
        result = coil_printf(out, "}\n");
    } else {
        result = coil_printf(out, "%3d %10" PRIu64 " %8.3f %s%s%s\n", page->status, page->bytes,
                             seconds(page->time), page->url, *text ? "  " : "", text);
    }
    if (report->is_interactive)
        result = coil_flush(out);
    show_progress(report, frontier);
    return result;
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
    coil_stream *out = report->out;

    coil_printf(out,
                "{\"summary\": true, \"pages\": %zu, \"bytes\": %" PRIu64
                ", \"failed\": %zu, \"dropped\": %zu, \"seconds\": %.6f"
                ", \"pages_per_second\": %.1f, \"peak_rss_kib\": %ld, \"errors\": {",
                report->pages, report->bytes, report->failed, frontier->dropped, time,
                (double)report->pages / time, peak_rss());
    for (size_t i = 0; i < report->kind_count; i++) {
        char text[128];

        failure_text(report->kinds[i].failure, text, sizeof text);
        coil_printf(out, "%s", i ? ", " : "");
        put_json_string(out, text);
        coil_printf(out, ": %zu", report->kinds[i].count);
    }
    coil_printf(out, "}}\n");
}

static void end_text(const struct report *report, const struct frontier *frontier, double time)
{
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

int report_end(struct report *report, const struct frontier *frontier)
{
    const double time = seconds(coil_now() - report->started);
    int result;

    wipe_progress(report);
    if (report->is_json)
        end_json(report, frontier, time);
    result = coil_flush(report->out);
    if (!report->is_json)
        end_text(report, frontier, time);
    return result;
}
