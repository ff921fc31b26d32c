/* SPDX-License-Identifier: MIT */
/* Finding the links of an HTML page while it arrives.
 *
 * Feed the page in pieces of any size. Each link is handed out as soon as its attribute ends, with
 * its character references decoded and the blanks taken off that browsers ignore; it is text that
 * still has to be resolved against the page. Nothing is allocated, and the scanner's size bounds
 * what a page can make it keep.
 */
#ifndef COIL_DEMOS_CRAWLER_LINKS_H
#define COIL_DEMOS_CRAWLER_LINKS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LINK_MAX = 4096,    /* longer ones are counted and dropped */
    NAME_MAX_KEPT = 15, /* longer names of tags and attributes hold no links */
};

/* A link, or with is_base the URL that the links after it are relative to. */
typedef void link_found(const char *link, bool is_base, void *arg);

struct links {
    link_found *found;
    void *arg;
    size_t too_long; /* links that were dropped for their length */
    /* The rest is private. */
    int state;
    unsigned dashes;
    bool is_end_tag;
    bool has_base;
    bool is_raw; /* inside <script> and the like: nothing counts but its end tag */
    char quote;
    size_t tag_len;
    size_t attr_len;
    size_t value_len;
    char tag[NAME_MAX_KEPT + 1];
    char raw_tag[NAME_MAX_KEPT + 1];
    char attr[NAME_MAX_KEPT + 1];
    char value[LINK_MAX + 1];
};

void links_init(struct links *links, link_found *found, void *arg);
void links_feed(struct links *links, const char *data, size_t size);

/* For crawler_html.c: the attribute `attr` of `tag` is complete. */
void links_attr(struct links *links);

#endif
