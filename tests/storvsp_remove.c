/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that come, go, and grow under a guest that does not stop: each request
 * ends once, the guest is told, and an image is let go of only when nothing of
 * it is in flight. The disk engine is simulated.
 */
#include <errno.h>
#include <string.h>

#include "storvsp/state.h"
#include "tests/lib/random.h"
#include "tests/lib/simvsp.h"

/* ------------------------------------------------------------- helpers -- */

struct note {
	unsigned calls;
	struct vhd *img;
};

static void take_note(void *arg, struct vhd *img)
{
	struct note *n = arg;

	n->calls++;
	n->img = img;
}

static const struct storvsp_address lun1 = {.lun = 1};

static int remove_at(struct simvsp *w, struct storvsp_address at,
		     struct note *n)
{
	const struct storvsp_notice gone = {take_note, n};

	return storvsp_disk_remove(vsc_vsp(w->v), at, &gone, NULL);
}

static int freeze_at(struct simvsp *w, struct storvsp_address at,
		     struct note *n)
{
	const struct storvsp_notice idle = {take_note, n};

	return storvsp_disk_freeze(vsc_vsp(w->v), at, &idle, NULL);
}

static int add(struct simvsp *w, struct vhd *img, uint8_t lun)
{
	const struct storvsp_disk_opts o = {.lun = lun};

	return storvsp_disk_add(vsc_vsp(w->v), &o, img, NULL);
}

static struct vsc_status test_unit(struct simvsp *w, uint8_t lun)
{
	const struct vsc_cmd cmd = {
		.lun = lun, .cdb_bytes = 6, .data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	return vsc_status(&a);
}

static uint32_t last_lba(struct simvsp *w, uint8_t lun)
{
	const struct vsc_cmd cmd = {.lun = lun,
				    .cdb = {0x25},
				    .data_in = STORVSP_DATA_IN,
				    .bytes = 8,
				    .buffer = &w->b};
	struct vsc_answer a;
	uint8_t data[8];

	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_buffer_get(&w->b, data, sizeof(data));
	return scsi_get32(data);
}

/* ------------------------------------------------------------- removing -- */

static void removed_disk_is_gone_at_once_and_the_guest_is_told(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(vsc_unasked(w.c), 0);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	assert_int_equal(test_unit(&w, 1).srb, 0x20);
	assert_int_equal(n.calls, 1);
	assert_ptr_equal(n.img, w.img[1]);
	simvsp_quiet(w.c);
	assert_int_equal(vsc_unasked(w.c), 1);
	assert_int_equal(vsc_unasked_op(w.c), STORVSP_OP_ENUMERATE_BUS);
	/* the other one goes on */
	assert_int_equal(test_unit(&w, 0).srb, 0x01);
	assert_int_equal(remove_at(&w, lun1, &n), -ENOENT);
	simvsp_stop(&w);
	assert_int_equal(n.calls, 1);
}

static void disk_without_a_guest_is_gone_within_the_call(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	vsc_close(w.c);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	assert_int_equal(n.calls, 1);
	simvsp_stop(&w);
}

static void what_is_in_flight_ends_well_before_the_image_is_free(void **state)
{
	struct note n = {0};
	struct simvsp w;
	uint64_t id;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'w', 1, 8);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	assert_int_equal(n.calls, 0);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(n.calls, 1);
	simvsp_stop(&w);
}

static void lose(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	(void)io;
	fate->lost = *(bool *)ctx;
}

static void hurry_ends_what_would_never_end(void **state)
{
	bool losing = false;
	struct sim_opts sim = {.decide = lose, .ctx = &losing};
	struct note n = {0};
	struct simvsp w;
	uint64_t id[5];

	(void)state;
	simvsp_start(&w, NULL, &sim);
	losing = true;
	for (unsigned i = 0; i < 5; i++)
		id[i] = simvsp_send(&w, w.c, 'r', 1, i * 8);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	simvsp_quiet(w.c);
	assert_int_equal(n.calls, 0);
	storvsp_disk_hurry(vsc_vsp(w.v));
	for (unsigned i = 0; i < 5; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_true(a.id >= id[0] && a.id <= id[4]);
		assert_int_equal(vsc_status(&a).srb, 0x82);
	}
	simvsp_quiet(w.c);
	assert_int_equal(n.calls, 1);
	simvsp_stop(&w);
}

