/* SPDX-License-Identifier: BSD-2-Clause */
/* What a file is, and which of its footers is in force.
 *
 * The trailing footer comes first: LBA 0 of a fixed disk lies at offset 0 of
 * its file, and a guest that writes a VHD's beginning there must not turn its
 * disk into one with a map of its own making. The copy at offset 0 counts only
 * where the trailing footer is missing or says that there is a copy.
 *
 *   copy at 0   trailing           verdict
 *   any         fixed, size fits   fixed; offset 0 is the guest's
 *   valid       the same           clean
 *   valid       missing or bad     the copy; a writer was interrupted
 *   bad         dynamic            the trailing one; likewise
 *   valid       differs            the one whose size agrees with the table,
 *                                  else the trailing one
 *   valid       differs only in    a resize was interrupted: the larger one
 *               size and geometry  that the table reaches
 *
 * Nothing is taken for raw that carries VHD structures at either end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "image.h"

/* Both ends of the file, as found. */
struct ends {
	struct vhd_footer_wire end;
	struct vhd_footer_wire copy;
	enum vhd_mark end_mark;
	enum vhd_mark copy_mark;
	struct vhd_footer end_footer;
	struct vhd_footer copy_footer;
	uint64_t end_at_bytes;
	bool end_511;
	bool vhdx;
	bool sparse_header; /* `cxsparse`, sound, at the usual place */
};

static void say(struct vhd_info *info, const char *text)
{
	snprintf(info->probe, sizeof(info->probe), "%s", text);
}

int vhd_tolerate(struct vhd_info *info, bool inspect,
		 const struct vhd_err *fault, struct vhd_err *err)
{
	if (!inspect) {
		if (err)
			*err = *fault;
		return fault->code;
	}
	if (info->faults++ == 0)
		info->fault = *fault;
	return 0;
}

/* ------------------------------------------------------- reading the ends --
 */

static int read_header(const struct vhd_file *f, uint64_t off,
		       uint64_t file_bytes, struct vhd_header *h, bool *found,
		       struct vhd_err *err)
{
	struct vhd_header_wire w;
	int rc;

	*found = false;
	if (!range_ok(off, sizeof(w), file_bytes))
		return 0;
	rc = vhd_file_read(f, &w, sizeof(w), off, err);
	if (rc)
		return rc;
	vhd_header_decode(&w, h);
	*found = h->cookie_ok && h->checksum_ok;
	return 0;
}

/* Before Virtual PC 2004 a footer had 511 bytes; the missing one counts as
 * zero.
 */
static void look_for_511(struct ends *e, uint64_t file_bytes)
{
	struct vhd_footer_wire w = {0};

	memcpy(&w, (const uint8_t *)&e->end + 1, VHD_FOOTER_511_BYTES);
	if (vhd_footer_mark(&w) == VHD_MARK_NONE)
		return;
	e->end = w;
	e->end_mark = vhd_footer_mark(&w);
	e->end_at_bytes = file_bytes - VHD_FOOTER_511_BYTES;
	e->end_511 = true;
}

static int read_ends(const struct vhd_file *f, uint64_t file_bytes,
		     struct ends *e, struct vhd_err *err)
{
	struct vhd_header h;
	int rc;

	memset(e, 0, sizeof(*e));
	if (file_bytes < VHD_FOOTER_BYTES)
		return 0;
	e->end_at_bytes = file_bytes - VHD_FOOTER_BYTES;
	rc = vhd_file_read(f, &e->end, sizeof(e->end), e->end_at_bytes, err);
	if (!rc)
		rc = vhd_file_read(f, &e->copy, sizeof(e->copy), 0, err);
	if (!rc)
		rc = read_header(f, VHD_FOOTER_BYTES, file_bytes, &h,
				 &e->sparse_header, err);
	if (rc)
		return rc;
	e->end_mark = vhd_footer_mark(&e->end);
	if (e->end_mark == VHD_MARK_NONE)
		look_for_511(e, file_bytes);
	e->copy_mark = vhd_footer_mark(&e->copy);
	e->vhdx =
		memcmp(e->copy.cookie, VHD_COOKIE_VHDX, VHD_COOKIE_BYTES) == 0;
	vhd_footer_decode(&e->end, &e->end_footer);
	vhd_footer_decode(&e->copy, &e->copy_footer);
	return 0;
}

