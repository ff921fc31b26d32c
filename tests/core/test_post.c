/* SPDX-License-Identifier: MIT */
/* Work that other threads post to a scheduler: none is lost, each runs once, in the order of its
 * thread, and a loop that sleeps without any timer is woken.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "support/fiber_test.h"

enum {
    THREADS = 2,
    POSTS = 50000, /* of each thread */
    ROUNDS = 3000,
};

struct numbered_post {
    struct coil__post post;
    struct tally *tally;
    int number;
};

/* What one thread posts, and what has arrived of it. */
struct tally {
    pthread_t thread;
    struct coil__sched *sched;
    struct numbered_post *posts;
    coil_sem *all_arrived;
    int arrived;
    bool is_out_of_order;
};

static void arrive(struct coil__post *post)
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
        coil__sched_post(tally->sched, &tally->posts[i].post);
    }
    return NULL;
}

FIBER_TEST(post, nothing_that_two_threads_post_is_lost_or_reordered)
{
    struct tally tallies[THREADS];
    coil_sem all_arrived;

    coil_sem_init(&all_arrived, 0);
    coil__sched_this->outside_count++;
    for (int i = 0; i < THREADS; i++) {
        tallies[i] = (struct tally){.sched = coil__sched_this, .all_arrived = &all_arrived};
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
    coil__sched_this->outside_count--;
}

/* One post at a time, each answered by the fiber before the next: the loop falls asleep, or is
 * about to, whenever the post comes. */
struct ping {
    struct coil__post post;
    struct coil__sched *sched;
    coil_sem arrived;
    sem_t wanted;
};

static void release_arrived(struct coil__post *post)
{
    coil_sem_release(&container_of(post, struct ping, post)->arrived);
}

static void *post_when_wanted(void *arg)
{
    struct ping *ping = arg;

    for (int i = 0; i < ROUNDS; i++) {
        while (sem_wait(&ping->wanted) != 0)
            continue;
        coil__sched_post(ping->sched, &ping->post);
    }
    return NULL;
}

FIBER_TEST(post, a_post_wakes_a_loop_that_sleeps_or_is_about_to)
{
    struct ping ping = {.post.run = release_arrived, .sched = coil__sched_this};
    pthread_t thread;

    coil_sem_init(&ping.arrived, 0);
    coil__sched_this->outside_count++;
    cr_assert_eq(sem_init(&ping.wanted, 0, 0), 0);
    cr_assert_eq(pthread_create(&thread, NULL, post_when_wanted, &ping), 0);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(sem_post(&ping.wanted), 0);
        cr_assert_eq(coil_sem_acquire(&ping.arrived), 0);
    }
    coil__sched_this->outside_count--;
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(sem_destroy(&ping.wanted), 0);
}
