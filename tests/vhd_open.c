/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening: each refusal that a file can cause has its own reason and place,
 * and a sound image is closed as it was found.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"
#include "vhd/format.h"

#define KIB  1024u
#define MIB  (1u << 20)
#define SIZE (4 * MIB)

static const uint32_t three[] = {2, 0, 3};

static struct memfile *dynamic(void)
{
	return img_dynamic(SIZE, MIB, three, 3);
}

/* ------------------------------------------------------------- the table -- */

/* One damage to a sound dynamic image of four 1 MiB blocks, three used. */
struct refusal {
	const char *what;
	void (*harm)(struct memfile *m);
	int code;
	enum vhd_why why;
	uint64_t at;
	bool inspectable;
};

static void bad_version(struct memfile *m)
{
	img_footers32(m, IMG_F_VERSION, 0x00020000);
}

static void bad_type(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 6);
}

static void size_zero(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, 0);
}

static void size_odd(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, SIZE - 1);
}

static void size_huge(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, 1ull << 62);
}

static void data_offset_zero(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 0);
}

static void data_offset_in_copy(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 256);
}

static void data_offset_odd(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 513);
}

static void data_offset_huge(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, UINT64_MAX - 511);
}

static void data_offset_at_end(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, memfile_len(m) - 1024);
}

static void no_header(struct memfile *m)
{
	img_set(m, IMG_HEADER, 1024, IMG_H_COOKIE, "cxspars3", 8);
}

static void header_sum(struct memfile *m)
{
	uint8_t b[4] = {1, 2, 3, 4};

	assert_int_equal(memfile_poke(m, b, 4, IMG_HEADER + IMG_H_CHECKSUM), 0);
}

static void header_version(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_VERSION, 0x00020000);
}

static void block_zero(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, 0);
}

static void block_three(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, 3 * MIB);
}

static void block_256(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, 256);
}

static void block_2g(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, 1u << 31);
}

static void table_zero(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, 0);
}

static void table_odd(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, 1537);
}

static void table_in_header(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, 1024);
}

static void table_huge(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, 1ull << 50);
}

static void table_over_footer(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, memfile_len(m) - 512);
}

static void entries_zero(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 0);
}

static void entries_few(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 3);
}

static void entries_wrap(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 0x40000000);
}

static void blktap_0_1(struct memfile *m)
{
	img_footers(m, IMG_F_APP, "tap\0\0\0\0\1", 8);
}

static void differencing(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
}

static void entry_zero(struct memfile *m)
{
	img_bat(m, 1, 0);
}

static void entry_on_header(struct memfile *m)
{
	img_bat(m, 1, 2);
}

static void entry_on_table(struct memfile *m)
{
	img_bat(m, 1, 3);
}

static void entry_past_end(struct memfile *m)
{
	img_bat(m, 1, 0xfffffffe);
}

static void entry_one_past(struct memfile *m)
{
	img_bat(m, 3, (uint32_t)(img_place(SIZE, MIB, 2) / 512) + 1);
}

static void entry_twice(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(SIZE, MIB, 1) / 512));
}

static void entry_overlaps(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(SIZE, MIB, 1) / 512) - 1);
}

static void cut_in_block(struct memfile *m)
{
	memfile_resize(m, img_place(SIZE, MIB, 3) - 512);
}

#define F(field) IMG_F_##field
#define H(field) (IMG_HEADER + IMG_H_##field)
#define B(block) (IMG_TABLE + 4 * (block))
#define AT_END	 UINT64_MAX /* relative to the trailing footer */

