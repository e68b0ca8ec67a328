/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, which drive they are of, and reset.
 * Both drives of a channel take what is written, and one is selected: it has
 * the registers that are read, the commands and the interrupt line.
 * Source: ATA/ATAPI-6 chapters 6, 7 and 9.
 */
#include "ide_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	REG_DATA,
	REG_FEATURES, /* read: error */
	REG_COUNT,
	REG_LBA_LOW,
	REG_LBA_MID,
	REG_LBA_HIGH,
	REG_DEVICE,
	REG_COMMAND, /* read: status */
};

/* --------------------------------------------------------------- reset -- */

static void srst_begin(struct ide_channel *ch)
{
	ide_idle(ch);
	for (unsigned i = 0; i < 2; i++) {
		ch->drive[i].status = IDE_BSY;
		ch->drive[i].interrupts = false;
	}
}

/* What a driver set stays, but for sectors a piece: one that does not set it
 * again does not count on it.
 */
static void srst_end(struct ide_channel *ch)
{
	ch->device = 0;
	for (unsigned i = 0; i < 2; i++) {
		if (!ch->drive[i].disk)
			continue;
		ide_sign(ch, &ch->drive[i]);
		ch->drive[i].multiple = 0;
		ch->drive[i].attention = true;
	}
}

/* ----------------------------------------------------------- registers -- */

/* With drive 1 missing drive 0 answers for it: with nothing. Where there is
 * no drive, or only the other one is missing, the bus floats.
 */
static bool silent(const struct ide_channel *ch, uint8_t *val)
{
	unsigned i = (ch->device & IDE_DEVICE_DRIVE_1) != 0;

	if (ch->drive[i].disk)
		return false;
	*val = i == 1 && ch->drive[0].disk ? 0 : 0xff;
	return true;
}

static uint8_t status_in(struct ide_channel *ch, bool acknowledge)
{
	struct ide_drive *d = ide_selected(ch);
	uint8_t val;

	if (silent(ch, &val))
		return val;
	if (acknowledge) {
		d->interrupts = false;
		ide_line(ch);
	}
	return d->status;
}

static uint8_t reg_in(struct ide_channel *ch, unsigned reg)
{
	const struct ide_drive *d = ide_selected(ch);
	const struct ide_taskfile *t =
		ch->control & IDE_CONTROL_HOB ? &d->before : &d->now;
	uint8_t val;

	if (silent(ch, &val))
		return val;
	switch (reg) {
	case REG_FEATURES:
		return d->error;
	case REG_COUNT:
		return t->count;
	case REG_DEVICE:
		return ch->device | 0xa0;
	default:
		return t->lba[reg - REG_LBA_LOW];
	}
}

static void reg_out(struct ide_channel *ch, unsigned reg, uint8_t val)
{
	ch->control &= (uint8_t)~IDE_CONTROL_HOB;
	if (reg == REG_DEVICE) {
		ch->device = val & 0x5f;
		ide_line(ch);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct ide_taskfile *now = &ch->drive[i].now;
		struct ide_taskfile *before = &ch->drive[i].before;

		if (reg == REG_FEATURES) {
			before->features = now->features;
			now->features = val;
		} else if (reg == REG_COUNT) {
			before->count = now->count;
			now->count = val;
		} else {
			before->lba[reg - REG_LBA_LOW] =
				now->lba[reg - REG_LBA_LOW];
			now->lba[reg - REG_LBA_LOW] = val;
		}
	}
}

static void command_out(struct ide_channel *ch, uint8_t code)
{
	struct ide_drive *d = ide_selected(ch);

	ch->control &= (uint8_t)~IDE_CONTROL_HOB;
	if (!d->disk || (ch->control & IDE_CONTROL_SRST))
		return;
	d->interrupts = false;
	ide_line(ch);
	ide_command(ch, d, code);
}

void hv_ide_in(struct hv_ide *ide, unsigned channel, unsigned reg,
	       unsigned size, uint32_t count, uint8_t *data)
{
	struct ide_channel *ch = &ide->channel[channel];
	size_t n = (size_t)size * count;

	pthread_mutex_lock(&ch->lock);
	if (reg == REG_DATA)
		ide_data_in(ch, data, n);
	else if (size > 1)
		memset(data, 0xff, n);
	else
		for (size_t i = 0; i < n; i++)
			data[i] = reg == REG_COMMAND ? status_in(ch, true)
						     : reg_in(ch, reg);
	pthread_mutex_unlock(&ch->lock);
}

