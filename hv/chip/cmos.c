/* SPDX-License-Identifier: BSD-2-Clause */
/* CMOS clock. See cmos.h. */
#include "cmos.h"

#include <string.h>
#include <time.h>

enum {
	CMOS_SECOND = 0x00,
	CMOS_MINUTE = 0x02,
	CMOS_HOUR = 0x04,
	CMOS_WEEKDAY = 0x06,
	CMOS_DAY = 0x07,
	CMOS_MONTH = 0x08,
	CMOS_YEAR = 0x09,
	CMOS_A = 0x0a,
	CMOS_B = 0x0b,
	CMOS_C = 0x0c,
	CMOS_D = 0x0d,
	CMOS_CENTURY = 0x32,

	A_32KHZ = 0x26,  /* the usual divider; no update in progress */
	B_24H_BCD = 0x02,
	D_VALID = 0x80,
};

void hv_cmos_init(struct hv_cmos *c)
{
	c->index = 0;
	memset(c->memory, 0, sizeof(c->memory));
	c->latched_s = -1;
}

void hv_cmos_set(struct hv_cmos *c, unsigned index, uint8_t val)
{
	if (index < HV_CMOS_BYTES)
		c->memory[index] = val;
}

void hv_cmos_write(struct hv_cmos *c, uint8_t val)
{
	if (c->index == HV_CMOS_SHUTDOWN)
		c->memory[HV_CMOS_SHUTDOWN] = val;
}

void hv_cmos_select(struct hv_cmos *c, uint8_t index)
{
	c->index = index & 0x7f; /* bit 7 masks the NMI: not ours */
}

static uint8_t bcd(int n)
{
	return (uint8_t)((n / 10 % 10) << 4 | n % 10);
}

static uint8_t read_time(int64_t unix_s, uint8_t index)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		memset(&tm, 0, sizeof(tm));
	switch (index) {
	case CMOS_SECOND:
		return bcd(tm.tm_sec % 60); /* a leap second shows as 0 */
	case CMOS_MINUTE:
		return bcd(tm.tm_min);
	case CMOS_HOUR:
		return bcd(tm.tm_hour);
	case CMOS_WEEKDAY:
		return bcd(tm.tm_wday + 1);
	case CMOS_DAY:
		return bcd(tm.tm_mday);
	case CMOS_MONTH:
		return bcd(tm.tm_mon + 1);
	case CMOS_YEAR:
		return bcd(tm.tm_year % 100);
	default: /* CMOS_CENTURY */
		return bcd((tm.tm_year + 1900) / 100);
	}
}

uint8_t hv_cmos_read(struct hv_cmos *c, int64_t now_unix_s)
{
	switch (c->index) {
	case CMOS_A:
		c->latched_s = now_unix_s;
		return A_32KHZ;
	case CMOS_B:
		return B_24H_BCD;
	case CMOS_C:
		return 0;
	case CMOS_D:
		return D_VALID;
	case CMOS_SECOND:
	case CMOS_MINUTE:
	case CMOS_HOUR:
	case CMOS_WEEKDAY:
	case CMOS_DAY:
	case CMOS_MONTH:
	case CMOS_YEAR:
	case CMOS_CENTURY:
		/* A guest that never looks at A gets the time of its read. */
		if (c->latched_s < 0 || now_unix_s < c->latched_s ||
		    now_unix_s > c->latched_s + 1)
			c->latched_s = now_unix_s;
		return read_time(c->latched_s, c->index);
	}
	return c->memory[c->index];
}
