/* SPDX-License-Identifier: MIT */
/* The outermost frame of a fiber on AArch64 (core/switch.h).
 *
 * A context that has not run continues here, with its entry and argument next on the stack. When
 * the entry returns, coil__fiber_exit() is jumped to, for it does not. Unwinders end here, because
 * x30 is declared undefined; x29 becomes zero, which ends a walk by frame pointers.
 *
 * No property note: nothing claims support for BTI or for a guarded control stack.
 */

        .text

        .type   fiber_start, %function
        .p2align 4
fiber_start:
        .cfi_startproc
        .cfi_undefined x30
        /* Unwinders look up the instruction before a return address: of a fiber that has not run,
         * this. */
        nop
        .globl  coil__switch_start
        .hidden coil__switch_start
coil__switch_start:
        mov     x29, xzr
        ldp     x9, x19, [sp], #16      /* entry, its argument */
        mov     x0, x19
        blr     x9
        mov     x0, x19
        adr     x30, .Lnever
        b       coil__fiber_exit
.Lnever:
        brk     #1
        .cfi_endproc
        .size   fiber_start, . - fiber_start

        .section .note.GNU-stack, "", %progbits
