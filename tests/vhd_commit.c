/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk's BAT: what it learns when, and what a flush promises. */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"

#define KIB	1024u
#define MIB	(1u << 20)
#define BLOCK	(64 * KIB)
#define BLOCKS	512u /* four sectors of table */
#define SECTORS (BLOCK / 512)

struct bench {
	struct memfile *m;
	struct recfile *rec;
	struct vhd *img;
};

static void set_up(struct bench *b)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = (uint64_t)BLOCKS * BLOCK,
		.block_size_bytes = BLOCK,
	};
	struct vhd_open_opts rw = {.writable = true};
	struct vhd_file f;
	struct vhd *img;
	struct vhd_err e;

	b->m = memfile_create();
	f = memfile_file(b->m);
	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	b->rec = recfile_create(b->m);
	f = recfile_file(b->rec);
	assert_int_equal(vhd_open_file(&f, &rw, &b->img, &e), 0);
}

static void tear_down(struct bench *b)
{
	vhd_abandon(b->img);
	recfile_destroy(b->rec);
	memfile_destroy(b->m);
}

static void allocate(struct bench *b, uint32_t block)
{
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(
		vhd_map_write(b->img, (uint64_t)block * SECTORS, 1, &r, &e), 0);
}

static bool on_disk(const struct bench *b, uint32_t block)
{
	uint8_t e[4];

	memfile_peek(b->m, e, 4, IMG_TABLE + 4 * block);
	return img_get32(e) != UINT32_MAX;
}

static struct vhd_commit flush_data(struct bench *b)
{
	struct vhd_commit t = {0};
	struct vhd_err e;

	assert_int_equal(vhd_commit_begin(b->img, &t, &e), 0);
	assert_int_equal(vhd_file_flush(vhd_get_file(b->img), &e), 0);
	return t;
}

static void publish(struct bench *b, struct vhd_commit ticket)
{
	struct vhd_err e;

	assert_int_equal(vhd_commit_publish(b->img, &ticket, &e), 0);
}

static void the_table_on_disk_waits_for_the_flush(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_commit t = {0};

	set_up(&b);
	assert_int_equal(vhd_commit_begin(b.img, &t, NULL), 0);
	assert_false(vhd_commit_needed(b.img, &t));
	allocate(&b, 7);
	assert_false(on_disk(&b, 7));
	t = flush_data(&b);
	assert_true(vhd_commit_needed(b.img, &t));
	assert_false(on_disk(&b, 7));
	publish(&b, t);
	assert_true(on_disk(&b, 7));
	assert_true(vhd_commit_needed(b.img, &t)); /* not durable yet */
	vhd_commit_end(b.img, &t);
	assert_false(vhd_commit_needed(b.img, &t));
	assert_int_equal(vhd_commit_begin(b.img, &t, NULL), 0);
	assert_false(vhd_commit_needed(b.img, &t));
	tear_down(&b);
}

/* A block that came after the sync began is not covered by it, even where it
 * shares its sector of the table with one that is.
 */
static void publishing_stops_at_the_ticket(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_commit t = {0};

	set_up(&b);
	allocate(&b, 1);
	t = flush_data(&b);
	allocate(&b, 2);
	publish(&b, t);
	assert_true(on_disk(&b, 1));
	assert_false(on_disk(&b, 2));
	vhd_commit_end(b.img, &t);
	t = flush_data(&b);
	assert_true(vhd_commit_needed(b.img, &t));
	publish(&b, t);
	assert_true(on_disk(&b, 2));
	tear_down(&b);
}

static void publishing_again_writes_nothing(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_commit t = {0};
	size_t n;

	set_up(&b);
	allocate(&b, 1);
	t = flush_data(&b);
	publish(&b, t);
	n = recfile_count(b.rec);
	publish(&b, t);
	publish(&b, (struct vhd_commit){0});
	assert_int_equal(recfile_count(b.rec), n);
	tear_down(&b);
}

