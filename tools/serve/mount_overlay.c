/* SPDX-License-Identifier: BSD-2-Clause */
/* A layer over an image for as long as it is mounted: a sparse file without a
 * name, and a bit for each sector that is in it. The bits take memory only
 * where somebody wrote.
 *
 * A sector's bit is set when its bytes are there. Parts of sectors do not
 * come here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mount.h"

struct overlay {
	struct served *served;
	int fd;
	size_t map_bytes;
	_Atomic uint8_t *map;
};

static int fail(struct vhd_err *err, const char *what)
{
	int code = -errno;

	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

int overlay_create(struct served *s, struct overlay **out, struct vhd_err *err)
{
	const char *dir = getenv("TMPDIR");
	struct overlay *o = calloc(1, sizeof(*o));
	uint64_t size = vhd_get_info(served_image(s))->size_bytes;
	void *map;

	if (!o)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	o->served = s;
	o->map_bytes = (size_t)(size / VHD_SECTOR_BYTES / 8 + 1);
	map = mmap(NULL, o->map_bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	o->map = map == MAP_FAILED ? NULL : map;
	o->fd = open(dir && *dir ? dir : "/var/tmp",
		     O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (o->fd < 0 || !o->map) {
		int rc = fail(err, "no room for an overlay (see TMPDIR)");

		overlay_destroy(o);
		return rc;
	}
	*out = o;
	return 0;
}

void overlay_destroy(struct overlay *o)
{
	if (!o)
		return;
	if (o->map)
		munmap((void *)o->map, o->map_bytes);
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

static bool here(const struct overlay *o, uint64_t sector)
{
	/* Pairs with the release in overlay_write. */
	return atomic_load_explicit(&o->map[sector / 8],
				    memory_order_acquire) &
	       (1u << sector % 8);
}

static int read_here(const struct overlay *o, uint8_t *buf, size_t len,
		     uint64_t off, struct vhd_err *err)
{
	while (len) {
		ssize_t n = pread(o->fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : EIO;
			return fail(err, "cannot read the overlay");
		}
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int overlay_read(struct overlay *o, void *buf, size_t len, uint64_t off_bytes,
		 struct vhd_err *err)
{
	uint64_t at = off_bytes / VHD_SECTOR_BYTES;
	uint64_t end = at + len / VHD_SECTOR_BYTES;
	uint8_t *to = buf;
	int rc = 0;

	while (!rc && at < end) {
		bool ours = here(o, at);
		uint64_t from = at;
		size_t n;

		do
			at++;
		while (at < end && here(o, at) == ours);
		n = (size_t)(at - from) * VHD_SECTOR_BYTES;
		rc = ours ? read_here(o, to, n, from * VHD_SECTOR_BYTES, err)
			  : served_read(o->served, to, n,
					from * VHD_SECTOR_BYTES, err);
		to += n;
	}
	return rc;
}

int overlay_write(struct overlay *o, const void *buf, size_t len,
		  uint64_t off_bytes, struct vhd_err *err)
{
	uint64_t at = off_bytes / VHD_SECTOR_BYTES;
	uint64_t end = at + len / VHD_SECTOR_BYTES;
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = pwrite(o->fd, from, len, (off_t)off_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(err, "cannot write to the overlay");
		from += n;
		off_bytes += (uint64_t)n;
		len -= (size_t)n;
	}
	for (; at < end; at++)
		atomic_fetch_or_explicit(&o->map[at / 8],
					 (uint8_t)(1u << at % 8),
					 memory_order_release);
	return 0;
}
