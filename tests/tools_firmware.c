/* SPDX-License-Identifier: BSD-2-Clause */
/* hv run without a kernel: its command line, which disk is first, and what is
 * said of one that cannot boot.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tools/hv/firmware.h"

static char dir[] = "/tmp/tools_firmware.XXXXXX";
static struct hv_args args;

/* As hv_args_parse says; the words end with NULL. */
static int parse(const char *first, ...)
{
	char *argv[16] = {(char *)(uintptr_t)"run"};
	int argc = 1;
	va_list ap;

	va_start(ap, first);
	for (const char *w = first; w; w = va_arg(ap, const char *))
		argv[argc++] = (char *)(uintptr_t)w;
	va_end(ap);
	hv_args_free(&args);
	optind = 0;
	return hv_args_parse(argc, argv, &args);
}

static void a_disk_is_enough_to_boot(void **state)
{
	(void)state;
	assert_int_equal(parse("--disk", "a.vhd", NULL), -1);
	assert_null(args.kernel);
	assert_null(args.append);
	assert_int_equal(parse("--dvd", "a.iso", NULL), -1);
	assert_int_equal(parse("--disk", "a.vhd", "--boot", "1", NULL), -1);
	assert_int_equal(parse("--boot", "2", "--disk", "a.vhd", "--dvd",
			       "b.iso", "--firmware", "bios", NULL), -1);
	assert_string_equal(args.firmware, "bios");
	assert_int_equal(parse("--kernel", "k", NULL), -1);
	assert_string_equal(args.append, "console=ttyS0");
}

static void what_does_not_go_together_is_usage(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL), 2);
	assert_int_equal(parse("--firmware", "f", NULL), 2);
	assert_int_equal(parse("--kernel", "k", "--firmware", "f", NULL), 2);
	assert_int_equal(parse("--kernel", "k", "--boot", "disk", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--initrd", "i", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--append", "x", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--boot", "2", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--boot", "0", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--boot", "257", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--boot", "floppy", NULL), 2);
	assert_int_equal(parse("--disk", "a", "--boot", "dvd", NULL), 2);
	assert_int_equal(parse("--dvd", "a", "--boot", "disk", NULL), 2);
}

static void assert_order(const unsigned *want, unsigned count, bool dvd)
{
	unsigned order[HV_DISKS_MAX];

	assert_int_equal(hv_firmware_order(&args, order), count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(order[i], want[i]);
	assert_int_equal(hv_firmware_dvd_first(&args), dvd);
}

static void the_disk_that_boots_is_the_first(void **state)
{
	(void)state;
	(void)parse("--disk", "a", "--disk", "b", "--dvd", "c", NULL);
	assert_order((const unsigned[]){0, 1, 2}, 3, false);
	(void)parse("--boot", "2", "--disk", "a", "--disk", "b", "--dvd", "c",
		    NULL);
	assert_order((const unsigned[]){1, 0, 2}, 3, false);
	(void)parse("--boot", "3", "--disk", "a", "--disk", "b", "--dvd", "c",
		    NULL);
	assert_order((const unsigned[]){2, 0, 1}, 3, true);
	(void)parse("--boot", "dvd", "--disk", "a", "--dvd", "c", NULL);
	assert_order((const unsigned[]){0, 1}, 2, true);
	(void)parse("--dvd", "c", NULL);
	assert_order((const unsigned[]){0}, 1, true);
}

static void a_boot_sector_is_judged(void **state)
{
	uint8_t s[512] = {0};

	(void)state;
	assert_non_null(strstr(hv_firmware_fault(s), "no boot sector"));
	s[510] = 0x55;
	s[511] = 0xaa;
	assert_non_null(strstr(hv_firmware_fault(s), "no boot code"));
	s[450] = 0xee;
	assert_non_null(strstr(hv_firmware_fault(s), "UEFI"));
	s[440] = 1; /* its signature is no code */
	assert_non_null(hv_firmware_fault(s));
	s[439] = 1;
	assert_null(hv_firmware_fault(s));
	s[511] = 0;
	assert_non_null(hv_firmware_fault(s));
}

/* An image with this byte of code, or without a boot sector. */
static int check(const char *name, int code, const char *more)
{
	struct vhd_create_opts o = {.format = VHD_FORMAT_DYNAMIC,
				    .size_bytes = 4u << 20};
	uint8_t s[512] = {(uint8_t)code, [510] = 0x55, [511] = 0xaa};
	struct hv_disks disks;
	struct vhd_err err;
	struct vhd *img;
	char path[64];
	int status;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)unlink(path);
	assert_int_equal(vhd_create(path, &o, &img, &err), 0);
	if (code >= 0)
		assert_int_equal(vhd_write(img, 0, s, sizeof(s), &err), 0);
	assert_int_equal(vhd_close(img, &err), 0);
	(void)snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s",
		       more);
	assert_int_equal(parse("--disk", path, NULL), -1);
	assert_int_equal(hv_disks_open(&disks, &args), 0);
	status = hv_firmware_check(&args, &disks);
	hv_disks_abandon(&disks);
	*strchrnul(path, ',') = '\0';
	assert_int_equal(unlink(path), 0);
	return status;
}

