/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw and fixed into one another: the disk's bytes stay, the footer comes and
 * goes, every power cut leaves one of the two, and content that a guest chose
 * is never taken for a footer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"

#define KIB 1024u
#define SIZE (64 * KIB + 512)

static const struct vhd_in_place_opts to_fixed = {
	.from = VHD_FORMAT_RAW,
	.to = VHD_FORMAT_FIXED,
	.unique_id = {1, 2, 3},
	.now_unix_s = 1700000000,
};

static const struct vhd_in_place_opts to_raw = {
	.from = VHD_FORMAT_FIXED,
	.to = VHD_FORMAT_RAW,
};

static struct memfile *raw_disk(uint64_t seed)
{
	static uint8_t buf[SIZE];
	struct memfile *m = memfile_create();

	for (size_t i = 0; i < SIZE; i++)
		buf[i] = (uint8_t)random_next(&seed);
	assert_int_equal(memfile_poke(m, buf, SIZE, 0), 0);
	return m;
}

static int change(struct memfile *m, const struct vhd_in_place_opts *o,
		  struct vhd_err *e)
{
	struct vhd_file f = memfile_file(m);

	return vhd_in_place_file(&f, o, e);
}

/* A fixed VHD of the first `size` bytes of `raw`, by the independent reader. */
static void is_fixed_of(const struct memfile *m, const struct memfile *raw,
			uint64_t size)
{
	uint64_t len = memfile_len(m);
	uint8_t *bytes = malloc(len), *want = malloc(size), sector[512];
	struct oracle o;

	assert_int_equal(len, size + 512);
	memfile_peek(m, bytes, len, 0);
	memfile_peek(raw, want, size, 0);
	if (!oracle_open(&o, bytes, len))
		fail_msg("%s", o.fault);
	assert_false(o.dynamic);
	assert_int_equal(o.size, size);
	for (uint64_t lba = 0; lba < size / 512; lba++) {
		assert_true(oracle_sector(&o, lba, sector));
		assert_memory_equal(sector, want + lba * 512, 512);
	}
	free(bytes);
	free(want);
}

static void raw_becomes_fixed_and_raw_again(void **state)
{
	(void)state;
	struct memfile *m = raw_disk(1), *before = memfile_clone(m);
	struct vhd_err e;

	assert_int_equal(change(m, &to_fixed, &e), 0);
	is_fixed_of(m, before, SIZE);
	assert_int_equal(change(m, &to_raw, &e), 0);
	assert_true(memfile_equal(m, before));
	memfile_destroy(m);
	memfile_destroy(before);
}

static void nothing_of_the_disk_is_written(void **state)
{
	(void)state;
	struct memfile *m = raw_disk(2);
	struct recfile *r = recfile_create(m);
	struct vhd_file f = recfile_file(r);
	struct vhd_err e;

	assert_int_equal(vhd_in_place_file(&f, &to_fixed, &e), 0);
	assert_int_equal(vhd_in_place_file(&f, &to_raw, &e), 0);
	assert_int_equal(recfile_count(r), 4);
	assert_int_equal(recfile_event(r, 0)->kind, REC_WRITE);
	assert_int_equal(recfile_event(r, 0)->off, SIZE);
	assert_int_equal(recfile_event(r, 0)->len, 512);
	assert_int_equal(recfile_event(r, 1)->kind, REC_FLUSH);
	assert_int_equal(recfile_event(r, 2)->kind, REC_TRUNCATE);
	assert_int_equal(recfile_event(r, 2)->off, SIZE);
	assert_int_equal(recfile_event(r, 3)->kind, REC_FLUSH);
	recfile_destroy(r);
	memfile_destroy(m);
}

static void the_disk_may_grow_by_zeros(void **state)
{
	(void)state;
	struct vhd_in_place_opts o = to_fixed;
	struct memfile *m = raw_disk(3), *want = memfile_clone(m);
	struct vhd_err e;

	o.size_bytes = 1 << 20;
	memfile_resize(want, 1 << 20);
	assert_int_equal(change(m, &o, &e), 0);
	is_fixed_of(m, want, 1 << 20);
	memfile_destroy(m);
	memfile_destroy(want);
}

