/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI configuration, and the IDE controller behind the board's ports. */
#include <pthread.h>
#include <stdlib.h>

#include "hv/chip/pci.h"
#include "hv/piix.h"
#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"
#include "tests/lib/fakedisk.h"
#include "tests/lib/quietboard.h"
#include "tests/lib/random.h"

static uint8_t disk_bytes[64 * 512];

struct machine {
	struct hv_board *board;
	struct hv_mem *mem;
	struct hv_piix *piix;
	struct fakedisk disk;
	uint8_t *ram;
	unsigned resets;
	bool line[2];
};

static void on_power(void *arg, enum hv_pm_request what)
{
	struct machine *m = arg;

	m->resets += what == HV_PM_RESET;
}

static void on_irq(void *arg, unsigned channel, bool level)
{
	struct machine *m = arg;

	m->line[channel] = level;
}

static const struct hv_board_ops ops = {quietboard_irq, on_power,
					quietboard_wake, quietboard_now};

static int begin(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	const struct hv_disk *disks[HV_IDE_DRIVES] = {0};

	assert_non_null(m);
	for (unsigned i = 0; i < sizeof(disk_bytes); i++)
		disk_bytes[i] = (uint8_t)(i / 512 + i);
	fakedisk_init(&m->disk, false, disk_bytes, 64);
	disks[0] = &m->disk.disk;
	m->ram = aligned_alloc(4096, 1 << 16);
	assert_non_null(m->ram);
	memset(m->ram, 0, 1 << 16);
	assert_int_equal(hv_mem_create(&m->mem), 0);
	assert_int_equal(hv_mem_add(m->mem, 0, 1 << 16, m->ram), 0);
	assert_int_equal(hv_board_create(&ops, m, &m->board), 0);
	assert_int_equal(hv_piix_create(m->board, m->mem, disks, on_irq, m,
					&m->piix), 0);
	*state = m;
	return 0;
}

static int end(void **state)
{
	struct machine *m = *state;

	hv_board_destroy(m->board);
	hv_piix_destroy(m->piix);
	hv_mem_destroy(m->mem);
	free(m->ram);
	free(m);
	return 0;
}

static uint32_t in(struct machine *m, unsigned port, unsigned size)
{
	uint8_t v[4] = {0};

	hv_board_in(m->board, (uint16_t)port, size, 1, v);
	return at32(v);
}

static void out(struct machine *m, unsigned port, unsigned size, uint32_t val)
{
	uint8_t v[4];

	set32(v, val);
	hv_board_out(m->board, (uint16_t)port, size, 1, v);
}

static void at(struct machine *m, unsigned device, unsigned function,
	       unsigned reg)
{
	out(m, 0xcf8, 4, 1u << 31 | device << 11 | function << 8 | (reg & 0xfc));
}

static uint32_t cfg(struct machine *m, unsigned device, unsigned function,
		    unsigned reg)
{
	at(m, device, function, reg);
	return in(m, 0xcfc, 4);
}

static void cfg_set(struct machine *m, unsigned reg, uint32_t val)
{
	at(m, 7, 1, reg);
	out(m, 0xcfc, 4, val);
}

/* ------------------------------------------------------- configuration -- */

static void three_functions_are_there_and_no_other(void **state)
{
	struct machine *m = *state;
	unsigned found = 0;

	for (unsigned d = 0; d < 32; d++)
		for (unsigned f = 0; f < 8; f++)
			found += cfg(m, d, f, 0) != 0xffffffff;
	assert_int_equal(found, 3);
	assert_int_equal(cfg(m, 0, 0, 0), 0x71928086);
	assert_int_equal(cfg(m, 0, 0, 8) >> 16, 0x0600);
	assert_int_equal(cfg(m, 7, 0, 0), 0x71108086);
	assert_int_equal(cfg(m, 7, 0, 8) >> 16, 0x0601);
	assert_int_equal(cfg(m, 7, 0, 0xc) >> 16 & 0xff, 0x80);
	assert_int_equal(cfg(m, 7, 1, 0), 0x71118086);
	assert_int_equal(cfg(m, 7, 1, 8) >> 8, 0x010180);
	assert_int_equal(cfg(m, 7, 1, 0x3c), 0); /* no interrupt pin */
	/* another bus, and no configuration at all */
	out(m, 0xcf8, 4, 0x80010000);
	assert_int_equal(in(m, 0xcfc, 4), 0xffffffff);
	out(m, 0xcf8, 4, 0x00003900);
	assert_int_equal(in(m, 0xcfc, 4), 0xffffffff);
}

