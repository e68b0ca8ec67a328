/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the probe of a file system looks besides its beginning and end.
 * Only positions are computed here, from foreign numbers: a wrong one makes
 * the caller look in a wrong place of the disk and costs nothing else.
 * Sources: the on-disk formats as documented by Microsoft (FAT, exFAT) and by
 * the Linux-NTFS and libbde projects.
 */
#include <string.h>

#include "inspect.h"

#include "vhd/checked.h"

#define NTFS_TABLE_BYTES 16384u /* the first records: names, label */
#define FAT_ROOT_BYTES 65536u
#define BITLOCKER_BYTES 65536u

static uint64_t le_get(const uint8_t *p, int bytes)
{
	uint64_t n = 0;

	for (int i = bytes - 1; i >= 0; i--)
		n = n << 8 | p[i];
	return n;
}

static unsigned hint(struct inspect_range *r, uint64_t unit, uint64_t unit_bytes,
		     uint64_t len_bytes)
{
	uint64_t off;

	if (mul_ovf(unit, unit_bytes, &off))
		return 0;
	*r = (struct inspect_range){ off, len_bytes };
	return 1;
}

/* The file table starts anywhere; commonly 3 GiB in. A cluster is given in
 * sectors, or as a negative power of two.
 */
static unsigned ntfs(const uint8_t *s, struct inspect_range *r)
{
	uint64_t cluster = le_get(s + 0x0b, 2);
	unsigned n;

	if (s[0x0d] < 0x80)
		cluster *= s[0x0d];
	else
		cluster <<= (256 - s[0x0d]) & 31;
	n = hint(r, le_get(s + 0x30, 8), cluster, NTFS_TABLE_BYTES);
	return n + hint(r + n, le_get(s + 0x38, 8), cluster, NTFS_TABLE_BYTES);
}

static unsigned fat32(const uint8_t *s, struct inspect_range *r)
{
	uint64_t sector = le_get(s + 11, 2), fats = s[16];
	uint64_t data = le_get(s + 14, 2) + fats * le_get(s + 36, 4);
	uint64_t root = le_get(s + 44, 4);
	unsigned n = hint(r, le_get(s + 14, 2), sector, FAT_ROOT_BYTES);

	if (root < 2)
		return n;
	return n + hint(r + n, data + (root - 2) * s[13], sector,
			FAT_ROOT_BYTES);
}

static unsigned exfat(const uint8_t *s, struct inspect_range *r)
{
	uint64_t sector = UINT64_C(1) << (s[108] & 15);
	uint64_t cluster = UINT64_C(1) << (s[109] & 31);
	uint64_t root = le_get(s + 96, 4);
	unsigned n = hint(r, le_get(s + 80, 4), sector, FAT_ROOT_BYTES);

	if (root < 2)
		return n;
	return n + hint(r + n, le_get(s + 88, 4) + (root - 2) * cluster, sector,
			FAT_ROOT_BYTES);
}

static unsigned bitlocker(const uint8_t *s, struct inspect_range *r)
{
	unsigned n = 0;

	for (int i = 0; i < 3; i++)
		n += hint(r + n, le_get(s + 176 + 8 * i, 8), 1,
			  BITLOCKER_BYTES);
	return n;
}

static const struct {
	unsigned at;
	const char *magic;
	unsigned (*places)(const uint8_t *s, struct inspect_range *r);
} kinds[] = {
	{ 3, "NTFS    ", ntfs },
	{ 3, "EXFAT   ", exfat },
	{ 3, "-FVE-FS-", bitlocker },
	{ 82, "FAT32   ", fat32 },
};

unsigned inspect_hints(const uint8_t sector[512],
		       struct inspect_range hints[INSPECT_HINTS_MAX])
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!memcmp(sector + kinds[i].at, kinds[i].magic, 8))
			return kinds[i].places(sector, hints);
	return 0;
}
