/* SPDX-License-Identifier: BSD-2-Clause */
/* A command's data between the buffer and the guest: by pieces through the data
 * port, each announced by DRQ and an interrupt, or by the bus master.
 * Source: ATA/ATAPI-6 chapter 9 (protocols).
 */
#include "ide_int.h"

#include <string.h>

/* -------------------------------------------------------------- pieces -- */

/* Let the guest have, or give, what is between `at` and `end` next. */
static void announce(struct ide_channel *ch, bool interrupt)
{
	struct ide_transfer *t = &ch->transfer;
	struct ide_drive *d = t->drive;
	uint32_t n = t->end - t->at;

	if (n > t->piece)
		n = t->piece;
	t->piece_end = t->at + n;
	d->status = IDE_READY | IDE_DRQ;
	d->error = 0;
	d->type->piece(d, n);
	if (interrupt)
		ide_interrupt(ch, d);
}

static void next_in(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;
	int rc;

	if (t->at == t->end && t->left == 0) {
		ide_finish(ch);
		return;
	}
	if (t->at == t->end) {
		rc = ide_fill(ch);
		if (rc < 0) {
			ide_fail(ch, rc);
			return;
		}
	}
	announce(ch, true);
}

static void next_out(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;
	int rc;

	if (t->at == t->end) {
		rc = ide_store(ch);
		if (rc < 0) {
			ide_fail(ch, rc);
			return;
		}
		if (t->left == 0) {
			ide_finish(ch);
			return;
		}
		ide_expect(ch);
	}
	announce(ch, true);
}

static void start(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;

	switch (t->phase) {
	case IDE_IN:
		next_in(ch);
		break;
	case IDE_OUT:
		ide_expect(ch);
		announce(ch, false);
		break;
	case IDE_PACKET:
		t->drive->status = IDE_READY | IDE_DRQ;
		break;
	default:
		if (t->phase == IDE_DMA_OUT)
			ide_expect(ch);
		t->drive->status = IDE_READY | IDE_DRQ;
		ide_dma_run(ch);
	}
}

void ide_begin(struct ide_channel *ch, const struct ide_transfer *t)
{
	ide_take_over(ch, t->drive);
	ch->transfer = *t;
	start(ch);
}

/* ----------------------------------------------------------- data port -- */

static bool port_open(const struct ide_channel *ch, enum ide_phase phase)
{
	const struct ide_transfer *t = &ch->transfer;
	unsigned selected = (ch->device & IDE_DEVICE_DRIVE_1) != 0;

	return t->phase == phase && t->drive->index == selected;
}

void ide_data_in(struct ide_channel *ch, uint8_t *data, size_t len)
{
	struct ide_transfer *t = &ch->transfer;

	while (len > 0 && port_open(ch, IDE_IN)) {
		size_t n = t->piece_end - t->at;

		if (n > len)
			n = len;
		memcpy(data, ch->buffer + t->at, n);
		data += n;
		len -= n;
		t->at += (uint32_t)n;
		if (t->at == t->piece_end)
			next_in(ch);
	}
	memset(data, 0xff, len);
}

static size_t packet_out(struct ide_channel *ch, const uint8_t *data,
			 size_t len)
{
	struct ide_transfer *t = &ch->transfer;
	size_t n = IDE_PACKET_BYTES - t->at;

	if (n > len)
		n = len;
	memcpy(ch->packet + t->at, data, n);
	t->at += (uint32_t)n;
	if (t->at == IDE_PACKET_BYTES) {
		ide_idle(ch);
		t->drive->type->packet(ch, t->drive);
	}
	return n;
}

void ide_data_out(struct ide_channel *ch, const uint8_t *data, size_t len)
{
	struct ide_transfer *t = &ch->transfer;
	size_t n;

	if (port_open(ch, IDE_PACKET)) {
		n = packet_out(ch, data, len);
		data += n;
		len -= n;
	}
	while (len > 0 && port_open(ch, IDE_OUT)) {
		n = t->piece_end - t->at;
		if (n > len)
			n = len;
		memcpy(ch->buffer + t->at, data, n);
		data += n;
		len -= n;
		t->at += (uint32_t)n;
		if (t->at == t->piece_end)
			next_out(ch);
	}
}
