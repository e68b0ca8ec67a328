/* SPDX-License-Identifier: BSD-2-Clause */
/* What a DVD drive does: a packet of 12 bytes comes through the data port, the
 * answer goes the way its command said, and errors are kept as sense data.
 * Source: ATA/ATAPI-6 section 9.8; MMC-3; SPC-2 section 7.
 */
#include "ide_int.h"

#include <errno.h>
#include <string.h>

/* What a drive says; key, code, qualifier. */
enum sense {
	NOT_PRESENT = 0x023a00,
	TRAY_OPEN = 0x023a02,
	UNREADABLE = 0x031100,
	NO_SUCH_COMMAND = 0x052000,
	NO_SUCH_BLOCK = 0x052100,
	INVALID_FIELD = 0x052400,
	REMOVAL_PREVENTED = 0x055302,
	WAS_RESET = 0x062900,
};

enum { EVENT_REMOVED = 3, EVENT_NEW = 2 };

/* ------------------------------------------------------------ protocol --- */

static void end(struct ide_channel *ch, struct ide_drive *d)
{
	d->now.count = IDE_REASON_TO_HOST | IDE_REASON_COMMAND;
	ide_complete(ch, d);
}

static void check(struct ide_channel *ch, struct ide_drive *d, enum sense s)
{
	d->sense_key = (uint8_t)(s >> 16);
	d->asc = (uint8_t)(s >> 8);
	d->ascq = (uint8_t)s;
	d->now.count = IDE_REASON_TO_HOST | IDE_REASON_COMMAND;
	ide_abort(ch, d, (uint8_t)(d->sense_key << 4 | IDE_ERR_ABRT));
}

static void dvd_piece(struct ide_drive *d, uint32_t bytes)
{
	d->now.count = IDE_REASON_TO_HOST;
	d->now.lba[1] = (uint8_t)bytes;
	d->now.lba[2] = (uint8_t)(bytes >> 8);
}

static void dvd_done(struct ide_channel *ch, struct ide_drive *d,
		     enum ide_phase how)
{
	/* What IDENTIFY sent was no packet's. */
	if (how == IDE_IN && ch->packet_piece == 0)
		d->status = IDE_READY;
	else
		end(ch, d);
}

static void dvd_failed(struct ide_channel *ch, struct ide_drive *d,
		       enum ide_phase how, uint64_t lba, int rc)
{
	(void)how;
	(void)lba;
	check(ch, d, rc == -ENOMEDIUM ? NOT_PRESENT : UNREADABLE);
}

/* Pieces are even but for the last; a limit of 0 means the largest. */
void ide_packet_begin(struct ide_channel *ch, struct ide_drive *d)
{
	const struct ide_transfer t = {.phase = IDE_PACKET, .drive = d};
	uint32_t limit = d->now.lba[1] | (uint32_t)d->now.lba[2] << 8;

	if (d->now.features & ~1u) {
		ide_abort(ch, d, IDE_ERR_ABRT);
		return;
	}
	if (limit == 0 || limit == 0xffff)
		limit = 0xfffe;
	ch->packet_piece = d->now.features & 1 ? 0
			   : limit > 1	       ? limit & ~1u
					       : limit;
	d->now.count = IDE_REASON_COMMAND;
	ide_begin(ch, &t);
}

/* ------------------------------------------------------------- packets --- */

static uint32_t at16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t at32(const uint8_t *p)
{
	return at16(p) << 16 | at16(p + 2);
}

/* Data in the buffer, or on the medium. */
static void send(struct ide_channel *ch, struct ide_drive *d, uint32_t bytes,
		 uint32_t lba, uint32_t blocks)
{
	const struct ide_transfer t = {
		.phase = ch->packet_piece ? IDE_IN : IDE_DMA_IN,
		.drive = d,
		.lba = lba,
		.left = blocks,
		.end = bytes,
		.piece = ch->packet_piece,
	};

	if (bytes == 0 && blocks == 0)
		end(ch, d);
	else
		ide_begin(ch, &t);
}

static void ready(struct ide_channel *ch, struct ide_drive *d)
{
	end(ch, d);
}

static void read_blocks(struct ide_channel *ch, struct ide_drive *d)
{
	const uint8_t *cdb = ch->packet;
	uint32_t lba = at32(cdb + 2);
	uint32_t count = cdb[0] == 0x28 ? at16(cdb + 7) : at32(cdb + 6);

	if (lba > d->disk->blocks || count > d->disk->blocks - lba)
		check(ch, d, NO_SUCH_BLOCK);
	else
		send(ch, d, 0, lba, count);
}

