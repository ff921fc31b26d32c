/* SPDX-License-Identifier: MIT */
/* coil/process.h - child processes: start, talk to, wait for, signal, while others run.
 *
 *     const char *const argv[] = {"sort", "-u", NULL};
 *     coil_process_output output = {0};
 *
 *     result = coil_process_run(argv, NULL, text, strlen(text), &output);
 *     if (result == 0 && output.status == 0)
 *         use(output.out, output.out_len);
 *     coil_process_output_free(&output);
 *
 * A child starts with the default action of every signal, none blocked, and no descriptor but 0, 1,
 * 2 and those that it is given; nothing of coil's is left in it. The program is looked for in PATH
 * unless its name has a slash. That it could not be started (-ENOENT, -EACCES, ...) is the result
 * of the spawn. Starting a process takes a millisecond or so, in a thread of the pool
 * (coil/offload.h): the other fibers go on.
 *
 * A status is the exit code, 0 to 255, or, when a signal ended the process, less than 0: minus the
 * signal's number.
 *
 * A coil_process belongs to the one who spawned it and ends with coil_process_free(), which kills a
 * process that still runs. No zombie is left; no process that got the number of an ended one is
 * ever signalled. There is no SIGCHLD handler, and the program may have its own; only one that
 * ignores SIGCHLD, or waits for all children, takes the status away (-ECHILD), and what is left of
 * a group is not found any more then.
 *
 * A process that closes its descriptors or never reads stops nobody: writing to it gives -EPIPE or
 * waits, within the caller's scope. What a grandchild holds open stays open: the output of a
 * process may end long after the process, coil_process_wait() does not wait for that.
 *
 * A process is 192 bytes and its streams.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_PROCESS_H
#define COIL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <coil/base.h>
#include <coil/stream.h>

COIL_BEGIN_DECLS

typedef struct coil_process coil_process;

/* For coil_process_options.in, .out and .err; a positive number is a descriptor of the caller's,
 * who keeps it. */
#define COIL_PROCESS_INHERIT 0    /* as the program itself */
#define COIL_PROCESS_PIPE    (-1) /* a stream: coil_process_in() and its sisters */
#define COIL_PROCESS_NULL    (-2) /* /dev/null */
#define COIL_PROCESS_TO_OUT  (-3) /* .err only: where .out goes */

#define COIL_PROCESS_FDS_MAX 64

/** Options of a new process; start from COIL_PROCESS_OPTIONS_INIT. Zero means the default. */
typedef struct coil_process_options {
    size_t size;            /* set by the initialiser */
    const char *const *env; /* "NAME=value", ..., NULL: the program's own */
    const char *cwd;        /* working directory: the program's own */
    int in;                 /* standard input, output, error: inherited */
    int out;
    int err;
    const int *fds;  /* these descriptors of the caller's become 3, 4, ...; who keeps them */
    size_t fd_count; /* at most COIL_PROCESS_FDS_MAX */
    bool new_group;  /* leads a process group, all of which is signalled and killed with it */
    bool new_session;
} coil_process_options;

#define COIL_PROCESS_OPTIONS_INIT      \
 {                                     \
  .size = sizeof(coil_process_options) \
 }

/** Starts the program @p argv[0] with the arguments @p argv, up to a NULL; a relative name with a
 *  slash counts from the new working directory. @p options may be NULL. Parks until it runs.
 *
 *  Returns 0, and the caller frees the process. Why it does not run: -ENOENT, -EACCES, -ENOEXEC,
 *  -E2BIG, -ENOTDIR (cwd), ...; -EINVAL for impossible options; -EBADF for a descriptor that is not
 *  open; -EMFILE, -EAGAIN, -ENOMEM; -ETIMEDOUT or -ECANCELED, when it is killed if it was about
 *  to run. Like subprocess.Popen(). */
COIL_API COIL_MUST_CHECK int coil_process_spawn(const char *const argv[],
                                                const coil_process_options *options,
                                                coil_process **ret_process);

