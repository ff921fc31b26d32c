/* SPDX-License-Identifier: MIT */
/* coil/stdio.h - standard input, output and error as streams.
 *
 *     coil_stream *out;
 *
 *     if (coil_stdout(&out) == 0)
 *         coil_printf(out, "%d lines\n", count);        (written at the end of coil_run(), at last)
 *
 * They work on whatever the program was started with: terminals, pipes, files, sockets. Only the
 * fiber that reads or writes waits. Output is buffered and leaves when the buffer is full, at
 * coil_flush(), when the run ends, and, that of standard output, before a read of standard input
 * that has to wait: a prompt needs no flush. Standard error is buffered like the others. Do not mix
 * with stdio(3) on the same descriptor, or flush in between.
 *
 * The descriptors are neither closed nor changed: their O_NONBLOCK is shared with the shell. When
 * the reader of standard output has gone, writing gives -EPIPE; unlike with write(2), no SIGPIPE
 * ends the program. Input that a terminal or pipe has not delivered is left to whoever reads next;
 * of a file, the position is moved back at the end to what was really read.
 *
 * When all other fibers have ended, what is left is written, within coil_options.grace; what could
 * not be is named in the log. coil_close() does it earlier, with its own result, and leaves the
 * descriptor open; the next use makes a new stream.
 *
 * Threads: one stream of each kind per coil_run(). Several runs in a process write to the same
 * descriptor, a buffer at a time.
 */
#ifndef COIL_STDIO_H
#define COIL_STDIO_H

#include <coil/base.h>
#include <coil/stream.h>

COIL_BEGIN_DECLS

/** Gives the stream of descriptor 0, making it at the first call; it belongs to the run. Never
 *  parks. Returns 0; -EBADF when the descriptor is not open; -EISDIR; -ENOMEM.
 *  Like sys.stdin under eventlet's patched os. */
COIL_API COIL_MUST_CHECK int coil_stdin(coil_stream **ret_stream);

/** The same for descriptor 1. */
COIL_API COIL_MUST_CHECK int coil_stdout(coil_stream **ret_stream);

/** The same for descriptor 2. */
COIL_API COIL_MUST_CHECK int coil_stderr(coil_stream **ret_stream);

COIL_END_DECLS

#endif
