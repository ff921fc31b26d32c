/* SPDX-License-Identifier: MIT */
/* coil/http.h - an HTTP/1.1 server for applications in plain blocking code.
 *
 *     static int hello(coil_http_request *request, void *arg)
 *     {
 *         return coil_http_respond(request, 200, "text/plain", "Hello, World!", 13);
 *     }
 *
 *     coil_http_serve(listener, hello, NULL, NULL);
 *
 * Each connection is a fiber that reads a request, calls the application and goes on to the next
 * one: persistent connections and pipelining, on HTTP/1.0 and 1.1, need nothing from it. Replies
 * collect in the stream's buffer and leave when the connection waits for input, so those to all
 * requests that came together leave in one send.
 *
 * The server decides how a response is framed (a length, chunks, or the end of the connection),
 * answers HEAD without a body and malformed requests without asking the application, keeps every
 * limit of coil_http_options, and drains or cuts what the application did not read. After a reply
 * to a client that may still be sending, the connection lingers, so that the reply can be read.
 *
 * A request lives until the application returns, and belongs to the fiber that was called with it.
 * Strings that it hands out are NUL-terminated and live as long; no header can hold a NUL. Errors
 * of writing are those of coil/stream.h, and end the connection: an application may return them as
 * they are.
 *
 * A request is 3,592 bytes, mostly room for its headers, of a pool of the core: a connection that
 * waits for the next one holds none, and is a stream and a fiber.
 */
#ifndef COIL_HTTP_H
#define COIL_HTTP_H

#include <coil/base.h>
#include <coil/listener.h>
#include <coil/listeners.h>
#include <coil/stream.h>

COIL_BEGIN_DECLS

typedef struct coil_http_request coil_http_request;

/** Answers one request. @p arg is that of coil_http_serve().
 *
 *  Returns 0 or more when the answer is given. A negative result (or no answer: -ENODATA for the
 *  hook) makes the server answer 500, or 413, 400 or 408 when reading the body has failed; once an
 *  answer has begun, it cuts the connection instead, so that the client can tell. The result then
 *  goes to the hook of the serve options. */
typedef int coil_http_app(coil_http_request *request, void *arg);

/** Options of coil_http_serve(); start from COIL_HTTP_OPTIONS_INIT. Zero means the default.
 *
 *  A request's body is late (408) when nothing comes for body_timeout, or when all waits for it
 *  together take longer than body_timeout and a second for every body_rate_min bytes that have
 *  come. A chunked one may come to body_max and 64 KiB with all that frames it (413). */
typedef struct coil_http_options {
    size_t size;                     /* set by the initialiser */
    const coil_serve_options *serve; /* concurrency, stop and hook (coil/listener.h) */
    coil_time header_timeout;        /* from a request's first byte to the end of its head: 30 s;
                                        then the connection is closed, without an answer */
    coil_time idle_timeout;          /* between two requests: 60 s */
    coil_time body_timeout;          /* for the next bytes of a request's body: 30 s */
    coil_time write_timeout;         /* for 256 KiB of a response: 60 s */
    size_t request_line_max;         /* bytes, beyond it 414: 8192 */
    size_t header_line_max;          /* bytes, beyond it 431: 8192 */
    size_t headers_max;              /* bytes of all header lines, beyond it 431: 65,536 */
    uint64_t body_max;               /* bytes of a request's body, beyond it 413: 1 MiB */
    const char *server_name;         /* value of the Server header; NULL for none (the default) */
    bool close_always;               /* one request per connection */
    unsigned body_rate_min;          /* of a request's body, see above: 500 bytes a second */
} coil_http_options;

#define COIL_HTTP_OPTIONS_INIT      \
 {                                  \
  .size = sizeof(coil_http_options) \
 }

/** Serves HTTP on @p listener: @p app is called with each request and @p arg, in the fiber of its
 *  connection. @p options may be NULL.
 *
 *  Parks until it is stopped; starts, stops and returns like coil_serve(), and coil_serve_stop()
 *  stops it: idle connections end at once, requests under way are answered with
 *  `Connection: close`. -EINVAL for request_line_max and headers_max that are together, each or by
 *  default, more than 1,048,572 bytes (1 MiB with two line ends), a header_line_max over that, a
 *  server_name with control bytes, or options without their initialiser, those in `serve`
 *  included. Like eventlet.wsgi.server(). */
COIL_API COIL_MUST_CHECK int coil_http_serve(coil_listener *listener, coil_http_app *app, void *arg,
                                             const coil_http_options *options);

/** Serves HTTP on every core (coil/listeners.h): coil_http_serve() with the listener of each. @p
 *  app is called on the core that got the connection, so at the same time on several.
 *
 *  Parks; starts, stops and returns as coil_serve_cores() does, and coil_serve_cores_stop() stops
 *  it. -EINVAL as above. */
COIL_API COIL_MUST_CHECK int coil_http_serve_cores(coil_listeners *listeners, coil_http_app *app,
                                                   void *arg, const coil_http_options *options);

/** Serves the requests of one connection, for servers with an accept loop of their own. Parks until
 *  the connection is to be closed, which is the caller's business. Until then it is neither to be
 *  closed nor moved to another core (which asserts); before and afterwards it may be.
 *
 *  options->serve matters for its hook only. Returns 0, also when the peer was at fault; -ETIMEDOUT
 *  or -ECANCELED; -ENOMEM; -EINVAL as above. */
COIL_API COIL_MUST_CHECK int coil_http_serve_stream(coil_stream *stream, coil_http_app *app,
                                                    void *arg, const coil_http_options *options);

/* ---- The request ---- */

/** Returns the method as sent: "GET". Methods are case-sensitive. */
COIL_API const char *coil_http_method(const coil_http_request *request);

