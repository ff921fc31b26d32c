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

#include <stddef.h>

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

/* An object with undefined contents, or NULL. */
void *coil__slab_get(struct coil__slab *slab);
void coil__slab_put(struct coil__slab *slab, void *object);

#endif
