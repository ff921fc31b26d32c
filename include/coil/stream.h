/* SPDX-License-Identifier: MIT */
/* coil/stream.h - byte streams with buffering built in.
 *
 * One interface for TCP and unix sockets, pipes, terminals, files and whatever else is adopted.
 * Calls look blocking and park the fiber instead.
 *
 * Reading takes from what has been received; only when that is not enough does the fiber park.
 * A result of 0 bytes is the end of the input.
 *
 * Writing appends to the stream's output buffer. The bytes leave when the buffer is full, at
 * coil_flush() and coil_close(), and, so that no forgotten flush can deadlock a protocol, before
 * any read on the same stream that has to park: the replies to all requests that came in one packet
 * leave in one send. A failed send shows at the next write, flush or close, and at every one after:
 * a program that checks its reads and the close may ignore the writes' results. It shows at a read
 * only where that could wait for ever, for the next request of a peer that got no answer: a send
 * that failed with nobody to tell, and not because the peer is gone (-ENOMEM, say), ends the input,
 * too, with its error behind the bytes that have come.
 *
 * A write is all or error. One that a deadline or a cancellation interrupts before any of its bytes
 * was taken can be tried again; after that the stream's write side has failed for good, since
 * nobody could tell where to go on (coil_stream_sent() tells how much went out).
 *
 * One fiber may read while another writes. A second reader or writer gets -EBUSY, and the log
 * names both. Closing under a waiting fiber makes its call return -EBADF.
 *
 * Errors common to all: -ETIMEDOUT and -ECANCELED (coil/scope.h); -ECONNRESET when the peer reset
 * the connection; -EPIPE when it no longer reads; -ENOMEM. Buffers cost an idle stream nothing:
 * both directions borrow them while there is something to hold.
 *
 * A stream is 352 bytes while both directions have nothing to hold.
 */
#ifndef COIL_STREAM_H
#define COIL_STREAM_H

#include <coil/address.h>
#include <coil/base.h>
#include <sys/uio.h>

COIL_BEGIN_DECLS

typedef struct coil_stream coil_stream;

/* ---- Reading ---- */

/** Reads what is there, at most @p size bytes (> 0) into @p buffer; parks for the first byte.
 *  Returns the number of bytes, 0 at the end. Like read(2), socket.recv(). */
COIL_API COIL_MUST_CHECK ssize_t coil_read(coil_stream *stream, void *buffer, size_t size);

/** Reads exactly @p size bytes. Parks until all are there.
 *  Returns @p size, or what there was before the end (0 = none). On an error, *@p ret_len (may be
 *  NULL) tells how many bytes were consumed into @p buffer before it. */
COIL_API COIL_MUST_CHECK ssize_t coil_read_full(coil_stream *stream, void *buffer, size_t size,
                                                size_t *ret_len);

/** Reads a line up to and including its newline, and terminates it with a NUL.
 *
 *  Parks until the newline has come. Returns the length with the newline and without the NUL; a
 *  last line without a newline is returned as it is; 0 at the end. A line that does not fit in
 *  @p size - 1 bytes is -EMSGSIZE and stays in the stream: coil_skip_line() drops it. A NUL byte in
 *  the line is data like any other. Like file.readline(). */
COIL_API COIL_MUST_CHECK ssize_t coil_read_line(coil_stream *stream, char *buffer, size_t size);

/** Reads up to and including the first byte @p delimiter: otherwise as coil_read_line(). */
COIL_API COIL_MUST_CHECK ssize_t coil_read_until(coil_stream *stream, char *buffer, size_t size,
                                                 char delimiter);

/** Drops input up to and including the next newline, however far. Parks.
 *  Returns 1, or 0 when the input ended first. */
COIL_API COIL_MUST_CHECK int coil_skip_line(coil_stream *stream);

/** Shows received bytes in place, without consuming them. Parks until at least @p need bytes (> 0)
 *  are there in one piece, or the input ends.
 *
 *  Returns the number of bytes at *@p ret_data, fewer than @p need only at the end of the input
 *  (0 = none left). They belong to the stream and are valid until the next call that reads from it.
 *  -EMSGSIZE when @p need is beyond 1 MiB. */
