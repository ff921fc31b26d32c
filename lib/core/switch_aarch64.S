/* SPDX-License-Identifier: MIT */
/* The context switch for AArch64, AAPCS64 (core/switch.h).
 *
 * A context that does not run is a stack pointer; at it lie, upwards: x29, x30 (where to continue),
 * x19 to x28, d8 to d15. The ABI asks for the lower halves of the vector registers only.
 *
 * It ends in br instead of ret, so that the processor does not predict the return from calls that
 * were made on another stack. The price: a branch target check would object, hence no property note
 * that claims support for BTI or for a guarded control stack.
 *
 * Unwinders pass through a switch by the CFI, which stays right across the change of stacks as both
 * hold the same frame. They stop at the trampoline, whose return address is declared undefined; x29
 * is zero there, which ends a walk by frame pointers.
 */

        .text

/* ---- void coil__switch(void **ret_save, void *load) ---- */
        .globl  coil__switch
        .hidden coil__switch
        .type   coil__switch, %function
        .p2align 4
coil__switch:
        .cfi_startproc
        stp     x29, x30, [sp, #-160]!
        .cfi_adjust_cfa_offset 160
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x27, x28, [sp, #80]
        .cfi_restore x27
        .cfi_restore x28
        ldp     x25, x26, [sp, #64]
        .cfi_restore x25
        .cfi_restore x26
        ldp     x23, x24, [sp, #48]
        .cfi_restore x23
        .cfi_restore x24
        ldp     x21, x22, [sp, #32]
        .cfi_restore x21
        .cfi_restore x22
        ldp     x19, x20, [sp, #16]
        .cfi_restore x19
        .cfi_restore x20
        ldp     x29, x30, [sp], #160
        .cfi_adjust_cfa_offset -160
        .cfi_restore x29
        .cfi_restore x30
        br      x30
        .cfi_endproc
        .size   coil__switch, . - coil__switch

/* ---- The outermost frame of a fiber: calls x19(x20), the stack being 16-byte aligned ---- */
        .type   fiber_start, %function
        .p2align 4
fiber_start:
        .cfi_startproc
        .cfi_undefined x30
        /* Unwinders look up the instruction before a return address: of a fiber that has not run,
         * this. */
        nop
.Lfirst_instruction:
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   fiber_start, . - fiber_start

/* ---- void *coil__switch_prepare(void *top, void (*entry)(void *), void *arg) ---- */
        .globl  coil__switch_prepare
        .hidden coil__switch_prepare
        .type   coil__switch_prepare, %function
        .p2align 4
coil__switch_prepare:
        .cfi_startproc
        adr     x9, .Lfirst_instruction
        sub     x0, x0, #160
        stp     xzr, x9, [x0]           /* x29; x30: where to continue */
        stp     x1, x2, [x0, #16]       /* x19: entry, x20: arg; the rest does not matter */
        ret
        .cfi_endproc
        .size   coil__switch_prepare, . - coil__switch_prepare

/* ---- struct coil__switch_layout: frame pointer, where to continue, number of words ---- */
        .section .rodata
        .globl  coil__switch_layout
        .hidden coil__switch_layout
        .type   coil__switch_layout, %object
        .p2align 2
coil__switch_layout:
        .long   0, 1, 20
        .size   coil__switch_layout, . - coil__switch_layout

        .section .note.GNU-stack, "", %progbits
