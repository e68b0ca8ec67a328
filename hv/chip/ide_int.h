/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the IDE controller share; see ide.h. All of it belongs to
 * who holds the channel's lock.
 */
#ifndef HV_CHIP_IDE_INT_H
#define HV_CHIP_IDE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "ide.h"

#define IDE_SECTOR 512u
#define IDE_DISC_BLOCK 2048u
/* As much as is read or written at once: what a 28-bit command moves. */
#define IDE_BUFFER_BYTES (256 * IDE_SECTOR)
#define IDE_MULTIPLE_MAX 16u
#define IDE_PACKET_BYTES 12u

/* Status and error registers. */
enum {
	IDE_ERR = 0x01,
	IDE_DRQ = 0x08,
	IDE_DSC = 0x10, /* seek complete */
	IDE_DRDY = 0x40,
	IDE_BSY = 0x80,
	IDE_ERR_ABRT = 0x04,
	IDE_ERR_IDNF = 0x10,
	IDE_ERR_UNC = 0x40,
};
#define IDE_READY (IDE_DRDY | IDE_DSC)

enum {
	IDE_DEVICE_DRIVE_1 = 0x10,
	IDE_DEVICE_LBA = 0x40,
	IDE_CONTROL_NIEN = 0x02, /* no interrupts */
	IDE_CONTROL_SRST = 0x04, /* reset, as long as it is set */
	IDE_CONTROL_HOB = 0x80,	 /* reads give what was written before last */
};

/* Interrupt reason of a packet, in the sector count register. */
enum { IDE_REASON_COMMAND = 1, IDE_REASON_TO_HOST = 2 };

enum {
	IDE_MASTER_START = 0x01,
	IDE_MASTER_TO_MEMORY = 0x08,
	IDE_MASTER_ACTIVE = 0x01,
	IDE_MASTER_ERROR = 0x02,
	IDE_MASTER_INTERRUPT = 0x04,
	IDE_MASTER_CAPABLE_0 = 0x20, /* no more than notes of a driver's */
	IDE_MASTER_CAPABLE_1 = 0x40,
};

enum ide_phase {
	IDE_IDLE,
	IDE_IN,     /* data port, to the guest */
	IDE_OUT,    /* data port, from the guest */
	IDE_PACKET, /* data port, a packet */
	IDE_DMA_IN, /* waits for the bus master; to the guest */
	IDE_DMA_OUT,
	IDE_STUCK, /* the bus master left before the drive was done */
};

struct ide_channel;
struct ide_drive;

/* What differs between disks and DVD drives. */
struct ide_type {
	uint16_t signature; /* of the cylinder registers after a reset */
	uint8_t reset_status;
	/* The data port is open for the next `bytes`. */
	void (*piece)(struct ide_drive *d, uint32_t bytes);
	/* All data were moved; or the medium failed at `lba`. */
	void (*done)(struct ide_channel *ch, struct ide_drive *d,
		     enum ide_phase how);
	void (*failed)(struct ide_channel *ch, struct ide_drive *d,
		       enum ide_phase how, uint64_t lba, int rc);
	/* The packet that it asked for has come; a DVD drive's. */
	void (*packet)(struct ide_channel *ch, struct ide_drive *d);
};
extern const struct ide_type ide_disk, ide_dvd;

struct ide_taskfile {
	uint8_t features, count, lba[3];
};

struct ide_drive {
	const struct hv_disk *disk; /* NULL: no drive */
	const struct ide_type *type;
	unsigned index; /* on its channel */
	struct ide_taskfile now, before;
	uint8_t status, error;
	bool interrupts; /* it wants to */
	/* a disk's settings */
	uint8_t multiple; /* sectors a piece; 0: off */
	uint8_t heads, sectors; /* of the addresses by cylinder */
	bool write_through;
	uint8_t word_dma, ultra_dma; /* mode bits, one of both is set */
	/* a DVD drive's */
	uint8_t sense_key, asc, ascq;
	bool attention; /* the next command is told of a reset */
	bool open, locked;
	uint8_t media_event; /* to be told once */
};

/* One command's data. [at, end) of the buffer is to be moved on the guest's
 * side; `left` blocks, from `lba` on, are to be moved on the medium's.
 */
struct ide_transfer {
	enum ide_phase phase;
	struct ide_drive *drive;
	uint64_t lba;
	uint32_t left;
	uint32_t at, end;
	uint32_t piece;     /* bytes at most between two interrupts ... */
	uint32_t piece_end; /* ... and where in the buffer the next is due */
	bool flush;         /* written data are durable before it ends */
};

