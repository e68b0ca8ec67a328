/* SPDX-License-Identifier: BSD-2-Clause */
/* Negotiation: every operation in every state, versions, sizes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "storvsp/session.h"

#define STATES 5u
#define OPS    16u /* 0 and 15 do not exist */

static struct session session_in(enum session_state state, uint16_t version)
{
	return (struct session){
		.state = state,
		.version = version,
		.max_subchannels = 4,
		.max_transfer_bytes = 2u << 20,
	};
}

/* Hand over `bytes` of a packet; returns the act. */
static enum session_act say(struct session *s, struct storvsp_packet_wire *in,
			    size_t bytes, struct storvsp_packet_wire *out,
			    uint16_t *count)
{
	struct storvsp_packet_wire cut = {0};

	memcpy(&cut, in, bytes);
	memset(out, 0xEE, sizeof(*out));
	*count = 0xEEEE;
	return storvsp_session_handle(s, &cut, bytes, out, count);
}

static struct storvsp_packet_wire packet(uint32_t op)
{
	struct storvsp_packet_wire p = {.op = le32_put(op)};

	p.flags = le32_put(1);
	if (op == STORVSP_OP_QUERY_PROTOCOL_VERSION)
		p.u.version.version = le16_put(STORVSP_VERSION_WIN8);
	if (op == STORVSP_OP_CREATE_SUB_CHANNELS)
		p.u.subchannels = le16_put(3);
	return p;
}

/* The whole table: state after, act, status. Rows are states, columns
 * operations 0 to 15; '.' invalid request, '-' invalid state, and of the legal
 * ones: r reply, s started, o offer, x execute, t reset.
 */
static const char *const table[STATES] = {
	/*                    0123456789ABCDEF */
	[STORVSP_SESSION_CLOSED] = "...----r---..-..",
	[STORVSP_SESSION_BEGUN] = "...------r-..-..",
	[STORVSP_SESSION_VERSIONED] = "...-------r..-..",
	[STORVSP_SESSION_DESCRIBED] = "...-----s--..o..",
	[STORVSP_SESSION_READY] = "...xttt----..o..",
};

static const enum session_state next_state[STATES] = {
	STORVSP_SESSION_BEGUN,	   STORVSP_SESSION_VERSIONED,
	STORVSP_SESSION_DESCRIBED, STORVSP_SESSION_READY,
	STORVSP_SESSION_READY,
};

static void check_cell(enum session_state state, uint32_t op)
{
	struct session s = session_in(state, STORVSP_VERSION_WIN8);
	struct storvsp_packet_wire in = packet(op), out;
	char want = table[state][op];
	uint32_t status = want == '.'	? STORVSP_STATUS_INVALID_REQUEST
			  : want == '-' ? STORVSP_STATUS_INVALID_STATE
					: STORVSP_STATUS_SUCCESS;
	uint16_t count;
	enum session_act act = say(&s, &in, 64, &out, &count);

	switch (want) {
	case 's':
		assert_int_equal(act, STORVSP_SESSION_STARTED);
		break;
	case 'o':
		assert_int_equal(act, STORVSP_SESSION_OFFER);
		assert_int_equal(count, 3);
		break;
	case 'x':
		assert_int_equal(act, STORVSP_SESSION_EXECUTE);
		break;
	case 't':
		assert_int_equal(act, STORVSP_SESSION_RESET);
		break;
	default:
		assert_int_equal(act, STORVSP_SESSION_REPLY);
	}
	assert_int_equal(le32_get(out.op), STORVSP_OP_COMPLETE_IO);
	assert_int_equal(le32_get(out.flags), 0);
	assert_int_equal(le32_get(out.status), status);
	if (want == 'r' || want == 's')
		assert_int_equal(s.state, next_state[state]);
	else
		assert_int_equal(s.state, state);
}

static void every_operation_in_every_state_does_what_the_table_says(void **st)
{
	(void)st;
	for (unsigned state = 0; state < STATES; state++) {
		assert_int_equal(strlen(table[state]), OPS);
		for (uint32_t op = 0; op < OPS; op++)
			check_cell(state, op);
	}
}

static void unknown_operations_are_refused_and_change_nothing(void **st)
{
	static const uint32_t ops[] = {0, 15, 16, 255, 0x80000003, UINT32_MAX};

	(void)st;
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct session s =
			session_in(STORVSP_SESSION_READY, STORVSP_VERSION_WIN8);
		struct storvsp_packet_wire in = packet(ops[i]), out;
		uint16_t count;

		assert_int_equal(say(&s, &in, 64, &out, &count),
				 STORVSP_SESSION_REPLY);
		assert_int_equal(le32_get(out.status),
				 STORVSP_STATUS_INVALID_REQUEST);
		assert_int_equal(s.state, STORVSP_SESSION_READY);
	}
}

