/* SPDX-License-Identifier: MIT */
/* coil/event.h - something that happens once: a value or a failure, for any number of fibers.
 *
 * An event starts unset. coil_event_set() gives it a value, coil_event_fail() an error; all fibers
 * that wait get it, and so does everyone who asks later, without parking. It can't be given twice:
 * the second try is refused, because two fibers that both believe they settled the matter are a
 * mistake. coil_event_reset() makes it unset again.
 *
 * What is given to the fibers that wait is theirs: a reset, or the end of the event's storage,
 * before they run takes nothing back. The event (32 bytes) lives in the caller's storage, never
 * looks at the value, and owns nothing while nobody waits.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_EVENT_H
#define COIL_EVENT_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_event {
    struct coil__waitq waiters; /* private, as all fields */
    void *value;
    int result;
    bool is_set;
} coil_event;

/** Makes @p event unset. Never fails; needs no counterpart. */
COIL_API void coil_event_init(coil_event *event);

/** Gives @p event the value @p value (may be NULL), for all present and later waiters, who run in
 *  the order in which they came. Never parks and switches to none of them.
 *  Returns 0, or -EALREADY when the event has been set or failed. Like eventlet's Event.send(). */
COIL_API COIL_MUST_CHECK int coil_event_set(coil_event *event, void *value);

/** Makes @p event fail: all present and later waits return @p error, a negative errno; anything
 *  else stops the program. Never parks. Returns 0, or -EALREADY as above. Like
 *  Event.send_exception(). */
COIL_API COIL_MUST_CHECK int coil_event_fail(coil_event *event, int error);

/** Waits until @p event is set and stores its value in *@p ret_value (may be NULL). Parks.
 *
 *  Returns 0 with the value; the error of coil_event_fail(); or -ETIMEDOUT or -ECANCELED of the
 *  calling fiber's scopes, also when the event is set. coil_scope_leave() tells an own timeout from
 *  an event that failed with -ETIMEDOUT. Like Event.wait(). */
COIL_API COIL_MUST_CHECK int coil_event_wait(coil_event *event, void **ret_value);

/** Returns whether @p event has been set or has failed. Never parks. Like Event.ready(). */
COIL_API bool coil_event_is_set(const coil_event *event);

/** Makes @p event unset, to be used again; harmless if it is. Fibers that were given the last value
 *  keep it, those that wait for the next one go on waiting. Never parks. Like Event.reset(). */
COIL_API void coil_event_reset(coil_event *event);

COIL_END_DECLS

#endif
