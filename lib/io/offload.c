/* SPDX-License-Identifier: MIT */
/* Offloaded calls: a bounded pool of threads per scheduler (coil/offload.h).
 *
 * A call is a job on the heap, because its fiber may leave while a thread still works on it (the
 * exception of design D3). Under the pool's lock a job goes from QUEUED over RUNNING to DONE, or
 * to ABANDONED when its fiber was interrupted first. Exactly one side ends it: the fiber a DONE
 * one, the thread an ABANDONED one, the interruption itself one that was still QUEUED. A job that
 * is DONE can't be abandoned: its result beats the interruption.
 *
 * Threads report by a post to the scheduler (core/remote.h), sent under the lock: the job is the
 * fiber's as soon as that has the result.
 *
 * The pool is counted, by its scheduler and by each thread: threads are detached, and one that is
 * stuck in a call when coil_run() ends frees the pool itself, whenever that may be.
 *
 * Invariants: idle_count is the number of threads that will look at the queue before they end, so a
 * job needs a new thread only if queued_count exceeds it; room has a permit per job that a fiber
 * could still add.
 */
#include "io/offload.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include <coil/sem.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/remote.h"
#include "core/run.h"
#include "core/team.h"

enum {
    THREADS_MAX_DEFAULT = 20, /* blocked calls overlap well by then, and stacks are still few */
    THREADS_MAX_LIMIT = 1024,
};

coil_time coil__offload_idle_time = COIL_SECONDS(5);
coil_time coil__offload_leave_time = COIL_SECONDS(1);

enum job_state {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_DONE,
    JOB_ABANDONED,
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job was queued, or the pool closes */
    pthread_cond_t left; /* a thread has ended */
    struct coil__list queue;
    coil_remote *remote; /* of the scheduler; borrowed while jobs are not abandoned */
    unsigned queued_count;
    unsigned idle_count;
    unsigned thread_count;
    unsigned threads_max;
    unsigned reference_count;
    bool is_closing;
    bool is_unpinned; /* its threads are not tied to the CPU of the scheduler, which they inherit */
    cpu_set_t cpus;   /* but to these */
};

struct job {
    struct coil__post post;
    struct coil__list link;
    struct pool *pool;
    struct coil__tcb *tcb;
    int (*fn)(void *);
    void *arg;
    void (*abandoned)(void *);
    int result;
    enum job_state state;
};

COIL_STATIC_ASSERT(sizeof(struct job) <= 80, "a promise of the header");

/* What hangs on the scheduler. */
struct offload {
    coil_sem room;
    struct pool *pool; /* NULL until first used */
};

static _Thread_local bool is_pool_thread;

/* ---- The pool ---- */

static unsigned threads_max(void)
{
    const char *text = getenv("COIL_THREADS");
    char *end;
    unsigned long count;

    if (!text || !*text)
        return THREADS_MAX_DEFAULT;
    count = strtoul(text, &end, 10);
    if (*end || count < 1 || count > THREADS_MAX_LIMIT || *text < '0' || *text > '9') {
        coil__log(COIL_LOG_WARNING, "COIL_THREADS=%s is not a number from 1 to %d: using %d", text,
                  THREADS_MAX_LIMIT, THREADS_MAX_DEFAULT);
        return THREADS_MAX_DEFAULT;
    }
    return (unsigned)count;
}

static struct pool *make_pool(struct coil__sched *sched)
{
    struct pool *pool = coil__alloc(sizeof *pool);
    pthread_condattr_t attributes;

    if (!pool)
        return NULL;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pool->work, &attributes);
    (void)pthread_cond_init(&pool->left, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    coil__list_init(&pool->queue);
    pool->remote = sched->remote;
    pool->threads_max = threads_max();
    pool->is_unpinned = coil__team_is_pinned(sched, &pool->cpus);
    pool->reference_count = 1;
    return pool;
}

/* Unlocks, and frees what nobody needs any more. */
static void unlock_and_unref(struct pool *pool)
{
    const bool is_last = --pool->reference_count == 0;

    (void)pthread_mutex_unlock(&pool->lock);
    if (!is_last)
        return;
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->left);
    (void)pthread_mutex_destroy(&pool->lock);
    coil__free(pool);
}

/* Waits with the lock held. Returns false when `deadline` has passed. */
static bool wait_until(struct pool *pool, pthread_cond_t *condition, int64_t deadline)
{
    const struct timespec time = coil__clock_timespec(deadline);

    return pthread_cond_timedwait(condition, &pool->lock, &time) != ETIMEDOUT;
}

