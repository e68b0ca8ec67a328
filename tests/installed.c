/* SPDX-License-Identifier: BSD-2-Clause */
/* What a stranger does with the installed library: compiled by tests/tools.sh
 * with nothing but `pkg-config --cflags --libs vhd`. Makes a dynamic VHD,
 * writes to it through a queue and reads it back.
 *
 * usage: installed FILE
 */
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include <vhd.h>

#define SIZE_BYTES (64u << 20)
#define DATA_BYTES (128u << 10)

static unsigned char data[DATA_BYTES], back[DATA_BYTES];

static int complain(const char *what, const struct vhd_err *err)
{
	fprintf(stderr, "installed: %s: %s\n", what, err->text);
	return 1;
}

static int write_through_queue(struct vhd *img, struct vhd_err *err)
{
	const struct vhd_queue_opts opts = { .engine = VHD_ENGINE_AUTO };
	struct iovec iov = { data, sizeof(data) };
	struct vhd_req req = {
		.img = img,
		.op = VHD_OP_WRITE,
		.lba = 4095,
		.iov = &iov,
		.iov_count = 1,
	};
	struct vhd_req *done = NULL;
	struct vhd_queue *q;

	if (vhd_queue_create(&opts, &q, err))
		return -1;
	if (vhd_queue_attach(q, img, err)) {
		vhd_queue_destroy(q);
		return -1;
	}
	vhd_queue_submit(q, &req);
	while (!vhd_queue_reap(q, &done, 1))
		if (vhd_queue_wait(q, -1, -1))
			break;
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	if (done == &req && !req.result)
		return 0;
	return vhd_fail(err, -1, req.why, 0, "the queue failed");
}

int main(int argc, char **argv)
{
	struct vhd_create_opts create = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SIZE_BYTES,
		.exclusive = true,
	};
	struct vhd_open_opts open = { .format = VHD_FORMAT_AUTO };
	struct vhd_err err = { 0 };
	struct vhd *img;

	if (argc != 2)
		return 2;
	memset(data, 0xa5, sizeof(data));
	if (vhd_create(argv[1], &create, &img, &err))
		return complain("create", &err);
	if (write_through_queue(img, &err)) {
		vhd_abandon(img);
		return complain("write", &err);
	}
	if (vhd_close(img, &err))
		return complain("close", &err);
	if (vhd_open(argv[1], &open, &img, &err))
		return complain("open", &err);
	if (vhd_read(img, 4095 * 512, back, sizeof(back), &err))
		return complain("read", &err);
	printf("%s, %llu bytes, %u block(s) used\n",
	       vhd_format_name(vhd_get_info(img)->format),
	       (unsigned long long)vhd_get_info(img)->size_bytes,
	       vhd_get_info(img)->blocks_used);
	vhd_abandon(img);
	return memcmp(data, back, sizeof(data)) != 0;
}