static void sub_channel_accepts_only_requests_and_resets(void **st)
{
	(void)st;
	for (uint32_t op = 0; op < OPS; op++) {
		struct session s =
			session_in(STORVSP_SESSION_READY, STORVSP_VERSION_WIN8);
		struct storvsp_packet_wire in = packet(op), out;
		char want = table[STORVSP_SESSION_READY][op];
		enum session_act act;
		uint16_t count;

		s.sub = true;
		act = say(&s, &in, 64, &out, &count);
		if (want == 'x')
			assert_int_equal(act, STORVSP_SESSION_EXECUTE);
		else if (want == 't')
			assert_int_equal(act, STORVSP_SESSION_RESET);
		else
			assert_int_equal(
				le32_get(out.status),
				want == '.' ? STORVSP_STATUS_INVALID_REQUEST
					    : STORVSP_STATUS_INVALID_STATE);
	}
}

/* A request that is not run must not look like one that is under way. */
static void refused_request_carries_invalid_request_srb_status(void **st)
{
	struct session s = session_in(STORVSP_SESSION_BEGUN, 0);
	struct storvsp_packet_wire in = packet(STORVSP_OP_EXECUTE_SRB), out;
	uint16_t count;

	(void)st;
	say(&s, &in, 64, &out, &count);
	assert_int_equal(out.u.request.srb_status, 0x06);
}

static void known_versions_are_accepted_and_all_others_are_not(void **st)
{
	(void)st;
	for (uint32_t v = 0; v <= UINT16_MAX; v++) {
		struct session s = session_in(STORVSP_SESSION_BEGUN, 0);
		struct storvsp_packet_wire in =
			packet(STORVSP_OP_QUERY_PROTOCOL_VERSION);
		struct storvsp_packet_wire out;
		bool known = v == 0x0602 || v == 0x0600 || v == 0x0501 ||
			     v == 0x0402 || v == 0x0200;
		uint16_t count;

		in.u.version.version = le16_put((uint16_t)v);
		in.u.version.revision = le16_put(0x1234);
		say(&s, &in, 64, &out, &count);
		assert_int_equal(le32_get(out.status),
				 known ? 0 : STORVSP_STATUS_REVISION_MISMATCH);
		assert_int_equal(s.state, known ? STORVSP_SESSION_VERSIONED
						: STORVSP_SESSION_BEGUN);
		assert_int_equal(s.version, known ? v : 0);
	}
}

static void properties_are_told_byte_for_byte(void **st)
{
	static const uint8_t multi[64] = {
		[0] = 1,     /* COMPLETE_IO */
		[16] = 4,    /* sub-channels */
		[20] = 1,    /* several channels */
		[26] = 0x20, /* 2 MiB */
	};
	static const uint8_t single[64] = {[0] = 1, [26] = 0x20};
	struct storvsp_packet_wire in = packet(STORVSP_OP_QUERY_PROPERTIES);
	struct storvsp_packet_wire out;
	struct session s;
	uint16_t count;

	(void)st;
	s = session_in(STORVSP_SESSION_VERSIONED, STORVSP_VERSION_WIN10);
	say(&s, &in, 64, &out, &count);
	assert_memory_equal(&out, multi, 64);

	s = session_in(STORVSP_SESSION_VERSIONED, STORVSP_VERSION_WIN10);
	s.max_subchannels = 0;
	say(&s, &in, 64, &out, &count);
	assert_memory_equal(&out, single, 64);

	/* before 5.1 nobody knows of sub-channels */
	s = session_in(STORVSP_SESSION_VERSIONED, STORVSP_VERSION_WIN7);
	say(&s, &in, 48, &out, &count);
	assert_memory_equal(&out, single, 64);
}

static uint32_t ask_subs(struct session *s, uint16_t n, enum session_act *act)
{
	struct storvsp_packet_wire in = packet(STORVSP_OP_CREATE_SUB_CHANNELS);
	struct storvsp_packet_wire out;
	uint16_t count;

	in.u.subchannels = le16_put(n);
	*act = say(s, &in, 64, &out, &count);
	if (*act == STORVSP_SESSION_OFFER)
		assert_int_equal(count, n);
	return le32_get(out.status);
}

