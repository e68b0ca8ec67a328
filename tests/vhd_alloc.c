/* SPDX-License-Identifier: BSD-2-Clause */
/* New blocks: place, bitmap, zeroed space, failures that leave no trace; and
 * partial blocks made whole in an order that survives a power cut.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"
#include "vhd/format.h"

#define KIB  1024u
#define MIB  (1u << 20)
#define GIB  (1ull << 30)
#define SIZE (4 * MIB)

static struct vhd *open_rw(struct memfile *m)
{
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	return img;
}

static struct memfile *created(uint64_t size, uint32_t block)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = size,
		.block_size_bytes = block,
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static uint64_t write_mapped(struct vhd *img, uint64_t lba)
{
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(vhd_map_write(img, lba, 1, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	return r.off_bytes;
}

static bool all_bytes(struct memfile *m, uint64_t off, uint64_t len, int v)
{
	uint8_t b[512];

	for (uint64_t at = 0; at < len; at += sizeof(b)) {
		memfile_peek(m, b, sizeof(b), off + at);
		for (size_t i = 0; i < sizeof(b) && at + i < len; i++)
			if (b[i] != v)
				return false;
	}
	return true;
}

/* ------------------------------------------------------------ new blocks -- */

static void new_blocks_lie_on_4k_behind_a_full_bitmap(void **state)
{
	(void)state;
	static const uint32_t sizes[] = {4 * KIB, 512 * KIB, 2 * MIB, 4 * MIB,
					 16 * MIB};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t bitmap = vhd_bitmap_size(sizes[i]);
		struct memfile *m = created(4ull * sizes[i], sizes[i]);
		struct vhd *img = open_rw(m);

		for (uint64_t b = 0; b < 4; b++) {
			uint64_t at = write_mapped(img, b * sizes[i] / 512);

			assert_int_equal(at % 4096, 0);
			assert_true(all_bytes(m, at - bitmap, bitmap, 0xff));
		}
		assert_true(vhd_data_aligned(img));
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void blocks_follow_each_other_without_a_gap(void **state)
{
	(void)state;
	struct memfile *m = created(SIZE, MIB);
	struct vhd *img = open_rw(m);
	uint64_t first = write_mapped(img, 3 * 2048);

	/* the first block's bitmap takes the place of the footer */
	assert_int_equal(first, 4096);
	assert_int_equal(write_mapped(img, 0), first + MIB + 4096);
	assert_int_equal(write_mapped(img, 2048), first + 2 * (MIB + 4096));
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_second_write_finds_the_block_of_the_first(void **state)
{
	(void)state;
	struct memfile *m = created(SIZE, MIB);
	struct vhd *img = open_rw(m);
	uint64_t reads = memfile_count(m, MEMFILE_READ);
	uint64_t at = write_mapped(img, 0);
	uint64_t writes = memfile_count(m, MEMFILE_WRITE);

	assert_int_equal(write_mapped(img, 2047), at + 2047 * 512);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), writes);
	assert_int_equal(memfile_count(m, MEMFILE_READ), reads);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_run_for_writing_stays_in_its_block(void **state)
{
	(void)state;
	struct memfile *m = created(SIZE, MIB);
	struct vhd *img = open_rw(m);
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(vhd_map_write(img, 2000, 6000, &r, &e), 0);
	assert_int_equal(r.sectors, 48);
	assert_int_equal(vhd_map(img, 2048, 1, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_HOLE);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void what_may_not_be_written_is_refused(void **state)
{
	(void)state;
	struct memfile *m = created(SIZE, MIB), *before = memfile_clone(m);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_refused(vhd_map_write(img, 0, 1, &r, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY);
	vhd_abandon(img);
	img = open_rw(m);
	assert_refused(vhd_map_write(img, 8192, 1, &r, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_map_write(img, 0, 8193, &r, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_map_write(img, UINT64_MAX, 2, &r, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_map_write(img, 0, 0, &r, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	vhd_poison(img);
	assert_refused(vhd_map_write(img, 0, 1, &r, &e), &e, EIO,
		       VHD_WHY_POISONED);
	vhd_abandon(img);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

/* A writer that died left bytes behind the last block. */
static struct memfile *with_junk(void)
{
	struct memfile *m = created(SIZE, MIB);
	static uint8_t junk[3 * MIB];
	uint8_t f[512];

	memset(junk, 0xee, sizeof(junk));
	memfile_peek(m, f, 512, 0);
	assert_int_equal(memfile_poke(m, junk, sizeof(junk), memfile_len(m)),
			 0);
	assert_int_equal(memfile_poke(m, f, 512, memfile_len(m)), 0);
	return m;
}

static void space_that_held_bytes_is_zeroed_before_use(void **state)
{
	(void)state;
	for (int no_zero = 0; no_zero < 2; no_zero++) {
		struct memfile *m = with_junk();
		struct vhd *img;
		struct vhd_err e;
		static uint8_t got[SIZE];
		uint8_t one[512] = {1};

		memfile_set_no_zero(m, no_zero);
		img = open_rw(m);
		for (unsigned b = 0; b < 4; b++)
			assert_int_equal(vhd_write(img, b * MIB, one, 512, &e),
					 0);
		assert_int_equal(vhd_close(img, &e), 0);
		img = open_rw(m);
		assert_int_equal(vhd_get_info(img)->notes, 0);
		assert_int_equal(vhd_read(img, 0, got, SIZE, &e), 0);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(got[i], i % MIB == 0);
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_destroy(m);
	}
}

static void space_the_file_gained_is_not_zeroed_again(void **state)
{
	(void)state;
	struct memfile *m = created(64 * MIB, MIB);
	struct vhd *img = open_rw(m);
	uint64_t zeroed;

	write_mapped(img, 0);
	zeroed = memfile_count(m, MEMFILE_ZERO);
	for (uint64_t b = 1; b < 32; b++)
		write_mapped(img, b * 2048);
	assert_int_equal(memfile_count(m, MEMFILE_ZERO), zeroed);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* ---------------------------------------------------------------- limits -- */

/* One block whose data ends at `end`, and the footer where a file ends. */
static struct memfile *reaching(uint64_t end)
{
	static const uint32_t order[] = {0};
	struct memfile *m = img_bare(2040 * GIB, 2 * MIB, order, 0);
	uint8_t f[512], ones[512];
	uint64_t bitmap = end - 2 * MIB - 512;

	memset(ones, 0xff, sizeof(ones));
	memfile_peek(m, f, 512, 0);
	assert_int_equal(memfile_poke(m, ones, 512, bitmap), 0);
	assert_int_equal(memfile_poke(m, f, 512, end + 4096 - 512), 0);
	img_bat(m, 0, (uint32_t)(bitmap / 512));
	return m;
}

static void the_last_block_the_format_reaches_is_given(void **state)
{
	(void)state;
	const uint64_t reach = (1ull << 32) * 512;
	struct memfile *m = reaching(reach - 4096 - (2 * MIB + 4096));
	struct vhd *img = open_rw(m);
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(write_mapped(img, 4096), reach - 4096 - 2 * MIB);
	assert_true(memfile_len(m) == reach);
	assert_refused(vhd_map_write(img, 2 * 4096, 1, &r, &e), &e, EFBIG,
		       VHD_WHY_NO_SPACE);
	write_mapped(img, 0); /* what exists is still written to */
	assert_int_equal(vhd_close(img, &e), 0);
	img = open_rw(m);
	assert_int_equal(vhd_get_info(img)->blocks_used, 2);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static void one_page_less_and_it_is_refused(void **state)
{
	(void)state;
	const uint64_t reach = (1ull << 32) * 512;
	struct memfile *m = reaching(reach - (2 * MIB + 4096));
	struct vhd *img = open_rw(m);
	struct vhd_run r;
	struct vhd_err e;

	assert_refused(vhd_map_write(img, 4096, 1, &r, &e), &e, EFBIG,
		       VHD_WHY_NO_SPACE);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- failures -- */

struct fault {
	enum memfile_op op;
	int code;
	uint64_t nth; /* counted down; fails at 0 */
	bool again;   /* and ever after */
	bool hit;
};

static int inject(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct fault *f = ctx;

	(void)off;
	(void)len;
	if (op != f->op)
		return 0;
	if (f->nth) {
		f->nth--;
		return 0;
	}
	if (f->hit && !f->again)
		return 0;
	f->hit = true;
	return f->code;
}

/* Write to three blocks over junk with the n-th operation of a kind failing,
 * for every n; go on without faults; all must be as if nothing had been.
 */
static bool survive(enum memfile_op op, int code, uint64_t nth)
{
	struct fault fault = {.op = op, .code = code, .nth = nth};
	struct memfile *m = with_junk();
	struct vhd *img = open_rw(m);
	struct vhd_err e;
	uint8_t one[512], got[512], zeros[512] = {0};

	memset(one, 0x5a, sizeof(one));
	memfile_set_hook(m, inject, &fault);
	for (unsigned b = 0; b < 4; b++) {
		int rc = vhd_write(img, b * MIB + 512, one, 512, &e);

		if (rc) {
			assert_true(fault.hit);
			assert_int_equal(rc, code);
			assert_int_equal(e.why, code == -ENOSPC
							? VHD_WHY_NO_SPACE
							: VHD_WHY_IO);
			assert_false(vhd_poisoned(img));
			rc = vhd_write(img, b * MIB + 512, one, 512, &e);
		}
		assert_int_equal(rc, 0);
	}
	memfile_set_hook(m, NULL, NULL);
	assert_int_equal(vhd_close(img, &e), 0);
	img = open_rw(m);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_get_info(img)->blocks_used, 4);
	for (unsigned b = 0; b < 4; b++) {
		assert_int_equal(vhd_read(img, b * MIB, got, 512, &e), 0);
		assert_memory_equal(got, zeros, 512);
		assert_int_equal(vhd_read(img, b * MIB + 512, got, 512, &e), 0);
		assert_memory_equal(got, one, 512);
		assert_int_equal(vhd_read(img, b * MIB + 1024, got, 512, &e),
				 0);
		assert_memory_equal(got, zeros, 512);
	}
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
	return fault.hit;
}

static void any_step_of_an_allocation_may_fail(void **state)
{
	(void)state;
	static const enum memfile_op ops[] = {MEMFILE_WRITE, MEMFILE_ZERO,
					      MEMFILE_TRUNCATE};
	static const int codes[] = {-EIO, -ENOSPC};

	for (size_t o = 0; o < 3; o++) {
		for (size_t c = 0; c < 2; c++) {
			uint64_t n = 0;

			while (survive(ops[o], codes[c], n))
				n++;
			assert_true(n >= 1);
		}
	}
}

/* The generous step is refused, the little that is needed is not. */
static int no_big_files(void *ctx, enum memfile_op op, uint64_t off,
			uint64_t len)
{
	uint64_t *limit = ctx;

	(void)len;
	return op == MEMFILE_TRUNCATE && off > *limit ? -EFBIG : 0;
}

static void a_tight_host_still_gets_one_block_at_a_time(void **state)
{
	(void)state;
	struct memfile *m = created(64 * MIB, MIB);
	struct vhd *img = open_rw(m);
	uint64_t limit = 2 * (MIB + 4096) + 4096;
	struct vhd_run r;
	struct vhd_err e;

	memfile_set_hook(m, no_big_files, &limit);
	write_mapped(img, 0);
	write_mapped(img, 2048);
	assert_refused(vhd_map_write(img, 4096, 1, &r, &e), &e, EFBIG,
		       VHD_WHY_NO_SPACE);
	assert_int_equal(vhd_map(img, 4096, 1, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_HOLE);
	assert_int_equal(vhd_close(img, &e), 0);
	img = open_rw(m);
	assert_int_equal(vhd_get_info(img)->blocks_used, 2);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

/* ---------------------------------------------------------- partial blocks --
 */

/* Block 0 with sectors 8..15 valid; beneath the others lies 0x10. */
static struct memfile *partial(void)
{
	static const uint32_t one[] = {0};
	struct memfile *m = img_dynamic(SIZE, MIB, one, 1);
	uint8_t map[512] = {0};

	map[1] = 0xff;
	assert_int_equal(memfile_poke(m, map, 512, img_place(SIZE, MIB, 0)), 0);
	return m;
}

static void valid_sectors_of_a_partial_block_are_written_in_place(void **state)
{
	(void)state;
	struct memfile *m = partial();
	struct vhd *img = open_rw(m);
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(vhd_map_write(img, 10, 100, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.sectors, 6);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_partial_block_is_whole_when_zeros_and_bitmap_are_synced(void **state)
{
	(void)state;
	struct memfile *m = partial();
	uint64_t bitmap = img_place(SIZE, MIB, 0);
	struct recfile *rec = recfile_create(m);
	struct vhd_file f = recfile_file(rec);
	struct vhd_open_opts o = {.writable = true};
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	const struct rec_event *ev;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_map_write(img, 0, 100, &r, &e), 0);
	assert_int_equal(r.sectors, 100);
	assert_int_equal(recfile_count(rec), 5);
	ev = recfile_event(rec, 0);
	assert_int_equal(ev->kind, REC_ZERO);
	assert_int_equal(ev->off, bitmap + 512);
	assert_int_equal(ev->len, 8 * 512);
	ev = recfile_event(rec, 1);
	assert_int_equal(ev->kind, REC_ZERO);
	assert_int_equal(ev->off, bitmap + 512 + 16 * 512);
	assert_int_equal(ev->len, (2048 - 16) * 512);
	assert_int_equal(recfile_event(rec, 2)->kind, REC_FLUSH);
	ev = recfile_event(rec, 3);
	assert_int_equal(ev->kind, REC_WRITE);
	assert_int_equal(ev->off, bitmap);
	assert_int_equal(ev->len, 512);
	/* a durable write into the block relies on the bitmap */
	assert_int_equal(recfile_event(rec, 4)->kind, REC_FLUSH);
	assert_int_equal(vhd_map(img, 0, 2048, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.sectors, 2048);
	assert_true(all_bytes(m, bitmap, 512, 0xff));
	assert_true(all_bytes(m, bitmap + 512, 8 * 512, 0));
	assert_true(all_bytes(m, bitmap + 512 + 8 * 512, 8 * 512, 0x10));
	assert_true(all_bytes(m, bitmap + 512 + 16 * 512, 2032 * 512, 0));
	vhd_abandon(img);
	recfile_destroy(rec);
	memfile_destroy(m);
}

static void making_whole_may_fail_and_be_tried_again(void **state)
{
	(void)state;
	static const enum memfile_op ops[] = {MEMFILE_READ, MEMFILE_ZERO,
					      MEMFILE_WRITE};

	for (size_t o = 0; o < 3; o++) {
		struct memfile *m = partial();
		struct vhd *img = open_rw(m);
		struct fault fault = {.op = ops[o], .code = -EIO};
		uint8_t got[512], zeros[512] = {0};
		struct vhd_run r;
		struct vhd_err e;

		assert_int_equal(vhd_map(img, 0, 1, &r, &e), 0);
		memfile_set_hook(m, inject, &fault);
		assert_refused(vhd_map_write(img, 0, 1, &r, &e), &e, EIO,
			       VHD_WHY_IO);
		assert_false(vhd_poisoned(img));
		assert_int_equal(vhd_read(img, 0, got, 512, &e), 0);
		assert_memory_equal(got, zeros, 512);
		write_mapped(img, 0);
		assert_int_equal(vhd_read(img, 512, got, 512, &e), 0);
		assert_memory_equal(got, zeros, 512);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void a_failed_sync_while_making_whole_poisons(void **state)
{
	(void)state;
	struct memfile *m = partial();
	struct vhd *img = open_rw(m);
	struct fault fault = {.op = MEMFILE_FLUSH, .code = -EIO};
	uint8_t map[512];
	struct vhd_run r;
	struct vhd_err e;

	memfile_set_hook(m, inject, &fault);
	assert_refused(vhd_map_write(img, 0, 1, &r, &e), &e, EIO, VHD_WHY_IO);
	assert_true(vhd_poisoned(img));
	memfile_peek(m, map, 512, img_place(SIZE, MIB, 0));
	assert_int_equal(map[0], 0);
	assert_refused(vhd_map_write(img, 2048, 1, &r, &e), &e, EIO,
		       VHD_WHY_POISONED);
	assert_refused(vhd_close(img, &e), &e, EIO, VHD_WHY_POISONED);
	memfile_destroy(m);
}

/* blktap's batmap says 1 only for full blocks. Blocks here only ever become
 * full, so its bytes stay and stay true.
 */
static void a_batmap_is_left_as_it_is(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_bare(SIZE, MIB, order, 0);
	uint8_t head[512] = {0}, map[512] = {0}, f[512], got[512];
	uint8_t one[512] = {1};
	struct vhd *img;
	struct vhd_err e;

	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	memfile_peek(m, f, 512, 0);
	memcpy(head, "tdbatmap", 8);
	img_put64(head + 8, 2560);
	img_put32(head + 16, 1);
	map[0] = 0x80; /* truthful or not, it is not ours */
	assert_int_equal(memfile_poke(m, head, 512, 2048), 0);
	assert_int_equal(memfile_poke(m, map, 512, 2560), 0);
	assert_int_equal(memfile_poke(m, f, 512, 3072), 0);
	img = open_rw(m);
	assert_int_equal(vhd_write(img, 0, one, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, got, 512, 2048);
	assert_memory_equal(got, head, 512);
	memfile_peek(m, got, 512, 2560);
	assert_memory_equal(got, map, 512);
	img = open_rw(m);
	assert_int_equal(vhd_get_info(img)->blocks_used, 1);
	vhd_abandon(img);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_blocks_lie_on_4k_behind_a_full_bitmap),
		cmocka_unit_test(blocks_follow_each_other_without_a_gap),
		cmocka_unit_test(a_second_write_finds_the_block_of_the_first),
		cmocka_unit_test(a_run_for_writing_stays_in_its_block),
		cmocka_unit_test(what_may_not_be_written_is_refused),
		cmocka_unit_test(space_that_held_bytes_is_zeroed_before_use),
		cmocka_unit_test(space_the_file_gained_is_not_zeroed_again),
		cmocka_unit_test(the_last_block_the_format_reaches_is_given),
		cmocka_unit_test(one_page_less_and_it_is_refused),
		cmocka_unit_test(any_step_of_an_allocation_may_fail),
		cmocka_unit_test(a_tight_host_still_gets_one_block_at_a_time),
		cmocka_unit_test(
			valid_sectors_of_a_partial_block_are_written_in_place),
		cmocka_unit_test(
			a_partial_block_is_whole_when_zeros_and_bitmap_are_synced),
		cmocka_unit_test(making_whole_may_fail_and_be_tried_again),
		cmocka_unit_test(a_failed_sync_while_making_whole_poisons),
		cmocka_unit_test(a_batmap_is_left_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
