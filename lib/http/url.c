/* SPDX-License-Identifier: MIT */
/* URLs: split, resolve, normalise, decode.
 *
 * split() cuts a reference into its five components by the delimiters alone (RFC 3986, appendix
 * B) and checks nothing; each public function checks what it needs. Output goes through a small
 * writer that notes an overflow and goes on, so that the text of each function is the text of the
 * RFC without a test after every byte.
 *
 * Dot segments are removed in place in the output buffer: what was kept never overtakes what is
 * still to be read, since each step of the algorithm takes at least as much as it gives.
 *
 * Invariant: a component that is absent has NULL data; one that is empty has not ("/a?" differs
 * from "/a").
 */
#include "http/url.h"

#include "http/chars.h"

#include <arpa/inet.h>
#include <errno.h>

/* ---- Writer ---- */

struct writer {
    char *buf;
    size_t size;
    size_t len; /* size: too long, nothing is written any more */
};

static struct writer writer_on(char *buf, size_t size)
{
    struct writer out = {.size = size};

    out.buf = buf;
    return out;
}

static void put(struct writer *out, char byte)
{
    if (out->len < out->size)
        out->buf[out->len++] = byte;
}

static void put_slice(struct writer *out, struct coil__slice text)
{
    for (size_t i = 0; i < text.len; i++)
        put(out, text.data[i]);
}

static void put_text(struct writer *out, const char *text)
{
    put_slice(out, coil__slice_from(text));
}

static ssize_t finish(struct writer *out)
{
    if (out->len >= out->size)
        return -ENAMETOOLONG;
    out->buf[out->len] = '\0';
    return (ssize_t)out->len;
}

/* ---- Components ---- */

struct parts {
    struct coil__slice scheme;
    struct coil__slice authority;
    struct coil__slice path;
    struct coil__slice query;
    struct coil__slice fragment;
};

static const char *find_any(const char *from, const char *end, const char *stops)
{
    while (from < end && (*from == '\0' || !strchr(stops, *from)))
        from++;
    return from;
}

static struct coil__slice between(const char *from, const char *end)
{
    return (struct coil__slice){from, (size_t)(end - from)};
}

static struct parts split(struct coil__slice text)
{
    const char *at = text.len > 0 ? text.data : "";
    const char *end = at + text.len;
    const char *stop = coil__chars_skip(at, end, COIL__CHAR_SCHEME);
    struct parts parts = {0};

    if (stop < end && *stop == ':' && (unsigned)(*at | 0x20) - 'a' < 26) {
        parts.scheme = between(at, stop);
        at = stop + 1;
    }
    if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
        stop = find_any(at + 2, end, "/?#");
        parts.authority = between(at + 2, stop);
        at = stop;
    }
    stop = find_any(at, end, "?#");
    parts.path = between(at, stop);
    at = stop;
    if (at < end && *at == '?') {
        stop = find_any(at + 1, end, "#");
        parts.query = between(at + 1, stop);
        at = stop;
    }
    if (at < end)
        parts.fragment = between(at + 1, end);
    return parts;
}

static bool has_control(struct coil__slice text)
{
    return text.len > 0 &&
           (coil__chars_find_control(text.data, text.data + text.len) != text.data + text.len ||
            memchr(text.data, '\t', text.len) != NULL);
}

/* ---- Authority ---- */

/* Parses ":port" or nothing. An empty port is allowed by the grammar and means the default. */
static int parse_port(struct coil__slice text, int *ret_port)
{
    int port = 0;

    if (text.len == 0 || (text.len == 1 && text.data[0] == ':')) {
        *ret_port = 0;
        return 0;
    }
    if (text.data[0] != ':' || text.len > 6)
        return -EINVAL;
    for (size_t i = 1; i < text.len; i++) {
        const unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';

        if (digit > 9)
            return -EINVAL;
        port = port * 10 + (int)digit;
    }
    if (port == 0 || port > 65535)
        return -EINVAL;
    *ret_port = port;
    return 0;
}

/* Zones ("%25eth0") and future address formats ("[v1.x]") are refused: nothing resolves them. */
static int parse_v6(struct coil__slice host, struct in6_addr *ret_addr)
{
    char text[INET6_ADDRSTRLEN];

    if (host.len == 0 || host.len >= sizeof text || memchr(host.data, '\0', host.len))
        return -EINVAL;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET6, text, ret_addr) == 1 ? 0 : -EINVAL;
}

int coil__authority_parse(struct coil__slice text, struct coil__authority *ret_authority)
{
    struct coil__authority authority = {0};
    const char *rest;

    if (text.len == 0)
        return -EINVAL;

    const char *end = text.data + text.len;

    if (text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.len);
        struct in6_addr addr;

        if (!close)
            return -EINVAL;
        authority.host = between(text.data + 1, close);
        authority.is_v6 = true;
        if (parse_v6(authority.host, &addr) < 0)
            return -EINVAL;
        rest = close + 1;
    } else {
        rest = coil__chars_skip(text.data, end, COIL__CHAR_HOST);
        authority.host = between(text.data, rest);
        if (authority.host.len == 0)
            return -EINVAL;
    }
    if (parse_port(between(rest, end), &authority.port) < 0)
        return -EINVAL;
    *ret_authority = authority;
    return 0;
}

