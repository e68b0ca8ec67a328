/* SPDX-License-Identifier: BSD-2-Clause */
/* Random work on an image, wherever it is, against a model of what it must
 * hold; then the image is opened again and all of it is compared. What
 * tests/nbd.sh and tests/blockdev.sh run.
 *
 * usage: store_work [options] PATH-OR-URI
 *   --format F       raw, fixed, dynamic, differencing (default: a look)
 *   --mib N          of the disk, from its start (8)
 *   --ops N          requests (2000), or --seconds N
 *   --depth N        in flight (32)
 *   --seed N         to repeat a run (1)
 *   --engine E       uring, aio, sync (auto)
 *   --direct         O_DIRECT
 *   --parent P       of a differencing disk
 *   --reconnect MS   see vhd_nbd_opts
 *   --answer MS      likewise
 *   --handed         connections come from a process of their own
 *   --sandbox        the connection's thread is in the one that hv has for it
 *   --again SECONDS  how long to try to open it again (0)
 *   --errors         requests may fail; a flush that fails ends the work
 *
 * The disk reads as zero at first.
 * A read must show the last write that completed. Once a write has failed,
 * the old and the new are both right. After a flush that failed a sector holds
 * anything that was written to it since the last one that did not; after a
 * clean close, the last write.
 * Exit: 0 as it must be, 1 wrong bytes, 2 usage, 3 a request failed that must
 * not, 4 it could not be opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/sandbox/sandbox.h"
#include "vhd/vhd.h"

#define SECTOR	  512u
#define DEPTH_MAX 256u
#define RUN_MAX	  128u /* sectors of a request */
#define BUF_BYTES ((RUN_MAX + 8u) * SECTOR)
#define ZEROED	  0u   /* a generation: reads as zero */

struct sector {
	uint32_t now;	  /* generation that a read shows */
	uint32_t maybe;	  /* or this one, where `unsure` */
	uint32_t newest;  /* of all that were sent */
	uint32_t durable; /* the oldest that may be there after a crash */
	uint32_t zeroed;  /* the newest that was zeros, or 0 */
	bool unsure, busy;
};

struct slot {
	struct vhd_req req;
	struct iovec iov[4];
	uint8_t *buf;
	uint32_t generation, sectors;
	uint64_t lba;
	uint64_t seq; /* FLUSH: writes that completed before */
	bool busy;
};

struct work {
	const char *path;
	struct vhd_open_opts open;
	bool handed;
	struct vhd_nbd_opts nbd;
	enum vhd_engine engine;
	uint64_t mib, ops, seconds, seed, again_s, depth;
	bool errors;
	struct vhd *img;
	struct vhd_queue *q;
	struct sector *model;
	uint64_t *done_seq; /* of the last write that completed */
	uint64_t sectors, seq, rng;
	uint32_t generation;
	struct slot slots[DEPTH_MAX];
	unsigned out;
	bool failed_flush;
	uint64_t counts[4], faults[4];
};

