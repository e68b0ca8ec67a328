/* SPDX-License-Identifier: BSD-2-Clause */
/* An image that grows while it is open: what it holds then and after closing,
 * what is refused, and what a fault or a power cut in the middle leaves.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/alloc.h"

#define KIB   1024u
#define BLOCK (16u * KIB)
#define OLD   (200u * 512u)

static const enum vhd_format formats[] = {VHD_FORMAT_RAW, VHD_FORMAT_FIXED,
					  VHD_FORMAT_DYNAMIC};
/* A sector more, within the last block; a block more; a longer table. */
static const uint64_t sizes[] = {201 * 512, 13 * BLOCK, 2000 * BLOCK};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))
#define SIZES	(sizeof(sizes) / sizeof(sizes[0]))

static struct vhd *create_on(struct vhd_file f, enum vhd_format format)
{
	const struct vhd_create_opts o = {
		.format = format,
		.size_bytes = OLD,
		.block_size_bytes = format == VHD_FORMAT_DYNAMIC ? BLOCK : 0,
		.unique_id = {1, 2, 3},
	};
	struct vhd *img;
	struct vhd_err e;

	if (vhd_create_file(&f, &o, &img, &e))
		fail_msg("%s", e.text);
	return img;
}

static void put(struct vhd *img, uint64_t off, uint8_t byte)
{
	uint8_t b[1024];
	struct vhd_err e;

	memset(b, byte, sizeof(b));
	if (vhd_write(img, off, b, sizeof(b), &e))
		fail_msg("%s", e.text);
}

/* 1 KiB of `byte` at `off`, as put() left it. */
static void has(struct vhd *img, uint64_t off, uint8_t byte)
{
	uint8_t b[1024], want[1024];
	struct vhd_err e;

	memset(want, byte, sizeof(want));
	if (vhd_read(img, off, b, sizeof(b), &e))
		fail_msg("%s", e.text);
	assert_memory_equal(b, want, sizeof(b));
}

static void must_grow(struct vhd *img, uint64_t size)
{
	struct vhd_err e = {0};

	if (vhd_grow(img, size, &e))
		fail_msg("to %llu: %s", (unsigned long long)size, e.text);
	assert_int_equal(vhd_get_info(img)->size_bytes, size);
}

static void reopen(struct memfile *m, enum vhd_format format, struct vhd **img)
{
	struct vhd_err e = {0};

	if (img_open(m, format, false, img, &e))
		fail_msg("%s", e.text);
}

/* --------------------------------------------------------------- growing -- */

static void open_image_grows_and_takes_data_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS * SIZES; i++) {
		uint64_t to = sizes[i % SIZES];
		struct memfile *m = memfile_create();
		struct vhd *img =
			create_on(memfile_file(m), formats[i / SIZES]);
		struct vhd_err e;

		put(img, 2 * BLOCK, 0x11); /* not flushed */
		put(img, OLD - 1024, 0x22);
		must_grow(img, to);
		has(img, 2 * BLOCK, 0x11);
		put(img, to - 512 - 1024, 0x33);
		has(img, to - 512 - 1024, 0x33);
		assert_int_equal(vhd_close(img, &e), 0);
		reopen(m, formats[i / SIZES], &img);
		assert_int_equal(vhd_get_info(img)->size_bytes, to);
		has(img, 2 * BLOCK, 0x11);
		has(img, to - 512 - 1024, 0x33);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void grows_again_and_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct memfile *m = memfile_create();
		struct vhd *img = create_on(memfile_file(m), formats[i]);
		uint64_t size = OLD;
		struct vhd_err e;

		for (unsigned n = 1; n <= 30; n++) {
			size += 512 * (1 + 37ull * n);
			must_grow(img, size);
			put(img, size - 1024, (uint8_t)n);
			for (uint64_t at = OLD, k = 1; k <= n; k++) {
				at += 512 * (1 + 37 * k);
				has(img, at - 1024, (uint8_t)k);
			}
		}
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_destroy(m);
	}
}

static void same_size_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct memfile *m = memfile_create();
		struct vhd *img = create_on(memfile_file(m), formats[i]);
		uint64_t writes = memfile_count(m, MEMFILE_WRITE);

		must_grow(img, OLD);
		assert_int_equal(memfile_count(m, MEMFILE_WRITE), writes);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