/* Checks scheme and authority of an absolute URL. */
static int parse_origin(const struct parts *parts, struct coil__authority *ret_authority,
                        bool *ret_https)
{
    if (!parts->scheme.data)
        return -EINVAL;

    const bool https = coil__chars_equal_nocase(parts->scheme, "https", 5);

    if (!https && !coil__chars_equal_nocase(parts->scheme, "http", 4))
        return -EPROTONOSUPPORT;
    if (!parts->authority.data || coil__authority_parse(parts->authority, ret_authority) < 0)
        return -EINVAL;
    *ret_https = https;
    return 0;
}

int coil__url_parse(struct coil__slice text, struct coil__url *ret_url)
{
    const struct parts parts = split(text);
    struct coil__authority authority;
    bool https;
    const int status = parse_origin(&parts, &authority, &https);

    if (status < 0)
        return status;
    if (has_control(text) || memchr(text.data, ' ', text.len))
        return -EINVAL;

    const char *end =
        parts.query.data ? parts.query.data + parts.query.len : parts.path.data + parts.path.len;

    *ret_url = (struct coil__url){
        .authority = parts.authority,
        .host = authority.host,
        .target = between(parts.path.data, end),
        .port = authority.port ? authority.port : (https ? 443 : 80),
        .is_v6 = authority.is_v6,
        .is_https = https,
    };
    return 0;
}

/* ---- Dot segments ---- */

static bool starts(const char *at, const char *end, const char *text)
{
    const size_t len = strlen(text);

    return (size_t)(end - at) >= len && memcmp(at, text, len) == 0;
}

static bool equals(const char *at, const char *end, const char *text)
{
    return (size_t)(end - at) == strlen(text) && starts(at, end, text);
}

/* Drops the last segment of [path, out) and the slash before it. */
static char *drop_segment(const char *path, char *out)
{
    while (out > path) {
        out--;
        if (*out == '/')
            break;
    }
    return out;
}

/* Removes "." and ".." segments of [path, path + len) in place (RFC 3986 5.2.4, steps A to E) and
 * returns the new length. */
static size_t remove_dot_segments(char *path, size_t len)
{
    char *in = path;
    char *out = path;
    char *end = path + len;

    while (in < end) {
        if (starts(in, end, "../")) {
            in += 3;
        } else if (starts(in, end, "./") || starts(in, end, "/./")) {
            in += 2;
        } else if (equals(in, end, "/.")) {
            in++;
            *in = '/';
        } else if (starts(in, end, "/../")) {
            in += 3;
            out = drop_segment(path, out);
        } else if (equals(in, end, "/..")) {
            in += 2;
            *in = '/';
            out = drop_segment(path, out);
        } else if (equals(in, end, ".") || equals(in, end, "..")) {
            in = end;
        } else {
            do {
                *out++ = *in++;
            } while (in < end && *in != '/');
        }
    }
    return (size_t)(out - path);
}

/* Writes the path that a relative one becomes beside @base: everything of the base up to its last
 * slash, then the reference. */
static void put_merged(struct writer *out, const struct parts *base, struct coil__slice reference)
{
    size_t keep = base->path.len;

    if (base->authority.data && keep == 0)
        put(out, '/');
    while (keep > 0 && base->path.data[keep - 1] != '/')
        keep--;
    put_slice(out, (struct coil__slice){base->path.data, keep});
    put_slice(out, reference);
}

static void put_resolved_path(struct writer *out, const struct parts *base,
                              const struct parts *reference, bool own_origin)
{
    const size_t start = out->len;

    if (own_origin || (reference->path.len > 0 && reference->path.data[0] == '/')) {
        put_slice(out, reference->path);
    } else if (reference->path.len == 0) {
        put_slice(out, base->path);
        return;
    } else {
        put_merged(out, base, reference->path);
    }
    if (out->len < out->size)
        out->len = start + remove_dot_segments(out->buf + start, out->len - start);
}