static const struct refusal refusals[] = {
	{"footer version 2.0", bad_version, EUCLEAN, VHD_WHY_FOOTER_VERSION,
	 AT_END - F(VERSION), false},
	{"disk type 6", bad_type, EUCLEAN, VHD_WHY_FOOTER_TYPE,
	 AT_END - F(TYPE), false},
	{"size 0", size_zero, EUCLEAN, VHD_WHY_SIZE_ZERO,
	 AT_END - F(CURRENT_SIZE), false},
	{"size odd", size_odd, EUCLEAN, VHD_WHY_SIZE_ALIGN,
	 AT_END - F(CURRENT_SIZE), false},
	{"size 2^62", size_huge, EUCLEAN, VHD_WHY_SIZE_LIMIT,
	 AT_END - F(CURRENT_SIZE), false},
	{"data offset 0", data_offset_zero, EUCLEAN, VHD_WHY_DATA_OFFSET, 16,
	 false},
	{"data offset inside the copy", data_offset_in_copy, EUCLEAN,
	 VHD_WHY_DATA_OFFSET, 16, false},
	{"data offset odd", data_offset_odd, EUCLEAN, VHD_WHY_DATA_OFFSET, 16,
	 false},
	{"data offset wraps", data_offset_huge, EUCLEAN, VHD_WHY_DATA_OFFSET,
	 16, false},
	{"data offset runs into the footer", data_offset_at_end, EUCLEAN,
	 VHD_WHY_DATA_OFFSET, 16, false},
	{"no cxsparse", no_header, EUCLEAN, VHD_WHY_HEADER_COOKIE, IMG_HEADER,
	 false},
	{"header checksum", header_sum, EUCLEAN, VHD_WHY_HEADER_CHECKSUM,
	 IMG_HEADER, true},
	{"header version 2.0", header_version, EUCLEAN, VHD_WHY_HEADER_VERSION,
	 H(VERSION), false},
	{"block size 0", block_zero, EUCLEAN, VHD_WHY_BLOCK_SIZE, H(BLOCK),
	 false},
	{"block size 3 MiB", block_three, EUCLEAN, VHD_WHY_BLOCK_SIZE, H(BLOCK),
	 false},
	{"block size 256", block_256, EUCLEAN, VHD_WHY_BLOCK_SIZE, H(BLOCK),
	 false},
	{"block size 2 GiB", block_2g, EUCLEAN, VHD_WHY_BLOCK_SIZE, H(BLOCK),
	 false},
	{"table at 0", table_zero, EUCLEAN, VHD_WHY_TABLE_OFFSET, H(TABLE),
	 false},
	{"table odd", table_odd, EUCLEAN, VHD_WHY_TABLE_OFFSET, H(TABLE),
	 false},
	{"table in the header", table_in_header, EUCLEAN, VHD_WHY_TABLE_OFFSET,
	 H(TABLE), false},
	{"table far out", table_huge, EUCLEAN, VHD_WHY_TABLE_PAST_END, H(TABLE),
	 false},
	{"table on the footer", table_over_footer, EUCLEAN,
	 VHD_WHY_TABLE_PAST_END, H(TABLE), false},
	{"no entries", entries_zero, EUCLEAN, VHD_WHY_TABLE_ENTRIES, H(ENTRIES),
	 false},
	{"entries too few", entries_few, EUCLEAN, VHD_WHY_TABLE_SHORT,
	 H(ENTRIES), false},
	{"entries times four wraps", entries_wrap, EUCLEAN,
	 VHD_WHY_TABLE_PAST_END, H(TABLE), false},
	{"blktap 0.1", blktap_0_1, ENOTSUP, VHD_WHY_UNSUPPORTED, AT_END, false},
	{"differencing", differencing, ENOTSUP, VHD_WHY_NEEDS_PARENT, 0, true},
	{"entry 0", entry_zero, EUCLEAN, VHD_WHY_BAT_IN_METADATA, B(1), true},
	{"entry on the header", entry_on_header, EUCLEAN,
	 VHD_WHY_BAT_IN_METADATA, B(1), true},
	{"entry on the table", entry_on_table, EUCLEAN, VHD_WHY_BAT_IN_METADATA,
	 B(1), true},
	{"entry 0xfffffffe", entry_past_end, EUCLEAN, VHD_WHY_BAT_PAST_END,
	 B(1), true},
	{"entry one sector too far", entry_one_past, EUCLEAN,
	 VHD_WHY_BAT_PAST_END, B(3), true},
	{"entry twice", entry_twice, EUCLEAN, VHD_WHY_BAT_DUPLICATE, B(1),
	 true},
	{"blocks overlap", entry_overlaps, EUCLEAN, VHD_WHY_BAT_OVERLAP, B(1),
	 true},
	{"cut inside the last block", cut_in_block, EUCLEAN,
	 VHD_WHY_BAT_PAST_END, B(3), true},
};

#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

static uint64_t place_of(const struct refusal *r, const struct memfile *m)
{
	if (r->at > AT_END - 512)
		return memfile_len(m) - 512 + (AT_END - r->at);
	return r->at;
}

