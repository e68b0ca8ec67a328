/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on whole images: created, resized, compacted, merged into, put
 * onto another parent, changed in single fields, turned from raw to fixed and
 * back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"
#include "vhd/compact_int.h"
#include "vhd/create.h"
#include "vhd/merge_int.h"
#include "vhd/rebase.h"
#include "vhd/resize.h"
#include "vhd/set.h"

#define KIB 1024u

static uint8_t *disk_new(uint64_t size)
{
	uint8_t *disk = calloc(1, size);

	if (!disk)
		abort();
	return disk;
}

static void must(int rc, const struct vhd_err *err, const char *what)
{
	if (rc)
		broken("%s: %s", what, err->text);
}

static uint64_t bytes_of(const struct env *e)
{
	return env_sectors(e) * SECTOR;
}

/* Both footers where they belong, as setting a field wants them. */
static bool is_sound(const struct env *e)
{
	const struct crashdisk *d = e->disk[0];
	struct oracle o;

	return !e->absent && e->format != VHD_FORMAT_RAW &&
	       oracle_open(&o, crashdisk_bytes(d), crashdisk_len(d)) &&
	       o.footer_end_ok && (!o.dynamic || o.footer_copy_ok);
}

/* --------------------------------------------------------------- resize -- */

enum { GROW_LITTLE, GROW_BLOCKS, GROW_TABLE, CUT_HALF, CUT_LITTLE, SAME };

static uint64_t resize_to(const struct env *e, const struct op *o)
{
	uint64_t now = bytes_of(e), unit = e->block ? e->block : 8192;

	switch (o->a) {
	case GROW_LITTLE:
		return now + 3 * SECTOR;
	case GROW_BLOCKS:
		return now + 3 * unit;
	case GROW_TABLE:
		return now + 140 * unit;
	case CUT_HALF:
		return now / 2 / SECTOR * SECTOR;
	case CUT_LITTLE:
		return now - SECTOR;
	default:
		return now;
	}
}

static bool resize_fits(const struct env *e, const struct op *o)
{
	if (e->absent || e->format == VHD_FORMAT_DIFF ||
	    e->format == VHD_FORMAT_RAW)
		return false;
	if (o->a == GROW_TABLE && !e->block)
		return false;
	return resize_to(e, o) <= DISK_MAX && bytes_of(e) > 4 * SECTOR;
}

static int resize_again(const struct env *e, const struct op *o,
			struct vhd_file f, struct vhd_err *err)
{
	const struct vhd_resize_opts how = {
		.size_bytes = e->info[e->op].size_arg,
		.write = true,
		.shrink = true,
		.force = true,
	};

	(void)o;
	return vhd_resize_file(&f, &how, NULL, err);
}

static void resize_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	env_info(e)->size_arg = resize_to(e, o);
	if (resize_to(e, o) != bytes_of(e))
		env_size(e, resize_to(e, o));
	must(resize_again(e, o, crashdisk_file(e->disk[0]), &err), &err,
	     "resize");
	env_durable(e);
}

/* -------------------------------------------------------------- compact -- */

static bool compact_fits(const struct env *e, const struct op *o)
{
	(void)o;
	return !e->absent && e->format != VHD_FORMAT_RAW;
}

static int compact_again(const struct env *e, const struct op *o,
			 struct vhd_file f, struct vhd_err *err)
{
	const struct vhd_compact_opts how = {
		.write = true,
		.punch = e->info[e->op].format == VHD_FORMAT_FIXED,
		.parent_dir = "",
	};

	(void)o;
	return vhd_compact_file(&f, &how, NULL, err);
}

static void compact_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	must(compact_again(e, o, crashdisk_file(e->disk[0]), &err), &err,
	     "compact");
	env_durable(e);
}

/* Zeros first, so that there is something to give back. */
static void compact_zeros_run(struct env *e, const struct op *o)
{
	uint64_t per = e->block / SECTOR, n = env_sectors(e);
	struct vhd *img = env_use(e);
	uint8_t *b = disk_new(n * SECTOR);
	struct vhd_err err;

	n = n < 2 * per ? n : 2 * per;
	env_zero(e, 0, n);
	must(vhd_write(img, 0, b, n * SECTOR, &err), &err, "zeros");
	env_close(img);
	env_durable(e);
	free(b);
	compact_run(e, o);
}

static bool compact_zeros_fit(const struct env *e, const struct op *o)
{
	return compact_fits(e, o) && e->block && !e->cls->large;
}

