/* SPDX-License-Identifier: MIT */
/* Fiber-local values (coil/local.h): a small table per fiber, made at the first value.
 *
 * Entries stand in the order in which their locals were first set and are never moved, only
 * emptied: a destructor that sets another local meanwhile appends, and a fiber uses the same few
 * locals over and over. Destructors may set values again, also their own; after DESTROY_ROUNDS
 * rounds over the table what is left is given up, named in the log.
 *
 * Invariant: a table has at most one entry per local; entries beyond `count` mean nothing.
 */
#include "core/local.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/log.h"

COIL_STATIC_ASSERT(sizeof(coil_local) == 24, "a promise of the header");

enum {
    ENTRIES_FIRST = 4,
    ENTRIES_MAX = 1024, /* of one fiber: a look-up walks them, and a leak should be found */
    DESTROY_ROUNDS = 4, /* as many as POSIX promises for threads */
};

struct entry {
    const coil_local *local;
    void *value;
};

struct coil__locals {
    size_t count;
    size_t capacity;
    struct entry entries[];
};

static struct entry *find(const struct coil__tcb *tcb, const coil_local *local)
{
    struct coil__locals *locals = tcb->locals;

    if (!locals)
        return NULL;
    for (size_t i = 0; i < locals->count; i++)
        if (locals->entries[i].local == local)
            return &locals->entries[i];
    return NULL;
}

/* Makes room for one more. */
static int grow(struct coil__tcb *tcb)
{
    struct coil__locals *locals = tcb->locals;
    const size_t count = locals ? locals->count : 0;
    const size_t capacity = locals ? locals->capacity * 2 : ENTRIES_FIRST;

    if (locals && count < locals->capacity)
        return 0;
    if (capacity > ENTRIES_MAX)
        return -ENOMEM;
    locals = coil__realloc(locals, sizeof *locals + capacity * sizeof locals->entries[0]);
    if (!locals)
        return -ENOMEM;
    locals->count = count;
    locals->capacity = capacity;
    tcb->locals = locals;
    return 0;
}

static int append(struct coil__tcb *tcb, const coil_local *local, void *value)
{
    const int result = grow(tcb);

    if (result < 0)
        return result;
    tcb->locals->entries[tcb->locals->count++] = (struct entry){.local = local, .value = value};
    return 0;
}

static void destroy(const coil_local *local, void *value)
{
    if (value && local->destroy)
        local->destroy(value);
}

/* ---- Public ---- */

void *coil_local_get(const coil_local *local)
{
    const struct entry *entry = find(coil__self(), local);
    void *value = entry ? entry->value : NULL;

    if (value || !local->create)
        return value;
    value = local->create();
    if (coil_local_set(local, value) < 0) {
        destroy(local, value);
        return NULL;
    }
    return value;
}

int coil_local_set(const coil_local *local, void *value)
{
    struct coil__tcb *self = coil__self();
    struct entry *entry = find(self, local);
    void *previous;

    if (!entry)
        return value ? append(self, local, value) : 0;
    previous = entry->value;
    entry->value = value;
    if (previous != value)
        destroy(local, previous);
    return 0;
}

/* ---- The fiber's life ---- */

/* One round over the values of `tcb`, last set first. Returns whether there were any. */
static bool destroy_all(struct coil__tcb *tcb)
{
    bool has_destroyed = false;

    for (size_t i = tcb->locals->count; i-- > 0;) {
        struct entry *entry = &tcb->locals->entries[i];
        const struct entry ended = *entry;

        entry->value = NULL; /* the destructor may set it, or others, and so move the table */
        if (!ended.value)
            continue;
        has_destroyed = true;
        destroy(ended.local, ended.value);
    }
    return has_destroyed;
}

/* Of a fiber that never ran, in the one that would have been its parent. */
static void drop(struct coil__tcb *tcb)
{
    if (!tcb->locals)
        return;
    (void)destroy_all(tcb);
    coil__free(tcb->locals);
    tcb->locals = NULL;
}

int coil__local_inherit(const struct coil__tcb *parent, struct coil__tcb *child)
{
    /* By index and count anew each time: `inherit` may set locals of the parent. */
    for (size_t i = 0; i < parent->locals->count; i++) {
        const struct entry entry = parent->locals->entries[i];
        void *value = NULL;

        if (entry.value && entry.local->inherit)
            value = entry.local->inherit(entry.value);
        if (!value)
            continue;
        if (append(child, entry.local, value) < 0) {
            destroy(entry.local, value);
            drop(child);
            return -ENOMEM;
        }
    }
    return 0;
}

void coil__local_end(struct coil__tcb *self)
{
    int rounds = 0;

    while (rounds < DESTROY_ROUNDS && destroy_all(self))
        rounds++;
    if (rounds == DESTROY_ROUNDS && destroy_all(self)) {
        coil__log(COIL_LOG_WARNING,
                  "fiber %llu '%s' ends, but its locals' destructors set new ones",
                  (unsigned long long)self->handle->id, self->handle->name);
    }
    coil__free(self->locals);
    self->locals = NULL;
}
