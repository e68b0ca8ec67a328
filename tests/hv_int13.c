/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h: what boot loaders ask, answered from a disk of known bytes; and what
 * nobody asks but a hostile guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/eltorito.h"
#include "hv/int13.h"
#include "tests/lib/cm.h"
#include "vhd/endian.h"

#define RAM_BYTES   (4u << 20)
#define BLOCKS	    100000u /* 48 MiB: 6 cylinders of 255 heads */
#define BUFFER	    0x20000u
#define PACKET	    0x500u

/* A disk whose block says its number; what is written is noted. */
struct fake {
	struct hv_disk disk;
	unsigned reads, writes, flushes;
	int fail;	  /* -errno of reads and writes */
	uint64_t fail_at; /* from this block on */
	uint64_t last_lba, last_blocks;
	uint8_t last_byte;
	uint8_t (*at)(uint64_t lba, unsigned off);
};

struct world {
	struct hv_mem *mem;
	uint8_t *ram;
	struct fake a, b, dvd;
	struct hv_int13_disks disks; /* these */
	struct hv_int13 *h;
	struct hv_int13_regs r;
};

static uint8_t numbered(uint64_t lba, unsigned off)
{
	return (uint8_t)(lba >> 8 * (off % 4));
}

static uint64_t blocks_of(const struct fake *f, const struct iovec *iov,
			  unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	assert_true(bytes > 0 && bytes % f->disk.block_bytes == 0);
	return bytes / f->disk.block_bytes;
}

static int judge(struct fake *f, uint64_t lba, uint64_t blocks)
{
	/* the caller has checked that */
	assert_true(lba < f->disk.blocks && blocks <= f->disk.blocks - lba);
	f->last_lba = lba;
	f->last_blocks = blocks;
	return lba + blocks > f->fail_at ? f->fail : 0;
}

static int fake_read(void *arg, uint64_t lba, const struct iovec *iov,
		     unsigned count)
{
	struct fake *f = arg;
	uint64_t n = 0;
	int ret = judge(f, lba, blocks_of(f, iov, count));

	f->reads++;
	for (unsigned i = 0; i < count && ret == 0; i++)
		for (size_t j = 0; j < iov[i].iov_len; j++, n++)
			((uint8_t *)iov[i].iov_base)[j] =
				f->at(lba + n / f->disk.block_bytes,
				      (unsigned)(n % f->disk.block_bytes));
	return ret;
}

static int fake_write(void *arg, uint64_t lba, const struct iovec *iov,
		      unsigned count)
{
	struct fake *f = arg;

	f->writes++;
	f->last_byte = *(const uint8_t *)iov[0].iov_base;
	return judge(f, lba, blocks_of(f, iov, count));
}

static int fake_flush(void *arg)
{
	struct fake *f = arg;

	f->flushes++;
	return 0;
}

static const struct hv_disk_ops fake_ops = {fake_read, fake_write, fake_flush};

static void fake_init(struct fake *f, uint64_t blocks, uint32_t block_bytes)
{
	*f = (struct fake){.fail_at = UINT64_MAX, .at = numbered};
	f->disk = (struct hv_disk){.ops = &fake_ops,
				   .arg = f,
				   .blocks = blocks,
				   .block_bytes = block_bytes};
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_init(&w->a, BLOCKS, 512);
	fake_init(&w->b, 1ull << 40, 512);
	fake_init(&w->dvd, 1000, 2048);
	w->dvd.disk.dvd = w->dvd.disk.read_only = true;
	hv_int13_disks_add(&w->disks, &w->a.disk);
	hv_int13_disks_add(&w->disks, &w->dvd.disk);
	hv_int13_disks_add(&w->disks, &w->b.disk);
	w->ram = aligned_alloc(4096, RAM_BYTES);
	memset(w->ram, 0, RAM_BYTES);
	assert_int_equal(hv_mem_create(&w->mem), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, RAM_BYTES, w->ram), 0);
	assert_int_equal(hv_int13_create(w->mem, &w->disks, &w->h), 0);
	assert_int_equal(hv_int13_exit(w->h, HV_INT13_START, &w->r),
			 HV_INT13_OK);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	hv_int13_destroy(w->h);
	hv_mem_destroy(w->mem);
	free(w->ram);
	free(w);
	return 0;
}

