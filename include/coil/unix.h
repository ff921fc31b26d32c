/* SPDX-License-Identifier: MIT */
/* coil/unix.h - what unix sockets carry besides bytes: descriptors, and who the peer is.
 *
 * A descriptor that is passed arrives in the other process as a new one for the same open file,
 * like dup(2) across processes; the sender keeps its own.
 *
 * On a stream it travels with bytes, in order with everything written before. The receiver says
 * first that it wants descriptors (coil_stream_want_fds()), then reads as it likes, by lines or
 * otherwise; descriptors can be taken as soon as the bytes that they came with have been read, not
 * earlier:
 *
 *     coil_stream_want_fds(stream, 8);
 *     coil_read_line(stream, line, sizeof line);      (the peer: coil_send_fds(..., "log\n", ...))
 *     if (coil_take_fds(stream, &fd, 1) == 1)
 *         ...
 *
 * Descriptors never leak: what arrives unwanted, or beyond what was asked for, is closed, and so is
 * at the close of the stream what nobody took. What the process has no room for (RLIMIT_NOFILE) is
 * closed by the kernel, which does not tell how much that was. That there were such is told, by
 * coil_stream_fds_lost() and coil_datagram.has_lost_fds. All are close-on-exec.
 *
 * With a datagram they come and go as one.
 */
#ifndef COIL_UNIX_H
#define COIL_UNIX_H

#include <coil/base.h>
#include <coil/stream.h>
#include <coil/udp.h>

COIL_BEGIN_DECLS

/** Descriptors that one call can pass: the kernel's limit. */
#define COIL_FDS_MAX 253

/* ---- Streams ---- */

/** Sends what was written before, then @p size bytes (> 0) and the @p count descriptors of @p fds
 *  (1 to COIL_FDS_MAX) with the first of them. Parks until the kernel has accepted all.
 *  Returns 0; -EINVAL; -EBADF for what is no descriptor (nothing is sent then), or when the stream
 *  is closed meanwhile; -EOPNOTSUPP when it is no unix socket; -ETOOMANYREFS when too many are on
 *  their way; else as coil_write(), with the same rules for an interruption. */
COIL_API int coil_send_fds(coil_stream *stream, const void *data, size_t size, const int *fds,
                           size_t count);

/** Keeps the descriptors that the peer passes from now on, at most @p max (1 to 1,024) that were
 *  not taken; more are closed, with a word in the log. Without it all are closed. Call it before
 *  the first read: those that come with bytes received earlier are lost. A reader that waits then
 *  holds a buffer of 16 KiB. Calling it again does nothing. Never parks.
 *  Returns 0; -EINVAL; -EOPNOTSUPP when it is no unix socket; -EBUSY when reading has begun;
 *  -ENOMEM. */
COIL_API COIL_MUST_CHECK int coil_stream_want_fds(coil_stream *stream, size_t max);

/** Takes the descriptors that came with the bytes read so far: the oldest @p max to @p ret_fds,
 *  which are the caller's then; the others that came with these bytes are closed. Never parks.
 *  Returns how many. */
COIL_API COIL_MUST_CHECK int coil_take_fds(coil_stream *stream, int *ret_fds, size_t max);

/** coil_read() followed by coil_take_fds(): *@p ret_count is their number, set on success only.
 *  Returns the number of bytes, 0 at the end. Parks. Like recvmsg(2) with SCM_RIGHTS. */
COIL_API COIL_MUST_CHECK ssize_t coil_recv_fds(coil_stream *stream, void *data, size_t size,
                                               int *ret_fds, size_t max, size_t *ret_count);

/** Returns whether descriptors that came, with bytes read or not, have been closed since the last
 *  call: more than coil_stream_want_fds() or coil_take_fds() had room for, or the process has.
 *  Never parks. Like MSG_CTRUNC in recvmsg(2). */
COIL_API bool coil_stream_fds_lost(coil_stream *stream);

/** Who is at the other end: a process as it was when it connected or listened. 12 bytes. */
typedef struct coil_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
} coil_credentials;

/** Stores the credentials of the peer, vouched for by the kernel. Never parks.
 *  Returns 0; -EOPNOTSUPP when @p stream is no unix socket. Like SO_PEERCRED in unix(7). */
COIL_API COIL_MUST_CHECK int coil_stream_credentials(const coil_stream *stream,
                                                     coil_credentials *ret_credentials);

/* ---- Datagrams ---- */

/** Sends @p item (see coil_udp_send_batch()) with the @p count descriptors of @p fds (1 to
 *  COIL_FDS_MAX). Parks as coil_udp_send().
 *  Returns 0; -EINVAL; -EBADF; -EOPNOTSUPP when it is no unix socket; as coil_udp_send(). */
COIL_API int coil_udp_send_fds(coil_udp *udp, const coil_datagram *item, const int *fds,
                               size_t count);

/** Receives a datagram into @p item (see coil_udp_recv_batch()) and the descriptors that came with
 *  it: the first @p max to @p ret_fds, the others are closed, as has_lost_fds then says. Other
 *  receives close all. Parks.
 *  Returns how many; -EOPNOTSUPP when it is no unix socket; as coil_udp_recv(). */
COIL_API COIL_MUST_CHECK int coil_udp_recv_fds(coil_udp *udp, coil_datagram *item, int *ret_fds,
                                               size_t max);

COIL_END_DECLS

#endif
