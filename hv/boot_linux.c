/* SPDX-License-Identifier: BSD-2-Clause */
/* Put a kernel, its initrd, the zero page and the tables into guest memory.
 * See boot_linux.h. Files are read, not mapped: one that shrinks meanwhile
 * must be an error, not a signal.
 */
#include "boot_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi.h"
#include "gpa.h"
#include "hv.h"

#define CHUNK_BYTES (1u << 20)

static int open_regular(const char *path, int *fd, uint64_t *len,
			enum vhd_why not_file, struct vhd_err *err)
{
	struct stat st;
	int f = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (f < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open: %s", strerror(errno));
	if (fstat(f, &st) < 0) {
		int e = errno;

		(void)close(f);
		return vhd_fail(err, -e, VHD_WHY_SYSTEM, 0, "cannot stat: %s",
				strerror(e));
	}
	if (!S_ISREG(st.st_mode)) {
		(void)close(f);
		return vhd_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				not_file, 0,
				S_ISDIR(st.st_mode) ? "is a directory"
						    : "is not a regular file");
	}
	*fd = f;
	*len = (uint64_t)st.st_size;
	return 0;
}

static int read_exact(int fd, uint8_t *buf, size_t len, uint64_t off,
		      struct vhd_err *err)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vhd_fail(err, -errno, VHD_WHY_IO, off,
					"cannot read: %s", strerror(errno));
		if (n == 0)
			return vhd_fail(err, -EIO, VHD_WHY_SHORT_IO, off,
					"ends early; is it being written?");
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int to_guest(struct hv_mem *mem, uint64_t gpa, const void *src,
		    size_t len, struct vhd_err *err)
{
	int ret = hv_gpa_write(mem, gpa, src, len);

	if (ret < 0)
		return vhd_fail(err, ret, VHD_WHY_KERNEL_FIT, 0,
				"does not fit the guest's memory");
	return 0;
}

static int file_to_guest(int fd, uint64_t off, uint64_t len, struct hv_mem *mem,
			 uint64_t gpa, struct vhd_err *err)
{
	uint8_t *buf = malloc(CHUNK_BYTES);
	int ret = 0;

	if (!buf)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	while (len > 0 && ret == 0) {
		size_t n = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;

		ret = read_exact(fd, buf, n, off, err);
		if (ret == 0)
			ret = to_guest(mem, gpa, buf, n, err);
		off += n;
		gpa += n;
		len -= n;
	}
	free(buf);
	return ret;
}

/* Everything beside the two files. */
static int load_tables(struct hv_mem *mem, const struct hv_boot_params *params,
		       uint32_t cpus, const char *cmdline, struct vhd_err *err)
{
	size_t scratch_bytes = HV_ACPI_BYTES;
	uint8_t *scratch = malloc(scratch_bytes);
	size_t cmdline_len = strlen(cmdline);
	int ret, used;

	if (!scratch)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	used = hv_acpi_build(scratch, scratch_bytes, HV_ACPI_GPA, cpus);
	if (used < 0)
		ret = vhd_fail(err, used, VHD_WHY_ARGUMENT, 0,
			       "the ACPI tables do not fit");
	else
		ret = to_guest(mem, HV_ACPI_GPA, scratch, (size_t)used, err);
	if (ret == 0) {
		hv_boot_params_fill(params, scratch);
		ret = to_guest(mem, HV_BOOT_PARAMS_GPA, scratch, 4096, err);
	}
	if (ret == 0) {
		hv_boot_pages_fill(scratch);
		ret = to_guest(mem, HV_BOOT_PAGES_GPA, scratch,
			       HV_BOOT_PAGES_BYTES, err);
	}
	if (ret == 0) {
		hv_boot_gdt_fill(scratch);
		ret = to_guest(mem, HV_BOOT_GDT_GPA, scratch,
			       HV_BOOT_GDT_BYTES, err);
	}
	if (ret == 0)
		ret = to_guest(mem, HV_BOOT_CMDLINE_GPA, cmdline,
			       cmdline_len + 1, err);
	free(scratch);
	return ret;
}

/* The kernel is open and checked, the initrd is open or fd -1. */
struct load {
	uint8_t head[HV_BZIMAGE_HEAD];
	struct hv_bzimage kernel;
	int kernel_fd, initrd_fd;
	uint64_t initrd_gpa, initrd_bytes;
};

static int open_kernel(struct load *l, const char *path, const char *cmdline,
		       struct vhd_err *err)
{
	uint64_t len;
	size_t head_len;
	int ret = open_regular(path, &l->kernel_fd, &len,
			       VHD_WHY_KERNEL_FORMAT, err);

