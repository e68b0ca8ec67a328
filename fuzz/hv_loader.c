/* SPDX-License-Identifier: BSD-2-Clause */
/* A kernel, an initrd and a command line from somebody else, loaded into the
 * memory of a guest of some size. What is refused has moved nothing; what is
 * accepted lies where the zero page says, byte for byte, and nothing lies on
 * anything else. Places are worked out here again, from the file's bytes.
 *
 * An input:
 *   0      flags, below
 *   1      memory, of `memories`
 *   2      processors, less one (modulo HV_CPUS_MAX)
 *   3      letters in the command line, by 16; 255: by 257
 *   4..6   length of the initrd, little-endian; bit 23: in units of 64 bytes
 *   7..9   length of the kernel
 *   10..   pieces of the kernel: offset (2 bytes), length (1), bytes
 * With FLAG_HONEST the pieces go onto a kernel that is sound for its length.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/fuzzin.h"
#include "hv/acpi.h"
#include "hv/boot_linux.h"
#include "hv/hv.h"

#define FLAG_HONEST 0x01
#define FLAG_INITRD 0x02

#define CONTROL_BYTES	10u
#define MIB		(1ull << 20)
#define KERNEL_MAX	(192u << 10)
#define INITRD_MAX	(256u << 10)
#define ENTRY_64	0x200u
#define INITRD_UNIT_BIT 0x800000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const uint64_t memories[] = {
	32 * MIB,   34 * MIB,	64 * MIB, 256 * MIB,
	3072 * MIB, 3074 * MIB, 31 * MIB, 33 * MIB,
};

static int kernel_fd, initrd_fd;
static char kernel_path[32], initrd_path[32];
static uint8_t kernel[KERNEL_MAX], initrd[INITRD_MAX];
static char cmdline[256 * 257 + 1];
static uint8_t *host; /* for the largest of `memories` */
static uint64_t host_bytes;

struct boot {
	const uint8_t *data;
	uint64_t memory_bytes;
	uint32_t kernel_bytes, initrd_bytes, cpus;
	struct hv_layout layout;
	bool fits; /* the memory is one a guest can have */
};

static void set(size_t at, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		kernel[at + i] = (uint8_t)(v >> 8 * i);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(memories) / sizeof(memories[0]); i++)
		if (memories[i] > host_bytes)
			host_bytes = memories[i];
	host = mmap(NULL, host_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	must(host != MAP_FAILED && kernel_fd >= 0 && initrd_fd >= 0);
	(void)snprintf(kernel_path, sizeof(kernel_path), "/proc/self/fd/%d",
		       kernel_fd);
	(void)snprintf(initrd_path, sizeof(initrd_path), "/proc/self/fd/%d",
		       initrd_fd);
	for (size_t i = 0; i < INITRD_MAX; i++)
		initrd[i] = (uint8_t)(i % 251 + 1);
	return 0;
}

/* A header as the build of Linux 6.1 writes it. */
static void honest(uint32_t bytes)
{
	uint32_t body = bytes > 8 * 512 ? bytes - 8 * 512 : 0;

	memset(kernel, 0x90, bytes);
	if (bytes < 0x290)
		return;
	memset(kernel + HV_SETUP_OFF, 0, 0x280 - HV_SETUP_OFF);
	set(0x1f1, 7, 1);
	set(0x1f4, body / 16, 4);
	set(0x1fe, 0xaa55, 2);
	set(0x200, 0x6aeb, 2);
	memcpy(kernel + 0x202, "HdrS", 4);
	set(0x206, 0x20f, 2);
	set(0x211, 1, 1);
	set(0x22c, 0x7fffffff, 4);
	set(0x230, 0x200000, 4);
	set(0x234, 1, 1);
	set(0x236, 0x7f, 2);
	set(0x238, 2047, 4);
	set(0x24c, body, 4);
	set(0x258, 16 * MIB, 8);
	set(0x260, 8 * MIB, 4);
}

static void write_file(int fd, const uint8_t *bytes, size_t len)
{
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, bytes, len, 0) == (ssize_t)len);
}

static void build(struct boot *in, const uint8_t *data, size_t size)
{
	size_t letters = data[3] * (data[3] == 255 ? 257u : 16u);
	uint32_t len = (uint32_t)little(data + 4, 3);

	in->data = data;
	in->memory_bytes =
		memories[data[1] % (sizeof(memories) / sizeof(memories[0]))];
	in->cpus = 1 + data[2] % HV_CPUS_MAX;
	in->fits = hv_layout_set(in->memory_bytes, 64, &in->layout, NULL) == 0;
	memset(cmdline, 'x', letters);
	cmdline[letters] = '\0';
	in->initrd_bytes =
		(len & INITRD_UNIT_BIT ? len * 64 : len) % (INITRD_MAX + 1);
	in->kernel_bytes = (uint32_t)little(data + 7, 3) % (KERNEL_MAX + 1);
	if (data[0] & FLAG_HONEST)
		honest(in->kernel_bytes);
	else
		memset(kernel, 0, in->kernel_bytes);
	for (size_t at = CONTROL_BYTES; size - at >= 3;) {
		size_t off = little(data + at, 2), n = data[at + 2];

		at += 3;
		if (n > size - at)
			n = size - at;
		if (off < in->kernel_bytes)
			memcpy(kernel + off, data + at,
			       n < in->kernel_bytes - off
				       ? n
				       : in->kernel_bytes - off);
		at += n;
	}
	write_file(kernel_fd, kernel, in->kernel_bytes);
	write_file(initrd_fd, initrd, in->initrd_bytes);
}

