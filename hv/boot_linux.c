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
#include "smbios.h"

#define CHUNK_BYTES (1u << 20)

static int open_file(const char *path, int *fd, struct vhd_err *err)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open: %s", strerror(errno));
	return 0;
}

static int length(int fd, uint64_t *len, enum vhd_why not_file,
		  struct vhd_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot stat: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vhd_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				not_file, 0,
				S_ISDIR(st.st_mode) ? "is a directory"
						    : "is not a regular file");
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

/* A piece of a file right into its place, which is whole RAM or an error. */
static int piece_to_guest(int fd, uint64_t off, size_t len, struct hv_mem *mem,
			  uint64_t gpa, struct vhd_err *err)
{
	uint64_t pfns[CHUNK_BYTES / HV_PAGE_BYTES + 1];
	uint32_t offset = (uint32_t)(gpa % HV_PAGE_BYTES);
	size_t pages = (offset + len + HV_PAGE_BYTES - 1) / HV_PAGE_BYTES;
	struct iovec iov[HV_MEM_REGIONS_MAX];
	int n, ret = 0;

	for (size_t i = 0; i < pages; i++)
		pfns[i] = gpa / HV_PAGE_BYTES + i;
	n = hv_gpa_iov(mem, pfns, pages, offset, len, iov, HV_MEM_REGIONS_MAX);
	if (n < 0)
		return vhd_fail(err, n, VHD_WHY_KERNEL_FIT, 0,
				"does not fit the guest's memory");
	for (int i = 0; i < n && ret == 0; i++) {
		ret = read_exact(fd, iov[i].iov_base, iov[i].iov_len, off, err);
		off += iov[i].iov_len;
	}
	return ret;
}

static int file_to_guest(int fd, uint64_t off, uint64_t len, struct hv_mem *mem,
			 uint64_t gpa, struct vhd_err *err)
{
	int ret = 0;

	while (len > 0 && ret == 0) {
		size_t n = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;

		ret = piece_to_guest(fd, off, n, mem, gpa, err);
		off += n;
		gpa += n;
		len -= n;
	}
	return ret;
}

static int acpi_to_guest(struct hv_mem *mem, uint8_t *scratch, uint32_t cpus,
			 bool pci, struct vhd_err *err)
{
	int used = hv_acpi_build(scratch, HV_ACPI_BYTES, HV_ACPI_GPA, cpus,
				 pci);

	if (used < 0)
		return vhd_fail(err, used, VHD_WHY_ARGUMENT, 0,
				"the ACPI tables do not fit");
	return to_guest(mem, HV_ACPI_GPA, scratch, (size_t)used, err);
}

static int smbios_to_guest(struct hv_mem *mem, uint8_t *scratch,
			   struct vhd_err *err)
{
	int used = hv_smbios_build(scratch, HV_SMBIOS_BYTES, HV_SMBIOS_GPA);

	if (used < 0)
		return vhd_fail(err, used, VHD_WHY_ARGUMENT, 0,
				"the SMBIOS tables do not fit");
	return to_guest(mem, HV_SMBIOS_GPA, scratch, (size_t)used, err);
}

/* Everything beside the two files. */
static int load_tables(struct hv_mem *mem, const struct hv_boot_params *params,
		       uint32_t cpus, bool pci, const char *cmdline,
		       struct vhd_err *err)
{
	uint8_t *scratch = malloc(HV_ACPI_BYTES);
	int ret;

	if (!scratch)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	ret = acpi_to_guest(mem, scratch, cpus, pci, err);
	if (ret == 0)
		ret = smbios_to_guest(mem, scratch, err);
	if (ret == 0) {
		hv_boot_params_fill(params, scratch);
		ret = to_guest(mem, HV_BOOT_PARAMS_GPA, scratch, 4096, err);
	}
	if (ret == 0 && params->kernel->long_mode) {
		hv_boot_pages_fill(scratch);
		ret = to_guest(mem, HV_BOOT_PAGES_GPA, scratch,
			       HV_BOOT_PAGES_BYTES, err);
	}
	if (ret == 0) {
		hv_boot_gdt_fill(scratch, params->kernel->long_mode);
		ret = to_guest(mem, HV_BOOT_GDT_GPA, scratch,
			       HV_BOOT_GDT_BYTES, err);
	}
	if (ret == 0)
		ret = to_guest(mem, HV_BOOT_CMDLINE_GPA, cmdline,
			       strlen(cmdline) + 1, err);
	free(scratch);
	return ret;
}

struct hv_boot_image {
	int kernel_fd, initrd_fd;     /* the latter -1: none */
	char *kernel_path, *initrd_path, *cmdline;
	/* as found at the last look */
	uint8_t head[HV_BZIMAGE_HEAD];
	struct hv_bzimage kernel;
	uint64_t initrd_gpa, initrd_bytes;
};

static int look_at_kernel(struct hv_boot_image *m, struct vhd_err *err)
{
	uint64_t len;
	size_t head_len;
	int ret = length(m->kernel_fd, &len, VHD_WHY_KERNEL_FORMAT, err);

	if (ret < 0)
		return ret;
	head_len = len < sizeof(m->head) ? (size_t)len : sizeof(m->head);
	ret = read_exact(m->kernel_fd, m->head, head_len, 0, err);
	if (ret < 0)
		return ret;
	ret = hv_bzimage_parse(m->head, head_len, len, &m->kernel, err);
	if (ret < 0)
		return ret;
	if (strlen(m->cmdline) > m->kernel.cmdline_max)
		return vhd_fail(err, -E2BIG, VHD_WHY_RANGE, 0,
				"takes a command line of at most %u bytes, not "
				"%zu",
				m->kernel.cmdline_max, strlen(m->cmdline));
	return 0;
}