/** Returns the target of the request line as sent: "/a%20b?c", and rarely "http://host/a?b", "*" or
 *  "host:port" (CONNECT). */
COIL_API const char *coil_http_target(const coil_http_request *request);

/** Decodes the path of the target (no query, no host) into @p ret_path: "/a b". It begins with a
 *  slash, except for "*" and the target of CONNECT, which are stored as they are.
 *
 *  "%2F" becomes a slash and ".." stays: check where the path leads after decoding, not before.
 *  Returns the length; -ENAMETOOLONG when it does not fit in @p size - 1 bytes; -EINVAL for '%'
 *  without two hex digits or "%00". */
COIL_API COIL_MUST_CHECK ssize_t coil_http_path(const coil_http_request *request, char *ret_path,
                                                size_t size);

/** Returns what follows the target's first '?', as sent: "" when nothing does, NULL without one. */
COIL_API const char *coil_http_query(const coil_http_request *request);

/** Returns the version times 10: 11 for HTTP/1.1 (and any later 1.x), 10 for HTTP/1.0. */
COIL_API int coil_http_version(const coil_http_request *request);

/** Returns the value of the first header called @p name, in any case; NULL when there is none. */
COIL_API const char *coil_http_header(const coil_http_request *request, const char *name);

/** Stores name and value of the header at @p index, counted from 0 in the order sent, as sent.
 *  Returns false when there are not so many. */
COIL_API bool coil_http_header_at(const coil_http_request *request, size_t index,
                                  const char **ret_name, const char **ret_value);

/** Stores the client's address as coil_stream_peer() does. */
COIL_API int coil_http_peer(const coil_http_request *request, char *ret_text, size_t size);

/** Returns the length of the body if the client has told it, -1 for a chunked one; 0: no body. */
COIL_API int64_t coil_http_content_length(const coil_http_request *request);

/** Reads the request's body, whatever its framing: what is there, at most @p size bytes (> 0).
 *
 *  Parks. The first call answers `Expect: 100-continue`, unless the response has begun. Returns the
 *  number of bytes, 0 at the end, and then on every call one of these: -EMSGSIZE beyond body_max,
 *  -EPROTO for a broken chunked coding, -ECONNRESET when the body ended too early, -ETIMEDOUT when
 *  it came too slowly; or, to be tried again, an interruption by the caller's scope. */
COIL_API COIL_MUST_CHECK ssize_t coil_http_read(coil_http_request *request, void *buffer,
                                                size_t size);

/* ---- The response ---- */

/** Sets a header of the response, in place of others of that name. Never parks.
 *
 *  Returns 0; -EINVAL when the name is no token, the value holds CR, LF, NUL or another control
 *  byte, or the header frames the message and is the server's (Content-Length, Transfer-Encoding,
 *  Connection, Keep-Alive, Upgrade, Trailer) or there are more than 64 KiB of them; -EALREADY when
 *  the response has begun; -ENOMEM. */
COIL_API int coil_http_header_set(coil_http_request *request, const char *name, const char *value);

/** Adds a header to the response, beside others of that name. Otherwise as
 *  coil_http_header_set(). */
COIL_API int coil_http_header_add(coil_http_request *request, const char *name, const char *value);

/** Closes the connection after this response. Counts until the response begins. Never parks. */
COIL_API void coil_http_close(coil_http_request *request);

/** Gives the whole answer: @p status (200 to 599), @p len bytes at @p body, and their type, which
 *  replaces a Content-Type that was set before, and may be NULL for none. Parks only when the
 *  stream's buffer has no room.
 *
 *  With a status that excludes a body (204, 304), none is sent. Returns 0; -EINVAL for the status
 *  or a type with control bytes; -EALREADY when the response has begun; or why it can't be
 *  written. */
COIL_API int coil_http_respond(coil_http_request *request, int status, const char *content_type,
                               const void *body, size_t len);

/** For coil_http_begin(): a body whose length is not known yet. */
#define COIL_HTTP_UNKNOWN (-1)

/** Begins an answer whose body comes by coil_http_write(): @p length bytes, or COIL_HTTP_UNKNOWN,
 *  which sends chunks, or to HTTP/1.0 ends with the connection. A client that asks before it sends
 *  the body of its request (Expect: 100-continue) is told to by coil_http_read() only before this.
 *  Otherwise as coil_http_respond(). */
COIL_API int coil_http_begin(coil_http_request *request, int status, const char *content_type,
                             int64_t length);

/** Writes @p size bytes of the body; none is harmless. Parks when the stream's buffer is full.
 *
 *  Nothing is sent of it when the response has no body (HEAD, 204, 304). Returns 0; -EMSGSIZE, with
 *  nothing written, beyond the length promised; -EINVAL before coil_http_begin() or after the end;
 *  or why it can't be written. */
COIL_API int coil_http_write(coil_http_request *request, const void *data, size_t size);

/** Sends what has been written so far, for answers that come in time. Parks. Returns 0. */
COIL_API int coil_http_flush(coil_http_request *request);

/** Ends the body; the server does it when the application returns without. Parks rarely.
 *
 *  Returns 0; -EMSGSIZE when bytes are missing from the promised length: the connection is cut;
 *  -EINVAL before coil_http_begin(); or why it can't be written. */
COIL_API int coil_http_end(coil_http_request *request);

/* ---- Help ---- */

/** Stores the time @p seconds after 1970 in the form of HTTP headers, "Sun, 06 Nov 1994 08:49:37
 *  GMT", in COIL_HTTP_DATE_SIZE bytes; clamped to the years 0 to 9999. Any thread. */
COIL_API void coil_http_date(int64_t seconds, char *ret_text);

#define COIL_HTTP_DATE_SIZE 30

COIL_END_DECLS

#endif