static void keep_syncs(void *ctx, const struct vhd_io *io,
		       struct sim_fate *fate)
{
	fate->later = *(bool *)ctx && io->op == VHD_IO_SYNC;
}

/* Not removals, not resets, not growing. */
static void disk_that_is_never_let_go_of_holds_up_no_other(void **state)
{
	bool stuck = false;
	struct sim_opts sim = {.decide = keep_syncs, .ctx = &stuck};
	const struct vsc_opts o = {.vsp.max_subchannels = 1};
	struct note n = {0}, other = {0}, idle = {0};
	struct vsc_channel *sub;
	struct simvsp w;
	uint64_t id;

	(void)state;
	simvsp_start(&w, &o, &sim);
	assert_int_equal(vsc_create_subs(w.c, 1), 0);
	sub = simvsp_sub(&w, 1);
	stuck = true;
	id = simvsp_send(&w, w.c, 's', 1, 0);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	storvsp_disk_hurry(vsc_vsp(w.v));
	simvsp_quiet(w.c);
	assert_int_equal(n.calls, 0);
	simvsp_expect(w.c, simvsp_reset(w.c, STORVSP_OP_RESET_BUS, 0, 0, 0),
		      "");
	simvsp_expect(sub, simvsp_reset(sub, STORVSP_OP_RESET_ADAPTER, 0, 0,
					0), "");
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', 0, 8), "good");
	assert_int_equal(freeze_at(&w, (struct storvsp_address){0}, &idle),
			 0);
	simvsp_quiet(w.c);
	assert_int_equal(idle.calls, 1);
	storvsp_disk_thaw(vsc_vsp(w.v));
	assert_int_equal(remove_at(&w, (struct storvsp_address){0}, &other),
			 0);
	simvsp_quiet(w.c);
	assert_int_equal(other.calls, 1);
	assert_ptr_equal(other.img, w.img[0]);
	assert_int_equal(add(&w, w.img[0], 0), 0);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 0, 8), "good");
	assert_int_equal(n.calls, 0);
	stuck = false;
	simvsp_expect(w.c, id, "good");
	assert_int_equal(n.calls, 1);
	simvsp_stop(&w);
}

static void hurry_does_nothing_to_disks_that_stay(void **state)
{
	struct note n = {0};
	struct simvsp w;
	uint64_t stays;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', 0, 0), "good");
	simvsp_hold(&w, true);
	stays = simvsp_send(&w, w.c, 'r', 0, 0);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	storvsp_disk_hurry(vsc_vsp(w.v));
	simvsp_quiet(w.c);
	assert_int_equal(n.calls, 1);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, stays, "good");
	simvsp_stop(&w);
}

static void every_channel_has_to_let_go(void **state)
{
	const struct vsc_opts o = {.vsp.max_subchannels = 2};
	struct vsc_channel *sub[2];
	struct note n = {0};
	struct simvsp w;
	uint64_t id[2];

	(void)state;
	simvsp_start(&w, &o, NULL);
	assert_int_equal(vsc_create_subs(w.c, 2), 0);
	for (unsigned i = 0; i < 2; i++)
		sub[i] = simvsp_sub(&w, (uint16_t)(i + 1));
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 2; i++)
		id[i] = simvsp_send(&w, sub[i], 's', 1, 0);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	storvsp_disk_hurry(vsc_vsp(w.v)); /* a sync is not cut short */
	simengine_hold(w.sim[1], false);
	simvsp_expect(sub[0], id[0], "good");
	assert_int_equal(n.calls, 0);
	simengine_hold(w.sim[2], false);
	simvsp_expect(sub[1], id[1], "good");
	assert_int_equal(n.calls, 1);
	/* one packet, on the primary */
	simvsp_quiet(w.c);
	assert_int_equal(vsc_unasked(w.c), 1);
	assert_int_equal(vsc_unasked(sub[0]) + vsc_unasked(sub[1]), 0);
	simvsp_hold(&w, false);
	simvsp_stop(&w);
}

static void channel_that_closes_lets_go(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	simvsp_send(&w, w.c, 'r', 1, 8);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	assert_int_equal(n.calls, 0);
	vsc_close(w.c);
	assert_int_equal(n.calls, 1);
	w.c = NULL;
	simvsp_stop(&w);
}

