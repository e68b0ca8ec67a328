/* SPDX-License-Identifier: BSD-2-Clause */
/* Random images, random operations, one flat disk in memory for each layer:
 * after every step the library and the independent reader see what the model
 * says, and vhd_check finds no error.
 *
 * SEED repeats a case; VHD_RANDOM_CASES says how many there are (default 300,
 * in a few seconds). A failure prints the seed of its case and what was done,
 * and leaves its files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/scratch.h"
#include "tests/lib/world.h"

#define CASES	  300u
#define STEPS_MAX 12u

/* --------------------------------------------------------------- chains -- */

static bool has_parent(const struct world *w)
{
	return w->count > 1;
}

static int merge_expected(const struct world *w, unsigned top, unsigned at)
{
	for (unsigned i = at; i < top; i++)
		if (w->layer[i].size != w->layer[top].size)
			return -EUCLEAN;
	return 0;
}

/* A new child on top, to which all goes that is written from now on. */
static bool has_room(const struct world *w)
{
	return w->count < WORLD_LAYERS;
}

static void op_snapshot(struct world *w)
{
	const struct world_layer *below = world_head(w);
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DIFF,
		.parent_path = below->path,
		.parent_dir = ".",
		.larger_child = true,
		.now_unix_s = 1700000000,
	};
	struct vhd *img;
	struct vhd_err e;
	char path[24];

	if (world_below(w, 2))
		o.block_size_bytes = world_block(w, below->size);
	if (world_below(w, 8) == 0)
		o.size_bytes = below->size + 512 * (1 + world_below(w, 400));
	world_id(w, o.unique_id);
	world_name(w, path);
	world_note(w, " %u", o.block_size_bytes);
	if (vhd_create(path, &o, &img, &e) || vhd_close(img, &e))
		world_fail(w, "snapshot: %s", e.text);
	world_push(w, path, o.size_bytes ? o.size_bytes : below->size);
}

/* The model after layer `top` went into layer `at`. */
static void merged(struct world *w, unsigned top, unsigned at, bool removed)
{
	memcpy(w->layer[at].model, w->layer[top].model, w->layer[at].size);
	w->layer[at].stale = false;
	if (removed) {
		world_pop(w, at + 1);
		return;
	}
	for (unsigned i = at + 1; i < top; i++)
		w->layer[i].stale = true;
}

static void op_merge(struct world *w)
{
	unsigned top = 1 + (unsigned)world_below(w, w->count - 1);
	unsigned at = (unsigned)world_below(w, top);
	struct vhd_merge_opts o = {
		.parent_dir = ".",
		.into = w->layer[at].path,
		.larger_child = true,
		.dry_run = world_below(w, 5) == 0,
		.remove = top == w->count - 1 && world_below(w, 2),
		.direct = world_below(w, 2),
		.engine = world_engine(w),
	};
	int want = merge_expected(w, top, at), rc;
	struct vhd_err e;

	if (w->layer[top].stale)
		return;
	world_note(w, " %u>%u%s%s", top, at, o.dry_run ? " dry" : "",
		   o.remove ? " remove" : "");
	rc = vhd_merge(w->layer[top].path, &o, NULL, &e);
	if (rc != want && rc != -ENOSYS && rc != -EPERM)
		world_fail(w, "merge: %d, not %d: %s", rc, want, e.text);
	if (!rc && !o.dry_run)
		merged(w, top, at, o.remove);
}

static bool has_grandparent(const struct world *w)
{
	return w->count > 2;
}

/* The top image onto another one below it; those between are then gone. */
static void op_rebase(struct world *w)
{
	unsigned to = (unsigned)world_below(w, w->count - 2);
	struct vhd_rebase_opts o = {
		.parent_path = w->layer[to].path,
		.parent_dir = ".",
		.larger_child = true,
		.dry_run = world_below(w, 6) == 0,
	};
	struct vhd_rebase_result r;
	struct world_layer head;
	struct vhd_err e;

	world_note(w, " >%u%s", to, o.dry_run ? " dry" : "");
	if (vhd_rebase(world_head(w)->path, &o, &r, &e))
		world_fail(w, "rebase: %s", e.text);
	if (o.dry_run)
		return;
	head = w->layer[--w->count];
	world_pop(w, to + 1);
	w->layer[w->count++] = head;
}

