/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate of a disk: shares, depth, limits and what the counters say of them,
 * with a simulated engine and clock.
 */
#include <errno.h>

#include "storvsp/gate.h"
#include "storvsp/state.h"
#include "tests/lib/gatevsp.h"

#define KEPT 1 /* the disk whose requests do not come back, and a fixed one */
#define DISK 1 /* where one is enough */
#define FREE 0 /* dynamic, and empty: reading it takes no operation */

static struct channel *gate_channel(struct simvsp *w)
{
	return vsc_vsp(w->v)->channels;
}

/* Send until the ring or the test's patience is full; how many. */
static unsigned send_many(struct simvsp *w, uint8_t lun, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		simvsp_send(w, w->c, 'r', lun, 8 * (i % 64));
		if (i % 16 == 15)
			vsc_pump(w->v);
	}
	vsc_pump(w->v);
	return n;
}

static unsigned answered(struct simvsp *w, unsigned *full)
{
	struct vsc_answer a;
	unsigned n = 0;

	while (vsc_recv(w->c, &a)) {
		struct vsc_status s = vsc_status(&a);

		if (s.scsi == 0x28) {
			assert_int_equal(s.srb, 0x05);
			assert_int_equal(le32_get(a.p.status), 0x80000011);
			assert_int_equal(
				le32_get(a.p.u.request.transfer_length), 0);
			(*full)++;
		} else {
			assert_true(vsc_good(&a));
		}
		n++;
	}
	return n;
}

/* ----------------------------------------------------------- shares ------ */

/* One disk's operations are held below, the other's are not. */
static void hold_lun(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct simvsp *w = ctx;

	fate->lost = w->m[KEPT] == io->file->state;
}

static void start_stuck(struct simvsp *w, uint32_t depth)
{
	const struct sim_opts sim = {.decide = hold_lun, .ctx = w};
	struct vsc_opts o = {.vsp.depth = depth, .in_pages = 9,
			     .out_pages = 64};

	gate_start(w, o, &sim);
}

static void a_disk_that_is_stuck_leaves_others_their_places(void **state)
{
	unsigned full = 0;
	struct simvsp w;

	(void)state;
	start_stuck(&w, 16);
	send_many(&w, KEPT, 16);
	/* half of the places, and nothing more of it is taken */
	assert_int_equal(gate_stats(&w, KEPT).in_flight, 16);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t id = simvsp_send(&w, w.c, 'r', FREE, 0);

		simvsp_expect(w.c, id, "good");
	}
	assert_int_equal(answered(&w, &full), 0);
	simvsp_stop(&w);
}

/* N is taken, N + 1 is told to come again, and the other disk goes on; so does
 * a reset.
 */
static void beyond_its_share_a_disk_is_full(void **state)
{
	struct storvsp_disk_stats s;
	unsigned full = 0;
	uint64_t id;
	struct simvsp w;

	(void)state;
	start_stuck(&w, 16);
	send_many(&w, KEPT, 16);
	assert_int_equal(answered(&w, &full), 0);
	send_many(&w, KEPT, 1);
	assert_int_equal(answered(&w, &full), 1);
	assert_int_equal(full, 1);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', FREE, 0), "good");
	s = gate_stats(&w, KEPT);
	assert_int_equal(s.full, 1);
	assert_int_equal(s.in_flight_max, 16);
	/* commands that are answered from tables need no place */
	id = vsc_start(w.c, &(struct vsc_cmd){.lun = KEPT,
					      .data_in = STORVSP_DATA_NONE});
	simvsp_expect(w.c, id, "good");
	id = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, KEPT);
	for (unsigned i = 0; i < 16; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_int_equal(vsc_status(&a).srb, 0x82);
	}
	simvsp_expect(w.c, id, "");
	assert_int_equal(gate_stats(&w, KEPT).aborted, 16);
	simvsp_stop(&w);
}

/* However many disks are stuck, the next one finds room. */
static void every_further_disk_finds_room(void **state)
{
	struct memfile *m[30];
	struct vhd *img[30];
	struct simvsp w;
	unsigned full = 0, n = 0;

	(void)state;
	gate_start(&w, (struct vsc_opts){.vsp.depth = 64, .in_pages = 9,
					 .out_pages = 64},
		   NULL);
	for (unsigned i = 0; i < 30; i++) {
		m[i] = memfile_create();
		img[i] = qtest_create_mem(memfile_file(m[i]), VHD_FORMAT_FIXED,
					  1 << 20, 0);
		vsc_disk(w.v, img[i], 0, 0, (uint8_t)(2 + i), false);
	}
	vsc_pump(w.v);
	simvsp_hold(&w, true);
	for (uint8_t lun = 1; lun < 32; lun++) {
		send_many(&w, lun, 70);
		assert_true(gate_stats(&w, lun).in_flight > 0);
		n += answered(&w, &full);
	}
	simvsp_hold(&w, false);
	n += answered(&w, &full);
	assert_int_equal(n, 31 * 70);
	assert_true(full > 0 && full < 30 * 70);
	simvsp_stop(&w);
	for (unsigned i = 0; i < 30; i++) {
		qtest_close(img[i]);
		memfile_destroy(m[i]);
	}
}

