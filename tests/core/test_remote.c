/* SPDX-License-Identifier: MIT */
/* What other threads and signal handlers post to a core: nothing is lost, each is called once, in
 * the order of its thread; a loop that sleeps without any timer is woken; and after the end posts
 * are refused.
 */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "core/remote.h"
#include "core/run.h"
#include "support/fiber_test.h"

enum {
    THREADS = 2,
    POSTS = 50000, /* of each thread */
    ROUNDS = 3000,
};

struct numbered_post {
    coil_post_node post;
    struct tally *tally;
    int number;
};

/* What one thread posts, and what has arrived of it. */
struct tally {
    pthread_t thread;
    coil_remote *remote;
    struct numbered_post *posts;
    coil_sem *all_arrived;
    int arrived;
    bool is_out_of_order;
};

static void arrive(coil_post_node *post)
{
    struct numbered_post *numbered = container_of(post, struct numbered_post, post);
    struct tally *tally = numbered->tally;

    if (numbered->number != tally->arrived)
        tally->is_out_of_order = true;
    if (++tally->arrived == POSTS)
        coil_sem_release(tally->all_arrived);
}

static void *post_all(void *arg)
{
    struct tally *tally = arg;

    for (int i = 0; i < POSTS; i++) {
        tally->posts[i] = (struct numbered_post){.post.run = arrive, .tally = tally, .number = i};
        if (coil_post(tally->remote, &tally->posts[i].post) < 0)
            break;
    }
    coil_remote_unref(tally->remote);
    return NULL;
}

