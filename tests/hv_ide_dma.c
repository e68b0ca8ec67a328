/* SPDX-License-Identifier: BSD-2-Clause */
/* The IDE controller's bus master, and tables a guest would better not give
 * it.
 */
#include "tests/lib/ideguest.h"

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

static uint8_t *at(struct ideguest *g, uint32_t gpa)
{
	return g->ram + gpa;
}

static void reads_reach_memory_in_the_regions_of_the_table(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, DATA_GPA, 512, false);
	prd(g, 1, DATA_GPA + 0x3002, 1022, false); /* sectors are split */
	prd(g, 2, DATA_GPA + 0x7ffe, 514, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 9, 4);
	assert_int_equal(alt(g) & 0x88, 8);
	assert_false(g->line[0]);
	master_start(g, true);
	assert_memory_equal(at(g, DATA_GPA), g->bytes[0] + 9 * 512, 512);
	assert_memory_equal(at(g, DATA_GPA + 0x3002), g->bytes[0] + 10 * 512,
			    1022);
	assert_memory_equal(at(g, DATA_GPA + 0x7ffe),
			    g->bytes[0] + 10 * 512 + 1022, 514);
	assert_true(g->line[0]);
	assert_int_equal(master_status(g), 0x64); /* interrupt, all used */
	assert_int_equal(in(g, STATUS), 0x50);
	assert_false(g->line[0]);
	assert_int_equal(master_status(g) & 4, 4); /* until it is cleared */
}

static void writes_come_from_memory(void **state)
{
	struct ideguest *g = begin(state, "-d--");

	for (unsigned i = 0; i < 8 * 512; i++)
		*at(g, DATA_GPA + i) = (uint8_t)(i * 5);
	prd(g, 0, DATA_GPA, 4, false);
	prd(g, 1, DATA_GPA + 4, 8 * 512 - 4, true);
	master_prepare(g, TABLE_GPA);
	cmd48(g, 1, 0x35, 100, 8);
	master_start(g, false);
	assert_memory_equal(g->bytes[1] + 100 * 512, at(g, DATA_GPA), 8 * 512);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(master_status(g), 0x64);
	assert_int_equal(g->disk[1].flushes, 0);
	master_prepare(g, TABLE_GPA);
	cmd48(g, 1, 0x3d, 200, 8); /* by force of unit access */
	master_start(g, false);
	assert_memory_equal(g->bytes[1] + 200 * 512, at(g, DATA_GPA), 8 * 512);
	assert_int_equal(g->disk[1].dirty, 0);
}

static void the_master_may_be_started_before_the_drive(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	master_start(g, true);
	assert_int_equal(master_status(g), 0x61);
	cmd28(g, 0, 0xc8, 3, 1);
	assert_true(g->line[0]);
	assert_int_equal(master_status(g), 0x64);
	assert_memory_equal(at(g, DATA_GPA), g->bytes[0] + 3 * 512, 512);
}

static void a_count_of_zero_is_64_kib(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, 0x20000, 65536, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 0, 128);
	master_start(g, true);
	assert_memory_equal(at(g, 0x20000), g->bytes[0], 65536);
	assert_int_equal(master_status(g), 0x64);
}

static void more_than_the_buffer_moves_in_turns(void **state)
{
	struct ideguest *g = begin(state, "d---");

	for (unsigned i = 0; i < 5; i++)
		prd(g, i, 0x20000 + i * 0x10000, 65536, i == 4);
	master_prepare(g, TABLE_GPA);
	cmd48(g, 0, 0x25, 11, 600);
	master_start(g, true);
	assert_memory_equal(at(g, 0x20000), g->bytes[0] + 11 * 512, 600 * 512);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(master_status(g), 0x65); /* there was more room */
	master_prepare(g, TABLE_GPA);
	cmd48(g, 0, 0x35, 2000, 600);
	master_start(g, false);
	assert_memory_equal(g->bytes[0] + 2000 * 512, at(g, 0x20000),
			    600 * 512);
}

/* Both stop; the drive waits until it is reset, and serves again. */
static void assert_stuck(struct ideguest *g, bool error)
{
	assert_int_equal(alt(g), 0x80);
	assert_false(g->line[g->ch]);
	assert_int_equal(master_status(g) & 7, error ? 2 : 0);
	out(g, COMMAND, 0xec);
	assert_int_equal(alt(g), 0x80);
	master_command(g, 0);
	control(g, 4);
	control(g, 0);
	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 3, 1);
	master_start(g, true);
	assert_memory_equal(at(g, DATA_GPA), g->bytes[0] + 3 * 512, 512);
	assert_int_equal(in(g, STATUS), 0x50);
}

