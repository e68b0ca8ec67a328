/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SELECT. Nothing changes unless the whole list is good: each page must be
 * as it is told but for the bits that can be changed, and a block descriptor
 * must say what is so anyway.
 * Source: SPC-3 6.7, 6.8 and 7.4; SBC-3 6.4.2.
 */
#include <string.h>

#include "mode.h"

#define SELECT_PF     0x10
#define HEADER_LONG   0x01 /* LONGLBA */
#define PAGE_SPF      0x40
#define PAGE_CODE     0x3F
#define LEFT_AS_IT_IS (-1)

/* The header of either form, decoded. */
struct header {
	uint32_t bytes;
	uint32_t descriptors; /* bytes of them */
	bool full;	      /* a long one */
};

/* What a list asks for: 0, 1 or LEFT_AS_IT_IS, a switch each. */
struct wish {
	int to[MODE_SWITCHES];
};

/* One block descriptor: all blocks, or however many there are, of their size.
 */
static bool descriptor_ok(const struct scsi_task *t, const struct header *h,
			  const uint8_t *d)
{
	uint32_t bytes = scsi_block_bytes(t->disk);
	uint64_t count;

	if (h->full) {
		count = scsi_get64(d);
		return scsi_get32(d + 12) == bytes &&
		       (count == 0 || count == UINT64_MAX ||
			count == t->blocks);
	}
	count = scsi_get32(d);
	return (scsi_get32(d + 4) & 0xFFFFFF) == bytes &&
	       (count == 0 || count == UINT32_MAX || count == t->blocks);
}

static void take_switches(const struct mode_page *page, const uint8_t *body,
			  struct wish *wish)
{
	for (unsigned i = 0; i < MODE_SWITCHES; i++)
		if (scsi_mode_switches[i].code == page->code)
			wish->to[i] = (body[scsi_mode_switches[i].byte] &
				       scsi_mode_switches[i].bit) != 0;
}

/* Judge one page of which `left` bytes are there; `*used` of them are its own.
 */
static enum scsi_verdict page_judge(const struct scsi_task *t, const uint8_t *p,
				    uint32_t left, uint32_t *used,
				    struct wish *wish)
{
	uint8_t now[MODE_PAGES_BYTES_MAX], can[MODE_PAGES_BYTES_MAX];
	const struct mode_page *page;

	if (left < 2)
		return SCSI_PARAM_LENGTH;
	page = scsi_mode_page(t->disk, p[0] & PAGE_CODE);
	if (!page || p[0] & PAGE_SPF || p[1] != page->body_bytes)
		return SCSI_BAD_PARAM;
	*used = 2u + page->body_bytes;
	if (*used > left)
		return SCSI_PARAM_LENGTH;
	scsi_mode_fill(t->disk, page, MODE_CURRENT, now);
	scsi_mode_fill(t->disk, page, MODE_CHANGEABLE, can);
	for (unsigned b = 0; b < page->body_bytes; b++)
		if ((p[2 + b] ^ now[b]) & ~can[b])
			return SCSI_BAD_PARAM;
	take_switches(page, p + 2, wish);
	return SCSI_GOOD;
}

/* What the cache holds when it is switched off becomes durable before the
 * answer. The switches say "not as by default": WCE is set by default.
 */
static enum scsi_verdict apply(struct scsi_task *t, const struct wish *wish)
{
	bool flush = false;

	for (unsigned i = 0; i < MODE_SWITCHES; i++) {
		const struct mode_switch *s = &scsi_mode_switches[i];
		atomic_bool *b = scsi_mode_switch_of(t->disk, s);
		bool on = s->of_cache ? wish->to[i] == 0 : wish->to[i] == 1;

		if (wish->to[i] == LEFT_AS_IT_IS ||
		    (s->of_cache && t->disk->read_only))
			continue;
		if (atomic_exchange(b, on) != on && on && s->of_cache)
			flush = true;
	}
	if (!flush)
		return SCSI_GOOD;
	t->io.op = VHD_OP_FLUSH;
	return SCSI_IO;
}

static enum scsi_verdict mode_select(struct scsi_task *t, uint32_t list,
				     const struct header *h)
{
	uint32_t at = h->bytes + h->descriptors, used = 0;
	struct wish wish;

	if (h->descriptors != 0 &&
	    (t->disk->dvd ||
	     h->descriptors !=
		     (h->full ? MODE_DESCRIPTOR_LONG : MODE_DESCRIPTOR)))
		return SCSI_BAD_PARAM;
	if (at > list)
		return SCSI_PARAM_LENGTH;
	if (h->descriptors && !descriptor_ok(t, h, t->param + h->bytes))
		return SCSI_BAD_PARAM;
	for (unsigned i = 0; i < MODE_SWITCHES; i++)
		wish.to[i] = LEFT_AS_IT_IS;
	for (; at < list; at += used) {
		enum scsi_verdict v = page_judge(t, t->param + at, list - at,
						 &used, &wish);

		if (v != SCSI_GOOD)
			return v;
	}
	return apply(t, &wish);
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
	return v != SCSI_GOOD ? v
			      : mode_select(t, list,
					    &(struct header){4, t->param[3],
							     false});
}

enum scsi_verdict scsi_mode_select_10(struct scsi_task *t)
{
	uint32_t list = scsi_get16(t->cdb + 7);
	enum scsi_verdict v = select_start(t, 8, list);

	if (v == SCSI_PARAM_LENGTH && list == 0)
		return SCSI_GOOD;
	return v != SCSI_GOOD
		       ? v
		       : mode_select(t, list,
				     &(struct header){
					     8, scsi_get16(t->param + 6),
					     t->param[4] & HEADER_LONG});
}
