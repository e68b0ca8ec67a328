/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-convert's journal, what may be shared, and sizes for products; without
 * the program around them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/vhdimg.h"
#include "tools/convert/resume.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define RECORD (32 + 8 * CONVERT_ID_COUNT)

struct dir {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	snprintf(d->path, sizeof(d->path), "%.40s/placeXXXXXX",
		 tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY);
	assert_true(d->fd >= 0);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct dir *d = *state;
	int rc;

	(void)unlinkat(d->fd, "journal", 0);
	(void)unlinkat(d->fd, "image", 0);
	close(d->fd);
	rc = rmdir(d->path);
	free(d);
	return rc;
}

/* ------------------------------------------------------------- journal -- */

static void opened(struct convert_journal *j, const struct dir *d)
{
	assert_int_equal(convert_journal_open(j, d->fd, "journal", true, NULL),
			 0);
}

static void wrote(struct convert_journal *j, uint64_t mark_bytes)
{
	struct convert_mark m = {.mark_bytes = mark_bytes};

	for (unsigned i = 0; i < CONVERT_ID_COUNT; i++)
		m.id[i] = mark_bytes * 31 + i;
	assert_int_equal(convert_journal_write(j, &m, NULL), 0);
}

static void reads(const struct dir *d, uint64_t mark_bytes)
{
	struct convert_journal j;
	struct convert_mark m;

	opened(&j, d);
	assert_true(convert_journal_read(&j, &m));
	assert_int_equal(m.mark_bytes, mark_bytes);
	for (unsigned i = 0; i < CONVERT_ID_COUNT; i++)
		assert_int_equal(m.id[i], mark_bytes * 31 + i);
	convert_journal_close(&j);
}

static void a_new_journal_has_no_record(void **state)
{
	struct convert_journal j;
	struct convert_mark m;

	opened(&j, *state);
	assert_false(convert_journal_read(&j, &m));
	convert_journal_close(&j);
}

static void the_last_record_is_in_force(void **state)
{
	struct convert_journal j;
	struct convert_mark m;

	for (uint64_t n = 1; n < 6; n++) {
		opened(&j, *state);
		(void)convert_journal_read(&j, &m);
		wrote(&j, n);
		wrote(&j, 100 * n);
		convert_journal_close(&j);
		reads(*state, 100 * n);
	}
}

/* Whatever sectors of the last write arrive, and in whatever state. */
static void a_torn_record_leaves_the_one_before(void **state)
{
	const struct dir *d = *state;
	uint64_t seed = random_seed();
	struct convert_journal j;
	uint8_t whole[RECORD];

	opened(&j, d);
	wrote(&j, 1); /* at 4096 */
	wrote(&j, 2); /* at 0 */
	assert_int_equal(pread(j.fd, whole, RECORD, 0), RECORD);
	for (unsigned i = 0; i < RECORD; i++) {
		uint8_t torn[RECORD];

		memcpy(torn, whole, sizeof(torn));
		torn[i] ^= (uint8_t)(1u << random_below(&seed, 8));
		if (i >= 12 && i < 16)
			continue; /* that is padding */
		assert_int_equal(pwrite(j.fd, torn, RECORD, 0), RECORD);
		convert_journal_close(&j);
		reads(d, 1);
		opened(&j, d);
	}
	convert_journal_close(&j);
}

static void a_journal_belongs_to_one_copy_at_a_time(void **state)
{
	const struct dir *d = *state;
	struct convert_journal j, other;
	struct vhd_err err;

	opened(&j, d);
	assert_refused(convert_journal_open(&other, d->fd, "journal", true,
					    &err),
		       &err, EBUSY, VHD_WHY_LOCKED);
	convert_journal_remove(&j);
	assert_refused(convert_journal_open(&other, d->fd, "journal", false,
					    &err),
		       &err, ENOENT, VHD_WHY_SYSTEM);
}

/* ------------------------------------------------------------- sharing -- */

static struct vhd *image_of(struct memfile *m)
{
	struct vhd *img;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, NULL), 0);
	return img;
}

static void plan_is(const struct convert_share *sh, uint64_t off, uint64_t len,
		    bool may, uint64_t n)
{
	uint64_t got;
	bool yes;

	assert_int_equal(convert_share_plan(sh, off, len, &yes, &got, NULL),
			 0);
	assert_int_equal(yes, may);
	assert_int_equal(got, n);
}