/** Waits until @p process has ended, and stores its status in *@p ret_status (may be NULL). Parks.
 *  Any number of fibers may wait, any number of times; they are woken in the order in which they
 *  came. What the process has written can still be read.
 *  Returns 0; -ETIMEDOUT or -ECANCELED; -ECHILD when somebody else has taken the status.
 *  Like Popen.wait(), eventlet.green.os.waitpid(). */
COIL_API COIL_MUST_CHECK int coil_process_wait(coil_process *process, int *ret_status);

/** Sends the signal @p number (0 only asks) to @p process, with new_group to all of its group.
 *  Never parks. Returns 0; -ESRCH when it has ended and been waited for; -EPERM; -EINVAL.
 *  Like Popen.send_signal(). */
COIL_API int coil_process_kill(coil_process *process, int number);

/** Returns the number of @p process. It may belong to another one once this one has ended and been
 *  waited for. */
COIL_API pid_t coil_process_pid(const coil_process *process);

/** Returns the stream that writes to the standard input of @p process, NULL unless that is a
 *  COIL_PROCESS_PIPE. It belongs to the process: coil_shutdown() ends the input, nobody closes
 *  it. */
COIL_API coil_stream *coil_process_in(coil_process *process);

/** Returns the stream that reads the standard output of @p process, as coil_process_in(). */
COIL_API coil_stream *coil_process_out(coil_process *process);

/** Returns the stream that reads the standard error of @p process, as coil_process_in(). */
COIL_API coil_stream *coil_process_err(coil_process *process);

/** Ends @p process: kills it (SIGKILL) if it still runs, with new_group all that is left of its
 *  group, waits for its end, closes its streams and frees; NULL is harmless.
 *
 *  Always does so, also in an expired scope. Parks, as long as the kernel takes to end it. Fibers
 *  that wait for the process are woken with its status; none may be in a call on its streams. */
COIL_API void coil_process_free(coil_process *process);

/** What a process has written; start from zero, end with coil_process_output_free(). 72 bytes. */
typedef struct coil_process_output {
    size_t limit; /* of bytes from each of out and err, then -EMSGSIZE: 16 MiB */
    char *out;    /* NUL-terminated; NULL when there was nothing */
    char *err;    /* the same */
    size_t out_len;
    size_t err_len;
    size_t in_len;       /* of the input: how much has been handed on */
    size_t out_capacity; /* private, as all further fields */
    size_t err_capacity;
    bool is_out_over;
    bool is_err_over;
    bool is_in_over;
    int status; /* of the process, after success */
} coil_process_output;

/** Writes the @p size bytes of @p input to the process, ends its input, collects its output and its
 *  errors, and waits for its end. What of the three is no pipe is left out. Parks.
 *
 *  A process that takes no more input is no failure: @p output->in_len tells, to within a pipe and
 *  a buffer. The output ends when all who hold it have closed it, grandchildren too.
 *  Returns 0 with the status; -EMSGSIZE when there is more output than the limit; -ENOMEM, -EAGAIN;
 *  -ETIMEDOUT or -ECANCELED. After an error @p output holds what has come so far, and the call can
 *  be made again with it to go on. Like Popen.communicate(). */
COIL_API COIL_MUST_CHECK int coil_process_communicate(coil_process *process, const void *input,
                                                      size_t size, coil_process_output *output);

/** Starts a process, communicates, frees it: one call for "run this and tell me what it said".
 *
 *  Without @p options its output and errors are collected, and its input is @p input, or nothing.
 *  With them, they say what is collected; an @p input of more than 0 bytes makes in a pipe in any
 *  case. Parks. Returns as coil_process_spawn() and coil_process_communicate(); after an error the
 *  process has been killed, with new_group its children, too, and @p output holds what it had
 *  written. Like subprocess.run(). */
COIL_API COIL_MUST_CHECK int coil_process_run(const char *const argv[],
                                              const coil_process_options *options,
                                              const void *input, size_t size,
                                              coil_process_output *output);

/** Frees what @p output holds and makes it empty. Never parks. */
COIL_API void coil_process_output_free(coil_process_output *output);

COIL_END_DECLS

#endif