static void each_damage_has_its_own_reason_and_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < REFUSALS; i++) {
		const struct refusal *r = &refusals[i];

		for (int writable = 0; writable < 2; writable++) {
			struct memfile *m = dynamic(), *before;
			struct vhd *img;
			struct vhd_err e = {0};
			int rc;

			r->harm(m);
			before = memfile_clone(m);
			rc = img_open(m, VHD_FORMAT_AUTO, writable, &img, &e);
			if (rc != -r->code || e.why != r->why)
				print_error("%s: %s\n", r->what, e.text);
			assert_refused(rc, &e, r->code, r->why);
			if (r->why != VHD_WHY_BAT_DUPLICATE)
				assert_int_equal(e.at_bytes, place_of(r, m));
			assert_true(memfile_equal(m, before));
			memfile_destroy(before);
			memfile_destroy(m);
		}
	}
}

static void inspecting_passes_over_what_can_be_shown(void **state)
{
	(void)state;
	for (size_t i = 0; i < REFUSALS; i++) {
		const struct refusal *r = &refusals[i];
		struct memfile *m = dynamic();
		struct vhd *img;
		struct vhd_err e = {0};
		uint8_t buf[512];
		int rc;

		r->harm(m);
		rc = img_inspect(m, &img, &e);
		if (!r->inspectable) {
			assert_refused(rc, &e, r->code, r->why);
		} else {
			if (rc)
				print_error("%s: %s\n", r->what, e.text);
			assert_int_equal(rc, 0);
			assert_int_equal(vhd_get_info(img)->fault.why, r->why);
			/* dense blocks: one out of place hits two others */
			assert_int_equal(vhd_get_info(img)->faults,
					 r->why == VHD_WHY_BAT_OVERLAP ? 2 : 1);
			assert_false(vhd_is_writable(img));
			/* whatever is read comes from inside the file */
			for (uint64_t off = 0; off < SIZE; off += 512) {
				rc = vhd_read(img, off, buf, 512, &e);
				assert_true(rc == 0 ||
					    e.why == VHD_WHY_NEEDS_PARENT);
			}
			vhd_abandon(img);
		}
		memfile_destroy(m);
	}
}

/* ------------------------------------------------------------- acceptance --
 */

static void a_sound_image_reads_as_it_was_made(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd *img;
	struct vhd_err e;
	uint8_t want[4096], got[4096];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	for (uint32_t b = 0; b < 4; b++) {
		memset(want, b == 1 ? 0 : img_byte(b), sizeof(want));
		assert_int_equal(
			vhd_read(img, b * MIB + 8 * KIB, got, 4096, &e), 0);
		assert_memory_equal(got, want, 4096);
	}
	assert_int_equal(vhd_get_info(img)->blocks, 4);
	assert_int_equal(vhd_get_info(img)->blocks_used, 3);
	assert_int_equal(vhd_get_info(img)->fragments, 3);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

/* blktap: creator tap 1.3, batmap header behind the table, map behind that;
 * the one block lies after both.
 */
static struct memfile *with_batmap(uint64_t map_at, uint32_t map_sectors)
{
	struct memfile *m = dynamic();
	uint8_t b[512] = {0};

	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	memcpy(b, "tdbatmap", 8);
	img_put64(b + 8, map_at);
	img_put32(b + 16, map_sectors);
	assert_int_equal(memfile_poke(m, b, 512, 2048), 0);
	return m;
}

struct nth_read {
	uint64_t left;
	bool hit;
};

static int fail_nth_read(void *ctx, enum memfile_op op, uint64_t off,
			 uint64_t len)
{
	struct nth_read *n = ctx;

	(void)off;
	(void)len;
	if (op != MEMFILE_READ && op != MEMFILE_SIZE)
		return 0;
	if (n->left--)
		return 0;
	n->hit = true;
	return -EIO;
}

/* Footers that differ, a batmap, a table: all that opening reads. */
static void any_read_while_opening_may_fail(void **state)
{
	(void)state;
	uint64_t reads = 0;
	bool hit;

	do {
		struct memfile *m = with_batmap(2560, 1);
		struct nth_read n = {.left = reads++};
		struct vhd *img;
		struct vhd_err e;
		int rc;

		img_bat(m, 2, UINT32_MAX);
		img_set32(m, 0, 512, IMG_F_TIMESTAMP, 7);
		memfile_set_hook(m, fail_nth_read, &n);
		rc = img_open(m, VHD_FORMAT_AUTO, true, &img, &e);
		hit = n.hit;
		if (hit)
			assert_true(rc == -EIO && (e.why == VHD_WHY_IO ||
						   e.why == VHD_WHY_SYSTEM));
		else
			assert_int_equal(rc, 0);
		if (!rc)
			vhd_abandon(img);
		memfile_destroy(m);
	} while (hit);
	assert_true(reads > 9);
}

static void an_untouched_image_is_closed_without_a_change(void **state)
{
	(void)state;
	struct memfile *m = dynamic(), *before = memfile_clone(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_equal(m, before));
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	assert_int_equal(memfile_count(m, MEMFILE_TRUNCATE), 0);
	assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 0);
	memfile_destroy(before);
	memfile_destroy(m);
}

