/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of the file system that source and destination have in common
 * instead of a copy each (XFS, btrfs and others that can reflink).
 *
 * What can be shared is a whole number of file-system blocks that lie at the
 * same phase in both files. Raw and fixed disks lie at 0, and new dynamic
 * images have their data at multiples of 4 KiB; images of other programs may
 * not, so this is asked run by run. A file system that cannot share says so at
 * the first attempt, and is not asked again; a range that it refuses for its
 * own reasons is copied.
 *
 * Sharing is at once and in the caller's thread: it costs by the number of
 * extents, not of bytes.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <linux/fs.h>

#include "convert.h"

/* New dynamic images promise no more. */
#define ALIGN_BYTES 4096u
/* Refusals in a row without a success: it is not worth asking. */
#define REFUSED_MAX 8u

int convert_share_init(struct convert_share *sh,
		       const struct convert_opts *opts, bool must_read,
		       const struct convert_image_source *image,
		       struct vhd *dst, int dst_fd, struct vhd_err *err)
{
	struct statfs fs;

	*sh = (struct convert_share){
		.always = opts->reflink == CONVERT_REFLINK_ALWAYS,
		.ahead = opts->sparse == CONVERT_SPARSE_YES && !must_read,
		.off = opts->reflink == CONVERT_REFLINK_NEVER || !image ||
		       opts->to == VHD_FORMAT_DIFF ||
		       opts->sparse == CONVERT_SPARSE_NO,
		.dst = dst,
		.dst_fd = dst_fd,
		.unit_bytes = ALIGN_BYTES,
	};
	/* -1 of a split set, none of which is shared */
	if (image) {
		sh->src = image->img;
		sh->src_fd = image->extents.fd;
	}
	if (fstatfs(dst_fd, &fs) == 0 && fs.f_bsize > 0)
		sh->unit_bytes = (uint64_t)fs.f_bsize;
	if (sh->unit_bytes > ALIGN_BYTES && opts->to == VHD_FORMAT_DYNAMIC)
		sh->off = true;
	if (!sh->always || !sh->off)
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			image ? "cannot share: the file system's blocks are "
				"larger than a dynamic image's alignment"
			      : "only the blocks of an image file can be "
				"shared");
}

/* ------------------------------------------------------------- what may -- */

/* The first run of [off, off + len): how long, and where if it is worth
 * sharing. False: this much has to be copied.
 */
static int look(const struct convert_share *sh, uint64_t off, uint64_t len,
		bool *may, uint64_t *n, int *fd, uint64_t *at,
		struct vhd_err *err)
{
	uint64_t unit = sh->unit_bytes, head = (unit - off % unit) % unit;
	struct vhd_layer layer;
	struct vhd_run run;
	unsigned i;
	int rc;

	*may = false;
	rc = vhd_map_chain(sh->src, off / VHD_SECTOR_BYTES,
			   len / VHD_SECTOR_BYTES, &run, &i, err);
	if (rc)
		return rc;
	*n = run.sectors * VHD_SECTOR_BYTES;
	if (run.kind != VHD_RUN_FILE || (run.off_bytes ^ off) & (unit - 1))
		return 0;
	if (head) {
		*n = head < *n ? head : *n;
		return 0;
	}
	if (*n < unit)
		return 0;
	*n &= ~(unit - 1);
	*at = run.off_bytes;
	*fd = !i ? sh->src_fd : vhd_layer(sh->src, i, &layer) ? -1 : layer.fd;
	*may = *fd >= 0;
	return 0;
}

/* --always: what is left to be copied is the end of the disk and no more. */
static int must_copy(const struct convert_share *sh, uint64_t off, uint64_t n,
		     struct vhd_err *err)
{
	uint64_t size = vhd_get_info(sh->src)->size_bytes;

	if (!sh->always || (n < sh->unit_bytes && off + n == size))
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			"cannot share: what is at disk offset %llu does not "
			"lie on whole blocks of the file system",
			(unsigned long long)off);
}

int convert_share_plan(const struct convert_share *sh, uint64_t off,
		       uint64_t len, bool *may, uint64_t *n,
		       struct vhd_err *err)
{
	uint64_t at, run = 0;
	int fd, rc;

	*n = 0;
	*may = false;
	while (!*may && *n < len) {
		rc = look(sh, off + *n, len - *n, may, &run, &fd, &at, err);
		if (rc)
			return rc;
		if (*may && *n) {
			*may = false; /* the next call's */
			break;
		}
		*n += run;
	}
	return *may ? 0 : must_copy(sh, off, *n, err);
}

/* ---------------------------------------------------------- what is done -- */

static bool never_can(int code)
{
	return code == EOPNOTSUPP || code == ENOTTY || code == EXDEV ||
	       code == ENOSYS || code == EPERM || code == EBADF;
}

/* 0: shared; 1: refused, to be copied; else an error. */
static int clone(struct convert_share *sh, int fd, uint64_t from, uint64_t to,
		 uint64_t len, struct vhd_err *err)
{
	struct file_clone_range range = {
		.src_fd = fd,
		.src_offset = from,
		.src_length = len,
		.dest_offset = to,
	};
	int rc;

	do
		rc = ioctl(sh->dst_fd, FICLONERANGE, &range);
	while (rc < 0 && errno == EINTR);
	if (rc == 0) {
		sh->refused = 0;
		sh->shared_bytes += len;
		return 0;
	}
	if (!never_can(errno) && errno != EINVAL && errno != ETXTBSY)
		return vhd_fail(err, -errno,
				errno == ENOSPC || errno == EDQUOT
					? VHD_WHY_NO_SPACE
					: VHD_WHY_IO,
				0, "cannot share blocks at offset %llu: %s",
				(unsigned long long)to, strerror(errno));
	if (sh->always)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"cannot share blocks with the source: %s",
				strerror(errno));
	if (!sh->why)
		sh->why = errno;
	if (never_can(errno) || ++sh->refused == REFUSED_MAX)
		sh->off = true;
	return 1;
}

int convert_share_do(struct convert_share *sh, uint64_t off, uint64_t len,
		     uint64_t *done, struct vhd_err *err)
{
	*done = 0;
	while (*done < len) {
		uint64_t n = 0, from = 0;
		struct vhd_run to;
		bool may;
		int fd = -1;
		int rc = look(sh, off + *done, len - *done, &may, &n, &fd,
			      &from, err);

		if (rc || !may)
			return rc ? rc : 1;
		rc = vhd_place(sh->dst, (off + *done) / VHD_SECTOR_BYTES,
			       n / VHD_SECTOR_BYTES, &to, err);
		if (rc)
			return rc;
		if (to.sectors * VHD_SECTOR_BYTES < n)
			n = to.sectors * VHD_SECTOR_BYTES;
		rc = clone(sh, fd, from, to.off_bytes, n, err);
		if (rc)
			return rc;
		*done += n;
	}
	return 0;
}