static void place_and_image_are_free_again_each_in_its_time(void **state)
{
	struct note n = {0};
	struct simvsp w;
	uint64_t id;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'r', 1, 8);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	/* still in use under its old address */
	assert_int_equal(add(&w, w.img[1], 7), -EEXIST);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(add(&w, w.img[1], 1), 0);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, 8), "good");
	assert_int_equal(remove_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	assert_int_equal(n.calls, 2);
	simvsp_stop(&w);
}

/* More often than there are places. */
static void added_and_removed_very_often_no_place_is_lost(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 2 * STORVSP_DISKS_MAX + 3; i++) {
		assert_int_equal(remove_at(&w, lun1, &n), 0);
		if (i % 3 == 0)
			vsc_pump(w.v);
		while (n.calls <= i)
			vsc_pump(w.v);
		assert_int_equal(add(&w, w.img[1], 1), 0);
	}
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, 8), "good");
	simvsp_stop(&w);
}

/* ------------------------------------------------------------- freezing -- */

static void frozen_disk_waits_and_goes_on_larger(void **state)
{
	const uint32_t before = SIMVSP_BYTES / 512 - 1;
	struct note n = {0};
	struct simvsp w;
	uint64_t id, later;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(last_lba(&w, 0), before);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'w', 0, 0);
	vsc_pump(w.v);
	assert_int_equal(freeze_at(&w, (struct storvsp_address){0}, &n), 0);
	vsc_pump(w.v);
	assert_int_equal(n.calls, 0);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(n.calls, 1);
	/* nothing is taken meanwhile, of any disk */
	later = simvsp_send(&w, w.c, 'r', 1, 0);
	simvsp_quiet(w.c);
	assert_int_equal(vhd_grow(w.img[0], 3ull * SIMVSP_BYTES, NULL), 0);
	storvsp_disk_thaw(vsc_vsp(w.v));
	simvsp_expect(w.c, later, "good");
	simvsp_quiet(w.c);
	assert_int_equal(vsc_unasked_op(w.c), STORVSP_OP_ENUMERATE_BUS);
	/* what Linux does on that */
	assert_int_equal(test_unit(&w, 0).asc, 0x2A);
	assert_int_equal(test_unit(&w, 0).srb, 0x01);
	assert_int_equal(test_unit(&w, 1).srb, 0x01);
	assert_int_equal(last_lba(&w, 0), 3 * (before + 1) - 1);
	/* the new part takes data */
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', 0, 3 * before - 16),
		      "good");
	simvsp_stop(&w);
	assert_int_equal(n.calls, 1);
}

static const struct storvsp_limits one_at_a_time = {.depth = 1};

/* What waits for its turn is not waited for, and gets it afterwards. */
static void what_waits_at_the_gate_waits_through_the_frost(void **state)
{
	struct note n = {0};
	struct simvsp w;
	uint64_t id[2];

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(
		storvsp_disk_limit(vsc_vsp(w.v), lun1, &one_at_a_time, NULL),
		0);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 2; i++)
		id[i] = simvsp_send(&w, w.c, 'w', 1, i * 8);
	vsc_pump(w.v);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id[0], "good");
	assert_int_equal(n.calls, 1);
	simvsp_quiet(w.c);
	assert_int_equal(vhd_grow(w.img[1], 2ull * SIMVSP_BYTES, NULL), 0);
	storvsp_disk_thaw(vsc_vsp(w.v));
	simvsp_expect(w.c, id[1], "good");
	simvsp_stop(&w);
}

/* Removed at once after the frost: nobody saw it come back. */
static void what_waits_at_a_gate_that_never_opens_is_aborted(void **state)
{
	struct note n = {0}, gone = {0};
	struct simvsp w;
	uint64_t id[2];

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(
		storvsp_disk_limit(vsc_vsp(w.v), lun1, &one_at_a_time, NULL),
		0);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 2; i++)
		id[i] = simvsp_send(&w, w.c, 'w', 1, i * 8);
	vsc_pump(w.v);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id[0], "good");
	storvsp_disk_thaw(vsc_vsp(w.v));
	assert_int_equal(remove_at(&w, lun1, &gone), 0);
	simvsp_expect(w.c, id[1], "aborted");
	assert_int_equal(gone.calls, 1);
	simvsp_stop(&w);
}

