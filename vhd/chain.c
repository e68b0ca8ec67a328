/* SPDX-License-Identifier: BSD-2-Clause */
/* Differencing disks standing on one another: who may be whose parent, and
 * the map down through them.
 *
 * Invariants: a layer's parent is owned by it and constant once linked; ids
 * are unique within a chain; depth counts from 0 at the top. Nothing is opened
 * here (parent.c does that) and nothing below the top is ever written.
 *
 * A child and its parent may differ in block size, so the map goes by sectors
 * and never by block numbers.
 * Source: VHD specification 1.0, "Differencing Hard Disks".
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "image.h"

/* The longest stretch a layer with a parent is asked about at once, in its
 * blocks. Without a bound, each run of a fragmented parent would cost a walk
 * through all of an empty child's table.
 */
#define RUN_BLOCKS_MAX 512u

/* -------------------------------------------------------------- linking -- */

struct vhd *vhd_get_layer(const struct vhd *img, unsigned i)
{
	struct vhd *layer = (struct vhd *)(uintptr_t)img;

	while (layer && i--)
		layer = layer->parent;
	return layer;
}

int vhd_layer(const struct vhd *img, unsigned i, struct vhd_layer *out)
{
	const struct vhd *layer = vhd_get_layer(img, i);

	if (!layer)
		return -EINVAL;
	*out = (struct vhd_layer){
		.path = layer->path,
		.info = &layer->info,
		.fd = layer->file.fd,
	};
	return 0;
}

static const char *name_of(const struct vhd *img)
{
	const char *slash = img->path ? strrchr(img->path, '/') : NULL;

	return slash ? slash + 1 : "the image";
}

bool vhd_chain_wants_raw(const struct vhd *child)
{
	return vhd_is_blktap(&child->info) &&
	       !vhd_any_nonzero(child->info.parent_id,
				sizeof(child->info.parent_id));
}

/* A raw disk has no id and is nobody's parent, whatever the child asks for;
 * except blktap's, and that only where the caller allows it.
 */
static int id_check(const struct vhd *child, const struct vhd *parent,
		    struct vhd_err *err)
{
	bool raw = parent->info.format == VHD_FORMAT_RAW;

	if (raw && child->raw_parent && vhd_chain_wants_raw(child))
		return 0;
	if (!raw &&
	    memcmp(child->info.parent_id, parent->info.unique_id, 16) == 0)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_ID, 0,
			"%.60s is not the disk that %.60s was made on: its id "
			"is another",
			name_of(parent), name_of(child));
}

static int size_check(const struct vhd *child, const struct vhd *parent,
		      struct vhd_err *err)
{
	uint64_t c = child->info.size_bytes, p = parent->info.size_bytes;

	if (c == p || (c > p && child->larger_child))
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_SIZE, 0,
			"%.40s has %llu bytes, its parent %.40s has %llu",
			name_of(child), (unsigned long long)c, name_of(parent),
			(unsigned long long)p);
}

/* An id seen before closes a circle: of files, or of copies of them. */
static int cycle_check(const struct vhd *top, const struct vhd *added,
		       struct vhd_err *err)
{
	if (added->info.format == VHD_FORMAT_RAW) /* the end of any chain */
		return 0;
	for (const struct vhd *l = top; l; l = l->parent)
		if (memcmp(l->info.unique_id, added->info.unique_id, 16) == 0)
			return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_CYCLE, 0,
					"%.60s is among its own ancestors",
					name_of(l));
	return 0;
}

static int depth_check(const struct vhd *top, const struct vhd *added,
		       struct vhd_err *err)
{
	if (top->info.layers + added->info.layers <= VHD_CHAIN_MAX)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_DEPTH, 0,
			"more than %u images stand on one another",
			VHD_CHAIN_MAX);
}

static void renumber(struct vhd *top)
{
	uint32_t layers = 0;

	for (struct vhd *l = top; l; l = l->parent)
		l->depth = layers++;
	for (struct vhd *l = top; l; l = l->parent)
		l->info.layers = layers - l->depth;
}