static void a_table_too_short_leaves_the_drive_waiting(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, DATA_GPA, 510, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 3, 1);
	master_start(g, true);
	assert_stuck(g, false);
	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xca, 5, 2);
	master_start(g, false);
	assert_int_equal(g->disk[0].writes, 0);
	assert_stuck(g, false);
}

static void a_table_outside_memory_is_an_error(void **state)
{
	static const uint32_t tables[] = {RAM_BYTES, RAM_BYTES - 4,
					  0xfffffff8, 0x80000000};
	struct ideguest *g = begin(state, "d---");

	for (unsigned i = 0; i < 4; i++) {
		master_prepare(g, tables[i]);
		cmd28(g, 0, 0xc8, 3, 1);
		master_start(g, true);
		assert_stuck(g, true);
	}
}

static void a_region_outside_memory_is_an_error(void **state)
{
	static const uint32_t regions[] = {RAM_BYTES, RAM_BYTES - 256,
					   0xfffffe00, 0xc0000000};
	struct ideguest *g = begin(state, "d---");

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned write = 0; write < 2; write++) {
			prd(g, 0, regions[i], 512, true);
			master_prepare(g, TABLE_GPA);
			cmd28(g, 0, write ? 0xca : 0xc8, 3, 1);
			master_start(g, !write);
			assert_int_equal(g->disk[0].writes, 0);
			assert_stuck(g, true);
		}
	}
}

/* Nothing says where it ends: it does with its 64 KiB. */
static void a_table_without_an_end_ends(void **state)
{
	struct ideguest *g = begin(state, "d---");

	for (uint32_t i = 0; i < 65536 / 8; i++) {
		set32(g->ram + 0x20000 + 8 * i, DATA_GPA);
		set16(g->ram + 0x20000 + 8 * i + 4, 2);
		set16(g->ram + 0x20000 + 8 * i + 6, 0);
	}
	master_prepare(g, 0x20000);
	cmd28(g, 0, 0xc8, 0, 32); /* as much as fits */
	master_start(g, true);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(master_status(g), 0x64);
	master_prepare(g, 0x20000);
	cmd28(g, 0, 0xc8, 0, 33);
	master_start(g, true);
	assert_stuck(g, false);
	master_prepare(g, 0x2fff8); /* one entry before its end */
	cmd28(g, 0, 0xc8, 0, 1);
	master_start(g, true);
	assert_stuck(g, false);
}

/* The table lies in what it tells the master to write. */
static void a_table_that_overwrites_itself_harms_the_guest_only(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, TABLE_GPA, 65536, false);
	prd(g, 1, TABLE_GPA, 65536, true);
	master_prepare(g, TABLE_GPA);
	cmd48(g, 0, 0x25, 0, 256);
	master_start(g, true);
	(void)in(g, STATUS);
	control(g, 4);
	control(g, 0);
	assert_int_equal(in(g, STATUS), 0x50);
}

static void opposite_directions_move_nothing(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 3, 1);
	master_start(g, false);
	assert_int_equal(*at(g, DATA_GPA + 511), 0);
	assert_false(g->line[0]);
	master_start(g, true);
	assert_true(g->line[0]);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xca, 3, 1);
	master_start(g, true);
	assert_int_equal(g->disk[0].writes, 0);
}

static void without_leave_to_be_master_it_is_an_error(void **state)
{
	struct ideguest *g = begin(state, "d---");

	hv_ide_master_allow(g->ide, false);
	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 3, 1);
	master_start(g, true);
	assert_int_equal(*at(g, DATA_GPA + 511), 0);
	hv_ide_master_allow(g->ide, true);
	assert_stuck(g, true);
}

static void a_bad_sector_ends_a_transfer_behind_the_good_ones(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].bad_lba = 12;
	prd(g, 0, DATA_GPA, 8 * 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xc8, 10, 8);
	master_start(g, true);
	assert_memory_equal(at(g, DATA_GPA), g->bytes[0] + 10 * 512, 1024);
	assert_int_equal(master_status(g), 0x65);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 0x40);
	assert_int_equal(in(g, LOW), 12);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xca, 10, 8);
	master_start(g, false);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	assert_int_equal(in(g, LOW), 12);
}

