/* SPDX-License-Identifier: BSD-2-Clause */
/* Repair: what can be put right is, nothing else changes, a second repair
 * finds nothing, and a power cut anywhere leaves something that the next
 * repair finishes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/recfile.h"
#include "vhd/repair.h"

#define STEPS_MAX 64
#define CUT_SEEDS 12

static const uint8_t new_id[16] = "a new identity!";

struct told {
	struct vhd_repair_step s[STEPS_MAX];
	unsigned count;
	struct vhd_repair_result r;
	struct vhd_err err;
	int rc;
};

static int remember(void *ctx, const struct vhd_repair_step *s)
{
	struct told *t = ctx;

	assert_true(t->count < STEPS_MAX);
	assert_true(s->text[0] != '\0');
	t->s[t->count++] = *s;
	return 0;
}

static struct vhd_repair_opts options(bool write, bool lossy)
{
	struct vhd_repair_opts o = {.write = write, .lossy = lossy};

	memcpy(o.new_id, new_id, sizeof(o.new_id));
	o.now_unix_s = FOUND_NOW_S;
	return o;
}

static void repair_on(const struct vhd_file *f, const struct vhd_file *undo,
		      struct vhd_repair_opts o, struct told *t)
{
	memset(t, 0, sizeof(*t));
	o.step = remember;
	o.ctx = t;
	t->rc = vhd_repair_file(f, undo, &o, &t->r, &t->err);
}

static void repair(struct memfile *m, struct memfile *undo,
		   struct vhd_repair_opts o, struct told *t)
{
	struct vhd_file f = memfile_file(m), u;

	if (undo)
		u = memfile_file(undo);
	repair_on(&f, undo ? &u : NULL, o, t);
}

static bool told_of(const struct told *t, enum vhd_repair_code code)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->s[i].code == code)
			return true;
	return false;
}

/* What the disk holds, block by block; a byte a block. */
static void disk_reads(struct memfile *m, const uint8_t want[4])
{
	struct vhd *img = NULL;
	struct vhd_err err;
	uint8_t *b = malloc(MIB);

	assert_non_null(b);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &err), 0);
	for (uint32_t k = 0; k < 4; k++) {
		assert_int_equal(vhd_read(img, (uint64_t)k * MIB, b, MIB, &err),
				 0);
		for (uint32_t i = 0; i < MIB; i += 511)
			assert_int_equal(b[i], want[k]);
	}
	vhd_abandon(img);
	free(b);
}

static void same_disk(struct memfile *a, struct memfile *b)
{
	struct vhd *ia = NULL, *ib = NULL;
	struct vhd_err err;
	uint8_t *da = malloc(MIB), *db = malloc(MIB);

	assert_non_null(da);
	assert_non_null(db);
	assert_int_equal(img_open(a, VHD_FORMAT_AUTO, false, &ia, &err), 0);
	assert_int_equal(img_open(b, VHD_FORMAT_AUTO, false, &ib, &err), 0);
	for (uint64_t off = 0; off < IMG_THREE_BYTES; off += MIB) {
		assert_int_equal(vhd_read(ia, off, da, MIB, &err), 0);
		assert_int_equal(vhd_read(ib, off, db, MIB, &err), 0);
		assert_memory_equal(da, db, MIB);
	}
	vhd_abandon(ia);
	vhd_abandon(ib);
	free(da);
	free(db);
}

static const uint8_t three_bytes[4] = {0x10, 0, 0x12, 0x13};

/* --------------------------------------------------- what is put right -- */

struct cure {
	const char *what;
	enum vhd_repair_code code;
	bool lossy;
	bool same_disk;	  /* reads as img_three afterwards */
	const char *also; /* a second damage, or NULL */
};

