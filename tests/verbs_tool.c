/* SPDX-License-Identifier: BSD-2-Clause */
/* What a shell cannot do; for tests/verbs.sh. Written from the format's
 * tables, without the library.
 *
 * usage: verbs_tool seal FILE OFFSET LENGTH   right checksum of a footer (512)
 *                                             or dynamic header (1024)
 *        verbs_tool reverse FILE              an empty dynamic image becomes
 *                                             full, blocks in reverse order,
 *                                             without writing data
 *        verbs_tool cost COMMAND...           run it; print milliseconds of
 *                                             processor, KiB of memory, and
 *                                             milliseconds on the wall
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t get(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static void read_at(int fd, void *buf, size_t n, uint64_t at)
{
	if (pread(fd, buf, n, (off_t)at) != (ssize_t)n)
		die("read");
}

static void write_at(int fd, const void *buf, size_t n, uint64_t at)
{
	if (pwrite(fd, buf, n, (off_t)at) != (ssize_t)n)
		die("write");
}

static int seal(const char *path, uint64_t at, size_t len)
{
	size_t field = len == 512 ? 64 : 36;
	int fd = open(path, O_RDWR);
	uint8_t b[1024];
	uint32_t sum = 0;

	if (fd < 0 || (len != 512 && len != 1024))
		die(path);
	read_at(fd, b, len, at);
	put32(b + field, 0);
	for (size_t i = 0; i < len; i++)
		sum += b[i];
	put32(b + field, ~sum);
	write_at(fd, b, len, at);
	return close(fd);
}

static int reverse(const char *path)
{
	int fd = open(path, O_RDWR);
	uint8_t footer[512], header[1024], *table;
	uint64_t at, first, stride;
	uint32_t entries, block, bitmap;

	if (fd < 0)
		die(path);
	read_at(fd, footer, sizeof(footer), 0);
	read_at(fd, header, sizeof(header), get(footer + 16, 8));
	at = get(header + 16, 8);
	entries = (uint32_t)get(header + 28, 4);
	block = (uint32_t)get(header + 32, 4);
	bitmap = (block / 4096 + 511) / 512 * 512;
	stride = (uint64_t)block + bitmap;
	first = (at + (uint64_t)entries * 4 + 511) / 512 * 512;
	table = malloc((size_t)entries * 4);
	if (!table)
		die("memory");
	for (uint32_t i = 0; i < entries; i++)
		put32(table + (size_t)i * 4,
		      (uint32_t)((first + (entries - 1 - i) * stride) / 512));
	write_at(fd, table, (size_t)entries * 4, at);
	write_at(fd, footer, sizeof(footer), first + entries * stride);
	free(table);
	return close(fd);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int cost(char **argv)
{
	long start = now_ms();
	struct rusage r;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (dup2(2, 1) < 0)
			die("dup2");
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (wait4(pid, &status, 0, &r) < 0)
		die("wait");
	printf("%ld %ld %ld\n",
	       r.ru_utime.tv_sec * 1000 + r.ru_utime.tv_usec / 1000 +
		       r.ru_stime.tv_sec * 1000 + r.ru_stime.tv_usec / 1000,
	       r.ru_maxrss, now_ms() - start);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "seal"))
		return seal(argv[2], strtoull(argv[3], NULL, 0),
			    strtoul(argv[4], NULL, 0));
	if (argc == 3 && !strcmp(argv[1], "reverse"))
		return reverse(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "cost"))
		return cost(argv + 2);
	return 2;
}
