/* SPDX-License-Identifier: MIT */
/* coil/log.h - where coil's few messages go.
 *
 * coil returns errors; it logs only what no return value can carry: a second reader on a stream, a
 * fiber that ignores its cancellation, a result that nobody can collect. Without a hook, a line
 * goes to standard error. The hook runs on the stack of whoever logs, maybe a fiber's: keep it
 * small, and do not park in it.
 *
 * Threads: set the hook before coil_run(); it may be called from any thread.
 */
#ifndef COIL_LOG_H
#define COIL_LOG_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef enum coil_log_level {
    COIL_LOG_ERROR,
    COIL_LOG_WARNING,
    COIL_LOG_INFO,
} coil_log_level;

typedef void coil_log_hook(coil_log_level level, const char *message, void *arg);

/** Sends coil's messages to @p hook, called with @p arg; NULL restores standard error, where INFO
 *  is not shown. @p message is valid during the call, and one line of plain UTF-8, whatever names
 *  and peers' bytes are in it: for control characters (ESC, 0x9b, U+009B, ...), separators of lines
 *  (U+2028), what turns the direction of text (U+202E) and what is no UTF-8 it has blanks. */
COIL_API void coil_log_set(coil_log_hook *hook, void *arg);

COIL_END_DECLS

#endif
