/* SPDX-License-Identifier: BSD-2-Clause */
/* A host's disk that really is full, under a VSP with its own threads and the
 * machine's engine: the disk pauses, room is made, it is resumed, and every
 * write is there once. What waits for a limit is woken by the clock, and the
 * host may change its mind at any time.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/lib/qtest.h"
#include "tests/lib/scratch.h"
#include "tests/lib/vsc.h"

#define DISK_BYTES  (64u << 20)
#define BLOCK_BYTES (512u << 10)
#define BLOCKS	    24u /* 12 MiB are written */

struct full {
	struct vsc *v;
	struct vsc_channel *c;
	struct vsc_buffer b[BLOCKS];
	struct vhd *img;
	char *path;
};

static const struct storvsp_address where;

static void start_with(struct full *f, const char *path,
		       const struct vsc_opts *o)
{
	*f = (struct full){0};
	f->path = strdup(path);
	f->img = qtest_create(path, VHD_FORMAT_DYNAMIC, DISK_BYTES, BLOCK_BYTES,
			      false);
	f->v = vsc_create(o);
	vsc_disk(f->v, f->img, 0, 0, 0, false);
	assert_int_equal(storvsp_disk_on_error(vsc_vsp(f->v), where,
					       STORVSP_ON_ERROR_PAUSE, NULL),
			 0);
	f->c = vsc_open(f->v, 0);
	vsc_negotiate(f->c, STORVSP_VERSION_WIN10, NULL);
	for (unsigned i = 0; i < BLOCKS; i++)
		vsc_buffer_init(f->v, &f->b[i], 16);
}

static void start(struct full *f, const char *path)
{
	const struct vsc_opts o = {.threaded = true};

	start_with(f, path, &o);
}

static struct storvsp_disk_stats stats(struct full *f)
{
	struct storvsp_disk_stats s;

	assert_int_equal(storvsp_disk_get_stats(vsc_vsp(f->v), where, &s), 0);
	return s;
}

/* 64 KiB into each of the disk's first blocks. */
static void write_blocks(struct full *f)
{
	static uint8_t bytes[64 << 10];

	for (unsigned i = 0; i < BLOCKS; i++) {
		struct vsc_cmd cmd =
			vsc_rw(true, 0, (uint64_t)i * BLOCK_BYTES / SECTOR, 128,
			       false, &f->b[i]);

		memset(bytes, (int)(i + 1), sizeof(bytes));
		vsc_buffer_put(&f->b[i], bytes, sizeof(bytes));
		assert_true(vsc_start(f->c, &cmd) != 0);
	}
}

static unsigned take_answers(struct full *f)
{
	struct vsc_answer a;
	unsigned n = 0;

	while (vsc_try_recv(f->c, &a)) {
		assert_true(vsc_good(&a));
		n++;
	}
	return n;
}

/* Until the disk is paused and nothing is at it: a bounded wait for threads.
 */
static void wait_for_pause(struct full *f, unsigned *answered)
{
	for (unsigned ms = 0; ms < VSC_WAIT_MS; ms++) {
		struct storvsp_disk_stats s = stats(f);

		*answered += take_answers(f);
		if (s.paused && s.in_flight == 0 &&
		    s.waiting == vsc_outstanding(f->c))
			return;
		usleep(1000);
	}
	fail_msg("the disk is not paused");
}

