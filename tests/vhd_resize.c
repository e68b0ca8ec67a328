/* SPDX-License-Identifier: BSD-2-Clause */
/* Resizing: what the disk holds afterwards, what is refused, and that each
 * state a power cut may leave is the old disk or the new one and can be taken
 * further.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/repair.h"
#include "vhd/resize.h"

#define KIB  1024u
#define CUTS 4 /* random subsets for each crash point */

/* ------------------------------------------------------------- helpers -- */

static uint8_t *content(struct memfile *m, uint64_t *size)
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

static int resize_on(struct vhd_file f, uint64_t size, bool force,
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

static void must_resize(struct memfile *m, uint64_t size)
{
	struct vhd_err e = {0};

	if (resize_on(memfile_file(m), size, true, NULL, &e))
		fail_msg("to %llu: %s", (unsigned long long)size, e.text);
}

/* What another program, and a check, say of the result. */
static void is_clean(struct memfile *m, uint64_t size)
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

static bool all_zero(const uint8_t *b, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* The disk has `size` bytes: those of `was` as far as both go, then zeros. */
static void holds(struct memfile *m, const uint8_t *was, uint64_t was_size,
		  uint64_t size)
{
	uint64_t have, both = size < was_size ? size : was_size;
	uint8_t *b = content(m, &have);

	assert_true(have == size);
	assert_memory_equal(b, was, both);
	assert_true(all_zero(b + both, size - both));
	free(b);
}

/* --------------------------------------------------------------- images -- */

static void put(struct memfile *m, uint64_t off, uint64_t len, uint64_t *rnd)
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
		put(m, random_below(rnd, (size - len) / 512 + 1) * 512, len,
		    rnd);
	}
	return m;
}

enum { BLOCK = 16 * KIB };

static struct memfile *dynamic_image(uint64_t *rnd)
{
	return ours(VHD_FORMAT_DYNAMIC, 200 * 512, BLOCK, rnd);
}

static struct memfile *fixed_image(uint64_t *rnd)
{
	return ours(VHD_FORMAT_FIXED, 200 * 512, 0, rnd);
}

/* Blocks densely behind the table, in no order, junk behind the disk's end. */
static struct memfile *dense_image(uint64_t *rnd)
{
	static const uint32_t order[] = {5, 0, 6, 2};

	(void)rnd;
	return img_dynamic(200 * 512, BLOCK, order, 4);
}

static struct memfile *blktap_image(uint64_t *rnd)
{
	(void)rnd;
	return img_blktap(0xf0);
}

struct source {
	const char *what;
	struct memfile *(*make)(uint64_t *rnd);
	uint64_t sizes[6]; /* to be resized to; ends with 0 */
};

static const struct source sources[] = {
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

/* --------------------------------------------------------------- tests -- */

static void content_stays_and_new_space_is_zero(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		for (const uint64_t *to = sources[i].sizes; *to; to++) {
			struct memfile *m = sources[i].make(&rnd);
			uint64_t size;
			uint8_t *was = content(m, &size);

			print_message("%s to %llu\n", sources[i].what,
				      (unsigned long long)*to);
			must_resize(m, *to);
			holds(m, was, size, *to);
			is_clean(m, *to);
			free(was);
			memfile_destroy(m);
		}
}

/* Smaller and larger again, many times: nothing of before comes back. */
static void what_was_cut_off_does_not_come_back(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct memfile *m = sources[i].make(&rnd);
		uint64_t size;
		uint8_t *model = content(m, &size);

		for (int k = 0; k < 40; k++) {
			uint64_t to = 512 * (1 + random_below(&rnd, 900));
			uint64_t len = 512 * (1 + random_below(&rnd, 9));
			uint8_t *now;

			must_resize(m, to);
			holds(m, model, size, to);
			is_clean(m, to);
			if (len > to)
				len = to;
			put(m, random_below(&rnd, (to - len) / 512 + 1) * 512,
			    len, &rnd);
			now = content(m, &size);
			free(model);
			model = now;
		}
		free(model);
		memfile_destroy(m);
	}
}

