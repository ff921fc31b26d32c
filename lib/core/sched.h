/* SPDX-License-Identifier: MIT */
/* The scheduler of one thread, and the control block of a fiber.
 *
 * The loop (sched.c) alternates between running fibers and one engine wait. Fibers switch to each
 * other directly: a fiber that parks continues the next runnable one, and comes back to the loop
 * only when nobody is runnable or the turn's budget is spent. Everything that succeeds without
 * parking costs budget too, so no set of fibers can keep I/O and timers from their turn.
 *
 * A fiber has two parts. The control block (struct coil__tcb) is what scheduling touches; it lives
 * at the top of the fiber's stack, in the page that is resident anyway, shifted by a colour so that
 * the tops of many stacks do not fight for the same cache sets. The handle (struct coil_fiber) is
 * what outlives the stack: identity, result, joiners. Every fiber has one, and the registry of all
 * fibers is a list of handles.
 *
 * How a fiber waits: coil__park() names what it waits for and gives a function that gets it out of
 * that wait early. Exactly one of two things ends the wait: coil__wake() with a result, which is
 * final, or coil__wake_interrupted(), called by that function, upon which the park reports
 * -ETIMEDOUT or -ECANCELED, whichever the fiber's scopes say at that time.
 *
 * Invariants: a control block's link is in the ready queue (READY) or in no list; `interrupt` is
 * set only while PARKED; interrupts is 0 iff neither a scope in the chain has expired nor the fiber
 * is cancelled.
 */
#ifndef COIL_LIB_CORE_SCHED_H
#define COIL_LIB_CORE_SCHED_H

#include <stdatomic.h>

#include <coil/fiber.h>
#include <coil/scope.h>

#include "base/list.h"
#include "base/slab.h"
#include "core/stack.h"
#include "core/timer.h"
#include "engine/engine.h"

enum coil__fiber_state {
    COIL__FIBER_READY,
    COIL__FIBER_RUNNING,
    COIL__FIBER_PARKED,
};

struct coil__tcb;
struct coil__waiter;
struct coil__locals;

/* Gets a parked fiber out of its wait: now, by coil__wake_interrupted(), or later, by having its
 * operation cancelled. Called at most once per park. */
typedef void coil__interrupt(struct coil__tcb *tcb);

struct coil__tcb {
    void *context; /* saved stack pointer while not running */
    struct coil__list link;
    struct coil__sched *sched;
    struct coil_fiber *handle;
    struct coil_scope *scope; /* innermost open scope */
    coil__interrupt *interrupt;
    void *wait_object;           /* for `interrupt`, and for people */
    const char *wait_name;       /* what it waits for, a word or two, while PARKED */
    struct coil__waiter *waiter; /* its place while it waits in a queue (core/waitq.h), else NULL */
    int64_t wait_since;          /* when the turn began in which it parked; to some 4 ms */
    int wait_result;             /* what coil__wake() gave */
    unsigned interrupts;         /* expired scopes in the chain + 1 if cancelled */
    uint8_t state;               /* enum coil__fiber_state */
    bool is_cancelled;
    bool is_interrupted; /* the present wait ended, or is to end, by an interruption */
    bool is_failure_reported;
    bool is_unwatched;      /* may run as long as it likes (coil/watchdog.h) */
    uint16_t groups_open;   /* that only this fiber can leave (coil/group.h) */
    unsigned locks_held;    /* locks that only this fiber can unlock */
    uint64_t yield_turn;    /* turn of the loop in which it yielded last */
    unsigned failure_count; /* parking calls in a row that failed at once */
    unsigned mark;          /* of a walk over who waits for whom (circle.c) */
    int (*entry)(void *);
    void *arg;
    struct coil__locals *locals; /* core/local.h; NULL while it has none */
    void *stack_top;
    void *sanitizer_stack; /* ASan's fake stack while not running */
    void *sanitizer_fiber; /* TSan's name for this fiber */
};

enum {
    COIL__FIBER_NAME_SIZE = 24,
};

struct coil_fiber {
    struct coil__tcb *tcb; /* NULL when the fiber has ended */
    struct coil__list registry;
    struct coil__waitq joiners;
    uint64_t id;
    uint64_t parent_id;         /* of the fiber that spawned it; 0 when none did */
    coil_exit_hook *exit_hooks; /* oldest first */
    const void *spawn_site;     /* return address of the call that spawned it */
    unsigned reference_count;
    int result;
    bool is_collected; /* somebody has seen the result */
    char name[COIL__FIBER_NAME_SIZE];
};

/* Upper layers hang what they need per scheduler (pools of buffers, threads) here, by name, so that
 * the scheduler need not know them: coil__sched_part() in core/run.h. */
