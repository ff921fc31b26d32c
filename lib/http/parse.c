/* SPDX-License-Identifier: MIT */
/* HTTP/1.x head parser.
 *
 * Two steps per line. The first runs a word-wide scan for the next control byte, which is the CR
 * of the line end in every valid message; anything else (bare LF, NUL, DEL) ends the parse right
 * there. `scanned` remembers how far it got, so that is the only work repeated when bytes trickle
 * in. The second step takes the complete line apart with the table of byte classes, knowing that
 * no control byte but HTAB is left in it.
 *
 * The scan never looks beyond the window that the limits leave, not even when more bytes are
 * there. That is what makes the verdict independent of how the input was split.
 *
 * Framing is decided here and nowhere else, and strictly: whatever two parsers could read in two
 * ways (RFC 9112 11.2) is refused, also where the RFC permits repair, because the harm is done by
 * the peer that repairs differently.
 *
 * Invariant: line <= scanned <= bytes given; [line, scanned) holds no control byte but HTAB.
 * Invariant: `head` holds what the lines before `line` said, and nothing else.
 */
#include "http/parse.h"

#include "base/assert.h"
#include "http/chars.h"
#include "http/url.h"

enum {
    LIMIT_MAX = 1 << 30, /* for each limit of the caller */
};

enum seen {
    SEEN_CLOSE = 1,         /* Connection: close */
    SEEN_KEEP_ALIVE = 2,    /* Connection: keep-alive */
    SEEN_WANTS_UPGRADE = 4, /* Connection: upgrade */
    SEEN_UPGRADE = 8,       /* Upgrade */
    SEEN_CODING = 16,       /* Transfer-Encoding */
    SEEN_OTHER_CODING = 32, /* a coding that is not chunked */
    SEEN_EXPECT = 64,       /* Expect: 100-continue */
};

/* ---- Lines ---- */

/* Takes the line at `line`, which must end with its CRLF before @limit. Returns 1, 0 when bytes
 * are missing, or an error; @error_long when @limit is reached first. */
static int take_line(struct coil__http_parser *parser, struct coil__slice input, size_t limit,
                     int error_long, struct coil__slice *ret_line)
{
    const size_t stop = input.len < limit ? input.len : limit;
    const char *hit = coil__chars_find_control(input.data + parser->scanned, input.data + stop);
    const size_t at = (size_t)(hit - input.data);

    parser->scanned = at;
    if (at < stop && *hit != '\r')
        return COIL__HTTP_BAD_LINE;
    if (at + 1 < stop) {
        if (hit[1] != '\n')
            return COIL__HTTP_BAD_LINE;
        *ret_line = (struct coil__slice){input.data + parser->line, at - parser->line};
        parser->line = at + 2;
        parser->scanned = at + 2;
        return 1;
    }
    return stop == limit ? error_long : 0;
}

/* Splits @list at the next comma; false when nothing is left. A trailing comma yields a last empty
 * element, so that callers can refuse it. */
static bool next_element(struct coil__slice *list, struct coil__slice *ret_element)
{
    if (list->data == NULL)
        return false;

    const char *comma = list->len > 0 ? memchr(list->data, ',', list->len) : NULL;
    const size_t len = comma ? (size_t)(comma - list->data) : list->len;

    *ret_element = coil__chars_trim((struct coil__slice){list->data, len});
    list->data = comma ? comma + 1 : NULL;
    list->len -= comma ? len + 1 : len;
    return true;
}

static bool is_token(struct coil__slice text)
{
    const char *end = text.data + text.len;

    return text.len > 0 && coil__chars_skip(text.data, end, COIL__CHAR_TOKEN) == end;
}

/* ---- Start lines ---- */

/* Parses "HTTP/1.x". A wrong version is told apart from nonsense because it has its own answer. */
static int parse_version(struct coil__slice text, struct coil__http_head *head)
{
    if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || text.data[6] != '.')
        return COIL__HTTP_BAD_START_LINE;

    const unsigned major = (unsigned)(unsigned char)text.data[5] - '0';
    const unsigned minor = (unsigned)(unsigned char)text.data[7] - '0';

    if (major > 9 || minor > 9)
        return COIL__HTTP_BAD_START_LINE;
    if (major != 1)
        return COIL__HTTP_BAD_VERSION;
    head->version_minor = minor > 0;
    return 0;
}

/* "scheme://host[:port]" and then the end, a path or a query. User data in a request target only
 * serves to disguise the host, and is refused. */
