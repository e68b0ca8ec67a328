/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/rebase*.c: whatever the new parents hold, the disk reads as before; the
 * parents stay byte for byte; every power cut leaves an image that opens, or
 * that repair opens, with the same content; every refusal changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/locator.h"
#include "vhd/rebase.h"

#define KIB    1024u
#define LAYERS 3u
#define NEW_ID 20u /* of the lowest new parent; those of the old begin at 0 */
#define CUTS   4

/* Two chains and a child on the old one: old/0.vhd ..., new/0.vhd ...,
 * child.vhd, so that no bare name finds a parent. `model` is what the child
 * reads as, `other` what the new chain does.
 */
struct world {
	char dir[64];
	uint64_t size;
	unsigned old_count, new_count;
	uint8_t *model, *other;
	char old[32], new[32]; /* the topmost of each */
	uint64_t rnd;
	size_t naming; /* event of the record from which on names change */
};

static void save(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

static void make_chain(struct world *w, const char *dir, unsigned count,
		       unsigned first_id, uint8_t *model)
{
	char name[32], locator[32];

	assert_int_equal(mkdir(dir, 0700), 0);
	for (unsigned i = 0; i < count; i++) {
		uint32_t block = 4096u << random_below(&w->rnd, 5);
		uint32_t type = i ? IMG_TYPE_DIFF
				: 2 + (uint32_t)random_below(&w->rnd, 2);
		struct memfile *m = diff_random(type, first_id + i, w->size,
						block, model, &w->rnd);

		snprintf(locator, sizeof(locator), ".\\%u.vhd", i - 1);
		if (i)
			diff_locator_text(m, 0, VHD_LOCATOR_W2RU, locator);
		snprintf(name, sizeof(name), "%s/%u.vhd", dir, i);
		save(m, name);
	}
}

/* The child in memory; it asks for the top of the old chain. */
static struct memfile *make_child(struct world *w)
{
	uint32_t block = 4096u << random_below(&w->rnd, 5);
	struct memfile *m = diff_random(IMG_TYPE_DIFF, w->old_count, w->size,
					block, w->model, &w->rnd);
	char locator[48];

	snprintf(locator, sizeof(locator), "old\\%u.vhd", w->old_count - 1);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, locator);
	diff_name(m, locator);
	return m;
}

static void world_make(struct world *w, uint64_t seed, unsigned old_count,
		       unsigned new_count)
{
	const char *tmp = getenv("TMPDIR");

	memset(w, 0, sizeof(*w));
	w->rnd = seed;
	w->size = 512 * (100 + random_below(&w->rnd, 500));
	w->old_count = old_count;
	w->new_count = new_count;
	w->model = calloc(1, w->size);
	w->other = calloc(1, w->size);
	assert_true(w->model && w->other);
	snprintf(w->dir, sizeof(w->dir), "%.40s/rebase.XXXXXX",
		 tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(chdir(w->dir), 0);
	make_chain(w, "old", old_count, 0, w->model);
	make_chain(w, "new", new_count, NEW_ID, w->other);
	snprintf(w->old, sizeof(w->old), "old/%u.vhd", old_count - 1);
	snprintf(w->new, sizeof(w->new), "new/%u.vhd", new_count - 1);
}

static void world_free(struct world *w)
{
	char command[128];

	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
	assert_int_equal(system(command), 0);
	free(w->model);
	free(w->other);
}

static uint8_t *slurp(const char *path, size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	uint8_t *b;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	b = malloc(*len + 1);
	assert_non_null(b);
	assert_int_equal(read(fd, b, *len), *len);
	close(fd);
	return b;
}

static int open_child(struct vhd **img, struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = "."};

	return vhd_open("child.vhd", &o, img, e);
}

/* It opens, on that parent (NULL: on any), and reads as `model`. */
static void child_reads(const struct world *w, const char *parent,
			const uint8_t *model)
{
	uint8_t *b = malloc(w->size);
	struct vhd_layer below;
	struct vhd *img;
	struct vhd_err e;

	assert_non_null(b);
	if (open_child(&img, &e))
		fail_msg("open: %s", e.text);
	assert_int_equal(vhd_layer(img, 1, &below), 0);
	if (parent)
		assert_string_equal(below.path + strlen(below.path) -
					    strlen(parent),
				    parent);
	assert_int_equal(vhd_read(img, 0, b, w->size, &e), 0);
	assert_memory_equal(b, model, w->size);
	vhd_abandon(img);
	free(b);
}

