/* SPDX-License-Identifier: MIT */
/* The context switch for AArch64, AAPCS64 (core/switch.h).
 *
 * The operands have their registers by name, because all others are clobbered. There is no red
 * zone. x18 is named, too: where it is the platform's, nobody keeps anything in it. The predicates
 * of SVE are not: the few functions around a switch, which stay by themselves (COIL_OPAQUE), have
 * none to keep.
 *
 * gcc's unwinding tables go by the stack pointer in spite of the frame pointer: to an unwinder that
 * comes with a signal while that points at words of a context, the callers are unknown or wrong.
 */
#ifndef COIL_LIB_CORE_SWITCH_AARCH64_H
#define COIL_LIB_CORE_SWITCH_AARCH64_H

#include "base/assert.h"

/* Saves the caller's context, stores where in *ret_save, and continues `load`. Returns when
 * somebody loads what was saved. */
static COIL_ALWAYS_INLINE void coil__switch(void **ret_save, void *load)
{
    register void **save __asm__("x0") = ret_save;
    register void *next __asm__("x1") = load;

    __asm__ volatile("adr     x9, 1f\n\t"
                     "stp     x29, x9, [sp, #-16]!\n\t"
                     "mov     x10, sp\n\t"
                     "str     x10, [%[save]]\n\t"
                     "mov     sp, %[load]\n\t"
                     "ldp     x29, x9, [sp], #16\n\t"
                     "br      x9\n"
                     "1:"
                     : [save] "+r"(save), [load] "+r"(next)
                     :
                     : "memory", "cc", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
                       "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22",
                       "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3",
                       "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
                       "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
                       "v27", "v28", "v29", "v30", "v31");
}

/* Continues `load` for good. */
_Noreturn static COIL_ALWAYS_INLINE void coil__switch_last(void *load)
{
    __asm__ volatile("mov     sp, %[load]\n\t"
                     "ldp     x29, x9, [sp], #16\n\t"
                     "br      x9"
                     :
                     : [load] "r"(load)
                     : "memory");
    __builtin_unreachable();
}

#endif
