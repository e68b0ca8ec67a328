/* SPDX-License-Identifier: BSD-2-Clause */
/* Random 4 KiB requests through the whole storage VSP, its rings in shared
 * memory, one thread of the guest and one of the VSP each channel; no KVM.
 *
 * usage: vsc [OPTION=VALUE]... null|FILE
 *   channels=1 luns=1 depth=64 seconds=2 requests=0 write=0 direct=0
 *   poll=50 (the VSP's, in microseconds) spin=100 (the guest's) pin=0
 *   threads=1 (0: guest and VSP take turns in one thread) engine=auto
 *
 * null is a disk that answers at once, below the disk queue: what is measured
 * is the path. FILE is opened once a LUN, to read only unless write=1.
 * Prints one line: requests a second, their number, how often the VSP and the
 * guest slept, how often the VSP found work while polling.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"
#include "vhd/engine.h"

#define CHANNELS_MAX 64u
#define LUNS_MAX 64u
#define NULL_BYTES (1ull << 30)
/* Not measured: the first touch of a block reads its bitmap. */
#define WARM_MS 300

static struct {
	unsigned channels, luns, depth, seconds, requests, write, direct;
	unsigned poll, spin, pin, threads, engine;
} opt = {.channels = 1, .luns = 1, .depth = 64, .seconds = 2, .poll = 50,
	 .spin = 100, .threads = 1};

static struct vsc *v;
static struct drive drives[CHANNELS_MAX];
static struct vhd *images[LUNS_MAX];
static volatile bool stop;

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "vsc: %s: %s\n", what, why);
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ----------------------------------------------------------- null disk --- */

static int null_create(uint32_t depth, void **state, struct vhd_err *err)
{
	(void)depth;
	*state = calloc(1, sizeof(struct vhd_io_list));
	return *state ? 0 : vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "memory");
}

static void null_destroy(void *state)
{
	free(state);
}

static int null_attach(void *state, const struct vhd_file *f, uint32_t slot,
		       struct vhd_err *err)
{
	(void)state, (void)f, (void)slot, (void)err;
	return 0;
}

static void null_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)state, (void)f, (void)slot;
}

static void null_prep(void *state, struct vhd_io *io)
{
	io->res = 0;
	for (uint32_t i = 0; i < io->iov_count; i++)
		io->res += (int64_t)io->iov[i].iov_len;
	vhd_io_list_add(state, io);
}

static int null_submit(void *state)
{
	(void)state;
	return 0;
}

static struct vhd_io *null_reap(void *state)
{
	return vhd_io_list_take_all(state);
}

