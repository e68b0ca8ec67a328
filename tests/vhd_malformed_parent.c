/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of malformed images (tests/lib/malformed.h), 32 to 41: how a
 * child names its parent, and what is beside that.
 *
 *  32-36  parents           37-41  oddities
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/malformed.h"
#include "vhd/image.h"

/* ---------------------------------------------------------------- parents -- */

static void locator(struct memfile *m, uint32_t len, uint64_t at)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 8, len);
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 16, at);
}

#define PAYLOAD (img_place(IMG_THREE_BYTES, MIB, 3) + 512)

static void locator_past_file(struct memfile *m)
{
	locator(m, 60000, PAYLOAD);
}

static void locator_64k(struct memfile *m)
{
	uint8_t f[512];

	memfile_peek(m, f, 512, img_end(m));
	img_poke_zeros(m, 512, img_end(m));
	img_poke(m, f, 512, PAYLOAD + (128 << 10));
	locator(m, (64 << 10) + 2, PAYLOAD);
}

static void locator_odd(struct memfile *m)
{
	locator(m, 13, PAYLOAD);
}

/* Opened although it is malformed; both go with shut(). */
static struct vhd *show(const struct malformed *c, struct memfile **m)
{
	struct vhd *img = NULL;
	struct vhd_err e;

	*m = malformed_image(c);
	assert_int_equal(malformed_open(*m, false, &img, &e), 0);
	return img;
}

static void shut(struct vhd *img, struct memfile *m)
{
	vhd_abandon(img);
	memfile_destroy(m);
}

static void r32_a_locator_of_impossible_length_is_ignored(void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(locator_past_file, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
		ODD_BY(locator_64k, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_LENGTH, W, LEAVES),
		ODD_BY(locator_odd, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_LENGTH, W, LEAVES),
	};
	char text[1024];

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m;
		struct vhd *img = show(&cases[i], &m);

		/* Only the name field is left, which says the same. */
		assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)),
				 5);
		assert_string_equal(text, "p.vhd");
		assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)),
				 -ENOENT);
		shut(img, m);
	}
}

static void locator_in_header(struct memfile *m)
{
	locator(m, 14, IMG_HEADER + 64);
}

static void locator_in_table(struct memfile *m)
{
	locator(m, 14, IMG_TABLE);
}

/* Nothing is written through it, either: a repair leaves the file alone. */
static void r33_a_locator_over_other_metadata_is_ignored(void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(locator_in_header, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
		ODD_BY(locator_in_table, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static void name_half_pair(struct memfile *m)
{
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\0a\xdc\0\0b\0\0", 10);
}

static void name_endless(struct memfile *m)
{
	uint8_t name[512];

	for (size_t i = 0; i < sizeof(name); i += 2)
		memcpy(name + i, "\0x", 2);
	img_set(m, IMG_HEADER, 1024, 64, name, sizeof(name));
}

static void r34_a_parents_name_that_is_no_text_is_shown_as_far_as_it_goes(
	void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(name_half_pair, img_child, 0, PARENT_NAME, W, LEAVES),
		ODD_BY(name_endless, img_child, 0, PARENT_NAME, W, LEAVES),
	};
	/* The locator comes first. */
	static const int lengths[] = {8, 256};
	char text[1024];

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m;
		struct vhd *img = show(&cases[i], &m);

		assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)),
				 lengths[i]);
		shut(img, m);
	}
}

/* One layer of an empty chain, told that a parent will come. */
static struct vhd *layer(struct memfile *m, bool larger_child)
{
	const struct vhd_open_opts o = {
		.parent_dir = ".",
		.larger_child = larger_child,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	return img;
}

static void link_is(struct vhd *child, struct vhd *parent, enum vhd_why why)
{
	struct vhd_err e = {0};
	int rc = vhd_chain_set_parent(child, parent, &e);

	assert_int_equal(!!rc, why != WHY(NONE));
	assert_int_equal(e.why, why);
	if (rc)
		vhd_abandon(parent);
}

/* Ids are what counts: two files may hold the same disk. */
static void r35_circles_and_chains_without_end_are_refused(void **state)
{
	struct memfile *own = diff_empty(1, 8192, 4096);
	struct memfile *a = diff_empty(2, 8192, 4096);
	struct memfile *b = diff_empty(1, 8192, 4096);
	struct memfile *stack[VHD_CHAIN_MAX + 1];
	struct vhd *child, *top = NULL;
	uint8_t id[16];

	(void)state;
	diff_id(id, 1);
	diff_parent_id(own, id); /* its own parent */
	child = layer(own, false);
	link_is(child, layer(own, false), WHY(CHAIN_CYCLE));
	vhd_abandon(child);
	diff_id(id, 2);
	diff_parent_id(b, id); /* a over b over a */
	child = layer(a, false);
	top = layer(b, false);
	link_is(top, layer(a, false), WHY(NONE));
	link_is(child, top, WHY(CHAIN_CYCLE));
	vhd_abandon(child);
	top = NULL;
	memfile_destroy(own);
	memfile_destroy(a);
	memfile_destroy(b);
	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++) {
		stack[i] = diff_empty(i + 1, 8192, 4096);
		child = layer(stack[i], false);
		if (top)
			link_is(child, top,
				i < VHD_CHAIN_MAX ? WHY(NONE)
						  : WHY(CHAIN_DEPTH));
		top = child;
	}
	vhd_abandon(top);
	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++)
		memfile_destroy(stack[i]);
}

