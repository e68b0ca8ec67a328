/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole transfers over a medium that gives little, late or nothing; and what
 * kinds of files of the host are taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/memfile.h"
#include "vhd/filesys.h"

/* Answers `code` to the first `times` calls of `op`. */
struct stutter {
	enum memfile_op op;
	int code;
	uint64_t times;
};

static int stutter(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct stutter *s = ctx;

	(void)off;
	(void)len;
	if (op != s->op || !s->times)
		return 0;
	s->times--;
	return s->code;
}

static void short_transfers_are_continued(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	uint8_t in[5000], out[5000] = {0};
	struct vhd_err e;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	memfile_set_chunk(m, 13);
	assert_int_equal(vhd_file_write(&f, in, sizeof(in), 100, &e), 0);
	assert_int_equal(vhd_file_read(&f, out, sizeof(out), 100, &e), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 385);
	memfile_destroy(m);
}

static void interruptions_are_tried_again(void **state)
{
	(void)state;
	static const int codes[] = {-EINTR, -EAGAIN};
	uint8_t b[512] = {1};
	struct vhd_err e;

	for (size_t i = 0; i < 2; i++) {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);

		for (enum memfile_op op = 0; op < MEMFILE_SIZE; op++) {
			struct stutter s = {op, codes[i], 50};

			if (op == MEMFILE_FLUSH)
				continue;
			memfile_resize(m, 4096);
			memfile_set_hook(m, stutter, &s);
			assert_int_equal(vhd_file_write(&f, b, 512, 0, &e), 0);
			assert_int_equal(vhd_file_read(&f, b, 512, 0, &e), 0);
			assert_int_equal(vhd_file_zero(&f, 0, 512, &e), 0);
			assert_int_equal(vhd_file_truncate(&f, 9, &e), 0);
			assert_int_equal(s.times, 0);
		}
		memfile_destroy(m);
	}
}

static void endless_interruption_becomes_an_error(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct stutter s = {MEMFILE_READ, -EINTR, UINT64_MAX};
	uint8_t b[512] = {0};
	struct vhd_err e;

	memfile_resize(m, 4096);
	memfile_set_hook(m, stutter, &s);
	assert_refused(vhd_file_read(&f, b, 512, 0, &e), &e, EINTR, VHD_WHY_IO);
	s = (struct stutter){MEMFILE_WRITE, -EAGAIN, UINT64_MAX};
	assert_refused(vhd_file_write(&f, b, 512, 0, &e), &e, EIO, VHD_WHY_IO);
	memfile_destroy(m);
}

static ssize_t takes_nothing(void *state, const void *buf, size_t len,
			     uint64_t off)
{
	(void)state;
	(void)buf;
	(void)len;
	(void)off;
	return 0;
}

static void a_write_that_never_advances_becomes_an_error(void **state)
{
	(void)state;
	static const struct vhd_file_ops ops = {.pwrite = takes_nothing};
	struct vhd_file f = {.ops = &ops, .fd = -1, .direct_fd = -1};
	uint8_t b[512] = {0};
	struct vhd_err e;

	assert_refused(vhd_file_write(&f, b, 512, 0, &e), &e, EIO, VHD_WHY_IO);
}

static void a_file_that_ends_early_is_an_error_of_its_own(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	uint8_t b[512];
	struct vhd_err e;

	memfile_resize(m, 700);
	assert_int_equal(vhd_file_read(&f, b, 512, 188, &e), 0);
	assert_refused(vhd_file_read(&f, b, 512, 189, &e), &e, EIO,
		       VHD_WHY_SHORT_IO);
	assert_int_equal(e.at_bytes, 700);
	memfile_destroy(m);
}

static void a_flush_is_never_tried_again(void **state)
{
	(void)state;
	static const int codes[] = {-EIO, -EINTR, -EAGAIN};

	for (size_t i = 0; i < 3; i++) {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct stutter s = {MEMFILE_FLUSH, codes[i], 1};
		struct vhd_err e;

		memfile_set_hook(m, stutter, &s);
		assert_refused(vhd_file_flush(&f, &e), &e, -codes[i],
			       VHD_WHY_IO);
		assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 1);
		memfile_destroy(m);
	}
}

static void zeroing_falls_back_to_writing(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	static uint8_t b[200000], want[200000];
	struct vhd_err e;

	memset(b, 0xee, sizeof(b));
	memcpy(want, b, sizeof(b));
	memset(want + 1000, 0, 150000);
	assert_int_equal(memfile_poke(m, b, sizeof(b), 0), 0);
	memfile_set_no_zero(m, true);
	assert_int_equal(vhd_file_zero(&f, 1000, 150000, &e), 0);
	memfile_peek(m, b, sizeof(b), 0);
	assert_memory_equal(b, want, sizeof(b));
	assert_int_equal(vhd_file_zero(&f, 0, 0, &e), 0);
	memfile_destroy(m);
}

