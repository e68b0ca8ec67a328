/* SPDX-License-Identifier: BSD-2-Clause */
/* Files on a journalled file system, written without an end by several
 * processes at once, each told only when it has to be there after a crash; and
 * a look at what is there. A static program for the guest.
 *
 * usage: keep DIR LABEL SEED          in DIR, which is made
 *        keep --look DIR LABEL SEED
 *
 * "guest: kept LABEL/NAME VERSION SUM BYTES" is one write to the console, after
 * fsync of the file and of its directory came back; SUM is cksum(1)'s. There
 * are files that are replaced (written beside, synced, renamed), new ones in
 * new directories, and one that grows by records, synced by fdatasync; beside
 * them, never synced, a file written all over, and names that come and go.
 *
 * --look prints "guest: has LABEL/NAME VERSION SUM BYTES whole|torn" of each
 * file there but noise and the one being written beside. A file says in its
 * first line which it is; the rest follows from that and the seed, so that a
 * piece of another one, an older version or zeros are told. One that is new and
 * was never told of may be torn.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES_MAX (48u << 10)
#define RECORD_BYTES 1000u
#define SLOTS 12u	 /* that are replaced */
#define DIRECTORY 8u	 /* new files of one */
#define NEW_MAX 400u	 /* files, and records: the disk is not filled */
#define NOISE_BYTES (24u << 20)
#define TOLD_LOG "log"	 /* the one that grows */
#define NOISE "noise"

static const char *label;
static uint64_t seed;
static uint8_t buf[NEW_MAX * RECORD_BYTES > BYTES_MAX
			   ? NEW_MAX * RECORD_BYTES
			   : BYTES_MAX];

__attribute__((noreturn)) static void die(const char *what)
{
	printf("guest: keep failed: %s: %s: %s\n", label, what,
	       strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* As cksum(1): CRC-32 with the length behind the bytes. */
static uint32_t cksum(const uint8_t *p, size_t len)
{
	uint32_t crc = 0;
	size_t more = len;

	for (size_t i = 0; i < len || more; i++) {
		uint8_t byte = i < len ? p[i] : (uint8_t)more;

		if (i >= len)
			more >>= 8;
		crc ^= (uint32_t)byte << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7u : 0);
	}
	return ~crc;
}

/* -------------------------------------------------------------- content -- */

/* The state from which a file's bytes follow. */
static uint64_t state_of(const char *name, unsigned version)
{
	uint64_t state = seed ^ (uint64_t)version << 32;

	for (; *name; name++)
		state = next(&state) ^ (uint8_t)*name;
	return state;
}

/* `bytes` of a version: a line that names it, then noise. */
static void fill(uint8_t *to, size_t bytes, const char *name, unsigned version)
{
	uint64_t state = state_of(name, version);
	char line[96];
	int n = snprintf(line, sizeof(line), "%s/%s %u %zu\n", label, name,
			 version, bytes);

	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t v = next(&state);

		memcpy(to + i, &v, bytes - i < 8 ? bytes - i : 8);
	}
	memcpy(to, line, (size_t)n < bytes ? (size_t)n : bytes);
}

static size_t length_of(const char *name, unsigned version)
{
	uint64_t state = ~state_of(name, version);

	return 200 + next(&state) % (BYTES_MAX - 200) / (1 + next(&state) % 12);
}

/* --------------------------------------------------------------- writing -- */

static void tell(const char *name, unsigned version, const uint8_t *p,
		 size_t bytes)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "guest: kept %s/%s %u %u %zu\n",
			 label, name, version, cksum(p, bytes), bytes);

	if (write(1, line, (size_t)n) != n)
		_exit(1);
}

static void write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			die("write");
		p += n;
		len -= (size_t)n;
	}
}

static void sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || fsync(fd) < 0 || close(fd) < 0)
		die(path);
}

static void make(const char *path, const char *name, unsigned version)
{
	size_t len = length_of(name, version);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		die(path);
	fill(buf, len, name, version);
	write_all(fd, buf, len);
	if (fsync(fd) < 0 || close(fd) < 0)
		die("fsync");
}

static void replace(void)
{
	char name[16];

	for (unsigned n = 0;; n++) {
		snprintf(name, sizeof(name), "slot%u", n % SLOTS);
		make("next", name, n / SLOTS);
		if (rename("next", name) < 0)
			die("rename");
		sync_dir(".");
		tell(name, n / SLOTS, buf, length_of(name, n / SLOTS));
	}
}

static void create(void)
{
	char name[32], dir[16];

	for (unsigned n = 0; n < NEW_MAX; n++) {
		snprintf(dir, sizeof(dir), "d%u", n / DIRECTORY);
		if (n % DIRECTORY == 0) {
			if (mkdir(dir, 0755) < 0)
				die(dir);
			sync_dir(".");
		}
		snprintf(name, sizeof(name), "%s/%u", dir, n);
		make(name, name, 0);
		sync_dir(dir);
		tell(name, 0, buf, length_of(name, 0));
	}
}

