/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest can make of its disk, and an image of its parents' names: a raw
 * disk stays raw, and parents are found below one directory only. Each case is
 * a test of its own; all of them together are the figure of goal S8.
 */
#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/proof.h"
#include "tests/lib/scratch.h"
#include "vhd/locator.h"
#include "vhd/vhd.h"

#define SIZE  8192u
#define BLOCK 4096u
#define SECRET 0x5a

/* `in/` with `in/deep/`, where images may be, and `out/` beside it. */
static struct scratch place;

static int enter(void **state)
{
	(void)state;
	scratch_enter(&place, "confine", true);
	return mkdir("in", 0700) | mkdir("in/deep", 0700) | mkdir("out", 0700);
}

static unsigned passed;

/* Only a test that came to its end counts. */
static int leave(void **state)
{
	(void)state;
	scratch_leave(&place);
	return 0;
}

static void save(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

/* A fixed disk with the id 0, all of one byte. */
static void save_base(const char *path, uint8_t byte)
{
	struct memfile *m = img_fixed(SIZE);
	uint8_t b[SIZE], id[16];

	memset(b, byte, sizeof(b));
	assert_int_equal(memfile_poke(m, b, sizeof(b), 0), 0);
	diff_id(id, 0);
	img_set(m, SIZE, 512, IMG_F_ID, id, 16);
	save(m, path);
}

static void save_child(const char *path, const char *parent)
{
	struct memfile *m = diff_empty(1, SIZE, BLOCK);

	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, parent);
	save(m, path);
}

static int try_open(const char *path, const char *dir, struct vhd **img,
		    struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = dir};

	return vhd_open(path, &o, img, e);
}

static void assert_kept_in(const char *dir)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(try_open("in/child.vhd", dir, &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
}

static void assert_found(const char *dir, uint8_t byte)
{
	uint8_t b[SIZE];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(try_open("in/child.vhd", dir, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, sizeof(b), &e), 0);
	for (size_t i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], byte);
	vhd_abandon(img);
}

/* ------------------------------------------------------------- formats -- */