static void full_disks_have_their_own_reason(void **state)
{
	(void)state;
	static const int codes[] = {-ENOSPC, -EDQUOT, -EFBIG};

	for (size_t i = 0; i < 3; i++) {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct stutter w = {MEMFILE_WRITE, codes[i], 1};
		struct stutter t = {MEMFILE_TRUNCATE, codes[i], 1};
		uint8_t b[512] = {0};
		struct vhd_err e;

		memfile_set_hook(m, stutter, &w);
		assert_refused(vhd_file_write(&f, b, 512, 7, &e), &e, -codes[i],
			       VHD_WHY_NO_SPACE);
		assert_int_equal(e.at_bytes, 7);
		memfile_set_hook(m, stutter, &t);
		assert_refused(vhd_file_truncate(&f, 9, &e), &e, -codes[i],
			       VHD_WHY_NO_SPACE);
		memfile_destroy(m);
	}
}

/* -------------------------------------------------------- files of the host --
 */

static char dir[] = "/tmp/vhd_file.XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *path(const char *name)
{
	static char p[64];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static void refused(const char *p, int code, enum vhd_why why)
{
	struct vhd_file_open ro = {0}, rw = {.writable = true};
	struct vhd_file f;
	struct vhd_err e;

	assert_refused(vhd_file_open(p, &ro, &f, &e), &e, code, why);
	assert_refused(vhd_file_open(p, &rw, &f, &e), &e, code, why);
}

static void only_files_are_opened_and_nothing_blocks(void **state)
{
	(void)state;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	refused(dir, EISDIR, VHD_WHY_NOT_FILE);
	refused(path("missing"), ENOENT, VHD_WHY_SYSTEM);
	refused("/dev/null", EINVAL, VHD_WHY_NOT_FILE);
	assert_int_equal(mkfifo(path("fifo"), 0600), 0);
	refused(path("fifo"), EINVAL, VHD_WHY_NOT_FILE);
	assert_int_equal(unlink(path("fifo")), 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path("socket"));
	assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	refused(path("socket"), EINVAL, VHD_WHY_NOT_FILE);
	assert_int_equal(unlink(path("socket")), 0);
	close(s);
}

static void a_host_file_does_what_the_table_says(void **state)
{
	(void)state;
	struct vhd_file_open how = {.create = true};
	struct vhd_file f;
	struct vhd_err e;
	uint8_t b[8192], want[8192];
	uint64_t len;
	struct stat st;

	assert_int_equal(vhd_file_open(path("f"), &how, &f, &e), 0);
	assert_int_equal(f.direct_fd, -1);
	assert_false(vhd_file_is_device(&f));
	/* a flag that only serves the open must not stay */
	assert_int_equal(fcntl(f.fd, F_GETFL) & O_NONBLOCK, 0);
	memset(b, 0x33, sizeof(b));
	memset(want, 0x33, sizeof(want));
	assert_int_equal(vhd_file_write(&f, b, sizeof(b), 512, &e), 0);
	assert_int_equal(vhd_file_zero(&f, 1024, 5000, &e), 0);
	memset(want + 512, 0, 5000);
	assert_int_equal(vhd_file_read(&f, b, sizeof(b), 512, &e), 0);
	assert_memory_equal(b, want, sizeof(b));
	assert_int_equal(vhd_file_size(&f, &len, &e), 0);
	assert_int_equal(len, 8704);
	assert_int_equal(vhd_file_truncate(&f, 1 << 20, &e), 0);
	assert_int_equal(vhd_file_flush(&f, &e), 0);
	assert_int_equal(fstat(f.fd, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(vhd_file_close_checked(&f), 0);
	assert_int_equal(f.fd, -1);
	assert_int_equal(unlink(path("f")), 0);
}

/* Where the file system has O_DIRECT there is a second descriptor, and it is
 * the same file; where not, there is none and all goes on.
 */
static void direct_is_the_same_file_or_absent(void **state)
{
	(void)state;
	struct vhd_file_open how = {.create = true, .direct = true};
	struct vhd_file f;
	struct vhd_err e;
	struct stat a, b;

	assert_int_equal(vhd_file_open(path("d"), &how, &f, &e), 0);
	if (f.direct_fd >= 0) {
		assert_int_equal(fstat(f.fd, &a), 0);
		assert_int_equal(fstat(f.direct_fd, &b), 0);
		assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
		assert_true(fcntl(f.direct_fd, F_GETFL) & O_DIRECT);
		assert_false(fcntl(f.direct_fd, F_GETFL) & O_NONBLOCK);
		assert_false(fcntl(f.fd, F_GETFL) & O_DIRECT);
		/* what it wants of addresses and offsets is known */
		assert_int_not_equal(f.direct_mem_bytes, 0);
		assert_int_not_equal(f.direct_off_bytes, 0);
	}
	vhd_file_close(&f);
	assert_int_equal(unlink(path("d")), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_transfers_are_continued),
		cmocka_unit_test(interruptions_are_tried_again),
		cmocka_unit_test(endless_interruption_becomes_an_error),
		cmocka_unit_test(a_write_that_never_advances_becomes_an_error),
		cmocka_unit_test(a_file_that_ends_early_is_an_error_of_its_own),
		cmocka_unit_test(a_flush_is_never_tried_again),
		cmocka_unit_test(zeroing_falls_back_to_writing),
		cmocka_unit_test(full_disks_have_their_own_reason),
		cmocka_unit_test(only_files_are_opened_and_nothing_blocks),
		cmocka_unit_test(a_host_file_does_what_the_table_says),
		cmocka_unit_test(direct_is_the_same_file_or_absent),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
