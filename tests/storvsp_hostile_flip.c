/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that changes a byte right after the host has fetched it, for each
 * byte of each kind of packet and each word of the control pages: the answer,
 * the data and what comes next are those of the packet as it was. Goal G3.
 * Linked with the door that flips (tests/lib/gpa_watch.h).
 */
#include "tests/lib/gpa_watch.h"
#include "tests/lib/hostile.h"
#include "tests/lib/proof.h"

#define PACKET_BYTES_MAX 512u

static unsigned flipped, all; /* bytes */

struct kind {
	const char *name;
	uint16_t type, flags;
	unsigned steps; /* of the negotiation, before it; 4 is all of it */
	uint8_t op;
	uint8_t lun; /* 0 is dynamic, 1 fixed */
	uint8_t cdb[16];
	uint8_t data_in;
	uint32_t bytes; /* 0: in-band */
	unsigned pages;
};

#define SRB	 9, WANTS, 4, STORVSP_OP_EXECUTE_SRB, 1
#define PLAIN	 6, WANTS, 4, STORVSP_OP_EXECUTE_SRB, 1
#define OP(s, o) 6, WANTS, s, STORVSP_OP_##o, 1, {0}, 0, 0, 0

static const struct kind kinds[] = {
	{"begin", OP(0, BEGIN_INITIALIZATION)},
	{"version", OP(1, QUERY_PROTOCOL_VERSION)},
	{"properties", OP(2, QUERY_PROPERTIES)},
	{"end", OP(3, END_INITIALIZATION)},
	{"sub-channels", OP(4, CREATE_SUB_CHANNELS)},
	{"reset LUN", OP(4, RESET_LUN)},
	{"reset adapter", OP(4, RESET_ADAPTER)},
	{"reset bus", OP(4, RESET_BUS)},
	{"complete", OP(4, COMPLETE_IO)},
	{"remove", OP(4, REMOVE_DEVICE)},
	{"enumerate", OP(4, ENUMERATE_BUS)},
	{"fchba", OP(4, FCHBA_DATA)},
	{"event", OP(4, EVENT_NOTIFICATION)},
	{"begin again", OP(4, BEGIN_INITIALIZATION)},
	{"request too early", OP(1, EXECUTE_SRB)},
	{"unknown type", 0xFFFF, WANTS, 4, 3, 1, {0}, 2, 0, 0},
	{"no type", 0, WANTS, 4, 6, 1, {0}, 2, 0, 0},
	{"completion", 11, 0, 4, 1, 1, {0}, 2, 0, 0},
	{"no completion wanted", 6, 0, 4, 3, 1, {0}, 2, 0, 0},
	{"gpa of a reset", 9, WANTS, 4, 6, 1, {0}, 2, 4096, 1},
	{"test unit ready", PLAIN, {0x00}, 2, 0, 0},
	{"request sense", SRB, {0x03, 0, 0, 0, 18}, 1, 18, 1},
	{"read 6", SRB, {0x08, 0, 0, 1, 8}, 1, 4096, 1},
	{"write 6", SRB, {0x0A, 0, 0, 9, 8}, 0, 4096, 1},
	{"inquiry", SRB, {0x12, 0, 0, 0, 96}, 1, 96, 1},
	{"inquiry page", SRB, {0x12, 1, 0x83, 0, 96}, 1, 96, 1},
	{"mode sense 6", SRB, {0x1A, 0, 0x3F, 0, 96}, 1, 96, 1},
	{"start stop", PLAIN, {0x1B}, 2, 0, 0},
	{"capacity 10", SRB, {0x25}, 1, 8, 1},
	{"read 10", SRB, {0x28, 0, 0, 0, 0, 1, 0, 0, 8}, 1, 4096, 32},
	{"write 10", SRB, {0x2A, 8, 0, 0, 0, 1, 0, 0, 8}, 0, 4096, 32},
	{"write 10, 3 pages",
	 SRB,
	 {0x2A, 0, 0, 0, 0, 9, 0, 0, 24},
	 0,
	 12288,
	 3},
	{"synchronize 10", PLAIN, {0x35}, 2, 0, 0},
	{"unmap", SRB, {0x42, 0, 0, 0, 0, 0, 0, 0, 24}, 0, 24, 1},
	{"mode sense 10", SRB, {0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 96}, 1, 96, 1},
	{"read 16",
	 SRB,
	 {0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8},
	 1,
	 4096,
	 1},
	{"write 16",
	 SRB,
	 {0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8},
	 0,
	 4096,
	 1},
	{"synchronize 16", PLAIN, {0x91}, 2, 0, 0},
	{"capacity 16",
	 SRB,
	 {0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32},
	 1,
	 32,
	 1},
	{"luns", SRB, {0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, 1, 16, 1},
	{"read 12", SRB, {0xA8, 0, 0, 0, 0, 1, 0, 0, 0, 8}, 1, 4096, 1},
	{"write 12", SRB, {0xAA, 0, 0, 0, 0, 1, 0, 0, 0, 8}, 0, 4096, 1},
	{"mode select 6", SRB, {0x15, 0x10, 0, 0, 24}, 0, 24, 1},
	{"mode select 10", SRB, {0x55, 0x10, 0, 0, 0, 0, 0, 0, 28}, 0, 28, 1},
	{"reserve 10", PLAIN, {0x56}, 2, 0, 0},
	{"release 10", PLAIN, {0x57}, 2, 0, 0},
	{"persistent in", SRB, {0x5E, 2, [8] = 8}, 1, 8, 1},
	{"persistent out", SRB, {0x5F, 6, [8] = 24}, 0, 24, 1},
	{"reserve", PLAIN, {0x16}, 2, 0, 0},
	{"release", PLAIN, {0x17}, 2, 0, 0},
	{"self-test", PLAIN, {0x1D, 0x04}, 2, 0, 0},
	{"pre-fetch 10", PLAIN, {0x34, 0, 0, 0, 0, 1, 0, 0, 8}, 2, 0, 0},
	{"pre-fetch 16", PLAIN, {0x90, [9] = 1, [13] = 8}, 2, 0, 0},
	{"log sense", SRB, {0x4D, 0, 0x2F, 0, 0, 0, 0, 0, 64}, 1, 64, 1},
	{"prevent removal", PLAIN, {0x1E, 0, 0, 0, 1}, 2, 0, 0},
	{"write verify 10", SRB, {0x2E, 0, 0, 0, 0, 1, 0, 0, 8}, 0, 4096, 1},
	{"verify 10", PLAIN, {0x2F, 0, 0, 0, 0, 1, 0, 0, 8}, 2, 0, 0},
	{"write same 10", SRB, {0x41, 0, 0, 0, 0, 9, 0, 0, 8}, 0, 512, 1},
	{"compare and write",
	 SRB,
	 {0x89, [9] = 9, [13] = 1},
	 0,
	 1024,
	 1},
	{"write verify 16", SRB, {0x8E, [9] = 1, [13] = 8}, 0, 4096, 1},
	{"verify 16", PLAIN, {0x8F, [9] = 1, [13] = 8}, 2, 0, 0},
	{"write same 16", SRB, {0x93, [9] = 9, [13] = 8}, 0, 512, 1},
	{"supported opcodes", SRB, {0xA3, 0x0C, [8] = 1}, 1, 4096, 1},
	{"write verify 12", SRB, {0xAE, [5] = 1, [9] = 8}, 0, 4096, 1},
	{"verify 12", PLAIN, {0xAF, [5] = 1, [9] = 8}, 2, 0, 0},
	{"out of range", SRB, {0x28, 0, 0xFF, 0, 0, 1, 0, 0, 8}, 1, 4096, 1},
	{"unknown opcode", PLAIN, {0xFF}, 2, 0, 0},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const uint8_t steps[] = {
	STORVSP_OP_BEGIN_INITIALIZATION, STORVSP_OP_QUERY_PROTOCOL_VERSION,
	STORVSP_OP_QUERY_PROPERTIES, STORVSP_OP_END_INITIALIZATION};

static struct storvsp_packet_wire operation(uint8_t op)
{
	struct storvsp_packet_wire p = {.op = le32_put(op),
					.flags = le32_put(1)};

	if (op == STORVSP_OP_QUERY_PROTOCOL_VERSION)
		p.u.version.version = le16_put(STORVSP_VERSION_WIN10);
	if (op == STORVSP_OP_CREATE_SUB_CHANNELS)
		p.u.subchannels = le16_put(1);
	return p;
}

/* Go on with the negotiation from step `from` up to step `to`. */
static void negotiate(struct simvsp *w, unsigned from, unsigned to)
{
	for (; from < to; from++) {
		struct storvsp_packet_wire p = operation(steps[from]);
		struct vsc_answer a;

		vsc_ask(w->c, &p, sizeof(p), &a);
		assert_int_equal(le32_get(a.p.status), 0);
	}
}

/* A world in which the packet is the next thing to come. */
static void begin(struct simvsp *w, const struct kind *k)
{
	const struct vsc_opts o = {
		.out_pages = 2, .in_pages = 2, .vsp.max_subchannels = 1};
	uint8_t fill[16 * 4096];

	gpa_watch_clear();
	simvsp_start(w, &o, NULL);
	vsc_close(w->c);
	w->c = vsc_open(w->v, 0);
	negotiate(w, 0, k->steps);
	memset(fill, 0xA7, sizeof(fill));
	vsc_buffer_put(&w->b, fill, sizeof(fill));
}

static uint32_t out_index(const struct simvsp *w)
{
	uint32_t in;

	memcpy(&in, guest_ptr(vsc_guest(w->v), guest_out_ctrl(vsc_ring(w->c))),
	       4);
	return in;
}

/* Send it; the bytes it takes in the ring, trailer included. */
static uint32_t send_kind(struct simvsp *w, const struct kind *k)
{
	struct storvsp_packet_wire p = operation(k->op);
	struct guest_range r = {.len = k->bytes, .pages = k->pages};
	uint32_t at = out_index(w), size = guest_out_size(vsc_ring(w->c));
	uint64_t gpas[32];

	/* as Linux 6.1: more page numbers than are needed */
	for (unsigned i = 0; i < 32; i++)
		gpas[i] = w->b.gpas[i % 16];
	r.gpas = gpas;
	if (k->op == STORVSP_OP_EXECUTE_SRB) {
		struct vsc_cmd cmd = {.lun = k->lun,
				      .data_in = k->data_in,
				      .bytes = k->bytes};

		memcpy(cmd.cdb, k->cdb, 16);
		vsc_packet(&cmd, &p);
	}
	if (k->type == VMBUS_PACKET_COMPLETION || !k->flags)
		vsc_expect_none(w->c);
	else
		vsc_expect(w->c, 0x77, sizeof(p));
	if (k->bytes)
		assert_int_equal(guest_send_gpa(vsc_ring(w->c), k->flags, 0x77,
						&r, 1, &p, sizeof(p)),
				 0);
	else
		assert_int_equal(guest_send(vsc_ring(w->c), k->type, k->flags,
					    0x77, &p, sizeof(p)),
				 0);
	return (out_index(w) + size - at) % size;
}

/* What became of it. */
struct outcome {
	bool answered;
	struct vsc_answer a;
	uint8_t data[16 * 4096];
	uint8_t disk[2][64 * 512];
};

/* Run it to its end, and go on as if nothing had been. */
static void finish(struct simvsp *w, const struct kind *k, struct outcome *out)
{
	vsc_pump(w->v);
	gpa_watch_clear();
	memset(&out->a, 0, sizeof(out->a));
	out->answered = vsc_recv(w->c, &out->a);
	vsc_buffer_get(&w->b, out->data, sizeof(out->data));
	negotiate(w,
		  k->steps < 4 && k->op == steps[k->steps] ? k->steps + 1
							   : k->steps,
		  4);
	still_serves(w);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vhd_read(w->img[i], 0, out->disk[i],
					  sizeof(out->disk[i]), NULL),
				 0);
	simvsp_stop(w);
}

static void each_byte_of_each_packet_may_change_after_its_fetch(void **state)
{
	static struct outcome want, got;

	(void)state;
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		uint32_t len;
		struct simvsp w;

		begin(&w, k);
		len = send_kind(&w, k) - 8;
		assert_true(len <= PACKET_BYTES_MAX);
		finish(&w, k, &want);
		all += len;
		for (uint32_t b = 0; b < len; b++) {
			uint64_t gpa;
			uint8_t before, after;

			begin(&w, k);
			gpa = guest_out_gpa(
				vsc_ring(w.c),
				(out_index(&w) + b) %
					guest_out_size(vsc_ring(w.c)));
			send_kind(&w, k);
			before = *(uint8_t *)guest_ptr(vsc_guest(w.v), gpa);
			gpa_watch_flip(gpa, 0xFF);
			vsc_pump(w.v);
			after = *(uint8_t *)guest_ptr(vsc_guest(w.v), gpa);
			flipped += (before ^ after) == 0xFF;
			finish(&w, k, &got);
			if (memcmp(&got, &want, sizeof(got)) != 0)
				fail_msg("%s: byte %u counts twice", k->name,
					 b);
		}
	}
}