/* A fixed disk lies at 0: all but what does not fill a block. */
static void a_fixed_disk_is_shared_but_for_its_ends(void **state)
{
	struct memfile *m = img_fixed(64 * KIB + 1536);
	struct vhd *img = image_of(m);
	struct convert_share sh = {.src = img, .unit_bytes = 4096};

	(void)state;
	plan_is(&sh, 0, 64 * KIB + 1536, true, 64 * KIB);
	plan_is(&sh, 64 * KIB, 1536, false, 1536);
	plan_is(&sh, 512, 8192, false, 3584);
	plan_is(&sh, 4096, 4096, true, 4096);
	plan_is(&sh, 4096, 4095 & ~511u, false, 3584);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* QEMU's layout: one block in eight lies on 4 KiB. What cannot be shared is
 * told as one, up to the next that can.
 */
static void blocks_are_shared_where_they_lie_alike(void **state)
{
	static const uint32_t order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	const uint64_t block = 64 * KIB, size = 10 * block;
	struct memfile *m = img_dynamic(size, (uint32_t)block, order, 10);
	struct vhd *img = image_of(m);
	struct convert_share sh = {.src = img, .unit_bytes = 4096};
	uint64_t at = 0, shared = 0, n;
	bool may;

	(void)state;
	while (at < size) {
		assert_int_equal(convert_share_plan(&sh, at, size - at, &may,
						    &n, NULL),
				 0);
		assert_true(n > 0);
		for (uint64_t b = at / block; b < (at + n) / block; b++)
			assert_int_equal(
				(img_place(size, (uint32_t)block, (unsigned)b) +
				 512) % 4096 == 0,
				may);
		if (may)
			assert_int_equal(n, block);
		shared += may ? n : 0;
		at += n;
	}
	assert_int_equal(at, size);
	assert_true(shared == block || shared == 2 * block);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void always_refuses_what_must_be_copied(void **state)
{
	struct memfile *m = img_fixed(64 * KIB + 512);
	struct vhd *img = image_of(m);
	struct convert_share sh = {
		.src = img, .unit_bytes = 4096, .always = true};
	struct vhd_err err;
	uint64_t n;
	bool may;

	(void)state;
	plan_is(&sh, 0, 64 * KIB + 512, true, 64 * KIB);
	plan_is(&sh, 64 * KIB, 512, false, 512); /* the disk's end */
	assert_refused(convert_share_plan(&sh, 512, 4096, &may, &n, &err), &err,
		       ENOTSUP, VHD_WHY_UNSUPPORTED);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_place_is_given_without_writing(void **state)
{
	const struct dir *d = *state;
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC, .size_bytes = 8 * MIB};
	struct vhd_open_opts again = {.format = VHD_FORMAT_DYNAMIC};
	uint8_t buf[512];
	char path[128];
	struct vhd *img;
	struct vhd_run run;

	snprintf(path, sizeof(path), "%s/image", d->path);
	assert_int_equal(vhd_create(path, &o, &img, NULL), 0);
	assert_int_equal(vhd_place(img, 4096, 10000, &run, NULL), 0);
	assert_int_equal(run.kind, VHD_RUN_FILE);
	assert_int_equal(run.off_bytes % 4096, 0);
	assert_int_equal(run.sectors, 4096); /* to the block's end */
	assert_int_equal(vhd_read(img, 3 * MIB, buf, 512, NULL), 0);
	assert_int_equal(buf[0] | buf[511], 0);
	assert_int_equal(vhd_close(img, NULL), 0);
	assert_int_equal(vhd_open(path, &again, &img, NULL), 0);
	assert_int_equal(vhd_get_info(img)->blocks_used, 1);
	assert_int_equal(vhd_place(img, 0, 1, &run, NULL), -EROFS);
	vhd_abandon(img);
}

/* ---------------------------------------------------------------- size -- */

static void products_get_sizes_that_they_take(void **state)
{
	static const struct {
		enum vhd_target target;
		uint64_t size, want; /* 0: refused */
	} cases[] = {
		{VHD_TARGET_NONE, 512, 512},
		{VHD_TARGET_HYPERV, 512, 3 * MIB},
		{VHD_TARGET_HYPERV, 3 * MIB + 512, 3 * MIB + 512},
		{VHD_TARGET_HYPERV, 2040 * KIB * MIB, 2040 * KIB * MIB},
		{VHD_TARGET_HYPERV, 2040 * KIB * MIB + 512, 0},
		{VHD_TARGET_AZURE, 20 * MIB, 20 * MIB},
		{VHD_TARGET_AZURE, 20 * MIB + 512, 21 * MIB},
		{VHD_TARGET_AZURE, 19 * MIB, 20 * MIB},
		{VHD_TARGET_XENSERVER, 2 * MIB + 512, 4 * MIB},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct convert_opts o = {.target = cases[i].target,
					 .to = VHD_FORMAT_FIXED};
		struct vhd_err err;
		uint64_t got = 0;
		int rc = convert_size(&o, cases[i].size, &got, &err);

		if (cases[i].want) {
			assert_int_equal(rc, 0);
			assert_int_equal(got, cases[i].want);
		} else {
			assert_refused(rc, &err, EINVAL, VHD_WHY_SIZE_LIMIT);
		}
	}
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_journal_has_no_record),
		T(the_last_record_is_in_force),
		T(a_torn_record_leaves_the_one_before),
		T(a_journal_belongs_to_one_copy_at_a_time),
		T(a_fixed_disk_is_shared_but_for_its_ends),
		T(blocks_are_shared_where_they_lie_alike),
		T(always_refuses_what_must_be_copied),
		T(a_place_is_given_without_writing),
		T(products_get_sizes_that_they_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