/* The status in AH; what came back is in w->r. */
static unsigned call(struct world *w, uint16_t ax, uint16_t dx)
{
	enum hv_int13_result got;

	w->r.ax = ax;
	w->r.dx = dx;
	got = hv_int13_exit(w->h, HV_INT13_CALL, &w->r);
	assert_int_not_equal(got, HV_INT13_NOT_OURS);
	if (got == HV_INT13_ERROR)
		assert_true(w->r.ax >> 8 != 0);
	assert_int_equal(w->ram[0x474], got == HV_INT13_ERROR ? w->r.ax >> 8
							      : 0);
	return got == HV_INT13_ERROR ? w->r.ax >> 8 : 0;
}

static void buffer(struct world *w, uint32_t gpa)
{
	w->r.es = (uint16_t)(gpa >> 4);
	w->r.bx = (uint16_t)(gpa & 15);
}

static void place(struct world *w, uint32_t cylinder, uint32_t sector)
{
	w->r.cx = (uint16_t)((cylinder & 0xff) << 8 | (cylinder >> 2 & 0xc0) |
			     sector);
}

static void packet(struct world *w, uint8_t bytes, uint16_t count,
		   uint32_t gpa, uint64_t lba)
{
	uint8_t *p = w->ram + PACKET;
	le64 l = le64_put(lba);

	memset(p, 0, 24);
	p[0] = bytes;
	p[2] = (uint8_t)count;
	p[3] = (uint8_t)(count >> 8);
	p[4] = gpa & 15;
	p[6] = (uint8_t)(gpa >> 4);
	p[7] = (uint8_t)(gpa >> 12);
	memcpy(p + 8, &l, sizeof(l));
	w->r.ds = PACKET >> 4;
	w->r.si = 0;
}

static unsigned packet_count(const struct world *w)
{
	return w->ram[PACKET + 2] | (unsigned)w->ram[PACKET + 3] << 8;
}

static void assert_blocks(const struct world *w, uint32_t gpa, uint64_t lba,
			  unsigned count)
{
	for (unsigned i = 0; i < 512 * count; i++)
		if (w->ram[gpa + i] != numbered(lba + i / 512, i % 512))
			fail_msg("byte %u of block %llu", i,
				 (unsigned long long)lba);
}

/* ------------------------------------------------------------------- CHS -- */

static void the_boot_sector_is_read(void **state)
{
	struct world *w = *state;

	memset(w->ram + 0x7c00, 0xff, 1024);
	buffer(w, 0x7c00);
	place(w, 0, 1);
	assert_int_equal(call(w, 0x0201, 0x80), 0);
	assert_int_equal(w->r.ax, 0x0001);
	assert_blocks(w, 0x7c00, 0, 1);
	assert_int_equal(w->ram[0x7e00], 0xff);
	assert_int_equal(w->a.reads, 1);
}

static void a_place_by_head_and_sector_is_a_block(void **state)
{
	struct world *w = *state;

	buffer(w, BUFFER);
	place(w, 5, 63);
	assert_int_equal(call(w, 0x0203, 254u << 8 | 0x80), 0);
	assert_blocks(w, BUFFER, (5 * 255 + 254) * 63 + 62, 3);
	place(w, 1023, 63);
	assert_int_equal(call(w, 0x0201, 254u << 8 | 0x81), 0);
	assert_int_equal(w->b.last_lba, 1024 * 255 * 63 - 1);
}

static void a_place_that_is_none_is_refused(void **state)
{
	struct world *w = *state;

	buffer(w, BUFFER);
	place(w, 0, 0);
	assert_int_equal(call(w, 0x0201, 0x80), 1);
	assert_int_equal(w->r.ax & 0xff, 0);
	place(w, 0, 1);
	assert_int_equal(call(w, 0x0200, 0x80), 1);
	assert_int_equal(call(w, 0x0201, 255u << 8 | 0x80), 1);
	place(w, 6, 63); /* block 100,000 is in the 7th cylinder */
	assert_int_equal(call(w, 0x0201, 254u << 8 | 0x80), 4);
	assert_int_equal(w->a.reads, 0);
	/* the last block, and one more */
	place(w, 6, 1 + BLOCKS % 63 - 1);
	assert_int_equal(BLOCKS / 63 / 255, 6);
	assert_int_equal(call(w, 0x0401, (BLOCKS / 63 % 255) << 8 | 0x80), 0);
	assert_int_equal(call(w, 0x0402, (BLOCKS / 63 % 255) << 8 | 0x80), 4);
}