/* ----------------------------------------------------------------- verdict --
 */

static enum vhd_footer_state state_of(enum vhd_mark mark)
{
	switch (mark) {
	case VHD_MARK_OK:
		return VHD_FOOTER_OK;
	case VHD_MARK_BAD_CHECKSUM:
		return VHD_FOOTER_BAD_CHECKSUM;
	default:
		return VHD_FOOTER_MISSING;
	}
}

static void take_end(const struct ends *e, struct vhd_probe *p)
{
	p->wire = e->end;
	p->footer = e->end_footer;
	p->footer_at_bytes = e->end_at_bytes;
}

static void take_copy(const struct ends *e, struct vhd_probe *p)
{
	p->wire = e->copy;
	p->footer = e->copy_footer;
	p->footer_at_bytes = 0;
}

static int fixed(const struct ends *e, bool inspect, struct vhd_info *info,
		 struct vhd_probe *p, struct vhd_err *err)
{
	uint64_t size = e->end_footer.current_size_bytes;
	struct vhd_err fault;

	info->format = VHD_FORMAT_FIXED;
	info->footer_end = state_of(e->end_mark);
	info->footer_copy = VHD_FOOTER_ABSENT;
	take_end(e, p);
	if (e->copy_mark != VHD_MARK_NONE)
		info->notes |= VHD_NOTE_FORGED_START;
	if (size == e->end_at_bytes) {
		say(info, "a fixed disk's footer at the end, and the file's "
			  "length agrees");
		return 0;
	}
	say(info, "a fixed disk's footer at the end, but the file's length "
		  "does not agree");
	vhd_fail(&fault, -EUCLEAN, VHD_WHY_FIXED_LENGTH, e->end_at_bytes,
		 "fixed disk of %llu bytes with %llu in front of its footer: "
		 "cut or grown; a raw disk ending in an old footer must be "
		 "named raw",
		 (unsigned long long)size, (unsigned long long)e->end_at_bytes);
	return vhd_tolerate(info, inspect, &fault, err);
}

/* Does the footer's size match the table of the header it points to? */
static int size_agrees(const struct vhd_file *f, uint64_t file_bytes,
		       const struct vhd_footer *ft, bool *yes,
		       struct vhd_err *err)
{
	struct vhd_header h;
	bool found;
	int rc;

	*yes = false;
	rc = read_header(f, ft->data_offset_bytes, file_bytes, &h, &found, err);
	if (rc || !found || h.block_size_bytes == 0)
		return rc;
	*yes = vhd_blocks_for(ft->current_size_bytes, h.block_size_bytes) ==
	       h.table_entries;
	return 0;
}

static bool same_disk(const struct vhd_footer *a, const struct vhd_footer *b)
{
	return a->type == b->type &&
	       a->data_offset_bytes == b->data_offset_bytes &&
	       a->current_size_bytes == b->current_size_bytes &&
	       memcmp(a->unique_id, b->unique_id, sizeof(a->unique_id)) == 0;
}

