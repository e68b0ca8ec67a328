/* SPDX-License-Identifier: BSD-2-Clause */
/* One writer or many readers, between processes and inside one. */
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "tests/lib/cm.h"
#include "tests/lib/proof.h"
#include "vhd/alloc.h"
#include "vhd/file.h"
#include "vhd/vhd.h"

static char dir[] = "/tmp/vhd_lock.XXXXXX";
static char image[64];

static int set_up(void **state)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = 4 << 20,
	};
	struct vhd *img;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(image, sizeof(image), "%s/image.vhd", dir);
	if (vhd_create(image, &o, &img, NULL))
		return -1;
	return vhd_close(img, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(image) || rmdir(dir);
}

static struct vhd *opened(const struct vhd_open_opts *o)
{
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open(image, o, &img, &e), 0);
	return img;
}

static void locked(const struct vhd_open_opts *o)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(vhd_open(image, o, &img, &e), &e, EBUSY, VHD_WHY_LOCKED);
}

static const struct vhd_open_opts ro = {0};
static const struct vhd_open_opts rw = {.writable = true};
static const struct vhd_open_opts direct = {.writable = true, .direct = true};
static const struct vhd_open_opts forced = {.force_read = true};

static void a_writer_keeps_everyone_out(void **state)
{
	(void)state;
	struct vhd *w = opened(&rw);

	locked(&rw);
	locked(&ro);
	locked(&direct);
	assert_int_equal(vhd_close(w, NULL), 0);
	vhd_abandon(opened(&rw));
	vhd_abandon(opened(&ro));
}

static void readers_share_and_keep_writers_out(void **state)
{
	(void)state;
	struct vhd *a = opened(&ro), *b = opened(&ro);

	locked(&rw);
	vhd_abandon(a);
	locked(&rw);
	vhd_abandon(b);
	vhd_abandon(opened(&rw));
}

static void forced_reading_asks_no_one(void **state)
{
	(void)state;
	struct vhd *w = opened(&rw);
	struct vhd *f = opened(&forced);

	vhd_abandon(w);
	w = opened(&rw); /* nor does it keep anyone out */
	vhd_abandon(f);
	vhd_abandon(w);
}

/* A lock of the classic kind would go with any close of the file. */
static void closing_another_descriptor_keeps_the_lock(void **state)
{
	(void)state;
	struct vhd *w = opened(&direct);
	int fd = open(image, O_RDWR);

	assert_true(fd >= 0);
	close(fd);
	locked(&ro);
	vhd_abandon(w);
	vhd_abandon(opened(&rw));
}

/* As QEMU holds an image: shared locks on bytes that stand for what it does. */
static void lock_byte(int fd, off_t at)
{
	struct flock fl = {
		.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = at,
		.l_len = 1,
	};

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
}

static void a_qemu_that_writes_keeps_readers_out(void **state)
{
	(void)state;
	int fd = open(image, O_RDWR);
	struct vhd *img;

	assert_true(fd >= 0);
	lock_byte(fd, 100); /* it reads, and lets nobody write */
	lock_byte(fd, 201);
	img = opened(&ro);
	vhd_abandon(img);
	locked(&rw);
	lock_byte(fd, 101); /* it writes */
	locked(&ro);
	locked(&rw);
	assert_int_equal(close(fd), 0);
	img = opened(&ro);
	vhd_abandon(img);
	fd = open(image, O_RDWR);
	assert_true(fd >= 0);
	lock_byte(fd, 103); /* it resizes */
	locked(&ro);
	assert_int_equal(close(fd), 0);
}

/* A ring that was torn down gives its registered files back late. */
static void closing_unlocks_though_a_copy_of_the_descriptor_lives(void **state)
{
	(void)state;
	struct vhd *img = opened(&rw);
	int copy = dup(vhd_get_file(img)->fd);

	assert_true(copy >= 0);
	assert_int_equal(vhd_close(img, NULL), 0);
	img = opened(&rw);
	vhd_abandon(img);
	img = opened(&rw);
	assert_int_equal(vhd_close(img, NULL), 0);
	assert_int_equal(close(copy), 0);
}

static void a_refused_open_leaves_no_lock(void **state)
{
	(void)state;
	struct vhd_open_opts wrong = {.format = VHD_FORMAT_FIXED,
				      .writable = true};
	struct vhd *img;
	struct vhd_err e;

	assert_refused(vhd_open(image, &wrong, &img, &e), &e, EUCLEAN,
		       VHD_WHY_TYPE_MISMATCH);
	vhd_abandon(opened(&rw));
}

/* The child's exit status is the errno its open gave. */
static int open_elsewhere(const struct vhd_open_opts *o)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct vhd *img;
		int rc = vhd_open(image, o, &img, NULL);

		_exit(-rc);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void other_processes_are_kept_out_too(void **state)
{
	(void)state;
	struct vhd *img = opened(&rw);

	assert_int_equal(open_elsewhere(&rw), EBUSY);
	assert_int_equal(open_elsewhere(&ro), EBUSY);
	vhd_abandon(img);
	img = opened(&ro);
	assert_int_equal(open_elsewhere(&rw), EBUSY);
	assert_int_equal(open_elsewhere(&ro), 0);
	vhd_abandon(img);
	assert_int_equal(open_elsewhere(&rw), 0);
}

