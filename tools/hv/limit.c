/* SPDX-License-Identifier: BSD-2-Clause */
/* Words that limit a disk: iops=N, iops-burst=N, bps=SIZE, bps-burst=SIZE,
 * depth=N; and on-error=report|pause.
 */
#include <errno.h>
#include <string.h>

#include "hv.h"

static int count(const char *text, uint64_t max, uint64_t *out)
{
	return cli_number_parse(text, 0, max, out);
}

static int size(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t n;

	if (cli_size_parse(text, &n) || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}

static const struct {
	const char *name;
	size_t at; /* in struct storvsp_limits, a uint64_t */
	int (*parse)(const char *text, uint64_t max, uint64_t *out);
	uint64_t max;
} words[] = {
	{"iops", offsetof(struct storvsp_limits, iops), count,
	 STORVSP_IOPS_MAX},
	{"iops-burst", offsetof(struct storvsp_limits, iops_burst), count,
	 STORVSP_IOPS_MAX},
	{"bps", offsetof(struct storvsp_limits, bps), size, STORVSP_BPS_MAX},
	{"bps-burst", offsetof(struct storvsp_limits, bps_burst), size,
	 STORVSP_BPS_MAX},
};

static int depth(const char *text, struct storvsp_limits *l)
{
	uint64_t n;

	if (count(text, STORVSP_DEPTH_MAX, &n))
		return -EINVAL;
	l->depth = (uint32_t)n;
	return 1;
}

static bool is_name(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && strncmp(text, name, len) == 0;
}

static int set(const char *name, size_t len, const char *value,
	       struct storvsp_limits *l)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		uint64_t n;

		if (!is_name(name, len, words[i].name))
			continue;
		if (words[i].parse(value, words[i].max, &n))
			return -EINVAL;
		memcpy((char *)l + words[i].at, &n, sizeof(n));
		return 1;
	}
	return is_name(name, len, "depth") ? depth(value, l) : 0;
}

int hv_limit_set(const char *name, const char *value, struct storvsp_limits *l)
{
	return set(name, strlen(name), value, l);
}

int hv_limit_word(const char *text, struct storvsp_limits *l)
{
	const char *equals = strchr(text, '=');

	return equals ? set(text, (size_t)(equals - text), equals + 1, l) : 0;
}

const char *hv_limit_fault(const struct storvsp_limits *l)
{
	if (l->iops_burst && !l->iops)
		return "iops-burst needs iops";
	if (l->bps_burst && !l->bps)
		return "bps-burst needs bps";
	return NULL;
}

static const char *const policies[] = {
	[STORVSP_ON_ERROR_REPORT] = "report",
	[STORVSP_ON_ERROR_PAUSE] = "pause",
};

const char *hv_on_error_name(enum storvsp_on_error on_error)
{
	return policies[on_error];
}

int hv_on_error_parse(const char *text, enum storvsp_on_error *out)
{
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(text, policies[i]) == 0) {
			*out = (enum storvsp_on_error)i;
			return 0;
		}
	}
	return -EINVAL;
}