struct cut {
	const uint8_t *was;
	uint64_t old, new;
	bool fixed;
};

/* The old disk or the new one. On a grown fixed disk the former footer shows
 * until the resize is finished; on one to be shrunk the new footer, in a
 * place that is to go.
 */
static void old_or_new(const struct cut *c, struct memfile *m, size_t n)
{
	uint64_t size, both = c->old < c->new ? c->old : c->new;
	uint8_t *b = content(m, &size);

	if (size != c->old && size != c->new)
		fail_msg("at event %zu: %llu bytes", n,
			 (unsigned long long)size);
	assert_memory_equal(b, c->was, both);
	if (c->fixed && size > both) {
		memcpy(b + both, c->was + both, size == c->old ? 512 : 0);
		if (size == c->new)
			memset(b + both, 0, 512);
	}
	if (size == c->old && c->old > c->new)
		assert_memory_equal(b, c->was, size);
	else if (!all_zero(b + both, size - both))
		fail_msg("at event %zu: not zero behind %llu", n,
			 (unsigned long long)both);
	free(b);
}

/* Read as it is; opened for writing, which finishes what can be; repaired; and
 * resized again, from each of these.
 */
static void check_cut(const struct cut *c, struct memfile *m, size_t n)
{
	struct vhd_repair_opts ro = {.write = true};
	struct memfile *again = memfile_clone(m);
	struct memfile *fixed = memfile_clone(m);
	struct vhd_file f = memfile_file(fixed);
	struct cut exact = *c;
	struct vhd *img;
	struct vhd_err e;

	old_or_new(c, m, n);
	must_resize(again, c->new);
	holds(again, c->was, c->old, c->new);
	is_clean(again, c->new);
	memfile_destroy(again);

	if (vhd_repair_file(&f, NULL, &ro, NULL, &e))
		fail_msg("at event %zu: %s", n, e.text);
	if (c->new > c->old)
		exact.fixed = false; /* nothing is left inside it now */
	old_or_new(&exact, fixed, n);
	must_resize(fixed, c->new);
	holds(fixed, c->was, c->old, c->new);
	memfile_destroy(fixed);

	if (img_open(m, VHD_FORMAT_AUTO, true, &img, &e) || vhd_close(img, &e))
		fail_msg("at event %zu: %s", n, e.text);
	old_or_new(c, m, n);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes &
				 ~(unsigned)(VHD_NOTE_TABLE_LONG |
					     VHD_NOTE_TABLE_EXTRA |
					     VHD_NOTE_BATMAP),
			 0);
	vhd_abandon(img);
	must_resize(m, c->new);
	holds(m, c->was, c->old, c->new);
	is_clean(m, c->new);
}

static void cut_everywhere(struct memfile *m, uint64_t to, int cuts,
			   uint64_t *rnd)
{
	struct recfile *rec = recfile_create(m);
	struct cut c = {.new = to};
	uint8_t *was = content(m, &c.old);
	struct vhd_err e = {0};
	struct vhd_resize_result r;

	c.was = was;
	if (resize_on(recfile_file(rec), to, true, &r, &e))
		fail_msg("%s", e.text);
	c.fixed = r.format == VHD_FORMAT_FIXED;
	for (size_t n = 0; n <= recfile_count(rec); n++)
		for (int k = 0; k <= cuts; k++) {
			struct memfile *s =
				k ? recfile_cut(rec, n, random_next(rnd))
				  : recfile_prefix(rec, n);

			check_cut(&c, s, n);
			memfile_destroy(s);
		}
	free(was);
	recfile_destroy(rec);
	memfile_destroy(m);
}

static void a_power_cut_leaves_the_old_disk_or_the_new_one(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		for (const uint64_t *to = sources[i].sizes; *to; to++) {
			print_message("%s to %llu\n", sources[i].what,
				      (unsigned long long)*to);
			cut_everywhere(sources[i].make(&rnd), *to, CUTS, &rnd);
		}
}

