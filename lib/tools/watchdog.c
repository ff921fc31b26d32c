/* SPDX-License-Identifier: MIT */
/* The watchdog (coil/watchdog.h).
 *
 * A slice is what a fiber runs between two switches, and switch_count is its number. The watching
 * thread looks at that number and at whether a fiber runs at all, both of which the loop stores
 * atomically: the same slice at two looks is one that has lasted from the first to the second.
 * Looks are counted besides the time, which also passes while the process is stopped.
 *
 * Who it is and where, only the watched thread can tell without a race: it is asked by a signal,
 * and its handler fills the snapshot. The semaphore orders the two threads: the snapshot is the
 * handler's from the request to the post, and the watcher's otherwise. A request that is not
 * answered (the thread is stuck in the kernel) is taken back.
 *
 * What coil_watchdog_ignore() sets, the watched thread stores and nobody else: a watcher that stood
 * still after an answer would undo what has been set since. It also counts the changes, as part of
 * a slice that was allowed to block has to end what the watcher counts: an answer that comes after
 * a change tells nothing about the time before it.
 *
 * The backtrace comes from the unwinder of the compiler's runtime: the code that blocks is the
 * program's or the C library's, which seldom keep frame pointers. It runs on the alternate signal
 * stack, since a fiber's own may have no room left.
 */
#include <coil/watchdog.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unwind.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "core/describe.h"
#include "core/handler.h"
#include "core/run.h"
#include "core/team.h"

COIL_STATIC_ASSERT(sizeof(coil_watchdog_report) == 56, "a promise of the header");

enum {
    FRAMES_MAX = 64,
    FRAMES_LOGGED = 24,
    LOOKS_PER_LIMIT = 4,
};

static const coil_time limit_default = COIL_MS(100);
static const coil_time limit_min = COIL_MS(1);
static const coil_time answer_patience = COIL_SECONDS(1);

struct snapshot {
    uint64_t slice;
    uint64_t fiber_id;
    char name[COIL__FIBER_NAME_SIZE];
    uint64_t change_count;
    bool is_ignored;
    const void *frames[FRAMES_MAX];
    size_t frame_count;
};

struct watchdog {
    coil_watchdog_options options;
    struct coil__sched *sched;
    pthread_t watched;
    pthread_t watcher;
    pthread_mutex_t lock;
    pthread_cond_t stopping;
    bool is_stopping; /* under the lock */
    sem_t answered;
    atomic_bool is_asked;
    struct snapshot snapshot;

    /* The watched thread's to write. */
    _Atomic(uint64_t) ignored_slice; /* that the watcher need not ask about; its number + 1, or 0 */
    _Atomic(uint64_t) change_count;  /* how often it has been said who may block */

    /* The watcher's own. */
    uint64_t slice;
    uint64_t seen_change_count;
    int64_t since;  /* when it first saw the slice, with that count */
    unsigned looks; /* how often it has seen it again */
    bool is_reported;
};

/* ---- In the watched thread ---- */

struct walk {
    const void **frames;
    size_t count;
    size_t interrupted; /* index of the frame that the signal has interrupted */
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    int is_before = 0;
    const uintptr_t at = _Unwind_GetIPInfo(context, &is_before);

    if (at == 0 || walk->count >= FRAMES_MAX)
        return _URC_END_OF_STACK;
    if (is_before && walk->interrupted == 0)
        walk->interrupted = walk->count;
    /* As if it were a return address, which is behind its call. */
    walk->frames[walk->count++] = (const void *)(at + (is_before ? 1 : 0));
    return _URC_NO_REASON;
}

/* Async-signal-safe as far as the unwinder is: it takes no lock that this thread could hold but the
 * dynamic linker's, which is recursive. */