static const struct cure cures[] = {
	{"footer sum", VHD_REPAIR_FOOTER_END, false, true, NULL},
	{"footer gone", VHD_REPAIR_FOOTER_END, false, true, NULL},
	{"footer C7", VHD_REPAIR_FOOTER_END, false, true, NULL},
	{"footer 511", VHD_REPAIR_FOOTER_END, false, true, NULL},
	{"copy gone", VHD_REPAIR_FOOTER_COPY, false, true, NULL},
	{"copy sum", VHD_REPAIR_FOOTER_COPY, false, true, NULL},
	{"both sums", VHD_REPAIR_FOOTER_CHECKSUM, false, true, NULL},
	{"flags differ", VHD_REPAIR_FOOTER_COPY, false, true, NULL},
	{"no id", VHD_REPAIR_ID, false, true, NULL},
	{"geometry +", VHD_REPAIR_GEOMETRY, false, true, NULL},
	{"geometry 0", VHD_REPAIR_GEOMETRY, false, true, NULL},
	{"header sum", VHD_REPAIR_HEADER_CHECKSUM, false, true, NULL},
	{"next", VHD_REPAIR_NEXT_OFFSET, false, true, NULL},
	{"and used", VHD_REPAIR_BAT_EXTRA, false, true, NULL},
	{"entry 0", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"in header", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"in table", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"entry FFFFFFFE", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"on the footer", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"same place", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"overlap", VHD_REPAIR_BAT_CLEAR, true, true, NULL},
	{"cut", VHD_REPAIR_FOOTER_MOVE, true, false, NULL},
	/* The only sound footer must move: first a second one is made. */
	{"cut", VHD_REPAIR_FOOTER_MOVE, true, false, "copy gone"},
	{"cut", VHD_REPAIR_FOOTER_MOVE, true, false, "geometry +"},
	{"no id", VHD_REPAIR_ID, false, true, "copy sum"},
	{"no id", VHD_REPAIR_ID, false, true, "footer gone"},
};

#define CURES (sizeof(cures) / sizeof(cures[0]))

static struct memfile *harmed(const struct cure *c)
{
	struct memfile *m = img_three();

	img_harm(m, c->what);
	if (c->also)
		img_harm(m, c->also);
	return m;
}

static uint64_t errors(struct memfile *m)
{
	struct found all;

	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	return all.r.severity_count[VHD_SEVERITY_ERROR];
}

static void each_damage_is_put_right_and_nothing_is_left(void **state)
{
	(void)state;
	for (size_t i = 0; i < CURES; i++) {
		struct memfile *m = harmed(&cures[i]);
		struct told t;

		print_message("%s\n", cures[i].what);
		repair(m, NULL, options(true, cures[i].lossy), &t);
		assert_int_equal(t.rc, 0);
		assert_true(told_of(&t, cures[i].code));
		assert_int_equal(t.r.held_back, 0);
		assert_int_equal(memfile_len(m), t.r.new_file_bytes);
		assert_int_equal(errors(m), 0);
		if (cures[i].same_disk)
			disk_reads(m, three_bytes);
		repair(m, NULL, options(true, cures[i].lossy), &t);
		assert_int_equal(t.rc, 0);
		assert_int_equal(t.r.steps, 0);
		assert_int_equal(t.r.written_bytes, 0);
		memfile_destroy(m);
	}
}