/* ------------------------------------------------------ what must hold -- */

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void apart(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	must(a + a_len <= b || b + b_len <= a);
}

/* The map's RAM is all of the guest's beside the PC's holes below 1 MiB. */
static void check_e820(const struct boot *in, const uint8_t *page)
{
	uint64_t ram = 0, end = 0;

	must(page[0x1e8] >= 2 && page[0x1e8] <= HV_E820_MAX);
	for (unsigned i = 0; i < page[0x1e8]; i++) {
		const uint8_t *e = page + 0x2d0 + 20 * i;

		must(little(e, 8) >= end && little(e + 8, 8) > 0);
		end = little(e, 8) + little(e + 8, 8);
		must(end <= in->layout.low_bytes ||
		     (little(e, 8) >= HV_HIGH_GPA &&
		      end <= HV_HIGH_GPA + in->layout.high_bytes));
		if (little(e + 16, 4) == HV_E820_RAM && little(e, 8) >= MIB)
			ram += little(e + 8, 8);
	}
	must(ram == in->memory_bytes - MIB);
}

static void check_initrd(const struct boot *in, const uint8_t *page,
			 uint64_t load, uint64_t load_end)
{
	uint64_t at = little(page + 0x218, 4), len = little(page + 0x21c, 4);

	if (!(in->data[0] & FLAG_INITRD)) {
		must(at == 0 && len == 0);
		return;
	}
	must(len == in->initrd_bytes && len > 0 && at >= MIB);
	must(at + len <= in->layout.low_bytes);
	must(at + len - 1 <= little(kernel + 0x22c, 4));
	apart(at, len, load, load_end - load);
	must(memcmp(host + at, initrd, len) == 0);
}

static void check_loaded(const struct boot *in, struct hv_boot_entry entry)
{
	uint64_t entry_off = kernel[0x236] & 1 ? ENTRY_64 : 0;
	uint64_t load = little(kernel + 0x258, 8);
	uint64_t off = (1 + (kernel[0x1f1] ? kernel[0x1f1] : 4u)) * 512u;
	uint64_t bytes = in->kernel_bytes - off;
	uint64_t need = little(kernel + 0x260, 4);
	const uint8_t *page = host + HV_BOOT_PARAMS_GPA;

	must(off + entry_off < in->kernel_bytes);
	must(entry.gpa == load + entry_off && entry.long_mode == !!entry_off);
	must(little(page + 0x214, 4) == load);
	/* code segment: 64-bit or 32-bit */
	must((host[HV_BOOT_GDT_GPA + HV_BOOT_CS + 6] & 0x60) ==
	     (entry_off ? 0x20 : 0x40));
	must(load >= MIB && load + bytes <= in->layout.low_bytes);
	must(load + need <= in->layout.low_bytes);
	must(memcmp(host + load, kernel + off, bytes) == 0);
	must(memcmp(page + 0x202, kernel + 0x202, 4) == 0);
	must(strlen(cmdline) <= little(kernel + 0x238, 4));
	must(little(page + 0x228, 4) == HV_BOOT_CMDLINE_GPA);
	must(strcmp((char *)host + HV_BOOT_CMDLINE_GPA, cmdline) == 0);
	must(little(page + 0x250, 8) == 0); /* setup_data */
	must(memcmp(host + little(page + 0x70, 8), "RSD PTR ", 8) == 0);
	check_e820(in, page);
	check_initrd(in, page, load, load + (need > bytes ? need : bytes));
}

/* Low memory beside the tables, and all of the rest, is as it was. */
static void check_untouched(const struct boot *in)
{
	uint64_t load =
		in->kernel_bytes >= 0x260 ? little(kernel + 0x258, 8) : 0;

	must(all_zero(host, MIB));
	if (load < in->layout.low_bytes - 4096)
		must(all_zero(host + load, 4096));
}

static void load(struct boot *in)
{
	const struct hv_boot_files files = {
		kernel_path, in->data[0] & FLAG_INITRD ? initrd_path : NULL,
		cmdline};
	struct vhd_err e = {0}, f = {0};
	struct hv_mem *mem = NULL;
	struct hv_boot_entry entry = {0};
	int ret;

	must(hv_mem_create(&mem) == 0);
	must(hv_mem_add(mem, 0, in->layout.low_bytes, host) == 0);
	if (in->layout.high_bytes > 0)
		must(hv_mem_add(mem, HV_HIGH_GPA, in->layout.high_bytes,
				host + in->layout.low_bytes) == 0);
	ret = hv_boot_linux_load(mem, &in->layout, in->cpus,
				 in->data[0] & FLAG_INITRD, &files, &entry,
				 &e);
	must(ret == hv_boot_linux_check(in->memory_bytes, files.kernel,
					files.initrd, cmdline, NULL, &f));
	must(e.why == f.why);
	if (ret == 0) {
		check_loaded(in, entry);
	} else {
		must(ret < 0 && ret == e.code && e.why != VHD_WHY_NONE &&
		     strstr(e.text, "/proc/self/fd/"));
		must(e.why != VHD_WHY_SYSTEM && e.why != VHD_WHY_IO);
		check_untouched(in);
	}
	hv_mem_destroy(mem);
	must(madvise(host, host_bytes, MADV_DONTNEED) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_err e = {0};
	struct boot in = {0};

	if (size < CONTROL_BYTES)
		return 0;
	build(&in, data, size);
	if (in.fits) {
		load(&in);
		return 0;
	}
	must(hv_boot_linux_check(in.memory_bytes, kernel_path, NULL, cmdline,
				 NULL, &e) == -EINVAL);
	must(e.why == VHD_WHY_ARGUMENT);
	return 0;
}
