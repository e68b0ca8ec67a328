/* SPDX-License-Identifier: BSD-2-Clause */
/* How long from exec(2) of a command that runs a guest to the guest's first
 * instruction: the guest is a kernel of 20 bytes, made here, that writes one
 * byte to the serial port and switches itself off. Measured is the time to that
 * byte, so an exit and a pipe are part of it.
 *
 * usage: first KERNEL RUNS COMMAND...
 *
 * KERNEL is made first. Prints the median and the least of RUNS in ms.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 1000
#define SECTOR 512

extern char **environ;

static int give_up(const char *what)
{
	fprintf(stderr, "first: %s: %s\n", what, strerror(errno));
	return 1;
}

static void put(uint8_t *at, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0) {
		*at++ = (uint8_t)v;
		v >>= 8;
	}
}

/* A bzImage of one setup sector; Linux Documentation/x86/boot.rst. */
static int make_kernel(const char *path)
{
	static const uint8_t code[] = {
		0x66, 0xba, 0xf8, 0x03,	     /* mov $0x3f8, %dx */
		0xb0, '!', 0xee,	     /* out '!' */
		0x66, 0xba, 0x04, 0x06,	     /* mov $0x604, %dx */
		0x66, 0xb8, 0x00, 0x34,	     /* mov $0x3400, %ax: S5 */
		0x66, 0xef, 0xf4, 0xeb, 0xfd /* out; hlt; again */
	};
	static uint8_t image[4 * SECTOR];
	FILE *f = fopen(path, "w");

	put(image + 0x1f1, 1, 1);
	put(image + 0x1f4, 2 * SECTOR / 16, 4);
	put(image + 0x1fe, 0xaa55, 2);
	put(image + 0x200, 0x6aeb, 2);
	memcpy(image + 0x202, "HdrS", 4);
	put(image + 0x206, 0x20f, 2);
	put(image + 0x211, 1, 1);
	put(image + 0x22c, 0x7fffffff, 4);
	put(image + 0x236, 1, 2); /* a 64-bit entry */
	put(image + 0x238, 255, 4);
	put(image + 0x258, 1 << 20, 8);
	put(image + 0x260, SECTOR, 4);
	memcpy(image + 2 * SECTOR + 0x200, code, sizeof(code));
	if (!f || fwrite(image, sizeof(image), 1, f) != 1 || fclose(f) != 0)
		return give_up(path);
	return 0;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* -1.0 on failure. */
static double run(char **argv)
{
	posix_spawn_file_actions_t actions;
	double began, byte = -1.0;
	int out[2], status;
	char c = 0;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return -1.0;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	began = now_ms();
	errno = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	close(out[1]);
	if (errno == 0) {
		if (read(out[0], &c, 1) == 1 && c == '!')
			byte = now_ms() - began;
		if (waitpid(pid, &status, 0) != pid || status != 0)
			byte = -1.0;
	}
	close(out[0]);
	posix_spawn_file_actions_destroy(&actions);
	return byte;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double ms[RUNS_MAX];
	int runs = argc > 3 ? atoi(argv[2]) : 0;

	if (runs < 1 || runs > RUNS_MAX) {
		fprintf(stderr, "usage: first KERNEL RUNS COMMAND...\n");
		return 2;
	}
	if (make_kernel(argv[1]))
		return 1;
	for (int i = -1; i < runs; i++) { /* the first one warms the caches */
		double t = run(argv + 3);

		if (t < 0) {
			fprintf(stderr, "first: the guest did not run\n");
			return 1;
		}
		if (i >= 0)
			ms[i] = t;
	}
	qsort(ms, (size_t)runs, sizeof(ms[0]), by_value);
	printf("%.2f %.2f\n", ms[runs / 2], ms[0]);
	return 0;
}