/* ---- Threads ---- */

static void dispose(struct job *job)
{
    if (job->abandoned)
        job->abandoned(job->arg);
    coil__free(job);
}

static struct job *take_job(struct pool *pool)
{
    struct coil__list *link = coil__list_pop_front(&pool->queue);
    struct job *job;

    if (!link)
        return NULL;
    job = container_of(link, struct job, link);
    job->state = JOB_RUNNING;
    pool->queued_count--;
    return job;
}

/* NULL when the thread is to end. */
static struct job *await_job(struct pool *pool)
{
    const int64_t deadline = coil__clock_deadline(coil__offload_idle_time);
    struct job *job;

    while ((job = take_job(pool)) == NULL && !pool->is_closing)
        if (!wait_until(pool, &pool->work, deadline))
            return take_job(pool);
    return job;
}

static void wake_caller(struct coil__post *post)
{
    coil__wake(container_of(post, struct job, post)->tcb, 0);
}

/* Runs with the lock held, which it gives back meanwhile. */
static void run_job(struct pool *pool, struct job *job)
{
    (void)pthread_mutex_unlock(&pool->lock);
    job->result = job->fn(job->arg);
    (void)pthread_mutex_lock(&pool->lock);
    if (job->state == JOB_RUNNING) {
        job->state = JOB_DONE;
        (void)coil__remote_post(pool->remote, &job->post); /* refused if its fiber is lost */
        return;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    dispose(job);
    (void)pthread_mutex_lock(&pool->lock);
}

static void *run_thread(void *arg)
{
    struct pool *pool = arg;
    struct job *job;

    is_pool_thread = true;
    if (pool->is_unpinned)
        (void)sched_setaffinity(0, sizeof pool->cpus, &pool->cpus);
    (void)pthread_setname_np(pthread_self(), "coil-offload");
    (void)pthread_mutex_lock(&pool->lock);
    while ((job = await_job(pool)) != NULL) {
        pool->idle_count--;
        run_job(pool, job);
        pool->idle_count++;
    }
    pool->idle_count--;
    pool->thread_count--;
    (void)pthread_cond_signal(&pool->left);
    unlock_and_unref(pool);
    return NULL;
}

/* All signals are the program's threads' to handle, but a fault is the thread's that made it. */
static void block_signals(sigset_t *ret_previous)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;

    (void)sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        (void)sigdelset(&blocked, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, ret_previous);
}

/* With the lock held. */
static int start_thread(struct pool *pool)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t previous;
    int error;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    block_signals(&previous);
    error = pthread_create(&thread, &attributes, run_thread, pool);
    (void)pthread_sigmask(SIG_SETMASK, &previous, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (error)
        return -error;
    pool->thread_count++;
    pool->idle_count++;
    pool->reference_count++;
    return 0;
}

/* ---- The scheduler's side ---- */

static void init_offload(struct coil__sched *sched, void *state)
{
    struct offload *offload = state;

    (void)sched;
    coil_sem_init(&offload->room, COIL__OFFLOAD_JOBS_MAX);
}

/* No fiber is left, so all jobs there are have been abandoned to their threads. A call may never
 * return, so its thread is waited for a while only; one that has no call leaves for certain. */
static void fini_offload(struct coil__sched *sched, void *state)
{
    struct pool *pool = ((struct offload *)state)->pool;
    bool in_time = true;
    int64_t deadline;

    (void)sched;
    if (!pool)
        return;
    deadline = coil__clock_deadline(coil__offload_leave_time);
    (void)pthread_mutex_lock(&pool->lock);
    COIL_ASSERT(coil__list_is_empty(&pool->queue));
    pool->is_closing = true;
    pool->remote = NULL;
    (void)pthread_cond_broadcast(&pool->work);
    while (pool->idle_count > 0 || (pool->thread_count > 0 && in_time)) {
        if (in_time)
            in_time = wait_until(pool, &pool->left, deadline);
        else
            (void)pthread_cond_wait(&pool->left, &pool->lock);
    }
    if (pool->thread_count > 0)
        coil__log(COIL_LOG_WARNING, "left behind, as it takes too long: %u offloaded call%s",
                  pool->thread_count, coil__text_plural(pool->thread_count));
    unlock_and_unref(pool);
}

