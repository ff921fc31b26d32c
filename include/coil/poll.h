/* SPDX-License-Identifier: MIT */
/* coil/poll.h - waiting for foreign descriptors: those of a library that does its own I/O.
 *
 * A database library, a message queue, an inotify descriptor: they say "call me when this can be
 * read". The calling fiber waits, the others go on. What is told is what poll(2) itself says at
 * that moment, exactly: a fiber that was woken for something another one has taken meanwhile goes
 * on waiting.
 *
 * Deadlines come from the scopes (coil/scope.h). Streams are not for this: their input may be in
 * their buffer already.
 */
#ifndef COIL_POLL_H
#define COIL_POLL_H

#include <poll.h>
#include <stddef.h>

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Waits until @p fd has one of @p events (POLLIN, POLLOUT, ...), an error, or a hang-up. Parks.
 *  Returns the events that there are, as poll(2) reports them (> 0); -EBADF when the descriptor is
 *  not open; -ETIMEDOUT or -ECANCELED; -EMFILE, -ENFILE, -ENOMEM as coil_poll().
 *  Like eventlet.hubs.trampoline(). */
COIL_API COIL_MUST_CHECK int coil_poll_fd(int fd, short events);

/** poll(2) for fibers: waits until one of the @p count descriptors of @p fds has something to tell,
 *  and sets all `revents`. Negative descriptors are passed over, those that are not open are told
 *  as POLLNVAL, the same one may be there several times. With none at all it waits for the
 *  deadline. Parks.
 *
 *  Needs memory for more than 16 descriptors, and one more descriptor when it was woken for
 *  nothing (another fiber was faster, or a peer has half-closed). Returns how many have something
 *  to tell (> 0); -ETIMEDOUT or -ECANCELED; -ENOMEM, -EMFILE, -ENFILE; -EINVAL when @p count is
 *  beyond the limit of open files.
 *  After an error `revents` means nothing. Like poll(2), eventlet.green.select.poll(). */
COIL_API COIL_MUST_CHECK int coil_poll(struct pollfd *fds, size_t count);

COIL_END_DECLS

#endif
