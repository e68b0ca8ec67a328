/* SPDX-License-Identifier: BSD-2-Clause */
/* Salvage: what is readable arrives, what is not is told, byte for byte. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/diffimg.h"
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

/* ------------------------------------------------------------ children -- */

#define KIB	   1024u
#define CHAIN_SIZE (900 * KIB + 512)

/* Three layers as files, the disk they make in `model`. */
static void chain_save(uint8_t *model, uint64_t *rnd)
{
	static const uint32_t types[] = {IMG_TYPE_DYNAMIC, IMG_TYPE_DIFF,
					 IMG_TYPE_DIFF};
	char name[32];

	for (unsigned i = 0; i < 3; i++) {
		struct memfile *m = diff_random(types[i], i, CHAIN_SIZE,
						16 * KIB << i, model, rnd);

		snprintf(name, sizeof(name), ".\\l%u.vhd", i - 1);
		if (i)
			diff_locator_text(m, 0, 0x57327275, name); /* W2ru */
		snprintf(name, sizeof(name), "l%u.vhd", i);
		diff_save(m, name);
		memfile_destroy(m);
	}
}

static void patch(const char *path, uint64_t off, const void *b, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, b, n, (off_t)off), n);
	close(fd);
}

static void saved_reads(const uint8_t *model, uint64_t from, uint64_t to)
{
	const struct vhd_open_opts o = {.format = VHD_FORMAT_DYNAMIC};
	uint8_t *got = malloc(CHAIN_SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_non_null(got);
	assert_int_equal(vhd_open("out.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, got, CHAIN_SIZE, &e), 0);
	assert_memory_equal(got, model, from);
	for (uint64_t at = from; at < to; at++)
		assert_int_equal(got[at], 0);
	assert_memory_equal(got + to, model + to, CHAIN_SIZE - to);
	vhd_abandon(img);
	free(got);
}

static int by_path(struct salvaged *s, struct vhd_salvage_opts o)
{
	memset(s, 0, sizeof(*s));
	o.lost = remember;
	o.ctx = s;
	o.replace = true;
	return vhd_salvage("l2.vhd", "out.vhd", &o, &s->r, &s->err);
}

static void a_damaged_child_is_saved_with_what_its_parents_hold(void **state)
{
	const struct vhd_salvage_opts below = {.parent_dir = "."};
	char home[] = "/tmp/vhdsalvage.XXXXXX";
	uint8_t *model = calloc(1, CHAIN_SIZE);
	uint64_t rnd = (uint64_t)time(NULL);
	struct salvaged s;
	uint8_t far[4];

	(void)state;
	print_message("seed %llu\n", (unsigned long long)rnd);
	assert_true(model && mkdtemp(home) && chdir(home) == 0);
	chain_save(model, &rnd);
	assert_int_equal(by_path(&s, below), 0);
	assert_int_equal(s.count, 0);
	assert_true(s.r.parent_bytes <= s.r.copied_bytes);
	saved_reads(model, 0, 0);
	/* Its header's sum, and a block that is nowhere: 64 KiB of it. */
	patch("l2.vhd", IMG_HEADER + IMG_H_CHECKSUM, "\1\2\3\4", 4);
	img_put32(far, 0xfffffff0);
	patch("l2.vhd", IMG_TABLE + 4, far, 4);
	assert_int_equal(by_path(&s, below), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, 64 * KIB);
	assert_int_equal(s.loss[0].len_bytes, 64 * KIB);
	assert_int_equal(s.loss[0].why, VHD_WHY_BAT_PAST_END);
	saved_reads(model, 64 * KIB, 128 * KIB);
	/* Only a sound chain lends its content. */
	patch("l1.vhd", IMG_HEADER + IMG_H_CHECKSUM, "\1\2\3\4", 4);
	assert_refused(by_path(&s, below), &s.err, EUCLEAN,
		       VHD_WHY_HEADER_CHECKSUM);
	assert_int_equal(unlink("l1.vhd"), 0);
	assert_refused(by_path(&s, below), &s.err, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	assert_refused(by_path(&s, (struct vhd_salvage_opts){0}), &s.err,
		       ENOTSUP, VHD_WHY_NEEDS_PARENT);
	assert_int_equal(unlink("l0.vhd") | unlink("l2.vhd"), 0);
	(void)unlink("out.vhd");
	assert_int_equal(chdir("/") | rmdir(home), 0);
	free(model);
}

/* img_child has the three blocks, all of each; what it lacks is the fourth. */
static void a_child_alone_loses_what_its_parents_hold(void **state)
{
	struct memfile *m = img_child();
	struct salvaged s;

	(void)state;
	salvage(m, (struct vhd_salvage_opts){.alone = true}, &s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.loss[0].off_bytes, MIB);
	assert_int_equal(s.loss[0].len_bytes, MIB);
	assert_int_equal(s.loss[0].why, VHD_WHY_NEEDS_PARENT);
	assert_false(s.loss[0].doubtful);
	out_reads(&s, three_bytes);
	memfile_destroy(s.out);
	/* And no footer is needed to see that it is one. */
	img_harm(m, "both gone");
	salvage(m, (struct vhd_salvage_opts){.size_bytes = IMG_THREE_BYTES},
		&s);
	assert_refused(s.rc, &s.err, ENOTSUP, VHD_WHY_NEEDS_PARENT);
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
		cmocka_unit_test(
			a_damaged_child_is_saved_with_what_its_parents_hold),
		cmocka_unit_test(a_child_alone_loses_what_its_parents_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