static int look_at_initrd(struct hv_boot_image *m, struct vhd_err *err)
{
	int ret;

	m->initrd_bytes = 0;
	if (m->initrd_fd < 0)
		return 0;
	ret = length(m->initrd_fd, &m->initrd_bytes, VHD_WHY_RANGE, err);
	if (ret == 0 && m->initrd_bytes == 0)
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
static int look(struct hv_boot_image *m, const struct hv_layout *layout,
		struct vhd_err *err)
{
	int ret = name_it(err, m->kernel_path, look_at_kernel(m, err));

	if (ret == 0)
		ret = name_it(err, m->initrd_path, look_at_initrd(m, err));
	if (ret < 0)
		return ret;
	return name_it(err, m->kernel_path,
		       hv_bzimage_place(&m->kernel, layout, m->initrd_bytes,
					&m->initrd_gpa, err));
}

static int move(struct hv_boot_image *m, struct hv_mem *mem,
		const struct hv_layout *layout, uint32_t cpus, bool pci,
		struct vhd_err *err)
{
	struct hv_boot_params params = {
		.head = m->head,
		.kernel = &m->kernel,
		.layout = layout,
		.initrd_gpa = m->initrd_gpa,
		.initrd_bytes = m->initrd_bytes,
		.rsdp_gpa = HV_ACPI_GPA,
	};
	int ret = file_to_guest(m->kernel_fd, m->kernel.load_off,
				m->kernel.load_bytes, mem, m->kernel.load_gpa,
				err);

	if (ret < 0)
		return name_it(err, m->kernel_path, ret);
	if (m->initrd_fd >= 0)
		ret = file_to_guest(m->initrd_fd, 0, m->initrd_bytes, mem,
				    m->initrd_gpa, err);
	if (ret < 0)
		return name_it(err, m->initrd_path, ret);
	return load_tables(mem, &params, cpus, pci, m->cmdline, err);
}

static int open_files(struct hv_boot_image *m, struct vhd_err *err)
{
	int ret = name_it(err, m->kernel_path,
			  open_file(m->kernel_path, &m->kernel_fd, err));

	if (ret == 0 && m->initrd_path)
		ret = name_it(err, m->initrd_path,
			      open_file(m->initrd_path, &m->initrd_fd, err));
	return ret;
}

int hv_boot_image_open(const struct hv_boot_files *files,
		       const struct hv_layout *layout,
		       struct hv_boot_image **out, struct vhd_err *err)
{
	struct hv_boot_image *m = calloc(1, sizeof(*m));
	int ret = 0;

	if (m) {
		m->kernel_fd = m->initrd_fd = -1;
		m->kernel_path = strdup(files->kernel);
		m->initrd_path = files->initrd ? strdup(files->initrd) : NULL;
		m->cmdline = strdup(files->cmdline);
	}
	if (!m || !m->kernel_path || !m->cmdline ||
	    (files->initrd && !m->initrd_path))
		ret = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			       "out of memory");
	if (ret == 0)
		ret = open_files(m, err);
	if (ret == 0)
		ret = look(m, layout, err);
	if (ret == 0)
		*out = m;
	else
		hv_boot_image_close(m);
	return ret;
}

void hv_boot_image_close(struct hv_boot_image *m)
{
	if (!m)
		return;
	if (m->kernel_fd >= 0)
		(void)close(m->kernel_fd);
	if (m->initrd_fd >= 0)
		(void)close(m->initrd_fd);
	free(m->kernel_path);
	free(m->initrd_path);
	free(m->cmdline);
	free(m);
}

int hv_boot_image_load(struct hv_boot_image *m, struct hv_mem *mem,
		       const struct hv_layout *layout, uint32_t cpus, bool pci,
		       struct hv_boot_entry *entry, struct vhd_err *err)
{
	int ret = look(m, layout, err);

	if (ret == 0)
		ret = move(m, mem, layout, cpus, pci, err);
	if (ret == 0)
		*entry = hv_bzimage_entry(&m->kernel);
	return ret;
}

int hv_boot_linux_load(struct hv_mem *mem, const struct hv_layout *layout,
		       uint32_t cpus, bool pci,
		       const struct hv_boot_files *files,
		       struct hv_boot_entry *entry, struct vhd_err *err)
{
	struct hv_boot_image *m = NULL;
	int ret = hv_boot_image_open(files, layout, &m, err);

	if (ret == 0)
		ret = hv_boot_image_load(m, mem, layout, cpus, pci, entry, err);
	hv_boot_image_close(m);
	return ret;
}

int hv_boot_linux_check(uint64_t memory_bytes, const char *kernel_path,
			const char *initrd_path, const char *cmdline,
			bool *long_mode, struct vhd_err *err)
{
	const struct hv_boot_files files = {kernel_path, initrd_path, cmdline};
	struct hv_boot_image *m = NULL;
	struct hv_layout layout;
	int ret = hv_layout_set(memory_bytes, 64, &layout, err);

	if (ret == 0)
		ret = hv_boot_image_open(&files, &layout, &m, err);
	if (ret == 0 && long_mode)
		*long_mode = m->kernel.long_mode;
	hv_boot_image_close(m);
	return ret;
}
