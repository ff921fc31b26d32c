/* SPDX-License-Identifier: MIT */
/* Where messages go (coil/log.h, base/log.h).
 *
 * A message is formatted into a buffer on the stack, cut to one line, and handed to the hook; the
 * default hook writes it to standard error in one writev(2), so that lines of several threads do
 * not mix. The caller's errno survives: a fiber may be about to look at it.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/text.h"

static const char cut_mark[] = "...";

static coil_log_hook *hook_function;
static void *hook_arg;

void coil_log_set(coil_log_hook *hook, void *arg)
{
    hook_function = hook;
    hook_arg = arg;
}

static void write_to_stderr(coil_log_level level, char *message)
{
    static char error_prefix[] = "coil: error: ";
    static char warning_prefix[] = "coil: warning: ";
    static char newline[] = "\n";
    char *prefix = level == COIL_LOG_ERROR ? error_prefix : warning_prefix;
    const struct iovec pieces[] = {
        {.iov_base = prefix, .iov_len = strlen(prefix)},
        {.iov_base = message, .iov_len = strlen(message)},
        {.iov_base = newline, .iov_len = 1},
    };
    ssize_t written;

    do {
        written = writev(STDERR_FILENO, pieces, sizeof pieces / sizeof pieces[0]);
    } while (written < 0 && errno == EINTR);
    /* Any other failure has nowhere to be reported. */
}

/* Names and peers' bytes get into messages: a line must stay one line, and plain text. */
static void blank_what_is_not_plain(char *message)
{
    const char *const end = message + strlen(message);

    while (message < end) {
        const size_t length = coil__text_plain_length(message, (size_t)(end - message));

        if (length == 0)
            *message = ' ';
        message += length > 0 ? length : 1;
    }
}

void coil__log(coil_log_level level, const char *format, ...)
{
    const int errno_of_caller = errno;
    char message[COIL__LOG_LINE_SIZE];
    va_list args;
    int len;

    if (!hook_function && level == COIL_LOG_INFO)
        return;

    va_start(args, format);
    len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (len < 0)
        message[0] = '\0';
    else if ((size_t)len >= sizeof message)
        memcpy(message + sizeof message - sizeof cut_mark, cut_mark, sizeof cut_mark);
    blank_what_is_not_plain(message);

    if (hook_function)
        hook_function(level, message, hook_arg);
    else
        write_to_stderr(level, message);
    errno = errno_of_caller;
}