/* A command that is added without a row above would go untested. */
static void every_command_there_is_has_its_row(void **state)
{
	struct simvsp w;

	(void)state;
	gpa_watch_clear();
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 512; i++) {
		uint8_t op = (uint8_t)(i / 2);
		struct vsc_cmd cmd = {.lun = i % 2, .cdb = {op}, .data_in = 2};
		struct vsc_answer a;
		bool has = false;

		vsc_run(w.c, &cmd, &a);
		for (unsigned k = 0; k < KINDS; k++)
			has |= kinds[k].op == STORVSP_OP_EXECUTE_SRB &&
			       kinds[k].cdb[0] == op;
		if (!has && (vsc_good(&a) || vsc_status(&a).asc != 0x20))
			fail_msg("no row for command %02x", op);
	}
	simvsp_stop(&w);
}

static const struct kind lists[] = {
	{"unmap",
	 9,
	 WANTS,
	 4,
	 STORVSP_OP_EXECUTE_SRB,
	 0,
	 {0x42, 0, 0, 0, 0, 0, 0, 0, 24},
	 0,
	 24,
	 1},
	{"mode select 6", SRB, {0x15, 0x10, 0, 0, 24}, 0, 24, 1},
	{"mode select 10",
	 SRB,
	 {0x55, 0x10, 0, 0, 0, 0, 0, 0, 28},
	 0,
	 28,
	 1},
	{"persistent out", SRB, {0x5F, 6, [8] = 24}, 0, 24, 1},
	{"compare and write",
	 9,
	 WANTS,
	 4,
	 STORVSP_OP_EXECUTE_SRB,
	 0,
	 {0x89, [9] = 30, [13] = 1},
	 0,
	 1024,
	 1},
	{"write same", SRB, {0x41, 0, 0, 0, 0, 16, 0, 0, 8}, 0, 512, 1},
};