static void sub_channels_up_to_the_limit_and_once(void **st)
{
	struct session s =
		session_in(STORVSP_SESSION_READY, STORVSP_VERSION_WIN8);
	enum session_act act;

	(void)st;
	assert_int_equal(ask_subs(&s, 5, &act),
			 STORVSP_STATUS_INVALID_PARAMETER);
	assert_int_equal(ask_subs(&s, 0xFFFF, &act),
			 STORVSP_STATUS_INVALID_PARAMETER);
	assert_int_equal(ask_subs(&s, 0, &act), 0);
	assert_int_equal(act, STORVSP_SESSION_REPLY);
	assert_int_equal(ask_subs(&s, 4, &act), 0);
	assert_int_equal(act, STORVSP_SESSION_OFFER);
	/* repeated and decreasing */
	assert_int_equal(ask_subs(&s, 4, &act), STORVSP_STATUS_INVALID_STATE);
	assert_int_equal(ask_subs(&s, 1, &act), STORVSP_STATUS_INVALID_STATE);

	s = session_in(STORVSP_SESSION_READY, STORVSP_VERSION_WIN7);
	assert_int_equal(ask_subs(&s, 1, &act),
			 STORVSP_STATUS_INVALID_PARAMETER);
}

/* Each operation at the bytes it needs, and at one less. */
static void short_packets_are_refused(void **st)
{
	static const struct {
		uint32_t op;
		enum session_state state;
		uint16_t version;
		size_t need;
	} rows[] = {
		{STORVSP_OP_BEGIN_INITIALIZATION, STORVSP_SESSION_CLOSED, 0,
		 12},
		{STORVSP_OP_QUERY_PROTOCOL_VERSION, STORVSP_SESSION_BEGUN, 0,
		 14},
		{STORVSP_OP_QUERY_PROPERTIES, STORVSP_SESSION_VERSIONED,
		 STORVSP_VERSION_WIN8, 12},
		{STORVSP_OP_END_INITIALIZATION, STORVSP_SESSION_DESCRIBED,
		 STORVSP_VERSION_WIN8, 12},
		{STORVSP_OP_CREATE_SUB_CHANNELS, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN8, 14},
		{STORVSP_OP_EXECUTE_SRB, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN8, 64},
		{STORVSP_OP_EXECUTE_SRB, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN7, 48},
		{STORVSP_OP_RESET_BUS, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN8, 20},
		{STORVSP_OP_RESET_LUN, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN8, 20},
		{STORVSP_OP_RESET_ADAPTER, STORVSP_SESSION_READY,
		 STORVSP_VERSION_WIN8, 12},
	};

	(void)st;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct storvsp_packet_wire in = packet(rows[i].op), out;

		for (size_t n = 0; n <= 64; n++) {
			struct session s =
				session_in(rows[i].state, rows[i].version);
			uint16_t count;

			say(&s, &in, n, &out, &count);
			assert_int_equal(
				le32_get(out.status),
				n < rows[i].need
					? STORVSP_STATUS_INVALID_PARAMETER
					: 0);
		}
	}
}

static void reply_has_the_size_of_the_request_capped(void **st)
{
	static const struct {
		size_t in, out;
	} rows[] = {
		{0, 16},  {8, 16},  {12, 16}, {16, 16},	  {24, 24},
		{47, 48}, {48, 48}, {50, 56}, {56, 56},	  {63, 64},
		{64, 64}, {65, 64}, {72, 64}, {4096, 64}, {524264, 64},
	};

	(void)st;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(storvsp_session_reply_bytes(rows[i].in),
				 rows[i].out);
}

static void unasked_packets_have_the_negotiated_size(void **st)
{
	struct session s =
		session_in(STORVSP_SESSION_READY, STORVSP_VERSION_WIN7);

	(void)st;
	assert_int_equal(storvsp_session_unasked_bytes(&s), 48);
	s.version = STORVSP_VERSION_WIN8;
	assert_int_equal(storvsp_session_unasked_bytes(&s), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_operation_in_every_state_does_what_the_table_says),
		cmocka_unit_test(
			unknown_operations_are_refused_and_change_nothing),
		cmocka_unit_test(sub_channel_accepts_only_requests_and_resets),
		cmocka_unit_test(
			refused_request_carries_invalid_request_srb_status),
		cmocka_unit_test(
			known_versions_are_accepted_and_all_others_are_not),
		cmocka_unit_test(properties_are_told_byte_for_byte),
		cmocka_unit_test(sub_channels_up_to_the_limit_and_once),
		cmocka_unit_test(short_packets_are_refused),
		cmocka_unit_test(reply_has_the_size_of_the_request_capped),
		cmocka_unit_test(unasked_packets_have_the_negotiated_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
