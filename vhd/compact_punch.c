/* SPDX-License-Identifier: BSD-2-Clause */
/* A fixed disk cannot become shorter, but its file need not have what is zero:
 * whole grains that are, or that the caller calls free, become holes.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <isa-l/mem_routines.h>

#include "compact_int.h"
#include "fail.h"

#define CHUNK_BYTES (1u << 20)

/* The next offset at or behind `at` that is no hole. */
static uint64_t data_from(const struct compact *c, uint64_t at)
{
	off_t data;

	if (c->img->file.fd < 0)
		return at;
	data = lseek(c->img->file.fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return c->img->info.size_bytes;
	return data > (off_t)at ? (uint64_t)data : at;
}

static bool may_go(const struct compact *c, uint64_t off, const uint8_t *b,
		   size_t len, bool *zero)
{
	*zero = isal_zero_detect((void *)(uintptr_t)b, len) == 0;
	return *zero ||
	       (c->opts->is_free && c->opts->is_free(c->opts->ctx, off, len));
}

static int punch(struct compact *c, uint64_t from, uint64_t to,
		 struct vhd_err *err)
{
	if (from == to)
		return 0;
	c->result->punched_bytes += to - from;
	if (!c->opts->write)
		return 0;
	return vhd_file_zero(&c->img->file, from, to - from, err);
}

static int chunk(struct compact *c, uint64_t off, size_t len,
		 struct vhd_err *err)
{
	uint64_t from = off;
	int rc = vhd_file_read(&c->img->file, c->buf, len, off, err);

	for (size_t g = 0; g < len && !rc; g += COMPACT_GRAIN_BYTES) {
		size_t n = len - g < COMPACT_GRAIN_BYTES ? len - g
							 : COMPACT_GRAIN_BYTES;
		bool zero;

		if (n == COMPACT_GRAIN_BYTES &&
		    may_go(c, off + g, c->buf + g, n, &zero))
			continue;
		rc = punch(c, from, off + g, err);
		from = off + g + n;
	}
	if (!rc && from < off + len)
		rc = punch(c, from, off + len, err);
	return rc;
}

/* What the host says has no data may still have space reserved for it, which
 * is given back as well, but not counted: nobody can tell by looking.
 */
static int give_reserved(struct compact *c, uint64_t from, uint64_t to,
			 struct vhd_err *err)
{
	from = (from + COMPACT_GRAIN_BYTES - 1) &
	       ~(uint64_t)(COMPACT_GRAIN_BYTES - 1);
	to &= ~(uint64_t)(COMPACT_GRAIN_BYTES - 1);
	if (from >= to || !c->opts->write)
		return 0;
	return vhd_file_zero(&c->img->file, from, to - from, err);
}

int compact_punch(struct compact *c, struct vhd_err *err)
{
	uint64_t size = c->img->info.size_bytes, at = 0;
	int rc = 0;

	while (at < size && !rc) {
		uint64_t next = data_from(c, at), n;

		rc = give_reserved(c, at, next, err);
		at = next & ~(uint64_t)(COMPACT_GRAIN_BYTES - 1);
		if (rc || next >= size)
			break;
		n = CHUNK_BYTES - at % CHUNK_BYTES;
		n = n < size - at ? n : size - at;
		rc = chunk(c, at, (size_t)n, err);
		at += n;
		if (!rc)
			rc = compact_tell(c, at, size, err);
	}
	if (!rc && c->opts->write)
		rc = vhd_file_flush(&c->img->file, err);
	return rc;
}
