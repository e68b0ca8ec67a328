/* SPDX-License-Identifier: BSD-2-Clause */
/* What a DVD-ROM drive tells of itself and of its disc, which has one session
 * of one data track.
 * Source: MMC-6 5.3 (features), 6.6, 6.8, 6.21 to 6.27, 7 (disc structures).
 */
#include <string.h>

#include "dvd.h"

#define PROFILE_CD_ROM	0x0008
#define PROFILE_DVD_ROM 0x0010
#define DVD_KBPS	(16 * 1385u) /* 16 times a DVD's own speed */
#define LEAD_OUT	0xAA
#define DATA_TRACK	0x14 /* ADR 1, CONTROL 4 */
#define MSF		0x02
#define MSF_LEAD_IN	150u /* blocks before address 0 */

/* --------------------------------------------------------------- features -- */

struct feature {
	uint16_t code;
	uint8_t version; /* with the bits persistent and current */
	uint8_t body_bytes;
	uint8_t body[8];
};

#define PERSISTENT 0x02
#define CURRENT	   0x01
#define OF_DISC	   0x80 /* current with a disc in the drive */

static const struct feature features[] = {
	/* profile list: DVD-ROM, CD-ROM; which one is current is filled in */
	{0x0000, PERSISTENT | CURRENT, 8,
	 {PROFILE_DVD_ROM >> 8, PROFILE_DVD_ROM, 0, 0, PROFILE_CD_ROM >> 8,
	  PROFILE_CD_ROM, 0, 0}},
	/* core: SCSI; answers INQUIRY as it should */
	{0x0001, 2 << 2 | PERSISTENT | CURRENT, 8, {0, 0, 0, 1, 0x02}},
	/* morphing: events are asked for */
	{0x0002, 1 << 2 | PERSISTENT | CURRENT, 4, {0x02}},
	/* removable medium: a tray that ejects, loads and locks */
	{0x0003, 1 << 2 | PERSISTENT | CURRENT, 4, {0x39}},
	/* random readable: 2048 bytes, one at a time */
	{0x0010, OF_DISC, 8, {0, 0, 0x08, 0, 0, 1, 0, 0}},
	{0x001F, 1 << 2 | OF_DISC, 4, {0}}, /* DVD read */
};

#define FEATURES (sizeof(features) / sizeof(features[0]))

static uint32_t put_feature(uint8_t *p, const struct feature *f, bool disc)
{
	scsi_put16(p, f->code);
	p[2] = (uint8_t)(f->version & ~OF_DISC);
	if (f->version & OF_DISC)
		p[2] |= disc ? CURRENT : 0;
	p[3] = f->body_bytes;
	memcpy(p + 4, f->body, f->body_bytes);
	if (f->code == 0)
		p[4 + 2] = disc; /* the first profile is the current one */
	return 4u + f->body_bytes;
}

/* RT: 0 all, 1 those that are current, 2 the one named. */
static bool wanted(const struct feature *f, uint8_t rt, uint16_t from,
		   bool disc)
{
	if (rt == 2)
		return f->code == from;
	return f->code >= from &&
	       (rt == 0 || disc || !(f->version & OF_DISC));
}

enum scsi_verdict scsi_dvd_configuration(struct scsi_task *t)
{
	uint16_t from = scsi_get16(t->cdb + 2);
	bool disc = scsi_dvd_disc(t->disk) == SCSI_GOOD;
	uint8_t rt = t->cdb[1] & 0x03;
	uint32_t n = 8;
	uint8_t *p;

	if (rt == 3)
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 8 + FEATURES * sizeof(features[0].body) +
				  4 * FEATURES,
		       scsi_get16(t->cdb + 7));
	for (unsigned i = 0; i < FEATURES; i++)
		if (wanted(&features[i], rt, from, disc))
			n += put_feature(p + n, &features[i], disc);
	scsi_put32(p, n - 4);
	scsi_put16(p + 6, disc ? PROFILE_DVD_ROM : 0);
	t->reply_bytes = n;
	return SCSI_GOOD;
}

/* ------------------------------------------------------------------- TOC -- */

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint32_t at = lba + MSF_LEAD_IN;

	if (!msf) {
		scsi_put32(p, lba);
		return;
	}
	p[1] = (uint8_t)(at / (60 * 75) > 255 ? 255 : at / (60 * 75));
	p[2] = (uint8_t)(at / 75 % 60);
	p[3] = (uint8_t)(at % 75);
}

static uint32_t put_track(uint8_t *p, uint8_t number, uint32_t lba, bool msf)
{
	p[1] = DATA_TRACK;
	p[2] = number;
	put_address(p + 4, lba, msf);
	return 8;
}

/* Formats 0, the tracks from a number on, and 1, where the last session
 * begins. Old drives had the format in the last byte.
 */
enum scsi_verdict scsi_dvd_toc(struct scsi_task *t)
{
	uint8_t format = t->cdb[2] & 0x0F, from = t->cdb[6];
	bool msf = t->cdb[1] & MSF;
	uint32_t n = 4;
	uint8_t *p;

