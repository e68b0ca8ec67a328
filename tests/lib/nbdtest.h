/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of images on NBD exports share: an export of fakenbd.h, opened as
 * a file or an image.
 */
#ifndef TESTS_LIB_NBDTEST_H
#define TESTS_LIB_NBDTEST_H

#include "tests/lib/nbdhand.h"
#include "tests/lib/qtest.h"
#include "vhd/file.h"
#include "vhd/nbd.h"
#include "vhd/nbd_int.h"

#define ROOM (8u << 20)
#define LIMIT_MS 60000u /* never waited for where a test is to pass */

struct fixture {
	struct fakenbd server;
	struct nbdhand hand; /* where connections come from another process */
	struct nbd_how how;
	struct vhd_file file;
	bool open;
};

static inline int nbdtest_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	fakenbd_init(&f->server, ROOM);
	f->how = (struct nbd_how){
		.reconnect_ms = LIMIT_MS,
		.writable = true,
		.socket = fakenbd_connect,
		.socket_arg = &f->server,
	};
	*state = f;
	return 0;
}

/* The same with connections that are handed over. */
static inline int nbdtest_set_up_handed(void **state)
{
	struct fixture *f;

	if (nbdtest_set_up(state))
		return -1;
	f = *state;
	f->how.socket = NULL;
	f->how.handed = true;
	nbdhand_init(&f->hand, &f->server);
	return 0;
}

static inline int nbdtest_tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->open)
		vhd_file_close(&f->file);
	if (f->how.handed)
		nbdhand_fini(&f->hand);
	fakenbd_fini(&f->server);
	free(f);
	return 0;
}

static inline int try_open(struct fixture *f, struct vhd_err *err)
{
	int rc;

	if (f->how.handed)
		f->how.connector_fd = nbdhand_start(&f->hand);
	rc = vhd_nbd_open("nbd://test", &f->how, &f->file, err);
	if (!rc && f->how.handed)
		vhd_nbd_hurry(vhd_nbd_of(&f->file), VHD_NBD_FOREVER);

	f->open = !rc;
	return rc;
}

static inline void open_export(struct fixture *f)
{
	struct vhd_err err = {0};

	if (try_open(f, &err))
		fail_msg("open: %s", err.text);
}

/* The export as an image, which takes the file. */
static inline struct vhd *open_image(struct fixture *f, enum vhd_format format)
{
	const struct vhd_open_opts opts = {
		.format = format,
		.writable = f->how.writable,
	};
	struct vhd_err err = {0};
	struct vhd *img;

	open_export(f);
	if (vhd_open_file(&f->file, &opts, &img, &err))
		fail_msg("open: %s", err.text);
	f->open = false;
	return img;
}

static inline void write_at(struct fixture *f, uint64_t off, uint8_t byte, size_t len)
{
	uint8_t *buf = malloc(len);
	struct vhd_err err = {0};

	memset(buf, byte, len);
	if (vhd_file_write(&f->file, buf, len, off, &err))
		fail_msg("write: %s", err.text);
	free(buf);
}

static inline void check_medium(struct fixture *f, uint64_t off, uint8_t byte,
				size_t len)
{
	size_t same = 0;

	pthread_mutex_lock(&f->server.lock); /* a connection may be at it */
	while (same < len && f->server.medium[off + same] == byte)
		same++;
	pthread_mutex_unlock(&f->server.lock);
	if (same < len)
		fail_msg("byte %llu of the medium is 0x%02x",
			 (unsigned long long)(off + same),
			 f->server.medium[off + same]);
}

/* An empty dynamic disk of `disk` bytes at the start of the export. */
static inline void lay_dynamic(struct fixture *f, uint64_t disk)
{
	struct memfile *mem = memfile_create();
	struct vhd *img = qtest_create_mem(memfile_file(mem),
					   VHD_FORMAT_DYNAMIC, disk,
					   512u << 10);

	qtest_close(img);
	fakenbd_meet(&f->server);
	memset(f->server.medium, 0x77, ROOM); /* of whoever had it before */
	memfile_peek(mem, f->server.medium, memfile_len(mem), 0);
	memcpy(f->server.cache, f->server.medium, ROOM);
	fakenbd_meet(&f->server);
	memfile_destroy(mem);
}

#endif
