/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory layout, and the bzImage loader against honest and hostile headers. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "hv/boot_linux.h"
#include "hv/gpa.h"
#include "hv/hv.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* ------------------------------------------------------------- layout --- */

static void memory_is_split_at_the_hole(void **state)
{
	(void)state;
	struct hv_layout l;

	assert_int_equal(hv_layout_set(3 * GIB, 40, &l, NULL), 0);
	assert_true(l.low_bytes == 3 * GIB && l.high_bytes == 0);
	assert_int_equal(hv_layout_set(3 * GIB + 2 * MIB, 40, &l, NULL), 0);
	assert_true(l.low_bytes == 3 * GIB && l.high_bytes == 2 * MIB);
	assert_int_equal(hv_layout_set(16 * GIB, 40, &l, NULL), 0);
	assert_true(l.low_bytes == 3 * GIB && l.high_bytes == 13 * GIB);
}

static void memory_sizes_have_bounds(void **state)
{
	(void)state;
	struct hv_layout l;
	struct vhd_err err;

	assert_int_equal(hv_layout_set(HV_MEMORY_MIN, 40, &l, NULL), 0);
	assert_int_equal(hv_layout_set(HV_MEMORY_MIN - 2 * MIB, 40, &l, &err),
			 -EINVAL);
	assert_int_equal(err.why, VHD_WHY_ARGUMENT);
	assert_int_equal(hv_layout_set(1, 40, &l, NULL), -EINVAL);
	assert_int_equal(hv_layout_set(HV_MEMORY_MAX, 52, &l, NULL), 0);
	assert_int_equal(hv_layout_set(HV_MEMORY_MAX + 2 * MIB, 52, &l, NULL),
			 -EINVAL);
	assert_int_equal(hv_layout_set(65 * MIB, 40, &l, NULL), -EINVAL);
	/* 36 bits reach to 64 GiB; the hole takes one of them. */
	assert_int_equal(hv_layout_set(63 * GIB, 36, &l, NULL), 0);
	assert_int_equal(hv_layout_set(63 * GIB + 2 * MIB, 36, &l, NULL),
			 -EINVAL);
}

static void the_memory_map_has_no_overlap_and_all_ram(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {32 * MIB, 3 * GIB, 16 * GIB};

	for (unsigned s = 0; s < 3; s++) {
		struct hv_layout l;
		struct hv_e820 map[HV_E820_MAX];
		uint64_t end = 0, ram = 0;
		unsigned n;

		assert_int_equal(hv_layout_set(sizes[s], 40, &l, NULL), 0);
		n = hv_layout_e820(&l, map);
		assert_int_equal(n, l.high_bytes ? 5 : 4);
		for (unsigned i = 0; i < n; i++) {
			assert_true(map[i].start >= end);
			assert_true(map[i].bytes > 0);
			end = map[i].start + map[i].bytes;
			if (map[i].type == HV_E820_RAM)
				ram += map[i].bytes;
		}
		/* all but the last KiB of 640 and the 384 above */
		assert_true(ram == sizes[s] - 385 * 1024);
	}
}

/* ------------------------------------------------------------ bzImage --- */

#define FILE_BYTES (64 * 1024)

static uint8_t file[FILE_BYTES];

static void put(size_t at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		file[at + i] = (uint8_t)(v >> 8 * i);
}

