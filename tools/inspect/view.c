/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk as something libblkid can read. libblkid wants a descriptor and
 * reads from it where it pleases. A raw or fixed image is such a file as it
 * is, seen up to the virtual size. Of any other, the parts that matter are
 * copied through the library into a sparse file in memory, which costs no
 * more than COPY_MAX_BYTES however large or hostile the image is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inspect.h"

/* Enough for all of a small system, and for the edges of a large one's
 * partitions.
 */
#define COPY_MAX_BYTES (UINT64_C(96) << 20)
#define WHOLE_MAX_BYTES (UINT64_C(64) << 20)
#define CHUNK_BYTES (1u << 20)

static int fail(struct vhd_err *err, const char *what)
{
	int code = -errno;

	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

/* The most that the disk may hold. */
static uint64_t data_bytes(struct vhd *img)
{
	struct vhd_layer layer;
	uint64_t sum = 0;

	for (unsigned i = 0; !vhd_layer(img, i, &layer); i++)
		sum += inspect_has_blocks(layer.info)
			       ? (uint64_t)layer.info->blocks_used *
					 layer.info->block_size_bytes
			       : layer.info->size_bytes;
	return sum;
}

int inspect_view_open(struct inspect_view *view, struct vhd *img,
		      const char *path, struct vhd_err *err)
{
	const struct vhd_info *info = vhd_get_info(img);
	bool split = info->notes & VHD_NOTE_SPLIT;
	int rc;

	*view = (struct inspect_view){
		.img = img,
		.size_bytes = info->size_bytes,
		.fd = -1,
		.copied = split || (info->format != VHD_FORMAT_RAW &&
				    info->format != VHD_FORMAT_FIXED),
		.left_bytes = COPY_MAX_BYTES,
	};
	if (!view->copied) {
		view->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		return view->fd < 0 ? fail(err, "cannot open") : 0;
	}
	view->fd = memfd_create("disk", MFD_CLOEXEC);
	if (view->fd < 0)
		return fail(err, "no memory to look at the content");
	if (ftruncate(view->fd, (off_t)view->size_bytes) < 0) {
		rc = fail(err, "no memory to look at the content");
		inspect_view_close(view);
		return rc;
	}
	if (data_bytes(img) > WHOLE_MAX_BYTES)
		return 0;
	rc = inspect_view_want(view, 0, view->size_bytes, err);
	view->whole = !rc;
	if (rc)
		inspect_view_close(view);
	return rc;
}

void inspect_view_close(struct inspect_view *view)
{
	if (view->fd >= 0)
		close(view->fd);
	view->fd = -1;
}

static int copy(struct inspect_view *view, uint8_t *buf, uint64_t off,
		uint64_t len, struct vhd_err *err)
{
	while (len) {
		size_t n = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;
		int rc;

		if (n > view->left_bytes) {
			view->truncated = true;
			return 0;
		}
		rc = vhd_read(view->img, off, buf, n, err);
		if (rc)
			return rc;
		if (pwrite(view->fd, buf, n, (off_t)off) != (ssize_t)n)
			return fail(err, "no memory to look at the content");
		view->left_bytes -= n;
		off += n;
		len -= n;
	}
	return 0;
}

int inspect_view_want(struct inspect_view *view, uint64_t off_bytes,
		      uint64_t len_bytes, struct vhd_err *err)
{
	uint64_t at = off_bytes / VHD_SECTOR_BYTES;
	uint64_t end = view->size_bytes / VHD_SECTOR_BYTES;
	struct vhd_run run;
	unsigned layer;
	uint8_t *buf;
	int rc = 0;

	if (!view->copied || view->whole || off_bytes >= view->size_bytes)
		return 0;
	if (len_bytes < view->size_bytes - off_bytes)
		end = (off_bytes + len_bytes + VHD_SECTOR_BYTES - 1) /
		      VHD_SECTOR_BYTES;
	buf = malloc(CHUNK_BYTES);
	if (!buf)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: %u bytes", CHUNK_BYTES);
	for (; !rc && at < end && !view->truncated; at += run.sectors) {
		rc = vhd_map_chain(view->img, at, end - at, &run, &layer, err);
		if (!rc && run.kind == VHD_RUN_FILE)
			rc = copy(view, buf, at * VHD_SECTOR_BYTES,
				  run.sectors * VHD_SECTOR_BYTES, err);
		if (rc)
			break;
	}
	free(buf);
	return rc;
}