static void a_dry_run_tells_the_same_and_writes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < CURES; i++) {
		struct memfile *m = harmed(&cures[i]);
		struct memfile *was = memfile_clone(m);
		struct told dry, wet;

		repair(m, NULL, options(false, cures[i].lossy), &dry);
		assert_int_equal(dry.rc, 0);
		assert_true(memfile_equal(m, was));
		repair(m, NULL, options(true, cures[i].lossy), &wet);
		assert_int_equal(dry.count, wet.count);
		assert_memory_equal(dry.s, wet.s, dry.count * sizeof(dry.s[0]));
		assert_memory_equal(&dry.r, &wet.r, sizeof(dry.r));
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

static void what_loses_content_is_held_back_unless_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < CURES; i++) {
		struct memfile *m = harmed(&cures[i]);
		struct memfile *was = memfile_clone(m);
		struct told t;

		if (cures[i].lossy && !cures[i].also) {
			repair(m, NULL, options(true, false), &t);
			assert_int_equal(t.rc, 0);
			assert_int_equal(t.r.held_back, 1);
			assert_int_equal(t.r.steps, 0);
			assert_true(t.s[0].held_back && t.s[0].lossy);
			assert_int_equal(t.s[0].block, 1);
			assert_true(memfile_equal(m, was));
		}
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

/* The footer that lay in the block would be read as the disk's data. */
static void a_footer_in_a_block_is_no_data_of_the_disk(void **state)
{
	struct memfile *m = img_three();
	uint8_t was[512], now[512];
	uint64_t at;
	struct told t;

	(void)state;
	img_harm(m, "cut");
	at = img_end(m);
	memfile_peek(m, was, 512, at);
	assert_memory_equal(was, "conectix", 8);
	repair(m, NULL, options(true, true), &t);
	assert_int_equal(t.rc, 0);
	memset(was, 0, sizeof(was));
	memfile_peek(m, now, 512, at);
	assert_memory_equal(now, was, 512);
	assert_true(img_end(m) > at);
	memfile_destroy(m);
}

static void what_is_lost_is_told_as_a_part_of_the_disk(void **state)
{
	struct memfile *m = img_three();
	struct told t;

	(void)state;
	img_harm(m, "same place");
	repair(m, NULL, options(true, true), &t);
	assert_int_equal(t.s[0].lost_bytes, MIB);
	assert_int_equal(t.s[0].lost_len_bytes, MIB);
	memfile_destroy(m);
	m = img_three();
	img_harm(m, "cut");
	repair(m, NULL, options(true, true), &t);
	/* 255 KiB, less half a KiB of bitmap, are in front of the footer. */
	assert_int_equal(t.s[0].lost_bytes, MIB + 255 * 1024 - 512);
	assert_int_equal(t.s[0].lost_bytes + t.s[0].lost_len_bytes, 2 * MIB);
	memfile_destroy(m);
}

/* -------------------------------------------------- what is left alone -- */

static void what_cannot_be_told_is_refused_and_left_alone(void **state)
{
	static const struct {
		const char *what;
		enum vhd_why why;
	} cases[] = {
		{"version", VHD_WHY_FOOTER_VERSION},
		{"type", VHD_WHY_FOOTER_TYPE},
		{"size 0", VHD_WHY_SIZE_ZERO},
		{"size odd", VHD_WHY_SIZE_ALIGN},
		{"both gone", VHD_WHY_NOT_VHD},
		{"ids differ", VHD_WHY_READ_ONLY_LAYOUT},
		{"poison", VHD_WHY_POISON_COOKIE},
		{"data offset 0", VHD_WHY_DATA_OFFSET},
		{"cookie", VHD_WHY_HEADER_COOKIE},
		{"header version", VHD_WHY_HEADER_VERSION},
		{"block 3M", VHD_WHY_BLOCK_SIZE},
		{"table far", VHD_WHY_TABLE_PAST_END},
		{"no entries", VHD_WHY_TABLE_ENTRIES},
		{"few entries", VHD_WHY_TABLE_SHORT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memfile *m = img_three(), *was;
		struct told t;

		print_message("%s\n", cases[i].what);
		img_harm(m, cases[i].what);
		was = memfile_clone(m);
		repair(m, NULL, options(true, true), &t);
		assert_refused(t.rc, &t.err, EUCLEAN, cases[i].why);
		assert_true(memfile_equal(m, was));
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

static void a_sound_image_is_left_alone(void **state)
{
	struct memfile *images[] = {img_three(), img_fixed(IMG_THREE_BYTES),
				    img_child(), img_blktap(0xf0)};

	(void)state;
	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
		struct memfile *was = memfile_clone(images[i]);
		struct told t;

		repair(images[i], NULL, options(true, true), &t);
		assert_int_equal(t.rc, 0);
		assert_int_equal(t.count, 0);
		assert_true(memfile_equal(images[i], was));
		memfile_destroy(was);
		memfile_destroy(images[i]);
	}
}

static void a_footer_that_makes_no_sense_keeps_its_wrong_sum(void **state)
{
	struct memfile *m = img_three();
	struct told t;

	(void)state;
	img_harm(m, "features");
	img_harm(m, "both sums");
	repair(m, NULL, options(true, true), &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_FOOTER_CHECKSUM);
	memfile_destroy(m);
}

static void two_damaged_footers_that_differ_need_a_choice(void **state)
{
	struct vhd_repair_opts o = options(true, false);
	struct memfile *m = img_three();
	struct told t;

	(void)state;
	img_harm(m, "flags differ");
	img_harm(m, "both sums");
	repair(m, NULL, o, &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_READ_ONLY_LAYOUT);
	o.prefer = VHD_PREFER_COPY;
	repair(m, NULL, o, &t);
	assert_int_equal(t.rc, 0);
	assert_int_equal(errors(m), 0);
	memfile_destroy(m);
}

static void a_choice_between_two_disks_is_followed(void **state)
{
	static const uint8_t ab[16] = {0xab, 0xab, 0xab, 0xab, 0xab, 0xab,
				       0xab, 0xab, 0xab, 0xab, 0xab, 0xab,
				       0xab, 0xab, 0xab, 0xab};

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct vhd_repair_opts o = options(true, false);
		struct memfile *m = img_three();
		uint8_t f[512];
		struct told t;

		img_harm(m, "ids differ");
		o.prefer = k ? VHD_PREFER_END : VHD_PREFER_COPY;
		repair(m, NULL, o, &t);
		assert_int_equal(t.rc, 0);
		assert_int_equal(t.r.steps, 1);
		memfile_peek(m, f, 512, img_end(m));
		assert_memory_equal(f + IMG_F_ID,
				    k ? (const void *)"0123456789abcdef" : ab,
				    16);
		memfile_peek(m, f, 512, 0);
		assert_memory_equal(f + IMG_F_ID,
				    k ? (const void *)"0123456789abcdef" : ab,
				    16);
		memfile_destroy(m);
	}
}

/* ----------------------------------------------------- lost altogether -- */

static void two_lost_footers_are_rebuilt_from_the_size(void **state)
{
	struct vhd_repair_opts o = options(true, false);
	struct memfile *m = img_three();
	struct told t;

	(void)state;
	img_harm(m, "both gone");
	o.size_bytes = IMG_THREE_BYTES + 512; /* more than the table has */
	repair(m, NULL, o, &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_NOT_VHD);
	o.size_bytes = IMG_THREE_BYTES;
	repair(m, NULL, o, &t);
	assert_int_equal(t.rc, 0);
	assert_true(told_of(&t, VHD_REPAIR_FOOTER_REBUILD));
	assert_int_equal(errors(m), 0);
	disk_reads(m, three_bytes);
	memfile_destroy(m);
}

static void a_fixed_disk_gets_its_footer_back_when_named(void **state)
{
	struct vhd_repair_opts o = options(true, false);
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct told t;

	(void)state;
	memfile_resize(m, IMG_THREE_BYTES);
	repair(m, NULL, o, &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_NOT_VHD);
	o.format = VHD_FORMAT_FIXED;
	o.size_bytes = IMG_THREE_BYTES - 512;
	repair(m, NULL, o, &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	o.size_bytes = 0;
	repair(m, NULL, o, &t);
	assert_int_equal(t.rc, 0);
	assert_int_equal(memfile_len(m), IMG_THREE_BYTES + 512);
	assert_int_equal(errors(m), 0);
	memfile_destroy(m);
}

static void a_fixed_footer_is_healed_where_it_is(void **state)
{
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct told t;

	(void)state;
	img_set(m, IMG_THREE_BYTES, 512, 56, "\xff\xff\x10\xfe", 4);
	img_poke(m, "\1\2", 2, IMG_THREE_BYTES + IMG_F_CHECKSUM);
	repair(m, NULL, options(true, false), &t);
	assert_int_equal(t.rc, 0);
	assert_int_equal(t.r.steps, 2);
	assert_int_equal(t.r.written_bytes, 512);
	assert_int_equal(errors(m), 0);
	memfile_destroy(m);
}

static void a_fixed_disk_of_another_length_is_left_alone(void **state)
{
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct told t;

	(void)state;
	img_set64(m, IMG_THREE_BYTES, 512, IMG_F_CURRENT_SIZE,
		  IMG_THREE_BYTES - 512);
	repair(m, NULL, options(true, true), &t);
	assert_refused(t.rc, &t.err, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	memfile_destroy(m);
}

/* ---------------------------------------------------------- the batmap -- */

static void a_stale_batmap_is_cleared_where_it_lies(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;
	struct told t;
	uint8_t map;

	(void)state;
	img_poke(m, "\x7f", 1, IMG_BATMAP + 1024 + 2 * (512 + MIB) + 9);
	img_bat(m, 0, 0xffffffff);
	repair(m, NULL, options(true, false), &t);
	assert_int_equal(t.rc, 0);
	assert_true(told_of(&t, VHD_REPAIR_BATMAP));
	memfile_peek(m, &map, 1, IMG_BATMAP + 512);
	assert_int_equal(map, 0x50);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void batmap_bits_behind_the_disk_are_left_alone(void **state)
{
	struct memfile *m = img_blktap(0xfa);
	struct told t;
	uint8_t map;

	(void)state;
	img_bat(m, 0, 0xffffffff);
	repair(m, NULL, options(true, false), &t);
	assert_int_equal(t.rc, 0);
	memfile_peek(m, &map, 1, IMG_BATMAP + 512);
	assert_int_equal(map, 0x7a);
	memfile_destroy(m);
}

static void a_batmap_that_points_nowhere_is_given_up(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;
	struct told t;

	(void)state;
	img_poke(m, "\0\0\0\0\0\0\0\1", 8, IMG_BATMAP + 8);
	repair(m, NULL, options(true, false), &t);
	assert_int_equal(t.rc, 0);
	assert_int_equal(t.r.steps, 1);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void a_block_given_up_leaves_the_batmap_as_well(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;
	struct told t;

	(void)state;
	img_bat(m, 3, 0);
	repair(m, NULL, options(true, true), &t);
	assert_int_equal(t.rc, 0);
	assert_true(told_of(&t, VHD_REPAIR_BATMAP));
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

/* ---------------------------------------------------------- power cuts -- */

/* After any cut a repair ends with a sound image whose disk is that of a
 * repair without one, `whole`.
 */
static void finishes_after_cut(const struct cure *c, struct recfile *rec,
			       struct memfile *whole, size_t n, uint64_t seed)
{
	struct memfile *m = recfile_cut(rec, n, seed);
	struct told t;

	repair(m, NULL, options(true, c->lossy), &t);
	if (t.rc)
		print_message("%s, event %zu, seed %llu: %s\n", c->what, n,
			      (unsigned long long)seed, t.err.text);
	assert_int_equal(t.rc, 0);
	assert_int_equal(errors(m), 0);
	same_disk(m, whole);
	repair(m, NULL, options(true, c->lossy), &t);
	assert_int_equal(t.r.steps, 0);
	memfile_destroy(m);
}

static void a_repair_that_was_cut_off_is_finished_by_the_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < CURES; i++) {
		struct memfile *m = harmed(&cures[i]);
		struct recfile *rec = recfile_create(m);
		struct vhd_file f = recfile_file(rec);
		struct told t;

		print_message("%s\n", cures[i].what);
		repair_on(&f, NULL, options(true, cures[i].lossy), &t);
		assert_int_equal(t.rc, 0);
		for (size_t n = 0; n <= recfile_count(rec); n++)
			for (uint64_t k = 0; k < CUT_SEEDS; k++)
				finishes_after_cut(&cures[i], rec, m, n, k);
		recfile_destroy(rec);
		memfile_destroy(m);
	}
}

static void several_damages_survive_cuts_together(void **state)
{
	static const struct cure all = {"all", VHD_REPAIR_ID, true, true, NULL};
	struct memfile *m = img_three();
	struct recfile *rec;
	struct vhd_file f;
	struct told t;

	(void)state;
	img_harm(m, "no id");
	img_harm(m, "geometry +");
	img_harm(m, "next");
	img_harm(m, "header sum");
	img_harm(m, "entry 0");
	img_harm(m, "copy sum");
	rec = recfile_create(m);
	f = recfile_file(rec);
	repair_on(&f, NULL, options(true, true), &t);
	assert_int_equal(t.rc, 0);
	assert_true(t.r.steps >= 6);
	for (size_t n = 0; n <= recfile_count(rec); n++)
		for (uint64_t k = 0; k < 4 * CUT_SEEDS; k++)
			finishes_after_cut(&all, rec, m, n, k);
	recfile_destroy(rec);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- faults -- */

struct nth {
	enum memfile_op op;
	uint64_t left;
};

static int fail_nth(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct nth *n = ctx;

	(void)off;
	(void)len;
	if (op != n->op || n->left-- != 1)
		return 0;
	return op == MEMFILE_WRITE ? -ENOSPC : -EIO;
}

static void a_failing_medium_is_told_and_can_be_tried_again(void **state)
{
	static const enum memfile_op ops[] = {MEMFILE_READ, MEMFILE_WRITE,
					      MEMFILE_FLUSH};

	(void)state;
	for (size_t o = 0; o < 3; o++)
		for (uint64_t n = 1;; n++) {
			struct memfile *m = img_three();
			struct nth nth = {ops[o], n};
			struct told t;

			img_harm(m, "copy sum");
			img_harm(m, "geometry +");
			img_harm(m, "entry 0");
			memfile_set_hook(m, fail_nth, &nth);
			repair(m, NULL, options(true, true), &t);
			memfile_set_hook(m, NULL, NULL);
			if (t.rc) {
				assert_true(t.rc == -EIO || t.rc == -ENOSPC);
				assert_true(t.err.text[0]);
				repair(m, NULL, options(true, true), &t);
				assert_int_equal(t.rc, 0);
			}
			assert_int_equal(errors(m), 0);
			memfile_destroy(m);
			if ((int64_t)nth.left > 0)
				break;
		}
}

static int end_it(void *ctx, const struct vhd_repair_step *s)
{
	(void)ctx;
	(void)s;
	return 1;
}

static void the_caller_can_end_a_repair_before_it_writes(void **state)
{
	struct vhd_repair_opts o = options(true, true);
	struct memfile *m = img_three(), *was;
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;

	(void)state;
	img_harm(m, "copy sum");
	was = memfile_clone(m);
	o.step = end_it;
	assert_refused(vhd_repair_file(&f, NULL, &o, NULL, &err), &err,
		       ECANCELED, VHD_WHY_CANCELLED);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

static void every_step_has_its_own_word(void **state)
{
	(void)state;
	for (int i = 0; i < VHD_REPAIR_COUNT; i++) {
		const char *name = vhd_repair_name((enum vhd_repair_code)i);

		assert_non_null(name);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				name, vhd_repair_name((enum vhd_repair_code)k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damage_is_put_right_and_nothing_is_left),
		cmocka_unit_test(a_dry_run_tells_the_same_and_writes_nothing),
		cmocka_unit_test(
			what_loses_content_is_held_back_unless_asked_for),
		cmocka_unit_test(a_footer_in_a_block_is_no_data_of_the_disk),
		cmocka_unit_test(what_is_lost_is_told_as_a_part_of_the_disk),
		cmocka_unit_test(what_cannot_be_told_is_refused_and_left_alone),
		cmocka_unit_test(a_sound_image_is_left_alone),
		cmocka_unit_test(
			a_footer_that_makes_no_sense_keeps_its_wrong_sum),
		cmocka_unit_test(two_damaged_footers_that_differ_need_a_choice),
		cmocka_unit_test(a_choice_between_two_disks_is_followed),
		cmocka_unit_test(two_lost_footers_are_rebuilt_from_the_size),
		cmocka_unit_test(a_fixed_disk_gets_its_footer_back_when_named),
		cmocka_unit_test(a_fixed_footer_is_healed_where_it_is),
		cmocka_unit_test(a_fixed_disk_of_another_length_is_left_alone),
		cmocka_unit_test(a_stale_batmap_is_cleared_where_it_lies),
		cmocka_unit_test(batmap_bits_behind_the_disk_are_left_alone),
		cmocka_unit_test(a_batmap_that_points_nowhere_is_given_up),
		cmocka_unit_test(a_block_given_up_leaves_the_batmap_as_well),
		cmocka_unit_test(
			a_repair_that_was_cut_off_is_finished_by_the_next),
		cmocka_unit_test(several_damages_survive_cuts_together),
		cmocka_unit_test(
			a_failing_medium_is_told_and_can_be_tried_again),
		cmocka_unit_test(the_caller_can_end_a_repair_before_it_writes),
		cmocka_unit_test(every_step_has_its_own_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