static int check_absolute(struct coil__slice target)
{
    const char *end = target.data + target.len;
    const char *colon = coil__chars_skip(target.data, end, COIL__CHAR_SCHEME);
    struct coil__authority authority;

    if (colon == target.data || (*target.data | 0x20) < 'a' || end - colon < 3 ||
        memcmp(colon, "://", 3) != 0)
        return COIL__HTTP_BAD_TARGET;

    const char *host = colon + 3;
    const char *rest = host;

    while (rest < end && *rest != '/' && *rest != '?')
        rest++;
    if (coil__authority_parse((struct coil__slice){host, (size_t)(rest - host)}, &authority) < 0)
        return COIL__HTTP_BAD_TARGET;
    return 0;
}

static int parse_target(struct coil__http_head *head)
{
    const struct coil__slice target = head->target;
    struct coil__authority authority;

    if (coil__slice_is(head->method, "CONNECT")) {
        head->form = COIL__HTTP_AUTHORITY;
        if (coil__authority_parse(target, &authority) < 0 || authority.port <= 0)
            return COIL__HTTP_BAD_TARGET;
        return 0;
    }
    if (target.data[0] == '/') {
        head->form = COIL__HTTP_ORIGIN;
        return 0;
    }
    if (coil__slice_is(target, "*")) {
        head->form = COIL__HTTP_ASTERISK;
        return coil__slice_is(head->method, "OPTIONS") ? 0 : COIL__HTTP_BAD_TARGET;
    }
    head->form = COIL__HTTP_ABSOLUTE;
    return check_absolute(target);
}

/* One space between the parts, none elsewhere: the RFC lets a server accept more white space, and
 * then two servers disagree on where the target ends. */
static int parse_request_line(struct coil__http_head *head, struct coil__slice line)
{
    const char *end = line.data + line.len;
    const char *method_end = coil__chars_skip(line.data, end, COIL__CHAR_TOKEN);

    if (method_end == line.data || method_end == end || *method_end != ' ')
        return COIL__HTTP_BAD_START_LINE;

    const char *target = method_end + 1;
    const char *target_end = coil__chars_skip(target, end, COIL__CHAR_TARGET);

    if (target_end == end)
        return COIL__HTTP_BAD_START_LINE;
    if (target_end == target || *target_end != ' ')
        return COIL__HTTP_BAD_TARGET;

    const char *version = target_end + 1;
    const int status = parse_version((struct coil__slice){version, (size_t)(end - version)}, head);

    if (status < 0)
        return status;
    head->method = (struct coil__slice){line.data, (size_t)(method_end - line.data)};
    head->target = (struct coil__slice){target, (size_t)(target_end - target)};
    return parse_target(head);
}

/* "HTTP/1.x NNN reason". The space after the status is required by the grammar also when the
 * reason is empty, but servers in use leave it out, and nothing is framed by it: tolerated. */
static int parse_status_line(struct coil__http_head *head, struct coil__slice line)
{
    if (line.len < 12 || line.data[8] != ' ')
        return COIL__HTTP_BAD_START_LINE;

    const int error = parse_version((struct coil__slice){line.data, 8}, head);
    int status = 0;

    if (error < 0)
        return error;
    for (size_t i = 9; i < 12; i++) {
        const unsigned digit = (unsigned)(unsigned char)line.data[i] - '0';

        if (digit > 9)
            return COIL__HTTP_BAD_START_LINE;
        status = status * 10 + (int)digit;
    }
    if (status < 100 || status > 599 || (line.len > 12 && line.data[12] != ' '))
        return COIL__HTTP_BAD_START_LINE;

    const size_t skip = line.len > 12 ? 13 : 12;

    head->status = status;
    head->reason = (struct coil__slice){line.data + skip, line.len - skip};
    return 0;
}

/* ---- Fields that frame ---- */

static int read_host(struct coil__http_parser *parser, struct coil__slice value)
{
    struct coil__authority authority;

    if (parser->head.has_host)
        return COIL__HTTP_BAD_HOST;
    if (value.len > 0 && coil__authority_parse(value, &authority) < 0)
        return COIL__HTTP_BAD_HOST;
    parser->head.has_host = true;
    parser->head.host = value;
    return 0;
}

/* Repeated values are refused even if equal: some peers take "3, 3" for 3, others for garbage. */
static int read_length(struct coil__http_parser *parser, struct coil__slice value)
{
    int64_t length = 0;

    if (parser->head.content_length >= 0 || value.len == 0)
        return COIL__HTTP_BAD_LENGTH;
    for (size_t i = 0; i < value.len; i++) {
        const unsigned digit = (unsigned)(unsigned char)value.data[i] - '0';

        if (digit > 9 || length > (INT64_MAX - (int64_t)digit) / 10)
            return COIL__HTTP_BAD_LENGTH;
        length = length * 10 + (int64_t)digit;
    }
    parser->head.content_length = length;
    return 0;
}

