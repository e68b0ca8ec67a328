/* SPDX-License-Identifier: BSD-2-Clause */
/* See survey.h. What is read here is read with the decoders of opening; only
 * the order differs: nothing stops at a fault that leaves more to be seen.
 * Source: VHD specification 1.0; blktap's batmap as its readers describe it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checked.h"
#include "fail.h"
#include "survey.h"

#define FAULTS_MAX	   16	 /* rules of one structure; each breaks once */
#define BATMAP_SECTORS_MAX 8192u /* twice what VHD_BLOCKS_MAX needs */

bool survey_is_system(enum vhd_why why)
{
	switch (why) {
	case VHD_WHY_ARGUMENT:
	case VHD_WHY_NOMEM:
	case VHD_WHY_SYSTEM:
	case VHD_WHY_IO:
	case VHD_WHY_SHORT_IO:
	case VHD_WHY_NO_SPACE:
		return true;
	default:
		return false;
	}
}

/* ----------------------------------------------------------- the rules -- */

/* Replace what broke a rule by something harmless, so that the others can be
 * asked. False: it was the last one.
 */
static bool footer_heal(struct vhd_footer *f, enum vhd_why why)
{
	switch (why) {
	case VHD_WHY_FOOTER_VERSION:
		f->version = VHD_VERSION_1_0;
		return true;
	case VHD_WHY_FOOTER_TYPE:
		f->type = VHD_WIRE_DYNAMIC;
		return true;
	default:
		return false;
	}
}

void survey_footer_faults(const struct survey_footer *sf, survey_fault_fn fn,
			  void *ctx)
{
	struct vhd_footer f = sf->f;
	struct vhd_err fault;

	for (int i = 0; i < FAULTS_MAX; i++) {
		if (!vhd_footer_check(&f, sf->at_bytes, &fault))
			return;
		fn(ctx, &fault);
		if (!footer_heal(&f, fault.why))
			return;
	}
}

/* The same for the header. `*readable` falls where blocks cannot be found. A
 * table that is too short can still be read as far as it goes.
 */
static bool header_heal(struct vhd_header *h, uint64_t *size_bytes,
			enum vhd_why why, bool *readable)
{
	switch (why) {
	case VHD_WHY_HEADER_VERSION:
		h->version = VHD_VERSION_1_0;
		return true;
	case VHD_WHY_TABLE_SHORT:
		*size_bytes = VHD_SECTOR_BYTES;
		return true;
	case VHD_WHY_BLOCK_SIZE:
		*readable = false;
		h->block_size_bytes = VHD_BLOCK_BYTES_DEFAULT;
		*size_bytes = VHD_SECTOR_BYTES;
		return true;
	case VHD_WHY_TABLE_ENTRIES:
		*readable = false;
		if (h->table_entries)
			return false;
		h->table_entries = 1;
		*size_bytes = VHD_SECTOR_BYTES;
		return true;
	default:
		*readable = false;
		return false;
	}
}

bool survey_header_faults(const struct survey *s, survey_fault_fn fn, void *ctx)
{
	struct vhd_header h = s->header;
	uint64_t size = s->size_bytes ? s->size_bytes : VHD_SECTOR_BYTES;
	struct vhd_err fault;
	bool readable = true;

	for (int i = 0; i < FAULTS_MAX; i++) {
		if (!vhd_header_check(&h, s->header_at, size, s->limit_bytes,
				      &fault))
			break;
		if (fn)
			fn(ctx, &fault);
		if (!header_heal(&h, &size, fault.why, &readable))
			break;
	}
	return readable;
}

bool survey_geometry_wrong(const struct vhd_footer *f)
{
	const struct vhd_geometry *g = &f->geometry;
	struct vhd_geometry rule =
		vhd_geometry_from_size(f->current_size_bytes);
	uint64_t size = f->current_size_bytes;
	uint64_t product = vhd_geometry_product_bytes(g);

	if (vhd_geometry_is_marker(g) || product == size)
		return false;
	if (product == 0 || product > size)
		return true;
	return memcmp(g, &rule, sizeof(rule)) != 0 &&
	       size - product >= (uint64_t)g->heads * g->sectors_per_track *
					 VHD_SECTOR_BYTES;
}

