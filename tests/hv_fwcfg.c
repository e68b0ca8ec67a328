/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg: what firmware finds, and what a guest cannot do with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/chip/fwcfg.h"
#include "tests/lib/cm.h"
#include "vhd/endian.h"

#define RAM_BYTES 0x10000u

struct world {
	struct hv_mem *mem;
	uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
	struct hv_fwcfg *f;
};

static int set_up(void **state)
{
	struct world *w = aligned_alloc(4096, sizeof(*w));

	memset(w, 0, sizeof(*w));
	assert_int_equal(hv_mem_create(&w->mem), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, RAM_BYTES, w->ram), 0);
	assert_int_equal(hv_fwcfg_create(w->mem, &w->f), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	hv_fwcfg_destroy(w->f);
	hv_mem_destroy(w->mem);
	free(w);
	return 0;
}

static void choose(struct world *w, uint16_t key)
{
	const uint8_t v[2] = {(uint8_t)key, (uint8_t)(key >> 8)};

	hv_fwcfg_ports.out(w->f, 0, 2, 1, v);
}

static const uint8_t *bytes(struct world *w, uint32_t n)
{
	static uint8_t buf[4096];

	assert_true(n <= sizeof(buf));
	memset(buf, 0xa5, sizeof(buf));
	hv_fwcfg_ports.in(w->f, 1, 1, n, buf);
	return buf;
}

/* A descriptor at `at`; returns its control word afterwards. */
static uint32_t dma(struct world *w, uint64_t at, uint32_t control,
		    uint32_t len, uint64_t gpa)
{
	const be32 words[] = {be32_put(control), be32_put(len),
			      be32_put((uint32_t)(gpa >> 32)),
			      be32_put((uint32_t)gpa)};
	const be32 high = be32_put((uint32_t)(at >> 32));
	const be32 low = be32_put((uint32_t)at);
	be32 now;

	if (at <= RAM_BYTES - sizeof(words))
		memcpy(w->ram + at, words, sizeof(words));
	hv_fwcfg_ports.out(w->f, 4, 4, 1, high.b);
	hv_fwcfg_ports.out(w->f, 8, 4, 1, low.b);
	if (at > RAM_BYTES - sizeof(words))
		return control;
	memcpy(&now, w->ram + at, sizeof(now));
	return be32_get(now);
}

#define READ   2u
#define SKIP   4u
#define SELECT 8u
#define WRITE  16u

static void it_says_what_it_is(void **state)
{
	struct world *w = *state;
	uint8_t word[4];

	choose(w, HV_FWCFG_SIGNATURE);
	assert_memory_equal(bytes(w, 4), "QEMU", 4);
	choose(w, HV_FWCFG_FEATURES);
	assert_memory_equal(bytes(w, 4), "\3\0\0\0", 4);
	hv_fwcfg_ports.in(w->f, 4, 4, 1, word);
	assert_memory_equal(word, "QEMU", 4);
	hv_fwcfg_ports.in(w->f, 8, 4, 1, word);
	assert_memory_equal(word, " CFG", 4);
}

static void the_directory_lists_files_by_name(void **state)
{
	struct world *w = *state;
	const uint8_t *d;

	assert_int_equal(hv_fwcfg_add_file(w->f, "etc/a", "one", 3), 0);
	assert_int_equal(hv_fwcfg_add_file(w->f, "etc/b", "three", 5), 0);
	choose(w, HV_FWCFG_DIRECTORY);
	d = bytes(w, 4 + 2 * 64);
	assert_memory_equal(d, "\0\0\0\2", 4);
	assert_memory_equal(d + 4, "\0\0\0\3\0\x20\0\0etc/a", 14);
	assert_memory_equal(d + 68, "\0\0\0\5\0\x21\0\0etc/b", 14);
	choose(w, 0x21);
	assert_memory_equal(bytes(w, 5), "three", 5);
}

static void what_is_not_there_reads_as_zeros(void **state)
{
	static const uint8_t zeros[16];
	struct world *w = *state;

	assert_memory_equal(bytes(w, 16), zeros, 16); /* nothing chosen yet */
	for (uint32_t key = 0; key <= 0xffff; key++) {
		choose(w, (uint16_t)key);
		if (key == HV_FWCFG_SIGNATURE || key == HV_FWCFG_FEATURES)
			continue;
		assert_memory_equal(bytes(w, 16), zeros, 16);
	}
	choose(w, HV_FWCFG_SIGNATURE);
	assert_memory_equal(bytes(w, 6), "QEMU\0\0", 6);
	assert_memory_equal(bytes(w, 16), zeros, 16);
	hv_fwcfg_reset(w->f);
	assert_memory_equal(bytes(w, 16), zeros, 16);
}

static void an_item_is_read_by_a_descriptor(void **state)
{
	struct world *w = *state;

	assert_int_equal(hv_fwcfg_add(w->f, 0x1234, "firmware", 8), 0);
	memset(w->ram, 0xa5, RAM_BYTES);
	assert_int_equal(dma(w, 0x100, 0x1234u << 16 | SELECT | READ, 4,
			     0x2000), 0);
	assert_memory_equal(w->ram + 0x2000, "firm\xa5", 5);
	assert_int_equal(dma(w, 0x100, READ, 8, 0x2ffe), 0);
	assert_memory_equal(w->ram + 0x2ffe, "ware\0\0\0\0\xa5", 9);
	assert_int_equal(dma(w, 0x100, 0x1234u << 16 | SELECT | SKIP, 6, 0),
			 0);
	assert_memory_equal(bytes(w, 3), "re\0", 3);
	assert_int_equal(dma(w, 0x100, SKIP, UINT32_MAX, 0), 0);
	assert_memory_equal(bytes(w, 1), "\0", 1);
}

