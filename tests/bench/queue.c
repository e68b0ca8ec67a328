/* SPDX-License-Identifier: BSD-2-Clause */
/* Random 4 KiB reads through vhd_queue, and the images for it.
 *
 * usage: queue fill FORMAT PATH MIB
 *            make an image (raw, fixed, dynamic), every sector written
 *        queue read ENGINE PATH cached|direct DEPTH SECONDS
 *            print operations a second; parents are looked for in the
 *            current directory
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vhd/vhd.h"

#define IO_BYTES 4096u
#define FILL_BYTES (1u << 20)
#define FILL_DEPTH 8u
#define DEPTH_MAX 1024u
/* Not measured: the first touch of a block reads its bitmap. */
#define WARM_S 0.5

static int complain(const char *what, const struct vhd_err *err)
{
	fprintf(stderr, "queue: %s: %s\n", what, err->text);
	return 1;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Wait for one request and return it; NULL when it or the engine failed. */
static struct vhd_req *next(struct vhd_queue *q)
{
	struct vhd_req *req = NULL;

	while (!vhd_queue_reap(q, &req, 1))
		if (vhd_queue_wait(q, -1, -1))
			return NULL;
	if (req->result) {
		fprintf(stderr, "queue: sector %llu: %s\n",
			(unsigned long long)req->bad_lba,
			strerror(-req->result));
		return NULL;
	}
	return req;
}

static int fill_requests(struct vhd_queue *q, struct vhd *img,
			 uint64_t *buf, uint64_t count)
{
	static struct vhd_req reqs[FILL_DEPTH];
	struct iovec iov = {.iov_base = buf, .iov_len = FILL_BYTES};
	struct vhd_req flush = {.img = img, .op = VHD_OP_FLUSH};

	for (uint64_t n = 0; n < count; n++) {
		struct vhd_req *req = &reqs[n % FILL_DEPTH];

		if (n >= FILL_DEPTH) {
			req = next(q);
			if (!req)
				return 1;
		}
		*req = (struct vhd_req){
			.img = img, .op = VHD_OP_WRITE, .iov = &iov,
			.iov_count = 1,
			.lba = n * (FILL_BYTES / VHD_SECTOR_BYTES)};
		vhd_queue_submit(q, req);
	}
	while (vhd_queue_in_flight(q))
		if (!next(q))
			return 1;
	vhd_queue_submit(q, &flush);
	return !next(q);
}

static int fill(const char *format, const char *path, uint64_t mib)
{
	struct vhd_create_opts opts = {.format = VHD_FORMAT_RAW,
				       .size_bytes = mib << 20,
				       .unique_id = "an image to read"};
	uint64_t *buf = aligned_alloc(4096, FILL_BYTES);
	uint64_t random = 88172645463325252u;
	struct vhd_queue *q = NULL;
	struct vhd *img = NULL;
	struct vhd_err err = {0};
	int rc;

	if (!strcmp(format, "fixed"))
		opts.format = VHD_FORMAT_FIXED;
	else if (!strcmp(format, "dynamic"))
		opts.format = VHD_FORMAT_DYNAMIC;
	if (!buf)
		return 1;
	for (unsigned i = 0; i < FILL_BYTES / 8; i++)
		buf[i] = random_next(&random);
	if (vhd_create(path, &opts, &img, &err))
		return complain(path, &err);
	if (vhd_queue_create(NULL, &q, &err) ||
	    vhd_queue_attach(q, img, &err))
		return complain("queue", &err);
	rc = fill_requests(q, img, buf, mib);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	if (vhd_close(img, &err))
		return complain(path, &err);
	free(buf);
	return rc;
}

struct reader {
	struct vhd_queue *q;
	struct vhd *img;
	uint64_t random;
	uint64_t places; /* of IO_BYTES on the disk */
	unsigned depth;
	struct vhd_req reqs[DEPTH_MAX];
	struct iovec iov[DEPTH_MAX];
};

static void ask(struct reader *r, struct vhd_req *req)
{
	/* the high half of a product: no division */
	uint64_t place = (uint64_t)((unsigned __int128)
				    random_next(&r->random) * r->places >> 64);

	req->lba = place * (IO_BYTES / VHD_SECTOR_BYTES);
	vhd_queue_submit(r->q, req);
}

/* Operations finished in `seconds`; 0 when one failed. */
static uint64_t run(struct reader *r, double seconds, double *took)
{
	struct vhd_req *done[DEPTH_MAX];
	double start = now_s();
	uint64_t count = 0, look = 0;

	for (unsigned i = 0; i < r->depth; i++)
		ask(r, &r->reqs[i]);
	for (;;) {
		unsigned n = vhd_queue_reap(r->q, done, r->depth);

		for (unsigned i = 0; i < n; i++) {
			if (done[i]->result)
				return 0;
			ask(r, done[i]);
		}
		count += n;
		if (count >= look) {
			look = count + 4096;
			*took = now_s() - start;
			if (*took >= seconds)
				break;
		}
		if (!n && vhd_queue_wait(r->q, -1, -1))
			return 0;
	}
	while (vhd_queue_in_flight(r->q))
		if (!next(r->q))
			return 0;
	return count;
}

static int measure(struct reader *r, double seconds)
{
	uint8_t *buf = aligned_alloc(4096, (size_t)r->depth * IO_BYTES);
	uint64_t count;
	double took = 0;

	if (!buf)
		return 1;
	for (unsigned i = 0; i < r->depth; i++) {
		r->iov[i] = (struct iovec){buf + (size_t)i * IO_BYTES,
					   IO_BYTES};
		r->reqs[i] = (struct vhd_req){
			.img = r->img, .op = VHD_OP_READ, .iov = &r->iov[i],
			.iov_count = 1};
	}
	count = run(r, WARM_S, &took);
	if (count)
		count = run(r, seconds, &took);
	free(buf);
	if (!count) {
		fprintf(stderr, "queue: a read failed\n");
		return 1;
	}
	printf("%.0f\n", (double)count / took);
	return 0;
}

static enum vhd_engine engine_named(const char *name)
{
	for (enum vhd_engine e = VHD_ENGINE_AUTO; e <= VHD_ENGINE_SYNC; e++)
		if (!strcmp(name, vhd_engine_name(e)))
			return e;
	return VHD_ENGINE_AUTO;
}

static int read_random(char **argv)
{
	static struct reader r = {.random = 88172645463325252u};
	struct vhd_open_opts open = {
		.direct = !strcmp(argv[2], "direct"),
		.parent_dir = ".",
	};
	struct vhd_queue_opts opts = {.engine = engine_named(argv[0])};
	struct vhd_err err = {0};
	int rc;

	opts.depth = r.depth = (unsigned)atoi(argv[3]);
	if (r.depth < 1 || r.depth > DEPTH_MAX) {
		fprintf(stderr, "queue: depth is 1 to %u\n", DEPTH_MAX);
		return 2;
	}
	if (vhd_open(argv[1], &open, &r.img, &err))
		return complain(argv[1], &err);
	if (vhd_queue_create(&opts, &r.q, &err) ||
	    vhd_queue_attach(r.q, r.img, &err))
		return complain("queue", &err);
	r.places = vhd_get_info(r.img)->size_bytes / IO_BYTES;
	rc = measure(&r, atof(argv[4]));
	vhd_queue_detach(r.q, r.img);
	vhd_queue_destroy(r.q);
	vhd_close(r.img, NULL);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "fill"))
		return fill(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (argc == 7 && !strcmp(argv[1], "read"))
		return read_random(argv + 2);
	fprintf(stderr,
		"usage: queue fill raw|fixed|dynamic PATH MIB\n"
		"       queue read ENGINE PATH cached|direct DEPTH SECONDS\n");
	return 2;
}
