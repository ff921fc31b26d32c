/* SPDX-License-Identifier: MIT */
/* The frontier (demos/crawler_frontier.h): a list of strings with a hash table over it.
 *
 * The strings lie one behind the other in blocks that are freed together. The table has open
 * addressing and is never more than half full; nothing is ever removed.
 *
 * Invariant: permits of `news` = URLs not handed out, plus one once the crawl is over.
 */
#include "crawler_frontier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 64 * 1024,
    BYTES_MAX = 24 * 1024 * 1024, /* of URLs: some 300,000 of usual length */
    FIRST_ROOM = 1024,
};

struct block {
    struct block *next;
    char text[];
};

void frontier_init(struct frontier *frontier, size_t count_max)
{
    *frontier = (struct frontier){.count_max = count_max};
    coil_sem_init(&frontier->news, 0);
}

void frontier_free(struct frontier *frontier)
{
    struct block *block = frontier->blocks;

    while (block) {
        struct block *next = block->next;

        free(block);
        block = next;
    }
    free(frontier->urls);
    free(frontier->table);
}

/* FNV-1a, seeded by nothing: a site that makes its URLs collide slows down its own crawl. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037U;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211U;
    return hash ^ hash >> 32;
}

/* Returns the place in the table where `url` is or would be. */
static size_t find(const struct frontier *frontier, const char *url)
{
    size_t at = (size_t)hash_of(url) & (frontier->table_size - 1);

    while (frontier->table[at] && strcmp(frontier->urls[frontier->table[at] - 1], url) != 0)
        at = (at + 1) & (frontier->table_size - 1);
    return at;
}

static int grow(struct frontier *frontier)
{
    const size_t room = frontier->room ? frontier->room * 2 : FIRST_ROOM;
    const char **urls = realloc(frontier->urls, room * sizeof *urls);
    uint32_t *table;

    if (!urls)
        return -ENOMEM;
    frontier->urls = urls;
    table = calloc(room * 2, sizeof *table);
    if (!table)
        return -ENOMEM;
    free(frontier->table);
    frontier->table = table;
    frontier->table_size = room * 2;
    frontier->room = room;
    for (size_t i = 0; i < frontier->count; i++)
        table[find(frontier, urls[i])] = (uint32_t)(i + 1);
    return 0;
}

static char *copy(struct frontier *frontier, const char *url)
{
    const size_t size = strlen(url) + 1;
    char *text;

    if (size > frontier->block_left) {
        const size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct block *block = malloc(sizeof *block + room);

        if (!block)
            return NULL;
        block->next = frontier->blocks;
        frontier->blocks = block;
        frontier->block = block->text;
        frontier->block_left = room;
    }
    text = frontier->block;
    memcpy(text, url, size);
    frontier->block += size;
    frontier->block_left -= size;
    frontier->bytes += size;
    return text;
}

int frontier_add(struct frontier *frontier, const char *url, bool is_unique)
{
    size_t at;

    if (frontier->count == frontier->room && grow(frontier) < 0)
        return -ENOMEM;
    at = find(frontier, url);
    if (is_unique && frontier->table[at])
        return 0;
    if (frontier->count == frontier->count_max || frontier->bytes > BYTES_MAX) {
        frontier->dropped++;
        return 0;
    }
    frontier->urls[frontier->count] = copy(frontier, url);
    if (!frontier->urls[frontier->count])
        return -ENOMEM;
    frontier->count++;
    frontier->table[at] = (uint32_t)frontier->count;
    coil_sem_release(&frontier->news);
    return 1;
}

int frontier_take(struct frontier *frontier, const char **ret_url)
{
    int result;

    /* A crawl that never had a URL is over before it begins. */
    if (frontier->count == 0)
        return 0;
    result = coil_sem_acquire(&frontier->news);
    if (result < 0)
        return result;
    if (frontier->next == frontier->count)
        return 0;
    *ret_url = frontier->urls[frontier->next++];
    frontier->in_flight++;
    return 1;
}

void frontier_done(struct frontier *frontier)
{
    frontier->in_flight--;
    if (frontier->in_flight == 0 && frontier->next == frontier->count)
        coil_sem_release(&frontier->news);
}
