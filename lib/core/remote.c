/* SPDX-License-Identifier: MIT */
/* Posts and counted handles (core/remote.h says how they outlive the scheduler). */
#include "core/remote.h"

#include <errno.h>
#include <sched.h>

#include "base/alloc.h"
#include "core/team.h"

COIL_STATIC_ASSERT(sizeof(coil_remote) <= 56, "a promise of the header");

COIL_STATIC_ASSERT(sizeof(coil_post_node) == 16, "a promise of the header");

/* What `posts` points to when no more are taken. Never called. */
static struct coil__post mark;

/* ---- Posting ---- */

static bool push(coil_remote *remote, struct coil__post *post, struct coil__post **ret_below)
{
    struct coil__post *head = atomic_load(&remote->posts);

    do {
        if (head == &mark)
            return false;
        post->next = head;
    } while (!atomic_compare_exchange_weak(&remote->posts, &head, post));
    *ret_below = head;
    return true;
}

int coil__remote_post(coil_remote *remote, struct coil__post *post)
{
    struct coil__post *below = NULL;
    bool is_accepted;

    atomic_fetch_add(&remote->visitor_count, 1);
    is_accepted = push(remote, post, &below);
    if (is_accepted && !below)
        remote->sched->engine->ops->wake(remote->sched->engine);
    atomic_fetch_sub_explicit(&remote->visitor_count, 1, memory_order_release);
    return is_accepted ? 0 : -ESHUTDOWN;
}

int coil_post(coil_remote *remote, coil_post_node *node)
{
    return coil__remote_post(remote, node);
}

void coil__remote_ring(coil_remote *remote)
{
    atomic_fetch_add(&remote->visitor_count, 1);
    if (atomic_load(&remote->posts) != &mark)
        remote->sched->engine->ops->wake(remote->sched->engine);
    atomic_fetch_sub_explicit(&remote->visitor_count, 1, memory_order_release);
}

/* ---- The scheduler's side ---- */

bool coil__remote_has_posts(const coil_remote *remote)
{
    const struct coil__post *head = atomic_load_explicit(&remote->posts, memory_order_relaxed);

    return head && head != &mark;
}

/* Calls the posts of a stack, from its bottom. */
static void run_from_oldest(coil_remote *remote, struct coil__post *newest)
{
    struct coil__post *oldest = NULL;

    while (newest) {
        struct coil__post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct coil__post *next = oldest->next;

        remote->post_count++;
        oldest->run(oldest);
        oldest = next;
    }
}

void coil__remote_run_posts(coil_remote *remote)
{
    /* Only this thread puts the mark, so it can't appear in between. */
    if (coil__remote_has_posts(remote))
        run_from_oldest(remote,
                        atomic_exchange_explicit(&remote->posts, NULL, memory_order_acquire));
}

bool coil__remote_try_close(coil_remote *remote)
{
    struct coil__post *none = NULL;

    return atomic_compare_exchange_strong(&remote->posts, &none, &mark) || none == &mark;
}

void coil__remote_close(coil_remote *remote)
{
    struct coil__post *rest = atomic_exchange(&remote->posts, &mark);

    if (rest != &mark)
        run_from_oldest(remote, rest);
    while (atomic_load(&remote->visitor_count) > 0)
        (void)sched_yield();
}

/* ---- Handles ---- */

static void drop(coil_remote *remote)
{
    if (atomic_fetch_sub(&remote->reference_count, 1) == 1)
        coil__free(remote);
}

/* On the scheduler's own thread, while it lives: the team's reference stays. */
static void drop_here(coil_remote *remote)
{
    const unsigned before = atomic_fetch_sub(&remote->reference_count, 1);

    COIL_ASSERT(before >= 2);
    if (before > 2)
        return;
    COIL_ASSERT(remote->sched->outside_count > 0);
    remote->sched->outside_count--;
}

static void drop_posted(struct coil__post *post)
{
    drop_here(container_of(post, coil_remote, unref_post));
}

/* Gives back a handle that is not the last one. */
static bool drop_one_of_several(coil_remote *remote)
{
    unsigned count = atomic_load(&remote->reference_count);

    while (count > 2)
        if (atomic_compare_exchange_weak(&remote->reference_count, &count, count - 1))
            return true;
    return false;
}

coil_remote *coil__remote_new(struct coil__sched *sched, bool is_alone)
{
    coil_remote *remote = coil__alloc(sizeof *remote);

    if (!remote)
        return NULL;
    remote->sched = sched;
    remote->is_alone = is_alone;
    remote->unref_post.run = drop_posted;
    atomic_init(&remote->reference_count, 1);
    return remote;
}

void coil__remote_free(coil_remote *remote)
{
    if (remote)
        drop(remote);
}

coil_remote *coil_remote_get(unsigned core)
{
    struct coil__sched *sched = coil__sched();
    coil_remote *remote = coil__team_remote(sched, core);

    if (!remote)
        return NULL;
    /* One that is on its way back by a post still counts, so this may be the second. */
    if (atomic_fetch_add(&remote->reference_count, 1) == 1 && remote->is_alone)
        sched->outside_count++;
    return remote;
}

coil_remote *coil_remote_ref(coil_remote *remote)
{
    const unsigned count = atomic_fetch_add(&remote->reference_count, 1);

    COIL_ASSERT(count > 0 && "the caller holds a reference");
    return remote;
}

void coil_remote_unref(coil_remote *remote)
{
    if (!remote)
        return;
    if (!remote->is_alone) {
        drop(remote);
        return;
    }
    if (coil__sched_this && coil__sched_this->remote == remote) {
        drop_here(remote);
        return;
    }
    if (drop_one_of_several(remote))
        return;
    /* The only handle: nobody else uses the post. A scheduler that has ended counts no more. */
    if (coil_post(remote, &remote->unref_post) < 0)
        drop(remote);
}

/* ---- Starting fibers ---- */

struct start {
    struct coil__post post;
    int (*fn)(void *arg);
    void *arg;
    void (*refused)(void *arg);
    const void *spawn_site;
};

static void start_posted(struct coil__post *post)
{
    struct start *start = container_of(post, struct start, post);

    if (coil__fiber_spawn(coil__sched_this, start->fn, start->arg, start->spawn_site, NULL) < 0 &&
        start->refused)
        start->refused(start->arg);
    coil__free(start);
}

int coil_post_spawn(coil_remote *remote, int (*fn)(void *), void *arg, void (*refused)(void *arg))
{
    struct start *start = coil__alloc(sizeof *start);
    int result;

    if (!start)
        return -ENOMEM;
    *start = (struct start){
        .post = {.run = start_posted},
        .fn = fn,
        .arg = arg,
        .refused = refused,
        .spawn_site = __builtin_return_address(0),
    };
    result = coil_post(remote, &start->post);
    if (result < 0)
        coil__free(start);
    return result;
}
