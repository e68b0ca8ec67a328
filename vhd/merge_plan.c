/* SPDX-License-Identifier: BSD-2-Clause */
/* What a merge has to move, and whether the target's file, its file system
 * and the format have room for it; known before the first byte is written.
 *
 * Blocks the target lacks are counted, and for each the pages of its bitmap
 * and of the data that come; where the target has a place, pages that are
 * holes of its file. A file system that copies on write may need more, and one
 * that others write to meanwhile may have less: then the merge ends early, and
 * can be run again.
 *
 * Counting goes by the maps alone, as if no data were zero. Only when there is
 * no room for that, the data is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <isa-l/mem_routines.h>

#include "checked.h"
#include "fail.h"
#include "filesys.h"
#include "merge_int.h"

#define PAGE_BYTES   4096u
#define UNIT_SECTORS 2048u /* mapped, and read, at once */
/* What a file system may need to keep account of new pages: one in this. */
#define META_DIVISOR 256u

struct plan {
	struct vhd *upper;
	struct vhd *target;
	struct vhd_merge_result *r;
	uint8_t *buf; /* data was read; or NULL */
	uint64_t buf_lba;
	uint64_t counted;    /* the last block found missing, and one */
	uint64_t known_from; /* of the target's file: known to be ... */
	uint64_t known_to;
	bool known_hole; /* ... this */
};

/* --------------------------------------------------------------- walks -- */

int merge_next(struct vhd *upper, uint32_t unit, uint64_t *lba,
	       uint64_t *sectors, struct vhd_err *err)
{
	uint64_t at = *lba, end = upper->sectors;
	struct vhd_run run;
	unsigned layer;
	int rc = 0;

	*sectors = 0;
	for (; at < end; at += run.sectors) {
		rc = vhd_map_chain(upper, at, end - at, &run, &layer, err);
		if (rc)
			return rc;
		if (run.kind == VHD_RUN_FILE && !*sectors) {
			*lba = at;
			end = ((at / unit) + 1) * unit;
			if (end > upper->sectors)
				end = upper->sectors;
		}
		if (run.kind == VHD_RUN_FILE)
			*sectors = at + run.sectors - *lba;
		else if (*sectors)
			break;
	}
	if (*sectors > end - *lba)
		*sectors = end - *lba;
	return 0;
}

uint64_t *merge_lacking(const struct vhd *target)
{
	uint32_t blocks = target->info.blocks;
	uint64_t *bits;

	if (target->info.format != VHD_FORMAT_DYNAMIC)
		return NULL;
	bits = calloc((blocks + 63) / 64, sizeof(*bits));
	for (uint32_t b = 0; bits && b < blocks; b++)
		if (atomic_load(&target->bat[b]) == VHD_BAT_NONE)
			bits[b / 64] |= 1ull << (b % 64);
	return bits;
}

int merge_leave_out(struct vhd *target, const uint64_t *lacking, uint64_t lba,
		    uint64_t sectors, bool *out, struct vhd_err *err)
{
	uint64_t end = lba + sectors, block = lba >> target->block_shift;
	struct vhd_run run;
	unsigned layer;

	*out = false;
	if (target->info.format == VHD_FORMAT_DYNAMIC) {
		/* A grain is never larger than a block. */
		*out = lacking ? lacking[block / 64] >> (block % 64) & 1
			       : atomic_load(&target->bat[block]) ==
					 VHD_BAT_NONE;
		return 0;
	}
	for (; lba < end; lba += run.sectors) {
		int rc = vhd_map_chain(target, lba, end - lba, &run, &layer,
				       err);

		if (rc ||
		    (run.kind != VHD_RUN_HOLE && run.kind != VHD_RUN_ZERO))
			return rc;
	}
	*out = true;
	return 0;
}

/* ------------------------------------------------------------ counting -- */

