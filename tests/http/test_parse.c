/* SPDX-License-Identifier: MIT */
/* The HTTP head parser: what it accepts, what it refuses and why, its limits and its states.
 * How bodies are framed is in test_parse_framing.c. */
#include "parse_rows.h"

/* ---- Requests that are right ---- */

Test(parse, valid_requests_are_taken_apart, .timeout = 20)
{
    static const struct row rows[] = {
        GOOD(H "\r\n", "GET / 1 keep [Host=x]"),
        GOOD("GET / HTTP/1.0\r\n\r\n", "GET / 0"),
        GOOD("GET /a?b=c&d HTTP/1.0\r\nHost: x\r\n\r\n", "GET /a?b=c&d 0 [Host=x]"),
        GOOD("GET /? HTTP/1.0\r\n\r\n", "GET /? 0"),
        GOOD("GET /a*b@%40%233 HTTP/1.0\r\n\r\n", "GET /a*b@%40%233 0"),
        GOOD("GET /\xe4\xbd\xa0 HTTP/1.0\r\n\r\n", "GET /\xe4\xbd\xa0 0"),
        GOOD("GET //a//b HTTP/1.0\r\n\r\n", "GET //a//b 0"),
        GOOD("get / HTTP/1.0\r\n\r\n", "get / 0"),
        GOOD("M-SEARCH!#$%&'*+.^_`|~9 / HTTP/1.0\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~9 / 0"),
        GOOD("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "GET / 1 keep [Host=x]"),
        GOOD(H "a:b\r\nc: \t d e\t \r\nF:\r\n\r\n", "GET / 1 keep [Host=x] [a=b] [c=d e] [F=]"),
        GOOD(H "x:   o   u   t   \r\n\r\n", "GET / 1 keep [Host=x] [x=o   u   t]"),
        GOOD(H "x: \xc2\xa0nbsp\xc2\xa0\r\n\r\n", "GET / 1 keep [Host=x] [x=\xc2\xa0nbsp\xc2\xa0]"),
        GOOD(H "x: a\tb\r\n\r\n", "GET / 1 keep [Host=x] [x=a\tb]"),
        GOOD(H "x: a:b:c\r\n\r\n", "GET / 1 keep [Host=x] [x=a:b:c]"),
        GOOD(H "x-ANY_k: one\r\nx-ANY_k: two\r\n\r\n",
             "GET / 1 keep [Host=x] [x-ANY_k=one] [x-ANY_k=two]"),
        GOOD("\r\n" H "\r\n", "GET / 1 keep [Host=x]"),
        MORE(H "\r\nGET /next HTTP/1.1\r\n", "GET / 1 keep [Host=x]", 20),
        GOOD("GET / HTTP/1.1\r\nhOsT:\r\n\r\n", "GET / 1 keep [hOsT=]"),
        GOOD("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / 1 keep [Host=[::1]:80]"),
        GOOD("GET / HTTP/1.1\r\nHost: a_b.Example:8080\r\n\r\n",
             "GET / 1 keep [Host=a_b.Example:8080]"),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, each_target_form_belongs_to_its_method, .timeout = 20)
{
    static const struct row rows[] = {
        GOOD("OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS * 0 asterisk"),
        GOOD("OPTIONS /x HTTP/1.0\r\n\r\n", "OPTIONS /x 0"),
        GOOD("GET http://h:80/p?q HTTP/1.0\r\n\r\n", "GET http://h:80/p?q 0 absolute"),
        GOOD("GET HTTPS://h HTTP/1.0\r\n\r\n", "GET HTTPS://h 0 absolute"),
        GOOD("GET http://h?q HTTP/1.0\r\n\r\n", "GET http://h?q 0 absolute"),
        GOOD("CONNECT h:443 HTTP/1.0\r\n\r\n", "CONNECT h:443 0 authority"),
        GOOD("CONNECT [::1]:443 HTTP/1.0\r\n\r\n", "CONNECT [::1]:443 0 authority"),
        BAD("GET * HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("OPTIONS ** HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT / HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT h HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT h: HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT h:0 HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT http://h:1/ HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("CONNECT * HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET h:443 HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET index.html HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET ?q HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET /a#b HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET http:/p HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET http:///p HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET 1http://h/ HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET http://u:p@h/ HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET http://h:99999/ HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET /a\tb HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_TARGET),
    };

    check_requests(rows, LEN(rows));
}

/* ---- Requests that are wrong ---- */

Test(parse, a_malformed_request_line_is_refused, .timeout = 20)
{
    static const struct row rows[] = {
        BAD("\r\n\r\n" H "\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET /\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET \r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD(" GET / HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD(" / HTTP/1.1\r\nHost: x\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET  / HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_TARGET),
        BAD("GET /  HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/1.1 \r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET\t/ HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / x HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("G(T / HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("G\x80T / HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/1.12\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/11.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/1,1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/a.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/1.a\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / http/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTQ/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("GET / HTTP/2.0\r\n\r\n", COIL__HTTP_BAD_VERSION),
        BAD("GET / HTTP/0.9\r\n\r\n", COIL__HTTP_BAD_VERSION),
        BAD("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", COIL__HTTP_BAD_VERSION),
        BAD("\x16\x03\x01\x02", COIL__HTTP_BAD_LINE),
        BAD("HTTP/1.1 200 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, only_crlf_ends_a_line, .timeout = 20)
{
    static const struct row rows[] = {
        BAD("GET / HTTP/1.0\n\n", COIL__HTTP_BAD_LINE),
        BAD("GET / HTTP/1.0\n\r\n", COIL__HTTP_BAD_LINE),
        BAD("GET / HTTP/1.0\r\r\n", COIL__HTTP_BAD_LINE),
        BAD("GET / HTTP/1.0\rX: y\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\rc: d\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "\n", COIL__HTTP_BAD_LINE),
        BAD(H "\r\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\r\n\n", COIL__HTTP_BAD_LINE),
        BAD("\n" H "\r\n", COIL__HTTP_BAD_LINE),
        BAD("\r" H "\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\0c\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\x7f\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a: b\x0b\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(H "a\x01: b\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD("GET /\x1f HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD("GET /\x7f HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD("GET /\0 HTTP/1.0\r\n\r\n", COIL__HTTP_BAD_LINE),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, a_malformed_header_line_is_refused, .timeout = 20)
{
    static const struct row rows[] = {
        BAD(H "a : b\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a\t: b\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H " a: b\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a: b\r\n c\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a: b\r\n\tc\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD("GET / HTTP/1.1\r\n Host: x\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H ": b\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a b: c\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "a(b): c\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "\xe9: c\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H " \r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "GET /evil HTTP/1.1\r\nHost: y\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(H "Content-Length : 3\r\n\r\n", COIL__HTTP_BAD_HEADER),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, http_1_1_requires_exactly_one_valid_host, .timeout = 20)
{
    static const struct row rows[] = {
        BAD("GET / HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET http://h/ HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD(H "Host: x\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD(H "host: y\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHost: \x80\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nHosts: x\r\n\r\n", COIL__HTTP_BAD_HOST),
        BAD("GET / HTTP/1.1\r\nH/st: x\r\n\r\n", COIL__HTTP_BAD_HEADER),
    };

    check_requests(rows, LEN(rows));
}

/* ---- Limits ---- */

static ssize_t parse_text(const char *text, size_t header_max,
                          const struct coil__http_limits *limits)
{
    struct coil__http_parser parser;
    struct coil__http_header headers[COIL__HTTP_HEADER_COUNT_MAX];

    coil__http_parser_init(&parser, COIL__HTTP_REQUEST, headers, header_max, limits);
    return coil__http_parse(&parser, text, strlen(text));
}

Test(parse, a_request_line_may_have_8192_bytes_and_no_more_by_default, .timeout = 20)
{
    char *fits = filled("GET /", 8192 - 14, " HTTP/1.0\r\n\r\n");
    char *over = filled("GET /", 8192 - 13, " HTTP/1.0\r\n\r\n");
    const struct coil__http_limits wide = {.start_line_max = 20000};

    cr_expect_eq(parse_text(fits, 100, NULL), (ssize_t)strlen(fits));
    cr_expect_eq(parse_text(over, 100, NULL), COIL__HTTP_LONG_START_LINE);
    cr_expect_eq(parse_text(over, 100, &wide), (ssize_t)strlen(over));
    cr_expect_eq(coil__http_error_status(COIL__HTTP_LONG_START_LINE), 414);

    free(fits);
    free(over);
}

Test(parse, a_header_line_may_have_8192_bytes_and_no_more_by_default, .timeout = 20)
{
    char *fits = filled(H "x: ", 8192 - 3, "\r\n\r\n");
    char *over = filled(H "x: ", 8192 - 2, "\r\n\r\n");
    char *name = filled(H, 10000, ": x\r\n\r\n");

    cr_expect_eq(parse_text(fits, 100, NULL), (ssize_t)strlen(fits));
    cr_expect_eq(parse_text(over, 100, NULL), COIL__HTTP_LONG_HEADER);
    cr_expect_eq(parse_text(name, 100, NULL), COIL__HTTP_LONG_HEADER);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_LONG_HEADER), 431);

    free(fits);
    free(over);
    free(name);
}

Test(parse, twenty_lines_of_7000_bytes_are_too_much_though_each_is_not, .timeout = 20)
{
    char *line = filled("x: ", 7000, "\r\n");
    char *text = calloc(21, 7100);

    cr_assert_not_null(text);
    memcpy(text, H, sizeof H);
    for (int i = 0; i < 20; i++)
        memcpy(text + strlen(text), line, strlen(line) + 1);

    cr_expect_eq(parse_text(text, 100, NULL), COIL__HTTP_LONG_HEADERS);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_LONG_HEADERS), 431);

    free(line);
    free(text);
}

Test(parse, limits_hold_at_the_exact_byte_however_the_input_is_split, .timeout = 20)
{
    static const struct coil__http_limits limits = {
        .start_line_max = 14, .header_line_max = 8, .headers_max = 24};
    static const struct row rows[] = {
        GOOD("GET / HTTP/1.0\r\n\r\n", "GET / 0"),
        GOOD("\r\nGET / HTTP/1.0\r\n\r\n", "GET / 0"),
        BAD("GET /a HTTP/1.0\r\n\r\n", COIL__HTTP_LONG_START_LINE),
        BAD("GET /aaaaaaaaa", 0),
        BAD("GET /aaaaaaaaa\r", 0),
        BAD("GET /aaaaaaaaaa\r", COIL__HTTP_LONG_START_LINE),
        BAD("GET /aaaaaaaaaaa", COIL__HTTP_LONG_START_LINE),
        BAD("GET /aaaaaaaaaa\r\n", COIL__HTTP_LONG_START_LINE),
        BAD("GET /aaaaaaaaaaaa\n", COIL__HTTP_LONG_START_LINE),
        GOOD("GET / HTTP/1.0\r\na: 45678\r\n\r\n", "GET / 0 [a=45678]"),
        BAD("GET / HTTP/1.0\r\na: 456789\r\n\r\n", COIL__HTTP_LONG_HEADER),
        BAD("GET / HTTP/1.0\r\na: 4567890\n\r\n", COIL__HTTP_LONG_HEADER),
        BAD("GET / HTTP/1.0\r\na: 45678\r\nb: 45678\r\ncc\r\n", COIL__HTTP_BAD_HEADER),
        BAD("GET / HTTP/1.0\r\na: 45678\r\nb: 45678\r\nccc\r\n", COIL__HTTP_LONG_HEADERS),
        GOOD("GET / HTTP/1.0\r\na: 45678\r\nb: 45678\r\n\r\n", "GET / 0 [a=45678] [b=45678]"),
        BAD("GET / HTTP/1.0\r\na: 45678\r\nb: 45678\r\nc: d\r\n\r\n", COIL__HTTP_LONG_HEADERS),
    };
    static const struct coil__http_limits section = {.headers_max = 20};
    static const struct row tight[] = {
        GOOD("GET / HTTP/1.0\r\na: 45678\r\nb: 456\r\n\r\n", "GET / 0 [a=45678] [b=456]"),
        BAD("GET / HTTP/1.0\r\na: 45678\r\nb: 4567\r\n\r\n", COIL__HTTP_LONG_HEADERS),
    };

    check_rows(rows, LEN(rows), COIL__HTTP_REQUEST, &limits);
    check_rows(tight, LEN(tight), COIL__HTTP_REQUEST, &section);
}

Test(parse, one_header_more_than_there_is_room_for_is_refused, .timeout = 20)
{
    cr_expect_eq(parse_text(H "a: b\r\n\r\n", 2, NULL), (ssize_t)sizeof H + 7);
    cr_expect_eq(parse_text(H "a: b\r\n\r\n", 1, NULL), COIL__HTTP_MANY_HEADERS);
    cr_expect_eq(parse_text(H "\r\n", 0, NULL), COIL__HTTP_MANY_HEADERS);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_MANY_HEADERS), 431);
}

/* ---- The parser as an object ---- */

Test(parse, pipelined_requests_are_parsed_one_after_another, .timeout = 20)
{
    static const char text[] = P "Content-Length: 3\r\nConnection: close\r\n\r\nabc" H "\r\n";
    struct subject subject;

    subject_init(&subject, COIL__HTTP_REQUEST, NULL);
    const ssize_t first = coil__http_parse(&subject.parser, text, sizeof text - 1);

    cr_assert_gt(first, 0);
    cr_expect_eq(subject.parser.head.content_length, 3);
    cr_expect(!subject.parser.head.keep_alive);

    coil__http_parser_reset(&subject.parser);
    const char *next = text + first + 3;
    const ssize_t second = coil__http_parse(&subject.parser, next, sizeof H + 1);

    cr_expect_eq(second, (ssize_t)sizeof H + 1);
    cr_expect_eq(subject.parser.head.content_length, -1);
    cr_expect(subject.parser.head.keep_alive);
    cr_expect_eq(subject.parser.head.header_count, 1);
}

Test(parse, a_verdict_is_final_until_the_reset, .timeout = 20)
{
    static const char good[] = H "\r\n";
    struct subject subject;

    subject_init(&subject, COIL__HTTP_REQUEST, NULL);
    cr_expect_eq(coil__http_parse(&subject.parser, "GET\n", 4), COIL__HTTP_BAD_LINE);
    cr_expect_eq(coil__http_parse(&subject.parser, good, sizeof good - 1), COIL__HTTP_BAD_LINE);

    coil__http_parser_reset(&subject.parser);
    cr_expect_eq(coil__http_parse(&subject.parser, good, sizeof good - 1), sizeof good - 1);
    cr_expect_eq(coil__http_parse(&subject.parser, good, sizeof good - 1), sizeof good - 1);
}

Test(parse, no_bytes_are_an_incomplete_head, .timeout = 20)
{
    struct subject subject;

    subject_init(&subject, COIL__HTTP_REQUEST, NULL);
    cr_expect_eq(coil__http_parse(&subject.parser, NULL, 0), 0);
}

Test(parse, headers_are_found_by_name_in_any_case, .timeout = 20)
{
    static const char text[] = H "X-A: 1\r\nx-a: 2\r\nE:\r\n\r\n";
    struct subject subject;

    subject_init(&subject, COIL__HTTP_REQUEST, NULL);
    cr_assert_gt(coil__http_parse(&subject.parser, text, sizeof text - 1), 0);

    cr_expect(coil__slice_is(coil__http_header_find(&subject.parser.head, "x-a"), "1"));
    cr_expect(coil__slice_is(coil__http_header_find(&subject.parser.head, "e"), ""));
    cr_expect_not_null(coil__http_header_find(&subject.parser.head, "e").data);
    cr_expect_null(coil__http_header_find(&subject.parser.head, "x").data);
    cr_expect(coil__slice_is(subject.parser.head.host, "x"));
    cr_expect(subject.parser.head.has_host);
}

/* A line of 4 MB that arrives in single bytes: quadratic work would be 2^43 byte steps and run into
 * the timeout even at 10^11 a second, linear work is not felt. */
Test(parse, feeding_byte_by_byte_is_linear, .timeout = 60)
{
    static const struct coil__http_limits limits = {.header_line_max = 1 << 23,
                                                    .headers_max = 1 << 24};
    char *text = filled(H "x: ", 4000000, "\r\n\r\n");
    const size_t len = strlen(text);
    struct subject subject;
    ssize_t n = 0;

    subject_init(&subject, COIL__HTTP_REQUEST, &limits);
    for (size_t i = 0; i <= len && n == 0; i++)
        n = coil__http_parse(&subject.parser, text, i);

    cr_expect_eq(n, (ssize_t)len);
    free(text);
}
