/* SPDX-License-Identifier: MIT */
/* Locks: nobody waits, or the next fiber does.
 *
 * `mutex_free` is a lock and an unlock that nobody else wants, `rwlock_read` the same for reading.
 * In `mutex_hand_over` three fibers contend for a mutex and each asks again as soon as it has
 * unlocked: an operation is one unlock that hands over, one lock that parks, the switch between.
 * Two would not do: one that has used up its steps yields before it asks, the other then finds the
 * mutex free for ever, and nothing is handed over any more.
 * In `mutex_contended` two fibers yield while they hold the mutex, as if they waited for something
 * there: an operation is a lock that parks, a yield, an unlock that hands over.
 * In `cond_signal` two fibers answer each other: an operation is one signal and one wait, with the
 * mutex held, so one unlock and one hand-over of the mutex, and the switch.
 */
#include <errno.h>

#include <coil/coil.h>

#include "measure.h"

enum {
    CONTENDERS = 3,
};

struct contended {
    coil_mutex mutex;
    coil_cond cond;
    long count;
    long free_count; /* unlocks for which nobody waited */
    int turn;
};

struct player {
    struct contended *contended;
    int me;
};

static int contend(void *arg)
{
    struct contended *contended = arg;

    measure_check(coil_mutex_lock(&contended->mutex), "coil_mutex_lock");
    coil_yield(); /* so that the others come and wait; from then on some of them do */
    for (long i = 0; i < contended->count; i += CONTENDERS) {
        measure_check(coil_mutex_unlock(&contended->mutex), "coil_mutex_unlock");
        contended->free_count += !coil_mutex_owner(&contended->mutex);
        measure_check(coil_mutex_lock(&contended->mutex), "coil_mutex_lock");
    }
    measure_check(coil_mutex_unlock(&contended->mutex), "coil_mutex_unlock");
    return 0;
}

static int yield_while_locked(void *arg)
{
    struct contended *contended = arg;

    for (long i = 0; i < contended->count; i += 2) {
        measure_check(coil_mutex_lock(&contended->mutex), "coil_mutex_lock");
        coil_yield();
        measure_check(coil_mutex_unlock(&contended->mutex), "coil_mutex_unlock");
    }
    return 0;
}

static int answer(void *arg)
{
    const struct player *player = arg;
    struct contended *contended = player->contended;

    measure_check(coil_mutex_lock(&contended->mutex), "coil_mutex_lock");
    for (long i = 0; i < contended->count; i += 2) {
        while (contended->turn != player->me)
            measure_check(coil_cond_wait(&contended->cond, &contended->mutex), "coil_cond_wait");
        contended->turn = !player->me;
        coil_cond_signal(&contended->cond);
    }
    measure_check(coil_mutex_unlock(&contended->mutex), "coil_mutex_unlock");
    return 0;
}

static void contended_init(struct contended *contended, long count)
{
    *contended = (struct contended){.count = count};
    coil_mutex_init(&contended->mutex);
    coil_cond_init(&contended->cond);
}

static int64_t hand_over(long count)
{
    struct contended contended;
    coil_fiber *others[CONTENDERS - 1];
    int64_t start;
    int64_t taken;

    contended_init(&contended, count);
    for (int i = 0; i < CONTENDERS - 1; i++)
        measure_check(coil_spawn(contend, &contended, &others[i]), "coil_spawn");
    start = measure_now();
    (void)contend(&contended);
    for (int i = 0; i < CONTENDERS - 1; i++)
        measure_check(coil_join(others[i], NULL), "coil_join");
    taken = measure_now() - start;
    for (int i = 0; i < CONTENDERS - 1; i++)
        coil_fiber_unref(others[i]);
    /* Nobody waits at the end; before, a few by the way are no other measurement. */
    measure_check(contended.free_count <= 10 + count / 100 ? 0 : -EIO, "hand-overs that were none");
    return taken;
}

/* Runs `one` here and `other` in a fiber of its own. */
static int64_t run_two(int (*fn)(void *), void *one, void *other)
{
    coil_fiber *partner;
    int64_t start;
    int64_t taken;

    measure_check(coil_spawn(fn, other, &partner), "coil_spawn");
    start = measure_now();
    (void)fn(one);
    measure_check(coil_join(partner, NULL), "coil_join");
    taken = measure_now() - start;
    coil_fiber_unref(partner);
    return taken;
}

static int64_t contended_by_two(long count)
{
    struct contended contended;

    contended_init(&contended, count);
    return run_two(yield_while_locked, &contended, &contended);
}

static int64_t signal_each_other(long count)
{
    struct contended contended;
    struct player players[] = {{&contended, 0}, {&contended, 1}};

    contended_init(&contended, count);
    return run_two(answer, &players[0], &players[1]);
}

static int64_t lock_free(long count)
{
    const int64_t start = measure_now();
    coil_mutex mutex;

    coil_mutex_init(&mutex);
    for (long i = 0; i < count; i++) {
        measure_check(coil_mutex_lock(&mutex), "coil_mutex_lock");
        measure_check(coil_mutex_unlock(&mutex), "coil_mutex_unlock");
    }
    return measure_now() - start;
}

static int64_t read_free(long count)
{
    const int64_t start = measure_now();
    coil_rwlock lock;

    coil_rwlock_init(&lock);
    for (long i = 0; i < count; i++) {
        measure_check(coil_rwlock_lock_read(&lock), "coil_rwlock_lock_read");
        measure_check(coil_rwlock_unlock(&lock), "coil_rwlock_unlock");
    }
    return measure_now() - start;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"mutex_hand_over", hand_over},     {"mutex_contended", contended_by_two},
        {"mutex_free", lock_free},          {"rwlock_read", read_free},
        {"cond_signal", signal_each_other}, {0},
    };

    return measure_main_in_fiber(argc, argv, cases);
}