/* With nobody to starve the ring is the place to wait. */
static void the_only_disk_is_never_full(void **state)
{
	struct vsc_opts o = {.vsp.depth = 4, .in_pages = 9, .out_pages = 64};
	struct vsc_answer a;
	struct vsc_buffer b;
	struct memfile *m = memfile_create();
	struct vhd *img = qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED,
					   1 << 20, 0);
	struct vsc *v = vsc_create(&o);
	struct vsc_channel *c;
	unsigned n = 0;

	(void)state;
	vsc_disk(v, img, 0, 0, 0, false);
	c = vsc_open(v, 0);
	vsc_negotiate(c, STORVSP_VERSION_WIN10, NULL);
	vsc_buffer_init(v, &b, 1);
	assert_int_equal(storvsp_disk_limit(vsc_vsp(v), gate_lun(0),
					    &(struct storvsp_limits){.depth = 1},
					    NULL),
			 0);
	for (unsigned i = 0; i < 100; i++) {
		struct vsc_cmd cmd = vsc_rw(false, 0, i, 1, false, &b);

		assert_true(vsc_start(c, &cmd) != 0);
	}
	while (vsc_recv(c, &a)) {
		assert_true(vsc_good(&a));
		n++;
	}
	assert_int_equal(n, 100);
	vsc_destroy(v);
	qtest_close(img);
	memfile_destroy(m);
}

/* ------------------------------------------------------------ depth ------ */

static void depth_bounds_what_is_at_the_disk(void **state)
{
	unsigned full = 0;
	struct simvsp w;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	gate_limit(&w, DISK, (struct storvsp_limits){.depth = 3});
	simvsp_hold(&w, true);
	send_many(&w, DISK, 10);
	assert_int_equal(gate_stats(&w, DISK).in_flight, 3);
	assert_int_equal(gate_stats(&w, DISK).waiting, 7);
	simengine_allow(w.sim[0], 2);
	vsc_pump(w.v);
	assert_int_equal(gate_stats(&w, DISK).in_flight, 3);
	assert_int_equal(gate_stats(&w, DISK).waiting, 5);
	/* more at once: what waits follows without another packet */
	gate_limit(&w, DISK, (struct storvsp_limits){0});
	vsc_pump(w.v);
	assert_int_equal(gate_stats(&w, DISK).in_flight, 8);
	simvsp_hold(&w, false);
	assert_int_equal(answered(&w, &full), 10);
	assert_int_equal(simengine_peak(w.sim[0]), 8);
	assert_int_equal(gate_stats(&w, DISK).waiting_max, 7);
	simvsp_stop(&w);
}

static void what_waits_goes_in_its_order(void **state)
{
	uint64_t id[20];
	struct simvsp w;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	gate_limit(&w, DISK, (struct storvsp_limits){.depth = 1});
	for (unsigned i = 0; i < 20; i++)
		id[i] = simvsp_send(&w, w.c, i % 2 ? 'r' : 'w', DISK, i * 8);
	for (unsigned i = 0; i < 20; i++)
		simvsp_expect(w.c, id[i], "good");
	simvsp_stop(&w);
}

/* ----------------------------------------------------------- limits ------ */

static void requests_wait_for_the_clock_and_no_longer(void **state)
{
	struct storvsp_disk_stats s;
	unsigned full = 0;
	struct simvsp w;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	gate_limit(&w, DISK,
		   (struct storvsp_limits){.iops = 100, .iops_burst = 5});
	send_many(&w, DISK, 12);
	assert_int_equal(answered(&w, &full), 5);
	/* the channel sleeps until the next is due, not longer */
	assert_in_range(storvsp_gate_timeout_ms(gate_channel(&w)), 1, 11);
	gate_clock_ms += 1;
	vsc_pump(w.v);
	assert_int_equal(answered(&w, &full), 1);
	gate_clock_ms += 9;
	assert_int_equal(answered(&w, &full), 0);
	gate_clock_ms += 1;
	assert_int_equal(answered(&w, &full), 1);
	gate_clock_ms += 20;
	assert_int_equal(answered(&w, &full), 2);
	s = gate_stats(&w, DISK);
	assert_int_equal(s.waiting, 3);
	assert_int_equal(s.throttled, 7);
	assert_in_range(s.throttled_ns, 30 * 1000000, 31 * 1000000);
	/* the other disk has no limit */
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', FREE, 0), "good");
	/* lifted: the rest goes at once */
	gate_limit(&w, DISK, (struct storvsp_limits){0});
	assert_int_equal(answered(&w, &full), 3);
	assert_int_equal(storvsp_gate_timeout_ms(gate_channel(&w)), -1);
	simvsp_stop(&w);
}

