/* SPDX-License-Identifier: BSD-2-Clause */
/* The IDE controller: its registers, and hard disks by programmed I/O. */
#include "tests/lib/ideguest.h"

static uint8_t buf[256 * 512];

static struct ideguest *begin(void **state, const char *what)
{
	struct ideguest *g = ideguest_new(what);

	*state = g;
	return g;
}

static int end(void **state)
{
	ideguest_free(*state);
	return 0;
}

static const uint8_t *sector(struct ideguest *g, unsigned d, unsigned lba)
{
	return g->bytes[d] + 512 * lba;
}

/* ------------------------------------------------- drives and registers -- */

static void no_drive_at_all_reads_ones(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->ch = 1;
	for (unsigned reg = 1; reg < 8; reg++)
		assert_int_equal(in(g, reg), 0xff);
	assert_int_equal(alt(g), 0xff);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 4);
	assert_int_equal(buf[0], 0xff);
	assert_int_equal(g->edges, 0);
}

static void a_missing_second_drive_is_silent_beside_the_first(void **state)
{
	struct ideguest *g = begin(state, "d---");

	out(g, DEVICE, 0xb0);
	out(g, COUNT, 0x55);
	assert_int_equal(in(g, COUNT), 0);
	assert_int_equal(in(g, STATUS), 0);
	out(g, COMMAND, 0xec);
	assert_int_equal(in(g, STATUS), 0);
	out(g, DEVICE, 0xa0);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->edges, 0);
}

static void a_second_drive_alone_serves(void **state)
{
	struct ideguest *g = begin(state, "-d--");

	out(g, DEVICE, 0xa0);
	assert_int_equal(in(g, STATUS), 0xff);
	cmd28(g, 1, 0x20, 3, 1);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 1, 3), 512);
	out(g, COMMAND, 0x90); /* diagnose: drive 0 would have answered */
	assert_int_equal(in(g, STATUS), 0xff);
}

static void registers_read_back_and_their_former_contents(void **state)
{
	struct ideguest *g = begin(state, "dd--");

	for (unsigned reg = COUNT; reg <= HIGH; reg++) {
		out(g, reg, 0x10 + reg);
		out(g, reg, 0x20 + reg);
		assert_int_equal(in(g, reg), 0x20 + reg);
	}
	control(g, 0x80);
	for (unsigned reg = COUNT; reg <= HIGH; reg++)
		assert_int_equal(in(g, reg), 0x10 + reg);
	out(g, DEVICE, 0xf5); /* any write ends that; both drives took all */
	for (unsigned reg = COUNT; reg <= HIGH; reg++)
		assert_int_equal(in(g, reg), 0x20 + reg);
	assert_int_equal(in(g, DEVICE), 0xf5);
}

static void wide_accesses_are_the_data_ports_only(void **state)
{
	struct ideguest *g = begin(state, "d---");
	uint8_t v[4] = {0x55, 0x55, 0x55, 0x55};

	out(g, COUNT, 7);
	hv_ide_out(g->ide, 0, COUNT, 2, 1, v);
	assert_int_equal(in(g, COUNT), 7);
	hv_ide_in(g->ide, 0, COUNT, 2, 2, v);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(v[i], 0xff);
}

static void reset_shows_what_each_drive_is(void **state)
{
	struct ideguest *g = begin(state, "dc--");

	control(g, 4);
	assert_int_equal(alt(g), 0x80);
	out(g, COMMAND, 0xec); /* nobody listens */
	assert_int_equal(alt(g), 0x80);
	control(g, 0);
	assert_int_equal(alt(g), 0x50);
	assert_int_equal(in(g, ERROR), 1);
	assert_int_equal(in(g, COUNT), 1);
	assert_int_equal(in(g, LOW), 1);
	assert_int_equal(in(g, MID), 0);
	assert_int_equal(in(g, HIGH), 0);
	out(g, DEVICE, 0xb0);
	assert_int_equal(alt(g), 0);
	assert_int_equal(in(g, MID), 0x14);
	assert_int_equal(in(g, HIGH), 0xeb);
	assert_int_equal(g->edges, 0);
}

/* What one exit costs is bounded: a string of commands is one for a drive that
 * is busy with the first, and a driver waits between them.
 */