/* Somebody else made the file longer: a look is enough. */
static void raw_disk_has_the_size_its_file_has_by_now(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img = create_on(memfile_file(m), VHD_FORMAT_RAW);
	struct vhd_err e;

	(void)state;
	put(img, 0, 0x44);
	memfile_resize(m, 5 * OLD);
	assert_int_equal(vhd_grow(img, 0, &e), 0);
	assert_int_equal(vhd_get_info(img)->size_bytes, 5 * OLD);
	has(img, 0, 0x44);
	put(img, 5 * OLD - 1024, 0x55);
	/* what was added outside is not cut off by an older number */
	memfile_resize(m, 7 * OLD);
	assert_int_equal(vhd_grow(img, 6 * OLD, &e), -EUCLEAN);
	assert_int_equal(memfile_len(m), 7 * OLD);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- refusals -- */

static void refused(struct vhd *img, uint64_t size, int rc, enum vhd_why why)
{
	uint64_t before = vhd_get_info(img)->size_bytes;
	struct vhd_err e = {0};

	assert_int_equal(vhd_grow(img, size, &e), rc);
	assert_int_equal(e.why, why);
	assert_int_equal(vhd_get_info(img)->size_bytes, before);
}

static void what_makes_no_sense_is_refused_and_the_image_goes_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct memfile *m = memfile_create();
		struct vhd *img = create_on(memfile_file(m), formats[i]);
		struct vhd_err e;

		refused(img, OLD - 512, -EUCLEAN, VHD_WHY_SHRINK);
		refused(img, OLD + 1, -EINVAL, VHD_WHY_ARGUMENT);
		if (formats[i] != VHD_FORMAT_RAW) {
			refused(img, 0, -EINVAL, VHD_WHY_SIZE_ZERO);
			refused(img, 1ull << 62, -EINVAL, VHD_WHY_SIZE_LIMIT);
		}
		put(img, 0, 0x66);
		assert_int_equal(vhd_close(img, &e), 0);
		reopen(m, formats[i], &img);
		refused(img, 2 * OLD, -EROFS, VHD_WHY_READ_ONLY);
		has(img, 0, 0x66);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

/* What the file has become outside is no reason to end the disk. */
static void a_file_of_another_length_leaves_a_raw_disk_as_it_was(void **state)
{
	static const struct {
		uint64_t file, size;
		int rc;
		enum vhd_why why;
	} rows[] = {
		{OLD + 100, 0, -EINVAL, VHD_WHY_ARGUMENT},
		{OLD + 100, OLD, -EUCLEAN, VHD_WHY_SHRINK},
		{OLD + 100, OLD + 1, -EINVAL, VHD_WHY_ARGUMENT},
		{7 * OLD, 6 * OLD, -EUCLEAN, VHD_WHY_SHRINK},
		{OLD - 512, 0, -EUCLEAN, VHD_WHY_SHRINK},
		{100, 0, -EINVAL, VHD_WHY_ARGUMENT},
		{0, 0, -EUCLEAN, VHD_WHY_SHRINK},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct memfile *m = memfile_create();
		struct vhd *img = create_on(memfile_file(m), VHD_FORMAT_RAW);
		struct vhd_err e;

		memfile_resize(m, rows[i].file);
		refused(img, rows[i].size, rows[i].rc, rows[i].why);
		assert_false(vhd_poisoned(img));
		assert_int_equal(memfile_len(m), rows[i].file);
		put(img, OLD - 1024, 0x67);
		has(img, OLD - 1024, 0x67);
		must_grow(img, 8 * OLD);
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_destroy(m);
	}
}

/* ---------------------------------------------------------------- faults -- */

struct fault {
	uint64_t at, seen;
	int code;
	enum memfile_op op; /* MEMFILE_OPS: any that changes */
	bool hit;
};

static int fail_at(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct fault *f = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_READ || op == MEMFILE_SIZE ||
	    (f->op != MEMFILE_OPS && op != f->op))
		return 0;
	if (f->seen++ != f->at)
		return 0;
	f->hit = true;
	return f->code;
}

/* One call fails, each in turn: a failed sync ends the writing, a full file
 * system is survived; what was durable stays either way.
 */