static int null_wait(void *state, int wake_fd, int timeout_ms)
{
	const struct vhd_io_list *done = state;
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};

	if (!done->head && poll(&p, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static void null_cancel(void *state, struct vhd_io *io)
{
	(void)state, (void)io;
}

static const struct vhd_engine_ops null_engine = {
	.name = "null",
	.id = VHD_ENGINE_SYNC,
	.create = null_create,
	.destroy = null_destroy,
	.attach = null_attach,
	.detach = null_detach,
	.prep = null_prep,
	.submit = null_submit,
	.reap = null_reap,
	.wait = null_wait,
	.cancel = null_cancel,
};

static int null_queue(void *unused, struct vhd_queue **out, struct vhd_err *err)
{
	(void)unused;
	return vhd_queue_create_on(&null_engine, 256, out, err);
}

/* ---------------------------------------------------------------- world -- */

static void open_images(const char *path)
{
	const struct vhd_open_opts o = {
		.writable = opt.write,
		.direct = opt.direct,
		.parent_dir = ".",
	};
	struct vhd_err err;

	for (unsigned i = 0; i < opt.luns; i++) {
		if (vhd_open(path, &o, &images[i], &err))
			die(path, err.text);
		vsc_disk(v, images[i], 0, 0, (uint8_t)i, !opt.write);
	}
}

static void null_images(void)
{
	const struct vhd_create_opts o = {
		.format = VHD_FORMAT_RAW,
		.size_bytes = NULL_BYTES,
	};
	struct vhd_err err;
	char path[64];

	for (unsigned i = 0; i < opt.luns; i++) {
		snprintf(path, sizeof(path), "/dev/shm/vsc-null.%d.%u",
			 (int)getpid(), i);
		if (vhd_create(path, &o, &images[i], &err))
			die(path, err.text);
		if (unlink(path))
			die(path, strerror(errno));
		vsc_disk(v, images[i], 0, 0, (uint8_t)i, false);
	}
}

static void start(const char *path)
{
	bool null = strcmp(path, "null") == 0;
	const struct vsc_opts o = {
		.vsp.max_subchannels = (uint16_t)(opt.channels - 1),
		.vsp.poll_us = opt.poll,
		.vsp.register_memory = opt.pin,
		.vsp.engine = (enum vhd_engine)opt.engine,
		.vsp.queue_create = null ? null_queue : NULL,
		.guest.memory_bytes = 64u << 20,
		.guest.vps = opt.channels,
		.threaded = opt.threads,
	};

	v = vsc_create(&o);
	if (null)
		null_images();
	else
		open_images(path);
	for (uint16_t i = 0; i < opt.channels; i++) {
		struct drive *d = &drives[i];

		*d = (struct drive){
			.v = v,
			.channel = vsc_open(v, i),
			.depth = opt.depth,
			.luns = opt.luns,
			.write = opt.write,
			.places = vhd_get_info(images[0])->size_bytes /
				  DRIVE_IO_BYTES,
			.random = 88172645463325252u + i,
			.spin_ns = 1000ull * opt.spin,
		};
		if (!d->channel)
			die("channel", "cannot be opened");
		if (i == 0) {
			vsc_negotiate(d->channel, STORVSP_VERSION_WIN10, NULL);
			if (opt.channels > 1 &&
			    vsc_create_subs(d->channel,
					    (uint16_t)(opt.channels - 1)))
				die("sub-channels", "refused");
		}
		drive_init(d);
	}
}

/* ------------------------------------------------------------------ run -- */

static void *thread(void *arg)
{
	drive_run(arg, opt.requests / opt.channels, &stop);
	return NULL;
}

static uint64_t done(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < opt.channels; i++)
		n += __atomic_load_n(&drives[i].done, __ATOMIC_RELAXED);
	return n;
}

/* Requests a second. */
static double run_threads(void)
{
	pthread_t t[CHANNELS_MAX];
	double from = now_s(), took = 0;
	uint64_t n = 0;

	for (unsigned i = 0; i < opt.channels; i++)
		if (pthread_create(&t[i], NULL, thread, &drives[i]))
			die("thread", "cannot be made");
	if (!opt.requests) {
		usleep(WARM_MS * 1000);
		n = done();
		from = now_s();
		sleep(opt.seconds);
		n = done() - n;
		took = now_s() - from;
		stop = true;
	}
	for (unsigned i = 0; i < opt.channels; i++)
		pthread_join(t[i], NULL);
	if (opt.requests) {
		n = done();
		took = now_s() - from;
	}
	return (double)n / took;
}

/* Batches of `depth`, each answered before the next. */
static double run_turns(void)
{
	struct drive *d = &drives[0];
	double from = now_s();

	while (d->done < opt.requests) {
		drive_ask(d, 0, d->depth);
		for (unsigned n = 0; n < d->depth; n += drive_take(d, false))
			vsc_pump(v);
	}
	return (double)d->done / (now_s() - from);
}

static void report(double rate)
{
	struct storvsp_stats s;
	uint64_t failed = 0, sleeps = 0;

	storvsp_get_stats(vsc_vsp(v), &s);
	for (unsigned i = 0; i < opt.channels; i++) {
		failed += drives[i].failed;
		sleeps += drives[i].sleeps;
	}
	if (failed)
		die("requests", "some failed");
	printf("%.0f IOPS, %llu requests, VSP slept %llu times and polled "
	       "well %llu times, guest slept %llu times\n",
	       rate, (unsigned long long)done(), (unsigned long long)s.sleeps,
	       (unsigned long long)s.polled, (unsigned long long)sleeps);
}

static bool option(const char *word)
{
	static const struct {
		const char *name;
		unsigned *value;
		unsigned max;
	} table[] = {
		{"channels", &opt.channels, CHANNELS_MAX},
		{"luns", &opt.luns, LUNS_MAX},
		{"depth", &opt.depth, DRIVE_DEPTH_MAX},
		{"seconds", &opt.seconds, 3600},
		{"requests", &opt.requests, 1u << 30},
		{"write", &opt.write, 1},
		{"direct", &opt.direct, 1},
		{"poll", &opt.poll, STORVSP_POLL_MAX_US},
		{"spin", &opt.spin, 1000000},
		{"pin", &opt.pin, 1},
		{"threads", &opt.threads, 1},
		{"engine", &opt.engine, VHD_ENGINE_SYNC},
	};
	const char *is = strchr(word, '=');

	for (size_t i = 0; is && i < sizeof(table) / sizeof(table[0]); i++) {
		if (strlen(table[i].name) != (size_t)(is - word) ||
		    strncmp(word, table[i].name, (size_t)(is - word)) != 0)
			continue;
		*table[i].value = (unsigned)strtoul(is + 1, NULL, 10);
		return *table[i].value <= table[i].max;
	}
	return false;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc - 1; i++)
		if (!option(argv[i]))
			die(argv[i], "no such option, or no such value");
	if (argc < 2 || strchr(argv[argc - 1], '='))
		die("usage", "vsc [OPTION=VALUE]... null|FILE");
	if (!opt.channels || !opt.luns || !opt.depth)
		die("0", "channels, luns and depth are at least 1");
	if (!opt.threads && (!opt.requests || opt.channels > 1))
		die("threads=0", "needs requests=N, and is for one channel");
	start(argv[argc - 1]);
	report(opt.threads ? run_threads() : run_turns());
	/* who comes next finds no lock */
	vsc_distrust(v);
	vsc_destroy(v);
	for (unsigned i = 0; i < opt.luns; i++)
		vhd_abandon(images[i]);
	return 0;
}