static uint64_t random_next(struct work *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t below(struct work *w, uint64_t n)
{
	return random_next(w) % n;
}

/* ------------------------------------------------------------- sectors -- */

static void sector_fill(uint8_t *p, uint64_t lba, uint32_t generation)
{
	uint64_t z[SECTOR / 8] = {0};

	if (generation != ZEROED) {
		z[0] = lba;
		z[1] = generation;
		for (unsigned i = 2; i < SECTOR / 8; i++)
			z[i] = (lba * 0x9e3779b97f4a7c15u ^ generation) * i;
	}
	memcpy(p, z, SECTOR);
}

static bool sector_is(const uint8_t *p, uint64_t lba, uint32_t generation)
{
	uint8_t want[SECTOR];

	sector_fill(want, lba, generation);
	return memcmp(p, want, SECTOR) == 0;
}

static uint32_t generation_of(const uint8_t *p)
{
	uint64_t z[2];

	memcpy(z, p, sizeof(z));
	return (uint32_t)z[1];
}

static void wrong(const struct work *w, const uint8_t *p, uint64_t lba,
		  const char *when)
{
	const struct sector *s = &w->model[lba];
	uint64_t z[2];

	memcpy(z, p, sizeof(z));
	fprintf(stderr,
		"store_work: seed %llu: %s: sector %llu holds generation %llu "
		"of sector %llu; now %u, durable %u, newest %u, zeroed %u\n",
		(unsigned long long)w->seed, when, (unsigned long long)lba,
		(unsigned long long)z[1], (unsigned long long)z[0], s->now,
		s->durable, s->newest, s->zeroed);
	exit(1);
}

/* Generations grow, so what a sector may hold is a range. */
static bool may_hold(const struct sector *s, const uint8_t *p, uint64_t lba)
{
	uint32_t g = generation_of(p);

	if (sector_is(p, lba, ZEROED))
		return s->durable == ZEROED || s->zeroed >= s->durable;
	return g >= s->durable && g <= s->newest && sector_is(p, lba, g);
}

static void check_now(const struct work *w, const uint8_t *p, uint64_t lba)
{
	const struct sector *s = &w->model[lba];
	uint32_t now = s->now == s->zeroed ? ZEROED : s->now;
	uint32_t maybe = s->maybe == s->zeroed ? ZEROED : s->maybe;

	if (!sector_is(p, lba, now) &&
	    !(s->unsure && (sector_is(p, lba, maybe) || may_hold(s, p, lba))))
		wrong(w, p, lba, "a read");
}

/* ------------------------------------------------------------ requests -- */

static struct slot *slot_free(struct work *w)
{
	for (uint64_t i = 0; i < w->depth; i++)
		if (!w->slots[i].busy)
			return &w->slots[i];
	return NULL;
}

static bool place(struct work *w, struct slot *s)
{
	for (int tries = 0; tries < 20; tries++) {
		uint64_t lba = below(w, w->sectors);
		uint64_t n = 1 + below(w, below(w, 4) ? 16 : RUN_MAX), i;

		if (n > w->sectors - lba)
			n = w->sectors - lba;
		for (i = 0; i < n && !w->model[lba + i].busy; i++)
			;
		if (i < n)
			continue;
		for (i = 0; i < n; i++)
			w->model[lba + i].busy = true;
		s->lba = lba;
		s->sectors = (uint32_t)n;
		return true;
	}
	return false;
}

/* Where sector `i` of the request is in memory. */
static uint8_t *sector_at(const struct slot *s, uint32_t i)
{
	const struct iovec *v = s->iov;
	size_t at = (size_t)i * SECTOR;

	while (at >= v->iov_len)
		at -= v++->iov_len;
	return (uint8_t *)v->iov_base + at;
}

/* In up to four pieces with something between, as a guest's buffers are. */
static void buffers(struct work *w, struct slot *s)
{
	size_t len = (size_t)s->sectors * SECTOR, at = 0;
	uint32_t n = 0;

	while (at < len) {
		size_t part = n == 3 || below(w, 2) ? len - at
						    : SECTOR * (1 + below(w, 8));

		if (part > len - at)
			part = len - at;
		s->iov[n] = (struct iovec){s->buf + at + n * SECTOR, part};
		n++;
		at += part;
	}
	s->req.iov = s->iov;
	s->req.iov_count = n;
}

static void start_write(struct work *w, struct slot *s)
{
	s->generation = ++w->generation;
	for (uint32_t i = 0; i < s->sectors; i++) {
		w->model[s->lba + i].newest = s->generation;
		if (s->req.op == VHD_OP_ZERO)
			w->model[s->lba + i].zeroed = s->generation;
		else
			sector_fill(sector_at(s, i), s->lba + i,
				    s->generation);
	}
}

static void start(struct work *w, struct slot *s)
{
	uint64_t dice = below(w, 100);

	s->req = (struct vhd_req){.img = w->img, .user = s};
	s->req.op = dice < 40   ? VHD_OP_READ
		    : dice < 86 ? VHD_OP_WRITE
		    : dice < 96 ? VHD_OP_ZERO
				: VHD_OP_FLUSH;
	if (s->req.op == VHD_OP_FLUSH) {
		s->seq = w->seq;
	} else {
		if (!place(w, s))
			return;
		s->req.lba = s->lba;
		if (s->req.op == VHD_OP_ZERO)
			s->req.sectors = s->sectors;
		else
			buffers(w, s);
		if (s->req.op == VHD_OP_WRITE && dice < 45)
			s->req.flags = VHD_REQ_FUA;
		if (s->req.op != VHD_OP_READ)
			start_write(w, s);
	}
	s->busy = true;
	w->out++;
	w->counts[s->req.op]++;
	vhd_queue_submit(w->q, &s->req);
}

static void end_write(struct work *w, struct slot *s, bool ok)
{
	for (uint32_t i = 0; i < s->sectors; i++) {
		struct sector *m = &w->model[s->lba + i];

		if (ok) {
			m->now = s->generation;
			m->unsure = false;
			w->done_seq[s->lba + i] = w->seq + 1;
			if (s->req.flags & VHD_REQ_FUA)
				m->durable = s->generation;
		} else {
			m->maybe = s->generation;
			m->unsure = true;
		}
	}
	if (ok)
		w->seq++;
}

static void end_flush(struct work *w, const struct slot *s)
{
	for (uint64_t lba = 0; lba < w->sectors; lba++) {
		struct sector *m = &w->model[lba];

		/* One that came later may be there or not. */
		if (w->done_seq[lba] <= s->seq && !m->unsure)
			m->durable = m->now;
	}
}

static void fault(struct work *w, const struct slot *s)
{
	w->faults[s->req.op]++;
	if (!w->errors) {
		fprintf(stderr, "store_work: seed %llu: %s at sector %llu: %s "
			"(why %d)\n", (unsigned long long)w->seed,
			s->req.op == VHD_OP_READ    ? "a read"
			: s->req.op == VHD_OP_WRITE ? "a write"
			: s->req.op == VHD_OP_ZERO  ? "zeros"
						    : "a flush",
			(unsigned long long)s->req.bad_lba,
			strerror(-s->req.result), (int)s->req.why);
		exit(3);
	}
	if (s->req.op == VHD_OP_FLUSH || s->req.flags & VHD_REQ_FUA ||
	    s->req.why == VHD_WHY_POISONED)
		w->failed_flush = true;
}

static void end(struct work *w, struct slot *s)
{
	bool ok = s->req.result == 0;

	if (!ok)
		fault(w, s);
	if (s->req.op == VHD_OP_FLUSH) {
		if (ok)
			end_flush(w, s);
	} else if (s->req.op == VHD_OP_READ) {
		for (uint32_t i = 0; i < s->sectors && ok; i++)
			check_now(w, sector_at(s, i), s->lba + i);
	} else {
		end_write(w, s, ok);
	}
	for (uint32_t i = 0; i < s->sectors; i++)
		w->model[s->lba + i].busy = false;
	s->sectors = 0;
	s->busy = false;
	w->out--;
}

static void collect(struct work *w, bool all)
{
	struct vhd_req *done[32];
	unsigned n;

	do {
		while ((n = vhd_queue_reap(w->q, done, 32)))
			for (unsigned i = 0; i < n; i++)
				end(w, done[i]->user);
		if (w->out && (all || w->out == w->depth) &&
		    vhd_queue_wait(w->q, -1, -1)) {
			fprintf(stderr, "store_work: the engine broke\n");
			exit(3);
		}
	} while (w->out && (all || w->out == w->depth));
}

static void run(struct work *w)
{
	time_t until = time(NULL) + (time_t)w->seconds;

	for (uint64_t i = 0;
	     (w->seconds ? time(NULL) < until : i < w->ops) &&
	     !w->failed_flush;
	     i++) {
		struct slot *s = slot_free(w);

		if (s)
			start(w, s);
		collect(w, false);
	}
	collect(w, true);
}

/* ------------------------------------------------------------- the ends -- */

/* A descriptor for vhd_open_fds, which ends the process on its other end. */
static int connector(const char *uri)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		exit(4);
	if (fork() == 0) {
		close(fds[0]);
		_exit(vhd_nbd_connector(fds[1], uri, NULL) ? 1 : 0);
	}
	close(fds[1]);
	return fds[0];
}

