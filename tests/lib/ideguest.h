/* SPDX-License-Identifier: BSD-2-Clause */
/* A driver's side of the IDE controller, for its tests: registers by name,
 * commands, a table for the bus master, and the interrupt lines.
 */
#ifndef TESTS_LIB_IDEGUEST_H
#define TESTS_LIB_IDEGUEST_H

#include <stdlib.h>

#include "hv/chip/ide.h"
#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"
#include "tests/lib/fakedisk.h"

enum { DATA, FEATURES, COUNT, LOW, MID, HIGH, DEVICE, COMMAND };
enum { ERROR = FEATURES, STATUS = COMMAND };

enum { MASTER_TO_MEMORY = 8, MASTER_START = 1 };

#define DISK_BLOCKS 4096u
#define DISC_BLOCKS 1024u
#define RAM_BYTES   (1u << 20)
#define TABLE_GPA   0x1000u
#define DATA_GPA    0x10000u

struct ideguest {
	struct hv_ide *ide;
	struct hv_mem *mem;
	uint8_t *ram;
	struct fakedisk disk[HV_IDE_DRIVES];
	uint8_t *bytes[HV_IDE_DRIVES];
	bool line[HV_IDE_CHANNELS];
	unsigned edges; /* interrupts so far */
	unsigned ch;	/* the channel that the helpers below use */
};

static inline void ideguest_irq(void *arg, unsigned channel, bool level)
{
	struct ideguest *g = arg;

	assert_int_not_equal(g->line[channel], level);
	g->line[channel] = level;
	g->edges += level;
}

/* `what`: a letter a position: d disk, c disc, - nothing. */
static inline struct ideguest *ideguest_new(const char *what)
{
	const struct hv_disk *disks[HV_IDE_DRIVES] = {0};
	struct ideguest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->ram = aligned_alloc(4096, RAM_BYTES);
	assert_non_null(g->ram);
	memset(g->ram, 0, RAM_BYTES);
	assert_int_equal(hv_mem_create(&g->mem), 0);
	assert_int_equal(hv_mem_add(g->mem, 0, RAM_BYTES, g->ram), 0);
	for (unsigned i = 0; i < HV_IDE_DRIVES; i++) {
		bool dvd = what[i] == 'c';
		uint32_t n = dvd ? DISC_BLOCKS * 2048 : DISK_BLOCKS * 512;

		if (what[i] == '-')
			continue;
		g->bytes[i] = malloc(n);
		assert_non_null(g->bytes[i]);
		for (uint32_t b = 0; b < n; b++)
			g->bytes[i][b] = (uint8_t)(b / 512 * 7 + b + i);
		fakedisk_init(&g->disk[i], dvd, g->bytes[i],
			      dvd ? DISC_BLOCKS : DISK_BLOCKS);
		disks[i] = &g->disk[i].disk;
	}
	assert_int_equal(hv_ide_create(disks, g->mem, ideguest_irq, g,
				       &g->ide), 0);
	hv_ide_master_allow(g->ide, true);
	return g;
}

static inline void ideguest_free(struct ideguest *g)
{
	hv_ide_destroy(g->ide);
	hv_mem_destroy(g->mem);
	for (unsigned i = 0; i < HV_IDE_DRIVES; i++)
		free(g->bytes[i]);
	free(g->ram);
	free(g);
}

static inline uint8_t in(struct ideguest *g, unsigned reg)
{
	uint8_t v;

	hv_ide_in(g->ide, g->ch, reg, 1, 1, &v);
	return v;
}

static inline void out(struct ideguest *g, unsigned reg, unsigned val)
{
	const uint8_t v = (uint8_t)val;

	hv_ide_out(g->ide, g->ch, reg, 1, 1, &v);
}

static inline uint8_t alt(struct ideguest *g)
{
	return hv_ide_control_in(g->ide, g->ch);
}

static inline void control(struct ideguest *g, unsigned val)
{
	hv_ide_control_out(g->ide, g->ch, (uint8_t)val);
}

/* `n` bytes by words, as `rep insw` and `outsw`. */
static inline void data_in(struct ideguest *g, void *to, uint32_t n)
{
	hv_ide_in(g->ide, g->ch, DATA, 2, n / 2, to);
}

static inline void data_out(struct ideguest *g, const void *from, uint32_t n)
{
	hv_ide_out(g->ide, g->ch, DATA, 2, n / 2, from);
}

/* A command of 28 bits for drive `d`. */
static inline void cmd28(struct ideguest *g, unsigned d, unsigned code,
			 uint32_t lba, unsigned count)
{
	out(g, DEVICE, 0xe0 | d << 4 | (lba >> 24 & 15));
	out(g, COUNT, count);
	out(g, LOW, lba);
	out(g, MID, lba >> 8);
	out(g, HIGH, lba >> 16);
	out(g, COMMAND, code);
}

static inline void cmd48(struct ideguest *g, unsigned d, unsigned code,
			 uint64_t lba, unsigned count)
{
	out(g, DEVICE, 0x40 | d << 4);
	out(g, COUNT, count >> 8);
	out(g, LOW, (unsigned)(lba >> 24));
	out(g, MID, (unsigned)(lba >> 32));
	out(g, HIGH, (unsigned)(lba >> 40));
	out(g, COUNT, count);
	out(g, LOW, (unsigned)lba);
	out(g, MID, (unsigned)(lba >> 8));
	out(g, HIGH, (unsigned)(lba >> 16));
	out(g, COMMAND, code);
}

/* Entry `i` of the table; `len` 65536 is written as 0. */
static inline void prd(struct ideguest *g, unsigned i, uint32_t gpa,
		       uint32_t len, bool last)
{
	set32(g->ram + TABLE_GPA + 8 * i, gpa);
	set16(g->ram + TABLE_GPA + 8 * i + 4, (uint16_t)len);
	set16(g->ram + TABLE_GPA + 8 * i + 6, last ? 0x8000 : 0);
}

static inline uint8_t master_status(struct ideguest *g)
{
	uint8_t v;

	hv_ide_master_in(g->ide, 8 * g->ch + 2, 1, &v);
	return v;
}

static inline void master_command(struct ideguest *g, uint8_t val)
{
	hv_ide_master_out(g->ide, 8 * g->ch, 1, &val);
}

/* Before a command by DMA: the table, and old events forgotten. */
static inline void master_prepare(struct ideguest *g, uint32_t table)
{
	const uint8_t clear = 0x66;
	uint8_t t[4];

	set32(t, table);
	master_command(g, 0);
	hv_ide_master_out(g->ide, 8 * g->ch + 4, 4, t);
	hv_ide_master_out(g->ide, 8 * g->ch + 2, 1, &clear);
}

static inline void master_start(struct ideguest *g, bool to_memory)
{
	const uint8_t dir = to_memory ? MASTER_TO_MEMORY : 0;

	master_command(g, dir);
	master_command(g, dir | MASTER_START);
}

/* A packet for drive `d`; data by DMA, or in pieces of `limit` bytes. */
static inline void packet(struct ideguest *g, unsigned d, bool dma,
			  unsigned limit, const uint8_t cdb[12])
{
	out(g, DEVICE, 0xa0 | d << 4);
	out(g, FEATURES, dma);
	out(g, MID, limit);
	out(g, HIGH, limit >> 8);
	out(g, COMMAND, 0xa0);
	assert_int_equal(in(g, STATUS), 0x58);
	assert_int_equal(in(g, COUNT), 1);
	data_out(g, cdb, 12);
}

#endif
