/* SPDX-License-Identifier: MIT */
/* uint64_t switch_and_compare_registers(void **ret_save, void *load, uint64_t seed)
 *
 * Fills the callee-saved registers of AArch64 with seed + 1, seed + 2, ..., switches, and returns
 * the bits in which any of them differs afterwards. The seed waits on the stack.
 */

        .text
        .globl  switch_and_compare_registers
        .type   switch_and_compare_registers, %function
switch_and_compare_registers:
        stp     x29, x30, [sp, #-176]!
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        str     x2, [sp, #160]
        add     x19, x2, #1
        add     x20, x2, #2
        add     x21, x2, #3
        add     x22, x2, #4
        add     x23, x2, #5
        add     x24, x2, #6
        add     x25, x2, #7
        add     x26, x2, #8
        add     x27, x2, #9
        add     x28, x2, #10
        add     x29, x2, #11
        add     x9, x2, #12
        fmov    d8, x9
        add     x9, x2, #13
        fmov    d9, x9
        add     x9, x2, #14
        fmov    d10, x9
        add     x9, x2, #15
        fmov    d11, x9
        add     x9, x2, #16
        fmov    d12, x9
        add     x9, x2, #17
        fmov    d13, x9
        add     x9, x2, #18
        fmov    d14, x9
        add     x9, x2, #19
        fmov    d15, x9
        bl      switch_as_function
        ldr     x2, [sp, #160]
        mov     x0, #0
        add     x9, x2, #1
        eor     x9, x9, x19
        orr     x0, x0, x9
        add     x9, x2, #2
        eor     x9, x9, x20
        orr     x0, x0, x9
        add     x9, x2, #3
        eor     x9, x9, x21
        orr     x0, x0, x9
        add     x9, x2, #4
        eor     x9, x9, x22
        orr     x0, x0, x9
        add     x9, x2, #5
        eor     x9, x9, x23
        orr     x0, x0, x9
        add     x9, x2, #6
        eor     x9, x9, x24
        orr     x0, x0, x9
        add     x9, x2, #7
        eor     x9, x9, x25
        orr     x0, x0, x9
        add     x9, x2, #8
        eor     x9, x9, x26
        orr     x0, x0, x9
        add     x9, x2, #9
        eor     x9, x9, x27
        orr     x0, x0, x9
        add     x9, x2, #10
        eor     x9, x9, x28
        orr     x0, x0, x9
        add     x9, x2, #11
        eor     x9, x9, x29
        orr     x0, x0, x9
        add     x9, x2, #12
        fmov    x10, d8
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #13
        fmov    x10, d9
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #14
        fmov    x10, d10
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #15
        fmov    x10, d11
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #16
        fmov    x10, d12
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #17
        fmov    x10, d13
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #18
        fmov    x10, d14
        eor     x9, x9, x10
        orr     x0, x0, x9
        add     x9, x2, #19
        fmov    x10, d15
        eor     x9, x9, x10
        orr     x0, x0, x9
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #176
        ret
        .size   switch_and_compare_registers, . - switch_and_compare_registers

        .section .note.GNU-stack, "", %progbits
