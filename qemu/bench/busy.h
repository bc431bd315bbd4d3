/* SPDX-License-Identifier: GPL-2.0 */
/* How much has been done, by whomever, on the machine's only CPU. */
#ifndef BENCH_BUSY_H
#define BENCH_BUSY_H

#include <linux/types.h>

int busy_init(void);
void busy_exit(void);

/* Nanoseconds (instructions, in virtual time) since the beginning in which the CPU was not idle. */
u64 busy_now(void);

#endif
