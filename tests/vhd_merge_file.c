/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd_merge on files: which layer it goes into, what it leaves on the disk,
 * and what it refuses while every file is still as it was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/scratch.h"
#include "tests/lib/stack.h"
#include "vhd/locator.h"

#define KIB    1024u
#define LAYERS 4u

/* Files 0.vhd, the lowest, to 3.vhd, and what they hold. */
struct place {
	struct scratch scratch;
	struct stack s;
};

static void place_save(struct place *p)
{
	char name[32];

	for (unsigned i = 0; i < p->s.count; i++) {
		snprintf(name, sizeof(name), "%u.vhd", i);
		diff_save(p->s.m[i], name);
	}
}

static void place_make(struct place *p, uint32_t type, uint64_t *rnd)
{
	char name[32];

	scratch_enter(&p->scratch, "merge", false);
	stack_random(&p->s, LAYERS, type, 400 * KIB + 512, rnd);
	for (unsigned i = 1; i < LAYERS; i++) {
		snprintf(name, sizeof(name), "%u.vhd", i - 1);
		diff_locator_text(p->s.m[i], 0, VHD_LOCATOR_W2RU, name);
	}
	place_save(p);
}

static void place_remove(struct place *p)
{
	stack_free(&p->s);
	scratch_leave(&p->scratch);
}

static struct memfile *load(const char *path)
{
	struct memfile *m = memfile_create();
	FILE *f = fopen(path, "rb");
	uint8_t b[512];
	uint64_t at = 0;

	assert_non_null(m);
	assert_non_null(f);
	while (fread(b, 1, sizeof(b), f) == sizeof(b)) {
		assert_int_equal(memfile_poke(m, b, sizeof(b), at), 0);
		at += sizeof(b);
	}
	fclose(f);
	return m;
}

static void assert_unchanged(const struct place *p, unsigned layer)
{
	struct memfile *now;
	char name[32];

	snprintf(name, sizeof(name), "%u.vhd", layer);
	now = load(name);
	assert_true(memfile_equal(now, p->s.m[layer]));
	memfile_destroy(now);
}

static void assert_all_unchanged(const struct place *p)
{
	for (unsigned i = 0; i < LAYERS; i++)
		assert_unchanged(p, i);
}

/* What the file reads as, through its parents, by itself if it has none. */
static void assert_reads(const char *path, const struct stack *s)
{
	const struct vhd_open_opts o = {.parent_dir = "."};
	uint8_t *b = malloc(s->size);
	struct vhd *img;
	struct vhd_err e;

	if (vhd_open(path, &o, &img, &e))
		fail_msg("%s", e.text);
	assert_non_null(b);
	assert_int_equal(vhd_get_info(img)->size_bytes, s->size);
	assert_int_equal(vhd_read(img, 0, b, s->size, &e), 0);
	assert_memory_equal(b, s->model, s->size);
	vhd_abandon(img);
	free(b);
}

static int merge(const char *path, struct vhd_merge_opts o,
		 struct vhd_merge_result *r, struct vhd_err *e)
{
	if (!o.parent_dir)
		o.parent_dir = ".";
	return vhd_merge(path, &o, r, e);
}

/* --------------------------------------------------------------- where -- */

static void all_layers_go_into_the_lowest(void **state)
{
	(void)state;
	static const enum vhd_engine engines[] = {
		VHD_ENGINE_AUTO, VHD_ENGINE_URING, VHD_ENGINE_AIO,
		VHD_ENGINE_SYNC};
	uint64_t rnd = random_seed();

	for (unsigned i = 0; i < 8; i++) {
		struct vhd_merge_opts o = {
			.all = true, .engine = engines[i / 2], .direct = i % 2};
		struct vhd_merge_result r;
		struct memfile *now;
		struct place p;
		struct vhd_err e;
		int rc;

		place_make(&p, i % 3 ? IMG_TYPE_DYNAMIC : IMG_TYPE_FIXED, &rnd);
		rc = merge("3.vhd", o, &r, &e);
		if (rc != -ENOSYS && rc != -EPERM) {
			if (rc)
				fail_msg("%s", e.text);
			assert_int_equal(r.layers, 3);
			assert_reads("0.vhd", &p.s);
			assert_reads("3.vhd", &p.s);
			for (unsigned k = 1; k < LAYERS; k++)
				assert_unchanged(&p, k);
			now = load("0.vhd");
			assert_int_equal(memfile_len(now), r.new_file_bytes);
			assert_int_equal(stack_errors(now), 0);
			memfile_destroy(now);
		}
		place_remove(&p);
	}
}

