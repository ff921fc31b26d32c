/* SPDX-License-Identifier: MIT */
/* Text of strangers, before it goes to somebody's terminal or log.
 *
 * UTF-8 stays as it is. A '?' stands for each byte of what a terminal might obey or a person might
 * misread: control characters (also U+0080 to 9F), separators of lines (U+2028, 2029), what turns
 * the direction of text (U+202A to 202E, U+2066 to 2069), and what is no UTF-8 at all.
 */
#ifndef COIL_DEMOS_PLAIN_H
#define COIL_DEMOS_PLAIN_H

#include <stddef.h>

/* Makes `text` plain; a NUL ends it at `length`, and others may be in it. */
void make_plain(char *text, size_t length);

#endif
