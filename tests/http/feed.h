/* SPDX-License-Identifier: MIT */
/* Memory that ends where the input ends: the byte after it is in a page nobody may touch, so a
 * parser that reads one byte too far crashes instead of passing. */
#ifndef COIL_TESTS_HTTP_FEED_H
#define COIL_TESTS_HTTP_FEED_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    char *map;
    size_t size; /* without the guard page */
};

static inline struct guarded guarded_new(size_t capacity)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = (capacity + page - 1) / page * page;
    void *map = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mprotect((char *)map + size, page, PROT_NONE), 0);
    return (struct guarded){.map = map, .size = size};
}

/* Returns a copy of @data that ends at the guard page. */
static inline char *guarded_copy(const struct guarded *memory, const char *data, size_t len)
{
    char *copy = memory->map + memory->size - len;

    cr_assert_leq(len, memory->size);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static inline void guarded_free(struct guarded *memory)
{
    munmap(memory->map, memory->size + (size_t)sysconf(_SC_PAGESIZE));
}

/* Returns "@prefix aaaa... @suffix" with @fill letters, to be freed by the caller. */
static inline char *filled(const char *prefix, size_t fill, const char *suffix)
{
    const size_t before = strlen(prefix);
    char *text = malloc(before + fill + strlen(suffix) + 1);

    cr_assert_not_null(text);
    memcpy(text, prefix, before + 1);
    memset(text + before, 'a', fill);
    memcpy(text + before + fill, suffix, strlen(suffix) + 1);
    return text;
}

#endif
