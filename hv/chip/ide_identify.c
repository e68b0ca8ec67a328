/* SPDX-License-Identifier: BSD-2-Clause */
/* The 256 words by which a drive says what it is.
 * Source: ATA/ATAPI-6 sections 8.15 and 8.16.
 */
#include "ide_int.h"

#include <string.h>

#include "vhd/endian.h"

struct words {
	le16 w[256];
};
_Static_assert(sizeof(struct words) == IDE_SECTOR, "IDENTIFY DEVICE");

static void set(struct words *i, unsigned word, uint64_t val)
{
	i->w[word] = le16_put((uint16_t)val);
}

/* A number of several words, the low one first. */
static void set_wide(struct words *i, unsigned word, unsigned words,
		     uint64_t val)
{
	for (unsigned n = 0; n < words; n++)
		set(i, word + n, val >> 16 * n & 0xffff);
}

/* Text has the first of two letters in a word's high byte. */
static void set_text(struct words *i, unsigned word, unsigned words,
		     const char *text)
{
	size_t len = strlen(text);

	for (size_t n = 0; n < words; n++) {
		uint8_t high = 2 * n < len ? (uint8_t)text[2 * n] : ' ';
		uint8_t low = 2 * n + 1 < len ? (uint8_t)text[2 * n + 1] : ' ';

		set(i, word + (unsigned)n, (uint32_t)high << 8 | low);
	}
}

static void set_serial(struct words *i, const uint8_t id[16])
{
	static const char digits[] = "0123456789abcdef";
	char text[21];

	for (unsigned n = 0; n < 10; n++) {
		text[2 * n] = digits[id[n] >> 4];
		text[2 * n + 1] = digits[id[n] & 15];
	}
	text[20] = '\0';
	set_text(i, 10, 10, text);
}

/* DMA up to what a PIIX4 does: multiword 2, ultra 2; programmed I/O up to 4;
 * all cycles in 120 ns.
 */
static void set_modes(struct words *i, const struct ide_drive *d)
{
	set(i, 53, 0x0007); /* 54 to 58, 64 to 70 and 88 hold */
	set(i, 63, 0x0007 | (uint32_t)d->word_dma << 8);
	set(i, 64, 0x0003);
	for (unsigned n = 65; n <= 68; n++)
		set(i, n, 120);
	set(i, 80, 0x007e); /* ATA-1 to ATA/ATAPI-6 */
	set(i, 88, 0x0007 | (uint32_t)d->ultra_dma << 8);
}

static uint32_t cylinders(uint64_t blocks, uint32_t track)
{
	uint64_t n = blocks / track;

	return n > 16383 ? 16383 : (uint32_t)n;
}

static void set_geometry(struct words *i, const struct ide_drive *d)
{
	uint32_t track = (uint32_t)d->heads * d->sectors;
	uint32_t now = cylinders(d->disk->blocks, track);

	set(i, 1, cylinders(d->disk->blocks, 16 * 63));
	set(i, 3, 16);
	set(i, 6, 63);
	set(i, 54, now);
	set(i, 55, d->heads);
	set(i, 56, d->sectors);
	set_wide(i, 57, 2, (uint64_t)now * track);
}

void ide_identify_disk(const struct ide_channel *ch, const struct ide_drive *d,
		       uint8_t *out)
{
	const uint64_t blocks = d->disk->blocks;
	bool alone = d->index == 0 && !ch->drive[1].disk;
	struct words i = {0};

	set(&i, 0, 0x0040); /* not removable */
	set_geometry(&i, d);
	set_serial(&i, d->disk->id);
	set_text(&i, 23, 4, "1.0");
	set_text(&i, 27, 20, "Virtual HD");
	set(&i, 47, 0x8000 | IDE_MULTIPLE_MAX);
	set(&i, 49, 0x0300); /* LBA, DMA */
	set(&i, 50, 0x4000);
	set_modes(&i, d);
	set(&i, 59, d->multiple ? 0x0100u | d->multiple : 0);
	set_wide(&i, 60, 2, blocks < 0x0fffffff ? blocks : 0x0fffffff);
	set(&i, 82, 0x0060); /* write cache, reading ahead */
	set(&i, 83, 0x7400); /* flush, flush ext, 48 bits */
	set(&i, 84, 0x4040); /* FUA */
	set(&i, 85, d->write_through ? 0x0040 : 0x0060);
	set(&i, 86, 0x3400);
	set(&i, 87, 0x4040);
	/* How the drive found out which one it is; alone, it answers for the
	 * other, too.
	 */
	set(&i, 93, alone ? 0x4041 : d->index ? 0x4200 : 0x4001);
	set_wide(&i, 100, 4, blocks);
	memcpy(out, &i, sizeof(i));
}

void ide_identify_dvd(const struct ide_drive *d, uint8_t *out)
{
	struct words i = {0};

	set(&i, 0, 0x85c0); /* ATAPI, removable, packets of 12 bytes */
	set_serial(&i, d->disk->id);
	set_text(&i, 23, 4, "1.0");
	set_text(&i, 27, 20, "Virtual CD/ROM");
	set(&i, 49, 0x0300);
	set(&i, 50, 0x4000);
	set_modes(&i, d);
	set(&i, 82, 0x0210); /* DEVICE RESET, PACKET */
	set(&i, 83, 0x4000);
	set(&i, 84, 0x4000);
	set(&i, 85, 0x0210);
	set(&i, 87, 0x4000);
	memcpy(out, &i, sizeof(i));
}