/* Opening for writing, while it finishes a resize, is cut off as well. */
static void finishing_may_be_interrupted_too(void **state)
{
	uint64_t rnd = random_seed();
	static const uint64_t to[] = {400 * 512, 100 * 512};

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]) * 2; i++) {
		struct memfile *m = sources[i / 2].make(&rnd);
		struct recfile *rec = recfile_create(m);
		struct cut c = {.new = to[i % 2]};
		uint8_t *was = content(m, &c.old);
		struct vhd_err e;
		struct vhd *img;
		struct vhd_resize_result r;

		c.was = was;
		assert_int_equal(
			resize_on(recfile_file(rec), c.new, true, &r, &e), 0);
		c.fixed = r.format == VHD_FORMAT_FIXED;
		for (size_t n = 0; n <= recfile_count(rec); n++) {
			struct memfile *cut =
				recfile_cut(rec, n, random_next(&rnd));
			struct recfile *second = recfile_create(cut);
			struct vhd_open_opts o = {.writable = true};
			struct vhd_file f = recfile_file(second);

			assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
			assert_int_equal(vhd_close(img, &e), 0);
			for (size_t k = 0; k <= recfile_count(second); k++) {
				struct memfile *s = recfile_cut(
					second, k, random_next(&rnd));

				check_cut(&c, s, n);
				memfile_destroy(s);
			}
			recfile_destroy(second);
			memfile_destroy(cut);
		}
		free(was);
		recfile_destroy(rec);
		memfile_destroy(m);
	}
}

/* blktap's batmap goes with the table, and says no more than is true. */
static void a_batmap_moves_with_a_longer_table(void **state)
{
	static const uint64_t to[] = {5 * MIB, 200 * MIB, 5000ull * MIB,
				      3 * MIB, 0};
	uint64_t rnd = 0;

	(void)state;
	for (const uint64_t *s = to; *s; s++) {
		struct memfile *m = blktap_image(&rnd);
		struct vhd_resize_result r;
		struct vhd_err e = {0};
		struct found all;
		struct vhd *img;
		uint8_t got[512], want[512] = {0};

		put(m, 2 * MIB, 512, &rnd);
		assert_int_equal(resize_on(memfile_file(m), *s, true, &r, &e),
				 0);
		assert_int_equal(r.table_moved, *s >= 200 * MIB);
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		assert_int_equal(found_faults(&all), 0);
		assert_int_equal(
			img_open(m, VHD_FORMAT_DYNAMIC, false, &img, &e), 0);
		assert_true(vhd_get_info(img)->notes & VHD_NOTE_BATMAP);
		assert_true(vhd_get_info(img)->size_bytes == *s);
		assert_int_equal(vhd_read(img, 2 * MIB, got, 512, &e), 0);
		rnd = 0;
		for (int i = 0; i < 512; i++)
			want[i] = (uint8_t)(random_next(&rnd) | 1);
		assert_memory_equal(got, want, 512);
		vhd_abandon(img);
		memfile_destroy(m);
		rnd = 0;
	}
}

static void a_batmap_survives_a_power_cut(void **state)
{
	uint64_t rnd = random_seed();
	struct memfile *m = blktap_image(&rnd);
	struct recfile *rec = recfile_create(m);
	struct vhd_err e;
	size_t moved = 0;

	(void)state;
	assert_int_equal(
		resize_on(recfile_file(rec), 200 * MIB, true, NULL, &e), 0);
	for (size_t n = 0; n <= recfile_count(rec); n++) {
		struct memfile *s = recfile_cut(rec, n, random_next(&rnd));
		struct found all;
		struct vhd *img;

		assert_int_equal(
			img_open(s, VHD_FORMAT_DYNAMIC, false, &img, &e), 0);
		assert_true(vhd_get_info(img)->notes & VHD_NOTE_BATMAP);
		moved += vhd_get_info(img)->table_bytes != IMG_TABLE;
		vhd_abandon(img);
		found_in(s, &all);
		assert_null(found_find(&all, VHD_FIND_BATMAP_CHECKSUM));
		assert_null(found_find(&all, VHD_FIND_BATMAP_STALE));
		memfile_destroy(s);
	}
	assert_true(moved > 0);
	recfile_destroy(rec);
	memfile_destroy(m);
}

