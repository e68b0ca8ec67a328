/* SPDX-License-Identifier: BSD-2-Clause */
/* The footers: each by itself, field by field, and the two against each
 * other. What makes a disk shorter for some readers is told with their names.
 * Source: VHD specification 1.0, "Hard Disk Footer Format"; what readers do
 * with size and geometry, from their sources.
 */
#include <string.h>

#include "check.h"
#include "resize.h"

/* blktap allows clocks to differ by this much. */
#define CLOCK_SLACK_S	1800
#define DATA_OFFSET_LOW UINT64_C(0x00000000ffffffff)

#define AT(sf, field) ((sf)->at_bytes + offsetof(struct vhd_footer_wire, field))

static void tell_fault(void *ctx, const struct vhd_err *fault)
{
	struct check *c = ctx;

	check_tell_fault(c, check_code_of(fault->why), fault);
}

/* ------------------------------------------------------ the two places -- */

static bool fixed_disk(const struct check *c)
{
	return c->s.info.format == VHD_FORMAT_FIXED ||
	       c->opts->format == VHD_FORMAT_FIXED;
}

static void end_place(struct check *c)
{
	const struct survey *s = &c->s;

	switch (s->end.mark) {
	case VHD_MARK_NONE:
		check_tell(c, VHD_FIND_FOOTER_MISSING, s->file_bytes,
			   VHD_NO_BLOCK,
			   "no footer at the end of the file: a writer was "
			   "interrupted, or the file was cut");
		break;
	case VHD_MARK_BAD_CHECKSUM:
		check_tell(c, VHD_FIND_FOOTER_CHECKSUM, AT(&s->end, checksum),
			   VHD_NO_BLOCK,
			   "trailing footer: checksum is 0x%08x, its bytes "
			   "give 0x%08x",
			   s->end.f.checksum,
			   vhd_wire_checksum(
				   &s->end.wire, VHD_FOOTER_BYTES,
				   offsetof(struct vhd_footer_wire, checksum)));
		break;
	default:
		break;
	}
	if (s->end_511)
		check_tell(c, VHD_FIND_FOOTER_511, s->end.at_bytes,
			   VHD_NO_BLOCK,
			   "the trailing footer has 511 bytes, as before "
			   "Virtual PC 2004");
}

static void copy_place(struct check *c)
{
	const struct survey *s = &c->s;

	if (fixed_disk(c)) {
		if (!s->verdict && s->copy.mark != VHD_MARK_NONE &&
		    s->end.at_bytes)
			check_tell(c, VHD_FIND_FORGED_START, 0, VHD_NO_BLOCK,
				   "the disk's first sector imitates a VHD "
				   "footer: QEMU takes the file for another "
				   "disk, whose map the guest chose");
		return;
	}
	if (s->copy.mark == VHD_MARK_NONE)
		check_tell(c, VHD_FIND_COPY_MISSING, 0, VHD_NO_BLOCK,
			   "no footer copy at offset 0");
	if (s->copy.mark == VHD_MARK_BAD_CHECKSUM)
		check_tell(c, VHD_FIND_COPY_CHECKSUM, AT(&s->copy, checksum),
			   VHD_NO_BLOCK,
			   "footer copy at offset 0: checksum is 0x%08x, its "
			   "bytes give 0x%08x",
			   s->copy.f.checksum,
			   vhd_wire_checksum(
				   &s->copy.wire, VHD_FOOTER_BYTES,
				   offsetof(struct vhd_footer_wire, checksum)));
}

/* Names of the parts in which two footers differ, for people. */
static void differences(const struct survey *s, char *buf, size_t len)
{
	static const struct {
		size_t at, end;
		const char *name;
	} parts[] = {
		{0, 8, "cookie"},
		{8, 12, "features"},
		{12, 16, "version"},
		{16, 24, "data offset"},
		{24, 28, "timestamp"},
		{28, 40, "creator"},
		{40, 48, "original size"},
		{48, 56, "current size"},
		{56, 60, "geometry"},
		{60, 64, "type"},
		{64, 68, "checksum"},
		{68, 84, "unique id"},
		{84, 85, "saved state"},
		{85, 86, "hidden"},
		{86, 511, "reserved bytes"},
	};
	const uint8_t *a = (const uint8_t *)&s->end.wire;
	const uint8_t *b = (const uint8_t *)&s->copy.wire;
	size_t n = 0;

	*buf = '\0';
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int more;

		if (memcmp(a + parts[i].at, b + parts[i].at,
			   parts[i].end - parts[i].at) == 0)
			continue;
		more = snprintf(buf + n, len - n, "%s%s", n ? ", " : "",
				parts[i].name);
		if (more < 0 || (size_t)more >= len - n)
			return;
		n += (size_t)more;
	}
}