static void removed_in_a_hurry_what_waits_is_aborted(void **state)
{
	struct note gone = {0};
	struct simvsp w;
	uint64_t id[2];

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(
		storvsp_disk_limit(vsc_vsp(w.v), lun1, &one_at_a_time, NULL),
		0);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 2; i++)
		id[i] = simvsp_send(&w, w.c, i ? 'w' : 's', 1, i * 8);
	vsc_pump(w.v);
	assert_int_equal(remove_at(&w, lun1, &gone), 0);
	simvsp_quiet(w.c);
	storvsp_disk_hurry(vsc_vsp(w.v));
	simvsp_expect(w.c, id[1], "aborted");
	simvsp_quiet(w.c);
	assert_int_equal(gone.calls, 0); /* a sync is not cut short */
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id[0], "good");
	assert_int_equal(gone.calls, 1);
	simvsp_stop(&w);
}

static void thawed_without_a_change_says_nothing_of_capacity(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	assert_int_equal(n.calls, 1);
	storvsp_disk_thaw(vsc_vsp(w.v));
	assert_int_equal(test_unit(&w, 1).srb, 0x01);
	simvsp_stop(&w);
}

static void thawed_before_it_was_idle_nobody_is_told(void **state)
{
	struct note n = {0};
	struct simvsp w;
	uint64_t id;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'r', 1, 0);
	vsc_pump(w.v);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	vsc_pump(w.v);
	storvsp_disk_thaw(vsc_vsp(w.v));
	vsc_pump(w.v);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, 0), "good");
	assert_int_equal(n.calls, 0);
	simvsp_stop(&w);
	assert_int_equal(n.calls, 0);
}

static void frozen_disk_keeps_its_place_and_image(void **state)
{
	struct note n = {0}, m = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(freeze_at(&w, (struct storvsp_address){.lun = 9}, &n),
			 -ENOENT);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	assert_int_equal(freeze_at(&w, (struct storvsp_address){0}, &m),
			 -EBUSY);
	assert_int_equal(remove_at(&w, lun1, &m), -ENOENT);
	assert_int_equal(add(&w, w.img[1], 5), -EEXIST);
	vsc_pump(w.v);
	storvsp_disk_thaw(vsc_vsp(w.v));
	assert_int_equal(remove_at(&w, lun1, &m), 0);
	vsc_pump(w.v);
	assert_int_equal(m.calls, 1);
	simvsp_stop(&w);
}

/* The guest goes and comes while a disk is frozen. */
static void channel_opened_meanwhile_waits_too(void **state)
{
	struct note n = {0};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	assert_int_equal(freeze_at(&w, lun1, &n), 0);
	vsc_close(w.c);
	assert_int_equal(n.calls, 1);
	w.c = vsc_open(w.v, 0);
	simvsp_quiet(w.c);
	assert_int_equal(vhd_grow(w.img[1], 2ull * SIMVSP_BYTES, NULL), 0);
	storvsp_disk_thaw(vsc_vsp(w.v));
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	/* a guest that starts anew is told nothing; it looks anyway */
	assert_int_equal(test_unit(&w, 1).srb, 0x01);
	assert_int_equal(last_lba(&w, 1), 2 * SIMVSP_BYTES / 512 - 1);
	simvsp_stop(&w);
}

/* --------------------------------------------------------------- chaos --- */

struct chaos {
	struct simvsp w;
	struct vsc_channel *c[3];
	struct note gone, idle;
	unsigned removed, frozen;
	bool there, is_frozen;
	uint64_t seed;
};

static void control(struct chaos *k)
{
	struct storvsp *vsp = vsc_vsp(k->w.v);

	switch (random_below(&k->seed, 6)) {
	case 0:
		if (k->there && !k->is_frozen) {
			assert_int_equal(remove_at(&k->w, lun1, &k->gone), 0);
			k->removed++;
			k->there = false;
		}
		break;
	case 1:
		if (!k->there && k->gone.calls == k->removed) {
			assert_int_equal(add(&k->w, k->w.img[1], 1), 0);
			k->there = true;
		}
		break;
	case 2:
		storvsp_disk_hurry(vsp);
		break;
	case 3:
		if (!k->is_frozen) {
			assert_int_equal(freeze_at(&k->w,
						   (struct storvsp_address){0},
						   &k->idle),
					 0);
			k->is_frozen = true;
		}
		break;
	default:
		if (k->is_frozen) {
			storvsp_disk_thaw(vsp);
			k->is_frozen = false;
		}
		break;
	}
}

