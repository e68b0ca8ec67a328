/* SPDX-License-Identifier: BSD-2-Clause */
/* The IDE controller's DVD drives, by programmed I/O. */
#include "tests/lib/ideguest.h"

static uint8_t buf[DISC_BLOCKS * 2048];

/* A drive that told of its power-on already. */
static struct ideguest *begin(void **state, const char *what)
{
	static const uint8_t ready[12] = {0};
	struct ideguest *g = ideguest_new(what);

	*state = g;
	packet(g, 0, false, 0, ready);
	(void)in(g, STATUS);
	return g;
}

static int end(void **state)
{
	ideguest_free(*state);
	return 0;
}

/* Send a packet, take the answer to `buf`: its length, or -1 for an error. */
static int ask(struct ideguest *g, unsigned limit, const uint8_t cdb[12])
{
	unsigned n, got = 0;
	uint8_t status;

	packet(g, 0, false, limit, cdb);
	for (;;) {
		assert_true(g->line[0]);
		status = in(g, STATUS);
		if (!(status & 8))
			break;
		assert_int_equal(in(g, COUNT), 2);
		n = in(g, MID) | (unsigned)in(g, HIGH) << 8;
		assert_true(n > 0 && got + n <= sizeof(buf));
		hv_ide_in(g->ide, 0, DATA, 1, n, buf + got);
		got += n;
	}
	assert_int_equal(in(g, COUNT), 3);
	if (status & 1)
		return -1;
	assert_int_equal(status, 0x50);
	return (int)got;
}

#define ASK(g, ...) ask((g), 0xfffe, (const uint8_t[12]){__VA_ARGS__})

/* Key, code and qualifier of the last error. */
static uint32_t sense(struct ideguest *g)
{
	uint8_t error = in(g, ERROR);

	assert_int_equal(ASK(g, 0x03, 0, 0, 0, 18), 18);
	assert_int_equal(buf[0], 0x70);
	assert_int_equal(error >> 4, buf[2]);
	return (uint32_t)buf[2] << 16 | (uint32_t)buf[12] << 8 | buf[13];
}

static uint32_t be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void a_drive_is_known_by_its_signature(void **state)
{
	struct ideguest *g = begin(state, "c---");

	out(g, COMMAND, 0xec);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	assert_int_equal(in(g, MID), 0x14);
	assert_int_equal(in(g, HIGH), 0xeb);
	out(g, MID, 0);
	out(g, COMMAND, 0x20);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, MID), 0x14);
	out(g, COMMAND, 0xa1);
	assert_int_equal(in(g, STATUS), 0x58);
	data_in(g, buf, 512);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(at16(buf), 0x85c0);
	assert_memory_equal(buf + 54, "iVtrau lDCR/MO", 14);
}

static void device_reset_works_at_any_moment(void **state)
{
	static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1};
	struct ideguest *g = begin(state, "cd--");

	packet(g, 0, false, 0, read10);
	(void)in(g, STATUS);
	g->edges = 0;
	out(g, COMMAND, 0x08);
	assert_int_equal(in(g, STATUS), 0);
	assert_int_equal(in(g, MID), 0x14);
	assert_int_equal(g->edges, 0);
	out(g, DEVICE, 0xb0);
	out(g, COMMAND, 0x08); /* a disk knows no such command */
	assert_int_equal(in(g, STATUS), 0x51);
}

static void a_reset_is_told_once(void **state)
{
	struct ideguest *g = begin(state, "c---");

	control(g, 4);
	control(g, 0);
	assert_int_equal(ASK(g, 0x12, 0, 0, 0, 36), 36);
	assert_int_equal(ASK(g, 0), -1);
	assert_int_equal(sense(g), 0x062900);
	assert_int_equal(ASK(g, 0), 0);
	control(g, 4);
	control(g, 0);
	assert_int_equal(ASK(g, 0x03, 0, 0, 0, 18), 18);
	assert_int_equal(buf[2], 6);
	assert_int_equal(ASK(g, 0), 0);
	assert_int_equal(ASK(g, 0x03, 0, 0, 0, 18), 18);
	assert_int_equal(buf[2], 0);
}

static void inquiry_says_drive(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x12, 0, 0, 0, 255), 36);
	assert_int_equal(buf[0], 5);
	assert_int_equal(buf[1], 0x80);
	assert_memory_equal(buf + 8, "Msft    Virtual CD/ROM  1.0 ", 28);
	assert_int_equal(ASK(g, 0x12, 0, 0, 0, 5), 5);
	assert_int_equal(ASK(g, 0x12, 0, 0, 0, 0), 0);
	assert_int_equal(ASK(g, 0x12, 1, 0, 0, 36), -1);
	assert_int_equal(sense(g), 0x052400);
}