/* Where the bus master is in its table. */
struct ide_prd {
	uint32_t next; /* entry */
	uint32_t gpa, left;
	bool last;
};

struct ide_channel {
	struct hv_ide *ide;
	unsigned index;
	pthread_mutex_t lock;
	struct ide_drive drive[2];
	uint8_t device, control;
	bool line;
	struct ide_transfer transfer;
	uint8_t master_command, master_status;
	uint32_t table; /* PRD table's address */
	uint8_t packet[IDE_PACKET_BYTES];
	uint32_t packet_piece; /* bytes at most, as its command said; 0: DMA */
	uint8_t buffer[IDE_BUFFER_BYTES];
};

struct hv_ide {
	struct hv_mem *mem;
	hv_ide_irq_fn irq;
	void *irq_arg;
	atomic_bool master;
	struct ide_channel channel[HV_IDE_CHANNELS];
};

static inline struct ide_drive *ide_selected(struct ide_channel *ch)
{
	return &ch->drive[(ch->device & IDE_DEVICE_DRIVE_1) != 0];
}

/* ide_line.c: the drive asks for an interrupt, or the line may have changed. */
void ide_interrupt(struct ide_channel *ch, struct ide_drive *d);
void ide_line(struct ide_channel *ch);
/* The registers by which a drive says what it is. */
void ide_sign(struct ide_channel *ch, struct ide_drive *d);
/* The command failed by itself. */
void ide_abort(struct ide_channel *ch, struct ide_drive *d, uint8_t error);
/* It is done, and says so. */
void ide_complete(struct ide_channel *ch, struct ide_drive *d);

/* ide_medium.c: fill the buffer from the medium, or the medium from the buffer: 0 or
 * -errno; transfer.lba is where it failed then.
 */
int ide_fill(struct ide_channel *ch);
int ide_store(struct ide_channel *ch);
/* Make room for as much as comes next from the guest. */
void ide_expect(struct ide_channel *ch);
/* The command's data were moved; or the medium failed with -errno. */
void ide_finish(struct ide_channel *ch);
void ide_fail(struct ide_channel *ch, int rc);
/* What the other drive is in the middle of ends: no driver does that. */
void ide_take_over(struct ide_channel *ch, const struct ide_drive *d);
/* Nothing is moved any more. */
void ide_idle(struct ide_channel *ch);

/* ide_data.c: begin to move what `t` says. Bytes that are in the buffer already
 * are [0, end), with nothing `left` on the medium.
 */
void ide_begin(struct ide_channel *ch, const struct ide_transfer *t);
void ide_data_in(struct ide_channel *ch, uint8_t *data, size_t len);
void ide_data_out(struct ide_channel *ch, const uint8_t *data, size_t len);

/* ide_dma.c: move, if both the drive and the bus master are ready. */
void ide_dma_run(struct ide_channel *ch);

/* ide_ata.c */
void ide_command(struct ide_channel *ch, struct ide_drive *d, uint8_t code);

/* ide_atapi.c: the command that announces a packet. */
void ide_packet_begin(struct ide_channel *ch, struct ide_drive *d);

/* ide_packet.c: answers, of a number of bytes written to `out`, which has room
 * for a block; or 0, where the packet has an invalid field.
 */
uint32_t ide_answer_inquiry(struct ide_drive *d, const uint8_t *cdb,
			    uint8_t *out);
uint32_t ide_answer_capacity(struct ide_drive *d, const uint8_t *cdb,
			     uint8_t *out);
uint32_t ide_answer_toc(struct ide_drive *d, const uint8_t *cdb, uint8_t *out);
uint32_t ide_answer_configuration(struct ide_drive *d, const uint8_t *cdb,
				  uint8_t *out);
uint32_t ide_answer_event(struct ide_drive *d, const uint8_t *cdb,
			  uint8_t *out);
uint32_t ide_answer_disc(struct ide_drive *d, const uint8_t *cdb, uint8_t *out);
uint32_t ide_answer_mode(struct ide_drive *d, const uint8_t *cdb, uint8_t *out);
uint32_t ide_answer_mechanism(struct ide_drive *d, const uint8_t *cdb,
			      uint8_t *out);
static inline bool ide_disc_there(const struct ide_drive *d)
{
	return !d->open && d->disk->blocks > 0;
}

/* ide_identify.c: 512 bytes. */
void ide_identify_disk(const struct ide_channel *ch, const struct ide_drive *d,
		       uint8_t *out);
void ide_identify_dvd(const struct ide_drive *d, uint8_t *out);

#endif