static void take_snapshot(struct watchdog *watchdog, const struct coil__sched *sched)
{
    struct snapshot *snapshot = &watchdog->snapshot;
    const struct coil__tcb *tcb = sched->current;
    struct walk walk = {.frames = snapshot->frames};

    snapshot->slice = sched->switch_count;
    snapshot->change_count = atomic_load(&watchdog->change_count);
    snapshot->fiber_id = 0;
    snapshot->frame_count = 0;
    if (!tcb)
        return;
    snapshot->fiber_id = tcb->handle->id;
    snapshot->is_ignored = tcb->is_unwatched;
    if (snapshot->is_ignored)
        atomic_store(&watchdog->ignored_slice, snapshot->slice + 1);
    memcpy(snapshot->name, tcb->handle->name, sizeof snapshot->name);
    (void)_Unwind_Backtrace(add_frame, &walk);
    /* What is inside of the interrupted frame is this handler. */
    snapshot->frame_count = walk.count - walk.interrupted;
    memmove(snapshot->frames, snapshot->frames + walk.interrupted,
            snapshot->frame_count * sizeof snapshot->frames[0]);
}

static void on_signal(int number)
{
    const int error = errno;
    const struct coil__sched *sched = coil__sched_this;
    struct watchdog *watchdog = sched ? sched->parts[COIL__PART_WATCHDOG].state : NULL;

    (void)number;
    if (watchdog && atomic_exchange(&watchdog->is_asked, false)) {
        take_snapshot(watchdog, sched);
        (void)sem_post(&watchdog->answered);
    }
    errno = error;
}

static pthread_mutex_t handlers_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned handler_users[COIL__SIGNALS_END];
static struct coil__handler handlers[COIL__SIGNALS_END];

static const struct sigaction action = {
    .sa_handler = on_signal,
    .sa_flags = SA_RESTART | SA_ONSTACK,
};

static int install_handler(int number)
{
    int result = 0;

    (void)pthread_mutex_lock(&handlers_lock);
    if (handler_users[number] == 0)
        result = coil__handler_install(number, &action, &handlers[number]);
    if (result == 0)
        handler_users[number]++;
    (void)pthread_mutex_unlock(&handlers_lock);
    return result;
}

static void remove_handler(int number)
{
    (void)pthread_mutex_lock(&handlers_lock);
    if (--handler_users[number] == 0)
        coil__handler_remove(number, &action, &handlers[number]);
    (void)pthread_mutex_unlock(&handlers_lock);
}

/* ---- In the watching thread ---- */

static void log_report(const coil_watchdog_report *report)
{
    char line[COIL__LOG_LINE_SIZE];
    struct coil__text text;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__text_add(&text, "fiber ");
    coil__text_add_number(&text, report->fiber_id);
    coil__text_add(&text, " '");
    coil__text_add(&text, report->fiber_name);
    coil__text_add(&text, report->is_over ? "' ran for " : "' blocks the loop: it has run for ");
    coil__text_add_time(&text, report->ran);
    coil__log(COIL_LOG_WARNING, "%s", line);
    for (size_t i = 0; i < report->frame_count && i < FRAMES_LOGGED; i++) {
        coil__text_init(&text, line, sizeof line, NULL);
        coil__text_add(&text, "  ");
        coil__describe_frame(&text, i, report->frames[i]);
        coil__log(COIL_LOG_WARNING, "%s", line);
    }
}

static void tell(const struct watchdog *watchdog, bool is_over, int64_t now)
{
    const struct snapshot *snapshot = &watchdog->snapshot;
    const coil_watchdog_report report = {
        .size = sizeof report,
        .fiber_id = snapshot->fiber_id,
        .fiber_name = snapshot->name,
        .ran = now - watchdog->since,
        .is_over = is_over,
        .frames = snapshot->frames,
        .frame_count = is_over ? 0 : snapshot->frame_count,
    };

    if (watchdog->options.hook)
        watchdog->options.hook(&report, watchdog->options.arg);
    else
        log_report(&report);
}

static bool await_answer(struct watchdog *watchdog)
{
    struct timespec deadline;

    (void)clock_gettime(CLOCK_REALTIME, &deadline); /* what sem_timedwait(3) wants */
    deadline.tv_sec += answer_patience / COIL_SECONDS(1);
    while (sem_timedwait(&watchdog->answered, &deadline) != 0)
        if (errno != EINTR)
            return false;
    return true;
}