static void the_geometry_is_told(void **state)
{
	struct world *w = *state;

	assert_int_equal(call(w, 0x0800, 0x80), 0);
	assert_int_equal(w->r.cx, 5u << 8 | 63);
	assert_int_equal(w->r.dx, 254u << 8 | 2);
	assert_int_equal(call(w, 0x0800, 0x81), 0);
	assert_int_equal(w->r.cx, 0xff << 8 | 0xc0 | 63);
	assert_int_equal(call(w, 0x1500, 0x80), 0);
	assert_int_equal(w->r.ax >> 8, 3);
	assert_int_equal((uint32_t)w->r.cx << 16 | w->r.dx, BLOCKS);
	assert_int_equal(call(w, 0x1500, 0x81), 0);
	assert_int_equal((uint32_t)w->r.cx << 16 | w->r.dx, UINT32_MAX);
}

static void what_is_written_is_durable(void **state)
{
	struct world *w = *state;

	w->ram[BUFFER] = 0x5a;
	buffer(w, BUFFER);
	place(w, 0, 2);
	assert_int_equal(call(w, 0x0302, 0x80), 0);
	assert_int_equal(w->a.last_lba, 1);
	assert_int_equal(w->a.last_blocks, 2);
	assert_int_equal(w->a.last_byte, 0x5a);
	assert_int_equal(w->a.flushes, 1);
	packet(w, 16, 8, BUFFER, 4096);
	assert_int_equal(call(w, 0x4300, 0x80), 0);
	assert_int_equal(w->a.last_lba, 4096);
	assert_int_equal(w->a.flushes, 2);
	packet(w, 16, 8, BUFFER, 4096);
	assert_int_equal(call(w, 0x4302, 0x80), 1); /* with a verify */
	assert_int_equal(w->a.writes, 2);
}

/* ------------------------------------------------------------------- EDD -- */

static void blocks_are_read_by_number(void **state)
{
	struct world *w = *state;

	w->r.bx = 0x55aa;
	assert_int_equal(call(w, 0x4100, 0x80), 0);
	assert_int_equal(w->r.bx, 0xaa55);
	assert_int_equal(w->r.ax >> 8, 0x30);
	assert_int_equal(w->r.cx, 5);
	packet(w, 16, 127, BUFFER, 1ull << 39);
	assert_int_equal(call(w, 0x4200, 0x81), 0);
	assert_int_equal(packet_count(w), 127);
	assert_blocks(w, BUFFER, 1ull << 39, 127);
	assert_int_equal(w->b.reads, 1); /* at once */
}

static void memory_above_1_mib_is_reached_by_a_long_packet(void **state)
{
	struct world *w = *state;
	le64 flat = le64_put(0x200001);

	packet(w, 24, 3, 0, 7);
	memset(w->ram + PACKET + 4, 0xff, 4);
	memcpy(w->ram + PACKET + 16, &flat, sizeof(flat));
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	assert_blocks(w, 0x200001, 7, 3);
	/* a short one means an address near 1 MiB by that */
	packet(w, 16, 1, 0, 7);
	memset(w->ram + PACKET + 4, 0xff, 4);
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	assert_blocks(w, 0x10ffef, 7, 1);
}

