/* SPDX-License-Identifier: BSD-2-Clause */
/* What this library has no name for stays as it is, whatever is changed
 * around it: reserved bytes of footer and header, blktap's hidden flag, the
 * hash of an encryption key in the header of its batmap, and locators of
 * platforms that nobody can read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/diffimg.h"
#include "vhd/compact_int.h"
#include "vhd/image.h"
#include "vhd/repair.h"
#include "vhd/resize.h"
#include "vhd/set.h"

#define HEADER_RESERVED 768
#define KEY_BYTES	(1 + 65 + 418) /* marker, key hash, reserved */
#define OPAQUE_BYTES	300

static uint8_t odd(size_t i)
{
	return (uint8_t)(i * 7 | 1);
}

static void fill(uint8_t *b, size_t n, size_t seed)
{
	for (size_t i = 0; i < n; i++)
		b[i] = odd(i + seed);
}

static void is_filled(const uint8_t *b, size_t n, size_t seed)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(b[i], odd(i + seed));
}

/* ------------------------------------------------------------ the image -- */

static void mark(struct memfile *m)
{
	uint8_t b[512];

	fill(b, 426, 1);
	img_footers(m, IMG_F_RESERVED, b, 426);
	fill(b, 4, 2);
	img_set(m, IMG_HEADER, 1024, 60, b, 4);
	fill(b, 256, 3);
	img_set(m, IMG_HEADER, 1024, HEADER_RESERVED, b, 256);
}

static struct memfile *blktap(void)
{
	struct memfile *m = img_blktap(0xf0);
	uint64_t data = IMG_BATMAP + 1024 + 512;
	uint8_t key[KEY_BYTES], one = 1, b[4096];

	mark(m);
	img_footers(m, IMG_F_HIDDEN, &one, 1);
	fill(key, sizeof(key), 4);
	img_poke(m, key, sizeof(key), IMG_BATMAP + 28);
	memset(b, 0x77, sizeof(b)); /* blocks 0 and 2 hold something */
	img_poke(m, b, sizeof(b), data);
	img_poke(m, b, sizeof(b), data + 2 * (512 + MIB));
	return m;
}

/* A Mac alias: nobody but a Mac knows what it says. */
static struct memfile *child(void)
{
	struct memfile *m = img_child();
	uint8_t alias[OPAQUE_BYTES], b[4];

	fill(alias, sizeof(alias), 5);
	diff_locator(m, 1, 0x4d616320, alias, sizeof(alias));
	mark(m);
	fill(b, 4, 6);
	img_set(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 24 + 12, b, 4);
	return m;
}

static void footer_kept(const struct memfile *m, uint64_t at, bool hidden)
{
	uint8_t f[512];

	memfile_peek(m, f, 512, at);
	assert_memory_equal(f, "conectix", 8);
	is_filled(f + IMG_F_RESERVED, 426, 1);
	assert_int_equal(f[IMG_F_HIDDEN], hidden);
}

static void header_kept(const struct memfile *m, uint8_t h[1024])
{
	memfile_peek(m, h, 1024, IMG_HEADER);
	assert_memory_equal(h, "cxsparse", 8);
	is_filled(h + 60, 4, 2);
	is_filled(h + HEADER_RESERVED, 256, 3);
}

/* No step may leave an error, and nothing that it does not know of. */
static void kept(struct memfile *m, bool is_child)
{
	struct found all;
	uint8_t h[1024], w[512], alias[OPAQUE_BYTES];
	uint64_t at;

	footer_kept(m, 0, !is_child);
	footer_kept(m, img_end(m), !is_child);
	header_kept(m, h);
	if (is_child) {
		uint8_t *l = h + IMG_H_LOCATOR + 24;

		assert_int_equal(img_get32(l), 0x4d616320);
		assert_int_equal(img_get32(l + 8), OPAQUE_BYTES);
		is_filled(l + 12, 4, 6);
		memfile_peek(m, alias, sizeof(alias), img_get64(l + 16));
		is_filled(alias, sizeof(alias), 5);
	} else {
		at = img_get64(h + IMG_H_TABLE) +
		     (img_get32(h + IMG_H_ENTRIES) * 4 + 511) / 512 * 512;
		memfile_peek(m, w, 512, at);
		assert_memory_equal(w, "tdbatmap", 8);
		is_filled(w + 28, KEY_BYTES, 4);
	}
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	for (unsigned i = 0; i < all.count; i++)
		if (all.f[i].severity == VHD_SEVERITY_ERROR)
			fail_msg("%s", all.f[i].text);
}

/* ------------------------------------------------------ the operations -- */