static void notes_tell_what_is_odd_but_harmless(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd *img;
	struct vhd_err e;
	uint8_t one = 1;

	img_set64(m, IMG_HEADER, 1024, IMG_H_NEXT, 4096);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 5);
	img_footers(m, IMG_F_SAVED, &one, 1);
	img_footers(m, IMG_F_RESERVED, &one, 1);
	img_footers32(m, IMG_F_FEATURES, 0x102);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes,
			 VHD_NOTE_NEXT_OFFSET | VHD_NOTE_TABLE_LONG |
				 VHD_NOTE_SAVED_STATE |
				 VHD_NOTE_UNKNOWN_FEATURES |
				 VHD_NOTE_RESERVED_NONZERO);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void every_note_has_a_text(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VHD_NOTE_COUNT_BITS; i++)
		assert_true(vhd_note_text((enum vhd_note)(1u << i))[0]);
	assert_string_equal(
		vhd_note_text((enum vhd_note)(1u << VHD_NOTE_COUNT_BITS)), "");
}

static void formats_have_names(void **state)
{
	(void)state;
	assert_string_equal(vhd_format_name(VHD_FORMAT_AUTO), "auto");
	assert_string_equal(vhd_format_name(VHD_FORMAT_RAW), "raw");
	assert_string_equal(vhd_format_name(VHD_FORMAT_FIXED), "fixed");
	assert_string_equal(vhd_format_name(VHD_FORMAT_DYNAMIC), "dynamic");
	assert_string_equal(vhd_format_name(VHD_FORMAT_DIFF), "differencing");
}

static void options_that_contradict_are_refused(void **state)
{
	(void)state;
	static const struct vhd_open_opts bad[] = {
		{.writable = true, .force_read = true},
		{.writable = true, .inspect = true},
		{.format = (enum vhd_format)99},
	};
	struct memfile *m = dynamic();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_refused(vhd_open_file(&f, &bad[i], &img, &e), &e, EINVAL,
			       VHD_WHY_ARGUMENT);
		assert_refused(vhd_open("/nonexistent", &bad[i], &img, &e), &e,
			       EINVAL, VHD_WHY_ARGUMENT);
	}
	assert_refused(vhd_open_file(&f, NULL, &img, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_int_equal(vhd_close(NULL, NULL), 0);
	vhd_abandon(NULL);
	memfile_destroy(m);
}

/* --------------------------------------------------------------- metadata --
 */

/* A disk of 4 MiB - 512 whose last block is cut right behind the disk. */
static struct memfile *short_last(void)
{
	struct memfile *m = img_dynamic(SIZE - 512, MIB, three, 3);
	uint64_t end = img_place(SIZE, MIB, 3) - 512;
	uint8_t f[512];

	memfile_peek(m, f, 512, memfile_len(m) - 512);
	memfile_resize(m, end);
	assert_int_equal(memfile_poke(m, f, 512, end), 0);
	return m;
}

static void a_short_last_block_is_read_only(void **state)
{
	(void)state;
	struct memfile *m = short_last();
	struct vhd *img;
	struct vhd_err e;
	uint8_t got[512], want[512];

	memset(want, img_byte(3), 512);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, VHD_NOTE_LAST_BLOCK_SHORT);
	assert_int_equal(vhd_read(img, SIZE - 1024, got, 512, &e), 0);
	assert_memory_equal(got, want, 512);
	vhd_abandon(img);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	memfile_resize(m, memfile_len(m) - 1024); /* cut into the disk, too */
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_PAST_END);
	memfile_destroy(m);
}