/* All that a guest can write: here another image, from its first byte on. */
static void guest_writes(const char *path, const struct memfile *m)
{
	const struct vhd_open_opts o = {
		.format = VHD_FORMAT_RAW, .writable = true, .parent_dir = "in"};
	size_t len = (size_t)memfile_len(m);
	uint8_t *b = malloc(len);
	struct vhd *img;
	struct vhd_err e;

	assert_non_null(b);
	memfile_peek(m, b, len, 0);
	assert_int_equal(truncate(path, (off_t)len), 0);
	assert_int_equal(vhd_open(path, &o, &img, &e), 0);
	assert_int_equal(vhd_write(img, 0, b, len, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	free(b);
}

/* Raw, of the file's length, and the bytes are those of the file. */
static void assert_raw(const char *path, const struct memfile *m)
{
	const struct vhd_open_opts o = {.format = VHD_FORMAT_RAW,
					.parent_dir = "in"};
	size_t len = (size_t)memfile_len(m);
	uint8_t *b = malloc(len), *want = malloc(len);
	struct vhd *img;
	struct vhd_err e;

	assert_true(b && want);
	assert_int_equal(vhd_open(path, &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->format, VHD_FORMAT_RAW);
	assert_false(vhd_get_info(img)->probed);
	assert_int_equal(vhd_get_info(img)->layers, 1);
	assert_int_equal(vhd_get_info(img)->size_bytes, len);
	assert_int_equal(vhd_read(img, 0, b, len, &e), 0);
	memfile_peek(m, want, len, 0);
	assert_memory_equal(b, want, len);
	vhd_abandon(img);
	free(want);
	free(b);
}

static void become(struct memfile *m)
{
	int fd = open("in/disk.raw", O_CREAT | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	guest_writes("in/disk.raw", m);
	assert_raw("in/disk.raw", m);
	memfile_destroy(m);
}

static void s01_a_raw_disk_stays_raw_with_a_fixed_disks_footer(void **state)
{
	(void)state;
	become(img_fixed(SIZE));
	passed++;
}

static void s02_a_raw_disk_stays_raw_with_a_dynamic_disk_in_it(void **state)
{
	static const uint32_t order[] = {1, 0};

	(void)state;
	become(img_dynamic(SIZE, BLOCK, order, 2));
	passed++;
}

/* Of the worst kind: it would have the host read another file. */
static void s03_a_raw_disk_stays_raw_with_a_child_in_it(void **state)
{
	struct memfile *m = diff_empty(1, SIZE, BLOCK);

	(void)state;
	save_base("in/base.vhd", SECRET);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, ".\\base.vhd");
	become(m);
	passed++;
}

/* Of a fixed disk the guest has all but the footer, which decides. */
static void s04_a_fixed_disk_stays_fixed_with_a_child_in_it(void **state)
{
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = "in"};
	struct memfile *m = diff_empty(1, SIZE, BLOCK);
	size_t len = (size_t)memfile_len(m);
	uint8_t *b = malloc(len);
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	assert_non_null(b);
	save_base("in/base.vhd", SECRET);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, ".\\base.vhd");
	memfile_peek(m, b, len, 0);
	save(img_fixed(len), "in/disk.vhd");
	assert_int_equal(vhd_open("in/disk.vhd", &rw, &img, &e), 0);
	assert_int_equal(vhd_write(img, 0, b, len, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(vhd_open("in/disk.vhd", &rw, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->format, VHD_FORMAT_FIXED);
	assert_int_equal(vhd_get_info(img)->layers, 1);
	assert_int_equal(vhd_get_info(img)->size_bytes, len);
	vhd_abandon(img);
	memfile_destroy(m);
	free(b);
	passed++;
}

/* ------------------------------------------------------------- parents -- */

static void s05_without_a_directory_no_parent_is_looked_for(void **state)
{
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	save_base("in/base.vhd", SECRET);
	save_child("in/child.vhd", ".\\base.vhd");
	assert_refused(try_open("in/child.vhd", NULL, &img, &e), &e, ENOTSUP,
		       VHD_WHY_NEEDS_PARENT);
	assert_found("in", SECRET);
	passed++;
}

static void s06_a_name_with_dots_does_not_lead_out(void **state)
{
	static const char *const names[] = {
		"..\\out\\base.vhd",
		".\\..\\out\\base.vhd",
		"deep\\..\\..\\out\\base.vhd",
		"../out/base.vhd",
		"..\\in\\..\\out\\base.vhd",
	};

	(void)state;
	save_base("out/base.vhd", SECRET);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		save_child("in/child.vhd", names[i]);
		assert_kept_in("in");
		assert_found(".", SECRET);
	}
	passed++;
}

static void s07_an_absolute_name_does_not_lead_out(void **state)
{
	struct memfile *m = diff_empty(1, SIZE, BLOCK);
	char path[160];

	(void)state;
	save_base("out/base.vhd", SECRET);
	snprintf(path, sizeof(path), "%s/out/base.vhd", place.dir);
	save_child("in/child.vhd", path);
	assert_kept_in("in");
	diff_locator_text(m, 0, VHD_LOCATOR_W2KU, path);
	diff_name(m, path);
	save(m, "in/child.vhd");
	assert_kept_in("in");
	passed++;
}

static void s08_a_link_to_a_file_does_not_lead_out(void **state)
{
	char path[160];

	(void)state;
	save_base("out/base.vhd", SECRET);
	save_base("in/deep/base.vhd", 1);
	snprintf(path, sizeof(path), "%s/out/base.vhd", place.dir);
	save_child("in/child.vhd", "link.vhd");
	assert_int_equal(symlink("../out/base.vhd", "in/link.vhd"), 0);
	assert_kept_in("in");
	assert_int_equal(unlink("in/link.vhd"), 0);
	assert_int_equal(symlink(path, "in/link.vhd"), 0);
	assert_kept_in("in");
	assert_int_equal(unlink("in/link.vhd"), 0);
	assert_int_equal(symlink("deep/base.vhd", "in/link.vhd"), 0);
	assert_found("in", 1);
	passed++;
}

static void s09_a_link_to_a_folder_does_not_lead_out(void **state)
{
	(void)state;
	save_base("out/base.vhd", SECRET);
	save_child("in/child.vhd", "deep\\far\\base.vhd");
	assert_int_equal(symlink("../../out", "in/deep/far"), 0);
	assert_kept_in("in");
	assert_found(".", SECRET);
	/* nor in the search for the name in another case */
	save_child("in/child.vhd", "deep\\far\\BASE.vhd");
	assert_kept_in("in");
	passed++;
}

/* A link of the kernel's own goes to a file without passing folders. */
static void s10_no_magic_link_is_followed(void **state)
{
	char up[64] = "../", name[256];
	int fd;

	(void)state;
	save_base("out/base.vhd", SECRET);
	fd = open("out/base.vhd", O_RDONLY);
	assert_true(fd >= 0);
	for (const char *p = strchr(place.dir, '/'); p; p = strchr(p + 1, '/'))
		strcat(up, "../"); /* from in/ to the root */
	snprintf(name, sizeof(name), "%s%s/out/base.vhd", up, place.dir + 1);
	save_child("in/child.vhd", name);
	assert_found("/", SECRET);
	snprintf(name, sizeof(name), "%sproc/self/fd/%d", up, fd);
	save_child("in/child.vhd", name);
	assert_kept_in("/");
	assert_kept_in("in");
	snprintf(name, sizeof(name), "%sproc/self/root%s/out/base.vhd", up,
		 place.dir);
	save_child("in/child.vhd", name);
	assert_kept_in("/");
	assert_int_equal(close(fd), 0);
	passed++;
}

/* What holds for the first name holds for those of its parents. */
static void s11_a_parents_parent_is_kept_in_as_well(void **state)
{
	struct memfile *top = diff_empty(2, SIZE, BLOCK);
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	save_base("out/base.vhd", SECRET);
	save_child("in/deep/mid.vhd", "..\\..\\out\\base.vhd");
	diff_locator_text(top, 0, VHD_LOCATOR_W2RU, "deep\\mid.vhd");
	save(top, "in/child.vhd");
	assert_refused(try_open("in/child.vhd", "in", &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	assert_found(".", SECRET);
	passed++;
}

/* Opening what is no file can block, or do something. */
static void s12_what_is_no_file_is_no_parent(void **state)
{
	struct memfile *m = diff_empty(1, SIZE, BLOCK);
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	alarm(120); /* it does not block */
	assert_int_equal(mkfifo("in/pipe", 0600), 0);
	save_child("in/child.vhd", ".\\pipe");
	assert_true(try_open("in/child.vhd", "in", &img, &e) < 0);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, ".\\deep");
	save(m, "in/child.vhd");
	assert_true(try_open("in/child.vhd", "in", &img, &e) < 0);
	/* a raw disk is none either, unless asked for */
	assert_int_equal(truncate("in/child.vhd", 0), 0);
	m = memfile_create();
	memfile_resize(m, SIZE);
	save(m, "in/raw");
	save_child("in/child.vhd", ".\\raw");
	assert_refused(try_open("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	alarm(0);
	passed++;
}

#define T(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(s01_a_raw_disk_stays_raw_with_a_fixed_disks_footer),
		T(s02_a_raw_disk_stays_raw_with_a_dynamic_disk_in_it),
		T(s03_a_raw_disk_stays_raw_with_a_child_in_it),
		T(s04_a_fixed_disk_stays_fixed_with_a_child_in_it),
		T(s05_without_a_directory_no_parent_is_looked_for),
		T(s06_a_name_with_dots_does_not_lead_out),
		T(s07_an_absolute_name_does_not_lead_out),
		T(s08_a_link_to_a_file_does_not_lead_out),
		T(s09_a_link_to_a_folder_does_not_lead_out),
		T(s10_no_magic_link_is_followed),
		T(s11_a_parents_parent_is_kept_in_as_well),
		T(s12_what_is_no_file_is_no_parent),
	};
	const unsigned all = sizeof(tests) / sizeof(tests[0]);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	proof_figure("S8", passed == all && all >= 12, "%u of %u cases", passed,
		     all);
	return rc;
}
