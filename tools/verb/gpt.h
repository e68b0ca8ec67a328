/* SPDX-License-Identifier: BSD-2-Clause */
/* The two headers of a GUID partition table, whose second one belongs into the
 * last sector of the disk and so must move when the disk gets another size.
 * Private to tools/.
 *
 * Why own code: the tools that do this (sgdisk -e, sfdisk --relocate) want a
 * block device or a flat file, which a dynamic VHD is not, and libfdisk opens
 * by path only. It is kept to what moving needs: two headers, checked in full,
 * of which four fields change; entries are copied as they are.
 * Source: UEFI specification 2.10, chapter 5.
 */
#ifndef GPT_H
#define GPT_H

#include "vhd/endian.h"
#include "vhd/vhd.h"

#define GPT_HEADER_BYTES 512u

struct gpt_header_wire {
	uint8_t signature[8]; /* "EFI PART" */
	le32 revision;
	le32 header_size;
	le32 header_crc;
	le32 reserved;
	le64 my_lba;
	le64 alternate_lba;
	le64 first_usable_lba;
	le64 last_usable_lba;
	uint8_t disk_id[16];
	le64 entries_lba;
	le32 entry_count;
	le32 entry_size;
	le32 entries_crc;
	uint8_t rest[420];
};

struct gpt_entry_wire {
	uint8_t type[16]; /* all zero: unused */
	uint8_t id[16];
	le64 first_lba;
	le64 last_lba;
	le64 attributes;
	uint8_t name[72];
};

struct gpt {
	struct gpt_header_wire primary;
	uint8_t *entries; /* owned */
	uint32_t entries_bytes;
	uint64_t entries_sectors;
	uint64_t last_used_lba; /* of all partitions; 0: none */
	/* the header in the last sector, if it is this table's, too */
	bool backup_there;
	uint64_t backup_lba; /* where it and its entries begin */
};

/* Read the table of a disk.
 * Returns 1, or 0 where the disk has none; -EUCLEAN (UNSUPPORTED) where it has
 * one that is damaged.
 */
int gpt_read(struct gpt *g, struct vhd *img, struct vhd_err *err);
void gpt_fini(struct gpt *g);

/* The sectors that a backup takes at the end of a disk. */
uint64_t gpt_backup_sectors(const struct gpt *g);

/* Whether the backup is in the last of `sectors`. */
bool gpt_fits(const struct gpt *g, uint64_t sectors);

/* Whether a disk of `sectors` has room for its partitions and the backup.
 * Errors: -EUCLEAN (DATA_BEHIND): it has not.
 */
int gpt_room(const struct gpt *g, uint64_t sectors, struct vhd_err *err);

/* Put the backup to the end of a disk of `sectors`, all of which `img` has,
 * and let the primary header and the protective MBR follow; then erase the
 * former backup. Each step is flushed before the next: the primary header and
 * its entries are sound at any time, and so is the backup that it names, but
 * where the new one takes the very place of the former.
 */
int gpt_move(struct gpt *g, struct vhd *img, uint64_t sectors,
	     struct vhd_err *err);

#endif
