/* SPDX-License-Identifier: MIT */
/* The context switch for x86-64, System V ABI (core/switch.h).
 *
 * It pushes, so code around it must be compiled without a red zone (-mno-red-zone, as all of coil
 * is). The x87 and MMX registers are not named: the few functions around a switch, which stay by
 * themselves (COIL_OPAQUE), use none.
 */
#ifndef COIL_LIB_CORE_SWITCH_X86_64_H
#define COIL_LIB_CORE_SWITCH_X86_64_H

#include "base/assert.h"

#ifdef __AVX512F__
# define COIL__SWITCH_CLOBBERS_AVX512                                                           \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",   \
      "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5", \
      "k6", "k7"
#else
# define COIL__SWITCH_CLOBBERS_AVX512
#endif

/* Saves the caller's context, stores where in *ret_save, and continues `load`. Returns when
 * somebody loads what was saved. */
static COIL_ALWAYS_INLINE void coil__switch(void **ret_save, void *load)
{
    __asm__ volatile("leaq    1f(%%rip), %%rax\n\t"
                     "pushq   %%rax\n\t"
                     "pushq   %%rbp\n\t"
                     "movq    %%rsp, (%[save])\n\t"
                     "movq    %[load], %%rsp\n\t"
                     "popq    %%rbp\n\t"
                     "popq    %%rax\n\t"
                     "jmpq    *%%rax\n"
                     "1:"
                     : [save] "+D"(ret_save), [load] "+S"(load)
                     :
                     : "memory", "cc", "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12",
                       "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" COIL__SWITCH_CLOBBERS_AVX512);
}

/* Continues `load` for good. */
_Noreturn static COIL_ALWAYS_INLINE void coil__switch_last(void *load)
{
    __asm__ volatile("movq    %[load], %%rsp\n\t"
                     "popq    %%rbp\n\t"
                     "popq    %%rax\n\t"
                     "jmpq    *%%rax"
                     :
                     : [load] "S"(load)
                     : "memory");
    __builtin_unreachable();
}

#endif
