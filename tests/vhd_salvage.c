/* SPDX-License-Identifier: BSD-2-Clause */
/* Salvage: what is readable arrives, what is not is told, byte for byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "vhd/salvage.h"

#define LOSSES_MAX 32

struct salvaged {
	struct memfile *out;
	struct vhd_salvage_loss loss[LOSSES_MAX];
	unsigned count;
	struct vhd_salvage_result r;
	struct vhd_err err;
	int rc;
};

static int remember(void *ctx, const struct vhd_salvage_loss *l)
{
	struct salvaged *s = ctx;

	assert_true(s->count < LOSSES_MAX);
	s->loss[s->count++] = *l;
	return 0;
}

static void salvage(struct memfile *m, struct vhd_salvage_opts o,
		    struct salvaged *s)
{
	struct vhd_file f = memfile_file(m), d;

	memset(s, 0, sizeof(*s));
	s->out = memfile_create();
	assert_non_null(s->out);
	d = memfile_file(s->out);
	o.lost = remember;
	o.ctx = s;
	memcpy(o.unique_id, "salvaged salvage", 16);
	s->rc = vhd_salvage_file(&f, &d, &o, &s->r, &s->err);
}

static void by_itself(struct memfile *m, struct salvaged *s)
{
	salvage(m, (struct vhd_salvage_opts){0}, s);
}

static uint8_t *disk_of(struct memfile *m, size_t *len)
{
	struct vhd *img = NULL;
	struct vhd_err err;
	uint8_t *b;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &err), 0);
	*len = (size_t)vhd_get_info(img)->size_bytes;
	b = malloc(*len);
	assert_non_null(b);
	assert_int_equal(vhd_read(img, 0, b, *len, &err), 0);
	vhd_abandon(img);
	return b;
}

/* The salvaged disk, block by block; a byte a block. */
static void out_reads(struct salvaged *s, const uint8_t want[4])
{
	size_t len;
	uint8_t *b = disk_of(s->out, &len);

	assert_int_equal(len, IMG_THREE_BYTES);
	for (size_t i = 0; i < len; i += 509)
		assert_int_equal(b[i], want[i / MIB]);
	free(b);
}

static const uint8_t three_bytes[4] = {0x10, 0, 0x12, 0x13};

static void a_sound_image_arrives_whole(void **state)
{
	struct memfile *m = img_three();
	struct salvaged s;

	(void)state;
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 0);
	assert_int_equal(s.r.copied_bytes, 3 * MIB);
	assert_int_equal(s.r.size_bytes, IMG_THREE_BYTES);
	out_reads(&s, three_bytes);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void damaged_footers_and_sums_lose_nothing(void **state)
{
	static const char *const harms[] = {"footer gone", "copy gone",
					    "both sums",   "header sum",
					    "footer C7",   "footer 511"};

	(void)state;
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		struct memfile *m = img_three();
		struct salvaged s;

		print_message("%s\n", harms[i]);
		img_harm(m, harms[i]);
		by_itself(m, &s);
		assert_int_equal(s.rc, 0);
		assert_int_equal(s.count, 0);
		out_reads(&s, three_bytes);
		memfile_destroy(s.out);
		memfile_destroy(m);
	}
}

static void bad_entries_lose_their_block_and_no_other(void **state)
{
	static const struct {
		const char *what;
		enum vhd_why why;
	} cases[] = {
		{"entry 0", VHD_WHY_BAT_IN_METADATA},
		{"in table", VHD_WHY_BAT_IN_METADATA},
		{"entry FFFFFFFE", VHD_WHY_BAT_PAST_END},
		{"on the footer", VHD_WHY_BAT_PAST_END},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memfile *m = img_three();
		struct salvaged s;

		img_harm(m, cases[i].what);
		by_itself(m, &s);
		assert_int_equal(s.rc, 0);
		assert_int_equal(s.count, 1);
		assert_int_equal(s.loss[0].why, cases[i].why);
		assert_int_equal(s.loss[0].off_bytes, MIB);
		assert_int_equal(s.loss[0].len_bytes, MIB);
		assert_false(s.loss[0].doubtful);
		assert_int_equal(s.r.lost_bytes, MIB);
		out_reads(&s, three_bytes);
		memfile_destroy(s.out);
		memfile_destroy(m);
	}
}

