/* SPDX-License-Identifier: BSD-2-Clause */
/* See gpt.h. Everything read is foreign: lengths are bounded, places are
 * checked against the disk, both checksums must be right.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/crc.h>

#include "gpt.h"

#include "vhd/checked.h"

#define ENTRIES_BYTES_MAX (1u << 20) /* 128 entries take 16 KiB */
#define MBR_PARTS	  446u
#define MBR_GPT		  0xeeu

static_assert(sizeof(struct gpt_header_wire) == GPT_HEADER_BYTES, "a sector");
static_assert(offsetof(struct gpt_header_wire, entries_crc) == 88, "header");
static_assert(sizeof(struct gpt_entry_wire) == 128, "entry");

static const uint8_t signature[8] = "EFI PART";

/* The CRC-32 of gzip and Ethernet. */
static uint32_t crc(const void *bytes, size_t len)
{
	return crc32_gzip_refl(0, bytes, len);
}

static bool signed_(const struct gpt_header_wire *w)
{
	return memcmp(w->signature, signature, sizeof(signature)) == 0;
}

static uint32_t header_crc(const struct gpt_header_wire *w)
{
	struct gpt_header_wire copy = *w;

	copy.header_crc = le32_put(0);
	return crc(&copy, le32_get(w->header_size));
}

static bool header_ok(const struct gpt_header_wire *w, uint64_t lba)
{
	uint32_t len = le32_get(w->header_size);

	return signed_(w) && len >= 92 && len <= GPT_HEADER_BYTES &&
	       le64_get(w->my_lba) == lba &&
	       le32_get(w->header_crc) == header_crc(w);
}

static int damaged(struct vhd_err *err, const char *what)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
			"its GUID partition table is damaged (%s); put that "
			"right first",
			what);
}

static int read_entries(struct gpt *g, struct vhd *img, struct vhd_err *err)
{
	const struct gpt_header_wire *w = &g->primary;
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;
	uint32_t size = le32_get(w->entry_size);
	uint64_t bytes = (uint64_t)size * le32_get(w->entry_count);
	uint64_t lba = le64_get(w->entries_lba);
	int rc;

	if (size < sizeof(struct gpt_entry_wire) || size % 8 || !bytes ||
	    bytes > ENTRIES_BYTES_MAX)
		return damaged(err, "entries of no usable size");
	g->entries_bytes = (uint32_t)bytes;
	g->entries_sectors = (bytes + VHD_SECTOR_BYTES - 1) / VHD_SECTOR_BYTES;
	if (lba < 2 || !range_ok(lba, g->entries_sectors, sectors))
		return damaged(err, "entries not on the disk");
	g->entries = calloc(g->entries_sectors, VHD_SECTOR_BYTES);
	if (!g->entries)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: partition entries");
	rc = vhd_read(img, lba * VHD_SECTOR_BYTES, g->entries,
		      g->entries_sectors * VHD_SECTOR_BYTES, err);
	if (!rc && crc(g->entries, bytes) != le32_get(w->entries_crc))
		rc = damaged(err, "wrong checksum of its entries");
	return rc;
}

static int look_at_entries(struct gpt *g, uint64_t sectors, struct vhd_err *err)
{
	static const uint8_t unused[16];
	uint32_t size = le32_get(g->primary.entry_size);

	for (uint32_t at = 0; at + size <= g->entries_bytes; at += size) {
		struct gpt_entry_wire e;
		uint64_t last;

		memcpy(&e, g->entries + at, sizeof(e));
		if (memcmp(e.type, unused, sizeof(unused)) == 0)
			continue;
		last = le64_get(e.last_lba);
		if (last < le64_get(e.first_lba) || last >= sectors)
			return damaged(err, "a partition that is not on the "
					    "disk");
		if (last > g->last_used_lba)
			g->last_used_lba = last;
	}
	return 0;
}

/* What is in the last sector: a backup of this table, of before or of now. */
static int look_at_backup(struct gpt *g, struct vhd *img, uint64_t sectors,
			  struct vhd_err *err)
{
	struct gpt_header_wire w;
	uint64_t lba;
	int rc = vhd_read(img, (sectors - 1) * VHD_SECTOR_BYTES, &w, sizeof(w),
			  err);

	if (rc || !header_ok(&w, sectors - 1) ||
	    memcmp(w.disk_id, g->primary.disk_id, sizeof(w.disk_id)) != 0)
		return rc;
	g->backup_there = true;
	g->backup_lba = sectors - 1;
	lba = le64_get(w.entries_lba);
	if (lba < sectors - 1 && sectors - 1 - lba == g->entries_sectors)
		g->backup_lba = lba;
	return 0;
}

int gpt_read(struct gpt *g, struct vhd *img, struct vhd_err *err)
{
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;
	int rc;

	memset(g, 0, sizeof(*g));
	if (sectors < 3)
		return 0;
	rc = vhd_read(img, VHD_SECTOR_BYTES, &g->primary, sizeof(g->primary),
		      err);
	if (rc)
		return rc;
	if (!signed_(&g->primary))
		return 0;
	if (!header_ok(&g->primary, 1))
		return damaged(err, "wrong checksum of its header");
	rc = read_entries(g, img, err);
	if (!rc)
		rc = look_at_entries(g, sectors, err);
	if (!rc)
		rc = look_at_backup(g, img, sectors, err);
	if (rc)
		gpt_fini(g);
	return rc ? rc : 1;
}