enum coil__part {
    COIL__PART_NET,
    COIL__PART_OFFLOAD,
    COIL__PART_SIGNAL,
    COIL__PART_HTTP,
    COIL__PART_WATCHDOG,
    COIL__PART_COUNT,
};

/* What the program opens in a run, and has to close there: counted, so that the end of the run can
 * name what is left (run.c). */
enum coil__opened {
    COIL__OPENED_BACKDOOR,
    COIL__OPENED_DIR,
    COIL__OPENED_LISTENER,
    COIL__OPENED_PROCESS,
    COIL__OPENED_SIGNAL,
    COIL__OPENED_UDP,
    COIL__OPENED_COUNT,
};

struct coil__part_slot {
    void *state; /* NULL until first used */
    void (*fini)(struct coil__sched *sched, void *state);
};

/* A dump that SIGQUIT asks for (core/quit.h). */
struct coil__quit {
    struct coil__post post;
    bool is_wanted;
    atomic_bool is_posted;
    unsigned count; /* dumps so far */
};

struct coil__sched {
    /* Hot: touched at every switch. */
    struct coil__tcb *current; /* NULL while the loop runs */
    struct coil__list ready;
    int budget;        /* steps left of the slice */
    bool is_turn_over; /* a fiber asked for the loop */
    void *loop_context;
    struct coil__engine *engine;

    struct coil__tcb *zombie; /* has ended; its stack is to be recycled */
    struct coil__tcb *caller; /* waits in coil__sched_call() */
    void (*call)(void *arg);
    void *call_arg;
    struct coil__stacks stacks;
    struct coil__timer trim; /* armed while more stacks are free than should stay warm */
    struct coil__slab handles;
    struct coil__list registry; /* all fibers' handles, oldest first */
    size_t fiber_count;
    size_t fiber_peak; /* the most there have been */
    size_t fibers_max;
    bool is_ending; /* main has returned: new fibers are born cancelled */
    unsigned colour_next;
    uint64_t id_last;
    int (*last)(void *timeout); /* runs as a fiber when all others have ended, within *timeout */
    coil_unhandled_hook *unhandled;
    void *unhandled_arg;

    struct coil_remote *remote; /* how other threads get in (remote.h) */
    struct coil__team *team;    /* the cores of this coil_run() (team.h) */
    unsigned core;              /* which of them this is */

    /* Sanitizers want to know where the loop's own stack is. */
    void *loop_sanitizer_stack;
    void *loop_sanitizer_fiber;
    const void *loop_stack_bottom;
    size_t loop_stack_size;

    /* What may still wake a fiber from other threads: offloaded calls, handles that others post
     * to, other cores. While it is not 0, a loop with nothing to do is no deadlock. */
    unsigned outside_count;

    int64_t turn_began; /* the coarse clock at the beginning of this turn */
    uint64_t switch_count;
    uint64_t turn_count;
    uint64_t spawn_count;

    struct coil__quit quit;
    size_t opened[COIL__OPENED_COUNT];
    struct coil__part_slot parts[COIL__PART_COUNT];

    struct coil__timers timers; /* last, because it is larger than all the rest */
};

/* The scheduler of this thread, NULL outside coil_run(). initial-exec: one instruction instead of a
 * call, and fibers never change thread, so a compiler that keeps the address is right. */
extern _Thread_local struct coil__sched *coil__sched_this
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline struct coil__sched *coil__sched(void)
{
    COIL_ASSERT(coil__sched_this && "called inside coil_run()");
    return coil__sched_this;
}

/* The calling fiber; the loop's callbacks have none. */
static inline struct coil__tcb *coil__self(void)
{
    struct coil__tcb *self = coil__sched()->current;

    COIL_ASSERT(self && "called from a fiber");
    return self;
}

/* ---- All fibers ---- */

/* The fiber spawned after `fiber`, or the oldest for NULL; NULL at the end. A link that is NULL is
 * an end, too: who walks may be there because something is broken. */
static inline struct coil_fiber *coil__fiber_next(const struct coil__sched *sched,
                                                  const struct coil_fiber *fiber)
{
    struct coil__list *link = fiber ? fiber->registry.next : sched->registry.next;

    return link && link != &sched->registry ? container_of(link, struct coil_fiber, registry)
                                            : NULL;
}

/* The fiber number `id` that has not ended, or NULL. */
static inline struct coil_fiber *coil__fiber_find(const struct coil__sched *sched, uint64_t id)
{
    struct coil_fiber *fiber = coil__fiber_next(sched, NULL);

    while (fiber && fiber->id != id)
        fiber = coil__fiber_next(sched, fiber);
    return fiber;
}

/* ---- Life of a scheduler (run.c) ---- */

