/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot by firmware: what it is told of the machine, the option ROM's bytes, and
 * what an exit of it does to a processor. KVM is this program's own (--wrap).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hv/acpi.h"
#include "hv/boot_bios.h"
#include "hv/chip/fwcfg.h"
#include "hv/disk.h"
#include "hv/part.h"
#include "int13_rom.h"
#include "tests/lib/cm.h"
#include "tests/lib/quietboard.h"
#include "vhd/endian.h"

int __wrap_ioctl(int fd, unsigned long request, ...);

#define RAM_BYTES (8u << 20)
#define ROM_BYTES 0x20000u

static struct {
	struct kvm_userspace_memory_region rom;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	unsigned long refuse;
} kvm;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	(void)fd;
	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == kvm.refuse) {
		errno = EIO;
		return -1;
	}
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
		memcpy(&kvm.rom, arg, sizeof(kvm.rom));
		return 0;
	case KVM_GET_REGS:
		memcpy(arg, &kvm.regs, sizeof(kvm.regs));
		return 0;
	case KVM_SET_REGS:
		memcpy(&kvm.regs, arg, sizeof(kvm.regs));
		return 0;
	case KVM_GET_SREGS:
		memcpy(arg, &kvm.sregs, sizeof(kvm.sregs));
		return 0;
	}
	fail_msg("request %#lx", request);
	return -1;
}

/* -------------------------------------------------------------- a machine */

static int disk_read(void *arg, uint64_t lba, const struct iovec *iov,
		     unsigned count)
{
	(void)arg;
	(void)lba;
	for (unsigned i = 0; i < count; i++)
		memset(iov[i].iov_base, 0x77, iov[i].iov_len);
	return 0;
}

static const struct hv_disk_ops disk_ops = {.read = disk_read};

struct world {
	struct hv *hv;
	uint8_t *ram, *rom;
	struct hv_disk disk, dvd;
	const struct hv_disk *disks[3]; /* NULL at the end */
	struct hv_bios_opts opts;
};

static const struct hv_disk *nth_disk(void *arg, unsigned i)
{
	const struct world *w = arg;

	return w->disks[i];
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct hv *hv = calloc(1, sizeof(*hv) + 2 * sizeof(hv->vcpu[0]));

	memset(&kvm, 0, sizeof(kvm));
	w->hv = hv;
	hv->opts.cpus = 2;
	hv->layout.low_bytes = RAM_BYTES;
	hv->vcpu[0].hv = hv;
	w->ram = aligned_alloc(4096, RAM_BYTES);
	memset(w->ram, 0, RAM_BYTES);
	assert_int_equal(hv_mem_create(&hv->mem), 0);
	assert_int_equal(hv_mem_add(hv->mem, 0, RAM_BYTES, w->ram), 0);
	assert_int_equal(hv_board_create(&quietboard_ops, hv, &hv->board), 0);
	w->rom = malloc(ROM_BYTES);
	memset(w->rom, 0xc3, ROM_BYTES);
	w->rom[ROM_BYTES - 16] = 0xea;
	w->disk = (struct hv_disk){.ops = &disk_ops, .blocks = 100000,
				   .block_bytes = 512};
	w->dvd = (struct hv_disk){.ops = &disk_ops, .blocks = 1000,
				  .block_bytes = 2048, .dvd = true};
	w->disks[0] = &w->disk;
	w->disks[1] = &w->dvd;
	w->opts = (struct hv_bios_opts){.image = w->rom,
					.image_bytes = ROM_BYTES,
					.disk = nth_disk,
					.disk_arg = w};
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	if (w->hv->boot)
		w->hv->boot->close(w->hv);
	hv_board_destroy(w->hv->board);
	hv_mem_destroy(w->hv->mem);
	free(w->hv);
	free(w->ram);
	free(w->rom);
	free(w);
	return 0;
}

static void boot(struct world *w)
{
	struct vhd_err err;

	if (hv_boot_bios(w->hv, &w->opts, &err) < 0)
		fail_msg("%s", err.text);
}

static uint8_t in(struct world *w, uint16_t port)
{
	uint8_t v;

	hv_board_in(w->hv->board, port, 1, 1, &v);
	return v;
}

static void out(struct world *w, uint16_t port, unsigned size, uint32_t val)
{
	const le32 v = le32_put(val);

	hv_board_out(w->hv->board, port, size, 1, v.b);
}

static unsigned cmos(struct world *w, uint8_t index)
{
	out(w, 0x70, 1, index);
	return in(w, 0x71);
}