const char *survey_hit(const struct survey *s, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < s->range_count; i++)
		if (start < s->ranges[i].end_bytes &&
		    s->ranges[i].off_bytes < end)
			return s->ranges[i].what;
	return NULL;
}

enum survey_entry survey_judge(const struct survey *s, uint32_t block,
			       uint32_t sector)
{
	uint64_t start = (uint64_t)sector * VHD_SECTOR_BYTES;
	uint64_t end = start + s->stride_bytes;
	uint64_t tail = s->size_bytes % s->header.block_size_bytes;
	bool last = s->size_bytes / s->header.block_size_bytes == block;

	if (survey_hit(s, start, end))
		return SURVEY_ENTRY_METADATA;
	if (end <= s->limit_bytes)
		return SURVEY_ENTRY_OK;
	if (tail && last && start + s->bitmap_bytes + tail <= s->limit_bytes)
		return SURVEY_ENTRY_SHORT_LAST;
	if (start + s->bitmap_bytes + VHD_SECTOR_BYTES <= s->limit_bytes)
		return SURVEY_ENTRY_CUT;
	return SURVEY_ENTRY_PAST_END;
}

static int place_order(const void *a, const void *b)
{
	const struct survey_place *x = a, *y = b;

	if (x->sector != y->sector)
		return x->sector < y->sector ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

void survey_places_sort(struct survey_place *places, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		if (places[i - 1].sector < places[i].sector)
			continue;
		qsort(places, count, sizeof(*places), place_order);
		return;
	}
}

int survey_bitmap(const struct survey *s, uint32_t block, uint32_t sector,
		  uint8_t *map, bool *full, struct vhd_err *err)
{
	uint32_t sectors = survey_block_sectors(s, block);
	bool set;
	int rc = vhd_file_read(s->file, map, s->bitmap_bytes,
			       (uint64_t)sector * VHD_SECTOR_BYTES, err);

	if (rc)
		return rc;
	*full = vhd_bits_run(map, 0, sectors, &set) == sectors && set;
	return 0;
}

bool survey_batmap_sum_ok(const struct vhd_batmap_wire *w, const uint8_t *map,
			  size_t len)
{
	uint32_t sum = 0, wrapped = 0;

	for (size_t i = 0; i < len; i++) {
		sum += map[i];
		if (map[i] & 0x80)
			wrapped += 256;
	}
	return be32_get(w->checksum) == ~sum ||
	       be32_get(w->checksum) == ~(sum - wrapped);
}

