/* SPDX-License-Identifier: MIT */
/* Public URLs (coil/url.h): links of a page become one spelling, what is none is refused. */
#include <coil/url.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

struct row {
    const char *reference;
    const char *want; /* NULL: `error` */
    int error;
};

Test(url_text, links_resolve_to_the_normal_form, .timeout = 20)
{
    static const struct row rows[] = {
        {"../c.html#part", "http://h/c.html", 0},
        {"", "http://h/a/b?q", 0},
        {"?x=1&y", "http://h/a/b?x=1&y", 0},
        {"//O/", "http://o/", 0},
        {"HTTP://H:80", "http://h/", 0},
        {"./%7Eme/%2f \xc3\xa9", "http://h/a/~me/%2F%20%C3%A9", 0},
        {"../../../../etc/passwd", "http://h/etc/passwd", 0},
        {"https://h/", "https://h/", 0},
        {"mailto:me@h", NULL, -EPROTONOSUPPORT},
        {"javascript:void(0)", NULL, -EPROTONOSUPPORT},
        {"http://", NULL, -EINVAL},
        {"a%zz", NULL, -EINVAL},
    };
    char text[256];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const ssize_t length =
            coil_url_resolve("http://h/a/b?q", rows[i].reference, text, sizeof text);

        if (!rows[i].want) {
            cr_expect_eq(length, rows[i].error, "%s: %zd", rows[i].reference, length);
        } else {
            cr_expect_str_eq(text, rows[i].want);
            cr_expect_eq(length, (ssize_t)strlen(rows[i].want));
        }
    }
}

Test(url_text, sizes_and_missing_memory_are_told, .timeout = 20)
{
    char text[16];

    cr_expect_eq(coil_url_normalise("http://h", text, 10), 9);
    cr_expect_str_eq(text, "http://h/");
    cr_expect_eq(coil_url_normalise("http://h", text, 9), -ENAMETOOLONG);
    cr_expect_eq(coil_url_resolve("http://h/", "abc", text, 12), -ENAMETOOLONG);
    coil__alloc_fail_after(0);
    cr_expect_eq(coil_url_resolve("http://h/", "abc", text, sizeof text), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_expect_eq(coil__alloc_live_count(), 0);
}