static void blocks_are_read_in_pieces_of_the_limit(void **state)
{
	struct ideguest *g = begin(state, "c---");
	static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 5, 0, 0, 20};
	static const uint8_t read12[12] = {0xa8, 0, 0, 0, 0, 6, 0, 0, 0, 20};
	static const unsigned limits[] = {0, 2, 2047, 2048, 3000, 0xffff};

	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(ask(g, limits[i], read10), 20 * 2048);
		assert_memory_equal(buf, g->bytes[0] + 5 * 2048, 20 * 2048);
	}
	assert_int_equal(ask(g, 2048, read12), 20 * 2048);
	assert_memory_equal(buf, g->bytes[0] + 6 * 2048, 20 * 2048);
}

static void more_than_the_buffer_is_read_in_turns(void **state)
{
	static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 0, 0, 0, 150};
	struct ideguest *g = begin(state, "c---");
	unsigned got = 0, n;

	packet(g, 0, false, 0xfffe, read10);
	while (in(g, STATUS) & 8) {
		n = in(g, MID) | (unsigned)in(g, HIGH) << 8;
		data_in(g, buf, n);
		assert_memory_equal(buf, g->bytes[0] + got, n);
		got += n;
	}
	assert_int_equal(got, 150 * 2048);
}

static void blocks_that_are_not_there_cannot_be_read(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x28, 0, 0, 0, 4, 0, 0, 0, 0), 0);
	assert_int_equal(ASK(g, 0x28, 0, 0, 0, 3, 0xff, 0, 0, 1), 2048);
	assert_int_equal(ASK(g, 0x28, 0, 0, 0, 3, 0xff, 0, 0, 2), -1);
	assert_int_equal(sense(g), 0x052100);
	assert_int_equal(ASK(g, 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1), -1);
	assert_int_equal(ASK(g, 0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff),
			 -1);
	assert_int_equal(sense(g), 0x052100);
	g->disk[0].bad_lba = 9;
	assert_int_equal(ASK(g, 0x28, 0, 0, 0, 0, 8, 0, 0, 2), -1);
	assert_int_equal(sense(g), 0x031100);
}

static void what_it_does_not_know_is_said(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1), -1); /* write */
	assert_int_equal(sense(g), 0x052000);
	assert_int_equal(ASK(g, 0xff), -1);
	assert_int_equal(sense(g), 0x052000);
	out(g, FEATURES, 2); /* overlapped */
	out(g, COMMAND, 0xa0);
	assert_int_equal(in(g, STATUS), 0x51);
}

static void capacity_and_contents(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x25), 8);
	assert_int_equal(be32_at(buf), DISC_BLOCKS - 1);
	assert_int_equal(be32_at(buf + 4), 2048);
	assert_int_equal(ASK(g, 0x43, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 20);
	assert_int_equal(buf[1], 18);
	assert_int_equal(buf[6], 1);
	assert_int_equal(buf[14], 0xaa);
	assert_int_equal(be32_at(buf + 16), DISC_BLOCKS);
	assert_int_equal(ASK(g, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12), 12);
	assert_int_equal(buf[6], 0xaa); /* 1024 + 150 frames: 15 s, 49 */
	assert_int_equal(be32_at(buf + 8), 15 << 8 | 49);
	assert_int_equal(ASK(g, 0x43, 0, 1, 0, 0, 0, 0, 0, 12), 12);
	assert_int_equal(ASK(g, 0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40), 12);
	assert_int_equal(ASK(g, 0x43, 0, 0, 0, 0, 0, 2, 0, 12), -1);
	assert_int_equal(sense(g), 0x052400);
	assert_int_equal(ASK(g, 0x43, 0, 2, 0, 0, 0, 0, 0, 12), -1);
	assert_int_equal(ASK(g, 0x51, 0, 0, 0, 0, 0, 0, 0, 255), 34);
	assert_int_equal(buf[2], 0x0e);
}

static void features_and_capabilities(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x46, 0, 0, 0, 0, 0, 0, 1, 0), 48);
	assert_int_equal(be32_at(buf), 44);
	assert_int_equal(buf[7], 0x10);
	assert_int_equal(ASK(g, 0x46, 2, 0, 0x1f, 0, 0, 0, 1, 0), 12);
	assert_int_equal(ASK(g, 0x46, 2, 0, 0x77, 0, 0, 0, 1, 0), 8);
	assert_int_equal(ASK(g, 0x46, 3, 0, 0, 0, 0, 0, 1, 0), -1);
	assert_int_equal(ASK(g, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128), 28);
	assert_int_equal(buf[1], 26);
	assert_int_equal(buf[8], 0x2a);
	assert_int_equal(buf[14] & 0x29, 0x29);
	assert_int_equal(ASK(g, 0x5a, 0, 0x7f, 0, 0, 0, 0, 0, 128), 40);
	assert_int_equal(buf[22] | buf[23] | buf[26] | buf[39], 0);
	assert_int_equal(ASK(g, 0x5a, 0, 0x0e, 0, 0, 0, 0, 0, 128), -1);
	assert_int_equal(ASK(g, 0x5a, 0, 0xea, 0, 0, 0, 0, 0, 128), -1);
	assert_int_equal(sense(g), 0x052400);
	assert_int_equal(ASK(g, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 8);
}