static void the_address_reads_back_by_double_words_only(void **state)
{
	struct machine *m = *state;

	out(m, 0xcf8, 4, 0xffffffff);
	assert_int_equal(in(m, 0xcf8, 4), 0x80fffffc);
	out(m, 0xcf8, 4, 0x80000000);
	assert_int_equal(in(m, 0xcf8, 4), 0x80000000);
	out(m, 0xcf8, 1, 0x55);
	out(m, 0xcf8, 2, 0x5555);
	out(m, 0xcfb, 1, 0x01);
	assert_int_equal(in(m, 0xcf8, 4), 0x80000000);
	assert_int_equal(in(m, 0xcf8, 1), 0xff);
	assert_int_equal(in(m, 0xcf8, 2), 0xffff);
}

static void the_reset_port_is_still_the_boards(void **state)
{
	struct machine *m = *state;

	out(m, 0xcf8, 4, 0x8000ff00); /* bit 2 of byte 1 and all */
	assert_int_equal(m->resets, 0);
	out(m, 0xcf9, 1, 6);
	assert_int_equal(m->resets, 1);
	assert_int_equal(in(m, 0xcf8, 4), 0x8000ff00);
}

static void data_is_of_any_width(void **state)
{
	struct machine *m = *state;

	at(m, 7, 1, 0);
	assert_int_equal(in(m, 0xcfc, 1), 0x86);
	assert_int_equal(in(m, 0xcfe, 2), 0x7111);
	assert_int_equal(in(m, 0xcfd, 2), 0x1180);
	assert_int_equal(in(m, 0xcff, 1), 0x71);
	assert_int_equal(in(m, 0xcff, 2), 0xffff); /* leaves the register */
	at(m, 7, 1, 0x40);
	out(m, 0xcfd, 1, 0);
	assert_int_equal(in(m, 0xcfc, 4), 0x80000000);
}

static void only_what_is_writable_is_written(void **state)
{
	struct machine *m = *state;

	cfg_set(m, 0, 0);
	assert_int_equal(cfg(m, 7, 1, 0), 0x71118086);
	cfg_set(m, 0x20, 0xffffffff); /* as a size is asked for */
	assert_int_equal(cfg(m, 7, 1, 0x20), 0xfffffff1);
	cfg_set(m, 4, 0xffffffff);
	assert_int_equal(cfg(m, 7, 1, 4), 0x02800005);
	for (unsigned d = 0; d < 8; d += 7) {
		at(m, d, 0, 0);
		out(m, 0xcfc, 4, 0);
		assert_int_equal(cfg(m, d, 0, 0) & 0xffff, 0x8086);
	}
}

/* --------------------------------------------------------------- ports -- */

static void read_sector(struct machine *m, unsigned lba, uint8_t to[512])
{
	out(m, 0x1f6, 1, 0xe0);
	out(m, 0x1f2, 1, 1);
	out(m, 0x1f3, 1, lba);
	out(m, 0x1f4, 1, 0);
	out(m, 0x1f5, 1, 0);
	out(m, 0x1f7, 1, 0x20);
	hv_board_in(m->board, 0x1f0, 4, 128, to);
}

