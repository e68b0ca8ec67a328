/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/create_child.c and vhd/relate.c: what a new differencing disk says,
 * byte by byte, that it is found again by it, and what is refused without a
 * file being left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/scratch.h"
#include "vhd/image.h"
#include "vhd/locator.h"

#define KIB 1024u
#define MIB (1ull << 20)

static const uint8_t child_id[16] = {9, 8, 7, 6, 5, 4, 3, 2,
				     1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t base_id[16] = {1, 1, 2, 2, 3, 3, 4, 4,
				    5, 5, 6, 6, 7, 7, 8, 8};

static void place_make(struct scratch *p)
{
	scratch_enter(p, "child", false);
	assert_int_equal(mkdir("in", 0700), 0);
	assert_int_equal(mkdir("in/deep", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
}

static void make_base(const char *path, enum vhd_format format, uint64_t size,
		      uint32_t block)
{
	struct vhd_create_opts o = {
		.format = format,
		.size_bytes = size,
		.block_size_bytes = block,
	};
	struct vhd *img;
	struct vhd_err e;
	uint8_t b[4096];

	memcpy(o.unique_id, base_id, 16);
	assert_int_equal(vhd_create(path, &o, &img, &e), 0);
	memset(b, 0x42, sizeof(b));
	assert_int_equal(vhd_write(img, 4096, b, sizeof(b), &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
}

static struct vhd_create_opts child_opts(const char *parent)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DIFF,
		.parent_path = parent,
		.parent_dir = "in",
		.now_unix_s = 946684800 + 77,
	};

	memcpy(o.unique_id, child_id, 16);
	return o;
}

static struct vhd *create(const char *path, const struct vhd_create_opts *o)
{
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_create(path, o, &img, &e))
		fail_msg("create %s: %s", path, e.text);
	return img;
}

static void refused(const char *path, struct vhd_create_opts o, int code,
		    enum vhd_why why)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(vhd_create(path, &o, &img, &e), &e, code, why);
	assert_int_equal(access(path, F_OK), -1);
}

static void slurp(const char *path, uint64_t at, void *buf, size_t n)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, n, (off_t)at), n);
	close(fd);
}

/* ASCII as UTF-16, little-endian. */
static void payload_is(const char *path, const uint8_t *locator,
		       uint32_t platform, const char *text)
{
	size_t n = strlen(text);
	uint8_t b[512];

	assert_int_equal(img_get32(locator), platform);
	assert_int_equal(img_get32(locator + 4), 4096);
	assert_int_equal(img_get32(locator + 8), 2 * n);
	assert_int_equal(img_get32(locator + 12), 0);
	assert_int_equal(img_get64(locator + 16) % 4096, 0);
	slurp(path, img_get64(locator + 16), b, 2 * n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(b[2 * i], text[i]);
		assert_int_equal(b[2 * i + 1], 0);
	}
}

static void a_child_says_who_its_parent_is(void **state)
{
	(void)state;
	struct vhd_create_opts o = child_opts("in/base.vhd");
	uint8_t f[512], end[512], h[1024], sealed[1024];
	char *real, want[160];
	struct scratch p;
	struct stat st;
	struct vhd_err e;

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_DYNAMIC, 10 * MIB, 512 * KIB);
	assert_int_equal(stat("in/base.vhd", &st), 0);
	assert_int_equal(vhd_close(create("in/deep/child.vhd", &o), &e), 0);
	slurp("in/deep/child.vhd", 0, f, 512);
	assert_int_equal(img_get32(f + IMG_F_TYPE), 4);
	assert_memory_equal(f + IMG_F_ID, child_id, 16);
	assert_int_equal(img_get64(f + IMG_F_CURRENT_SIZE), 10 * MIB);
	slurp("in/deep/child.vhd", 512, h, 1024);
	memcpy(sealed, h, 1024);
	img_seal(sealed, 1024);
	assert_memory_equal(h, sealed, 1024);
	assert_int_equal(img_get32(h + IMG_H_BLOCK), 512 * KIB);
	assert_int_equal(img_get32(h + IMG_H_ENTRIES), 20);
	assert_memory_equal(h + DIFF_H_PARENT_ID, base_id, 16);
	assert_int_equal(img_get32(h + DIFF_H_PARENT_TIME),
			 st.st_mtime - 946684800);
	assert_memory_equal(h + DIFF_H_NAME,
			    "\0b\0a\0s\0e\0.\0v\0h\0d\0\0\0", 19);
	payload_is("in/deep/child.vhd", h + IMG_H_LOCATOR, VHD_LOCATOR_W2RU,
		   "..\\base.vhd");
	real = realpath("in/base.vhd", NULL);
	assert_non_null(real);
	snprintf(want, sizeof(want), "%s", real);
	for (char *c = want; *c; c++)
		*c = *c == '/' ? '\\' : *c;
	payload_is("in/deep/child.vhd", h + IMG_H_LOCATOR + 24,
		   VHD_LOCATOR_W2KU, want);
	for (int i = 48; i < 192; i++)
		assert_int_equal(h[IMG_H_LOCATOR + i], 0);
	/* header, table, two pages of names, the footer in the last sector */
	assert_int_equal(stat("in/deep/child.vhd", &st), 0);
	assert_int_equal(st.st_size, 16384);
	slurp("in/deep/child.vhd", 16384 - 512, end, 512);
	assert_memory_equal(f, end, 512);
	free(real);
	scratch_leave(&p);
}

