/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot by firmware. See boot_bios.h. */
#include "boot_bios.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "acpi.h"
#include "chip/cmos.h"
#include "chip/fwcfg.h"
#include "int13_rom.h"
#include "part.h"
#include "smbios.h"
#include "vhd/endian.h"

#define ROM_BYTES_MIN 0x10000u
#define ROM_BYTES_MAX 0x40000u
#define ROM_SLOT      2u
#define RSDP_BYTES    36u

struct hv_bios {
	const struct hv *hv;
	uint8_t *image; /* page-aligned: the virtual machine has it */
	uint32_t image_bytes;
	const struct hv_disk *(*disk)(void *arg, unsigned i);
	void *disk_arg;
	struct hv_fwcfg *fwcfg;
	struct hv_int13 *int13;
};

/* ------------------------------------------------------------- the image */

/* A PC's first instruction is a jump, 16 bytes before the end. */
int hv_bios_check(const uint8_t *image, size_t bytes, struct vhd_err *err)
{
	if (bytes > ROM_BYTES_MAX)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
				"has more than the %u bytes of a BIOS; UEFI "
				"firmware (OVMF) has no driver for these disks",
				ROM_BYTES_MAX);
	if (bytes < ROM_BYTES_MIN || bytes % HV_PAGE_BYTES != 0 ||
	    (image[bytes - 16] != 0xea && image[bytes - 16] != 0xe9))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
				"is no BIOS: SeaBIOS is meant (bios-256k.bin)");
	return 0;
}

static int copy_image(struct hv_bios *b, const struct hv_bios_opts *o,
		      struct vhd_err *err)
{
	void *p;
	int ret = hv_bios_check(o->image, o->image_bytes, err);

	if (ret < 0)
		return ret;
	p = mmap(NULL, o->image_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return vhd_fail(err, -errno, VHD_WHY_NOMEM, 0,
				"no memory for the firmware: %s",
				strerror(errno));
	memcpy(p, o->image, o->image_bytes);
	b->image = p;
	b->image_bytes = (uint32_t)o->image_bytes;
	return 0;
}

static int give_rom(const struct hv_bios *b, struct vhd_err *err)
{
	struct kvm_userspace_memory_region r = {
		.slot = ROM_SLOT,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = (4ull << 30) - b->image_bytes,
		.memory_size = b->image_bytes,
		.userspace_addr = (uintptr_t)b->image,
	};

	if (ioctl(b->hv->vm_fd, KVM_SET_USER_MEMORY_REGION, &r) == 0)
		return 0;
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"KVM does not take the firmware: %s", strerror(errno));
}

/* ------------------------------------------------ what the firmware is told */

struct e820_wire {
	le64 start, bytes;
	le32 type;
};
static_assert(sizeof(struct e820_wire) == 20, "memory map entry");

/* One command of the table loader: copy the RSDP where it is searched for. The
 * tables have their places already.
 */
struct loader_wire {
	le32 command; /* 1: allocate */
	uint8_t file[56];
	le32 align;
	uint8_t zone; /* 2: the F segment */
	uint8_t unused[63];
};
static_assert(sizeof(struct loader_wire) == 128, "table loader command");

static uint64_t acpi_gpa(const struct hv_layout *l)
{
	return l->low_bytes - HV_BIOS_ACPI_BYTES;
}

/* SeaBIOS reserves what is below 1 MiB itself. */
static unsigned memory_map(const struct hv_layout *l, struct e820_wire map[3])
{
	unsigned n = 0;

	map[n++] = (struct e820_wire){le64_put(0), le64_put(acpi_gpa(l)),
				      le32_put(HV_E820_RAM)};
	map[n++] = (struct e820_wire){le64_put(acpi_gpa(l)),
				      le64_put(HV_BIOS_ACPI_BYTES),
				      le32_put(HV_E820_RESERVED)};
	if (l->high_bytes > 0)
		map[n++] = (struct e820_wire){le64_put(HV_HIGH_GPA),
					      le64_put(l->high_bytes),
					      le32_put(HV_E820_RAM)};
	return n;
}

