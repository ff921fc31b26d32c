/* SPDX-License-Identifier: MIT */
/* The cores' threads: started together, told to end together, joined (core/team.h).
 *
 * Starting is a rendezvous under the team's lock. A thread opens its core and reports; core 0 waits
 * until all have and gives the verdict. Telling the end needs no lock: a flag that each loop looks
 * at once per turn, and a ring for those that sleep.
 */
#include "core/team.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"

enum {
    THREAD_NAME_SIZE = 16,
};

/* ---- Asked by all layers ---- */

coil_remote *coil__team_remote(const struct coil__sched *sched, unsigned core)
{
    return core < sched->team->count ? sched->team->members[core].remote : NULL;
}

unsigned coil__team_cpu_count(void)
{
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return 1; /* more CPUs than the set has bits */
    return (unsigned)CPU_COUNT(&allowed);
}

/* ---- Pinning ---- */

int coil__team_pin(const struct coil__team *team, unsigned number)
{
    unsigned left = number % (unsigned)CPU_COUNT(&team->cpus);
    cpu_set_t chosen;
    size_t cpu = 0;

    while (!CPU_ISSET(cpu, &team->cpus) || left-- > 0)
        cpu++;
    CPU_ZERO(&chosen);
    CPU_SET(cpu, &chosen);
    return sched_setaffinity(0, sizeof chosen, &chosen) < 0 ? -errno : 0;
}

void coil__team_unpin(const struct coil__team *team)
{
    (void)sched_setaffinity(0, sizeof team->cpus, &team->cpus);
}

bool coil__team_is_pinned(const struct coil__sched *sched, cpu_set_t *ret_cpus)
{
    if (!sched->team->options.pin_cores)
        return false;
    *ret_cpus = sched->team->cpus;
    return true;
}

/* ---- Starting ---- */

int coil__team_new(const coil_options *options, struct coil__team **ret_team)
{
    const unsigned count = options->cores;
    struct coil__team *team = coil__alloc(sizeof *team + count * sizeof team->members[0]);

    if (!team)
        return -ENOMEM;
    if (options->pin_cores && sched_getaffinity(0, sizeof team->cpus, &team->cpus) < 0) {
        coil__free(team);
        return -errno;
    }
    team->options = *options;
    team->count = count;
    for (unsigned i = 0; i < count; i++)
        team->members[i].team = team;
    (void)pthread_mutex_init(&team->lock, NULL);
    (void)pthread_cond_init(&team->changed, NULL);
    *ret_team = team;
    return 0;
}

/* Tells core 0 how the start went, and waits for the verdict. */
static bool report_start(struct coil__team *team, int result)
{
    enum coil__team_verdict verdict;

    (void)pthread_mutex_lock(&team->lock);
    team->reported_count++;
    if (result < 0 && team->refusal == 0)
        team->refusal = result;
    (void)pthread_cond_broadcast(&team->changed);
    while (team->verdict == COIL__TEAM_WAITS)
        (void)pthread_cond_wait(&team->changed, &team->lock);
    verdict = team->verdict;
    (void)pthread_mutex_unlock(&team->lock);
    return verdict == COIL__TEAM_GOES;
}

static int stand(struct coil__team *team, unsigned number, struct coil__core **ret_core)
{
    int result = team->options.pin_cores ? coil__team_pin(team, number) : 0;

    return result < 0 ? result : coil__core_open(team, number, ret_core);
}

static void *run_thread(void *arg)
{
    struct coil__member *member = arg;
    struct coil__team *team = member->team;
    const unsigned number = (unsigned)(member - team->members);
    char name[THREAD_NAME_SIZE];
    struct coil__core *core = NULL;
    bool is_go;

    (void)snprintf(name, sizeof name, "coil-core-%u", number);
    (void)pthread_setname_np(pthread_self(), name);
    is_go = report_start(team, stand(team, number, &core));
    if (is_go)
        coil__core_run(core);
    if (core)
        coil__core_close(core);
    return NULL;
}

/* Starts threads until one can't be. Returns how many, and why no more. */
static unsigned create_threads(struct coil__team *team, int *ret_result)
{
    unsigned created = 0;
    int error = 0;

    while (error == 0 && created + 1 < team->count) {
        struct coil__member *member = &team->members[created + 1];

        error = pthread_create(&member->thread, NULL, run_thread, member);
        created += error == 0;
    }
    *ret_result = -error;
    return created;
}

static void join_threads(struct coil__team *team, unsigned count)
{
    for (unsigned i = 1; i <= count; i++)
        (void)pthread_join(team->members[i].thread, NULL);
}

int coil__team_start(struct coil__team *team)
{
    int result;
    const unsigned created = create_threads(team, &result);

    atomic_store(&team->busy_count, team->count);
    (void)pthread_mutex_lock(&team->lock);
    while (team->reported_count < created)
        (void)pthread_cond_wait(&team->changed, &team->lock);
    if (team->refusal < 0)
        result = team->refusal;
    team->verdict = result < 0 ? COIL__TEAM_GIVES_UP : COIL__TEAM_GOES;
    (void)pthread_cond_broadcast(&team->changed);
    (void)pthread_mutex_unlock(&team->lock);
    if (result < 0)
        join_threads(team, created);
    return result;
}

/* ---- Ending ---- */

static void ring_all(struct coil__team *team)
{
    for (unsigned i = 0; i < team->count; i++)
        coil__remote_ring(team->members[i].remote);
}

void coil__team_end(struct coil__team *team)
{
    if (!atomic_load(&team->is_ending) && !atomic_exchange(&team->is_ending, true))
        ring_all(team);
}

void coil__team_set_busy(struct coil__core *core, bool is_busy)
{
    struct coil__team *team = core->sched.team;

    if (core->is_busy == is_busy)
        return;
    core->is_busy = is_busy;
    if (is_busy)
        atomic_fetch_add(&team->busy_count, 1);
    else if (atomic_fetch_sub(&team->busy_count, 1) == 1)
        ring_all(team); /* they may all leave */
}

void coil__team_join(struct coil__team *team)
{
    join_threads(team, team->count - 1);
}

int coil__team_status(const struct coil__team *team)
{
    int worst = 0;

    for (unsigned i = 0; i < team->count; i++) {
        const int status = team->members[i].status;

        if (status < 0 && (worst == 0 || worst == -ETIMEDOUT))
            worst = status;
    }
    return worst;
}

void coil__team_free(struct coil__team *team)
{
    for (unsigned i = 0; i < team->count; i++)
        if (team->members[i].is_lost)
            return;
    for (unsigned i = 0; i < team->count; i++)
        coil__remote_free(team->members[i].remote);
    (void)pthread_cond_destroy(&team->changed);
    (void)pthread_mutex_destroy(&team->lock);
    coil__free(team);
}