/* ------------------------------------------------------------------ set -- */

static struct vhd_set_opts set_opts(const struct env *e, const struct op *o)
{
	struct vhd_set_opts how = {
		.fields = (uint32_t)o->a,
		.write = true,
		.values = {
			.hidden = 1,
			.geometry = {17, 4, 17},
			.creator = {"tst ", 0x00020003, "Wi2k"},
			.timestamp_s = 0x1234567,
		},
	};

	memset(how.values.unique_id, 0xd1, 16);
	if (e->other.count)
		memcpy(how.values.parent_id,
		       e->other.bytes[0] + e->other.len[0] - 512 + IMG_F_ID,
		       16);
	return how;
}

static bool set_fits(const struct env *e, const struct op *o)
{
	/* to another parent's */
	if ((uint32_t)o->a & VHD_SET_PARENT_ID &&
	    (e->format != VHD_FORMAT_DIFF || !e->other.count))
		return false;
	return is_sound(e);
}

static int set_again(const struct env *e, const struct op *o, struct vhd_file f,
		     struct vhd_err *err)
{
	const struct vhd_set_opts how = set_opts(e, o);
	struct vhd_set_result r;

	return vhd_set_file(&f, &how, &r, err);
}

static void set_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	if ((uint32_t)o->a & VHD_SET_PARENT_ID) {
		env_moves(e, bytes_of(e));
		e->names = false;
	}
	must(set_again(e, o, crashdisk_file(e->disk[0]), &err), &err, "set");
	env_durable(e);
}

/* ------------------------------------------------------------- in place -- */

enum { TO_RAW, TO_FIXED, TO_LARGER };

static bool in_place_fits(const struct env *e, const struct op *o)
{
	return !e->absent &&
	       e->format == (o->a == TO_RAW ? VHD_FORMAT_FIXED
					    : VHD_FORMAT_RAW);
}

/* What has been done is not done again: it is refused, a larger disk because
 * it would have to be made smaller.
 */
static int in_place_again(const struct env *e, const struct op *o,
			  struct vhd_file f, struct vhd_err *err)
{
	const struct vhd_in_place_opts how = {
		.from = o->a == TO_RAW ? VHD_FORMAT_FIXED : VHD_FORMAT_RAW,
		.to = o->a == TO_RAW ? VHD_FORMAT_RAW : VHD_FORMAT_FIXED,
		.size_bytes = o->a == TO_LARGER ? e->info[e->op].size_arg : 0,
		.unique_id = "in-place-fixed!",
	};
	int rc = vhd_in_place_file(&f, &how, err);

	if (rc == -EUCLEAN && err->why == (o->a == TO_RAW
						   ? VHD_WHY_NOT_VHD
						   : VHD_WHY_LOOKS_LIKE_VHD))
		rc = 0;
	if (rc == -EINVAL && o->a == TO_LARGER)
		rc = 0;
	return rc;
}

static void in_place_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	env_info(e)->size_arg = bytes_of(e) + 5 * SECTOR;
	if (o->a == TO_LARGER)
		env_size(e, env_info(e)->size_arg);
	e->format = o->a == TO_RAW ? VHD_FORMAT_RAW : VHD_FORMAT_FIXED;
	env_format(e, e->format);
	must(in_place_again(e, o, crashdisk_file(e->disk[0]), &err), &err,
	     "in place");
	env_durable(e);
}

/* --------------------------------------------------------------- create -- */

struct making {
	enum vhd_format format;
	uint64_t size;
	uint32_t block;
	bool batmap;
};

static const struct making makings[] = {
	{VHD_FORMAT_RAW, 40 * KIB, 0, false},
	{VHD_FORMAT_FIXED, 40 * KIB, 0, false},
	{VHD_FORMAT_DYNAMIC, 45 * KIB, 4096, false},
	{VHD_FORMAT_DYNAMIC, 180 * KIB, 65536, false},
	{VHD_FORMAT_DYNAMIC, 600 * KIB, 4096, false}, /* a longer table */
	{VHD_FORMAT_DYNAMIC, 90 * KIB, 16384, true},
};

static bool create_fits(const struct env *e, const struct op *o)
{
	(void)o;
	return e->absent;
}

static void created(struct env *e, const struct making *m)
{
	e->absent = false;
	e->format = m->format;
	e->block = m->block;
}

