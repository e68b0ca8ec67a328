/* SPDX-License-Identifier: BSD-2-Clause */
/* No byte of a packet is fetched from guest memory twice: counted, and proved
 * by a guest that changes every byte right after its first fetch. Linked with
 * the counting door in place of hv/gpa.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/gpa_watch.h"
#include "lib/guest.h"

struct world {
	struct guest *g;
	struct fakedev dev;
	struct guest_channel *ch;
	struct vmbus_channel *host;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->g = guest_create(NULL);
	fakedev_add(&w->dev, guest_bus(w->g), 1);
	guest_start(w->g);
	w->ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0),
			   &(struct guest_open_opts){2, 2, 0, NULL}, NULL);
	assert_non_null(w->ch);
	w->host = w->dev.open[0];
	gpa_watch_clear();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	gpa_watch_clear();
	guest_close(w->ch);
	guest_destroy(w->g);
	free(w);
	return 0;
}

static uint64_t data_gpa(struct world *w)
{
	return guest_out_gpa(w->ch, 0);
}

/* One GPA-direct packet of 16 + 8 + 8 + 16 bytes of header, 48 of payload. */
#define HEADER	48u
#define PAYLOAD 48u
#define TOTAL	(HEADER + PAYLOAD)

static void send_one(struct world *w)
{
	static const uint64_t pages[2] = {0x10000, 0x20000};
	struct guest_range range = {512, 4096, pages, 2};
	uint8_t payload[PAYLOAD];

	for (unsigned i = 0; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(i + 1);
	assert_int_equal(
		guest_send_gpa(w->ch, 1, 0x77, &range, 1, payload, PAYLOAD), 0);
}

static void check_one(const struct vmbus_packet *p)
{
	assert_int_equal(p->type, VMBUS_PACKET_GPA_DIRECT);
	assert_int_equal(p->flags, 1);
	assert_true(p->trans_id == 0x77);
	assert_int_equal(p->range_count, 1);
	assert_int_equal(p->range_len, 4096);
	assert_int_equal(p->range_offset, 512);
	assert_int_equal(p->pfn_count, 2);
	assert_true(at64(p->pfns) == 0x10);
	assert_true(at64(p->pfns + 8) == 0x20);
	assert_int_equal(p->payload_len, PAYLOAD);
	for (unsigned i = 0; i < PAYLOAD; i++)
		assert_int_equal(p->payload[i], i + 1);
}

static void each_byte_of_a_packet_is_fetched_once_its_trailer_never(void **st)
{
	struct world *w = *st;
	struct vmbus_packet p;
	uint8_t buf[256];

	gpa_watch(data_gpa(w), guest_out_size(w->ch));
	for (unsigned i = 0; i < 200; i++) {
		gpa_watch_restart();
		send_one(w);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
		check_one(&p);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 0);
		vmbus_recv_done(w->host);
		assert_int_equal(gpa_watch_max(NULL), 1);
		assert_int_equal(gpa_watch_touched(), TOTAL);
	}
}

static void control_words_are_loaded_once_per_pass(void **state)
{
	struct world *w = *state;
	struct vmbus_packet p;
	uint8_t buf[256];

	for (unsigned i = 0; i < 10; i++)
		send_one(w);
	gpa_watch(guest_out_ctrl(w->ch), 4); /* the guest's write index */
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
	assert_int_equal(gpa_watch_max(NULL), 1);
	assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 0);
	assert_int_equal(gpa_watch_max(NULL), 2);
	for (unsigned i = 0; i < 10; i++)
		send_one(w);
	gpa_watch_restart();
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
	assert_int_equal(gpa_watch_max(NULL), 1);
}

