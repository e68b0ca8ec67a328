/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot from the disk itself: which firmware, which disk first, and whether
 * there is something on it that a BIOS can start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware.h"
#include "hv/disk.h"

/* Larger than any BIOS, so that what is too large can be told. */
#define READ_MAX (512u << 10)

/* As Debian's package seabios has them, and other systems' QEMU. */
static const char *const places[] = {
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios-microvm.bin",
};

const char *hv_firmware_find(void)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

/* -------------------------------------------------------------- the image */

static int read_all(int fd, struct hv_firmware *f, struct vhd_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot stat: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"is not a regular file");
	f->image = malloc(READ_MAX);
	if (!f->image)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	while (f->bytes < READ_MAX) {
		ssize_t n = read(fd, f->image + f->bytes, READ_MAX - f->bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vhd_fail(err, -errno, VHD_WHY_IO, f->bytes,
					"cannot read: %s", strerror(errno));
		if (n == 0)
			break;
		f->bytes += (size_t)n;
	}
	return hv_bios_check(f->image, f->bytes, err);
}

int hv_firmware_read(const char *path, struct hv_firmware *f,
		     struct vhd_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[sizeof(err->text)];
	int ret;

	*f = (struct hv_firmware){0};
	if (fd < 0)
		ret = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			       "cannot open: %s", strerror(errno));
	else
		ret = read_all(fd, f, err);
	if (fd >= 0)
		(void)close(fd);
	if (ret == 0)
		return 0;
	hv_firmware_free(f);
	memcpy(text, err->text, sizeof(text));
	return vhd_fail(err, err->code, err->why, 0, "%.60s: %s", path, text);
}

void hv_firmware_free(struct hv_firmware *f)
{
	free(f->image);
	*f = (struct hv_firmware){0};
}

/* -------------------------------------------------------------- the order */

static bool any(const struct hv_args *args, bool dvd)
{
	for (unsigned i = 0; i < args->disk_count; i++)
		if (args->disks[i].dvd == dvd)
			return true;
	return false;
}

bool hv_firmware_dvd_first(const struct hv_args *args)
{
	if (args->boot > 0)
		return args->disks[args->boot - 1].dvd;
	return args->boot == HV_BOOT_DVD || !any(args, false);
}

unsigned hv_firmware_order(const struct hv_args *args,
			   unsigned order[HV_DISKS_MAX])
{
	unsigned n = 0;

	if (args->boot > 0)
		order[n++] = (unsigned)args->boot - 1;
	for (unsigned i = 0; i < args->disk_count; i++)
		if (args->boot <= 0 || i != (unsigned)args->boot - 1)
			order[n++] = i;
	return n;
}

/* ---------------------------------------------------- what is on the disk */

#define SECTOR	       512u
#define CODE_BYTES     440u
#define PARTITIONS_OFF 446u
#define TYPE_OFF       4u
#define TYPE_GPT       0xeeu /* a protective MBR's one partition */

static bool has_code(const uint8_t s[SECTOR])
{
	for (unsigned i = 0; i < CODE_BYTES; i++)
		if (s[i] != 0)
			return true;
	return false;
}

const char *hv_firmware_fault(const uint8_t sector[512])
{
	if (sector[510] != 0x55 || sector[511] != 0xaa)
		return "has no boot sector, nothing that a BIOS can start";
	if (has_code(sector))
		return NULL;
	if (sector[PARTITIONS_OFF + TYPE_OFF] == TYPE_GPT)
		return "has no code for a BIOS: a disk for UEFI (Generation 2), "
		       "which hv does not have";
	return "has partitions, but no boot code";
}

#define BLOCK 2048u /* of a disc */

/* The first one of its kind in the order of booting, or -1. */
static int first(const struct hv_args *args, bool dvd)
{
	unsigned order[HV_DISKS_MAX];
	unsigned n = hv_firmware_order(args, order);

	for (unsigned i = 0; i < n; i++)
		if (args->disks[order[i]].dvd == dvd)
			return (int)order[i];
	return -1;
}

/* A fault, or NULL; `err` is set where it cannot be read. */
static const char *disk_fault(const struct hv_disk_arg *arg, struct vhd *img,
			      struct vhd_err *err)
{
	uint8_t sector[SECTOR];

	if (arg->sector_bytes > SECTOR)
		return "has blocks of 4096 bytes: no BIOS boots from such";
	if (vhd_get_info(img)->size_bytes < SECTOR)
		return "is empty";
	if (vhd_read(img, 0, sector, sizeof(sector), err) < 0)
		return NULL;
	return hv_firmware_fault(sector);
}

static int disc_read(void *arg, uint64_t lba, const struct iovec *iov,
		     unsigned count)
{
	uint64_t blocks = vhd_get_info(arg)->size_bytes / BLOCK;
	struct vhd_err err;

	if (count != 1 || iov->iov_len != BLOCK || lba >= blocks)
		return -EINVAL;
	return vhd_read(arg, lba * BLOCK, iov->iov_base, BLOCK, &err);
}

static const char *disc_fault(struct vhd *img)
{
	static const struct hv_disk_ops ops = {.read = disc_read};
	const struct hv_disk disc = {
		.ops = &ops, .arg = img, .block_bytes = BLOCK, .dvd = true};

	if (!img)
		return "is an empty drive";
	return hv_disc_boots(&disc) ? NULL
				    : "has no boot record for a BIOS (El "
				      "Torito)";
}

/* One of the two that are tried must boot, or nothing does. */
int hv_firmware_check(const struct hv_args *args, struct hv_disks *disks)
{
	bool dvd = hv_firmware_dvd_first(args);
	const int disk = first(args, false), disc = first(args, true);
	const char *disk_is = NULL, *disc_is = NULL;
	struct vhd_err err = {0};
	int told = dvd ? disc : disk;

	if (disk >= 0)
		disk_is = disk_fault(&args->disks[disk], disks->img[disk],
				     &err);
	if (err.code)
		return cli_fail(hv_prog, args->disks[disk].path, &err);
	if (disc >= 0)
		disc_is = disc_fault(disks->img[disc]);
	if ((disk >= 0 && !disk_is) || (disc >= 0 && !disc_is))
		return CLI_OK;
	(void)vhd_fail(&err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
		       "%s%s; name a kernel by --kernel",
		       dvd ? disc_is : disk_is,
		       disk < 0 || disc < 0 ? ""
		       : dvd		    ? ", and no disk here boots"
					    : ", and no disc here boots");
	return cli_fail(hv_prog, args->disks[told].path, &err);
}