static void beside_its_parent_the_path_begins_with_a_dot(void **state)
{
	(void)state;
	struct vhd_create_opts o = child_opts("in/base.vhd");
	struct vhd_err e;
	struct scratch p;
	uint8_t h[1024];

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_FIXED, MIB, 0);
	assert_int_equal(vhd_close(create("in/child.vhd", &o), &e), 0);
	slurp("in/child.vhd", 512, h, 1024);
	payload_is("in/child.vhd", h + IMG_H_LOCATOR, VHD_LOCATOR_W2RU,
		   ".\\base.vhd");
	/* a flat parent has no block size to take over */
	assert_int_equal(img_get32(h + IMG_H_BLOCK), 2 * MIB);
	scratch_leave(&p);
}

/* Three generations, written to and opened again, the lower ones untouched. */
static void a_child_is_used_at_once_and_found_again(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = "in"};
	struct vhd_create_opts o = child_opts("in/base.vhd");
	struct vhd_layer layer;
	struct scratch p;
	struct vhd *img;
	struct vhd_err e;
	uint8_t b[4096], want[4096];

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_DYNAMIC, 10 * MIB, 512 * KIB);
	assert_int_equal(vhd_close(create("in/deep/mid.vhd", &o), &e), 0);
	o.parent_path = "in/deep/mid.vhd";
	o.unique_id[0]++;
	o.block_size_bytes = 64 * KIB;
	img = create("in/top.vhd", &o);
	assert_int_equal(vhd_get_info(img)->layers, 3);
	assert_int_equal(vhd_get_info(img)->block_size_bytes, 64 * KIB);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vhd_layer(img, i, &layer), 0);
		assert_non_null(layer.path);
	}
	memset(want, 0x42, sizeof(want));
	assert_int_equal(vhd_read(img, 4096, b, sizeof(b), &e), 0);
	assert_memory_equal(b, want, sizeof(b));
	memset(b, 0x43, 512);
	memset(want, 0x43, 512);
	assert_int_equal(vhd_write(img, 4096, b, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(vhd_open("in/top.vhd", &rw, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_read(img, 4096, b, sizeof(b), &e), 0);
	assert_memory_equal(b, want, sizeof(b));
	assert_int_equal(vhd_close(img, &e), 0);
	scratch_leave(&p);
}

static void sizes_follow_the_parent_or_exceed_it_by_leave(void **state)
{
	(void)state;
	struct vhd_create_opts o = child_opts("in/base.vhd");
	const struct vhd_open_opts ro = {.parent_dir = "in"};
	struct scratch p;
	struct vhd *img;
	struct vhd_err e;
	uint8_t b[512];

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_FIXED, 10 * MIB, 0);
	o.size_bytes = 10 * MIB - 512;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	o.size_bytes = 10 * MIB + 512;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	o.size_bytes = 10 * MIB + 1;
	o.larger_child = true;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_SIZE_ALIGN);
	o.size_bytes = 20 * MIB;
	img = create("in/child.vhd", &o);
	assert_int_equal(vhd_get_info(img)->size_bytes, 20 * MIB);
	memset(b, 1, 512);
	assert_int_equal(vhd_write(img, 15 * MIB, b, 512, &e), 0);
	assert_int_equal(vhd_read(img, 15 * MIB + 512, b, 512, &e), 0);
	for (int i = 0; i < 512; i++)
		assert_int_equal(b[i], 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_refused(vhd_open("in/child.vhd", &ro, &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	scratch_leave(&p);
}

static void what_cannot_be_a_parent_is_refused(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true};
	struct vhd_create_opts o = child_opts("in/base.vhd");
	struct memfile *m = img_fixed(MIB);
	uint8_t none[16] = {0};
	struct scratch p;
	struct vhd *held;
	struct vhd_err e;

	place_make(&p);
	refused("in/child.vhd", o, ENOENT, VHD_WHY_SYSTEM);
	assert_int_equal(truncate("in/base.vhd", 0), -1);
	assert_int_equal(close(creat("in/base.vhd", 0600)), 0);
	assert_int_equal(truncate("in/base.vhd", MIB), 0);
	refused("in/child.vhd", o, ENOTSUP, VHD_WHY_UNSUPPORTED); /* raw */
	img_set(m, MIB, 512, IMG_F_ID, none, 16);
	diff_save(m, "in/base.vhd");
	memfile_destroy(m);
	refused("in/child.vhd", o, ENOTSUP, VHD_WHY_UNSUPPORTED); /* no id */
	make_base("in/base.vhd", VHD_FORMAT_DYNAMIC, MIB, 0);
	o.parent_dir = NULL;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	o.parent_dir = "in/deep";
	refused("in/child.vhd", o, EINVAL, VHD_WHY_PARENT_MISSING);
	o.parent_dir = "in";
	refused("out/child.vhd", o, EINVAL, VHD_WHY_PARENT_MISSING);
	o.parent_path = NULL;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	o.parent_path = "in/base.vhd";
	o.block_size_bytes = 5000;
	refused("in/child.vhd", o, EINVAL, VHD_WHY_BLOCK_SIZE);
	o.block_size_bytes = 0;
	memcpy(o.unique_id, base_id, 16);
	refused("in/child.vhd", o, EUCLEAN, VHD_WHY_CHAIN_CYCLE);
	memcpy(o.unique_id, child_id, 16);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	refused("in/child.vhd", o, EBUSY, VHD_WHY_LOCKED);
	vhd_abandon(held);
	/* and over itself: the parent stays what it was */
	assert_refused(vhd_create("in/base.vhd", &o, &held, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	assert_int_equal(vhd_get_info(held)->format, VHD_FORMAT_DYNAMIC);
	vhd_abandon(held);
	scratch_leave(&p);
}

static void names_that_would_not_be_found_again_are_refused(void **state)
{
	static const char *const names[] = {"in/a\\b.vhd", "in/bad\xff.vhd"};
	static const char *const fine[] = {
		"in/b\xc3\xa4se \xf0\x9f\x92\xbe.vhd", "in/c:d.vhd",
		"in/..x.vhd", "in/%41.vhd"};
	(void)state;
	struct vhd_create_opts o = child_opts(NULL);
	struct scratch p;
	struct vhd_err e;

	place_make(&p);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		o.parent_path = names[i];
		make_base(names[i], VHD_FORMAT_FIXED, MIB, 0);
		refused("in/child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	}
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		o.parent_path = fine[i];
		make_base(fine[i], VHD_FORMAT_FIXED, MIB, 0);
		assert_int_equal(vhd_close(create("in/child.vhd", &o), &e), 0);
		assert_int_equal(unlink(fine[i]), 0);
	}
	scratch_leave(&p);
}

/* Tools write to a file without a name; its parent's name depends on where it
 * will be.
 */
static void the_final_path_decides_what_the_parent_is_called(void **state)
{
	(void)state;
	struct vhd_create_opts o = child_opts("in/base.vhd");
	const struct vhd_open_opts ro = {.parent_dir = "in"};
	struct scratch p;
	struct vhd *img;
	struct vhd_err e;

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_FIXED, MIB, 0);
	o.final_path = "in/deep/child.vhd";
	img = create("out/unfinished", &o);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(rename("out/unfinished", "in/deep/child.vhd"), 0);
	assert_int_equal(vhd_open("in/deep/child.vhd", &ro, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	o.final_path = "in/nowhere/child.vhd";
	refused("out/unfinished", o, ENOENT, VHD_WHY_SYSTEM);
	o.final_path = "in/.";
	refused("out/unfinished", o, EINVAL, VHD_WHY_PARENT_MISSING);
	scratch_leave(&p);
}

/* The names may get longer: blocks and footer leave their space alone. */
static void a_locators_space_stays_its_own(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = "in"};
	struct vhd_create_opts o = child_opts("in/base.vhd");
	uint64_t end = 0, off;
	struct vhd *img;
	struct vhd_err e;
	struct scratch p;
	struct stat st;
	uint8_t b[512] = {1}, header[1024];

	place_make(&p);
	make_base("in/base.vhd", VHD_FORMAT_DYNAMIC, MIB, 64 * KIB);
	assert_int_equal(vhd_close(create("in/child.vhd", &o), &e), 0);
	slurp("in/child.vhd", 512, header, sizeof(header));
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *l = header + IMG_H_LOCATOR + i * 24;

		off = img_get64(l + 16) + img_get32(l + 4);
		end = off > end ? off : end;
	}
	/* Opened and closed, and then with a block. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vhd_open("in/child.vhd", &rw, &img, &e), 0);
		if (i)
			assert_int_equal(vhd_write(img, 0, b, 512, &e), 0);
		assert_int_equal(vhd_close(img, &e), 0);
		assert_int_equal(stat("in/child.vhd", &st), 0);
		assert_true((uint64_t)st.st_size - 512 >= end);
	}
	assert_int_equal(vhd_open("in/child.vhd", &rw, &img, &e), 0);
	assert_int_equal(vhd_layer_block(img, 0, 0, &off), 0);
	assert_true(off >= end);
	vhd_abandon(img);
	scratch_leave(&p);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(a_child_says_who_its_parent_is),
		T(beside_its_parent_the_path_begins_with_a_dot),
		T(a_child_is_used_at_once_and_found_again),
		T(sizes_follow_the_parent_or_exceed_it_by_leave),
		T(what_cannot_be_a_parent_is_refused),
		T(names_that_would_not_be_found_again_are_refused),
		T(the_final_path_decides_what_the_parent_is_called),
		T(a_locators_space_stays_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