static void create_run(struct env *e, const struct op *o)
{
	static const struct vhd_creator tap = {"tap", 0x00010003, "\0\0\0"};
	const struct making *m = &makings[o->a];
	const struct vhd_create_opts how = {
		.format = m->format,
		.size_bytes = m->size,
		.block_size_bytes = m->block,
		.unique_id = "made-by-create!",
		.creator = m->batmap ? &tap : NULL,
		.batmap = m->batmap,
	};
	struct vhd_file f = crashdisk_file(e->disk[0]);
	struct vhd_err err;
	struct vhd *img;

	env_size(e, m->size);
	env_format(e, m->format);
	must(vhd_create_file(&f, &how, &img, &err), &err, "create");
	env_close(img);
	created(e, m);
	env_durable(e);
}

static void relation(const char *name, const struct vhd *parent,
		     struct vhd_relation *r)
{
	struct vhd_err err;

	must(vhd_relation_make("/d/child.vhd", name, parent, r, &err), &err,
	     "relation");
}

/* As vhd_create does it; that needs paths. */
static void create_child_run(struct env *e, const struct op *o)
{
	const struct making m = {VHD_FORMAT_DIFF, e->cls->size, (uint32_t)o->a,
				 false};
	const struct vhd_create_opts how = {
		.format = m.format,
		.size_bytes = m.size,
		.block_size_bytes = m.block,
		.unique_id = "made-as-a-child",
	};
	struct vhd *parent = layers_open(&e->low), *img;
	struct vhd_file f = crashdisk_file(e->disk[0]);
	uint8_t *disk = disk_new(m.size);
	struct vhd_relation r;
	struct vhd_err err;

	relation("/d/parent.vhd", parent, &r);
	must(vhd_read(parent, 0, disk, m.size, &err), &err, "parent");
	vhd_abandon(parent);
	env_size(e, m.size);
	env_format(e, m.format);
	env_becomes(e, disk, m.size);
	must(vhd_create_write(&f, &how, m.block, &r, &err), &err, "child");
	must(env_open(e, f, true, m.format, &img, &err), &err, "child");
	atomic_store(&img->touched, true);
	env_close(img);
	created(e, &m);
	e->names = true;
	env_durable(e);
}

/* ---------------------------------------------------------------- merge -- */

/* Not over what a process left that died: what the chain reads as is then open
 * where the layers above have nothing.
 */
static bool merge_fits(const struct env *e, const struct op *o)
{
	(void)o;
	return !e->absent && !e->died && e->up.count && e->format != VHD_FORMAT_RAW &&
	       bytes_of(e) == e->cls->size;
}

static int merge_again(const struct env *e, const struct op *o,
		       struct vhd_file f, struct vhd_err *err)
{
	const struct vhd_merge_opts how = {.engine = VHD_ENGINE_SYNC};
	struct vhd *upper, *target;
	struct vhd_merge_result r;
	int rc = env_open(e, f, true, VHD_FORMAT_AUTO, &target, err), closed;

	(void)o;
	if (rc)
		return rc;
	upper = layers_open(&e->up);
	rc = merge_room(upper, target, false, &r, err);
	if (!rc)
		rc = merge_copy(upper, target, &how, &r, err);
	closed = vhd_close(target, rc ? NULL : err);
	vhd_abandon(upper);
	return rc ? rc : closed;
}

static void merge_run(struct env *e, const struct op *o)
{
	uint64_t size = bytes_of(e);
	uint8_t *disk = disk_new(size);
	struct vhd_err err;

	env_info(e)->chain = disk_new(size);
	env_content_over(e, NULL, true, disk, size);
	memcpy(env_info(e)->chain, disk, size);
	env_becomes(e, disk, size);
	must(merge_again(e, o, crashdisk_file(e->disk[0]), &err), &err,
	     "merge");
	env_durable(e);
}

/* --------------------------------------------------------------- rebase -- */

enum { ONTO_OTHER, ONTO_UNSAFE, ONTO_MOVED };

static bool rebase_fits(const struct env *e, const struct op *o)
{
	(void)o;
	return !e->absent && e->format == VHD_FORMAT_DIFF && e->other.count;
}

