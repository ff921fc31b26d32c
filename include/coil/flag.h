/* SPDX-License-Identifier: MIT */
/* coil/flag.h - a condition that is true or not, and can be waited for.
 *
 * A flag is set or clear, and a fiber that waits goes on as soon as it is set: "connected", "there
 * is work", "stop". Setting lets all go who wait at that time, even if the flag is cleared before
 * they run; so what a flag says may be over when its waiter looks. For something that happens once
 * and brings a value see coil/event.h.
 *
 * The struct (24 bytes) lives in the caller's storage, owns nothing, and may go as soon as nobody
 * waits, also before those who were let go have run.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_FLAG_H
#define COIL_FLAG_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_flag {
    struct coil__waitq waiters; /* private, as all fields */
    bool is_set;
} coil_flag;

/** Makes @p flag a clear one. Never fails; needs no counterpart. */
COIL_API void coil_flag_init(coil_flag *flag);

/** Sets @p flag and lets all who wait go on, in the order in which they came; harmless if it is
 *  set. Never parks and switches to none of them. Like gevent.event.Event.set(). */
COIL_API void coil_flag_set(coil_flag *flag);

/** Clears @p flag; harmless if it is clear. Never parks. Like gevent's Event.clear(). */
COIL_API void coil_flag_clear(coil_flag *flag);

/** Waits until @p flag is set; at once if it is. Parks.
 *  Returns 0, or -ETIMEDOUT or -ECANCELED, also when it is set. Like gevent's Event.wait(). */
COIL_API COIL_MUST_CHECK int coil_flag_wait(coil_flag *flag);

/** Returns whether @p flag is set. Never parks. Like gevent's Event.is_set(). */
COIL_API bool coil_flag_is_set(const coil_flag *flag);

COIL_END_DECLS

#endif