static void counts_up_to_the_last_are_right(void **state)
{
	struct world *w = *state;

	packet(w, 16, 0, BUFFER, BLOCKS);
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	assert_int_equal(w->a.reads, 0);
	packet(w, 16, 1, BUFFER, BLOCKS - 1);
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	packet(w, 16, 2, BUFFER, BLOCKS - 1);
	assert_int_equal(call(w, 0x4200, 0x80), 4);
	assert_int_equal(packet_count(w), 0);
	packet(w, 16, 1, BUFFER, UINT64_MAX);
	assert_int_equal(call(w, 0x4200, 0x80), 4);
	packet(w, 16, 65535, BUFFER, UINT64_MAX - 100);
	assert_int_equal(call(w, 0x4200, 0x80), 4);
	packet(w, 16, 65535, BUFFER, 0); /* 32 MiB: more than there is RAM */
	assert_int_equal(call(w, 0x4200, 0x80), 9);
	assert_int_equal(packet_count(w), 0);
	assert_int_equal(w->a.reads, 1);
	packet(w, 16, 4096, BUFFER, 1); /* in pieces of 1 MiB */
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	assert_int_equal(w->a.reads, 3);
	assert_blocks(w, BUFFER, 1, 4096);
}

static void a_piece_that_fails_ends_the_call(void **state)
{
	static const struct {
		int ret;
		unsigned status;
	} kinds[] = {{-EIO, 0x10}, {-ENOMEDIUM, 0x31}, {-ECANCELED, 0x80},
		     {-EROFS, 3},  {-EBUSY, 3},	       {-ENOSPC, 0x20},
		     {-EINVAL, 4}};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		w->a.fail = kinds[i].ret;
		w->a.fail_at = 2048 + 10;
		packet(w, 16, 6000, BUFFER, 0);
		assert_int_equal(call(w, 0x4200, 0x80), kinds[i].status);
		assert_int_equal(packet_count(w), 2048);
		packet(w, 16, 6000, BUFFER, 0);
		assert_int_equal(call(w, 0x4300, 0x80), kinds[i].status);
		assert_int_equal(packet_count(w), 2048);
	}
	assert_int_equal(w->a.flushes, 0);
	assert_int_equal(call(w, 0x0100, 0x80), 4); /* the status before */
}

static void a_packet_that_is_none_is_refused(void **state)
{
	struct world *w = *state;

	packet(w, 15, 1, BUFFER, 0);
	assert_int_equal(call(w, 0x4200, 0x80), 1);
	packet(w, 0, 1, BUFFER, 0);
	assert_int_equal(call(w, 0x4200, 0x80), 1);
	assert_int_equal(w->a.reads, 0);
	w->r.bx = 0xaa55;
	assert_int_equal(call(w, 0x4100, 0x80), 1);
}

static void parameters_fit_the_room_that_is_given(void **state)
{
	struct world *w = *state;
	uint8_t *p = w->ram + PACKET;
	static const struct {
		uint16_t room, used;
	} rooms[] = {{26, 26}, {29, 26}, {30, 30}, {66, 30}, {65535, 30}};

	w->r.ds = PACKET >> 4;
	w->r.si = 0;
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		memset(p, 0xa5, 80);
		p[0] = (uint8_t)rooms[i].room;
		p[1] = (uint8_t)(rooms[i].room >> 8);
		assert_int_equal(call(w, 0x4800, 0x80), 0);
		assert_int_equal(p[0], rooms[i].used);
		assert_memory_equal(p + 2, "\3\0\6\0\0\0\xff\0\0\0\x3f\0\0\0"
					   "\xa0\x86\1\0\0\0\0\0\0\2", 24);
		assert_int_equal(p[rooms[i].used], 0xa5);
	}
	p[0] = 25;
	p[1] = 0;
	assert_int_equal(call(w, 0x4800, 0x80), 1);
}

/* --------------------------------------------------------------- hostile -- */