static void compare(struct check *c)
{
	const struct survey *s = &c->s;
	size_t len = s->end_511 ? VHD_FOOTER_511_BYTES : VHD_FOOTER_BYTES;
	char names[120];

	if (fixed_disk(c) || s->end.mark == VHD_MARK_NONE ||
	    s->copy.mark == VHD_MARK_NONE ||
	    memcmp(&s->end.wire, &s->copy.wire, len) == 0)
		return;
	differences(s, names, sizeof(names));
	check_tell_as(c,
		      s->probe.footers_disagree ? VHD_SEVERITY_ERROR
						: VHD_SEVERITY_WARNING,
		      VHD_FIND_FOOTERS_DIFFER, s->end.at_bytes, VHD_NO_BLOCK,
		      "the two footers differ in: %s", names);
}

/* ---------------------------------------------------------- the fields -- */

static void fixed_length(struct check *c, const struct survey_footer *sf)
{
	uint64_t size = sf->f.current_size_bytes;

	if (sf->f.type != VHD_WIRE_FIXED || sf != &c->s.end ||
	    size == sf->at_bytes)
		return;
	check_tell(c, VHD_FIND_FILE_LENGTH, sf->at_bytes, VHD_NO_BLOCK,
		   "a fixed disk of %llu bytes with %llu in front of its "
		   "footer: the file was cut or grown",
		   (unsigned long long)size, (unsigned long long)sf->at_bytes);
}

static void data_offset(struct check *c, const struct survey_footer *sf)
{
	uint64_t off = sf->f.data_offset_bytes;

	if (sf->f.type != VHD_WIRE_FIXED || off == VHD_NO_OFFSET)
		return;
	if (off == DATA_OFFSET_LOW)
		check_tell_as(c, VHD_SEVERITY_INFO, VHD_FIND_DATA_OFFSET,
			      AT(sf, data_offset), VHD_NO_BLOCK,
			      "data offset of a fixed disk has 32 bits set "
			      "instead of 64");
	else
		check_tell_as(c, VHD_SEVERITY_WARNING, VHD_FIND_DATA_OFFSET,
			      AT(sf, data_offset), VHD_NO_BLOCK,
			      "a fixed disk with a data offset (%llu)",
			      (unsigned long long)off);
}

/* Virtual PC shows the geometry's size for every image, QEMU up to 9.2 for
 * all creators but those it knows to mean current_size.
 */
