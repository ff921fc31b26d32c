/* SPDX-License-Identifier: MIT */
/* The cores of one coil_run(): a thread each, with a scheduler and a ring of its own (design D1).
 *
 *   team.c   threads: started together, told to end together, joined
 *   run.c    one core's life, from its engine to its last fiber
 *
 * Core 0 is the thread that called coil_run(). Each of the others opens its engine itself, since a
 * ring belongs to the thread that made it, and reports; main starts when all stand. If one can't
 * be started, all are taken down again and the reason is returned.
 *
 * The end: main has returned, or a core's engine has failed. Every core cancels its own fibers, and
 * none leaves while any core has fibers, because those may still call over (a clean-up inside a
 * shield, say). busy_count is the number of cores that have fibers; it can't rise from 0 by
 * anything that coil's cores do, because whoever calls another core is a fiber. A core leaves when
 * busy_count is 0 and nothing is posted to it, or when its grace is over.
 *
 * Invariants: the members' remotes are complete before any fiber runs and last until all threads
 * are joined; a core's other fields are its own thread's.
 */
#ifndef COIL_LIB_CORE_TEAM_H
#define COIL_LIB_CORE_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <coil/run.h>

#include "core/remote.h"
#include "core/sched.h"

enum {
    /* Beyond it a typing error is likelier. The kernel itself ends at 8,192. */
    COIL__CORES_MAX = 1024,
};

struct coil__team;

struct coil__core {
    struct coil__sched sched;
    struct coil__timer grace;
    struct coil_fiber *main; /* of core 0; NULL of all others */
    bool is_grace_over;
    bool is_deadlocked;
    bool is_busy; /* counted in busy_count */
};

/* What the team knows of a core. All but the remote is its own thread's until that is joined. */
struct coil__member {
    struct coil__team *team;
    coil_remote *remote;
    pthread_t thread; /* not of core 0 */
    int status;       /* 0; the engine's error; -ETIMEDOUT when fibers are lost; or -EDEADLK */
    bool is_lost;     /* the kernel may still write to its memory, all of which stays */
};

enum coil__team_verdict {
    COIL__TEAM_WAITS,
    COIL__TEAM_GOES,
    COIL__TEAM_GIVES_UP,
};

struct coil__team {
    coil_options options;
    unsigned count;         /* of cores */
    const void *spawn_site; /* of main: who called coil_run() */
    cpu_set_t cpus;         /* that may be used, for pinning */
    atomic_bool is_ending;
    _Atomic(unsigned) busy_count;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned reported_count; /* threads that stand or have failed to; under the lock, as these: */
    int refusal;             /* why the first of those failed */
    enum coil__team_verdict verdict;

    struct coil__member members[];
};

/* ---- team.c ---- */

/* The remote of `core` in the run of `sched`, or NULL. */
coil_remote *coil__team_remote(const struct coil__sched *sched, unsigned core);

/* The number of CPUs that this thread may use. */
unsigned coil__team_cpu_count(void);

/* Makes a team that nobody is in yet; `options` are checked and complete. Returns 0, -ENOMEM, or
 * why the CPUs that may be used can't be told. */
int coil__team_new(const coil_options *options, struct coil__team **ret_team);

/* Ties the calling thread, core `number`, to a CPU. Returns 0 or why not. */
int coil__team_pin(const struct coil__team *team, unsigned number);

/* Lets the calling thread use all CPUs again that it could when the team was made. */
void coil__team_unpin(const struct coil__team *team);

/* Whether the cores are tied to CPUs: then what they start (threads, and by them processes)
 * inherits that. Stores the CPUs that it should use instead, those of before the run. */
bool coil__team_is_pinned(const struct coil__sched *sched, cpu_set_t *ret_cpus);

/* Starts all cores but the first. Returns 0, or the reason after they have been taken down. */
int coil__team_start(struct coil__team *team);

/* Tells all cores to end. From any of their threads. */
void coil__team_end(struct coil__team *team);

/* Counts `core` as having fibers, or not. */
void coil__team_set_busy(struct coil__core *core, bool is_busy);

/* Waits for the threads of the other cores. */
void coil__team_join(struct coil__team *team);

/* The worst of how the cores ended: an engine's error or -EDEADLK, else -ETIMEDOUT, else 0. */
int coil__team_status(const struct coil__team *team);

/* Frees it, unless a core is lost: its fibers hold on to all of this. */
void coil__team_free(struct coil__team *team);

/* ---- run.c ---- */

/* Opens an engine in the calling thread and makes it core `number`. */
int coil__core_open(struct coil__team *team, unsigned number, struct coil__core **ret_core);

/* Runs the loop until the end, and refuses posts from then on. */
void coil__core_run(struct coil__core *core);

/* Takes the core down; what is lost stays where it is. */
void coil__core_close(struct coil__core *core);

#endif
