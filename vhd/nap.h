/* SPDX-License-Identifier: BSD-2-Clause */
/* A moment, shorter than a second, in which others may go on: by a call that any
 * thread makes anyway, and any sandbox lets pass (futex).
 */
#ifndef VHD_NAP_H
#define VHD_NAP_H

#include <semaphore.h>
#include <time.h>

static inline void vhd_nap(unsigned us)
{
	struct timespec due = {0, 0};
	sem_t never;

	(void)clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_nsec += (long)us * 1000;
	if (due.tv_nsec >= 1000000000) {
		due.tv_nsec -= 1000000000;
		due.tv_sec++;
	}
	(void)sem_init(&never, 0, 0);
	(void)sem_clockwait(&never, CLOCK_MONOTONIC, &due);
	(void)sem_destroy(&never);
}

#endif
