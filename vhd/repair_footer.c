/* SPDX-License-Identifier: BSD-2-Clause */
/* Which footer is right, what in it is put right, and where the two of them
 * go. Two sound footers that describe different disks are for a person to
 * choose between; a wrong checksum is put right only where every field makes
 * sense and leads somewhere.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "repair.h"
#include "resize.h"

#define CREATOR_VERSION 0x000a0000u /* as create.c has it */

static bool zero_id(const uint8_t id[16])
{
	return !vhd_any_nonzero(id, 16);
}

static void seal(struct vhd_footer_wire *w)
{
	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_footer_wire, checksum)));
}

/* -------------------------------------------------------- lost footers -- */

static uint32_t timestamp(int64_t now_unix_s)
{
	int64_t s = now_unix_s - VHD_EPOCH_UNIX_S;

	if (s < 0)
		return 0;
	return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static void rebuild(struct repair *r, uint32_t type, uint64_t size_bytes)
{
	bool fixed = type == VHD_WIRE_FIXED;
	struct vhd_footer f = {
		.features = VHD_FEATURE_RESERVED,
		.version = VHD_VERSION_1_0,
		.data_offset_bytes = fixed ? VHD_NO_OFFSET : r->s.header_at,
		.timestamp_s = timestamp(r->opts->now_unix_s),
		.creator_app = {'w', 'i', 'n', ' '},
		.creator_version = CREATOR_VERSION,
		.creator_os = {'W', 'i', '2', 'k'},
		.original_size_bytes = size_bytes,
		.current_size_bytes = size_bytes,
		.geometry = vhd_geometry_for_create(size_bytes),
		.type = type,
	};

	memcpy(f.unique_id, r->opts->new_id, sizeof(f.unique_id));
	vhd_footer_encode(&f, &r->footer);
	repair_step(r, VHD_REPAIR_FOOTER_REBUILD, 0,
		    "both footers are lost; new ones for a %s disk of %llu "
		    "bytes",
		    type == VHD_WIRE_DIFF    ? "differencing"
		    : type == VHD_WIRE_FIXED ? "fixed"
					     : "dynamic",
		    (unsigned long long)size_bytes);
}

static int rebuild_blocked(struct repair *r, struct vhd_err *err)
{
	const struct vhd_header *h = &r->s.header;
	uint64_t most = (uint64_t)h->table_entries * h->block_size_bytes;
	bool diff = vhd_any_nonzero(h->parent_id, sizeof(h->parent_id));

	if (!r->s.size_bytes || r->s.size_bytes > most)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"both footers are lost and with them the "
				"disk's size; give it (whole sectors, at most "
				"%llu)",
				(unsigned long long)most);
	rebuild(r, diff ? VHD_WIRE_DIFF : VHD_WIRE_DYNAMIC, r->s.size_bytes);
	return 0;
}

static int rebuild_fixed(struct repair *r, struct vhd_err *err)
{
	uint64_t size =
		r->opts->size_bytes ? r->opts->size_bytes : r->s.file_bytes;

	if (!size || size != r->s.file_bytes || size % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_FIXED_LENGTH,
				r->s.file_bytes,
				"a fixed disk without its footer has the "
				"file's %llu bytes, which must be whole "
				"sectors",
				(unsigned long long)r->s.file_bytes);
	rebuild(r, VHD_WIRE_FIXED, size);
	return 0;
}

static int lost(struct repair *r, struct vhd_err *err)
{
	if (r->s.blocked)
		return rebuild_blocked(r, err);
	if (r->s.verdict_err.why == VHD_WHY_NOT_VHD &&
	    r->opts->format == VHD_FORMAT_FIXED)
		return rebuild_fixed(r, err);
	if (err)
		*err = r->s.verdict_err;
	return r->s.verdict;
}

/* ---------------------------------------------------------- the choice -- */

static bool has_cookie(enum vhd_mark mark)
{
	return mark == VHD_MARK_OK || mark == VHD_MARK_BAD_CHECKSUM;
}