static int rebase_again(const struct env *e, const struct op *o,
			struct vhd_file f, struct vhd_err *err)
{
	const struct layers *onto = o->a == ONTO_MOVED ? &e->low : &e->other;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = ""};
	struct vhd_rebase_opts how = {.unsafe = o->a == ONTO_UNSAFE};
	struct vhd_rebase_result result = {0};
	struct vhd *child, *parent;
	struct vhd_relation r;
	int rc = vhd_open_file(&f, &rw, &child, err), closed;

	if (rc)
		return rc;
	parent = layers_open(onto);
	relation(o->a == ONTO_MOVED ? "/d/moved/parent.vhd" : "/d/other.vhd",
		 parent, &r);
	if (!how.unsafe && memcmp(child->info.parent_id, r.parent_id, 16) != 0)
		rc = vhd_chain_set_parent(
			child,
			layers_open(env_layers(e, child->info.parent_id)),
			err);
	if (!rc)
		rc = rebase_carry_out(child, parent, &r, &how, &result, err);
	vhd_abandon(parent);
	closed = vhd_close(child, rc ? NULL : err);
	return rc ? rc : closed;
}

static void rebase_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	if (o->a == ONTO_UNSAFE)
		env_moves(e, bytes_of(e));
	must(rebase_again(e, o, crashdisk_file(e->disk[0]), &err), &err,
	     "rebase");
	env_durable(e);
}

static const struct op ops[] = {
#define RESIZE(what, how)                                                     \
	{.name = "resize " what, .fits = resize_fits, .run = resize_run,      \
	 .again = resize_again, .a = how, .durable = true}
#define SET(what, field, refused)                                             \
	{.name = "set " what, .fits = set_fits, .run = set_run,               \
	 .again = set_again, .a = (int)(field), .why_write = refused,         \
	 .differ = true, .durable = true}
#define IN_PLACE(what, how)                                                   \
	{.name = "in place " what, .fits = in_place_fits,                     \
	 .run = in_place_run, .again = in_place_again, .a = how,              \
	 .durable = true}
#define CREATE(what, number)                                                  \
	{.name = "create " what, .fits = create_fits, .run = create_run,      \
	 .a = number, .makes = true, .durable = true}
#define CHILD(what, block)                                                    \
	{.name = "create child " what, .fits = create_fits,                   \
	 .run = create_child_run, .a = block, .makes = true, .durable = true}
#define REBASE(what, how)                                                     \
	{.name = "rebase " what, .fits = rebase_fits, .run = rebase_run,      \
	 .again = rebase_again, .a = how,                                     \
	 .why_open = VHD_WHY_HEADER_CHECKSUM, .durable = true}
	RESIZE("+3 sectors", GROW_LITTLE),
	RESIZE("+3 blocks", GROW_BLOCKS),
	RESIZE("beyond the table", GROW_TABLE),
	RESIZE("to a half", CUT_HALF),
	RESIZE("-1 sector", CUT_LITTLE),
	RESIZE("to the same", SAME),
	{.name = "compact", .fits = compact_fits, .run = compact_run,
	 .again = compact_again, .steady = true, .durable = true},
	{.name = "zeros, compact", .fits = compact_zeros_fit,
	 .run = compact_zeros_run, .again = compact_again, .steady = true,
	 .durable = true},
	SET("id", VHD_SET_ID, VHD_WHY_READ_ONLY_LAYOUT),
	SET("hidden", VHD_SET_HIDDEN, VHD_WHY_NONE),
	SET("geometry, creator, date",
	    VHD_SET_GEOMETRY | VHD_SET_CREATOR | VHD_SET_TIMESTAMP,
	    VHD_WHY_NONE),
	SET("parent id", VHD_SET_PARENT_ID, VHD_WHY_NONE),
	IN_PLACE("to raw", TO_RAW),
	IN_PLACE("to fixed", TO_FIXED),
	IN_PLACE("to a larger fixed", TO_LARGER),
	CREATE("raw", 0),
	CREATE("fixed", 1),
	CREATE("dynamic 4K", 2),
	CREATE("dynamic 64K", 3),
	CREATE("dynamic, two table sectors", 4),
	CREATE("dynamic with batmap", 5),
	CHILD("4K", 4096),
	CHILD("16K", 16384),
	{.name = "merge two layers", .fits = merge_fits, .run = merge_run,
	 .again = merge_again, .durable = true},
	REBASE("onto another disk", ONTO_OTHER),
	REBASE("onto another, unsafe", ONTO_UNSAFE),
	REBASE("onto the same, moved", ONTO_MOVED),
#undef RESIZE
#undef SET
#undef IN_PLACE
#undef CREATE
#undef CHILD
#undef REBASE
};

const struct op_table edit_ops = {ops, sizeof(ops) / sizeof(ops[0])};