static int medium(const char *path, int flags)
{
	return vhd_is_nbd_uri(path) ? connector(path)
				    : open(path, flags | O_CLOEXEC);
}

static int open_handed(struct work *w, struct vhd_err *err)
{
	struct vhd_open_opts o = w->open;
	unsigned count = 0;
	int fds[2];

	fds[count++] = medium(w->path, o.writable ? O_RDWR : O_RDONLY);
	if (o.parent_path)
		fds[count++] = medium(o.parent_path, O_RDONLY);
	o.parent_path = NULL;
	return vhd_open_fds(fds, count, w->path, &o, &w->img, err);
}

static int open_image(struct work *w, bool writable)
{
	time_t until = time(NULL) + (time_t)w->again_s;
	struct vhd_err err;
	int rc;

	w->open.writable = writable;
	for (;;) {
		rc = w->handed ? open_handed(w, &err)
			       : vhd_open(w->path, &w->open, &w->img, &err);
		if (!rc)
			return 0;
		if (time(NULL) >= until)
			break;
		usleep(50000);
	}
	fprintf(stderr, "store_work: %s: %s\n", w->path, err.text);
	return 4;
}

static int queue_open(struct work *w)
{
	const struct vhd_queue_opts o = {.engine = w->engine,
					 .depth = (uint32_t)w->depth};
	struct vhd_err err;

	if (vhd_queue_create(&o, &w->q, &err) ||
	    vhd_queue_attach(w->q, w->img, &err)) {
		fprintf(stderr, "store_work: %s\n", err.text);
		return 4;
	}
	return 0;
}