static void only_the_last_block_of_disk_and_file_may_be_short(void **state)
{
	(void)state;
	struct memfile *m = short_last();
	uint32_t second = (uint32_t)(img_place(SIZE, MIB, 1) / 512);
	uint32_t third = (uint32_t)(img_place(SIZE, MIB, 2) / 512);
	struct vhd *img;
	struct vhd_err e;

	/* the one at the file's end is another than the disk's last */
	img_bat(m, 3, second);
	img_bat(m, 0, third);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_PAST_END);
	/* the disk's last is cut by the file's end, but so is another */
	img_bat(m, 3, third - 1);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_BAT_PAST_END);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* A footer that is not in force bounds the blocks when it is sound: it is a
 * footer. One with a wrong sum may be the last block's data.
 */
static void the_place_of_a_sound_footer_is_no_place_for_a_block(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	uint64_t end = memfile_len(m) - 512;
	struct vhd *img;
	struct vhd_err e;
	uint8_t b = 1;

	img_bat(m, 3, (uint32_t)(img_place(SIZE, MIB, 2) / 512) + 1);
	img_set64(m, end, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_PAST_END);
	assert_int_equal(memfile_poke(m, &b, 1, end + IMG_F_CHECKSUM), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_locator_is_no_place_for_a_block(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	uint8_t loc[24] = {0};
	struct vhd *img;
	struct vhd_err e;

	/* inside block 0, the second in the file */
	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
	img_put32(loc, 0x57327275);
	img_put32(loc + 4, 512);
	img_put32(loc + 8, 20);
	img_put64(loc + 16, img_place(SIZE, MIB, 1) + 4096);
	img_set(m, IMG_HEADER, 1024, IMG_H_LOCATOR, loc, 24);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->faults, 2);
	vhd_abandon(img);
	/* one that points past the end is only ignored */
	img_put64(loc + 16, UINT64_MAX - 10);
	img_set(m, IMG_HEADER, 1024, IMG_H_LOCATOR, loc, 24);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->faults, 1);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_batmap_is_no_place_for_a_block(void **state)
{
	(void)state;
	struct memfile *m = with_batmap(2560, 1);
	struct vhd *img;
	struct vhd_err e;

	/* the first block lies where the batmap header is */
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_IN_METADATA);
	img_bat(m, 2, UINT32_MAX);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, VHD_NOTE_BATMAP);
	vhd_abandon(img);
	memfile_destroy(m);
	/* the map itself, far from its header, where the third block is */
	m = with_batmap(img_place(SIZE, MIB, 2) + 8192, 1);
	img_bat(m, 2, UINT32_MAX);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_IN_METADATA);
	assert_int_equal(e.at_bytes, B(3));
	memfile_destroy(m);
}

static void a_batmap_that_points_nowhere_is_ignored(void **state)
{
	(void)state;
	static const struct {
		uint64_t at;
		uint32_t sectors;
	} bad[] = {
		{UINT64_MAX, 1},    {1ull << 40, 1},
		{2560, UINT32_MAX}, {0, 1}, /* the footer copy */
		{1536, 1},		    /* the table */
	};
	const size_t outside = 3; /* of these */

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct memfile *m = with_batmap(bad[i].at, bad[i].sectors);
		struct vhd *img;
		struct vhd_err e;

		img_bat(m, 2, UINT32_MAX);
		if (i < outside)
			assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img,
						&e),
				       &e, EROFS, VHD_WHY_READ_ONLY_LAYOUT);
		assert_int_equal(img_open(m, VHD_FORMAT_AUTO, i >= outside,
					  &img, &e),
				 0);
		assert_int_equal(vhd_get_info(img)->notes,
				 VHD_NOTE_BATMAP | VHD_NOTE_BATMAP_BAD);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damage_has_its_own_reason_and_place),
		cmocka_unit_test(inspecting_passes_over_what_can_be_shown),
		cmocka_unit_test(a_sound_image_reads_as_it_was_made),
		cmocka_unit_test(any_read_while_opening_may_fail),
		cmocka_unit_test(an_untouched_image_is_closed_without_a_change),
		cmocka_unit_test(notes_tell_what_is_odd_but_harmless),
		cmocka_unit_test(every_note_has_a_text),
		cmocka_unit_test(formats_have_names),
		cmocka_unit_test(options_that_contradict_are_refused),
		cmocka_unit_test(a_short_last_block_is_read_only),
		cmocka_unit_test(
			only_the_last_block_of_disk_and_file_may_be_short),
		cmocka_unit_test(
			the_place_of_a_sound_footer_is_no_place_for_a_block),
		cmocka_unit_test(a_locator_is_no_place_for_a_block),
		cmocka_unit_test(a_batmap_is_no_place_for_a_block),
		cmocka_unit_test(a_batmap_that_points_nowhere_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
