/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/written.c and commit.c on differencing disks: what reaches the medium in
 * which order, and what a flush promises where others overlap it.
 */
#include "tests/lib/childpair.h"
#include "tests/lib/random.h"

/* ---------------------------------------------------------------- flushes -- */

static void begin(struct pair *p, struct vhd_commit *c)
{
	struct vhd_err e;

	*c = (struct vhd_commit){0};
	assert_int_equal(vhd_commit_begin(p->img, c, &e), 0);
	assert_int_equal(vhd_file_flush(vhd_get_file(p->img), &e), 0);
}

static void publish(struct pair *p, struct vhd_commit *c)
{
	struct vhd_err e;

	assert_int_equal(vhd_commit_publish(p->img, c, &e), 0);
}

static void finish(struct pair *p, struct vhd_commit *c)
{
	struct vhd_err e;

	assert_int_equal(vhd_file_flush(vhd_get_file(p->img), &e), 0);
	vhd_commit_end(p->img, c);
	vhd_commit_fini(c);
}

static void bits_set_after_the_begin_wait_for_the_next_flush(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_commit c;

	pair_make(&p, MIB, 64 * KIB);
	put(&p, 8, 1);
	begin(&p, &c);
	put(&p, 9, 1);
	put(&p, 200, 1);
	publish(&p, &c);
	assert_true(bit_on_medium(&p, 8));
	assert_false(bit_on_medium(&p, 9));
	finish(&p, &c);
	begin(&p, &c);
	assert_true(vhd_commit_needed(p.img, &c));
	publish(&p, &c);
	assert_true(bit_on_medium(&p, 9) && bit_on_medium(&p, 200));
	finish(&p, &c);
	begin(&p, &c);
	assert_false(vhd_commit_needed(p.img, &c));
	vhd_commit_fini(&c);
	pair_free(&p);
}

static void overlapping_flushes_may_publish_in_any_order(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_commit a, b, c;
	size_t n;

	pair_make(&p, MIB, 64 * KIB);
	put(&p, 8, 1);
	begin(&p, &a);
	put(&p, 9, 1);
	begin(&p, &b);
	put(&p, 10, 1);
	publish(&p, &b);
	assert_true(bit_on_medium(&p, 8) && bit_on_medium(&p, 9));
	n = recfile_count(p.rec);
	publish(&p, &a); /* nothing is left for it, and nothing goes back */
	assert_int_equal(recfile_count(p.rec), n);
	assert_true(bit_on_medium(&p, 9));
	assert_false(bit_on_medium(&p, 10));
	/* published by `b`, but no sync is through yet */
	begin(&p, &c);
	assert_true(vhd_commit_needed(p.img, &c));
	finish(&p, &a);
	assert_true(vhd_commit_needed(p.img, &b));
	finish(&p, &b);
	assert_true(vhd_commit_needed(p.img, &c));
	publish(&p, &c);
	assert_true(bit_on_medium(&p, 10));
	finish(&p, &c);
	pair_free(&p);
}

static void bits_that_only_await_a_sync_are_not_taken_for_durable(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_commit a, b;

	pair_make(&p, MIB, 64 * KIB);
	put(&p, 8, 1);
	begin(&p, &a);
	publish(&p, &a);
	assert_true(vhd_write_needs_flush(p.img, 8, 1));
	begin(&p, &b);
	assert_true(vhd_commit_needed(p.img, &b));
	finish(&p, &a);
	assert_false(vhd_write_needs_flush(p.img, 8, 1));
	assert_true(vhd_write_needs_flush(p.img, 8, 2));
	finish(&p, &b);
	pair_free(&p);
}