/* The two agree but for what a repair changes, and one of the ids is missing:
 * a repair that was cut off while giving the image its id. Then the one with
 * the id is right.
 */
static bool id_half_given(const struct survey *s)
{
	struct vhd_footer_wire a = s->end.wire, b = s->copy.wire;

	if (zero_id(a.unique_id) == zero_id(b.unique_id))
		return false;
	memset(a.unique_id, 0, sizeof(a.unique_id));
	memset(b.unique_id, 0, sizeof(b.unique_id));
	a.cylinders = b.cylinders;
	a.heads = b.heads;
	a.sectors_per_track = b.sectors_per_track;
	a.checksum = b.checksum = be32_put(0);
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static int must_choose(struct vhd_err *err)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_READ_ONLY_LAYOUT, 0,
			"the two footers describe different disks; say which "
			"one is right: that at the end, or the copy at offset "
			"0");
}

/* Both have a cookie, and a choice is needed that nobody made. */
static bool undecided(const struct repair *r)
{
	const struct survey *s = &r->s;
	bool alike =
		memcmp(&s->end.wire, &s->copy.wire, VHD_FOOTER_511_BYTES) == 0;

	if (!s->blocked || r->opts->prefer != VHD_PREFER_NONE ||
	    !has_cookie(s->end.mark) || !has_cookie(s->copy.mark))
		return false;
	/* Of two that are damaged neither is a witness for the other. */
	if (s->end.mark != VHD_MARK_OK && s->copy.mark != VHD_MARK_OK)
		return !alike;
	return s->probe.footers_disagree && !id_half_given(s);
}

static int plausible(const struct repair *r, struct vhd_err *err)
{
	const struct vhd_footer *f = &r->s.probe.footer;

	if (f->features & ~(VHD_FEATURE_TEMPORARY | VHD_FEATURE_RESERVED))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_FOOTER_CHECKSUM,
				r->s.probe.footer_at_bytes,
				"the footer's checksum is wrong and its "
				"features (0x%08x) make no sense: it is no "
				"witness",
				f->features);
	if (r->s.blocked && (!r->s.header_read || !r->s.header.cookie_ok))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_FOOTER_CHECKSUM,
				r->s.probe.footer_at_bytes,
				"the footer's checksum is wrong and it leads "
				"to no dynamic header: it is no witness");
	return 0;
}

/* ------------------------------------------------------ what is healed -- */

static void heal_geometry(struct repair *r)
{
	struct vhd_footer f;
	struct vhd_geometry g;

	vhd_footer_decode(&r->footer, &f);
	if (!survey_geometry_wrong(&f))
		return;
	g = vhd_geometry_for_create(f.current_size_bytes);
	repair_step(r, VHD_REPAIR_GEOMETRY,
		    r->s.probe.footer_at_bytes +
			    offsetof(struct vhd_footer_wire, cylinders),
		    "geometry %u/%u/%u becomes %u/%u/%u, by which no reader "
		    "cuts the disk",
		    f.geometry.cylinders, f.geometry.heads,
		    f.geometry.sectors_per_track, g.cylinders, g.heads,
		    g.sectors_per_track);
	r->footer.cylinders = be16_put(g.cylinders);
	r->footer.heads = g.heads;
	r->footer.sectors_per_track = g.sectors_per_track;
	seal(&r->footer);
}

static void heal_id(struct repair *r)
{
	if (!zero_id(r->footer.unique_id) || zero_id(r->opts->new_id))
		return;
	repair_step(r, VHD_REPAIR_ID,
		    r->s.probe.footer_at_bytes +
			    offsetof(struct vhd_footer_wire, unique_id),
		    "the unique id was all zero; children that name it so "
		    "lose their parent");
	memcpy(r->footer.unique_id, r->opts->new_id,
	       sizeof(r->footer.unique_id));
	seal(&r->footer);
}