/* Several fields count as one list. After "chunked" nothing may follow, not even "chunked". */
static int read_coding(struct coil__http_parser *parser, struct coil__slice value)
{
    struct coil__slice list = value;
    struct coil__slice coding;

    parser->seen |= SEEN_CODING;
    while (next_element(&list, &coding)) {
        if (parser->head.chunked || !is_token(coding))
            return COIL__HTTP_BAD_CODING;
        parser->head.chunked = coil__chars_equal_nocase(coding, "chunked", 7);
        parser->seen |= parser->head.chunked ? 0U : SEEN_OTHER_CODING;
    }
    return 0;
}

static unsigned connection_option(struct coil__slice option)
{
    if (coil__chars_equal_nocase(option, "close", 5))
        return SEEN_CLOSE;
    if (coil__chars_equal_nocase(option, "keep-alive", 10))
        return SEEN_KEEP_ALIVE;
    return coil__chars_equal_nocase(option, "upgrade", 7) ? SEEN_WANTS_UPGRADE : 0;
}

static void read_connection(struct coil__http_parser *parser, struct coil__slice value)
{
    struct coil__slice list = value;
    struct coil__slice option;

    while (next_element(&list, &option))
        parser->seen |= connection_option(option);
}

/* Looks at one field. The length of the name leaves at most one candidate. */
static int read_field(struct coil__http_parser *parser, struct coil__slice name,
                      struct coil__slice value)
{
    switch (name.len) {
    case 4:
        if (coil__chars_equal_nocase(name, "host", 4))
            return read_host(parser, value);
        return 0;
    case 6:
        if (coil__chars_equal_nocase(name, "expect", 6) &&
            coil__chars_equal_nocase(value, "100-continue", 12))
            parser->seen |= SEEN_EXPECT;
        return 0;
    case 7:
        if (coil__chars_equal_nocase(name, "upgrade", 7))
            parser->seen |= SEEN_UPGRADE;
        return 0;
    case 10:
        if (coil__chars_equal_nocase(name, "connection", 10))
            read_connection(parser, value);
        return 0;
    case 14:
        if (coil__chars_equal_nocase(name, "content-length", 14))
            return read_length(parser, value);
        return 0;
    case 17:
        if (coil__chars_equal_nocase(name, "transfer-encoding", 17))
            return read_coding(parser, value);
        return 0;
    default:
        return 0;
    }
}

/* ---- The head ---- */

/* A line that continues another (obs-fold) begins with a blank, which is no token: refused too. */
static int parse_header_line(struct coil__http_parser *parser, struct coil__slice line)
{
    const char *end = line.data + line.len;
    const char *colon = coil__chars_skip(line.data, end, COIL__CHAR_TOKEN);

    if (colon == line.data || colon == end || *colon != ':')
        return COIL__HTTP_BAD_HEADER;
    if (parser->head.header_count == parser->header_max)
        return COIL__HTTP_MANY_HEADERS;

    const struct coil__slice name = {line.data, (size_t)(colon - line.data)};
    const struct coil__slice value =
        coil__chars_trim((struct coil__slice){colon + 1, (size_t)(end - colon) - 1});

    parser->head.headers[parser->head.header_count++] =
        (struct coil__http_header){.name = name, .value = value};
    return read_field(parser, name, value);
}

/* Draws the conclusions that need all fields. */
static int finish(struct coil__http_parser *parser)
{
    struct coil__http_head *head = &parser->head;
    const unsigned seen = parser->seen;
    const bool modern = head->version_minor > 0;

    if ((seen & SEEN_CODING) && (!modern || head->content_length >= 0))
        return COIL__HTTP_BAD_CODING;
    if (seen & SEEN_OTHER_CODING)
        return COIL__HTTP_UNKNOWN_CODING;
    if (parser->kind == COIL__HTTP_REQUEST && modern && !head->has_host)
        return COIL__HTTP_BAD_HOST;

    head->keep_alive = !(seen & SEEN_CLOSE) && (modern || (seen & SEEN_KEEP_ALIVE));
    head->expect_continue = modern && (seen & SEEN_EXPECT);
    head->upgrade = modern && (seen & SEEN_UPGRADE) && (seen & SEEN_WANTS_UPGRADE);
    return 0;
}

/* Returns 1 when the start line is parsed, 0 when bytes are missing, or an error. */
static int parse_start(struct coil__http_parser *parser, struct coil__slice input)
{
    const bool request = parser->kind == COIL__HTTP_REQUEST;
    struct coil__slice line;
    int status;

    for (;;) {
        const size_t limit = parser->line + parser->limits.start_line_max + 2;

        status = take_line(parser, input, limit, COIL__HTTP_LONG_START_LINE, &line);
        if (status <= 0)
            return status;
        if (line.len > 0 || !request || parser->blank_seen)
            break;
        parser->blank_seen = true;
    }
    status =
        request ? parse_request_line(&parser->head, line) : parse_status_line(&parser->head, line);
    if (status < 0)
        return status;
    parser->section = parser->line;
    return 1;
}

