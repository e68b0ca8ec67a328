/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes and numbers as people type and read them. All units are powers of 1024; parsing
 * never wraps and printing uses integers only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

static const struct unit {
	const char *letter;
	const char *name;
	unsigned shift;
} units[] = {
	{ "K", "KiB", 10 },
	{ "M", "MiB", 20 },
	{ "G", "GiB", 30 },
	{ "T", "TiB", 40 },
	{ "P", "PiB", 50 },
	{ "E", "EiB", 60 },
};

#define UNITS (sizeof(units) / sizeof(units[0]))

static const struct unit *unit_find(const char *text)
{
	for (size_t i = 0; i < UNITS; i++)
		if (!strcasecmp(text, units[i].letter) ||
		    !strcasecmp(text, units[i].name))
			return &units[i];
	return NULL;
}

/* -ERANGE: it does not fit. What follows the digits is not looked at. */
static int digits_parse(const char *text, uint64_t *out)
{
	uint64_t n = 0;

	for (const char *p = text; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return -ERANGE;
	*out = n;
	return 0;
}

int cli_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *n)
{
	uint64_t got;

	if (!*text || text[strspn(text, "0123456789")] ||
	    digits_parse(text, &got) || got < min || got > max)
		return -EINVAL;
	*n = got;
	return 0;
}

int cli_size_parse(const char *text, uint64_t *bytes)
{
	const struct unit *unit;
	const char *p = text;
	uint64_t n = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	/* The whole text is judged before its magnitude, so that "9999...x"
	 * is told to be no size rather than too large a one.
	 */
	p += strspn(p, "0123456789");
	unit = *p ? unit_find(p) : NULL;
	if (*p && !unit)
		return -EINVAL;
	if (digits_parse(text, &n))
		return -ERANGE;
	if (unit && __builtin_mul_overflow(n, UINT64_C(1) << unit->shift, &n))
		return -ERANGE;
	*bytes = n;
	return 0;
}

const char *cli_size_text(uint64_t bytes, char *buf, size_t n)
{
	const struct unit *unit = NULL;
	uint64_t whole, part, tenths;

	for (size_t i = 0; i < UNITS && bytes >> units[i].shift; i++)
		unit = &units[i];
	if (!unit) {
		snprintf(buf, n, "%" PRIu64 " byte%s", bytes,
			 bytes == 1 ? "" : "s");
		return buf;
	}
	whole = bytes >> unit->shift;
	part = bytes & ((UINT64_C(1) << unit->shift) - 1);
	if (!part) {
		snprintf(buf, n, "%" PRIu64 " %s", whole, unit->name);
		return buf;
	}
	/* Ten bits of the remainder are plenty for one decimal. */
	part >>= unit->shift - 10;
	tenths = whole * 10 + (part * 10 + 512) / 1024;
	if (tenths >= 10240 && unit + 1 < units + UNITS) {
		unit++;
		tenths = 10;
	}
	snprintf(buf, n, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
		 unit->name);
	return buf;
}
