/* SPDX-License-Identifier: BSD-2-Clause */
/* The mode pages, and MODE SENSE: a header, a block descriptor unless the guest
 * wants none, and pages from a table. What can be changed is a second table:
 * the write cache (WCE) and the format of sense data (D_SENSE).
 * Sources: SPC-3 6.9, 6.10 and 7.4; SBC-3 6.4.
 */
#include <string.h>

#include "mode.h"

#define PAGE_ALL     0x3F
#define SUBPAGE_ALL  0xFF
#define SENSE_DBD    0x08
#define SENSE_LLBAA  0x10
#define HEADER_LONG  0x01 /* LONGLBA */

/* Each fills the bytes behind the page's two-byte header. */

/* Errors are told, not hidden by more tries than the host makes. */
static void page_recovery(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	(void)body;
}

/* Writes may stay in the host's cache until a flush. */
static void page_caching(const struct storvsp_disk *d, uint8_t *body)
{
	if (!d->read_only)
		body[0] = 0x04; /* WCE */
}

/* Commands are executed in any order; logs are not saved. */
static void page_control(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	body[0] = 0x02; /* GLTSD */
	body[1] = 0x10; /* queue algorithm modifier: unrestricted */
}

static void page_exceptions(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	body[0] = 0x08; /* DEXCPT: nothing is ever reported */
}

static const struct mode_page disk_pages[] = {
	{0x01, 10, page_recovery},
	{0x08, 18, page_caching},
	{0x0A, 10, page_control},
	{0x1C, 10, page_exceptions},
};

#define DISK_PAGES (sizeof(disk_pages) / sizeof(disk_pages[0]))
static_assert(10 + 18 + 10 + 10 + 2 * DISK_PAGES <= MODE_PAGES_BYTES_MAX,
	      "all pages");

/* The bits that a guest may change, and where they are kept: set there where
 * they are not at their default.
 */
const struct mode_switch scsi_mode_switches[MODE_SWITCHES] = {
	{0x08, 0, 0x04, true, offsetof(struct storvsp_switches, cache_off)},
	{0x0A, 0, 0x04, false,
	 offsetof(struct storvsp_switches, descriptor_sense)},
};

atomic_bool *scsi_mode_switch_of(const struct storvsp_disk *d,
				 const struct mode_switch *s)
{
	return (atomic_bool *)(void *)((char *)d->switches + s->at);
}

/* A read-only disk has no cache to switch. */
static bool can_change(const struct storvsp_disk *d,
		       const struct mode_switch *s)
{
	return !(s->of_cache && d->read_only);
}

static const struct mode_page *pages_of(const struct storvsp_disk *d,
					unsigned *count)
{
	*count = d->dvd ? MODE_DVD_PAGES : DISK_PAGES;
	return d->dvd ? scsi_dvd_pages : disk_pages;
}

const struct mode_page *scsi_mode_page(const struct storvsp_disk *d,
				       uint8_t code)
{
	unsigned count;
	const struct mode_page *p = pages_of(d, &count);

	for (unsigned i = 0; i < count; i++)
		if (p[i].code == code)
			return &p[i];
	return NULL;
}

void scsi_mode_fill(const struct storvsp_disk *d, const struct mode_page *p,
		    enum mode_control control, uint8_t *body)
{
	memset(body, 0, p->body_bytes);
	if (control != MODE_CHANGEABLE)
		p->fill(d, body);
	for (unsigned i = 0; i < MODE_SWITCHES; i++) {
		const struct mode_switch *s = &scsi_mode_switches[i];

		if (s->code != p->code || !can_change(d, s))
			continue;
		if (control == MODE_CHANGEABLE)
			body[s->byte] |= s->bit;
		else if (control == MODE_CURRENT &&
			 atomic_load(scsi_mode_switch_of(d, s)))
			body[s->byte] ^= s->bit;
	}
}