static const uint8_t bytes[][28] = {
	{0, 22, 0, 16, [15] = 16, [19] = 8},
	{[4] = 0x08, 0x12, 0x04},
	{[8] = 0x08, 0x12, 0x04},
	{[0] = 9, [15] = 7}, /* register the key 7 */
};

#define LISTS (sizeof(lists) / sizeof(lists[0]))

/* UNMAP of 8 sectors from LBA 16, MODE SELECT of the caching page, WRITE SAME
 * of a pattern: what lies in the buffer decides, so it is fetched once, too.
 */
static void each_byte_of_a_parameter_list_may_change_after_its_fetch(void **st)
{
	static struct outcome want, got;

	(void)st;
	for (unsigned i = 0; i < LISTS; i++) {
		for (uint32_t b = 0; b <= lists[i].bytes; b++) {
			struct outcome *out = b ? &got : &want;
			uint8_t before, *p;
			struct simvsp w;

			begin(&w, &lists[i]);
			for (unsigned lba = 0; lba < 32; lba += 8)
				simvsp_expect(w.c,
					      simvsp_send(&w, w.c, 'w', 0, lba),
					      "good");
			if (i < sizeof(bytes) / sizeof(bytes[0]))
				vsc_buffer_put(&w.b, bytes[i], 28);
			send_kind(&w, &lists[i]);
			p = (uint8_t *)guest_ptr(vsc_guest(w.v), w.b.gpas[0]) +
			    (b ? b - 1 : 0);
			before = *p;
			if (b)
				gpa_watch_flip(w.b.gpas[0] + b - 1, 0xFF);
			vsc_pump(w.v);
			all += b > 0;
			flipped += b && (*p ^ before) == 0xFF;
			*p = before; /* it is part of what is compared */
			finish(&w, &lists[i], out);
			assert_true(vsc_good(&out->a));
			if (b && memcmp(&got, &want, sizeof(got)) != 0)
				fail_msg("%s: byte %u counts twice",
					 lists[i].name, b - 1);
		}
	}
}

