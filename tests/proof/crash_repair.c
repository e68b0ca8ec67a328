/* SPDX-License-Identifier: BSD-2-Clause */
/* Repairs and undos of damages that each need another part of the repair. The
 * undo file is a second medium of the same record: it must be whole on its own
 * before the first byte of the image changes.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"
#include "vhd/repair.h"
#include "vhd/undo.h"

enum damage { TAIL, COPY, HEADER, NEXT, ENTRY, BOTH, IDS };

static void damage_bytes(struct env *e, const void *bytes, size_t n,
			 uint64_t off)
{
	crashdisk_poke(e->disk[0], bytes, n, off);
}

static bool is_whole(const struct env *e, struct oracle *o)
{
	const struct crashdisk *d = e->disk[0];

	return !e->absent && e->block && !e->cls->large &&
	       oracle_open(o, crashdisk_bytes(d), crashdisk_len(d)) &&
	       o->footer_end_ok && o->footer_copy_ok;
}

static bool repair_fits(const struct env *e, const struct op *o)
{
	struct oracle look;

	(void)o;
	return is_whole(e, &look);
}

static void seal_footer(struct env *e, uint64_t at)
{
	uint8_t b[512];

	memcpy(b, crashdisk_bytes(e->disk[0]) + at, 512);
	memset(b + IMG_F_ID, 0, 16);
	img_seal(b, 512);
	damage_bytes(e, b, 512, at);
}

/* The first used block's entry leads nowhere: its content is lost. */
static void lose_entry(struct env *e, const struct oracle *o)
{
	uint8_t wrong[4] = {0x7f, 0xff, 0xff, 0xf0};

	for (uint32_t b = 0; b < o->entries; b++)
		if (env_block_used(e, b)) {
			damage_bytes(e, wrong, 4, o->table + b * 4ull);
			return;
		}
}

static void damage_do(struct env *e, const struct op *o)
{
	static const uint8_t wrong[512] = "not a footer any more";
	uint8_t header[1024];
	struct oracle look;

	if (!is_whole(e, &look))
		broken("damaging a damaged image");
	memcpy(header, look.bytes + look.header, sizeof(header));
	if (o->a == TAIL || o->a == BOTH)
		damage_bytes(e, wrong, 512, look.footer);
	if (o->a == COPY || o->a == BOTH)
		damage_bytes(e, wrong, 512, 0);
	if (o->a == HEADER)
		damage_bytes(e, "\x11\x22", 2, look.header + IMG_H_CHECKSUM);
	if (o->a == ENTRY)
		lose_entry(e, &look);
	if (o->a == NEXT) {
		img_put64(header + IMG_H_NEXT, 4096);
		img_seal(header, sizeof(header));
		damage_bytes(e, header, sizeof(header), look.header);
	}
	if (o->a == IDS) {
		seal_footer(e, 0);
		seal_footer(e, look.footer);
	}
	env_info(e)->undo_to = crashdisk_hash(e->disk[0]);
}

static struct vhd_repair_opts options(const struct env *e, const struct op *o)
{
	struct vhd_repair_opts how = {
		.write = true,
		.lossy = o->a == ENTRY,
		.size_bytes = o->a == BOTH ? e->model.size : 0,
		.now_unix_s = 1700000000,
	};

	if (o->a == IDS || o->a == BOTH)
		memset(how.new_id, 0x77, sizeof(how.new_id));
	return how;
}

static int repair_again(const struct env *e, const struct op *o,
			struct vhd_file f, struct vhd_err *err)
{
	const struct vhd_repair_opts how = options(e, o);

	return vhd_repair_file(&f, NULL, &how, NULL, err);
}

/* What the block was is gone: nothing, or what the parents have. */
static void expect_loss(struct env *e)
{
	uint64_t size = env_sectors(e) * SECTOR;
	size_t now = crashdisk_now(e->disk[0]);
	uint8_t *disk = malloc(size);
	struct vhd_repair_opts how = {.write = true, .lossy = true};
	struct crash_record *rec = crashdisk_record(e->disk[0]);
	struct vhd_file f = crashdisk_file(e->disk[0]);

	crashdisk_set_record(e->disk[0], NULL);
	if (!disk || vhd_repair_file(&f, NULL, &how, NULL, NULL))
		broken("the damage is beyond repair");
	env_content(e, disk, size);
	crashdisk_back(e->disk[0], now);
	crashdisk_set_record(e->disk[0], rec);
	env_becomes(e, disk, size);
}

static void repair_run(struct env *e, const struct op *o)
{
	const struct vhd_repair_opts how = options(e, o);
	struct vhd_file f = crashdisk_file(e->disk[0]);
	struct vhd_file undo = crashdisk_file(e->disk[1]);
	struct vhd_err err;

	crashdisk_set_record(e->disk[1], e->rec);
	if (o->a == ENTRY)
		expect_loss(e);
	if (vhd_repair_file(&f, &undo, &how, NULL, &err))
		broken("repair: %s", err.text);
	crashdisk_set_record(e->disk[1], NULL);
	env_durable(e);
}

/* -------------------------------------------------------------- undoing -- */

static void undo_prepare(struct env *e, const struct op *o)
{
	const struct vhd_repair_opts how = options(e, o);
	struct vhd_file f = crashdisk_file(e->disk[0]);
	struct vhd_file undo = crashdisk_file(e->disk[1]);
	struct vhd_err err;

	damage_do(e, o);
	if (vhd_repair_file(&f, &undo, &how, NULL, &err))
		broken("repair: %s", err.text);
}

static int undo_again(const struct env *e, const struct op *o,
		      struct vhd_file f, struct vhd_err *err)
{
	struct vhd_file undo = crashdisk_file(e->disk[1]);

	(void)o;
	return vhd_undo_file(&f, &undo, false, NULL, err);
}

static void undo_run(struct env *e, const struct op *o)
{
	struct vhd_err err;

	if (undo_again(e, o, crashdisk_file(e->disk[0]), &err))
		broken("undo: %s", err.text);
	env_durable(e);
}

static const struct op ops[] = {
#define REPAIR(what, damage)                                                  \
	{.name = "repair " what, .fits = repair_fits, .prepare = damage_do,   \
	 .run = repair_run, .again = repair_again, .a = damage,               \
	 .any_why = true, .mends = true, .durable = true}
#define UNDO(what, damage)                                                    \
	{.name = "undo repair " what, .fits = repair_fits,                    \
	 .prepare = undo_prepare, .run = undo_run, .again = undo_again,       \
	 .a = damage, .harms = true, .durable = true}
	REPAIR("of the trailing footer", TAIL),
	REPAIR("of the copy", COPY),
	REPAIR("of the header's sum", HEADER),
	REPAIR("of the next offset", NEXT),
	REPAIR("of an entry", ENTRY),
	REPAIR("of both footers", BOTH),
	REPAIR("of the id", IDS),
	UNDO("of the trailing footer", TAIL),
	UNDO("of the copy", COPY),
	UNDO("of the next offset", NEXT),
#undef REPAIR
#undef UNDO
};

const struct op_table repair_ops = {ops, sizeof(ops) / sizeof(ops[0])};