static void commands_in_one_string_are_the_first_of_them(void **state)
{
	static uint8_t string[4096];
	struct ideguest *g = begin(state, "d---");

	out(g, DEVICE, 0xe0);
	memset(string, 0xe7, sizeof(string)); /* flush */
	hv_ide_out(g->ide, 0, COMMAND, 1, sizeof(string), string);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->disk[0].flushes, 1);
	assert_int_equal(g->edges, 1);
	string[0] = 0x40; /* verify, then what is not heard */
	out(g, COUNT, 1);
	hv_ide_out(g->ide, 0, COMMAND, 1, 2, string);
	assert_int_equal(g->disk[0].reads, 1);
	assert_int_equal(g->disk[0].flushes, 1);
}

static void reset_in_mid_transfer_forgets_it(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x30, 5, 2);
	memset(buf, 0xee, 512);
	data_out(g, buf, 512);
	control(g, 4);
	control(g, 0);
	assert_int_equal(in(g, STATUS), 0x50);
	data_out(g, buf, 512);
	assert_int_equal(g->disk[0].writes, 0);
	cmd28(g, 0, 0x20, 5, 1);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, 5), 512);
	assert_int_not_equal(buf[0], 0xee);
}

static void diagnostics_select_the_first_drive_and_sign(void **state)
{
	struct ideguest *g = begin(state, "dc--");

	out(g, DEVICE, 0xb0);
	out(g, COMMAND, 0x90);
	assert_int_equal(g->edges, 1);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(in(g, ERROR), 1);
	assert_int_equal(in(g, MID), 0);
	out(g, DEVICE, 0xb0);
	assert_int_equal(in(g, MID), 0x14);
}

/* ---------------------------------------------------------- interrupts --- */

static void reading_status_acknowledges_and_the_alternate_does_not(void **state)
{
	struct ideguest *g = begin(state, "d---");

	out(g, COMMAND, 0xe5);
	assert_true(g->line[0]);
	assert_int_equal(alt(g), 0x50);
	assert_true(g->line[0]);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_false(g->line[0]);
	assert_int_equal(in(g, COUNT), 0xff);
}

static void interrupts_can_be_masked_and_come_when_unmasked(void **state)
{
	struct ideguest *g = begin(state, "d---");

	control(g, 2);
	out(g, COMMAND, 0xe5);
	assert_false(g->line[0]);
	control(g, 0);
	assert_true(g->line[0]);
	out(g, COMMAND, 0xe5); /* a command acknowledges, too */
	assert_int_equal(g->edges, 2);
}

static void the_line_is_the_selected_drives(void **state)
{
	struct ideguest *g = begin(state, "dd--");

	out(g, COMMAND, 0xe5);
	out(g, DEVICE, 0xb0);
	assert_false(g->line[0]);
	assert_int_equal(in(g, STATUS), 0x50); /* not the other's interrupt */
	out(g, DEVICE, 0xa0);
	assert_true(g->line[0]);
}

static void the_channels_are_apart(void **state)
{
	struct ideguest *g = begin(state, "d-d-");

	cmd28(g, 0, 0x20, 1, 1);
	g->ch = 1;
	cmd28(g, 0, 0x20, 2, 1);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 2, 2), 512);
	assert_true(g->line[0] && g->line[1]);
	g->ch = 0;
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, 1), 512);
}

/* ---------------------------------------------------------------- disk --- */

static uint32_t word(unsigned i)
{
	return at16(buf + 2 * i);
}

static void a_disk_says_what_it_is(void **state)
{
	struct ideguest *g = begin(state, "d---");

	out(g, COMMAND, 0xec);
	assert_int_equal(in(g, STATUS), 0x58);
	data_in(g, buf, 512);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->edges, 1);
	assert_int_equal(word(0), 0x40);
	assert_int_equal(word(1), DISK_BLOCKS / (16 * 63));
	assert_int_equal(word(60) | word(61) << 16, DISK_BLOCKS);
	assert_int_equal(at64(buf + 200), DISK_BLOCKS);
	assert_int_equal(word(83) & 0xc400, 0x4400);
	assert_int_equal(word(88), 0x0407);
	assert_int_equal(word(93), 0x4041); /* and there is no other */
	assert_memory_equal(buf + 54, "iVtrau lDH", 10);
	assert_memory_equal(buf + 20, "2143ba00", 8);
}

static void a_large_disk_has_its_size_in_48_bits(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].disk.blocks = 0x123456789aull;
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(word(1), 16383);
	assert_int_equal(word(60) | word(61) << 16, 0x0fffffff);
	assert_int_equal(at64(buf + 200), 0x123456789aull);
}

