/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads that change whole images in place; see faultwork.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/faultwork.h"

/* ----------------------------------------------------------------- sizes -- */

static int resize(struct fx *f, uint64_t size, bool prealloc, struct vhd_err *e)
{
	const struct vhd_resize_opts o = {
		.size_bytes = size,
		.write = true,
		.shrink = size < FW_BYTES,
		.force = true,
		.prealloc = prealloc,
	};

	f->high_size = size;
	return vhd_resize("l0.vhd", &o, NULL, e);
}

static int run_grow(struct fx *f, struct vhd_err *e)
{
	return resize(f, FW_BYTES + 5 * 512, false, e);
}

static int run_grow_prealloc(struct fx *f, struct vhd_err *e)
{
	return resize(f, FW_BYTES + 16384, true, e);
}

/* More blocks than a sector of the table has entries. */
static int run_grow_far(struct fx *f, struct vhd_err *e)
{
	return resize(f, 140ull * FW_BLOCK, false, e);
}

/* What lies behind the new end is given up with the first write. */
static int run_shrink(struct fx *f, struct vhd_err *e)
{
	memset(f->any + FW_SECTORS - 3 * FW_BLOCK / 512 - 1, 1,
	       3 * FW_BLOCK / 512 + 1);
	return resize(f, FW_BYTES - 3 * FW_BLOCK - 512, false, e);
}

/* ------------------------------------------------------------- compaction --
 */

static int run_compact(struct fx *f, struct vhd_err *e)
{
	const struct vhd_compact_opts o = {
		.write = true,
		.parent_equal = true,
		.parent_dir = ".",
	};

	return vhd_compact(f->file[f->files - 1].name, &o, NULL, e);
}

static int run_punch(struct fx *f, struct vhd_err *e)
{
	const struct vhd_compact_opts o = {.write = true, .punch = true};

	(void)f;
	return vhd_compact("l0.vhd", &o, NULL, e);
}

static void fixed_with_zeros(struct fx *f)
{
	struct memfile *m;

	f->size = 64 << 10;
	f->start = f->model[0];
	m = img_fixed(f->size);
	for (uint64_t at = 0; at < f->size; at += 512)
		if (at / 12288 % 2 == 0)
			memset(f->model[0] + at, (int)(at / 512 + 1), 512);
	if (memfile_poke(m, f->model[0], f->size, 0))
		abort();
	fx_add(f, "l0.vhd", m);
}

/* ------------------------------------------------------------------ merge --
 */

/* Places told are those of the disk. */
static int merge(struct fx *f, struct vhd_merge_opts o, struct vhd_err *e)
{
	f->cannot_tell = true;
	o.parent_dir = ".";
	return vhd_merge("l2.vhd", &o, NULL, e);
}

static int run_merge(struct fx *f, struct vhd_err *e)
{
	return merge(f, (struct vhd_merge_opts){.engine = VHD_ENGINE_SYNC}, e);
}

static int run_merge_uring(struct fx *f, struct vhd_err *e)
{
	return merge(f, (struct vhd_merge_opts){.engine = VHD_ENGINE_URING}, e);
}

static int run_merge_all(struct fx *f, struct vhd_err *e)
{
	return merge(
		f,
		(struct vhd_merge_opts){.engine = VHD_ENGINE_SYNC, .all = true},
		e);
}

static int run_merge_into(struct fx *f, struct vhd_err *e)
{
	return merge(f,
		     (struct vhd_merge_opts){.engine = VHD_ENGINE_SYNC,
					     .into = "l0.vhd"},
		     e);
}

static int run_merge_remove(struct fx *f, struct vhd_err *e)
{
	return merge(f,
		     (struct vhd_merge_opts){.engine = VHD_ENGINE_SYNC,
					     .remove = true,
					     .all = true},
		     e);
}

/* ----------------------------------------------------------------- rebase --
 */

/* "l1.vhd" on "l0.vhd", and another disk, "n0.vhd". */
static void two_parents(struct fx *f)
{
	uint64_t rnd = fw_seed + 1;
	struct fx_file child;

	fw_chain(f, 2, IMG_TYPE_DYNAMIC);
	child = f->file[1];
	f->files--;
	fx_add(f, "n0.vhd",
	       diff_random(IMG_TYPE_DYNAMIC, 20, FW_BYTES, FW_BLOCK,
			   f->model[2], &rnd));
	f->file[f->files++] = child;
}

