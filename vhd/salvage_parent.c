/* SPDX-License-Identifier: BSD-2-Clause */
/* Salvage of a differencing disk: what the child does not hold comes from its
 * parents, found and opened as for use, so that only a sound chain lends its
 * content. The child itself may be as damaged as inspecting it allows. Left
 * alone, a child loses what its parents have, and that is told.
 */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "image.h"
#include "salvage.h"

int salvage_parents_open(const char *path, const struct vhd_salvage_opts *o,
			 struct vhd **child, struct vhd_err *err)
{
	/* Without a directory the child opens alone; then the search is made
	 * as for use, so that what it meets is told and not passed over.
	 */
	const struct vhd_open_opts alone = {
		.format = o->format,
		.inspect = true,
		.force_read = o->force_read,
		.larger_child = o->larger_child,
	};
	const struct vhd_open_opts search = {
		.parent_dir = o->parent_dir,
		.force_read = o->force_read,
		.larger_child = o->larger_child,
	};
	struct vhd *img = NULL;
	int rc = vhd_open(path, &alone, &img, err);

	if (rc)
		return rc;
	rc = vhd_parents_open(img, path, &search, err);
	if (rc)
		vhd_abandon(img);
	else
		*child = img;
	return rc;
}

int salvage_parent_run(struct vhd *parent, uint64_t off, uint64_t len,
		       bool *data, uint64_t *run_bytes, struct vhd_err *err)
{
	struct vhd_run run;
	unsigned layer;
	int rc;

	*data = false;
	*run_bytes = len;
	if (off >= parent->info.size_bytes) /* the child is larger */
		return 0;
	if (len > parent->info.size_bytes - off)
		len = parent->info.size_bytes - off;
	rc = vhd_map_chain(parent, off / VHD_SECTOR_BYTES,
			   len / VHD_SECTOR_BYTES, &run, &layer, err);
	if (rc)
		return rc;
	*data = run.kind == VHD_RUN_FILE;
	*run_bytes = run.sectors * VHD_SECTOR_BYTES;
	return 0;
}
