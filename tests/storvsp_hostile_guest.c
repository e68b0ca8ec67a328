/* SPDX-License-Identifier: BSD-2-Clause */
/* Hostile guests beyond single packets: buffers anywhere in memory, rings that
 * break under way. Multitudes: storvsp_hostile_flood.c.
 */
#include "tests/lib/hostile.h"
#include "tests/lib/random.h"

/* -------------------------------------------------------------- memory --- */

static void data_outside_of_memory_is_refused(void **state)
{
	struct vsc_opts o = {.guest.memory_bytes = 16u << 20,
			     .guest.high_bytes = 2u << 20};
	static const uint64_t bad[] = {
		16u << 20, /* first byte behind low memory: the hole */
		(4ull << 30) - 4096, (4ull << 30) + (2u << 20),
		1ull << 51,	     0xFFFFFFFFFFFFF000,
	};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned at = 0; at < 2; at++) {
			uint64_t gpas[2] = {w.b.gpas[0], w.b.gpas[1]};
			struct guest_range r = {.offset = 2048,
						.len = 4096,
						.gpas = gpas,
						.pages = 2};
			struct storvsp_packet_wire p = read_packet(&w);

			gpas[at] = bad[i];
			assert_bad_field(try(&w, &p, &r, 1));
			p.u.request.cdb_or_sense[0] = 0x8A;
			p.u.request.data_in = STORVSP_DATA_OUT;
			assert_bad_field(try(&w, &p, &r, 1));
			/* INQUIRY: 104 bytes, so only the first page counts */
			p = read_packet(&w);
			memcpy(p.u.request.cdb_or_sense,
			       "\x12\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\0", 16);
			if (at == 0)
				assert_bad_field(try(&w, &p, &r, 1));
			else
				assert_int_equal(try(&w, &p, &r, 1).srb, 1);
		}
	}
	still_serves(&w);
	simvsp_stop(&w);
}

static void last_bytes_of_memory_can_be_used(void **state)
{
	struct vsc_opts o = {.guest.memory_bytes = 16u << 20,
			     .guest.high_bytes = 2u << 20};
	static const uint64_t good[] = {(16u << 20) - 4096, 0, (4ull << 30),
					(4ull << 30) + (2u << 20) - 4096};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	for (unsigned i = 0; i < 4; i++) {
		struct guest_range r = {
			.len = 4096, .gpas = &good[i], .pages = 1};
		struct storvsp_packet_wire p = read_packet(&w);

		memset(guest_ptr(vsc_guest(w.v), good[i]), 0xEE, 4096);
		assert_int_equal(try(&w, &p, &r, 1).srb, 1);
		qtest_check_zero(guest_ptr(vsc_guest(w.v), good[i]), 4096);
	}
	simvsp_stop(&w);
}

static void buffers_at_any_byte_work(void **state)
{
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (uint32_t offset = 0; offset < 4096; offset += 1 + offset / 7) {
		uint8_t data[4096];

		w.b.offset = offset;
		qtest_fill(data, 4096, offset, 1);
		vsc_buffer_put(&w.b, data, 4096);
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', 1, offset % 99),
			      "good");
		memset(data, 0, 4096);
		vsc_buffer_put(&w.b, data, 4096);
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, offset % 99),
			      "good");
		vsc_buffer_get(&w.b, data, 4096);
		qtest_check(data, 4096, offset, 1);
	}
	simvsp_stop(&w);
}

/* The same page as target of many reads, source of many writes, all at once,
 * in any order: nothing but the guest's own data suffers.
 */
static void overlapping_requests_leave_the_image_sound(void **state)
{
	struct sim_opts sim = {.late_permille = 600, .short_permille = 300};
	uint8_t data[4096], first;
	struct vsc_answer a;
	struct simvsp w;

	(void)state;
	sim.seed = random_seed();
	simvsp_start(&w, NULL, &sim);
	memset(data, 0x11, sizeof(data));
	vsc_buffer_put(&w.b, data, sizeof(data));
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 40; i++)
			simvsp_send(&w, w.c, "rwf"[i % 3], 0, i % 5 * 4);
		while (vsc_outstanding(w.c)) {
			if (vsc_recv(w.c, &a))
				assert_true(vsc_good(&a));
		}
	}
	simvsp_send(&w, w.c, 's', 0, 0);
	while (vsc_outstanding(w.c))
		vsc_recv(w.c, &a);
	vsc_close(w.c);
	w.c = NULL;
	/* every sector holds what was written, or zeros */
	assert_int_equal(vhd_read(w.img[0], 0, data, sizeof(data), NULL), 0);
	for (unsigned s = 0; s < 8; s++) {
		first = data[s * 512];
		assert_true(first == 0x11 || first == 0);
		for (unsigned i = 0; i < 512; i++)
			assert_int_equal(data[s * 512 + i], first);
	}
	simvsp_stop(&w);
}

