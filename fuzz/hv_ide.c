/* SPDX-License-Identifier: BSD-2-Clause */
/* The emulated IDE controller as a guest reaches it: port accesses of any
 * width and count, tables for the bus master in memory, while its disks fail
 * or are taken by another driver. Two disks, a disc, a drive without one; the
 * input's first byte takes some of them away.
 *
 * What must hold whatever comes: disks are asked for what they have, in whole
 * blocks, and only what may be written is; nobody gets more bytes than asked
 * for; interrupts are edges; and after a reset the first disk still serves.
 *
 * The rest is actions of one byte and their operands; `act` is the list.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hv/piix.h"
#include "tests/lib/fuzzin.h"
#include "tests/lib/quietboard.h"

#define RAM_BYTES   (512u << 10)
#define BLOCKS	    1024u
#define DISC_BLOCKS 256u
#define ACCESS_MAX  4096u

struct medium {
	struct hv_disk disk;
	uint8_t *bytes;
	uint64_t bad_lba;
	int write_rc, flush_rc;
};

struct world {
	struct hv_board *board;
	struct hv_mem *mem;
	struct hv_piix *piix;
	struct medium medium[HV_IDE_DRIVES];
	bool line[HV_IDE_CHANNELS];
};

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static uint8_t bytes[HV_IDE_DRIVES][BLOCKS * 512];

/* ----------------------------------------------------------- the machine -- */

static void on_irq(void *arg, unsigned channel, bool level)
{
	struct world *w = arg;

	must(channel < HV_IDE_CHANNELS && level != w->line[channel]);
	w->line[channel] = level;
}