static int heal_checksum(struct repair *r, struct vhd_err *err)
{
	const struct survey *s = &r->s;
	bool sound = s->probe.footer_at_bytes ? s->end.mark == VHD_MARK_OK
					      : s->copy.mark == VHD_MARK_OK;
	int rc;

	if (sound)
		return 0;
	rc = plausible(r, err);
	if (rc)
		return rc;
	repair_step(r, VHD_REPAIR_FOOTER_CHECKSUM,
		    s->probe.footer_at_bytes +
			    offsetof(struct vhd_footer_wire, checksum),
		    "the footer's checksum is wrong while all its fields make "
		    "sense: it is computed anew");
	seal(&r->footer);
	return 0;
}

/* A fixed disk whose growth was interrupted: see resize_fixed.c. */
static int heal_resize(struct repair *r, struct vhd_err *err)
{
	static const uint8_t zeros[VHD_FOOTER_BYTES];
	uint64_t at;
	bool there;
	int rc;

	if (r->s.blocked || !resize_fixed_pending(&r->footer))
		return 0;
	rc = resize_fixed_former(r->file, &r->footer, &at, &there, err);
	if (rc)
		return rc;
	repair_step(r, VHD_REPAIR_RESIZE, at,
		    "growing was interrupted: the former footer inside the "
		    "disk becomes zero");
	if (!there)
		return 0;
	return repair_put(r, REPAIR_ERASE, at, zeros, sizeof(zeros), err);
}

int repair_choose_footer(struct repair *r, struct vhd_err *err)
{
	struct survey *s = &r->s;
	int rc;

	if (!s->verdict && s->info.format == VHD_FORMAT_RAW)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"no VHD structure at either end: a raw disk, "
				"or a fixed one that lost its footer (name it "
				"fixed)");
	if (s->verdict)
		return lost(r, err);
	if (undecided(r))
		return must_choose(err);
	rc = vhd_footer_check(&s->probe.footer, s->probe.footer_at_bytes, err);
	if (rc)
		return rc;
	if (s->info.format == VHD_FORMAT_FIXED &&
	    s->probe.footer.current_size_bytes != s->end.at_bytes)
		return vhd_fail(
			err, -EUCLEAN, VHD_WHY_FIXED_LENGTH, s->end.at_bytes,
			"fixed disk of %llu bytes with %llu in front "
			"of its footer: what is missing or too much "
			"cannot be told; salvage copies what is there",
			(unsigned long long)s->probe.footer.current_size_bytes,
			(unsigned long long)s->end.at_bytes);
	r->footer = s->probe.wire;
	if (s->blocked && r->opts->prefer == VHD_PREFER_NONE &&
	    s->end.mark == VHD_MARK_OK && s->copy.mark == VHD_MARK_OK &&
	    id_half_given(s) && zero_id(r->footer.unique_id))
		r->footer =
			s->probe.footer_at_bytes ? s->copy.wire : s->end.wire;
	memcpy(r->old_id, r->footer.unique_id, sizeof(r->old_id));
	rc = heal_checksum(r, err);
	if (rc)
		return rc;
	heal_geometry(r);
	heal_id(r);
	return heal_resize(r, err);
}

/* ---------------------------------------------------------- the places -- */

/* Where the trailing footer belongs: where it is, unless a block needs the
 * place; else in the last sector of the file, or of what the file becomes.
 * Right behind a cut block that nobody gave up, no byte of it is replaced and
 * none is added to what is told to be left of it.
 */