/* A file of fw_cfg as the guest finds it; its length, or -1. */
static int file(struct world *w, const char *name, uint8_t *buf, size_t cap)
{
	uint8_t d[64];
	unsigned files;

	out(w, 0x510, 2, HV_FWCFG_DIRECTORY);
	hv_board_in(w->hv->board, 0x511, 1, 4, d);
	files = d[3];
	for (unsigned i = 0; i < files; i++) {
		hv_board_in(w->hv->board, 0x511, 1, 64, d);
		if (strcmp((char *)d + 8, name) != 0)
			continue;
		out(w, 0x510, 2, (uint32_t)(d[4] << 8 | d[5]));
		assert_true((unsigned)(d[2] << 8 | d[3]) <= cap);
		hv_board_in(w->hv->board, 0x511, 1,
			    (uint32_t)(d[2] << 8 | d[3]), buf);
		return d[2] << 8 | d[3];
	}
	return -1;
}

static unsigned sum(const uint8_t *p, size_t n)
{
	unsigned s = 0;

	while (n-- > 0)
		s += *p++;
	return s & 0xff;
}

/* -------------------------------------------------------------- the start */

static void the_firmware_lies_at_both_its_places(void **state)
{
	struct world *w = *state;

	boot(w);
	assert_int_equal(kvm.rom.guest_phys_addr, 0xfffe0000);
	assert_int_equal(kvm.rom.memory_size, ROM_BYTES);
	assert_int_equal(kvm.rom.flags, KVM_MEM_READONLY);
	assert_memory_equal((void *)(uintptr_t)kvm.rom.userspace_addr, w->rom,
			    ROM_BYTES);
	assert_memory_equal(w->ram + 0xe0000, w->rom, ROM_BYTES);
}

static void a_reset_brings_all_of_it_back(void **state)
{
	struct world *w = *state;
	struct vhd_err err;
	uint8_t *first = malloc(RAM_BYTES);

	boot(w);
	memcpy(first, w->ram, RAM_BYTES);
	memset(w->ram, 0, RAM_BYTES);
	memset(&kvm.rom, 0, sizeof(kvm.rom));
	assert_int_equal(w->hv->boot->load(w->hv, &err), 0);
	assert_memory_equal(w->ram, first, RAM_BYTES);
	assert_int_equal(kvm.rom.memory_size, ROM_BYTES);
	free(first);
}

static void each_start_asks_which_disks_there_are(void **state)
{
	struct world *w = *state;
	struct hv_vcpu *v = &w->hv->vcpu[0];
	struct hv_disk another = w->disk;
	struct vhd_err err;

	boot(w);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	assert_int_equal(w->ram[0x475], 1);
	w->disks[1] = &another;
	w->ram[0x475] = 0;
	assert_int_equal(w->hv->boot->load(w->hv, &err), 0);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	assert_int_equal(w->ram[0x475], 2);
	w->disks[0] = NULL; /* all are gone */
	w->ram[0x475] = 0;
	assert_int_equal(w->hv->boot->load(w->hv, &err), 0);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	assert_int_equal(w->ram[0x475], 0);
}

static void memory_is_told_to_its_end(void **state)
{
	struct world *w = *state;
	uint8_t map[60];

	w->hv->layout.high_bytes = 3ull << 30;
	boot(w);
	assert_int_equal(file(w, "etc/e820", map, sizeof(map)), 60);
	assert_memory_equal(map, "\0\0\0\0\0\0\0\0\0\0\x7f\0\0\0\0\0\1\0\0\0",
			    20);
	assert_memory_equal(map + 20,
			    "\0\0\x7f\0\0\0\0\0\0\0\1\0\0\0\0\0\2\0\0\0", 20);
	assert_memory_equal(map + 40,
			    "\0\0\0\0\1\0\0\0\0\0\0\xc0\0\0\0\0\1\0\0\0", 20);
	assert_int_equal(cmos(w, 0x15) | cmos(w, 0x16) << 8, 640);
	assert_int_equal(cmos(w, 0x30) | cmos(w, 0x31) << 8, 7 * 1024 - 64);
	assert_int_equal(cmos(w, 0x34) | cmos(w, 0x35) << 8, 0);
	assert_int_equal(cmos(w, 0x5b) | cmos(w, 0x5c) << 8 |
				 cmos(w, 0x5d) << 16, 3 << 14);
	assert_int_equal(cmos(w, 0x5f), 1);
	assert_int_equal(cmos(w, 0x10), 0);
	assert_int_equal(cmos(w, 0x3d), 0x32);
	/* nothing of it can be changed, but why the processor was reset */
	out(w, 0x71, 1, 0x55);
	assert_int_equal(cmos(w, 0x3d), 0x32);
	(void)cmos(w, 0x0f);
	out(w, 0x71, 1, 0x0a);
	assert_int_equal(cmos(w, 0x0f), 0x0a);
}