/* Nothing but what a resize changes. */
static bool differ_in_size(const struct ends *e)
{
	struct vhd_footer_wire a = e->end, b = e->copy;

	if (e->end_511 ||
	    e->end_footer.current_size_bytes ==
		    e->copy_footer.current_size_bytes)
		return false;
	a.current_size = b.current_size;
	a.cylinders = b.cylinders;
	a.heads = b.heads;
	a.sectors_per_track = b.sectors_per_track;
	a.checksum = b.checksum;
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* The larger size hides nothing of what the smaller one shows, and a resize
 * makes the table long enough before it writes a footer.
 */
static int choose_of_sizes(const struct vhd_file *f, const struct ends *e,
			   struct vhd_info *info, struct vhd_probe *p,
			   struct vhd_err *err)
{
	uint64_t end = e->end_footer.current_size_bytes;
	uint64_t copy = e->copy_footer.current_size_bytes;
	uint64_t larger = end > copy ? end : copy;
	struct vhd_header h;
	bool found, reaches;
	int rc = read_header(f, e->end_footer.data_offset_bytes,
			     info->file_bytes, &h, &found, err);

	if (rc)
		return rc;
	reaches = found && h.block_size_bytes &&
		  vhd_blocks_for(larger, h.block_size_bytes) <=
			  h.table_entries;
	info->notes |= VHD_NOTE_FOOTERS_DIFFER | VHD_NOTE_RESIZE_CUT;
	p->resize_cut = true;
	if ((copy > end) == reaches) {
		take_copy(e, p);
		info->footer_end = VHD_FOOTER_DIFFERS;
		say(info, "a resize was interrupted; the copy at offset 0 has "
			  "the size that the block table reaches");
	} else {
		info->footer_copy = VHD_FOOTER_DIFFERS;
		say(info, "a resize was interrupted; the footer at the end has "
			  "the size that the block table reaches");
	}
	return 0;
}

static int choose_of_two(const struct vhd_file *f, const struct ends *e,
			 struct vhd_info *info, struct vhd_probe *p,
			 struct vhd_err *err)
{
	size_t len = e->end_511 ? VHD_FOOTER_511_BYTES : VHD_FOOTER_BYTES;
	bool end_agrees, copy_agrees;
	int rc;

	take_end(e, p);
	if (memcmp(&e->end, &e->copy, len) == 0) {
		say(info, "the footers at both ends agree");
		return 0;
	}
	if (differ_in_size(e))
		return choose_of_sizes(f, e, info, p, err);
	rc = size_agrees(f, info->file_bytes, &e->end_footer, &end_agrees, err);
	if (!rc)
		rc = size_agrees(f, info->file_bytes, &e->copy_footer,
				 &copy_agrees, err);
	if (rc)
		return rc;
	info->notes |= VHD_NOTE_FOOTERS_DIFFER;
	p->footers_disagree = !same_disk(&e->end_footer, &e->copy_footer);
	if (copy_agrees && !end_agrees) {
		take_copy(e, p);
		info->footer_end = VHD_FOOTER_DIFFERS;
		say(info, "two valid footers differ; the copy at offset 0 "
			  "agrees with the block table");
	} else {
		info->footer_copy = VHD_FOOTER_DIFFERS;
		say(info, "two valid footers differ; the one at the end is in "
			  "force");
	}
	return 0;
}

/* At least one end has a footer with a right checksum, or, inspecting, only a
 * wrong one; it is not a fixed disk's at the end.
 */
static int blocked(const struct vhd_file *f, const struct ends *e,
		   struct vhd_info *info, struct vhd_probe *p,
		   struct vhd_err *err)
{
	info->footer_end = state_of(e->end_mark);
	info->footer_copy = state_of(e->copy_mark);
	if (e->end_mark == VHD_MARK_OK && e->copy_mark == VHD_MARK_OK)
		return choose_of_two(f, e, info, p, err);
	if (e->end_mark == VHD_MARK_OK || e->copy_mark == VHD_MARK_OK)
		info->notes |= VHD_NOTE_DIRTY;
	if (e->end_mark > e->copy_mark ||
	    (e->end_mark == e->copy_mark && e->end_mark != VHD_MARK_NONE)) {
		take_end(e, p);
		say(info, "the footer at the end; the copy at offset 0 is "
			  "damaged or missing");
	} else {
		take_copy(e, p);
		say(info, "the footer copy at offset 0; the one at the end is "
			  "damaged or missing");
	}
	return 0;
}

static int no_footer(const struct ends *e, bool named, struct vhd_info *info,
		     struct vhd_err *err)
{
	if (e->vhdx)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_IS_VHDX, 0,
				"this is a VHDX image; only VHD is handled "
				"here, convert it first");
	if (e->sparse_header)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD,
				VHD_FOOTER_BYTES,
				"a dynamic header without a footer at either "
				"end: both footers are lost");
	if (named && info->file_bytes < VHD_FOOTER_BYTES)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TOO_SMALL, 0,
				"a file of %llu bytes cannot hold a footer",
				(unsigned long long)info->file_bytes);
	if (named)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"no VHD footer at either end; if this is a raw "
				"disk, name it raw");
	info->format = VHD_FORMAT_RAW;
	say(info, "no VHD structure at either end: a raw disk");
	return 0;
}

