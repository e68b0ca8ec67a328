/* SPDX-License-Identifier: BSD-2-Clause */
/* Chains of differencing disks, and large tables, for tests/bench/chain.sh.
 * Parents are looked for in the current directory.
 *
 * usage: chain write PATH SEED COUNT
 *            random 4 KiB writes
 *        chain memory PATH
 *            KiB that the open chain takes, every bitmap read
 *        chain open PATH
 *            microseconds to open it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vhd/vhd.h"

#define IO_BYTES 4096u

static int complain(const char *what, const struct vhd_err *err)
{
	fprintf(stderr, "chain: %s: %s\n", what, err->text);
	return 1;
}

static struct vhd *opened(const char *path, bool writable)
{
	struct vhd_open_opts opts = {
		.writable = writable,
		.parent_dir = ".",
	};
	struct vhd *img = NULL;
	struct vhd_err err = {0};

	if (vhd_open(path, &opts, &img, &err))
		complain(path, &err);
	return img;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static int write_random(const char *path, uint64_t seed, unsigned count)
{
	static uint64_t buf[IO_BYTES / sizeof(uint64_t)];
	uint64_t random = seed * 0x9e3779b97f4a7c15ull + 1;
	struct vhd *img = opened(path, true);
	struct vhd_err err = {0};
	uint64_t places;
	int rc = 0;

	if (!img)
		return 1;
	places = vhd_get_info(img)->size_bytes / IO_BYTES;
	for (unsigned i = 0; i < count && !rc; i++) {
		for (unsigned k = 0; k < sizeof(buf) / sizeof(buf[0]); k++)
			buf[k] = random_next(&random);
		rc = vhd_write(img, random_next(&random) % places * IO_BYTES,
			       buf, sizeof(buf), &err);
	}
	if (!rc)
		rc = vhd_flush(img, &err);
	if (rc)
		return complain(path, &err);
	return vhd_close(img, &err) ? complain(path, &err) : 0;
}

/* A value of /proc/self/status in KiB. */
static long status(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long value = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			value = strtol(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return value;
}

static int memory(const char *path)
{
	long before = status("VmRSS:");
	struct vhd *img = opened(path, false);
	struct vhd_err err = {0};
	uint64_t sectors;

	if (!img)
		return 1;
	sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;
	for (uint64_t lba = 0; lba < sectors;) {
		struct vhd_run run;
		unsigned layer;

		if (vhd_map_chain(img, lba, sectors - lba, &run, &layer, &err))
			return complain(path, &err);
		lba += run.sectors;
	}
	printf("%ld\n", status("VmRSS:") - before);
	vhd_abandon(img);
	return 0;
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec * 1e-3;
}

/* The first opening of a process: its memory is new, as a user's is. */
static int open_once(const char *path)
{
	double start = now_us();
	struct vhd *img = opened(path, false);
	double took = now_us() - start;

	if (!img)
		return 1;
	vhd_abandon(img);
	printf("%.0f\n", took);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "write"))
		return write_random(argv[2], strtoull(argv[3], NULL, 10),
				    (unsigned)atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "memory"))
		return memory(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "open"))
		return open_once(argv[2]);
	fprintf(stderr, "usage: chain write PATH SEED COUNT\n"
			"       chain memory PATH\n"
			"       chain open PATH\n");
	return 2;
}
