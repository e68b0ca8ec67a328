/* SPDX-License-Identifier: BSD-2-Clause */
/* A struct hv_disk over plain memory, that counts and can fail. */
#ifndef TESTS_LIB_FAKEDISK_H
#define TESTS_LIB_FAKEDISK_H

#include <errno.h>
#include <string.h>

#include "hv/disk.h"

struct fakedisk {
	struct hv_disk disk;
	uint8_t *bytes;
	uint64_t bad_lba; /* cannot be read or written; UINT64_MAX: none */
	int write_rc, flush_rc; /* instead of doing it, unless 0 */
	unsigned reads, writes, flushes;
	unsigned dirty; /* writes since the last flush */
};

static inline int fakedisk_move(struct fakedisk *f, bool write, uint64_t lba,
				const struct iovec *iov, unsigned count)
{
	const uint32_t block = f->disk.block_bytes;
	uint64_t len = 0, at = lba * block;

	for (unsigned i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (len == 0 || len % block != 0 || lba >= f->disk.blocks ||
	    len / block > f->disk.blocks - lba)
		return -EINVAL;
	if (f->bad_lba >= lba && f->bad_lba < lba + len / block)
		return -EIO;
	for (unsigned i = 0; i < count; i++) {
		if (write)
			memcpy(f->bytes + at, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, f->bytes + at, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	return 0;
}

static inline int fakedisk_read(void *arg, uint64_t lba,
				const struct iovec *iov, unsigned count)
{
	struct fakedisk *f = arg;

	f->reads++;
	return fakedisk_move(f, false, lba, iov, count);
}

static inline int fakedisk_write(void *arg, uint64_t lba,
				 const struct iovec *iov, unsigned count)
{
	struct fakedisk *f = arg;

	f->writes++;
	if (f->write_rc)
		return f->write_rc;
	f->dirty++;
	return fakedisk_move(f, true, lba, iov, count);
}

static inline int fakedisk_flush(void *arg)
{
	struct fakedisk *f = arg;

	f->flushes++;
	if (f->flush_rc)
		return f->flush_rc;
	f->dirty = 0;
	return 0;
}

/* Borrows `bytes`: `blocks` of 512, or of 2048. */
static inline void fakedisk_init(struct fakedisk *f, bool dvd, uint8_t *bytes,
				 uint64_t blocks)
{
	static const struct hv_disk_ops ops = {fakedisk_read, fakedisk_write,
					       fakedisk_flush};

	*f = (struct fakedisk){
		.disk = {.ops = &ops,
			 .arg = f,
			 .blocks = blocks,
			 .block_bytes = dvd ? 2048 : 512,
			 .read_only = dvd,
			 .dvd = dvd,
			 .id = {0x12, 0x34, 0xab}},
		.bytes = bytes,
		.bad_lba = UINT64_MAX,
	};
}

#endif
