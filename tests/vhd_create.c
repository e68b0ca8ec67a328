/* SPDX-License-Identifier: BSD-2-Clause */
/* New images, byte by byte, and what is refused before a file is touched. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"
#include "vhd/check.h"

#define KIB 1024u
#define MIB (1ull << 20)
#define GIB (1ull << 30)

static const uint8_t id[16] = {1, 2,  3,  4,  5,  6,  7,  8,
			       9, 10, 11, 12, 13, 14, 15, 16};

static struct vhd_create_opts opts(enum vhd_format format, uint64_t size)
{
	struct vhd_create_opts o = {
		.format = format,
		.size_bytes = size,
		.now_unix_s = 946684800 + 0x12345678,
	};

	memcpy(o.unique_id, id, 16);
	return o;
}

static struct memfile *create(const struct vhd_create_opts *o)
{
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, o, &img, &e), 0);
	assert_true(vhd_is_writable(img));
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static void common_footer(const uint8_t f[512], uint64_t size)
{
	uint8_t sealed[512];

	assert_memory_equal(f, "conectix", 8);
	assert_int_equal(img_get32(f + IMG_F_FEATURES), 2);
	assert_int_equal(img_get32(f + IMG_F_VERSION), 0x00010000);
	assert_int_equal(img_get32(f + IMG_F_TIMESTAMP), 0x12345678);
	assert_memory_equal(f + IMG_F_APP, "win ", 4);
	assert_int_equal(img_get32(f + IMG_F_APP_VERSION), 0x000a0000);
	assert_memory_equal(f + 36, "Wi2k", 4);
	assert_true(img_get64(f + IMG_F_ORIGINAL_SIZE) == size);
	assert_true(img_get64(f + IMG_F_CURRENT_SIZE) == size);
	assert_memory_equal(f + IMG_F_ID, id, 16);
	memcpy(sealed, f, 512);
	img_seal(sealed, 512);
	assert_memory_equal(f, sealed, 512);
	for (size_t i = IMG_F_SAVED; i < 512; i++)
		assert_int_equal(f[i], 0);
}

static void a_fixed_image_is_the_disk_and_a_footer(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {512, MIB, MIB + 512, 4 * MIB, 3 * GIB};

	for (size_t i = 0; i < 5; i++) {
		struct vhd_create_opts o = opts(VHD_FORMAT_FIXED, sizes[i]);
		struct memfile *m = create(&o);
		uint8_t f[512];

		assert_true(memfile_len(m) == sizes[i] + 512);
		memfile_peek(m, f, 512, sizes[i]);
		common_footer(f, sizes[i]);
		assert_int_equal(img_get32(f + IMG_F_TYPE), 2);
		assert_true(img_get64(f + IMG_F_DATA_OFFSET) == UINT64_MAX);
		assert_true(memfile_held(m) <= 32 * KIB); /* sparse */
		memfile_destroy(m);
	}
}

static void a_dynamic_image_has_its_parts_in_order(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, 127 * GIB);
	struct memfile *m = create(&o);
	uint8_t f[512], end[512], h[1024], e[4];

	/* 65 024 entries from 1536 to 261 632, then the footer */
	assert_int_equal(memfile_len(m), 262144);
	memfile_peek(m, f, 512, 0);
	common_footer(f, 127 * GIB);
	assert_int_equal(img_get32(f + IMG_F_TYPE), 3);
	assert_true(img_get64(f + IMG_F_DATA_OFFSET) == 512);
	memfile_peek(m, end, 512, 261632);
	assert_memory_equal(f, end, 512);
	memfile_peek(m, h, 1024, 512);
	assert_memory_equal(h, "cxsparse", 8);
	assert_true(img_get64(h + IMG_H_NEXT) == UINT64_MAX);
	assert_true(img_get64(h + IMG_H_TABLE) == 1536);
	assert_int_equal(img_get32(h + IMG_H_VERSION), 0x00010000);
	assert_int_equal(img_get32(h + IMG_H_ENTRIES), 65024);
	assert_int_equal(img_get32(h + IMG_H_BLOCK), 2 * MIB);
	for (uint64_t at = 1536; at < 261632; at += 4) {
		memfile_peek(m, e, 4, at);
		assert_int_equal(img_get32(e), UINT32_MAX);
	}
	memfile_destroy(m);
}