static void a_named_layer_is_found_by_its_file(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.into = "link.vhd"};
	struct vhd_merge_result r;
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_int_equal(symlink("0.vhd", "link.vhd"), 0);
	assert_int_equal(merge("3.vhd", o, &r, &e), 0);
	assert_reads("0.vhd", &p.s);
	place_save(&p);
	o.into = "other.vhd";
	diff_save(p.s.m[0], o.into); /* the same disk in another file */
	assert_refused(merge("3.vhd", o, &r, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	o.into = "3.vhd";
	assert_refused(merge("3.vhd", o, &r, &e), &e, EINVAL, VHD_WHY_ARGUMENT);
	o.into = "missing.vhd";
	assert_refused(merge("3.vhd", o, &r, &e), &e, ENOENT, VHD_WHY_SYSTEM);
	assert_all_unchanged(&p);
	place_remove(&p);
}

static void only_a_child_has_something_to_merge(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {0};
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_refused(merge("0.vhd", o, NULL, &e), &e, ENOTSUP,
		       VHD_WHY_UNSUPPORTED);
	assert_int_equal(merge("1.vhd", o, NULL, &e), 0);
	assert_refused(vhd_merge("1.vhd", &o, NULL, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.all = true;
	o.into = "0.vhd";
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	place_remove(&p);
}

/* ------------------------------------------------------------- refusals -- */

static void images_in_use_are_left_alone(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	const struct vhd_open_opts writer = {.writable = true}, reader = {0};
	struct vhd_merge_opts o = {.all = true};
	struct place p;
	struct vhd *held;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_int_equal(vhd_open("0.vhd", &writer, &held, &e), 0);
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EBUSY, VHD_WHY_LOCKED);
	vhd_abandon(held);
	assert_int_equal(vhd_open("0.vhd", &reader, &held, &e), 0);
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EBUSY, VHD_WHY_LOCKED);
	o.dry_run = true;
	assert_int_equal(merge("3.vhd", o, NULL, &e), 0);
	vhd_abandon(held);
	assert_all_unchanged(&p);
	place_remove(&p);
}

static void what_must_not_be_written_to_is_not(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.all = true};
	struct memfile *old;
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_FIXED, &rnd);
	assert_int_equal(truncate("0.vhd", (off_t)(p.s.size + 511)), 0);
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	place_save(&p);
	for (unsigned i = 0; i < LAYERS; i++) {
		static const uint8_t one = 1;
		char name[32];

		old = memfile_clone(p.s.m[i]);
		if (i)
			img_footers(p.s.m[i], IMG_F_SAVED, &one, 1);
		else
			img_set(p.s.m[0], p.s.size, 512, IMG_F_SAVED, &one, 1);
		snprintf(name, sizeof(name), "%u.vhd", i);
		diff_save(p.s.m[i], name);
		assert_refused(merge("3.vhd", o, NULL, &e), &e, EUCLEAN,
			       VHD_WHY_SAVED_STATE);
		assert_all_unchanged(&p);
		memfile_destroy(p.s.m[i]);
		p.s.m[i] = old;
		diff_save(old, name);
	}
	assert_int_equal(merge("3.vhd", o, NULL, &e), 0);
	place_remove(&p);
}

/* Cut a file into NAME.vhd and NAME.v01, the second one not the larger. */
static void split(const char *first, const char *second)
{
	struct memfile *whole = load(first), *part = memfile_create();
	uint64_t len = memfile_len(whole), at = (len + 1023) / 1024 * 512;
	uint8_t b[512];

	assert_non_null(part);
	for (uint64_t i = at; i < len; i += 512) {
		memfile_peek(whole, b, 512, i);
		assert_int_equal(memfile_poke(part, b, 512, i - at), 0);
	}
	diff_save(part, second);
	assert_int_equal(truncate(first, (off_t)at), 0);
	memfile_destroy(part);
	memfile_destroy(whole);
}

