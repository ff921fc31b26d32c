/* SPDX-License-Identifier: MIT */
/* coil/run.h - starting coil on the calling thread, and on more of them if asked to.
 *
 * coil_run() opens the io_uring of this thread, runs main as the first fiber, and returns when all
 * is over. When main returns, every other fiber is cancelled, also those spawned from then on, and
 * given a grace to end; those that do not are named in the log.
 *
 * Deadlock: when fibers are left, but none is runnable, no timer is armed, nothing is with the
 * kernel (no operation, no open stream or listener) and no other thread works for a fiber, nothing
 * can ever happen again. Instead of hanging, coil_run() then logs a line for each fiber (number,
 * name, what it waits for, since when, where it was spawned) and for each circle of fibers that
 * wait for each other, and ends the run: all fibers are cancelled, so that they can clean up, and
 * coil_run() returns -EDEADLK. coil_options.on_deadlock chooses otherwise. With more than one core
 * it does not look: each may still be called by the others.
 *
 * With coil_options.cores it starts further threads with a scheduler and an io_uring each, before
 * main, and joins them at the end (coil/core.h). They have the signal mask of the caller. What one
 * of them is refused undoes all and is returned. With pin_cores, what else coil starts (threads of
 * coil/offload.h, child processes, the watchdog) has the CPUs that the caller had; threads that the
 * program starts from a fiber inherit that core's single one, as ever: see sched_setaffinity(2).
 *
 * fork: the child of a fork(2) inside coil_run() may do nothing but exec or _exit.
 * Signals: coil installs no handlers unless asked to by an option that says so. A thread without an
 * alternate signal stack (sigaltstack(2)) has one of 64 KiB while it runs fibers. Coil's handlers
 * run there, and the program's own if they have SA_ONSTACK: with a small stack_size they should.
 */
#ifndef COIL_RUN_H
#define COIL_RUN_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** What coil_run() does about a deadlock, after it has reported it. */
typedef enum coil_deadlock_policy {
    COIL_DEADLOCK_CANCEL, /* cancels all fibers and returns -EDEADLK */
    COIL_DEADLOCK_ABORT,  /* calls abort(3): a core file shows it as it is */
    COIL_DEADLOCK_IGNORE, /* neither looks nor reports: hangs, unless the program's own threads or
                             signal handlers make something happen that coil does not know of */
} coil_deadlock_policy;

/** For coil_options.cores: as many as there are CPUs that the calling thread may use. */
#define COIL_CORES_ALL (~0U)

/** Options of coil_run(); start from COIL_OPTIONS_INIT. Zero means the default. */
typedef struct coil_options {
    size_t size;           /* sizeof(coil_options), set by COIL_OPTIONS_INIT */
    size_t stack_size;     /* usable bytes per fiber: 64 KiB; whole pages, 16 KiB to 1 GiB */
    size_t fibers_max;     /* live fibers, then coil_spawn() is -EAGAIN: 1,000,000 */
    coil_time grace;       /* for the other fibers when main has returned: 5 s */
    unsigned sq_size;      /* io_uring: submission entries, 256 */
    unsigned cq_size;      /* io_uring: completion entries, 4096 */
    unsigned buffer_count; /* shared receive buffers, a power of two: 512 */
    unsigned buffer_size;  /* bytes of each: 16 KiB */
    bool report_overflow;  /* name the fiber that overflows its stack (handles SIGSEGV) */
    bool report_engine;    /* a warning in the log at start: engine, sizes, what was refused */
    coil_deadlock_policy on_deadlock; /* cancel all fibers */
    unsigned cores;    /* threads with a scheduler each: 1; COIL_CORES_ALL: one per CPU */
    bool pin_cores;    /* tie each to a CPU of its own, of those that the caller may use */
    bool dump_on_quit; /* SIGQUIT dumps all fibers (coil/dump.h) to stderr and ends nothing */
} coil_options;

#define COIL_OPTIONS_INIT      \
 {                             \
  .size = sizeof(coil_options) \
 }

/** Runs @p main(@p arg) as a fiber and everything it spawns; returns when all fibers have ended.
 *
 *  @p options may be NULL. Main's result goes to *@p ret_result (may be NULL), unless coil_run()
 *  itself fails; the return value is its own: 0; -EBUSY inside another coil_run() of this thread;
 *  -ENOMEM; -EDEADLK after a deadlock, when all fibers have ended; -ETIMEDOUT when fibers outlived
 *  the grace (they are lost, with their memory); -EINVAL for impossible options, or what the kernel
 *  refused io_uring with (-EPERM, -ENOSYS, -ENOMEM), after a line in the log that says what to do;
 *  -EAGAIN when there can't be so many threads.
 *
 *  What main has opened it has to close: streams, listeners, datagram sockets, processes and the
 *  like that are left are named in the log, and their descriptors stay open until the process ends.
 *  Handles of fibers that were not given back are freed, after a line in the log. Like the implicit
 *  hub of eventlet; the deadlock is gevent's LoopExit. */
COIL_API int coil_run(int (*main)(void *), void *arg, const coil_options *options, int *ret_result);

COIL_END_DECLS

#endif
