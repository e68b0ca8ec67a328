/* SPDX-License-Identifier: BSD-2-Clause */
/* A child comes to name another parent. The dynamic header, of which there is
 * one copy, lies on two sectors: the first has its checksum and the parent's
 * id and name, the second the locators. So it changes in four steps, each
 * durable before the next:
 *
 *   1. the new names, into space that belongs to nothing, and the file's end
 *      behind them
 *   2. both sectors: the new locators beside the old ones
 *   3. the first sector only: the new id and name
 *   4. both sectors: the old locators go
 *
 * Between them the header is sound, and since a name counts only where it
 * leads to the id asked for, the old locators find the old parent and the new
 * ones the new. Should a power cut tear step 1 or 3, the two sectors differ
 * from a sound header in nothing but locators that are not needed: only the
 * checksum is wrong, and recomputing it, as repair does, is all it takes.
 *
 * The space of the old names becomes free, and is where the next ones go.
 * Source: VHD specification 1.0, "Dynamic Disk Header Format"; what blktap
 * and Windows do to give a child another parent.
 */
#include <errno.h>
#include <string.h>

#include "layout.h"
#include "rebase.h"

#define NAMES	     2
#define FIRST_SECTOR VHD_SECTOR_BYTES
/* Of the name field: what lies in the header's first sector. */
#define NAME_HEAD (FIRST_SECTOR - offsetof(struct vhd_header_wire, parent_name))

struct name {
	uint32_t platform;
	const uint8_t *payload;
	uint32_t len;
	struct vhd_locator_wire wire;
};

struct point {
	struct vhd *img;
	const struct vhd_relation *r;
	struct layout layout;
	struct name names[NAMES];
	unsigned count;
};

static void name_add(struct point *p, uint32_t platform, const uint8_t *payload,
		     uint32_t len)
{
	if (len)
		p->names[p->count++] = (struct name){
			.platform = platform, .payload = payload, .len = len};
}

/* ------------------------------------------------------------ the space -- */

static bool gap_find(const struct point *p, uint64_t bytes, uint64_t *at)
{
	struct layout_gaps g;
	struct vhd_range gap;

	layout_gaps_begin(&g, &p->layout);
	while (layout_gaps_next(&g, &gap)) {
		uint64_t from = vhd_aligned(gap.off_bytes);

		if (from < gap.end_bytes && gap.end_bytes - from >= bytes) {
			*at = from;
			return true;
		}
	}
	return false;
}

/* Behind all blocks, the footer behind it. */
static int append(struct point *p, uint64_t bytes, uint64_t *at,
		  struct vhd_err *err)
{
	struct vhd *img = p->img;
	int rc;

	pthread_mutex_lock(&img->alloc_lock);
	*at = vhd_aligned(img->alloc_end_bytes);
	rc = vhd_tail_room(img, *at + bytes, err);
	if (!rc) {
		img->alloc_end_bytes = *at + bytes;
		img->settle = true;
	}
	pthread_mutex_unlock(&img->alloc_lock);
	return rc;
}

static int names_write(struct point *p, struct vhd_err *err)
{
	const uint64_t bytes = (uint64_t)p->count * VHD_RELATION_SPACE_BYTES;
	uint64_t at;
	int rc = 0;

	if (!gap_find(p, bytes, &at))
		rc = append(p, bytes, &at, err);
	for (unsigned i = 0; !rc && i < p->count; i++) {
		struct name *n = &p->names[i];

		n->wire.platform = be32_put(n->platform);
		n->wire.data_space = be32_put(VHD_RELATION_SPACE_BYTES);
		n->wire.data_len = be32_put(n->len);
		n->wire.data_offset = be64_put(at);
		rc = vhd_file_write(&p->img->file, n->payload, n->len, at, err);
		at += VHD_RELATION_SPACE_BYTES;
	}
	if (rc)
		return rc;
	/* Or a header could lead behind the end, or onto the old footer. */
	rc = vhd_file_flush(&p->img->file, err);
	if (rc)
		vhd_poison(p->img);
	return rc;
}

/* ----------------------------------------------------------- the header -- */

/* After a fault nobody knows which header the medium has. */
static int header_write(struct point *p, size_t len, struct vhd_err *err)
{
	struct vhd_header_wire *w = &p->layout.header;
	int rc;

	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_header_wire, checksum)));
	rc = vhd_file_write(&p->img->file, w, len, p->img->info.header_bytes,
			    err);
	if (!rc)
		rc = vhd_file_flush(&p->img->file, err);
	if (rc)
		vhd_poison(p->img);
	return rc;
}

static bool is_new(const struct point *p, unsigned placed,
		   const struct vhd_locator_wire *l)
{
	for (unsigned k = 0; k < placed; k++)
		if (!memcmp(l, &p->names[k].wire, sizeof(*l)))
			return true;
	return false;
}

/* A slot for one more: a free one, or else the last that is no relative path,
 * which is what finds the old parent.
 */
static struct vhd_locator_wire *slot_for(struct point *p, unsigned placed)
{
	struct vhd_locator_wire *all = p->layout.header.locator;
	struct vhd_locator_wire *last = NULL;

	for (int i = 0; i < VHD_LOCATORS; i++)
		if (!be32_get(all[i].platform))
			return &all[i];
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (!is_new(p, placed, &all[i]) &&
		    (!last || be32_get(all[i].platform) != VHD_LOCATOR_W2RU))
			last = &all[i];
	return last;
}

static int both_names(struct point *p, struct vhd_err *err)
{
	struct vhd_header_wire *w = &p->layout.header;

	for (unsigned i = 0; i < p->count; i++)
		*slot_for(p, i) = p->names[i].wire;
	/* The end of a very long name lies in the second sector. */
	memcpy(w->parent_name + NAME_HEAD, p->r->name + NAME_HEAD,
	       sizeof(w->parent_name) - NAME_HEAD);
	return header_write(p, sizeof(*w), err);
}

static int new_parent(struct point *p, struct vhd_err *err)
{
	struct vhd_header_wire *w = &p->layout.header;

	memcpy(w->parent_id, p->r->parent_id, sizeof(w->parent_id));
	w->parent_timestamp = be32_put(p->r->parent_timestamp_s);
	memcpy(w->parent_name, p->r->name, sizeof(w->parent_name));
	return header_write(p, FIRST_SECTOR, err);
}

static int new_names_only(struct point *p, struct vhd_err *err)
{
	struct vhd_header_wire *w = &p->layout.header;

	memset(w->locator, 0, sizeof(w->locator));
	for (unsigned i = 0; i < p->count; i++)
		w->locator[i] = p->names[i].wire;
	return header_write(p, sizeof(*w), err);
}

int rebase_header(struct vhd *child, const struct vhd_relation *r,
		  struct vhd_err *err)
{
	struct point p = {.img = child, .r = r};
	int rc = layout_open(&p.layout, child, err);

	if (rc)
		return rc;
	name_add(&p, VHD_LOCATOR_W2RU, r->relative, r->relative_len);
	name_add(&p, VHD_LOCATOR_W2KU, r->absolute, r->absolute_len);
	rc = names_write(&p, err);
	if (!rc)
		rc = both_names(&p, err);
	if (!rc)
		rc = new_parent(&p, err);
	if (!rc)
		rc = new_names_only(&p, err);
	layout_close(&p.layout);
	return rc;
}