static void only_touched_sectors_of_the_table_are_written(void **state)
{
	(void)state;
	static const uint32_t blocks[] = {500, 3, 130, 127, 499};
	struct bench b;
	const struct rec_event *ev;
	struct vhd_commit t = {0};
	size_t n;

	set_up(&b);
	for (size_t i = 0; i < 5; i++)
		allocate(&b, blocks[i]);
	t = flush_data(&b);
	n = recfile_count(b.rec);
	publish(&b, t);
	/* sectors 0 and 1 in one write, 3 in another; 2 not at all */
	assert_int_equal(recfile_count(b.rec), n + 2);
	ev = recfile_event(b.rec, n);
	assert_int_equal(ev->kind, REC_WRITE);
	assert_int_equal(ev->off, IMG_TABLE);
	assert_int_equal(ev->len, 1024);
	ev = recfile_event(b.rec, n + 1);
	assert_int_equal(ev->off, IMG_TABLE + 3 * 512);
	assert_int_equal(ev->len, 512);
	for (size_t i = 0; i < 5; i++)
		assert_true(on_disk(&b, blocks[i]));
	/* and the next time only what is new */
	allocate(&b, 1);
	allocate(&b, 501);
	t = flush_data(&b);
	n = recfile_count(b.rec);
	publish(&b, t);
	assert_int_equal(recfile_count(b.rec), n + 2);
	assert_int_equal(recfile_event(b.rec, n)->len, 512);
	assert_int_equal(recfile_event(b.rec, n + 1)->off, IMG_TABLE + 3 * 512);
	tear_down(&b);
}

static void overlapping_flushes_each_publish_what_is_left(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_commit t1, t2;
	size_t n;

	set_up(&b);
	allocate(&b, 1);
	t1 = flush_data(&b);
	allocate(&b, 2);
	t2 = flush_data(&b);
	publish(&b, t2);
	assert_true(on_disk(&b, 1) && on_disk(&b, 2));
	n = recfile_count(b.rec);
	publish(&b, t1);
	assert_int_equal(recfile_count(b.rec), n);
	/* the first to end makes only its own durable */
	vhd_commit_end(b.img, &t1);
	assert_false(vhd_commit_needed(b.img, &t1));
	assert_true(vhd_commit_needed(b.img, &t2));
	vhd_commit_end(b.img, &t2);
	vhd_commit_end(b.img, &t1); /* never goes back */
	assert_false(vhd_commit_needed(b.img, &t2));
	tear_down(&b);
}

static void without_new_blocks_one_sync_is_the_flush(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_err e;
	size_t n;

	set_up(&b);
	allocate(&b, 1);
	assert_int_equal(vhd_flush(b.img, &e), 0);
	n = recfile_count(b.rec);
	assert_int_equal(vhd_flush(b.img, &e), 0);
	assert_int_equal(recfile_count(b.rec), n + 1);
	assert_int_equal(recfile_event(b.rec, n)->kind, REC_FLUSH);
	tear_down(&b);
}

/* Were the block's bitmap and data written before event `end`? */
static bool written_before(const struct bench *b, uint32_t at, size_t end)
{
	bool bitmap = false, body = false;

	for (size_t i = 0; i < end; i++) {
		const struct rec_event *w = recfile_event(b->rec, i);

		if (w->kind != REC_WRITE)
			continue;
		bitmap |= w->off == at * 512ull;
		body |= w->off == at * 512ull + 512 && w->len == 4096;
	}
	return bitmap && body;
}

/* Look at a write to the table: what is new in it must be durable. */
static void entries_are_due(const struct bench *b, const struct rec_event *ev,
			    size_t last_flush, uint32_t *known)
{
	for (uint64_t o = 0; o < ev->len; o += 4) {
		uint32_t block = (uint32_t)(ev->off - IMG_TABLE + o) / 4;
		uint32_t at = img_get32(ev->data + o);

		if (at != known[block])
			assert_true(written_before(b, at, last_flush));
		known[block] = at;
	}
}

/* The rule itself, on the record of a longer run: no entry reaches the medium
 * before a sync that follows its block's bitmap and data.
 */
