/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of hostile packets, as far as it is the VSP's: each one is
 * answered with an error or dropped, the channel goes on where its ring is
 * sound, and the sums agree (vsc_destroy).
 */
#include <errno.h>

#include "tests/lib/random.h"
#include "tests/lib/simvsp.h"

#define WANTS VMBUS_PACKET_WANTS_COMPLETION

static void still_serves(struct simvsp *w)
{
	simvsp_expect(w->c, simvsp_send(w, w->c, 'r', 1, 0), "good");
}

/* A request packet for 8 sectors from LBA 0 of LUN 1. */
static struct storvsp_packet_wire read_packet(struct simvsp *w)
{
	struct vsc_cmd cmd = vsc_rw(false, 1, 0, 8, false, &w->b);
	struct storvsp_packet_wire p;

	vsc_packet(&cmd, &p);
	return p;
}

static struct guest_range whole(struct simvsp *w)
{
	return (struct guest_range){
		.len = 4096, .gpas = w->b.gpas, .pages = 1};
}

/* Send with these ranges; what comes back. */
static struct vsc_status try(struct simvsp *w,
			     const struct storvsp_packet_wire *p,
			     const struct guest_range *r, uint32_t count)
{
	struct vsc_answer a;

	vsc_wait(w->c, vsc_send(w->c, p, sizeof(*p), r, count), &a);
	return vsc_status(&a);
}

static void assert_bad_field(struct vsc_status s)
{
	assert_int_equal(s.srb, 0x86);
	assert_int_equal(s.scsi, 0x02);
	assert_int_equal(s.key, 0x5);
	assert_int_equal(s.asc, 0x24);
}

/* ------------------------------------------------------- packet types ---- */

static void packets_that_want_no_completion_are_dropped(void **state)
{
	struct storvsp_packet_wire p;
	struct storvsp_stats s;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	for (uint16_t type = 0; type < 20; type++) {
		if (type == VMBUS_PACKET_GPA_DIRECT)
			continue;
		vsc_expect_none(w.c);
		assert_int_equal(guest_send(vsc_ring(w.c), type, 0, 1, &p, 64),
				 0);
	}
	simvsp_quiet(w.c);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.refused, 19);
	still_serves(&w);
	simvsp_stop(&w);
}

static void completions_sent_to_the_host_are_dropped(void **state)
{
	struct storvsp_packet_wire p;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	for (uint16_t flags = 0; flags < 2; flags++) {
		vsc_expect_none(w.c);
		assert_int_equal(guest_send(vsc_ring(w.c),
					    VMBUS_PACKET_COMPLETION, flags, 1,
					    &p, 64),
				 0);
	}
	simvsp_quiet(w.c);
	still_serves(&w);
	simvsp_stop(&w);
}

static void unknown_packet_types_are_answered_with_an_error(void **state)
{
	static const uint16_t types[] = {1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 14,
					 0x106, 0x8009, 0xFFFF};
	struct storvsp_packet_wire p;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct vsc_answer a;

		vsc_expect(w.c, 7, 64);
		assert_int_equal(guest_send(vsc_ring(w.c), types[i], WANTS, 7,
					    &p, 64),
				 0);
		assert_true(vsc_recv(w.c, &a));
		assert_int_equal(le32_get(a.p.status),
				 STORVSP_STATUS_INVALID_PARAMETER);
		assert_int_equal(a.p.u.request.srb_status, 0x06);
	}
	still_serves(&w);
	simvsp_stop(&w);
}

static void unknown_flags_do_not_matter(void **state)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_EXECUTE_SRB),
		.flags = le32_put(0xFFFFFFFF),
		.u.request.cdb_length = 6,
	};
	struct vsc_answer a;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	vsc_expect(w.c, 7, 64);
	assert_int_equal(guest_send(vsc_ring(w.c), VMBUS_PACKET_INBAND, 0xFFFF,
				    7, &p, 64),
			 0);
	assert_true(vsc_recv(w.c, &a));
	assert_true(vsc_good(&a));
	simvsp_stop(&w);
}

static void short_requests_are_refused_and_long_ones_cut(void **state)
{
	uint8_t bytes[256] = {0};
	struct storvsp_packet_wire p;
	struct guest_range r;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	r = whole(&w);
	memcpy(bytes, &p, 64);
	memset(bytes + 64, 0xFF, sizeof(bytes) - 64);
	for (size_t n = 0; n <= sizeof(bytes); n += 8) {
		struct vsc_answer a;

		vsc_wait(w.c, vsc_send(w.c, bytes, n, &r, 1), &a);
		if (n >= 64)
			assert_true(vsc_good(&a));
		else
			assert_int_equal(le32_get(a.p.status),
					 STORVSP_STATUS_INVALID_PARAMETER);
	}
	simvsp_stop(&w);
}