static void our_own_index_and_what_we_sent_are_never_read_back(void **state)
{
	struct world *w = *state;
	struct vmbus_packet p;
	uint8_t buf[256] = {0};

	gpa_watch(guest_out_ctrl(w->ch) + 4, 4); /* our read index */
	gpa_watch(guest_in_ctrl(w->ch), 4);	 /* our write index */
	gpa_watch(guest_in_ctrl(w->ch) + 4096, 4096);
	for (unsigned i = 0; i < 100; i++) {
		struct guest_packet q;

		send_one(w);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
		vmbus_recv_done(w->host);
		vmbus_recv_mask(w->host);
		vmbus_recv_unmask(w->host);
		assert_true(vmbus_send_space(w->host) > 0);
		assert_int_equal(vmbus_send(w->host, 11, 0, 1, buf, 64), 0);
		vmbus_send_done(w->host);
		assert_int_equal(guest_recv(w->ch, buf, sizeof(buf), &q), 1);
	}
	assert_int_equal(gpa_watch_max(NULL), 0);
}

/* Every byte changes after its first fetch, by every single bit and all. */
static void a_packet_that_changes_after_its_fetch_is_as_it_was(void **state)
{
	static const uint8_t masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 0xFF};
	struct world *w = *state;
	struct vmbus_packet p;
	uint8_t buf[256];

	gpa_watch(data_gpa(w), guest_out_size(w->ch));
	for (unsigned round = 0; round < 180; round++) {
		gpa_watch_restart();
		send_one(w);
		gpa_watch_flip_all(masks[round % sizeof(masks)]);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
		check_one(&p);
		/* each of its bytes was indeed changed */
		assert_int_equal(gpa_watch_touched(), TOTAL);
		gpa_watch_flip_all(0);
		vmbus_recv_done(w->host);
	}
}

/* The same byte by byte, so that no change hides another. */
static void each_single_byte_may_change_after_its_fetch(void **state)
{
	struct world *w = *state;
	struct vmbus_packet p;
	uint32_t at = 0;
	uint8_t buf[256];

	for (unsigned i = 0; i < TOTAL; i++) {
		uint8_t before, after;
		uint64_t gpa = guest_out_gpa(w->ch, at + i);

		send_one(w);
		before = *(uint8_t *)guest_ptr(w->g, gpa);
		gpa_watch_flip(gpa, 0xFF);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
		check_one(&p);
		after = *(uint8_t *)guest_ptr(w->g, gpa);
		assert_int_equal(before ^ after, 0xFF);
		vmbus_recv_done(w->host);
		at = (at + TOTAL + 8) % guest_out_size(w->ch);
	}
}

static void an_index_that_changes_after_its_load_is_as_it_was(void **state)
{
	struct world *w = *state;
	struct vmbus_packet p;
	uint8_t buf[256];

	send_one(w);
	gpa_watch_flip(guest_out_ctrl(w->ch) + 2, 0xFF);
	assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
	check_one(&p);
	/* the next pass sees the nonsense, and says so */
	assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), -EBADMSG);
}

static void opening_reads_each_index_once(void **state)
{
	struct world *w = *state;
	uint64_t ctrl = guest_out_ctrl(w->ch), ctrl2 = guest_in_ctrl(w->ch);

	guest_close(w->ch); /* pages come back in the same order */
	gpa_watch(ctrl, 4096);
	gpa_watch(ctrl2, 4096);
	w->ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0),
			   &(struct guest_open_opts){2, 2, 0, NULL}, NULL);
	assert_non_null(w->ch);
	assert_true(guest_out_ctrl(w->ch) == ctrl);
	assert_true(guest_in_ctrl(w->ch) == ctrl2);
	assert_int_equal(gpa_watch_max(NULL), 1);
	/* two indices each, and the feature word of the outgoing ring */
	assert_int_equal(gpa_watch_touched(), 8 + 8 + 4);
	w->host = w->dev.open[0];
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_byte_of_a_packet_is_fetched_once_its_trailer_never),
		T(control_words_are_loaded_once_per_pass),
		T(our_own_index_and_what_we_sent_are_never_read_back),
		T(a_packet_that_changes_after_its_fetch_is_as_it_was),
		T(each_single_byte_may_change_after_its_fetch),
		T(an_index_that_changes_after_its_load_is_as_it_was),
		T(opening_reads_each_index_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
