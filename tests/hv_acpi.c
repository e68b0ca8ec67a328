/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables as a guest walks them, from the RSDP on. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/acpi.h"
#include "hv/hv.h"

static uint8_t tables[HV_ACPI_BYTES];
static int used;
static bool pci; /* the machine has one */

static uint64_t num(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static unsigned sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n-- > 0)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The bytes at a guest address; inside what was built. */
static const uint8_t *at(uint64_t gpa)
{
	assert_true(gpa >= HV_ACPI_GPA && gpa < HV_ACPI_GPA + (uint64_t)used);
	return tables + (gpa - HV_ACPI_GPA);
}

/* A table with a header: name, length, checksum. */
static const uint8_t *table(uint64_t gpa, const char *name)
{
	const uint8_t *t = at(gpa);
	uint64_t len = num(t + 4, 4);

	assert_memory_equal(t, name, 4);
	assert_true(gpa + len <= HV_ACPI_GPA + (uint64_t)used);
	assert_int_equal(sum(t, (size_t)len), 0);
	return t;
}

static void build(uint32_t cpus)
{
	memset(tables, 0xee, sizeof(tables));
	used = hv_acpi_build(tables, sizeof(tables), HV_ACPI_GPA, cpus, pci);
	assert_true(used > 0);
}

static const uint8_t *xsdt_entry(unsigned i, const char *name)
{
	const uint8_t *xsdt = table(num(tables + 24, 8), "XSDT");

	const uint8_t *rsdt = table(num(tables + 16, 4), "RSDT");

	assert_int_equal(num(xsdt + 4, 4), 36 + (pci ? 3 : 2) * 8);
	/* the list for older readers is the same */
	assert_int_equal(num(rsdt + 4, 4), 36 + (pci ? 3 : 2) * 4);
	assert_int_equal(num(rsdt + 36 + 4 * i, 4), num(xsdt + 36 + 8 * i, 8));
	return table(num(xsdt + 36 + 8 * i, 8), name);
}

static void the_rsdp_comes_first_and_sums_to_zero(void **state)
{
	(void)state;
	build(1);
	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	assert_int_equal(tables[15], 2);
	assert_int_equal(HV_ACPI_GPA % 16, 0);
}

static void the_fadt_describes_the_boards_registers(void **state)
{
	(void)state;
	const uint8_t *f;

	build(1);
	f = xsdt_entry(0, "FACP");
	assert_int_equal(num(f + 4, 4), 276);
	assert_int_equal(f[8], 6);
	assert_int_equal(num(f + 46, 2), 9);        /* SCI */
	assert_int_equal(num(f + 48, 4), 0);        /* no SMI command */
	assert_int_equal(num(f + 56, 4), 0x600);    /* PM1a event */
	assert_int_equal(num(f + 64, 4), 0x604);    /* PM1a control */
	assert_int_equal(f[88], 4);
	assert_int_equal(f[89], 2);
	assert_int_equal(num(f + 76, 4), 0);        /* no PM timer */
	/* no VGA, no CMOS alarm device, no 8042 */
	assert_int_equal(num(f + 109, 2), 0x24);
	assert_int_equal(num(f + 112, 4) & 0x400, 0x400); /* reset register */
	assert_int_equal(num(f + 112, 4) & 0x100000, 0);  /* full hardware */
	assert_int_equal(f[116], 1);
	assert_int_equal(num(f + 120, 8), 0xcf9);
	assert_int_equal(f[128], 6);
	assert_int_equal(num(f + 152, 8), 0x600);
	assert_int_equal(num(f + 176, 8), 0x604);
}

static void dsdt_and_facs_are_where_the_fadt_says(void **state)
{
	(void)state;
	const uint8_t *f, *dsdt, *facs;

	build(1);
	f = xsdt_entry(0, "FACP");
	dsdt = table(num(f + 140, 8), "DSDT");
	assert_int_equal(num(f + 40, 4), num(f + 140, 8));
	facs = at(num(f + 36, 4));
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(num(f + 36, 4) % 64, 0);
	assert_int_equal(num(facs + 4, 4), 64);
	/* the device by which guests find the bus */
	assert_non_null(memmem(dsdt, (size_t)num(dsdt + 4, 4), "VMBus", 6));
	assert_non_null(memmem(dsdt, (size_t)num(dsdt + 4, 4), "_S5_", 4));
}

static void check_madt(uint32_t cpus)
{
	const uint8_t *m, *p, *end;
	unsigned lapics = 0, ioapics = 0, overrides = 0, nmis = 0;

	build(cpus);
	m = xsdt_entry(1, "APIC");
	assert_int_equal(num(m + 36, 4), 0xfee00000);
	end = m + num(m + 4, 4);
	for (p = m + 44; p < end; p += p[1]) {
		assert_true(p[1] >= 6 && p + p[1] <= end);
		switch (p[0]) {
		case 0:
			assert_int_equal(p[3], lapics); /* APIC id */
			assert_int_equal(p[2], ++lapics);
			assert_int_equal(num(p + 4, 4), 1);
			break;
		case 1:
			assert_int_equal(num(p + 4, 4), 0xfec00000);
			assert_int_equal(num(p + 8, 4), 0);
			ioapics++;
			break;
		case 2:
			assert_int_equal(num(p + 4, 4), p[3] == 0 ? 2 : 9);
			assert_int_equal(num(p + 8, 2), p[3] == 0 ? 0 : 0xd);
			overrides++;
			break;
		case 4:
			assert_int_equal(p[2], 0xff);
			assert_int_equal(p[5], 1);
			nmis++;
			break;
		default:
			fail();
		}
	}
	assert_ptr_equal(p, end);
	assert_int_equal(lapics, cpus);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
	assert_int_equal(nmis, 1);
}

static void the_madt_lists_each_processor_once(void **state)
{
	(void)state;
	check_madt(1);
	check_madt(2);
	check_madt(HV_CPUS_MAX);
}

static void a_place_too_small_is_refused(void **state)
{
	(void)state;
	int need;

	build(3);
	need = used;
	assert_int_equal(hv_acpi_build(tables, (size_t)need, HV_ACPI_GPA, 3,
				       pci),
			 need);
	for (int n = 0; n < need; n++)
		assert_int_equal(hv_acpi_build(tables, (size_t)n, HV_ACPI_GPA,
					       3, pci),
				 -ENOSPC);
}

static void a_pci_bus_has_its_table(void **state)
{
	(void)state;
	const uint8_t *ssdt;

	build(1);
	assert_null(memmem(tables, (size_t)used, "PCI0", 4));
	pci = true;
	build(2);
	ssdt = xsdt_entry(2, "SSDT");
	assert_non_null(memmem(ssdt, (size_t)num(ssdt + 4, 4), "PCI0", 4));
	a_place_too_small_is_refused(state);
	pci = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rsdp_comes_first_and_sums_to_zero),
		cmocka_unit_test(the_fadt_describes_the_boards_registers),
		cmocka_unit_test(dsdt_and_facs_are_where_the_fadt_says),
		cmocka_unit_test(the_madt_lists_each_processor_once),
		cmocka_unit_test(a_place_too_small_is_refused),
		cmocka_unit_test(a_pci_bus_has_its_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
