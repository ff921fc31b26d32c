/* SPDX-License-Identifier: MIT */
/* Status lines: "HTTP/1.1 200 OK" and its kind, ready to be sent.
 *
 * Whole lines, because they are copied into every response: one memcpy of a known length instead of
 * a search for the reason and three copies.
 */
#ifndef COIL_LIB_HTTP_STATUS_H
#define COIL_LIB_HTTP_STATUS_H

#include "base/slice.h"

/** Returns the status line of @p status with its CRLF, static; empty when it has no name. */
struct coil__slice coil__http_status_line(int status);

#endif
