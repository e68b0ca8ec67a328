/* SPDX-License-Identifier: BSD-2-Clause */
/* A partition's file system on a directory. Root has the kernel do it, over a
 * loop device that goes away by itself, where the kernel knows the file system;
 * everybody else needs a program that does it in user space.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount.h"

struct driver {
	const char *fs_type;
	const char *program;
	const char *package;
};

static const struct driver drivers[] = {
	{"ext2", "fuse2fs", "fuse2fs"},
	{"ext3", "fuse2fs", "fuse2fs"},
	{"ext4", "fuse2fs", "fuse2fs"},
	{"ntfs", "ntfs-3g", "ntfs-3g"},
	{"exfat", "mount.exfat-fuse", "exfat-fuse"},
};

static const struct driver *driver_of(const char *fs_type)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (!strcmp(drivers[i].fs_type, fs_type))
			return &drivers[i];
	return NULL;
}

/* Loaded already; others mount(8) may still find a module for. */
static bool kernel_knows(const char *fs_type)
{
	FILE *f = fopen("/proc/filesystems", "re");
	char line[80], *word;
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "nodev", 5))
			continue;
		word = line + strspn(line, " \t");
		word[strcspn(word, "\n")] = '\0';
		found = !strcmp(word, fs_type);
	}
	if (f)
		fclose(f);
	return found;
}

/* Its exit status; 127: not to be found. */
static int spawn(char *const argv[])
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (child < 0)
		return 126;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int by_kernel(const char *prog, char *file, char *dir, char *options)
{
	char *argv[] = {"mount", "-o", options, file, dir, NULL};
	int status = spawn(argv);

	if (!status)
		return CLI_OK;
	if (status == 127)
		cli_tell("%s: there is no mount(8)\n", prog);
	else
		cli_tell(
			"%s: %s: the file system could not be mounted: see "
			"above; where its journal is not empty, --overlay may "
			"help\n",
			prog, dir);
	return CLI_REFUSED;
}

/* Of what is seen in the directory. */
static dev_t device_of(const char *dir)
{
	struct stat st;

	return stat(dir, &st) ? 0 : st.st_dev;
}

static int by_driver(const char *prog, const struct driver *d, char *file,
		     char *dir, char *options)
{
	char *program = strdup(d->program);
	char *argv[] = {program, file, dir, "-o", options, NULL};
	dev_t before = device_of(dir);
	int status = program ? spawn(argv) : 126;

	free(program);
	/* fuse2fs reports success where it had no right to mount. */
	if (!status && device_of(dir) != before)
		return CLI_OK;
	if (status == 127)
		cli_tell(
			"%s: %s needs %s, which is not installed: apt install "
			"%s\n",
			prog, d->fs_type, d->program, d->package);
	else
		cli_tell("%s: %s: %s could not mount it\n", prog, dir,
			d->program);
	return CLI_REFUSED;
}

int mount_part(const char *prog, const char *file, const char *fs_type,
	       const char *dir, bool writable, const char *options)
{
	const struct driver *d = driver_of(fs_type);
	bool root = geteuid() == 0;
	bool kernel = root && (!d || kernel_knows(fs_type));
	char *from = strdup(file), *to = strdup(dir), *words = NULL;
	int status = CLI_IO;

	if (asprintf(&words, "%s%s%s%s", writable ? "rw" : "ro",
		     kernel ? ",loop" : "", options ? "," : "",
		     options ? options : "") < 0)
		words = NULL;
	if (!from || !to || !words)
		cli_tell("%s: out of memory\n", prog);
	else if (kernel)
		status = by_kernel(prog, from, to, words);
	else if (d)
		status = by_driver(prog, d, from, to, words);
	else
		cli_tell(
			"%s: only root can mount %s; its files are there "
			"without --partition\n",
			prog, fs_type);
	free(from);
	free(to);
	free(words);
	return !root && !d ? CLI_REFUSED : status;
}
