/* SPDX-License-Identifier: BSD-2-Clause */
/* LOG SENSE: the list of pages, and the one of them that there is to tell of
 * an image: informational exceptions, of which there are none. No temperature,
 * no wear, no counters that a reset would have to clear.
 * Source: SPC-3 6.6 and 7.2.
 */
#include "scsi.h"

#define HEADER_BYTES  4u
#define PAGE_LIST     0x00
#define PAGE_IE	      0x2F
#define SUBPAGE_ALL   0xFF
#define IE_BYTES      8u
#define FLAG_SP	      0x01
#define FLAG_PPC      0x02
#define PAGE_SPF      0x40
#define NO_TEMPERATURE 0xFF

/* Each fills the page's body and returns its length. */

static uint16_t list_pages(uint8_t *body)
{
	body[0] = PAGE_LIST;
	body[1] = PAGE_IE;
	return 2;
}

static uint16_t list_subpages(uint8_t *body)
{
	body[0] = PAGE_LIST;
	body[2] = PAGE_LIST;
	body[3] = SUBPAGE_ALL;
	body[4] = PAGE_IE;
	return 6;
}

/* Parameter 0: no exception, no temperature. */
static uint16_t exceptions(uint8_t *body)
{
	body[2] = 0x03; /* a list in binary */
	body[3] = IE_BYTES - 4;
	body[6] = NO_TEMPERATURE;
	return IE_BYTES;
}

static const struct log_page {
	uint8_t code, subpage;
	uint16_t last_parameter;
	uint16_t (*fill)(uint8_t *body);
} pages[] = {
	{PAGE_LIST, 0, 0, list_pages},
	{PAGE_LIST, SUBPAGE_ALL, 0, list_subpages},
	{PAGE_IE, 0, 0, exceptions},
};

/* Values are cumulative ones and defaults alike. */
enum scsi_verdict scsi_log_sense(struct scsi_task *t)
{
	uint8_t code = t->cdb[2] & 0x3F, subpage = t->cdb[3];
	uint16_t from = scsi_get16(t->cdb + 5);
	uint8_t *p;

	if (t->cdb[1] & (FLAG_SP | FLAG_PPC))
		return SCSI_BAD_FIELD;
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		const struct log_page *page = &pages[i];

		if (page->code != code || page->subpage != subpage)
			continue;
		if (from > page->last_parameter)
			return SCSI_BAD_FIELD;
		p = scsi_reply(t, HEADER_BYTES + IE_BYTES,
			       scsi_get16(t->cdb + 7));
		p[0] = (uint8_t)(code | (subpage ? PAGE_SPF : 0));
		p[1] = subpage;
		scsi_put16(p + 2, page->fill(p + HEADER_BYTES));
		t->reply_bytes = HEADER_BYTES + scsi_get16(p + 2);
		return SCSI_GOOD;
	}
	return SCSI_BAD_FIELD;
}