static void the_disk_never_shrinks(void **state)
{
	(void)state;
	struct vhd_in_place_opts o = to_fixed;
	struct memfile *m = raw_disk(3), *before = memfile_clone(m);
	struct vhd_err e;

	o.size_bytes = SIZE - 512;
	assert_refused(change(m, &o, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	assert_true(memfile_equal(m, before));
	memfile_destroy(m);
	memfile_destroy(before);
}

static void the_creator_is_the_one_given(void **state)
{
	(void)state;
	static const struct vhd_creator vpc = {
		{'v', 'p', 'c', ' '}, 0x00050003, {'W', 'i', '2', 'k'}};
	struct vhd_in_place_opts o = to_fixed;
	struct memfile *m = raw_disk(4);
	uint8_t footer[512];
	struct vhd_err e;

	o.creator = &vpc;
	assert_int_equal(change(m, &o, &e), 0);
	memfile_peek(m, footer, 512, SIZE);
	assert_memory_equal(footer + IMG_F_APP, "vpc ", 4);
	assert_int_equal(img_get32(footer + IMG_F_APP_VERSION), 0x00050003);
	assert_memory_equal(footer + IMG_F_ID, o.unique_id, 16);
	memfile_destroy(m);
}

/* Whatever part of the change reaches the medium. */
static void every_power_cut_leaves_one_of_the_two(void **state)
{
	(void)state;
	for (int grown = 0; grown < 2; grown++) {
		struct vhd_in_place_opts o = to_fixed;
		struct memfile *m = raw_disk(5), *raw = memfile_clone(m);
		struct memfile *large = memfile_clone(m);
		uint64_t size = grown ? 128 * KIB : SIZE;
		struct recfile *r = recfile_create(m);
		struct vhd_file f = recfile_file(r);
		unsigned seen[2] = {0};
		struct vhd_err e;

		o.size_bytes = size;
		memfile_resize(large, size);
		assert_int_equal(vhd_in_place_file(&f, &o, &e), 0);
		assert_int_equal(vhd_in_place_file(&f, &to_raw, &e), 0);
		for (size_t n = 0; n <= recfile_count(r); n++) {
			for (uint64_t cut = 0; cut < 16; cut++) {
				struct memfile *c = recfile_cut(r, n, cut);
				bool was = memfile_equal(c, raw) ||
					   memfile_equal(c, large);

				seen[was]++;
				if (!was)
					is_fixed_of(c, large, size);
				memfile_destroy(c);
			}
		}
		assert_true(seen[0] && seen[1]);
		recfile_destroy(r);
		memfile_destroy(m);
		memfile_destroy(raw);
		memfile_destroy(large);
	}
}

static int fail_op(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const enum memfile_op *which = ctx;

	(void)off;
	(void)len;
	return op == *which ? -EIO : 0;
}

static void a_footer_that_cannot_be_written_leaves_the_raw_disk(void **state)
{
	(void)state;
	enum memfile_op which = MEMFILE_WRITE;
	struct memfile *m = raw_disk(6), *before = memfile_clone(m);
	struct vhd_err e;

	memfile_set_hook(m, fail_op, &which);
	assert_refused(change(m, &to_fixed, &e), &e, EIO, VHD_WHY_IO);
	assert_true(memfile_equal(m, before));
	memfile_destroy(m);
	memfile_destroy(before);
}

/* Half a sector, then a full disk. */
static int fail_second(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	unsigned *n = ctx;

	(void)off;
	(void)len;
	return op == MEMFILE_WRITE && (*n)++ ? -ENOSPC : 0;
}

static void a_footer_written_by_half_is_cut_off_again(void **state)
{
	(void)state;
	struct memfile *m = raw_disk(7), *before = memfile_clone(m);
	unsigned n = 0;
	struct vhd_err e;

	memfile_set_chunk(m, 100);
	memfile_set_hook(m, fail_second, &n);
	assert_refused(change(m, &to_fixed, &e), &e, ENOSPC, VHD_WHY_NO_SPACE);
	memfile_set_hook(m, NULL, NULL);
	assert_true(memfile_equal(m, before));
	memfile_destroy(m);
	memfile_destroy(before);
}

static void a_failed_sync_is_told(void **state)
{
	(void)state;
	enum memfile_op which = MEMFILE_FLUSH;
	struct memfile *m = raw_disk(8);
	struct vhd_err e;

	memfile_set_hook(m, fail_op, &which);
	assert_refused(change(m, &to_fixed, &e), &e, EIO, VHD_WHY_IO);
	memfile_set_hook(m, NULL, NULL);
	memfile_destroy(m);
}

static void a_second_footer_takes_insistence(void **state)
{
	(void)state;
	struct vhd_in_place_opts o = to_fixed;
	struct memfile *m = raw_disk(9), *once;
	struct vhd_err e;

	assert_int_equal(change(m, &o, &e), 0);
	once = memfile_clone(m);
	assert_refused(change(m, &o, &e), &e, EUCLEAN, VHD_WHY_LOOKS_LIKE_VHD);
	assert_true(memfile_equal(m, once));
	o.force = true;
	assert_int_equal(change(m, &o, &e), 0);
	is_fixed_of(m, once, SIZE + 512);
	/* what is a guest's own footer does not go by accident either */
	assert_refused(change(m, &to_raw, &e), &e, EUCLEAN,
		       VHD_WHY_LOOKS_LIKE_VHD);
	o = to_raw;
	o.force = true;
	assert_int_equal(change(m, &o, &e), 0);
	assert_true(memfile_equal(m, once));
	memfile_destroy(m);
	memfile_destroy(once);
}

static void a_forged_start_keeps_its_footer(void **state)
{
	(void)state;
	static const uint32_t none[] = {0};
	struct memfile *m = raw_disk(10);
	struct memfile *vhd = img_bare(1 << 20, 16 * KIB, none, 1);
	uint8_t start[1536];
	struct vhd_err e;

	memfile_peek(vhd, start, sizeof(start), 0);
	assert_int_equal(memfile_poke(m, start, sizeof(start), 0), 0);
	assert_refused(change(m, &to_fixed, &e), &e, EUCLEAN,
		       VHD_WHY_LOOKS_LIKE_VHD);
	memfile_destroy(m);
	memfile_destroy(vhd);
}

static void what_is_not_fixed_is_not_cut(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *raw = raw_disk(11), *before = memfile_clone(raw);
	struct memfile *dyn = img_dynamic(1 << 20, 16 * KIB, order, 1);
	struct memfile *cut = img_fixed(1 << 20);
	struct vhd_err e;

	assert_refused(change(raw, &to_raw, &e), &e, EUCLEAN, VHD_WHY_NOT_VHD);
	assert_true(memfile_equal(raw, before));
	assert_refused(change(dyn, &to_raw, &e), &e, EUCLEAN,
		       VHD_WHY_TYPE_MISMATCH);
	img_set64(cut, 1 << 20, 512, IMG_F_CURRENT_SIZE, 1 << 19);
	assert_refused(change(cut, &to_raw, &e), &e, EUCLEAN,
		       VHD_WHY_FIXED_LENGTH);
	memfile_destroy(raw);
	memfile_destroy(before);
	memfile_destroy(dyn);
	memfile_destroy(cut);
}

static void an_old_footer_of_511_bytes_goes_as_a_whole(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(1 << 20);
	struct vhd_err e;

	memfile_resize(m, (1 << 20) + 511);
	assert_int_equal(change(m, &to_raw, &e), 0);
	assert_int_equal(memfile_len(m), 1 << 20);
	memfile_destroy(m);
}

static void sizes_that_are_no_disks_are_refused(void **state)
{
	(void)state;
	static const struct {
		uint64_t len;
		enum vhd_why why;
	} cases[] = {
		{0, VHD_WHY_SIZE_ZERO},
		{1, VHD_WHY_SIZE_ALIGN},
		{511, VHD_WHY_SIZE_ALIGN},
		{513, VHD_WHY_SIZE_ALIGN},
	};
	struct vhd_err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memfile *m = memfile_create();

		memfile_resize(m, cases[i].len);
		assert_refused(change(m, &to_fixed, &e), &e, EINVAL,
			       cases[i].why);
		assert_int_equal(memfile_len(m), cases[i].len);
		memfile_destroy(m);
	}
}

static void other_pairs_are_refused(void **state)
{
	(void)state;
	struct memfile *m = raw_disk(12);
	struct vhd_in_place_opts o = {.from = VHD_FORMAT_AUTO,
				      .to = VHD_FORMAT_RAW};
	struct vhd_err e;

	assert_refused(change(m, &o, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	o.from = o.to;
	assert_refused(change(m, &o, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	o.to = VHD_FORMAT_DYNAMIC;
	assert_refused(change(m, &o, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	memfile_destroy(m);
}

static void a_file_in_use_is_left_alone(void **state)
{
	(void)state;
	struct vhd_create_opts c = {.format = VHD_FORMAT_FIXED,
				    .size_bytes = 1 << 20};
	struct vhd_open_opts reader = {.format = VHD_FORMAT_FIXED};
	char path[] = "/tmp/inplaceXXXXXX";
	int fd = mkstemp(path);
	struct vhd_err e;
	struct vhd *img;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vhd_create(path, &c, &img, &e), 0);
	assert_refused(vhd_in_place(path, &to_raw, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(vhd_open(path, &reader, &img, &e), 0);
	assert_refused(vhd_in_place(path, &to_raw, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	assert_int_equal(vhd_in_place(path, &to_raw, &e), 0);
	assert_refused(vhd_in_place(path, NULL, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	unlink(path);
	assert_refused(vhd_in_place(path, &to_raw, &e), &e, ENOENT,
		       VHD_WHY_SYSTEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_becomes_fixed_and_raw_again),
		cmocka_unit_test(nothing_of_the_disk_is_written),
		cmocka_unit_test(the_disk_may_grow_by_zeros),
		cmocka_unit_test(the_disk_never_shrinks),
		cmocka_unit_test(the_creator_is_the_one_given),
		cmocka_unit_test(every_power_cut_leaves_one_of_the_two),
		cmocka_unit_test(
			a_footer_that_cannot_be_written_leaves_the_raw_disk),
		cmocka_unit_test(a_footer_written_by_half_is_cut_off_again),
		cmocka_unit_test(a_failed_sync_is_told),
		cmocka_unit_test(a_second_footer_takes_insistence),
		cmocka_unit_test(a_forged_start_keeps_its_footer),
		cmocka_unit_test(what_is_not_fixed_is_not_cut),
		cmocka_unit_test(an_old_footer_of_511_bytes_goes_as_a_whole),
		cmocka_unit_test(sizes_that_are_no_disks_are_refused),
		cmocka_unit_test(other_pairs_are_refused),
		cmocka_unit_test(a_file_in_use_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
