/* SPDX-License-Identifier: MIT */
/* The part of an HTML tokenizer that links need (demos/crawler_links.h).
 *
 * It follows the states of the HTML standard as far as they decide what is a tag: comments, the
 * quoting of attributes, and the elements whose content is text (<script>) are what a search for
 * "href=" gets wrong. The pieces of the input may cut a tag anywhere, so the state is all there is:
 * no byte is looked at twice.
 */
#include <string.h>

#include "crawler_links.h"

enum {
    TEXT = 0,
    TAG_OPEN,      /* after "<" */
    END_TAG_OPEN,  /* after "</" */
    MARKUP,        /* after "<!" */
    MARKUP_DASH,   /* after "<!-" */
    COMMENT_START, /* after "<!--" and any more dashes */
    COMMENT,
    COMMENT_BANG, /* after "--!" */
    BOGUS,        /* "<!doctype", "<?xml": up to ">" */
    TAG_NAME,
    BEFORE_ATTR,
    ATTR_NAME,
    AFTER_ATTR,
    BEFORE_VALUE,
    QUOTED,
    UNQUOTED,
};

/* Their content is text up to their own end tag. */
static const char *const raw_tags[] = {"script", "style",   "textarea", "title",
                                       "iframe", "noembed", "noframes", "xmp"};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Appends in lower case; a name that is too long to be known stays unknown. */
static void name_add(char *name, size_t *len, char c)
{
    if (*len < NAME_MAX_KEPT)
        name[*len] = lower(c);
    *len += 1;
    name[*len <= NAME_MAX_KEPT ? *len : 0] = '\0';
}

static void value_add(struct links *links, char c)
{
    if (links->value_len < LINK_MAX)
        links->value[links->value_len] = c;
    if (links->value_len <= LINK_MAX)
        links->value_len++;
}

static void attr_begin(struct links *links, char c)
{
    links->attr_len = 0;
    links->value_len = 0;
    name_add(links->attr, &links->attr_len, c);
    links->state = ATTR_NAME;
}

static void tag_begin(struct links *links, char c, bool is_end_tag)
{
    links->is_end_tag = is_end_tag;
    links->tag_len = 0;
    name_add(links->tag, &links->tag_len, c);
    links->state = TAG_NAME;
}

static void tag_done(struct links *links)
{
    links->state = TEXT;
    if (links->is_end_tag) {
        links->is_raw = false;
        return;
    }
    for (size_t i = 0; i < sizeof raw_tags / sizeof raw_tags[0]; i++) {
        if (strcmp(raw_tags[i], links->tag) == 0) {
            links->is_raw = true;
            memcpy(links->raw_tag, links->tag, sizeof links->raw_tag);
        }
    }
}

/* After "<". In raw text, only an end tag counts. */
static void step_tag_open(struct links *links, char c)
{
    if (c == '<')
        return;
    links->state = c == '/' ? END_TAG_OPEN : TEXT;
    if (links->is_raw)
        return;
    if (is_letter(c))
        tag_begin(links, c, false);
    else if (c == '!')
        links->state = MARKUP;
    else if (c == '?')
        links->state = BOGUS;
}

/* After "</". */
static void step_end_tag_open(struct links *links, char c)
{
    if (is_letter(c))
        tag_begin(links, c, true);
    else if (links->is_raw)
        links->state = c == '<' ? TAG_OPEN : TEXT;
    else
        links->state = c == '>' ? TEXT : BOGUS;
}

/* In "<!", "<!-" or what is no tag and no comment, all of which '>' ends. */
static void step_markup(struct links *links, char c)
{
    if (c == '>') {
        links->state = TEXT;
    } else if (c == '-' && links->state == MARKUP) {
        links->state = MARKUP_DASH;
    } else if (c == '-' && links->state == MARKUP_DASH) {
        links->state = COMMENT_START;
        links->dashes = 2;
    } else {
        links->state = BOGUS;
    }
}

/* "-->" ends a comment, and so do "--!>" and the "<!-->" and "<!--->" of the careless. */
static void step_comment(struct links *links, char c)
{
    const bool may_bang = links->dashes >= (links->state == COMMENT_START ? 4 : 2);

    if (links->state == COMMENT_BANG) {
        links->dashes = c == '-';
        links->state = c == '>' ? TEXT : COMMENT;
    } else if (c == '-') {
        links->dashes++;
    } else if (c == '>' && links->dashes >= 2) {
        links->state = TEXT;
    } else {
        links->state = c == '!' && may_bang ? COMMENT_BANG : COMMENT;
        links->dashes = 0;
    }
}

static void step_tag_name(struct links *links, char c)
{
    const bool is_end = is_blank(c) || c == '/' || c == '>';

    if (links->is_raw && (is_end ? strcmp(links->tag, links->raw_tag) != 0 : !is_letter(c)))
        links->state = c == '<' ? TAG_OPEN : TEXT;
    else if (!is_end)
        name_add(links->tag, &links->tag_len, c);
    else if (c == '>')
        tag_done(links);
    else
        links->state = BEFORE_ATTR;
}

/* Between and in the names of attributes. */
static void step_attr(struct links *links, char c)
{
    if (c == '>') {
        tag_done(links);
    } else if (c == '/') {
        links->state = BEFORE_ATTR;
    } else if (is_blank(c)) {
        if (links->state == ATTR_NAME)
            links->state = AFTER_ATTR;
    } else if (c == '=' && links->state != BEFORE_ATTR) {
        links->state = BEFORE_VALUE;
    } else if (links->state == ATTR_NAME) {
        name_add(links->attr, &links->attr_len, c);
    } else {
        attr_begin(links, c);
    }
}

static void step_value(struct links *links, char c)
{
    if (links->state == BEFORE_VALUE) {
        if (is_blank(c))
            return;
        links->state = c == '"' || c == '\'' ? QUOTED : UNQUOTED;
        links->quote = c;
        if (links->state == QUOTED)
            return;
        if (c == '>') {
            tag_done(links);
            return;
        }
    }
    if (links->state == QUOTED ? c != links->quote : !is_blank(c) && c != '>') {
        value_add(links, c);
        return;
    }
    links_attr(links);
    if (links->state == UNQUOTED && c == '>')
        tag_done(links);
    else
        links->state = BEFORE_ATTR;
}

void links_feed(struct links *links, const char *data, size_t size)
{
    for (const char *end = data + size; data < end; data++) {
        switch (links->state) {
        case TEXT:
            data = memchr(data, '<', (size_t)(end - data));
            if (!data)
                return;
            links->state = TAG_OPEN;
            break;
        case COMMENT_START:
        case COMMENT:
        case COMMENT_BANG:
            step_comment(links, *data);
            break;
        case TAG_NAME:
            step_tag_name(links, *data);
            break;
        case BEFORE_ATTR:
        case ATTR_NAME:
        case AFTER_ATTR:
            step_attr(links, *data);
            break;
        case BEFORE_VALUE:
        case QUOTED:
        case UNQUOTED:
            step_value(links, *data);
            break;
        case TAG_OPEN:
            step_tag_open(links, *data);
            break;
        case END_TAG_OPEN:
            step_end_tag_open(links, *data);
            break;
        default:
            step_markup(links, *data);
            break;
        }
    }
}
