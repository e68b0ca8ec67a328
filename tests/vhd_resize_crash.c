/* SPDX-License-Identifier: BSD-2-Clause */
/* Resizing that is cut short: each state that a power cut, a full disk or a
 * failing call leaves is the old disk or the new one and can be taken further.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/resizeimg.h"
#include "vhd/repair.h"

#define CUTS 4 /* random subsets for each crash point */

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
	uint8_t *b = disk_content(m, &size);

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
	disk_holds(again, c->was, c->old, c->new);
	disk_is_clean(again, c->new);
	memfile_destroy(again);

	if (vhd_repair_file(&f, NULL, &ro, NULL, &e))
		fail_msg("at event %zu: %s", n, e.text);
	if (c->new > c->old)
		exact.fixed = false; /* nothing is left inside it now */
	old_or_new(&exact, fixed, n);
	must_resize(fixed, c->new);
	disk_holds(fixed, c->was, c->old, c->new);
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
	disk_holds(m, c->was, c->old, c->new);
	disk_is_clean(m, c->new);
}

static void cut_everywhere(struct memfile *m, uint64_t to, int cuts,
			   uint64_t *rnd)
{
	struct recfile *rec = recfile_create(m);
	struct cut c = {.new = to};
	uint8_t *was = disk_content(m, &c.old);
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
	for (size_t i = 0; i < RESIZE_SOURCES; i++)
		for (const uint64_t *to = resize_sources[i].sizes; *to; to++) {
			print_message("%s to %llu\n", resize_sources[i].what,
				      (unsigned long long)*to);
			cut_everywhere(resize_sources[i].make(&rnd), *to, CUTS,
				       &rnd);
		}
}

/* Opening for writing, while it finishes a resize, is cut off as well. */
static void finishing_may_be_interrupted_too(void **state)
{
	uint64_t rnd = random_seed();
	static const uint64_t to[] = {400 * 512, 100 * 512};

	(void)state;
	for (size_t i = 0; i < RESIZE_SOURCES * 2; i++) {
		struct memfile *m = resize_sources[i / 2].make(&rnd);
		struct recfile *rec = recfile_create(m);
		struct cut c = {.new = to[i % 2]};
		uint8_t *was = disk_content(m, &c.old);
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
		uint8_t *was = disk_content(m, &size);
		struct vhd_err e;

		memfile_set_hook(m, full_hook, &full);
		assert_refused(resize_on(memfile_file(m), 9000 * BLOCK, false,
					 NULL, &e),
			       &e, ENOSPC, VHD_WHY_NO_SPACE);
		memfile_set_hook(m, NULL, NULL);
		disk_holds(m, was, size, size);
		disk_is_clean(m, size);
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
			uint8_t *was = disk_content(m, &c.old);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_power_cut_leaves_the_old_disk_or_the_new_one),
		cmocka_unit_test(finishing_may_be_interrupted_too),
		cmocka_unit_test(a_batmap_survives_a_power_cut),
		cmocka_unit_test(a_full_disk_leaves_the_old_size),
		cmocka_unit_test(each_failing_call_is_told_and_leaves_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
