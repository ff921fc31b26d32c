/* SPDX-License-Identifier: MIT */
/* What a crawl has still to fetch, and what it has ever seen.
 *
 * One list in the order of discovery: everything before `next` has been handed out. frontier_take()
 * parks while the list is used up and pages are still being fetched, as those may bring new links;
 * when none is, the crawl is over. Number and bytes of the URLs are bounded, so a site without end
 * can't grow it beyond its share of memory.
 */
#ifndef COIL_DEMOS_CRAWLER_FRONTIER_H
#define COIL_DEMOS_CRAWLER_FRONTIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <coil/sem.h>

struct frontier {
    size_t count;     /* URLs ever added */
    size_t next;      /* the first that has not been handed out */
    size_t in_flight; /* handed out and not done */
    size_t dropped;   /* not added for the limits */
    /* The rest is private. */
    coil_sem news; /* one permit for each URL not handed out, and one for the end */
    size_t count_max;
    size_t bytes;
    const char **urls;
    size_t room;
    uint32_t *table; /* numbers of URLs plus 1, by hash; 0: free */
    size_t table_size;
    char *block;
    size_t block_left;
    void *blocks; /* list of all, for the end */
};

void frontier_init(struct frontier *frontier, size_t count_max);
void frontier_free(struct frontier *frontier);

/* Adds a URL; with `is_unique` only one that is not there yet. Returns 1 when added, 0 when known
 * or over the limits, -ENOMEM. */
int frontier_add(struct frontier *frontier, const char *url, bool is_unique);

/* Takes the next URL. Parks. Returns 1; 0 when the crawl is over; -ETIMEDOUT or -ECANCELED. */
int frontier_take(struct frontier *frontier, const char **ret_url);

/* One URL that was taken is done with: all its links have been added. */
void frontier_done(struct frontier *frontier);

#endif