void gpt_fini(struct gpt *g)
{
	free(g->entries);
	g->entries = NULL;
}

uint64_t gpt_backup_sectors(const struct gpt *g)
{
	return g->entries_sectors + 1;
}

bool gpt_fits(const struct gpt *g, uint64_t sectors)
{
	return le64_get(g->primary.alternate_lba) == sectors - 1;
}

/* --------------------------------------------------------------- moving -- */

static void seal(struct gpt_header_wire *w)
{
	w->header_crc = le32_put(header_crc(w));
}

static int put(struct vhd *img, uint64_t lba, const void *b, uint64_t sectors,
	       struct vhd_err *err)
{
	int rc = vhd_write(img, lba * VHD_SECTOR_BYTES, b,
			   sectors * VHD_SECTOR_BYTES, err);

	return rc ? rc : vhd_flush(img, err);
}

/* Its one partition is the whole disk, as far as 32 bits tell. */
static int protect(struct vhd *img, uint64_t sectors, struct vhd_err *err)
{
	le32 len = le32_put(sectors - 1 < UINT32_MAX ? (uint32_t)(sectors - 1)
						     : UINT32_MAX);
	uint8_t mbr[VHD_SECTOR_BYTES];
	int rc = vhd_read(img, 0, mbr, sizeof(mbr), err);

	if (rc || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return rc;
	for (int i = 0; i < 4; i++) {
		uint8_t *part = mbr + MBR_PARTS + i * 16;

		if (part[4] != MBR_GPT)
			continue;
		memcpy(part + 12, &len, sizeof(len));
		return put(img, 0, mbr, 1, err);
	}
	return 0;
}

static int zero(struct vhd *img, uint64_t from, uint64_t to,
		struct vhd_err *err)
{
	uint8_t *zeros;
	int rc;

	if (from >= to)
		return 0;
	zeros = calloc(to - from, VHD_SECTOR_BYTES);
	if (!zeros)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: partition entries");
	rc = put(img, from, zeros, to - from, err);
	free(zeros);
	return rc;
}

/* The sectors [from, end) of a backup. */
struct backup {
	uint64_t from;
	uint64_t end;
};

/* The former one, header at `lba` and entries, where it is this table's and
 * outside of all partitions.
 */
static int find_former(struct gpt *g, struct vhd *img, uint64_t lba,
		       struct backup *b, struct vhd_err *err)
{
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;
	struct gpt_header_wire w;
	int rc;

	*b = (struct backup){0, 0};
	if (lba >= sectors || lba <= g->last_used_lba || lba < 2)
		return 0;
	rc = vhd_read(img, lba * VHD_SECTOR_BYTES, &w, sizeof(w), err);
	if (rc || !header_ok(&w, lba) ||
	    memcmp(w.disk_id, g->primary.disk_id, sizeof(w.disk_id)) != 0)
		return rc;
	*b = (struct backup){lba, lba + 1};
	if (lba - g->last_used_lba > g->entries_sectors &&
	    le64_get(w.entries_lba) == lba - g->entries_sectors)
		b->from -= g->entries_sectors;
	return 0;
}

/* What is left in place would look like data. The new one may overlap. */
static int erase(struct vhd *img, const struct backup *former,
		 const struct backup *new, struct vhd_err *err)
{
	int rc = zero(img, former->from,
		      former->end < new->from ? former->end : new->from, err);

	return rc ? rc
		  : zero(img, former->from > new->end ? former->from : new->end,
			 former->end, err);
}

int gpt_room(const struct gpt *g, uint64_t sectors, struct vhd_err *err)
{
	uint64_t need = gpt_backup_sectors(g);

	if (sectors > need + 2 && g->last_used_lba < sectors - need &&
	    le64_get(g->primary.first_usable_lba) < sectors - need)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_BEHIND, 0,
			"partitions reach to byte %llu: no room for the "
			"backup of their table in front of the new end",
			(unsigned long long)(g->last_used_lba + 1) *
				VHD_SECTOR_BYTES);
}

int gpt_move(struct gpt *g, struct vhd *img, uint64_t sectors,
	     struct vhd_err *err)
{
	struct gpt_header_wire primary = g->primary, backup;
	uint64_t last = sectors - 1;
	const struct backup new = {last - g->entries_sectors, sectors};
	struct backup former;
	int rc = gpt_room(g, sectors, err);

	if (!rc)
		rc = find_former(g, img, le64_get(primary.alternate_lba),
				 &former, err);
	if (rc)
		return rc;
	primary.alternate_lba = le64_put(last);
	primary.last_usable_lba = le64_put(last - gpt_backup_sectors(g));
	seal(&primary);
	backup = primary;
	backup.my_lba = le64_put(last);
	backup.alternate_lba = le64_put(1);
	backup.entries_lba = le64_put(new.from);
	seal(&backup);
	rc = put(img, new.from, g->entries, g->entries_sectors, err);
	if (!rc)
		rc = put(img, last, &backup, 1, err);
	if (!rc)
		rc = put(img, 1, &primary, 1, err);
	if (!rc)
		rc = protect(img, sectors, err);
	if (!rc)
		rc = erase(img, &former, &new, err);
	if (!rc)
		g->primary = primary;
	return rc;
}
