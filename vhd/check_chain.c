/* SPDX-License-Identifier: BSD-2-Clause */
/* The chain below a differencing disk: opened as for use, below the directory
 * that the caller allows, so that what is found here is what a reader would
 * meet. Each parent is judged as opening judges it; a check of its own tells
 * more.
 * Source: VHD specification 1.0, "Differencing Hard Disks".
 */
#include <errno.h>
#include <string.h>

#include "check.h"

#define AT_PARENT(c)                                                           \
	((c)->s.header_at + offsetof(struct vhd_header_wire, parent_id))

static enum vhd_finding_code code_of(enum vhd_why why)
{
	switch (why) {
	case VHD_WHY_PARENT_MISSING:
		return VHD_FIND_PARENT_MISSING;
	case VHD_WHY_PARENT_ID:
		return VHD_FIND_PARENT_ID;
	case VHD_WHY_PARENT_SIZE:
		return VHD_FIND_PARENT_SIZE;
	case VHD_WHY_CHAIN_CYCLE:
	case VHD_WHY_CHAIN_DEPTH:
		return VHD_FIND_CHAIN;
	default:
		return VHD_FIND_PARENT_FAULT;
	}
}

static void tell_times(struct check *c, const struct vhd *img)
{
	struct vhd_layer layer;

	for (unsigned i = 0; !vhd_layer(img, i, &layer); i++)
		if (layer.info->notes & VHD_NOTE_PARENT_TIME)
			check_tell(c, VHD_FIND_PARENT_TIME,
				   c->s.header_at +
					   offsetof(struct vhd_header_wire,
						    parent_timestamp),
				   VHD_NO_BLOCK,
				   "layer %u: the parent's file is not as old "
				   "as the child says; a copy has another age, "
				   "too",
				   i);
}

static void not_looked_at(struct check *c, const char *because)
{
	check_tell(c, VHD_FIND_PARENT, AT_PARENT(c), VHD_NO_BLOCK,
		   "a differencing disk; its parent was not looked at%s",
		   because);
}

int check_chain(struct check *c, struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.force_read = c->opts->force_read,
		.parent_dir = c->opts->parent_dir,
		.nbd = c->opts->nbd,
	};
	struct vhd *img = NULL;
	struct vhd_err fault;

	if (!c->path || !how.parent_dir) {
		not_looked_at(c, "");
		return 0;
	}
	/* Opening would stop at the child's own fault. */
	if (c->result->severity_count[VHD_SEVERITY_ERROR]) {
		not_looked_at(c, ", as it is damaged itself");
		return 0;
	}
	if (vhd_open(c->path, &how, &img, &fault)) {
		if (fault.code == -ENOMEM) {
			if (err)
				*err = fault;
			return fault.code;
		}
		if (fault.why == VHD_WHY_PARENT_RAW) {
			not_looked_at(c, ": a raw disk, says blktap");
			return 0;
		}
		fault.at_bytes = AT_PARENT(c);
		check_tell_fault(c, code_of(fault.why), &fault);
		return 0;
	}
	c->result->layers = vhd_get_info(img)->layers;
	tell_times(c, img);
	vhd_abandon(img);
	return 0;
}
