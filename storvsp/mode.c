/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SENSE: a header and a table of pages. No block descriptors. Pages
 * cannot be changed, so the mask of changeable bits is all zero.
 * Sources: SPC-3 6.9, 6.10 and 7.4; SBC-3 6.4.
 */
#include <string.h>

#include "scsi.h"

#define PAGE_ALL	0x3F
#define SUBPAGE_ALL	0xFF
#define PAGES_BYTES_MAX 64u

enum page_control {
	PC_CURRENT = 0,
	PC_CHANGEABLE = 1,
	PC_DEFAULT = 2,
	PC_SAVED = 3,
};

/* Each fills the bytes behind the page's two-byte header. */

/* Writes may stay in the host's cache until a flush. */
static void page_caching(const struct storvsp_disk *d, uint8_t *body)
{
	if (!d->read_only)
		body[0] = 0x04; /* WCE */
}

/* Commands are executed in any order. */
static void page_control(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	body[1] = 0x10; /* queue algorithm modifier: unrestricted */
}

static void page_exceptions(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	body[0] = 0x08; /* DEXCPT: nothing is ever reported */
}

static const struct mode_page {
	uint8_t code;
	uint8_t body_bytes;
	void (*fill)(const struct storvsp_disk *d, uint8_t *body);
} pages[] = {
	{0x08, 18, page_caching},
	{0x0A, 10, page_control},
	{0x1C, 10, page_exceptions},
};

#define PAGE_COUNT (sizeof(pages) / sizeof(pages[0]))
static_assert(18 + 10 + 10 + 2 * PAGE_COUNT <= PAGES_BYTES_MAX, "all pages");

/* Append the pages asked for; returns their length, 0 when there is none. */
static uint32_t put_pages(const struct scsi_task *t, uint8_t code,
			  uint8_t control, uint8_t *out)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < PAGE_COUNT; i++) {
		if (code != PAGE_ALL && code != pages[i].code)
			continue;
		out[n] = pages[i].code;
		out[n + 1] = pages[i].body_bytes;
		if (control != PC_CHANGEABLE)
			pages[i].fill(t->disk, out + n + 2);
		n += 2u + pages[i].body_bytes;
	}
	return n;
}

/* Both forms: `header` bytes in front of the pages. */
static enum scsi_verdict mode_sense(struct scsi_task *t, uint32_t header,
				    uint32_t alloc, uint8_t **reply)
{
	uint8_t code = t->cdb[2] & 0x3F;
	uint8_t control = t->cdb[2] >> 6;
	uint8_t subpage = t->cdb[3];
	uint32_t n;
	uint8_t *p;

	if (subpage != 0 && !(code == PAGE_ALL && subpage == SUBPAGE_ALL))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, header + PAGES_BYTES_MAX, alloc);
	n = put_pages(t, code, control, p + header);
	if (n == 0)
		return SCSI_BAD_FIELD;
	if (control == PC_SAVED)
		return SCSI_NO_SAVED_PAGES;
	t->reply_bytes = header + n;
	*reply = p;
	return SCSI_GOOD;
}

/* WP, and DPOFUA: FUA is honoured down to the medium. */
static uint8_t device_specific(const struct storvsp_disk *d)
{
	return (uint8_t)(0x10 | (d->read_only ? 0x80 : 0));
}

enum scsi_verdict scsi_mode_sense_6(struct scsi_task *t)
{
	uint8_t *p = NULL;
	enum scsi_verdict v = mode_sense(t, 4, t->cdb[4], &p);

	if (v != SCSI_GOOD)
		return v;
	p[0] = (uint8_t)(t->reply_bytes - 1);
	p[2] = device_specific(t->disk);
	return SCSI_GOOD;
}

enum scsi_verdict scsi_mode_sense_10(struct scsi_task *t)
{
	uint8_t *p = NULL;
	enum scsi_verdict v = mode_sense(t, 8, scsi_get16(t->cdb + 7), &p);

	if (v != SCSI_GOOD)
		return v;
	scsi_put16(p, (uint16_t)(t->reply_bytes - 2));
	p[3] = device_specific(t->disk);
	return SCSI_GOOD;
}
