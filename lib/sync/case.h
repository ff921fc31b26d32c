/* SPDX-License-Identifier: MIT */
/* What a case of coil/select.h can do, whatever it is about: be tried, queue, and end (case.c).
 * The waiting itself is select.c's, which knows of the kinds only that some are over, and times,
 * whose queue and timer are its own.
 *
 * Invariant: a case that is live has not happened, or may happen again in the next select.
 */
#ifndef COIL_LIB_SYNC_CASE_H
#define COIL_LIB_SYNC_CASE_H

#include <coil/select.h>

#include "core/waitq.h"

enum coil__case_kind {
    COIL__CASE_NONE,
    COIL__CASE_DONE, /* has happened, in coil_wait_x() */
    COIL__CASE_AFTER,
    COIL__CASE_SEND,
    COIL__CASE_RECV,
    COIL__CASE_EVENT,
    COIL__CASE_ACQUIRE,
    COIL__CASE_JOIN,
    COIL__CASE_FLAG,
    COIL__CASE_CAPPED_ACQUIRE,
    COIL__CASE_CAPPED_RELEASE,
    COIL__CASE_LOCK,
    COIL__CASE_WAITGROUP,
};

/* Whether it could still happen. */
static inline bool coil__case_is_live(const coil_case *it)
{
    return it->kind > COIL__CASE_DONE;
}

/* Makes `it` happen if that is possible at once: true, and its result is set. */
bool coil__case_try(coil_case *it);

/* Has waiter `index` of `choice` wait for it; not for COIL__CASE_AFTER. */
void coil__case_queue(coil_case *it, struct coil__choice *choice, size_t index);

/* Its waiter was woken with `result`: hands the caller what came with it. */
void coil__case_finish(coil_case *it, int result);

#endif
