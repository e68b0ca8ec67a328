/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI configuration. See pci.h. Each function is its bytes after reset and the
 * bits of them that can be written.
 */
#include "pci.h"

#include <string.h>

enum { HOST, ISA, IDE };

enum {
	COMMAND = 0x04,
	BAR4 = 0x20,
	IDETIM = 0x40, /* 16 bits a channel; bit 15: ports are open */

	COMMAND_IO = 0x01,
	COMMAND_MASTER = 0x04,
};

#define ENABLE (1u << 31)
#define RESERVED 0x7f000003u /* of the address */

/* A register of up to 4 bytes: where, what it is first, what is writable. */
struct reg {
	uint8_t at, bytes;
	uint32_t val, writable;
};
#define REGS_MAX 12

static const struct function {
	uint8_t device, number;
	struct reg reg[REGS_MAX]; /* bytes 0: the end */
} functions[HV_PCI_FUNCTIONS] = {
	[HOST] = {0, 0, {
		{0x00, 4, 0x71928086, 0},
		{0x04, 4, 0x02000006, 0}, /* memory, master */
		{0x08, 4, 0x06000003, 0},
		{0x0c, 4, 0, 0x0000f800}, /* latency */
	}},
	[ISA] = {7, 0, {
		{0x00, 4, 0x71108086, 0},
		{0x04, 4, 0x0280000f, 0},
		{0x08, 4, 0x06010001, 0},
		{0x0c, 4, 0x00800000, 0},	   /* more functions */
		{0x4c, 4, 0x00030000 | 0x4d, 0x01ff00ff}, /* recovery, decode */
		{0x60, 4, 0x80808080, 0x8f8f8f8f}, /* PIRQ A to D: nowhere */
		{0x64, 1, 0x10, 0xd0},		   /* serial interrupts */
	}},
	[IDE] = {7, 1, {
		{0x00, 4, 0x71118086, 0},
		{0x04, 4, 0x02800000 | COMMAND_IO | COMMAND_MASTER,
		 COMMAND_IO | COMMAND_MASTER},
		{0x08, 4, 0x01018001, 0}, /* legacy ports, bus master */
		{0x0c, 4, 0, 0x0000f000},
		/* 32 bits of it, unlike the chip's 16: SeaBIOS takes the size
		 * from them
		 */
		{BAR4, 4, HV_PCI_MASTER_PORT | 1, 0xfffffff0},
		{IDETIM, 4, 0x80008000, 0xf3fff3ff},
		{0x44, 1, 0, 0xff},    /* timing of the second drives */
		{0x48, 1, 0, 0x0f},    /* ultra DMA: on for each drive ... */
		{0x4a, 2, 0, 0x3333},  /* ... and its timing */
	}},
};

/* Bus, device and function are 0 and those of the table; or -1. */
static int selected(const struct hv_pci *p)
{
	if (!(p->address & ENABLE) || (p->address >> 16 & 0xff) != 0)
		return -1;
	for (int i = 0; i < HV_PCI_FUNCTIONS; i++)
		if ((p->address >> 8 & 0xff) ==
		    (unsigned)(functions[i].device << 3 | functions[i].number))
			return i;
	return -1;
}

void hv_pci_init(struct hv_pci *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i < HV_PCI_FUNCTIONS; i++)
		for (const struct reg *r = functions[i].reg; r->bytes; r++)
			for (unsigned n = 0; n < r->bytes; n++)
				p->config[i][r->at + n] =
					(uint8_t)(r->val >> 8 * n);
}

uint32_t hv_pci_address_in(const struct hv_pci *p)
{
	return p->address;
}

void hv_pci_address_out(struct hv_pci *p, uint32_t val)
{
	p->address = val & ~RESERVED;
}

void hv_pci_data_in(const struct hv_pci *p, unsigned off, unsigned size,
		    uint8_t *data)
{
	int i = selected(p);

	for (unsigned n = 0; n < size; n++)
		data[n] = i < 0 ? 0xff
				: p->config[i][(p->address & 0xfc) + off + n];
}

static uint8_t writable(unsigned function, unsigned at)
{
	for (const struct reg *r = functions[function].reg; r->bytes; r++)
		if (at >= r->at && at < (unsigned)r->at + r->bytes)
			return (uint8_t)(r->writable >> 8 * (at - r->at));
	return 0;
}

void hv_pci_data_out(struct hv_pci *p, unsigned off, unsigned size,
		     const uint8_t *data)
{
	int i = selected(p);

	for (unsigned n = 0; n < size && i >= 0; n++) {
		unsigned at = (p->address & 0xfc) + off + n;
		uint8_t mask = writable((unsigned)i, at);
		uint8_t *byte = &p->config[i][at];

		*byte = (uint8_t)((*byte & ~mask) | (data[n] & mask));
	}
}

bool hv_pci_ide_open(const struct hv_pci *p, unsigned channel)
{
	const uint8_t *c = p->config[IDE];

	return (c[COMMAND] & COMMAND_IO) &&
	       (c[IDETIM + 2 * channel + 1] & 0x80);
}

uint16_t hv_pci_ide_port(const struct hv_pci *p)
{
	const uint8_t *c = p->config[IDE];

	if (!(c[COMMAND] & COMMAND_IO) || c[BAR4 + 2] || c[BAR4 + 3])
		return 0;
	return (uint16_t)((c[BAR4] & 0xf0) | c[BAR4 + 1] << 8);
}

bool hv_pci_ide_master(const struct hv_pci *p)
{
	return p->config[IDE][COMMAND] & COMMAND_MASTER;
}
