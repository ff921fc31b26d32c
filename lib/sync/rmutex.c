/* SPDX-License-Identifier: MIT */
/* Recursive mutex (coil/rmutex.h): a mutex and the number of its owner's locks.
 *
 * A new owner sets the depth when it runs. Until then nobody looks at it: every call first asks
 * whether the calling fiber is the owner.
 *
 * Invariant: while the owner runs outside of these calls, depth > 0.
 */
#include <coil/rmutex.h>

#include <errno.h>
#include <limits.h>

#include "core/sched.h"

COIL_STATIC_ASSERT(sizeof(coil_rmutex) == 32, "a promise of the header");

void coil_rmutex_init(coil_rmutex *rmutex)
{
    coil_mutex_init(&rmutex->mutex);
    rmutex->depth = 0;
}

static bool is_mine(const coil_rmutex *rmutex)
{
    return rmutex->mutex.owner == coil__self()->handle;
}

static int deepen(coil_rmutex *rmutex)
{
    COIL_ASSERT(rmutex->depth > 0);
    if (rmutex->depth == UINT_MAX)
        return -EOVERFLOW;
    rmutex->depth++;
    return 0;
}

int coil_rmutex_lock(coil_rmutex *rmutex)
{
    int result;

    if (is_mine(rmutex)) {
        result = coil__checkpoint(coil__self());
        return result < 0 ? result : deepen(rmutex);
    }
    result = coil_mutex_lock(&rmutex->mutex);
    if (result == 0)
        rmutex->depth = 1;
    return result;
}

int coil_rmutex_try_lock(coil_rmutex *rmutex)
{
    int result;

    if (is_mine(rmutex))
        return deepen(rmutex);
    result = coil_mutex_try_lock(&rmutex->mutex);
    if (result == 0)
        rmutex->depth = 1;
    return result;
}

int coil_rmutex_unlock(coil_rmutex *rmutex)
{
    if (!is_mine(rmutex))
        return -EPERM;
    COIL_ASSERT(rmutex->depth > 0);
    if (--rmutex->depth > 0)
        return 0;
    return coil_mutex_unlock(&rmutex->mutex);
}

unsigned coil_rmutex_depth(const coil_rmutex *rmutex)
{
    return is_mine(rmutex) ? rmutex->depth : 0;
}
