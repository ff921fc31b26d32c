/* SPDX-License-Identifier: MIT */
/* Text as it stands in attributes of HTML, made into what it means.
 *
 * In an attribute, characters may be written as references ("&amp;", "&#38;"), and a link may have
 * blanks around it and line ends inside. Both functions work in place and only ever shorten.
 */
#ifndef COIL_DEMOS_CRAWLER_TEXT_H
#define COIL_DEMOS_CRAWLER_TEXT_H

#include <stddef.h>

/* Decodes the character references in the `length` bytes at `text`, in place: all numeric ones,
 * and the named ones that are seen in links. Returns the new length, never more. */
size_t text_decode(char *text, size_t length);

/* Takes off blanks at both ends, and tabs and line ends anywhere, as browsers do with links; ends
 * the text with a NUL, for which there must be room. Returns the new length. */
size_t text_strip(char *text, size_t length);

#endif
