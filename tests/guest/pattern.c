/* SPDX-License-Identifier: BSD-2-Clause */
/* Seeded writes to a disk: the same run on a block device in a guest and on a
 * plain file outside leaves the same bytes. A static program, for both sides.
 *
 * usage: pattern FILE SEED OPERATIONS [MARK]
 *        pattern --survived FILE BEFORE AFTER
 *
 * Operations are writes of 512 bytes to 1 MiB at sector offsets all over the
 * disk (and often near those before, so that they overlap), some of zeros,
 * with a flush now and then. On a block device half of them go around the page
 * cache. With MARK, "MARK n" is printed after each flush: operations 0..n are
 * durable then.
 *
 * --survived: where BEFORE and AFTER (the disk some operations later) agree,
 * FILE must agree with them; elsewhere each sector is one of the two states or
 * one in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define LENGTH_MAX (1u << 20)
#define FLUSH_EVERY 16u

static uint64_t state;

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t size_of(int fd, bool *device)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(fd, &st) < 0)
		die("stat");
	*device = S_ISBLK(st.st_mode);
	if (!*device)
		return (uint64_t)st.st_size;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		die("size");
	return bytes;
}

static void write_all(int fd, const uint8_t *buf, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, (off_t)off);

		if (n <= 0)
			die("write");
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
}

static void fill(uint8_t *buf, size_t len, bool zero)
{
	if (zero) {
		memset(buf, 0, len);
		return;
	}
	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = next();

		memcpy(buf + i, &v, 8);
	}
}

static int survived(char **names)
{
	FILE *f[3];
	uint8_t sector[3][SECTOR];
	unsigned long long at = 0, open_ones = 0, bad = 0;

	for (int i = 0; i < 3; i++) {
		f[i] = fopen(names[i], "r");
		if (!f[i])
			die(names[i]);
	}
	for (; fread(sector[1], SECTOR, 1, f[1]) == 1; at++) {
		if (fread(sector[0], SECTOR, 1, f[0]) != 1 ||
		    fread(sector[2], SECTOR, 1, f[2]) != 1)
			die("a file is too short");
		if (memcmp(sector[1], sector[2], SECTOR) != 0)
			open_ones++;
		else if (memcmp(sector[0], sector[1], SECTOR) != 0 && !bad++)
			printf("sector %llu was lost\n", at);
	}
	printf("%llu sectors, %llu undecided, %llu lost\n", at, open_ones, bad);
	return bad || at == 0 || open_ones > at / 2;
}

int main(int argc, char **argv)
{
	uint64_t size, last = 0;
	unsigned count;
	bool device;
	uint8_t *buf;
	int fd, direct_fd = -1;

	if (argc == 5 && strcmp(argv[1], "--survived") == 0)
		return survived(argv + 2);
	if (argc < 4)
		return 2;
	state = strtoull(argv[2], NULL, 0);
	count = (unsigned)strtoul(argv[3], NULL, 0);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		die(argv[1]);
	size = size_of(fd, &device);
	if (device) {
		direct_fd = open(argv[1], O_RDWR | O_DIRECT);
		if (direct_fd < 0)
			die("open direct");
	}
	if (posix_memalign((void **)&buf, 4096, LENGTH_MAX) != 0)
		die("memory");
	for (unsigned i = 0; i < count; i++) {
		uint64_t r = next(), sectors = size / SECTOR, at;
		size_t len = (size_t)(1u << (r & 15)) * SECTOR;

		len -= (size_t)(r >> 8) % (len / SECTOR) * SECTOR;
		if (len > LENGTH_MAX)
			len = LENGTH_MAX;
		/* Every other one starts near the one before. */
		at = r >> 40 & 1 ? last + (r >> 41) % 512 : (r >> 20) % sectors;
		if (at * SECTOR + len > size)
			at = sectors - len / SECTOR;
		last = at;
		fill(buf, len, (r >> 62) == 0);
		write_all(direct_fd >= 0 && (r >> 7 & 1) ? direct_fd : fd, buf,
			  len, at * SECTOR);
		if (i % FLUSH_EVERY == FLUSH_EVERY - 1 || i == count - 1) {
			if (fsync(fd) < 0)
				die("flush");
			if (argc > 4)
				printf("%s %u\n", argv[4], i);
			fflush(stdout);
		}
	}
	return close(fd) < 0 ? 1 : 0;
}
