/* SPDX-License-Identifier: BSD-2-Clause */
/* Free space as other people's programs see it. They get the partition as a
 * file; what they print is parsed strictly, and one word that is not expected
 * ends it.
 *
 *   XFS    xfs_logprint -t says whether the log is clean, which xfs_db does
 *          not look at; xfs_db prints free extents by allocation group
 *   NTFS   ntfs-3g.probe refuses volumes that are hibernated or were not
 *          unmounted, ntfsresize those whose files use what is called free;
 *          partclone.ntfs writes a ddrescue map, `+` being used
 *   FAT    fsck.fat refuses those in use or in disorder; partclone.fat
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "freemap.h"

#include "vhd/checked.h"

#define OUTPUT_MAX (256u << 20)

/* ------------------------------------------------------------- running -- */

/* One program's run: what it printed and what it wrote to MAP_PATH (both
 * NUL-terminated and owned), and its status.
 */
struct run {
	char *out;
	char *map;
	int status; /* exit status; -1: killed */
};

#define MAP_PATH "/dev/fd/3" /* in memory: nothing is left behind */

static void run_fini(struct run *r)
{
	free(r->out);
	free(r->map);
}

static const char *const env[] = {
	"LC_ALL=C",
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	NULL,
};

/* The system's programs only, wherever the user's PATH leads. */
static bool find_program(const char *name, char *path, size_t n)
{
	static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin",
					   "/usr/sbin",	      "/usr/bin",
					   "/sbin",	      "/bin"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, n, "%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static char *read_all(int fd)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st) || st.st_size > (off_t)OUTPUT_MAX)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return NULL;
	n = pread(fd, text, (size_t)st.st_size, 0);
	if (n != st.st_size) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static int actions(posix_spawn_file_actions_t *fa, int out, int map)
{
	int rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY,
						  0);

	if (!rc)
		rc = posix_spawn_file_actions_adddup2(fa, out, 1);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(fa, out, 2);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(fa, map, 3);
	return rc;
}

static int spawn(const char *path, char *const *argv, int out, int map,
		 int *status)
{
	posix_spawn_file_actions_t fa;
	pid_t pid;
	int rc = posix_spawn_file_actions_init(&fa);

	if (rc)
		return -rc;
	rc = actions(&fa, out, map);
	if (!rc)
		rc = posix_spawn(&pid, path, &fa, NULL, argv,
				 (char *const *)(uintptr_t)env);
	posix_spawn_file_actions_destroy(&fa);
	if (rc)
		return -rc;
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int run_fds(const char *path, const char *const *argv, int out, int map,
		   struct run *r)
{
	int status = 0, rc;

	if (out < 0 || map < 0)
		return -errno;
	rc = spawn(path, (char *const *)(uintptr_t)argv, out, map, &status);
	if (rc)
		return rc;
	r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	r->out = read_all(out);
	r->map = read_all(map);
	return r->out && r->map ? 0 : -ENOMEM;
}

/* Above those that the program gets, so that none is overwritten. */
static int memory_file(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC), high;

	if (fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	close(fd);
	return high;
}

/* `package` is what to install where there is no such program. */
static int run(const struct freemap_fs *fs, const char *package,
	       const char *const *argv, struct run *r, struct vhd_err *err)
{
	char path[128];
	int out, map, rc;

	*r = (struct run){.status = -1};
	if (!find_program(argv[0], path, sizeof(path)))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"%s needs the program %s to say what is free: "
				"install the package %s",
				fs->name, argv[0], package);
	out = memory_file();
	map = memory_file();
	rc = run_fds(path, argv, out, map, r);
	if (out >= 0)
		close(out);
	if (map >= 0)
		close(map);
	if (rc)
		return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0, "cannot run %s: %s",
				argv[0], strerror(-rc));
	return 0;
}

/* --------------------------------------------------------------- numbers -- */

/* The number at *p, which moves behind it and the blanks around. */
static bool number(const char **p, int base, uint64_t *n)
{
	char *end;

	*p += strspn(*p, " \t");
	if (**p == '-' || **p == '+')
		return false;
	errno = 0;
	*n = strtoull(*p, &end, base);
	if (end == *p || errno)
		return false;
	*p = end + strspn(end, " \t");
	return true;
}

static const char *next_line(const char *p)
{
	const char *end = strchr(p, '\n');

	return end ? end + 1 : p + strlen(p);
}