static void any_transaction_id_is_echoed_and_may_be_used_twice(void **state)
{
	static const uint64_t ids[] = {0, 1, UINT64_MAX, UINT64_MAX - 2,
				       1ull << 63, 0xDEADBEEF, 0xDEADBEEF};
	struct storvsp_packet_wire p;
	struct guest_range r;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	r = whole(&w);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 7; i++)
		assert_true(vsc_send_as(w.c, ids[i], &p, 64, &r, 1));
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	for (unsigned i = 0; i < 7; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_true(vsc_good(&a));
	}
	assert_int_equal(vsc_outstanding(w.c), 0);
	simvsp_stop(&w);
}

/* -------------------------------------------------------------- ranges --- */

static void more_or_less_than_one_range_is_refused(void **state)
{
	struct storvsp_packet_wire p;
	struct guest_range r[3];
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	r[0] = r[1] = r[2] = whole(&w);
	assert_bad_field(try(&w, &p, NULL, 0));
	assert_int_equal(try(&w, &p, r, 1).srb, 1);
	assert_bad_field(try(&w, &p, r, 2));
	assert_bad_field(try(&w, &p, r, 3));
	still_serves(&w);
	simvsp_stop(&w);
}

/* GPA direct by hand: any count, any header length. */
static void send_gpa_raw(struct simvsp *w, uint32_t count, uint32_t len,
			 uint32_t offset, unsigned pfns,
			 const struct storvsp_packet_wire *p)
{
	uint64_t words[64] = {0};
	unsigned head = 4 + pfns;
	uint8_t *b = (uint8_t *)words;

	assert_true(head + 8 + 1 <= 64);
	words[0] = 9 | (uint64_t)head << 16 | (uint64_t)(head + 8) << 32 |
		   (uint64_t)WANTS << 48;
	words[1] = 7;
	words[2] = (uint64_t)count << 32;
	words[3] = len | (uint64_t)offset << 32;
	for (unsigned i = 0; i < pfns; i++)
		words[4 + i] = w->b.gpas[i % 16] / 4096;
	memcpy(b + 8 * head, p, 64);
	vsc_expect(w->c, 7, 64);
	/* and the trailer */
	assert_int_equal(guest_send_raw(vsc_ring(w->c), words,
					8 * (head + 9)),
			 0);
}

static void impossible_ranges_get_a_scsi_answer(void **state)
{
	static const struct {
		uint32_t count, len, offset;
		unsigned pfns;
	} rows[] = {
		{0, 4096, 0, 1},           /* no range */
		{UINT32_MAX, 4096, 0, 1},  /* count beyond the header */
		{1, 4096, 0, 0},           /* list shorter than needed */
		{1, 4096, 1, 1},           /* the same by the offset */
		{1, 4096, 4096, 2},        /* offset behind the page */
		{1, 4096, UINT32_MAX, 2},
		{1, UINT32_MAX, 0, 4},     /* sizes that overflow */
		{1, UINT32_MAX, 4095, 4},
		{1, 0, 0, 1},              /* nothing, but the SRB wants it */
		{1, 4095, 0, 1},           /* one byte short */
	};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct storvsp_packet_wire p = read_packet(&w);
		struct vsc_answer a;

		send_gpa_raw(&w, rows[i].count, rows[i].len, rows[i].offset,
			     rows[i].pfns, &p);
		assert_true(vsc_recv(w.c, &a));
		assert_bad_field(vsc_status(&a));
	}
	still_serves(&w);
	simvsp_stop(&w);
}

static void transfer_length_must_agree_with_range_and_cdb(void **state)
{
	struct storvsp_packet_wire p;
	struct guest_range r;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	r = whole(&w);
	p = read_packet(&w);
	p.u.request.transfer_length = le32_put(4097); /* beyond the range */
	assert_bad_field(try(&w, &p, &r, 1));
	p.u.request.transfer_length = le32_put(UINT32_MAX);
	assert_bad_field(try(&w, &p, &r, 1));
	p.u.request.transfer_length = le32_put(4095); /* CDB wants 4096 */
	assert_bad_field(try(&w, &p, &r, 1));
	p.u.request.transfer_length = le32_put(0);
	assert_bad_field(try(&w, &p, &r, 1));
	/* a larger buffer than needed is fine */
	p = read_packet(&w);
	p.u.request.cdb_or_sense[13] = 7;
	assert_int_equal(try(&w, &p, &r, 1).srb, 1);
	simvsp_stop(&w);
}