/* In 2 MiB of RAM every address of real mode is RAM: so with less. */
static void memory_that_is_none_is_refused(void **state)
{
	struct world *w = *state;
	struct hv_int13_disks disks = {.disk = {&w->a.disk}, .disks = 1};
	le64 flat;

	hv_int13_destroy(w->h);
	hv_mem_destroy(w->mem);
	assert_int_equal(hv_mem_create(&w->mem), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, 0x80000, w->ram), 0);
	assert_int_equal(hv_int13_create(w->mem, &disks, &w->h), 0);
	w->ram[0x475] = 0;
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
	place(w, 0, 1);
	buffer(w, 0x80000 - 511);
	assert_int_equal(call(w, 0x0201, 0x80), 9);
	buffer(w, 0x80000 - 512);
	assert_int_equal(call(w, 0x0201, 0x80), 0);
	for (uint64_t at = UINT64_MAX; at >= 1ull << 63; at >>= 1) {
		packet(w, 24, 65535, 0, 0);
		memset(w->ram + PACKET + 4, 0xff, 4);
		flat = le64_put(at);
		memcpy(w->ram + PACKET + 16, &flat, sizeof(flat));
		assert_int_equal(call(w, 0x4200, 0x80), 9);
		assert_int_equal(packet_count(w), 0);
	}
	/* packets and answers that begin or end outside */
	for (unsigned si = 0; si < 16; si++) {
		w->r.ds = 0x7fff;
		w->r.si = (uint16_t)si;
		w->ram[0x7fff0 + si] = 24;
		(void)call(w, 0x4200, 0x80);
		(void)call(w, 0x4300, 0x80);
		(void)call(w, 0x4800, 0x80);
		(void)call(w, 0x4b01, 0x80);
		w->r.ds = w->r.si = 0xffff;
		assert_int_equal(call(w, 0x4200, 0x80), 1);
		assert_int_equal(call(w, 0x4800, 0x80), 1);
	}
}

static void every_function_of_every_drive_has_an_answer(void **state)
{
	struct world *w = *state;

	for (unsigned ah = 0; ah < 256; ah++)
		for (unsigned dl = 0; dl < 256; dl++) {
			bool ours = dl >= 0x80 && dl <= 0xe0;
			enum hv_int13_result got;

			w->r = (struct hv_int13_regs){
				.ax = (uint16_t)(ah << 8 | 0xff),
				.bx = 0xffff, .cx = 0xffff, .si = 0xffff,
				.dx = (uint16_t)(0xff00 | dl),
				.ds = 0xffff, .es = 0xffff,
			};
			got = hv_int13_exit(w->h, HV_INT13_CALL, &w->r);
			assert_int_equal(got == HV_INT13_NOT_OURS, !ours);
			if (!ours)
				assert_int_equal(w->r.ax, ah << 8 | 0xff);
		}
}

static void disks_come_behind_those_that_are_there(void **state)
{
	struct world *w = *state;

	assert_int_equal(w->ram[0x475], 2);
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r); /* not once more */
	assert_int_equal(w->ram[0x475], 2);
	hv_int13_reset(w->h, &w->disks);
	w->r.ax = 0x0800;
	w->r.dx = 0x80;
	assert_int_equal(hv_int13_exit(w->h, HV_INT13_CALL, &w->r),
			 HV_INT13_NOT_OURS);
	w->ram[0x475] = 1;
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
	assert_int_equal(w->ram[0x475], 3);
	w->r.dx = 0x80;
	assert_int_equal(hv_int13_exit(w->h, HV_INT13_CALL, &w->r),
			 HV_INT13_NOT_OURS);
	assert_int_equal(call(w, 0x0800, 0x81), 0);
	assert_int_equal(w->r.dx & 0xff, 3);
	/* the firmware's word is the guest's by now */
	for (unsigned n = 0; n < 256; n++) {
		hv_int13_reset(w->h, &w->disks);
		w->ram[0x475] = (uint8_t)n;
		(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
		assert_int_equal(w->ram[0x475], n < 95	 ? n + 2
						: n == 95 ? 96
							  : n);
	}
}

/* What EDD says of a disk's size. */
static uint64_t blocks_told(struct world *w, uint8_t drive)
{
	le64 blocks;

	packet(w, 30, 0, 0, 0); /* the room comes first, too */
	assert_int_equal(call(w, 0x4800, drive), 0);
	memcpy(&blocks, w->ram + PACKET + 16, sizeof(blocks));
	return le64_get(blocks);
}

static void restart(struct world *w)
{
	hv_int13_reset(w->h, &w->disks);
	w->ram[0x475] = 0;
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
}

