/* SPDX-License-Identifier: BSD-2-Clause */
/* The disks of a run: foreign images and our own, with and without parents,
 * small enough that all of a disk is judged after each power cut.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/oracle.h"
#include "tests/proof/sim.h"
#include "vhd/image.h"
#include "vhd/repair.h"

static const int64_t now_s = 1700000000;

/* ---------------------------------------------------------------- making -- */

static uint64_t random_size(struct sim *s)
{
	return 512 * (uint64_t)(17 + sim_below(s, 112));
}

static uint32_t random_block(struct sim *s)
{
	return 4096u << sim_below(s, 4);
}

/* An image number `n` over those before it, its content over the model's. */
static struct memfile *random_image(struct sim *s, struct sim_disk *d,
				    uint32_t type, unsigned n)
{
	return diff_random(type, n, d->size, random_block(s),
			   d->model->start[0], &s->rnd);
}

static void make_raw(struct sim *s, struct sim_disk *d)
{
	struct memfile *m = memfile_create();

	for (uint64_t i = 0; i < d->size / 512; i++)
		memset(d->model->start[i], (int)sim_below(s, 256), 512);
	if (!m || memfile_poke(m, d->model->start, d->size, 0))
		abort();
	simdisk_load(d->medium, m, random_next(&s->rnd));
	memfile_destroy(m);
}

/* By the library itself, as a new disk. */
static void make_own(struct sim *s, struct sim_disk *d)
{
	const struct vhd_create_opts o = {
		.format = d->format,
		.size_bytes = d->size,
		.block_size_bytes =
			d->format == VHD_FORMAT_DYNAMIC ? random_block(s) : 0,
		.unique_id = {1, 2, 3},
		.now_unix_s = now_s,
	};
	struct vhd_file f = simdisk_file(d->medium);
	struct vhd_err e;
	struct vhd *img;

	memset(d->model->start, 0, d->size);
	simdisk_clear(d->medium, random_next(&s->rnd));
	if (vhd_create_file(&f, &o, &img, &e) || vhd_close(img, &e))
		sim_fail(s, "create: %s", e.text);
}

static void make_foreign(struct sim *s, struct sim_disk *d)
{
	uint32_t type = d->format == VHD_FORMAT_FIXED	  ? IMG_TYPE_FIXED
			: d->format == VHD_FORMAT_DYNAMIC ? IMG_TYPE_DYNAMIC
							  : IMG_TYPE_DIFF;
	struct memfile *m;

	if (type == IMG_TYPE_DIFF)
		d->below = 1 + sim_below(s, SIM_LAYERS);
	for (unsigned k = 0; k < d->below; k++) {
		uint32_t t = k			   ? IMG_TYPE_DIFF
			     : sim_below(s, 2) ? IMG_TYPE_FIXED
					       : IMG_TYPE_DYNAMIC;
		size_t len;

		d->parent[k] = random_image(s, d, t, k);
		len = memfile_len(d->parent[k]);
		d->below_bytes[k] = malloc(len);
		if (!d->below_bytes[k])
			abort();
		memfile_peek(d->parent[k], d->below_bytes[k], len, 0);
	}
	m = random_image(s, d, type, d->below);
	simdisk_load(d->medium, m, random_next(&s->rnd));
	memfile_destroy(m);
}