static void guest(struct chaos *k)
{
	struct vsc_channel *c = k->c[random_below(&k->seed, 3)];
	uint64_t what = random_below(&k->seed, 20);
	struct vsc_answer a;

	if (what == 0)
		simvsp_reset(c, STORVSP_OP_RESET_LUN, 0, 0,
			     (uint8_t)random_below(&k->seed, 2));
	else
		simvsp_send(&k->w, c, "rwfsz"[random_below(&k->seed, 5)],
			    (uint8_t)random_below(&k->seed, 2),
			    random_below(&k->seed, 2000));
	if (k->is_frozen && vsc_outstanding(c) < 50) {
		vsc_pump(k->w.v);
		return;
	}
	if (k->is_frozen) {
		storvsp_disk_thaw(vsc_vsp(k->w.v));
		k->is_frozen = false;
	}
	while (vsc_outstanding(c) > random_below(&k->seed, 40))
		vsc_recv(c, &a);
}

static void disks_come_and_go_under_a_busy_guest_and_nothing_is_lost(
	void **state)
{
	const struct vsc_opts o = {.vsp.max_subchannels = 2};
	struct sim_opts sim = {.late_permille = 700, .short_permille = 100};
	struct chaos k = {.there = true};

	(void)state;
	sim.seed = k.seed = random_seed();
	simvsp_start(&k.w, &o, &sim);
	assert_int_equal(vsc_create_subs(k.w.c, 2), 0);
	k.c[0] = k.w.c;
	for (unsigned i = 1; i < 3; i++)
		k.c[i] = simvsp_sub(&k.w, (uint16_t)i);
	for (unsigned i = 0; i < 6000; i++) {
		if (random_below(&k.seed, 10) == 0)
			control(&k);
		else
			guest(&k);
	}
	storvsp_disk_thaw(vsc_vsp(k.w.v));
	storvsp_disk_hurry(vsc_vsp(k.w.v));
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; vsc_outstanding(k.c[i]); n++) {
			struct vsc_answer a;

			vsc_recv(k.c[i], &a);
			assert_true(n < 1000);
		}
	assert_int_equal(k.gone.calls, k.removed);
	assert_true(k.removed > 20);
	assert_true(k.idle.calls > 20);
	simvsp_stop(&k.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			removed_disk_is_gone_at_once_and_the_guest_is_told),
		cmocka_unit_test(disk_without_a_guest_is_gone_within_the_call),
		cmocka_unit_test(
			what_is_in_flight_ends_well_before_the_image_is_free),
		cmocka_unit_test(hurry_ends_what_would_never_end),
		cmocka_unit_test(
			disk_that_is_never_let_go_of_holds_up_no_other),
		cmocka_unit_test(hurry_does_nothing_to_disks_that_stay),
		cmocka_unit_test(every_channel_has_to_let_go),
		cmocka_unit_test(channel_that_closes_lets_go),
		cmocka_unit_test(
			place_and_image_are_free_again_each_in_its_time),
		cmocka_unit_test(added_and_removed_very_often_no_place_is_lost),
		cmocka_unit_test(frozen_disk_waits_and_goes_on_larger),
		cmocka_unit_test(
			what_waits_at_the_gate_waits_through_the_frost),
		cmocka_unit_test(
			what_waits_at_a_gate_that_never_opens_is_aborted),
		cmocka_unit_test(removed_in_a_hurry_what_waits_is_aborted),
		cmocka_unit_test(
			thawed_without_a_change_says_nothing_of_capacity),
		cmocka_unit_test(thawed_before_it_was_idle_nobody_is_told),
		cmocka_unit_test(frozen_disk_keeps_its_place_and_image),
		cmocka_unit_test(channel_opened_meanwhile_waits_too),
		cmocka_unit_test(
			disks_come_and_go_under_a_busy_guest_and_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