/* The same disk, with an id of its own or without. */
static void copy_of_parent(struct fx *f, bool same_id)
{
	struct memfile *m = memfile_create();
	struct fx_file child;
	uint8_t id[16];

	fw_chain(f, 2, IMG_TYPE_DYNAMIC);
	child = f->file[--f->files];
	if (!m || memfile_poke(m, f->file[0].bytes, f->file[0].len, 0))
		abort();
	diff_id(id, same_id ? 0 : 20);
	img_footers(m, IMG_F_ID, id, 16);
	fx_add(f, "n0.vhd", m);
	f->file[f->files++] = child;
}

static void equal_parents(struct fx *f)
{
	copy_of_parent(f, false);
}

static void moved_parent(struct fx *f)
{
	copy_of_parent(f, true);
}

static int rebase(bool unsafe, struct vhd_err *e)
{
	const struct vhd_rebase_opts o = {
		.parent_path = "n0.vhd",
		.parent_dir = ".",
		.unsafe = unsafe,
	};

	return vhd_rebase("l1.vhd", &o, NULL, e);
}

static int run_rebase(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return rebase(false, e);
}

static int run_rebase_unsafe(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return rebase(true, e);
}

/* ----------------------------------------------------------------- repair --
 */

/* The last file of the fixture, damaged. */
static void harm(struct fx *f, uint64_t at, uint8_t with, size_t len)
{
	memset(f->file[f->files - 1].bytes + at, with, len);
}

static void footer_gone(struct fx *f)
{
	fw_dynamic(f);
	harm(f, f->file[0].len - 512, 0, 512);
}

static void sums_wrong(struct fx *f)
{
	fw_dynamic(f);
	harm(f, f->file[0].len - 512 + IMG_F_CHECKSUM, 1, 4);
	harm(f, IMG_F_CHECKSUM, 1, 4);
	harm(f, IMG_HEADER + IMG_H_CHECKSUM, 1, 4);
}

static void fixed_sum(struct fx *f)
{
	fw_fixed(f);
	harm(f, f->file[0].len - 512 + IMG_F_CHECKSUM, 1, 4);
}

/* A block whose place is the header: it is given up. */
static void block_astray(struct fx *f)
{
	fw_blocks(f);
	harm(f, IMG_TABLE + 2 * 4, 0, 3);
	harm(f, IMG_TABLE + 2 * 4 + 3, 1, 1);
	memset(f->model[0] + (size_t)2 * FW_BLOCK, 0, FW_BLOCK);
}

static int repair(const char *undo, struct vhd_err *e)
{
	const struct vhd_repair_opts o = {
		.write = true,
		.lossy = true,
		.new_id = "a new identity!",
		.now_unix_s = 1700000000,
		.undo_path = undo,
	};

	if (undo) {
		fault_suspend(true);
		(void)unlink(undo);
		fault_suspend(false);
	}
	return vhd_repair("l0.vhd", &o, NULL, e);
}

static int run_repair(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return repair(NULL, e);
}

static int run_repair_undo(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return repair("undo", e);
}

static struct memfile *load(const char *name)
{
	struct memfile *m = memfile_create();
	FILE *in = fopen(name, "rb");
	uint8_t b[4096];
	uint64_t at = 0;
	size_t n;

	if (!m || !in)
		abort();
	for (; (n = fread(b, 1, sizeof(b), in)) > 0; at += n)
		if (memfile_poke(m, b, n, at))
			abort();
	fclose(in);
	return m;
}

/* A repaired image, its undo file, and in model[1] what it was before. */
static void repaired(struct fx *f)
{
	struct fx_file was;
	struct vhd_err e;
	FILE *out = fopen("l0.vhd", "wb");

	block_astray(f);
	was = f->file[--f->files];
	if (!out || fwrite(was.bytes, 1, was.len, out) != was.len ||
	    fclose(out) || repair("undo", &e))
		abort();
	memcpy(f->model[1], was.bytes, was.len);
	f->size = was.len;
	free(was.bytes);
	fx_add(f, "undo", load("undo"));
	fx_add(f, "l0.vhd", load("l0.vhd"));
}

