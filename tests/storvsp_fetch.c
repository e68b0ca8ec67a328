/* SPDX-License-Identifier: BSD-2-Clause */
/* From ring to answer no control byte is fetched from guest memory twice, and
 * a guest that changes each byte right after its first fetch changes nothing.
 * Linked with the counting door in place of hv/gpa.c.
 */
#include "tests/lib/gpa_watch.h"
#include "tests/lib/simvsp.h"

/* What a packet of each kind is, and how it must end. */
static const struct kind {
	const char *name;
	uint32_t op;
	uint8_t cdb[16];
	uint8_t data_in;
	uint32_t bytes;
	uint8_t srb;
} kinds[] = {
	{"test unit ready", 3, {0x00}, 2, 0, 1},
	{"inquiry", 3, {0x12, 0, 0, 0, 96}, 1, 96, 1},
	{"inquiry page", 3, {0x12, 1, 0x83, 0, 96}, 1, 96, 1},
	{"mode sense", 3, {0x1A, 0, 0x3F, 0, 96}, 1, 96, 1},
	{"capacity", 3, {0x25}, 1, 8, 1},
	{"luns", 3, {0xA0, 0, 0, 0, 0, 0, 0, 0, 16}, 1, 4096, 1},
	{"read", 3, {0x28, 0, 0, 0, 0, 1, 0, 0, 8}, 1, 4096, 1},
	{"write", 3, {0x2A, 8, 0, 0, 0, 1, 0, 0, 8}, 0, 4096, 1},
	{"synchronize", 3, {0x35}, 2, 0, 1},
	{"stop", 3, {0x1B}, 2, 0, 1},
	{"unknown", 3, {0xFF}, 2, 0, 0x86},
	{"reset", 6, {0}, 0, 0, 0},
	{"version", 9, {0}, 0, 0, 0},
	{"nonsense", 99, {0}, 0, 0, 0},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void send_kind(struct simvsp *w, const struct kind *k)
{
	struct vsc_cmd cmd = {
		.data_in = k->data_in,
		.bytes = k->bytes,
		.buffer = k->bytes ? &w->b : NULL,
		.lun = 1,
	};
	struct guest_range r = {
		.len = k->bytes, .gpas = w->b.gpas, .pages = 32};
	uint64_t pages[32];
	struct storvsp_packet_wire p;

	/* as Linux 6.1 does: 32 page numbers, most of them meaningless */
	for (unsigned i = 0; i < 32; i++)
		pages[i] = i < 16 ? w->b.gpas[i] : 0;
	r.gpas = pages;
	memcpy(cmd.cdb, k->cdb, 16);
	vsc_packet(&cmd, &p);
	p.op = le32_put(k->op);
	assert_true(vsc_send(w->c, &p, 64, &r, k->bytes ? 1 : 0) != 0);
}

static void check_kind(struct simvsp *w, const struct kind *k)
{
	struct vsc_answer a;

	assert_true(vsc_recv(w->c, &a));
	if (a.p.u.request.srb_status != k->srb)
		fail_msg("%s: SRB status %02x", k->name,
			 a.p.u.request.srb_status);
}

static void watch_ring(struct simvsp *w)
{
	gpa_watch_clear();
	for (uint32_t off = 0; off < guest_out_size(vsc_ring(w->c));
	     off += HV_PAGE_BYTES)
		gpa_watch(guest_out_gpa(vsc_ring(w->c), off), HV_PAGE_BYTES);
}

static void start(struct simvsp *w)
{
	static const struct vsc_opts small = {.out_pages = 2, .in_pages = 2};

	gpa_watch_clear();
	simvsp_start(w, &small, NULL);
	watch_ring(w);
}

static void every_control_byte_is_fetched_once(void **state)
{
	struct simvsp w;

	(void)state;
	start(&w);
	for (unsigned i = 0; i < 10 * KINDS; i++) {
		gpa_watch_restart();
		send_kind(&w, &kinds[i % KINDS]);
		check_kind(&w, &kinds[i % KINDS]);
		assert_int_equal(gpa_watch_max(NULL), 1);
		assert_true(gpa_watch_touched() >= 16 + 64);
	}
	gpa_watch_clear();
	simvsp_stop(&w);
}

static void bytes_changed_after_their_fetch_change_nothing(void **state)
{
	static const uint8_t masks[] = {0xFF, 1, 2, 4, 8, 16, 32, 64, 128};
	struct simvsp w;

	(void)state;
	start(&w);
	for (unsigned i = 0; i < sizeof(masks) * KINDS; i++) {
		const struct kind *k = &kinds[i % KINDS];

		gpa_watch_restart();
		send_kind(&w, k);
		gpa_watch_flip_all(masks[i / KINDS]);
		vsc_pump(w.v);
		gpa_watch_flip_all(0);
		check_kind(&w, k);
	}
	gpa_watch_clear();
	simvsp_stop(&w);
}

/* One byte at a time, so that no change hides another. */
static void each_single_byte_may_change_after_its_fetch(void **state)
{
	struct simvsp w;
	uint32_t at = 0;

	(void)state;
	start(&w);
	gpa_watch_clear();
	vsc_close(w.c);
	w.c = vsc_open(w.v, 0);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	at = 4 * (16 + 64 + 8);
	for (unsigned i = 0; i < KINDS; i++) {
		uint32_t len = 16 + 64 + 8 + (kinds[i].bytes ? 16 + 8 * 32 : 0);

		for (uint32_t b = 0; b < len; b++) {
			uint64_t gpa = guest_out_gpa(vsc_ring(w.c), at + b);
			const uint8_t *p = guest_ptr(vsc_guest(w.v), gpa);
			uint8_t before;

			send_kind(&w, &kinds[i]);
			before = *p;
			gpa_watch_flip(gpa, 0xFF);
			vsc_pump(w.v);
			/* all but the trailer is fetched, so has changed */
			assert_int_equal(*p ^ before, b < len - 8 ? 0xFF : 0);
			gpa_watch_clear();
			check_kind(&w, &kinds[i]);
			at = (at + len) % guest_out_size(vsc_ring(w.c));
		}
	}
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_control_byte_is_fetched_once),
		cmocka_unit_test(
			bytes_changed_after_their_fetch_change_nothing),
		cmocka_unit_test(each_single_byte_may_change_after_its_fetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
