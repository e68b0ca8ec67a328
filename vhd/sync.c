/* SPDX-License-Identifier: BSD-2-Clause */
/* Plain bytes, one call at a time: the map walked, each run moved by the
 * medium's own read and write. Queues (queue.c) do the same asynchronously.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "image.h"
#include "nbd.h"

static int args_check(const struct vhd *img, uint64_t off_bytes,
		      size_t len_bytes, struct vhd_err *err)
{
	if (off_bytes % VHD_SECTOR_BYTES || len_bytes % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%zu bytes at %llu are not whole sectors",
				len_bytes, (unsigned long long)off_bytes);
	if (!range_ok(off_bytes, len_bytes, img->info.size_bytes))
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"%zu bytes at %llu are not on a disk of %llu",
				len_bytes, (unsigned long long)off_bytes,
				(unsigned long long)img->info.size_bytes);
	return 0;
}

static int read_run(struct vhd *layer, const struct vhd_run *run, void *buf,
		    size_t len, struct vhd_err *err)
{
	switch (run->kind) {
	case VHD_RUN_FILE:
		return vhd_file_read(&layer->file, buf, len, run->off_bytes,
				     err);
	case VHD_RUN_ZERO:
	case VHD_RUN_HOLE:
		memset(buf, 0, len);
		return 0;
	case VHD_RUN_PARENT:
		break;
	}
	return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
			"these bytes are in the parent image");
}

int vhd_read(struct vhd *img, uint64_t off_bytes, void *buf, size_t len_bytes,
	     struct vhd_err *err)
{
	uint8_t *p = buf;
	int rc = args_check(img, off_bytes, len_bytes, err);

	while (!rc && len_bytes) {
		struct vhd_run run;
		struct vhd *layer;
		size_t n;

		rc = vhd_resolve(img, off_bytes / VHD_SECTOR_BYTES,
				 len_bytes / VHD_SECTOR_BYTES, &layer, &run,
				 err);
		if (rc)
			break;
		n = (size_t)run.sectors * VHD_SECTOR_BYTES;
		rc = read_run(layer, &run, p, n, err);
		p += n;
		off_bytes += n;
		len_bytes -= n;
	}
	return rc;
}

int vhd_write(struct vhd *img, uint64_t off_bytes, const void *buf,
	      size_t len_bytes, struct vhd_err *err)
{
	const uint8_t *p = buf;
	int rc = args_check(img, off_bytes, len_bytes, err);

	while (!rc && len_bytes) {
		struct vhd_run run;
		size_t n;

		rc = vhd_map_write(img, off_bytes / VHD_SECTOR_BYTES,
				   len_bytes / VHD_SECTOR_BYTES, &run, err);
		if (rc)
			break;
		n = (size_t)run.sectors * VHD_SECTOR_BYTES;
		rc = vhd_file_write(&img->file, p, n, run.off_bytes, err);
		if (!rc)
			vhd_written(img, off_bytes / VHD_SECTOR_BYTES,
				    run.sectors);
		p += n;
		off_bytes += n;
		len_bytes -= n;
	}
	return rc;
}

static int sync_or_poison(struct vhd *img, struct vhd_err *err)
{
	int rc = vhd_file_flush(&img->file, err);

	if (rc && !vhd_nbd_keeps(&img->file, rc))
		vhd_poison(img);
	return rc;
}

int vhd_flush(struct vhd *img, struct vhd_err *err)
{
	int rc;

	if (!img->writable)
		return 0;
	if (vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"an earlier flush failed; open the image "
				"again");
	rc = vhd_commit_begin(img, &img->commit, err);
	if (!rc)
		rc = sync_or_poison(img, err);
	if (rc || !vhd_commit_needed(img, &img->commit))
		return rc;
	rc = vhd_commit_publish(img, &img->commit, err);
	if (!rc)
		rc = sync_or_poison(img, err);
	if (!rc)
		vhd_commit_end(img, &img->commit);
	return rc;
}