/* One grew, one came, later the first one goes, and a disc is changed. */
static void a_reset_finds_the_disks_as_they_are_by_then(void **state)
{
	struct world *w = *state;
	struct fake c;

	fake_init(&c, 77, 512);
	assert_int_equal(blocks_told(w, 0x80), BLOCKS);
	w->a.disk.blocks = BLOCKS + 5;
	hv_int13_disks_add(&w->disks, &c.disk);
	restart(w);
	assert_int_equal(w->ram[0x475], 3);
	assert_int_equal(blocks_told(w, 0x80), BLOCKS + 5);
	assert_int_equal(blocks_told(w, 0x82), 77);
	packet(w, 16, 1, 0x800, BLOCKS + 4);
	assert_int_equal(call(w, 0x4200, 0x80), 0);
	packet(w, 16, 1, 0x800, BLOCKS + 5);
	assert_int_equal(call(w, 0x4200, 0x80), 4);

	w->disks = (struct hv_int13_disks){.disks = 0};
	hv_int13_disks_add(&w->disks, &c.disk);
	w->dvd.disk.blocks = 50;
	hv_int13_disks_add(&w->disks, &w->dvd.disk);
	restart(w);
	assert_int_equal(w->ram[0x475], 1);
	assert_int_equal(blocks_told(w, 0x80), 77);
	assert_int_equal(blocks_told(w, 0xe0), 50);
	assert_int_equal(call(w, 0x0800, 0x81), 1);
}

static void a_list_takes_as_many_as_have_numbers(void **state)
{
	struct hv_int13_disks d = {.disks = 0};
	struct world *w = *state;

	for (unsigned i = 0; i <= HV_INT13_DISKS_MAX; i++) {
		hv_int13_disks_add(&d, &w->a.disk);
		hv_int13_disks_add(&d, &w->dvd.disk);
	}
	assert_int_equal(d.disks, HV_INT13_DISKS_MAX);
	assert_int_equal(d.dvds, HV_INT13_DVDS_MAX);
}

/* SeaBIOS finds drives of the IDE controller by itself, after ours. */
static void disks_that_the_firmware_finds_once_more_are_none(void **state)
{
	struct world *w = *state;

	w->ram[0x475] += 2;
	assert_int_equal(call(w, 0x0800, 0x80), 0);
	assert_int_equal(w->r.dx & 0xff, 2);
	assert_int_equal(w->ram[0x475], 2);
	for (unsigned dl = 0x82; dl < 0xe0; dl++) {
		assert_int_equal(call(w, 0x0201, (uint16_t)dl), 1);
		assert_int_equal(call(w, 0x1500, (uint16_t)dl), 1);
	}
	/* what a boot loader says later stays */
	w->ram[0x475] = 7;
	assert_int_equal(call(w, 0x0800, 0x80), 0);
	assert_int_equal(w->ram[0x475], 7);
	hv_int13_reset(w->h, &w->disks);
	w->ram[0x475] = 0;
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
	w->ram[0x475] = 3;
	assert_int_equal(call(w, 0x0800, 0x80), 0);
	assert_int_equal(w->ram[0x475], 2);
}

/* ------------------------------------------------------------------ discs -- */

#define CATALOGUE 40u
#define IMAGE	  60u

static uint8_t entry[32];

/* A disc with a boot record, whose initial entry is `entry`. */
static uint8_t disc_at(uint64_t lba, unsigned off)
{
	static const char record[0x48] = "\0CD001\1EL TORITO SPECIFICATION";
	static const uint8_t validation[32] = {1, [28] = 0xaa, [29] = 0x55,
					       [30] = 0x55, [31] = 0xaa};

	if (lba == 17)
		return off == 0x47 ? CATALOGUE
		       : off < 0x47 ? (uint8_t)record[off] : 0;
	if (lba == CATALOGUE)
		return off < 32 ? validation[off] : off < 64 ? entry[off - 32]
							     : 0;
	return (uint8_t)(lba + off / 512);
}

static void disc(struct world *w, uint8_t media, uint16_t segment,
		 uint16_t sectors, uint32_t lba)
{
	const uint8_t e[12] = {0x88,
			       media,
			       (uint8_t)segment,
			       (uint8_t)(segment >> 8),
			       0,
			       0,
			       (uint8_t)sectors,
			       (uint8_t)(sectors >> 8),
			       (uint8_t)lba,
			       (uint8_t)(lba >> 8),
			       (uint8_t)(lba >> 16),
			       (uint8_t)(lba >> 24)};

	memcpy(entry, e, sizeof(e));
	w->dvd.at = disc_at;
}

