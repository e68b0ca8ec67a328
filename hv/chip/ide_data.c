/* SPDX-License-Identifier: BSD-2-Clause */
/* A command's data: between medium and buffer by as much as the buffer holds,
 * between buffer and guest by pieces, each announced by DRQ and an interrupt.
 * A medium that fails is asked again block by block, so that all before the
 * one that fails is moved, and that one is named.
 * Source: ATA/ATAPI-6 chapter 9 (protocols).
 */
#include "ide_int.h"

#include <string.h>

void ide_idle(struct ide_channel *ch)
{
	ch->transfer.phase = IDE_IDLE;
}

void ide_fail(struct ide_channel *ch, int rc)
{
	const struct ide_transfer t = ch->transfer;

	ide_idle(ch);
	t.drive->type->failed(ch, t.drive, t.phase, t.lba, rc);
}

void ide_finish(struct ide_channel *ch)
{
	const struct ide_transfer t = ch->transfer;
	const struct hv_disk *disk = t.drive->disk;
	int rc = t.flush ? disk->ops->flush(disk->arg) : 0;

	if (rc < 0) {
		ide_fail(ch, rc);
		return;
	}
	ide_idle(ch);
	t.drive->type->done(ch, t.drive, t.phase);
}

/* -------------------------------------------------------------- medium -- */

static uint32_t blocks_next(const struct ide_transfer *t)
{
	uint32_t room = IDE_BUFFER_BYTES / t->drive->disk->block_bytes;

	return t->left < room ? t->left : room;
}

/* Between block `from` of the buffer and the medium. */
static int move(struct ide_channel *ch, bool write, uint32_t from,
		uint32_t blocks)
{
	const struct ide_transfer *t = &ch->transfer;
	const struct hv_disk *disk = t->drive->disk;
	const struct iovec iov = {
		ch->buffer + (size_t)from * disk->block_bytes,
		(size_t)blocks * disk->block_bytes};

	return write ? disk->ops->write(disk->arg, t->lba, &iov, 1)
		     : disk->ops->read(disk->arg, t->lba, &iov, 1);
}

static void moved(struct ide_transfer *t, uint32_t blocks)
{
	t->lba += blocks;
	t->left -= blocks;
}

int ide_fill(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;
	uint32_t n = blocks_next(t);
	int rc = move(ch, false, 0, n);

	if (rc < 0 && n > 1) {
		n = 1;
		rc = move(ch, false, 0, n);
	}
	if (rc < 0)
		return rc;
	t->at = 0;
	t->end = n * t->drive->disk->block_bytes;
	moved(t, n);
	return 0;
}

int ide_store(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;
	uint32_t n = t->end / t->drive->disk->block_bytes;
	int rc = move(ch, true, 0, n);

	if (rc == 0) {
		moved(t, n);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		rc = move(ch, true, i, 1);
		if (rc < 0)
			return rc;
		moved(t, 1);
	}
	return 0;
}

void ide_expect(struct ide_channel *ch)
{
	struct ide_transfer *t = &ch->transfer;

	t->at = 0;
	t->end = blocks_next(t) * t->drive->disk->block_bytes;
}

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

void ide_take_over(struct ide_channel *ch, const struct ide_drive *d)
{
	struct ide_transfer *t = &ch->transfer;

	if (t->phase != IDE_IDLE && t->drive != d) {
		t->drive->status = IDE_READY | IDE_ERR;
		t->drive->error = IDE_ERR_ABRT;
	}
	ide_idle(ch);
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
		ide_packet(ch, t->drive);
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