/* Append the pages asked for; returns their length, 0 when there is none. */
static uint32_t put_pages(const struct scsi_task *t, uint8_t code,
			  enum mode_control control, uint8_t *out)
{
	unsigned count;
	const struct mode_page *p = pages_of(t->disk, &count);
	uint32_t n = 0;

	for (unsigned i = 0; i < count; i++) {
		if (code != PAGE_ALL && code != p[i].code)
			continue;
		out[n] = p[i].code;
		out[n + 1] = p[i].body_bytes;
		scsi_mode_fill(t->disk, &p[i], control, out + n + 2);
		n += 2u + p[i].body_bytes;
	}
	return n;
}

uint32_t scsi_mode_descriptor(const struct scsi_task *t, bool full,
			      uint8_t *out)
{
	uint32_t bytes = scsi_block_bytes(t->disk);

	if (full) {
		scsi_put64(out, t->blocks);
		scsi_put64(out + 8, bytes);
		return MODE_DESCRIPTOR_LONG;
	}
	scsi_put32(out, t->blocks > UINT32_MAX ? UINT32_MAX
					       : (uint32_t)t->blocks);
	scsi_put32(out + 4, bytes);
	return MODE_DESCRIPTOR;
}

/* Both forms: `header` bytes in front; `*descriptor` is how many bytes the
 * block descriptor has.
 */
static enum scsi_verdict mode_sense(struct scsi_task *t, uint32_t header,
				    uint32_t alloc, uint8_t **reply,
				    uint32_t *descriptor)
{
	enum mode_control control = t->cdb[2] >> 6;
	uint8_t code = t->cdb[2] & 0x3F, subpage = t->cdb[3];
	bool full = header == 8 && t->cdb[1] & SENSE_LLBAA;
	uint32_t n, d = 0;
	uint8_t *p;

	if (subpage != 0 && subpage != SUBPAGE_ALL)
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, header + MODE_DESCRIPTOR_LONG + MODE_PAGES_BYTES_MAX,
		       alloc);
	if (!(t->cdb[1] & SENSE_DBD) && !t->disk->dvd)
		d = scsi_mode_descriptor(t, full, p + header);
	n = put_pages(t, code, control, p + header + d);
	if (n == 0)
		return SCSI_BAD_FIELD;
	if (control == MODE_SAVED)
		return SCSI_NO_SAVED_PAGES;
	t->reply_bytes = header + d + n;
	*reply = p;
	*descriptor = d;
	return SCSI_GOOD;
}

/* WP, and DPOFUA: FUA is honoured down to the medium. Nothing of the like for
 * a DVD drive.
 */
static uint8_t device_specific(const struct storvsp_disk *d)
{
	if (d->dvd)
		return 0;
	return (uint8_t)(0x10 | (d->read_only ? 0x80 : 0));
}

enum scsi_verdict scsi_mode_sense_6(struct scsi_task *t)
{
	uint8_t *p = NULL;
	uint32_t d;
	enum scsi_verdict v = mode_sense(t, 4, t->cdb[4], &p, &d);

	if (v != SCSI_GOOD)
		return v;
	p[0] = (uint8_t)(t->reply_bytes - 1);
	p[2] = device_specific(t->disk);
	p[3] = (uint8_t)d;
	return SCSI_GOOD;
}

enum scsi_verdict scsi_mode_sense_10(struct scsi_task *t)
{
	uint8_t *p = NULL;
	uint32_t d;
	enum scsi_verdict v = mode_sense(t, 8, scsi_get16(t->cdb + 7), &p, &d);

	if (v != SCSI_GOOD)
		return v;
	scsi_put16(p, (uint16_t)(t->reply_bytes - 2));
	p[3] = device_specific(t->disk);
	p[4] = d == MODE_DESCRIPTOR_LONG ? HEADER_LONG : 0;
	scsi_put16(p + 6, (uint16_t)d);
	return SCSI_GOOD;
}