static int end_place(const struct repair *r, uint64_t *at, struct vhd_err *err)
{
	const struct survey *s = &r->s;
	uint64_t len, data_end = r->data_end_bytes;

	if (has_cookie(s->end.mark) && !r->footer_moves &&
	    s->end.at_bytes % VHD_SECTOR_BYTES == 0 &&
	    (!s->blocked || s->end.at_bytes >= data_end)) {
		*at = s->end.at_bytes;
		return 0;
	}
	if (!s->blocked) {
		*at = s->file_bytes;
		return 0;
	}
	if (align_up_ovf(s->file_bytes, VHD_SECTOR_BYTES, &len))
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, s->file_bytes,
				"the file is too long");
	if (r->cut_stays && s->limit_bytes == s->file_bytes &&
	    len >= data_end) {
		*at = len;
		return 0;
	}
	if (len - VHD_FOOTER_BYTES < data_end &&
	    align_up_ovf(data_end + VHD_FOOTER_BYTES, VHD_ALIGN_BYTES, &len))
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, data_end,
				"the data ends too far behind");
	*at = len - VHD_FOOTER_BYTES;
	return 0;
}

static void tell_end(struct repair *r, uint64_t at)
{
	const struct survey *s = &r->s;

	if (s->verdict)
		return; /* told as rebuilt */
	if (r->footer_moves)
		repair_step(r, VHD_REPAIR_FOOTER_MOVE, at,
			    "the trailing footer at offset %llu lies in a "
			    "block's space; it goes to offset %llu",
			    (unsigned long long)s->end.at_bytes,
			    (unsigned long long)at);
	else if (s->end_511)
		repair_step(r, VHD_REPAIR_FOOTER_END, at,
			    "a trailing footer of 512 bytes instead of 511");
	else if (s->end.mark != VHD_MARK_OK && s->copy.mark == VHD_MARK_OK &&
		 s->blocked)
		repair_step(r, VHD_REPAIR_FOOTER_END, at,
			    "the trailing footer is %s; it is made from the "
			    "copy at offset 0",
			    s->end.mark == VHD_MARK_NONE ? "missing"
							 : "damaged");
	else if (s->blocked && s->end.mark == VHD_MARK_OK &&
		 s->copy.mark == VHD_MARK_OK && s->probe.footer_at_bytes == 0 &&
		 memcmp(&s->end.wire, &s->copy.wire, VHD_FOOTER_BYTES) != 0)
		repair_step(r, VHD_REPAIR_FOOTER_END, at,
			    "the trailing footer differs from the copy at "
			    "offset 0, which is in force");
}

static void tell_copy(struct repair *r)
{
	const struct survey *s = &r->s;
	bool differs =
		memcmp(&s->end.wire, &s->copy.wire, VHD_FOOTER_511_BYTES) != 0;

	if (s->verdict || s->end.mark != VHD_MARK_OK)
		return;
	if (s->copy.mark != VHD_MARK_OK)
		repair_step(r, VHD_REPAIR_FOOTER_COPY, 0,
			    "the copy at offset 0 is %s; it is made from the "
			    "trailing footer",
			    s->copy.mark == VHD_MARK_NONE ? "missing"
							  : "damaged");
	else if (differs && s->probe.footer_at_bytes)
		repair_step(r, VHD_REPAIR_FOOTER_COPY, 0,
			    "the copy at offset 0 differs from the trailing "
			    "footer, which is in force");
}

int repair_place_footer(struct repair *r, struct vhd_err *err)
{
	static const uint8_t zeros[VHD_FOOTER_BYTES];
	const struct survey *s = &r->s;
	bool copy_first =
		s->copy.mark != VHD_MARK_OK && s->end.mark == VHD_MARK_OK;
	uint64_t at = 0;
	int rc = end_place(r, &at, err);

	if (rc)
		return rc;
	tell_end(r, at);
	rc = repair_put(r, REPAIR_MAIN, at, &r->footer, VHD_FOOTER_BYTES, err);
	if (rc || !s->blocked)
		return rc;
	if (r->erase_at_bytes)
		rc = repair_put(r, REPAIR_ERASE, r->erase_at_bytes, zeros,
				VHD_FOOTER_BYTES, err);
	if (rc)
		return rc;
	tell_copy(r);
	return repair_put(r, copy_first ? REPAIR_FIRST : REPAIR_LAST, 0,
			  &r->footer, VHD_FOOTER_BYTES, err);
}
