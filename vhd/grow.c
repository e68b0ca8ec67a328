/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk that becomes larger while its image stays open: the steps of a resize
 * (resize.h says why each is safe), then what is known of the file is read
 * anew in the same place.
 *
 * A failed sync poisons the image as any other does. After another fault, such
 * as a full file system, a VHD is read anew as well, which puts right what the
 * steps left, and goes on as it was. A raw disk has nothing to put right, and
 * its file may by now be one that would be refused: it stays as it is.
 */
#include <errno.h>

#include "fail.h"
#include "filesys.h"
#include "resize.h"

static int may_grow(const struct vhd *img, struct vhd_err *err)
{
	if (!img->writable)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the image is open read-only");
	if (vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"an earlier flush failed; open the image "
				"again");
	if (img->info.format == VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a differencing disk has its parent's size");
	return 0;
}

/* `*size`, where 0, becomes what the file or the device has by now;
 * `*extend`: it has to be made larger here. Changes nothing.
 */
static int raw_plan(const struct vhd *img, uint64_t *size, bool *extend,
		    struct vhd_err *err)
{
	uint64_t now, size_bytes;
	int rc = vhd_file_size(&img->file, &now, err);

	if (rc)
		return rc;
	*size = size_bytes = *size ? *size : now;
	*extend = size_bytes > now;
	if (size_bytes % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"size %llu is not a multiple of 512",
				(unsigned long long)size_bytes);
	if (size_bytes < img->info.size_bytes || size_bytes < now)
		return vhd_fail(
			err, -EUCLEAN, VHD_WHY_SHRINK, 0,
			"%llu bytes is smaller than the disk, which "
			"has %llu",
			(unsigned long long)size_bytes,
			(unsigned long long)(now > img->info.size_bytes
						     ? now
						     : img->info.size_bytes));
	if (*extend && vhd_file_is_device(&img->file))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"the device has %llu bytes; make it larger "
				"first",
				(unsigned long long)now);
	return 0;
}

static int raw_extend(struct vhd *img, uint64_t size_bytes, struct vhd_err *err)
{
	int rc = vhd_file_truncate(&img->file, size_bytes, err);

	return rc ? rc : vhd_file_flush(&img->file, err);
}

static int vhd_steps(struct resize *r, struct vhd_err *err)
{
	int rc = vhd_finish(r->img, err);

	if (rc)
		return rc;
	return r->img->blocked ? resize_blocked(r, err) : resize_fixed(r, err);
}

static int plan(struct resize *r, uint64_t *raw_bytes, bool *extend,
		struct vhd_err *err)
{
	int rc = may_grow(r->img, err);

	if (rc)
		return rc;
	if (r->img->info.format == VHD_FORMAT_RAW)
		return raw_plan(r->img, raw_bytes, extend, err);
	rc = resize_plan(r, err);
	*extend = r->new_bytes != r->old_bytes;
	return rc;
}

int vhd_grow(struct vhd *img, uint64_t size_bytes, struct vhd_err *err)
{
	const struct vhd_resize_opts opts = {
		.by = VHD_RESIZE_TO,
		.size_bytes = size_bytes,
		.write = true,
	};
	struct vhd_resize_result result = {0};
	struct resize r = {.opts = &opts, .result = &result, .img = img};
	bool is_raw = img->info.format == VHD_FORMAT_RAW;
	bool sync_failed = false, extend = false;
	int rc = plan(&r, &size_bytes, &extend, err), again;

	if (rc || (!is_raw && !extend))
		return rc;
	/* Reading anew is for an image of which all is in the file. */
	rc = vhd_flush(img, err);
	if (rc)
		return rc;
	img->file.sync_failed = &sync_failed;
	if (extend)
		rc = is_raw ? raw_extend(img, size_bytes, err)
			    : vhd_steps(&r, err);
	img->file.sync_failed = NULL;
	if (sync_failed)
		vhd_poison(img);
	if (vhd_poisoned(img) || (rc && is_raw))
		return rc;
	again = vhd_image_again(img, rc ? NULL : err);
	return rc ? rc : again;
}
