/* SPDX-License-Identifier: BSD-2-Clause */
/* What queue tests share: images in a temporary folder or in memory, one
 * request from submit to reap, and bytes that tell where they belong.
 */
#ifndef TESTS_LIB_QTEST_H
#define TESTS_LIB_QTEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/memfile.h"
#include "vhd/vhd.h"

#define SECTOR 512u

/* The limit of a wait that something ends before; and later than it may end,
 * however busy the machine is.
 */
#define QTEST_LONG_MS 60000
#define QTEST_LATE_MS 30000

/* A new file below $TMPDIR or /tmp; the caller unlinks and frees it. */
static inline char *qtest_path(void)
{
	const char *dir = getenv("TMPDIR");
	char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/vhdqueue.XXXXXX", dir ? dir : "/tmp") < 0)
		abort();
	fd = mkstemp(path);
	if (fd < 0) {
		perror(path);
		abort();
	}
	close(fd);
	return path;
}

static inline struct vhd *qtest_create(const char *path,
				       enum vhd_format format,
				       uint64_t size_bytes,
				       uint32_t block_bytes, bool direct)
{
	struct vhd_create_opts opts = {
		.format = format,
		.size_bytes = size_bytes,
		.block_size_bytes = block_bytes,
		.direct = direct,
	};
	struct vhd_err err = {0};
	struct vhd *img = NULL;

	if (vhd_create(path, &opts, &img, &err))
		fail_msg("create %s: %s", path, err.text);
	return img;
}

static inline struct vhd *qtest_create_mem(struct vhd_file file,
					   enum vhd_format format,
					   uint64_t size_bytes,
					   uint32_t block_bytes)
{
	struct vhd_create_opts opts = {
		.format = format,
		.size_bytes = size_bytes,
		.block_size_bytes = block_bytes,
	};
	struct vhd_err err = {0};
	struct vhd *img = NULL;

	if (vhd_create_file(&file, &opts, &img, &err))
		fail_msg("create in memory: %s", err.text);
	return img;
}

static inline struct vhd_queue *qtest_queue(enum vhd_engine engine,
					    uint32_t depth)
{
	struct vhd_queue_opts opts = {.engine = engine, .depth = depth};
	struct vhd_err err = {0};
	struct vhd_queue *q = NULL;

	if (vhd_queue_create(&opts, &q, &err))
		fail_msg("queue on %s: %s", vhd_engine_name(engine), err.text);
	return q;
}

static inline void qtest_attach(struct vhd_queue *q, struct vhd *img)
{
	struct vhd_err err = {0};

	if (vhd_queue_attach(q, img, &err))
		fail_msg("attach: %s", err.text);
}

static inline void qtest_close(struct vhd *img)
{
	struct vhd_err err = {0};

	if (vhd_close(img, &err))
		fail_msg("close: %s", err.text);
}

/* Wait for the next finished request. */
static inline struct vhd_req *qtest_next(struct vhd_queue *q)
{
	struct vhd_req *req = NULL;

	while (vhd_queue_reap(q, &req, 1) == 0)
		if (vhd_queue_wait(q, -1, 10000))
			fail_msg("the engine broke");
	return req;
}

/* Submit one request and wait for it; its result. */
static inline int qtest_run(struct vhd_queue *q, struct vhd_req *req)
{
	vhd_queue_submit(q, req);
	assert_ptr_equal(qtest_next(q), req);
	return req->result;
}

static inline int qtest_io(struct vhd_queue *q, struct vhd *img,
			   enum vhd_op op, uint64_t lba, void *buf, size_t len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct vhd_req req = {
		.img = img, .op = op, .lba = lba, .iov = &iov, .iov_count = 1};

	return qtest_run(q, &req);
}

static inline int qtest_flush(struct vhd_queue *q, struct vhd *img)
{
	struct vhd_req req = {.img = img, .op = VHD_OP_FLUSH};

	return qtest_run(q, &req);
}

/* Bytes that depend on their place on the disk and on a generation. */
static inline uint8_t qtest_byte(uint64_t off, unsigned generation)
{
	uint64_t z = (off >> 3) * 0x9e3779b97f4a7c15u + generation * 0x51ull;

	return (uint8_t)(z >> 32 ^ z >> 56 ^ off);
}

static inline void qtest_fill(void *buf, size_t len, uint64_t lba,
			      unsigned generation)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = qtest_byte(lba * SECTOR + i, generation);
}

static inline void qtest_check(const void *buf, size_t len, uint64_t lba,
			       unsigned generation)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		if (p[i] != qtest_byte(lba * SECTOR + i, generation))
			fail_msg("byte %zu of sector %llu is wrong",
				 i % SECTOR,
				 (unsigned long long)(lba + i / SECTOR));
}

static inline void qtest_check_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		if (p[i])
			fail_msg("byte %zu is not zero", i);
}

#endif