static uint64_t num(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

/* As the build of Linux 6.1 writes it, in small. */
static void honest(void)
{
	memset(file, 0x90, sizeof(file));
	memset(file + HV_SETUP_OFF, 0, 0x280 - HV_SETUP_OFF);
	put(0x1f1, 7, 1);                           /* setup sectors */
	put(0x1f4, (FILE_BYTES - 8 * 512) / 16, 4); /* syssize */
	put(0x1fe, 0xaa55, 2);
	put(0x200, 0x6aeb, 2);                      /* jump */
	memcpy(file + 0x202, "HdrS", 4);
	put(0x206, 0x20f, 2);
	put(0x211, 1, 1);                           /* loadflags */
	put(0x22c, 0x7fffffff, 4);                  /* initrd_addr_max */
	put(0x230, 0x200000, 4);
	put(0x234, 1, 1);
	put(0x236, 0x7f, 2);                        /* xloadflags */
	put(0x238, 2047, 4);                        /* cmdline_size */
	put(0x248, 0x300, 4);                       /* payload */
	put(0x24c, 0x4000, 4);
	put(0x258, 16 * MIB, 8);                    /* pref_address */
	put(0x260, 20 * MIB, 4);                    /* init_size */
}

static int parse(struct hv_bzimage *k, struct vhd_err *err)
{
	return hv_bzimage_parse(file, HV_BZIMAGE_HEAD, FILE_BYTES, k, err);
}

static void an_honest_kernel_is_understood(void **state)
{
	(void)state;
	struct hv_bzimage k;

	honest();
	assert_int_equal(parse(&k, NULL), 0);
	assert_int_equal(k.protocol, 0x20f);
	assert_int_equal(k.load_off, 8 * 512);
	assert_int_equal(k.load_bytes, FILE_BYTES - 8 * 512);
	assert_int_equal(k.load_gpa, 16 * MIB);
	assert_int_equal(k.init_bytes, 20 * MIB);
	assert_int_equal(k.cmdline_max, 2047);
	assert_int_equal(k.initrd_top, 0x80000000);
	assert_int_equal(k.header_bytes, 0x26c - 0x1f1);
}

/* Of the same protocol, but for the one flag; it may be as short as its first
 * byte of code.
 */
static void a_32_bit_kernel_is_entered_at_its_start(void **state)
{
	(void)state;
	uint8_t gdt[HV_BOOT_GDT_BYTES];
	struct hv_boot_entry entry;
	struct hv_bzimage k;

	honest();
	put(0x236, 0x04, 2);
	assert_int_equal(parse(&k, NULL), 0);
	entry = hv_bzimage_entry(&k);
	assert_int_equal(entry.gpa, 16 * MIB);
	assert_false(entry.long_mode);
	hv_boot_gdt_fill(gdt, false);
	assert_int_equal(num(gdt + HV_BOOT_CS, 8), 0x00cf9b000000ffff);
	assert_int_equal(num(gdt + HV_BOOT_DS, 8), 0x00cf93000000ffff);
	put(0x1f4, 0, 4);
	put(0x24c, 0, 4);
	put(0x248, 0, 4);
	assert_int_equal(hv_bzimage_parse(file, HV_BZIMAGE_HEAD, 8 * 512 + 1,
					  &k, NULL), 0);
	assert_int_equal(hv_bzimage_parse(file, HV_BZIMAGE_HEAD, 8 * 512, &k,
					  NULL), -EUCLEAN);
}

/* One damage, one refusal. */
static const struct damage {
	const char *name;
	size_t at;
	uint64_t value;
	unsigned bytes;
	int code;
	enum vhd_why why;
} damages[] = {
	{"boot flag", 0x1fe, 0xaa54, 2, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"magic", 0x202, 0x53726449, 4, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"protocol 2.11", 0x206, 0x20b, 2, -ENOTSUP, VHD_WHY_KERNEL_OLD},
	{"zImage", 0x211, 0, 1, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"header length", 0x201, 0x65, 1, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"setup sectors", 0x1f1, 127, 1, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"setup sectors most", 0x1f1, 255, 1, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"syssize", 0x1f4, (FILE_BYTES - 8 * 512) / 16 + 1, 4, -EUCLEAN,
	 VHD_WHY_KERNEL_FORMAT},
	{"syssize most", 0x1f4, 0xffffffff, 4, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"payload offset", 0x248, FILE_BYTES, 4, -EUCLEAN,
	 VHD_WHY_KERNEL_FORMAT},
	{"payload length", 0x24c, 0xffffffff, 4, -EUCLEAN,
	 VHD_WHY_KERNEL_FORMAT},
	{"low address", 0x258, 0xff000, 8, -EUCLEAN, VHD_WHY_KERNEL_FORMAT},
	{"odd address", 0x258, 16 * MIB + 1, 8, -EUCLEAN,
	 VHD_WHY_KERNEL_FORMAT},
};

static void each_damaged_field_is_refused_for_its_reason(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *d = &damages[i];
		struct hv_bzimage k;
		struct vhd_err err = {0};

		honest();
		put(d->at, d->value, d->bytes);
		if (parse(&k, &err) != d->code || err.why != d->why)
			fail_msg("%s: %d %d %s", d->name, err.code, err.why,
				 err.text);
	}
}

