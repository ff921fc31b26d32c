/* SPDX-License-Identifier: MIT */
/* The end of a program that broke an invariant (base/assert.h).
 *
 * It may run on a fiber with a few hundred bytes left, inside malloc, or in a signal handler, so it
 * uses neither stdio nor the heap: the line number is written digit by digit and all pieces leave
 * in one writev(2), which keeps the line whole when several threads fail at once.
 */
#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/text.h"

enum {
    PLACE_SIZE = 64,
};

static struct iovec piece(const char *text)
{
    /* writev only reads, but its struct has no const. */
    union {
        const char *in;
        void *out;
    } pointer = {.in = text};

    return (struct iovec){.iov_base = pointer.out, .iov_len = strlen(text)};
}

_Noreturn void coil__assert_failed(const char *condition, const char *file, int line,
                                   const char *function)
{
    char digits[12];
    char place[PLACE_SIZE];
    struct coil__text text;
    char *number = digits + sizeof digits - 1;

    *number = '\0';
    do {
        *--number = (char)('0' + line % 10);
        line /= 10;
    } while (line > 0);

    coil__text_init(&text, place, sizeof place, NULL);
    if (coil__assert_place)
        coil__assert_place(&text);

    const struct iovec pieces[] = {
        piece("coil: "),
        piece(file),
        piece(":"),
        piece(number),
        piece(": "),
        piece(function),
        piece(": assertion failed"),
        piece(place),
        piece(": "),
        piece(condition),
        piece("\n"),
    };
    const ssize_t written = writev(STDERR_FILENO, pieces, sizeof pieces / sizeof pieces[0]);

    (void)written; /* nobody is left to tell */
    abort();
}
