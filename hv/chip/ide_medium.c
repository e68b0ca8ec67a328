/* SPDX-License-Identifier: BSD-2-Clause */
/* A command's data between the medium and the buffer, by as much as that holds,
 * and how the command ends with it. A medium that fails is asked again block by
 * block, so that all before the one that fails is moved, and that one is named.
 */
#include "ide_int.h"

void ide_idle(struct ide_channel *ch)
{
	ch->transfer.phase = IDE_IDLE;
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
