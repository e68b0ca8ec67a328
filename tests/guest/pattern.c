/* SPDX-License-Identifier: BSD-2-Clause */
/* Seeded writes to a disk: the same run on a block device in a guest and on a
 * plain file outside leaves the same bytes. A static program, for both sides.
 *
 * usage: pattern FILE SEED OPERATIONS [MARK]
 *        pattern --survived FILE SEED DURABLE OPERATIONS
 *
 * Operations are writes of 512 bytes to 1 MiB at sector offsets all over the
 * disk (and often near those before, so that they overlap), some of zeros,
 * with a flush now and then. On a block device half of them go around the page
 * cache, and zeros are made by giving the space back (BLKDISCARD) if it can;
 * how often that was done is printed. With MARK, "MARK n" is printed after each flush: operations 0..n are
 * durable then.
 *
 * --survived: operations 0..DURABLE were flushed, up to OPERATIONS may have
 * begun. Each sector of FILE must be as the flush left it or as one of the later
 * operations wrote it.
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

struct op {
	uint64_t at; /* sector */
	size_t len;
	bool direct;
	bool zero;
};

/* The next operation on a disk of that size, its bytes into `buf`. */
static struct op op_next(uint64_t sectors, uint64_t last, uint8_t *buf)
{
	uint64_t r = next();
	struct op op = {.len = (size_t)(1u << (r & 15)) * SECTOR,
			.direct = r >> 7 & 1};

	op.len -= (size_t)(r >> 8) % (op.len / SECTOR) * SECTOR;
	if (op.len > LENGTH_MAX)
		op.len = LENGTH_MAX;
	/* Every other one starts near the one before. */
	op.at = r >> 40 & 1 ? last + (r >> 41) % 512 : (r >> 20) % sectors;
	if (op.at * SECTOR + op.len > sectors * SECTOR)
		op.at = sectors - op.len / SECTOR;
	op.zero = r >> 62 == 0;
	fill(buf, op.len, op.zero);
	return op;
}

static uint8_t *need(size_t bytes)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, bytes) != 0)
		die("memory");
	memset(p, 0, bytes);
	return p;
}

static uint8_t *content(const char *name, uint64_t *bytes)
{
	FILE *f = fopen(name, "r");
	uint8_t *got;
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0)
		die(name);
	*bytes = (uint64_t)st.st_size;
	got = need((size_t)*bytes);
	if (fread(got, 1, (size_t)*bytes, f) != *bytes)
		die(name);
	(void)fclose(f);
	return got;
}

static void accept(bool *ok, const uint8_t *got, const uint8_t *want,
		   uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		ok[i] = ok[i] ||
			memcmp(got + i * SECTOR, want + i * SECTOR, SECTOR) ==
				0;
}

static int survived(const char *name, unsigned durable, unsigned count)
{
	uint64_t bytes, sectors, last = 0, bad = 0;
	uint8_t *got = content(name, &bytes);
	uint8_t *model = need((size_t)bytes), *buf = need(LENGTH_MAX);
	bool *ok;

	sectors = bytes / SECTOR;
	ok = (bool *)need((size_t)sectors);
	for (unsigned i = 0; i < count; i++) {
		struct op op = op_next(sectors, last, buf);

		last = op.at;
		if (i <= durable)
			memcpy(model + op.at * SECTOR, buf, op.len);
		else
			accept(ok + op.at, got + op.at * SECTOR, buf,
			       op.len / SECTOR);
	}
	accept(ok, got, model, sectors);
	for (uint64_t at = 0; at < sectors; at++)
		if (!ok[at] && !bad++)
			printf("sector %llu was lost\n",
			       (unsigned long long)at);
	printf("%llu sectors, %llu lost\n", (unsigned long long)sectors,
	       (unsigned long long)bad);
	return bad || sectors == 0;
}

/* A device that cannot says so before anything is done. */
static bool discard(int fd, const struct op *op)
{
	uint64_t range[2] = {op->at * SECTOR, op->len};

	if (ioctl(fd, BLKDISCARD, range) == 0)
		return true;
	if (errno != EOPNOTSUPP)
		die("discard");
	return false;
}

static void run(const char *name, unsigned count, const char *mark)
{
	uint8_t *buf = need(LENGTH_MAX);
	uint64_t sectors, last = 0;
	unsigned discarded = 0;
	int fd, direct_fd = -1;
	bool device;

	fd = open(name, O_RDWR);
	if (fd < 0)
		die(name);
	sectors = size_of(fd, &device) / SECTOR;
	if (device) {
		direct_fd = open(name, O_RDWR | O_DIRECT);
		if (direct_fd < 0)
			die("open direct");
	}
	for (unsigned i = 0; i < count; i++) {
		struct op op = op_next(sectors, last, buf);

		last = op.at;
		if (device && op.zero && discard(fd, &op))
			discarded++;
		else
			write_all(direct_fd >= 0 && op.direct ? direct_fd : fd,
				  buf, op.len, op.at * SECTOR);
		if (i % FLUSH_EVERY != FLUSH_EVERY - 1 && i != count - 1)
			continue;
		if (fsync(fd) < 0)
			die("flush");
		if (mark)
			printf("%s %u\n", mark, i);
		fflush(stdout);
	}
	if (device)
		printf("guest: %s: %u ranges discarded\n", name, discarded);
	if (close(fd) < 0)
		die("close");
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "--survived") == 0) {
		state = strtoull(argv[3], NULL, 0);
		return survived(argv[2], (unsigned)strtoul(argv[4], NULL, 0),
				(unsigned)strtoul(argv[5], NULL, 0));
	}
	if (argc < 4)
		return 2;
	state = strtoull(argv[2], NULL, 0);
	run(argv[1], (unsigned)strtoul(argv[3], NULL, 0),
	    argc > 4 ? argv[4] : NULL);
	return 0;
}