void hv_ide_out(struct hv_ide *ide, unsigned channel, unsigned reg,
		unsigned size, uint32_t count, const uint8_t *data)
{
	struct ide_channel *ch = &ide->channel[channel];
	size_t n = (size_t)size * count;

	pthread_mutex_lock(&ch->lock);
	if (reg == REG_DATA)
		ide_data_out(ch, data, n);
	else if (size == 1 && reg == REG_COMMAND && n > 0)
		command_out(ch, data[0]); /* busy with it, it hears no others */
	else if (size == 1)
		for (size_t i = 0; i < n; i++)
			reg_out(ch, reg, data[i]);
	pthread_mutex_unlock(&ch->lock);
}

uint8_t hv_ide_control_in(struct hv_ide *ide, unsigned channel)
{
	struct ide_channel *ch = &ide->channel[channel];
	uint8_t val;

	pthread_mutex_lock(&ch->lock);
	val = status_in(ch, false);
	pthread_mutex_unlock(&ch->lock);
	return val;
}

void hv_ide_control_out(struct hv_ide *ide, unsigned channel, uint8_t val)
{
	struct ide_channel *ch = &ide->channel[channel];
	uint8_t before;

	pthread_mutex_lock(&ch->lock);
	before = ch->control;
	ch->control = val;
	if ((val & IDE_CONTROL_SRST) && !(before & IDE_CONTROL_SRST))
		srst_begin(ch);
	if (!(val & IDE_CONTROL_SRST) && (before & IDE_CONTROL_SRST))
		srst_end(ch);
	ide_line(ch);
	pthread_mutex_unlock(&ch->lock);
}

/* ------------------------------------------------------ life and death -- */

static void power_on(struct ide_channel *ch, struct ide_drive *d)
{
	const struct hv_disk *disk = d->disk;
	unsigned i = d->index;

	memset(d, 0, sizeof(*d));
	d->index = i;
	d->disk = disk;
	if (!disk)
		return;
	d->type = disk->dvd ? &ide_dvd : &ide_disk;
	d->heads = 16;
	d->sectors = 63;
	d->ultra_dma = 1u << 2;
	d->attention = true;
	ide_sign(ch, d);
	ch->master_status |= i ? IDE_MASTER_CAPABLE_1 : IDE_MASTER_CAPABLE_0;
}

void hv_ide_reset(struct hv_ide *ide)
{
	for (unsigned i = 0; i < HV_IDE_CHANNELS; i++) {
		struct ide_channel *ch = &ide->channel[i];

		pthread_mutex_lock(&ch->lock);
		ch->transfer = (struct ide_transfer){.phase = IDE_IDLE};
		ch->device = ch->control = 0;
		ch->line = false;
		ch->master_command = ch->master_status = 0;
		ch->table = 0;
		ch->packet_piece = 0;
		for (unsigned j = 0; j < 2; j++)
			power_on(ch, &ch->drive[j]);
		pthread_mutex_unlock(&ch->lock);
	}
}

static bool fits(const struct hv_disk *disk)
{
	return !disk ||
	       disk->block_bytes == (disk->dvd ? IDE_DISC_BLOCK : IDE_SECTOR);
}

int hv_ide_create(const struct hv_disk *const disks[HV_IDE_DRIVES],
		  struct hv_mem *mem, hv_ide_irq_fn irq, void *arg,
		  struct hv_ide **out)
{
	struct hv_ide *ide;

	for (unsigned i = 0; i < HV_IDE_DRIVES; i++)
		if (!fits(disks[i]))
			return -EINVAL;
	ide = calloc(1, sizeof(*ide));
	if (!ide)
		return -ENOMEM;
	ide->mem = mem;
	ide->irq = irq;
	ide->irq_arg = arg;
	atomic_init(&ide->master, false);
	for (unsigned i = 0; i < HV_IDE_CHANNELS; i++) {
		struct ide_channel *ch = &ide->channel[i];

		ch->ide = ide;
		ch->index = i;
		pthread_mutex_init(&ch->lock, NULL);
		for (unsigned j = 0; j < 2; j++) {
			ch->drive[j].index = j;
			ch->drive[j].disk = disks[2 * i + j];
		}
	}
	hv_ide_reset(ide);
	*out = ide;
	return 0;
}

void hv_ide_destroy(struct hv_ide *ide)
{
	if (!ide)
		return;
	for (unsigned i = 0; i < HV_IDE_CHANNELS; i++)
		pthread_mutex_destroy(&ide->channel[i].lock);
	free(ide);
}