static int run_undo(struct fx *f, struct vhd_err *e)
{
	int rc = vhd_undo("l0.vhd", "undo", false, NULL, e);
	struct memfile *m;
	uint8_t *b;

	if (rc)
		return rc;
	fault_suspend(true);
	m = load("l0.vhd");
	b = malloc(f->size);
	memfile_peek(m, b, f->size, 0);
	if (memfile_len(m) != f->size || memcmp(b, f->model[1], f->size) != 0)
		fx_wrong(f, "the image is not as before the repair");
	free(b);
	memfile_destroy(m);
	fault_suspend(false);
	return 0;
}

/* -------------------------------------------------------------- fields -- */

static int run_set(struct fx *f, struct vhd_err *e)
{
	const struct vhd_set_opts o = {
		.fields = VHD_SET_ID | VHD_SET_CREATOR | VHD_SET_TIMESTAMP,
		.values = {.unique_id = {7, 7, 7},
			   .timestamp_s = 77,
			   .creator = {{'t', 'e', 's', 't'}, 1, {'W'}}},
		.write = true,
	};
	const struct vhd_open_opts ro = {0};
	int rc = vhd_set("l0.vhd", &o, NULL, e);
	struct vhd *img = NULL;

	if (!rc)
		return 0;
	/* The footers may differ now: it still opens, with either. */
	fault_suspend(true);
	if (vhd_open("l0.vhd", &ro, &img, NULL))
		fx_wrong(f, "does not open");
	else if (vhd_read(img, 0, f->model[1], f->size, NULL))
		fx_wrong(f, "cannot be read");
	else
		fx_check(f, f->model[1], 0, f->size);
	vhd_abandon(img);
	fault_suspend(false);
	return rc;
}

static int run_set_parent(struct fx *f, struct vhd_err *e)
{
	const struct vhd_set_opts o = {
		.fields = VHD_SET_PARENT_ID,
		.values = {.parent_id = {7, 7, 7}},
		.write = true,
	};

	(void)f;
	return vhd_set("l2.vhd", &o, NULL, e);
}

/* Raw or fixed, and the disk's bytes as they were. */
static int in_place(struct fx *f, bool to_fixed, struct vhd_err *e)
{
	const struct vhd_in_place_opts o = {
		.from = to_fixed ? VHD_FORMAT_RAW : VHD_FORMAT_FIXED,
		.to = to_fixed ? VHD_FORMAT_FIXED : VHD_FORMAT_RAW,
		.unique_id = {1},
		.now_unix_s = 1700000000,
	};
	const char *name = f->file[0].name;
	int rc = vhd_in_place(name, &o, e);
	struct memfile *m;
	uint64_t len;

	fault_suspend(true);
	m = load(name);
	len = memfile_len(m);
	memfile_peek(m, f->model[1], f->size, 0);
	memfile_destroy(m);
	fault_suspend(false);
	if (len != f->size && len != f->size + 512)
		fx_wrong(f, "the file has %llu bytes", (unsigned long long)len);
	if (!rc && len != f->size + (to_fixed ? 512 : 0))
		fx_wrong(f, "nothing was done");
	if (memcmp(f->model[1], f->start, f->size) != 0)
		fx_wrong(f, "the disk's bytes have changed");
	return rc;
}

static void raw(struct fx *f)
{
	struct memfile *m = memfile_create();

	f->size = FW_BYTES;
	f->start = f->model[0];
	for (uint64_t at = 0; at < FW_BYTES; at++)
		f->model[0][at] = (uint8_t)(at / 512 + 1);
	if (!m || memfile_poke(m, f->model[0], FW_BYTES, 0))
		abort();
	fx_add(f, "l0.raw", m);
}

static int run_to_fixed(struct fx *f, struct vhd_err *e)
{
	return in_place(f, true, e);
}

static int run_to_raw(struct fx *f, struct vhd_err *e)
{
	return in_place(f, false, e);
}