static void make_disk(struct sim *s, unsigned i)
{
	static const enum vhd_format formats[] = {
		VHD_FORMAT_RAW,	    VHD_FORMAT_FIXED,	VHD_FORMAT_FIXED,
		VHD_FORMAT_DYNAMIC, VHD_FORMAT_DYNAMIC, VHD_FORMAT_DYNAMIC,
		VHD_FORMAT_DIFF,    VHD_FORMAT_DIFF,	VHD_FORMAT_DIFF,
	};
	static const uint8_t places[SIM_DISKS][3] = {
		{0, 0, 0}, {0, 0, 5}, {1, 1, 2}};
	struct sim_disk *d = &s->disk[i];
	struct simdisk *medium = d->medium;
	struct simmodel *model = d->model;
	uint32_t readonly = sim_below(s, 24);

	*d = (struct sim_disk){
		.sim = s,
		.medium = medium ? medium : simdisk_create(),
		.model = model ? model : calloc(1, sizeof(*model)),
		.format = formats[sim_below(s, 9)],
		.size = random_size(s),
		.path = places[i][0],
		.target = places[i][1],
		.lun = places[i][2],
		.lun_readonly = readonly == 0 || readonly == 1,
		.image_readonly = readonly == 1 || readonly == 2,
		.present = i == 0 || sim_below(s, 4),
	};
	if (!d->model)
		abort();
	simdisk_set_hook(d->medium, sim_medium_fault, d);
	if (d->format == VHD_FORMAT_RAW)
		make_raw(s, d);
	else if (d->format != VHD_FORMAT_DIFF && sim_below(s, 2))
		make_own(s, d);
	else
		make_foreign(s, d);
	simmodel_init(d->model, (uint32_t)(d->size / 512),
		      random_next(&s->rnd));
}

void sim_disks_make(struct sim *s)
{
	s->disks = 1 + sim_below(s, SIM_DISKS);
	for (unsigned i = 0; i < s->disks; i++)
		make_disk(s, i);
}

void sim_disks_free(struct sim *s)
{
	for (unsigned i = 0; i < s->disks; i++) {
		struct sim_disk *d = &s->disk[i];

		for (unsigned k = 0; k < d->below; k++) {
			struct memfile *m = d->parent[k];

			if (memfile_count(m, MEMFILE_WRITE) ||
			    memfile_count(m, MEMFILE_ZERO) ||
			    memfile_count(m, MEMFILE_TRUNCATE))
				sim_fail(s, "a parent was written to");
			memfile_destroy(m);
			free(d->below_bytes[k]);
		}
		d->below = 0;
	}
}

/* --------------------------------------------------------------- opening -- */

static struct vhd *open_parents(struct sim *s, const struct sim_disk *d)
{
	const struct vhd_open_opts o = {.parent_dir = ""};
	struct vhd *below = NULL, *img;
	struct vhd_err e;

	for (unsigned k = 0; k < d->below; k++) {
		struct vhd_file f = memfile_file(d->parent[k]);

		if (vhd_open_file(&f, &o, &img, &e) ||
		    (below && vhd_chain_set_parent(img, below, &e)))
			sim_fail(s, "parent %u: %s", k, e.text);
		below = img;
	}
	return below;
}

static int open_image(struct sim *s, struct sim_disk *d, struct vhd_err *e)
{
	const struct vhd_open_opts o = {
		.format = d->format == VHD_FORMAT_RAW || sim_below(s, 2)
				  ? d->format
				  : VHD_FORMAT_AUTO,
		.writable = !d->image_readonly,
		.parent_dir = "",
	};
	struct vhd_file f = simdisk_file(d->medium);
	struct vhd *below;
	int rc = vhd_open_file(&f, &o, &d->img, e);

	if (rc) {
		sim_sums.why[e->why]++;
		return rc;
	}
	if (vhd_get_info(d->img)->size_bytes != d->size)
		sim_fail(s, "the disk has another size");
	below = d->below ? open_parents(s, d) : NULL;
	if (below && vhd_chain_set_parent(d->img, below, e))
		sim_fail(s, "the chain: %s", e->text);
	return 0;
}

static void compare(struct sim *s, struct sim_disk *d)
{
	static uint8_t bytes[SIMMODEL_SECTORS * 512];
	struct vhd_err e;

	if (vhd_read(d->img, 0, bytes, d->size, &e))
		sim_fail(s, "reading all: %s", e.text);
	for (uint32_t i = 0; i < d->size / 512; i++)
		if (!simmodel_settle(d->model, i, bytes + i * 512, false))
			sim_fail(s, "the library reads sector %u otherwise", i);
}

