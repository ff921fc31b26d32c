/* SPDX-License-Identifier: MIT */
/* The walk over files and directories (hasher_walk.h).
 *
 * A stack holds what was found and not yet looked at: taking a directory from it puts its entries
 * there, the first name on top. So a directory's files come where it stands among its neighbours,
 * always in the same order, and only the directories on the way down are in memory.
 */
#include "hasher_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <coil/coil.h>

void item_free(void *arg)
{
    struct item *item = arg;

    free(item->path);
    free(item);
}

/* PATH, or DIRECTORY/PATH. */
static struct item *make_item(const char *directory, const char *path)
{
    const size_t length = directory ? strlen(directory) : 0;
    const char *slash = length > 0 && directory[length - 1] != '/' ? "/" : "";
    const size_t size = length + strlen(path) + 2;
    struct item *item = calloc(1, sizeof *item);

    if (!item)
        return NULL;
    item->path = malloc(size);
    if (!item->path) {
        free(item);
        return NULL;
    }
    (void)snprintf(item->path, size, "%s%s%s", directory ? directory : "", slash, path);
    return item;
}

/* ---- Directories ---- */

static int compare(const void *a, const void *b)
{
    const struct item *const *first = a;
    const struct item *const *second = b;

    return strcmp((*first)->path, (*second)->path);
}

struct list {
    struct item **items;
    size_t count;
    size_t room;
};

static int list_add(struct list *list, struct item *item)
{
    if (!item)
        return -ENOMEM;
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 64;
        struct item **items = realloc((void *)list->items, room * sizeof *items);

        if (!items) {
            item_free(item);
            return -ENOMEM;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
    return 0;
}

static int read_directory(const char *path, struct list *list)
{
    coil_dir_entry entry;
    coil_dir *dir;
    int result = coil_dir_open(AT_FDCWD, path, &dir);

    if (result < 0)
        return result;
    while ((result = coil_dir_next(dir, &entry)) > 0) {
        struct item *item = make_item(path, entry.name);

        if (item)
            item->type = entry.type;
        result = list_add(list, item);
        if (result < 0)
            break;
    }
    coil_dir_close(dir);
    return result;
}

/* Puts what is in the directory on the stack, the first name on top. */
static int descend(struct walk *walk, const struct item *directory)
{
    struct list list = {0};
    const int result = read_directory(directory->path, &list);

    if (list.count > 0)
        qsort((void *)list.items, list.count, sizeof *list.items, compare);
    while (list.count > 0) {
        struct item *item = list.items[--list.count];

        item->next = walk->stack;
        walk->stack = item;
    }
    free((void *)list.items);
    return result;
}

static int find_type(struct item *item)
{
    coil_file_info info;
    const int flags = item->is_argument ? 0 : AT_SYMLINK_NOFOLLOW;
    int result = 0;

    if (item->type == 0)
        result = coil_path_stat(AT_FDCWD, item->path, flags, &info);
    if (item->type == 0 && result == 0)
        item->type = info.mode & (unsigned)S_IFMT;
    return result;
}

static struct item *take_item(struct walk *walk)
{
    struct item *item = walk->stack;

    if (item) {
        walk->stack = item->next;
    } else {
        item = make_item(NULL, *walk->arguments++);
        if (item)
            item->is_argument = true;
    }
    return item;
}

void walk_end(struct walk *walk)
{
    while (walk->stack) {
        struct item *item = walk->stack;

        walk->stack = item->next;
        item_free(item);
    }
}

int next_file(void *arg, void **ret_item)
{
    struct walk *walk = arg;

    while (walk->stack || *walk->arguments) {
        struct item *item = take_item(walk);

        if (!item)
            return -ENOMEM;
        item->error = find_type(item);
        if (item->error == 0 && item->type == S_IFDIR)
            item->error = descend(walk, item);
        else if (item->error == 0 && item->type != S_IFREG && item->is_argument)
            item->error = -EINVAL;
        if (item->error < 0 || item->type == S_IFREG) {
            *ret_item = item;
            return 1;
        }
        item_free(item);
    }
    return 0;
}