	if (format == 0)
		format = t->cdb[9] >> 6;
	if (format > 1 ||
	    (format == 0 && from > 1 && from != LEAD_OUT))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 20, scsi_get16(t->cdb + 7));
	p[2] = 1;
	p[3] = 1;
	if (format == 1 || from <= 1)
		n += put_track(p + n, 1, 0, msf);
	if (format == 0)
		n += put_track(p + n, LEAD_OUT, (uint32_t)t->blocks, msf);
	scsi_put16(p, (uint16_t)(n - 2));
	t->reply_bytes = n;
	return SCSI_GOOD;
}

/* ------------------------------------------------------ disc and track -- */

#define DISC_BYTES  34u
#define TRACK_BYTES 36u

enum scsi_verdict scsi_dvd_disc_information(struct scsi_task *t)
{
	uint8_t *p;

	if (t->cdb[1] & 0x07) /* other than the standard kind */
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, DISC_BYTES, scsi_get16(t->cdb + 7));
	scsi_put16(p, DISC_BYTES - 2);
	p[2] = 0x0E; /* last session complete, disc complete */
	p[3] = 1;    /* first track */
	p[4] = 1;    /* sessions */
	p[5] = 1;    /* first and last track of the last one */
	p[6] = 1;
	/* where a writer would find the next lead-in and lead-out: nowhere */
	memset(p + 16, 0xFF, 8);
	return SCSI_GOOD;
}

/* By address, track or session: all are the one. */
enum scsi_verdict scsi_dvd_track_information(struct scsi_task *t)
{
	uint32_t which = scsi_get32(t->cdb + 2);
	uint8_t by = t->cdb[1] & 0x03;
	uint8_t *p;

	if (by == 3 || (by != 0 && which != 1))
		return SCSI_BAD_FIELD;
	if (by == 0 && which >= t->blocks)
		return SCSI_LBA_RANGE;
	p = scsi_reply(t, TRACK_BYTES, scsi_get16(t->cdb + 7));
	scsi_put16(p, TRACK_BYTES - 2);
	p[2] = 1; /* track */
	p[3] = 1; /* session */
	p[5] = 4; /* data */
	p[6] = 1; /* mode 1 */
	scsi_put32(p + 24, (uint32_t)t->blocks);
	return SCSI_GOOD;
}

/* A reader has no buffer to fill. */
enum scsi_verdict scsi_dvd_buffer_capacity(struct scsi_task *t)
{
	uint8_t *p = scsi_reply(t, 12, scsi_get16(t->cdb + 7));

	scsi_put16(p, 10);
	return SCSI_GOOD;
}

/* Nominal speed over the whole disc. */
enum scsi_verdict scsi_dvd_performance(struct scsi_task *t)
{
	uint8_t *p;

	if (t->cdb[10] != 0 || t->cdb[1] & 0x1F & ~0x10)
		return SCSI_BAD_FIELD;
	/* as many descriptors as the guest has room for: one is all */
	p = scsi_reply(t, 24, scsi_get16(t->cdb + 8) ? 24 : 8);
	scsi_put32(p, 20);
	scsi_put32(p + 8 + 4, DVD_KBPS);
	scsi_put32(p + 8 + 8, (uint32_t)(t->blocks - 1));
	scsi_put32(p + 8 + 12, DVD_KBPS);
	return SCSI_GOOD;
}

/* ----------------------------------------------------- disc structures -- */

#define FIRST_SECTOR  0x30000u /* of the data area */

/* Format 0: a disc of 120 mm, one layer, read only. */
static uint32_t physical(const struct scsi_task *t, uint8_t *p)
{
	p[0] = 0x01; /* DVD-ROM, version 1 */
	p[1] = 0x0F; /* 120 mm; no maximum rate */
	p[2] = 0x01; /* one layer, embossed */
	scsi_put32(p + 4, FIRST_SECTOR);
	scsi_put32(p + 8, FIRST_SECTOR + (uint32_t)t->blocks - 1);
	return 17;
}

/* Format 1: no copyright protection, every region. */
static uint32_t copyright(const struct scsi_task *t, uint8_t *p)
{
	(void)t;
	(void)p;
	return 4;
}

static const struct {
	uint8_t format;
	uint32_t (*fill)(const struct scsi_task *t, uint8_t *p);
} structures[] = {
	{0x00, physical},
	{0x01, copyright},
};

enum scsi_verdict scsi_dvd_structure(struct scsi_task *t)
{
	uint8_t format = t->cdb[7], layer = t->cdb[6];

	if (t->cdb[1] & 0x0F || layer != 0) /* another kind of disc */
		return SCSI_BAD_FIELD;
	for (unsigned i = 0; i < sizeof(structures) / sizeof(structures[0]);
	     i++) {
		uint32_t n;
		uint8_t *p;

		if (structures[i].format != format)
			continue;
		p = scsi_reply(t, 4 + 17, scsi_get16(t->cdb + 8));
		n = structures[i].fill(t, p + 4);
		scsi_put16(p, (uint16_t)(n + 2));
		t->reply_bytes = 4 + n;
		return SCSI_GOOD;
	}
	return SCSI_BAD_FIELD;
}