static void geometry_and_footer_follow_and_the_rest_stays(void **state)
{
	struct memfile *m = img_three();
	uint8_t was[512], now[512], end[512];
	struct vhd_resize_result r;
	struct vhd_err e;

	(void)state;
	img_footers(m, IMG_F_RESERVED, "kept", 4);
	img_footers32(m, IMG_F_FEATURES, 0x102);
	memfile_peek(m, was, 512, 0);
	assert_int_equal(resize_on(memfile_file(m), 1000 * MIB, false, &r, &e),
			 0);
	memfile_peek(m, now, 512, 0);
	memfile_peek(m, end, 512, img_end(m));
	assert_memory_equal(now, end, 512);
	assert_memory_equal(now, was, IMG_F_CURRENT_SIZE);
	assert_true(img_get64(now + IMG_F_CURRENT_SIZE) == 1000ull * MIB);
	assert_true(img_get64(now + IMG_F_ORIGINAL_SIZE) == IMG_THREE_BYTES);
	assert_int_equal(r.geometry.cylinders, 65535);
	assert_memory_equal(now + IMG_F_TYPE, was + IMG_F_TYPE, 4);
	assert_memory_equal(now + IMG_F_ID, was + IMG_F_ID, 512 - IMG_F_ID);
	memfile_destroy(m);
}

static void refuses(struct memfile *m, const struct vhd_resize_opts *o,
		    int code, enum vhd_why why)
{
	struct memfile *was = memfile_clone(m);
	struct vhd_file f = memfile_file(m);
	struct vhd_err e = {0};

	assert_refused(vhd_resize_file(&f, o, NULL, &e), &e, code, why);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
}

static void what_makes_no_sense_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		struct vhd_resize_opts o;
		int code;
		enum vhd_why why;
	} cases[] = {
		{{.size_bytes = 0, .write = true}, EINVAL, VHD_WHY_SIZE_ZERO},
		{{.size_bytes = 5 * MIB + 1, .write = true},
		 EINVAL,
		 VHD_WHY_ARGUMENT},
		{{.size_bytes = (2040ull << 30) + 512, .write = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.size_bytes = MIB, .write = true}, EUCLEAN, VHD_WHY_SHRINK},
		{{.size_bytes = 4 * MIB - 512, .write = true},
		 EUCLEAN,
		 VHD_WHY_SHRINK},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = 5 * MIB,
		  .write = true,
		  .shrink = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = 4 * MIB,
		  .write = true,
		  .shrink = true},
		 EINVAL,
		 VHD_WHY_SIZE_ZERO},
		{{.by = VHD_RESIZE_GROW,
		  .size_bytes = UINT64_MAX - 511,
		  .write = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = MIB,
		  .write = true,
		  .shrink = true},
		 EUCLEAN,
		 VHD_WHY_DATA_BEHIND},
		{{.format = VHD_FORMAT_FIXED,
		  .size_bytes = 5 * MIB,
		  .write = true},
		 EUCLEAN,
		 VHD_WHY_TYPE_MISMATCH},
	};
	struct memfile *m = img_three();
	const struct vhd_resize_opts grow = {.size_bytes = 9 * MIB,
					     .write = true};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refuses(m, &cases[i].o, cases[i].code, cases[i].why);
	img_footers(m, IMG_F_SAVED, "\1", 1);
	refuses(m, &grow, EUCLEAN, VHD_WHY_SAVED_STATE);
	img_footers(m, IMG_F_SAVED, "\0\1", 2);
	refuses(m, &grow, ENOTSUP, VHD_WHY_UNSUPPORTED);
	memfile_destroy(m);
	m = memfile_create();
	memfile_resize(m, MIB);
	refuses(m, &grow, ENOTSUP, VHD_WHY_UNSUPPORTED);
	memfile_destroy(m);
}

