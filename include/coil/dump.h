/* SPDX-License-Identifier: MIT */
/* coil/dump.h - what are all fibers doing?
 *
 * A dump lists every fiber of a thread, children below their parents:
 *
 *     coil: 3 fibers, 0 runnable, 17 turns, 21 switches
 *     fiber 1 'main': waits for join of 2 'worker' for 1.204 s
 *       runs server+0x20, spawned at server+0x71, stack 8 KiB of 64
 *       #0 server+0x2b1f
 *       #1 coil_join+0x5e (libcoil.so.0.1+0x1c2b)
 *       fiber 2 'worker': waits for semaphore for 1.204 s, deadline in 3.795 s
 *     ...
 *
 * "for" counts from the turn of the loop in which the fiber parked. Deadline is the nearest one of
 * its scopes (coil/scope.h) that would interrupt it. Code is shown as function+offset where the
 * dynamic linker knows the function (link with -rdynamic for those of the program), and always as
 * file+offset: `addr2line -f -e file offset` tells the line. Backtraces follow frame pointers:
 * functions compiled without them (-fno-omit-frame-pointer keeps them) are missing in the middle.
 *
 * "stack 8 KiB" are the pages in use: the deepest that this stack has ever been since the kernel
 * gave it, rounded up. Stacks are recycled warm, so an earlier fiber may have been the deep one.
 *
 * Fibers that wait for each other in a circle come last, a line for each circle, as in the deadlock
 * report, which comes only when nothing else can run either:
 *
 *     circle: 4 'a' waits for mutex held by 5 'b' waits for join of 4 'a'
 *
 * Outside of that report a circle need not be a deadlock: a deadline, a cancellation or another
 * case of a select may still end one of its waits.
 *
 * A dump allocates nothing (it maps some memory, and does without when there is none), and works
 * in a program that is stuck or broken. From gdb, in the thread of the loop: `call coil_dump(2)`;
 * for core files there is share/coil/coil-gdb.py. From outside: coil_options.dump_on_quit.
 *
 * Threads: a dump shows the fibers of the thread that calls it.
 */
#ifndef COIL_DUMP_H
#define COIL_DUMP_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Options of coil_dump_with(); start from COIL_DUMP_OPTIONS_INIT. Zero means the default. */
typedef struct coil_dump_options {
    size_t size;        /* set by the initialiser */
    uint64_t fiber_id;  /* this fiber only: all */
    bool no_backtraces; /* one line per fiber and one for where it comes from */
    bool no_details;    /* one line per fiber and nothing else */
} coil_dump_options;

#define COIL_DUMP_OPTIONS_INIT      \
 {                                  \
  .size = sizeof(coil_dump_options) \
 }

/** Writes a dump of all fibers of this thread to @p fd.
 *
 *  Writes by write(2), which blocks the loop as long as @p fd does. Does not park; from fibers,
 *  callbacks, and a debugger. Returns 0, or why the rest could not be written; outside of
 *  coil_run() it writes that, and returns -ESRCH.
 *  Like gevent.util.print_run_info(). */
COIL_API int coil_dump(int fd);

/** The same with @p options, which may be NULL. Returns also -EINVAL for options without their
 *  initialiser, and -ENOENT when there is no fiber of that number. */
COIL_API int coil_dump_with(int fd, const coil_dump_options *options);

COIL_END_DECLS

#endif