static void file_lengths_are_whole_pages(void **state)
{
	(void)state;
	for (uint32_t blocks = 1; blocks < 3000; blocks += 7) {
		struct vhd_create_opts o =
			opts(VHD_FORMAT_DYNAMIC, blocks * 64ull * KIB);
		struct memfile *m;

		o.block_size_bytes = 64 * KIB;
		m = create(&o);
		assert_int_equal(memfile_len(m) % 4096, 0);
		memfile_destroy(m);
	}
}

static void geometry_never_truncates(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {512,	       MIB,	  31 * MIB * 5,
					 63 * MIB * 4, 100 * MIB, 127 * GIB,
					 2040 * GIB};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, sizes[i]);
		struct memfile *m = create(&o);
		struct vhd *img;
		struct vhd_err e;

		assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
				 0);
		assert_true(vhd_get_info(img)->size_bytes == sizes[i]);
		assert_true(vhd_chs_reader_bytes(vhd_get_info(img)) ==
			    sizes[i]);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void odd_sizes_are_kept_and_can_be_filled(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {512, MIB - 512, MIB + 512,
					 2 * MIB + 3 * 512};
	static const enum vhd_format formats[] = {
		VHD_FORMAT_RAW, VHD_FORMAT_FIXED, VHD_FORMAT_DYNAMIC};
	static uint8_t in[3 * MIB], out[3 * MIB];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i / 512 + i);
	for (size_t s = 0; s < 4; s++) {
		for (size_t k = 0; k < 3; k++) {
			struct vhd_create_opts o = opts(formats[k], sizes[s]);
			struct memfile *m = create(&o);
			struct vhd *img;
			struct vhd_err e;

			assert_int_equal(
				img_open(m, formats[k], true, &img, &e), 0);
			assert_int_equal(vhd_write(img, 0, in, sizes[s], &e),
					 0);
			assert_int_equal(vhd_close(img, &e), 0);
			assert_int_equal(
				img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
				0);
			assert_int_equal(vhd_get_info(img)->format, formats[k]);
			assert_int_equal(vhd_read(img, 0, out, sizes[s], &e),
					 0);
			assert_memory_equal(in, out, sizes[s]);
			vhd_abandon(img);
			memfile_destroy(m);
		}
	}
}

static void times_outside_the_range_are_clamped(void **state)
{
	(void)state;
	static const struct {
		int64_t now;
		uint32_t stamp;
	} t[] = {
		{0, 0},
		{946684800, 0},
		{946684801, 1},
		{946684800ll + UINT32_MAX, UINT32_MAX},
		{INT64_MAX, UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vhd_create_opts o = opts(VHD_FORMAT_FIXED, MIB);
		struct memfile *m;
		uint8_t f[512];

		o.now_unix_s = t[i].now;
		m = create(&o);
		memfile_peek(m, f, 512, MIB);
		assert_int_equal(img_get32(f + IMG_F_TIMESTAMP), t[i].stamp);
		memfile_destroy(m);
	}
}

/* ---------------------------------------------------------------- refusals --
 */

static void refused(struct vhd_create_opts o, enum vhd_why why)
{
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(memfile_poke(m, "kept", 4, 0), 0);
	assert_refused(vhd_create_file(&f, &o, &img, &e), &e, EINVAL, why);
	assert_int_equal(memfile_len(m), 4);
	memfile_destroy(m);
}

static void senseless_options_are_refused_before_anything_is_written(
	void **state)
{
	(void)state;
	struct vhd_create_opts o;
	static const uint32_t blocks[] = {1,	512,	 2048,
					  5000, 3 << 20, 512 << 20};

	refused(opts(VHD_FORMAT_DIFF, MIB), VHD_WHY_ARGUMENT);
	refused(opts(VHD_FORMAT_AUTO, MIB), VHD_WHY_ARGUMENT);
	refused(opts(VHD_FORMAT_RAW, 0), VHD_WHY_SIZE_ZERO);
	refused(opts(VHD_FORMAT_FIXED, 0), VHD_WHY_SIZE_ZERO);
	refused(opts(VHD_FORMAT_DYNAMIC, 0), VHD_WHY_SIZE_ZERO);
	refused(opts(VHD_FORMAT_RAW, 511), VHD_WHY_SIZE_ALIGN);
	refused(opts(VHD_FORMAT_FIXED, 513), VHD_WHY_SIZE_ALIGN);
	refused(opts(VHD_FORMAT_DYNAMIC, 2040 * GIB + 512), VHD_WHY_SIZE_LIMIT);
	refused(opts(VHD_FORMAT_FIXED, 1ull << 62), VHD_WHY_SIZE_LIMIT);
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		o = opts(VHD_FORMAT_DYNAMIC, MIB);
		o.block_size_bytes = blocks[i];
		refused(o, VHD_WHY_BLOCK_SIZE);
	}
	o = opts(VHD_FORMAT_DYNAMIC, 64 * GIB + 512);
	o.block_size_bytes = 4096;
	refused(o, VHD_WHY_TABLE_ENTRIES);
}

