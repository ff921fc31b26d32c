/* SPDX-License-Identifier: MIT */
/* Where a message ends: the fields that frame requests and responses, and the ways to smuggle. */
#include "parse_rows.h"

/* ---- Framing ---- */

Test(parse, content_length_is_one_number, .timeout = 20)
{
    static const struct row rows[] = {
        MORE(P "Content-Length: 5\r\n\r\nhello",
             "POST / 1 length=5 keep [Host=x] [Content-Length=5]", 5),
        GOOD(P "CONTENT-length:0\r\n\r\n", "POST / 1 length=0 keep [Host=x] [CONTENT-length=0]"),
        GOOD(P "Content-Length: \t7 \r\n\r\n",
             "POST / 1 length=7 keep [Host=x] [Content-Length=7]"),
        GOOD(P "Content-Length: 007\r\n\r\n",
             "POST / 1 length=7 keep [Host=x] [Content-Length=007]"),
        GOOD(P "Content-Length: 9223372036854775807\r\n\r\n",
             "POST / 1 length=9223372036854775807 keep [Host=x] "
             "[Content-Length=9223372036854775807]"),
        BAD(P "Content-Length: 9223372036854775808\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 18446744073709551617\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 99999999999999999999999\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: argh\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length:\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length:  \t \r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: -10\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: +3\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 0x3\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3a\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3 4\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3.0\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3, 3\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3, 4\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3,\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: \xb2\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 3\r\ncontent-length: 4\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(P "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", COIL__HTTP_BAD_LENGTH),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, transfer_encoding_is_exactly_chunked, .timeout = 20)
{
    static const struct row rows[] = {
        GOOD(P "Transfer-Encoding: chunked\r\n\r\n",
             "POST / 1 chunked keep [Host=x] [Transfer-Encoding=chunked]"),
        GOOD(P "transfer-ENCODING:\tChunKed \r\n\r\n",
             "POST / 1 chunked keep [Host=x] [transfer-ENCODING=ChunKed]"),
        BAD(P "Transfer-Encoding: gzip\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: identity\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: gzip, chunked\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: xchunked\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: chunke\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD(P "Transfer-Encoding: chunked, gzip\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chunked, chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding:\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: ,chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chunked,\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: \"chunked\"\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chunked;q=1\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: chun ked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: \xa0 chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Transfer-Encoding: \x0b chunked\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD(P "Transfer-Encoding : chunked\r\n\r\n", COIL__HTTP_BAD_HEADER),
        BAD(P "Transfer-Encoding:\r\n chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, length_and_coding_together_are_refused_in_any_order, .timeout = 20)
{
    static const struct row rows[] = {
        BAD(P "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(P "Content-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\n", COIL__HTTP_BAD_CODING),
    };

    check_requests(rows, LEN(rows));
}

Test(parse, persistence_follows_version_and_connection_options, .timeout = 20)
{
#define T(version, field) "GET / HTTP/1." version "\r\nHost: x\r\n" field "\r\n\r\n"
    static const struct row rows[] = {
        GOOD(T("1", "Connection: close"), "GET / 1 [Host=x] [Connection=close]"),
        GOOD(T("1", "connection: CLOSE"), "GET / 1 [Host=x] [connection=CLOSE]"),
        GOOD(T("1", "Connection: x, close"), "GET / 1 [Host=x] [Connection=x, close]"),
        GOOD(T("1", "Connection: keep-alive, close"),
             "GET / 1 [Host=x] [Connection=keep-alive, close]"),
        GOOD(T("1", "Connection: closed"), "GET / 1 keep [Host=x] [Connection=closed]"),
        GOOD(T("1", "Connection:"), "GET / 1 keep [Host=x] [Connection=]"),
        GOOD(T("0", "Connection: keep-alive"), "GET / 0 keep [Host=x] [Connection=keep-alive]"),
        GOOD(T("0", "Connection: ,Keep-Alive ,"),
             "GET / 0 keep [Host=x] [Connection=,Keep-Alive ,]"),
        GOOD(T("0", "Connection: keep-alive\r\nConnection: close"),
             "GET / 0 [Host=x] [Connection=keep-alive] [Connection=close]"),
        GOOD(T("1", "Upgrade: websocket\r\nConnection: keep-alive, Upgrade"),
             "GET / 1 keep upgrade [Host=x] [Upgrade=websocket] [Connection=keep-alive, Upgrade]"),
        GOOD(T("1", "Upgrade: websocket"), "GET / 1 keep [Host=x] [Upgrade=websocket]"),
        GOOD(T("1", "Connection: upgrade"), "GET / 1 keep [Host=x] [Connection=upgrade]"),
        GOOD(T("0", "Connection: upgrade\r\nUpgrade: a"),
             "GET / 0 [Host=x] [Connection=upgrade] [Upgrade=a]"),
        GOOD(T("1", "Expect: 100-Continue"), "GET / 1 keep expect [Host=x] [Expect=100-Continue]"),
        GOOD(T("1", "Expect: 100-continued"), "GET / 1 keep [Host=x] [Expect=100-continued]"),
        GOOD(T("0", "Expect: 100-continue"), "GET / 0 [Host=x] [Expect=100-continue]"),
    };
#undef T

    check_requests(rows, LEN(rows));
}

/* ---- Responses ---- */

Test(parse, valid_responses_are_taken_apart, .timeout = 20)
{
    static const struct row rows[] = {
        GOOD(OK "\r\n", "200 'OK' 1 keep"),
        GOOD("HTTP/1.0 200 OK\r\n\r\n", "200 'OK' 0"),
        MORE("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
             "404 'Not Found' 1 length=3 keep [Content-Length=3]", 3),
        GOOD("HTTP/1.1 200 \r\n\r\n", "200 '' 1 keep"),
        GOOD("HTTP/1.1 200\r\n\r\n", "200 '' 1 keep"),
        GOOD("HTTP/1.1 200  two\tblanks\r\n\r\n", "200 ' two\tblanks' 1 keep"),
        GOOD("HTTP/1.1 200 \xc3\xa9\r\n\r\n", "200 '\xc3\xa9' 1 keep"),
        GOOD("HTTP/1.1 100 Continue\r\n\r\n", "100 'Continue' 1 keep"),
        GOOD("HTTP/1.1 599 x\r\n\r\n", "599 'x' 1 keep"),
        GOOD(OK "Connection: close\r\n\r\n", "200 'OK' 1 [Connection=close]"),
        GOOD(OK "Transfer-Encoding: chunked\r\n\r\n",
             "200 'OK' 1 chunked keep [Transfer-Encoding=chunked]"),
    };

    check_responses(rows, LEN(rows));
}

Test(parse, malformed_responses_are_refused, .timeout = 20)
{
    static const struct row rows[] = {
        BAD("\r\n" OK "\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 20\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 20 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 2000 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 2000\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 099 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 600 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 2a0 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 200OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 200\tOK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1  200 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1x200 OK\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1200 OK \r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/2.0 200 OK\r\n\r\n", COIL__HTTP_BAD_VERSION),
        BAD("ICY 200 OK  \r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("<!DOCTYPE html>\r\n\r\n", COIL__HTTP_BAD_START_LINE),
        BAD("HTTP/1.1 200 O\x01K\r\n\r\n", COIL__HTTP_BAD_LINE),
        BAD("HTTP/1.1 200 OK\n\n", COIL__HTTP_BAD_LINE),
        BAD(OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", COIL__HTTP_BAD_LENGTH),
        BAD(OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
        BAD(OK "Transfer-Encoding: gzip\r\n\r\n", COIL__HTTP_UNKNOWN_CODING),
        BAD("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", COIL__HTTP_BAD_CODING),
    };

    check_responses(rows, LEN(rows));
}

Test(parse, the_body_of_a_message_ends_as_rfc_9112_6_3_says, .timeout = 20)
{
    static const struct {
        const char *method;
        int status;
        int64_t length;
        bool chunked;
        enum coil__http_body body;
    } rows[] = {
        {"GET", 200, 5, false, COIL__HTTP_BODY_LENGTH},
        {"GET", 200, 0, false, COIL__HTTP_BODY_NONE},
        {"GET", 200, -1, true, COIL__HTTP_BODY_CHUNKED},
        {"GET", 200, -1, false, COIL__HTTP_BODY_UNTIL_CLOSE},
        {"GET", 500, -1, false, COIL__HTTP_BODY_UNTIL_CLOSE},
        {"HEAD", 200, 5, false, COIL__HTTP_BODY_NONE},
        {"HEAD", 200, -1, true, COIL__HTTP_BODY_NONE},
        {"HEAD", 404, -1, false, COIL__HTTP_BODY_NONE},
        {"head", 200, 5, false, COIL__HTTP_BODY_LENGTH},
        {"GET", 100, 5, false, COIL__HTTP_BODY_NONE},
        {"GET", 101, -1, true, COIL__HTTP_BODY_NONE},
        {"GET", 199, -1, false, COIL__HTTP_BODY_NONE},
        {"GET", 204, 5, false, COIL__HTTP_BODY_NONE},
        {"GET", 205, 5, false, COIL__HTTP_BODY_LENGTH},
        {"GET", 304, 5, false, COIL__HTTP_BODY_NONE},
        {"GET", 304, -1, true, COIL__HTTP_BODY_NONE},
        {"CONNECT", 200, 5, false, COIL__HTTP_BODY_NONE},
        {"CONNECT", 299, -1, true, COIL__HTTP_BODY_NONE},
        {"CONNECT", 300, 5, false, COIL__HTTP_BODY_LENGTH},
        {"CONNECT", 407, -1, true, COIL__HTTP_BODY_CHUNKED},
    };

    for (size_t i = 0; i < LEN(rows); i++) {
        const struct coil__http_head head = {
            .status = rows[i].status, .content_length = rows[i].length, .chunked = rows[i].chunked};

        cr_expect_eq(coil__http_response_body(&head, coil__slice_from(rows[i].method)),
                     rows[i].body, "row %zu", i);
    }
    cr_expect_eq(coil__http_request_body(&(struct coil__http_head){.content_length = -1}),
                 COIL__HTTP_BODY_NONE);
    cr_expect_eq(coil__http_request_body(&(struct coil__http_head){.content_length = 0}),
                 COIL__HTTP_BODY_NONE);
    cr_expect_eq(coil__http_request_body(&(struct coil__http_head){.content_length = 1}),
                 COIL__HTTP_BODY_LENGTH);
    cr_expect_eq(
        coil__http_request_body(&(struct coil__http_head){.content_length = -1, .chunked = true}),
        COIL__HTTP_BODY_CHUNKED);
}