static void a_file_cut_anywhere_is_refused(void **state)
{
	(void)state;
	struct hv_bzimage k;

	honest();
	for (size_t len = 0; len < HV_BZIMAGE_HEAD; len++)
		assert_int_equal(hv_bzimage_parse(file, len, len, &k, NULL),
				 -EUCLEAN);
	for (uint64_t len = HV_BZIMAGE_HEAD; len < FILE_BYTES - 16; len += 61)
		assert_int_equal(hv_bzimage_parse(file, HV_BZIMAGE_HEAD, len,
						  &k, NULL),
				 -EUCLEAN);
}

static void other_files_are_called_by_name(void **state)
{
	(void)state;
	static const char *const magics[][2] = {
		{"\177ELF", "ELF"},    {"\x1f\x8b", "gzip"},
		{"070701", "cpio"},    {"conectix", "VHD"},
		{"#!/bin/sh", "no Linux boot header"},
	};

	for (size_t i = 0; i < 5; i++) {
		struct hv_bzimage k;
		struct vhd_err err;

		memset(file, 0, sizeof(file));
		memcpy(file, magics[i][0], strlen(magics[i][0]));
		assert_int_equal(parse(&k, &err), -EUCLEAN);
		assert_non_null(strstr(err.text, magics[i][1]));
	}
}

/* Whatever a header says, what is placed lies inside low memory. */
static void random_headers_never_leave_the_guests_memory(void **state)
{
	(void)state;
	unsigned seed = (unsigned)getpid(), accepted = 0;

	printf("seed %u\n", seed);
	srandom(seed);
	for (unsigned i = 0; i < 200000; i++) {
		const struct hv_layout l = {256 * MIB, 0};
		struct hv_bzimage k;
		uint64_t initrd, initrd_bytes = (uint64_t)random() % (300 * MIB);

		honest();
		for (unsigned j = 0; j < 4; j++) {
			size_t at = HV_SETUP_OFF + (size_t)random() % 0x7b;

			file[at] = (uint8_t)random();
		}
		if (parse(&k, NULL) < 0)
			continue;
		assert_true(k.load_off + k.load_bytes == FILE_BYTES);
		assert_true(HV_SETUP_OFF + k.header_bytes <= 0x290);
		assert_true(k.cmdline_max < HV_BOOT_CMDLINE_MAX);
		if (hv_bzimage_place(&k, &l, initrd_bytes, &initrd, NULL) < 0)
			continue;
		accepted++;
		assert_true(k.load_gpa >= MIB);
		assert_true(k.load_gpa + k.load_bytes <= 256 * MIB);
		assert_true(k.load_gpa + k.init_bytes <= 256 * MIB);
		if (initrd_bytes > 0) {
			assert_true(initrd >= k.load_gpa + k.init_bytes);
			assert_true(initrd + initrd_bytes <= 256 * MIB);
		}
	}
	assert_true(accepted > 1000);
}

static void kernel_and_initrd_fit_to_the_byte_or_not(void **state)
{
	(void)state;
	struct hv_layout l = {36 * MIB, 0};
	struct hv_bzimage k;
	struct vhd_err err;
	uint64_t gpa;

	honest();
	assert_int_equal(parse(&k, NULL), 0);
	assert_int_equal(hv_bzimage_place(&k, &l, 0, &gpa, NULL), 0);
	l.low_bytes -= 2 * MIB;
	assert_int_equal(hv_bzimage_place(&k, &l, 0, &gpa, &err), -EFBIG);
	assert_int_equal(err.why, VHD_WHY_KERNEL_FIT);
	l.low_bytes = 38 * MIB;
	assert_int_equal(hv_bzimage_place(&k, &l, 2 * MIB, &gpa, NULL), 0);
	assert_int_equal(gpa, 36 * MIB);
	assert_int_equal(hv_bzimage_place(&k, &l, 2 * MIB + 1, &gpa, &err),
			 -EFBIG);
	/* The kernel's own limit. */
	l.low_bytes = 3 * GIB;
	assert_int_equal(hv_bzimage_place(&k, &l, 2 * MIB, &gpa, NULL), 0);
	assert_int_equal(gpa, 2 * GIB - 2 * MIB);
	assert_int_equal(hv_bzimage_place(&k, &l, UINT64_MAX, &gpa, NULL),
			 -EFBIG);
}

