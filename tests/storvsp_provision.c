/* SPDX-License-Identifier: BSD-2-Clause */
/* UNMAP, WRITE SAME and GET LBA STATUS: what is refused before anything is
 * done, and what a guest reads afterwards, through the whole VSP.
 */
#include "tests/lib/childpair.h"
#include <errno.h>

#include "tests/lib/plainvsp.h"
#include "tests/lib/scsitask.h"
#include "tests/lib/simvsp.h"

#define LIST(extents) (8 + 16 * (extents))

/* ------------------------------------------------------ what is judged -- */

static void unmap_init(struct task *k, uint32_t buffer)
{
	task_init(k, buffer, STORVSP_DATA_OUT);
	k->disk.unmap = true;
	k->t.param_bytes = buffer;
	scsi_put16(k->t.param, (uint16_t)(buffer - 2));
	scsi_put16(k->t.param + 2, (uint16_t)(buffer - 8));
}

static void put_extent(struct task *k, unsigned i, uint64_t lba, uint32_t n)
{
	scsi_put64(k->t.param + LIST(i), lba);
	scsi_put32(k->t.param + LIST(i) + 8, n);
}

static enum scsi_verdict unmap(struct task *k, uint16_t list)
{
	return RUN(k, 0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(list >> 8),
		   (uint8_t)list, 0);
}

static void lists_are_taken_as_the_standard_says(void **state)
{
	static const struct {
		uint16_t buffer, list, told;
		enum scsi_verdict want;
	} rows[] = {
		{24, 24, 16, SCSI_IO},
		{24, 0, 16, SCSI_GOOD},
		{24, 7, 16, SCSI_PARAM_LENGTH},
		{24, 8, 0, SCSI_GOOD},
		{24, 23, 16, SCSI_PARAM_LENGTH}, /* more told than there is */
		{24, 24, 17, SCSI_PARAM_LENGTH},
		{24, 24, 15, SCSI_GOOD}, /* no whole extent */
		{23, 24, 16, SCSI_BAD_FIELD}, /* more listed than sent */
		{LIST(64), LIST(64), 1024, SCSI_IO},
		{LIST(64) + 16, LIST(64) + 16, 1040, SCSI_BAD_PARAM},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct task k;

		unmap_init(&k, rows[i].buffer);
		scsi_put16(k.t.param + 2, rows[i].told);
		for (unsigned e = 0; e < 64; e++)
			put_extent(&k, e, e, 1);
		assert_int_equal(unmap(&k, rows[i].list), rows[i].want);
		if (rows[i].want == SCSI_IO)
			assert_int_equal(k.t.extent_count,
					 (rows[i].list - 8u) / 16);
	}
}

