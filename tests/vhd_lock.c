/* SPDX-License-Identifier: BSD-2-Clause */
/* One writer or many readers, between processes and inside one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "tests/lib/cm.h"
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
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
