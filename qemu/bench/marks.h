/* SPDX-License-Identifier: GPL-2.0 */
/* Instructions that do nothing, by which a plugin of QEMU knows what is to be profiled. */
#ifndef BENCH_MARKS_H
#define BENCH_MARKS_H

/* nopl NUMBER(%rax) */
#define MARK_OPCODE	{ 0x0f, 0x1f, 0x80 }
#define MARK_BEGIN	0x0be7c401
#define MARK_END	0x0be7c402
#define MARK_NEXT	0x0be7c403

#ifdef __x86_64__
#define MARK(number)	asm volatile("nopl %c0(%%rax)" : : "i"(number) : "memory")
#else
#define MARK(number)	do { } while (0)
#endif

#endif