static int strange(const struct freemap_fs *fs, const char *program,
		   struct vhd_err *err)
{
	return freemap_refuse(fs, err,
			      "is not understood: %s says something "
			      "unexpected",
			      program);
}

/* ------------------------------------------------------------------ XFS -- */

static int xfs_log_clean(const struct freemap_fs *fs, const char *file,
			 struct vhd_err *err)
{
	const char *const argv[] = {"xfs_logprint", "-t", file, NULL};
	struct run r;
	int rc = run(fs, "xfsprogs", argv, &r, err);

	if (!rc && (r.status || !strstr(r.out, "state: <CLEAN>")))
		rc = freemap_refuse(fs, err,
				    "has a log to be replayed: start and shut "
				    "down its machine, or mount it once");
	run_fini(&r);
	return rc;
}

/* "agblocks = 16384" */
static bool field(const char *out, const char *name, uint64_t *n)
{
	char word[40];
	const char *p;

	snprintf(word, sizeof(word), "%s = ", name);
	p = strstr(out, word);
	if (!p)
		return false;
	p += strlen(word);
	return number(&p, 0, n) && *p == '\n';
}

struct xfs_shape {
	uint64_t version;
	uint64_t group_blocks;
	uint64_t block_bytes;
	uint64_t blocks;
};

static int xfs_shape(const struct freemap_fs *fs, const char *file,
		     struct xfs_shape *s, struct vhd_err *err)
{
	const char *const argv[] = {
		"xfs_db",
		"-r",
		"-f",
		"-c",
		"sb 0",
		"-c",
		"print versionnum agblocks blocksize dblocks",
		file,
		NULL};
	struct run r;
	int rc = run(fs, "xfsprogs", argv, &r, err);

	if (!rc && (r.status || !field(r.out, "versionnum", &s->version) ||
		    !field(r.out, "agblocks", &s->group_blocks) ||
		    !field(r.out, "blocksize", &s->block_bytes) ||
		    !field(r.out, "dblocks", &s->blocks) ||
		    s->block_bytes < 512 || s->block_bytes > 65536))
		rc = strange(fs, argv[0], err);
	/* 5 has sums in each block, so that xfs_db sees what is damaged */
	if (!rc && (s->version & 15) != 5)
		rc = freemap_refuse(fs, err,
				    "is of the format before 2013, without "
				    "checksums");
	run_fini(&r);
	return rc;
}

static int xfs_extent(const struct freemap_fs *fs, const struct xfs_shape *s,
		      const char **p, struct vhd_err *err)
{
	uint64_t group, block, count, at;

	if (!number(p, 10, &group) || !number(p, 10, &block) ||
	    !number(p, 10, &count) || **p != '\n' || block >= s->group_blocks ||
	    count > s->group_blocks - block ||
	    mul_ovf(group, s->group_blocks, &at) || add_ovf(at, block, &at) ||
	    !range_ok(at, count, s->blocks))
		return strange(fs, "xfs_db", err);
	return freemap_add(fs, at * s->block_bytes, count * s->block_bytes,
			   err);
}

int freemap_xfs(const struct freemap_fs *fs, struct vhd_err *err)
{
	struct freemap_mount m;
	struct xfs_shape s = {0};
	struct run r = {.status = 0};
	const char *argv[] = {"xfs_db",	   "-r",   "-f", "-c",
			      "freesp -d", m.file, NULL};
	int rc = freemap_mount(&m, fs, err);

	if (rc)
		return rc;
	rc = xfs_log_clean(fs, m.file, err);
	if (!rc)
		rc = xfs_shape(fs, m.file, &s, err);
	if (!rc)
		rc = run(fs, "xfsprogs", argv, &r, err);
	freemap_umount(&m);
	if (!rc && r.status)
		rc = strange(fs, "xfs_db", err);
	/* extents, then a histogram with a heading of its own */
	for (const char *p = r.out; !rc && *p; p = next_line(p)) {
		const char *word = p + strspn(p, " ");

		if (!strncmp(word, "agno", 4))
			continue;
		if (!strncmp(word, "from", 4))
			break;
		rc = xfs_extent(fs, &s, &p, err);
	}
	run_fini(&r);
	return rc;
}

/* --------------------------------------------------------- NTFS and FAT -- */

/* A ddrescue map: comments, the line with the current position, then position,
 * size and status of each part. It must cover everything without a gap.
 */
