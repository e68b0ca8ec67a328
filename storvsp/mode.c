/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SENSE and MODE SELECT: a header and a table of pages. No block
 * descriptors are told; one that says what is so anyway is taken. The one bit
 * that can be changed is the write cache's.
 * Sources: SPC-3 6.7 to 6.10 and 7.4; SBC-3 6.4.
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

#define PAGE_CACHING 0x08
#define WCE	     0x04

/* Writes may stay in the host's cache until a flush. */
static void page_caching(const struct storvsp_disk *d, uint8_t *body)
{
	if (!d->read_only)
		body[0] = WCE;
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
	{PAGE_CACHING, 18, page_caching},
	{0x0A, 10, page_control},
	{0x1C, 10, page_exceptions},
};

#define PAGE_COUNT (sizeof(pages) / sizeof(pages[0]))
static_assert(18 + 10 + 10 + 2 * PAGE_COUNT <= PAGES_BYTES_MAX, "all pages");

/* A page's bytes behind its header, as they are or as `control` wants them. */
static void page_fill(const struct scsi_task *t, const struct mode_page *p,
		      uint8_t control, uint8_t *body)
{
	memset(body, 0, p->body_bytes);
	if (control != PC_CHANGEABLE)
		p->fill(t->disk, body);
	if (p->code != PAGE_CACHING || t->disk->read_only)
		return;
	if (control == PC_CHANGEABLE)
		body[0] = WCE;
	else if (control == PC_CURRENT &&
		 atomic_load(&t->disk->switches->cache_off))
		body[0] &= (uint8_t)~WCE;
}

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
		page_fill(t, &pages[i], control, out + n + 2);
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

/* -------------------------------------------------------------- select -- */

#define SELECT_PF     0x10
#define PAGE_SPF      0x40
#define PAGE_CODE     0x3F
#define DESCRIPTOR    8u /* bytes of a short block descriptor */

/* One block descriptor, short form: all sectors, or however many there are,
 * of their size.
 */
static bool descriptor_ok(const struct scsi_task *t, const uint8_t *d)
{
	uint32_t count = scsi_get32(d), bytes = scsi_get32(d + 4) & 0xFFFFFF;

	return bytes == VHD_SECTOR_BYTES &&
	       (count == 0 || count == UINT32_MAX || count == t->sectors);
}

/* Judge one page of which `left` bytes are there; `*used` of them are its own.
 * `*wce` is set by the caching page.
 */
static enum scsi_verdict page_judge(const struct scsi_task *t, const uint8_t *p,
				    uint32_t left, uint32_t *used, int *wce)
{
	uint8_t now[PAGES_BYTES_MAX], can[PAGES_BYTES_MAX];
	unsigned i = 0;

	if (left < 2)
		return SCSI_PARAM_LENGTH;
	while (i < PAGE_COUNT && pages[i].code != (p[0] & PAGE_CODE))
		i++;
	if (i == PAGE_COUNT || p[0] & PAGE_SPF || p[1] != pages[i].body_bytes)
		return SCSI_BAD_PARAM;
	*used = 2u + pages[i].body_bytes;
	if (*used > left)
		return SCSI_PARAM_LENGTH;
	page_fill(t, &pages[i], PC_CURRENT, now);
	page_fill(t, &pages[i], PC_CHANGEABLE, can);
	for (unsigned b = 0; b < pages[i].body_bytes; b++)
		if ((p[2 + b] ^ now[b]) & ~can[b])
			return SCSI_BAD_PARAM;
	if (pages[i].code == PAGE_CACHING)
		*wce = p[2] & WCE;
	return SCSI_GOOD;
}

/* Nothing changes unless the whole list is good. What the cache holds when it
 * is switched off becomes durable before the answer.
 */
static enum scsi_verdict mode_select(struct scsi_task *t, uint32_t header,
				     uint32_t list, uint32_t descriptors)
{
	uint32_t at = header + descriptors, used = 0;
	bool was_off = atomic_load(&t->disk->switches->cache_off);
	int wce = -1;

	if (descriptors != 0 && descriptors != DESCRIPTOR)
		return SCSI_BAD_PARAM;
	if (at > list)
		return SCSI_PARAM_LENGTH;
	if (descriptors && !descriptor_ok(t, t->param + header))
		return SCSI_BAD_PARAM;
	for (; at < list; at += used) {
		enum scsi_verdict v = page_judge(t, t->param + at, list - at,
						 &used, &wce);

		if (v != SCSI_GOOD)
			return v;
	}
	if (wce < 0 || t->disk->read_only)
		return SCSI_GOOD;
	atomic_store(&t->disk->switches->cache_off, wce == 0);
	if (wce || was_off)
		return SCSI_GOOD;
	t->io.op = VHD_OP_FLUSH;
	return SCSI_IO;
}

/* Pages are standard ones (PF) and are not saved (SP). */
static enum scsi_verdict select_start(const struct scsi_task *t, uint32_t header,
				      uint32_t list)
{
	if (!(t->cdb[1] & SELECT_PF) || t->cdb[1] & ~SELECT_PF)
		return SCSI_BAD_FIELD;
	if (list > t->buffer_bytes || list > SCSI_PARAM_BYTES_MAX)
		return SCSI_BAD_FIELD;
	return list < header ? SCSI_PARAM_LENGTH : SCSI_GOOD;
}

enum scsi_verdict scsi_mode_select_6(struct scsi_task *t)
{
	uint32_t list = t->cdb[4];
	enum scsi_verdict v = select_start(t, 4, list);

	if (v == SCSI_PARAM_LENGTH && list == 0)
		return SCSI_GOOD;
	return v != SCSI_GOOD ? v : mode_select(t, 4, list, t->param[3]);
}

enum scsi_verdict scsi_mode_select_10(struct scsi_task *t)
{
	uint32_t list = scsi_get16(t->cdb + 7);
	enum scsi_verdict v = select_start(t, 8, list);

	if (v == SCSI_PARAM_LENGTH && list == 0)
		return SCSI_GOOD;
	if (v == SCSI_GOOD && t->param[4] & 0x01) /* LONGLBA */
		return SCSI_BAD_PARAM;
	return v != SCSI_GOOD ? v
			      : mode_select(t, 8, list,
					    scsi_get16(t->param + 6));
}
