/* SPDX-License-Identifier: MIT */
/* coil/scope.h - deadlines and cancellation for a region of code.
 *
 * coil has no deadline parameters. A fiber opens a scope, and everything it calls inside, however
 * deep, shares its deadline:
 *
 *     coil_scope scope;
 *
 *     coil_scope_enter(&scope, COIL_SECONDS(5));
 *     result = fetch(url);                      (knows nothing of the five seconds)
 *     if (coil_scope_leave(&scope))
 *         result = timed_out_by_me(url);
 *
 * Scopes nest, strictly; the nearest deadline rules. When it passes, the parking call under way is
 * interrupted and returns -ETIMEDOUT, and so does every further one, at once, until the scope is
 * left: code that loops on errors can't outlive its deadline. A cancelled fiber gets -ECANCELED in
 * the same way. When an inner and an outer scope are both due, the outer one speaks.
 *
 * Nothing is lost to an interruption: if the awaited thing happened at the same time, the call
 * succeeds and the next one fails. Calls that release something (close, free, unref) always
 * release, also in an expired scope. Clean-up that must park opens a shield, inside which the
 * deadlines and the cancellation of the outside wait.
 *
 * A scope lives in the caller's storage (72 bytes, normally a local variable), allocates nothing
 * and cannot fail. It belongs to the fiber that entered it and must be left by that fiber, before
 * the storage goes, inner scopes first.
 */
#ifndef COIL_SCOPE_H
#define COIL_SCOPE_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_scope {
    struct coil__timer timer; /* private, as all fields */
    struct coil_scope *outer;
    void *fiber;
    unsigned flags;
} coil_scope;

/** Opens @p scope around what the calling fiber does next, with a deadline @p timeout from now;
 *  COIL_NEVER sets none, 0 or less expires at the next parking call. Never parks, never fails.
 *  Like `with eventlet.Timeout(seconds):`. */
COIL_API void coil_scope_enter(coil_scope *scope, coil_time timeout);

/** Opens @p scope as a shield: inside, neither cancellation nor the deadlines of outer scopes
 *  interrupt; its own @p timeout, the grace given to the clean-up, does. */
COIL_API void coil_scope_enter_shield(coil_scope *scope, coil_time timeout);

/** Leaves @p scope, the innermost one. Returns true only if a call inside returned this scope's
 *  -ETIMEDOUT: not when the deadline passed unnoticed, and not when an outer one spoke. */
COIL_API bool coil_scope_leave(coil_scope *scope);

/** Returns what the next parking call of the calling fiber would fail with, -ETIMEDOUT or
 *  -ECANCELED, else 0. For loops that compute without parking; also counts as that call: a true
 *  answer makes coil_scope_leave() true. */
COIL_API int coil_expired(void);

COIL_END_DECLS

#endif