/* ------------------------------------------------------------ one image -- */

static bool anything(const struct world *w)
{
	(void)w;
	return true;
}

/* The chain has become one image, of which it is then the only one. */
static void flattened(struct world *w, const char *path)
{
	struct world_layer flat = *world_head(w);

	snprintf(flat.path, sizeof(flat.path), "%s", path);
	world_head(w)->model = NULL; /* is flat's now */
	world_pop(w, 0);
	w->layer[0] = flat;
	w->count = 1;
}

static void op_convert(struct world *w)
{
	struct vhd_create_opts o = {
		.format = world_below(w, 3) ? VHD_FORMAT_DYNAMIC
					    : VHD_FORMAT_FIXED,
		.size_bytes = world_head(w)->size,
		.now_unix_s = 1700000000,
	};
	struct world_layer flat = *world_head(w);
	struct vhd *from = world_open(w, w->count - 1, false), *to;
	uint8_t *b = malloc(flat.size);
	struct vhd_err e;

	assert_non_null(b);
	if (o.format == VHD_FORMAT_DYNAMIC)
		o.block_size_bytes = world_block(w, flat.size);
	world_note(w, " %s", vhd_format_name(o.format));
	world_id(w, o.unique_id);
	world_name(w, flat.path);
	if (vhd_read(from, 0, b, flat.size, &e) ||
	    vhd_create(flat.path, &o, &to, &e) ||
	    vhd_write(to, 0, b, flat.size, &e) || vhd_close(to, &e))
		world_fail(w, "convert: %s", e.text);
	vhd_abandon(from);
	free(b);
	flattened(w, flat.path);
}

/* The copy that rescue makes of a sound image lacks nothing. */
static void op_salvage(struct world *w)
{
	struct vhd_salvage_opts o = {
		.parent_dir = ".",
		.larger_child = true,
		.now_unix_s = 1700000000,
	};
	struct vhd_salvage_result r;
	struct vhd_err e;
	char path[24];

	world_id(w, o.unique_id);
	world_name(w, path);
	if (vhd_salvage(world_head(w)->path, path, &o, &r, &e))
		world_fail(w, "salvage: %s", e.text);
	if (r.lost_bytes || r.doubtful_bytes)
		world_fail(w, "salvage lost %llu and doubts %llu",
			   (unsigned long long)r.lost_bytes,
			   (unsigned long long)r.doubtful_bytes);
	flattened(w, path);
}

/* Any layer that nothing builds on may change its size. */
static void op_resize(struct world *w)
{
	struct world_layer *l = world_head(w);
	uint64_t size = world_size(w);
	struct vhd_resize_opts o = {
		.by = VHD_RESIZE_TO,
		.size_bytes = size,
		.write = true,
		.shrink = true,
		.force = true,
		.parent_dir = ".",
		.larger_child = true,
	};
	bool small = w->count > 1 && size < l[-1].size;
	struct vhd_err e;
	int rc;

	world_note(w, " %llu", (unsigned long long)size);
	rc = vhd_resize(l->path, &o, NULL, &e);
	if (small && rc == -EUCLEAN && e.why == VHD_WHY_PARENT_SIZE)
		return;
	if (rc || small)
		world_fail(w, "resize: %d: %s", rc, e.text);
	world_resize(l, size);
}

static bool sizes_differ(const struct world *w)
{
	return w->layer[0].size != w->layer[w->count - 1].size;
}

/* All layers as large as the top one, from there down, so that no child is
 * ever smaller than its parent: after this they can be merged.
 */