static void shared_places_are_copied_and_called_doubtful(void **state)
{
	static const uint8_t want[4] = {0x10, 0x10, 0x12, 0x13};
	struct memfile *m = img_three();
	struct salvaged s;

	(void)state;
	img_harm(m, "same place");
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1); /* blocks 0 and 1, told as one */
	assert_true(s.loss[0].doubtful);
	assert_int_equal(s.loss[0].off_bytes, 0);
	assert_int_equal(s.loss[0].len_bytes, 2 * MIB);
	assert_int_equal(s.r.doubtful_bytes, 2 * MIB);
	assert_int_equal(s.r.lost_bytes, 0);
	out_reads(&s, want);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void a_block_that_is_cut_gives_its_beginning(void **state)
{
	struct memfile *m = img_three();
	uint64_t place = img_place(IMG_THREE_BYTES, MIB, 2);
	struct salvaged s;
	uint8_t *b;
	size_t len;

	(void)state;
	memfile_resize(m, place + 512 + 100 * 1024 + 77);
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, 3 * MIB + 100 * 1024);
	assert_int_equal(s.loss[0].len_bytes, MIB - 100 * 1024);
	b = disk_of(s.out, &len);
	assert_int_equal(b[3 * MIB + 100 * 1024 - 1], 0x13);
	assert_int_equal(b[3 * MIB + 100 * 1024], 0);
	free(b);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void sectors_a_bitmap_hides_stay_hidden(void **state)
{
	struct memfile *m = img_three();
	struct salvaged s;
	uint8_t *b;
	size_t len;

	(void)state;
	img_hide_sector(m); /* sector 23 of block 0 */
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	b = disk_of(s.out, &len);
	assert_int_equal(b[23 * 512 - 1], 0x10);
	assert_int_equal(b[23 * 512], 0);
	assert_int_equal(b[24 * 512], 0x10);
	free(b);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

/* --------------------------------------------------------- bad sectors -- */

struct bad_sectors {
	uint64_t at;
	uint64_t end;
};

static int bad(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const struct bad_sectors *b = ctx;

	return op == MEMFILE_READ && off < b->end && b->at < off + len ? -EIO
								       : 0;
}

static void a_bad_sector_costs_one_sector(void **state)
{
	struct memfile *m = img_three();
	uint64_t data = img_place(IMG_THREE_BYTES, MIB, 0) + 512; /* block 2 */
	struct bad_sectors b = {data + 300 * 512, data + 301 * 512};
	struct salvaged s;

	(void)state;
	memfile_set_hook(m, bad, &b);
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, 2 * MIB + 300 * 512);
	assert_int_equal(s.loss[0].len_bytes, 512);
	assert_int_equal(s.loss[0].why, VHD_WHY_IO);
	assert_int_equal(s.r.copied_bytes, 3 * MIB - 512);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void bad_sectors_in_a_row_are_one_loss(void **state)
{
	struct memfile *m = img_three();
	uint64_t data = img_place(IMG_THREE_BYTES, MIB, 0) + 512;
	struct bad_sectors b = {data + 300 * 512, data + 350 * 512};
	struct salvaged s;

	(void)state;
	memfile_set_hook(m, bad, &b);
	by_itself(m, &s);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].len_bytes, 50 * 512);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void a_bad_bitmap_makes_its_block_doubtful(void **state)
{
	struct memfile *m = img_three();
	uint64_t place = img_place(IMG_THREE_BYTES, MIB, 0);
	struct bad_sectors b = {place, place + 512};
	struct salvaged s;

	(void)state;
	memfile_set_hook(m, bad, &b);
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_true(s.loss[0].doubtful);
	assert_int_equal(s.loss[0].off_bytes, 2 * MIB);
	assert_int_equal(s.r.lost_bytes, 0);
	memfile_set_hook(m, NULL, NULL);
	out_reads(&s, three_bytes);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void a_bad_piece_of_the_table_loses_its_blocks(void **state)
{
	struct memfile *m = img_dynamic(256 * 4096, 4096, img_three_order, 3);
	struct bad_sectors b = {IMG_TABLE + 512, IMG_TABLE + 513};
	struct salvaged s;

	(void)state;
	memfile_set_hook(m, bad, &b);
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, 128 * 4096);
	assert_int_equal(s.loss[0].len_bytes, 128 * 4096);
	assert_int_equal(s.r.copied_bytes, 3 * 4096);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

/* --------------------------------------------------------- other disks -- */

static void a_cut_fixed_disk_gives_what_is_left(void **state)
{
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct salvaged s;
	size_t len;
	uint8_t *b;

	(void)state;
	img_poke(m, "first", 5, 0);
	img_set64(m, IMG_THREE_BYTES, 512, IMG_F_CURRENT_SIZE,
		  IMG_THREE_BYTES + MIB);
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, IMG_THREE_BYTES);
	assert_int_equal(s.loss[0].len_bytes, MIB);
	assert_int_equal(s.loss[0].why, VHD_WHY_FIXED_LENGTH);
	b = disk_of(s.out, &len);
	assert_int_equal(len, IMG_THREE_BYTES + MIB);
	assert_memory_equal(b, "first", 5);
	free(b);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void lost_footers_need_the_size(void **state)
{
	struct vhd_salvage_opts o = {.size_bytes = IMG_THREE_BYTES};
	struct memfile *m = img_three();
	struct salvaged s;

	(void)state;
	img_harm(m, "both gone");
	by_itself(m, &s);
	assert_refused(s.rc, &s.err, EUCLEAN, VHD_WHY_SIZE_ZERO);
	memfile_destroy(s.out);
	salvage(m, o, &s);
	assert_int_equal(s.rc, 0);
	out_reads(&s, three_bytes);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void what_tells_nothing_is_refused(void **state)
{
	struct memfile *m = img_child();
	struct salvaged s;

	(void)state;
	by_itself(m, &s);
	assert_refused(s.rc, &s.err, ENOTSUP, VHD_WHY_NEEDS_PARENT);
	memfile_destroy(s.out);
	memfile_destroy(m);
	m = img_three();
	img_harm(m, "cookie");
	by_itself(m, &s);
	assert_refused(s.rc, &s.err, EUCLEAN, VHD_WHY_HEADER_COOKIE);
	memfile_destroy(s.out);
	memfile_destroy(m);
	m = img_three();
	img_harm(m, "block 3M");
	by_itself(m, &s);
	assert_refused(s.rc, &s.err, EUCLEAN, VHD_WHY_BLOCK_SIZE);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void a_table_that_is_short_loses_the_end(void **state)
{
	static const uint8_t want[4] = {0x10, 0, 0x12, 0};
	struct memfile *m = img_three();
	struct salvaged s;

	(void)state;
	img_harm(m, "few entries");
	by_itself(m, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, 3 * MIB);
	out_reads(&s, want);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

static void the_source_is_not_changed(void **state)
{
	struct memfile *m = img_three(), *was;
	struct salvaged s;

	(void)state;
	img_harm(m, "entry 0");
	img_harm(m, "footer gone");
	was = memfile_clone(m);
	by_itself(m, &s);
	assert_true(memfile_equal(m, was));
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	memfile_destroy(was);
	memfile_destroy(s.out);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_image_arrives_whole),
		cmocka_unit_test(damaged_footers_and_sums_lose_nothing),
		cmocka_unit_test(bad_entries_lose_their_block_and_no_other),
		cmocka_unit_test(shared_places_are_copied_and_called_doubtful),
		cmocka_unit_test(a_block_that_is_cut_gives_its_beginning),
		cmocka_unit_test(sectors_a_bitmap_hides_stay_hidden),
		cmocka_unit_test(a_bad_sector_costs_one_sector),
		cmocka_unit_test(bad_sectors_in_a_row_are_one_loss),
		cmocka_unit_test(a_bad_bitmap_makes_its_block_doubtful),
		cmocka_unit_test(a_bad_piece_of_the_table_loses_its_blocks),
		cmocka_unit_test(a_cut_fixed_disk_gives_what_is_left),
		cmocka_unit_test(lost_footers_need_the_size),
		cmocka_unit_test(what_tells_nothing_is_refused),
		cmocka_unit_test(a_table_that_is_short_loses_the_end),
		cmocka_unit_test(the_source_is_not_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
