/* SPDX-License-Identifier: MIT */
/* The crawler's link scanner: what is a link, what only looks like one, in pieces of any size. */
#include "demos/crawler_links.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEPT = 64 * 1024,
};

/* What was found: "link|link|=base|". */
struct kept {
    char text[KEPT];
    size_t len;
};

static void keep(const char *link, bool is_base, void *arg)
{
    struct kept *kept = arg;
    const int len = snprintf(kept->text + kept->len, sizeof kept->text - kept->len, "%s%s|",
                             is_base ? "=" : "", link);

    cr_assert_lt(kept->len + (size_t)len, sizeof kept->text);
    cr_assert_gt(strlen(link), 0);
    cr_assert_leq(strlen(link), LINK_MAX);
    kept->len += (size_t)len;
}

/* Scans `html` in pieces of `step` bytes, each at the end of a block of its own. */
static void scan(const char *html, size_t size, size_t step, struct kept *kept)
{
    struct links links;

    kept->len = 0;
    kept->text[0] = '\0';
    links_init(&links, keep, kept);
    for (size_t at = 0; at < size; at += step) {
        const size_t len = size - at < step ? size - at : step;
        char *piece = malloc(len);

        cr_assert_not_null(piece);
        memcpy(piece, html + at, len);
        links_feed(&links, piece, len);
        free(piece);
    }
}

static void check(const char *html, const char *want)
{
    static struct kept kept;
    static const size_t steps[] = {1, 2, 3, 7, 4096};

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        scan(html, strlen(html), steps[i], &kept);
        cr_expect_str_eq(kept.text, want, "%s by %zu: %s", html, steps[i], kept.text);
    }
}

Test(crawler_links, every_kind_of_link_is_found, .timeout = 20)
{
    check("<a href=\"a\">x</a><A HREF='b'><area href=c><link rel=x href=d /><img src=e>"
          "<script src=f></script><iframe src=g></iframe><source src=h><video src=i poster=j>"
          "<audio src=k><track src=l><embed src=m><object data=n><input src=o><frame src=p>",
          "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|");
    check("<base href='/x/'><base href=y><a href=z>", "=/x/|z|");
    check("<base><a href=z><base href=y>", "z|=y|");
    check("<img srcset='a.png 1x, b.png 2x,c.png,  d.png 100w , e,f' src=g>",
          "a.png|b.png|c.png|d.png|e,f|g|");
    check("<img srcset='a,, b 1x,, c'>", "a|b|c|");
    check("<img srcset=''><img srcset=' , ,'><img srcset='a,'><img srcset='a (x, 2x'>", "a|a|2x|");
}

Test(crawler_links, what_only_looks_like_a_link_is_none, .timeout = 20)
{
    check("<!-- <a href=a> --><a href=b>", "b|");
    check("<!--><a href=a><!---><a href=b><!----><a href=c><!-- --!><a href=d>", "a|b|c|d|");
    check("<!--!><a href=a>--><a href=b><!-- -- > - -> <a href=c>--><a href=d>", "b|d|");
    check("<!--->--><a href=a><!-- --- --><a href=b><!----!><a href=c>", "a|b|c|");
    check("<!-- --!--><a href=a><!-- --!x --><a href=b>", "a|b|");
    check("<!doctype html \"<a href=x>\"><a href=b><?php <a href=y>?><a href=c>", "b|c|");
    check("<script>'<a href=a>' </scrip> </scriptx> < /script></script ><a href=b>", "b|");
    check("<style><a href=a></style><title><a href=b></title/><textarea><a href=c></textarea\n>"
          "<script>a<b</<<</script><a href=d>",
          "d|");
    check("<script></b><a href=a><script src=b></script><a href=c>", "c|");
    check("<script src=a><a href=b></SCRIPT><a href=c>", "a|c|");
    check("a < b href=c> <1 href=d> </a href=e> </ a href=f> <a:b href=g> <ab href=h>", "");
    check("<p href=a><a src=b><img href=c><a hrefs=d><a data-href=e><a title='href=f'>", "");
    check("<a href=''><a href><a href=>x<a href=' '><a href=\"&#9;\">", "");
}