static void a_descriptor_outside_of_ram_does_nothing(void **state)
{
	static const uint64_t at[] = {RAM_BYTES, RAM_BYTES - 15,
				      UINT64_MAX - 15, UINT64_MAX, 1ull << 40};
	struct world *w = *state;
	uint8_t *before = malloc(RAM_BYTES);

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		const be32 read = be32_put(SELECT | READ);

		if (at[i] < RAM_BYTES)
			memcpy(w->ram + at[i], &read, sizeof(read));
		memcpy(before, w->ram, RAM_BYTES);
		(void)dma(w, at[i], SELECT | READ, 4, 0x100);
		assert_memory_equal(w->ram, before, RAM_BYTES);
	}
	free(before);
}

static void a_read_that_does_not_fit_moves_nothing(void **state)
{
	static const struct {
		uint32_t len;
		uint64_t gpa;
	} odd[] = {
		{2, RAM_BYTES - 1},
		{1, RAM_BYTES},
		{RAM_BYTES + 1, 0},
		{16, UINT64_MAX - 7}, /* wraps */
		{UINT32_MAX, 0x1000},
		{HV_FWCFG_DMA_MAX + 1, 0},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		memset(w->ram, 0xa5, RAM_BYTES);
		assert_int_equal(dma(w, 0x100, SELECT | READ, odd[i].len,
				     odd[i].gpa), 1);
		assert_int_equal(w->ram[RAM_BYTES - 1], 0xa5);
		assert_int_equal(w->ram[0x1000], 0xa5);
	}
	assert_int_equal(dma(w, 0x100, SELECT | READ, 1, RAM_BYTES - 1), 0);
	assert_int_equal(w->ram[RAM_BYTES - 1], 'Q');
}

static void nothing_can_be_written(void **state)
{
	struct world *w = *state;
	const uint8_t byte = 0;

	memcpy(w->ram + 0x2000, "XXXX", 4);
	assert_int_equal(dma(w, 0x100, SELECT | WRITE, 4, 0x2000), 1);
	assert_int_equal(dma(w, 0x100, SELECT | WRITE | READ, 4, 0x2000), 1);
	choose(w, HV_FWCFG_SIGNATURE);
	hv_fwcfg_ports.out(w->f, 1, 1, 1, &byte);
	assert_memory_equal(bytes(w, 4), "QEMU", 4);
}

/* A descriptor may lie in what it lets be overwritten. */
static void a_read_over_its_own_descriptor_ends_well(void **state)
{
	struct world *w = *state;

	assert_int_equal(dma(w, 0x100, SELECT | READ, 16, 0x100), 0);
	assert_memory_equal(w->ram + 0x104, "\0\0\0\0", 4);
}

static void odd_accesses_are_harmless(void **state)
{
	struct world *w = *state;
	uint8_t data[64];

	for (unsigned off = 0; off < hv_fwcfg_ports.count; off++)
		for (unsigned size = 1; size <= 4; size *= 2)
			for (uint32_t count = 0; count < 4; count++) {
				memset(data, 0, sizeof(data));
				hv_fwcfg_ports.out(w->f, off, size, count,
						   data);
				hv_fwcfg_ports.in(w->f, off, size, count,
						  data);
				assert_int_equal(data[size * count], 0);
			}
}

static void there_is_an_end_to_items_and_names(void **state)
{
	struct world *w = *state;
	char name[HV_FWCFG_NAME_BYTES + 1];
	unsigned n = 0;

	memset(name, 'x', sizeof(name));
	name[HV_FWCFG_NAME_BYTES] = '\0';
	assert_int_equal(hv_fwcfg_add_file(w->f, name, "", 0), -EINVAL);
	name[HV_FWCFG_NAME_BYTES - 1] = '\0';
	assert_int_equal(hv_fwcfg_add_file(w->f, name, "", 0), 0);
	assert_int_equal(hv_fwcfg_add(w->f, 0, "", 0), -EEXIST);
	while (hv_fwcfg_add(w->f, (uint16_t)(0x100 + n), "x", 1) == 0)
		n++;
	assert_int_equal(n, HV_FWCFG_ITEMS_MAX - 4);
	assert_int_equal(hv_fwcfg_add_file(w->f, "y", "", 0), -ENOSPC);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_says_what_it_is),
		TEST(the_directory_lists_files_by_name),
		TEST(what_is_not_there_reads_as_zeros),
		TEST(an_item_is_read_by_a_descriptor),
		TEST(a_descriptor_outside_of_ram_does_nothing),
		TEST(a_read_that_does_not_fit_moves_nothing),
		TEST(nothing_can_be_written),
		TEST(a_read_over_its_own_descriptor_ends_well),
		TEST(odd_accesses_are_harmless),
		TEST(there_is_an_end_to_items_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