/* NULL when there is no memory. */
static struct offload *offload_of(struct coil__sched *sched)
{
    struct offload *offload =
        coil__sched_part(sched, COIL__PART_OFFLOAD, sizeof *offload, init_offload, fini_offload);

    if (!offload)
        return NULL;
    if (!offload->pool)
        offload->pool = make_pool(sched);
    return offload->pool ? offload : NULL;
}

void coil__offload_measure(const struct coil__sched *sched, struct coil__offload_load *ret_load)
{
    const struct offload *offload = sched->parts[COIL__PART_OFFLOAD].state;
    struct pool *pool = offload ? offload->pool : NULL;

    *ret_load = (struct coil__offload_load){0};
    if (!pool)
        return;
    (void)pthread_mutex_lock(&pool->lock);
    ret_load->threads = pool->thread_count;
    ret_load->running = pool->thread_count - pool->idle_count;
    ret_load->queued = pool->queued_count;
    (void)pthread_mutex_unlock(&pool->lock);
}

unsigned coil__offload_thread_count(void)
{
    struct coil__offload_load load;

    coil__offload_measure(coil__sched(), &load);
    return load.threads;
}

/* Takes a job out of the queue, with the lock held. */
static void withdraw(struct job *job)
{
    coil__list_remove(&job->link);
    job->pool->queued_count--;
}

/* Queues the job and sees to it that a thread will come. A pool that has threads, only not as many
 * as it could use, is slower but no failure. */
static int submit(struct pool *pool, struct job *job)
{
    int result = 0;

    (void)pthread_mutex_lock(&pool->lock);
    coil__list_push_back(&pool->queue, &job->link);
    pool->queued_count++;
    if (pool->queued_count > pool->idle_count && pool->thread_count < pool->threads_max)
        result = start_thread(pool);
    if (result < 0 && pool->thread_count == 0) {
        withdraw(job);
    } else {
        result = 0;
        (void)pthread_cond_signal(&pool->work);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

/* The interruption of a waiting caller. */
static void abandon(struct coil__tcb *tcb)
{
    struct job *job = tcb->wait_object;
    struct pool *pool = job->pool;
    enum job_state state;

    (void)pthread_mutex_lock(&pool->lock);
    state = job->state;
    if (state == JOB_QUEUED)
        withdraw(job);
    if (state == JOB_RUNNING)
        job->state = JOB_ABANDONED;
    (void)pthread_mutex_unlock(&pool->lock);

    if (state == JOB_DONE)
        return;
    if (state == JOB_QUEUED)
        dispose(job);
    coil__wake_interrupted(tcb);
}

/* Submits `job` and waits for it. While somebody waits, a thread may wake the scheduler. */
static int perform(struct job *job, int *ret_result)
{
    struct coil__sched *sched = job->tcb->sched;
    int result = submit(job->pool, job);

    if (result < 0) {
        dispose(job);
        return result;
    }
    sched->outside_count++;
    result = coil__park("offloaded call", job, abandon);
    sched->outside_count--;
    if (result < 0)
        return result; /* the job has been abandoned and may be gone */
    if (ret_result)
        *ret_result = job->result;
    coil__free(job);
    return 0;
}

static int perform_in_turn(struct job *job, int *ret_result)
{
    struct offload *offload = offload_of(job->tcb->sched);
    int result = offload ? coil_sem_acquire(&offload->room) : -ENOMEM;

    if (result < 0) {
        dispose(job);
        return result;
    }
    job->pool = offload->pool;
    result = perform(job, ret_result);
    coil_sem_release(&offload->room);
    return result;
}

static int call_inline(int (*fn)(void *), void *arg, int *ret_result)
{
    const int result = fn(arg);

    if (ret_result)
        *ret_result = result;
    return 0;
}

int coil_offload(int (*fn)(void *), void *arg, void (*abandoned)(void *), int *ret_result)
{
    struct coil__tcb *self;
    struct job *job;

    if (is_pool_thread && !coil__sched_this)
        return call_inline(fn, arg, ret_result);
    self = coil__self();
    job = coil__alloc(sizeof *job);
    if (!job) {
        if (abandoned)
            abandoned(arg);
        return -ENOMEM;
    }
    *job = (struct job){
        .post = {.run = wake_caller},
        .tcb = self,
        .fn = fn,
        .arg = arg,
        .abandoned = abandoned,
    };
    return perform_in_turn(job, ret_result);
}