static void append(void)
{
	int fd = open(TOLD_LOG, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		die(TOLD_LOG);
	sync_dir(".");
	for (unsigned n = 0; n < NEW_MAX; n++) {
		fill(buf + n * RECORD_BYTES, RECORD_BYTES, TOLD_LOG, n);
		write_all(fd, buf + n * RECORD_BYTES, RECORD_BYTES);
		if (fdatasync(fd) < 0)
			die("fdatasync");
		tell(TOLD_LOG, n + 1, buf, (n + 1) * RECORD_BYTES);
	}
}

/* Nobody waits for any of it. */
static void disturb(void)
{
	int fd = open(NOISE, O_WRONLY | O_CREAT, 0644);
	uint64_t state = seed;
	char name[32];

	for (unsigned n = 0;; n++) {
		size_t len = 512 + next(&state) % (6 << 10);

		fill(buf, len, NOISE, n);
		if (fd < 0 || pwrite(fd, buf, len,
				     (off_t)(next(&state) % NOISE_BYTES)) < 0)
			die(NOISE);
		snprintf(name, sizeof(name), NOISE "%u", n % 64);
		if (n & 64 ? unlink(name) < 0 && errno != ENOENT
			   : mknod(name, S_IFREG | 0644, 0) < 0 &&
				     errno != EEXIST)
			die(name);
		usleep(20000);
	}
}

static void work(void)
{
	static void (*const all[])(void) = {replace, create, append, disturb};
	int status;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			all[i]();
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		;
}

/* --------------------------------------------------------------- looking -- */

static size_t content(const char *path, uint8_t *to, size_t room)
{
	int fd = open(path, O_RDONLY);
	size_t got = 0;
	ssize_t n = 0;

	if (fd < 0)
		die(path);
	while (got < room && (n = read(fd, to + got, room - got)) > 0)
		got += (size_t)n;
	if (n < 0 || close(fd) < 0)
		die(path);
	return got;
}

static void say_has(const char *name, unsigned version, const uint8_t *p,
		    size_t bytes, bool whole)
{
	printf("guest: has %s/%s %u %u %zu %s\n", label, name, version,
	       cksum(p, bytes), bytes, whole ? "whole" : "torn");
}

/* Behind its last whole record may be one that nobody was promised. */
static void look_log(void)
{
	size_t got = content(TOLD_LOG, buf, sizeof(buf));
	uint8_t record[RECORD_BYTES];
	unsigned n = 0;

	for (; (n + 1) * RECORD_BYTES <= got; n++) {
		fill(record, RECORD_BYTES, TOLD_LOG, n);
		if (memcmp(record, buf + n * RECORD_BYTES, RECORD_BYTES) != 0)
			break;
	}
	say_has(TOLD_LOG, n, buf, n * RECORD_BYTES, true);
}

static void look_file(const char *name)
{
	static uint8_t want[BYTES_MAX];
	size_t got = content(name, buf, sizeof(buf)), len;
	unsigned version = 0;
	char line[96];

	snprintf(line, sizeof(line), "%.*s", (int)(got < 95 ? got : 95),
		 (const char *)buf);
	(void)sscanf(line, "%*s %u", &version);
	len = length_of(name, version);
	fill(want, len, name, version);
	say_has(name, version, buf, got,
		got == len && memcmp(buf, want, len) == 0);
}

/* What is not renamed yet, or was made by disturb(), promises nothing. */
static bool is_promised(const char *name)
{
	return name[0] != '.' && strcmp(name, "next") != 0 &&
	       strncmp(name, NOISE, strlen(NOISE)) != 0;
}

static void look(const char *dir)
{
	DIR *d = opendir(*dir ? dir : ".");
	struct dirent *e;
	char name[300];
	struct stat st;

	if (!d)
		die(dir);
	while ((e = readdir(d))) {
		snprintf(name, sizeof(name), "%s%s%s", dir, *dir ? "/" : "",
			 e->d_name);
		if (!is_promised(e->d_name))
			continue;
		if (stat(name, &st) < 0)
			die(name);
		if (S_ISDIR(st.st_mode))
			look(name);
		else if (strcmp(name, TOLD_LOG) == 0)
			look_log();
		else
			look_file(name);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	bool looks = argc > 1 && strcmp(argv[1], "--look") == 0;

	argv += looks;
	if (argc - looks != 4)
		return 2;
	label = argv[2];
	seed = strtoull(argv[3], NULL, 0);
	if (!looks && mkdir(argv[1], 0755) < 0)
		die(argv[1]);
	if (chdir(argv[1]) < 0)
		die(argv[1]);
	if (looks) {
		look("");
		return 0;
	}
	sync_dir("..");
	work();
	return 0;
}
