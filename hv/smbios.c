/* SPDX-License-Identifier: BSD-2-Clause */
/* SMBIOS tables. See smbios.h. A structure is its fixed fields, then its
 * strings, to which fields refer by their number from 1 on.
 */
#include "smbios.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vhd/endian.h"

#define MAKER "Microsoft Corporation"
#define MACHINE "Virtual Machine"
#define VERSION "7.0"

struct header {
	uint8_t type, length;
	le16 handle;
};
static_assert(sizeof(struct header) == 4, "DSP0134 6.1.2");

struct bios {
	struct header h;
	uint8_t vendor, version;
	le16 segment;
	uint8_t date, rom;
	le64 characteristics;
	uint8_t more[2];
	uint8_t release[2], controller[2];
};
static_assert(sizeof(struct bios) == 0x18, "DSP0134 7.1");

struct machine {
	struct header h;
	uint8_t maker, name, version, serial;
	uint8_t uuid[16];
	uint8_t wake_up, sku, family;
};
static_assert(sizeof(struct machine) == 0x1b, "DSP0134 7.2");

struct board {
	struct header h;
	uint8_t maker, name, version, serial, tag, features, location;
	le16 chassis;
	uint8_t type, contained;
};
static_assert(sizeof(struct board) == 0x0f, "DSP0134 7.3");

struct chassis {
	struct header h;
	uint8_t maker, type, version, serial, tag;
	uint8_t boot_state, power_state, thermal_state, security;
	le32 oem;
	uint8_t height, cords, elements, element_bytes, sku;
};
static_assert(sizeof(struct chassis) == 0x16, "DSP0134 7.4");

struct entry {
	uint8_t anchor[4];
	uint8_t checksum, length, major, minor;
	le16 largest;
	uint8_t revision, formatted[5];
	uint8_t dmi_anchor[5], dmi_checksum;
	le16 bytes;
	le32 address;
	le16 count;
	uint8_t bcd;
};
static_assert(sizeof(struct entry) == HV_SMBIOS_ENTRY_BYTES, "DSP0134 5.2.1");

enum { SAFE = 3, DESKTOP = 3, MOTHERBOARD = 0x0a, POWER_SWITCH = 6 };
enum { CHASSIS_HANDLE = 0x300 };

static const struct bios bios = {
	.h = {0, sizeof(bios), {{0x00, 0x00}}},
	.vendor = 1,
	.version = 2,
	.segment = {{0x00, 0xf0}},
	.date = 3,
	.characteristics = {{1 << 3}}, /* told by the next bytes only */
	.more = {0x01, 0x10},	       /* ACPI; a virtual machine */
	.release = {1, 0},
	.controller = {0xff, 0xff},
};
static const struct machine machine = {
	.h = {1, sizeof(machine), {{0x00, 0x01}}},
	.maker = 1,
	.name = 2,
	.version = 3,
	.wake_up = POWER_SWITCH,
	.family = 2,
};
static const struct board board = {
	.h = {2, sizeof(board), {{0x00, 0x02}}},
	.maker = 1,
	.name = 2,
	.version = 3,
	.features = 1, /* hosts the processors */
	.chassis = {{CHASSIS_HANDLE & 0xff, CHASSIS_HANDLE >> 8}},
	.type = MOTHERBOARD,
};
static const struct chassis chassis = {
	.h = {3, sizeof(chassis),
	      {{CHASSIS_HANDLE & 0xff, CHASSIS_HANDLE >> 8}}},
	.maker = 1,
	.type = DESKTOP,
	.version = 2,
	.boot_state = SAFE,
	.power_state = SAFE,
	.thermal_state = SAFE,
	.security = SAFE,
};
static const struct header end = {127, sizeof(end), {{0x00, 0x7f}}};

#define STRINGS_MAX 3
static const struct structure {
	const void *fixed;
	size_t bytes;
	const char *string[STRINGS_MAX];
} structures[] = {
	/* A year from 2008 on: Linux trusts the tables of younger machines. */
	{&bios, sizeof(bios), {"VHD toolkit", "hv", "11/01/2026"}},
	{&machine, sizeof(machine), {MAKER, MACHINE, VERSION}},
	{&board, sizeof(board), {MAKER, MACHINE, VERSION}},
	{&chassis, sizeof(chassis), {MAKER, VERSION}},
	{&end, sizeof(end), {NULL}},
};
#define STRUCTURES (sizeof(structures) / sizeof(structures[0]))

/* Its bytes with its strings, which end with an empty one; none are two NULs.
 */
static size_t structure_bytes(const struct structure *s)
{
	size_t n = s->bytes;

	for (unsigned i = 0; i < STRINGS_MAX && s->string[i]; i++)
		n += strlen(s->string[i]) + 1;
	return n + (n == s->bytes ? 2 : 1);
}

static void structure_put(const struct structure *s, uint8_t *to)
{
	memset(to, 0, structure_bytes(s));
	memcpy(to, s->fixed, s->bytes);
	to += s->bytes;
	for (unsigned i = 0; i < STRINGS_MAX && s->string[i]; i++) {
		memcpy(to, s->string[i], strlen(s->string[i]));
		to += strlen(s->string[i]) + 1;
	}
}

int hv_smbios_tables(uint8_t *buf, size_t cap)
{
	size_t used = 0;

	for (size_t i = 0; i < STRUCTURES; i++) {
		size_t n = structure_bytes(&structures[i]);

		if (n > cap - used)
			return -ENOSPC;
		structure_put(&structures[i], buf + used);
		used += n;
	}
	return (int)used;
}

static uint8_t negative_sum(const void *p, size_t n)
{
	const uint8_t *b = p;
	unsigned s = 0;

	while (n-- > 0)
		s += *b++;
	return (uint8_t)-s;
}

void hv_smbios_entry(size_t bytes, uint32_t gpa,
		     uint8_t out[HV_SMBIOS_ENTRY_BYTES])
{
	struct entry e = {
		.anchor = {'_', 'S', 'M', '_'},
		.length = sizeof(e),
		.major = 2,
		.minor = 8,
		.dmi_anchor = {'_', 'D', 'M', 'I', '_'},
		.bytes = le16_put((uint16_t)bytes),
		.address = le32_put(gpa),
		.count = le16_put((uint16_t)STRUCTURES),
		.bcd = 0x28,
	};
	size_t largest = 0;

	for (size_t i = 0; i < STRUCTURES; i++)
		if (structure_bytes(&structures[i]) > largest)
			largest = structure_bytes(&structures[i]);
	e.largest = le16_put((uint16_t)largest);
	e.dmi_checksum = negative_sum(e.dmi_anchor, 15);
	e.checksum = negative_sum(&e, sizeof(e));
	memcpy(out, &e, sizeof(e));
}

int hv_smbios_build(uint8_t *buf, size_t cap, uint32_t gpa)
{
	const size_t entry = (HV_SMBIOS_ENTRY_BYTES + 15) & ~15u;
	int used;

	if (cap < entry)
		return -ENOSPC;
	memset(buf, 0, entry);
	used = hv_smbios_tables(buf + entry, cap - entry);
	if (used < 0)
		return used;
	hv_smbios_entry((size_t)used, gpa + (uint32_t)entry, buf);
	return (int)entry + used;
}