static void the_tray_opens_unless_it_is_locked(void **state)
{
	struct ideguest *g = begin(state, "c---");

	assert_int_equal(ASK(g, 0x1e, 0, 0, 0, 1), 0);
	assert_int_equal(ASK(g, 0x1b, 0, 0, 0, 2), -1);
	assert_int_equal(sense(g), 0x055302);
	assert_int_equal(ASK(g, 0x1e, 0, 0, 0, 0), 0);
	assert_int_equal(ASK(g, 0x1b, 0, 0, 0, 2), 0);
	assert_int_equal(ASK(g, 0), -1);
	assert_int_equal(sense(g), 0x023a02);
	assert_int_equal(ASK(g, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), -1);
	assert_int_equal(ASK(g, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8);
	assert_int_equal(buf[4], 3);
	assert_int_equal(buf[5], 1);
	assert_int_equal(ASK(g, 0x46, 0, 0, 0, 0, 0, 0, 1, 0), 48);
	assert_int_equal(buf[7], 0); /* no profile without a disc */
	assert_int_equal(ASK(g, 0x46, 1, 0, 0, 0, 0, 0, 1, 0), 32);
	assert_int_equal(ASK(g, 0x1b, 0, 0, 0, 3), 0);
	assert_int_equal(ASK(g, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8);
	assert_int_equal(buf[4], 2);
	assert_int_equal(buf[5], 2);
	assert_int_equal(ASK(g, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8);
	assert_int_equal(buf[4], 0);
	assert_int_equal(ASK(g, 0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8), 4);
	assert_int_equal(buf[2], 0x80);
	assert_int_equal(ASK(g, 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), -1);
	assert_int_equal(ASK(g, 0), 0);
}

static void an_empty_drive_says_so(void **state)
{
	struct ideguest *g = begin(state, "c---");

	g->disk[0].disk.blocks = 0;
	assert_int_equal(ASK(g, 0), -1);
	assert_int_equal(sense(g), 0x023a00);
	assert_int_equal(ASK(g, 0x25), -1);
	assert_int_equal(ASK(g, 0x43, 0, 0, 0, 0, 0, 0, 0, 12), -1);
	assert_int_equal(ASK(g, 0x12, 0, 0, 0, 36), 36);
}

static void a_packet_may_come_in_any_widths(void **state)
{
	static const uint8_t inquiry[14] = {0x12, 0, 0, 0, 36, [12] = 9, 9};
	struct ideguest *g = begin(state, "c---");

	for (unsigned size = 1; size <= 4; size *= 2) {
		out(g, FEATURES, 0);
		out(g, COMMAND, 0xa0);
		for (unsigned i = 0; i < 12; i += size)
			hv_ide_out(g->ide, 0, DATA, size, 1, inquiry + i);
		assert_int_equal(in(g, STATUS), 0x58);
		data_out(g, inquiry, 2); /* goes nowhere */
		data_in(g, buf, 36);
		assert_int_equal(buf[0], 5);
		assert_int_equal(in(g, STATUS), 0x50);
	}
	out(g, COMMAND, 0xa0); /* more than a packet at once */
	data_out(g, inquiry, 14);
	data_in(g, buf, 36);
	assert_int_equal(buf[0], 5);
}

/* All packets there can be of one byte set, to a drive that has a disc. */
static void every_packet_is_answered(void **state)
{
	struct ideguest *g = begin(state, "c---");

	for (unsigned code = 0; code < 256; code++) {
		for (unsigned i = 1; i < 12; i++) {
			uint8_t cdb[12] = {(uint8_t)code};

			cdb[i] = 0xff;
			(void)ask(g, 0xfffe, cdb);
			(void)ASK(g, 0x1e);
			(void)ASK(g, 0x1b, 0, 0, 0, 3);
		}
	}
	assert_int_equal(ASK(g, 0), 0);
}

#define T(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_drive_is_known_by_its_signature),
		T(device_reset_works_at_any_moment),
		T(a_reset_is_told_once),
		T(inquiry_says_drive),
		T(blocks_are_read_in_pieces_of_the_limit),
		T(more_than_the_buffer_is_read_in_turns),
		T(blocks_that_are_not_there_cannot_be_read),
		T(what_it_does_not_know_is_said),
		T(capacity_and_contents),
		T(features_and_capabilities),
		T(the_tray_opens_unless_it_is_locked),
		T(an_empty_drive_says_so),
		T(a_packet_may_come_in_any_widths),
		T(every_packet_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
