/* SPDX-License-Identifier: MIT */
/* The status codes that have a name (RFC 9110 15, RFC 6585), as whole lines.
 *
 * Rows are found by the class's first row plus the code's offset in it; the table has gaps, which
 * are rows without text. Codes without a row go out without a reason, which the grammar allows.
 */
#include "http/status.h"

#define COIL_STATUS(text)                                     \
 {                                                            \
  "HTTP/1.1 " text "\r\n", sizeof "HTTP/1.1 " text "\r\n" - 1 \
 }

static const struct coil__slice success[] = {
    COIL_STATUS("200 OK"),
    COIL_STATUS("201 Created"),
    COIL_STATUS("202 Accepted"),
    COIL_STATUS("203 Non-Authoritative Information"),
    COIL_STATUS("204 No Content"),
    COIL_STATUS("205 Reset Content"),
    COIL_STATUS("206 Partial Content"),
};

static const struct coil__slice redirection[] = {
    COIL_STATUS("300 Multiple Choices"),
    COIL_STATUS("301 Moved Permanently"),
    COIL_STATUS("302 Found"),
    COIL_STATUS("303 See Other"),
    COIL_STATUS("304 Not Modified"),
    {NULL, 0},
    {NULL, 0},
    COIL_STATUS("307 Temporary Redirect"),
    COIL_STATUS("308 Permanent Redirect"),
};

static const struct coil__slice client_error[] = {
    COIL_STATUS("400 Bad Request"),
    COIL_STATUS("401 Unauthorized"),
    COIL_STATUS("402 Payment Required"),
    COIL_STATUS("403 Forbidden"),
    COIL_STATUS("404 Not Found"),
    COIL_STATUS("405 Method Not Allowed"),
    COIL_STATUS("406 Not Acceptable"),
    COIL_STATUS("407 Proxy Authentication Required"),
    COIL_STATUS("408 Request Timeout"),
    COIL_STATUS("409 Conflict"),
    COIL_STATUS("410 Gone"),
    COIL_STATUS("411 Length Required"),
    COIL_STATUS("412 Precondition Failed"),
    COIL_STATUS("413 Content Too Large"),
    COIL_STATUS("414 URI Too Long"),
    COIL_STATUS("415 Unsupported Media Type"),
    COIL_STATUS("416 Range Not Satisfiable"),
    COIL_STATUS("417 Expectation Failed"),
    {NULL, 0},
    {NULL, 0},
    {NULL, 0},
    COIL_STATUS("421 Misdirected Request"),
    COIL_STATUS("422 Unprocessable Content"),
    {NULL, 0},
    {NULL, 0},
    {NULL, 0},
    COIL_STATUS("426 Upgrade Required"),
    {NULL, 0},
    COIL_STATUS("428 Precondition Required"),
    COIL_STATUS("429 Too Many Requests"),
    {NULL, 0},
    COIL_STATUS("431 Request Header Fields Too Large"),
};

static const struct coil__slice server_error[] = {
    COIL_STATUS("500 Internal Server Error"), COIL_STATUS("501 Not Implemented"),
    COIL_STATUS("502 Bad Gateway"),           COIL_STATUS("503 Service Unavailable"),
    COIL_STATUS("504 Gateway Timeout"),       COIL_STATUS("505 HTTP Version Not Supported"),
};

static const struct {
    const struct coil__slice *rows;
    int count;
} classes[] = {
    {success, sizeof success / sizeof success[0]},
    {redirection, sizeof redirection / sizeof redirection[0]},
    {client_error, sizeof client_error / sizeof client_error[0]},
    {server_error, sizeof server_error / sizeof server_error[0]},
};

struct coil__slice coil__http_status_line(int status)
{
    const int class = status / 100 - 2;
    const int row = status % 100;

    if (class < 0 || class > 3 || row >= classes[class].count)
        return (struct coil__slice){NULL, 0};
    return classes[class].rows[row];
}
