/* SPDX-License-Identifier: MIT */
/* coil/group.h - a structured set of fibers: none outlives the block of code that made it.
 *
 * Fibers that are spawned into a group are its members. Leaving the group waits for all of them, so
 * after it none of their functions runs any more, and they may use the local variables of whoever
 * entered it (exit hooks and destructors of locals may still run):
 *
 *     coil_group group;
 *
 *     coil_group_enter(&group, 0);
 *     result = coil_group_spawn(&group, fetch_user, &page, NULL);
 *     if (result == 0)
 *         result = coil_group_spawn(&group, fetch_news, &page, NULL);
 *     if (result < 0)
 *         coil_group_cancel(&group);
 *     failure = coil_group_leave(&group);            (both have ended)
 *
 * The first member that fails, which is to return a negative number, cancels the others, and its
 * result is what leaving returns. Ending with -ECANCELED is no failure but a quiet end. With
 * COIL_GROUP_COLLECT nobody is cancelled, and leaving still tells of the first failure.
 *
 * If the fiber that leaves is interrupted (its scope expires, or it is cancelled), it cancels the
 * members and still waits until they have ended: that is what makes a deadline around a group a
 * deadline for everything inside.
 *
 * A group (48 bytes) lives in the caller's storage and must be left before that goes. It is left
 * once, by the fiber that entered it; anyone, members too, may spawn into it until then. A fiber
 * that ends and has not left a group is named in the log and stops the program: the members would
 * run on in variables that are gone. A fiber that leaves and has entered none stops it as well. A
 * member is a fiber and 48 bytes.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_GROUP_H
#define COIL_GROUP_H

#include <coil/base.h>
#include <coil/fiber.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

/** For coil_group_enter(). */
enum {
    COIL_GROUP_COLLECT = 1, /* a failure cancels nobody */
};

typedef struct coil_group {
    struct coil__list members; /* private, as all fields */
    struct coil__waitq waiters;
    size_t running;
    int failure;
    unsigned flags;
} coil_group;

/** Makes @p group empty; @p flags is 0 or COIL_GROUP_COLLECT. Never parks, never fails. */
COIL_API void coil_group_enter(coil_group *group, unsigned flags);

/** Runs @p fn(@p arg) in a new member of @p group. In a group that has been cancelled, by hand or
 *  by a failure, the new member is born cancelled; it runs all the same, because it owns @p arg.
 *
 *  With @p ret_fiber the caller gets a handle and must unref it; NULL drops it: the result then
 *  shows in coil_group_leave() if it is the first failure, or else goes to the hook of
 *  coil_unhandled_set(). Never parks. Returns 0, -EAGAIN at the limit of fibers, or -ENOMEM, when
 *  @p arg is still the caller's. Like gevent's Group.spawn(). */
COIL_API COIL_MUST_CHECK int coil_group_spawn(coil_group *group, int (*fn)(void *), void *arg,
                                              coil_fiber **ret_fiber);

/** Cancels all members, and those to come. Never parks. Like Group.kill(block=False). */
COIL_API void coil_group_cancel(coil_group *group);

/** Waits until @p group has no members for the first time; it can be used further. Parks.
 *  Returns 0; the first failure since the group was entered; -EDEADLK to a member; -ETIMEDOUT or
 *  -ECANCELED, when the members go on. Like Group.join(). */
COIL_API COIL_MUST_CHECK int coil_group_wait(coil_group *group);

/** Waits until all members have ended. A releasing call: always waits to the end. An interruption
 *  of the caller cancels the members, and inside of an expired scope or a cancelled fiber they are
 *  cancelled at once.
 *
 *  Returns 0; the first failure of a member; else the interruption, -ETIMEDOUT or -ECANCELED. Must
 *  not be called by a member. Like leaving a nursery of Trio; gevent's Group has no counterpart. */
COIL_API int coil_group_leave(coil_group *group);

/** Returns the number of members that have not ended. */
COIL_API size_t coil_group_running(const coil_group *group);

COIL_END_DECLS

#endif