COIL_API COIL_MUST_CHECK ssize_t coil_peek(coil_stream *stream, size_t need, const char **ret_data);

/** Consumes @p size of the bytes that coil_peek() showed. Never parks. */
COIL_API void coil_consume(coil_stream *stream, size_t size);

/** Returns whether the peer has sent nothing that was not read, not even its end: a connection that
 *  was idle can then be used for the next request. Parks, but only to let others run; an
 *  interruption does not matter. */
COIL_API COIL_MUST_CHECK bool coil_stream_is_silent(coil_stream *stream);

/** Marks that the stream is between two messages: a graceful stop of the server ends the next read
 *  at once, as if the peer had closed, unless input is there. The next byte of input ends the
 *  mark. Never parks. */
COIL_API void coil_stream_idle(coil_stream *stream);

/* ---- Writing ---- */

/** Writes @p size bytes. Parks only when they do not fit in the output buffer (16 KiB).
 *  Returns 0: all bytes are accepted. */
COIL_API int coil_write(coil_stream *stream, const void *data, size_t size);

/** Writes the @p count pieces of @p pieces, as one coil_write(). Like writev(2). */
COIL_API int coil_writev(coil_stream *stream, const struct iovec *pieces, int count);

/** Formats and writes. The text may have at most 64 KiB; beyond, -EMSGSIZE and nothing written.
 *  Formats on the scheduler's stack, so it costs a fiber's stack little. Returns 0. */
COIL_API int coil_printf(coil_stream *stream, const char *format, ...) COIL_PRINTF(2, 3);

/** Writes the @p size bytes at @p offset of the file @p fd, or up to its end, as one coil_write():
 *  in order behind what was written, and no other fiber's bytes between them. With offset
 *  COIL_FILE_POSITION (coil/file.h) @p fd may be a pipe; then bytes are sent as they come. Parks.
 *
 *  *@p ret_sent (may be NULL) tells how many bytes the stream has taken, also after an error.
 *  Returns 0, with fewer than @p size only when the file ended. Errors are those of coil_write(),
 *  after which the output has failed, and of coil_file_read(), after which it has not: an
 *  interruption while the file is read can be made good from *@p ret_sent on. coil_flush() tells
 *  which. Like sendfile(2), socket.sendfile(). */
COIL_API int coil_sendfile(coil_stream *stream, int fd, uint64_t offset, uint64_t size,
                           uint64_t *ret_sent);

/** Sends what has been written, and parks until the kernel has accepted it all. Returns 0. */
COIL_API int coil_flush(coil_stream *stream);

/** Sends what has been written, then ends the output: the peer reads the end of its input. Reading
 *  goes on. Parks. Returns 0. Like shutdown(2) with SHUT_WR. */
COIL_API int coil_shutdown(coil_stream *stream);

/** Returns how many bytes the kernel has accepted from this stream so far. */
COIL_API uint64_t coil_stream_sent(const coil_stream *stream);

/* ---- Life ---- */

/** Sends what has been written (within the caller's scope), closes and frees; NULL is harmless.
 *
 *  Always closes, also in an expired scope or a cancelled fiber: then unsent output is dropped.
 *  Parks. Returns 0, or the error that kept output from being sent. */
COIL_API int coil_close(coil_stream *stream);

/** Makes the close linger: after the output's end, input is read and dropped until the peer closes,
 *  at most for @p timeout and @p bytes. Without it, a peer that is still sending may lose the last
 *  reply to a reset. 0 bytes switches it off (the default). */
COIL_API void coil_stream_linger(coil_stream *stream, coil_time timeout, size_t bytes);