static void the_acpi_tables_are_where_the_rsdp_says(void **state)
{
	struct world *w = *state;
	const uint64_t at = RAM_BYTES - HV_BIOS_ACPI_BYTES;
	uint8_t rsdp[36], loader[128];
	le64 xsdt;

	boot(w);
	assert_int_equal(file(w, "etc/acpi/rsdp", rsdp, sizeof(rsdp)), 36);
	assert_memory_equal(rsdp, w->ram + at, 36);
	assert_int_equal(sum(rsdp, 36), 0);
	memcpy(&xsdt, rsdp + 24, sizeof(xsdt));
	assert_true(le64_get(xsdt) > at && le64_get(xsdt) < RAM_BYTES);
	assert_memory_equal(w->ram + le64_get(xsdt), "XSDT", 4);
	assert_int_equal(file(w, "etc/table-loader", loader, 128), 128);
	assert_memory_equal(loader, "\1\0\0\0etc/acpi/rsdp", 18);
	assert_int_equal(loader[64], 2); /* where it is searched for */
}

/* SeaBIOS takes them only where the lengths are the same. */
static void the_smbios_tables_are_as_long_as_their_entry_says(void **state)
{
	struct world *w = *state;
	uint8_t entry[31], tables[512];
	int n;

	boot(w);
	assert_int_equal(file(w, "etc/smbios/smbios-anchor", entry, 31), 31);
	assert_memory_equal(entry, "_SM_", 4);
	n = file(w, "etc/smbios/smbios-tables", tables, sizeof(tables));
	assert_int_equal(n, entry[0x16] | entry[0x17] << 8);
	assert_non_null(memmem(tables, (size_t)n, "Virtual Machine", 15));
}

static void what_boots_first_is_told(void **state)
{
	struct world *w = *state;
	uint8_t order[128];
	int n;

	w->opts.dvd_first = true;
	boot(w);
	n = file(w, "bootorder", order, sizeof(order));
	assert_string_equal(order, "/rom@genroms/hv.rom:rom1\n"
				   "/rom@genroms/hv.rom");
	assert_int_equal(n, strlen((char *)order) + 1);
	assert_int_equal(file(w, "etc/sercon-port", order, 2), 2);
	assert_memory_equal(order, "\xf8\x03", 2);
}

static void an_image_that_is_no_bios_is_refused(void **state)
{
	struct world *w = *state;
	struct vhd_err err;
	static uint8_t large[0x40001];

	assert_int_equal(hv_bios_check(w->rom, ROM_BYTES, &err), 0);
	assert_true(hv_bios_check(w->rom, 0, &err) < 0);
	assert_true(hv_bios_check(w->rom, ROM_BYTES - 1, &err) < 0);
	assert_true(hv_bios_check(w->rom, 0xf000, &err) < 0);
	assert_true(hv_bios_check(large, sizeof(large), &err) < 0);
	assert_non_null(strstr(err.text, "UEFI"));
	w->rom[ROM_BYTES - 16] = 0;
	assert_true(hv_bios_check(w->rom, ROM_BYTES, &err) < 0);
	assert_true(hv_boot_bios(w->hv, &w->opts, &err) < 0);
}

static void kvm_may_refuse_the_firmware(void **state)
{
	struct world *w = *state;
	struct vhd_err err;

	kvm.refuse = KVM_SET_USER_MEMORY_REGION;
	assert_int_equal(hv_boot_bios(w->hv, &w->opts, &err), -EIO);
}

/* --------------------------------------------------------- the option ROM */

static void the_option_rom_is_sound(void **state)
{
	const uint8_t *r = int13_rom;
	struct world *w = *state;
	uint8_t told[512];
	unsigned headers = 0;

	boot(w);
	assert_int_equal(file(w, "genroms/hv.rom", told, 512), 512);
	assert_memory_equal(told, r, 512);
	assert_memory_equal(r, "\x55\xaa\1", 3);
	assert_int_equal(sum(r, 512), 0);
	for (unsigned at = r[0x1a] | (unsigned)r[0x1b] << 8; at;
	     at = r[at + 6] | (unsigned)r[at + 7] << 8) {
		assert_true(at < 512 - 32);
		assert_memory_equal(r + at, "$PnP\1\2", 6);
		assert_int_equal(sum(r + at, 32), 0);
		headers++;
	}
	assert_int_equal(headers, 2);
}