	if (ret < 0)
		return ret;
	head_len = len < sizeof(l->head) ? (size_t)len : sizeof(l->head);
	ret = read_exact(l->kernel_fd, l->head, head_len, 0, err);
	if (ret < 0)
		return ret;
	ret = hv_bzimage_parse(l->head, head_len, len, &l->kernel, err);
	if (ret < 0)
		return ret;
	if (strlen(cmdline) > l->kernel.cmdline_max)
		return vhd_fail(err, -E2BIG, VHD_WHY_RANGE, 0,
				"takes a command line of at most %u bytes, not "
				"%zu",
				l->kernel.cmdline_max, strlen(cmdline));
	return 0;
}

static int open_initrd(struct load *l, const char *path, struct vhd_err *err)
{
	int ret;

	if (!path)
		return 0;
	ret = open_regular(path, &l->initrd_fd, &l->initrd_bytes,
			   VHD_WHY_RANGE, err);
	if (ret == 0 && l->initrd_bytes == 0)
		ret = vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0, "is empty");
	return ret;
}

/* Put the file's name in front of what is wrong with it. */
static int name_it(struct vhd_err *err, const char *path, int ret)
{
	char text[sizeof(err->text)];

	if (ret < 0 && err) {
		memcpy(text, err->text, sizeof(text));
		(void)vhd_fail(err, err->code, err->why, err->at_bytes,
			       "%.60s: %s", path, text);
	}
	return ret;
}

/* Everything that can be refused, before anything moves. */
static int prepare(struct load *l, const struct hv_layout *layout,
		   const struct hv_boot_files *files, struct vhd_err *err)
{
	int ret = name_it(err, files->kernel,
			  open_kernel(l, files->kernel, files->cmdline, err));

	if (ret < 0)
		return ret;
	ret = name_it(err, files->initrd, open_initrd(l, files->initrd, err));
	if (ret < 0)
		return ret;
	return name_it(err, files->kernel,
		       hv_bzimage_place(&l->kernel, layout, l->initrd_bytes,
					&l->initrd_gpa, err));
}

static int move(struct load *l, struct hv_mem *mem,
		const struct hv_layout *layout, uint32_t cpus,
		const struct hv_boot_files *files, struct vhd_err *err)
{
	struct hv_boot_params params = {
		.head = l->head,
		.kernel = &l->kernel,
		.layout = layout,
		.initrd_gpa = l->initrd_gpa,
		.initrd_bytes = l->initrd_bytes,
		.rsdp_gpa = HV_ACPI_GPA,
	};
	int ret = file_to_guest(l->kernel_fd, l->kernel.load_off,
				l->kernel.load_bytes, mem, l->kernel.load_gpa,
				err);

	if (ret < 0)
		return name_it(err, files->kernel, ret);
	if (l->initrd_fd >= 0)
		ret = file_to_guest(l->initrd_fd, 0, l->initrd_bytes, mem,
				    l->initrd_gpa, err);
	if (ret < 0)
		return name_it(err, files->initrd, ret);
	return load_tables(mem, &params, cpus, files->cmdline, err);
}

static void release(struct load *l)
{
	if (l->kernel_fd >= 0)
		(void)close(l->kernel_fd);
	if (l->initrd_fd >= 0)
		(void)close(l->initrd_fd);
}

int hv_boot_linux_load(struct hv_mem *mem, const struct hv_layout *layout,
		       uint32_t cpus, const struct hv_boot_files *files,
		       uint64_t *entry_gpa, struct vhd_err *err)
{
	struct load l = {.kernel_fd = -1, .initrd_fd = -1};
	int ret = prepare(&l, layout, files, err);

	if (ret == 0)
		ret = move(&l, mem, layout, cpus, files, err);
	if (ret == 0)
		*entry_gpa = l.kernel.load_gpa + HV_BOOT_ENTRY_64;
	release(&l);
	return ret;
}

int hv_boot_linux_check(uint64_t memory_bytes, const char *kernel_path,
			const char *initrd_path, const char *cmdline,
			struct vhd_err *err)
{
	const struct hv_boot_files files = {kernel_path, initrd_path, cmdline};
	struct load l = {.kernel_fd = -1, .initrd_fd = -1};
	struct hv_layout layout;
	int ret = hv_layout_set(memory_bytes, 64, &layout, err);

	if (ret == 0)
		ret = prepare(&l, &layout, &files, err);
	release(&l);
	return ret;
}