/* The sense data of the last packet, or what there is to be told of. */
static void request_sense(struct ide_channel *ch, struct ide_drive *d)
{
	uint32_t n = ch->packet[4] < 18 ? ch->packet[4] : 18;
	uint8_t *p = ch->buffer;

	if (d->sense_key == 0 && d->attention) {
		d->sense_key = WAS_RESET >> 16;
		d->asc = (WAS_RESET >> 8) & 0xff;
		d->ascq = WAS_RESET & 0xff;
		d->attention = false;
	}
	memset(p, 0, 18);
	p[0] = 0x70;
	p[2] = d->sense_key;
	p[7] = 10;
	p[12] = d->asc;
	p[13] = d->ascq;
	d->sense_key = d->asc = d->ascq = 0;
	send(ch, d, n, 0, 0);
}

static void start_stop(struct ide_channel *ch, struct ide_drive *d)
{
	bool move = ch->packet[4] & 2, in = ch->packet[4] & 1;

	if (move && !in && d->locked) {
		check(ch, d, REMOVAL_PREVENTED);
		return;
	}
	if (move && d->open == in) {
		d->open = !in;
		if (d->disk->blocks > 0)
			d->media_event = in ? EVENT_NEW : EVENT_REMOVED;
	}
	end(ch, d);
}

static void prevent(struct ide_channel *ch, struct ide_drive *d)
{
	d->locked = ch->packet[4] & 1;
	end(ch, d);
}

enum {
	DISC = 1,   /* there must be one */
	ALWAYS = 2, /* also with a reset not told of yet */
};

static const struct packet_command {
	uint8_t code, flags;
	void (*run)(struct ide_channel *ch, struct ide_drive *d);
	/* or one with an answer, of as much as the packet allows */
	uint32_t (*answer)(struct ide_drive *d, const uint8_t *cdb,
			   uint8_t *out);
	uint8_t allowed_at, allowed_bytes; /* 0: all */
} packets[] = {
	{0x00, DISC, .run = ready}, /* test unit ready */
	{0x03, ALWAYS, .run = request_sense},
	{0x12, ALWAYS, NULL, ide_answer_inquiry, 3, 2},
	{0x1b, 0, .run = start_stop},
	{0x1e, 0, .run = prevent},
	{0x25, DISC, NULL, ide_answer_capacity, 0, 0},
	{0x28, DISC, .run = read_blocks},
	{0x2b, DISC, .run = ready}, /* seek */
	{0x43, DISC, NULL, ide_answer_toc, 7, 2},
	{0x46, ALWAYS, NULL, ide_answer_configuration, 7, 2},
	{0x4a, ALWAYS, NULL, ide_answer_event, 7, 2},
	{0x51, DISC, NULL, ide_answer_disc, 7, 2},
	{0x5a, 0, NULL, ide_answer_mode, 7, 2},
	{0xa8, DISC, .run = read_blocks},
	{0xbd, 0, NULL, ide_answer_mechanism, 8, 2},
};

static const struct packet_command *find(uint8_t code)
{
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		if (packets[i].code == code)
			return &packets[i];
	return NULL;
}

static void answer(struct ide_channel *ch, struct ide_drive *d,
		   const struct packet_command *c)
{
	uint32_t n = c->answer(d, ch->packet, ch->buffer);
	uint32_t allowed = c->allowed_bytes
				   ? at16(ch->packet + c->allowed_at)
				   : n;

	if (n == 0)
		check(ch, d, INVALID_FIELD);
	else
		send(ch, d, n < allowed ? n : allowed, 0, 0);
}

static void dvd_packet(struct ide_channel *ch, struct ide_drive *d)
{
	const struct packet_command *c = find(ch->packet[0]);

	if (d->attention && !(c && (c->flags & ALWAYS))) {
		d->attention = false;
		check(ch, d, WAS_RESET);
		return;
	}
	if (!c || c->code != 0x03)
		d->sense_key = d->asc = d->ascq = 0;
	if (!c)
		check(ch, d, NO_SUCH_COMMAND);
	else if ((c->flags & DISC) && !ide_disc_there(d))
		check(ch, d, d->open ? TRAY_OPEN : NOT_PRESENT);
	else if (c->run)
		c->run(ch, d);
	else
		answer(ch, d, c);
}

const struct ide_type ide_dvd = {
	.signature = 0xeb14,
	.reset_status = 0,
	.piece = dvd_piece,
	.done = dvd_done,
	.failed = dvd_failed,
	.packet = dvd_packet,
};