static void op_level(struct world *w)
{
	struct vhd_resize_opts o = {
		.by = VHD_RESIZE_TO,
		.size_bytes = world_head(w)->size,
		.write = true,
		.force = true,
		.parent_dir = ".",
		.larger_child = true,
	};
	struct vhd_err e;

	for (unsigned i = w->count - 1; i-- > 0;) {
		struct world_layer *l = &w->layer[i];

		if (vhd_resize(l->path, &o, NULL, &e))
			world_fail(w, "level %u: %s", i, e.text);
		world_resize(l, o.size_bytes);
		if (world_below(w, 4) == 0)
			world_judge(w);
	}
}

static enum vhd_format format_of(const struct world *w, unsigned layer)
{
	struct vhd *img =
		world_open((struct world *)(uintptr_t)w, layer, false);
	enum vhd_format format = vhd_get_info(img)->format;

	vhd_abandon(img);
	return format;
}

static bool has_blocks(const struct world *w)
{
	return format_of(w, w->count - 1) != VHD_FORMAT_FIXED;
}

/* Part of the disk is said to be free; what it reads as then is anything. */
static bool is_free(void *ctx, uint64_t off_bytes, uint64_t len_bytes)
{
	const uint64_t *free_from = ctx;

	(void)len_bytes;
	return off_bytes >= *free_from;
}

static void learn_rest(struct world *w, uint64_t from)
{
	struct vhd *img = world_open(w, w->count - 1, false);
	struct world_layer *l = world_head(w);
	struct vhd_err e;

	if (from < l->size &&
	    vhd_read(img, from, l->model + from, (size_t)(l->size - from), &e))
		world_fail(w, "read: %s", e.text);
	vhd_abandon(img);
}

/* Any layer, as its content stays; only in the top one may a part be free. */
static void op_compact(struct world *w)
{
	unsigned layer = (unsigned)world_below(w, w->count);
	uint64_t free_from = UINT64_MAX;
	struct vhd_compact_opts o = {
		.write = world_below(w, 8) != 0,
		.punch = world_below(w, 2) ||
			 format_of(w, layer) == VHD_FORMAT_FIXED,
		.parent_equal = world_below(w, 2),
		.parent_dir = ".",
		.larger_child = true,
		.is_free = is_free,
		.ctx = &free_from,
	};
	struct vhd_compact_result r;
	struct vhd_err e;

	if (layer == w->count - 1 && world_below(w, 4) == 0)
		free_from = world_below(w, world_head(w)->size / 512) * 512;
	world_note(w, " %u%s%s%s", layer, o.write ? "" : " dry",
		   o.punch ? " punch" : "", o.parent_equal ? " equal" : "");
	if (vhd_compact(w->layer[layer].path, &o, &r, &e))
		world_fail(w, "compact: %s", e.text);
	/* The length becomes whole pages. */
	if (r.new_file_bytes >= r.old_file_bytes + 4096)
		world_fail(w, "the file grew by being compacted");
	learn_rest(w, free_from);
}

/* Into a new file that takes the place of the old one. */
static void op_compact_to(struct world *w)
{
	const struct vhd_compact_opts o = {
		.write = true,
		.parent_equal = world_below(w, 2),
		.parent_dir = ".",
		.larger_child = true,
	};
	const char *path = world_head(w)->path;
	struct vhd_compact_result r;
	char other[24];
	struct vhd_err e;

	world_name(w, other);
	if (vhd_compact_to(path, false, other, &o, &r, &e))
		world_fail(w, "compact to: %s", e.text);
	assert_int_equal(rename(other, path), 0);
}

static bool alone_and_fixed(const struct world *w)
{
	return w->count == 1 && format_of(w, 0) == VHD_FORMAT_FIXED;
}

/* To a raw disk and back. */
static void op_in_place(struct world *w)
{
	struct vhd_in_place_opts o = {
		.from = VHD_FORMAT_FIXED,
		.to = VHD_FORMAT_RAW,
		.now_unix_s = 1700000000,
		.force = true,
	};
	const char *path = world_head(w)->path;
	struct stat st;
	struct vhd_err e;

	if (vhd_in_place(path, &o, &e))
		world_fail(w, "to raw: %s", e.text);
	if (stat(path, &st) < 0 || (uint64_t)st.st_size != world_head(w)->size)
		world_fail(w, "the raw disk has another length");
	o.from = VHD_FORMAT_RAW;
	o.to = VHD_FORMAT_FIXED;
	world_id(w, o.unique_id);
	if (vhd_in_place(path, &o, &e))
		world_fail(w, "from raw: %s", e.text);
}