static struct loader_wire load_rsdp(void)
{
	struct loader_wire w = {
		.command = le32_put(1),
		.file = "etc/acpi/rsdp",
		.align = le32_put(16),
		.zone = 2,
	};

	return w;
}

/* The ROM's two ways to boot, in the order of the headers in it. */
static const char disks_first[] = "/rom@genroms/hv.rom\n"
				  "/rom@genroms/hv.rom:rom1";
static const char dvd_first[] = "/rom@genroms/hv.rom:rom1\n"
				"/rom@genroms/hv.rom";

int hv_bios_items(struct hv_fwcfg *f, const struct hv_bios_machine *m,
		  const uint8_t rsdp[RSDP_BYTES], struct vhd_err *err)
{
	const le16 cpus = le16_put((uint16_t)m->cpus), none = le16_put(0);
	const le16 console = le16_put(HV_PORT_COM1);
	const struct loader_wire loader = load_rsdp();
	const char *order = m->dvd_first ? dvd_first : disks_first;
	struct e820_wire map[3];
	unsigned ranges = memory_map(m->layout, map);
	uint8_t smbios[HV_SMBIOS_BYTES], entry[HV_SMBIOS_ENTRY_BYTES];
	int smbios_bytes = hv_smbios_tables(smbios, sizeof(smbios));
	const struct {
		const char *name; /* NULL: `key` */
		uint16_t key;
		const void *bytes;
		size_t len;
	} items[] = {
		/* exactly so many are waited for */
		{NULL, HV_FWCFG_CPUS, &cpus, sizeof(cpus)},
		{NULL, HV_FWCFG_CPUS_MAX, &cpus, sizeof(cpus)},
		/* no key is waited for, 2.5 s long */
		{NULL, HV_FWCFG_BOOT_MENU, &none, sizeof(none)},
		{"etc/e820", 0, map, ranges * sizeof(map[0])},
		/* INT 10h and 16h on the serial console */
		{"etc/sercon-port", 0, &console, sizeof(console)},
		{"etc/acpi/rsdp", 0, rsdp, RSDP_BYTES},
		{"etc/table-loader", 0, &loader, sizeof(loader)},
		/* it finds a place for them, and corrects the entry point */
		{"etc/smbios/smbios-anchor", 0, entry, sizeof(entry)},
		{"etc/smbios/smbios-tables", 0, smbios, (size_t)smbios_bytes},
		{"genroms/hv.rom", 0, int13_rom, sizeof(int13_rom)},
		{"bootorder", 0, order, strlen(order) + 1},
	};

	assert(smbios_bytes > 0);
	hv_smbios_entry((size_t)smbios_bytes, 0, entry);
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		int ret = items[i].name
				  ? hv_fwcfg_add_file(f, items[i].name,
						      items[i].bytes,
						      items[i].len)
				  : hv_fwcfg_add(f, items[i].key,
						 items[i].bytes, items[i].len);

		if (ret < 0)
			return vhd_fail(err, ret, VHD_WHY_NOMEM, 0,
					"cannot tell the firmware about the "
					"machine: %s", strerror(-ret));
	}
	return 0;
}

