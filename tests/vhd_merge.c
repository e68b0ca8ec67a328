/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/merge*.c over images in memory: the target becomes what the chain was,
 * the chain reads the same at every instant whatever the machine does, and
 * what cannot be done is refused before a byte changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/lib/cm.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/stack.h"
#include "vhd/merge_int.h"

#define KIB 1024u

/* ------------------------------------------------------------- helpers -- */

/* Layer `at`, to be written on the medium `f`, over the layers below it. */
static struct vhd *target_open(struct memfile *const *m, unsigned at,
			       struct vhd_file f)
{
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_open_file(&f, &o, &img, &e))
		fail_msg("the target does not open: %s", e.text);
	if (at && vhd_chain_set_parent(img, stack_open(m, 0, at - 1), &e))
		fail_msg("the target is nobody's child: %s", e.text);
	return img;
}

static const struct vhd_merge_opts sync_engine = {
	.engine = VHD_ENGINE_SYNC,
};

/* Layers above `at` into the medium `f`, which is layer `at`'s. */
static int merge_into(struct memfile *const *m, unsigned at, unsigned top,
		      struct vhd_file f, const struct vhd_merge_opts *o,
		      struct vhd_merge_result *r, struct vhd_err *err)
{
	struct vhd *upper = stack_open(m, at + 1, top);
	struct vhd *target = target_open(m, at, f);
	struct vhd_err late;
	int rc = merge_room(upper, target, false, r, err);

	if (!rc)
		rc = merge_copy(upper, target, o, r, err);
	if (vhd_close(target, &late) && !rc)
		fail_msg("closing the target: %s", late.text);
	vhd_abandon(upper);
	return rc;
}

static void merge_down(struct memfile *const *m, unsigned at, unsigned top,
		       struct vhd_merge_result *r)
{
	struct vhd_err e;

	if (merge_into(m, at, top, memfile_file(m[at]), &sync_engine, r, &e))
		fail_msg("%s", e.text);
}

static void merge_all(struct memfile *const *m, unsigned top,
		      struct vhd_merge_result *r)
{
	merge_down(m, 0, top, r);
}

static void judge(const struct stack *s, unsigned low, unsigned top,
		  const char *when)
{
	const char *fault = stack_judge(s->m, low, top, s->model, s->size);

	if (fault)
		fail_msg("%s: %s", when, fault);
}

static uint32_t base_type(uint64_t *rnd)
{
	return random_below(rnd, 3) ? IMG_TYPE_DYNAMIC : IMG_TYPE_FIXED;
}

/* Sectors that one of the layers above `at` holds. */
static uint64_t held_sectors(const struct stack *s, unsigned at)
{
	uint8_t *held = calloc(1, s->size / 512);
	uint64_t sum = 0;

	for (unsigned i = at + 1; i < s->count; i++) {
		struct vhd *img = stack_open(s->m, i, i);
		struct vhd_run run;

		for (uint64_t lba = 0; lba < s->size / 512; lba++) {
			assert_int_equal(vhd_map(img, lba, 1, &run, NULL), 0);
			held[lba] |= run.kind == VHD_RUN_FILE;
		}
		vhd_abandon(img);
	}
	for (uint64_t lba = 0; lba < s->size / 512; lba++)
		sum += held[lba];
	free(held);
	return sum;
}

/* ------------------------------------------------------------- results -- */

static void the_target_becomes_what_the_chain_was(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (int i = 0; i < 150; i++) {
		unsigned n = 2 + (unsigned)random_below(&rnd, STACK_MAX - 1);
		unsigned at = (unsigned)random_below(&rnd, n - 1);
		struct stack s, before;
		struct vhd_merge_result r;

		stack_random(&s, n, base_type(&rnd),
			     512 * (1 + random_below(&rnd, 900)), &rnd);
		stack_clone(&before, &s);
		merge_down(s.m, at, n - 1, &r);
		judge(&s, 0, at, "the target");
		judge(&s, 0, n - 1, "the chain");
		for (unsigned k = 0; k < n; k++)
			assert_true(k == at ||
				    memfile_equal(s.m[k], before.m[k]));
		assert_int_equal(stack_errors(s.m[at]), 0);
		assert_int_equal(r.layers, n - 1 - at);
		assert_int_equal(r.held_bytes, held_sectors(&before, at) * 512);
		assert_int_equal(r.write_bytes + r.zero_bytes, r.held_bytes);
		stack_free(&s);
		stack_free(&before);
	}
}

