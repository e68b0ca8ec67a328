/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of 4096 bytes and physical blocks beside the logical: every command
 * that counts blocks, decoded and through the whole VSP.
 */
#include <errno.h>

#include "tests/lib/plainvsp.h"
#include "tests/lib/scsitask.h"

#define LARGE  4096u
#define BLOCKS (DISK_BYTES / LARGE)

static void large(struct task *k, uint32_t buffer, uint8_t data_in)
{
	task_init(k, buffer, data_in);
	k->disk.block_log2 = 3;
	k->disk.unmap = true;
	atomic_store(&k->switches.sectors, 8 * 1000 + 7); /* 1000 blocks */
}

static void capacity_tells_blocks_and_their_size(void **state)
{
	struct task k;

	(void)state;
	large(&k, 32, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\0\0\x03\xe7\0\0\x10\0", 8);
	assert_int_equal(
		RUN(&k, 0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0),
		SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\0\0\0\0\0\0\x03\xe7\0\0\x10\0\0\0\x80",
			    15);
	k.disk.block_log2 = 0;
	k.disk.physical_log2 = 3;
	assert_int_equal(
		RUN(&k, 0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0),
		SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\0\0\0\0\0\0\x1f\x46\0\0\x02\0\0\x03",
			    14);
}

static void limits_are_told_in_blocks(void **state)
{
	static const uint8_t want[64] = {
		[1] = 0xB0,	    [3] = 0x3C, [4] = 1,
		[5] = 1,		   /* COMPARE AND WRITE */
		[7] = 1,		   /* 4 KiB */
		[10] = 2,		   /* 2 MiB */
		[18] = 0x20,		   /* 32 MiB */
		[21] = 0x10,		   /* 4 GiB */
		[27] = 64,	    [31] = 1,	[32] = 0x80, [41] = 0x10,
	};
	struct task k;

	(void)state;
	large(&k, 64, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 1, 0xB0, 0, 64, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, want, 64);
}

/* Each with the last block, and with the one behind it. */
static void every_command_counts_in_blocks(void **state)
{
	static const struct {
		uint8_t cdb[16];
		uint8_t at, bytes; /* of the address */
		uint8_t data_in;
		bool extent;
	} rows[] = {
		{{0x08, [4] = 1}, 2, 2, STORVSP_DATA_IN, false},
		{{0x0A, [4] = 1}, 2, 2, STORVSP_DATA_OUT, false},
		{{0x28, [8] = 1}, 2, 4, STORVSP_DATA_IN, false},
		{{0x2A, [8] = 1}, 2, 4, STORVSP_DATA_OUT, false},
		{{0xA8, [9] = 1}, 2, 4, STORVSP_DATA_IN, false},
		{{0xAA, [9] = 1}, 2, 4, STORVSP_DATA_OUT, false},
		{{0x88, [13] = 1}, 2, 8, STORVSP_DATA_IN, false},
		{{0x8A, [13] = 1}, 2, 8, STORVSP_DATA_OUT, false},
		{{0x2E, [8] = 1}, 2, 4, STORVSP_DATA_OUT, true},
		{{0x2F, [8] = 1}, 2, 4, STORVSP_DATA_NONE, true},
		{{0x34, [8] = 1}, 2, 4, STORVSP_DATA_NONE, true},
		{{0x90, [13] = 1}, 2, 8, STORVSP_DATA_NONE, true},
		{{0x41, [8] = 1}, 2, 4, STORVSP_DATA_OUT, true},
		{{0x93, [13] = 1}, 2, 8, STORVSP_DATA_OUT, true},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t cdb[16], at = (uint8_t)(rows[i].at + rows[i].bytes - 2);
		struct task k;

		memcpy(cdb, rows[i].cdb, 16);
		scsi_put16(cdb + at, 999);
		large(&k, LARGE, rows[i].data_in);
		k.t.param_bytes = LARGE;
		assert_int_equal(task_run(&k, 0, cdb, 16), SCSI_IO);
		if (rows[i].extent) {
			assert_int_equal(k.t.extent_count, 1);
			assert_int_equal(k.t.extent[0].lba, 999 * 8);
			assert_int_equal(k.t.extent[0].sectors, 8);
		} else {
			assert_int_equal(k.t.io.lba, 999 * 8);
			assert_int_equal(k.t.io.bytes, LARGE);
		}
		scsi_put16(cdb + at, 1000);
		assert_int_equal(task_run(&k, 0, cdb, 16), SCSI_LBA_RANGE);
		/* half a block of a buffer */
		scsi_put16(cdb + at, 999);
		k.t.buffer_bytes = LARGE - 1;
		k.t.param_bytes = LARGE - 1;
		assert_int_equal(task_run(&k, 0, cdb, 16),
				 rows[i].data_in == STORVSP_DATA_NONE
					 ? SCSI_IO
					 : SCSI_BAD_FIELD);
	}
}

static void flushes_and_lists_count_in_blocks(void **state)
{
	struct task k;

	(void)state;
	large(&k, 24, STORVSP_DATA_NONE);
	assert_int_equal(RUN(&k, 0x35, 0, 0, 0, 3, 0xE7, 0, 0, 1, 0), SCSI_IO);
	assert_int_equal(RUN(&k, 0x35, 0, 0, 0, 3, 0xE7, 0, 0, 2, 0),
			 SCSI_LBA_RANGE);
	large(&k, 24, STORVSP_DATA_OUT);
	k.t.param_bytes = 24;
	scsi_put16(k.t.param + 2, 16);
	scsi_put64(k.t.param + 8, 990);
	scsi_put32(k.t.param + 16, 10);
	assert_int_equal(RUN(&k, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), SCSI_IO);
	assert_int_equal(k.t.extent[0].lba, 990 * 8);
	assert_int_equal(k.t.extent[0].sectors, 80);
	scsi_put32(k.t.param + 16, 11);
	assert_int_equal(RUN(&k, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0),
			 SCSI_LBA_RANGE);
}

/* N and N + 1; 0 is the rest, up to that; IMMED is believed at once. */
static void prefetching_has_its_limit(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_NONE);
	atomic_store(&k.switches.sectors, 1u << 20);
	assert_int_equal(
		RUN(&k, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0),
		SCSI_IO);
	assert_int_equal(k.t.extent[0].sectors, SCSI_PREFETCH_SECTORS_MAX);
	assert_true(k.t.io.verify);
	assert_int_equal(
		RUN(&k, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0),
		SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_IO);
	assert_int_equal(k.t.extent[0].sectors, SCSI_PREFETCH_SECTORS_MAX);
	assert_int_equal(RUN(&k, 0x34, 0, 0, 0x0F, 0xFF, 0xFE, 0, 0, 0, 0),
			 SCSI_IO);
	assert_int_equal(k.t.extent[0].sectors, 2);
	assert_int_equal(RUN(&k, 0x34, 0, 0, 0x10, 0, 0, 0, 0, 0, 0),
			 SCSI_GOOD); /* nothing is left there */
	assert_int_equal(RUN(&k, 0x34, 0, 0, 0x10, 0, 1, 0, 0, 0, 0),
			 SCSI_LBA_RANGE);
	assert_int_equal(RUN(&k, 0x34, 2, 0, 0, 0, 0, 0, 0, 8, 0), SCSI_GOOD);
}