static int domain(const struct freemap_fs *fs, const char *map,
		  const char *program, struct vhd_err *err)
{
	uint64_t at = 0;
	bool current = false;

	for (const char *p = map; *p; p = next_line(p)) {
		uint64_t off, len;
		int rc = 0;

		if (*p == '#')
			continue;
		if (!number(&p, 0, &off))
			return strange(fs, program, err);
		if (!current) {
			current = true;
			continue;
		}
		if (!number(&p, 0, &len) || off != at || !len ||
		    (*p != '+' && *p != '?') || p[1] != '\n' ||
		    add_ovf(off, len, &at))
			return strange(fs, program, err);
		if (*p == '?')
			rc = freemap_add(fs, off, len, err);
		if (rc)
			return rc;
	}
	return at ? 0 : strange(fs, program, err);
}

/* The last line that says something, for people. */
static void last_words(char *out, char *buf, size_t n)
{
	char *save = NULL;

	snprintf(buf, n, "it failed");
	for (char *line = strtok_r(out, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save))
		if (line[strspn(line, " \t")])
			snprintf(buf, n, "%s", line);
	cli_text_clean(buf);
}

static int partclone(const struct freemap_fs *fs, const char *program,
		     const char *file, struct vhd_err *err)
{
	const char *const argv[] = {program, "-D",	  "-q", "-F",
				    "-L",    "/dev/null", "-s", file,
				    "-O",    MAP_PATH,	  NULL};
	char words[80];
	struct run r;
	int rc = run(fs, "partclone", argv, &r, err);

	if (!rc && r.status) {
		last_words(r.out, words, sizeof(words));
		rc = freemap_refuse(fs, err, "is refused by %s: %s", program,
				    words);
	}
	if (!rc)
		rc = domain(fs, r.map, program, err);
	run_fini(&r);
	return rc;
}

static int ntfs_clean(const struct freemap_fs *fs, const char *file,
		      struct vhd_err *err)
{
	const char *const argv[] = {"ntfs-3g.probe", "--readwrite", file, NULL};
	struct run r;
	int rc = run(fs, "ntfs-3g", argv, &r, err);

	run_fini(&r);
	if (rc || r.status == 0)
		return rc;
	if (r.status == 14)
		return freemap_refuse(fs, err,
				      "belongs to a Windows that hibernates "
				      "(fast startup does): shut it down in "
				      "full");
	if (r.status == 15)
		return freemap_refuse(fs, err,
				      "was not unmounted: start and shut down "
				      "its machine, or run chkdsk");
	return freemap_refuse(fs, err, "is refused by %s (status %d)", argv[0],
			      r.status);
}

/* It walks all files and compares what they use with the bitmap. */
static int ntfs_sound(const struct freemap_fs *fs, const char *file,
		      struct vhd_err *err)
{
	const char *const argv[] = {"ntfsresize", "--info", "--no-progress-bar",
				    file, NULL};
	struct run r;
	int rc = run(fs, "ntfs-3g", argv, &r, err);

	run_fini(&r);
	if (rc || r.status == 0)
		return rc;
	return freemap_refuse(fs, err,
			      "is in disorder, or full of bad sectors: run "
			      "chkdsk first");
}

static int fat_sound(const struct freemap_fs *fs, const char *file,
		     struct vhd_err *err)
{
	const char *const argv[] = {"fsck.fat", "-n", file, NULL};
	struct run r;
	int rc = run(fs, "dosfstools", argv, &r, err);

	run_fini(&r);
	if (rc || r.status == 0)
		return rc;
	return freemap_refuse(fs, err,
			      "was not unmounted, or is in disorder: let "
			      "fsck.fat or chkdsk look first");
}

int freemap_ntfs(const struct freemap_fs *fs, struct vhd_err *err)
{
	struct freemap_mount m;
	int rc = freemap_mount(&m, fs, err);

	if (rc)
		return rc;
	rc = ntfs_clean(fs, m.file, err);
	if (!rc)
		rc = ntfs_sound(fs, m.file, err);
	if (!rc)
		rc = partclone(fs, "partclone.ntfs", m.file, err);
	freemap_umount(&m);
	return rc;
}

int freemap_fat(const struct freemap_fs *fs, struct vhd_err *err)
{
	struct freemap_mount m;
	int rc = freemap_mount(&m, fs, err);

	if (rc)
		return rc;
	rc = fat_sound(fs, m.file, err);
	if (!rc)
		rc = partclone(fs, "partclone.fat", m.file, err);
	freemap_umount(&m);
	return rc;
}