/** Makes a stream of the descriptor @p fd, which it owns from now on, also on failure: a connected
 *  stream socket, a pipe, a FIFO, a terminal, a device, a file. Never parks.
 *
 *  O_NONBLOCK is taken off a socket. Anything else may share its mode with other processes, a
 *  terminal with the user's shell: there it stays as it is, and makes no difference. A direction
 *  that the descriptor was not opened for gives -EBADF. Reading takes no more than a waiting reader
 *  asks for, in pieces of 16 KiB, and the close moves a file's position back to the first byte that
 *  nobody has read; writing begins at that position. coil_shutdown() of what can only be written to
 *  closes the descriptor, anything but a socket that can be read too gives -EOPNOTSUPP. Writing
 *  into a pipe without a reader is -EPIPE; no SIGPIPE is raised.
 *  Returns 0; -EBADF, -EPROTOTYPE (a socket, but not SOCK_STREAM), -EISDIR, -EINVAL (opened with
 *  O_PATH), -ENOMEM. Like eventlet's GreenPipe. */
COIL_API COIL_MUST_CHECK int coil_adopt(int fd, coil_stream **ret_stream);

/** Makes a pipe: what is written to *@p ret_writer can be read from *@p ret_reader. Never parks.
 *  Its descriptors are close-on-exec. Returns 0, -EMFILE, -ENFILE or -ENOMEM. Like pipe(2). */
COIL_API COIL_MUST_CHECK int coil_pipe(coil_stream **ret_reader, coil_stream **ret_writer);

/** Connects to @p address: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract", "host:80".
 *  @p local (may be NULL) is the address to connect from. Parks.
 *
 *  A name is looked up by the C library in a thread (coil/offload.h), and its addresses are tried
 *  one after the other; the last one's error is returned. Returns 0; -EINVAL for an address that
 *  can't be read; -ENXIO for a name that nobody has, -EAGAIN when no name server answered,
 *  -EREMOTEIO when one failed; -EAFNOSUPPORT when no address is of the kind of @p local; or the
 *  kernel's reason (-ECONNREFUSED, -ENOENT, ...). Like eventlet.connect(). */
COIL_API COIL_MUST_CHECK int coil_connect(const char *address, const char *local,
                                          coil_stream **ret_stream);

/** Moves @p stream to core @p core (coil/core.h), where a fiber runs @p handler(stream, @p arg) and
 *  closes it afterwards. Bytes that were not read and bytes that were not sent move with it, also
 *  those under way: nothing is lost while the peer goes on sending. Other fibers inside a call on
 *  it leave with -EBADF. Parks until the fiber is made, which nothing interrupts.
 *
 *  For accepting on one core, looking at the first bytes (coil_peek()), and handing the connection
 *  to the core that owns what it asks for. So the stream may be one that coil_serve() or a move has
 *  lent to a handler: that one may return at once, and whoever called it leaves the stream alone. A
 *  connection stays its server's, however far it is moved: it counts for the limit of connections
 *  and closes within the close_timeout; a stop ends its idle reads, waits for its last handler, and
 *  cancels that after the grace (coil/listener.h). Only the result of @p handler does not concern
 *  the server: a negative one is unhandled (coil/fiber.h), unless it is -ECONNRESET or -EPIPE.
 *
 *  @p stream is gone, also after a failure, which closes it. Not from within coil_http_serve() and
 *  its sisters, which go on with the stream: that stops the program. Returns 0; -EINVAL when there
 *  is no such core; -EOPNOTSUPP for what is no socket, and for standard streams; -ENOMEM; or what
 *  coil_on() returns. */
COIL_API COIL_MUST_CHECK int coil_stream_move(coil_stream *stream, unsigned core,
                                              int (*handler)(coil_stream *stream, void *arg),
                                              void *arg);

/** Stores the peer's address as text, in the form that coil_connect() takes ("unix:" when it has no
 *  name). COIL_ADDRESS_SIZE bytes always suffice. Never parks.
 *  Returns the length; -ENOBUFS when @p size is too small; -ENOTCONN. */
COIL_API int coil_stream_peer(const coil_stream *stream, char *ret_text, size_t size);

/** Stores the stream's own address, as coil_stream_peer() does. */
COIL_API int coil_stream_local(const coil_stream *stream, char *ret_text, size_t size);

/** Returns the descriptor, for setsockopt(2) and the like; do not read, write or close it. */
COIL_API int coil_stream_fd(const coil_stream *stream);

COIL_END_DECLS

#endif