/* ------------------------------------------------- through the whole VSP -- */

/* The disk of `w` on a controller. */
static void attached(struct world *w, uint32_t block_bytes)
{
	const struct storvsp_disk_opts o = {.block_bytes = block_bytes,
					    .unmap = STORVSP_UNMAP_ON};
	struct vsc_opts v = {.vsp.engine = VHD_ENGINE_SYNC};

	w->v = vsc_create(&v);
	assert_int_equal(storvsp_disk_add(vsc_vsp(w->v), &o, w->img, NULL), 0);
	w->c = vsc_open(w->v, 0);
	vsc_buffer_init(w->v, &w->b, VSC_BUFFER_PAGES);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
}

static void opened(struct world *w, uint32_t block_bytes)
{
	w->m = memfile_create();
	w->img = qtest_create_mem(memfile_file(w->m), VHD_FORMAT_DYNAMIC,
				  DISK_BYTES, 512 << 10);
	attached(w, block_bytes);
}

static void run_blocks(struct world *w, bool write, uint64_t lba,
		       uint32_t blocks)
{
	struct vsc_cmd cmd = vsc_rw(write, 0, lba, blocks, false, &w->b);
	struct vsc_answer a;

	cmd.bytes = blocks * LARGE;
	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), cmd.bytes);
}

static void bytes_land_where_the_blocks_are(void **state)
{
	static uint8_t data[4 * LARGE], got[4 * LARGE];
	struct world w;

	(void)state;
	opened(&w, LARGE);
	qtest_fill(data, sizeof(data), 77, 1);
	vsc_buffer_put(&w.b, data, sizeof(data));
	run_blocks(&w, true, BLOCKS - 4, 4);
	memset(got, 0, sizeof(got));
	vsc_buffer_put(&w.b, got, sizeof(got));
	run_blocks(&w, false, BLOCKS - 4, 4);
	vsc_buffer_get(&w.b, got, sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	vsc_destroy(w.v);
	assert_int_equal(vhd_read(w.img, DISK_BYTES - sizeof(got), got,
				  sizeof(got), NULL),
			 0);
	assert_memory_equal(got, data, sizeof(got));
	qtest_close(w.img);
	memfile_destroy(w.m);
}

/* The pattern is a whole block. */
static void write_same_repeats_its_block(void **state)
{
	struct vsc_cmd cmd = {
		.cdb = {0x93, [9] = 3, [12] = 2}, /* 512 blocks from 3 on */
		.data_in = STORVSP_DATA_OUT,
		.bytes = LARGE,
	};
	uint8_t block[LARGE], got[LARGE];
	struct vsc_answer a;
	struct world w;

	(void)state;
	opened(&w, LARGE);
	qtest_fill(block, LARGE, 5, 2);
	vsc_buffer_put(&w.b, block, LARGE);
	cmd.buffer = &w.b;
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_destroy(w.v);
	for (unsigned i = 0; i < 600; i++) {
		assert_int_equal(
			vhd_read(w.img, i * LARGE, got, LARGE, NULL), 0);
		if (i < 3 || i >= 3 + 512)
			qtest_check_zero(got, LARGE);
		else
			assert_memory_equal(got, block, LARGE);
	}
	qtest_close(w.img);
	memfile_destroy(w.m);
}

static void lba_status_is_told_in_blocks(void **state)
{
	struct vsc_cmd cmd = {.cdb = {0x9E, 0x12, [13] = 64},
			      .data_in = STORVSP_DATA_IN,
			      .bytes = 64};
	uint8_t got[64];
	struct vsc_answer a;
	struct world w;

	(void)state;
	opened(&w, LARGE);
	run_blocks(&w, true, 130, 1); /* block 1 of 128 blocks of 4 KiB */
	cmd.buffer = &w.b;
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_buffer_get(&w.b, got, 64);
	assert_int_equal(scsi_get32(got), 4 + 3 * 16);
	assert_int_equal(scsi_get64(got + 8), 0);
	assert_int_equal(scsi_get32(got + 16), 128);
	assert_int_equal(got[20], 1);
	assert_int_equal(scsi_get64(got + 24), 128);
	assert_int_equal(scsi_get32(got + 32), 128);
	assert_int_equal(got[36], 0);
	assert_int_equal(scsi_get32(got + 48), BLOCKS - 256);
	scsi_put64(cmd.cdb + 2, BLOCKS);
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x21);
	stop(&w);
}