static void judge(const char *path)
{
	const struct vhd_open_opts o = {.format = VHD_FORMAT_DYNAMIC};
	static uint8_t got[64 << 10];
	struct vhd_err err = {0};
	struct vhd *img;

	if (vhd_open(path, &o, &img, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < BLOCKS; i++) {
		assert_int_equal(vhd_read(img, (uint64_t)i * BLOCK_BYTES, got,
					  sizeof(got), NULL),
				 0);
		for (unsigned k = 0; k < sizeof(got); k++)
			assert_int_equal(got[k], i + 1);
	}
	assert_int_equal(vhd_close(img, NULL), 0);
}

/* Everything is written, whatever had to be waited for. */
static void finish(struct full *f, unsigned answered)
{
	struct vsc_answer a;
	struct vsc_cmd flush = {.cdb = {0x35}, .data_in = STORVSP_DATA_NONE};

	while (answered < BLOCKS) {
		assert_true(vsc_recv(f->c, &a));
		assert_true(vsc_good(&a));
		answered++;
	}
	vsc_run(f->c, &flush, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(stats(f).kind[STORVSP_KIND_WRITE].count, BLOCKS);
	assert_int_equal(stats(f).kind[STORVSP_KIND_WRITE].errors, 0);
	vsc_destroy(f->v);
	qtest_close(f->img);
	judge(f->path);
	unlink(f->path);
	free(f->path);
}

static void set_limit(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes < l.rlim_max ? bytes : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_file_at_its_limit_pauses_and_goes_on(void **state)
{
	unsigned answered = 0, pauses = 0;
	struct full f;
	char *path = qtest_path();
	struct rlimit old;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	start(&f, path);
	set_limit(3u << 20);
	write_blocks(&f);
	/* a little more each time: it pauses again */
	for (rlim_t limit = 6u << 20; pauses < 3; limit += 2u << 20) {
		wait_for_pause(&f, &answered);
		pauses++;
		set_limit(limit);
		assert_int_equal(
			storvsp_disk_resume(vsc_vsp(f.v), where, NULL), 1);
		usleep(20000);
	}
	wait_for_pause(&f, &answered);
	assert_true(answered > 0 && answered < BLOCKS);
	set_limit(old.rlim_cur);
	assert_int_equal(storvsp_disk_resume(vsc_vsp(f.v), where, NULL), 1);
	finish(&f, answered);
	free(path);
}

/* A file system of its own, of so many bytes; false: not allowed here. */
static bool tmpfs(const char *dir, const char *size, unsigned long flags)
{
	return mount("tmpfs", dir, "tmpfs", flags, size) == 0;
}

static bool put_line(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	bool ok = f && fputs(text, f) >= 0;

	return f && fclose(f) == 0 && ok;
}

/* A user of its own, too, for whom there are files of this one. */
static bool own_user(void)
{
	char uid[32], gid[32];

	snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       put_line("/proc/self/uid_map", uid) &&
	       put_line("/proc/self/setgroups", "deny") &&
	       put_line("/proc/self/gid_map", gid);
}

static bool own_mounts(void)
{
	if (unshare(CLONE_NEWNS) && !own_user())
		return false;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void a_full_file_system_pauses_and_goes_on(void **state)
{
	char dir[] = "/tmp/storvspfull.XXXXXX", path[64];
	unsigned answered = 0;
	struct full f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	if (!own_mounts() || !tmpfs(dir, "size=1m", 0)) {
		print_message("no file system may be mounted here\n");
		rmdir(dir);
		skip();
	}
	snprintf(path, sizeof(path), "%s/disk.vhd", dir);
	start(&f, path);
	write_blocks(&f);
	wait_for_pause(&f, &answered);
	assert_int_equal(stats(&f).pause_code, -ENOSPC);
	/* reading it waits as well; nothing was made room for yet */
	assert_int_equal(storvsp_disk_resume(vsc_vsp(f.v), where, NULL), 1);
	wait_for_pause(&f, &answered);
	assert_true(stats(&f).pauses >= 2);
	assert_true(tmpfs(dir, "size=64m", MS_REMOUNT));
	assert_int_equal(storvsp_disk_resume(vsc_vsp(f.v), where, NULL), 1);
	finish(&f, answered);
	assert_int_equal(umount(dir), 0);
	rmdir(dir);
}

/* Nobody sends anything: only the channel's own timeout can wake it. */
static void what_waits_for_a_limit_is_woken_by_the_clock(void **state)
{
	const struct storvsp_limits slow = {.iops = 500, .iops_burst = 5};
	struct full f;
	char *path = qtest_path();

	(void)state;
	start(&f, path);
	assert_int_equal(storvsp_disk_limit(vsc_vsp(f.v), where, &slow, NULL),
			 0);
	write_blocks(&f); /* each counts eight times */
	finish(&f, 0);
	free(path);
}

/* ------------------------------------------- the host beside channels ---- */

#define CHANNELS 3u
#define ROUNDS	 150u

struct beside {
	struct full *f;
	struct vsc_channel *c[CHANNELS];
	atomic_bool over;
};

/* Wishes and looks, as fast as they can be had. */
static void *host(void *arg)
{
	static const struct storvsp_limits limits[] = {
		{0}, {.iops = 100000}, {.depth = 2}, {.bps = 1ull << 30}};
	struct beside *b = arg;
	struct storvsp *vsp = vsc_vsp(b->f->v);

	for (unsigned i = 0; !atomic_load(&b->over); i++) {
		struct storvsp_channel_stats ch[CHANNELS];
		struct storvsp_disk_stats s;

		assert_int_equal(storvsp_disk_limit(vsp, where, &limits[i % 4],
						    NULL),
				 0);
		assert_int_equal(storvsp_disk_on_error(
					 vsp, where,
					 i & 1 ? STORVSP_ON_ERROR_PAUSE
					       : STORVSP_ON_ERROR_REPORT,
					 NULL),
				 0);
		assert_int_equal(storvsp_disk_resume(vsp, where, NULL), 0);
		assert_int_equal(storvsp_disk_get_stats(vsp, where, &s), 0);
		assert_true(storvsp_channel_list(vsp, ch, CHANNELS) <=
			    CHANNELS);
		usleep(100);
	}
	return NULL;
}

static void *guest(void *arg)
{
	struct vsc_channel *c = arg;
	struct vsc_answer a;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct vsc_cmd cmd = {.cdb = {0x35},
				      .data_in = STORVSP_DATA_NONE};

		for (unsigned k = 0; k < 8; k++)
			assert_true(vsc_start(c, &cmd) != 0);
		for (unsigned k = 0; k < 8; k++) {
			assert_true(vsc_recv(c, &a));
			assert_true(vsc_good(&a));
		}
	}
	return NULL;
}

static void the_host_may_change_its_mind_beside_all_channels(void **state)
{
	struct vsc_opts o = {.threaded = true, .vsp.max_subchannels = 2};
	struct beside b = {0};
	pthread_t threads[CHANNELS + 1];
	struct full f;
	char *path = qtest_path();

	(void)state;
	start_with(&f, path, &o);
	assert_int_equal(vsc_create_subs(f.c, CHANNELS - 1), 0);
	b.f = &f;
	b.c[0] = f.c;
	for (uint16_t i = 1; i < CHANNELS; i++)
		b.c[i] = vsc_open(f.v, i);
	pthread_create(&threads[CHANNELS], NULL, host, &b);
	for (unsigned i = 0; i < CHANNELS; i++)
		pthread_create(&threads[i], NULL, guest, b.c[i]);
	for (unsigned i = 0; i < CHANNELS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&b.over, true);
	pthread_join(threads[CHANNELS], NULL);
	assert_int_equal(stats(&f).kind[STORVSP_KIND_FLUSH].count,
			 CHANNELS * ROUNDS * 8);
	vsc_destroy(f.v);
	qtest_close(f.img);
	unlink(f.path);
	free(f.path);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_at_its_limit_pauses_and_goes_on),
		cmocka_unit_test(what_waits_for_a_limit_is_woken_by_the_clock),
		cmocka_unit_test(
			the_host_may_change_its_mind_beside_all_channels),
		cmocka_unit_test(a_full_file_system_pauses_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