static int no_errors(void *ctx, const struct vhd_finding *f)
{
	(void)ctx;
	if (f->severity == VHD_SEVERITY_ERROR)
		fail_msg("check: %s", f->text);
	return 0;
}

static void child_is_sound(void)
{
	const struct vhd_check_opts o = {.parent_dir = ".", .found = no_errors};
	struct vhd_check_result r;
	struct vhd_err e;

	assert_int_equal(vhd_check("child.vhd", &o, &r, &e), 0);
	assert_int_equal(r.count[VHD_FIND_BAT_IN_METADATA], 0);
	assert_int_equal(r.count[VHD_FIND_LOCATOR_PLACE], 0);
	assert_int_equal(r.count[VHD_FIND_PARENT_NAME], 0);
}

static struct vhd_rebase_opts onto(const char *parent)
{
	return (struct vhd_rebase_opts){.parent_path = parent,
					.parent_dir = "."};
}

static struct vhd_rebase_result rebase(struct vhd_rebase_opts o)
{
	struct vhd_rebase_result r;
	struct vhd_err e;

	if (vhd_rebase("child.vhd", &o, &r, &e))
		fail_msg("rebase: %s", e.text);
	return r;
}

/* --------------------------------------------------------------- content -- */

static void the_disk_reads_as_before_on_any_parent(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (int i = 0; i < 40; i++) {
		struct world w;
		size_t o_len, n_len, len;
		uint8_t *o, *n, *b;
		struct vhd_rebase_result r;

		world_make(&w, random_next(&rnd),
			   1 + (unsigned)random_below(&rnd, LAYERS),
			   1 + (unsigned)random_below(&rnd, LAYERS));
		save(make_child(&w), "child.vhd");
		o = slurp(w.old, &o_len);
		n = slurp(w.new, &n_len);
		child_reads(&w, w.old, w.model);
		r = rebase(onto(w.new));
		assert_false(r.same_parent);
		assert_int_equal(r.size_bytes, w.size);
		assert_true(r.differing_bytes <= r.lacking_bytes);
		child_reads(&w, w.new, w.model);
		child_is_sound();
		/* and back: nothing is missing now */
		r = rebase(onto(w.old));
		child_reads(&w, w.old, w.model);
		child_is_sound();
		b = slurp(w.old, &len);
		assert_int_equal(len, o_len);
		assert_memory_equal(b, o, len);
		free(b);
		b = slurp(w.new, &len);
		assert_int_equal(len, n_len);
		assert_memory_equal(b, n, len);
		free(b);
		free(o);
		free(n);
		world_free(&w);
	}
}

/* Only sectors that differ are written, and none where both sides are the same
 * place of one file.
 */
static void only_what_differs_comes_into_the_image(void **state)
{
	(void)state;
	struct vhd_rebase_result r;
	struct world w;
	struct vhd *img;
	struct vhd_run run;
	struct vhd_err e;
	unsigned layer;

	world_make(&w, 3, 3, 1);
	save(make_child(&w), "child.vhd");
	/* the grandparent: what o2 has alone is all that differs */
	r = rebase(onto("old/1.vhd"));
	child_reads(&w, "old/1.vhd", w.model);
	assert_true(r.differing_bytes > 0 &&
		    r.differing_bytes < r.lacking_bytes);
	assert_int_equal(open_child(&img, &e), 0);
	for (uint64_t lba = 0; lba < w.size / 512; lba += run.sectors)
		assert_int_equal(vhd_map_chain(img, lba, w.size / 512 - lba,
					       &run, &layer, &e),
				 0);
	vhd_abandon(img);
	r = rebase(onto("old/1.vhd"));
	assert_true(r.same_parent);
	assert_int_equal(r.differing_bytes, 0);
	world_free(&w);
}