/* Fields that have nothing to do with the content. */
static void op_set(struct world *w)
{
	struct vhd_set_opts o = {
		.fields = VHD_SET_ID | VHD_SET_TIMESTAMP | VHD_SET_HIDDEN,
		.values = {.timestamp_s = 1 + (uint32_t)world_below(w, 1000),
			   .hidden = (uint8_t)world_below(w, 2)},
		.write = true,
	};
	struct vhd_set_result r;
	struct vhd_err e;

	world_id(w, o.values.unique_id);
	if (vhd_set(world_head(w)->path, &o, &r, &e))
		world_fail(w, "set: %s", e.text);
}

/* There is nothing to repair. */
static void op_repair(struct world *w)
{
	const struct vhd_repair_opts o = {.write = true, .lossy = true};
	struct vhd_repair_result r;
	struct vhd_err e;

	if (vhd_repair(world_head(w)->path, &o, &r, &e))
		world_fail(w, "repair: %s", e.text);
	if (r.steps || r.held_back)
		world_fail(w, "repair: %llu steps for a sound image",
			   (unsigned long long)r.steps);
}

/* ----------------------------------------------------------- the table -- */

static const struct op {
	const char *name;
	unsigned weight;
	bool (*applies)(const struct world *w);
	void (*run)(struct world *w);
} ops[] = {
	{"write", 8, anything, world_write},
	{"snapshot", 4, has_room, op_snapshot},
	{"merge", 5, has_parent, op_merge},
	{"rebase", 3, has_grandparent, op_rebase},
	{"resize", 3, anything, op_resize},
	{"level", 5, sizes_differ, op_level},
	{"compact", 3, anything, op_compact},
	{"compact-to", 1, has_blocks, op_compact_to},
	{"convert", 1, anything, op_convert},
	{"salvage", 1, anything, op_salvage},
	{"set", 1, anything, op_set},
	{"in-place", 2, alone_and_fixed, op_in_place},
	{"repair", 1, anything, op_repair},
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

static const struct op *choose(struct world *w)
{
	unsigned sum = 0, at;

	for (size_t i = 0; i < OPS; i++)
		sum += ops[i].weight;
	for (;;) {
		at = (unsigned)world_below(w, sum);
		for (size_t i = 0; i < OPS; i++) {
			if (at < ops[i].weight) {
				if (ops[i].applies(w))
					return &ops[i];
				break;
			}
			at -= ops[i].weight;
		}
	}
}

static void images_are_what_the_model_says_after_every_step(void **state)
{
	(void)state;
	const char *given = getenv("VHD_RANDOM_CASES");
	unsigned cases = given ? (unsigned)atoi(given) : CASES;
	uint64_t seed = random_seed(), steps = 0;
	unsigned done[OPS] = {0};
	struct scratch place;

	scratch_enter(&place, "random", true);
	for (unsigned i = 0; i < cases; i++) {
		struct world w;

		world_make(&w, seed + i);
		world_judge(&w);
		for (uint64_t n = 1 + world_below(&w, STEPS_MAX); n--;
		     steps++) {
			const struct op *op = choose(&w);

			world_note(&w, "; %s", op->name);
			done[op - ops]++;
			op->run(&w);
			world_judge(&w);
		}
		world_free(&w);
	}
	printf("%u cases, %llu steps:", cases, (unsigned long long)steps);
	for (size_t i = 0; i < OPS; i++) {
		printf(" %s %u", ops[i].name, done[i]);
		assert_true(done[i] || cases < CASES);
	}
	puts("");
	scratch_leave(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			images_are_what_the_model_says_after_every_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
