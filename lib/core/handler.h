/* SPDX-License-Identifier: MIT */
/* Signal handlers that come and go: put in place, and taken away without harm to others.
 *
 * What was there before comes back only where our own handler is still in place. Whoever has
 * installed one over it since then keeps it, and may go on calling ours: a handler of coil that
 * nobody needs any more does nothing. If such a one is taken away later and gives the signal back
 * to ours, that counts as ours, and the next removal restores what was there in the first place,
 * also if ours has been over that other one in between.
 *
 * There is no system call that compares and sets: who changes the same signal at the same moment in
 * another thread may still be overwritten. The caller holds a lock against coil itself.
 */
#ifndef COIL_LIB_CORE_HANDLER_H
#define COIL_LIB_CORE_HANDLER_H

#include <signal.h>
#include <stdbool.h>

#include <coil/base.h>

enum {
    COIL__SIGNALS_END = 65, /* one past the highest signal number of Linux */
};

/* What ours has been installed over; zeroed at first. */
struct coil__handler {
    struct sigaction previous;
    struct sigaction first; /* previous, when ours was last buried */
    bool is_buried;         /* ours is in place, or was, and another one over it */
};

/* Whether `ours` is in place for signal `number`. */
bool coil__handler_is(int number, const struct sigaction *ours);

/* Puts `ours` in place, and what was there into `handler->previous`; where ours is there already,
 * that stays, or becomes what it was before ours was buried. Returns 0 or why not. */
int coil__handler_install(int number, const struct sigaction *ours, struct coil__handler *handler);

/* Puts `handler->previous` back; where ours is not in place any more, it is buried instead. */
void coil__handler_remove(int number, const struct sigaction *ours, struct coil__handler *handler);

#endif