/* A disk that grew is told by the next machine's IDENTIFY, and reached. */
static void a_reset_finds_the_size_of_by_then(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].disk.blocks = DISK_BLOCKS / 2;
	hv_ide_reset(g->ide);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(word(60) | word(61) << 16, DISK_BLOCKS / 2);
	assert_int_equal(word(1), DISK_BLOCKS / 2 / (16 * 63));
	(void)in(g, STATUS);
	g->disk[0].disk.blocks = DISK_BLOCKS;
	hv_ide_reset(g->ide);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(at64(buf + 200), DISK_BLOCKS);
}

static void sectors_are_read_one_a_piece(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x20, 10, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(g->edges, i + 1);
		assert_int_equal(in(g, STATUS), 0x58);
		data_in(g, buf, 512);
		assert_memory_equal(buf, sector(g, 0, 10 + i), 512);
	}
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->edges, 3);
	assert_int_equal(g->disk[0].reads, 1); /* of the medium at once */
	data_in(g, buf, 2);
	assert_int_equal(buf[0], 0xff);
}

static void any_width_reads_the_same_bytes(void **state)
{
	struct ideguest *g = begin(state, "d---");

	for (unsigned size = 1; size <= 4; size *= 2) {
		cmd28(g, 0, 0x20, 7, 2);
		memset(buf, 0, sizeof(buf));
		/* over the end of a piece, and of the command */
		hv_ide_in(g->ide, 0, DATA, size, 1500 / size, buf);
		assert_memory_equal(buf, sector(g, 0, 7), 1024);
		assert_int_equal(buf[1024], 0xff);
		assert_int_equal(buf[1499 / size * size - 1], 0xff);
		assert_int_equal(in(g, STATUS), 0x50);
	}
}

static void any_width_writes_the_same_bytes(void **state)
{
	struct ideguest *g = begin(state, "d---");

	for (unsigned size = 1; size <= 4; size *= 2) {
		memset(buf, (int)(0x10 * size), 1024);
		cmd28(g, 0, 0x30, 7, 2);
		hv_ide_out(g->ide, 0, DATA, size, 1500 / size, buf);
		assert_memory_equal(buf, sector(g, 0, 7), 1024);
		assert_int_equal(in(g, STATUS), 0x50);
	}
}

static void a_count_of_zero_is_256_sectors(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x21, 100, 0);
	data_in(g, buf, 256 * 512);
	assert_memory_equal(buf, sector(g, 0, 100), 256 * 512);
	assert_int_equal(in(g, STATUS), 0x50);
}

static void extended_commands_count_in_16_bits(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd48(g, 0, 0x24, 1000, 300);
	for (unsigned i = 0; i < 300; i++) {
		data_in(g, buf, 512);
		assert_memory_equal(buf, sector(g, 0, 1000 + i), 512);
	}
	assert_int_equal(in(g, STATUS), 0x50);
	cmd48(g, 0, 0x24, 0, 0); /* 65536 are more than it has */
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x10);
	cmd48(g, 0, 0x24, 1ull << 47, 1);
	assert_int_equal(in(g, STATUS), 0x51);
	cmd48(g, 0, 0x24, 1ull << 24, 1); /* the high bytes count */
	assert_int_equal(in(g, STATUS), 0x51);
}

static void sectors_are_written(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x30, 20, 2);
	assert_int_equal(g->edges, 0);
	assert_int_equal(in(g, STATUS), 0x58);
	for (unsigned i = 0; i < 1024; i++)
		buf[i] = (uint8_t)(i * 3);
	data_out(g, buf, 512);
	assert_int_equal(g->edges, 1);
	assert_int_equal(in(g, STATUS), 0x58);
	data_out(g, buf + 512, 512);
	assert_int_equal(g->edges, 2);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_memory_equal(sector(g, 0, 20), buf, 1024);
	assert_int_equal(g->disk[0].writes, 1);
	assert_int_equal(g->disk[0].flushes, 0);
}

static void more_than_the_buffer_is_written_in_turns(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd48(g, 0, 0x34, 0, 600);
	for (unsigned i = 0; i < 600; i++) {
		assert_int_equal(in(g, STATUS), 0x58);
		memset(buf, (int)i & 0xff, 512);
		data_out(g, buf, 512);
	}
	assert_int_equal(in(g, STATUS), 0x50);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(sector(g, 0, i)[511], i & 0xff);
	assert_int_equal(g->disk[0].writes, 3);
}

