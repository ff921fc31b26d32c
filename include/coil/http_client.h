/* SPDX-License-Identifier: MIT */
/* coil/http_client.h - fetching over HTTP/1.1.
 *
 * A client keeps connections that can be used again, per host, within limits; any number of fibers
 * may use it at a time. A get sends the request and returns when the head of the response is there;
 * the body is then read as it comes, or whole into memory:
 *
 *     coil_http_client_new(NULL, &client);
 *     if (coil_http_get(client, "http://127.0.0.1:8080/", &response) == 0) {
 *         length = coil_http_response_body(response, 1 << 20, &text);
 *         coil_http_response_close(response);
 *     }
 *     coil_http_client_free(client);
 *
 * The connection goes back to the client when the last byte of the body has been read; closing a
 * response earlier closes its connection. A connection that the server had closed while it was idle
 * is replaced once, unseen, if not a byte of the response had come.
 *
 * Time limits are the ambient scopes (coil/scope.h): around a get, a read, or both.
 *
 * Only http:// for now. What a server sends is checked strictly, and bounded: a response that
 * frames its body ambiguously, or ends before its body does, is -EPROTO and never a short success.
 *
 * A client is 80 bytes, and 3,416 and a stream for each connection, mostly room for headers. A
 * response is 144 bytes and its head; the body comes from the connection, piece by piece.
 *
 * Threads: fibers of one core only; a response belongs to one fiber at a time.
 */
#ifndef COIL_HTTP_CLIENT_H
#define COIL_HTTP_CLIENT_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_http_client coil_http_client;
typedef struct coil_http_response coil_http_response;

/** Options of coil_http_client_new(); start from COIL_HTTP_CLIENT_OPTIONS_INIT. Zero means the
 *  default. */
typedef struct coil_http_client_options {
    size_t size;            /* set by the initialiser */
    unsigned per_host_max;  /* requests at a time to one host and port, others wait: 8 */
    unsigned idle_max;      /* unused connections kept, all hosts together: 64 */
    coil_time idle_timeout; /* then one is not used again: 15 s */
    size_t head_max;        /* bytes of a response's header section: 64 KiB, at most 512 KiB */
    uint64_t body_max;      /* bytes of a response's body: no limit */
    unsigned redirects_max; /* followed by coil_http_get(): none, they are responses like others */
    const char *user_agent; /* "coil"; copied */
} coil_http_client_options;

#define COIL_HTTP_CLIENT_OPTIONS_INIT      \
 {                                         \
  .size = sizeof(coil_http_client_options) \
 }

/** Makes a client without connections. @p options may be NULL. Never parks. The caller owns it.
 *  Returns 0, -EINVAL when head_max is too big, user_agent can't stand in a header or the options
 *  have not been initialised, -ENOMEM. */
COIL_API COIL_MUST_CHECK int coil_http_client_new(const coil_http_client_options *options,
                                                  coil_http_client **ret_client);

/** Closes the unused connections and frees @p client; NULL is harmless. All responses must have
 *  been closed before. Parks. */
COIL_API void coil_http_client_free(coil_http_client *client);

/** Fetches @p url: returns when the head of the response is there, whatever its status.
 *
 *  Parks: for a connection when per_host_max are in use, to connect, send and receive. The caller
 *  owns the response and closes it. Returns 0; -EINVAL for what is no URL, -EPROTONOSUPPORT when it
 *  is not http://; why connecting failed (-ECONNREFUSED, ...); -ECONNRESET; -EPROTO when what came
 *  is not HTTP/1.x or ended in the head; -EMSGSIZE for a head over the limits; -ELOOP after
 *  redirects_max redirects; -ETIMEDOUT, -ECANCELED, -ENOMEM. */
COIL_API COIL_MUST_CHECK int coil_http_get(coil_http_client *client, const char *url,
                                           coil_http_response **ret_response);

/** Returns the status code, 200 to 599. */
COIL_API int coil_http_response_status(const coil_http_response *response);

/** Returns the URL that was fetched, in normal form: after redirects the last one. Valid until the
 *  response is closed, like all text that these functions return. */
COIL_API const char *coil_http_response_url(const coil_http_response *response);

/** Returns the value of the first header called @p name, in any case of letters; NULL if there is
 *  none. */
COIL_API const char *coil_http_response_header(const coil_http_response *response,
                                               const char *name);

/** Returns the value of the header number @p index, from 0 on, and its name in *@p ret_name (may be
 *  NULL); NULL after the last one. */
COIL_API const char *coil_http_response_header_at(const coil_http_response *response, size_t index,
                                                  const char **ret_name);

/** Returns the length of the body if the head told it, else -1. */
COIL_API int64_t coil_http_response_length(const coil_http_response *response);

/** Reads what has come of the body, at most @p size bytes (> 0) into @p buffer; parks for the first
 *  byte.
 *
 *  Returns the number of bytes, 0 at the proper end of the body; -EPROTO when the connection ended
 *  before or the coding is broken; -EMSGSIZE beyond body_max; -ECONNRESET. Those errors stay. After
 *  -ETIMEDOUT or -ECANCELED nothing is lost and reading may go on. */
COIL_API COIL_MUST_CHECK ssize_t coil_http_response_read(coil_http_response *response, void *buffer,
                                                         size_t size);

/** Reads the rest of the body, at most @p max bytes, into memory of the response, terminates it
 *  with a NUL (which does not count) and shows it in *@p ret_data. Parks.
 *
 *  Asking again gives the same. Returns its length; -EMSGSIZE when there is more than @p max, then
 *  the body can't be read any more; -ENOMEM; otherwise as coil_http_response_read(). */
COIL_API COIL_MUST_CHECK ssize_t coil_http_response_body(coil_http_response *response, size_t max,
                                                         const char **ret_data);

/** Gives the response up; NULL is harmless. When its body has not been read to the end, the
 *  connection is closed. Always releases. Parks. */
COIL_API void coil_http_response_close(coil_http_response *response);

COIL_END_DECLS

#endif
