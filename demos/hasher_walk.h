/* SPDX-License-Identifier: MIT */
/* What hasher.c hashes, and the walk that finds it.
 *
 * The walk is an imap's feeder: it makes the items, the imap's consumer or the imap itself frees
 * them.
 */
#ifndef DEMOS_HASHER_WALK_H
#define DEMOS_HASHER_WALK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HASH_SIZE = 32,
};

/* What the imap carries: a file to hash, or a directory that could not be walked. */
struct item {
    struct item *next; /* on the walk's stack */
    char *path;
    unsigned type; /* S_IFREG, ...; 0: unknown */
    bool is_argument;
    int error;
    uint64_t size;
    unsigned char hash[HASH_SIZE];
};

struct walk {
    char **arguments;   /* up to a NULL */
    struct item *stack; /* NULL at first */
};

/* Finds the next file, or a name that is an error: 1 with the item, 0 at the end, or a negative
 * error. `arg` is a struct walk. Parks. For coil_imap_new(). */
int next_file(void *arg, void **ret_item);

void item_free(void *arg);

/* Frees what the walk has found and not handed out: after an error, or when nobody asks on. */
void walk_end(struct walk *walk);

#endif
