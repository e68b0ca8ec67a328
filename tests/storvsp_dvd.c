/* SPDX-License-Identifier: BSD-2-Clause */
/* The DVD-ROM drive: what it tells, its tray and lock, and discs exchanged
 * under a guest that reads.
 */
#include <errno.h>

#include "storvsp/scsi/dvd.h"
#include "tests/lib/plainvsp.h"
#include "tests/lib/scsitask.h"

#define BLOCK 2048u

/* A drive with a disc of 1000 blocks; the image itself is never looked at. */
static void drive(struct task *k, uint32_t buffer, uint8_t data_in)
{
	task_init(k, buffer, data_in);
	k->disk.dvd = true;
	k->disk.read_only = true;
	k->disk.block_log2 = DVD_BLOCK_LOG2;
	k->disk.img = (struct vhd *)(void *)k;
	atomic_store(&k->switches.sectors, 4000);
}

static void empty(struct task *k, uint32_t buffer, uint8_t data_in)
{
	drive(k, buffer, data_in);
	k->disk.img = NULL;
	atomic_store(&k->switches.sectors, 0);
}

/* ------------------------------------------------------- the table --- */

static const struct known {
	uint8_t bytes;
	char dir;
	enum scsi_verdict verdict, without_disc;
	uint8_t cdb[16];
} known[] = {
	{6, '-', SCSI_GOOD, SCSI_NO_DISC, {0x00}},
	{6, 'i', SCSI_GOOD, SCSI_GOOD, {0x03, 0, 0, 0, 18}},
	{6, 'i', SCSI_GOOD, SCSI_GOOD, {0x12, 0, 0, 0, 36}},
	{6, 'o', SCSI_GOOD, SCSI_GOOD, {0x15, 0x10}},
	{6, 'i', SCSI_GOOD, SCSI_GOOD, {0x1A, 0, 0x2A, 0, 128}},
	{6, '-', SCSI_GOOD, SCSI_GOOD, {0x1B, 0, 0, 0, 1}},
	{6, '-', SCSI_GOOD, SCSI_GOOD, {0x1D, 0x04}},
	{6, '-', SCSI_GOOD, SCSI_GOOD, {0x1E}},
	{10, 'i', SCSI_GOOD, SCSI_NO_DISC, {0x25}},
	{10, 'i', SCSI_IO, SCSI_NO_DISC, {0x28, [8] = 1}},
	{10, '-', SCSI_GOOD, SCSI_NO_DISC, {0x2B, [5] = 1}},
	{10, '-', SCSI_IO, SCSI_NO_DISC, {0x2F, [8] = 1}},
	{10, '-', SCSI_GOOD, SCSI_NO_DISC, {0x35}},
	{10, 'i', SCSI_GOOD, SCSI_NO_DISC, {0x43, [8] = 20}},
	{10, 'i', SCSI_GOOD, SCSI_GOOD, {0x46, [8] = 255}},
	{10, 'i', SCSI_GOOD, SCSI_GOOD, {0x4A, 1, [4] = 0x10, [8] = 8}},
	{10, 'i', SCSI_GOOD, SCSI_NO_DISC, {0x51, [8] = 34}},
	{10, 'i', SCSI_GOOD, SCSI_NO_DISC, {0x52, [8] = 36}},
	{10, 'o', SCSI_GOOD, SCSI_GOOD, {0x55, 0x10}},
	{10, 'i', SCSI_GOOD, SCSI_GOOD, {0x5A, 0, 0x2A, [8] = 128}},
	{10, 'i', SCSI_GOOD, SCSI_GOOD, {0x5C, [8] = 12}},
	{12, 'i', SCSI_GOOD, SCSI_GOOD, {0xA0, [9] = 16}},
	{12, 'i', SCSI_GOOD, SCSI_GOOD, {0xA3, 0x0C, [9] = 255}},
	{12, 'i', SCSI_IO, SCSI_NO_DISC, {0xA8, [9] = 1}},
	{12, 'i', SCSI_GOOD, SCSI_NO_DISC, {0xAC, [9] = 1}},
	{12, 'i', SCSI_GOOD, SCSI_NO_DISC, {0xAD, [9] = 21}},
	{12, 'o', SCSI_GOOD, SCSI_GOOD, {0xB6}},
	{12, '-', SCSI_GOOD, SCSI_GOOD, {0xBB}},
	{12, 'i', SCSI_GOOD, SCSI_GOOD, {0xBD, [9] = 8}},
};

