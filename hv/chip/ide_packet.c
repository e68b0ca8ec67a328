/* SPDX-License-Identifier: BSD-2-Clause */
/* What a DVD drive answers. Its disc is a DVD-ROM of one session and track,
 * whatever is on it.
 * Source: MMC-3 (T10/1363-D) chapter 5; SPC-2 section 7.3.
 */
#include "ide_int.h"

#include <string.h>

static void put16(uint8_t *p, uint32_t val)
{
	p[0] = (uint8_t)(val >> 8);
	p[1] = (uint8_t)val;
}

static void put32(uint8_t *p, uint32_t val)
{
	put16(p, val >> 16);
	put16(p + 2, val);
}

/* As far as 32 bits count. */
static uint32_t blocks(const struct ide_drive *d)
{
	return d->disk->blocks < UINT32_MAX ? (uint32_t)d->disk->blocks
					    : UINT32_MAX;
}

uint32_t ide_answer_inquiry(struct ide_drive *d, const uint8_t *cdb,
			    uint8_t *out)
{
	static const uint8_t head[8] = {0x05, 0x80, 0x00, 0x21, 31};

	(void)d;
	if (cdb[1] & 3) /* pages of product data */
		return 0;
	memcpy(out, head, 8);
	memcpy(out + 8, "Msft    Virtual CD/ROM  1.0 ", 28);
	return 36;
}

uint32_t ide_answer_capacity(struct ide_drive *d, const uint8_t *cdb,
			     uint8_t *out)
{
	(void)cdb;
	put32(out, blocks(d) - 1);
	put32(out + 4, IDE_DISC_BLOCK);
	return 8;
}

/* Minutes, seconds and 75ths of them, or a block's number. */
static void put_place(uint8_t *p, bool msf, uint32_t lba)
{
	uint64_t frame = (uint64_t)lba + 150;

	if (!msf) {
		put32(p, lba);
		return;
	}
	if (frame > 255ull * 60 * 75)
		frame = 255ull * 60 * 75;
	p[0] = 0;
	p[1] = (uint8_t)(frame / 75 / 60);
	p[2] = (uint8_t)(frame / 75 % 60);
	p[3] = (uint8_t)(frame % 75);
}

static void put_track(uint8_t *p, uint8_t track, bool msf, uint32_t lba)
{
	p[0] = 0;
	p[1] = 0x14; /* data */
	p[2] = track;
	p[3] = 0;
	put_place(p + 4, msf, lba);
}

uint32_t ide_answer_toc(struct ide_drive *d, const uint8_t *cdb, uint8_t *out)
{
	enum { LEAD_OUT = 0xaa };
	unsigned format = cdb[2] & 0x0f ? cdb[2] & 0x0f : cdb[9] >> 6;
	bool msf = cdb[1] & 2;
	uint32_t n = 4;

	out[2] = out[3] = 1; /* first and last: track, or session */
	if (format == 0) {
		if (cdb[6] > 1 && cdb[6] != LEAD_OUT)
			return 0;
		if (cdb[6] <= 1) {
			put_track(out + n, 1, msf, 0);
			n += 8;
		}
		put_track(out + n, LEAD_OUT, msf, blocks(d));
		n += 8;
	} else if (format == 1) {
		put_track(out + n, 1, msf, 0);
		n += 8;
	} else {
		return 0;
	}
	put16(out, n - 2);
	return n;
}

/* Features, in the order of their numbers. */
static const struct feature {
	uint16_t number;
	uint8_t bytes;
	bool always; /* or while a disc is there */
	uint8_t data[8];
} features[] = {
	{0x0000, 4, true, {0x00, 0x10, 0x01}}, /* profiles: DVD-ROM */
	{0x0001, 4, true, {0, 0, 0, 2}},       /* core: ATAPI */
	{0x0003, 4, true, {0x29}}, /* removable: tray, lock, eject */
	{0x0010, 8, false, {0, 0, 0x08, 0, 0, 0x10}}, /* random readable */
	{0x001f, 0, false, {0}},		      /* reads DVDs */
};

