/* SPDX-License-Identifier: BSD-2-Clause */
/* See resizeimg.h. */
#include "resizeimg.h"

#include <stdlib.h>

#include "checkimg.h"
#include "oracle.h"
#include "random.h"

/* ----------------------------------------------------- what a disk is ----- */

uint8_t *disk_content(struct memfile *m, uint64_t *size)
{
	struct vhd *img;
	struct vhd_err e;
	uint8_t *b;

	if (img_open(m, VHD_FORMAT_AUTO, false, &img, &e))
		fail_msg("%s", e.text);
	*size = vhd_get_info(img)->size_bytes;
	b = malloc(*size);
	assert_non_null(b);
	assert_int_equal(vhd_read(img, 0, b, *size, &e), 0);
	vhd_abandon(img);
	return b;
}

int resize_on(struct vhd_file f, uint64_t size, bool force,
	      struct vhd_resize_result *r, struct vhd_err *e)
{
	struct vhd_resize_opts o = {
		.size_bytes = size,
		.write = true,
		.shrink = true,
		.force = force,
	};

	return vhd_resize_file(&f, &o, r, e);
}

void must_resize(struct memfile *m, uint64_t size)
{
	struct vhd_err e = {0};

	if (resize_on(memfile_file(m), size, true, NULL, &e))
		fail_msg("to %llu: %s", (unsigned long long)size, e.text);
}

/* What another program, and a check, say of the result. */
void disk_is_clean(struct memfile *m, uint64_t size)
{
	size_t len = (size_t)memfile_len(m);
	uint8_t *bytes = malloc(len);
	struct found all;
	struct oracle o;

	assert_non_null(bytes);
	memfile_peek(m, bytes, len, 0);
	if (!oracle_open(&o, bytes, len) || !oracle_check(&o))
		fail_msg("%s", o.fault);
	assert_true(o.size == size);
	assert_true(o.footer_end_ok && (!o.dynamic || o.footer_copy_ok));
	free(bytes);
	found_in(m, &all);
	for (unsigned i = 0; i < all.count; i++)
		if (all.f[i].severity == VHD_SEVERITY_ERROR)
			fail_msg("%s", all.f[i].text);
}

bool all_zero(const uint8_t *b, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* The disk has `size` bytes: those of `was` as far as both go, then zeros. */
void disk_holds(struct memfile *m, const uint8_t *was, uint64_t was_size,
		uint64_t size)
{
	uint64_t have, both = size < was_size ? size : was_size;
	uint8_t *b = disk_content(m, &have);

	assert_true(have == size);
	assert_memory_equal(b, was, both);
	assert_true(all_zero(b + both, size - both));
	free(b);
}

/* --------------------------------------------------------------- images -- */

void disk_put(struct memfile *m, uint64_t off, uint64_t len, uint64_t *rnd)
{
	uint8_t *b = malloc(len);
	struct vhd *img;
	struct vhd_err e;

	assert_non_null(b);
	for (uint64_t i = 0; i < len; i++)
		b[i] = (uint8_t)(random_next(rnd) | 1);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_write(img, off, b, len, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	free(b);
}

/* Ours: some blocks, random content, not a whole number of blocks. */
static struct memfile *ours(enum vhd_format format, uint64_t size,
			    uint32_t block, uint64_t *rnd)
{
	struct vhd_create_opts o = {
		.format = format,
		.size_bytes = size,
		.block_size_bytes = block,
		.unique_id = {1, 2, 3},
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	for (int i = 0; i < 4; i++) {
		uint64_t len = 512 * (1 + random_below(rnd, 40));

		if (len > size)
			len = size;
		disk_put(m, random_below(rnd, (size - len) / 512 + 1) * 512,
			 len, rnd);
	}
	return m;
}

static struct memfile *dynamic_image(uint64_t *rnd)
{
	return ours(VHD_FORMAT_DYNAMIC, 200 * 512, BLOCK, rnd);
}

struct memfile *fixed_image(uint64_t *rnd)
{
	return ours(VHD_FORMAT_FIXED, 200 * 512, 0, rnd);
}

/* Blocks densely behind the table, in no order, junk behind the disk's end. */
struct memfile *dense_image(uint64_t *rnd)
{
	static const uint32_t order[] = {5, 0, 6, 2};

	(void)rnd;
	return img_dynamic(200 * 512, BLOCK, order, 4);
}

struct memfile *blktap_image(uint64_t *rnd)
{
	(void)rnd;
	return img_blktap(0xf0);
}

const struct resize_source resize_sources[RESIZE_SOURCES] = {
	/* one sector more, within the last block, a block more, a longer
	 * table, shorter, one sector left
	 */
	{"ours",
	 dynamic_image,
	 {201 * 512, 13 * BLOCK, 200 * BLOCK, 70 * 512, 512, 0}},
	{"dense",
	 dense_image,
	 {201 * 512, 208 * 512, 200 * BLOCK, 100 * 512, BLOCK, 0}},
	{"fixed",
	 fixed_image,
	 {201 * 512, 400 * 512, 100 * 512, 199 * 512, 512, 0}},
};
