/* SPDX-License-Identifier: BSD-2-Clause */
/* From a path to an image with its parents, and back. */
#include <errno.h>

#include "fail.h"
#include "filesys.h"
#include "image.h"
#include "nbd.h"
#include "split.h"

/* The caller says which file is the parent: it is opened with its own. */
static int parent_open_named(struct vhd *top, const char *path,
			     const struct vhd_open_opts *opts,
			     struct vhd_err *err)
{
	const struct vhd_open_opts parent_opts = {
		.direct = opts->direct,
		.force_read = opts->force_read,
		.larger_child = opts->larger_child,
		.raw_parent = opts->raw_parent,
		.parent_dir = opts->parent_dir,
		.nbd = opts->nbd,
	};
	struct vhd_err fault;
	struct vhd *parent;
	int rc = vhd_path_note(top, path);

	if (rc)
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot find %.80s: %s", path,
				vhd_errno_text(rc));
	rc = vhd_open(opts->parent_path, &parent_opts, &parent, &fault);
	if (rc)
		return vhd_fail(err, rc, fault.why, fault.at_bytes,
				"parent: %.140s", fault.text);
	if (!parent->path)
		rc = vhd_path_note(parent, opts->parent_path);
	rc = rc ? vhd_fail(err, rc, vhd_system_why(rc), 0,
			   "cannot find %.80s: %s", opts->parent_path,
			   vhd_errno_text(rc))
		: vhd_chain_link(top, top, parent, err);
	if (rc)
		vhd_abandon(parent);
	return rc;
}

int vhd_open(const char *path, const struct vhd_open_opts *opts,
	     struct vhd **out, struct vhd_err *err)
{
	struct vhd_file_open how = {0};
	struct vhd_file f;
	struct vhd *img;
	int rc = vhd_open_check(opts, err);

	if (rc)
		return rc;
	how.writable = opts->writable;
	how.direct = opts->direct;
	how.no_lock = opts->force_read;
	if (opts->nbd && vhd_is_nbd_uri(path))
		rc = vhd_nbd_open_as(path, opts->nbd, opts->writable, &f, err);
	else if (opts->format == VHD_FORMAT_RAW)
		rc = vhd_file_open(path, &how, &f, err);
	else
		rc = vhd_split_open(path, &how, &f, err);
	if (rc)
		return rc;
	rc = vhd_open_file(&f, opts, &img, err);
	if (rc) {
		vhd_file_close(&f);
		return rc;
	}
	if (opts->parent_path && img->info.format != VHD_FORMAT_DIFF)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      "a parent is named, but this is no differencing "
			      "disk");
	else if (img->follow && img->info.format == VHD_FORMAT_DIFF)
		rc = opts->parent_path
			     ? parent_open_named(img, path, opts, err)
			     : vhd_parents_open(img, path, opts, err);
	if (rc)
		vhd_abandon(img);
	else
		*out = img;
	return rc;
}

/* Commit what was written and give the file its final length. */
int vhd_finish(struct vhd *img, struct vhd_err *err)
{
	int rc = 0;

	if (!img->writable)
		return 0;
	if (vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"an earlier flush failed; writes since then "
				"may be lost");
	if (atomic_load(&img->touched))
		rc = vhd_flush(img, err);
	if (!rc && img->settle)
		rc = vhd_tail_settle(img, err);
	return rc;
}

int vhd_close(struct vhd *img, struct vhd_err *err)
{
	int rc;

	if (!img)
		return 0;
	rc = vhd_finish(img, err);
	vhd_chain_free(img);
	rc = vhd_file_close_after(&img->file, rc, err);
	vhd_image_free(img);
	return rc;
}