void sim_disks_open(struct sim *s)
{
	for (unsigned i = 0; i < s->disks; i++) {
		struct sim_disk *d = &s->disk[i];
		bool was = s->calm;
		struct vhd_err e;
		int rc;

		s->calm = sim_below(s, 8) != 0;
		rc = open_image(s, d, &e);
		s->calm = true;
		if (rc && sim_chance(s, 500)) {
			simdisk_cut(d->medium);
			sim_judge(s, i, true);
		}
		if (rc && open_image(s, d, &e))
			sim_fail(s, "disk %u does not open: %s", i, e.text);
		d->may_be_poisoned = false;
		d->sync_failed = 0;
		if (sim_below(s, 4) == 0)
			compare(s, d);
		s->calm = was;
		if (s->trace)
			sim_say(s, "disk %u: %s, %llu sectors, %u below%s%s", i,
				vhd_format_name(d->format),
				(unsigned long long)d->size / 512, d->below,
				d->lun_readonly ? " ro-lun" : "",
				d->image_readonly ? " ro-image" : "");
	}
}

/* --------------------------------------------------------------- judging -- */

void sim_judge(struct sim *s, unsigned i, bool cut)
{
	struct sim_disk *d = &s->disk[i];
	const uint8_t *bytes = simdisk_bytes(d->medium);
	struct oracle o[SIM_LAYERS + 1];
	unsigned layers = 1;

	if (d->format == VHD_FORMAT_RAW) {
		if (simdisk_len(d->medium) != d->size)
			sim_fail(s, "disk %u: raw, of another length", i);
	} else if (!oracle_open(&o[0], bytes, simdisk_len(d->medium)) ||
		   !oracle_check(&o[0])) {
		sim_fail(s, "disk %u: %s", i, o[0].fault);
	}
	for (unsigned k = d->below; k-- > 0; layers++)
		if (!oracle_open(&o[layers], d->below_bytes[k],
				 memfile_len(d->parent[k])))
			sim_fail(s, "parent %u: %s", k, o[layers].fault);
	for (uint32_t lba = 0; lba < d->size / 512; lba++) {
		uint8_t got[512];
		const uint8_t *p = got;

		if (d->format == VHD_FORMAT_RAW)
			p = bytes + (size_t)lba * 512;
		else if (!oracle_chain(o, layers, lba, got))
			sim_fail(s, "disk %u: sector %u unreadable", i, lba);
		if (!simmodel_settle(d->model, lba, p, cut)) {
			simmodel_tell(d->model, lba, p);
			sim_fail(s, "disk %u (%s): sector %u holds what it may "
				 "not%s", i, vhd_format_name(d->format), lba,
				 cut ? " after a power cut" : "");
		}
		sim_mix(s, p, 8);
	}
}

/* --------------------------------------------------------------- cutting -- */

static void repair_once(struct sim *s, unsigned i, uint64_t *steps)
{
	const struct vhd_repair_opts o = {
		.write = true,
		.new_id = {9},
		.now_unix_s = now_s,
	};
	struct vhd_file f = simdisk_file(s->disk[i].medium);
	struct vhd_repair_result r;
	struct vhd_err e;

	if (vhd_repair_file(&f, NULL, &o, &r, &e))
		sim_fail(s, "disk %u cannot be repaired: %s", i, e.text);
	if (r.held_back)
		sim_fail(s, "disk %u: a repair would lose blocks", i);
	*steps = r.steps;
}

/* Repair, maybe with a power cut in the middle, until there is nothing to do.
 */
