/* SPDX-License-Identifier: MIT */
/* Files of a mirrored site (demos/crawler_output.h).
 *
 * Names come from strangers. Each segment of a path is decoded on its own, and every byte that is
 * no plain part of a name (a slash, a control byte, a percent sign, a question mark) is written as
 * a percent sign and two hex digits, as are the names "." and "..": so a segment stays one name,
 * and different segments stay different. The query goes behind a real '?'.
 *
 * A site may have pages "/docs" and "/docs/intro", a file system can't have both. Then, and only
 * then, the first is called "docs%", which no segment is: a file in the way of a directory is
 * renamed, and a page whose name a directory has already gets the other. So the names follow from
 * the pages, in whatever order they come. Between a failed rename(2) and its repetition no fiber
 * parks, so nobody comes between.
 */
#include "crawler_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <coil/file.h>

enum {
    NAME_LIMIT = 240, /* below the 255 of file systems */
    NAME_KEPT = 200,
};

struct writer {
    char *at;
    char *end;
    bool is_full;
};

static void put(struct writer *out, char c)
{
    if (out->at < out->end)
        *out->at++ = c;
    else
        out->is_full = true;
}

static void put_text(struct writer *out, const char *text)
{
    for (; *text; text++)
        put(out, *text);
}

static void put_byte(struct writer *out, unsigned char byte, bool is_plain)
{
    static const char digits[] = "0123456789ABCDEF";

    if (is_plain) {
        put(out, (char)byte);
    } else {
        put(out, '%');
        put(out, digits[byte >> 4]);
        put(out, digits[byte & 15]);
    }
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static bool is_plain(unsigned char byte)
{
    return byte >= ' ' && byte != 0x7f && byte != '/' && byte != '?' && byte != '%';
}

/* Writes a segment decoded (the URL is in normal form: a '%' has its two digits), a query as is. */
static void put_part(struct writer *out, const char *text, size_t len, bool is_segment)
{
    char *const name = out->at;

    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte == '%' && is_segment && i + 2 < len) {
            byte = (unsigned char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
            i += 2;
        }
        put_byte(out, byte, is_plain(byte));
    }
    len = (size_t)(out->at - name);
    if (is_segment && len <= 2 && strncmp(name, "..", len) == 0) {
        out->at = name;
        while (len-- > 0)
            put_byte(out, '.', false);
    }
}

/* A name longer than file systems take keeps its beginning and gets a hash for the rest. */
static void shorten(struct writer *out, char *name)
{
    const char *end = out->at;
    uint64_t hash = 14695981039346656037U;
    char mark[24];

    if (end - name <= NAME_LIMIT)
        return;
    for (const char *at = name; at < end; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211U;
    out->at = name + NAME_KEPT;
    (void)snprintf(mark, sizeof mark, "~%016llx", (unsigned long long)hash);
    put_text(out, mark);
}

/* Writes "/name" for each segment from `path` to `end`; the last one takes the query. */
static void put_segments(struct writer *out, const char *path, const char *end)
{
    while (path < end) {
        const char *segment = path + 1; /* behind the slash */
        const char *next = memchr(segment, '/', (size_t)(end - segment));
        const size_t len = (size_t)((next ? next : end) - segment);
        char *name;

        put(out, '/');
        name = out->at;
        if (len > 0)
            put_part(out, segment, len, true);
        else
            put_text(out, next ? "%" : "index.html");
        if (!next && *end == '?') {
            put(out, '?');
            put_part(out, end + 1, strlen(end + 1), false);
        }
        shorten(out, name);
        path = segment + len;
    }
}

int output_path(const char *directory, const char *url, char *ret_path, size_t size)
{
    const char *host = strstr(url, "://") + 3;
    const size_t host_len = strcspn(host, "/");
    struct writer out = {.at = ret_path, .end = ret_path + size - 1};
    const char *path = host + host_len;

    put_text(&out, directory);
    put(&out, '/');
    put_part(&out, host, host_len, true);
    put_segments(&out, path, path + strcspn(path, "?"));
    if (out.is_full)
        return -ENAMETOOLONG;
    *out.at = '\0';
    return (int)(out.at - ret_path);
}

/* ---- Writing ---- */

int output_prepare(const struct output *output)
{
    if (mkdir(output->directory, 0777) < 0 && errno != EEXIST)
        return -errno;
    return access(output->directory, W_OK | X_OK) < 0 ? -errno : 0;
}

/* Gives the page at `from` the name that it has beside a directory `path`. */
static int rename_beside(const char *from, const char *path)
{
    char *marked;
    int result;

    if (asprintf(&marked, "%s%%", path) < 0)
        return -ENOMEM;
    result = rename(from, marked) < 0 ? -errno : 0;
    free(marked);
    return result;
}

/* Makes the directory `path`; a page that has its name gives way. */
static int make_directory(const char *path)
{
    struct stat info;
    int result;

    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &info) < 0 || !S_ISREG(info.st_mode))
        return 0;
    result = rename_beside(path, path);
    if (result == 0 && mkdir(path, 0777) < 0)
        result = -errno;
    return result;
}

/* Makes the directories above `path`. */
static int make_parents(char *path)
{
    int result = 0;

    for (char *slash = strchr(path + 1, '/'); slash && result == 0;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        result = make_directory(path);
        *slash = '/';
    }
    return result;
}

static int give_name(struct sink *sink)
{
    int result = rename(sink->part, sink->path) < 0 ? -errno : 0;

    if (result == -ENOENT || result == -ENOTDIR) {
        result = make_parents(sink->path);
        if (result == 0 && rename(sink->part, sink->path) < 0)
            result = -errno;
    }
    if (result == -EISDIR)
        result = rename_beside(sink->part, sink->path);
    return result;
}

int sink_open(struct output *output, const char *url, struct sink *sink)
{
    const int result = output_path(output->directory, url, sink->path, sizeof sink->path);
    int len;

    if (result < 0)
        return result;
    len = snprintf(sink->part, sizeof sink->part, "%s/.crawler-%ld-%llu", output->directory,
                   (long)getpid(), output->counter++);
    if (len >= (int)sizeof sink->part)
        return -ENAMETOOLONG;
    sink->offset = 0;
    sink->fd = coil_file_open(sink->part, O_CREAT | O_EXCL | O_WRONLY, 0666);
    return sink->fd < 0 ? sink->fd : 0;
}

int sink_write(struct sink *sink, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        const ssize_t written = coil_file_write(sink->fd, at, size, sink->offset);

        if (written <= 0)
            return written < 0 ? (int)written : -ENOSPC;
        at += written;
        size -= (size_t)written;
        sink->offset += (uint64_t)written;
    }
    return 0;
}

int sink_commit(struct sink *sink)
{
    int result = coil_file_close(sink->fd);

    if (result == 0)
        result = give_name(sink);
    if (result < 0)
        (void)unlink(sink->part);
    return result;
}

void sink_abort(struct sink *sink)
{
    (void)coil_file_close(sink->fd);
    (void)unlink(sink->part);
}