static void one_bad_extent_refuses_the_whole_list(void **state)
{
	static const struct {
		uint64_t lba;
		uint32_t sectors;
		enum scsi_verdict want;
	} rows[] = {
		{TASK_SECTORS - 1, 1, SCSI_IO},
		{TASK_SECTORS, 0, SCSI_IO},
		{TASK_SECTORS, 1, SCSI_LBA_RANGE},
		{TASK_SECTORS + 1, 0, SCSI_LBA_RANGE},
		{0, TASK_SECTORS + 1, SCSI_LBA_RANGE},
		{UINT64_MAX, 2, SCSI_LBA_RANGE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct task k;

		unmap_init(&k, LIST(2));
		put_extent(&k, 0, 5, 7);
		put_extent(&k, 1, rows[i].lba, rows[i].sectors);
		assert_int_equal(unmap(&k, LIST(2)), rows[i].want);
	}
}

static void the_sum_of_the_extents_is_bounded(void **state)
{
	struct task k;

	(void)state;
	unmap_init(&k, LIST(2));
	k.switches.sectors = 1ull << 32;
	put_extent(&k, 0, 0, SCSI_UNMAP_SECTORS_MAX - 1);
	put_extent(&k, 1, 1u << 30, 1);
	assert_int_equal(unmap(&k, LIST(2)), SCSI_IO);
	put_extent(&k, 1, 1u << 30, 2);
	assert_int_equal(unmap(&k, LIST(2)), SCSI_BAD_PARAM);
}

static void a_disk_without_unmapping_does_not_know_it(void **state)
{
	struct task k;

	(void)state;
	unmap_init(&k, LIST(1));
	put_extent(&k, 0, 0, 1);
	assert_int_equal(RUN(&k, 0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0),
			 SCSI_BAD_FIELD); /* ANCHOR */
	k.disk.read_only = true;
	assert_int_equal(unmap(&k, 24), SCSI_WRITE_PROTECTED);
	k.disk.unmap = false;
	assert_int_equal(unmap(&k, 24), SCSI_BAD_OPCODE);
}

static void write_same_refuses_what_it_cannot_do(void **state)
{
	static const struct {
		uint8_t flags;
		uint32_t sectors;
		uint32_t buffer;
		enum scsi_verdict want;
	} rows[] = {
		{0x00, 1, 512, SCSI_IO},
		{0x08, 1, 512, SCSI_IO}, /* UNMAP */
		{0x09, 1, 0, SCSI_IO},	 /* UNMAP and NDOB */
		{0x01, 1, 0, SCSI_IO},	 /* NDOB */
		{0x00, 1, 511, SCSI_BAD_FIELD},
		{0x00, 0, 512, SCSI_BAD_FIELD},
		{0x10, 1, 512, SCSI_BAD_FIELD}, /* ANCHOR */
		{0x20, 1, 512, SCSI_BAD_FIELD}, /* WRPROTECT */
		{0x02, 1, 512, SCSI_BAD_FIELD}, /* LBDATA */
		{0x04, 1, 512, SCSI_BAD_FIELD}, /* PBDATA */
		{0x00, TASK_SECTORS, 512, SCSI_IO},
		{0x00, TASK_SECTORS + 1, 512, SCSI_LBA_RANGE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t cdb[16] = {0x93, rows[i].flags};
		struct task k;

		task_init(&k, rows[i].buffer, STORVSP_DATA_OUT);
		k.disk.unmap = true;
		k.t.param_bytes = rows[i].buffer;
		scsi_put32(cdb + 10, rows[i].sectors);
		assert_int_equal(task_run(&k, 0, cdb, 16), rows[i].want);
	}
}

static void write_same_10_has_no_ndob(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 512, STORVSP_DATA_OUT);
	k.t.param_bytes = 512;
	assert_int_equal(RUN(&k, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
	assert_int_equal(RUN(&k, 0x41, 1, 0, 0, 0, 0, 0, 0, 1, 0),
			 SCSI_BAD_FIELD);
	/* UNMAP, of a disk that takes nothing back */
	assert_int_equal(RUN(&k, 0x41, 8, 0, 0, 0, 0, 0, 0, 1, 0),
			 SCSI_BAD_FIELD);
	atomic_store(&k.switches.sectors, 1ull << 32);
	assert_int_equal(RUN(&k, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0,
			     0, 0),
			 SCSI_IO);
	assert_int_equal(RUN(&k, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 1,
			     0, 0),
			 SCSI_BAD_FIELD);
	/* zeros, and bytes that begin so */
	assert_int_equal(RUN(&k, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
	assert_int_equal(k.t.io.op, VHD_OP_ZERO);
	k.t.param[511] = 1;
	assert_int_equal(RUN(&k, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
	assert_int_equal(k.t.io.op, VHD_OP_WRITE);
}

/* -------------------------------------------------------- what is done -- */

static void fill(struct world *w, uint64_t lba, uint32_t sectors, uint8_t byte)
{
	static uint8_t b[VSC_BUFFER_PAGES * 4096];

	memset(b, byte, (size_t)sectors * SECTOR);
	vsc_buffer_put(&w->b, b, (size_t)sectors * SECTOR);
	run_rw(w, true, lba, sectors, false);
}

static void sectors_are(struct world *w, uint64_t lba, uint32_t sectors,
			uint8_t byte)
{
	static uint8_t b[VSC_BUFFER_PAGES * 4096];

	run_rw(w, false, lba, sectors, false);
	vsc_buffer_get(&w->b, b, (size_t)sectors * SECTOR);
	for (size_t i = 0; i < (size_t)sectors * SECTOR; i++)
		assert_int_equal(b[i], byte);
}

static struct vsc_cmd out_cmd(struct world *w, const void *cdb, size_t n,
			      const void *data, uint32_t bytes)
{
	struct vsc_cmd cmd = {
		.data_in = bytes ? STORVSP_DATA_OUT : STORVSP_DATA_NONE,
		.bytes = bytes,
		.buffer = bytes ? &w->b : NULL,
	};

	memcpy(cmd.cdb, cdb, n);
	if (bytes)
		vsc_buffer_put(&w->b, data, bytes);
	return cmd;
}

static void run_unmap(struct world *w, const struct scsi_extent *e, unsigned n)
{
	uint8_t cdb[10] = {0x42}, list[SCSI_PARAM_BYTES_MAX] = {0};
	struct vsc_answer a;
	struct vsc_cmd cmd;

	scsi_put16(cdb + 7, (uint16_t)LIST(n));
	scsi_put16(list, (uint16_t)(LIST(n) - 2));
	scsi_put16(list + 2, (uint16_t)(16 * n));
	for (unsigned i = 0; i < n; i++) {
		scsi_put64(list + LIST(i), e[i].lba);
		scsi_put32(list + LIST(i) + 8, (uint32_t)e[i].sectors);
	}
	cmd = out_cmd(w, cdb, 10, list, (uint32_t)LIST(n));
	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), LIST(n));
}

static void begin(struct world *w)
{
	start(w);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
}

static void unmapped_sectors_read_as_zero_and_others_stay(void **state)
{
	const struct scsi_extent e[] = {
		{10, 5}, {1020, 10}, {4000, 1}, {8000, 8}, /* 8000: no block */
	};
	struct storvsp_stats s;
	struct world w;

	(void)state;
	begin(&w);
	fill(&w, 0, 2048, 0xab);
	fill(&w, 4000, 3, 0xcd);
	run_unmap(&w, e, 4);
	sectors_are(&w, 0, 10, 0xab);
	sectors_are(&w, 10, 5, 0);
	sectors_are(&w, 15, 1005, 0xab);
	sectors_are(&w, 1020, 10, 0);
	sectors_are(&w, 1030, 1018, 0xab);
	sectors_are(&w, 4000, 1, 0);
	sectors_are(&w, 4001, 2, 0xcd);
	sectors_are(&w, 8000, 8, 0);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.zeros, 4);
	stop(&w);
}

/* Zeros would have to be written over what the parent has: it stays. */
static void unmapping_over_a_parent_is_a_hint(void **state)
{
	const struct scsi_extent all = {0, 2048};
	struct world w;
	struct pair p;
	uint64_t before;

	(void)state;
	pair_make(&p, 1u << 20, 64 * KIB);
	w.v = vsc_create(&(struct vsc_opts){.vsp.engine = VHD_ENGINE_SYNC});
	vsc_disk(w.v, p.img, 0, 0, 0, false);
	w.c = vsc_open(w.v, 0);
	assert_non_null(w.c);
	vsc_buffer_init(w.v, &w.b, VSC_BUFFER_PAGES);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	before = memfile_len(p.top);
	run_unmap(&w, &all, 1);
	sectors_are(&w, 0, 2048, OLD);
	assert_int_equal(memfile_len(p.top), before);
	vsc_destroy(w.v);
	pair_free(&p);
}

static void unmapping_takes_no_space(void **state)
{
	const struct scsi_extent whole = {0, SECTORS};
	uint64_t before;
	struct world w;

	(void)state;
	begin(&w);
	before = memfile_len(w.m);
	run_unmap(&w, &whole, 1);
	assert_int_equal(memfile_len(w.m), before);
	sectors_are(&w, 0, 64, 0);
	stop(&w);
}

/* Parameters lie in the guest's memory, or nothing is done. */
static void parameters_outside_memory_are_refused(void **state)
{
	uint8_t cdb[10] = {0x42, [8] = 24}, list[24] = {0};
	struct vsc_answer a;
	struct vsc_cmd cmd;
	struct world w;

	(void)state;
	begin(&w);
	fill(&w, 0, 8, 0x11);
	scsi_put16(list, 22);
	scsi_put16(list + 2, 16);
	scsi_put32(list + 16, 8);
	cmd = out_cmd(&w, cdb, 10, list, sizeof(list));
	w.b.gpas[0] = 1ull << 40;
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x24);
	stop(&w);
}

/* MODE SELECT: the caching page without WCE. */
static void cache_off(struct world *w)
{
	static const uint8_t list[24] = {[4] = 0x08, 18};
	uint8_t cdb[6] = {0x15, 0x10, 0, 0, sizeof(list), 0};
	struct vsc_buffer other;
	struct vsc_answer a;
	struct vsc_cmd cmd;

	vsc_buffer_init(w->v, &other, 1);
	vsc_buffer_put(&other, list, sizeof(list));
	cmd = out_cmd(w, cdb, 6, NULL, 0);
	cmd.data_in = STORVSP_DATA_OUT;
	cmd.bytes = sizeof(list);
	cmd.buffer = &other;
	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
}

static void write_same_repeats_its_sector(void **state)
{
	uint8_t cdb[16] = {0x93}, sector[SECTOR];
	uint64_t flushes;
	struct vsc_answer a;
	struct vsc_cmd cmd;
	struct world w;

	(void)state;
	begin(&w);
	fill(&w, 0, 2048, 0x11);
	memset(sector, 0x77, sizeof(sector));
	scsi_put64(cdb + 2, 100);
	scsi_put32(cdb + 10, 1700); /* several transfers */
	cmd = out_cmd(&w, cdb, 16, sector, SECTOR);
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), SECTOR);
	sectors_are(&w, 0, 100, 0x11);
	sectors_are(&w, 100, 1700, 0x77);
	sectors_are(&w, 1800, 248, 0x11);
	/* with the cache off each of the transfers is durable */
	flushes = memfile_count(w.m, MEMFILE_FLUSH);
	cache_off(&w);
	vsc_buffer_put(&w.b, sector, SECTOR);
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_true(memfile_count(w.m, MEMFILE_FLUSH) >= flushes + 4);
	/* NDOB: zeros, without data */
	cdb[1] = 0x01;
	scsi_put32(cdb + 10, 50);
	cmd = out_cmd(&w, cdb, 16, NULL, 0);
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	sectors_are(&w, 100, 50, 0);
	sectors_are(&w, 150, 1650, 0x77);
	stop(&w);
}

static void lba_status_tells_what_has_a_place(void **state)
{
	uint8_t cdb[16] = {0x9E, 0x12}, got[64];
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_IN, .bytes = 64};
	struct vsc_answer a;
	struct world w;

	(void)state;
	begin(&w);
	fill(&w, 1024, 8, 0xee); /* block 1 of 1024 sectors */
	scsi_put64(cdb + 2, 1000);
	scsi_put32(cdb + 10, 64);
	memcpy(cmd.cdb, cdb, 16);
	cmd.buffer = &w.b;
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_buffer_get(&w.b, got, 64);
	assert_int_equal(scsi_get32(got), 4 + 3 * 16);
	assert_int_equal(scsi_get64(got + 8), 1000);
	assert_int_equal(scsi_get32(got + 16), 24);
	assert_int_equal(got[20], 1);
	assert_int_equal(scsi_get64(got + 24), 1024);
	assert_int_equal(scsi_get32(got + 32), 1024);
	assert_int_equal(got[36], 0);
	assert_int_equal(scsi_get64(got + 40), 2048);
	assert_int_equal(scsi_get32(got + 48), SECTORS - 2048);
	assert_int_equal(got[52], 1);
	scsi_put64(cmd.cdb + 2, SECTORS);
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x21);
	stop(&w);
}