static void direction_must_agree_with_the_cdb(void **state)
{
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned d = 0; d < 256; d++) {
		struct storvsp_packet_wire p = read_packet(&w);
		struct guest_range r = whole(&w);

		p.u.request.data_in = (uint8_t)d;
		if (d == STORVSP_DATA_IN)
			assert_int_equal(try(&w, &p, &r, 1).srb, 1);
		else
			assert_bad_field(try(&w, &p, &r, 1));
		p.u.request.cdb_or_sense[0] = 0x8A;
		if (d == STORVSP_DATA_OUT)
			assert_int_equal(try(&w, &p, &r, 1).srb, 1);
		else
			assert_bad_field(try(&w, &p, &r, 1));
	}
	simvsp_stop(&w);
}

static void lengths_that_say_nothing_are_ignored(void **state)
{
	struct storvsp_packet_wire p;
	struct guest_range r;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	r = whole(&w);
	p = read_packet(&w);
	p.u.request.length = le16_put(0xFFFF);
	p.u.request.sense_length = 255;
	assert_int_equal(try(&w, &p, &r, 1).srb, 1);
	p.u.request.length = le16_put(0);
	p.u.request.sense_length = 0;
	p.u.request.srb_status = 0xFF;
	p.u.request.scsi_status = 0xFF;
	p.status = le32_put(0xFFFFFFFF);
	assert_int_equal(try(&w, &p, &r, 1).srb, 1);
	simvsp_stop(&w);
}

static void cdb_lengths_out_of_line_are_refused(void **state)
{
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned n = 0; n < 256; n++) {
		struct storvsp_packet_wire p = read_packet(&w);
		struct guest_range r = whole(&w);

		p.u.request.cdb_length = (uint8_t)n;
		if (n == 16)
			assert_int_equal(try(&w, &p, &r, 1).srb, 1);
		else
			assert_bad_field(try(&w, &p, &r, 1));
	}
	simvsp_stop(&w);
}

static void any_address_is_answered(void **state)
{
	static const uint8_t ends[] = {0, 1, 2, 7, 8, 63, 64, 127, 128, 255};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 1000; i++) {
		static const uint8_t ops[] = {0x00, 0x12, 0xA0, 0x88};
		struct storvsp_packet_wire p = read_packet(&w);
		struct guest_range r = whole(&w);
		bool present;

		p.u.request.path = ends[i % 10];
		p.u.request.target = ends[i / 10 % 10];
		p.u.request.lun = ends[i / 100];
		present = i % 100 == 0 && ends[i / 100] < 2;
		for (unsigned o = 0; o < 4; o++) {
			struct vsc_status s;

			p.u.request.cdb_or_sense[0] = ops[o];
			s = try(&w, &p, &r, 1);
			if (present || o == 1 || o == 2)
				assert_int_equal(s.srb, 1);
			else
				assert_int_equal(s.srb, 0x20);
		}
	}
	simvsp_stop(&w);
}

/* -------------------------------------------------------------- memory --- */