/* A guest may read data into its own rings. */
static void data_may_land_in_the_guests_rings(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct storvsp_packet_wire p;
		struct guest_range r = {.len = 4096, .pages = 1};
		struct simvsp w;
		uint8_t junk[4096];
		uint64_t gpa;

		simvsp_start(&w, NULL, NULL);
		for (unsigned b = 0; b < sizeof(junk); b++)
			junk[b] = (uint8_t)random_next(&seed);
		assert_int_equal(
			vhd_write(w.img[1], 0, junk, sizeof(junk), NULL), 0);
		p = read_packet(&w);
		gpa = i % 4 == 0   ? guest_out_ctrl(vsc_ring(w.c))
		      : i % 4 == 1 ? guest_in_ctrl(vsc_ring(w.c))
		      : i % 4 == 2 ? guest_out_gpa(vsc_ring(w.c), 0)
				   : guest_in_ctrl(vsc_ring(w.c)) + 4096;
		r.gpas = &gpa;
		vsc_expect(w.c, 7, 64);
		assert_int_equal(
			guest_send_gpa(vsc_ring(w.c), WANTS, 7, &r, 1, &p, 64),
			0);
		vsc_pump(w.v);
		vsc_pump(w.v);
		/* whatever became of the rings: the process lives, the
		 * channel can be closed, and a new one works
		 */
		vsc_close(w.c);
		w.c = vsc_open(w.v, 0);
		vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
		still_serves(&w);
		simvsp_stop(&w);
	}
}

/* --------------------------------------------------------------- rings --- */

static void spoil(struct simvsp *w, bool in, uint32_t off, uint32_t value)
{
	uint64_t gpa = in ? guest_in_ctrl(vsc_ring(w->c))
			  : guest_out_ctrl(vsc_ring(w->c));

	memcpy((uint8_t *)guest_ptr(vsc_guest(w->v), gpa) + off, &value, 4);
	guest_signal(vsc_ring(w->c));
}

static void ring_broken_with_requests_in_flight_ends_them_silently(void **state)
{
	static const struct {
		bool in;
		uint32_t off, value;
	} rows[] = {
		{false, 0, 4},		/* write index misaligned */
		{false, 0, 0x7FFFFFF8}, /* past the end */
		{true, 4, 4},		/* read index misaligned */
		{true, 4, 0xFFFFFFF8},	/* past the end */
		{true, 4, 8192},	/* beyond what was sent */
		{true, 4, 88},		/* back to what was read before */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct storvsp_stats s;
		struct simvsp w;

		simvsp_start(&w, NULL, NULL);
		simvsp_hold(&w, true);
		for (unsigned n = 0; n < 5; n++)
			simvsp_send(&w, w.c, 'w', 1, n * 8);
		vsc_pump(w.v);
		spoil(&w, rows[i].in, rows[i].off, rows[i].value);
		vsc_pump(w.v);
		simvsp_hold(&w, false);
		vsc_pump(w.v);
		assert_int_equal(simengine_in_flight(w.sim[0]), 0);
		storvsp_get_stats(vsc_vsp(w.v), &s);
		assert_int_equal(s.packets, 4 + 5);
		assert_int_equal(s.cancelled, 5);
		vsc_close(w.c);
		w.c = vsc_open(w.v, 0);
		vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
		still_serves(&w);
		simvsp_stop(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_outside_of_memory_is_refused),
		cmocka_unit_test(last_bytes_of_memory_can_be_used),
		cmocka_unit_test(buffers_at_any_byte_work),
		cmocka_unit_test(overlapping_requests_leave_the_image_sound),
		cmocka_unit_test(data_may_land_in_the_guests_rings),
		cmocka_unit_test(
			ring_broken_with_requests_in_flight_ends_them_silently),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