#define KNOWN (sizeof(known) / sizeof(known[0]))

static uint8_t fitting(char dir)
{
	return dir == 'i'   ? STORVSP_DATA_IN
	       : dir == 'o' ? STORVSP_DATA_OUT
			    : STORVSP_DATA_NONE;
}

static const struct known *find(unsigned opcode)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (known[i].cdb[0] == opcode)
			return &known[i];
	return NULL;
}

static void known_opcodes_run_and_all_others_are_refused(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		const struct known *c = find(op);
		uint8_t other[16] = {(uint8_t)op};
		struct task k;

		drive(&k, 4096, c ? fitting(c->dir) : STORVSP_DATA_IN);
		assert_int_equal(task_run(&k, 0, c ? c->cdb : other,
					  c ? c->bytes : 16),
				 c ? c->verdict : SCSI_BAD_OPCODE);
		if (!c)
			continue;
		empty(&k, 4096, fitting(c->dir));
		assert_int_equal(task_run(&k, 0, c->cdb, c->bytes),
				 c->without_disc);
		drive(&k, 4096, fitting(c->dir));
		atomic_store(&k.switches.tray_open, true);
		assert_int_equal(task_run(&k, 0, c->cdb, c->bytes),
				 c->without_disc == SCSI_NO_DISC
					 ? SCSI_NO_DISC_TRAY_OPEN
					 : c->without_disc);
	}
}

static void the_list_of_commands_is_the_truth(void **state)
{
	bool listed[256] = {false};
	struct task k;

	(void)state;
	drive(&k, 4096, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0),
			 SCSI_GOOD);
	for (uint32_t at = 4; at < k.t.reply_bytes; at += 8)
		listed[k.t.reply[at]] = true;
	for (unsigned op = 0; op < 256; op++)
		assert_int_equal(listed[op], find(op) != NULL);
}

/* ---------------------------------------------------------- what is told -- */

