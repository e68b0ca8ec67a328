/* SPDX-License-Identifier: BSD-2-Clause */
/* Which ports lead to what. The configuration says which of them are open, and
 * where the bus master's are: anywhere from 0x1000 up, which is what PCI has of
 * the ports here (dsdt's PCI root says so, too).
 *
 * The lock guards the configuration only; the controller has its own.
 */
#include "piix.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "chip/pci.h"
#include "vhd/endian.h"

#define CONFIG_PORT 0xcf8
#define CONFIG_DATA 4u /* from there */
#define PCI_PORTS 0x1000
#define WIDTHS (1u | 2u | 4u)

struct channel_ports {
	struct hv_piix *piix;
	unsigned channel;
};

struct hv_piix {
	struct hv_ide *ide;
	struct channel_ports channel[HV_IDE_CHANNELS];
	pthread_mutex_t lock; /* pci */
	struct hv_pci pci;
};

/* ------------------------------------------------------- configuration -- */

/* Byte accesses to the address are not PCI's: 0xcf9 resets the machine. */
static void config_in(void *arg, unsigned off, unsigned size, uint32_t count,
		      uint8_t *data)
{
	struct hv_piix *p = arg;
	le32 val;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < count; i++, data += size) {
		if (off >= CONFIG_DATA) {
			hv_pci_data_in(&p->pci, off - CONFIG_DATA, size, data);
		} else if (off == 0 && size == 4) {
			val = le32_put(hv_pci_address_in(&p->pci));
			memcpy(data, &val, 4);
		} else {
			memset(data, 0xff, size);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

static void config_out(void *arg, unsigned off, unsigned size, uint32_t count,
		       const uint8_t *data)
{
	struct hv_piix *p = arg;
	le32 val;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < count; i++, data += size) {
		if (off >= CONFIG_DATA) {
			hv_pci_data_out(&p->pci, off - CONFIG_DATA, size, data);
		} else if (off == 0 && size == 4) {
			memcpy(&val, data, 4);
			hv_pci_address_out(&p->pci, le32_get(val));
		}
	}
	hv_ide_master_allow(p->ide, hv_pci_ide_master(&p->pci));
	pthread_mutex_unlock(&p->lock);
}

/* -------------------------------------------------------- legacy ports --- */

static bool ports_open(struct hv_piix *p, unsigned channel)
{
	bool open;

	pthread_mutex_lock(&p->lock);
	open = hv_pci_ide_open(&p->pci, channel);
	pthread_mutex_unlock(&p->lock);
	return open;
}

static void command_in(void *arg, unsigned off, unsigned size, uint32_t count,
		       uint8_t *data)
{
	struct channel_ports *c = arg;

	if (ports_open(c->piix, c->channel))
		hv_ide_in(c->piix->ide, c->channel, off, size, count, data);
	else
		memset(data, 0xff, (size_t)size * count);
}

static void command_out(void *arg, unsigned off, unsigned size, uint32_t count,
			const uint8_t *data)
{
	struct channel_ports *c = arg;

	if (ports_open(c->piix, c->channel))
		hv_ide_out(c->piix->ide, c->channel, off, size, count, data);
}

static void control_in(void *arg, unsigned off, unsigned size, uint32_t count,
		       uint8_t *data)
{
	struct channel_ports *c = arg;
	bool open = ports_open(c->piix, c->channel);

	(void)off;
	(void)size;
	for (uint32_t i = 0; i < count; i++)
		data[i] = open ? hv_ide_control_in(c->piix->ide, c->channel)
			       : 0xff;
}

static void control_out(void *arg, unsigned off, unsigned size, uint32_t count,
			const uint8_t *data)
{
	struct channel_ports *c = arg;

	(void)off;
	(void)size;
	if (!ports_open(c->piix, c->channel))
		return;
	for (uint32_t i = 0; i < count; i++)
		hv_ide_control_out(c->piix->ide, c->channel, data[i]);
}

/* ----------------------------------------------------------- PCI ports --- */

/* Which of the bus master's bytes an access is to, or -1. */
static int master_byte(struct hv_piix *p, unsigned off, unsigned size)
{
	unsigned port = PCI_PORTS + off, base;

	pthread_mutex_lock(&p->lock);
	base = hv_pci_ide_port(&p->pci);
	pthread_mutex_unlock(&p->lock);
	if (port < base || port + size > base + HV_IDE_MASTER_BYTES)
		return -1;
	return (int)(port - base);
}

static void master_in(void *arg, unsigned off, unsigned size, uint32_t count,
		      uint8_t *data)
{
	struct hv_piix *p = arg;
	int byte = master_byte(p, off, size);

	for (uint32_t i = 0; i < count; i++, data += size) {
		if (byte < 0)
			memset(data, 0xff, size);
		else
			hv_ide_master_in(p->ide, (unsigned)byte, size, data);
	}
}

static void master_out(void *arg, unsigned off, unsigned size, uint32_t count,
		       const uint8_t *data)
{
	struct hv_piix *p = arg;
	int byte = master_byte(p, off, size);

	for (uint32_t i = 0; i < count && byte >= 0; i++, data += size)
		hv_ide_master_out(p->ide, (unsigned)byte, size, data);
}

/* Of all of it; once is enough. */
static void reset(void *arg)
{
	struct hv_piix *p = arg;

	pthread_mutex_lock(&p->lock);
	hv_pci_init(&p->pci);
	hv_ide_reset(p->ide);
	hv_ide_master_allow(p->ide, hv_pci_ide_master(&p->pci));
	pthread_mutex_unlock(&p->lock);
}

static const struct hv_port_range config = {CONFIG_PORT, 8,	     WIDTHS,
					    config_in,	 config_out, reset};
static const struct hv_port_range channels[HV_IDE_CHANNELS][2] = {
	{{0x1f0, 8, WIDTHS, command_in, command_out, NULL},
	 {0x3f6, 1, 1, control_in, control_out, NULL}},
	{{0x170, 8, WIDTHS, command_in, command_out, NULL},
	 {0x376, 1, 1, control_in, control_out, NULL}},
};
static const struct hv_port_range master = {
	PCI_PORTS, 0xffff - PCI_PORTS + 1, WIDTHS, master_in, master_out, NULL};

/* ------------------------------------------------------ life and death --- */

static int add_ports(struct hv_piix *p, struct hv_board *board)
{
	int ret = hv_board_add(board, &config, p);

	for (unsigned i = 0; i < HV_IDE_CHANNELS; i++)
		for (unsigned j = 0; j < 2 && ret == 0; j++)
			ret = hv_board_add(board, &channels[i][j],
					   &p->channel[i]);
	return ret == 0 ? hv_board_add(board, &master, p) : ret;
}

int hv_piix_create(struct hv_board *board, struct hv_mem *mem,
		   const struct hv_disk *const disks[HV_IDE_DRIVES],
		   hv_ide_irq_fn irq, void *arg, struct hv_piix **out)
{
	struct hv_piix *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	for (unsigned i = 0; i < HV_IDE_CHANNELS; i++)
		p->channel[i] = (struct channel_ports){p, i};
	pthread_mutex_init(&p->lock, NULL);
	ret = hv_ide_create(disks, mem, irq, arg, &p->ide);
	if (ret == 0) {
		reset(p);
		ret = add_ports(p, board);
	}
	if (ret < 0) {
		hv_piix_destroy(p);
		return ret;
	}
	*out = p;
	return 0;
}

void hv_piix_destroy(struct hv_piix *p)
{
	if (!p)
		return;
	hv_ide_destroy(p->ide);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
