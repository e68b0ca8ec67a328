/* SPDX-License-Identifier: BSD-2-Clause */
/* What a check says of the chain below a differencing disk: each fault by its
 * own word and the code Windows has for it, and nothing where it is sound.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/scratch.h"

#define W2RU 0x57327275u
#define SIZE 8192u

static struct scratch home;

static int set_up(void **state)
{
	(void)state;
	scratch_enter(&home, "chain", false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scratch_leave(&home);
	return 0;
}

/* Takes `m`. */
static void save(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

static struct memfile *child_of(unsigned n, const char *parent)
{
	struct memfile *m = diff_empty(n, SIZE, 4096);

	diff_locator_text(m, 0, W2RU, parent);
	return m;
}

/* A dynamic disk with the id `n`. */
static struct memfile *base(unsigned n, uint64_t size)
{
	struct memfile *m = diff_empty(n, size, 4096);

	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DYNAMIC);
	return m;
}

static int collect(void *ctx, const struct vhd_finding *f)
{
	struct found *all = ctx;

	assert_true(all->count < FOUND_MAX);
	all->f[all->count++] = *f;
	return 0;
}

static void check(const char *path, struct found *all)
{
	const struct vhd_check_opts o = {
		.parent_dir = ".", .found = collect, .ctx = all};

	memset(all, 0, sizeof(*all));
	assert_int_equal(vhd_check(path, &o, &all->r, &all->err), 0);
}

static void says(const char *path, enum vhd_finding_code code,
		 enum vhd_severity severity, uint32_t hresult)
{
	const struct vhd_finding *f;
	struct found all;

	check(path, &all);
	f = found_find(&all, code);
	assert_non_null(f);
	assert_int_equal(f->severity, severity);
	assert_int_equal(f->hresult, 0xc03a0000u | hresult);
}

#define ERROR VHD_SEVERITY_ERROR

static void a_sound_chain_is_counted(void **state)
{
	struct found all;

	(void)state;
	save(base(1, SIZE), "base.vhd");
	save(child_of(2, ".\\base.vhd"), "mid.vhd");
	save(child_of(3, ".\\mid.vhd"), "top.vhd");
	check("top.vhd", &all);
	assert_int_equal(all.r.severity_count[ERROR], 0);
	assert_int_equal(all.r.layers, 3);
}

static void a_missing_parent_is_0d(void **state)
{
	(void)state;
	save(child_of(2, ".\\base.vhd"), "top.vhd");
	says("top.vhd", VHD_FIND_PARENT_MISSING, ERROR, 0x0d);
}

static void another_disk_of_its_name_is_0e(void **state)
{
	(void)state;
	save(base(7, SIZE), "base.vhd");
	save(child_of(2, ".\\base.vhd"), "top.vhd");
	says("top.vhd", VHD_FIND_PARENT_ID, ERROR, 0x0e);
}

static void another_date_is_0f_and_no_error(void **state)
{
	struct memfile *m = child_of(2, ".\\base.vhd");

	(void)state;
	save(base(1, SIZE), "base.vhd");
	img_set32(m, IMG_HEADER, 1024, DIFF_H_PARENT_TIME, 1);
	save(m, "top.vhd");
	says("top.vhd", VHD_FIND_PARENT_TIME, VHD_SEVERITY_INFO, 0x0f);
}

static void another_size_is_17_either_way(void **state)
{
	(void)state;
	save(child_of(2, ".\\base.vhd"), "top.vhd");
	save(base(1, SIZE / 2), "base.vhd");
	says("top.vhd", VHD_FIND_PARENT_SIZE, ERROR, 0x17);
	save(base(1, SIZE * 2), "base.vhd");
	says("top.vhd", VHD_FIND_PARENT_SIZE, ERROR, 0x17);
}

/* Its own parent, and one of two that name each other. */
static void a_circle_is_18(void **state)
{
	struct memfile *m = child_of(2, ".\\top.vhd");
	uint8_t id[16];

	(void)state;
	diff_id(id, 2);
	diff_parent_id(m, id);
	save(m, "top.vhd");
	says("top.vhd", VHD_FIND_CHAIN, ERROR, 0x18);
	save(child_of(2, ".\\one.vhd"), "two.vhd");
	m = child_of(1, ".\\two.vhd");
	diff_parent_id(m, id);
	save(m, "one.vhd");
	says("two.vhd", VHD_FIND_CHAIN, ERROR, 0x18);
}

static void a_damaged_parent_is_19(void **state)
{
	struct memfile *m = base(1, SIZE);

	(void)state;
	img_poke(m, "\1\2\3\4", 4, IMG_HEADER + IMG_H_CHECKSUM);
	save(m, "base.vhd");
	save(child_of(2, ".\\base.vhd"), "top.vhd");
	says("top.vhd", VHD_FIND_PARENT_FAULT, ERROR, 0x19);
}

static void a_raw_parent_of_blktaps_is_not_looked_at(void **state)
{
	static const uint8_t none[16];
	struct memfile *m = child_of(2, ".\\raw"), *raw = memfile_create();
	struct found all;

	(void)state;
	memfile_resize(raw, SIZE);
	save(raw, "raw");
	diff_parent_id(m, none);
	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	save(m, "top.vhd");
	says("top.vhd", VHD_FIND_PARENT, VHD_SEVERITY_INFO, 0x0d);
	check("top.vhd", &all);
	assert_int_equal(found_faults(&all), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_sound_chain_is_counted),
		T(a_missing_parent_is_0d),
		T(another_disk_of_its_name_is_0e),
		T(another_date_is_0f_and_no_error),
		T(another_size_is_17_either_way),
		T(a_circle_is_18),
		T(a_damaged_parent_is_19),
		T(a_raw_parent_of_blktaps_is_not_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