static void the_zero_page_says_where_everything_is(void **state)
{
	(void)state;
	const struct hv_layout l = {64 * MIB, 0};
	struct hv_bzimage k;
	uint8_t page[4096];

	honest();
	put(0x250, 0xdeadbeef, 8); /* setup_data: not the file's to say */
	assert_int_equal(parse(&k, NULL), 0);
	hv_boot_params_fill(&(struct hv_boot_params){.head = file,
						     .kernel = &k,
						     .layout = &l,
						     .initrd_gpa = 40 * MIB,
						     .initrd_bytes = 12345,
						     .rsdp_gpa = 0xe0000},
			    page);
	assert_int_equal(num(page + 0x70, 8), 0xe0000);
	assert_int_equal(page[0x1e8], 4);
	assert_int_equal(page[0x210], 0xff);
	assert_int_equal(num(page + 0x214, 4), 16 * MIB); /* code32_start */
	assert_int_equal(num(page + 0x218, 4), 40 * MIB);
	assert_int_equal(num(page + 0x21c, 4), 12345);
	assert_int_equal(num(page + 0x228, 4), HV_BOOT_CMDLINE_GPA);
	assert_int_equal(num(page + 0x250, 8), 0);
	assert_int_equal(num(page + 0x2d0 + 3 * 20, 8), MIB);
	assert_int_equal(num(page + 0x2d0 + 3 * 20 + 8, 8), 63 * MIB);
	assert_int_equal(num(page + 0x2d0 + 3 * 20 + 16, 4), 1);
	for (size_t i = 0; i < 0x70; i++) /* no screen, nothing else */
		assert_int_equal(page[i], 0);
}

static void the_page_tables_map_four_gib_to_themselves(void **state)
{
	(void)state;
	static uint8_t pages[HV_BOOT_PAGES_BYTES];

	hv_boot_pages_fill(pages);
	for (uint64_t gpa = 0; gpa < 4 * GIB; gpa += 2 * MIB) {
		uint64_t e = num(pages, 8);

		e = num(pages + (e & ~0xfffull) - HV_BOOT_PAGES_GPA +
				8 * (gpa >> 30),
			8);
		assert_int_equal(e & 3, 3);
		e = num(pages + (e & ~0xfffull) - HV_BOOT_PAGES_GPA +
				8 * (gpa >> 21 & 511),
			8);
		assert_true(e == (gpa | 0x83));
	}
	assert_int_equal(num(pages + 8, 8), 0);
}

/* --------------------------------------------------------------- files -- */

static char dir[] = "/tmp/hv_boot.XXXXXX";

static const char *write_file(const char *name, const void *data, size_t len)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return path;
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	char path[128];

	snprintf(path, sizeof(path), "%s/k", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/i", dir);
	(void)unlink(path);
	return rmdir(dir);
}