/* Has the watched thread fill the snapshot; false when it does not answer. */
static bool ask(struct watchdog *watchdog)
{
    watchdog->snapshot.name[0] = '\0';
    atomic_store(&watchdog->is_asked, true);
    if (pthread_kill(watchdog->watched, watchdog->options.signal_number) == 0 &&
        await_answer(watchdog))
        return true;
    if (!atomic_exchange(&watchdog->is_asked, false)) {
        /* It has just begun to answer. */
        while (sem_wait(&watchdog->answered) != 0)
            continue;
        return true;
    }
    watchdog->snapshot.fiber_id = 0;
    watchdog->snapshot.frame_count = 0;
    watchdog->snapshot.slice = watchdog->slice;
    watchdog->snapshot.change_count = atomic_load(&watchdog->change_count);
    watchdog->snapshot.is_ignored = false;
    return false;
}

static void report_blocker(struct watchdog *watchdog, int64_t now)
{
    const struct snapshot *snapshot = &watchdog->snapshot;

    (void)ask(watchdog);
    if (snapshot->slice != watchdog->slice)
        return; /* it has parked meanwhile */
    if (snapshot->is_ignored || snapshot->change_count != watchdog->seen_change_count)
        return; /* it may block, or might until just now */
    watchdog->is_reported = true;
    tell(watchdog, false, now);
}

static void count_anew(struct watchdog *watchdog, uint64_t slice, uint64_t change_count,
                       int64_t now)
{
    watchdog->slice = slice;
    watchdog->seen_change_count = change_count;
    watchdog->since = now;
    watchdog->looks = 0;
}

static void look(struct watchdog *watchdog)
{
    struct coil__sched *sched = watchdog->sched;
    const bool is_running = __atomic_load_n(&sched->current, __ATOMIC_RELAXED) != NULL;
    const uint64_t slice = __atomic_load_n(&sched->switch_count, __ATOMIC_RELAXED);
    const uint64_t change_count = atomic_load(&watchdog->change_count);
    const bool is_ignored = atomic_load(&watchdog->ignored_slice) == slice + 1;
    const int64_t now = coil__clock_now();

    if (!is_running || slice != watchdog->slice) {
        if (watchdog->is_reported)
            tell(watchdog, true, now);
        watchdog->is_reported = false;
        count_anew(watchdog, slice, change_count, now);
    } else if (!watchdog->is_reported) {
        /* Once is enough, and its end tells the time from the beginning. */
        if (is_ignored || change_count != watchdog->seen_change_count)
            count_anew(watchdog, slice, change_count, now);
        else if (++watchdog->looks >= LOOKS_PER_LIMIT &&
                 now - watchdog->since >= watchdog->options.limit)
            report_blocker(watchdog, now);
    }
}

static void *watch(void *arg)
{
    struct watchdog *watchdog = arg;
    bool is_stopping = false;
    cpu_set_t cpus;

    if (coil__team_is_pinned(watchdog->sched, &cpus))
        (void)sched_setaffinity(0, sizeof cpus, &cpus); /* away from whoever blocks that one */
    (void)pthread_setname_np(pthread_self(), "coil-watchdog");
    while (!is_stopping) {
        const struct timespec until =
            coil__clock_timespec(coil__clock_deadline(watchdog->options.limit / LOOKS_PER_LIMIT));

        (void)pthread_mutex_lock(&watchdog->lock);
        while (!watchdog->is_stopping &&
               pthread_cond_timedwait(&watchdog->stopping, &watchdog->lock, &until) == 0)
            continue;
        is_stopping = watchdog->is_stopping;
        (void)pthread_mutex_unlock(&watchdog->lock);
        if (!is_stopping)
            look(watchdog);
    }
    return NULL;
}

/* ---- Starting and stopping ---- */

static int read_options(coil_watchdog_options *ret_options, const coil_watchdog_options *options)
{
    int result = coil__options_read(ret_options, sizeof *ret_options, options);

    if (result < 0)
        return result;
    if (!ret_options->limit)
        ret_options->limit = limit_default;
    if (!ret_options->signal_number)
        ret_options->signal_number = SIGRTMAX - 1;
    if (ret_options->limit < limit_min || ret_options->signal_number < 1 ||
        ret_options->signal_number >= COIL__SIGNALS_END)
        return -EINVAL;
    return 0;
}