/* A block of which one sector is mapped counts as mapped. */
static void a_block_is_mapped_where_a_sector_of_it_is(void **state)
{
	/* of the first 16 KiB only sector 3 and the last four */
	static const uint8_t bits[4] = {0x10, 0, 0, 0x0f};
	const struct vhd_open_opts again = {.format = VHD_FORMAT_DYNAMIC};
	struct vsc_cmd cmd = {.cdb = {0x9E, 0x12, [13] = 56},
			      .data_in = STORVSP_DATA_IN,
			      .bytes = 56};
	uint8_t got[56], data[SECTOR] = {1};
	struct vsc_answer a;
	struct vhd_file f;
	struct world w;
	uint64_t at;

	(void)state;
	w.m = memfile_create();
	f = memfile_file(w.m);
	w.img = qtest_create_mem(f, VHD_FORMAT_DYNAMIC, DISK_BYTES, 512 << 10);
	assert_int_equal(vhd_write(w.img, 0, data, SECTOR, NULL), 0);
	assert_int_equal(vhd_layer_block(w.img, 0, 0, &at), 0);
	qtest_close(w.img);
	memfile_poke(w.m, bits, sizeof(bits), at);
	f = memfile_file(w.m);
	assert_int_equal(vhd_open_file(&f, &again, &w.img, NULL), 0);
	attached(&w, LARGE);
	cmd.buffer = &w.b;
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_buffer_get(&w.b, got, sizeof(got));
	assert_int_equal(scsi_get32(got), 4 + 3 * 16);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(got[8 + 16 * i + 12], i == 1);
	assert_int_equal(scsi_get32(got + 16), 1);
	assert_int_equal(scsi_get32(got + 32), 2);
	/* the last of the four, and what the bits behind say */
	assert_int_equal(scsi_get64(got + 40), 3);
	stop(&w);
}

static void blocks_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint32_t block, physical;
		bool good;
	} rows[] = {
		{0, 0, true},	   {512, 0, true},   {512, 512, true},
		{512, 4096, true}, {4096, 0, true},  {4096, 4096, true},
		{0, 4096, true},   {4096, 512, false}, {1024, 0, false},
		{2048, 0, false},  {8192, 0, false}, {0, 8192, false},
		{1, 0, false},	   {0, 1, false},
	};
	struct world w;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct storvsp_disk_opts o = {
			.lun = 3,
			.block_bytes = rows[i].block,
			.physical_bytes = rows[i].physical,
		};
		struct vsc_opts v = {.vsp.engine = VHD_ENGINE_SYNC};
		struct vhd_err err;

		w.m = memfile_create();
		w.img = qtest_create_mem(memfile_file(w.m), VHD_FORMAT_DYNAMIC,
					 DISK_BYTES + (i == 4 ? 512u : 0), 512 << 10);
		w.v = vsc_create(&v);
		/* row 4: blocks of 4 KiB, but a size that is no multiple */
		assert_int_equal(
			storvsp_disk_add(vsc_vsp(w.v), &o, w.img, &err),
			rows[i].good && i != 4 ? 0 : -EINVAL);
		stop(&w);
	}
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(capacity_tells_blocks_and_their_size),
		T(limits_are_told_in_blocks),
		T(every_command_counts_in_blocks),
		T(flushes_and_lists_count_in_blocks),
		T(prefetching_has_its_limit),
		T(bytes_land_where_the_blocks_are),
		T(write_same_repeats_its_block),
		T(lba_status_is_told_in_blocks),
		T(a_block_is_mapped_where_a_sector_of_it_is),
		T(blocks_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