static void a_dry_run_counts_and_changes_nothing(void **state)
{
	(void)state;
	struct vhd_rebase_opts o = onto(NULL);
	struct vhd_rebase_result dry, wet;
	uint8_t *before, *after;
	size_t len, len_after;
	struct world w;

	world_make(&w, random_seed(), 2, 2);
	save(make_child(&w), "child.vhd");
	before = slurp("child.vhd", &len);
	o.parent_path = w.new;
	o.dry_run = true;
	dry = rebase(o);
	after = slurp("child.vhd", &len_after);
	assert_int_equal(len, len_after);
	assert_memory_equal(before, after, len);
	o.dry_run = false;
	wet = rebase(o);
	assert_int_equal(dry.differing_bytes, wet.differing_bytes);
	assert_int_equal(dry.lacking_bytes, wet.lacking_bytes);
	free(before);
	free(after);
	world_free(&w);
}

/* Forth and back many times: the space of former names is used again. */
static void the_file_does_not_grow_with_every_parent(void **state)
{
	(void)state;
	struct stat after, st;
	struct world w;

	world_make(&w, random_seed(), 1, 1);
	save(make_child(&w), "child.vhd");
	(void)rebase(onto(w.new));
	(void)rebase(onto(w.old));
	assert_int_equal(stat("child.vhd", &after), 0);
	for (int i = 0; i < 6; i++)
		(void)rebase(onto(i % 2 ? w.old : w.new));
	assert_int_equal(stat("child.vhd", &st), 0);
	assert_true(st.st_size <= after.st_size); /* it may find more room */
	child_reads(&w, w.old, w.model);
	child_is_sound();
	world_free(&w);
}

/* A child that goes on being written to after a rebase whose names lie behind
 * its blocks.
 */
