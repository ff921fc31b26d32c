/* SPDX-License-Identifier: MIT */
/* Starting a process: posix_spawn(3) in a thread of the pool (net/process.h).
 *
 * posix_spawn shares the memory with the child until that runs another program, so it costs the
 * same for a program of any size, and tells why an exec failed. But it stops its caller meanwhile,
 * 0.6 to 1.2 ms measured: hence the thread. A fiber that is interrupted leaves the record to it,
 * and a child that was born for nobody is killed and reaped there.
 *
 * The child's descriptors are first duplicated to numbers above all targets, or making one could
 * overwrite the source of the next. Everything above the targets is closed in the child: whatever
 * else the program has open without close-on-exec is not the child's business.
 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coil/offload.h>

#include "base/alloc.h"

enum {
    STANDARD_COUNT = 3,
    TARGETS_MAX = STANDARD_COUNT + COIL_PROCESS_FDS_MAX,

    /* In sources[]. */
    SOURCE_INHERIT = -1,
    SOURCE_NULL = -2,
    SOURCE_OUT = -3,
};

struct job {
    char **argv;
    char **env; /* NULL: the program's own */
    char *cwd;  /* NULL: the program's own */
    short flags;
    pid_t pid; /* 0 while there is no child */
    int pidfd;
    int target_count;
    int sources[TARGETS_MAX]; /* by the child's descriptor: the job's own, or what is above */
    char *room;               /* of the strings, the rest of it */
};

/* ---- The record ---- */

static void free_job(struct job *job)
{
    for (int i = 0; i < job->target_count; i++)
        if (job->sources[i] >= 0)
            (void)close(job->sources[i]);
    coil__free(job);
}

/* Nobody waits for the child any more. */
static void abandon_job(void *arg)
{
    struct job *job = arg;

    if (job->pid > 0) {
        siginfo_t info;

        (void)pidfd_send_signal(job->pidfd, SIGKILL, NULL, 0);
        (void)waitid(P_PIDFD, (id_t)job->pidfd, &info, WEXITED);
        (void)close(job->pidfd);
    }
    free_job(job);
}

static size_t strings_size(const char *const *strings)
{
    size_t size = sizeof *strings;

    for (; *strings; strings++)
        size += sizeof *strings + strlen(*strings) + 1;
    return size;
}

static char *copy_string(struct job *job, const char *string)
{
    const size_t size = strlen(string) + 1;
    char *copy = memcpy(job->room, string, size);

    job->room += size;
    return copy;
}

/* The pointers of all vectors come before the characters of all strings: alignment. */
static char **copy_strings(struct job *job, char ***pointers, const char *const *strings)
{
    char **copy = *pointers;

    for (; *strings; strings++)
        *(*pointers)++ = copy_string(job, *strings);
    *(*pointers)++ = NULL;
    return copy;
}

static size_t count_strings(const char *const *strings)
{
    size_t count = 1;

    while (strings && *strings++)
        count++;
    return strings ? count : 0;
}

static struct job *make_job(const char *const argv[], const coil_process_options *options)
{
    const size_t pointers = count_strings(argv) + count_strings(options->env);
    const size_t size = strings_size(argv) + (options->env ? strings_size(options->env) : 0) +
                        (options->cwd ? strlen(options->cwd) + 1 : 0);
    struct job *job = coil__alloc(sizeof *job + size);
    char **next;

    if (!job)
        return NULL;
    next = (char **)(void *)(job + 1);
    job->room = (char *)(next + pointers);
    job->argv = copy_strings(job, &next, argv);
    if (options->env)
        job->env = copy_strings(job, &next, options->env);
    if (options->cwd)
        job->cwd = copy_string(job, options->cwd);
    job->flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options->new_session)
        job->flags |= POSIX_SPAWN_SETSID;
    else if (options->new_group)
        job->flags |= POSIX_SPAWN_SETPGROUP;
    return job;
}

/* The source of the child's descriptor `job->target_count`. Returns 0 or an error. */
static int add_source(struct job *job, int fd, int target_count)
{
    if (fd >= 0) {
        fd = fcntl(fd, F_DUPFD_CLOEXEC, target_count);
        if (fd < 0)
            return -errno;
    }
    job->sources[job->target_count++] = fd;
    return 0;
}

