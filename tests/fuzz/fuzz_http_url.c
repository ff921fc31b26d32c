/* SPDX-License-Identifier: MIT */
/* Fuzzer of the URL functions. An input is a base and a reference with a newline between.
 *
 * Properties: a normal URL parses, fits into a request line, has no dot segments and is its own
 * normal form; a too small buffer is never overrun; what resolves twice resolves to itself.
 */
#include "http/url.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_normal(const char *text, size_t len)
{
    const struct coil__slice url = {text, len};
    struct coil__url parsed;
    char *again = malloc(len + 1);

    require(again != NULL);
    require(coil__url_parse(url, &parsed) == 0 && parsed.target.data[0] == '/');
    for (size_t i = 0; i < len; i++)
        require(text[i] > 0x20 && text[i] < 0x7f && text[i] != '#');

    const size_t path = strcspn(parsed.target.data, "?");
    for (size_t i = 0; i + 2 < path; i++)
        require(memcmp(parsed.target.data + i, "/./", 3) != 0 &&
                strncmp(parsed.target.data + i, "/../", 4) != 0);
    require(coil__url_normalise(url, again, len + 1) == (ssize_t)len);
    require(strcmp(again, text) == 0);
    free(again);
}

static void check_normalise(struct coil__slice text)
{
    const size_t size = text.len * 3 + 40;
    char *buf = malloc(size);

    require(buf != NULL);
    const ssize_t n = coil__url_normalise(text, buf, size);

    require(n != -ENAMETOOLONG);
    if (n > 0) {
        char *small = malloc((size_t)n);
        require(small != NULL);
        require(coil__url_normalise(text, small, (size_t)n) == -ENAMETOOLONG);
        free(small);
        check_normal(buf, (size_t)n);
    }
    free(buf);
}

static void check_resolve(struct coil__slice base, struct coil__slice reference)
{
    const size_t size = base.len + reference.len + 2;
    char *buf = malloc(size);
    char *again = malloc(size);

    require(buf != NULL && again != NULL);
    const ssize_t n = coil__url_resolve(base, reference, buf, size);

    require(n != -ENAMETOOLONG);
    if (n > 0) {
        const struct coil__slice resolved = {buf, (size_t)n};

        require(strlen(buf) == (size_t)n);
        check_normalise(resolved);
        if (coil__url_resolve(base, resolved, again, size) > 0)
            require(strcmp(buf, again) == 0 || strchr(buf, '.') != NULL);
    }
    free(buf);
    free(again);
}

static void check_decode(struct coil__slice path)
{
    char *buf = malloc(path.len + 1);

    require(buf != NULL);
    const ssize_t n = coil__url_path_decode(path, buf, path.len + 1);

    require(n == -EINVAL || (n >= 0 && strlen(buf) == (size_t)n));
    free(buf);
}

/* NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0)
        return 0;

    const char *text = (const char *)input;
    const char *newline = memchr(text, '\n', size);
    const struct coil__slice base = {text, newline ? (size_t)(newline - text) : size};
    const size_t skip = newline ? base.len + 1 : size;
    const struct coil__slice reference = {text + skip, size - skip};

    check_normalise(base);
    check_decode(base);
    check_resolve(base, reference);
    return 0;
}