static void all_engines_merge_the_same(void **state)
{
	(void)state;
	static const enum vhd_engine engines[] = {VHD_ENGINE_AUTO,
						  VHD_ENGINE_SYNC};
	uint64_t rnd = random_seed();
	struct stack s;

	stack_random(&s, 4, IMG_TYPE_DYNAMIC, 3000 * KIB + 512, &rnd);
	for (unsigned i = 0; i < 2; i++) {
		struct stack c;
		struct vhd_merge_result r;
		struct vhd_merge_opts o = {.engine = engines[i]};
		struct vhd_err e;
		int rc;

		stack_clone(&c, &s);
		rc = merge_into(c.m, 0, 3, memfile_file(c.m[0]), &o, &r, &e);
		/* io_uring cannot serve a medium without a descriptor. */
		if (engines[i] == VHD_ENGINE_SYNC || !rc)
			judge(&c, 0, 0, "the target");
		stack_free(&c);
	}
	stack_free(&s);
}

static void a_merge_done_again_changes_nothing(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_result r;
	struct memfile *once;
	struct stack s;

	stack_random(&s, 3, IMG_TYPE_DYNAMIC, 500 * KIB, &rnd);
	merge_all(s.m, 2, &r);
	once = memfile_clone(s.m[0]);
	merge_all(s.m, 2, &r);
	assert_int_equal(r.new_blocks, 0);
	assert_true(memfile_equal(once, s.m[0]));
	memfile_destroy(once);
	stack_free(&s);
}

/* Blocks of 16 KiB; the child holds zeros in 0, data in 1, zeros in 2, of
 * which the target has 2.
 */
static void zeros_are_written_only_where_something_else_is(void **state)
{
	(void)state;
	static const uint32_t have[] = {2}, held[] = {0, 1, 2};
	static const uint8_t zeros[16 * KIB];
	struct memfile *m[2];
	struct vhd_merge_result r;
	struct vhd *upper, *target;
	uint8_t id[16], model[64 * KIB] = {0};
	struct vhd_err e;

	diff_id(id, 0);
	m[0] = img_dynamic(64 * KIB, 16 * KIB, have, 1);
	img_footers(m[0], IMG_F_ID, id, 16);
	m[1] = img_dynamic(64 * KIB, 16 * KIB, held, 3);
	img_footers32(m[1], IMG_F_TYPE, IMG_TYPE_DIFF);
	diff_parent_id(m[1], id);
	for (unsigned k = 0; k < 3; k += 2)
		assert_int_equal(
			memfile_poke(m[1], zeros, sizeof(zeros),
				     img_place(64 * KIB, 16 * KIB, k) + 512),
			0);
	memset(model + 16 * KIB, img_byte(1), 16 * KIB);
	upper = stack_open(m, 1, 1);
	target = stack_open(m, 0, 0);
	assert_int_equal(merge_plan(upper, target, false, &r, &e), 0);
	assert_int_equal(r.new_blocks, 2);
	assert_int_equal(r.write_bytes, 48 * KIB);
	assert_int_equal(merge_plan(upper, target, true, &r, &e), 0);
	assert_int_equal(r.new_blocks, 1);
	assert_int_equal(r.write_bytes, 32 * KIB);
	assert_int_equal(r.zero_bytes, 16 * KIB);
	assert_int_equal(r.need_bytes, 20 * KIB);
	vhd_abandon(upper);
	vhd_abandon(target);
	merge_all(m, 1, &r);
	assert_int_equal(r.new_blocks, 1);
	assert_int_equal(r.write_bytes, 32 * KIB);
	assert_int_equal(r.zero_bytes, 16 * KIB);
	assert_null(stack_judge(m, 0, 0, model, sizeof(model)));
	memfile_destroy(m[0]);
	memfile_destroy(m[1]);
}

static void the_plan_says_what_then_happens(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (int i = 0; i < 60; i++) {
		unsigned n = 2 + (unsigned)random_below(&rnd, 3);
		unsigned at = (unsigned)random_below(&rnd, n - 1);
		struct vhd_merge_result rough, exact, done;
		struct vhd *upper, *target;
		struct stack s;
		struct vhd_err e;

		stack_random(&s, n, base_type(&rnd),
			     512 * (1 + random_below(&rnd, 900)), &rnd);
		upper = stack_open(s.m, at + 1, n - 1);
		target = stack_open(s.m, 0, at);
		assert_int_equal(merge_plan(upper, target, false, &rough, &e),
				 0);
		assert_int_equal(merge_plan(upper, target, true, &exact, &e),
				 0);
		vhd_abandon(upper);
		vhd_abandon(target);
		merge_down(s.m, at, n - 1, &done);
		assert_int_equal(exact.held_bytes, done.held_bytes);
		assert_int_equal(exact.write_bytes, done.write_bytes);
		assert_int_equal(exact.zero_bytes, done.zero_bytes);
		assert_int_equal(exact.new_blocks, done.new_blocks);
		assert_int_equal(exact.new_file_bytes, memfile_len(s.m[at]));
		assert_true(rough.new_blocks >= exact.new_blocks);
		assert_true(rough.need_bytes >= exact.need_bytes);
		assert_int_equal(rough.held_bytes, exact.held_bytes);
		stack_free(&s);
	}
}