void coil__sched_init(struct coil__sched *sched, struct coil__engine *engine, size_t stack_size,
                      size_t fibers_max);
void coil__sched_fini(struct coil__sched *sched);

/* Runs turns until `is_over` says so between two of them. Returns 0 or the engine's error. */
int coil__sched_loop(struct coil__sched *sched, bool (*is_over)(void *arg), void *arg);

/* The number of a fiber says which core it is on: core 3's 17th is 3000000000000017. */
#define COIL__FIBER_IDS_PER_CORE UINT64_C(1000000000000000)

/* ---- Parking ---- */

enum {
    COIL__WAKE_INTERRUPTED = INT32_MIN, /* in wait_result: the fiber is to ask its scopes */
};

/* Slow part of coil__checkpoint(). */
COIL_COLD int coil__checkpoint_slow(struct coil__tcb *self);

/* Begins a parking call of the running fiber: 0, or the error that it must return at once. Costs
 * budget and yields when that is spent. */
static inline int coil__checkpoint(struct coil__tcb *self)
{
    if (COIL_LIKELY(self->interrupts == 0 && --self->sched->budget > 0))
        return 0;
    return coil__checkpoint_slow(self);
}

/* Makes a parked fiber runnable. Final: the result reaches the fiber whatever comes after. */
static inline void coil__wake(struct coil__tcb *tcb, int result)
{
    COIL_ASSERT(tcb->state == COIL__FIBER_PARKED && "only a parked fiber can be woken, once");
    COIL_ASSERT(tcb->sched == coil__sched_this && "from its own thread; else coil_post()");
    tcb->wait_result = result;
    tcb->interrupt = NULL;
    tcb->state = COIL__FIBER_READY;
    coil__list_push_back(&tcb->sched->ready, &tcb->link);
}

/* Makes it runnable because of an interruption, which it will report. */
void coil__wake_interrupted(struct coil__tcb *tcb);

/* Interrupts `tcb` if it is parked in an interruptible wait and something visible is due. */
void coil__interrupt_if_due(struct coil__tcb *tcb);

/* Puts the running fiber behind all runnable ones. */
void coil__yield(struct coil__tcb *self);

/* What a parking call of `tcb` fails with now: 0, -ETIMEDOUT or -ECANCELED (scope.c). The first
 * only asks; the second also records which scope has spoken. */
int coil__scope_due(const struct coil__tcb *tcb);
int coil__scope_report(struct coil__tcb *tcb);

/* The nearest deadline of its scopes that would interrupt `tcb`, INT64_MAX when there is none. */
int64_t coil__scope_deadline(const struct coil__tcb *tcb);

/* Continues the next runnable fiber, or the loop; returns when somebody continues `self`, which the
 * caller has put where it will be found. */
void coil__switch_away(struct coil__tcb *self);

/* Parks the running fiber until coil__wake(), whose result is returned, or an interruption, when
 * -ETIMEDOUT or -ECANCELED is returned. Without `interrupt` the wait can't be interrupted. `name`
 * is static and says what the fiber waits for. */
static inline int coil__park(const char *name, void *object, coil__interrupt *interrupt)
{
    struct coil__tcb *self = coil__sched_this->current; /* the checkpoint made sure of it */

    self->state = COIL__FIBER_PARKED;
    self->wait_name = name;
    self->wait_object = object;
    self->wait_since = self->sched->turn_began;
    self->interrupt = interrupt;
    self->is_interrupted = false;
    /* What became due after the call's checkpoint, while this fiber was runnable, interrupted
     * nothing then and would not come again. */
    if (COIL_UNLIKELY(self->interrupts))
        coil__interrupt_if_due(self);
    coil__switch_away(self);
    self->wait_name = NULL;
    if (COIL_UNLIKELY(self->wait_result == COIL__WAKE_INTERRUPTED))
        return coil__scope_report(self);
    return self->wait_result;
}

/* Calls fn(arg) on the loop's stack and comes back: for what needs more stack than a fiber should
 * touch. fn must not park. No other fiber runs meanwhile. */
void coil__sched_call(void (*fn)(void *arg), void *arg);

/* ---- Fibers (fiber.c) ---- */

int coil__fiber_spawn(struct coil__sched *sched, int (*entry)(void *), void *arg,
                      const void *spawn_site, struct coil_fiber **ret_fiber);

/* Fired by sched.trim. */
void coil__fiber_trim(struct coil__timer *timer);

/* Recycles the stack of the fiber that ended last, if it has not been yet. Called on any other. */
void coil__fiber_bury(struct coil__sched *sched);

static inline void coil__fiber_reap(struct coil__sched *sched)
{
    if (sched->zombie)
        coil__fiber_bury(sched);
}

#endif