static void write_to(struct memfile **m)
{
	const struct vhd_open_opts o = {.writable = true, .parent_dir = "."};
	struct vhd_file f = memfile_file(*m);
	struct vhd *img = NULL;
	struct vhd_err e;
	uint8_t b[512];

	memset(b, 0x99, sizeof(b));
	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_write(img, 1 * MIB + 512, b, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
}

static void set_fields(struct memfile **m)
{
	const struct vhd_set_opts o = {
		.fields = VHD_SET_TIMESTAMP | VHD_SET_ID,
		.values = {.timestamp_s = 12345,
			   .unique_id = "another identity"},
		.write = true,
	};
	struct vhd_file f = memfile_file(*m);
	struct vhd_set_result r;
	struct vhd_err e;

	assert_int_equal(vhd_set_file(&f, &o, &r, &e), 0);
}

static void resize_to(struct memfile *m, uint64_t size)
{
	const struct vhd_resize_opts o = {
		.by = VHD_RESIZE_TO,
		.size_bytes = size,
		.write = true,
		.shrink = true,
		.force = true,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd_resize_result r;
	struct vhd_err e;

	if (vhd_resize_file(&f, &o, &r, &e))
		fail_msg("resize: %s", e.text);
}

static void grow(struct memfile **m)
{
	resize_to(*m, 6 * MIB);
}

/* So far that the table moves, and the batmap with it. */
static void grow_far(struct memfile **m)
{
	resize_to(*m, 6000ull * MIB);
}

static void shrink(struct memfile **m)
{
	resize_to(*m, 3 * MIB);
}

static void compact(struct memfile **m)
{
	const struct vhd_compact_opts o = {.write = true, .parent_dir = "."};
	struct vhd_file f = memfile_file(*m);
	struct vhd_compact_result r;
	struct vhd_err e;

	if (vhd_compact_file(&f, &o, &r, &e))
		fail_msg("compact: %s", e.text);
}

static void rewrite(struct memfile **m)
{
	const struct vhd_compact_opts o = {.write = true, .parent_dir = "."};
	struct memfile *out = memfile_create();
	struct vhd_file f = memfile_file(*m), d = memfile_file(out);
	struct vhd_compact_result r;
	struct vhd_err e;

	if (vhd_compact_to_file(&f, &d, &o, &r, &e))
		fail_msg("rewrite: %s", e.text);
	memfile_destroy(*m);
	*m = out;
}

/* Both ends damaged, one after the other, and the header's sum. */
static void repair(struct memfile **m)
{
	const struct vhd_repair_opts o = {.write = true};
	struct vhd_repair_result r;
	struct vhd_err e;

	for (int i = 0; i < 3; i++) {
		struct vhd_file f = memfile_file(*m);

		if (i == 0)
			img_poke_zeros(*m, 512, img_end(*m));
		else if (i == 1)
			img_poke_zeros(*m, 512, 0);
		else
			img_poke(*m, "\1\2\3\4", 4,
				 IMG_HEADER + IMG_H_CHECKSUM);
		if (vhd_repair_file(&f, NULL, &o, &r, &e))
			fail_msg("repair: %s", e.text);
	}
}

/* A batmap that calls a block full which is not there. */
static void repair_batmap_too(struct memfile **m)
{
	struct vhd_file f = memfile_file(*m);
	const struct vhd_repair_opts o = {.write = true};
	uint8_t h[1024], w[512], all = 0xff;
	struct vhd_repair_result r;
	struct vhd_err e;

	memfile_peek(*m, h, 1024, IMG_HEADER);
	memfile_peek(*m, w, 512,
		     img_get64(h + IMG_H_TABLE) +
			     (img_get32(h + IMG_H_ENTRIES) * 4 + 511) / 512 *
				     512);
	img_poke(*m, &all, 1, img_get64(w + 8));
	if (vhd_repair_file(&f, NULL, &o, &r, &e))
		fail_msg("repair: %s", e.text);
}

static const struct step {
	const char *name;
	void (*run)(struct memfile **m);
	bool child_too;
} steps[] = {
	{"write", write_to, true},
	{"set", set_fields, true},
	{"repair", repair, true},
	{"grow", grow, false},
	{"write again", write_to, true},
	{"compact", compact, true},
	{"repair the batmap", repair_batmap_too, false},
	{"grow far", grow_far, false},
	{"repair again", repair, true},
	{"shrink", shrink, false},
	{"rewrite", rewrite, true},
	{"write at last", write_to, true},
};

static void take_through(struct memfile *m, bool is_child)
{
	kept(m, is_child);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (is_child && !steps[i].child_too)
			continue;
		print_message("%s\n", steps[i].name);
		steps[i].run(&m);
		kept(m, is_child);
	}
	memfile_destroy(m);
}

static void what_has_no_name_in_blktaps_images_is_kept(void **state)
{
	(void)state;
	take_through(blktap(), false);
}

static void what_has_no_name_in_a_child_is_kept(void **state)
{
	(void)state;
	take_through(child(), true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_no_name_in_blktaps_images_is_kept),
		cmocka_unit_test(what_has_no_name_in_a_child_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