static void the_disk_is_at_its_old_ports(void **state)
{
	struct machine *m = *state;
	uint8_t got[512];

	read_sector(m, 5, got);
	assert_memory_equal(got, disk_bytes + 5 * 512, 512);
	assert_true(m->line[0]);
	assert_int_equal(in(m, 0x3f6, 1), 0x50);
	assert_true(m->line[0]);
	assert_int_equal(in(m, 0x1f7, 1), 0x50);
	assert_false(m->line[0]);
	assert_int_equal(in(m, 0x177, 1), 0xff); /* nothing on this one */
	assert_int_equal(in(m, 0x376, 1), 0xff);
	out(m, 0x376, 1, 4);
	assert_int_equal(in(m, 0x3f6, 1), 0x50);
	out(m, 0x3f6, 1, 4);
	assert_int_equal(in(m, 0x3f6, 1), 0x80);
	out(m, 0x3f6, 1, 0);
}

static void ports_can_be_shut(void **state)
{
	struct machine *m = *state;
	uint8_t got[512];

	at(m, 7, 1, 0x40);
	out(m, 0xcfd, 1, 0);
	assert_int_equal(in(m, 0x1f7, 1), 0xff);
	assert_int_equal(in(m, 0x3f6, 1), 0xff);
	out(m, 0x3f6, 1, 4);
	out(m, 0x1f7, 1, 0xec);
	assert_false(m->line[0]);
	out(m, 0xcfd, 1, 0x80);
	assert_int_equal(in(m, 0x1f7, 1), 0x50);
	cfg_set(m, 4, 0);
	assert_int_equal(in(m, 0x1f7, 1), 0xff);
	assert_int_equal(in(m, 0xffa2, 1), 0xff);
	cfg_set(m, 4, 1);
	read_sector(m, 1, got);
	assert_memory_equal(got, disk_bytes + 512, 512);
}

static void dma_to(struct machine *m, unsigned base, unsigned lba)
{
	set32(m->ram + 0x100, 0x2000);
	set16(m->ram + 0x104, 512);
	set16(m->ram + 0x106, 0x8000);
	out(m, base, 1, 0);
	out(m, base + 2, 1, 6);
	out(m, base + 4, 4, 0x100);
	out(m, 0x1f6, 1, 0xe0);
	out(m, 0x1f2, 1, 1);
	out(m, 0x1f3, 1, lba);
	out(m, 0x1f7, 1, 0xc8);
	out(m, base, 1, 8);
	out(m, base, 1, 9);
}

static void the_bus_master_is_where_it_was_put(void **state)
{
	struct machine *m = *state;

	dma_to(m, 0xffa0, 3);
	assert_int_equal(in(m, 0xffa2, 1) & 7, 4);
	assert_memory_equal(m->ram + 0x2000, disk_bytes + 3 * 512, 512);
	(void)in(m, 0x1f7, 1);
	cfg_set(m, 0x20, 0xc040);
	assert_int_equal(in(m, 0xffa2, 1), 0xff);
	dma_to(m, 0xc040, 4);
	assert_int_equal(in(m, 0xc042, 1) & 7, 4);
	assert_memory_equal(m->ram + 0x2000, disk_bytes + 4 * 512, 512);
	assert_int_equal(in(m, 0xc050, 1), 0xff);
	assert_int_equal(in(m, 0xc03f, 1), 0xff);
	assert_int_equal(in(m, 0xc04e, 4), 0xffffffff); /* over its end */
	/* at a port that is none, or below PCI's, nothing of it answers */
	cfg_set(m, 0x20, 0x1c040);
	assert_int_equal(in(m, 0xc042, 1), 0xff);
	cfg_set(m, 0x20, 0x0060);
	assert_int_equal(in(m, 0x62, 1), 0xff);
}

static void without_leave_the_master_stays_off_the_bus(void **state)
{
	struct machine *m = *state;

	cfg_set(m, 4, 1);
	dma_to(m, 0xffa0, 3);
	assert_int_equal(m->ram[0x2000], 0);
	assert_int_equal(in(m, 0xffa2, 1) & 7, 2);
}