static ssize_t parse(struct coil__http_parser *parser, struct coil__slice input)
{
    struct coil__slice line;
    int status;

    if (parser->section == 0) {
        status = parse_start(parser, input);
        if (status <= 0)
            return status;
    }

    const size_t section_limit = parser->section + parser->limits.headers_max;

    for (;;) {
        const size_t line_limit = parser->line + parser->limits.header_line_max + 2;
        const bool line_first = line_limit <= section_limit;

        status = take_line(parser, input, line_first ? line_limit : section_limit,
                           line_first ? COIL__HTTP_LONG_HEADER : COIL__HTTP_LONG_HEADERS, &line);
        if (status <= 0)
            return status;
        if (line.len == 0)
            break;
        status = parse_header_line(parser, line);
        if (status < 0)
            return status;
    }
    status = finish(parser);
    return status < 0 ? status : (ssize_t)parser->line;
}

void coil__http_parser_init(struct coil__http_parser *parser, enum coil__http_kind kind,
                            struct coil__http_header *headers, size_t header_max,
                            const struct coil__http_limits *limits)
{
    const struct coil__http_limits none = {0};
    const struct coil__http_limits *given = limits ? limits : &none;

    *parser = (struct coil__http_parser){
        .kind = kind,
        .header_max = header_max,
        .limits =
            {
                .start_line_max =
                    given->start_line_max ? given->start_line_max : COIL__HTTP_START_LINE_MAX,
                .header_line_max =
                    given->header_line_max ? given->header_line_max : COIL__HTTP_HEADER_LINE_MAX,
                .headers_max = given->headers_max ? given->headers_max : COIL__HTTP_HEADERS_MAX,
            },
        .head = {.headers = headers},
    };
    COIL_ASSERT(parser->limits.start_line_max <= LIMIT_MAX && "sums of limits can't overflow");
    COIL_ASSERT(parser->limits.header_line_max <= LIMIT_MAX && "likewise");
    COIL_ASSERT(parser->limits.headers_max <= LIMIT_MAX && "likewise");
    coil__http_parser_reset(parser);
}

void coil__http_parser_reset(struct coil__http_parser *parser)
{
    parser->head = (struct coil__http_head){
        .headers = parser->head.headers,
        .content_length = -1,
    };
    parser->base = 0;
    parser->line = 0;
    parser->scanned = 0;
    parser->section = 0;
    parser->result = 0;
    parser->seen = 0;
    parser->blank_seen = false;
}

ssize_t coil__http_parse(struct coil__http_parser *parser, const char *data, size_t len)
{
    if (parser->result != 0 || len == 0)
        return parser->result;
    if (parser->base != (uintptr_t)data && parser->scanned > 0)
        coil__http_parser_reset(parser);
    parser->base = (uintptr_t)data;
    COIL_ASSERT(len >= parser->scanned && "bytes already given are given again");

    parser->result = parse(parser, (struct coil__slice){data, len});
    return parser->result;
}

struct coil__slice coil__http_header_find(const struct coil__http_head *head, const char *name)
{
    const size_t len = strlen(name);

    for (size_t i = 0; i < head->header_count; i++) {
        if (coil__chars_equal_nocase(head->headers[i].name, name, len))
            return head->headers[i].value;
    }
    return (struct coil__slice){NULL, 0};
}

enum coil__http_body coil__http_request_body(const struct coil__http_head *head)
{
    if (head->chunked)
        return COIL__HTTP_BODY_CHUNKED;
    return head->content_length > 0 ? COIL__HTTP_BODY_LENGTH : COIL__HTTP_BODY_NONE;
}

enum coil__http_body coil__http_response_body(const struct coil__http_head *head,
                                              struct coil__slice method)
{
    const int status = head->status;

    if (status < 200 || status == 204 || status == 304 || coil__slice_is(method, "HEAD"))
        return COIL__HTTP_BODY_NONE;
    if (status < 300 && coil__slice_is(method, "CONNECT"))
        return COIL__HTTP_BODY_NONE;
    if (head->chunked)
        return COIL__HTTP_BODY_CHUNKED;
    if (head->content_length < 0)
        return COIL__HTTP_BODY_UNTIL_CLOSE;
    return head->content_length > 0 ? COIL__HTTP_BODY_LENGTH : COIL__HTTP_BODY_NONE;
}
