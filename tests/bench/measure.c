/* SPDX-License-Identifier: BSD-2-Clause */
/* Run a command and say what it took: wall time in ms, processor time of user
 * and system in ms, most memory held in KiB.
 *
 * usage: measure [-c FILE]... [-w FILE]... OUTPUT COMMAND...
 *
 * -c takes a file out of the page cache before (it is synced for that), -w
 * reads it into the cache. The line is appended to OUTPUT. The exit status is
 * the command's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int give_up(const char *what)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	return 125;
}

static int prepare(const char *path, int warm)
{
	static char buf[1 << 20];
	int fd = open(path, O_RDONLY);
	ssize_t n = 0;

	if (fd < 0)
		return give_up(path);
	if (warm) {
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			;
	} else if (fsync(fd) == 0) {
		errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		n = errno ? -1 : 0;
	}
	if (n < 0)
		return give_up(path);
	close(fd);
	return 0;
}

static double ms_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double ms_of(struct timeval t)
{
	return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static int run(const char *output, char **command)
{
	FILE *f = fopen(output, "a");
	double from = ms_now(), took;
	struct rusage use;
	int status;
	pid_t pid;

	if (!f)
		return give_up(output);
	pid = fork();
	if (pid == 0) {
		execvp(command[0], command);
		_exit(give_up(command[0]));
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0)
		return give_up(command[0]);
	took = ms_now() - from;
	fprintf(f, "%.1f %.1f %ld\n", took,
		ms_of(use.ru_utime) + ms_of(use.ru_stime), use.ru_maxrss);
	if (fclose(f))
		return give_up(output);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

int main(int argc, char **argv)
{
	int option, rc = 0;

	while (!rc && (option = getopt(argc, argv, "+c:w:")) > 0)
		rc = option == '?' ? 125 : prepare(optarg, option == 'w');
	if (rc)
		return rc;
	if (argc - optind < 2) {
		fprintf(stderr, "measure: needs an output and a command\n");
		return 125;
	}
	return run(argv[optind], argv + optind + 1);
}