static void a_full_block_becomes_whole_when_that_is_durable(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_err e;

	pair_make(&p, 100 * KIB, 64 * KIB);
	put(&p, 0, 64);
	assert_int_equal(vhd_flush(p.img, &e), 0);
	assert_int_equal(p.img->state[0], VHD_BLOCK_PARTIAL);
	put(&p, 64, 64);
	put(&p, 128, 72); /* the second one has only 72 sectors */
	assert_int_equal(p.img->state[0], VHD_BLOCK_PARTIAL);
	assert_int_equal(vhd_flush(p.img, &e), 0);
	assert_int_equal(p.img->state[0], VHD_BLOCK_WHOLE);
	assert_int_equal(p.img->state[1], VHD_BLOCK_WHOLE);
	assert_null(p.img->bits_head);
	assert_int_equal(p.img->bits_bytes, 0);
	pair_close(&p);
	p.img = link_on(memfile_file(p.top), p.base, true);
	for (uint64_t lba = 0; lba < 200; lba++)
		expect(&p, lba, NEW);
	assert_int_equal(p.img->state[0], VHD_BLOCK_WHOLE);
	pair_free(&p);
}

/* Blocks of 8 MiB have four sectors of bitmap. */
static void only_changed_sectors_of_a_bitmap_are_written(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_commit c;
	const struct rec_event *ev;
	size_t n;

	pair_make(&p, 8 * MIB, 8 * MIB);
	put(&p, 0, 1);
	begin(&p, &c);
	publish(&p, &c);
	finish(&p, &c);
	put(&p, 4096, 1);
	put(&p, 3 * 4096 + 5, 9);
	begin(&p, &c);
	n = recfile_count(p.rec);
	publish(&p, &c);
	assert_int_equal(recfile_count(p.rec), n + 2);
	ev = recfile_event(p.rec, n);
	assert_int_equal(ev->len, 512);
	assert_int_equal(recfile_event(p.rec, n + 1)->off, ev->off + 1024);
	finish(&p, &c);
	pair_free(&p);
}

/* ----------------------------------------------------------------- order -- */

struct written {
	bool data[4096];     /* of this lba, written at all */
	bool synced[4096];   /* ... and covered by a sync */
};

/* Look at a write to a bitmap: each new bit's data must be durable. */
static void bits_are_due(struct pair *p, const struct rec_event *ev,
			 uint32_t block, const struct written *w)
{
	for (uint32_t i = 0; i < ev->len * 8; i++) {
		uint64_t lba = (uint64_t)block * (p->block / 512) + i;

		if (ev->data[i / 8] & (0x80 >> i % 8))
			assert_true(lba < 4096 && w->synced[lba]);
	}
}

static void no_bit_precedes_the_sync_of_its_data(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct written *w = calloc(1, sizeof(*w));
	uint64_t place[32]; /* of each block's bitmap */
	uint64_t flushes = 0;
	struct pair p;
	struct vhd_err e;

	assert_non_null(w);
	pair_make(&p, 2 * MIB, 64 * KIB);
	for (uint32_t i = 0; i < 300; i++) {
		put(&p, random_below(&rnd, 4096 - 8),
		    1 + (uint32_t)random_below(&rnd, 8));
		if (i % 7 == 6)
			assert_int_equal(vhd_flush(p.img, &e), 0);
	}
	assert_int_equal(vhd_flush(p.img, &e), 0);
	for (uint32_t b = 0; b < 32; b++)
		place[b] = (uint64_t)p.img->bat[b] * 512;
	for (size_t i = 0; i < recfile_count(p.rec); i++) {
		const struct rec_event *ev = recfile_event(p.rec, i);

		if (ev->kind == REC_FLUSH) {
			memcpy(w->synced, w->data, sizeof(w->synced));
			flushes++;
		}
		for (uint32_t b = 0; b < 32 && ev->kind == REC_WRITE; b++) {
			uint64_t data = place[b] + 512;

			if (ev->off == place[b])
				bits_are_due(&p, ev, b, w);
			if (ev->off >= data && ev->off < data + p.block)
				memset(w->data + b * 128 +
					       (ev->off - data) / 512,
				       1, ev->len / 512);
		}
	}
	assert_true(flushes > 50);
	pair_free(&p);
	free(w);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(bits_set_after_the_begin_wait_for_the_next_flush),
		T(overlapping_flushes_may_publish_in_any_order),
		T(bits_that_only_await_a_sync_are_not_taken_for_durable),
		T(a_full_block_becomes_whole_when_that_is_durable),
		T(only_changed_sectors_of_a_bitmap_are_written),
		T(no_bit_precedes_the_sync_of_its_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