static int move(struct medium *m, bool write, uint64_t lba,
		const struct iovec *iov, unsigned count)
{
	const uint32_t block = m->disk.block_bytes;
	uint64_t len = 0, at = lba * block;

	must(count > 0 && count <= HV_DISK_IOV_MAX);
	for (unsigned i = 0; i < count; i++)
		len += iov[i].iov_len;
	must(len > 0 && len % block == 0 && lba < m->disk.blocks &&
	     len / block <= m->disk.blocks - lba);
	if (m->bad_lba >= lba && m->bad_lba < lba + len / block)
		return -EIO;
	for (unsigned i = 0; i < count; i++) {
		if (write)
			memcpy(m->bytes + at, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, m->bytes + at, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	return 0;
}

static int medium_read(void *arg, uint64_t lba, const struct iovec *iov,
		       unsigned count)
{
	return move(arg, false, lba, iov, count);
}

static int medium_write(void *arg, uint64_t lba, const struct iovec *iov,
			unsigned count)
{
	struct medium *m = arg;

	must(!m->disk.read_only);
	return m->write_rc ? m->write_rc : move(m, true, lba, iov, count);
}

static int medium_flush(void *arg)
{
	struct medium *m = arg;

	return m->flush_rc;
}

static const struct hv_disk_ops disk_ops = {medium_read, medium_write,
					    medium_flush};

static void begin(struct world *w, unsigned missing)
{
	static const struct {
		bool dvd;
		uint64_t blocks;
	} kinds[HV_IDE_DRIVES] = {
		{false, BLOCKS}, {true, DISC_BLOCKS}, {false, BLOCKS}, {true, 0}};
	const struct hv_disk *disks[HV_IDE_DRIVES];

	memset(w, 0, sizeof(*w));
	memset(ram, 0, sizeof(ram));
	for (unsigned i = 0; i < HV_IDE_DRIVES; i++) {
		struct medium *m = &w->medium[i];

		memset(bytes[i], (int)(0x11 * i + 1), sizeof(bytes[i]));
		m->bytes = bytes[i];
		m->bad_lba = UINT64_MAX;
		m->disk = (struct hv_disk){
			.ops = &disk_ops,
			.arg = m,
			.blocks = kinds[i].blocks,
			.block_bytes = kinds[i].dvd ? 2048 : 512,
			.dvd = kinds[i].dvd,
			.read_only = kinds[i].dvd,
		};
		disks[i] = missing & 1u << i ? NULL : &m->disk;
	}
	must(hv_mem_create(&w->mem) == 0);
	must(hv_mem_add(w->mem, 0, RAM_BYTES / 2, ram) == 0);
	must(hv_mem_add(w->mem, 0x100000, RAM_BYTES / 2, ram + RAM_BYTES / 2) ==
	     0);
	must(hv_board_create(&quietboard_ops, w, &w->board) == 0);
	must(hv_piix_create(w->board, w->mem, disks, on_irq, w, &w->piix) == 0);
}

/* --------------------------------------------------------------- ports -- */

static void io_in(struct world *w, unsigned port, unsigned size, uint32_t count)
{
	static uint8_t got[ACCESS_MAX + 1];
	size_t n = (size_t)size * count;

	got[n] = 0x5a;
	hv_board_in(w->board, (uint16_t)port, size, count, got);
	must(got[n] == 0x5a);
}

static uint8_t in8(struct world *w, unsigned port)
{
	uint8_t v;

	hv_board_in(w->board, (uint16_t)port, 1, 1, &v);
	return v;
}

static void out8(struct world *w, unsigned port, uint64_t val)
{
	const uint8_t v = (uint8_t)val;

	hv_board_out(w->board, (uint16_t)port, 1, 1, &v);
}

static void out32(struct world *w, unsigned port, uint64_t val)
{
	const uint8_t v[4] = {(uint8_t)val, (uint8_t)(val >> 8),
			      (uint8_t)(val >> 16), (uint8_t)(val >> 24)};

	hv_board_out(w->board, (uint16_t)port, 4, 1, v);
}

static unsigned any_port(struct input *in, unsigned how)
{
	static const uint16_t base[8] = {0x1f0, 0x170, 0x3f6, 0x376,
					 0xcf8, 0xffa0, 0xffa8, 0xc000};

	return (unsigned)(base[how & 7] + (unsigned)take(in, 1) % 8) & 0xffff;
}

static void access_any(struct world *w, struct input *in, bool out)
{
	static uint8_t data[ACCESS_MAX];
	unsigned how = (unsigned)take(in, 1), port = any_port(in, how);
	unsigned size = 1u << (how >> 3 & 3) % 3;
	uint32_t count = 1;
	uint8_t val;

	if (how & 0x80)
		count = 1 + (uint32_t)take(in, 2) % (ACCESS_MAX / size);
	if (!out) {
		io_in(w, port, size, count);
		return;
	}
	val = (uint8_t)take(in, 1);
	memset(data, val, (size_t)size * count);
	for (unsigned i = 1; i < 4 && i < size * count; i++)
		data[i] = (uint8_t)take(in, 1);
	hv_board_out(w->board, (uint16_t)port, size, count, data);
	/* to the console: the next would wait for somebody to take it */
	while (hv_board_output(w->board, data, sizeof(data)) > 0)
		;
}

/* ------------------------------------------------------------- actions -- */

/* A command as drivers give it, so that most of them begin something. */
static void command(struct world *w, struct input *in)
{
	static const uint8_t codes[16] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34,
					  0x35, 0x39, 0xc4, 0xc5, 0xc6, 0xc8,
					  0xca, 0x42, 0xef, 0xa0};
	unsigned how = (unsigned)take(in, 1);
	unsigned base = how & 1 ? 0x170 : 0x1f0;

	out8(w, base + 6, (how & 2 ? 0xb0 : 0xa0) | (how & 4 ? 0x40 : 0));
	for (unsigned reg = 1; reg < 6; reg++) {
		if (how & 8)
			out8(w, base + reg, take(in, 1));
		out8(w, base + reg, take(in, 1));
	}
	out8(w, base + 7,
	     how & 0x80 ? codes[how >> 4 & 7] : codes[8 + (how >> 4 & 7)]);
}

static void packet(struct world *w, struct input *in)
{
	unsigned how = (unsigned)take(in, 1);
	unsigned base = how & 1 ? 0x170 : 0x1f0;
	uint8_t cdb[12];

	out8(w, base + 6, 0xb0);
	out8(w, base + 1, how >> 1 & 1);
	out8(w, base + 4, how & 4 ? take(in, 1) : 0);
	out8(w, base + 5, how & 4 ? take(in, 1) : 0x10);
	out8(w, base + 7, 0xa0);
	for (unsigned i = 0; i < 12; i++)
		cdb[i] = (uint8_t)take(in, 1);
	hv_board_out(w->board, (uint16_t)base, 2, 6, cdb);
}

static void poke(struct world *w, struct input *in)
{
	uint32_t gpa = (uint32_t)take(in, 2) * 8;
	uint8_t entry[8];

	for (unsigned i = 0; i < 8; i++)
		entry[i] = (uint8_t)take(in, 1);
	(void)hv_gpa_write(w->mem, gpa, entry, sizeof(entry));
}

static void master(struct world *w, struct input *in)
{
	unsigned how = (unsigned)take(in, 1);
	unsigned base = how & 1 ? 0xffa8 : 0xffa0;

	out8(w, base, 0);
	out8(w, base + 2, 6);
	if (how & 2)
		out32(w, base + 4, take(in, 4));
	else
		out32(w, base + 4, take(in, 2) * 8);
	out8(w, base, how & 8);
	out8(w, base, (how & 8) | 1);
}

/* The next machine, whose lines are low. */
static void reset(struct world *w)
{
	hv_board_reset(w->board);
	memset(w->line, 0, sizeof(w->line));
}

static void fault(struct world *w, struct input *in)
{
	unsigned how = (unsigned)take(in, 1);
	struct medium *m = &w->medium[how & 3];

	if (how & 0x40)
		reset(w);
	m->bad_lba = how & 4 ? take(in, 2) : UINT64_MAX;
	m->write_rc = how & 8 ? -EBUSY : how & 0x10 ? -ENOSPC : 0;
	m->flush_rc = how & 0x20 ? -EIO : 0;
}

static void act(struct world *w, struct input *in)
{
	unsigned what = (unsigned)take(in, 1) % 10;

	switch (what) {
	case 0:
	case 1:
		access_any(w, in, false);
		break;
	case 2:
	case 3:
		access_any(w, in, true);
		break;
	case 4:
	case 5:
		command(w, in);
		break;
	case 6:
		packet(w, in);
		break;
	case 7:
		poke(w, in);
		break;
	case 8:
		master(w, in);
		break;
	default:
		fault(w, in);
	}
}

/* Whatever came before, and with the ports open again. */
static void still_serves(struct world *w)
{
	uint8_t got[512];

	out32(w, 0xcf8, 0x80003904);
	out8(w, 0xcfc, 5);
	out32(w, 0xcf8, 0x80003940);
	out8(w, 0xcfd, 0x80);
	w->medium[0].bad_lba = UINT64_MAX;
	out8(w, 0x3f6, 4);
	out8(w, 0x3f6, 0);
	must(in8(w, 0x1f7) == 0x50);
	out8(w, 0x1f6, 0xe0);
	out8(w, 0x1f2, 1);
	out8(w, 0x1f3, 9);
	out8(w, 0x1f4, 0);
	out8(w, 0x1f5, 0);
	out8(w, 0x1f7, 0x20);
	must(w->line[0] && in8(w, 0x1f7) == 0x58);
	hv_board_in(w->board, 0x1f0, 2, 256, got);
	must(memcmp(got, bytes[0] + 9 * 512, 512) == 0);
	must(in8(w, 0x1f7) == 0x50);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static struct world w;

	/* the first disk is there, to be asked at the end */
	begin(&w, (unsigned)take(&in, 1) & 0xe);
	while (in.left > 0)
		act(&w, &in);
	still_serves(&w);
	hv_board_destroy(w.board);
	hv_piix_destroy(w.piix);
	hv_mem_destroy(w.mem);
	return 0;
}