static int poisoned_cookie(const struct ends *e, struct vhd_err *err)
{
	bool end = e->end_mark == VHD_MARK_POISON;

	return vhd_fail(err, -EUCLEAN, VHD_WHY_POISON_COOKIE,
			end ? e->end_at_bytes : 0,
			"the footer says `v_poison`: disabled on purpose by "
			"XenServer's tools; enable it there first");
}

static int copy_is_fixed(struct vhd_err *err)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_FOOTER_TYPE, 0,
			"a fixed disk's footer at offset 0 and none at the "
			"end, where it belongs: cut off, or a raw disk (name "
			"it raw)");
}

static int verdict(const struct vhd_file *f, const struct ends *e,
		   const struct vhd_open_opts *opts, struct vhd_info *info,
		   struct vhd_probe *p, struct vhd_err *err)
{
	struct vhd_err fault;
	int rc;

	if (e->end_511)
		info->notes |= VHD_NOTE_FOOTER_511;
	if (e->end_mark == VHD_MARK_OK && e->end_footer.type == VHD_WIRE_FIXED)
		return fixed(e, opts->inspect, info, p, err);
	if (e->end_mark == VHD_MARK_POISON || e->copy_mark == VHD_MARK_POISON)
		return poisoned_cookie(e, err);
	if (e->end_mark == VHD_MARK_NONE && e->copy_mark == VHD_MARK_NONE)
		return no_footer(e, opts->format != VHD_FORMAT_AUTO, info, err);
	if (e->end_mark != VHD_MARK_OK && e->copy_mark != VHD_MARK_OK) {
		bool end = e->end_mark == VHD_MARK_BAD_CHECKSUM;

		vhd_fail(&fault, -EUCLEAN, VHD_WHY_FOOTER_CHECKSUM,
			 end ? e->end_at_bytes : 0,
			 "footer checksum wrong and no sound copy: the image "
			 "is damaged, or a raw disk that must be named raw");
		rc = vhd_tolerate(info, opts->inspect, &fault, err);
		if (rc)
			return rc;
		if (end && e->end_footer.type == VHD_WIRE_FIXED)
			return fixed(e, true, info, p, err);
	}
	rc = blocked(f, e, info, p, err);
	if (rc)
		return rc;
	if (p->footer.type == VHD_WIRE_FIXED)
		return copy_is_fixed(err);
	info->format = p->footer.type == VHD_WIRE_DIFF ? VHD_FORMAT_DIFF
						       : VHD_FORMAT_DYNAMIC;
	return 0;
}

static int named_check(const struct vhd_open_opts *opts,
		       const struct vhd_info *info, const struct vhd_probe *p,
		       struct vhd_err *err)
{
	if (opts->format == VHD_FORMAT_AUTO || opts->format == info->format)
		return 0;
	return vhd_fail(
		err, -EUCLEAN, VHD_WHY_TYPE_MISMATCH,
		p->footer_at_bytes + offsetof(struct vhd_footer_wire, type),
		"opened as %s, but its footer says %s",
		vhd_format_name(opts->format), vhd_format_name(info->format));
}

int vhd_probe(const struct vhd_file *f, const struct vhd_open_opts *opts,
	      struct vhd_info *info, struct vhd_probe *p, struct vhd_err *err)
{
	struct ends e;
	int rc;

	memset(p, 0, sizeof(*p));
	rc = vhd_file_size(f, &info->file_bytes, err);
	if (rc)
		return rc;
	p->limit_bytes = info->file_bytes;
	info->probed = opts->format == VHD_FORMAT_AUTO;
	if (opts->format == VHD_FORMAT_RAW) {
		info->format = VHD_FORMAT_RAW;
		say(info, "named raw; nothing was looked at");
		return 0;
	}
	rc = read_ends(f, info->file_bytes, &e, err);
	if (!rc)
		rc = verdict(f, &e, opts, info, p, err);
	if (rc || info->format == VHD_FORMAT_RAW)
		return rc;
	info->footer_end_bytes = e.end_at_bytes;
	/* A damaged one may as well be the last block's data. */
	if (info->footer_end == VHD_FOOTER_OK ||
	    info->footer_end == VHD_FOOTER_DIFFERS)
		p->limit_bytes = e.end_at_bytes;
	return named_check(opts, info, p, err);
}
