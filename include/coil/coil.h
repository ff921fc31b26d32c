/* SPDX-License-Identifier: MIT */
/* coil/coil.h - everything: green threads for C, wound on io_uring.
 *
 * Write plain blocking code; each connection gets a fiber; one thread serves a hundred thousand of
 * them. Start with coil/run.h and coil/fiber.h, then coil/stream.h and coil/listener.h;
 * coil/scope.h explains deadlines and cancellation.
 */
#ifndef COIL_COIL_H
#define COIL_COIL_H

#include <coil/address.h>
#include <coil/backdoor.h>
#include <coil/barrier.h>
#include <coil/base.h>
#include <coil/capped_sem.h>
#include <coil/chan.h>
#include <coil/cond.h>
#include <coil/connpool.h>
#include <coil/core.h>
#include <coil/dir.h>
#include <coil/dump.h>
#include <coil/event.h>
#include <coil/fiber.h>
#include <coil/file.h>
#include <coil/flag.h>
#include <coil/group.h>
#include <coil/http.h>
#include <coil/http_client.h>
#include <coil/imap.h>
#include <coil/listener.h>
#include <coil/listeners.h>
#include <coil/local.h>
#include <coil/log.h>
#include <coil/mutex.h>
#include <coil/offload.h>
#include <coil/once.h>
#include <coil/path.h>
#include <coil/pile.h>
#include <coil/poll.h>
#include <coil/pool.h>
#include <coil/process.h>
#include <coil/remote.h>
#include <coil/respool.h>
#include <coil/rmutex.h>
#include <coil/run.h>
#include <coil/rwlock.h>
#include <coil/scope.h>
#include <coil/select.h>
#include <coil/sem.h>
#include <coil/signal.h>
#include <coil/stats.h>
#include <coil/stdio.h>
#include <coil/stream.h>
#include <coil/udp.h>
#include <coil/unix.h>
#include <coil/url.h>
#include <coil/waitgroup.h>
#include <coil/watchdog.h>
#include <coil/xchan.h>
#include <coil/xsem.h>

#endif
