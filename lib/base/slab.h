/* SPDX-License-Identifier: MIT */
/* Pool of equal-sized objects, recycled last in, first out.
 *
 * Fibers' handles, streams and output buffers come and go with each connection; a slab makes that
 * a pointer pop, hands out the block that was warm last, and keeps the objects of a kind dense.
 * Blocks are carved from chunks that stay until coil__slab_fini(). Not thread-safe: one per
 * scheduler. Under ASan a block in the pool is poisoned.
 */
#ifndef COIL_LIB_BASE_SLAB_H
#define COIL_LIB_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/sanitize.h"

struct coil__slab {
    size_t object_size; /* rounded up to the alignment of any type, 16 */
    size_t chunk_size;  /* bytes asked of the allocator at a time */
    void *free_list;
    void *chunks;
    size_t live_count; /* objects handed out */
};

void coil__slab_init(struct coil__slab *slab, size_t object_size, size_t objects_per_chunk);

/* All objects must have been given back. */
void coil__slab_fini(struct coil__slab *slab);

/* Adds a chunk of free objects; false when there is no memory. */
bool coil__slab_grow(struct coil__slab *slab);

/* An object with undefined contents, or NULL. Inline, as is its counterpart: a pop and a push. */
static inline void *coil__slab_get(struct coil__slab *slab)
{
    void *object;

    if (COIL_UNLIKELY(!slab->free_list) && !coil__slab_grow(slab))
        return NULL;

    object = slab->free_list;
    coil__sanitize_unpoison(object, slab->object_size);
    slab->free_list = *(void **)object; /* a free object begins with the link to the next one */
    slab->live_count++;
    return object;
}

static inline void coil__slab_put(struct coil__slab *slab, void *object)
{
    COIL_ASSERT(slab->live_count > 0 && "more objects come back than went out");

    slab->live_count--;
    *(void **)object = slab->free_list;
    slab->free_list = object;
    coil__sanitize_poison(object, slab->object_size);
}

#endif