/* ------------------------------------------------------------- crashes -- */

/* One state of the target's medium: the chain reads as ever, and the merge,
 * run again, comes to its end. Takes `cut`.
 */
static void check_state(const struct stack *s, unsigned at, struct memfile *cut,
			size_t n)
{
	struct vhd_merge_result r;
	struct stack now = *s;
	char when[64];

	now.m[at] = cut;
	snprintf(when, sizeof(when), "the chain at event %zu", n);
	judge(&now, 0, s->count - 1, when);
	merge_down(now.m, at, s->count - 1, &r);
	snprintf(when, sizeof(when), "merged again at event %zu", n);
	judge(&now, 0, at, when);
	assert_int_equal(stack_errors(cut), 0);
	memfile_destroy(cut);
}

/* Returns how many events there were. */
static size_t cut_everywhere(uint32_t type, unsigned count, unsigned at,
			     unsigned cuts, uint64_t *rnd)
{
	struct vhd_merge_result r;
	struct recfile *rec;
	struct vhd_err e;
	struct stack s;
	size_t events;

	stack_random(&s, count, type, 512 * (100 + random_below(rnd, 200)),
		     rnd);
	rec = recfile_create(s.m[at]);
	if (merge_into(s.m, at, count - 1, recfile_file(rec), &sync_engine, &r,
		       &e))
		fail_msg("%s", e.text);
	judge(&s, 0, at, "without a cut");
	events = recfile_count(rec);
	for (size_t n = 0; n <= events; n++) {
		check_state(&s, at, recfile_prefix(rec, n), n);
		for (unsigned c = 0; c < cuts; c++)
			check_state(&s, at,
				    recfile_cut(rec, n, random_next(rnd)), n);
	}
	recfile_destroy(rec);
	stack_free(&s);
	return events;
}

static void a_power_cut_anywhere_leaves_the_disk_as_it_was(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	size_t events = 0;

	for (unsigned i = 0; i < 10; i++) {
		events +=
			cut_everywhere(IMG_TYPE_DYNAMIC, 2 + i % 3, 0, 3, &rnd);
		events +=
			cut_everywhere(IMG_TYPE_DYNAMIC, 3 + i % 2, 1, 3, &rnd);
		events += cut_everywhere(IMG_TYPE_FIXED, 2, 0, 1, &rnd);
	}
	assert_true(events > 100);
}

struct fault {
	uint64_t left; /* operations until it strikes; then for good */
	int code;
	bool struck;
};

static int strike(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct fault *f = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_READ || op == MEMFILE_SIZE)
		return 0;
	if (f->left && --f->left)
		return 0;
	f->struck = true;
	return f->code;
}

/* The n-th change of the target's medium fails, and all that follow. True if
 * it came to that.
 */
static bool fault_at(const struct stack *s, unsigned at, uint64_t n, int code)
{
	struct fault f = {.left = n, .code = code};
	struct vhd *upper = stack_open(s->m, at + 1, s->count - 1), *target;
	struct vhd_merge_result r;
	struct stack c;
	struct vhd_err e;
	int rc, closed;

	stack_clone(&c, s);
	target = target_open(c.m, at, memfile_file(c.m[at]));
	memfile_set_hook(c.m[at], strike, &f);
	rc = merge_copy(upper, target, &sync_engine, &r, &e);
	closed = vhd_close(target, NULL);
	memfile_set_hook(c.m[at], NULL, NULL);
	vhd_abandon(upper);
	assert_int_equal(f.struck, rc || closed);
	if (rc)
		assert_int_equal(e.code, code);
	judge(&c, 0, s->count - 1, "after a fault");
	merge_down(c.m, at, s->count - 1, &r);
	judge(&c, 0, at, "run again");
	stack_free(&c);
	return f.struck;
}

static void any_fault_of_the_medium_leaves_the_disk_as_it_was(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (unsigned at = 0; at < 3; at++) {
		struct stack s;
		uint64_t n = 1;

		stack_random(&s, at + 3, IMG_TYPE_DYNAMIC, 200 * KIB, &rnd);
		while (fault_at(&s, at, n, -EIO))
			fault_at(&s, at, n++, -ENOSPC);
		stack_free(&s);
	}
}