static void blocks_keep_out_of_the_names_space(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = "."};
	struct world w;
	struct vhd *img;
	struct vhd_err e;

	world_make(&w, random_seed(), 1, 2);
	save(make_child(&w), "child.vhd");
	(void)rebase(onto(w.new));
	assert_int_equal(vhd_open("child.vhd", &rw, &img, &e), 0);
	memset(w.model, 0x5c, w.size);
	assert_int_equal(vhd_write(img, 0, w.model, w.size, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	child_reads(&w, w.new, w.model);
	child_is_sound();
	(void)rebase(onto(w.old));
	child_reads(&w, w.old, w.model);
	world_free(&w);
}

static void a_smaller_parent_takes_leave_and_loses_nothing(void **state)
{
	(void)state;
	struct vhd_rebase_opts o = onto("small.vhd");
	struct vhd_rebase_result r;
	struct memfile *m;
	struct world w;
	uint8_t id[16];
	struct vhd_err e;

	world_make(&w, random_seed(), 2, 1);
	save(make_child(&w), "child.vhd");
	m = img_fixed(20 * KIB);
	diff_id(id, NEW_ID + 9);
	img_set(m, 20 * KIB, 512, IMG_F_ID, id, 16);
	save(m, "small.vhd");
	assert_refused(vhd_rebase("child.vhd", &o, &r, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	o.larger_child = true;
	r = rebase(o);
	/* all of it zero, or in the child already: nothing to carry over */
	assert_true(r.differing_bytes <= r.lacking_bytes);
	{
		const struct vhd_open_opts ro = {.parent_dir = ".",
						 .larger_child = true};
		uint8_t *b = malloc(w.size);
		struct vhd *img;

		assert_non_null(b);
		assert_int_equal(vhd_open("child.vhd", &ro, &img, &e), 0);
		assert_int_equal(vhd_read(img, 0, b, w.size, &e), 0);
		assert_memory_equal(b, w.model, w.size);
		vhd_abandon(img);
		free(b);
	}
	world_free(&w);
}

/* ---------------------------------------------------------------- naming -- */

static void unsafe_only_names_and_needs_no_old_parent(void **state)
{
	(void)state;
	struct vhd_rebase_opts o = onto(NULL);
	struct vhd_rebase_result r;
	struct world w;
	struct vhd *img;
	struct vhd_err e;
	uint8_t *b;

	world_make(&w, random_seed(), 1, 1);
	save(make_child(&w), "child.vhd");
	assert_int_equal(unlink(w.old), 0);
	o.parent_path = w.new;
	/* nobody has to want the result */
	assert_refused(vhd_rebase("child.vhd", &o, NULL, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	o.unsafe = true;
	r = rebase(o);
	assert_int_equal(r.differing_bytes, 0);
	b = malloc(w.size);
	assert_non_null(b);
	assert_int_equal(open_child(&img, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, w.size, &e), 0);
	for (uint64_t lba = 0; lba < w.size / 512; lba++) {
		struct vhd_run run;

		assert_int_equal(vhd_layer_map(img, 0, lba, 1, &run, &e), 0);
		if (run.kind == VHD_RUN_PARENT)
			assert_memory_equal(b + lba * 512, w.other + lba * 512,
					    512);
	}
	vhd_abandon(img);
	free(b);
	world_free(&w);
}

static void a_parent_that_moved_is_only_named(void **state)
{
	(void)state;
	struct vhd_rebase_result r;
	struct world w;
	struct vhd *img;
	struct vhd_err e;

	world_make(&w, random_seed(), 1, 1);
	save(make_child(&w), "child.vhd");
	assert_int_equal(mkdir("moved", 0700), 0);
	assert_int_equal(rename(w.old, "moved/base.vhd"), 0);
	assert_refused(open_child(&img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	r = rebase(onto("moved/base.vhd"));
	assert_true(r.same_parent);
	child_reads(&w, "base.vhd", w.model);
	child_is_sound();
	world_free(&w);
}

static void a_full_set_of_old_names_makes_room(void **state)
{
	(void)state;
	struct memfile *m;
	struct world w;

	world_make(&w, random_seed(), 1, 1);
	m = make_child(&w);
	for (unsigned i = 1; i < 8; i++)
		diff_locator_text(m, i,
				  i % 2 ? VHD_LOCATOR_W2KU : VHD_LOCATOR_MAC,
				  "C:\\elsewhere.vhd");
	save(m, "child.vhd");
	child_reads(&w, w.old, w.model);
	(void)rebase(onto(w.new));
	child_reads(&w, w.new, w.model);
	child_is_sound();
	world_free(&w);
}

/* -------------------------------------------------------------- refusals -- */

static void refused(const char *path, struct vhd_rebase_opts o, int code,
		    enum vhd_why why)
{
	struct vhd_rebase_result r;
	size_t len, len_after;
	uint8_t *before = slurp(path, &len), *after;
	struct vhd_err e;

	assert_refused(vhd_rebase(path, &o, &r, &e), &e, code, why);
	after = slurp(path, &len_after);
	assert_int_equal(len, len_after);
	assert_memory_equal(before, after, len);
	free(before);
	free(after);
}

static int stop(void *ctx, uint64_t pos, uint64_t moved)
{
	(void)ctx;
	(void)moved;
	return pos > 0;
}

static void what_must_not_be_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = "."};
	struct vhd_rebase_opts o = onto(NULL);
	struct memfile *m;
	struct vhd *held;
	struct world w;
	struct vhd_err e;

	world_make(&w, 1, 2, 1); /* what there is to copy can be stopped */
	m = make_child(&w);
	diff_save(m, "child.vhd");
	memfile_destroy(m);
	refused("child.vhd", o, EINVAL, VHD_WHY_ARGUMENT);
	o.parent_path = w.new;
	refused("old/0.vhd", o, ENOTSUP, VHD_WHY_UNSUPPORTED);
	/* itself, and what builds on it */
	refused("child.vhd", onto("child.vhd"), EUCLEAN, VHD_WHY_CHAIN_CYCLE);
	m = diff_empty(w.old_count + 1, w.size, 4096);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "child.vhd");
	save(m, "grandchild.vhd");
	refused("child.vhd", onto("grandchild.vhd"), EUCLEAN,
		VHD_WHY_CHAIN_CYCLE);
	/* a copy of it */
	m = diff_empty(w.old_count, w.size, 4096);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "old\\1.vhd");
	save(m, "copy.vhd");
	refused("child.vhd", onto("copy.vhd"), EUCLEAN, VHD_WHY_CHAIN_CYCLE);
	/* of another size, raw, not there, not in there */
	save(img_fixed(w.size + 512), "large.vhd");
	refused("child.vhd", onto("large.vhd"), EUCLEAN, VHD_WHY_PARENT_SIZE);
	m = memfile_create();
	memfile_resize(m, w.size);
	save(m, "raw");
	refused("child.vhd", onto("raw"), ENOTSUP, VHD_WHY_UNSUPPORTED);
	refused("child.vhd", onto("nix.vhd"), ENOENT, VHD_WHY_SYSTEM);
	refused("child.vhd", onto("/etc/passwd"), EINVAL,
		VHD_WHY_PARENT_MISSING);
	/* in use */
	assert_int_equal(vhd_open(w.new, &rw, &held, &e), 0);
	refused("child.vhd", o, EBUSY, VHD_WHY_LOCKED);
	vhd_abandon(held);
	assert_int_equal(open_child(&held, &e), 0);
	refused("child.vhd", o, EBUSY, VHD_WHY_LOCKED);
	vhd_abandon(held);
	/* stopped: still on its parent, whatever was copied */
	o.progress = stop;
	{
		struct vhd_rebase_result r;

		assert_refused(vhd_rebase("child.vhd", &o, &r, &e), &e,
			       ECANCELED, VHD_WHY_CANCELLED);
	}
	child_reads(&w, w.old, w.model);
	child_is_sound();
	world_free(&w);
}

/* ------------------------------------------------------------ power cuts -- */

static struct vhd *open_mem(struct vhd_file f, bool writable)
{
	const struct vhd_open_opts o = {.writable = writable,
					.parent_dir = ""};
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_open_file(&f, &o, &img, &e))
		fail_msg("open: %s", e.text);
	return img;
}

static struct vhd *open_path(const char *path)
{
	const struct vhd_open_opts o = {.parent_dir = "."};
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(vhd_open(path, &o, &img, &e), 0);
	return img;
}

/* Some events before the first write to the header. */
static size_t naming_begins(const struct recfile *rec)
{
	size_t n = 0;

	while (recfile_event(rec, n)->kind != REC_WRITE ||
	       recfile_event(rec, n)->off != IMG_HEADER)
		n++;
	return n < 12 ? 0 : n - 12;
}

/* The same steps as vhd_rebase, on a recorded medium. */
static void record(struct world *w, struct memfile *m, struct recfile **rec)
{
	struct vhd_rebase_opts o = onto(w->new);
	struct vhd_rebase_result r = {0};
	struct vhd_relation rel;
	struct vhd *child, *parent = open_path(w->new);
	struct vhd_err e;

	*rec = recfile_create(m);
	child = open_mem(recfile_file(*rec), true);
	assert_int_equal(vhd_chain_set_parent(child, open_path(w->old), &e), 0);
	assert_int_equal(vhd_relation_make("/d/child.vhd", "/d/new/0.vhd", parent,
					   &rel, &e),
			 0);
	assert_int_equal(rebase_carry_out(child, parent, &rel, &o, &r, &e), 0);
	assert_int_equal(vhd_close(child, &e), 0);
	vhd_abandon(parent);
	w->naming = naming_begins(*rec);
}

/* 1: it took a repair. */
static int check_state(const struct world *w, struct memfile *m)
{
	const struct vhd_repair_opts fix = {.write = true};
	struct vhd_repair_result fixed;
	struct vhd *img;
	struct vhd_err e;
	int rc;

	diff_save(m, "child.vhd");
	memfile_destroy(m);
	rc = open_child(&img, &e);
	if (!rc)
		vhd_abandon(img);
	else
		assert_refused(rc, &e, EUCLEAN, VHD_WHY_HEADER_CHECKSUM);
	if (rc) {
		if (vhd_repair("child.vhd", &fix, &fixed, &e))
			fail_msg("repair: %s", e.text);
		assert_int_equal(fixed.held_back, 0);
	}
	child_reads(w, NULL, w->model);
	(void)rebase(onto(w->new));
	child_reads(w, w->new, w->model);
	child_is_sound();
	return rc != 0;
}

/* While data is copied the states are those of any write, which are looked at
 * elsewhere; here a part of them is enough.
 */
static bool worth_it(const struct world *w, size_t n)
{
	return n >= w->naming || n % 16 == 0;
}

static void every_power_cut_leaves_the_same_disk(void **state)
{
	(void)state;
	uint64_t seed = random_seed();
	unsigned repaired = 0;

	for (unsigned round = 0; round < 2; round++) {
		struct recfile *rec;
		struct memfile *m;
		struct world w;

		world_make(&w, seed + round, 1 + round % 2, 1);
		m = make_child(&w);
		record(&w, m, &rec);
		for (size_t n = 0; n <= recfile_count(rec); n++) {
			if (!worth_it(&w, n))
				continue;
			check_state(&w, recfile_prefix(rec, n));
			for (int c = 0; c < CUTS; c++)
				repaired += (unsigned)check_state(
					&w, recfile_cut(rec, n,
							random_next(&w.rnd)));
		}
		recfile_destroy(rec);
		memfile_destroy(m);
		world_free(&w);
	}
	assert_true(repaired > 0); /* torn headers were among them */
}

/* A locator that leads behind the end, or to the old footer, would otherwise
 * be what a power cut leaves: step by step, the space of the names comes first.
 */
static void names_are_durable_before_the_header_leads_to_them(void **state)
{
	(void)state;
	struct recfile *rec;
	struct memfile *m;
	struct world w;
	size_t n = 0;

	world_make(&w, random_seed(), 1, 1);
	m = make_child(&w);
	record(&w, m, &rec);
	while (recfile_event(rec, n)->kind != REC_WRITE ||
	       recfile_event(rec, n)->off != IMG_HEADER)
		n++;
	assert_int_equal(recfile_event(rec, n - 1)->kind, REC_FLUSH);
	assert_int_equal(recfile_event(rec, n - 2)->kind, REC_WRITE);
	recfile_destroy(rec);
	memfile_destroy(m);
	world_free(&w);
}

static int no_space(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const uint64_t *end = ctx;

	if (op == MEMFILE_TRUNCATE && off > *end)
		return -ENOSPC;
	return op == MEMFILE_WRITE && off + len > *end ? -ENOSPC : 0;
}

static void a_full_host_leaves_the_child_on_its_parent(void **state)
{
	(void)state;
	struct vhd_rebase_result r = {0};
	struct vhd_rebase_opts o;
	struct vhd *child, *parent;
	struct memfile *m;
	struct world w;
	struct vhd_err e;
	uint64_t end;
	uint8_t *b;
	int rc;

	world_make(&w, random_seed(), 1, 1);
	m = diff_empty(1, w.size, 4096);
	end = memfile_len(m) + 20 * KIB;
	o = onto(w.new);
	child = open_mem(memfile_file(m), true);
	parent = open_path(w.new);
	assert_int_equal(vhd_chain_set_parent(child, open_path(w.old), &e), 0);
	memfile_set_hook(m, no_space, &end);
	rc = rebase_copy(child, parent, &o, &r, &e);
	if (rc)
		assert_refused(rc, &e, ENOSPC, VHD_WHY_NO_SPACE);
	b = malloc(w.size);
	assert_non_null(b);
	assert_int_equal(vhd_read(child, 0, b, w.size, &e), 0);
	{
		struct vhd *old = open_path(w.old);
		uint8_t *want = malloc(w.size);

		assert_non_null(want);
		assert_int_equal(vhd_read(old, 0, want, w.size, &e), 0);
		assert_memory_equal(b, want, w.size);
		vhd_abandon(old);
		free(want);
	}
	assert_int_equal(vhd_close(child, &e), 0);
	vhd_abandon(parent);
	free(b);
	memfile_destroy(m);
	world_free(&w);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(the_disk_reads_as_before_on_any_parent),
		T(only_what_differs_comes_into_the_image),
		T(a_dry_run_counts_and_changes_nothing),
		T(the_file_does_not_grow_with_every_parent),
		T(blocks_keep_out_of_the_names_space),
		T(a_smaller_parent_takes_leave_and_loses_nothing),
		T(unsafe_only_names_and_needs_no_old_parent),
		T(a_parent_that_moved_is_only_named),
		T(a_full_set_of_old_names_makes_room),
		T(what_must_not_be_is_refused_and_changes_nothing),
		T(every_power_cut_leaves_the_same_disk),
		T(names_are_durable_before_the_header_leads_to_them),
		T(a_full_host_leaves_the_child_on_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
