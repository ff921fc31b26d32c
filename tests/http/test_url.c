/* SPDX-License-Identifier: MIT */
/* URLs: the examples of RFC 3986, the traps of links found on real pages, exact buffer sizes. */
#include "http/url.h"

#include "feed.h"

#include <errno.h>

#define LEN(array) (sizeof(array) / sizeof(array)[0])

typedef ssize_t call_fn(struct coil__slice, char *, size_t);

/* Too small a buffer is refused and not overrun; from the first size that is enough on, the result
 * is the same. That size may exceed the result by the dot segments that were removed from it. */
static void check_room(struct coil__slice text, call_fn *call, const char *want,
                       const struct guarded *room)
{
    bool fits = false;

    for (size_t size = 0; size <= 120; size++) {
        char *buf = room->map + room->size - size;
        const ssize_t n = call(text, buf, size);

        if (n == -ENAMETOOLONG) {
            cr_expect(!fits, "%s in %zu", want, size);
            continue;
        }
        cr_assert_eq(n, (ssize_t)strlen(want), "%s in %zu", want, size);
        cr_assert_lt((size_t)n, size);
        cr_expect_str_eq(buf, want);
        fits = true;
    }
    cr_expect(fits, "%s", want);
}

/* Runs @call on a guarded copy of @input, into a large buffer and guarded ones of each size. */
static void check_text(const char *input, call_fn *call, const char *want, int error)
{
    struct guarded memory = guarded_new(strlen(input) + 1);
    struct guarded room = guarded_new(4096);
    const struct coil__slice text = {guarded_copy(&memory, input, strlen(input)), strlen(input)};
    const size_t len = want ? strlen(want) : 0;
    char *whole = room.map;

    if (!want) {
        cr_expect_eq(call(text, whole, 4096), error, "%s: %zd %s", input, call(text, whole, 4096),
                     whole);
    } else {
        cr_expect_eq(call(text, whole, 4096), (ssize_t)len, "%s", input);
        cr_expect_str_eq(whole, want, "%s: %s", input, whole);
        check_room(text, call, want, &room);
    }
    guarded_free(&memory);
    guarded_free(&room);
}

/* ---- Parse ---- */

Test(url, absolute_urls_are_taken_apart, .timeout = 20)
{
    static const struct {
        const char *text, *authority, *host, *target;
        int port;
        bool is_v6, is_https;
    } rows[] = {
        {"http://a", "a", "a", "", 80, false, false},
        {"http://a/", "a", "a", "/", 80, false, false},
        {"HTTPS://A.b-c_d:8443/x/y?q=1&r", "A.b-c_d:8443", "A.b-c_d", "/x/y?q=1&r", 8443, false,
         true},
        {"https://a?q", "a", "a", "?q", 443, false, true},
        {"http://a/p?#f", "a", "a", "/p?", 80, false, false},
        {"http://a#f?g", "a", "a", "", 80, false, false},
        {"http://a:/p", "a:", "a", "/p", 80, false, false},
        {"http://[::1]:5000/p", "[::1]:5000", "::1", "/p", 5000, true, false},
        {"http://[2001:DB8::1.2.3.4]", "[2001:DB8::1.2.3.4]", "2001:DB8::1.2.3.4", "", 80, true,
         false},
        {"http://127.0.0.1:65535/@:", "127.0.0.1:65535", "127.0.0.1", "/@:", 65535, false, false},
        {"http://a/\xc3\xa9", "a", "a", "/\xc3\xa9", 80, false, false},
    };

    for (size_t i = 0; i < LEN(rows); i++) {
        struct guarded memory = guarded_new(100);
        const size_t len = strlen(rows[i].text);
        struct coil__url url;
        const struct coil__slice text = {guarded_copy(&memory, rows[i].text, len), len};

        cr_assert_eq(coil__url_parse(text, &url), 0, "%s", rows[i].text);
        cr_expect(coil__slice_is(url.authority, rows[i].authority), "%s", rows[i].text);
        cr_expect(coil__slice_is(url.host, rows[i].host), "%s", rows[i].text);
        cr_expect(coil__slice_is(url.target, rows[i].target), "%s", rows[i].text);
        cr_expect_eq(url.port, rows[i].port, "%s", rows[i].text);
        cr_expect_eq(url.is_v6, rows[i].is_v6, "%s", rows[i].text);
        cr_expect_eq(url.is_https, rows[i].is_https, "%s", rows[i].text);
        guarded_free(&memory);
    }
}

