/* SPDX-License-Identifier: BSD-2-Clause */
/* The initramfs archive format, "newc": a header of hexadecimal numbers, the
 * name, the data, each padded to 4 bytes.
 * Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nested.h"

#define COPY_BYTES 65536

static void failed(struct hv_cpio *c, int code, const char *what,
		   const char *path)
{
	if (c->err.code == 0)
		(void)vhd_fail(&c->err, -code, VHD_WHY_SYSTEM, 0,
			       "cannot %s %.100s: %s", what, path,
			       strerror(code));
}

static void put(struct hv_cpio *c, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0 && c->err.code == 0) {
		ssize_t n = write(c->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			failed(c, errno, "write", "the machine's files");
			return;
		}
		p += n;
		len -= (size_t)n;
		c->bytes += (uint64_t)n;
	}
}

static void pad(struct hv_cpio *c)
{
	put(c, "\0\0\0", (size_t)(-c->bytes & 3));
}

static void header(struct hv_cpio *c, const char *name, unsigned mode,
		   uint64_t len)
{
	char text[111];
	size_t name_bytes = strlen(name) + 1;

	/* magic, inode, mode, uid, gid, links, time, size, device (2),
	 * special (2), name size, check
	 */
	snprintf(text, sizeof(text),
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 ++c->inode, mode, 0u, 0u, 1u, 0u, (unsigned)len, 0u, 0u, 0u,
		 0u, (unsigned)name_bytes, 0u);
	put(c, text, 110);
	put(c, name, name_bytes);
	pad(c);
}

void hv_cpio_dir(struct hv_cpio *c, const char *name)
{
	header(c, name, S_IFDIR | 0755, 0);
}

void hv_cpio_data(struct hv_cpio *c, const char *name, unsigned mode,
		  const void *data, size_t len)
{
	header(c, name, S_IFREG | mode, len);
	put(c, data, len);
	pad(c);
}

/* An archive may name a directory twice. */
static void parents(struct hv_cpio *c, const char *name)
{
	char dir[HV_PATH_MAX];

	for (const char *slash = strchr(name, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - name), name);
		hv_cpio_dir(c, dir);
	}
}

static void copy(struct hv_cpio *c, int fd, const char *path, uint64_t len)
{
	char buf[COPY_BYTES];

	while (len > 0 && c->err.code == 0) {
		ssize_t n = read(fd, buf, len < sizeof(buf) ? (size_t)len
							    : sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			failed(c, n < 0 ? errno : EIO, "read", path);
			return;
		}
		put(c, buf, (size_t)n);
		len -= (uint64_t)n;
	}
}

void hv_cpio_file(struct hv_cpio *c, const char *name, unsigned mode,
		  const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		failed(c, errno, "open", path);
	} else if (!S_ISREG(st.st_mode) || st.st_size > UINT32_MAX) {
		failed(c, EINVAL, "pack", path);
	} else {
		parents(c, name);
		header(c, name, S_IFREG | mode, (uint64_t)st.st_size);
		copy(c, fd, path, (uint64_t)st.st_size);
		pad(c);
	}
	if (fd >= 0)
		(void)close(fd);
}

void hv_cpio_end(struct hv_cpio *c)
{
	header(c, "TRAILER!!!", 0, 0);
}