bool check_qemu_trusts_size(const uint8_t app[4])
{
	static const char known[][5] = {"win ", "qem2", "d2v ", "CTXS",
					"tap\0"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (memcmp(app, known[i], 4) == 0)
			return true;
	return false;
}

static void geometry(struct check *c, const struct survey_footer *sf)
{
	const struct vhd_geometry *g = &sf->f.geometry;
	uint64_t size = sf->f.current_size_bytes;
	uint64_t product = vhd_geometry_product_bytes(g);
	struct vhd_geometry rule = vhd_geometry_from_size(size);
	bool cuts_qemu = !check_qemu_trusts_size(sf->f.creator_app);

	if (vhd_geometry_is_marker(g) || product == size)
		return;
	if (survey_geometry_wrong(&sf->f))
		check_tell(
			c, VHD_FIND_GEOMETRY, AT(sf, cylinders), VHD_NO_BLOCK,
			"geometry %u/%u/%u (%llu bytes) for a disk of %llu "
			"bytes; the rule gives %u/%u/%u",
			g->cylinders, g->heads, g->sectors_per_track,
			(unsigned long long)product, (unsigned long long)size,
			rule.cylinders, rule.heads, rule.sectors_per_track);
	if (product == 0 || product > size)
		return;
	check_tell_as(c, cuts_qemu ? VHD_SEVERITY_WARNING : VHD_SEVERITY_INFO,
		      VHD_FIND_GEOMETRY_CUTS, AT(sf, cylinders), VHD_NO_BLOCK,
		      "by geometry %u/%u/%u the last %llu bytes are not "
		      "shown: by Virtual PC%s",
		      g->cylinders, g->heads, g->sectors_per_track,
		      (unsigned long long)(size - product),
		      cuts_qemu ? " and QEMU before 10" : "");
}

static void marks(struct check *c, const struct survey_footer *sf)
{
	const struct vhd_footer *f = &sf->f;
	uint32_t unknown =
		f->features & ~(VHD_FEATURE_TEMPORARY | VHD_FEATURE_RESERVED);

	if (unknown)
		check_tell(c, VHD_FIND_FEATURES, AT(sf, features), VHD_NO_BLOCK,
			   "unknown feature bits 0x%08x", unknown);
	if (f->saved_state)
		check_tell(c, VHD_FIND_SAVED_STATE, AT(sf, saved_state),
			   VHD_NO_BLOCK,
			   "a suspended machine depends on this image; it "
			   "must not be resized or compacted");
	if (sf->wire.hidden)
		check_tell(c, VHD_FIND_HIDDEN, AT(sf, hidden), VHD_NO_BLOCK,
			   "hidden (%u): blktap keeps it as an inner node of "
			   "a chain",
			   sf->wire.hidden);
	if (fixed_disk(c) && resize_fixed_pending(&sf->wire))
		check_tell(c, VHD_FIND_RESIZE_CUT, AT(sf, reserved),
			   VHD_NO_BLOCK,
			   "growing was interrupted: the former footer is "
			   "inside the disk; repairing it, or the next "
			   "program here that writes, removes it");
	else if (vhd_any_nonzero(sf->wire.reserved, sizeof(sf->wire.reserved)))
		check_tell(c, VHD_FIND_RESERVED, AT(sf, reserved), VHD_NO_BLOCK,
			   "reserved bytes of the footer are not zero");
	if (!vhd_any_nonzero(f->unique_id, sizeof(f->unique_id)))
		check_tell(c, VHD_FIND_ID_ZERO, AT(sf, unique_id), VHD_NO_BLOCK,
			   "the unique id is all zero");
}

static void origin(struct check *c, const struct survey_footer *sf)
{
	const struct vhd_footer *f = &sf->f;
	int64_t made = VHD_EPOCH_UNIX_S + (int64_t)f->timestamp_s;

	if (c->opts->now_unix_s && made > c->opts->now_unix_s + CLOCK_SLACK_S)
		check_tell(c, VHD_FIND_TIMESTAMP, AT(sf, timestamp),
			   VHD_NO_BLOCK, "made %lld s in the future",
			   (long long)(made - c->opts->now_unix_s));
	if (!vhd_creator_name(f->creator_app, f->creator_version))
		check_tell(c, VHD_FIND_CREATOR, AT(sf, creator_app),
			   VHD_NO_BLOCK, "unknown creator %02x%02x%02x%02x",
			   f->creator_app[0], f->creator_app[1],
			   f->creator_app[2], f->creator_app[3]);
	if (f->original_size_bytes != f->current_size_bytes)
		check_tell(c, VHD_FIND_ORIGINAL_SIZE, AT(sf, original_size),
			   VHD_NO_BLOCK,
			   "made with %llu bytes, now %llu; libvhdi shows the "
			   "former",
			   (unsigned long long)f->original_size_bytes,
			   (unsigned long long)f->current_size_bytes);
}

static void fields(struct check *c, const struct survey_footer *sf)
{
	uint64_t before = c->result->severity_count[VHD_SEVERITY_ERROR];

	survey_footer_faults(sf, tell_fault, c);
	fixed_length(c, sf);
	data_offset(c, sf);
	if (c->result->severity_count[VHD_SEVERITY_ERROR] == before)
		geometry(c, sf);
	marks(c, sf);
	origin(c, sf);
}

void check_footers(struct check *c)
{
	const struct survey *s = &c->s;
	bool copy_counts = !fixed_disk(c) || s->verdict;

	if (s->verdict && s->verdict_err.why == VHD_WHY_POISON_COOKIE) {
		check_tell_fault(c, VHD_FIND_POISON_COOKIE, &s->verdict_err);
		return;
	}
	end_place(c);
	copy_place(c);
	compare(c);
	/* The same fault in both is told once, of the one in force; a fixed
	 * disk has one only, at offset 0 where the disk has no byte.
	 */
	if (s->end.mark != VHD_MARK_NONE &&
	    (s->probe.footer_at_bytes || s->copy.mark == VHD_MARK_NONE ||
	     s->probe.footers_disagree || !copy_counts))
		fields(c, &s->end);
	if (copy_counts && s->copy.mark != VHD_MARK_NONE &&
	    (s->probe.footer_at_bytes == 0 || s->probe.footers_disagree))
		fields(c, &s->copy);
}