uint64_t survey_skip_hole(const struct survey *s, struct survey_hole *hole,
			  uint64_t at)
{
	off_t data;

	if (at >= hole->from_bytes && at < hole->to_bytes)
		return hole->to_bytes;
	if (s->file->fd < 0)
		return at;
	data = lseek(s->file->fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		data = (off_t)s->file_bytes;
	if (data < 0 || (uint64_t)data <= at)
		return at;
	hole->from_bytes = at;
	hole->to_bytes = (uint64_t)data;
	return hole->to_bytes;
}

/* ------------------------------------------------------------- reading -- */

static void take_footer(struct survey_footer *sf, uint64_t at_bytes)
{
	sf->at_bytes = at_bytes;
	sf->mark = vhd_footer_mark(&sf->wire);
	vhd_footer_decode(&sf->wire, &sf->f);
}

static int read_ends(struct survey *s, struct vhd_err *err)
{
	uint64_t at;
	size_t len = VHD_FOOTER_BYTES;
	int rc;

	if (s->file_bytes < VHD_FOOTER_BYTES)
		return 0;
	s->end_511 = s->info.notes & VHD_NOTE_FOOTER_511;
	if (s->end_511)
		len = VHD_FOOTER_511_BYTES;
	at = s->file_bytes - len;
	rc = vhd_file_read(s->file, &s->end.wire, len, at, err);
	if (rc)
		return rc;
	take_footer(&s->end, at);
	rc = vhd_file_read(s->file, &s->copy.wire, VHD_FOOTER_BYTES, 0, err);
	if (rc)
		return rc;
	take_footer(&s->copy, 0);
	return 0;
}

static bool size_makes_sense(uint64_t size, bool blocked)
{
	uint64_t max = blocked ? VHD_DYNAMIC_BYTES_MAX : VHD_FIXED_BYTES_MAX;

	return size && size % VHD_SECTOR_BYTES == 0 && size <= max;
}

static int read_header(struct survey *s, struct vhd_err *err)
{
	int rc;

	if (s->header_at < VHD_FOOTER_BYTES ||
	    s->header_at % VHD_SECTOR_BYTES ||
	    !range_ok(s->header_at, sizeof(s->header_wire), s->limit_bytes))
		return 0;
	rc = vhd_file_read(s->file, &s->header_wire, sizeof(s->header_wire),
			   s->header_at, err);
	if (rc)
		return rc;
	vhd_header_decode(&s->header_wire, &s->header);
	s->header_read = true;
	return 0;
}

static void add_range(struct survey *s, uint64_t off, uint64_t end,
		      const char *what)
{
	s->ranges[s->range_count++] = (struct vhd_range){off, end, what};
}

static int read_batmap(struct survey *s, struct vhd_err *err)
{
	struct vhd_batmap_wire *w = &s->batmap_wire;
	uint64_t at = s->table_end_bytes, off, end;
	int rc;

	if (memcmp(s->probe.footer.creator_app, "tap", 4) != 0 ||
	    !range_ok(at, sizeof(*w), s->limit_bytes))
		return 0;
	rc = vhd_file_read(s->file, w, sizeof(*w), at, err);
	if (rc)
		return rc;
	if (memcmp(w->cookie, VHD_COOKIE_BATMAP, VHD_COOKIE_BYTES) != 0)
		return 0;
	s->batmap = true;
	s->batmap_at = at;
	off = be64_get(w->map_offset);
	if (be32_get(w->map_sectors) > BATMAP_SECTORS_MAX ||
	    add_ovf(off, (uint64_t)be32_get(w->map_sectors) * VHD_SECTOR_BYTES,
		    &end) ||
	    end > s->limit_bytes || end == off ||
	    (off < at + sizeof(*w) && end > at) || survey_hit(s, off, end))
		return 0;
	s->batmap_ok = true;
	add_range(s, at, at + sizeof(*w), "batmap header");
	add_range(s, off, end, "batmap");
	return 0;
}

static void find_locators(struct survey *s)
{
	unsigned others = s->range_count;

	if (s->info.format != VHD_FORMAT_DIFF)
		return;
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &s->header.locator[i];
		unsigned all = s->range_count;
		uint64_t end;
		bool hit;

		if (!l->platform || !l->len_bytes ||
		    add_ovf(l->off_bytes, l->len_bytes, &end) ||
		    end > s->limit_bytes)
			continue;
		s->range_count = others; /* two may share their payload */
		hit = survey_hit(s, l->off_bytes, end);
		s->range_count = all;
		if (!hit)
			add_range(s, l->off_bytes, end, "parent locator");
	}
}

