/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of hostile packets, as far as it is the VSP's: each one is
 * answered with an error or dropped, the channel goes on where its ring is
 * sound, and the sums agree (vsc_destroy).
 */
#include "tests/lib/hostile.h"

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
	static const uint16_t types[] = {1,  2,	 3,  4,	 5,	7,	8,
					 10, 12, 13, 14, 0x106, 0x8009, 0xFFFF};
	struct storvsp_packet_wire p;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	p = read_packet(&w);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct vsc_answer a;

		vsc_expect(w.c, 7, 64);
		assert_int_equal(
			guest_send(vsc_ring(w.c), types[i], WANTS, 7, &p, 64),
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
	static const uint64_t ids[] = {
		0,	    1,		UINT64_MAX, UINT64_MAX - 2,
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
	assert_int_equal(guest_send_raw(vsc_ring(w->c), words, 8 * (head + 9)),
			 0);
}

static void impossible_ranges_get_a_scsi_answer(void **state)
{
	static const struct {
		uint32_t count, len, offset;
		unsigned pfns;
	} rows[] = {
		{0, 4096, 0, 1},	  /* no range */
		{UINT32_MAX, 4096, 0, 1}, /* count beyond the header */
		{1, 4096, 0, 0},	  /* list shorter than needed */
		{1, 4096, 1, 1},	  /* the same by the offset */
		{1, 4096, 4096, 2},	  /* offset behind the page */
		{1, 4096, UINT32_MAX, 2},
		{1, UINT32_MAX, 0, 4}, /* sizes that overflow */
		{1, UINT32_MAX, 4095, 4},
		{1, 0, 0, 1},	 /* nothing, but the SRB wants it */
		{1, 4095, 0, 1}, /* one byte short */
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

/* Even where the command needs no data. */
static void impossible_range_refuses_a_command_without_data(void **state)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_EXECUTE_SRB),
		.u.request.cdb_length = 6,
		.u.request.data_in = STORVSP_DATA_NONE,
	};
	struct vsc_answer a;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	send_gpa_raw(&w, 0, 4096, 0, 1, &p);
	assert_true(vsc_recv(w.c, &a));
	assert_bad_field(vsc_status(&a));
	/* other operations have no SCSI answer */
	p.op = le32_put(STORVSP_OP_RESET_BUS);
	send_gpa_raw(&w, 0, 4096, 0, 1, &p);
	assert_true(vsc_recv(w.c, &a));
	assert_int_equal(le32_get(a.p.status),
			 STORVSP_STATUS_INVALID_PARAMETER);
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			impossible_range_refuses_a_command_without_data),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