Test(crawler_links, attributes_are_read_as_browsers_do, .timeout = 20)
{
    check("<a\n\thref\n=\n\"a\"/><a/href=b/><a class=x href=c><a class='>' href=d>", "a|b/|c|d|");
    check("<a href='a\"b' title=\">\"><a href=\"c'd\"><a href=e'f\"g>", "a\"b|c'd|e'f\"g|");
    check("<a =href=a href=b><a href==c><a href=\"x\"href='y'>", "b|=c|x|y|");
    check("<a href=x =y>", "x|");
    check("<a href=\"  a b\n\tc  \"><a href='\r\nd'>", "a bc|d|");
    check("<a href=\"a", "");
    check("<a href=a", "");
    check("<a href=a<b><b<a href=c>", "a<b|");
    check("<averyveryverylongname href=a><a averyveryverylongname=b href=c>", "c|");
}

Test(crawler_links, character_references_are_decoded, .timeout = 20)
{
    check("<a href=\"?a=1&amp;b=2&#38;c&#x26;d&#X3d;e&lt;&gt;&quot;&apos;\">",
          "?a=1&b=2&c&d=e<>\"'|");
    check("<a href=\"?a&ampb&amp=c&amp;&amp d&copy;&unknown;&&#&#x&#;\">",
          "?a&ampb&amp=c&& d&copy;&unknown;&&#&#x&#;|");
    check("<a href='&#233;&#x20ac;&#128512;&#38amp;&nbsp;x'>",
          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80&amp;\xc2\xa0x|");
    check("<a href='a&#0;&#xd800;&#x110000;&#99999999999999999999;b'>",
          "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
          "b|");
    check("<a href='&#4294967361;&#x100000041;'>", "\xef\xbf\xbd\xef\xbf\xbd|");
    check("<a href='&#0'><a href='&amp'><a href='&am'><a href='&'>", "\xef\xbf\xbd|&|&am|&|");
}

Test(crawler_links, a_nul_byte_in_a_link_drops_it, .timeout = 20)
{
    static const char html[] = "<a href='a\0b'><a href=c>\0<a href=d>";
    static struct kept kept;

    scan(html, sizeof html - 1, 3, &kept);
    cr_expect_str_eq(kept.text, "c|d|");
}

Test(crawler_links, a_link_over_the_limit_is_counted_and_dropped, .timeout = 20)
{
    static char html[3 * LINK_MAX];
    static struct kept kept;
    struct links links;

    for (size_t len = LINK_MAX - 1; len <= LINK_MAX + 2; len++) {
        int head = snprintf(html, sizeof html, "<a href='");

        memset(html + head, 'x', len);
        memcpy(html + head + len, "'><a href=y>", 13);
        kept.len = 0;
        links_init(&links, keep, &kept);
        links_feed(&links, html, strlen(html));
        cr_expect_eq(kept.len, len <= LINK_MAX ? len + 3 : 2);
        cr_expect_eq(links.too_long, len > LINK_MAX);
    }
}

/* ---- Anything at all ---- */

static uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static size_t make_soup(char *html, size_t size, uint32_t *state)
{
    static const char *const bits[] = {
        "<",          ">",        "</",       "/>",        "<!",
        "<!--",       "-->",      "--!>",     "-",         "<?",
        "a",          "A",        "img",      "script",    "title",
        "base",       " ",        "\n",       "/",         "=",
        "\"",         "'",        "href",     "src",       "srcset",
        "href=",      "x, y 2x",  "&",        "&amp;",     "&#",
        "&#x",        "65",       ";",        "\xff",      "&#0;",
        ",",          "<a href=", "<script>", "</script>", "<img srcset='",
        "&#1114111;", "zz",
    };
    size_t len = 0;

    for (;;) {
        const uint32_t pick = random_next(state);
        const char *bit = bits[pick % (sizeof bits / sizeof bits[0])];

        if (len + strlen(bit) + 1 > size)
            return len;
        memcpy(html + len, bit, strlen(bit));
        len += strlen(bit);
        if (pick >> 24 == 0)
            html[len++] = '\0';
    }
}

Test(crawler_links, any_input_gives_the_same_links_however_it_is_cut, .timeout = 60)
{
    static struct kept whole;
    static struct kept cut;
    uint32_t state = 2463534242U;
    size_t found = 0;

    for (int round = 0; round < 3000; round++) {
        char html[600];
        const size_t len = make_soup(html, sizeof html, &state);

        scan(html, len, len, &whole);
        scan(html, len, 1 + random_next(&state) % 9, &cut);
        cr_assert_str_eq(cut.text, whole.text);
        found += whole.len > 0;
    }
    cr_expect_gt(found, 300, "the soup has links in it");
}
