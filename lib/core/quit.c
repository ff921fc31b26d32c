/* SPDX-License-Identifier: MIT */
/* Dumps at SIGQUIT (core/quit.h). */
#include "core/quit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "core/census.h"
#include "core/dump.h"
#include "core/handler.h"
#include "core/remote.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER; /* dumps of several threads */
static unsigned user_count;
static struct coil__handler handler;

static void dump(struct coil__post *post)
{
    struct coil__sched *sched = container_of(post, struct coil__sched, quit.post);

    atomic_store(&sched->quit.is_posted, false);
    (void)pthread_mutex_lock(&output);
    (void)coil_dump(STDERR_FILENO);
    (void)pthread_mutex_unlock(&output);
    sched->quit.count++;
}

static void ask_for_dump(struct coil__sched *sched)
{
    if (!sched->quit.is_wanted || atomic_exchange(&sched->quit.is_posted, true))
        return;
    if (coil__remote_post(sched->remote, &sched->quit.post) < 0)
        atomic_store(&sched->quit.is_posted, false); /* it is about to end */
}

static void on_quit(int number)
{
    const int error = errno;

    (void)number;
    coil__census_visit(ask_for_dump);
    errno = error;
}

static const struct sigaction action = {.sa_handler = on_quit, .sa_flags = SA_RESTART | SA_ONSTACK};

void coil__quit_begin(struct coil__sched *sched)
{
    sched->quit.post.run = dump;
    sched->quit.is_wanted = true;
    (void)pthread_mutex_lock(&lock);
    if (user_count++ == 0)
        (void)coil__handler_install(SIGQUIT, &action, &handler);
    (void)pthread_mutex_unlock(&lock);
}

void coil__quit_end(struct coil__sched *sched)
{
    if (!sched->quit.is_wanted)
        return;
    (void)pthread_mutex_lock(&lock);
    if (--user_count == 0)
        coil__handler_remove(SIGQUIT, &action, &handler);
    (void)pthread_mutex_unlock(&lock);
}
