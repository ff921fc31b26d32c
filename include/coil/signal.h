/* SPDX-License-Identifier: MIT */
/* coil/signal.h - signals as something that a fiber waits for.
 *
 *     coil_signal_handle(SIGHUP, reload, config, NULL);
 *
 * A fiber that is told of a signal may do anything; it is no signal handler. The signals are caught
 * in the whole process, whichever thread they strike, as long as somebody wants them; then what was
 * there before is put back, but where the program has installed another handler meanwhile that one
 * stays. Nothing is blocked. Each signal that the kernel delivers is told to each one who wants it,
 * as often as it was delivered; of equal signals that have to wait for their delivery, the kernel
 * keeps one.
 *
 * At most 32 of these are open in a process at a time, coil_serve() with stop_on_signals included.
 *
 * An open signal is 8 bytes and a descriptor.
 *
 * Threads: an open signal belongs to the fibers of the core that opened it, where it is closed;
 * several cores and runs may each have the same signal.
 */
#ifndef COIL_SIGNAL_H
#define COIL_SIGNAL_H

#include <signal.h>
#include <sys/select.h> /* sigset_t, also in strict C11, where <signal.h> has none */

#include <coil/base.h>
#include <coil/fiber.h>

COIL_BEGIN_DECLS

typedef struct coil_signal coil_signal;

/** Catches the signals of @p signals from now on. Never parks. The caller closes it.
 *  Returns 0; -EINVAL when SIGKILL or SIGSTOP is among them; -EAGAIN at the limit; -EMFILE,
 *  -ENFILE, -ENOMEM. Like signalfd(2). */
COIL_API COIL_MUST_CHECK int coil_signal_open(const sigset_t *signals, coil_signal **ret_signal);

/** Waits for the next signal and stores its number in *@p ret_number (may be NULL); of several that
 *  have come, the lowest. Parks. One fiber at a time.
 *  Returns 0; -EBUSY when another fiber waits; -ETIMEDOUT or -ECANCELED, and no signal is lost.
 *  Like sigwait(3). */
COIL_API COIL_MUST_CHECK int coil_signal_wait(coil_signal *signal, int *ret_number);

/** Stops catching, drops what was not waited for, and frees; NULL is harmless. No fiber may be
 *  waiting. Never parks. */
COIL_API void coil_signal_close(coil_signal *signal);

/** What to do about a signal. */
typedef int coil_signal_function(int number, void *arg);

/** Runs @p function(@p number, @p arg) in a new fiber each time the signal @p number comes, until
 *  the fiber that watches for it is cancelled, or the run ends. A negative result goes to the hook
 *  of coil_unhandled_set(). When there is no memory for a fiber, the watching one runs it.
 *
 *  With @p ret_fiber the caller gets the watching fiber, to coil_cancel() it, and must unref it;
 *  when it has ended, the signal is no longer caught. Never parks. Returns 0; -EINVAL for a number
 *  that can't be caught; otherwise as coil_signal_open(). Like gevent.signal_handler(). */
COIL_API COIL_MUST_CHECK int coil_signal_handle(int number, coil_signal_function *function,
                                                void *arg, coil_fiber **ret_fiber);

COIL_END_DECLS

#endif