static void a_limit_is_shared_by_the_channels(void **state)
{
	struct vsc_opts o = {.vsp.max_subchannels = 1};
	struct vsc_channel *sub;
	struct vsc_answer a;
	unsigned n = 0;
	struct simvsp w;

	(void)state;
	gate_start(&w, o, NULL);
	assert_int_equal(vsc_create_subs(w.c, 1), 0);
	sub = simvsp_sub(&w, 1);
	gate_limit(&w, DISK,
		   (struct storvsp_limits){.iops = 100, .iops_burst = 6});
	for (unsigned i = 0; i < 20; i++)
		simvsp_send(&w, i % 2 ? sub : w.c, 'r', DISK, 0);
	for (unsigned ms = 0; ms <= 100; ms++, gate_clock_ms++) {
		vsc_pump(w.v);
		while (vsc_try_recv(w.c, &a) || vsc_try_recv(sub, &a))
			n++;
		if (ms == 0)
			assert_int_equal(n, 6);
	}
	assert_int_equal(n, 16);
	gate_limit(&w, DISK, (struct storvsp_limits){0});
	vsc_pump(w.v);
	simvsp_stop(&w);
}

/* Each step of a long command pays for itself. */
static void bandwidth_counts_what_is_written_not_the_list(void **state)
{
	/* WRITE SAME(16) of a pattern that is not zero: 1024 sectors */
	struct vsc_cmd same = {.lun = DISK,
			       .cdb = {0x93, [12] = 4},
			       .data_in = STORVSP_DATA_OUT,
			       .bytes = SECTOR};
	uint64_t begin;
	struct simvsp w;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	vsc_buffer_put(&w.b, "pattern", 7);
	same.buffer = &w.b;
	gate_limit(&w, DISK, (struct storvsp_limits){.bps = 1 << 20});
	begin = gate_clock_ms;
	assert_true(vsc_start(w.c, &same) != 0);
	simvsp_send(&w, w.c, 'r', DISK, 0);
	vsc_pump(w.v);
	while (vsc_outstanding(w.c)) {
		struct vsc_answer a;

		gate_clock_ms++;
		vsc_pump(w.v);
		(void)vsc_try_recv(w.c, &a);
		assert_true(gate_clock_ms < begin + 1000);
	}
	/* half a second's worth, less the burst */
	assert_in_range(gate_clock_ms - begin, 395, 405);
	simvsp_stop(&w);
}

static void limits_of_no_disk_are_refused(void **state)
{
	const struct storvsp_limits none = {0}, bad = {.iops_burst = 1};
	struct vhd_err err;
	struct simvsp w;
	struct storvsp *vsp;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	vsp = vsc_vsp(w.v);
	assert_int_equal(storvsp_disk_limit(vsp, gate_lun(9), &none, &err),
			 -ENOENT);
	assert_int_equal(storvsp_disk_limit(vsp, gate_lun(0), &bad, &err),
			 -EINVAL);
	assert_int_equal(storvsp_disk_on_error(vsp, gate_lun(9),
					       STORVSP_ON_ERROR_PAUSE, &err),
			 -ENOENT);
	assert_int_equal(storvsp_disk_resume(vsp, gate_lun(9), &err), -ENOENT);
	assert_int_equal(storvsp_disk_resume(vsp, gate_lun(0), &err), 0);
	simvsp_stop(&w);
}

/* ------------------------------------------------------------ sight ------ */

