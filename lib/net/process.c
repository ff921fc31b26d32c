/* SPDX-License-Identifier: MIT */
/* Child processes: waiting, signalling, freeing (coil/process.h).
 *
 * A child is held by a descriptor of its own (pidfd), which becomes readable when it ends. One POLL
 * on it serves all fibers that wait; it belongs to the record, so that any of them may leave. Its
 * completion takes the status at once, and hands it to each waiter: when they run, the record may
 * be gone. The end of a child that is traced (a debugger, strace) is its tracer's first: the status
 * is looked for again until it comes.
 *
 * Signals go through the descriptor, which means this process and no later one with its number, and
 * from kernel 6.9 on its group, too. Before, a group has only the number of its leader; that stays
 * taken because a leader is left a zombie until it is freed. Once somebody else has reaped it the
 * number is anybody's: this is looked at first, but not in one step with the signal.
 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/options.h"

COIL_STATIC_ASSERT(sizeof(coil_process) <= 192, "a promise of the header");

enum {
    STANDARD_COUNT = 3,
    SIGNAL_GROUP = 1 << 2, /* PIDFD_SIGNAL_PROCESS_GROUP, newer than the C library's headers */
};

static const coil_time retry_delay = COIL_MS(1);

/* ---- The end of a process ---- */

/* What a waiter wants to know; the one who frees wants nothing. */
struct end {
    int status;
};

/* False when there is none yet. */
static bool take_status(coil_process *process)
{
    const int flags = WEXITED | WNOHANG | (process->leads_group ? WNOWAIT : 0);
    siginfo_t info = {.si_pid = 0};

    if (waitid(P_PIDFD, (id_t)process->pidfd, &info, flags) < 0)
        process->result = -errno;
    else if (info.si_pid == 0)
        return false;
    else
        process->status = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    process->is_over = true;
    return true;
}

static void look(coil_process *process)
{
    struct coil__waiter *waiter;

    if (!take_status(process)) {
        coil__timer_arm(&process->sched->timers, &process->retry,
                        coil__clock_deadline(retry_delay));
        return;
    }
    while ((waiter = coil__waitq_first(&process->waiters)) != NULL) {
        struct end *end = waiter->object;

        if (end)
            end->status = process->status;
        coil__waiter_wake(waiter, process->result);
    }
}

static void has_ended(struct coil__op *op)
{
    look(container_of(op, coil_process, op));
}

static void look_again(struct coil__timer *timer)
{
    look(container_of(timer, coil_process, retry));
}

static void watch(coil_process *process)
{
    if (process->is_watched)
        return;
    process->is_watched = true;
    process->op = coil__op_make(COIL__OP_POLL, process->pidfd, NULL, 0, POLLIN);
    process->op.done = has_ended;
    process->retry.fire = look_again;
    coil__list_init(&process->op.request.link);
    process->sched->engine->ops->submit(process->sched->engine, &process->op);
}

int coil_process_wait(coil_process *process, int *ret_status)
{
    struct end end = {.status = process->status};
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (process->is_over) {
        end.status = process->status;
        result = process->result;
    } else {
        watch(process);
        result = coil__waitq_park(&process->waiters, "process", &end);
    }
    if (result == 0 && ret_status)
        *ret_status = end.status;
    return result;
}

/* Whether the leader runs or is our zombie. */
static bool is_number_ours(const coil_process *process)
{
    siginfo_t info;

    return waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static int signal_group(const coil_process *process, int number)
{
    int result;

    if (!is_number_ours(process))
        return -ESRCH;
    result = pidfd_send_signal(process->pidfd, number, NULL, SIGNAL_GROUP);
    if (result < 0 && errno == EINVAL)
        result = kill(-process->pid, number);
    return result < 0 ? -errno : 0;
}

int coil_process_kill(coil_process *process, int number)
{
    if (process->leads_group)
        return signal_group(process, number);
    return pidfd_send_signal(process->pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

/* ---- Life ---- */

/* Closes without waiting for what was not sent. */
static void close_streams(coil_process *process)
{
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    for (int i = 0; i < STANDARD_COUNT; i++)
        (void)coil_close(process->streams[i]);
    (void)coil_scope_leave(&scope);
}

/* Pipes for what is to be one. The child's sides are the caller's. Returns 0 or an error. */
static int make_pipes(coil_process *process, const int wanted[STANDARD_COUNT],
                      int ret_child_fds[STANDARD_COUNT])
{
    for (int i = 0; i < STANDARD_COUNT; i++) {
        const int child_end = i == STDIN_FILENO ? 0 : 1;
        int fds[2];
        int result;

        if (wanted[i] != COIL_PROCESS_PIPE)
            continue;
        if (pipe2(fds, O_CLOEXEC) < 0)
            return -errno;
        ret_child_fds[i] = fds[child_end];
        result = coil_adopt(fds[1 - child_end], &process->streams[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int check(const char *const argv[], const coil_process_options *options)
{
    if (!argv[0] || options->in < COIL_PROCESS_NULL || options->out < COIL_PROCESS_NULL ||
        options->err < COIL_PROCESS_TO_OUT)
        return -EINVAL;
    if (options->fd_count > COIL_PROCESS_FDS_MAX || (options->fd_count > 0 && !options->fds))
        return -EINVAL;
    return 0;
}

static int start(const char *const argv[], const coil_process_options *options,
                 coil_process *process)
{
    const int wanted[STANDARD_COUNT] = {options->in, options->out, options->err};
    int child_fds[STANDARD_COUNT] = {-1, -1, -1};
    int result = make_pipes(process, wanted, child_fds);

    if (result == 0)
        result = coil__process_start(argv, options, child_fds, process);
    for (int i = 0; i < STANDARD_COUNT; i++)
        if (child_fds[i] >= 0)
            (void)close(child_fds[i]);
    return result;
}

int coil_process_spawn(const char *const argv[], const coil_process_options *options,
                       coil_process **ret_process)
{
    coil_process_options chosen;
    coil_process *process;
    int result = coil__options_read(&chosen, sizeof chosen, options);

    if (result == 0)
        result = check(argv, &chosen);
    if (result < 0)
        return result;
    process = coil__alloc(sizeof *process);
    if (!process)
        return -ENOMEM;
    process->sched = coil__sched();
    process->leads_group = chosen.new_group || chosen.new_session;
    coil__waitq_init(&process->waiters);

    result = start(argv, &chosen, process);
    if (result < 0) {
        close_streams(process);
        coil__free(process);
        return result;
    }
    process->sched->opened[COIL__OPENED_PROCESS]++;
    *ret_process = process;
    return 0;
}

void coil_process_free(coil_process *process)
{
    if (!process)
        return;
    if (!process->is_over) {
        (void)coil_process_kill(process, SIGKILL);
        (void)pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0); /* it may have left its group */
        watch(process);
    }
    close_streams(process);
    while (!process->is_over)
        (void)coil__waitq_park_shielded(&process->waiters, "process");
    if (process->leads_group) {
        siginfo_t info;

        (void)coil_process_kill(process, SIGKILL);
        (void)waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
    }
    (void)close(process->pidfd);
    process->sched->opened[COIL__OPENED_PROCESS]--;
    coil__free(process);
}

/* ---- About ---- */

pid_t coil_process_pid(const coil_process *process)
{
    return process->pid;
}

coil_stream *coil_process_in(coil_process *process)
{
    return process->streams[STDIN_FILENO];
}

coil_stream *coil_process_out(coil_process *process)
{
    return process->streams[STDOUT_FILENO];
}

coil_stream *coil_process_err(coil_process *process)
{
    return process->streams[STDERR_FILENO];
}