/* GET LBA STATUS from block 0 of this image, into a buffer of `bytes`. */
static enum scsi_verdict status_of(struct task *k, struct vhd *img,
				   uint32_t bytes, uint32_t alloc)
{
	uint8_t cdb[16] = {0x9E, 0x12};

	task_init(k, bytes, STORVSP_DATA_IN);
	k->disk.img = img;
	atomic_store(&k->switches.sectors,
		     vhd_get_info(img)->size_bytes / SECTOR);
	scsi_put32(cdb + 10, alloc);
	return task_run(k, 0, cdb, 16);
}

/* 128 runs in turn; 127 fit, or as many as are asked for. */
static void lba_status_ends_where_its_answer_does(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img = qtest_create_mem(memfile_file(m), VHD_FORMAT_DYNAMIC,
					   DISK_BYTES, 64 << 10);
	uint8_t data[SECTOR] = {1};
	struct task k;

	(void)state;
	for (unsigned i = 0; i < 128; i += 2)
		assert_int_equal(
			vhd_write(img, i * (64ull << 10), data, SECTOR, NULL),
			0);
	assert_int_equal(status_of(&k, img, 65536, 65536), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 127 * 16);
	assert_int_equal(scsi_get32(k.t.reply), 4 + 127 * 16);
	for (unsigned i = 0; i < 127; i++) {
		const uint8_t *d = k.t.reply + 8 + 16 * i;

		assert_int_equal(scsi_get64(d), 128 * i);
		assert_int_equal(scsi_get32(d + 8), 128);
		assert_int_equal(d[12], i % 2);
	}
	assert_int_equal(status_of(&k, img, 65536, 8 + 3 * 16), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 3 * 16);
	assert_int_equal(status_of(&k, img, 65536, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 16);
	assert_int_equal(scsi_reply_sent(&k.t), 0);
	qtest_close(img);
	memfile_destroy(m);
}

/* The work of one command is bounded: what is behind is for the next. */
static void lba_status_looks_at_so_many_runs(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img = qtest_create_mem(memfile_file(m), VHD_FORMAT_DYNAMIC,
					   128 << 20, 64 << 10);
	uint8_t data[SECTOR] = {1};
	struct task k;
	uint32_t n;

	(void)state;
	/* blocks that lie in the file from the last one on */
	for (unsigned i = 2048; i > 0; i--)
		assert_int_equal(vhd_write(img, (i - 1) * (64ull << 10), data,
					   SECTOR, NULL),
				 0);
	assert_int_equal(status_of(&k, img, 4096, 4096), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 16);
	n = scsi_get32(k.t.reply + 16);
	assert_true(n >= 1024 && n < (128u << 20) / SECTOR);
	qtest_close(img);
	memfile_destroy(m);
}

/* 3 TiB, all of one kind: a descriptor holds 32 bits of it. */
static void lba_status_of_more_than_32_bits_is_cut(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img = qtest_create_mem(memfile_file(m), VHD_FORMAT_RAW,
					   3ull << 40, 0);
	struct task k;

	(void)state;
	assert_int_equal(status_of(&k, img, 4096, 4096), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 2 * 16);
	assert_int_equal(scsi_get32(k.t.reply + 16), UINT32_MAX);
	assert_int_equal(scsi_get64(k.t.reply + 24), UINT32_MAX);
	assert_int_equal(scsi_get32(k.t.reply + 32),
			 (3ull << 31) - UINT32_MAX);
	qtest_close(img);
	memfile_destroy(m);
}

static int no_reads(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_READ ? -EIO : 0;
}

static void a_bitmap_that_cannot_be_read_is_a_read_error(void **state)
{
	const struct vhd_open_opts again = {.format = VHD_FORMAT_DYNAMIC};

	(void)state;
	for (uint8_t log2 = 0; log2 <= 3; log2 = (uint8_t)(log2 + 3)) {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd *img = qtest_create_mem(f, VHD_FORMAT_DYNAMIC,
						   DISK_BYTES, 512 << 10);
		uint8_t data[SECTOR] = {1}, cdb[16] = {0x9E, 0x12, [12] = 1};
		struct task k;

		assert_int_equal(vhd_write(img, 0, data, SECTOR, NULL), 0);
		qtest_close(img);
		f = memfile_file(m);
		assert_int_equal(vhd_open_file(&f, &again, &img, NULL), 0);
		memfile_set_hook(m, no_reads, NULL);
		assert_int_equal(status_of(&k, img, 256, 256),
				 SCSI_READ_ERROR);
		k.disk.block_log2 = log2;
		assert_int_equal(task_run(&k, 0, cdb, 16), SCSI_READ_ERROR);
		memfile_set_hook(m, NULL, NULL);
		qtest_close(img);
		memfile_destroy(m);
	}
}

/* The first transfer is on its way, others would follow: a reset ends it. */
static void a_reset_ends_a_command_of_several_steps(void **state)
{
	struct vsc_cmd cmd = {
		.lun = 1,
		.cdb = {0x93, [12] = 0x06}, /* 1536 sectors of one pattern */
		.data_in = STORVSP_DATA_OUT,
		.bytes = SECTOR,
	};
	uint8_t sector[SECTOR], got[SECTOR];
	struct simvsp w;
	struct vhd_err e;
	uint64_t id, reset;

	(void)state;
	memset(sector, 0x5a, sizeof(sector));
	simvsp_start(&w, NULL, NULL);
	vsc_buffer_put(&w.b, sector, SECTOR);
	cmd.buffer = &w.b;
	simvsp_hold(&w, true);
	id = vsc_start(w.c, &cmd);
	simvsp_quiet(w.c);
	simengine_allow(w.sim[0], 1); /* one transfer ends, the next is sent */
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, 1);
	simvsp_expect(w.c, id, "aborted");
	simvsp_expect(w.c, reset, "");
	simvsp_hold(&w, false);
	assert_int_equal(vhd_read(w.img[1], 0, got, SECTOR, &e), 0);
	assert_memory_equal(got, sector, SECTOR);
	memset(sector, 0, sizeof(sector));
	assert_int_equal(vhd_read(w.img[1], 1535 * SECTOR, got, SECTOR, &e), 0);
	assert_memory_equal(got, sector, SECTOR);
	simvsp_stop(&w);
}