static void fault_in_the_middle(enum vhd_format format, enum memfile_op op,
				int code)
{
	struct fault f = {.code = code, .op = op, .hit = true};

	for (f.at = 0; f.hit; f.at++) {
		struct memfile *m = memfile_create();
		struct vhd *img = create_on(memfile_file(m), format);
		struct vhd_err e = {0};
		uint64_t size;
		int rc;

		put(img, 2 * BLOCK, 0x77);
		assert_int_equal(vhd_flush(img, &e), 0);
		put(img, 4 * BLOCK, 0x78);
		f.seen = 0;
		f.hit = false;
		memfile_set_hook(m, fail_at, &f);
		rc = vhd_grow(img, 2000 * BLOCK, &e);
		memfile_set_hook(m, NULL, NULL);
		assert_int_equal(rc != 0, f.hit);
		size = vhd_get_info(img)->size_bytes;
		has(img, 2 * BLOCK, 0x77);
		if (rc && (op == MEMFILE_FLUSH))
			assert_true(vhd_poisoned(img));
		if (!vhd_poisoned(img)) {
			has(img, 4 * BLOCK, 0x78);
			put(img, size - 1024, 0x79);
			must_grow(img, 2000 * BLOCK);
			assert_int_equal(vhd_close(img, &e), 0);
		} else {
			vhd_abandon(img);
		}
		if (img_open(m, format, true, &img, &e))
			fail_msg("%s at %llu: %s", vhd_format_name(format),
				 (unsigned long long)f.at, e.text);
		has(img, 2 * BLOCK, 0x77);
		must_grow(img, 2000 * BLOCK);
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_destroy(m);
	}
	assert_true(f.at > 1);
}

static void failed_sync_poisons_and_loses_nothing_durable(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++)
		fault_in_the_middle(formats[i], MEMFILE_FLUSH, -EIO);
}

static void full_file_system_leaves_an_image_that_goes_on(void **state)
{
	(void)state;
	fault_in_the_middle(VHD_FORMAT_RAW, MEMFILE_TRUNCATE, -ENOSPC);
	fault_in_the_middle(VHD_FORMAT_FIXED, MEMFILE_WRITE, -ENOSPC);
	fault_in_the_middle(VHD_FORMAT_DYNAMIC, MEMFILE_WRITE, -ENOSPC);
}

static void a_power_cut_leaves_the_old_disk_or_the_new_one(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < FORMATS * SIZES; i++) {
		uint64_t to = sizes[i % SIZES];
		enum vhd_format format = formats[i / SIZES];
		struct memfile *m = memfile_create();
		struct recfile *rec;
		struct vhd *img;
		struct vhd_err e;

		img = create_on(memfile_file(m), format);
		put(img, 2 * BLOCK, 0x11);
		assert_int_equal(vhd_close(img, &e), 0);
		rec = recfile_create(m);
		img = NULL;
		{
			const struct vhd_open_opts o = {.format = format,
							.writable = true};
			struct vhd_file f = recfile_file(rec);

			assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
		}
		put(img, 4 * BLOCK, 0x12);
		assert_int_equal(vhd_flush(img, &e), 0);
		recfile_mark(rec, 1);
		must_grow(img, to);
		recfile_mark(rec, 2);
		put(img, to - 1024, 0x13);
		assert_int_equal(vhd_flush(img, &e), 0);
		vhd_abandon(img);
		for (size_t n = 0, mark = 0; n <= recfile_count(rec); n++) {
			struct memfile *cut =
				recfile_cut(rec, n, random_next(&rnd));
			uint64_t size;

			if (img_open(cut, format, true, &img, &e))
				fail_msg("%s to %llu at %zu: %s",
					 vhd_format_name(format),
					 (unsigned long long)to, n, e.text);
			size = vhd_get_info(img)->size_bytes;
			assert_true(size == OLD || size == to);
			has(img, 2 * BLOCK, 0x11);
			if (mark >= 1)
				has(img, 4 * BLOCK, 0x12);
			if (mark >= 2)
				assert_int_equal(size, to);
			if (n == recfile_count(rec))
				has(img, to - 1024, 0x13);
			assert_int_equal(vhd_close(img, &e), 0);
			memfile_destroy(cut);
			if (n < recfile_count(rec) &&
			    recfile_event(rec, n)->kind == REC_MARK)
				mark = (size_t)recfile_event(rec, n)->mark;
		}
		recfile_destroy(rec);
		memfile_destroy(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_image_grows_and_takes_data_at_once),
		cmocka_unit_test(grows_again_and_again),
		cmocka_unit_test(same_size_changes_nothing),
		cmocka_unit_test(raw_disk_has_the_size_its_file_has_by_now),
		cmocka_unit_test(
			what_makes_no_sense_is_refused_and_the_image_goes_on),
		cmocka_unit_test(
			a_file_of_another_length_leaves_a_raw_disk_as_it_was),
		cmocka_unit_test(failed_sync_poisons_and_loses_nothing_durable),
		cmocka_unit_test(full_file_system_leaves_an_image_that_goes_on),
		cmocka_unit_test(
			a_power_cut_leaves_the_old_disk_or_the_new_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