/* Who comes first, who second, and where the second is. */
static void each_pair_of_readers_and_writers_has_its_outcome(void **state)
{
	static const struct {
		const struct vhd_open_opts *first, *second;
		bool elsewhere; /* the second is another process */
		int outcome;
	} pairs[] = {
		{&ro, &ro, false, 0},	  {&ro, &ro, true, 0},
		{&ro, &rw, false, EBUSY}, {&ro, &rw, true, EBUSY},
		{&rw, &ro, false, EBUSY}, {&rw, &ro, true, EBUSY},
		{&rw, &rw, false, EBUSY}, {&rw, &rw, true, EBUSY},
	};
	const unsigned all = sizeof(pairs) / sizeof(pairs[0]);
	unsigned right = 0;

	(void)state;
	for (unsigned i = 0; i < all; i++) {
		struct vhd *img = opened(pairs[i].first), *other = NULL;
		int rc;

		if (pairs[i].elsewhere)
			rc = open_elsewhere(pairs[i].second);
		else
			rc = -vhd_open(image, pairs[i].second, &other, NULL);
		vhd_abandon(other);
		vhd_abandon(img);
		right += rc == pairs[i].outcome;
	}
	proof_figure("L1", right == all && all == 8,
		     "%u of %u pairs of openings as tabled", right, all);
	assert_int_equal(right, all);
}

/* What a writer is about to change must not be judged. */
static void the_lock_comes_before_the_first_look(void **state)
{
	const uint8_t junk[512] = {1};
	uint8_t kept[512];
	int fd = open(image, O_RDWR);
	struct vhd *w = opened(&rw);
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, kept, 512, 512), 512);
	assert_int_equal(pwrite(fd, junk, 512, 512), 512);
	locked(&ro);
	locked(&rw);
	vhd_abandon(w);
	assert_refused(vhd_open(image, &ro, &img, &e), &e, EUCLEAN,
		       VHD_WHY_HEADER_COOKIE);
	assert_int_equal(pwrite(fd, kept, 512, 512), 512);
	assert_int_equal(close(fd), 0);
	vhd_abandon(opened(&rw));
}

/* -------------------------------------------------------- survival (L2) -- */

/* A child that holds the image until it is killed; `*pid` is it. */
static void hold_elsewhere(pid_t *pid)
{
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	*pid = fork();
	if (*pid == 0) {
		struct vhd *img = NULL;

		c = vhd_open(image, &rw, &img, NULL) ? 'n' : 'y';
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(*pid > 0);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	close(ready[0]);
	close(ready[1]);
}

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool survives_a_fork(void)
{
	struct vhd *w = opened(&rw);
	pid_t pid = fork();
	bool kept;

	if (pid == 0)
		_exit(0); /* with its copies of the descriptors */
	assert_true(pid > 0);
	assert_int_equal(ended(pid), 0);
	kept = open_elsewhere(&ro) == EBUSY;
	vhd_abandon(w);
	return kept;
}

static bool survives_the_close_of_another_descriptor(void)
{
	struct vhd *w = opened(&rw);
	int fd = open(image, O_RDWR);
	bool kept;

	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	kept = open_elsewhere(&ro) == EBUSY;
	vhd_abandon(w);
	return kept;
}

static bool ends_with_a_killed_process(void)
{
	pid_t pid;
	bool held;

	hold_elsewhere(&pid);
	held = open_elsewhere(&ro) == EBUSY;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(WTERMSIG(ended(pid)), SIGKILL);
	return held && open_elsewhere(&rw) == 0;
}

/* What a lock of the classic kind does in the first two cases: why those of
 * this library are of the other.
 */
static bool differs_from_the_classic_kind(void)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(image, O_RDWR), other;
	bool held, lost;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETLK, &fl), 0);
	held = open_elsewhere(&ro) == EBUSY;
	other = open(image, O_RDONLY);
	assert_true(other >= 0);
	assert_int_equal(close(other), 0);
	lost = open_elsewhere(&ro) == 0;
	assert_int_equal(close(fd), 0);
	return held && lost;
}

static void locks_end_with_the_image_or_its_process_only(void **state)
{
	bool (*const cases[])(void) = {
		survives_a_fork,
		survives_the_close_of_another_descriptor,
		ends_with_a_killed_process,
		differs_from_the_classic_kind,
	};
	const unsigned all = sizeof(cases) / sizeof(cases[0]);
	unsigned right = 0;

	(void)state;
	for (unsigned i = 0; i < all; i++)
		right += cases[i]();
	proof_figure("L2", right == all && all == 4, "%u of %u cases", right,
		     all);
	assert_int_equal(right, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_keeps_everyone_out),
		cmocka_unit_test(readers_share_and_keep_writers_out),
		cmocka_unit_test(forced_reading_asks_no_one),
		cmocka_unit_test(closing_another_descriptor_keeps_the_lock),
		cmocka_unit_test(a_qemu_that_writes_keeps_readers_out),
		cmocka_unit_test(
			closing_unlocks_though_a_copy_of_the_descriptor_lives),
		cmocka_unit_test(a_refused_open_leaves_no_lock),
		cmocka_unit_test(other_processes_are_kept_out_too),
		cmocka_unit_test(
			each_pair_of_readers_and_writers_has_its_outcome),
		cmocka_unit_test(the_lock_comes_before_the_first_look),
		cmocka_unit_test(locks_end_with_the_image_or_its_process_only),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