static void data_outside_of_memory_is_refused(void **state)
{
	struct vsc_opts o = {.guest.memory_bytes = 16u << 20,
			     .guest.high_bytes = 2u << 20};
	static const uint64_t bad[] = {
		16u << 20,         /* first byte behind low memory: the hole */
		(4ull << 30) - 4096,
		(4ull << 30) + (2u << 20),
		1ull << 51, 0xFFFFFFFFFFFFF000,
	};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned at = 0; at < 2; at++) {
			uint64_t gpas[2] = {w.b.gpas[0], w.b.gpas[1]};
			struct guest_range r = {
				.offset = 2048, .len = 4096, .gpas = gpas,
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
	static const uint64_t good[] = {(16u << 20) - 4096, 0,
					(4ull << 30),
					(4ull << 30) + (2u << 20) - 4096};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	for (unsigned i = 0; i < 4; i++) {
		struct guest_range r = {.len = 4096, .gpas = &good[i],
					.pages = 1};
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
		assert_int_equal(vhd_write(w.img[1], 0, junk, sizeof(junk),
					   NULL),
				 0);
		p = read_packet(&w);
		gpa = i % 4 == 0 ? guest_out_ctrl(vsc_ring(w.c)) :
		      i % 4 == 1 ? guest_in_ctrl(vsc_ring(w.c)) :
		      i % 4 == 2 ? guest_out_gpa(vsc_ring(w.c), 0) :
				   guest_in_ctrl(vsc_ring(w.c)) + 4096;
		r.gpas = &gpa;
		vsc_expect(w.c, 7, 64);
		assert_int_equal(guest_send_gpa(vsc_ring(w.c), WANTS, 7, &r, 1,
						&p, 64),
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
	uint64_t gpa = in ? guest_in_ctrl(vsc_ring(w->c)) :
			    guest_out_ctrl(vsc_ring(w->c));

	memcpy((uint8_t *)guest_ptr(vsc_guest(w->v), gpa) + off, &value, 4);
	guest_signal(vsc_ring(w->c));
}

static void ring_broken_with_requests_in_flight_ends_them_silently(void **state)
{
	static const struct {
		bool in;
		uint32_t off, value;
	} rows[] = {
		{false, 0, 4},          /* write index misaligned */
		{false, 0, 0x7FFFFFF8}, /* past the end */
		{true, 4, 4},           /* read index misaligned */
		{true, 4, 0xFFFFFFF8},  /* past the end */
		{true, 4, 8192},        /* beyond what was sent */
		{true, 4, 88},          /* back to what was read before */
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

/* ---------------------------------------------------------- multitudes --- */

/* Cheap commands share the batch with everything else: the disk queue is
 * looked at again after every STORVSP_BATCH packets.
 */
static void flood_of_cheap_commands_does_not_starve_the_disk(void **state)
{
	struct vsc_cmd tur = {.data_in = STORVSP_DATA_NONE};
	uint64_t before;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_send(&w, w.c, 'r', 1, 0);
	for (unsigned i = 0; i < 255; i++)
		assert_true(vsc_start(w.c, &tur) != 0);
	before = simengine_submits(w.sim[0]);
	storvsp_poll(vsc_vsp(w.v));
	assert_true(simengine_submits(w.sim[0]) - before >= 4);
	simvsp_stop(&w);
}

static uint64_t stopped_clock(void *arg)
{
	(void)arg;
	return 0;
}

/* Random packets of all kinds, a quick share of the million of PROOF G6. */
static void hundred_thousand_hostile_packets_do_no_harm(void **state)
{
	struct vsc_opts o = {.vsp.now_ms = stopped_clock};
	uint64_t seed = random_seed();
	struct storvsp_stats s;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	for (unsigned i = 0; i < 100000; i++) {
		static const uint16_t types[] = {6, 9, 11, 7, 0, 0xFFFF};
		uint16_t type = types[random_below(&seed, 6)];
		uint16_t flags = (uint16_t)random_below(&seed, 4);
		uint8_t bytes[128];
		size_t n = random_below(&seed, 17) * 8;
		struct vsc_answer a;
		int rc;

		for (unsigned b = 0; b < sizeof(bytes); b++)
			bytes[b] = (uint8_t)random_next(&seed);
		if (random_below(&seed, 2))
			memcpy(bytes,
			       &(uint32_t){(uint32_t)random_below(&seed, 16)},
			       4);
		if (type == 9) {
			struct guest_range r = whole(&w);

			r.len = (uint32_t)random_below(&seed, 8192);
			r.offset = (uint32_t)random_below(&seed, 4097);
			r.pages = (unsigned)random_below(&seed, 3);
			rc = guest_send_gpa(vsc_ring(w.c), flags, i, &r, 1,
					    bytes, n);
		} else {
			rc = guest_send(vsc_ring(w.c), type, flags, i, bytes,
					n);
		}
		if (rc == 0 && flags & 1 && type != 11)
			vsc_expect(w.c, i, n);
		else if (rc == 0)
			vsc_expect_none(w.c);
		if (random_below(&seed, 20) == 0)
			while (vsc_recv(w.c, &a))
				;
	}
	for (struct vsc_answer a; vsc_outstanding(w.c);)
		assert_true(vsc_recv(w.c, &a));
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_true(s.packets > 90000);
	assert_true(vsc_log_lines(w.v) <= 16);
	still_serves(&w);
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_that_want_no_completion_are_dropped),
		cmocka_unit_test(completions_sent_to_the_host_are_dropped),
		cmocka_unit_test(
			unknown_packet_types_are_answered_with_an_error),
		cmocka_unit_test(unknown_flags_do_not_matter),
		cmocka_unit_test(short_requests_are_refused_and_long_ones_cut),
		cmocka_unit_test(
			any_transaction_id_is_echoed_and_may_be_used_twice),
		cmocka_unit_test(more_or_less_than_one_range_is_refused),
		cmocka_unit_test(impossible_ranges_get_a_scsi_answer),
		cmocka_unit_test(transfer_length_must_agree_with_range_and_cdb),
		cmocka_unit_test(direction_must_agree_with_the_cdb),
		cmocka_unit_test(lengths_that_say_nothing_are_ignored),
		cmocka_unit_test(cdb_lengths_out_of_line_are_refused),
		cmocka_unit_test(any_address_is_answered),
		cmocka_unit_test(data_outside_of_memory_is_refused),
		cmocka_unit_test(last_bytes_of_memory_can_be_used),
		cmocka_unit_test(buffers_at_any_byte_work),
		cmocka_unit_test(overlapping_requests_leave_the_image_sound),
		cmocka_unit_test(data_may_land_in_the_guests_rings),
		cmocka_unit_test(
			ring_broken_with_requests_in_flight_ends_them_silently),
		cmocka_unit_test(
			flood_of_cheap_commands_does_not_starve_the_disk),
		cmocka_unit_test(hundred_thousand_hostile_packets_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
