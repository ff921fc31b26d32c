/* SPDX-License-Identifier: MIT */
/* The two services of coil/base.h: sentences for errors, and the clock.
 *
 * strerror(3) translates into a buffer that threads share. strerrordesc_np(3) returns the C
 * library's own constant, never touches the locale, and so is safe on any thread and stack.
 */
#include <coil/base.h>

#include <limits.h>
#include <string.h>

#include "base/clock.h"

const char *coil_strerror(int result)
{
    /* The most negative int has no positive twin, and is no error number either. */
    const int number = result < 0 && result != INT_MIN ? -result : result;
    const char *sentence = strerrordesc_np(number);

    return sentence ? sentence : "Unknown error";
}

int64_t coil_now(void)
{
    return coil__clock_now();
}