static void a_reset_of_the_machine_brings_all_back(void **state)
{
	struct machine *m = *state;
	uint8_t got[512];

	read_sector(m, 5, got); /* not acknowledged */
	out(m, 0x1f7, 1, 0x30);
	out(m, 0x3f6, 1, 2);
	cfg_set(m, 0x20, 0xc040);
	cfg_set(m, 4, 0);
	m->line[0] = false; /* the next machine's lines are low */
	hv_board_reset(m->board);
	assert_int_equal(in(m, 0xcf8, 4), 0);
	assert_int_equal(in(m, 0x3f6, 1), 0x50);
	assert_int_equal(cfg(m, 7, 1, 0x20), 0xffa1);
	assert_int_equal(in(m, 0xffa2, 1), 0x20);
	read_sector(m, 6, got);
	assert_memory_equal(got, disk_bytes + 6 * 512, 512);
	assert_true(m->line[0]);
}

/* Each width and count at each of the ports, with each kind of byte. */
static void every_port_and_width_is_safe(void **state)
{
	static const uint8_t patterns[] = {0x00, 0xff, 0xa0, 0xec, 0x08};
	static const uint16_t first[] = {0xcf8, 0x1f0, 0x170, 0x3f0, 0x370,
					 0xff9c, 0xfff0};
	struct machine *m = *state;
	uint8_t v[4 * 130];

	for (unsigned p = 0; p < sizeof(patterns); p++)
		for (unsigned i = 0; i < sizeof(first) / 2; i++)
			for (unsigned off = 0; off < 16; off++)
				for (unsigned size = 1; size <= 4; size *= 2) {
					uint16_t port =
						(uint16_t)(first[i] + off);

					memset(v, patterns[p], sizeof(v));
					hv_board_out(m->board, port, size, 130,
						     v);
					hv_board_in(m->board, port, size, 130,
						    v);
				}
	(void)in(m, 0xcf8, 4);
}

struct processor {
	struct machine *m;
	uint64_t seed;
};

static void *any_processor(void *arg)
{
	static const uint16_t first[] = {0xcf8, 0x1f0, 0x3f6, 0xffa0};
	struct processor *p = arg;
	uint8_t v[64];

	for (unsigned i = 0; i < 4000; i++) {
		uint64_t r = random_next(&p->seed);
		uint16_t port = (uint16_t)(first[r & 3] + (r >> 2 & 7));
		unsigned size = 1u << (r >> 5 & 3) % 3;
		uint32_t count = 1 + (uint32_t)(r >> 7 & 15);

		if (port == 0xcf9)
			continue;
		memset(v, (int)(r >> 16 & 0xff), sizeof(v));
		if (r >> 32 & 1)
			hv_board_in(p->m->board, port, size, count, v);
		else
			hv_board_out(p->m->board, port, size, count, v);
	}
	return NULL;
}

/* What ThreadSanitizer has to look at. */
static void two_processors_at_once_harm_nobody(void **state)
{
	struct machine *m = *state;
	struct processor p[2] = {{m, 1}, {m, 2}}; /* the same in every run */
	pthread_t other;
	uint8_t got[512];

	assert_int_equal(pthread_create(&other, NULL, any_processor, &p[0]), 0);
	(void)any_processor(&p[1]);
	assert_int_equal(pthread_join(other, NULL), 0);
	cfg_set(m, 4, 5);
	cfg_set(m, 0x40, 0x80008000);
	out(m, 0x3f6, 1, 4);
	out(m, 0x3f6, 1, 0);
	read_sector(m, 6, got);
	assert_memory_equal(got, disk_bytes + 6 * 512, 512);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(three_functions_are_there_and_no_other),
		T(the_address_reads_back_by_double_words_only),
		T(the_reset_port_is_still_the_boards),
		T(data_is_of_any_width),
		T(only_what_is_writable_is_written),
		T(the_disk_is_at_its_old_ports),
		T(ports_can_be_shut),
		T(the_bus_master_is_where_it_was_put),
		T(without_leave_the_master_stays_off_the_bus),
		T(a_reset_of_the_machine_brings_all_back),
		T(every_port_and_width_is_safe),
		T(two_processors_at_once_harm_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