static void several_sectors_a_piece(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0xc4, 0, 3); /* not set yet */
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	out(g, COUNT, 3);
	out(g, COMMAND, 0xc6);
	assert_int_equal(in(g, STATUS), 0x51);
	out(g, COUNT, 32);
	out(g, COMMAND, 0xc6);
	assert_int_equal(in(g, STATUS), 0x51);
	out(g, COUNT, 16);
	out(g, COMMAND, 0xc6);
	assert_int_equal(in(g, STATUS), 0x50);
	g->edges = 0;
	cmd28(g, 0, 0xc4, 8, 40);
	for (unsigned n = 40; n > 0; n -= n < 16 ? n : 16) {
		assert_true(g->line[0]);
		assert_int_equal(in(g, STATUS), 0x58);
		data_in(g, buf, (n < 16 ? n : 16) * 512);
		assert_memory_equal(buf, sector(g, 0, 48 - n), 512);
	}
	assert_int_equal(g->edges, 3); /* 16, 16, 8 */
	memset(buf, 0x77, 40 * 512);
	cmd48(g, 0, 0x39, 8, 40);
	data_out(g, buf, 40 * 512);
	assert_memory_equal(buf, sector(g, 0, 8), 40 * 512);
	assert_int_equal(in(g, STATUS), 0x50);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(word(59), 0x110);
	control(g, 4); /* a reset ends it */
	control(g, 0);
	cmd28(g, 0, 0xc4, 8, 40);
	assert_int_equal(in(g, STATUS), 0x51);
}

static void addresses_by_cylinder(void **state)
{
	struct ideguest *g = begin(state, "d---");

	out(g, DEVICE, 0xa0 | 2); /* head 2 */
	out(g, COUNT, 1);
	out(g, LOW, 5);
	out(g, MID, 1); /* cylinder 1 */
	out(g, HIGH, 0);
	out(g, COMMAND, 0x20);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, (1 * 16 + 2) * 63 + 4), 512);
	out(g, LOW, 0); /* there is no sector 0 */
	out(g, COMMAND, 0x20);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x10);
	out(g, DEVICE, 0xa0 | 3); /* 4 heads of 10 sectors */
	out(g, COUNT, 10);
	out(g, COMMAND, 0x91);
	assert_int_equal(in(g, STATUS), 0x50);
	out(g, COUNT, 1);
	out(g, LOW, 10);
	out(g, COMMAND, 0x20);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, (1 * 4 + 3) * 10 + 9), 512);
	g->disk[0].bad_lba = (1 * 4 + 2) * 10 + 2;
	out(g, DEVICE, 0xa0 | 2);
	out(g, COUNT, 4);
	out(g, LOW, 1);
	out(g, COMMAND, 0x40);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, LOW), 3);
	assert_int_equal(in(g, MID), 1);
	assert_int_equal(in(g, DEVICE) & 15, 2);
}

static void the_last_sector_is_there_and_none_behind_it(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x20, DISK_BLOCKS - 1, 1);
	assert_int_equal(in(g, STATUS), 0x58);
	data_in(g, buf, 512);
	cmd28(g, 0, 0x20, DISK_BLOCKS - 1, 2);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x10);
	cmd28(g, 0, 0x30, DISK_BLOCKS, 1);
	assert_int_equal(in(g, STATUS), 0x51);
	cmd28(g, 0, 0xc8, 0x0fffffff, 0);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(g->disk[0].reads, 1);
}

static void a_bad_sector_ends_a_read_behind_the_good_ones(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].bad_lba = 3;
	cmd28(g, 0, 0x20, 1, 8);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(in(g, STATUS), 0x58);
		data_in(g, buf, 512);
		assert_memory_equal(buf, sector(g, 0, 1 + i), 512);
	}
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x40);
	assert_int_equal(in(g, LOW), 3);
	assert_int_equal(g->edges, 3);
	data_in(g, buf, 2);
	assert_int_equal(buf[0], 0xff);
	cmd48(g, 0, 0x42, 0, 2); /* what can be read is verified */
	assert_int_equal(in(g, STATUS), 0x50);
	cmd48(g, 0, 0x42, 0, 9);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x40);
	assert_int_equal(in(g, LOW), 3);
}