static enum hv_int13_result boot_disc(struct world *w)
{
	w->r = (struct hv_int13_regs){0};
	return hv_int13_exit(w->h, HV_INT13_DVD, &w->r);
}

static void a_disc_boots(void **state)
{
	struct world *w = *state;

	disc(w, 0, 0, 6, IMAGE);
	memset(w->ram + 0x7c00, 0xff, 4096);
	assert_int_equal(boot_disc(w), HV_INT13_OK);
	assert_int_equal(w->r.ax, 0x7c00);
	assert_int_equal(w->r.bx, 0);
	assert_int_equal(w->r.dx, 0xe0);
	for (unsigned i = 0; i < 6 * 512; i++)
		assert_int_equal(w->ram[0x7c00 + i],
				 disc_at(IMAGE + i / 2048, i % 2048));
	assert_int_equal(w->ram[0x7c00 + 6 * 512], 0xff);
	/* what it asks of where it came from */
	w->r.ds = PACKET >> 4;
	w->r.si = 0;
	assert_int_equal(call(w, 0x4b01, 0xe0), 0);
	assert_memory_equal(w->ram + PACKET, "\x13\0\xe0\0\x3c\0\0\0\0\0\0\0"
					     "\xc0\7\6\0\0\0\0", 19);
	assert_int_equal(call(w, 0x4b01, 0x80), 1);
	packet(w, 16, 1, BUFFER, IMAGE);
	assert_int_equal(call(w, 0x4200, 0xe0), 0);
	assert_int_equal(w->ram[BUFFER], IMAGE);
	assert_int_equal(w->ram[BUFFER + 2047], IMAGE + 3);
	w->ram[PACKET] = 26;
	assert_int_equal(call(w, 0x4800, 0xe0), 0);
	assert_memory_equal(w->ram + PACKET + 2, "\5\0", 2);
	assert_memory_equal(w->ram + PACKET + 24, "\0\x08", 2);
	assert_int_equal(call(w, 0x0201, 0xe0), 1); /* no places by head */
}

static void a_disc_that_does_not_boot_is_left(void **state)
{
	struct world *w = *state;

	assert_int_equal(boot_disc(w), HV_INT13_ERROR); /* no record */
	disc(w, 2, 0, 4, IMAGE); /* emulates a floppy */
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	disc(w, 0, 0, 0, IMAGE);
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	disc(w, 0, 0x20, 4, IMAGE); /* over the interrupt vectors */
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	disc(w, 0, 0x9fc0, 1, IMAGE); /* over the BIOS' data */
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	disc(w, 0, 0xffff, 65535, IMAGE);
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	disc(w, 0, 0, 1, 0xffffffff); /* fake_read would fail the test */
	w->dvd.disk.blocks = 1ull << 33;
	assert_int_equal(boot_disc(w), HV_INT13_OK);
	disc(w, 0, 0, 65535, IMAGE);
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	entry[0] = 0;
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	w->dvd.fail = -ENOMEDIUM;
	w->dvd.fail_at = 0;
	assert_int_equal(boot_disc(w), HV_INT13_ERROR);
	assert_int_equal(call(w, 0x4200, 0xe0), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_boot_sector_is_read),
		TEST(a_place_by_head_and_sector_is_a_block),
		TEST(a_place_that_is_none_is_refused),
		TEST(the_geometry_is_told),
		TEST(what_is_written_is_durable),
		TEST(blocks_are_read_by_number),
		TEST(memory_above_1_mib_is_reached_by_a_long_packet),
		TEST(counts_up_to_the_last_are_right),
		TEST(a_piece_that_fails_ends_the_call),
		TEST(a_packet_that_is_none_is_refused),
		TEST(parameters_fit_the_room_that_is_given),
		TEST(memory_that_is_none_is_refused),
		TEST(every_function_of_every_drive_has_an_answer),
		TEST(disks_come_behind_those_that_are_there),
		TEST(a_reset_finds_the_disks_as_they_are_by_then),
		TEST(a_list_takes_as_many_as_have_numbers),
		TEST(disks_that_the_firmware_finds_once_more_are_none),
		TEST(a_disc_boots),
		TEST(a_disc_that_does_not_boot_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
