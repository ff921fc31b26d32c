/* SPDX-License-Identifier: MIT */
/* Signal handlers that come and go (core/handler.h). */
#include "core/handler.h"

#include <errno.h>

/* glibc keeps both kinds of functions in one place, but does not promise it. */
static bool is_same(const struct sigaction *a, const struct sigaction *b)
{
    if ((a->sa_flags & SA_SIGINFO) != (b->sa_flags & SA_SIGINFO))
        return false;
    if (a->sa_flags & SA_SIGINFO)
        return a->sa_sigaction == b->sa_sigaction;
    return a->sa_handler == b->sa_handler;
}

bool coil__handler_is(int number, const struct sigaction *ours)
{
    struct sigaction present;

    return sigaction(number, NULL, &present) == 0 && is_same(&present, ours);
}

int coil__handler_install(int number, const struct sigaction *ours, struct coil__handler *handler)
{
    if (!coil__handler_is(number, ours))
        return sigaction(number, ours, &handler->previous) < 0 ? -errno : 0;
    if (handler->is_buried)
        handler->previous = handler->first;
    handler->is_buried = false;
    return 0;
}

void coil__handler_remove(int number, const struct sigaction *ours, struct coil__handler *handler)
{
    if (coil__handler_is(number, ours)) {
        (void)sigaction(number, &handler->previous, NULL);
    } else {
        handler->first = handler->previous;
        handler->is_buried = true;
    }
}
