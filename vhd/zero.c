/* SPDX-License-Identifier: BSD-2-Clause */
/* Zeros without sending zeros: what reads as zero is left as it is, what the
 * image's own file holds becomes a hole of that file. No metadata changes, so
 * for a crash it is a write like any other: a sector has its old bytes or
 * zeros until the next flush.
 *
 * Bytes in a parent cannot be reached so: only a write hides them.
 */
#include <errno.h>

#include "alloc.h"
#include "filesys.h"
#include "image.h"

int vhd_map_zero(struct vhd *img, uint64_t lba, uint64_t sectors,
		 struct vhd_run *run, struct vhd_err *err)
{
	unsigned layer;
	int rc;

	if (!img->writable)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the image is open read-only");
	if (vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"an earlier flush failed; open the image "
				"again");
	rc = vhd_map_chain(img, lba, sectors, run, &layer, err);
	if (rc)
		return rc;
	if (run->kind == VHD_RUN_ZERO)
		run->kind = VHD_RUN_HOLE;
	else if (run->kind == VHD_RUN_FILE && layer)
		run->kind = VHD_RUN_PARENT;
	if (run->kind == VHD_RUN_FILE)
		atomic_store(&img->touched, true);
	return 0;
}

static int punch(struct vhd *img, const struct vhd_run *run,
		 struct vhd_err *err)
{
	uint64_t len = run->sectors * VHD_SECTOR_BYTES;

	return vhd_file_punch(&img->file, run->off_bytes, len, err);
}

int vhd_zero(struct vhd *img, uint64_t lba, uint64_t sectors,
	     uint64_t *done_sectors, struct vhd_err *err)
{
	struct vhd_run run;
	int rc = vhd_map_zero(img, lba, sectors, &run, err);

	if (rc)
		return rc;
	*done_sectors = run.sectors;
	if (run.kind == VHD_RUN_HOLE)
		return 0;
	if (run.kind == VHD_RUN_FILE)
		return punch(img, &run, err);
	return vhd_fail(err, -EOPNOTSUPP, VHD_WHY_UNSUPPORTED, 0,
			"a parent holds these sectors");
}