static uint32_t put_feature(uint8_t *p, const struct feature *f, bool disc)
{
	bool current = f->always || disc;

	put16(p, f->number);
	p[2] = (uint8_t)((f->always ? 2 : 0) | current);
	p[3] = f->bytes;
	memcpy(p + 4, f->data, f->bytes);
	if (f->number == 0)
		p[6] = disc;
	return 4u + f->bytes;
}

uint32_t ide_answer_configuration(struct ide_drive *d, const uint8_t *cdb,
				  uint8_t *out)
{
	enum { ALL, CURRENT, ONE, RESERVED };
	unsigned which = cdb[1] & 3u, from = (unsigned)cdb[2] << 8 | cdb[3];
	bool disc = ide_disc_there(d);
	uint32_t n = 8;

	if (which == RESERVED)
		return 0;
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];

		if (which == ONE ? f->number != from : f->number < from)
			continue;
		if (which == CURRENT && !f->always && !disc)
			continue;
		n += put_feature(out + n, f, disc);
	}
	put32(out, n - 4);
	put16(out + 4, 0);
	put16(out + 6, disc ? 0x0010 : 0);
	return n;
}

/* Media events only; each is told once. */
uint32_t ide_answer_event(struct ide_drive *d, const uint8_t *cdb, uint8_t *out)
{
	enum { POLLED = 1, MEDIA = 4, NONE = 0x80 };

	if (!(cdb[1] & POLLED))
		return 0;
	out[3] = 1 << MEDIA;
	if (!(cdb[4] & 1 << MEDIA)) {
		put16(out, 2);
		out[2] = NONE;
		return 4;
	}
	put16(out, 6);
	out[2] = MEDIA;
	out[4] = d->media_event;
	out[5] = (uint8_t)(ide_disc_there(d) << 1 | d->open);
	put16(out + 6, 0);
	d->media_event = 0;
	return 8;
}

uint32_t ide_answer_disc(struct ide_drive *d, const uint8_t *cdb, uint8_t *out)
{
	(void)d;
	if (cdb[1] & 7)
		return 0;
	memset(out, 0, 34);
	put16(out, 32);
	out[2] = 0x0e; /* complete, and its last session, too */
	out[3] = out[4] = out[5] = out[6] = 1; /* first track, sessions, last */
	out[7] = 0x20; /* unrestricted use */
	return 34;
}

/* Capabilities: it reads, has a tray, can be locked. */
static uint32_t put_capabilities(const struct ide_drive *d, uint8_t *p)
{
	enum { SPEED = 5540 }; /* in kB a second: a DVD's, four times */

	memset(p, 0, 20);
	p[0] = 0x2a;
	p[1] = 18;
	p[2] = 0x0b; /* DVD-ROM, CD-RW, CD-R */
	p[4] = 0x70; /* sessions, mode 2 */
	p[6] = (uint8_t)(0x29 | d->locked << 1);
	put16(p + 8, SPEED);
	put16(p + 12, IDE_BUFFER_BYTES >> 10);
	put16(p + 14, SPEED);
	return 20;
}

static uint32_t put_recovery(uint8_t *p)
{
	memset(p, 0, 12);
	p[0] = 0x01;
	p[1] = 10;
	return 12;
}

uint32_t ide_answer_mode(struct ide_drive *d, const uint8_t *cdb, uint8_t *out)
{
	enum { CHANGEABLE = 1, SAVED = 3, ALL = 0x3f };
	unsigned page = cdb[2] & 0x3f, control = cdb[2] >> 6;
	uint32_t n = 8, start;

	if (control == SAVED)
		return 0;
	memset(out, 0, n);
	if (page == 0x01 || page == ALL)
		n += put_recovery(out + n);
	start = n;
	if (page == 0x2a || page == ALL) {
		n += put_capabilities(d, out + n);
		if (control == CHANGEABLE)
			memset(out + start + 2, 0, 18);
	}
	if (n == 8)
		return 0;
	put16(out, n - 2);
	return n;
}

uint32_t ide_answer_mechanism(struct ide_drive *d, const uint8_t *cdb,
			      uint8_t *out)
{
	(void)cdb;
	memset(out, 0, 8);
	out[1] = d->open ? 0x10 : 0;
	return 8;
}