static void a_disk_that_cannot_boot_is_refused_before_the_start(void **state)
{
	(void)state;
	assert_int_equal(check("a.vhd", -1, ""), CLI_REFUSED);
	assert_int_equal(check("b.vhd", 0, ""), CLI_REFUSED);
	assert_int_equal(check("c.vhd", 0xeb, ""), CLI_OK);
	assert_int_equal(check("d.vhd", 0xeb, ",sector=4096"), CLI_REFUSED);
}

enum disc { NO_DISC, SHORT, PLAIN, EMULATING, BOOTS };

/* A disc of 20 blocks, with a boot record or without. */
static void disc_make(const char *path, enum disc what)
{
	static const char record[] = "\0CD001\1EL TORITO SPECIFICATION";
	static const uint8_t catalogue[64] = {
		1, [28] = 0xaa, 0x55, 0x55, 0xaa, 0x88, [38] = 4, [40] = 18};
	const uint8_t emulates = 2, where = 19;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, what == SHORT ? 1536 : 20 * 2048), 0);
	if (what >= EMULATING) {
		assert_int_equal(pwrite(fd, record, sizeof(record) - 1,
					17 * 2048), sizeof(record) - 1);
		assert_int_equal(pwrite(fd, &where, 1, 17 * 2048 + 0x47), 1);
		assert_int_equal(pwrite(fd, catalogue, sizeof(catalogue),
					19 * 2048), sizeof(catalogue));
	}
	if (what == EMULATING)
		assert_int_equal(pwrite(fd, &emulates, 1, 19 * 2048 + 33), 1);
	close(fd);
}

/* What is said of this disc, alone or beside a disk that is blank. */
static int check_disc(enum disc what, bool beside)
{
	struct vhd_create_opts o = {.format = VHD_FORMAT_DYNAMIC,
				    .size_bytes = 4u << 20};
	struct hv_disks disks;
	struct vhd *img;
	struct vhd_err err;
	char iso[64], vhd[64];
	int status;

	snprintf(iso, sizeof(iso), "%s/iso", dir);
	snprintf(vhd, sizeof(vhd), "%s/vhd", dir);
	disc_make(iso, what);
	assert_int_equal(vhd_create(vhd, &o, &img, &err), 0);
	assert_int_equal(vhd_close(img, &err), 0);
	assert_int_equal(parse("--dvd", what == NO_DISC ? "none" : iso,
			       beside ? "--disk" : NULL, vhd, NULL), -1);
	status = hv_disks_open(&disks, &args);
	if (status == CLI_OK)
		status = hv_firmware_check(&args, &disks);
	hv_disks_abandon(&disks);
	assert_int_equal(unlink(iso), 0);
	assert_int_equal(unlink(vhd), 0);
	return status;
}

static void one_of_disk_and_disc_must_boot(void **state)
{
	(void)state;
	for (int beside = 0; beside < 2; beside++) {
		assert_int_equal(check_disc(NO_DISC, beside), CLI_REFUSED);
		assert_int_equal(check_disc(SHORT, beside), CLI_REFUSED);
		assert_int_equal(check_disc(PLAIN, beside), CLI_REFUSED);
		assert_int_equal(check_disc(EMULATING, beside), CLI_REFUSED);
		assert_int_equal(check_disc(BOOTS, beside), CLI_OK);
	}
}

static void what_is_no_firmware_is_refused_by_name(void **state)
{
	struct hv_firmware f;
	struct vhd_err err;
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/firmware", dir);
	assert_int_equal(hv_firmware_read(path, &f, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	assert_true(hv_firmware_read(dir, &f, &err) < 0);
	assert_true(hv_firmware_read("/dev/zero", &f, &err) < 0);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_true(hv_firmware_read(path, &f, &err) < 0);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	assert_true(hv_firmware_read(path, &f, &err) < 0);
	assert_non_null(strstr(err.text, "UEFI"));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 0x20000), 0);
	assert_true(hv_firmware_read(path, &f, &err) < 0);
	assert_int_equal(pwrite(fd, "\xea", 1, 0x20000 - 16), 1);
	assert_int_equal(hv_firmware_read(path, &f, &err), 0);
	assert_int_equal(f.bytes, 0x20000);
	hv_firmware_free(&f);
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	hv_args_free(&args);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_is_enough_to_boot),
		cmocka_unit_test(what_does_not_go_together_is_usage),
		cmocka_unit_test(the_disk_that_boots_is_the_first),
		cmocka_unit_test(a_boot_sector_is_judged),
		cmocka_unit_test(
			a_disk_that_cannot_boot_is_refused_before_the_start),
		cmocka_unit_test(one_of_disk_and_disc_must_boot),
		cmocka_unit_test(what_is_no_firmware_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