static void the_files_arrive_in_memory_unchanged(void **state)
{
	(void)state;
	const struct hv_layout l = {64 * MIB, 0};
	struct hv_boot_files files = {.cmdline = "console=ttyS0 quiet"};
	uint8_t *host = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);
	static uint8_t initrd[3 * 1048576 + 1];
	struct hv_mem *mem;
	struct hv_boot_entry entry;
	uint64_t at;

	assert_ptr_not_equal(host, MAP_FAILED);
	assert_int_equal(hv_mem_create(&mem), 0);
	assert_int_equal(hv_mem_add(mem, 0, 64 * MIB, host), 0);
	honest();
	files.kernel = strdup(write_file("k", file, sizeof(file)));
	for (size_t i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i % 253);
	files.initrd = strdup(write_file("i", initrd, sizeof(initrd)));
	assert_int_equal(hv_boot_linux_load(mem, &l, 2, true, &files, &entry,
					    NULL),
			 0);
	assert_int_equal(entry.gpa, 16 * MIB + 0x200);
	assert_true(entry.long_mode);
	assert_memory_equal(host + 16 * MIB, file + 8 * 512,
			    sizeof(file) - 8 * 512);
	at = num(host + HV_BOOT_PARAMS_GPA + 0x218, 4);
	assert_int_equal(at % (2 * MIB), 0);
	assert_memory_equal(host + at, initrd, sizeof(initrd));
	assert_string_equal(host + HV_BOOT_CMDLINE_GPA, "console=ttyS0 quiet");
	assert_memory_equal(host + 0xe0000, "RSD PTR ", 8);
	assert_memory_equal(host + 0xf0000, "_SM_", 4);
	assert_int_equal(num(host + HV_BOOT_GDT_GPA + HV_BOOT_CS, 8) >> 53 & 1,
			 1); /* 64-bit code */
	hv_mem_destroy(mem);
	munmap(host, 64 * MIB);
	free((char *)files.kernel);
	free((char *)files.initrd);
}

static int check_with(const char *kernel, const char *initrd, const char *words,
		      struct vhd_err *err)
{
	memset(err, 0, sizeof(*err));
	return hv_boot_linux_check(64 * MIB, kernel, initrd, words, NULL, err);
}

static void bad_files_are_refused_before_anything_starts(void **state)
{
	(void)state;
	struct vhd_err err;
	char words[2049];
	bool is_64 = false;
	char *k;

	honest();
	k = strdup(write_file("k", file, sizeof(file)));
	assert_int_equal(check_with(k, NULL, "", &err), 0);
	assert_int_equal(hv_boot_linux_check(64 * MIB, k, NULL, "", &is_64,
					     &err), 0);
	assert_true(is_64);
	assert_int_equal(check_with("/nonexistent", NULL, "", &err), -ENOENT);
	assert_int_equal(err.why, VHD_WHY_SYSTEM);
	assert_non_null(strstr(err.text, "/nonexistent"));
	assert_int_equal(check_with("/tmp", NULL, "", &err), -EISDIR);
	assert_int_equal(check_with("/dev/zero", NULL, "", &err), -EINVAL);
	assert_int_equal(check_with(k, "/tmp", "", &err), -EISDIR);
	assert_non_null(strstr(err.text, "/tmp"));
	assert_int_equal(check_with(k, write_file("i", "", 0), "", &err),
			 -EINVAL);
	memset(words, 'x', sizeof(words));
	words[2047] = '\0';
	assert_int_equal(check_with(k, NULL, words, &err), 0);
	words[2047] = 'x';
	words[2048] = '\0';
	assert_int_equal(check_with(k, NULL, words, &err), -E2BIG);
	assert_int_equal(hv_boot_linux_check(32 * MIB, k, NULL, "", NULL,
					     &err), -EFBIG);
	assert_int_equal(err.why, VHD_WHY_KERNEL_FIT);
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_split_at_the_hole),
		cmocka_unit_test(memory_sizes_have_bounds),
		cmocka_unit_test(the_memory_map_has_no_overlap_and_all_ram),
		cmocka_unit_test(an_honest_kernel_is_understood),
		cmocka_unit_test(a_32_bit_kernel_is_entered_at_its_start),
		cmocka_unit_test(each_damaged_field_is_refused_for_its_reason),
		cmocka_unit_test(a_file_cut_anywhere_is_refused),
		cmocka_unit_test(other_files_are_called_by_name),
		cmocka_unit_test(random_headers_never_leave_the_guests_memory),
		cmocka_unit_test(kernel_and_initrd_fit_to_the_byte_or_not),
		cmocka_unit_test(the_zero_page_says_where_everything_is),
		cmocka_unit_test(the_page_tables_map_four_gib_to_themselves),
		cmocka_unit_test(the_files_arrive_in_memory_unchanged),
		cmocka_unit_test(bad_files_are_refused_before_anything_starts),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
