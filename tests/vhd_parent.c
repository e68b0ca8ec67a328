/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/parent.c: parents are found where they may be and nowhere else, and every
 * refusal has its reason.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/scratch.h"
#include "vhd/image.h"
#include "vhd/locator.h"

/* A directory with `in/` for images, `in/deep/`, and `out/` beside it. */
static void place_make(struct scratch *p)
{
	scratch_enter(p, "parent", false);
	assert_int_equal(mkdir("in", 0700), 0);
	assert_int_equal(mkdir("in/deep", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
}

static int open_below(const char *path, const char *dir, struct vhd **img,
		      struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = dir};

	return vhd_open(path, &o, img, e);
}

static void save(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

/* A fixed disk with the id 0 and one byte all over. */
static void save_base(const char *path, uint8_t byte)
{
	struct memfile *m = img_fixed(8192);
	uint8_t b[8192], id[16];

	memset(b, byte, sizeof(b));
	assert_int_equal(memfile_poke(m, b, sizeof(b), 0), 0);
	diff_id(id, 0);
	img_set(m, 8192, 512, IMG_F_ID, id, 16);
	save(m, path);
}

static void save_child(const char *path, const char *w2ru)
{
	struct memfile *m = diff_empty(1, 8192, 4096);

	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, w2ru);
	save(m, path);
}

static void assert_reads(const char *path, const char *dir, uint8_t byte)
{
	uint8_t b[8192];
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(open_below(path, dir, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, sizeof(b), &e), 0);
	for (size_t i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], byte);
	assert_int_equal(vhd_close(img, &e), 0);
}

static void assert_missing(const char *path, const char *dir)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(open_below(path, dir, &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
}

/* Every way in which a child may say where its parent is. */
static void every_kind_of_name_is_followed(void **state)
{
	static const struct {
		uint32_t platform;
		const char *text;
		bool wide;
	} ways[] = {
		{VHD_LOCATOR_W2RU, ".\\deep\\base.vhd", true},
		{VHD_LOCATOR_W2RU, "deep\\BASE.vhd", true},
		{VHD_LOCATOR_WI2R, ".\\deep\\base.vhd", false},
		{VHD_LOCATOR_MACX, "file://./deep/base.vhd", false},
		{VHD_LOCATOR_MACX, "file:///Volumes/x/near%2evhd", false},
		{VHD_LOCATOR_W2KU, "D:\\Images\\near.vhd", true},
		{VHD_LOCATOR_W2KU, "D:\\Images\\Near.VHD", true},
		{VHD_LOCATOR_WI2K, "D:\\Images\\near.vhd", false},
		{0, "C:\\VM\\near.vhd", false},
		{0, "NEAR.vhd", false},
	};
	(void)state;
	struct scratch p;

	place_make(&p);
	save_base("in/deep/base.vhd", 0x77);
	save_base("in/near.vhd", 0x77);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct memfile *m = diff_empty(1, 8192, 4096);

		if (!ways[i].platform)
			diff_name(m, ways[i].text);
		else if (ways[i].wide)
			diff_locator_text(m, 3, ways[i].platform, ways[i].text);
		else
			diff_locator(m, 3, ways[i].platform, ways[i].text,
				     strlen(ways[i].text));
		save(m, "in/child.vhd");
		assert_reads("in/child.vhd", "in", 0x77);
	}
	scratch_leave(&p);
}

static void the_first_name_whose_id_fits_wins(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct memfile *other = img_fixed(8192);
	struct scratch p;

	place_make(&p);
	diff_locator_text(m, 0, VHD_LOCATOR_W2KU, "C:\\third.vhd");
	diff_locator_text(m, 1, VHD_LOCATOR_W2RU, ".\\first.vhd");
	diff_locator(m, 2, VHD_LOCATOR_MACX, "file://./second.vhd", 19);
	diff_name(m, "fourth.vhd");
	save(m, "in/child.vhd");
	save_base("in/fourth.vhd", 4);
	assert_reads("in/child.vhd", "in", 4);
	save_base("in/third.vhd", 3);
	assert_reads("in/child.vhd", "in", 3);
	save_base("in/second.vhd", 2);
	assert_reads("in/child.vhd", "in", 2);
	diff_save(other, "in/first.vhd"); /* another disk */
	assert_reads("in/child.vhd", "in", 2);
	save_base("in/first.vhd", 1);
	assert_reads("in/child.vhd", "in", 1);
	memfile_destroy(other);
	scratch_leave(&p);
}