static void the_limit_itself_is_reached(void **state)
{
	struct memfile *m = img_dynamic(4 * MIB, 2 * MIB, img_three_order, 1);
	struct vhd_err e;

	(void)state;
	img_bat(m, 2, 0xffffffff);
	assert_int_equal(
		resize_on(memfile_file(m), 2040ull << 30, false, NULL, &e), 0);
	assert_true(memfile_len(m) < 16 * MIB);
	memfile_destroy(m);
}

static void a_plan_writes_nothing(void **state)
{
	struct memfile *m = img_three(), *was = memfile_clone(m);
	struct vhd_resize_opts o = {
		.size_bytes = 2 * MIB, .shrink = true, .force = true};
	struct vhd_file f = memfile_file(m);
	struct vhd_resize_result r;
	struct vhd_err e;

	(void)state;
	assert_int_equal(vhd_resize_file(&f, &o, &r, &e), 0);
	assert_int_equal(r.blocks_dropped, 2);
	assert_true(r.data_dropped);
	o.size_bytes = 900ull * MIB;
	assert_int_equal(vhd_resize_file(&f, &o, &r, &e), 0);
	assert_true(r.table_moved);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

/* --------------------------------------------------------- a full disk -- */

struct full {
	int64_t left; /* bytes the file may still grow */
	struct memfile *m;
	uint64_t end;
};

static int full_hook(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct full *f = ctx;
	uint64_t end = op == MEMFILE_TRUNCATE ? off : off + len;

	if (op == MEMFILE_WRITE && end > f->end + (uint64_t)f->left)
		return -ENOSPC;
	return 0;
}

static void a_full_disk_leaves_the_old_size(void **state)
{
	static const int64_t room[] = {0, 512, 1024, 4096, 8192};
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		struct memfile *m =
			i < 5 ? dense_image(&rnd) : fixed_image(&rnd);
		struct full full = {room[i % 5], m, memfile_len(m)};
		uint64_t size, before = memfile_len(m);
		uint8_t *was = content(m, &size);
		struct vhd_err e;

		memfile_set_hook(m, full_hook, &full);
		assert_refused(resize_on(memfile_file(m), 9000 * BLOCK, false,
					 NULL, &e),
			       &e, ENOSPC, VHD_WHY_NO_SPACE);
		memfile_set_hook(m, NULL, NULL);
		holds(m, was, size, size);
		is_clean(m, size);
		assert_true(memfile_len(m) < before + 4096);
		free(was);
		memfile_destroy(m);
	}
}

/* Each call to the medium fails once: an error is told, and the disk is the
 * old one or the new one.
 */
struct nth {
	uint64_t left;
};

static int nth_hook(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct nth *n = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_READ || op == MEMFILE_SIZE)
		return 0;
	return n->left-- == 0 ? -EIO : 0;
}

static void each_failing_call_is_told_and_leaves_a_disk(void **state)
{
	static const uint64_t to[] = {900 * BLOCK, 100 * 512};
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		bool done = false;

		for (uint64_t k = 0; !done; k++) {
			struct memfile *m =
				i < 2 ? dense_image(&rnd) : fixed_image(&rnd);
			struct cut c = {.new = to[i % 2], .fixed = i >= 2};
			uint8_t *was = content(m, &c.old);
			struct nth nth = {k};
			struct vhd_err e = {0};

			c.was = was;
			memfile_set_hook(m, nth_hook, &nth);
			done = !resize_on(memfile_file(m), c.new, true, NULL,
					  &e);
			memfile_set_hook(m, NULL, NULL);
			if (!done) {
				assert_true(e.code < 0 && e.text[0]);
				check_cut(&c, m, k);
			}
			free(was);
			memfile_destroy(m);
		}
	}
}

/* -------------------------------------------------------- the caller's say --
 */

struct say {
	int calls[3];
	int refuse_at; /* a moment, or -1 */
	uint64_t sizes[3];
	uint64_t mark; /* written before and after, at this place */
	struct vhd_resize_free gone;
};

