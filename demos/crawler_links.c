/* SPDX-License-Identifier: MIT */
/* Which attributes are links (demos/crawler_links.h); crawler_html.c finds the attributes.
 *
 * A link is text with character references and blanks in it. What it refers to is for whoever asked
 * for the links to find out: only the URL of the page can tell. A list of images in several sizes
 * (srcset) holds a link for each.
 */
#include "crawler_links.h"

#include <string.h>

#include "crawler_text.h"

enum kind {
    NO_LINK,
    LINK,
    IMAGES, /* a list of links */
    BASE,
};

/* Where links stand. */
static const struct {
    const char *tag;
    const char *attr;
    enum kind kind;
} places[] = {
    {"a", "href", LINK},     {"area", "href", LINK},       {"link", "href", LINK},
    {"base", "href", BASE},  {"img", "src", LINK},         {"img", "srcset", IMAGES},
    {"script", "src", LINK}, {"iframe", "src", LINK},      {"frame", "src", LINK},
    {"source", "src", LINK}, {"source", "srcset", IMAGES}, {"embed", "src", LINK},
    {"audio", "src", LINK},  {"video", "src", LINK},       {"video", "poster", LINK},
    {"track", "src", LINK},  {"input", "src", LINK},       {"object", "data", LINK},
};

void links_init(struct links *links, link_found *found, void *arg)
{
    memset(links, 0, sizeof *links);
    links->found = found;
    links->arg = arg;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void give(struct links *links, const char *link, bool is_base)
{
    if (*link && !(is_base && links->has_base))
        links->found(link, is_base, links->arg);
    links->has_base = links->has_base || is_base;
}

/* "a.png 1x, b.png 2x": links, each with a descriptor and a comma behind it. */
static void give_srcset(struct links *links, char *at)
{
    while (*at) {
        const char *link;
        char *end;

        while (is_blank(*at) || *at == ',')
            at++;
        link = at;
        while (*at && !is_blank(*at))
            at++;
        end = at;
        /* A comma right behind the link ends it; else a descriptor goes on to the comma. */
        if (end > link && end[-1] != ',') {
            while (*at && *at != ',')
                at++;
        }
        while (end > link && end[-1] == ',')
            end--;
        if (*at)
            at++;
        *end = '\0';
        give(links, link, false);
    }
}

static enum kind kind_of(const struct links *links)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (strcmp(places[i].tag, links->tag) == 0 && strcmp(places[i].attr, links->attr) == 0)
            return places[i].kind;
    }
    return NO_LINK;
}

void links_attr(struct links *links)
{
    const enum kind kind = links->is_end_tag ? NO_LINK : kind_of(links);

    if (kind == NO_LINK)
        return;
    if (links->value_len > LINK_MAX) {
        links->too_long++;
        return;
    }
    links->value_len = text_decode(links->value, links->value_len);
    if (memchr(links->value, '\0', links->value_len))
        return;
    if (kind == IMAGES) {
        links->value[links->value_len] = '\0';
        give_srcset(links, links->value);
    } else {
        links->value_len = text_strip(links->value, links->value_len);
        give(links, links->value, kind == BASE);
    }
}