/* The words of both control pages that the host loads while it serves a read:
 * the ring may be found broken by the next look at it, no more.
 */
static void each_byte_of_the_control_words_may_change_after_its_load(void **st)
{
	static const struct kind k = {
		"read 10", SRB, {0x28, 0, 0, 0, 0, 1, 0, 0, 8}, 1, 4096, 1};

	(void)st;
	for (unsigned i = 0; i < 2 * 72; i++) {
		struct vsc_answer a;
		struct simvsp w;
		uint64_t gpa;
		uint8_t before, after;
		bool loaded;

		begin(&w, &k);
		gpa = (i % 2 ? guest_in_ctrl(vsc_ring(w.c))
			     : guest_out_ctrl(vsc_ring(w.c))) +
		      i / 2;
		send_kind(&w, &k);
		gpa_watch(gpa, 1);
		gpa_watch_flip(gpa, 0xFF);
		before = *(uint8_t *)guest_ptr(vsc_guest(w.v), gpa);
		vsc_pump(w.v);
		after = *(uint8_t *)guest_ptr(vsc_guest(w.v), gpa);
		loaded = gpa_watch_touched() > 0;
		gpa_watch_clear();
		all += loaded;
		flipped += loaded && before != after;
		/* else the guest, too, has lost its place in the ring */
		if (!loaded)
			assert_true(vsc_recv(w.c, &a) && vsc_good(&a));
		vsc_close(w.c);
		w.c = vsc_open(w.v, 0);
		negotiate(&w, 0, 4);
		still_serves(&w);
		simvsp_stop(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			each_byte_of_each_packet_may_change_after_its_fetch),
		cmocka_unit_test(every_command_there_is_has_its_row),
		cmocka_unit_test(
			each_byte_of_a_parameter_list_may_change_after_its_fetch),
		cmocka_unit_test(
			each_byte_of_the_control_words_may_change_after_its_load),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	printf("%u of %u bytes\n", flipped, all);
	proof_figure("G3", failed == 0 && flipped == all && all > 0,
		     "%u of %u bytes flipped right after their fetch: %zu "
		     "kinds of packet, parameter lists, control words",
		     flipped, all, KINDS);
	return failed || flipped != all;
}