static int start_watcher(struct watchdog *watchdog)
{
    sigset_t all;
    sigset_t before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&watchdog->watcher, NULL, watch, watchdog);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

static void init_locks(struct watchdog *watchdog)
{
    pthread_condattr_t attributes;

    (void)pthread_mutex_init(&watchdog->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watchdog->stopping, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)sem_init(&watchdog->answered, 0, 0);
}

static void fini_locks(struct watchdog *watchdog)
{
    (void)sem_destroy(&watchdog->answered);
    (void)pthread_cond_destroy(&watchdog->stopping);
    (void)pthread_mutex_destroy(&watchdog->lock);
}

/* A signal that this thread did not take, having blocked it, is still with the kernel, and would
 * meet the default action, which ends the program. */
static void drop_pending(int number)
{
    const struct timespec at_once = {0};
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, number);
    while (sigtimedwait(&signals, NULL, &at_once) > 0)
        continue;
}

static void stop(struct coil__sched *sched, void *state)
{
    struct watchdog *watchdog = state;

    (void)sched;
    (void)pthread_mutex_lock(&watchdog->lock);
    watchdog->is_stopping = true;
    (void)pthread_cond_signal(&watchdog->stopping);
    (void)pthread_mutex_unlock(&watchdog->lock);
    (void)pthread_join(watchdog->watcher, NULL);
    drop_pending(watchdog->options.signal_number);
    remove_handler(watchdog->options.signal_number);
    fini_locks(watchdog);
}

static void init(struct coil__sched *sched, void *state)
{
    struct watchdog *watchdog = state;

    watchdog->sched = sched;
    watchdog->watched = pthread_self();
    watchdog->slice = sched->switch_count;
    watchdog->since = coil__clock_now();
    init_locks(watchdog);
}

/* Takes the slot back, whose state has been stopped or has never run. */
static void free_part(struct coil__sched *sched)
{
    struct coil__part_slot *slot = &sched->parts[COIL__PART_WATCHDOG];
    void *state = slot->state;

    slot->state = NULL;
    coil__free(state);
}

int coil_watchdog_start(const coil_watchdog_options *options)
{
    struct coil__sched *sched = coil__sched();
    coil_watchdog_options chosen;
    struct watchdog *watchdog;
    int result = read_options(&chosen, options);

    if (result < 0)
        return result;
    if (sched->parts[COIL__PART_WATCHDOG].state)
        return -EBUSY;
    result = install_handler(chosen.signal_number);
    if (result < 0)
        return result;
    watchdog = coil__sched_part(sched, COIL__PART_WATCHDOG, sizeof *watchdog, init, stop);
    if (!watchdog) {
        remove_handler(chosen.signal_number);
        return -ENOMEM;
    }
    watchdog->options = chosen;
    result = start_watcher(watchdog);
    if (result < 0) {
        remove_handler(chosen.signal_number);
        fini_locks(watchdog);
        free_part(sched);
    }
    return result;
}

void coil_watchdog_stop(void)
{
    struct coil__sched *sched = coil__sched();
    struct watchdog *watchdog = sched->parts[COIL__PART_WATCHDOG].state;

    if (!watchdog)
        return;
    stop(sched, watchdog);
    free_part(sched);
}

bool coil_watchdog_ignore(bool is_ignored)
{
    struct coil__tcb *self = coil__self();
    struct watchdog *watchdog = self->sched->parts[COIL__PART_WATCHDOG].state;
    const bool was_ignored = self->is_unwatched;

    /* In this order: a signal in between is an answer after the change; and what its handler stores
     * when the fiber still may block is stored over. */
    if (watchdog)
        (void)atomic_fetch_add(&watchdog->change_count, 1);
    self->is_unwatched = is_ignored;
    if (watchdog)
        atomic_store(&watchdog->ignored_slice, is_ignored ? self->sched->switch_count + 1 : 0);
    return was_ignored;
}
