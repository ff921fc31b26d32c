/* SPDX-License-Identifier: MIT */
/* uint64_t switch_and_compare_registers(void **ret_save, void *load, uint64_t seed)
 *
 * Fills the callee-saved registers of x86-64 with seed + 1, seed + 2, ..., switches, and returns
 * the bits in which any of them differs afterwards. The seed waits on the stack.
 */

        .text
        .globl  switch_and_compare_registers
        .type   switch_and_compare_registers, @function
switch_and_compare_registers:
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushq   %rdx
        leaq    1(%rdx), %rbx
        leaq    2(%rdx), %rbp
        leaq    3(%rdx), %r12
        leaq    4(%rdx), %r13
        leaq    5(%rdx), %r14
        leaq    6(%rdx), %r15
        call    switch_as_function
        popq    %rdx
        leaq    1(%rdx), %rax
        xorq    %rbx, %rax
        leaq    2(%rdx), %rcx
        xorq    %rbp, %rcx
        orq     %rcx, %rax
        leaq    3(%rdx), %rcx
        xorq    %r12, %rcx
        orq     %rcx, %rax
        leaq    4(%rdx), %rcx
        xorq    %r13, %rcx
        orq     %rcx, %rax
        leaq    5(%rdx), %rcx
        xorq    %r14, %rcx
        orq     %rcx, %rax
        leaq    6(%rdx), %rcx
        xorq    %r15, %rcx
        orq     %rcx, %rax
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        ret
        .size   switch_and_compare_registers, . - switch_and_compare_registers

        .section .note.GNU-stack, "", @progbits