static int say(void *ctx, enum vhd_resize_moment moment, struct vhd *img,
	       const struct vhd_resize_result *plan,
	       struct vhd_resize_free *gone, struct vhd_err *err)
{
	struct say *s = ctx;
	uint8_t b[512];

	s->calls[moment]++;
	s->sizes[moment] = vhd_get_info(img)->size_bytes;
	assert_true(plan->new_size_bytes != plan->old_size_bytes);
	assert_int_equal(gone != NULL, moment == VHD_RESIZE_LOOK);
	if (gone)
		*gone = s->gone;
	if ((int)moment == s->refuse_at)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0, "no");
	memset(b, 0x55, sizeof(b));
	if (moment != VHD_RESIZE_LOOK)
		return vhd_write(img, s->mark * moment, b, sizeof(b), err);
	return 0;
}

static void the_caller_is_asked_at_three_moments(void **state)
{
	struct say s = {.refuse_at = VHD_RESIZE_LOOK, .mark = 512};
	struct vhd_resize_opts o = {
		.size_bytes = 90 * MIB,
		.write = true,
		.disk = say,
		.ctx = &s,
	};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	uint8_t b[1024], want[1024];
	struct vhd_err e;
	struct vhd *img;

	(void)state;
	refuses(m, &o, EUCLEAN, VHD_WHY_UNSUPPORTED);
	s.refuse_at = -1;
	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	assert_int_equal(s.calls[VHD_RESIZE_LOOK], 2);
	assert_int_equal(s.calls[VHD_RESIZE_BEFORE], 1);
	assert_int_equal(s.calls[VHD_RESIZE_AFTER], 1);
	assert_true(s.sizes[VHD_RESIZE_BEFORE] == 4 * MIB);
	assert_true(s.sizes[VHD_RESIZE_AFTER] == 90 * MIB);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, 512, b, 1024, &e), 0);
	memset(want, 0x55, sizeof(want));
	assert_memory_equal(b, want, sizeof(b));
	vhd_abandon(img);
	memfile_destroy(m);
}

static void what_the_caller_calls_free_does_not_count_as_data(void **state)
{
	struct say s = {.refuse_at = -1, .mark = 512};
	struct vhd_resize_opts o = {
		.size_bytes = 2 * MIB,
		.write = true,
		.shrink = true,
		.disk = say,
		.ctx = &s,
	};
	struct memfile *m = img_three(); /* blocks 0, 2, 3 */
	struct vhd_file f = memfile_file(m);
	struct vhd_err e;

	(void)state;
	s.gone = (struct vhd_resize_free){2 * MIB + 512, 2 * MIB - 512};
	refuses(m, &o, EUCLEAN, VHD_WHY_DATA_BEHIND);
	s.gone = (struct vhd_resize_free){2 * MIB, 2 * MIB - 512};
	refuses(m, &o, EUCLEAN, VHD_WHY_DATA_BEHIND);
	s.gone = (struct vhd_resize_free){2 * MIB, 2 * MIB};
	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_stays_and_new_space_is_zero),
		cmocka_unit_test(what_was_cut_off_does_not_come_back),
		cmocka_unit_test(
			a_power_cut_leaves_the_old_disk_or_the_new_one),
		cmocka_unit_test(finishing_may_be_interrupted_too),
		cmocka_unit_test(a_batmap_moves_with_a_longer_table),
		cmocka_unit_test(a_batmap_survives_a_power_cut),
		cmocka_unit_test(geometry_and_footer_follow_and_the_rest_stays),
		cmocka_unit_test(
			what_makes_no_sense_is_refused_and_changes_nothing),
		cmocka_unit_test(the_limit_itself_is_reached),
		cmocka_unit_test(a_plan_writes_nothing),
		cmocka_unit_test(a_full_disk_leaves_the_old_size),
		cmocka_unit_test(each_failing_call_is_told_and_leaves_a_disk),
		cmocka_unit_test(the_caller_is_asked_at_three_moments),
		cmocka_unit_test(
			what_the_caller_calls_free_does_not_count_as_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
