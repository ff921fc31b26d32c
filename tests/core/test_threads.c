/* SPDX-License-Identifier: MIT */
/* Two threads with a coil_run() each, and each posting to the other: a plain program, since
 * Criterion does not work under ThreadSanitizer, for which this is made (-DCOIL_SANITIZE=thread).
 *
 * Passes when every post has arrived and nobody hangs; TSan adds that nothing raced.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <coil/coil.h>

#include "core/remote.h"

enum {
    SIDES = 2,
    POSTS = 20000,
    SLEEPERS = 20,
    NAPS = 50,
};

struct message {
    struct coil__post post;
    struct side *to;
};

struct side {
    pthread_t thread;
    struct side *other;
    _Atomic(struct coil__sched *) sched; /* set when posts may come */
    struct message *messages;
    coil_sem all_arrived;
    int arrived; /* of the other side's messages */
    int status;
};

static struct side sides[SIDES];
static pthread_barrier_t end; /* nobody posts to a run that is over */

static void arrive(struct coil__post *post)
{
    struct side *side = container_of(post, struct message, post)->to;

    if (++side->arrived == POSTS)
        coil_sem_release(&side->all_arrived);
}

static int nap(void *arg)
{
    int result = 0;

    (void)arg;
    for (int i = 0; i < NAPS && result == 0; i++)
        result = coil_sleep(COIL_US(50));
    return result;
}

static int send_all(void *arg)
{
    struct side *side = arg;
    struct coil__sched *other;

    do {
        coil_yield();
        other = atomic_load(&side->other->sched);
    } while (!other);
    for (int i = 0; i < POSTS; i++) {
        side->messages[i] = (struct message){.post.run = arrive, .to = side->other};
        (void)coil__remote_post(other->remote, &side->messages[i].post);
        if (i % 100 == 0)
            coil_yield();
    }
    return 0;
}

static int run_side(void *arg)
{
    struct side *side = arg;
    coil_fiber *sender = NULL;
    int result;

    coil_sem_init(&side->all_arrived, 0);
    coil__sched_this->outside_count++; /* the other side posts */
    atomic_store(&side->sched, coil__sched_this);
    for (int i = 0; i < SLEEPERS; i++)
        if (coil_spawn(nap, NULL, NULL) < 0)
            return -1;
    result = coil_spawn(send_all, side, &sender);
    if (result == 0)
        result = coil_join(sender, NULL);
    if (result == 0)
        result = coil_sem_acquire(&side->all_arrived);
    coil_fiber_unref(sender);
    return result;
}

static int wait_for_both(void *arg)
{
    const int result = run_side(arg);

    (void)pthread_barrier_wait(&end);
    return result;
}

static void *run_thread(void *arg)
{
    struct side *side = arg;
    int result = -1;

    side->status = coil_run(wait_for_both, side, NULL, &result);
    if (side->status == 0)
        side->status = result;
    return NULL;
}

int main(void)
{
    int status = 0;

    (void)pthread_barrier_init(&end, NULL, SIDES);
    for (int i = 0; i < SIDES; i++) {
        sides[i].other = &sides[1 - i];
        sides[i].messages = calloc(POSTS, sizeof *sides[i].messages);
        if (!sides[i].messages)
            return 1;
    }
    for (int i = 0; i < SIDES; i++)
        if (pthread_create(&sides[i].thread, NULL, run_thread, &sides[i]) != 0)
            return 1;
    for (int i = 0; i < SIDES; i++) {
        (void)pthread_join(sides[i].thread, NULL);
        if (sides[i].status != 0 || sides[i].arrived != POSTS) {
            (void)fprintf(stderr, "side %d: status %d, %d of %d posts arrived\n", i,
                          sides[i].status, sides[i].arrived, POSTS);
            status = 1;
        }
        free(sides[i].messages);
    }
    return status;
}