static void r36_a_parent_of_another_size_is_refused(void **state)
{
	struct memfile *low = diff_empty(1, 8192, 4096);
	struct memfile *small = diff_empty(2, 4096, 4096);
	struct memfile *large = diff_empty(2, 16384, 4096);
	struct vhd *child;

	(void)state;
	child = layer(small, false);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	child = layer(small, true);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	child = layer(large, false);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	/* Where it is allowed, what the parent lacks is zero. */
	child = layer(large, true);
	link_is(child, layer(low, false), WHY(NONE));
	{
		struct vhd_run run;
		struct vhd_err e;
		unsigned at;

		assert_int_equal(vhd_map_chain(child, 16, 16, &run, &at, &e),
				 0);
		assert_int_equal(run.kind, VHD_RUN_HOLE);
	}
	vhd_abandon(child);
	memfile_destroy(low);
	memfile_destroy(small);
	memfile_destroy(large);
}

/* --------------------------------------------------------------- oddities -- */

static void r37_a_further_header_is_never_followed(void **state)
{
	static const struct malformed cases[] = {
		ODD("next", VHD_NOTE_NEXT_OFFSET, NEXT_OFFSET, W, MENDS),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static struct memfile *blktap(void)
{
	return img_blktap(0xf0);
}

static void batmap_far(struct memfile *m)
{
	uint8_t b[8];

	img_put64(b, 1ull << 40);
	img_poke(m, b, 8, IMG_BATMAP + 8);
}

static void batmap_long(struct memfile *m)
{
	uint8_t b[4];

	img_put32(b, UINT32_MAX);
	img_poke(m, b, 4, IMG_BATMAP + 16);
}

/* Its last two bytes are the map's first. */
static void batmap_own(struct memfile *m)
{
	uint8_t b[8];

	img_put64(b, IMG_BATMAP + 510);
	img_poke(m, b, 8, IMG_BATMAP + 8);
}

ROW(r38_a_batmap_over_its_own_header_is_ignored,
    ODD_BY(batmap_own, blktap, VHD_NOTE_BATMAP | VHD_NOTE_BATMAP_BAD,
	   BATMAP_PLACE, W, MENDS))

#define BATMAP_OUTSIDE(by)                                                     \
	{                                                                      \
		.harm = by, .make = blktap, .rw = WHY(READ_ONLY_LAYOUT),       \
		.notes = VHD_NOTE_BATMAP | VHD_NOTE_BATMAP_BAD,                \
		.find = FIND(BATMAP_PLACE), .severity = W, .mends = MENDS      \
	}
ROW(r38_a_batmap_outside_the_file_is_only_read, BATMAP_OUTSIDE(batmap_far),
    BATMAP_OUTSIDE(batmap_long))

static void r39_data_under_a_0_bit_reads_as_zero(void **state)
{
	static const struct malformed cases[] = {
		ODD("hidden data", 0, BITMAP_HIDES, W, LEAVES),
	};
	struct memfile *m = malformed_image(&cases[0]);

	(void)state;
	malformed_row(cases, COUNT(cases));
	/* Bit 7 of byte 2: sector 23 of block 0. */
	assert_int_equal(malformed_byte(m, 22 * 512), img_byte(0));
	assert_int_equal(malformed_byte(m, 23 * 512), 0);
	memfile_destroy(m);
}

static void r40_a_saved_state_is_noted(void **state)
{
	static const struct malformed cases[] = {
		ODD("saved state", VHD_NOTE_SAVED_STATE, SAVED_STATE, W,
		    LEAVES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static void r41_a_poisoned_image_is_refused_and_explained(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("poison", POISON_COOKIE, POISON_COOKIE, REFUSES),
		MALFORMED("copy poisoned", POISON_COOKIE, POISON_COOKIE,
			  REFUSES),
	};
	struct memfile *m = malformed_image(&cases[0]);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
			 -EUCLEAN);
	assert_non_null(strstr(e.text, "XenServer"));
	memfile_destroy(m);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(r32_a_locator_of_impossible_length_is_ignored),
		T(r33_a_locator_over_other_metadata_is_ignored),
		T(r34_a_parents_name_that_is_no_text_is_shown_as_far_as_it_goes),
		T(r35_circles_and_chains_without_end_are_refused),
		T(r36_a_parent_of_another_size_is_refused),
		T(r37_a_further_header_is_never_followed),
		T(r38_a_batmap_over_its_own_header_is_ignored),
		T(r38_a_batmap_outside_the_file_is_only_read),
		T(r39_data_under_a_0_bit_reads_as_zero),
		T(r40_a_saved_state_is_noted),
		T(r41_a_poisoned_image_is_refused_and_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