#define R      WORK_REPAIR
#define CHAIN3 "l2.vhd l1.vhd l0.vhd"

const struct work fault_work_edit[] = {
	{"resize fixed", R, fw_fixed, run_grow, "l0.vhd", "l0.vhd", NULL},
	{"resize fixed prealloc", R, fw_fixed, run_grow_prealloc, "l0.vhd",
	 "l0.vhd", NULL},
	{"resize fixed shrink", R, fw_fixed, run_shrink, "l0.vhd", "l0.vhd",
	 NULL},
	{"resize dynamic", R, fw_dynamic, run_grow, "l0.vhd", "l0.vhd", NULL},
	{"resize dynamic far", R | WORK_LARGE, fw_dynamic, run_grow_far,
	 "l0.vhd", "l0.vhd", NULL},
	{"resize dynamic shrink", R, fw_dynamic, run_shrink, "l0.vhd", "l0.vhd",
	 NULL},
	{"compact dynamic", 0, fw_blocks, run_compact, "l0.vhd", "l0.vhd",
	 NULL},
	{"compact diff", 0, fw_diff, run_compact, "l2.vhd", CHAIN3, NULL},
	{"compact fixed", 0, fixed_with_zeros, run_punch, "l0.vhd", "l0.vhd",
	 NULL},
	{"merge", 0, fw_diff, run_merge, "l1.vhd", CHAIN3, "l1.vhd l0.vhd"},
	{"merge uring", 0, fw_diff, run_merge_uring, "l1.vhd", CHAIN3,
	 "l1.vhd l0.vhd"},
	{"merge all", 0, fw_diff, run_merge_all, "l0.vhd", CHAIN3, "l0.vhd"},
	{"merge into", 0, fw_diff, run_merge_into, "l0.vhd", CHAIN3, "l0.vhd"},
	{"merge remove", WORK_ONCE | WORK_EITHER, fw_diff, run_merge_remove,
	 "l0.vhd l1.vhd l2.vhd", CHAIN3, "l0.vhd"},
	{"rebase", R | WORK_EITHER, two_parents, run_rebase, "l1.vhd",
	 "l1.vhd l0.vhd", "l1.vhd n0.vhd"},
	{"rebase unsafe", R | WORK_EITHER, equal_parents, run_rebase_unsafe,
	 "l1.vhd", "l1.vhd l0.vhd", "l1.vhd n0.vhd"},
	{"rebase moved", R | WORK_EITHER, moved_parent, run_rebase, "l1.vhd",
	 "l1.vhd l0.vhd", "l1.vhd n0.vhd"},
	{"repair footer", R, footer_gone, run_repair, "l0.vhd", "l0.vhd", NULL},
	{"repair sums", R, sums_wrong, run_repair, "l0.vhd", "l0.vhd", NULL},
	{"repair fixed", R, fixed_sum, run_repair, "l0.vhd", "l0.vhd", NULL},
	{"repair block", R, block_astray, run_repair, "l0.vhd", "l0.vhd", NULL},
	{"repair undo", R, block_astray, run_repair_undo, "l0.vhd undo",
	 "l0.vhd", NULL},
	{"undo", 0, repaired, run_undo, "l0.vhd", NULL, NULL},
	{"set", 0, fw_dynamic, run_set, "l0.vhd", NULL, "l0.vhd"},
	{"resize dynamic, no holes", R | WORK_NO_HOLES, fw_dynamic, run_grow,
	 "l0.vhd", "l0.vhd", NULL},
	{"compact dynamic, no holes", WORK_NO_HOLES, fw_blocks, run_compact,
	 "l0.vhd", "l0.vhd", NULL},
	{"merge, no holes", WORK_NO_HOLES, fw_diff, run_merge, "l1.vhd", CHAIN3,
	 "l1.vhd l0.vhd"},
	{"set parent", R, fw_diff, run_set_parent, "l2.vhd", CHAIN3, NULL},
	{"in place to fixed", WORK_ONCE, raw, run_to_fixed, "l0.raw", NULL,
	 "l0.raw"},
	{"in place to raw", WORK_ONCE, fw_fixed, run_to_raw, "l0.vhd", NULL,
	 NULL},
	{0},
};
