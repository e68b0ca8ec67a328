/* SPDX-License-Identifier: BSD-2-Clause */
/* The bus master: two registers and a table (PRD: physical regions) in guest
 * memory for each channel. Moves bytes between the channel's buffer and the
 * regions once the drive asks for it and the guest said start, whichever comes
 * last, and all of them at once.
 *
 * The table's address is the guest's, and each entry is fetched once. A table
 * ends with its 64 KiB at the latest, so a command looks at 8192 entries at
 * most. A table that is too short, or leads out of RAM, leaves the drive
 * waiting until it is reset, as in hardware.
 * Source: SFF-8038i 1.0.
 */
#include "ide_int.h"

#include "vhd/endian.h"

#define PRD_LAST 0x8000u
#define PRD_WHOLE 0x10000u

struct prd_wire {
	le32 base;
	le16 bytes; /* 0: 64 KiB */
	le16 flags;
};
_Static_assert(sizeof(struct prd_wire) == 8, "SFF-8038i 1.2");

enum fetched { FETCHED, TABLE_ENDS, NO_MEMORY };

static enum fetched fetch(const struct hv_ide *ide, struct ide_prd *p)
{
	struct prd_wire w;

	if (p->last)
		return TABLE_ENDS;
	if (hv_gpa_read(ide->mem, p->next, &w, sizeof(w)) < 0)
		return NO_MEMORY;
	p->gpa = le32_get(w.base) & ~1u;
	p->left = le16_get(w.bytes) & ~1u;
	if (p->left == 0)
		p->left = PRD_WHOLE;
	p->next += (uint32_t)sizeof(w);
	p->last = (le16_get(w.flags) & PRD_LAST) || (p->next & 0xffff) == 0;
	return FETCHED;
}

/* What is in the buffer, to or from the guest. */
static enum fetched copy(struct ide_channel *ch, struct ide_prd *p, bool in)
{
	struct ide_transfer *t = &ch->transfer;

	while (t->at < t->end) {
		uint32_t n = t->end - t->at;
		enum fetched f = p->left ? FETCHED : fetch(ch->ide, p);
		int rc;

		if (f != FETCHED)
			return f;
		if (n > p->left)
			n = p->left;
		rc = in ? hv_gpa_write(ch->ide->mem, p->gpa,
				       ch->buffer + t->at, n)
			: hv_gpa_read(ch->ide->mem, p->gpa, ch->buffer + t->at,
				      n);
		if (rc < 0)
			return NO_MEMORY;
		p->gpa += n;
		p->left -= n;
		t->at += n;
	}
	return FETCHED;
}

/* The master has left; the drive waits for somebody to reset it. */
static void stick(struct ide_channel *ch, enum fetched why)
{
	ch->transfer.phase = IDE_STUCK;
	ch->transfer.drive->status = IDE_BSY;
	ch->master_status &= (uint8_t)~IDE_MASTER_ACTIVE;
	if (why == NO_MEMORY)
		ch->master_status |= IDE_MASTER_ERROR;
}

static void run(struct ide_channel *ch, bool in)
{
	struct ide_transfer *t = &ch->transfer;
	struct ide_prd p = {.next = ch->table};
	enum fetched f;
	int rc;

	for (;;) {
		/* Bytes prepared by the drive have nothing behind them. */
		if (in && t->at == t->end && t->left > 0) {
			rc = ide_fill(ch);
			if (rc < 0) {
				ide_fail(ch, rc);
				return;
			}
		}
		f = copy(ch, &p, in);
		if (f != FETCHED) {
			stick(ch, f);
			return;
		}
		rc = in ? 0 : ide_store(ch);
		if (rc < 0) {
			ide_fail(ch, rc);
			return;
		}
		if (t->left == 0)
			break;
		if (!in)
			ide_expect(ch);
	}
	if (p.last && p.left == 0)
		ch->master_status &= (uint8_t)~IDE_MASTER_ACTIVE;
	ide_finish(ch);
}

void ide_dma_run(struct ide_channel *ch)
{
	bool in = ch->transfer.phase == IDE_DMA_IN;

	if (!in && ch->transfer.phase != IDE_DMA_OUT)
		return;
	/* Opposite directions: neither ever gets anywhere. */
	if (!(ch->master_command & IDE_MASTER_START) ||
	    in != ((ch->master_command & IDE_MASTER_TO_MEMORY) != 0))
		return;
	if (!atomic_load(&ch->ide->master)) {
		stick(ch, NO_MEMORY);
		return;
	}
	run(ch, in);
}

/* ----------------------------------------------------------- registers -- */

enum { MASTER_COMMAND, MASTER_STATUS = 2, MASTER_TABLE = 4 };

static uint8_t byte_in(const struct ide_channel *ch, unsigned off)
{
	if (off >= MASTER_TABLE)
		return (uint8_t)(ch->table >> 8 * (off - MASTER_TABLE));
	return off == MASTER_COMMAND  ? ch->master_command
	       : off == MASTER_STATUS ? ch->master_status
				      : 0;
}

static void command_out(struct ide_channel *ch, uint8_t val)
{
	bool was = ch->master_command & IDE_MASTER_START;
	bool is = val & IDE_MASTER_START;

	ch->master_command = val & (IDE_MASTER_START | IDE_MASTER_TO_MEMORY);
	if (was == is)
		return;
	if (!is) {
		ch->master_status &= (uint8_t)~IDE_MASTER_ACTIVE;
		return;
	}
	ch->master_status |= IDE_MASTER_ACTIVE;
	ide_dma_run(ch);
}

static void status_out(struct ide_channel *ch, uint8_t val)
{
	const uint8_t clears = IDE_MASTER_ERROR | IDE_MASTER_INTERRUPT;
	const uint8_t keeps = IDE_MASTER_CAPABLE_0 | IDE_MASTER_CAPABLE_1;

	ch->master_status &= (uint8_t)~(keeps | (val & clears));
	ch->master_status |= val & keeps;
}

static void byte_out(struct ide_channel *ch, unsigned off, uint8_t val)
{
	unsigned shift = 8 * (off % 4);

	if (off == MASTER_COMMAND)
		command_out(ch, val);
	else if (off == MASTER_STATUS)
		status_out(ch, val);
	else if (off >= MASTER_TABLE)
		ch->table = ((ch->table & ~(0xffu << shift)) |
			     (uint32_t)val << shift) &
			    ~3u;
}

void hv_ide_master_in(struct hv_ide *ide, unsigned off, unsigned size,
		      uint8_t *data)
{
	for (unsigned i = 0; i < size; i++) {
		struct ide_channel *ch = &ide->channel[(off + i) / 8 % 2];

		pthread_mutex_lock(&ch->lock);
		data[i] = byte_in(ch, (off + i) % 8);
		pthread_mutex_unlock(&ch->lock);
	}
}

void hv_ide_master_out(struct hv_ide *ide, unsigned off, unsigned size,
		       const uint8_t *data)
{
	for (unsigned i = 0; i < size; i++) {
		struct ide_channel *ch = &ide->channel[(off + i) / 8 % 2];

		pthread_mutex_lock(&ch->lock);
		byte_out(ch, (off + i) % 8, data[i]);
		pthread_mutex_unlock(&ch->lock);
	}
}

void hv_ide_master_allow(struct hv_ide *ide, bool yes)
{
	atomic_store(&ide->master, yes);
}