FIBER_TEST(remote, nothing_that_two_threads_post_is_lost_or_reordered)
{
    struct tally tallies[THREADS];
    coil_sem all_arrived;

    coil_sem_init(&all_arrived, 0);
    for (int i = 0; i < THREADS; i++) {
        tallies[i] = (struct tally){.remote = coil_remote_get(0), .all_arrived = &all_arrived};
        tallies[i].posts = calloc(POSTS, sizeof *tallies[i].posts);
        cr_assert_not_null(tallies[i].posts);
        cr_assert_eq(pthread_create(&tallies[i].thread, NULL, post_all, &tallies[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(coil_sem_acquire(&all_arrived), 0);

    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(tallies[i].thread, NULL), 0);
        cr_assert_eq(tallies[i].arrived, POSTS);
        cr_assert_not(tallies[i].is_out_of_order);
        free(tallies[i].posts);
    }
}

/* One post at a time, each answered by the fiber before the next: the loop falls asleep, or is
 * about to, whenever the post comes. */
struct ping {
    coil_post_node post;
    coil_remote *remote;
    coil_sem arrived;
    sem_t wanted;
};

static void release_arrived(coil_post_node *post)
{
    coil_sem_release(&container_of(post, struct ping, post)->arrived);
}

static void *post_when_wanted(void *arg)
{
    struct ping *ping = arg;

    for (int i = 0; i < ROUNDS; i++) {
        while (sem_wait(&ping->wanted) != 0)
            continue;
        if (coil_post(ping->remote, &ping->post) < 0)
            break;
    }
    return NULL;
}

FIBER_TEST(remote, a_post_wakes_a_loop_that_sleeps_or_is_about_to)
{
    struct ping ping = {.post.run = release_arrived, .remote = coil_remote_get(0)};
    pthread_t thread;

    coil_sem_init(&ping.arrived, 0);
    cr_assert_eq(sem_init(&ping.wanted, 0, 0), 0);
    cr_assert_eq(pthread_create(&thread, NULL, post_when_wanted, &ping), 0);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(sem_post(&ping.wanted), 0);
        cr_assert_eq(coil_sem_acquire(&ping.arrived), 0);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(sem_destroy(&ping.wanted), 0);
    coil_remote_unref(ping.remote);
}

/* ---- Signal handlers ---- */

static struct ping *signalled;

static void post_from_handler(int number)
{
    (void)number;
    errno = 77;
    if (coil_post(signalled->remote, &signalled->post) < 0)
        abort();
    if (errno != 77)
        abort();
}

FIBER_TEST(remote, a_signal_handler_may_post)
{
    struct ping ping = {.post.run = release_arrived, .remote = coil_remote_get(coil_core())};
    struct sigaction action = {.sa_handler = post_from_handler};
    struct sigaction before;

    coil_sem_init(&ping.arrived, 0);
    signalled = &ping;
    cr_assert_eq(sigaction(SIGUSR1, &action, &before), 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(raise(SIGUSR1), 0);
        cr_assert_eq(coil_sem_try_acquire(&ping.arrived), -EAGAIN, "called between two turns");
        cr_assert_eq(coil_sem_acquire(&ping.arrived), 0);
    }
    cr_assert_eq(sigaction(SIGUSR1, &before, NULL), 0);
    coil_remote_unref(ping.remote);
}

/* ---- Handles ---- */

struct counted {
    coil_post_node post;
    coil_remote *remote;
    int calls;
    int again; /* times that it posts itself again */
    pthread_t thread;
};

static void count_call(coil_post_node *post)
{
    struct counted *counted = container_of(post, struct counted, post);

    counted->calls++;
    if (counted->again-- > 0 && coil_post(counted->remote, post) < 0)
        counted->calls = -1000;
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int leave_a_post_behind(void *arg)
{
    struct counted *counted = arg;

    counted->remote = coil_remote_get(0);
    return coil_post(counted->remote, &counted->post);
}

Test(remote, what_was_accepted_is_called_although_main_returns_at_once, .timeout = 60)
{
    struct counted counted = {.post.run = count_call, .again = 3};
    int result = 1;

    cr_assert_eq(fiber_test_coil_run(leave_a_post_behind, &counted, NULL, &result), 0);
    cr_assert_eq(result, 0);
    cr_assert_eq(counted.calls, 4);
    coil_remote_unref(counted.remote);
}

Test(remote, after_the_end_posts_are_refused_and_not_touched, .timeout = 60)
{
    const int64_t blocks = coil__alloc_live_count();
    struct counted counted = {.post.run = count_call};
    struct coil__post untouched;

    cr_assert_eq(fiber_test_coil_run(leave_a_post_behind, &counted, NULL, NULL), 0);
    cr_assert_eq(counted.calls, 1);
    untouched = counted.post;

    cr_assert_eq(coil_post(counted.remote, &counted.post), -ESHUTDOWN);
    cr_assert_eq(coil_post_spawn(counted.remote, NULL, NULL, NULL), -ESHUTDOWN);

    cr_assert_eq(counted.calls, 1);
    cr_assert_eq(counted.post.next, untouched.next);
    cr_assert_eq(coil_remote_ref(counted.remote), counted.remote);
    coil_remote_unref(counted.remote);
    coil_remote_unref(counted.remote);
    cr_assert_eq(coil__alloc_live_count(), blocks, "the last handle frees it");
}

static void *drop_handle(void *arg)
{
    coil_remote_unref(arg);
    return NULL;
}

FIBER_TEST(remote, a_scheduler_counts_whether_handles_are_out)
{
    struct coil__sched *sched = coil__sched_this;
    pthread_t threads[2];
    coil_remote *remote = coil_remote_get(0);

    cr_assert_eq(sched->outside_count, 1);
    cr_assert_eq(coil_remote_get(0), remote);
    cr_assert_eq(coil_remote_ref(remote), remote);
    cr_assert_eq(sched->outside_count, 1, "they count as one");
    coil_remote_unref(remote);
    cr_assert_eq(sched->outside_count, 1);

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, drop_handle, remote), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    coil_yield();
    coil_yield();
    cr_assert_eq(sched->outside_count, 0, "the last one came back by itself");

    remote = coil_remote_get(0);
    cr_assert_eq(sched->outside_count, 1);
    coil_remote_unref(remote);
    cr_assert_eq(sched->outside_count, 0);
    coil_remote_unref(NULL);
    cr_assert_null(coil_remote_get(1), "there is one core");
}

/* ---- The end meets a thread that has pushed its post and is about to ring ---- */

static struct coil__engine_ops slow_ops;
static const struct coil__engine_ops *real_ops;
static coil__engine_open *real_open;
static _Thread_local bool is_slow;
static atomic_bool is_ringing;
static atomic_bool is_closed;
static atomic_bool was_closed_meanwhile;

static void ring_slowly(struct coil__engine *engine)
{
    const int64_t start = coil_now();

    if (is_slow)
        is_ringing = true;
    while (is_slow && !is_closed && coil_now() - start < COIL_MS(50))
        continue;
    if (is_closed)
        was_closed_meanwhile = true;
    else
        real_ops->wake(engine);
}

static void close_and_tell(struct coil__engine *engine)
{
    is_closed = true;
    real_ops->close(engine);
}

static int open_with_slow_bell(const struct coil__engine_options *options,
                               struct coil__engine **ret_engine, char *ret_why)
{
    const int result = real_open(options, ret_engine, ret_why);

    if (result < 0)
        return result;
    real_ops = (*ret_engine)->ops;
    slow_ops = *real_ops;
    slow_ops.wake = ring_slowly;
    slow_ops.close = close_and_tell;
    (*ret_engine)->ops = &slow_ops;
    return 0;
}

static void *post_once(void *arg)
{
    struct counted *counted = arg;

    is_slow = true;
    if (coil_post(counted->remote, &counted->post) < 0)
        counted->calls = -1000;
    return NULL;
}

static int end_while_a_thread_rings(void *arg)
{
    struct counted *counted = arg;

    counted->remote = coil_remote_get(0);
    if (pthread_create(&counted->thread, NULL, post_once, counted) != 0)
        return -1;
    while (!is_ringing)
        coil_yield();
    return 0;
}

Test(remote, the_end_waits_for_a_thread_that_is_about_to_ring, .timeout = 60)
{
    struct counted counted = {.post.run = count_call};

    cr_assert_eq(fiber_test_coil_run(do_nothing, NULL, NULL, NULL), 0, "chooses the engine");
    real_open = coil__run_engine_open;
    coil__run_engine_open = open_with_slow_bell;
    cr_assert_eq(coil_run(end_while_a_thread_rings, &counted, NULL, NULL), 0);
    coil__run_engine_open = real_open;
    cr_assert_eq(pthread_join(counted.thread, NULL), 0);

    cr_assert_eq(counted.calls, 1);
    cr_assert_not(was_closed_meanwhile, "the engine was closed under its bell");
    coil_remote_unref(counted.remote);
}

/* ---- Starting fibers ---- */

struct starter {
    coil_remote *remote;
    coil_sem done;
    int ran;
    int refused;
    int status;
};

static int run_started(void *arg)
{
    struct starter *starter = arg;

    starter->ran += coil_self() != NULL;
    coil_yield();
    coil_sem_release(&starter->done);
    return 0;
}

static void refuse_start(void *arg)
{
    struct starter *starter = arg;

    starter->refused += coil_self() == NULL;
    coil_sem_release(&starter->done);
}

static void *start_from_thread(void *arg)
{
    struct starter *starter = arg;

    starter->status = coil_post_spawn(starter->remote, run_started, starter, refuse_start);
    return NULL;
}

static void start_and_wait(struct starter *starter)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, start_from_thread, starter), 0);
    cr_assert_eq(coil_sem_acquire(&starter->done), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(starter->status, 0);
}

