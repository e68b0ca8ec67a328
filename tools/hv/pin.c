/* SPDX-License-Identifier: BSD-2-Clause */
/* --pin LIST: the host's processors on which those of the guest run, the first
 * one's first: numbers and ranges with commas between, such as 2,4-6.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv.h"

/* A number at *at, behind which *at is moved; false: there is none. */
static bool number(const char **at, uint32_t *out)
{
	const char *p = *at;
	uint32_t n = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		n = 10 * n + (uint32_t)(*p - '0');
		if (n >= CPU_SETSIZE)
			return false;
	}
	*at = p;
	*out = n;
	return true;
}

/* The numbers of one range: false where it is none. */
static bool range(const char **at, uint32_t *first, uint32_t *last)
{
	if (!number(at, first))
		return false;
	*last = *first;
	if (**at != '-')
		return true;
	++*at;
	return number(at, last) && *last >= *first;
}

int hv_pin_parse(const char *text, struct hv_pin *out)
{
	struct hv_pin pin = {.count = 0};
	cpu_set_t named;
	uint32_t first, last;

	CPU_ZERO(&named);
	for (const char *at = text;; at++) {
		if (!range(&at, &first, &last))
			return -EINVAL;
		for (uint32_t n = first; n <= last; n++) {
			if (CPU_ISSET(n, &named))
				return -EEXIST;
			if (pin.count == HV_CPUS_MAX)
				return -E2BIG;
			CPU_SET(n, &named);
			pin.cpu[pin.count++] = (uint16_t)n;
		}
		if (!*at)
			break;
		if (*at != ',')
			return -EINVAL;
	}
	*out = pin;
	return 0;
}

int hv_pin_check(const struct hv_pin *pin)
{
	cpu_set_t mine;

	if (sched_getaffinity(0, sizeof(mine), &mine) < 0)
		return -1; /* more processors than such a set has */
	for (unsigned i = 0; i < pin->count; i++)
		if (!CPU_ISSET(pin->cpu[i], &mine))
			return pin->cpu[i];
	return -1;
}