static void a_bad_sector_ends_a_write_behind_the_good_ones(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].bad_lba = 3;
	memset(buf, 0xaa, 5 * 512);
	cmd28(g, 0, 0x30, 1, 5);
	data_out(g, buf, 5 * 512);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	assert_int_equal(in(g, LOW), 3);
	assert_int_equal(sector(g, 0, 2)[511], 0xaa);
	assert_int_not_equal(sector(g, 0, 4)[0], 0xaa);
}

static void writes_are_aborted_while_another_driver_has_the_disk(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].write_rc = -EBUSY;
	cmd28(g, 0, 0x30, 1, 1);
	data_out(g, buf, 512);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	cmd28(g, 0, 0x20, 1, 1); /* reads go on */
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, 1), 512);
}

static void a_read_only_disk_takes_no_data(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].disk.read_only = true;
	cmd28(g, 0, 0x30, 1, 1);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	cmd28(g, 0, 0xca, 1, 1);
	assert_int_equal(in(g, STATUS), 0x51);
}

static void flushes_reach_the_medium_and_their_failure_the_guest(void **state)
{
	struct ideguest *g = begin(state, "d---");

	out(g, COMMAND, 0xe7);
	assert_int_equal(in(g, STATUS), 0x50);
	out(g, COMMAND, 0xea);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->disk[0].flushes, 2);
	g->disk[0].flush_rc = -EIO;
	out(g, COMMAND, 0xe7);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
}

static void set_feature(struct ideguest *g, unsigned what, unsigned count)
{
	out(g, FEATURES, what);
	out(g, COUNT, count);
	out(g, COMMAND, 0xef);
}

static void without_its_cache_each_write_is_durable(void **state)
{
	struct ideguest *g = begin(state, "d---");

	set_feature(g, 0x82, 0);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->disk[0].flushes, 1);
	cmd28(g, 0, 0x30, 1, 2);
	data_out(g, buf, 1024);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(g->disk[0].flushes, 2);
	assert_int_equal(g->disk[0].dirty, 0);
	g->disk[0].flush_rc = -EIO;
	cmd28(g, 0, 0x30, 1, 1);
	data_out(g, buf, 512);
	assert_int_equal(in(g, STATUS), 0x51);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(word(85) & 0x20, 0);
	g->disk[0].flush_rc = 0;
	g->disk[0].dirty = 0;
	set_feature(g, 0x02, 0);
	cmd28(g, 0, 0x30, 1, 1);
	data_out(g, buf, 512);
	assert_int_equal(g->disk[0].dirty, 1);
	set_feature(g, 0x82, 0); /* a reset does not bring the cache back */
	control(g, 4);
	control(g, 0);
	cmd28(g, 0, 0x30, 1, 1);
	data_out(g, buf, 512);
	assert_int_equal(g->disk[0].dirty, 0);
}

static void transfer_modes_are_those_of_the_chip(void **state)
{
	struct ideguest *g = begin(state, "d---");

	for (unsigned mode = 0; mode < 256; mode++) {
		bool known = mode <= 1 || (mode >= 8 && mode <= 12) ||
			     (mode >= 0x20 && mode <= 0x22) ||
			     (mode >= 0x40 && mode <= 0x42);

		set_feature(g, 3, mode);
		assert_int_equal(in(g, STATUS), known ? 0x50 : 0x51);
	}
	set_feature(g, 3, 0x21);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_int_equal(word(63), 0x0207);
	assert_int_equal(word(88), 0x0007);
	set_feature(g, 0x99, 0);
	assert_int_equal(in(g, STATUS), 0x51);
}

static void the_last_address_is_told(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd48(g, 0, 0x27, 0, 0);
	assert_int_equal(in(g, LOW), (DISK_BLOCKS - 1) & 0xff);
	assert_int_equal(in(g, MID), (DISK_BLOCKS - 1) >> 8);
	g->disk[0].disk.blocks = 1ull << 33;
	cmd28(g, 0, 0xf8, 0, 0);
	assert_int_equal(in(g, DEVICE) & 15, 15);
	assert_int_equal(in(g, HIGH), 0xff);
	cmd48(g, 0, 0x27, 0, 0);
	control(g, 0x80);
	assert_int_equal(in(g, MID), 1);
}

