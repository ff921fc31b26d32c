/* SPDX-License-Identifier: MIT */
/* What an application may ask of a request (coil/http.h).
 *
 * Strings are handed out NUL-terminated without copying: every part of a head is followed by a byte
 * that has done its work once the head is parsed (a space, a colon, the CR of a line), and the NUL
 * takes its place when the part is first asked for. The parser has refused heads with NULs in
 * them, so nothing is cut short by that.
 */
#include <errno.h>

#include <coil/http.h>

#include "http/chars.h"
#include "http/server.h"
#include "http/url.h"

/* The byte behind the part belongs to the head, in memory that the stream or the request owns. */
static const char *terminate(struct coil__slice part)
{
    char *text = (char *)(uintptr_t)part.data;

    text[part.len] = '\0';
    return text;
}

static unsigned lower(char byte)
{
    const unsigned code = (unsigned char)byte;

    return code >= 'A' && code <= 'Z' ? code | 0x20 : code;
}

static bool is_called(struct coil__slice name, const char *wanted)
{
    size_t i;

    for (i = 0; i < name.len && wanted[i]; i++) {
        if (lower(name.data[i]) != lower(wanted[i]))
            return false;
    }
    return i == name.len && !wanted[i];
}

const char *coil_http_method(const coil_http_request *request)
{
    return terminate(request->parser.head.method);
}

const char *coil_http_target(const coil_http_request *request)
{
    return terminate(request->parser.head.target);
}

/* The path of the target: what lies between the authority of the absolute form and the query. */
static struct coil__slice raw_path(const struct coil__http_head *head)
{
    static const char root[] = "/";
    struct coil__slice path = head->target;
    const char *end;

    if (head->form == COIL__HTTP_ABSOLUTE) {
        const char *host = (const char *)memchr(path.data, ':', path.len) + 3;
        const char *limit = path.data + path.len;

        while (host < limit && *host != '/' && *host != '?')
            host++;
        path = (struct coil__slice){host, (size_t)(limit - host)};
    }
    end = path.len > 0 ? memchr(path.data, '?', path.len) : NULL;
    if (end)
        path.len = (size_t)(end - path.data);
    return path.len > 0 ? path : (struct coil__slice){root, 1};
}

ssize_t coil_http_path(const coil_http_request *request, char *ret_path, size_t size)
{
    return coil__url_path_decode(raw_path(&request->parser.head), ret_path, size);
}

const char *coil_http_query(const coil_http_request *request)
{
    const struct coil__slice target = request->parser.head.target;
    const char *mark = memchr(target.data, '?', target.len);

    if (!mark)
        return NULL;
    (void)terminate(target);
    return mark + 1;
}

int coil_http_version(const coil_http_request *request)
{
    return 10 + request->parser.head.version_minor;
}

const char *coil_http_header(const coil_http_request *request, const char *name)
{
    const struct coil__http_head *head = &request->parser.head;

    for (size_t i = 0; i < head->header_count; i++) {
        if (is_called(head->headers[i].name, name))
            return terminate(head->headers[i].value);
    }
    return NULL;
}

bool coil_http_header_at(const coil_http_request *request, size_t index, const char **ret_name,
                         const char **ret_value)
{
    const struct coil__http_head *head = &request->parser.head;

    if (index >= head->header_count)
        return false;
    *ret_name = terminate(head->headers[index].name);
    *ret_value = terminate(head->headers[index].value);
    return true;
}

int coil_http_peer(const coil_http_request *request, char *ret_text, size_t size)
{
    return coil_stream_peer(request->stream, ret_text, size);
}

int64_t coil_http_content_length(const coil_http_request *request)
{
    const struct coil__http_head *head = &request->parser.head;

    if (head->chunked)
        return -1;
    return head->content_length > 0 ? head->content_length : 0;
}