static void writes_are_aborted_while_another_driver_has_the_disk(void **state)
{
	struct ideguest *g = begin(state, "d---");

	g->disk[0].write_rc = -EBUSY;
	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xca, 10, 1);
	master_start(g, false);
	assert_int_equal(in(g, STATUS), 0x51);
	assert_int_equal(in(g, ERROR), 4);
	assert_int_equal(master_status(g) & 6, 4);
}

static void reset_ends_a_transfer_that_waits(void **state)
{
	struct ideguest *g = begin(state, "d---");

	prd(g, 0, DATA_GPA, 512, true);
	master_prepare(g, TABLE_GPA);
	cmd28(g, 0, 0xca, 10, 1);
	control(g, 4);
	control(g, 0);
	master_start(g, false);
	assert_int_equal(g->disk[0].writes, 0);
	assert_int_equal(master_status(g) & 7, 1); /* it waits for a drive */
	master_command(g, 0);
	assert_int_equal(master_status(g) & 7, 0);
}

static void registers_take_any_width(void **state)
{
	struct ideguest *g = begin(state, "d-d-");
	uint8_t v[4];

	set32(v, 0x12345677);
	hv_ide_master_out(g->ide, 12, 4, v);
	hv_ide_master_in(g->ide, 12, 4, v);
	assert_int_equal(at32(v), 0x12345674);
	hv_ide_master_in(g->ide, 14, 2, v);
	assert_int_equal(at16(v), 0x1234);
	v[0] = 0xab;
	hv_ide_master_out(g->ide, 13, 1, v);
	hv_ide_master_in(g->ide, 12, 4, v);
	assert_int_equal(at32(v), 0x1234ab74);
	hv_ide_master_in(g->ide, 4, 4, v);
	assert_int_equal(at32(v), 0);
	hv_ide_master_in(g->ide, 0, 4, v);
	assert_int_equal(at32(v), 0x00200000); /* capable, drive 0 of it */
	memset(v, 0xff, 4);
	hv_ide_master_out(g->ide, 0, 4, v);
	hv_ide_master_in(g->ide, 0, 4, v);
	assert_int_equal(at32(v), 0x00610009);
	hv_ide_master_in(g->ide, 8, 4, v);
	assert_int_equal(at32(v), 0x00200000);
}

static void a_disc_is_read_into_memory(void **state)
{
	static const uint8_t read10[12] = {0x28, 0, 0, 0, 0, 7, 0, 0, 3};
	static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36};
	static const uint8_t ready[12] = {0};
	struct ideguest *g = begin(state, "c---");

	packet(g, 0, false, 0, ready); /* to be told of the power-on */
	(void)in(g, STATUS);
	prd(g, 0, DATA_GPA, 2048 + 100, false);
	prd(g, 1, DATA_GPA + 2148, 3 * 2048 - 2148, true);
	master_prepare(g, TABLE_GPA);
	packet(g, 0, true, 0, read10);
	assert_false(g->line[0]);
	master_start(g, true);
	assert_true(g->line[0]);
	assert_memory_equal(at(g, DATA_GPA), g->bytes[0] + 7 * 2048, 3 * 2048);
	assert_int_equal(master_status(g), 0x64);
	assert_int_equal(in(g, STATUS), 0x50);
	assert_int_equal(in(g, COUNT), 3);
	master_prepare(g, TABLE_GPA);
	packet(g, 0, true, 0, inquiry);
	master_start(g, true);
	assert_memory_equal(at(g, DATA_GPA + 8), "Msft", 4);
	assert_int_equal(master_status(g), 0x65);
	/* no data: no master */
	packet(g, 0, true, 0, ready);
	assert_int_equal(in(g, STATUS), 0x50);
}

#define T(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_reach_memory_in_the_regions_of_the_table),
		T(writes_come_from_memory),
		T(the_master_may_be_started_before_the_drive),
		T(a_count_of_zero_is_64_kib),
		T(more_than_the_buffer_moves_in_turns),
		T(a_table_too_short_leaves_the_drive_waiting),
		T(a_table_outside_memory_is_an_error),
		T(a_region_outside_memory_is_an_error),
		T(a_table_without_an_end_ends),
		T(a_table_that_overwrites_itself_harms_the_guest_only),
		T(opposite_directions_move_nothing),
		T(without_leave_to_be_master_it_is_an_error),
		T(a_bad_sector_ends_a_transfer_behind_the_good_ones),
		T(writes_are_aborted_while_another_driver_has_the_disk),
		T(reset_ends_a_transfer_that_waits),
		T(registers_take_any_width),
		T(a_disc_is_read_into_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
