/* SPDX-License-Identifier: BSD-2-Clause */
/* The SMBIOS tables as a guest walks them, from the entry point on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/smbios.h"
#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"

static uint8_t area[HV_SMBIOS_BYTES];
static int used;

static uint8_t sum(const uint8_t *p, size_t n)
{
	unsigned s = 0;

	while (n-- > 0)
		s += *p++;
	return (uint8_t)s;
}

static void build(void)
{
	memset(area, 0xee, sizeof(area));
	used = hv_smbios_build(area, sizeof(area), HV_SMBIOS_GPA);
	assert_true(used > 0);
}

static const uint8_t *tables(void)
{
	return area + (at32(area + 0x18) - HV_SMBIOS_GPA);
}

/* Behind its strings; they end inside. */
static const uint8_t *next(const uint8_t *t)
{
	const uint8_t *p = t + t[1];

	while (p[0] || p[1]) {
		assert_true(p + 2 < area + used);
		p++;
	}
	return p + 2;
}

/* String `n` of a structure. */
static const char *string(const uint8_t *t, unsigned n)
{
	const char *p = (const char *)t + t[1];

	assert_true(n > 0);
	while (--n > 0) {
		assert_true(*p);
		p += strlen(p) + 1;
	}
	return p;
}

static const uint8_t *find(unsigned type)
{
	const uint8_t *t = tables();

	while (t[0] != type) {
		assert_int_not_equal(t[0], 127);
		t = next(t);
	}
	return t;
}

static void the_entry_point_is_where_guests_look(void **state)
{
	(void)state;
	build();
	assert_true(HV_SMBIOS_GPA >= 0xf0000 && HV_SMBIOS_GPA % 16 == 0);
	assert_memory_equal(area, "_SM_", 4);
	assert_int_equal(area[5], 31);
	assert_int_equal(sum(area, 31), 0);
	assert_memory_equal(area + 16, "_DMI_", 5);
	assert_int_equal(sum(area + 16, 15), 0);
	assert_int_equal(tables() - area, 32);
	assert_int_equal(at16(area + 0x16), used - 32);
}

static void structures_are_as_many_and_as_large_as_said(void **state)
{
	const uint8_t *t;
	unsigned count = 0, largest = 0;

	(void)state;
	build();
	t = tables();
	for (;;) {
		const uint8_t *n = next(t);

		count++;
		if ((unsigned)(n - t) > largest)
			largest = (unsigned)(n - t);
		if (t[0] == 127)
			break;
		t = n;
	}
	assert_ptr_equal(next(t), area + used);
	assert_int_equal(at16(area + 0x1c), count);
	assert_int_equal(at16(area + 8), largest);
}

/* What ata_piix looks at, beside that it is not Virtual PC's version. */
static void the_machine_is_a_virtual_one_of_microsofts(void **state)
{
	const uint8_t *t;

	(void)state;
	build();
	t = find(1);
	assert_string_equal(string(t, t[4]), "Microsoft Corporation");
	assert_string_equal(string(t, t[5]), "Virtual Machine");
	assert_string_not_equal(string(t, t[6]), "VS2005R2");
	t = find(2);
	assert_string_equal(string(t, t[4]), "Microsoft Corporation");
	t = find(3);
	assert_string_equal(string(t, t[4]), "Microsoft Corporation");
	assert_int_equal(t[8], 0); /* no tag: some take one for Azure's */
}

static void the_bios_is_young_enough_for_linux(void **state)
{
	const uint8_t *t;

	(void)state;
	build();
	t = find(0);
	assert_int_equal(t[1], 0x18);
	assert_int_equal(strlen(string(t, t[8])), 10);
	assert_true(atoi(string(t, t[8]) + 6) >= 2008);
	assert_int_equal(t[0x13] & 0x18, 0x10); /* virtual, not UEFI */
}

static void structures_are_apart_by_their_handles(void **state)
{
	uint16_t seen[8];
	unsigned n = 0;

	(void)state;
	build();
	for (const uint8_t *t = tables();; t = next(t)) {
		for (unsigned i = 0; i < n; i++)
			assert_int_not_equal(seen[i], at16(t + 2));
		seen[n++] = at16(t + 2);
		if (t[0] == 127)
			break;
	}
	assert_int_equal(at16(find(2) + 0x0b), at16(find(3) + 2));
}

static void a_place_too_small_is_refused(void **state)
{
	int need;

	(void)state;
	build();
	need = used;
	assert_int_equal(hv_smbios_build(area, (size_t)need, 0x1000), need);
	for (int n = 0; n < need; n++)
		assert_int_equal(hv_smbios_build(area, (size_t)n, 0x1000),
				 -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_entry_point_is_where_guests_look),
		cmocka_unit_test(structures_are_as_many_and_as_large_as_said),
		cmocka_unit_test(the_machine_is_a_virtual_one_of_microsofts),
		cmocka_unit_test(the_bios_is_young_enough_for_linux),
		cmocka_unit_test(structures_are_apart_by_their_handles),
		cmocka_unit_test(a_place_too_small_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