static void cmos_word(struct hv_board *b, unsigned index, uint64_t val)
{
	hv_board_cmos_set(b, index, (uint8_t)val);
	hv_board_cmos_set(b, index + 1, (uint8_t)(val >> 8));
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* For who knows no fw_cfg; the number of processors is waited for. */
static void fill_cmos(const struct hv *hv)
{
	const struct hv_layout *l = &hv->layout;
	uint64_t above_1m = (acpi_gpa(l) >> 10) - 1024;
	uint64_t above_16m = acpi_gpa(l) > 16u << 20
				     ? (acpi_gpa(l) - (16u << 20)) >> 16 : 0;
	uint64_t above_4g = l->high_bytes >> 16;

	cmos_word(hv->board, HV_CMOS_BASE_KIB, 640);
	cmos_word(hv->board, HV_CMOS_ABOVE_1M_KIB, at_most(above_1m, 0xfc00));
	cmos_word(hv->board, HV_CMOS_ABOVE_1M_KIB_TOO,
		  at_most(above_1m, 0xfc00));
	cmos_word(hv->board, HV_CMOS_ABOVE_16M_64K,
		  at_most(above_16m, 0xffff));
	cmos_word(hv->board, HV_CMOS_ABOVE_4G_64K, above_4g);
	hv_board_cmos_set(hv->board, HV_CMOS_ABOVE_4G_64K + 2,
			  (uint8_t)(above_4g >> 16));
	/* disk, then disc; no signature is asked of a floppy */
	hv_board_cmos_set(hv->board, HV_CMOS_BOOT_ORDER, 0x32);
	hv_board_cmos_set(hv->board, HV_CMOS_BOOT_FLAGS, 0x01);
	hv_board_cmos_set(hv->board, HV_CMOS_MORE_CPUS,
			  (uint8_t)(hv->opts.cpus - 1));
}

/* ---------------------------------------------------------- at each start */

static int does_not_fit(int ret, const char *what, struct vhd_err *err)
{
	if (ret >= 0)
		return 0;
	return vhd_fail(err, ret, VHD_WHY_ARGUMENT, 0, "%s do not fit", what);
}

/* `rsdp`: the first of them. */
static int build_tables(const struct hv *hv, uint8_t rsdp[RSDP_BYTES],
			struct vhd_err *err)
{
	uint8_t *tables = malloc(HV_BIOS_ACPI_BYTES);
	int ret;

	if (!tables)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	ret = hv_acpi_build(tables, HV_BIOS_ACPI_BYTES, acpi_gpa(&hv->layout),
			    hv->opts.cpus, hv->piix);
	memcpy(rsdp, tables, ret > 0 ? RSDP_BYTES : 0);
	if (ret > 0)
		ret = hv_gpa_write(hv->mem, acpi_gpa(&hv->layout), tables,
				   (size_t)ret);
	free(tables);
	return does_not_fit(ret, "the ACPI tables", err);
}

static void list_disks(const struct hv_bios *b, struct hv_int13_disks *out)
{
	const struct hv_disk *d;

	*out = (struct hv_int13_disks){.disks = 0};
	for (unsigned i = 0; (d = b->disk(b->disk_arg, i)); i++)
		hv_int13_disks_add(out, d);
}

/* All of it, again after each reset. */
static int bios_load(struct hv *hv, struct vhd_err *err)
{
	struct hv_bios *b = hv->bios;
	struct hv_int13_disks disks;
	uint8_t rsdp[RSDP_BYTES];
	int ret = build_tables(hv, rsdp, err);

	if (ret == 0)
		ret = does_not_fit(hv_gpa_write(hv->mem,
						0x100000 - b->image_bytes,
						b->image, b->image_bytes),
				   "the firmware", err);
	if (ret == 0)
		ret = give_rom(b, err);
	if (ret < 0)
		return ret;
	fill_cmos(hv);
	hv_board_console_polled(hv->board);
	hv_fwcfg_reset(b->fwcfg);
	list_disks(b, &disks);
	hv_int13_reset(b->int13, &disks);
	return 0;
}

/* --------------------------------------------------------- life and death */

static int create_chips(struct hv *hv, struct hv_bios *b,
			const struct hv_bios_opts *o, struct vhd_err *err)
{
	const struct hv_bios_machine m = {&hv->layout, hv->opts.cpus,
					  o->dvd_first};
	const struct hv_int13_disks none = {.disks = 0};
	uint8_t rsdp[RSDP_BYTES];
	int ret;

	if (hv_fwcfg_create(hv->mem, &b->fwcfg) < 0 ||
	    hv_int13_create(hv->mem, &none, &b->int13) < 0)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	/* The tables are the same at each start: their place is. */
	ret = build_tables(hv, rsdp, err);
	if (ret == 0)
		ret = hv_bios_items(b->fwcfg, &m, rsdp, err);
	if (ret == 0 && hv_board_add(hv->board, &hv_fwcfg_ports, b->fwcfg) < 0)
		ret = vhd_fail(err, -ENOSPC, VHD_WHY_ARGUMENT, 0,
			       "too many chips on the board");
	return ret;
}

static void bios_close(struct hv *hv)
{
	struct hv_bios *b = hv->bios;

	hv_fwcfg_destroy(b->fwcfg);
	hv_int13_destroy(b->int13);
	if (b->image)
		(void)munmap(b->image, b->image_bytes);
	free(b);
}

static const struct hv_boot bios_boot = {bios_load, bios_close};

int hv_boot_bios(struct hv *hv, const struct hv_bios_opts *o,
		 struct vhd_err *err)
{
	struct hv_bios *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	b->hv = hv;
	b->disk = o->disk;
	b->disk_arg = o->disk_arg;
	hv->bios = b;
	hv->boot = &bios_boot;
	ret = copy_image(b, o, err);
	if (ret == 0)
		ret = create_chips(hv, b, o, err);
	return ret == 0 ? bios_load(hv, err) : ret;
}

bool hv_bios_calls(struct hv *hv, struct hv_bios_calls *out)
{
	struct hv_int13_stats s;

	if (!hv->bios)
		return false;
	hv_int13_get_stats(hv->bios->int13, &s);
	*out = (struct hv_bios_calls){s.calls, s.errors, s.bytes_read,
				      s.bytes_written};
	return true;
}

/* --------------------------------------------------------------- the exit */

static void put(__u64 *reg, uint16_t val)
{
	*reg = (*reg & ~0xffffull) | val;
}

/* In virtual-8086 mode (a memory manager of DOS) addresses are not the
 * machine's: a call for a disk is refused, where without an answer the ROM would
 * go on with flags that say anything.
 */
static enum hv_int13_result refuse_virtual(struct hv_int13_regs *r)
{
	enum { FIRST_DISK = 0x80, CONTROLLER_FAILED = 0x20 };

	if ((r->dx & 0xff) < FIRST_DISK)
		return HV_INT13_NOT_OURS;
	r->ax = (uint16_t)(CONTROLLER_FAILED << 8 | (r->ax & 0xff));
	return HV_INT13_ERROR;
}

/* Registers, not where it goes on: KVM moves on behind the OUT when the guest
 * is entered again. In protected mode it is nobody's call.
 */
int hv_bios_exit(struct hv_vcpu *v, uint16_t port)
{
	enum { CR0_PE = 1u << 0, CARRY = 1u << 0, ZERO = 1u << 6,
	       VIRTUAL_8086 = 1u << 17 };
	struct kvm_regs regs;
	struct kvm_sregs s;
	struct hv_int13_regs r;
	enum hv_int13_result result;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0 ||
	    ioctl(v->fd, KVM_GET_REGS, &regs) < 0)
		return -errno;
	if ((s.cr0 & CR0_PE) &&
	    (!(regs.rflags & VIRTUAL_8086) || port != HV_INT13_CALL))
		return 0;
	r = (struct hv_int13_regs){
		.ax = (uint16_t)regs.rax, .bx = (uint16_t)regs.rbx,
		.cx = (uint16_t)regs.rcx, .dx = (uint16_t)regs.rdx,
		.si = (uint16_t)regs.rsi, .ds = s.ds.selector,
		.es = s.es.selector,
	};
	result = s.cr0 & CR0_PE
			 ? refuse_virtual(&r)
			 : hv_int13_exit(v->hv->bios->int13,
					 (enum hv_int13_port)port, &r);
	put(&regs.rax, r.ax);
	put(&regs.rbx, r.bx);
	put(&regs.rcx, r.cx);
	put(&regs.rdx, r.dx);
	regs.rflags &= ~(uint64_t)(CARRY | ZERO);
	if (result == HV_INT13_ERROR)
		regs.rflags |= CARRY;
	if (result == HV_INT13_NOT_OURS)
		regs.rflags |= ZERO;
	return ioctl(v->fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}