static void a_drive_says_that_it_is_one(void **state)
{
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 0, 0, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\x05\x80\x05\x02", 4);
	assert_memory_equal(k.t.reply + 8, "Msft    Virtual DVD-ROM 1.0 ", 28);
	assert_int_equal(RUN(&k, 0x12, 1, 0, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 7);
	assert_memory_equal(k.t.reply, "\x05\x00\x00\x03\x00\x80\x83", 7);
	assert_int_equal(RUN(&k, 0x12, 1, 0xB0, 0, 255, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\0\0\x03\xe7\0\0\x08\0", 8);
}

/* Linux: byte 2 bit 3 of the page, or the drive is no DVD. */
static void page_2a_is_byte_exact(void **state)
{
	static const uint8_t page[26] = {0x2A, 24, 0x08, 0, 0x70, 0,	0x29, 0,
					 0x56, 0x90, 0,	 0, 2,	  0, 0x56, 0x90};
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x1A, 0, 0x2A, 0, 128, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 4 + 26);
	assert_memory_equal(k.t.reply, "\x1d\0\0\0", 4);
	assert_memory_equal(k.t.reply + 4, page, 26);
	atomic_store(&k.switches.tray_locked, true);
	assert_int_equal(RUN(&k, 0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 128, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 26);
	assert_int_equal(k.t.reply[8 + 6], 0x2B);
	/* all of them; not those of a disk */
	assert_int_equal(RUN(&k, 0x1A, 0, 0x3F, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 4 + 12 + 12 + 12 + 26);
	assert_int_equal(RUN(&k, 0x1A, 0, 0x08, 0, 255, 0), SCSI_BAD_FIELD);
}

static void a_table_of_contents_has_one_track(void **state)
{
	static const struct {
		uint8_t cdb[10];
		uint32_t bytes;
		uint8_t want[20];
	} rows[] = {
		{{0x43, [8] = 255},
		 20,
		 {0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0,
		  0, 3, 0xE8}},
		{{0x43, 2, [8] = 255}, /* minutes, seconds, frames */
		 20,
		 {0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xAA, 0, 0,
		  0, 15, 25}},
		{{0x43, [6] = 0xAA, [8] = 255},
		 12,
		 {0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 3, 0xE8}},
		{{0x43, 0, 1, [8] = 255},
		 12,
		 {0, 10, 1, 1, 0, 0x14, 1, 0}},
		{{0x43, [8] = 255, 0x40}, /* where the format once was */
		 12,
		 {0, 10, 1, 1, 0, 0x14, 1, 0}},
	};
	static const uint8_t bad[][10] = {
		{0x43, [6] = 2}, {0x43, 0, 2}, {0x43, 0, 5}, {0x43, [9] = 0x80},
	};
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(task_run(&k, 0, rows[i].cdb, 10), SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, rows[i].bytes);
		assert_memory_equal(k.t.reply, rows[i].want, rows[i].bytes);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(task_run(&k, 0, bad[i], 10), SCSI_BAD_FIELD);
	/* 255 minutes are all that can be told */
	atomic_store(&k.switches.sectors, 4 * 256 * 60 * 75);
	assert_int_equal(RUN(&k, 0x43, 2, 0, 0, 0, 0, 0xAA, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply[9], 255);
}

static void disc_and_track_are_told(void **state)
{
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 34);
	assert_memory_equal(k.t.reply, "\0\x20\x0e\x01\x01\x01\x01", 7);
	assert_int_equal(RUN(&k, 0x51, 1, 0, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_BAD_FIELD);
	for (uint8_t by = 0; by < 4; by++) {
		assert_int_equal(RUN(&k, 0x52, by, 0, 0, 0, 1, 0, 0, 255, 0),
				 by < 3 ? SCSI_GOOD : SCSI_BAD_FIELD);
		if (by == 3)
			continue;
		assert_int_equal(k.t.reply_bytes, 36);
		assert_memory_equal(k.t.reply, "\0\x22\x01\x01\0\x04\x01", 7);
		assert_int_equal(scsi_get32(k.t.reply + 24), 1000);
	}
	assert_int_equal(RUN(&k, 0x52, 1, 0, 0, 0, 2, 0, 0, 255, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x52, 0, 0, 0, 3, 0xE8, 0, 0, 255, 0),
			 SCSI_LBA_RANGE);
	assert_int_equal(RUN(&k, 0xAC, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 24);
	assert_int_equal(scsi_get32(k.t.reply + 16), 999);
	assert_int_equal(RUN(&k, 0xAC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 8); /* no descriptor */
	assert_int_equal(RUN(&k, 0xAC, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0xAC, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),
			 SCSI_BAD_FIELD); /* of writing */
	assert_int_equal(RUN(&k, 0xAD, 1, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0),
			 SCSI_BAD_FIELD); /* a Blu-ray's */
	assert_int_equal(RUN(&k, 0xAD, 0, 0, 0, 0, 0, 1, 0, 0, 255, 0, 0),
			 SCSI_BAD_FIELD); /* layer 1 */
	assert_int_equal(RUN(&k, 0x2B, 0, 0, 0, 3, 0xE7, 0, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x2B, 0, 0, 0, 3, 0xE8, 0, 0, 0, 0),
			 SCSI_LBA_RANGE);
	assert_int_equal(RUN(&k, 0xAD, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 21);
	assert_memory_equal(k.t.reply, "\0\x13\0\0\x01\x0f\x01\0\0\x03\0\0", 12);
	assert_int_equal(RUN(&k, 0xAD, 0, 0, 0, 0, 0, 0, 1, 0, 255, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8);
	for (unsigned f = 2; f < 256; f++)
		assert_int_equal(RUN(&k, 0xAD, 0, 0, 0, 0, 0, 0, (uint8_t)f, 0,
				     255, 0, 0),
				 SCSI_BAD_FIELD);
}

static uint32_t configuration(struct task *k, uint8_t rt, uint16_t from)
{
	assert_int_equal(RUN(k, 0x46, rt, (uint8_t)(from >> 8), (uint8_t)from,
			     0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_get32(k->t.reply), k->t.reply_bytes - 4);
	return k->t.reply_bytes;
}

static void features_are_told_in_order_and_as_they_are(void **state)
{
	struct task k;
	unsigned count = 0;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	for (uint32_t n = configuration(&k, 0, 0), at = 8, last = 0; at < n;
	     at += 4u + k.t.reply[at + 3], count++) {
		uint32_t code = scsi_get16(k.t.reply + at);

		assert_true(at == 8 || code > last);
		assert_true(k.t.reply[at + 2] & 0x01); /* all are current */
		assert_int_equal(k.t.reply[at + 3] % 4, 0);
		last = code;
	}
	assert_int_equal(count, 6);
	assert_int_equal(scsi_get16(k.t.reply + 6), 0x10);
	assert_int_equal(configuration(&k, 2, 0x1F), 8 + 8);
	assert_int_equal(configuration(&k, 2, 0x1E), 8);
	assert_int_equal(configuration(&k, 0, 0x10), 8 + 12 + 8);
	assert_int_equal(configuration(&k, 1, 0x10), 8 + 12 + 8);
	assert_int_equal(RUN(&k, 0x46, 3, 0, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_BAD_FIELD);
	empty(&k, 255, STORVSP_DATA_IN);
	configuration(&k, 0, 0);
	assert_int_equal(scsi_get16(k.t.reply + 6), 0);
	assert_int_equal(k.t.reply[8 + 4 + 2], 0);
	assert_int_equal(configuration(&k, 1, 0), 8 + 12 + 12 + 8 + 8);
	assert_int_equal(configuration(&k, 2, 0x1F), 8 + 8);
	assert_int_equal(k.t.reply[8 + 2] & 0x01, 0);
}

/* Answers of the table above, cut at each length and each size of buffer. */
static void every_length_cuts_without_error(void **state)
{
	static const struct {
		uint8_t cdb[12];
		uint8_t bytes, at; /* of the length's low byte */
	} rows[] = {
		{{0x1A, 0, 0x3F}, 6, 4},    {{0x5A, 0, 0x3F}, 10, 8},
		{{0x43}, 10, 8},	    {{0x46}, 10, 8},
		{{0x4A, 1, [4] = 16}, 10, 8}, {{0x51}, 10, 8},
		{{0x52}, 10, 8},	    {{0x5C}, 10, 8},
		{{0xAD}, 12, 9},	    {{0xBD}, 12, 9},
	};

	(void)state;
	for (unsigned i = 0; i < 10 * 100; i++) {
		uint8_t cdb[12], n = (uint8_t)(i / 10);
		struct task k;

		memcpy(cdb, rows[i % 10].cdb, 12);
		cdb[rows[i % 10].at] = n;
		drive(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(task_run(&k, 0, cdb, rows[i % 10].bytes),
				 SCSI_GOOD);
		assert_true(scsi_reply_sent(&k.t) <= n);
		cdb[rows[i % 10].at] = 255;
		drive(&k, n, STORVSP_DATA_IN);
		assert_int_equal(task_run(&k, 0, cdb, rows[i % 10].bytes),
				 SCSI_GOOD);
		assert_true(scsi_reply_sent(&k.t) <= n);
	}
}

/* Its pages can be sent back as they are told; nothing can be changed. */
static void mode_pages_of_a_drive_stay_as_they_are(void **state)
{
	uint8_t list[255];
	struct task k;
	uint32_t n;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	n = k.t.reply_bytes;
	memcpy(list, k.t.reply, n);
	drive(&k, 255, STORVSP_DATA_OUT);
	memcpy(k.t.param, list, n);
	k.t.param_bytes = n;
	assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, (uint8_t)n, 0),
			 SCSI_GOOD);
	/* a block descriptor is none of a drive's */
	memset(k.t.param, 0, sizeof(k.t.param));
	k.t.param[3] = 8;
	scsi_put32(k.t.param + 8, 2048);
	assert_int_equal(RUN(&k, 0x15, 0x10, 0, 0, 12, 0), SCSI_BAD_PARAM);
	k.t.param[3] = 0;
	k.t.param[4] = 0x2A;
	k.t.param[5] = 24;
	assert_int_equal(RUN(&k, 0x15, 0x10, 0, 0, 30, 0), SCSI_BAD_PARAM);
}

/* ------------------------------------------------------------ the tray --- */

static enum scsi_verdict tray(struct task *k, uint8_t how)
{
	return RUN(k, 0x1B, 0, 0, 0, how, 0);
}

static uint8_t event(struct task *k)
{
	assert_int_equal(RUN(k, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0), SCSI_GOOD);
	assert_memory_equal(k->t.reply, "\0\x06\x04\x10", 4);
	return k->t.reply[4];
}

static void the_tray_opens_unless_it_is_locked(void **state)
{
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(event(&k), DVD_NO_CHANGE);
	assert_int_equal(k.t.reply[5], 0x02); /* a disc */
	assert_int_equal(RUN(&k, 0x1E, 0, 0, 0, 1, 0), SCSI_GOOD);
	assert_int_equal(tray(&k, 2), SCSI_TRAY_LOCKED);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x1E, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x1E, 0, 0, 0, 2, 0), SCSI_BAD_FIELD);
	assert_int_equal(tray(&k, 2), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_NO_DISC_TRAY_OPEN);
	assert_int_equal(event(&k), DVD_DISC_GONE);
	assert_int_equal(k.t.reply[5], 0x01);
	assert_int_equal(event(&k), DVD_NO_CHANGE); /* told once */
	assert_int_equal(RUN(&k, 0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply[1], 0x10);
	/* the motor, without the tray */
	assert_int_equal(tray(&k, 0), SCSI_GOOD);
	assert_int_equal(tray(&k, 1), SCSI_GOOD);
	assert_int_equal(tray(&k, 0x12), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_NO_DISC_TRAY_OPEN);
	/* in again: another one for all the guest knows */
	assert_int_equal(tray(&k, 3), SCSI_GOOD);
	assert_int_equal(event(&k), DVD_NEW_DISC);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_UA_MEDIUM);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_GOOD);
	/* closed a second time: nothing */
	assert_int_equal(tray(&k, 3), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_GOOD);
}

static void events_are_told_to_who_asks_for_them_and_has_room(void **state)
{
	struct task k;

	(void)state;
	drive(&k, 255, STORVSP_DATA_IN);
	atomic_store(&k.switches.media_event, DVD_NEW_DISC);
	/* unasked for; other classes; room for the header only */
	assert_int_equal(RUN(&k, 0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x4A, 1, 0, 0, 0xEF, 0, 0, 0, 8, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 4);
	assert_memory_equal(k.t.reply, "\0\x02\x80\x10", 4);
	assert_int_equal(RUN(&k, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 4, 0),
			 SCSI_GOOD);
	assert_int_equal(event(&k), DVD_NEW_DISC);
	/* an empty drive */
	empty(&k, 255, STORVSP_DATA_IN);
	event(&k);
	assert_int_equal(k.t.reply[5], 0);
	assert_int_equal(tray(&k, 2), SCSI_GOOD);
	assert_int_equal(event(&k), DVD_NO_CHANGE);
	assert_int_equal(tray(&k, 3), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_NO_DISC);
}

/* -------------------------------------------------- through the whole VSP -- */

struct discs {
	struct vsc *v;
	struct vsc_channel *c;
	struct memfile *m[2];
	struct vhd *img[2];
	struct vsc_buffer b;
	struct vhd *gone;
	unsigned goings;
};

/* Disc `i` has (i + 1) * 64 blocks, each full of its number. */
static void insert_discs(struct discs *w)
{
	for (unsigned i = 0; i < 2; i++) {
		static uint8_t data[128 * BLOCK];

		w->m[i] = memfile_create();
		w->img[i] = qtest_create_mem(memfile_file(w->m[i]),
					     VHD_FORMAT_RAW,
					     (i + 1) * 64 * BLOCK, 0);
		memset(data, (int)i + 1, sizeof(data));
		assert_int_equal(vhd_write(w->img[i], 0, data,
					   (i + 1) * 64 * BLOCK, NULL),
				 0);
	}
}

static void on_gone(void *arg, struct vhd *img)
{
	struct discs *w = arg;

	w->gone = img;
	w->goings++;
}

static void start_discs(struct discs *w)
{
	const struct storvsp_disk_opts o = {.lun = 1, .dvd = true};
	struct vsc_opts v = {.vsp.engine = VHD_ENGINE_SYNC};

	memset(w, 0, sizeof(*w));
	insert_discs(w);
	w->v = vsc_create(&v);
	assert_int_equal(storvsp_disk_add(vsc_vsp(w->v), &o, w->img[0], NULL),
			 0);
	w->c = vsc_open(w->v, 0);
	vsc_buffer_init(w->v, &w->b, 16);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
}

static void stop_discs(struct discs *w)
{
	vsc_destroy(w->v);
	for (unsigned i = 0; i < 2; i++) {
		qtest_close(w->img[i]);
		memfile_destroy(w->m[i]);
	}
}

static struct vsc_status ask(struct discs *w, const void *cdb, uint32_t bytes)
{
	struct vsc_cmd cmd = {
		.lun = 1,
		.data_in = bytes ? STORVSP_DATA_IN : STORVSP_DATA_NONE,
		.bytes = bytes,
		.buffer = bytes ? &w->b : NULL,
	};
	struct vsc_answer a;

	memcpy(cmd.cdb, cdb, 12);
	vsc_run(w->c, &cmd, &a);
	return vsc_status(&a);
}

#define ASK(w, bytes, ...) ask(w, (const uint8_t[12]){__VA_ARGS__}, bytes)

static int change(struct discs *w, struct vhd *img)
{
	const struct storvsp_notice n = {.call = on_gone, .arg = w};
	const struct storvsp_address at = {.lun = 1};

	return storvsp_dvd_change(vsc_vsp(w->v), at, img, &n, NULL);
}

static void check_disc(struct discs *w, uint8_t number)
{
	uint8_t got[BLOCK];

	/* the last block is there, none behind it is */
	assert_int_equal(ASK(w, BLOCK, 0x28, [5] = (uint8_t)(64 * number - 1),
			     [8] = 1)
				 .srb,
			 1);
	vsc_buffer_get(&w->b, got, BLOCK);
	for (unsigned i = 0; i < BLOCK; i++)
		assert_int_equal(got[i], number);
	assert_int_equal(
		ASK(w, BLOCK, 0x28, [5] = (uint8_t)(64 * number), [8] = 1).asc,
		0x21);
}

static void discs_are_exchanged_under_the_guest(void **state)
{
	struct vsc_answer a;
	struct discs w;

	(void)state;
	start_discs(&w);
	check_disc(&w, 1);
	assert_int_equal(ASK(&w, 0, 0x1E, [4] = 1).srb, 1); /* locked */
	assert_int_equal(change(&w, w.img[1]), 0);
	vsc_pump(w.v);
	assert_int_equal(w.goings, 1);
	assert_ptr_equal(w.gone, w.img[0]);
	assert_int_equal(ASK(&w, 8, 0x4A, 1, [4] = 0x10, [8] = 8).srb, 1);
	assert_int_equal(ASK(&w, 0, 0x00).asc, 0x28);
	assert_int_equal(ASK(&w, 0, 0x00).srb, 1);
	check_disc(&w, 2);
	/* the guest's lock is still there: the drive is the same */
	assert_int_equal(ASK(&w, 0, 0x1B, [4] = 2).asc, 0x53);
	/* none, and the first again */
	assert_int_equal(change(&w, NULL), 0);
	vsc_pump(w.v);
	assert_int_equal(w.goings, 2);
	assert_ptr_equal(w.gone, w.img[1]);
	assert_int_equal(ASK(&w, 0, 0x00).asc, 0x3A);
	assert_int_equal(ASK(&w, BLOCK, 0x28, [8] = 1).asc, 0x3A);
	assert_int_equal(ASK(&w, 20, 0x43, [8] = 20).asc, 0x3A);
	assert_int_equal(change(&w, w.img[0]), 0);
	vsc_pump(w.v);
	assert_int_equal(w.goings, 3);
	assert_null(w.gone);
	assert_int_equal(ASK(&w, 0, 0x00).asc, 0x28);
	check_disc(&w, 1);
	assert_false(vsc_recv(w.c, &a));
	assert_int_equal(vsc_unasked(w.c), 0); /* there is no LUN to look for */
	stop_discs(&w);
}

static void exchanges_that_cannot_be_are_refused(void **state)
{
	const struct storvsp_disk_opts disk = {.lun = 2};
	const struct storvsp_address other = {.lun = 2}, none = {.lun = 3};
	const struct storvsp_notice n = {0};
	struct memfile *m = memfile_create();
	struct vhd *small;
	struct discs w;

	(void)state;
	start_discs(&w);
	assert_int_equal(change(&w, w.img[0]), -EEXIST);
	assert_int_equal(
		storvsp_disk_add(vsc_vsp(w.v), &disk, w.img[1], NULL), 0);
	assert_int_equal(change(&w, w.img[1]), -EEXIST);
	assert_int_equal(
		storvsp_dvd_change(vsc_vsp(w.v), other, NULL, &n, NULL),
		-ENOENT);
	assert_int_equal(
		storvsp_dvd_change(vsc_vsp(w.v), none, NULL, &n, NULL),
		-ENOENT);
	/* a disc does not grow */
	assert_int_equal(
		storvsp_disk_freeze(vsc_vsp(w.v),
				    (struct storvsp_address){.lun = 1}, &n,
				    NULL),
		-ENOENT);
	small = qtest_create_mem(memfile_file(m), VHD_FORMAT_RAW, 1536, 0);
	assert_int_equal(change(&w, small), -EINVAL);
	assert_int_equal(w.goings, 0);
	stop_discs(&w);
	qtest_close(small);
	memfile_destroy(m);
}

static void an_empty_drive_can_be_there_from_the_beginning(void **state)
{
	const struct storvsp_disk_opts o = {.lun = 5, .dvd = true};
	struct vsc_answer a;
	struct discs w;

	(void)state;
	start_discs(&w);
	assert_int_equal(storvsp_disk_add(vsc_vsp(w.v), &o, NULL, NULL), 0);
	assert_false(vsc_recv(w.c, &a));
	assert_int_equal(vsc_unasked(w.c), 1); /* a drive is a new LUN */
	for (unsigned op = 0; op < 256; op++) {
		struct vsc_cmd cmd = {.lun = 5,
				      .cdb = {(uint8_t)op},
				      .data_in = STORVSP_DATA_NONE};

		vsc_run(w.c, &cmd, &a);
		assert_true(vsc_good(&a) || vsc_status(&a).key == 2 ||
			    vsc_status(&a).key == 5);
	}
	stop_discs(&w);
}

static void a_reset_unlocks_the_tray(void **state)
{
	struct storvsp_packet_wire reset = {
		.op = le32_put(STORVSP_OP_RESET_BUS), .flags = le32_put(1)};
	struct vsc_answer a;
	struct discs w;

	(void)state;
	start_discs(&w);
	assert_int_equal(ASK(&w, 0, 0x1E, [4] = 1).srb, 1);
	assert_int_equal(ASK(&w, 0, 0x1B, [4] = 2).asc, 0x53);
	vsc_ask(w.c, &reset, sizeof(reset), &a);
	assert_int_equal(ASK(&w, 0, 0x1B, [4] = 2).srb, 1);
	stop_discs(&w);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(known_opcodes_run_and_all_others_are_refused),
		T(the_list_of_commands_is_the_truth),
		T(a_drive_says_that_it_is_one),
		T(page_2a_is_byte_exact),
		T(a_table_of_contents_has_one_track),
		T(disc_and_track_are_told),
		T(features_are_told_in_order_and_as_they_are),
		T(every_length_cuts_without_error),
		T(mode_pages_of_a_drive_stay_as_they_are),
		T(the_tray_opens_unless_it_is_locked),
		T(events_are_told_to_who_asks_for_them_and_has_room),
		T(discs_are_exchanged_under_the_guest),
		T(exchanges_that_cannot_be_are_refused),
		T(an_empty_drive_can_be_there_from_the_beginning),
		T(a_reset_unlocks_the_tray),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
