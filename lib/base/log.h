/* SPDX-License-Identifier: MIT */
/* Internal end of coil/log.h: formats one message and hands it on.
 *
 * Formatting takes some 2-5 KiB of stack, far more than a parked fiber should touch: callers are
 * rare paths only.
 */
#ifndef COIL_LIB_BASE_LOG_H
#define COIL_LIB_BASE_LOG_H

#include <coil/log.h>

enum {
    COIL__LOG_LINE_SIZE = 400, /* of a message, with its NUL; what is longer is cut */
};

void coil__log(coil_log_level level, const char *format, ...) COIL_PRINTF(2, 3);

#endif
