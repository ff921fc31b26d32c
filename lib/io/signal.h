/* SPDX-License-Identifier: MIT */
/* Signals as events of a fiber: a descriptor that becomes readable when one arrives.
 *
 * A watch installs a handler for its signals and restores what was there before at its end. The
 * handler only counts, and writes to the watch's eventfd, which a fiber reads through the ring: it
 * needs no blocked masks (other threads keep theirs) and is safe wherever the signal strikes.
 */
#ifndef COIL_LIB_IO_SIGNAL_H
#define COIL_LIB_IO_SIGNAL_H

#include <coil/signal.h>

enum {
    COIL__SIGNAL_WATCHES_MAX = 32, /* in the process */
};

/* Begins to watch the signals in `signals`. Returns the watch's number, -EAGAIN when all are taken,
 * -EINVAL for a signal that can't be handled, or why no eventfd could be had. Any thread. */
int coil__signal_watch(const sigset_t *signals);

/* The same for what asks a server to stop: SIGTERM and SIGINT. */
int coil__signal_watch_stop(void);

/* Parks until one of the signals has come that no call has told yet. Returns its number or an
 * interruption. One fiber at a time. */
int coil__signal_wait(int watch);

void coil__signal_unwatch(int watch);

#endif