static void no_entry_precedes_the_sync_of_its_block(void **state)
{
	(void)state;
	struct bench b;
	struct vhd_err e;
	uint8_t data[4096];
	uint32_t known[BLOCKS];
	size_t last_flush = 0;

	set_up(&b);
	memset(known, 0xff, sizeof(known));
	memset(data, 0x77, sizeof(data));
	for (uint32_t i = 0; i < 100; i++) {
		uint64_t block = i * 37 % BLOCKS;

		assert_int_equal(
			vhd_write(b.img, block * BLOCK, data, sizeof(data), &e),
			0);
		if (i % 7 == 6)
			assert_int_equal(vhd_flush(b.img, &e), 0);
	}
	for (size_t i = 0; i < recfile_count(b.rec); i++) {
		const struct rec_event *ev = recfile_event(b.rec, i);

		if (ev->kind == REC_FLUSH)
			last_flush = i;
		if (ev->kind == REC_WRITE && ev->off >= IMG_TABLE &&
		    ev->off < IMG_TABLE + 4 * BLOCKS)
			entries_are_due(&b, ev, last_flush, known);
	}
	for (uint32_t i = 0; i < 98; i++)
		assert_true(known[i * 37 % BLOCKS] != UINT32_MAX);
	tear_down(&b);
}

/* -------------------------------------------------------------- failures -- */

static int fail_op(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	enum memfile_op *which = ctx;

	(void)off;
	(void)len;
	return op == *which ? -EIO : 0;
}

static void a_failed_sync_or_table_write_poisons(void **state)
{
	(void)state;
	static const enum memfile_op ops[] = {MEMFILE_FLUSH, MEMFILE_WRITE};

	for (size_t i = 0; i < 2; i++) {
		enum memfile_op op = ops[i];
		struct bench b;
		struct vhd_err e;
		uint8_t buf[512] = {0};
		uint64_t calls;

		set_up(&b);
		allocate(&b, 1);
		memfile_set_hook(b.m, fail_op, &op);
		assert_refused(vhd_flush(b.img, &e), &e, EIO, VHD_WHY_IO);
		memfile_set_hook(b.m, NULL, NULL);
		assert_true(vhd_poisoned(b.img));
		calls = memfile_count(b.m, MEMFILE_FLUSH);
		assert_refused(vhd_flush(b.img, &e), &e, EIO, VHD_WHY_POISONED);
		assert_int_equal(memfile_count(b.m, MEMFILE_FLUSH), calls);
		assert_refused(vhd_write(b.img, 0, buf, 512, &e), &e, EIO,
			       VHD_WHY_POISONED);
		assert_refused(vhd_commit_publish(
				       b.img,
				       &(struct vhd_commit){.ticket = 99}, &e),
			       &e, EIO, VHD_WHY_POISONED);
		/* reading goes on */
		assert_int_equal(vhd_read(b.img, 0, buf, 512, &e), 0);
		assert_refused(vhd_close(b.img, &e), &e, EIO, VHD_WHY_POISONED);
		assert_int_equal(memfile_count(b.m, MEMFILE_FLUSH), calls);
		b.img = NULL;
		tear_down(&b);
	}
}

static void reading_only_a_flush_does_nothing(void **state)
{
	(void)state;
	struct bench b;
	struct vhd *img;
	struct vhd_err e;

	set_up(&b);
	assert_int_equal(img_open(b.m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_flush(img, &e), 0);
	assert_int_equal(recfile_count(b.rec), 0);
	vhd_abandon(img);
	tear_down(&b);
}

static void flat_images_never_need_a_commit(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	struct vhd_commit t = {0};

	assert_int_equal(img_open(m, VHD_FORMAT_FIXED, true, &img, &e), 0);
	assert_int_equal(vhd_map_write(img, 0, 2048, &r, &e), 0);
	assert_int_equal(r.sectors, 2048);
	assert_int_equal(vhd_commit_begin(img, &t, &e), 0);
	assert_false(vhd_commit_needed(img, &t));
	assert_int_equal(vhd_commit_publish(img, &t, &e), 0);
	vhd_commit_end(img, &t);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 1);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_on_disk_waits_for_the_flush),
		cmocka_unit_test(publishing_stops_at_the_ticket),
		cmocka_unit_test(publishing_again_writes_nothing),
		cmocka_unit_test(only_touched_sectors_of_the_table_are_written),
		cmocka_unit_test(overlapping_flushes_each_publish_what_is_left),
		cmocka_unit_test(without_new_blocks_one_sync_is_the_flush),
		cmocka_unit_test(no_entry_precedes_the_sync_of_its_block),
		cmocka_unit_test(a_failed_sync_or_table_write_poisons),
		cmocka_unit_test(reading_only_a_flush_does_nothing),
		cmocka_unit_test(flat_images_never_need_a_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