static void nothing_outside_the_directory_is_opened(void **state)
{
	(void)state;
	struct vhd *img;
	struct vhd_err e;
	struct scratch p;
	char text[160];

	place_make(&p);
	save_base("out/base.vhd", 0x11);
	save_base("base.vhd", 0x11);
	save_child("in/child.vhd", "..\\base.vhd");
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	save_child("in/child.vhd", "deep\\..\\..\\out\\base.vhd");
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	snprintf(text, sizeof(text), "%s/out/base.vhd", p.dir);
	save_child("in/child.vhd", text);
	assert_missing("in/child.vhd", "in");
	assert_missing("in/child.vhd", ".");
	/* Links: one that stays, one that leaves, one from the root. */
	save_child("in/child.vhd", "link.vhd");
	assert_int_equal(symlink("../out/base.vhd", "in/link.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	assert_int_equal(unlink("in/link.vhd"), 0);
	assert_int_equal(symlink(text, "in/link.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	assert_missing("in/child.vhd", ".");
	assert_int_equal(unlink("in/link.vhd"), 0);
	save_base("in/deep/base.vhd", 0x22);
	assert_int_equal(symlink("deep/base.vhd", "in/link.vhd"), 0);
	assert_reads("in/child.vhd", "in", 0x22);
	/* The child itself must be in there. */
	assert_refused(open_below("in/child.vhd", "in/deep", &img, &e), &e,
		       EINVAL, VHD_WHY_ARGUMENT);
	assert_refused(open_below("in/child.vhd", "i", &img, &e), &e, ENOENT,
		       VHD_WHY_SYSTEM);
	assert_reads("in/child.vhd", "/", 0x22);
	scratch_leave(&p);
}

static void what_is_not_the_parent_is_refused_by_reason(void **state)
{
	(void)state;
	struct memfile *other = img_fixed(8192), *bad;
	struct vhd_open_opts rw = {.writable = true,
				   .format = VHD_FORMAT_FIXED};
	struct vhd *img, *held;
	struct vhd_err e;
	struct scratch p;

	place_make(&p);
	save_child("in/child.vhd", "base.vhd");
	assert_missing("in/child.vhd", "in");
	diff_save(other, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	bad = memfile_create();
	memfile_resize(bad, 8192); /* raw */
	save(bad, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	save(memfile_create(), "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_SIZE_ZERO);
	bad = memfile_clone(other);
	img_set32(bad, 8192, 512, IMG_F_TYPE, 7);
	save(bad, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_FOOTER_TYPE);
	save_base("in/base.vhd", 0x33);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(held);
	/* While a chain is open, nobody writes to its parents. */
	assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
	assert_refused(vhd_open("in/base.vhd", &rw, &held, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	vhd_abandon(held);
	/* A child may be written to, its parents never. */
	rw.format = VHD_FORMAT_AUTO;
	rw.parent_dir = "in";
	assert_int_equal(vhd_open("in/child.vhd", &rw, &img, &e), 0);
	rw.format = VHD_FORMAT_FIXED;
	assert_refused(vhd_open("in/base.vhd", &rw, &held, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	memfile_destroy(other);
	scratch_leave(&p);
}

static void circles_are_refused(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct vhd *img;
	struct vhd_err e;
	uint8_t id[16];
	struct scratch p;

	place_make(&p);
	/* Its own parent. */
	diff_id(id, 1);
	diff_parent_id(m, id);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "a.vhd");
	diff_save(m, "in/a.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	/* By a copy of itself. */
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "copy.vhd");
	diff_save(m, "in/a.vhd");
	diff_save(m, "in/copy.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	memfile_destroy(m);
	/* Two that ask for each other. */
	m = diff_empty(1, 8192, 4096);
	diff_id(id, 2);
	diff_parent_id(m, id);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "b.vhd");
	save(m, "in/a.vhd");
	m = diff_empty(2, 8192, 4096);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "a.vhd");
	save(m, "in/b.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	scratch_leave(&p);
}

static void files_stack_to_the_limit_and_no_further(void **state)
{
	(void)state;
	struct vhd *img;
	struct vhd_err e;
	struct scratch p;
	char path[32] = "in/0.vhd", name[32];
	uint8_t b[512];

	place_make(&p);
	save_base(path, 0x44);
	for (unsigned i = 1; i <= VHD_CHAIN_MAX; i++) {
		struct memfile *m = diff_empty(i, 8192, 4096);

		snprintf(name, sizeof(name), "%u.vhd", i - 1);
		diff_locator_text(m, 0, VHD_LOCATOR_W2RU, name);
		snprintf(path, sizeof(path), "in/%u.vhd", i);
		save(m, path);
	}
	assert_refused(open_below(path, "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_DEPTH);
	snprintf(path, sizeof(path), "in/%u.vhd", VHD_CHAIN_MAX - 1);
	assert_int_equal(open_below(path, "in", &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->layers, VHD_CHAIN_MAX);
	assert_int_equal(vhd_read(img, 0, b, 512, &e), 0);
	assert_int_equal(b[0], 0x44);
	assert_int_equal(vhd_close(img, &e), 0);
	scratch_leave(&p);
}

static void impossible_locators_are_noted_and_passed_over(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	static const uint8_t odd[3] = {'x', 0, 'y'};
	struct vhd *img;
	struct vhd_err e;
	struct scratch p;
	char text[64];

	place_make(&p);
	save_base("in/base.vhd", 0x55);
	diff_locator(m, 0, VHD_LOCATOR_W2RU, odd, 3);
	diff_locator_text(m, 1, VHD_LOCATOR_W2RU, "other.vhd");
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 24 + 16, 512);
	diff_locator_text(m, 2, VHD_LOCATOR_W2KU, "more.vhd");
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 48 + 8, 70000);
	diff_locator_text(m, 3, 0x4d616320, "alias");
	diff_name(m, "base.vhd");
	save(m, "in/child.vhd");
	assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_LOCATOR_BAD);
	assert_false(vhd_get_info(img)->notes & VHD_NOTE_PARENT_TIME);
	vhd_abandon(img);
	assert_int_equal(unlink("in/base.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	/* To be looked at it opens nevertheless, and says where it looked. */
	const struct vhd_open_opts o = {.inspect = true, .parent_dir = "in"};

	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_PARENT_MISSING);
	assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)), 8);
	assert_string_equal(text, "base.vhd");
	assert_int_equal(vhd_parent_path(img, 0, text, 8), -ENAMETOOLONG);
	assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)), -ENOENT);
	vhd_abandon(img);
	scratch_leave(&p);
}

/* blktap's child of a raw disk: an id of zeros and the name. What is named is
 * read as it is, even if it looks like a VHD: its guest may have made it so.
 */
static void a_raw_parent_of_blktaps_needs_leave(void **state)
{
	(void)state;
	static const uint8_t none[16];
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct memfile *raw = memfile_create(), *forged;
	struct vhd_open_opts o = {.parent_dir = "in"};
	uint8_t b[8192], got[8192];
	struct vhd *img = NULL;
	struct vhd_err e = {0};
	struct scratch p;

	place_make(&p);
	memset(b, 0x3a, sizeof(b));
	assert_int_equal(memfile_poke(raw, b, sizeof(b), 0), 0);
	diff_save(raw, "in/raw");
	diff_parent_id(m, none);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, ".\\raw");
	diff_save(m, "in/child.vhd");
	/* Another maker's id of zeros is an id, and a raw disk has none. */
	o.raw_parent = true;
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	diff_save(m, "in/child.vhd");
	o.raw_parent = false;
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, ENOTSUP,
		       VHD_WHY_PARENT_RAW);
	o.raw_parent = true;
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->layers, 2);
	assert_int_equal(vhd_read(img, 0, got, sizeof(got), &e), 0);
	assert_memory_equal(got, b, sizeof(b));
	vhd_abandon(img);
	/* A child without an id of its own is not therefore that disk. */
	img_footers(m, IMG_F_ID, none, 16);
	diff_save(m, "in/child.vhd");
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	vhd_abandon(img);
	/* A size that is another's needs its own leave. */
	forged = img_fixed(8192 - 512);
	diff_save(forged, "in/raw");
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 7680, got, 512, &e), 0);
	assert_memory_equal(got, "conectix", 8);
	vhd_abandon(img);
	assert_int_equal(truncate("in/raw", 4096), 0);
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	o.larger_child = true;
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 4096, got, 4096, &e), 0);
	assert_int_equal(got[0] | got[4095], 0);
	vhd_abandon(img);
	/* Outside of the directory it is not to be had. */
	assert_int_equal(rename("in/raw", "raw"), 0);
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	memfile_destroy(forged);
	memfile_destroy(raw);
	memfile_destroy(m);
	scratch_leave(&p);
}

static void a_parents_date_is_only_noted(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct vhd *img;
	struct vhd_err e;
	struct stat st;
	struct scratch p;

	place_make(&p);
	save_base("in/base.vhd", 0x66);
	assert_int_equal(stat("in/base.vhd", &st), 0);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "base.vhd");
	for (unsigned late = 0; late < 2; late++) {
		img_set32(m, IMG_HEADER, 1024, DIFF_H_PARENT_TIME,
			  (uint32_t)(st.st_mtime - 946684800 + late));
		diff_save(m, "in/child.vhd");
		assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
		assert_int_equal(
			!!(vhd_get_info(img)->notes & VHD_NOTE_PARENT_TIME),
			late);
		vhd_abandon(img);
	}
	memfile_destroy(m);
	scratch_leave(&p);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(every_kind_of_name_is_followed),
		T(the_first_name_whose_id_fits_wins),
		T(nothing_outside_the_directory_is_opened),
		T(what_is_not_the_parent_is_refused_by_reason),
		T(circles_are_refused),
		T(files_stack_to_the_limit_and_no_further),
		T(impossible_locators_are_noted_and_passed_over),
		T(a_raw_parent_of_blktaps_needs_leave),
		T(a_parents_date_is_only_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
