/* SPDX-License-Identifier: MIT */
/* Signal watches (io/signal.h), and signals for everybody (coil/signal.h).
 *
 * The eventfd holds one token per signal that was handled, and the watch counts which ones they
 * were: a wait takes a token, then a number, so that two signals are never told as one. (Of equal
 * signals that wait to be handled, the kernel itself keeps one.)
 *
 * The table of watches is static and read by the handler without a lock: a slot is published by
 * storing its eventfd last and withdrawn by taking that away first. Everything else is under the
 * lock. A handler stays installed while any watch wants its signal, or while somebody else has
 * installed his over it (core/handler.h).
 *
 * A child between fork and exec still has the handler, and shares the eventfd but not the counts
 * (after vfork both): what strikes it there is not the watch's business, hence the owner.
 *
 * Invariant: a watch has counted at least as many signals as its eventfd has tokens.
 */
#include "io/signal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/handler.h"
#include "core/op.h"

struct watch {
    _Atomic(int) published; /* eventfd + 1, 0 while the slot is not in use */
    int fd;
    pid_t owner;
    sigset_t signals;
    _Atomic(unsigned) counts[COIL__SIGNALS_END]; /* handled and not told yet, by number */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch watches[COIL__SIGNAL_WATCHES_MAX];
static struct coil__handler handlers[COIL__SIGNALS_END];

/* A handler on another thread may have read a slot that is being withdrawn: its eventfd is closed
 * only when no handler runs, or the handler would write into whoever gets the number next. */
static _Atomic(int) handlers_running;

static void on_signal(int number)
{
    const uint64_t one = 1;
    const int error = errno;
    const pid_t self = getpid();

    atomic_fetch_add(&handlers_running, 1);
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++) {
        const int published = atomic_load(&watches[i].published);

        if (published && watches[i].owner == self &&
            sigismember(&watches[i].signals, number) == 1) {
            ssize_t written;

            atomic_fetch_add(&watches[i].counts[number], 1);
            written = write(published - 1, &one, sizeof one);
            (void)written; /* full only if nobody has looked 2^64 - 2 times */
        }
    }
    atomic_fetch_sub(&handlers_running, 1);
    errno = error;
}

static const struct sigaction action = {.sa_handler = on_signal,
                                        .sa_flags = SA_RESTART | SA_ONSTACK};

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
    const int slot = find_slot();
    int fd;

    if (slot < 0)
        return slot;
    if (sigismember(signals, SIGKILL) == 1 || sigismember(signals, SIGSTOP) == 1)
        return -EINVAL;
    fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    if (fd < 0)
        return -errno;
    for (int number = 1; number < COIL__SIGNALS_END; number++)
        atomic_store(&watches[slot].counts[number], 0);
    for (int number = 1; number < COIL__SIGNALS_END; number++)
        if (sigismember(signals, number) == 1 && !is_watched(number))
            (void)coil__handler_install(number, &action, &handlers[number]);
    watches[slot].fd = fd;
    watches[slot].owner = getpid();
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

int coil__signal_watch_stop(void)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    return coil__signal_watch(&signals);
}

/* The number of the lowest signal that has been counted, which there is for each token. */
static int take_number(struct watch *watch)
{
    for (int number = 1; number < COIL__SIGNALS_END; number++) {
        if (atomic_load(&watch->counts[number]) > 0) {
            atomic_fetch_sub(&watch->counts[number], 1);
            return number;
        }
    }
    COIL_ASSERT(false && "signals are counted before their token is given");
    return -EAGAIN;
}

int coil__signal_wait(int watch)
{
    uint64_t count;
    struct coil__op op = coil__op_make(COIL__OP_READ, watches[watch].fd, &count, sizeof count, 0);
    int result;

    op.more.offset = UINT64_MAX;
    result = coil__op_run(&op, "signal");
    return result < 0 ? result : take_number(&watches[watch]);
}

void coil__signal_unwatch(int watch)
{
    const sigset_t signals = watches[watch].signals;

    (void)pthread_mutex_lock(&lock);
    COIL_ASSERT(watches[watch].published && "ended once");
    atomic_store(&watches[watch].published, 0);
    for (int number = 1; number < COIL__SIGNALS_END; number++)
        if (sigismember(&signals, number) == 1 && !is_watched(number))
            coil__handler_remove(number, &action, &handlers[number]);
    while (atomic_load(&handlers_running) > 0)
        (void)sched_yield();
    (void)close(watches[watch].fd);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- coil/signal.h ---- */

struct coil_signal {
    int watch;
    bool is_awaited;
};

COIL_STATIC_ASSERT(sizeof(coil_signal) <= 8, "a promise of the header");

int coil_signal_open(const sigset_t *signals, coil_signal **ret_signal)
{
    coil_signal *signal = coil__alloc(sizeof *signal);

    if (!signal)
        return -ENOMEM;
    signal->watch = coil__signal_watch(signals);
    if (signal->watch < 0) {
        const int result = signal->watch;

        coil__free(signal);
        return result;
    }
    coil__sched()->opened[COIL__OPENED_SIGNAL]++;
    *ret_signal = signal;
    return 0;
}

int coil_signal_wait(coil_signal *signal, int *ret_number)
{
    int result;

    if (signal->is_awaited)
        return -EBUSY;
    signal->is_awaited = true;
    result = coil__signal_wait(signal->watch);
    signal->is_awaited = false;
    if (result < 0)
        return result;
    if (ret_number)
        *ret_number = result;
    return 0;
}

void coil_signal_close(coil_signal *signal)
{
    if (!signal)
        return;
    COIL_ASSERT(!signal->is_awaited && "closed when nobody waits any more");
    coil__signal_unwatch(signal->watch);
    coil__sched()->opened[COIL__OPENED_SIGNAL]--;
    coil__free(signal);
}

/* What is to be done about a signal; the watching fiber's, and a copy for each that came. */
struct handling {
    coil_signal *signal;
    coil_signal_function *function;
    void *arg;
    int number;
};

static int run_handler(void *arg)
{
    struct handling *handling = arg;
    const struct handling copy = *handling;

    coil__free(handling);
    return copy.function(copy.number, copy.arg);
}

/* In a fiber of its own, so that the next signal finds somebody; without memory for one, here. */
static void handle_one(const struct handling *handling)
{
    struct handling *copy = coil__alloc(sizeof *copy);

    if (copy) {
        *copy = *handling;
        if (coil_spawn(run_handler, copy, NULL) == 0)
            return;
        coil__free(copy);
    }
    (void)handling->function(handling->number, handling->arg);
}

static int watch_and_handle(void *arg)
{
    struct handling *handling = arg;
    int result;

    coil_fiber_name_set(coil_self(), "signals");
    while ((result = coil_signal_wait(handling->signal, NULL)) == 0)
        handle_one(handling);
    coil_signal_close(handling->signal);
    coil__free(handling);
    return result;
}

int coil_signal_handle(int number, coil_signal_function *function, void *arg,
                       coil_fiber **ret_fiber)
{
    struct handling *handling = coil__alloc(sizeof *handling);
    sigset_t signals;
    int result;

    if (!handling)
        return -ENOMEM;
    *handling = (struct handling){.function = function, .arg = arg, .number = number};
    (void)sigemptyset(&signals);
    result = sigaddset(&signals, number) < 0 ? -EINVAL : 0;
    if (result == 0)
        result = coil_signal_open(&signals, &handling->signal);
    if (result == 0) {
        result = coil_spawn(watch_and_handle, handling, ret_fiber);
        if (result < 0)
            coil_signal_close(handling->signal);
    }
    if (result < 0)
        coil__free(handling);
    return result;
}