static void the_largest_dynamic_disk_can_be_created(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, 2040 * GIB);
	struct memfile *m = create(&o);

	assert_true(memfile_len(m) == 4182016); /* 1536 + 4 177 920 + footer */
	memfile_destroy(m);
}

static int fail_all_writes(void *ctx, enum memfile_op op, uint64_t off,
			   uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_WRITE ? -ENOSPC : 0;
}

static void a_full_host_is_reported(void **state)
{
	(void)state;
	static const enum vhd_format formats[] = {VHD_FORMAT_FIXED,
						  VHD_FORMAT_DYNAMIC};

	for (size_t i = 0; i < 2; i++) {
		struct vhd_create_opts o = opts(formats[i], MIB);
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd *img;
		struct vhd_err e;

		memfile_set_hook(m, fail_all_writes, NULL);
		assert_refused(vhd_create_file(&f, &o, &img, &e), &e, ENOSPC,
			       VHD_WHY_NO_SPACE);
		memfile_destroy(m);
	}
}

/* -------------------------------------------------------------------- paths --
 */

static char dir[] = "/tmp/vhd_create.XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *path(const char *name)
{
	static char p[64];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static void an_existing_file_is_replaced_unless_that_is_forbidden(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, MIB);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create(path("a"), &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	o.exclusive = true;
	assert_refused(vhd_create(path("a"), &o, &img, &e), &e, EEXIST,
		       VHD_WHY_SYSTEM);
	o.exclusive = false;
	o.format = VHD_FORMAT_RAW;
	o.size_bytes = 4096;
	assert_int_equal(vhd_create(path("a"), &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->file_bytes, 4096);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(unlink(path("a")), 0);
}

static void a_file_in_use_is_not_emptied(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_FIXED, MIB);
	struct vhd *img, *second;
	struct vhd_err e;
	struct stat st;

	assert_int_equal(vhd_create(path("a"), &o, &img, &e), 0);
	assert_refused(vhd_create(path("a"), &o, &second, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	assert_int_equal(stat(path("a"), &st), 0);
	assert_int_equal(st.st_size, MIB + 512);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(unlink(path("a")), 0);
}

static void a_directory_is_not_an_image(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_FIXED, MIB);
	struct vhd *img;
	struct vhd_err e;

	assert_refused(vhd_create(dir, &o, &img, &e), &e, EISDIR,
		       VHD_WHY_NOT_FILE);
	o.exclusive = true;
	assert_refused(vhd_create(dir, &o, &img, &e), &e, EEXIST,
		       VHD_WHY_SYSTEM);
	assert_refused(vhd_create(path("no/such"), &o, &img, &e), &e, ENOENT,
		       VHD_WHY_SYSTEM);
}

/* Larger than a file may be: what was begun is taken away again. Some file
 * systems take any size for a file without content.
 */
static void a_failed_creation_leaves_nothing_behind(void **state)
{
	(void)state;
	struct vhd_create_opts o = opts(VHD_FORMAT_FIXED, (1ull << 62) - 512);
	struct rlimit old, low;
	struct vhd *img;
	struct vhd_err e;
	int rc;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = (struct rlimit){1u << 30, old.rlim_max};
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	rc = vhd_create(path("b"), &o, &img, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_refused(rc, &e, EFBIG, VHD_WHY_NO_SPACE);
	assert_int_equal(access(path("b"), F_OK), -1);
	assert_refused(vhd_create(path("b"), NULL, &img, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_int_equal(access(path("b"), F_OK), -1);
}

/* Where blktap looks: right behind the table's last sector. */
static void a_batmap_is_made_and_stays_true(void **state)
{
	static const struct vhd_creator blktap = {
		{'t', 'a', 'p', 0}, 0x00010003, {0, 0, 0, 0}};
	/* 128 and 129 blocks: the table is full, or not; the same for
	 * the map at 4096 and 4097.
	 */
	static const uint32_t blocks[] = {1, 128, 129, 4096, 4097};

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd_create_opts o = {
			.format = VHD_FORMAT_DYNAMIC,
			.size_bytes = (uint64_t)blocks[i] * 8192,
			.block_size_bytes = 8192,
			.creator = &blktap,
			.batmap = true,
			.unique_id = "not all zero, no",
		};
		uint64_t at = 1536 + (blocks[i] * 4 + 511) / 512 * 512;
		uint32_t sectors = (blocks[i] + 4095) / 4096;
		struct vhd *img = NULL;
		uint8_t w[512], data[8192];
		const struct vhd_check_opts check = {.data = true};
		struct vhd_check_result found;
		struct vhd_err e;

		memset(data, 0x5a, sizeof(data));
		assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
		assert_int_equal(vhd_get_info(img)->notes, VHD_NOTE_BATMAP);
		assert_int_equal(vhd_write(img, 0, data, 512, &e), 0);
		assert_int_equal(vhd_write(img, o.size_bytes - 8192, data,
					   8192, &e),
				 0);
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_peek(m, w, 512, at);
		assert_memory_equal(w, "tdbatmap", 8);
		assert_int_equal(img_get64(w + 8), at + 512);
		assert_int_equal(img_get32(w + 16), sectors);
		assert_int_equal(img_get32(w + 20), 0x00010002);
		assert_int_equal(img_get32(w + 24), 0xffffffff);
		for (uint32_t s = 0; s < sectors; s++) {
			memfile_peek(m, w, 512, at + 512 + s * 512ull);
			for (unsigned b = 0; b < 512; b++)
				assert_int_equal(w[b], 0);
		}
		assert_int_equal(vhd_check_file(&f, &check, &found, &e), 0);
		assert_int_equal(found.severity_count[VHD_SEVERITY_ERROR] +
					 found.severity_count
						 [VHD_SEVERITY_WARNING],
				 0);
		memfile_destroy(m);
	}
}

static void a_batmap_where_nobody_looks_is_refused(void **state)
{
	static const struct vhd_creator blktap = {
		{'t', 'a', 'p', 0}, 0x00010003, {0, 0, 0, 0}};

	(void)state;
	refused((struct vhd_create_opts){.format = VHD_FORMAT_DYNAMIC,
					 .size_bytes = MIB,
					 .batmap = true},
		VHD_WHY_ARGUMENT);
	refused((struct vhd_create_opts){.format = VHD_FORMAT_FIXED,
					 .size_bytes = MIB,
					 .creator = &blktap,
					 .batmap = true},
		VHD_WHY_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_image_is_the_disk_and_a_footer),
		cmocka_unit_test(a_dynamic_image_has_its_parts_in_order),
		cmocka_unit_test(a_batmap_is_made_and_stays_true),
		cmocka_unit_test(a_batmap_where_nobody_looks_is_refused),
		cmocka_unit_test(file_lengths_are_whole_pages),
		cmocka_unit_test(geometry_never_truncates),
		cmocka_unit_test(odd_sizes_are_kept_and_can_be_filled),
		cmocka_unit_test(times_outside_the_range_are_clamped),
		cmocka_unit_test(
			senseless_options_are_refused_before_anything_is_written),
		cmocka_unit_test(the_largest_dynamic_disk_can_be_created),
		cmocka_unit_test(a_full_host_is_reported),
		cmocka_unit_test(
			an_existing_file_is_replaced_unless_that_is_forbidden),
		cmocka_unit_test(a_file_in_use_is_not_emptied),
		cmocka_unit_test(a_directory_is_not_an_image),
		cmocka_unit_test(a_failed_creation_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
