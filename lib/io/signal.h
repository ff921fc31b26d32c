/* SPDX-License-Identifier: MIT */
/* Signals as events of a fiber: a descriptor that becomes readable when one arrives.
 *
 * A watch installs a handler for its signals and restores what was there before at its end. The
 * handler only writes to the watch's eventfd, which a fiber reads through the ring: it needs no
 * blocked masks (other threads keep theirs) and is safe wherever the signal strikes.
 */
#ifndef COIL_LIB_IO_SIGNAL_H
#define COIL_LIB_IO_SIGNAL_H

#include <signal.h>

enum {
    COIL__SIGNAL_WATCHES_MAX = 16, /* in the process: one per server that asked */
};

/* Begins to watch the signals in `signals`. Returns the watch's number, -EAGAIN when all are taken,
 * or why no eventfd could be had. Any thread. */
int coil__signal_watch(const sigset_t *signals);

/* Parks until one of the signals has come since the last call. Returns 0 or an interruption. */
int coil__signal_wait(int watch);

void coil__signal_unwatch(int watch);

#endif
