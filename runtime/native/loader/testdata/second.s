# The other object of the module that first.s begins.

	.intel_syntax noprefix
	.text

	.globl	f2			# 3 * a + b
	.hidden	f2
	.type	f2, @function
	.p2align 4
f2:
	imul	rax, rdi, 3
	add	rax, rsi
	ret
	.size	f2, .-f2

	.section .text.f5,"ax",@progbits

	.globl	f5			# memmove(a, b, c)
	.hidden	f5
	.type	f5, @function
	.p2align 4
f5:
	jmp	memmove@PLT
	.size	f5, .-f5

	.section .text.f7,"ax",@progbits

	.globl	f7			# the address of f9, which is in the other object
	.hidden	f7
	.hidden	f9
	.type	f7, @function
	.p2align 4
f7:
	lea	rax, [rip + f9]
	ret
	.size	f7, .-f7

	.section .text.f8,"ax",@progbits

	.globl	f8			# double (double a): 3.5 * a + 0.25
	.hidden	f8
	.type	f8, @function
	.p2align 4
f8:
	mulsd	xmm0, qword ptr [rip + .Lconstant0]
	addsd	xmm0, qword ptr [rip + .Lconstant1]
	ret
	.size	f8, .-f8

	.section .text.f10,"ax",@progbits

	.globl	f10			# entry a of the table: a function's address
	.hidden	f10
	.type	f10, @function
	.p2align 4
f10:
	lea	rax, [rip + .Ltable]
	mov	rax, qword ptr [rax + 8*rdi]
	ret
	.size	f10, .-f10

	.text

	.globl	e1			# 21
	.hidden	e1
	.type	e1, @function
	.p2align 4
e1:
	mov	eax, 21
	ret
	.size	e1, .-e1

	.globl	t0			# 30
	.hidden	t0
	.type	t0, @function
	.p2align 4
t0:
	mov	eax, 30
	ret
	.size	t0, .-t0

	.section .rodata.cst8,"aM",@progbits,8
	.p2align 3
.Lconstant0:
	.quad	0x400c000000000000	# 3.5
	.section .rodata.cst16,"aM",@progbits,16
	.p2align 4
.Lconstant1:
	.quad	0x3fd0000000000000	# 0.25
	.quad	0

	.section .rodata,"a",@progbits
	.p2align 3
.Ltable:
	.quad	f2
	.quad	f9

	.section .note.GNU-stack,"",@progbits