/* --------------------------------------------------------------- its exit */

static const struct kvm_regs some = {
	.rax = 0x1122334455660201, .rbx = 0x9988776655447c00,
	.rcx = 0xffffffffffff0001, .rdx = 0xeeeeeeeeeeee0080,
	.rsi = 0xdddddddddddddddd, .rsp = 0x7000, .rip = 0x96,
	.rflags = 0x46,
};

static void an_exit_is_a_call_with_the_guests_registers(void **state)
{
	struct world *w = *state;
	struct hv_vcpu *v = &w->hv->vcpu[0];
	struct hv_bios_calls calls;

	assert_false(hv_bios_calls(w->hv, &calls));
	boot(w);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	assert_int_equal(w->ram[0x475], 1);
	kvm.regs = some;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_int_equal(kvm.regs.rax, 0x1122334455660001);
	assert_int_equal(kvm.regs.rbx, some.rbx);
	assert_int_equal(kvm.regs.rdx, some.rdx);
	assert_int_equal(kvm.regs.rip, some.rip);
	assert_int_equal(kvm.regs.rflags, 6); /* neither carry nor zero */
	assert_int_equal(w->ram[0x7c00], 0x77);
	assert_true(hv_bios_calls(w->hv, &calls));
	assert_int_equal(calls.calls, 1);
	assert_int_equal(calls.bytes_read, 512);
	/* one that fails, one that is not ours */
	kvm.regs = some;
	kvm.regs.rcx = 0;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_int_equal(kvm.regs.rflags, 7);
	assert_int_equal(kvm.regs.rax & 0xffff, 0x0100);
	kvm.regs = some;
	kvm.regs.rdx = 0;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_int_equal(kvm.regs.rflags, 0x46);
	assert_int_equal(kvm.regs.rax, some.rax);
}

static void outside_of_real_mode_it_is_no_call(void **state)
{
	struct world *w = *state;
	struct hv_vcpu *v = &w->hv->vcpu[0];

	boot(w);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	kvm.sregs.cr0 = 1;
	kvm.regs = some;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_memory_equal(&kvm.regs, &some, sizeof(some));
	assert_int_equal(w->ram[0x7c00], 0);
}

/* Addresses are a memory manager's: no data, and no word that there were. */
static void in_virtual_8086_mode_a_call_fails(void **state)
{
	enum { VM = 1u << 17 };
	struct world *w = *state;
	struct hv_vcpu *v = &w->hv->vcpu[0];

	boot(w);
	assert_int_equal(hv_bios_exit(v, HV_INT13_START), 0);
	kvm.sregs.cr0 = 1;
	kvm.regs = some;
	kvm.regs.rflags |= VM;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_int_equal(kvm.regs.rflags, VM | 7); /* carry, not zero */
	assert_int_equal(kvm.regs.rax, 0x1122334455662001);
	assert_int_equal(w->ram[0x7c00], 0);
	/* a floppy: somebody else's */
	kvm.regs = some;
	kvm.regs.rdx = 0;
	kvm.regs.rflags = VM | 3;
	assert_int_equal(hv_bios_exit(v, HV_INT13_CALL), 0);
	assert_int_equal(kvm.regs.rflags, VM | 0x42);
	assert_int_equal(kvm.regs.rax, some.rax);
}

static void a_processor_that_kvm_keeps_is_told_of(void **state)
{
	static const unsigned long requests[] = {KVM_GET_REGS, KVM_GET_SREGS,
						 KVM_SET_REGS};
	struct world *w = *state;

	boot(w);
	for (unsigned i = 0; i < 3; i++) {
		kvm.refuse = requests[i];
		assert_int_equal(hv_bios_exit(&w->hv->vcpu[0],
					      HV_INT13_START), -EIO);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_firmware_lies_at_both_its_places),
		TEST(a_reset_brings_all_of_it_back),
		TEST(each_start_asks_which_disks_there_are),
		TEST(memory_is_told_to_its_end),
		TEST(the_acpi_tables_are_where_the_rsdp_says),
		TEST(the_smbios_tables_are_as_long_as_their_entry_says),
		TEST(what_boots_first_is_told),
		TEST(an_image_that_is_no_bios_is_refused),
		TEST(kvm_may_refuse_the_firmware),
		TEST(the_option_rom_is_sound),
		TEST(an_exit_is_a_call_with_the_guests_registers),
		TEST(outside_of_real_mode_it_is_no_call),
		TEST(in_virtual_8086_mode_a_call_fails),
		TEST(a_processor_that_kvm_keeps_is_told_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