static uint64_t pages(uint64_t from, uint64_t to)
{
	from &= ~(uint64_t)(PAGE_BYTES - 1);
	return (to - from + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

/* Learn what the target's file has at `at`: a hole or data, and how far. A
 * medium or file system that knows no holes has data.
 */
static void learn(struct plan *p, uint64_t at)
{
	int fd = p->target->file.fd;
	off_t next = fd < 0 ? -1 : lseek(fd, (off_t)at, SEEK_DATA);
	bool last = next < 0 && fd >= 0 && errno == ENXIO;

	p->known_hole = last || next > (off_t)at;
	if (!p->known_hole && next >= 0)
		next = lseek(fd, (off_t)at, SEEK_HOLE);
	p->known_from = at;
	p->known_to = next > (off_t)at ? (uint64_t)next : UINT64_MAX;
}

/* Pages of [from, to) that the file does not have. */
static uint64_t missing(struct plan *p, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	while (from < to) {
		uint64_t until;

		if (from < p->known_from || from >= p->known_to)
			learn(p, from);
		until = p->known_to < to ? p->known_to : to;
		if (p->known_hole)
			sum += pages(from, until);
		from = until;
	}
	return sum;
}

static bool is_zero(const struct plan *p, uint64_t lba, uint64_t sectors)
{
	return p->buf &&
	       isal_zero_detect(p->buf + (lba - p->buf_lba) * VHD_SECTOR_BYTES,
				(size_t)sectors * VHD_SECTOR_BYTES) == 0;
}

/* A block that is not there comes with its bitmap. Sectors ascend. */
static void count_blocks(struct plan *p, uint64_t lba, uint64_t end)
{
	const struct vhd *t = p->target;
	uint64_t last = (end - 1) >> t->block_shift;

	for (uint64_t b = lba >> t->block_shift; b <= last; b++) {
		if (p->counted == b + 1 ||
		    atomic_load(&t->bat[b]) != VHD_BAT_NONE)
			continue;
		p->counted = b + 1;
		p->r->new_blocks++;
		p->r->need_bytes += pages(0, t->info.bitmap_bytes);
	}
}

/* Sectors that are written. */
static int count_written(struct plan *p, uint64_t lba, uint64_t sectors,
			 struct vhd_err *err)
{
	uint64_t end = lba + sectors;
	struct vhd_run run;

	p->r->write_bytes += sectors * VHD_SECTOR_BYTES;
	for (; lba < end; lba += run.sectors) {
		int rc = vhd_map(p->target, lba, end - lba, &run, err);
		uint64_t len = run.sectors * VHD_SECTOR_BYTES;

		if (rc)
			return rc;
		if (run.kind == VHD_RUN_FILE) {
			p->r->need_bytes +=
				missing(p, run.off_bytes, run.off_bytes + len);
			continue;
		}
		p->r->need_bytes += pages(lba * VHD_SECTOR_BYTES,
					  lba * VHD_SECTOR_BYTES + len);
		count_blocks(p, lba, lba + run.sectors);
	}
	return 0;
}

/* By grains, as merge_copy.c goes, where zeros can be seen. */
static int count_stretch(struct plan *p, uint64_t lba, uint64_t sectors,
			 struct vhd_err *err)
{
	uint64_t end = lba + sectors, n;
	int rc = 0;

	p->r->held_bytes += sectors * VHD_SECTOR_BYTES;
	for (; lba < end && !rc; lba += n) {
		bool skip = false;

		n = p->buf ? merge_grain(lba, end) : sectors;
		if (is_zero(p, lba, n))
			rc = merge_leave_out(p->target, NULL, lba, n, &skip,
					     err);
		if (skip)
			p->r->zero_bytes += n * VHD_SECTOR_BYTES;
		else if (!rc)
			rc = count_written(p, lba, n, err);
	}
	return rc;
}

/* The file's length with the new blocks, placed as alloc.c and ended as tail.c
 * does it. False: no 64-bit number holds it.
 */
static bool length_after(const struct vhd *target, uint32_t new_blocks,
			 uint64_t *len)
{
	const struct vhd_info *info = &target->info;
	uint64_t stride = pages(0, info->bitmap_bytes) + info->block_size_bytes;
	uint64_t more;

	*len = info->file_bytes;
	if (!new_blocks)
		return true;
	return !add_ovf(target->alloc_end_bytes, info->bitmap_bytes, len) &&
	       !align_up_ovf(*len, VHD_ALIGN_BYTES, len) &&
	       !mul_ovf(stride, new_blocks - 1, &more) &&
	       !add_ovf(*len, more + info->block_size_bytes, len) &&
	       !add_ovf(*len, VHD_FOOTER_BYTES, len) &&
	       !align_up_ovf(*len, VHD_ALIGN_BYTES, len);
}

int merge_plan(struct vhd *upper, struct vhd *target, bool read,
	       struct vhd_merge_result *r, struct vhd_err *err)
{
	struct plan p = {.upper = upper, .target = target, .r = r};
	uint64_t lba = 0, n;
	int rc = 0;

	*r = (struct vhd_merge_result){
		.layers = upper->info.layers,
		.target_format = target->info.format,
		.size_bytes = target->info.size_bytes,
		.free_bytes = UINT64_MAX,
		.old_file_bytes = target->info.file_bytes,
	};
	if (read) {
		p.buf = malloc(UNIT_SECTORS * VHD_SECTOR_BYTES);
		if (!p.buf)
			return vhd_fail_nomem(
				err, UNIT_SECTORS * VHD_SECTOR_BYTES, "data");
	}
	do {
		rc = merge_next(upper, UNIT_SECTORS, &lba, &n, err);
		p.buf_lba = lba;
		if (!rc && n && read)
			rc = vhd_read(upper, lba * VHD_SECTOR_BYTES, p.buf,
				      (size_t)n * VHD_SECTOR_BYTES, err);
		if (!rc && n)
			rc = count_stretch(&p, lba, n, err);
		lba += n;
	} while (!rc && n);
	free(p.buf);
	if (!rc && !length_after(target, r->new_blocks, &r->new_file_bytes))
		r->new_file_bytes = UINT64_MAX;
	return rc;
}

/* ---------------------------------------------------------------- room -- */

static int room_check(const struct vhd *target, struct vhd_merge_result *r,
		      struct vhd_err *err)
{
	int fd = target->file.fd;
	uint64_t need = r->need_bytes + r->need_bytes / META_DIVISOR;
	struct statvfs fs;
	struct rlimit limit;

	if (r->new_file_bytes > VHD_FILE_BYTES_MAX && target->blocked)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, 0,
				"%u more blocks would pass 2^32 sectors, the "
				"reach of a VHD's block table; nothing was "
				"written",
				r->new_blocks);
	if (fd < 0)
		return 0;
	if (r->write_bytes && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    r->new_file_bytes > limit.rlim_cur)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, 0,
				"the file would have %llu bytes, the process "
				"may write %llu; nothing was written",
				(unsigned long long)r->new_file_bytes,
				(unsigned long long)limit.rlim_cur);
	if (vhd_file_is_device(&target->file) || fstatvfs(fd, &fs) < 0)
		return 0;
	r->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (need > r->free_bytes)
		return vhd_fail(err, -ENOSPC, VHD_WHY_NO_SPACE, 0,
				"up to %llu more bytes are needed, its file "
				"system has %llu; nothing was written",
				(unsigned long long)need,
				(unsigned long long)r->free_bytes);
	return 0;
}

int merge_room(struct vhd *upper, struct vhd *target, bool exact,
	       struct vhd_merge_result *r, struct vhd_err *err)
{
	int rc = merge_plan(upper, target, exact, r, err);

	if (rc)
		return rc;
	rc = room_check(target, r, err);
	if (!rc || exact)
		return rc;
	rc = merge_plan(upper, target, true, r, err);
	return rc ? rc : room_check(target, r, err);
}