Test(url, what_is_no_http_url_is_refused, .timeout = 20)
{
    static const struct {
        const char *text;
        int error;
    } rows[] = {
        {"", -EINVAL},
        {"a", -EINVAL},
        {"/p", -EINVAL},
        {"//a/p", -EINVAL},
        {"://a", -EINVAL},
        {"1http://a", -EINVAL},
        {"http", -EINVAL},
        {"http:", -EINVAL},
        {"http:/a", -EINVAL},
        {"http:a", -EINVAL},
        {"http://", -EINVAL},
        {"http:///p", -EINVAL},
        {"http://:80/", -EINVAL},
        {"http://u@a/", -EINVAL},
        {"http://u:p@a/", -EINVAL},
        {"http://a:80:80/", -EINVAL},
        {"http://a:0/", -EINVAL},
        {"http://a:65536/", -EINVAL},
        {"http://a:000080/", -EINVAL},
        {"http://a:8x/", -EINVAL},
        {"http://a:-1/", -EINVAL},
        {"http://a b/", -EINVAL},
        {"http://a%41/", -EINVAL},
        {"http://\xc3\xa9/", -EINVAL},
        {"http://a\\b/", -EINVAL},
        {"http://[/", -EINVAL},
        {"http://[]/", -EINVAL},
        {"http://[::1/", -EINVAL},
        {"http://[::1]x/", -EINVAL},
        {"http://[1.2.3.4]/", -EINVAL},
        {"http://[fe80::1%25eth0]/", -EINVAL},
        {"http://[v1.a]/", -EINVAL},
        {"http://::1/", -EINVAL},
        {"http://a/b c", -EINVAL},
        {"http://a/b\tc", -EINVAL},
        {"http://a/b\r\nHost: c", -EINVAL},
        {"http://a/\x7f", -EINVAL},
        {"http://a/#\x01", -EINVAL},
        {"ftp://a/", -EPROTONOSUPPORT},
        {"mailto:a@b", -EPROTONOSUPPORT},
        {"javascript:void(0)", -EPROTONOSUPPORT},
        {"httpx://a/", -EPROTONOSUPPORT},
    };

    for (size_t i = 0; i < LEN(rows); i++) {
        struct coil__url url = {.port = 7};

        cr_expect_eq(coil__url_parse(coil__slice_from(rows[i].text), &url), rows[i].error, "%s",
                     rows[i].text);
        cr_expect_eq(url.port, 7);
    }
}

/* ---- Resolve ---- */

static const char *resolve_base;

static ssize_t resolve(struct coil__slice reference, char *buf, size_t size)
{
    return coil__url_resolve(coil__slice_from(resolve_base), reference, buf, size);
}

static void check_resolve(const char *base, const char *reference, const char *want)
{
    resolve_base = base;
    check_text(reference, resolve, want, -EINVAL);
}

