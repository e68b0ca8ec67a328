/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of a disk's reservations: made, read, written in turn, refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/hv/hv.h"

#define BYTES  8192
#define RECORD 64

static unsigned said;

void hv_say_line(void *unused, const char *line)
{
	(void)unused;
	(void)line;
	said++;
}

static const uint8_t id[16] = {1, 2, 3};
static const uint8_t other[16] = {1, 2, 4};

static char dir[] = "/tmp/tools_keeper.XXXXXX";
static char path[sizeof(dir) + 8];

static struct hv_keeper *opened(void)
{
	struct hv_keeper *k = NULL;
	struct vhd_err err;

	if (hv_keeper_open(path, id, &k, &err))
		fail_msg("%s", err.text);
	return k;
}

static int refused(const uint8_t *of)
{
	struct hv_keeper *k = NULL;
	struct vhd_err err;
	int rc = hv_keeper_open(path, of, &k, &err);

	assert_null(k);
	assert_int_equal(rc, err.code);
	return rc;
}

static void file_read(uint8_t *buf)
{
	int fd = open(path, O_RDONLY);

	assert_int_equal(read(fd, buf, BYTES), BYTES);
	close(fd);
}

static void file_write(const uint8_t *buf, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, buf, n), (ssize_t)n);
	close(fd);
}

static void check(const struct hv_keeper *k, bool registered, uint64_t key,
		  uint8_t type)
{
	const struct storvsp_reservations *r = hv_keeper_kept(k);

	assert_int_equal(r->registered, registered);
	assert_int_equal(r->key, key);
	assert_int_equal(r->type, type);
}

static int fresh(void **state)
{
	(void)state;
	return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void a_new_file_holds_nothing_and_is_alone(void **state)
{
	struct hv_keeper *k = opened();
	struct stat st;

	(void)state;
	check(k, false, 0, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	assert_int_equal(st.st_nlink, 1);
	hv_keeper_close(k);
	unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing was left beside it */
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void what_is_kept_is_there_again(void **state)
{
	(void)state;
	for (uint64_t i = 1; i < 20; i++) {
		const struct storvsp_reservations r = {true, i << 32 | i,
						       (uint8_t)(i % 9)};
		struct hv_keeper *k = opened();

		assert_int_equal(hv_keeper_keep(k, &r), 0);
		check(k, true, r.key, r.type);
		hv_keeper_close(k);
		k = opened();
		check(k, true, r.key, r.type);
		hv_keeper_close(k);
	}
}

/* As the manual page has it. */
static void a_record_is_byte_exact(void **state)
{
	static const uint8_t want[RECORD] = {
		'v', 'h', 'd', 'k', 'e', 'y', 's', '1', [16] = 2, [24] = 1,
		2,   3,	  [40] = 0xEF, 0xBE, [48] = 1, 5};
	const struct storvsp_reservations r = {true, 0xBEEF, 5};
	struct hv_keeper *k = opened();
	uint8_t got[BYTES];

	(void)state;
	assert_int_equal(hv_keeper_keep(k, &r), 0);
	hv_keeper_close(k);
	file_read(got);
	memset(got + 8, 0, 4); /* the sum, which the next test looks at */
	assert_memory_equal(got, want, RECORD);
}

/* A power cut after any number of the record's bytes, and with any byte of it
 * wrong: the record before it is in force.
 */
static void a_record_cut_or_spoilt_leaves_the_one_before(void **state)
{
	const struct storvsp_reservations one = {true, 1, 1}, two = {true, 2, 3};
	uint8_t before[BYTES], after[BYTES], cut[BYTES];
	struct hv_keeper *k = opened();

	(void)state;
	assert_int_equal(hv_keeper_keep(k, &one), 0);
	file_read(before);
	assert_int_equal(hv_keeper_keep(k, &two), 0);
	file_read(after);
	hv_keeper_close(k);
	for (unsigned n = 0; n < 2 * RECORD; n++) {
		unsigned at = 4096 + n % RECORD;
		bool whole;

		memcpy(cut, n < RECORD ? before : after, BYTES);
		if (n < RECORD)
			memcpy(cut + 4096, after + 4096, n);
		else
			cut[at] ^= 0x55;
		whole = memcmp(cut + 4096, after + 4096, RECORD) == 0;
		file_write(cut, BYTES);
		k = opened();
		if (n >= RECORD && at >= 4096 + 12 && at < 4096 + 16)
			whole = true; /* not looked at */
		check(k, true, whole ? 2 : 1, whole ? 3 : 1);
		hv_keeper_close(k);
	}
}

static void what_is_no_such_file_is_refused_and_left_alone(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 64, 4096, BYTES};
	uint8_t junk[BYTES], got[BYTES];
	struct hv_keeper *k;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		memset(junk, 0x11 * (int)(i & 1), sizeof(junk));
		file_write(junk, sizes[i]);
		assert_int_equal(refused(id), -EUCLEAN);
	}
	file_read(got);
	assert_memory_equal(got, junk, BYTES);
	unlink(path);
	k = opened();
	assert_int_equal(refused(id), -EBUSY);
	hv_keeper_close(k);
	assert_int_equal(refused(other), -EUCLEAN);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(refused(id), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(refused(id), -EINVAL);
}

static void a_file_that_cannot_be_written_is_told_once(void **state)
{
	const struct storvsp_reservations one = {true, 1, 1}, two = {true, 2, 3};
	struct hv_keeper *k = opened();
	struct rlimit old, none;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(hv_keeper_keep(k, &one), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(hv_keeper_keep(k, &two), -EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	/* whatever may be in the file now: it is not believed again */
	assert_int_equal(hv_keeper_keep(k, &two), -EIO);
	assert_int_equal(said, 1);
	check(k, true, 1, 1);
	hv_keeper_close(k);
	k = opened();
	check(k, true, 1, 1);
	hv_keeper_close(k);
}

#define T(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_file_holds_nothing_and_is_alone),
		T(what_is_kept_is_there_again),
		T(a_record_is_byte_exact),
		T(a_record_cut_or_spoilt_leaves_the_one_before),
		T(what_is_no_such_file_is_refused_and_left_alone),
		T(a_file_that_cannot_be_written_is_told_once),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/pr", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rmdir(dir) || failed;
}
