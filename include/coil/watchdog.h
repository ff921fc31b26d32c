/* SPDX-License-Identifier: MIT */
/* coil/watchdog.h - who blocks the loop?
 *
 * A fiber that computes for long, or calls something that blocks, stops all fibers of its thread.
 * The watchdog is a thread that looks whether the loop goes on. When one fiber has run longer than
 * the limit, it says so once: number, name, how long, and where the fiber is, by interrupting it
 * with a signal whose handler takes a backtrace. A second message tells how long it has been in
 * the end. The fiber is left alone: nothing is cancelled or raised in it.
 *
 *     coil: warning: fiber 7 'import' blocks the loop: it has run for 0.118 s
 *     coil: warning:   #0  parse_row+0x31 (server+0x5c31)
 *     ...
 *     coil: warning: fiber 7 'import' ran for 1.204 s
 *
 * The signal restarts system calls (SA_RESTART). Those that the kernel never restarts, sleeps and
 * polls that block the thread, return early with EINTR, as for any other signal; once per report.
 *
 * A fiber is reported when it is still at it after four looks, a quarter of the limit apart: that
 * the process was stopped meanwhile, by a debugger say, makes nobody late.
 *
 * Cost: the thread wakes four times per limit; a fiber is interrupted only to be reported.
 *
 * Threads: a watchdog watches the thread that has started it. What its callback does is done in
 * the watchdog's thread, where no other function of coil but coil/log.h's may be called.
 */
#ifndef COIL_WATCHDOG_H
#define COIL_WATCHDOG_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** What the watchdog has seen; valid during the callback. 56 bytes in this version. */
typedef struct coil_watchdog_report {
    size_t size;               /* of this struct, as the library knows it */
    uint64_t fiber_id;         /* 0 when the thread did not answer the signal */
    const char *fiber_name;    /* "" when it has none, or did not answer */
    coil_time ran;             /* so far; at the end in all, to a quarter of the limit */
    bool is_over;              /* the fiber has parked or ended: the second report */
    const void *const *frames; /* return addresses, innermost first; none in the second report */
    size_t frame_count;
} coil_watchdog_report;

typedef void coil_watchdog_hook(const coil_watchdog_report *report, void *arg);

/** Options of coil_watchdog_start(); start from COIL_WATCHDOG_OPTIONS_INIT. Zero means the
 *  default. */
typedef struct coil_watchdog_options {
    size_t size;              /* set by the initialiser */
    coil_time limit;          /* how long a fiber may run: 100 ms; at least 1 ms */
    int signal_number;        /* free for the watchdog's use: SIGRTMAX - 1 */
    coil_watchdog_hook *hook; /* gets the reports: they go to the log */
    void *arg;                /* of the hook */
} coil_watchdog_options;

#define COIL_WATCHDOG_OPTIONS_INIT      \
 {                                      \
  .size = sizeof(coil_watchdog_options) \
 }

/** Starts watching this thread's fibers, until coil_watchdog_stop() or the end of coil_run().
 *
 *  @p options may be NULL. Never parks. Returns 0; -EBUSY when it is being watched already; -EINVAL
 *  for options without their initialiser, a limit below 1 ms or a signal that can't be handled;
 *  -ENOMEM; -EAGAIN when no thread could be started.
 *  Like gevent's monitor thread, and eventlet's hub_blocking_detection without its exception. */
COIL_API COIL_MUST_CHECK int coil_watchdog_start(const coil_watchdog_options *options);

/** Ends the watching; harmless when there is none. Waits for a callback that is under way, but not
 *  for the second report of a fiber that has only just ended. */
COIL_API void coil_watchdog_stop(void);

/** Whether the calling fiber may run as long as it likes, from now on until it says otherwise.
 *  A first report counts from this call on; one that was made before stays, and its end tells the
 *  time from the beginning. Returns what it was before, for the end of the region. Never parks;
 *  works without a watchdog.
 *  Like gevent's ignore_current_greenlet_blocking(). */
COIL_API bool coil_watchdog_ignore(bool is_ignored);

COIL_END_DECLS

#endif
