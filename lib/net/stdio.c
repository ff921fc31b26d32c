/* SPDX-License-Identifier: MIT */
/* Standard input, output and error as streams (coil/stdio.h).
 *
 * Each is made at its first use and hung on the scheduler. The descriptors 0, 1 and 2 are borrowed:
 * they, and their modes, are shared with the shell and the rest of the program, so they are neither
 * closed nor changed. When the last fiber of the run has ended, one more fiber writes what is left,
 * within a bound, and takes the streams apart.
 */
#include <coil/stdio.h>

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "net/stream.h"

enum {
    STANDARD_COUNT = 3,
};

static const char *const names[STANDARD_COUNT] = {"input", "output", "error"};

/* The run's last fiber. */
static int close_all(void *arg)
{
    const coil_time *timeout = arg;
    struct coil__net *net = coil__net_of(coil__sched());
    coil_scope shield;

    coil_scope_enter_shield(&shield, *timeout);
    for (int i = 0; i < STANDARD_COUNT; i++) {
        const int result = coil_close(net->standard[i]);

        if (result < 0 && result != -EPIPE)
            coil__log(COIL_LOG_WARNING, "standard %s was not written to its end: %s", names[i],
                      coil_strerror(result));
    }
    (void)coil_scope_leave(&shield);
    return 0;
}

/* Sockets too: a program may have been started by inetd(8). */
static int make(struct coil__sched *sched, int fd, coil_stream **ret_stream)
{
    const int result = coil__pipe_make(sched, fd, ret_stream);

    if (result == 0)
        (*ret_stream)->is_borrowed = true;
    return result;
}

static int get(int fd, coil_stream **ret_stream)
{
    struct coil__sched *sched = coil__sched();
    struct coil__net *net = coil__net_of(sched);
    coil_stream *stream;
    int result;

    if (!net)
        return -ENOMEM;
    if (net->standard[fd]) {
        *ret_stream = net->standard[fd];
        return 0;
    }
    result = make(sched, fd, &stream);
    if (result < 0)
        return result;
    sched->last = close_all;
    net->standard[fd] = stream;
    *ret_stream = stream;
    return 0;
}

int coil_stdin(coil_stream **ret_stream)
{
    return get(STDIN_FILENO, ret_stream);
}

int coil_stdout(coil_stream **ret_stream)
{
    return get(STDOUT_FILENO, ret_stream);
}

int coil_stderr(coil_stream **ret_stream)
{
    return get(STDERR_FILENO, ret_stream);
}

void coil__stdio_before_wait(coil_stream *stream)
{
    coil_stream *out = stream->net->standard[STDOUT_FILENO];

    if (stream != stream->net->standard[STDIN_FILENO] || !out || !out->output.chunk)
        return;
    if (!out->is_closing) /* the close sends what is to be sent, and waits for no more than that */
        coil__output_push(out);
}

void coil__stdio_forget(const coil_stream *stream)
{
    for (int i = 0; i < STANDARD_COUNT; i++)
        if (stream->net->standard[i] == stream)
            stream->net->standard[i] = NULL;
}
