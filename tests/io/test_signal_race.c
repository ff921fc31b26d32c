/* SPDX-License-Identifier: MIT */
/* A watch of signals that ends while its handler runs on another thread: the handler must not write
 * into the descriptor that gets the number of the closed eventfd.
 *
 * The write(2) of this program is a slow one. The handler, in the second thread, stands still in it
 * until the watch has ended, or for a while, since that end may as well wait for the handler. A
 * plain program: there is one case, and Criterion must not write slowly.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/signal.h"

enum {
    EVENT_SIZE = sizeof(uint64_t), /* what an eventfd is written in */
};

static const int64_t patience = 100 * 1000 * 1000;

static atomic_bool is_handler_writing;
static atomic_bool has_watch_ended;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
ssize_t write(int fd, const void *data, size_t size)
{
    if (size == EVENT_SIZE) {
        const int64_t start = coil__clock_now();

        atomic_store(&is_handler_writing, true);
        while (!atomic_load(&has_watch_ended) && coil__clock_now() - start < patience)
            continue;
    }
    return syscall(SYS_write, fd, data, size);
}

static void *get_a_signal(void *arg)
{
    (void)pthread_kill(pthread_self(), SIGUSR1);
    return arg;
}

static void check(int is_true, const char *text)
{
    if (is_true)
        return;
    (void)fprintf(stderr, "%s\n", text);
    exit(1);
}

int main(void)
{
    pthread_t thread;
    sigset_t signals;
    int fds[2];
    int heir;
    int watch;
    char bytes[EVENT_SIZE];

    check(pipe(fds) == 0, "pipe");
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    watch = coil__signal_watch(&signals);
    check(watch >= 0, "watch");
    check(pthread_create(&thread, NULL, get_a_signal, NULL) == 0, "thread");
    while (!atomic_load(&is_handler_writing))
        continue;

    coil__signal_unwatch(watch);
    heir = dup(fds[1]); /* gets the lowest free number, the eventfd's */
    check(heir >= 0, "dup");
    atomic_store(&has_watch_ended, true);
    check(pthread_join(thread, NULL) == 0, "join");

    check(close(heir) == 0 && close(fds[1]) == 0, "close");
    check(read(fds[0], bytes, sizeof bytes) == 0, "the handler wrote into a stranger's descriptor");
    check(close(fds[0]) == 0, "close");
    return 0;
}
