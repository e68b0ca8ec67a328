/* SPDX-License-Identifier: BSD-2-Clause */
/* What a drive says of itself: its interrupt, the end of a command, and after a
 * reset what it is.
 * Source: ATA/ATAPI-6 chapters 7 and 9.
 */
#include "ide_int.h"

void ide_line(struct ide_channel *ch)
{
	const struct ide_drive *d = ide_selected(ch);
	bool level = d->disk && d->interrupts &&
		     !(ch->control & (IDE_CONTROL_NIEN | IDE_CONTROL_SRST));

	if (level == ch->line)
		return;
	ch->line = level;
	if (level)
		ch->master_status |= IDE_MASTER_INTERRUPT;
	ch->ide->irq(ch->ide->irq_arg, ch->index, level);
}

void ide_interrupt(struct ide_channel *ch, struct ide_drive *d)
{
	d->interrupts = true;
	ide_line(ch);
}

void ide_complete(struct ide_channel *ch, struct ide_drive *d)
{
	d->status = IDE_READY;
	d->error = 0;
	ide_interrupt(ch, d);
}

void ide_abort(struct ide_channel *ch, struct ide_drive *d, uint8_t error)
{
	d->status = IDE_READY | IDE_ERR;
	d->error = error;
	ide_interrupt(ch, d);
}

void ide_sign(struct ide_channel *ch, struct ide_drive *d)
{
	d->now = (struct ide_taskfile){
		.count = 1,
		.lba = {1, (uint8_t)d->type->signature,
			(uint8_t)(d->type->signature >> 8)},
	};
	d->before = (struct ide_taskfile){0};
	ch->device &= IDE_DEVICE_DRIVE_1;
	d->error = 1; /* found no fault with itself */
	d->status = d->type->reset_status;
}
