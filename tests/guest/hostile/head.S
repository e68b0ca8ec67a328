/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes the hostile kernel a bzImage: the setup sector's header, the
 * 64-bit entry at 0x200, the processor's exception stubs and the start of the
 * second processor. Linked by link.ld; load address 16 MiB.
 * Source: Linux Documentation/arch/x86/boot.rst; SDM volume 3, 9.4 (start of
 * processors) and 9.8.5 (into long mode).
 */
	.section .setup, "ax"
	.org 0x1f1
	.byte 1			/* setup_sects */
	.word 0
	.long image_paras	/* syssize */
	.word 0, 0, 0, 0xaa55
	.byte 0xeb, 0x66	/* jump over the header, to 0x268 */
	.ascii "HdrS"
	.word 0x20c		/* protocol 2.12 */
	.long 0
	.word 0, 0
	.byte 0, 1		/* loader; loaded high */
	.word 0
	.long 0, 0, 0, 0
	.word 0
	.byte 0, 0
	.long 0, 0x7fffffff	/* command line; highest initrd address */
	.long 0x200000		/* alignment */
	.byte 0, 0
	.word 1			/* xloadflags: 64-bit entry */
	.long 0xfff, 0
	.quad 0
	.long 0, 0		/* payload */
	.quad 0, 0x1000000	/* setup data; preferred address */
	.long image_memory, 0
	.org 0x400

	.section .head, "ax"
	.org 0x200
	.code64
	.globl start
start:
	cli
	movq $0x1f00000, %rsp
	movq %rsi, %rdi
	call kernel_main
1:	hlt
	jmp 1b

/* Exceptions: where one is expected the kernel has said where to go on. */
	.text
	.macro stub vector, has_code
	.align 16
	.if !\has_code
	pushq $0
	.endif
	pushq $\vector
	jmp exception
	.endm
	.globl stubs
	.align 16
stubs:
	.irp v, 0, 1, 2, 3, 4, 5, 6, 7
	stub \v, 0
	.endr
	stub 8, 1
	stub 9, 0
	.irp v, 10, 11, 12, 13, 14
	stub \v, 1
	.endr
	.irp v, 15, 16
	stub \v, 0
	.endr
	stub 17, 1
	.irp v, 18, 19, 20
	stub \v, 0
	.endr
	stub 21, 1
	.irp v, 22, 23, 24, 25, 26, 27, 28
	stub \v, 0
	.endr
	stub 29, 1
	stub 30, 1
	stub 31, 0

exception: /* vector, code, rip, cs, flags, rsp, ss */
	pushq %rax
	movq resume_at, %rax
	testq %rax, %rax
	jz 2f
	movq %rax, 24(%rsp)
	popq %rax
	addq $16, %rsp
	iretq
2:	movq 8(%rsp), %rdi
	movq 24(%rsp), %rsi
	call kernel_died
1:	hlt
	jmp 1b

/* The second processor: real mode at 0x8000, to long mode in one jump. */
	.globl trampoline, trampoline_end
	.code16
trampoline:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl 0x8000 + (gdt_pointer - trampoline)
	movl $0xa0, %eax
	movl %eax, %cr4
	movl $0x9000, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80000011, %eax
	movl %eax, %cr0
	ljmpl $0x10, $second
gdt_pointer:
	.word 31
	.long 0x6000
trampoline_end:
	.code64
second:
	movl $0x18, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movq $0x1e00000, %rsp
	call second_main
1:	cli
	hlt
	jmp 1b
	.section .note.GNU-stack, "", @progbits