struct watch {
	unsigned calls;
	unsigned stop_at;
	uint64_t last;
};

static int watched(void *ctx, uint64_t pos_bytes, uint64_t moved_bytes)
{
	struct watch *w = ctx;

	assert_true(pos_bytes >= w->last);
	assert_true(moved_bytes <= pos_bytes);
	w->last = pos_bytes;
	return ++w->calls == w->stop_at;
}

static void a_merge_may_be_stopped_at_any_turn(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct stack s;

	stack_random(&s, 3, IMG_TYPE_DYNAMIC, 3000 * KIB, &rnd);
	for (unsigned n = 1;; n++) {
		struct watch w = {.stop_at = n};
		struct vhd_merge_opts o = {
			.engine = VHD_ENGINE_SYNC,
			.progress = watched,
			.ctx = &w,
		};
		struct vhd_merge_result r;
		struct stack c;
		struct vhd_err e;
		int rc;

		stack_clone(&c, &s);
		rc = merge_into(c.m, 0, 2, memfile_file(c.m[0]), &o, &r, &e);
		judge(&c, 0, 2, "stopped");
		assert_int_equal(stack_errors(c.m[0]), 0);
		if (rc) {
			assert_refused(rc, &e, ECANCELED, VHD_WHY_CANCELLED);
			merge_all(c.m, 2, &r);
		}
		judge(&c, 0, 0, "gone on with");
		stack_free(&c);
		if (!rc)
			break;
	}
	stack_free(&s);
}

/* ---------------------------------------------------------------- room -- */

/* A dynamic target whose last block ends so that `room` more blocks fit
 * before the format's reach; the child holds `held` blocks that it lacks.
 */
static int plan_near_the_end(unsigned room, uint32_t held,
			     struct vhd_merge_result *r, struct vhd_err *e)
{
	const uint32_t block = 2u << 20, first[] = {0};
	const uint64_t size = 16ull * block, stride = block + 4096;
	const uint64_t reach = 1ull << 41;
	/* data 4 KiB-aligned, the footer in the last sector of the reach */
	uint64_t data = reach - 4096 - room * stride - block;
	uint32_t order[16];
	uint8_t id[16], footer[512];
	struct memfile *m[2];
	struct vhd *upper, *target;
	int rc;

	diff_id(id, 0);
	m[0] = img_bare(size, block, first, 1);
	img_footers(m[0], IMG_F_ID, id, 16);
	memfile_peek(m[0], footer, 512, 0);
	memfile_resize(m[0], data + block + 4096);
	assert_int_equal(
		memfile_poke(m[0], footer, 512, data + block + 4096 - 512), 0);
	img_bat(m[0], 0, (uint32_t)((data - 512) / 512));
	for (uint32_t i = 0; i < held; i++)
		order[i] = i + 1;
	m[1] = img_dynamic(size, block, order, held);
	img_footers32(m[1], IMG_F_TYPE, IMG_TYPE_DIFF);
	diff_parent_id(m[1], id);
	upper = stack_open(m, 1, 1);
	target = target_open(m, 0, memfile_file(m[0]));
	rc = merge_room(upper, target, false, r, e);
	if (!rc)
		rc = merge_copy(upper, target, &sync_engine, r, e);
	vhd_abandon(target);
	vhd_abandon(upper);
	memfile_destroy(m[0]);
	memfile_destroy(m[1]);
	return rc;
}

static void the_formats_reach_is_counted_to_the_block(void **state)
{
	(void)state;
	struct vhd_merge_result r;
	struct vhd_err e;

	for (unsigned room = 0; room < 3; room++) {
		if (room) {
			assert_int_equal(plan_near_the_end(room, room, &r, &e),
					 0);
			assert_int_equal(r.new_blocks, room);
		}
		assert_refused(plan_near_the_end(room, room + 1, &r, &e), &e,
			       EFBIG, VHD_WHY_NO_SPACE);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(the_target_becomes_what_the_chain_was),
		T(all_engines_merge_the_same),
		T(a_merge_done_again_changes_nothing),
		T(zeros_are_written_only_where_something_else_is),
		T(the_plan_says_what_then_happens),
		T(a_power_cut_anywhere_leaves_the_disk_as_it_was),
		T(any_fault_of_the_medium_leaves_the_disk_as_it_was),
		T(a_merge_may_be_stopped_at_any_turn),
		T(the_formats_reach_is_counted_to_the_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
