/* SPDX-License-Identifier: MIT */
/* Signal watches (io/signal.h).
 *
 * The table of watches is static and read by the handler without a lock: a slot is published by
 * storing its eventfd last and withdrawn by taking that away first. Everything else is under the
 * lock. A handler stays installed while any watch wants its signal.
 */
#include "io/signal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/op.h"

enum {
    SIGNALS_END = 65, /* one past the highest signal number of Linux */
};

struct watch {
    _Atomic(int) published; /* eventfd + 1, 0 while the slot is not in use */
    int fd;
    sigset_t signals;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch watches[COIL__SIGNAL_WATCHES_MAX];
static struct sigaction previous[SIGNALS_END];

/* A handler on another thread may have read a slot that is being withdrawn: its eventfd is closed
 * only when no handler runs, or the handler would write into whoever gets the number next. */
static _Atomic(int) handlers_running;

static void on_signal(int number)
{
    const uint64_t one = 1;
    const int error = errno;

    atomic_fetch_add(&handlers_running, 1);
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++) {
        const int published = atomic_load(&watches[i].published);

        if (published && sigismember(&watches[i].signals, number) == 1) {
            const ssize_t written = write(published - 1, &one, sizeof one);

            (void)written; /* full only if nobody has looked 2^64 - 2 times */
        }
    }
    atomic_fetch_sub(&handlers_running, 1);
    errno = error;
}

static bool is_watched(int number)
{
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        if (watches[i].published && sigismember(&watches[i].signals, number) == 1)
            return true;
    return false;
}

static int find_slot(void)
{
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        if (!watches[i].published)
            return i;
    return -EAGAIN;
}

static int watch_locked(const sigset_t *signals)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const int slot = find_slot();
    int fd;

    if (slot < 0)
        return slot;
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (int number = 1; number < SIGNALS_END; number++)
        if (sigismember(signals, number) == 1 && !is_watched(number))
            (void)sigaction(number, &action, &previous[number]);
    watches[slot].fd = fd;
    watches[slot].signals = *signals;
    atomic_store_explicit(&watches[slot].published, fd + 1, memory_order_release);
    return slot;
}

int coil__signal_watch(const sigset_t *signals)
{
    int result;

    (void)pthread_mutex_lock(&lock);
    result = watch_locked(signals);
    (void)pthread_mutex_unlock(&lock);
    return result;
}

int coil__signal_wait(int watch)
{
    uint64_t count;
    struct coil__op op = coil__op_make(COIL__OP_READ, watches[watch].fd, &count, sizeof count, 0);
    int result;

    op.more.offset = UINT64_MAX;
    result = coil__op_run(&op, "signal");
    return result < 0 ? result : 0;
}

void coil__signal_unwatch(int watch)
{
    const sigset_t signals = watches[watch].signals;

    (void)pthread_mutex_lock(&lock);
    atomic_store(&watches[watch].published, 0);
    for (int number = 1; number < SIGNALS_END; number++)
        if (sigismember(&signals, number) == 1 && !is_watched(number))
            (void)sigaction(number, &previous[number], NULL);
    while (atomic_load(&handlers_running) > 0)
        (void)sched_yield();
    (void)close(watches[watch].fd);
    (void)pthread_mutex_unlock(&lock);
}