static void split_sets_are_brought_down_but_not_written_to(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.into = "0.vhd"};
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_FIXED, &rnd);
	split("0.vhd", "0.v01");
	assert_reads("3.vhd", &p.s);
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	assert_int_equal(merge("1.vhd", o, NULL, &e), -EROFS);
	assert_int_equal(unlink("0.v01"), 0);
	place_save(&p);
	if (memfile_len(p.s.m[3]) > 8192) {
		split("3.vhd", "3.v01");
		o.remove = true;
		assert_refused(merge("3.vhd", o, NULL, &e), &e, ENOTSUP,
			       VHD_WHY_UNSUPPORTED);
		o.remove = false;
		assert_int_equal(merge("3.vhd", o, NULL, &e), 0);
		assert_reads("0.vhd", &p.s);
		assert_reads("3.vhd", &p.s);
	}
	place_remove(&p);
}

/* The child is a block longer than what it builds on. */
static void a_target_of_another_size_is_refused(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.larger_child = true};
	struct memfile *m;
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	m = diff_empty(4, p.s.size + 4096, 4096);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "3.vhd");
	diff_save(m, "4.vhd");
	assert_refused(merge("4.vhd", o, NULL, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	o.all = true;
	assert_refused(merge("4.vhd", o, NULL, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	assert_all_unchanged(&p);
	memfile_destroy(m);
	place_remove(&p);
}

static void a_limit_on_file_sizes_is_seen_before_writing(void **state)
{
	(void)state;
	static const uint32_t all[] = {0, 1, 2, 3, 4, 5, 6};
	struct rlimit old, low;
	struct vhd_merge_opts o = {.dry_run = true};
	struct vhd_merge_result r;
	struct memfile *base = img_dynamic(400 * KIB, 64 * KIB, NULL, 0);
	struct memfile *child = img_dynamic(400 * KIB, 64 * KIB, all, 7);
	struct stack s = {.size = 400 * KIB};
	uint64_t rnd = 1;
	uint8_t id[16];
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_FIXED, &rnd);
	diff_id(id, 0);
	img_footers(base, IMG_F_ID, id, 16);
	img_footers32(child, IMG_F_TYPE, IMG_TYPE_DIFF);
	diff_parent_id(child, id);
	diff_locator_text(child, 0, VHD_LOCATOR_W2RU, "0.vhd");
	diff_save(base, "0.vhd");
	diff_save(child, "1.vhd");
	s.model = malloc(s.size);
	assert_non_null(s.model);
	for (size_t i = 0; i < s.size; i++)
		s.model[i] = img_byte((uint32_t)(i / (64 * KIB)));
	assert_int_equal(merge("1.vhd", o, &r, &e), 0);
	assert_int_equal(r.new_blocks, 7);
	o.dry_run = false;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = (struct rlimit){r.new_file_bytes - 1, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_refused(merge("1.vhd", o, &r, &e), &e, EFBIG, VHD_WHY_NO_SPACE);
	low.rlim_cur++;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(merge("1.vhd", o, &r, &e), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_reads("0.vhd", &s);
	memfile_destroy(base);
	memfile_destroy(child);
	free(s.model);
	place_remove(&p);
}

/* ------------------------------------------------------- what is asked -- */

struct asked {
	unsigned plans;
	uint32_t layers;
	char paths[LAYERS][64];
	struct vhd_merge_result plan;
	int answer;
};

static int planned(void *ctx, const struct vhd_layer *layers,
		   const struct vhd_merge_result *plan)
{
	struct asked *a = ctx;

	a->plans++;
	a->layers = plan->layers;
	a->plan = *plan;
	for (unsigned i = 0; i <= plan->layers; i++)
		snprintf(a->paths[i], sizeof(a->paths[i]), "%s",
			 strrchr(layers[i].path, '/') + 1);
	return a->answer;
}

static void the_caller_sees_the_plan_and_may_end_it(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct asked a = {.answer = 1};
	struct vhd_merge_opts o = {.all = true, .planned = planned, .ctx = &a};
	struct vhd_merge_result r;
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_refused(merge("3.vhd", o, &r, &e), &e, ECANCELED,
		       VHD_WHY_CANCELLED);
	assert_all_unchanged(&p);
	assert_int_equal(a.plans, 1);
	assert_int_equal(a.layers, 3);
	for (unsigned i = 0; i < LAYERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u.vhd", LAYERS - 1 - i);
		assert_string_equal(a.paths[i], name);
	}
	a.answer = 0;
	o.dry_run = o.remove = true;
	assert_int_equal(merge("3.vhd", o, &r, &e), 0);
	assert_all_unchanged(&p);
	assert_int_equal(r.write_bytes, a.plan.write_bytes);
	assert_true(r.write_bytes > 0);
	place_remove(&p);
}

static void merged_layers_are_removed_only_on_demand(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.all = true, .remove = true};
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_int_equal(merge("3.vhd", o, NULL, &e), 0);
	assert_int_equal(access("1.vhd", F_OK), -1);
	assert_int_equal(access("2.vhd", F_OK), -1);
	assert_int_equal(access("3.vhd", F_OK), -1);
	assert_reads("0.vhd", &p.s);
	/* Only those that went down. */
	place_save(&p);
	o.all = false;
	assert_int_equal(merge("1.vhd", o, NULL, &e), 0);
	assert_int_equal(access("1.vhd", F_OK), -1);
	assert_unchanged(&p, 2);
	assert_unchanged(&p, 3);
	place_remove(&p);
}

/* While the merge runs, another file takes the name of a layer in between. */
static int other_file(void *ctx, const struct vhd_layer *layers,
		      const struct vhd_merge_result *plan)
{
	(void)ctx;
	(void)layers;
	(void)plan;
	assert_int_equal(rename("2.vhd", "away.vhd"), 0);
	return symlink("away.vhd", "2.vhd");
}

/* Lowest first, so what is above the one that stays must stay, too. */
static void removal_stops_at_a_name_that_is_another_file(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {
		.all = true, .remove = true, .planned = other_file};
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_refused(merge("3.vhd", o, NULL, &e), &e, EBUSY, VHD_WHY_SYSTEM);
	assert_reads("0.vhd", &p.s);
	assert_int_equal(access("1.vhd", F_OK), -1);
	assert_unchanged(&p, 2);
	assert_unchanged(&p, 3);
	place_remove(&p);
}

static void ids_dates_and_parents_stay_as_they_are(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct vhd_merge_opts o = {.all = true};
	const struct vhd_open_opts look = {.parent_dir = "."};
	struct vhd_info was;
	struct vhd *img;
	struct place p;
	struct vhd_err e;

	place_make(&p, IMG_TYPE_DYNAMIC, &rnd);
	assert_int_equal(vhd_open("0.vhd", &look, &img, &e), 0);
	was = *vhd_get_info(img);
	vhd_abandon(img);
	assert_int_equal(merge("3.vhd", o, NULL, &e), 0);
	assert_int_equal(vhd_open("0.vhd", &look, &img, &e), 0);
	assert_memory_equal(vhd_get_info(img)->unique_id, was.unique_id, 16);
	assert_int_equal(vhd_get_info(img)->timestamp_s, was.timestamp_s);
	assert_int_equal(vhd_get_info(img)->footer_checksum,
			 was.footer_checksum);
	assert_int_equal(vhd_get_info(img)->notes & VHD_NOTE_DIRTY, 0);
	vhd_abandon(img);
	place_remove(&p);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(all_layers_go_into_the_lowest),
		T(a_named_layer_is_found_by_its_file),
		T(only_a_child_has_something_to_merge),
		T(images_in_use_are_left_alone),
		T(what_must_not_be_written_to_is_not),
		T(split_sets_are_brought_down_but_not_written_to),
		T(a_target_of_another_size_is_refused),
		T(a_limit_on_file_sizes_is_seen_before_writing),
		T(the_caller_sees_the_plan_and_may_end_it),
		T(merged_layers_are_removed_only_on_demand),
		T(removal_stops_at_a_name_that_is_another_file),
		T(ids_dates_and_parents_stay_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
