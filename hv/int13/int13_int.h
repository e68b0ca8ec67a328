/* SPDX-License-Identifier: BSD-2-Clause */
/* What the functions of INT 13h share: registers by halves, the state behind
 * the drives, transfers. Private to this folder; see hv/int13.h.
 */
#ifndef HV_INT13_INT13_INT_H
#define HV_INT13_INT13_INT_H

#include <pthread.h>

#include "hv/eltorito.h"
#include "hv/int13.h"

/* Geometry of a disk that is addressed by blocks. */
#define HEADS		255u
#define TRACK_SECTORS	63u
#define CYLINDERS_MAX	1024u

/* What the BIOS keeps of hard disks, in its data area. */
#define BDA_STATUS 0x474u
#define BDA_COUNT  0x475u

/* What a caller finds in AH. */
enum status {
	ST_OK = 0x00,
	ST_PARAMETER = 0x01,
	ST_WRITE_PROTECTED = 0x03,
	ST_NOT_FOUND = 0x04,
	ST_BOUNDARY = 0x09, /* the memory is none */
	ST_MEDIUM = 0x10,
	ST_CONTROLLER = 0x20,
	ST_NO_MEDIUM = 0x31,
	ST_TIMEOUT = 0x80,
};

enum move { MOVE_READ, MOVE_WRITE };

struct drive {
	const struct hv_disk *disk;
	uint8_t number;
};

struct hv_int13 {
	const struct hv_mem *mem;

	pthread_mutex_t lock; /* all below, and a call as a whole */
	struct hv_int13_disks disks;
	unsigned first; /* number of the first disk; 0: not started */
	unsigned count; /* disks that have a number */
	bool counted;   /* since all have one */
	bool from_disc; /* `boot` is what it was started from */
	struct hv_eltorito boot;
	uint8_t boot_drive;
	struct hv_int13_stats stats;
};

/* One function of the interrupt, by what is in AH. */
struct function {
	uint8_t ah;
	bool disc; /* a disc's drive has it, too */
	enum status (*run)(struct hv_int13 *h, const struct drive *d,
			   struct hv_int13_regs *r); /* NULL ends a list */
};

extern const struct function int13_chs[], int13_edd[], int13_disc[];

static inline uint8_t low(uint16_t r)
{
	return (uint8_t)r;
}

static inline uint8_t high(uint16_t r)
{
	return (uint8_t)(r >> 8);
}

static inline void set_low(uint16_t *r, uint8_t v)
{
	*r = (uint16_t)((*r & 0xff00) | v);
}

static inline void set_high(uint16_t *r, uint8_t v)
{
	*r = (uint16_t)((*r & 0xff) | v << 8);
}

/* As the processor forms it in real mode, with A20 on. */
static inline uint64_t linear(uint16_t segment, uint16_t offset)
{
	return (uint64_t)segment * 16 + offset;
}

/* move.c */
bool int13_on_disk(const struct hv_disk *disk, uint64_t lba, uint64_t count);
void int13_count_bytes(struct hv_int13 *h, enum move way, uint64_t bytes);
/* *moved: how many blocks were, whatever the status. What is written is durable
 * on return: nobody would ask for it before the guest's own driver starts.
 */
enum status int13_move(struct hv_int13 *h, const struct hv_disk *disk,
		       enum move way, uint64_t lba, uint32_t count,
		       uint64_t gpa, uint32_t *moved);

/* chs.c */
uint32_t int13_cylinders(const struct hv_disk *disk);

/* disc.c. AX and BX: offset and segment to start at; DL: the drive. */
enum hv_int13_result int13_start_disc(struct hv_int13 *h,
				      struct hv_int13_regs *r);

#endif