Test(url, references_resolve_as_in_rfc_3986_5_4, .timeout = 20)
{
    static const char *const rows[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q#s"},
        {"g#s", "http://a/b/c/g#s"},
        {"g?y#s", "http://a/b/c/g?y#s"},
        {";x", "http://a/b/c/;x"},
        {"g;x", "http://a/b/c/g;x"},
        {"g;x?y#s", "http://a/b/c/g;x?y#s"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"../../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {".g", "http://a/b/c/.g"},
        {"g..", "http://a/b/c/g.."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/./x", "http://a/b/c/g?y/./x"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"g#s/./x", "http://a/b/c/g#s/./x"},
        {"g#s/../x", "http://a/b/c/g#s/../x"},
        {"http:g", "http:g"},
    };

    for (size_t i = 0; i < LEN(rows); i++)
        check_resolve("http://a/b/c/d;p?q", rows[i][0], rows[i][1]);
}

Test(url, references_resolve_against_other_bases, .timeout = 20)
{
    static const char *const rows[][3] = {
        {"http://a", "g", "http://a/g"},
        {"http://a", "", "http://a"},
        {"http://a", "?q", "http://a?q"},
        {"http://a?q", "g", "http://a/g"},
        {"http://a?q/r", "g", "http://a/g"},
        {"http://a?q", "#f", "http://a?q#f"},
        {"http://a/b?q#x", "", "http://a/b?q"},
        {"http://a/b?q", "?", "http://a/b?"},
        {"http://a/b", "#", "http://a/b#"},
        {"http://a/b/", "..", "http://a/"},
        {"http://a/b/", "../..", "http://a/"},
        {"http://a/b/..", "g", "http://a/b/g"},
        {"http://a/b//c", "../g", "http://a/b/g"},
        {"http://a/b", "/../../..", "http://a/"},
        {"http://a/b", "//g/../h", "http://g/h"},
        {"http://a/b", "a:b", "a:b"},
        {"http://a/b", "./a:b", "http://a/a:b"},
        {"http://a/b", "1:b", "http://a/1:b"},
        {"http://a/b", "x y\xc3\xa9", "http://a/x y\xc3\xa9"},
        {"http://[::1]:80/b", "c", "http://[::1]:80/c"},
        {"a:b/c", "d", "a:b/d"},
        {"a:b", "../d", "a:d"},
        {"a:/b", ".//c", NULL},
        {"a:b", "/x/..//c", NULL},
        {"a/b", "c", NULL},
        {"", "c", NULL},
        {"//a/b", "c", NULL},
        {"http://a/", "b\nc", NULL},
        {"http://a/", "b\tc", NULL},
        {"http://a/\x01", "b", NULL},
    };

    for (size_t i = 0; i < LEN(rows); i++)
        check_resolve(rows[i][0], rows[i][1], rows[i][2]);
}

/* ---- Normalise ---- */

Test(url, equivalent_urls_have_one_spelling, .timeout = 20)
{
    static const char *const rows[][2] = {
        {"http://a", "http://a/"},
        {"HTTP://EXAMPLE.com:80", "http://example.com/"},
        {"https://a:443/", "https://a/"},
        {"https://a:80/", "https://a:80/"},
        {"http://a:443/", "http://a:443/"},
        {"http://a:/", "http://a/"},
        {"http://a:08080/", "http://a:8080/"},
        {"http://a?q", "http://a/?q"},
        {"http://a/?", "http://a/?"},
        {"http://a/#f", "http://a/"},
        {"http://a/p#f?q", "http://a/p"},
        {"http://a/b/../c/./d/..", "http://a/c/"},
        {"http://a/../../x", "http://a/x"},
        {"http://a/%7euser/%2d%5F", "http://a/~user/-_"},
        {"http://a/%e4%Bd%a0", "http://a/%E4%BD%A0"},
        {"http://a/\xe4\xbd\xa0", "http://a/%E4%BD%A0"},
        {"http://a/x y", "http://a/x%20y"},
        {"http://a/x%20y", "http://a/x%20y"},
        {"http://a/%2520", "http://a/%2520"},
        {"http://a/b%2Fc", "http://a/b%2Fc"},
        {"http://a/%2e%2E/%2e./x", "http://a/x"},
        {"http://a/p?a=%2f%7E&b=c d|e", "http://a/p?a=%2F~&b=c%20d%7Ce"},
        {"http://a/p?a?b/../c", "http://a/p?a?b/../c"},
        {"http://a/\"<>\\^`{|}[]", "http://a/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D"},
        {"http://a/!$&'()*+,;=:@-._~", "http://a/!$&'()*+,;=:@-._~"},
        {"http://[2001:DB8:0::1]:80/", "http://[2001:db8::1]/"},
        {"http://a//b//", "http://a//b//"},
    };

    for (size_t i = 0; i < LEN(rows); i++) {
        check_text(rows[i][0], coil__url_normalise, rows[i][1], 0);
        check_text(rows[i][1], coil__url_normalise, rows[i][1], 0);
    }
}

Test(url, what_can_not_be_requested_is_not_normalised, .timeout = 20)
{
    check_text("http://a/%", coil__url_normalise, NULL, -EINVAL);
    check_text("http://a/%4", coil__url_normalise, NULL, -EINVAL);
    check_text("http://a/%4g", coil__url_normalise, NULL, -EINVAL);
    check_text("http://a/?%zz", coil__url_normalise, NULL, -EINVAL);
    check_text("http://a/\n", coil__url_normalise, NULL, -EINVAL);
    check_text("http://u@a/", coil__url_normalise, NULL, -EINVAL);
    check_text("/a", coil__url_normalise, NULL, -EINVAL);
    check_text("mailto:a", coil__url_normalise, NULL, -EPROTONOSUPPORT);
}

/* ---- Decode ---- */

Test(url, a_path_is_decoded_strictly, .timeout = 20)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"/", "/"},
        {"/a%20b%2Fc", "/a b/c"},
        {"/%E4%bd%A0", "/\xe4\xbd\xa0"},
        {"/%2e%2e/%2E", "/../."},
        {"/%2500", "/%00"},
        {"/%01%7f", "/\x01\x7f"},
        {"/a+b", "/a+b"},
        {"/%", NULL},
        {"/%2", NULL},
        {"/%2g", NULL},
        {"/%g2", NULL},
        {"/%%41", NULL},
        {"/%00", NULL},
        {"/a%00.html", NULL},
    };

    for (size_t i = 0; i < LEN(rows); i++)
        check_text(rows[i][0], coil__url_path_decode, rows[i][1], -EINVAL);

    char buf[8];
    cr_expect_eq(coil__url_path_decode((struct coil__slice){"a\0b", 3}, buf, sizeof buf), -EINVAL);
    cr_expect_eq(coil__url_path_decode((struct coil__slice){NULL, 0}, buf, sizeof buf), 0);
}
