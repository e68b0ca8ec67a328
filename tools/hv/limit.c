/* SPDX-License-Identifier: BSD-2-Clause */
/* Words that limit a disk: iops=N, iops-burst=N, bps=SIZE, bps-burst=SIZE,
 * depth=N; and on-error=report|pause.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv.h"

static int count(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n > max)
		return -EINVAL;
	*out = n;
	return 0;
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
	const char *word;
	size_t at; /* in struct storvsp_limits, a uint64_t */
	int (*parse)(const char *text, uint64_t max, uint64_t *out);
	uint64_t max;
} words[] = {
	{"iops=", offsetof(struct storvsp_limits, iops), count,
	 STORVSP_IOPS_MAX},
	{"iops-burst=", offsetof(struct storvsp_limits, iops_burst), count,
	 STORVSP_IOPS_MAX},
	{"bps=", offsetof(struct storvsp_limits, bps), size, STORVSP_BPS_MAX},
	{"bps-burst=", offsetof(struct storvsp_limits, bps_burst), size,
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

int hv_limit_word(const char *text, struct storvsp_limits *l)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i].word);
		uint64_t value;

		if (strncmp(text, words[i].word, n) != 0)
			continue;
		if (words[i].parse(text + n, words[i].max, &value))
			return -EINVAL;
		memcpy((char *)l + words[i].at, &value, sizeof(value));
		return 1;
	}
	return strncmp(text, "depth=", 6) == 0 ? depth(text + 6, l) : 0;
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