int vhd_chain_link(struct vhd *top, struct vhd *child, struct vhd *parent,
		   struct vhd_err *err)
{
	int rc = id_check(child, parent, err);

	for (struct vhd *l = parent; !rc && l; l = l->parent)
		rc = cycle_check(top, l, err);
	if (!rc)
		rc = depth_check(top, parent, err);
	if (!rc)
		rc = size_check(child, parent, err);
	if (rc)
		return rc;
	child->parent = parent;
	renumber(top);
	return 0;
}

int vhd_chain_set_parent(struct vhd *child, struct vhd *parent,
			 struct vhd_err *err)
{
	if (child->info.format != VHD_FORMAT_DIFF || child->parent)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no child without a parent");
	return vhd_chain_link(child, child, parent, err);
}

struct vhd *vhd_chain_cut(struct vhd *top, unsigned i)
{
	struct vhd *above = vhd_get_layer(top, i - 1);
	struct vhd *lower = above->parent;

	above->parent = NULL;
	renumber(top);
	renumber(lower);
	return lower;
}

void vhd_chain_free(struct vhd *img)
{
	struct vhd *next = img->parent;

	img->parent = NULL;
	while (next) {
		struct vhd *layer = next;

		next = layer->parent;
		vhd_file_close(&layer->file);
		vhd_image_free(layer);
	}
}

void vhd_abandon(struct vhd *img)
{
	if (!img)
		return;
	vhd_chain_free(img);
	vhd_file_close(&img->file);
	vhd_image_free(img);
}

/* -------------------------------------------------------------- mapping -- */

static uint64_t bounded(const struct vhd *layer, uint64_t sectors)
{
	uint64_t most = (uint64_t)RUN_BLOCKS_MAX << layer->block_shift;

	return layer->parent && sectors > most ? most : sectors;
}

/* What of [lba, lba + sectors) the layer below has; none: it reads as zero. */
static uint64_t below(const struct vhd *layer, uint64_t lba, uint64_t sectors)
{
	if (lba >= layer->sectors)
		return 0;
	return sectors < layer->sectors - lba ? sectors : layer->sectors - lba;
}

int vhd_resolve(struct vhd *img, uint64_t lba, uint64_t sectors,
		struct vhd **layer, struct vhd_run *run, struct vhd_err *err)
{
	struct vhd *at = img;

	if (range_ok(lba, sectors, img->sectors))
		sectors = bounded(img, sectors);
	for (;;) {
		uint64_t have;
		int rc = vhd_map(at, lba, sectors, run, err);

		if (rc)
			return rc;
		if (run->kind != VHD_RUN_PARENT || !at->parent)
			break;
		have = below(at->parent, lba, run->sectors);
		if (!have) {
			run->kind = VHD_RUN_HOLE;
			break;
		}
		at = at->parent;
		sectors = bounded(at, have);
	}
	*layer = at;
	return 0;
}

int vhd_map_chain(struct vhd *img, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, unsigned *layer, struct vhd_err *err)
{
	struct vhd *at;
	int rc = vhd_resolve(img, lba, sectors, &at, run, err);

	if (!rc)
		*layer = at->depth - img->depth;
	return rc;
}

int vhd_layer_map(struct vhd *img, unsigned i, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, struct vhd_err *err)
{
	struct vhd *layer = vhd_get_layer(img, i);

	if (!layer)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the image has no layer %u", i);
	return vhd_map(layer, lba, sectors, run, err);
}

int vhd_layer_block(const struct vhd *img, unsigned i, uint32_t block,
		    uint64_t *off_bytes)
{
	const struct vhd *layer = vhd_get_layer(img, i);
	uint32_t entry;

	if (!layer || !layer->blocked || block >= layer->info.blocks)
		return -EINVAL;
	entry = atomic_load_explicit(&layer->bat[block], memory_order_acquire);
	*off_bytes = entry == VHD_BAT_NONE ? 0
					   : (uint64_t)entry * VHD_SECTOR_BYTES;
	return 0;
}