static void counters_say_what_happened(void **state)
{
	struct storvsp_channel_stats ch[2];
	struct storvsp_address at[3];
	struct storvsp_disk_stats s;
	struct simvsp w;
	uint64_t id;

	(void)state;
	gate_start(&w, (struct vsc_opts){0}, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'r', DISK, 0);
	vsc_pump(w.v);
	gate_clock_ms += 3;
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', DISK, 0), "good");
	simvsp_expect(w.c, simvsp_send(&w, w.c, 's', DISK, 0), "good");
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'z', DISK, 0), "good");
	s = gate_stats(&w, DISK);
	for (unsigned i = 0; i < STORVSP_KINDS; i++) {
		assert_int_equal(s.kind[i].count, 1);
		assert_int_equal(s.kind[i].errors, 0);
		assert_int_equal(storvsp_histogram_count(&s.kind[i].latency),
				 1);
	}
	assert_int_equal(s.kind[STORVSP_KIND_READ].bytes, 8 * SECTOR);
	assert_int_equal(s.kind[STORVSP_KIND_WRITE].bytes, 8 * SECTOR);
	assert_int_equal(s.kind[STORVSP_KIND_READ].latency.max_ns, 3000000);
	assert_int_equal(s.in_flight + s.waiting + s.stalled, 0);
	assert_int_equal(s.in_flight_max, 1);
	assert_int_equal(storvsp_disk_list(vsc_vsp(w.v), at, 3), 2);
	assert_int_equal(at[1].lun, 1);
	assert_int_equal(storvsp_disk_list(vsc_vsp(w.v), at, 0), 2);
	assert_int_equal(storvsp_channel_list(vsc_vsp(w.v), ch, 2), 1);
	assert_int_equal(ch[0].packets, ch[0].completions);
	assert_int_equal(ch[0].busy, 0);
	assert_int_equal(ch[0].busy_max, 1);
	assert_int_equal(ch[0].in_flight_max, 1);
	/* they outlive their channel */
	vsc_close(w.c);
	assert_int_equal(storvsp_channel_list(vsc_vsp(w.v), ch, 2), 0);
	s = gate_stats(&w, DISK);
	assert_int_equal(s.kind[STORVSP_KIND_READ].count, 1);
	assert_int_equal(s.kind[STORVSP_KIND_READ].latency.max_ns, 3000000);
	assert_int_equal(storvsp_disk_get_stats(vsc_vsp(w.v), gate_lun(7), &s),
			 -ENOENT);
	simvsp_stop(&w);
}

static void channels_are_listed_by_their_index(void **state)
{
	struct vsc_opts o = {.vsp.max_subchannels = 5};
	struct storvsp_channel_stats ch[6];
	struct simvsp w;

	(void)state;
	gate_start(&w, o, NULL);
	assert_int_equal(vsc_create_subs(w.c, 5), 0);
	for (uint16_t i = 5; i > 0; i--)
		(void)simvsp_sub(&w, i);
	assert_int_equal(storvsp_channel_list(vsc_vsp(w.v), ch, 6), 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(ch[i].index, i);
	assert_int_equal(storvsp_channel_list(vsc_vsp(w.v), ch, 2), 6);
	assert_int_equal(ch[0].index, 0);
	assert_int_equal(ch[1].index, 1);
	simvsp_stop(&w);
}

static void a_stall_is_told_once_and_counted(void **state)
{
	uint64_t id, lines;
	struct simvsp w;

	(void)state;
	gate_start(&w, (struct vsc_opts){.vsp.stall_ms = 5000}, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'w', DISK, 16);
	vsc_pump(w.v);
	lines = vsc_log_lines(w.v);
	assert_in_range(storvsp_gate_timeout_ms(gate_channel(&w)), 1, 1000);
	gate_clock_ms += 4999;
	vsc_pump(w.v);
	assert_int_equal(vsc_log_lines(w.v), lines);
	gate_clock_ms += 1001; /* looked at each second */
	vsc_pump(w.v);
	assert_int_equal(vsc_log_lines(w.v), lines + 1);
	assert_non_null(strstr(vsc_log_last(w.v),
			       "disk 0:0:1: write of 8 sectors at 16 is at"));
	for (unsigned i = 0; i < 20; i++) {
		gate_clock_ms += 1000;
		vsc_pump(w.v);
	}
	assert_int_equal(vsc_log_lines(w.v), lines + 1);
	assert_int_equal(gate_stats(&w, DISK).stalls, 1);
	assert_int_equal(gate_stats(&w, DISK).stalled, 1);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(gate_stats(&w, DISK).stalled, 0);
	assert_int_equal(gate_stats(&w, DISK).stalls, 1);
	assert_non_null(strstr(vsc_log_last(w.v), "ended after 26 s"));
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_disk_that_is_stuck_leaves_others_their_places),
		cmocka_unit_test(beyond_its_share_a_disk_is_full),
		cmocka_unit_test(every_further_disk_finds_room),
		cmocka_unit_test(the_only_disk_is_never_full),
		cmocka_unit_test(depth_bounds_what_is_at_the_disk),
		cmocka_unit_test(what_waits_goes_in_its_order),
		cmocka_unit_test(requests_wait_for_the_clock_and_no_longer),
		cmocka_unit_test(a_limit_is_shared_by_the_channels),
		cmocka_unit_test(bandwidth_counts_what_is_written_not_the_list),
		cmocka_unit_test(limits_of_no_disk_are_refused),
		cmocka_unit_test(counters_say_what_happened),
		cmocka_unit_test(channels_are_listed_by_their_index),
		cmocka_unit_test(a_stall_is_told_once_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