static int standard_source(int wanted, int child_fd)
{
    switch (wanted) {
    case COIL_PROCESS_INHERIT:
        return SOURCE_INHERIT;
    case COIL_PROCESS_PIPE:
        return child_fd;
    case COIL_PROCESS_NULL:
        return SOURCE_NULL;
    case COIL_PROCESS_TO_OUT:
        return SOURCE_OUT;
    default:
        return wanted;
    }
}

static int add_sources(struct job *job, const coil_process_options *options,
                       const int child_fds[STANDARD_COUNT])
{
    const int wanted[STANDARD_COUNT] = {options->in, options->out, options->err};
    const int count = STANDARD_COUNT + (int)options->fd_count;
    int result = 0;

    for (int i = 0; i < count && result == 0; i++) {
        if (i < STANDARD_COUNT)
            result = add_source(job, standard_source(wanted[i], child_fds[i]), count);
        else if (options->fds[i - STANDARD_COUNT] < 0)
            result = -EBADF;
        else
            result = add_source(job, options->fds[i - STANDARD_COUNT], count);
    }
    return result;
}

/* ---- In the thread ---- */

static int add_actions(const struct job *job, posix_spawn_file_actions_t *actions)
{
    int error = 0;

    for (int i = 0; i < job->target_count && error == 0; i++) {
        if (job->sources[i] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, job->sources[i], i);
        else if (job->sources[i] == SOURCE_NULL)
            error = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
        else if (job->sources[i] == SOURCE_OUT)
            error = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, i);
    }
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(actions, job->target_count);
    if (error == 0 && job->cwd)
        error = posix_spawn_file_actions_addchdir_np(actions, job->cwd);
    return error;
}

static int spawn_with(struct job *job, const posix_spawn_file_actions_t *actions)
{
    posix_spawnattr_t attributes;
    sigset_t signals;
    int error = posix_spawnattr_init(&attributes);

    if (error != 0)
        return error;
    (void)posix_spawnattr_setflags(&attributes, job->flags);
    (void)posix_spawnattr_setpgroup(&attributes, 0);
    (void)sigemptyset(&signals);
    (void)posix_spawnattr_setsigmask(&attributes, &signals);
    (void)sigfillset(&signals);
    (void)posix_spawnattr_setsigdefault(&attributes, &signals);
    error = posix_spawnp(&job->pid, job->argv[0], actions, &attributes, job->argv,
                         job->env ? job->env : environ);
    (void)posix_spawnattr_destroy(&attributes);
    return error;
}

/* Whether it is a child that nobody has reaped: then the number, or what a descriptor stands for,
 * is its own. */
static bool is_ours(idtype_t type, id_t id)
{
    siginfo_t info;

    return waitid(type, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* The child is ours to reap, so its number is its own until then. Unless somebody else reaps
 * children: then the number may be anybody's already, also by the time that the descriptor is open.
 * From then on it is known. */
static int open_child(struct job *job)
{
    int result;

    job->pidfd = pidfd_open(job->pid, 0);
    if (job->pidfd >= 0 && is_ours(P_PIDFD, (id_t)job->pidfd))
        return 0;
    result = job->pidfd >= 0 || errno == ESRCH ? -ECHILD : -errno;
    if (job->pidfd >= 0) {
        (void)close(job->pidfd);
    } else if (is_ours(P_PID, (id_t)job->pid)) {
        (void)kill(job->pid, SIGKILL);
        (void)waitpid(job->pid, NULL, 0);
    }
    job->pid = 0;
    return result;
}

static int run_job(void *arg)
{
    struct job *job = arg;
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);

    if (error != 0)
        return -error;
    error = add_actions(job, &actions);
    if (error == 0)
        error = spawn_with(job, &actions);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        job->pid = 0; /* glibc leaves the number of a child that could not exec */
        return -error;
    }
    return open_child(job);
}

/* ---- For process.c ---- */

int coil__process_start(const char *const argv[], const coil_process_options *options,
                        const int child_fds[3], coil_process *process)
{
    struct job *job = make_job(argv, options);
    int started = 0;
    int result;

    if (!job)
        return -ENOMEM;
    result = add_sources(job, options, child_fds);
    if (result < 0) {
        free_job(job);
        return result;
    }
    result = coil_offload(run_job, job, abandon_job, &started);
    if (result < 0)
        return result;
    process->pid = job->pid;
    process->pidfd = job->pidfd;
    free_job(job);
    return started;
}