static void repair(struct sim *s, unsigned i)
{
	uint64_t steps;

	repair_once(s, i, &steps);
	if (sim_below(s, 2)) {
		simdisk_cut(s->disk[i].medium);
		sim_judge(s, i, true);
		repair_once(s, i, &steps);
	}
	repair_once(s, i, &steps);
	if (steps)
		sim_fail(s, "disk %u: a repaired image needs %llu steps", i,
			 (unsigned long long)steps);
	sim_judge(s, i, false);
}

static int say_finding(void *sim, const struct vhd_finding *f)
{
	struct sim *s = sim;

	if (s->trace)
		sim_say(s, "  check: %s", f->text);
	return 0;
}

/* A power cut may take the trailing footer of an image, and only that. */
static void check(struct sim *s, unsigned i, bool cut)
{
	const struct vhd_check_opts o = {
		.data = true,
		.found = say_finding,
		.ctx = s,
	};
	struct vhd_file f = simdisk_file(s->disk[i].medium);
	struct vhd_check_result r;
	struct vhd_err e;

	if (s->disk[i].format == VHD_FORMAT_RAW)
		return;
	if (vhd_check_file(&f, &o, &r, &e))
		sim_fail(s, "disk %u cannot be checked: %s", i, e.text);
	if (r.severity_count[VHD_SEVERITY_ERROR] >
	    (cut ? r.count[VHD_FIND_FOOTER_MISSING] : 0))
		sim_fail(s, "disk %u: a check finds errors", i);
}

static void recover(struct sim *s, unsigned i)
{
	if (s->disk[i].format == VHD_FORMAT_RAW)
		return;
	if (sim_below(s, 8) == 0)
		check(s, i, true);
	if (sim_below(s, 6) == 0)
		repair(s, i);
}

void sim_crash(struct sim *s)
{
	bool was = s->calm;

	for (unsigned i = 0; i < s->disks; i++) {
		simdisk_cut(s->disk[i].medium);
		simdisk_dead(s->disk[i].medium, true);
	}
	s->calm = true;
	if (s->live)
		sim_power_off(s);
	for (unsigned i = 0; i < s->disks; i++) {
		vhd_abandon(s->disk[i].img);
		simdisk_dead(s->disk[i].medium, false);
		sim_judge(s, i, true);
		recover(s, i);
	}
	sim_sums.crashes++;
	s->calm = was;
	sim_disks_open(s);
	if (sim_below(s, 4)) {
		sim_power_on(s);
		return;
	}
	sim_crash(s); /* right after opening */
}

void sim_disks_close(struct sim *s)
{
	for (unsigned i = 0; i < s->disks; i++) {
		struct sim_disk *d = &s->disk[i];
		bool bad = d->may_be_poisoned;
		struct vhd_err e;

		s->calm = sim_below(s, 8) != 0;
		if (bad && sim_below(s, 2))
			vhd_abandon(d->img);
		else if (vhd_close(d->img, &e) && s->calm && !bad)
			sim_fail(s, "disk %u does not close: %s", i, e.text);
		else
			bad = bad || !s->calm;
		s->calm = true;
		if (!bad)
			sim_judge(s, i, false);
		simdisk_cut(d->medium);
		sim_judge(s, i, true);
		check(s, i, bad);
	}
}

/* ---------------------------------------------------------------- others -- */

void sim_refused_image(struct sim *s)
{
	const struct img_damage *harm =
		&img_damages[sim_below(s, (uint32_t)img_damage_count)];
	const struct vhd_open_opts o = {.parent_dir = ""};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	struct vhd_err e = {0};
	struct vhd *img;
	int rc;

	harm->harm(m);
	rc = vhd_open_file(&f, &o, &img, &e);
	if (rc && harm->severity != VHD_SEVERITY_ERROR)
		sim_fail(s, "an image with \"%s\" opens with %d, %s",
			 harm->what, rc, sim_why_name(e.why));
	sim_mix64(s, e.why);
	sim_sums.why[e.why]++;
	sim_sums.refused_images++;
	if (!rc)
		vhd_abandon(img);
	memfile_destroy(m);
}