FIBER_TEST_WITH(remote, a_thread_may_start_fibers,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 2}))
{
    struct starter starter = {.remote = coil_remote_get(0)};
    coil_fiber *fiber;

    coil_sem_init(&starter.done, 0);
    start_and_wait(&starter);
    cr_assert_eq(starter.ran, 1);
    coil_yield();

    fiber = spawn_until_parked(run_started, &starter);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_sem_acquire(&starter.done), 0);
    cr_assert_eq(coil_spawn(run_started, &starter, NULL), 0);
    cr_assert_eq(coil_post_spawn(starter.remote, run_started, &starter, refuse_start), 0);
    cr_assert_eq(coil_sem_acquire(&starter.done), 0);
    cr_assert_eq(coil_sem_acquire(&starter.done), 0);
    cr_assert_eq(starter.ran + starter.refused, 4);
    coil_remote_unref(starter.remote);
}

FIBER_TEST(remote, a_start_without_memory_is_refused_here_or_there)
{
    struct starter starter = {.remote = coil_remote_get(0)};
    int n;

    coil_sem_init(&starter.done, 0);
    for (n = 0; n < 10 && starter.ran == 0; n++) {
        int result;

        coil__alloc_fail_after(n);
        result = coil_post_spawn(starter.remote, run_started, &starter, refuse_start);
        if (result == 0)
            cr_assert_eq(coil_sem_acquire(&starter.done), 0);
        else
            cr_assert_eq(result, -ENOMEM);
        coil__alloc_fail_after(-1);
    }
    cr_assert_eq(starter.ran, 1);
    cr_assert_gt(n, 1);
    coil_remote_unref(starter.remote);
}