/* Whatever is not in the list of commands is aborted, by disk and drive. */
static void every_command_code_is_known_or_aborted(void **state)
{
	struct ideguest *g = begin(state, "dc--");
	unsigned aborted[2] = {0, 0};

	for (unsigned d = 0; d < 2; d++) {
		for (unsigned code = 0; code < 256; code++) {
			cmd28(g, d, code, 1, 1);
			aborted[d] += alt(g) == 0x51;
			assert_int_equal(alt(g) & 0x80, 0);
			control(g, 4);
			control(g, 0);
		}
	}
	/* The disk knows 38; not what this asks of 12 of them: five by
	 * several sectors, six by addresses of 48 bits, no such feature.
	 */
	assert_int_equal(256 - aborted[0], 38 - 12);
	assert_int_equal(256 - aborted[1], 11 - 1);
}

static void a_command_in_mid_transfer_is_ignored(void **state)
{
	struct ideguest *g = begin(state, "d---");

	cmd28(g, 0, 0x20, 1, 1);
	out(g, COMMAND, 0xec);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, 1), 512);
}

static void the_other_drive_taking_over_ends_a_transfer(void **state)
{
	struct ideguest *g = begin(state, "dd--");

	cmd28(g, 0, 0x30, 1, 1);
	data_out(g, buf, 100);
	cmd28(g, 1, 0x20, 2, 1);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 1, 2), 512);
	out(g, DEVICE, 0xa0);
	assert_int_equal(in(g, STATUS), 0x51);
	data_out(g, buf, 512);
	assert_int_equal(g->disk[0].writes, 0);
}

static void the_data_port_is_the_selected_drives(void **state)
{
	struct ideguest *g = begin(state, "dd--");

	cmd28(g, 0, 0x20, 1, 1);
	out(g, DEVICE, 0xb0);
	data_in(g, buf, 512);
	assert_int_equal(buf[0], 0xff);
	assert_int_equal(buf[511], 0xff);
	out(g, DEVICE, 0xa0);
	data_in(g, buf, 512);
	assert_memory_equal(buf, sector(g, 0, 1), 512);
}

static void disks_of_other_blocks_are_refused(void **state)
{
	struct ideguest *g = begin(state, "d---");
	const struct hv_disk *disks[HV_IDE_DRIVES] = {&g->disk[0].disk};
	struct hv_ide *ide;

	g->disk[0].disk.block_bytes = 4096;
	assert_int_equal(hv_ide_create(disks, g->mem, ideguest_irq, g, &ide),
			 -EINVAL);
}

#define T(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_drive_at_all_reads_ones),
		T(a_missing_second_drive_is_silent_beside_the_first),
		T(a_second_drive_alone_serves),
		T(registers_read_back_and_their_former_contents),
		T(wide_accesses_are_the_data_ports_only),
		T(reset_shows_what_each_drive_is),
		T(reset_in_mid_transfer_forgets_it),
		T(commands_in_one_string_are_the_first_of_them),
		T(diagnostics_select_the_first_drive_and_sign),
		T(reading_status_acknowledges_and_the_alternate_does_not),
		T(interrupts_can_be_masked_and_come_when_unmasked),
		T(the_line_is_the_selected_drives),
		T(the_channels_are_apart),
		T(a_disk_says_what_it_is),
		T(a_large_disk_has_its_size_in_48_bits),
		T(a_reset_finds_the_size_of_by_then),
		T(sectors_are_read_one_a_piece),
		T(any_width_reads_the_same_bytes),
		T(any_width_writes_the_same_bytes),
		T(a_count_of_zero_is_256_sectors),
		T(extended_commands_count_in_16_bits),
		T(sectors_are_written),
		T(more_than_the_buffer_is_written_in_turns),
		T(several_sectors_a_piece),
		T(addresses_by_cylinder),
		T(the_last_sector_is_there_and_none_behind_it),
		T(a_bad_sector_ends_a_read_behind_the_good_ones),
		T(a_bad_sector_ends_a_write_behind_the_good_ones),
		T(writes_are_aborted_while_another_driver_has_the_disk),
		T(a_read_only_disk_takes_no_data),
		T(flushes_reach_the_medium_and_their_failure_the_guest),
		T(without_its_cache_each_write_is_durable),
		T(transfer_modes_are_those_of_the_chip),
		T(the_last_address_is_told),
		T(every_command_code_is_known_or_aborted),
		T(a_command_in_mid_transfer_is_ignored),
		T(the_other_drive_taking_over_ends_a_transfer),
		T(the_data_port_is_the_selected_drives),
		T(disks_of_other_blocks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