ssize_t coil__url_resolve(struct coil__slice base, struct coil__slice reference, char *buf,
                          size_t size)
{
    const struct parts from = split(base);
    const struct parts to = split(reference);
    const bool own_scheme = to.scheme.data != NULL;
    const bool own_origin = own_scheme || to.authority.data != NULL;
    struct writer out = writer_on(buf, size);

    if (!from.scheme.data || has_control(base) || has_control(reference))
        return -EINVAL;

    const struct coil__slice authority = own_origin ? to.authority : from.authority;
    const bool inherits_query = !own_origin && to.path.len == 0 && !to.query.data;
    const struct coil__slice query = inherits_query ? from.query : to.query;

    put_slice(&out, own_scheme ? to.scheme : from.scheme);
    put(&out, ':');
    if (authority.data) {
        put_text(&out, "//");
        put_slice(&out, authority);
    }

    const size_t path = out.len;

    put_resolved_path(&out, &from, &to, own_origin);
    if (!authority.data && out.len - path >= 2 && memcmp(buf + path, "//", 2) == 0)
        return -EINVAL;
    if (query.data) {
        put(&out, '?');
        put_slice(&out, query);
    }
    if (to.fragment.data) {
        put(&out, '#');
        put_slice(&out, to.fragment);
    }
    return finish(&out);
}

/* ---- Percent signs ---- */

/* Returns the byte that the three bytes at @at encode, or -EINVAL. */
static int decode_escape(const char *at, const char *end)
{
    if (end - at < 3)
        return -EINVAL;

    const int high = coil__char_hex(at[1]);
    const int low = coil__char_hex(at[2]);

    return high < 0 || low < 0 ? -EINVAL : high * 16 + low;
}

static void put_escape(struct writer *out, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";

    put(out, '%');
    put(out, digits[byte >> 4]);
    put(out, digits[byte & 15]);
}

/* Writes a path or query with exactly those bytes encoded that must be. */
static int put_encoded(struct writer *out, struct coil__slice text)
{
    const char *at = text.data;
    const char *end = text.data + text.len;

    while (at < end) {
        const bool escaped = *at == '%';
        const int byte = escaped ? decode_escape(at, end) : (unsigned char)*at;

        if (byte < 0)
            return byte;
        if (coil__char_is((char)byte, escaped ? COIL__CHAR_UNRESERVED : COIL__CHAR_URL)) {
            put(out, (char)byte);
        } else {
            put_escape(out, (unsigned char)byte);
        }
        at += escaped ? 3 : 1;
    }
    return 0;
}

/* Writes the host in lower case; an address in the one form that inet_ntop() gives it. */
static int put_host(struct writer *out, const struct coil__authority *authority)
{
    if (authority->is_v6) {
        char text[INET6_ADDRSTRLEN];
        struct in6_addr addr;

        if (parse_v6(authority->host, &addr) < 0 || !inet_ntop(AF_INET6, &addr, text, sizeof text))
            return -EINVAL;
        put(out, '[');
        put_text(out, text);
        put(out, ']');
        return 0;
    }
    for (size_t i = 0; i < authority->host.len; i++) {
        const unsigned char byte = (unsigned char)authority->host.data[i];

        put(out, (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte));
    }
    return 0;
}

static void put_port(struct writer *out, int port)
{
    char digits[5];
    size_t count = 0;

    for (int left = port; left > 0; left /= 10)
        digits[count++] = (char)('0' + left % 10);
    put(out, ':');
    while (count > 0)
        put(out, digits[--count]);
}

/* The escapes go first: "%2e%2e" is a dot segment, and must not survive as one. */
static int put_normal_path(struct writer *out, struct coil__slice path)
{
    const size_t start = out->len;

    if (path.len == 0) {
        put(out, '/');
        return 0;
    }
    if (put_encoded(out, path) < 0)
        return -EINVAL;
    if (out->len < out->size)
        out->len = start + remove_dot_segments(out->buf + start, out->len - start);
    return 0;
}

ssize_t coil__url_normalise(struct coil__slice text, char *buf, size_t size)
{
    const struct parts parts = split(text);
    struct writer out = writer_on(buf, size);
    struct coil__authority authority;
    bool https;
    int status = parse_origin(&parts, &authority, &https);

    if (status < 0)
        return status;
    if (has_control(text))
        return -EINVAL;

    put_text(&out, https ? "https://" : "http://");
    status = put_host(&out, &authority);
    if (status < 0)
        return status;
    if (authority.port != 0 && authority.port != (https ? 443 : 80))
        put_port(&out, authority.port);
    status = put_normal_path(&out, parts.path);
    if (status < 0)
        return status;
    if (parts.query.data) {
        put(&out, '?');
        status = put_encoded(&out, parts.query);
        if (status < 0)
            return status;
    }
    return finish(&out);
}

ssize_t coil__url_path_decode(struct coil__slice path, char *buf, size_t size)
{
    const char *at = path.len > 0 ? path.data : "";
    const char *end = at + path.len;
    struct writer out = writer_on(buf, size);

    while (at < end) {
        int byte = (unsigned char)*at;
        size_t used = 1;

        if (byte == '%') {
            byte = decode_escape(at, end);
            used = 3;
        }
        if (byte <= 0)
            return -EINVAL;
        put(&out, (char)byte);
        at += used;
    }
    return finish(&out);
}
