/* SPDX-License-Identifier: BSD-2-Clause */
/* How large the destination is, and all of its space at once. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "convert.h"
#include "tools/verb/preset.h"

int convert_size(const struct convert_opts *opts, uint64_t size_bytes,
		 uint64_t *dst_bytes, struct vhd_err *err)
{
	const struct verb_preset *p = verb_preset(opts->target);
	*dst_bytes = size_bytes;
	/* A disk may be larger than before, never smaller; a child is as
	 * large as its parent.
	 */
	if (!p || opts->to == VHD_FORMAT_DIFF)
		return 0;
	if (size_bytes < p->size_min_bytes)
		size_bytes = p->size_min_bytes;
	if (verb_preset_size(p, size_bytes, dst_bytes))
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_LIMIT, 0,
			"a disk of %" PRIu64 " bytes; %s takes up to %" PRIu64,
			size_bytes, vhd_target_name(opts->target),
			p->size_max_bytes);
}

int convert_reserve(int fd, struct vhd_err *err)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot examine: %s", strerror(errno));
	if (st.st_size == 0)
		return 0;
	do
		rc = posix_fallocate(fd, 0, st.st_size);
	while (rc == EINTR);
	if (!rc)
		return 0;
	return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
			"cannot allocate %" PRIu64 " bytes: %s",
			(uint64_t)st.st_size, strerror(rc));
}