static void check_all(struct work *w, bool clean)
{
	uint8_t buf[64 * SECTOR];
	struct vhd_err err;

	for (uint64_t lba = 0; lba < w->sectors; lba += 64) {
		uint64_t n = w->sectors - lba < 64 ? w->sectors - lba : 64;

		for (int tries = 0; vhd_read(w->img, lba * SECTOR, buf,
					     n * SECTOR, &err); tries++)
			if (tries == 20) {
				fprintf(stderr, "store_work: %s\n", err.text);
				exit(3);
			}
		for (uint64_t i = 0; i < n; i++) {
			const struct sector *s = &w->model[lba + i];

			if (clean)
				check_now(w, buf + i * SECTOR, lba + i);
			else if (!may_hold(s, buf + i * SECTOR, lba + i))
				wrong(w, buf + i * SECTOR, lba + i,
				      "after the end");
		}
	}
}

static int work(struct work *w)
{
	struct vhd_err err = {0};
	bool clean;
	int rc = open_image(w, true);

	if (!rc)
		rc = queue_open(w);
	if (rc)
		return rc;
	w->sectors = vhd_get_info(w->img)->size_bytes / SECTOR;
	if (w->sectors > w->mib << 11)
		w->sectors = w->mib << 11;
	w->model = calloc(w->sectors, sizeof(*w->model));
	w->done_seq = calloc(w->sectors, sizeof(*w->done_seq));
	for (uint64_t i = 0; i < w->depth; i++)
		w->slots[i].buf = aligned_alloc(4096, BUF_BYTES);
	puts("at work");
	fflush(stdout);
	run(w);
	vhd_queue_destroy(w->q);
	clean = !w->failed_flush;
	if (clean && vhd_close(w->img, &err)) {
		if (!w->errors) {
			fprintf(stderr, "store_work: close: %s\n", err.text);
			return 3;
		}
		clean = false;
	} else if (!clean) {
		vhd_abandon(w->img);
	}
	printf("seed %llu: %llu reads, %llu writes, %llu flushes, %llu zeros; "
	       "%llu, %llu, %llu, %llu failed; %s\n",
	       (unsigned long long)w->seed,
	       (unsigned long long)w->counts[0],
	       (unsigned long long)w->counts[1],
	       (unsigned long long)w->counts[2],
	       (unsigned long long)w->counts[3],
	       (unsigned long long)w->faults[0],
	       (unsigned long long)w->faults[1],
	       (unsigned long long)w->faults[2],
	       (unsigned long long)w->faults[3],
	       clean ? "closed" : "a flush failed");
	fflush(stdout);
	rc = open_image(w, !clean);
	if (rc)
		return rc;
	check_all(w, clean);
	vhd_abandon(w->img);
	return 0;
}

/* ------------------------------------------------------------- options -- */

static int in_sandbox(void *work, struct vhd_err *err)
{
	const struct work *w = work;

	return sandbox_thread(w->handed ? SANDBOX_HANDED : SANDBOX_LINK,
			      "store_work", err);
}

static int word(const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"format", 1, NULL, 'f'},  {"mib", 1, NULL, 'm'},
		{"ops", 1, NULL, 'n'},	   {"seconds", 1, NULL, 't'},
		{"depth", 1, NULL, 'd'},   {"seed", 1, NULL, 's'},
		{"engine", 1, NULL, 'e'},  {"direct", 0, NULL, 'D'},
		{"parent", 1, NULL, 'p'},  {"reconnect", 1, NULL, 'r'},
		{"again", 1, NULL, 'a'},   {"errors", 0, NULL, 'E'},
		{"handed", 0, NULL, 'H'},  {"sandbox", 0, NULL, 'S'}, {"answer", 1, NULL, 'w'},
		{0},
	};
	static const char *const formats[] = {"auto", "raw", "fixed",
					      "dynamic", "differencing"};
	static const char *const engines[] = {"auto", "uring", "aio", "sync"};
	static struct work w = {.mib = 8, .ops = 2000, .depth = 32, .seed = 1};
	int c;

	w.open.nbd = &w.nbd;
	w.nbd.thread_arg = &w;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (c) {
		case 'f':
			w.open.format = (enum vhd_format)word(optarg, formats,
							      5);
			break;
		case 'm': w.mib = n; break;
		case 'n': w.ops = n; break;
		case 't': w.seconds = n; break;
		case 'd': w.depth = n; break;
		case 's': w.seed = n; break;
		case 'e':
			w.engine = (enum vhd_engine)word(optarg, engines, 4);
			break;
		case 'D': w.open.direct = true; break;
		case 'p': w.open.parent_path = optarg; break;
		case 'r': w.nbd.reconnect_ms = (uint32_t)n; break;
		case 'w': w.nbd.answer_ms = (uint32_t)n; break;
		case 'a': w.again_s = n; break;
		case 'E': w.errors = true; break;
		case 'H': w.handed = true; break;
		case 'S': w.nbd.thread_begins = in_sandbox; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc || w.depth < 1 || w.depth > DEPTH_MAX)
		return 2;
	w.path = argv[optind];
	w.rng = w.seed;
	return work(&w);
}
