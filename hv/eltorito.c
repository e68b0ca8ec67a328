/* SPDX-License-Identifier: BSD-2-Clause */
/* El Torito. See eltorito.h. */
#include "eltorito.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vhd/endian.h"

#define BLOCK	   2048u
#define RECORD_LBA 17u
#define SEGMENT	   0x07c0u

/* The volume descriptor that names the catalogue. */
struct record_wire {
	uint8_t type; /* 0: boot record */
	uint8_t id[5];
	uint8_t version;
	uint8_t system[32];
	uint8_t unused[32];
	le32 catalogue;
};
static_assert(offsetof(struct record_wire, catalogue) == 0x47, "boot record");

struct validation_wire {
	uint8_t header; /* 1 */
	uint8_t platform; /* 0: PC */
	uint8_t reserved[2];
	uint8_t id[24];
	le16 checksum;
	uint8_t key[2]; /* 55 aa */
};
static_assert(sizeof(struct validation_wire) == 32, "validation entry");

struct entry_wire {
	uint8_t bootable; /* 0x88 */
	uint8_t media;    /* low half: 0 emulates nothing */
	le16 segment;
	uint8_t system_type;
	uint8_t unused;
	le16 sectors;
	le32 lba;
	uint8_t more[20];
};
static_assert(sizeof(struct entry_wire) == 32, "initial entry");

static int read_block(const struct hv_disk *d, uint32_t lba,
		      uint8_t buf[BLOCK])
{
	const struct iovec iov = {buf, BLOCK};

	if (d->block_bytes != BLOCK)
		return -ENOENT;
	return d->ops->read(d->arg, lba, &iov, 1);
}

static bool valid(const uint8_t entry[32])
{
	struct validation_wire v;
	uint16_t sum = 0;

	memcpy(&v, entry, sizeof(v));
	for (unsigned i = 0; i < 32; i += 2)
		sum = (uint16_t)(sum + (entry[i] | entry[i + 1] << 8));
	return v.header == 1 && v.platform == 0 && sum == 0 &&
	       v.key[0] == 0x55 && v.key[1] == 0xaa;
}

int hv_eltorito_find(const struct hv_disk *disc, struct hv_eltorito *out)
{
	static const char system[32] = "EL TORITO SPECIFICATION";
	uint8_t buf[BLOCK];
	struct record_wire record;
	struct entry_wire entry;
	int ret = read_block(disc, RECORD_LBA, buf);

	if (ret < 0)
		return ret;
	memcpy(&record, buf, sizeof(record));
	if (record.type != 0 || memcmp(record.id, "CD001", 5) != 0 ||
	    memcmp(record.system, system, sizeof(system)) != 0)
		return -ENOENT;
	ret = read_block(disc, le32_get(record.catalogue), buf);
	if (ret < 0)
		return ret;
	memcpy(&entry, buf + 32, sizeof(entry));
	if (!valid(buf) || entry.bootable != 0x88)
		return -ENOENT;
	if ((entry.media & 0xf) != 0)
		return -ENOTSUP;
	out->lba = le32_get(entry.lba);
	out->sectors = le16_get(entry.sectors);
	out->segment = le16_get(entry.segment);
	if (out->segment == 0)
		out->segment = SEGMENT;
	return out->sectors ? 0 : -EINVAL;
}

bool hv_disc_boots(const struct hv_disk *disc)
{
	struct hv_eltorito e;

	return hv_eltorito_find(disc, &e) == 0;
}