/* Where blocks may lie, once header and table are known to be readable. */
static int lay_out(struct survey *s, struct vhd_err *err)
{
	const struct vhd_header *h = &s->header;
	uint64_t need = vhd_blocks_for(s->size_bytes, h->block_size_bytes);
	int rc;

	if (need > VHD_BLOCKS_MAX)
		return 0;
	s->blocks = need < h->table_entries ? (uint32_t)need : h->table_entries;
	s->bitmap_bytes = vhd_bitmap_size(h->block_size_bytes);
	s->stride_bytes = (uint64_t)s->bitmap_bytes + h->block_size_bytes;
	s->table_end_bytes =
		h->table_bytes +
		(((uint64_t)h->table_entries * 4 + VHD_SECTOR_BYTES - 1) &
		 ~(uint64_t)(VHD_SECTOR_BYTES - 1));
	add_range(s, 0, VHD_FOOTER_BYTES, "footer copy");
	add_range(s, s->header_at, s->header_at + VHD_HEADER_BYTES,
		  "dynamic header");
	add_range(s, h->table_bytes, s->table_end_bytes, "block table");
	rc = read_batmap(s, err);
	if (rc)
		return rc;
	find_locators(s);
	s->table_ok = true;
	return 0;
}

static int read_blocked(struct survey *s, struct vhd_err *err)
{
	int rc = read_header(s, err);

	if (rc || !s->header_read || !s->header.cookie_ok || !s->size_bytes ||
	    !survey_header_faults(s, NULL, NULL))
		return rc;
	return lay_out(s, err);
}

/* Both footers are lost, but a dynamic header is at the usual place. */
static bool headless(const struct survey *s, enum vhd_format format)
{
	return s->verdict && s->verdict_err.why == VHD_WHY_NOT_VHD &&
	       format != VHD_FORMAT_FIXED &&
	       s->verdict_err.at_bytes == VHD_FOOTER_BYTES;
}

static bool blocked_format(enum vhd_format format)
{
	return format == VHD_FORMAT_DYNAMIC || format == VHD_FORMAT_DIFF;
}

/* Of two footers, equally sound, the caller's choice comes first. */
static void apply_preference(struct survey *s, enum vhd_prefer prefer)
{
	const struct survey_footer *sf =
		prefer == VHD_PREFER_COPY ? &s->copy : &s->end;

	if (prefer == VHD_PREFER_NONE || !blocked_format(s->info.format) ||
	    s->end.mark != s->copy.mark || s->end.mark < VHD_MARK_BAD_CHECKSUM)
		return;
	s->probe.wire = sf->wire;
	s->probe.footer = sf->f;
	s->probe.footer_at_bytes = sf->at_bytes;
	s->info.format = sf->f.type == VHD_WIRE_DIFF ? VHD_FORMAT_DIFF
						     : VHD_FORMAT_DYNAMIC;
}

int survey_read(struct survey *s, const struct vhd_file *f,
		const struct survey_opts *o, struct vhd_err *err)
{
	const struct vhd_open_opts opts = {
		.format = o->format,
		.inspect = true,
	};
	uint64_t size = o->size_bytes;
	int rc;

	memset(s, 0, sizeof(*s));
	s->file = f;
	rc = vhd_file_size(f, &s->file_bytes, err);
	if (rc)
		return rc;
	s->limit_bytes = s->file_bytes;
	s->verdict = vhd_probe(f, &opts, &s->info, &s->probe, &s->verdict_err);
	if (s->verdict && survey_is_system(s->verdict_err.why)) {
		if (err)
			*err = s->verdict_err;
		return s->verdict;
	}
	rc = read_ends(s, err);
	if (rc)
		return rc;
	if (!s->verdict && s->info.format != VHD_FORMAT_RAW) {
		apply_preference(s, o->prefer);
		s->limit_bytes = s->probe.limit_bytes;
		s->blocked = blocked_format(s->info.format);
		s->header_at = s->probe.footer.data_offset_bytes;
		size = s->probe.footer.current_size_bytes;
	} else if (headless(s, o->format)) {
		s->blocked = true;
		s->header_at = VHD_FOOTER_BYTES;
	}
	if (size_makes_sense(size, s->blocked))
		s->size_bytes = size;
	return s->blocked ? read_blocked(s, err) : 0;
}
