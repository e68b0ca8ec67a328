/* SPDX-License-Identifier: BSD-2-Clause */
/* How files of this machine are named in the nested one: the directory of
 * each is shared as a whole, because an image grows and 9p shares nothing less.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nested.h"

void hv_share_tag(const struct hv_shares *s, unsigned i, char *tag)
{
	snprintf(tag, 8, "%c%u", s->share[i].writable ? 'w' : 'r', i);
}

static int find(struct hv_shares *s, const char *dir, bool writable)
{
	for (unsigned i = 0; i < s->count; i++)
		if (strcmp(s->share[i].dir, dir) == 0 &&
		    (s->share[i].writable || !writable))
			return (int)i;
	if (s->count == HV_SHARES_MAX)
		return -1;
	snprintf(s->share[s->count].dir, HV_PATH_MAX, "%s", dir);
	s->share[s->count].writable = writable;
	return (int)s->count++;
}

int hv_shares_add(struct hv_shares *s, const char *path, bool writable,
		  char *inner, struct vhd_err *err)
{
	char real[HV_PATH_MAX], tag[8];
	char *slash;
	int i;

	if (!realpath(path, real))
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot find %.80s: %s", path, strerror(errno));
	slash = strrchr(real, '/');
	*slash = '\0';
	i = find(s, *real ? real : "/", writable);
	if (i < 0)
		return vhd_fail(err, -ENOSPC, VHD_WHY_UNSUPPORTED, 0,
				"the files are in more than %d directories",
				HV_SHARES_MAX);
	hv_share_tag(s, (unsigned)i, tag);
	if (snprintf(inner, HV_PATH_MAX, "/%s/%s", tag, slash + 1) >=
	    HV_PATH_MAX)
		return vhd_fail(err, -ENAMETOOLONG, VHD_WHY_SYSTEM, 0,
				"the name is too long");
	return 0;
}