/* A transfer that cannot be cancelled ends well, and none follows it. */
static void a_reset_ends_it_behind_a_step_that_went_well(void **state)
{
	const struct sim_opts deaf = {.deaf = true};
	struct vsc_cmd cmd = {
		.lun = 1,
		.cdb = {0x93, [12] = 0x06},
		.data_in = STORVSP_DATA_OUT,
		.bytes = SECTOR,
	};
	uint8_t sector[SECTOR], got[SECTOR];
	struct simvsp w;
	struct vhd_err e;
	uint64_t id, reset;

	(void)state;
	memset(sector, 0x5a, sizeof(sector));
	simvsp_start(&w, NULL, &deaf);
	vsc_buffer_put(&w.b, sector, SECTOR);
	cmd.buffer = &w.b;
	simvsp_hold(&w, true);
	id = vsc_start(w.c, &cmd);
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, 1);
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "aborted");
	simvsp_expect(w.c, reset, "");
	assert_int_equal(vhd_read(w.img[1], 0, got, SECTOR, &e), 0);
	assert_memory_equal(got, sector, SECTOR);
	memset(sector, 0, sizeof(sector));
	assert_int_equal(vhd_read(w.img[1], 1535 * SECTOR, got, SECTOR, &e), 0);
	assert_memory_equal(got, sector, SECTOR);
	simvsp_stop(&w);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lists_are_taken_as_the_standard_says),
		T(one_bad_extent_refuses_the_whole_list),
		T(the_sum_of_the_extents_is_bounded),
		T(a_disk_without_unmapping_does_not_know_it),
		T(write_same_refuses_what_it_cannot_do),
		T(unmapped_sectors_read_as_zero_and_others_stay),
		T(unmapping_over_a_parent_is_a_hint),
		T(unmapping_takes_no_space),
		T(parameters_outside_memory_are_refused),
		T(write_same_repeats_its_sector),
		T(lba_status_tells_what_has_a_place),
		T(write_same_10_has_no_ndob),
		T(lba_status_ends_where_its_answer_does),
		T(lba_status_looks_at_so_many_runs),
		T(lba_status_of_more_than_32_bits_is_cut),
		T(a_bitmap_that_cannot_be_read_is_a_read_error),
		T(a_reset_ends_a_command_of_several_steps),
		T(a_reset_ends_it_behind_a_step_that_went_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
