/* SPDX-License-Identifier: BSD-2-Clause */
/* A part of a disk as a file, by libfuse: a directory of its own with one file
 * in it, in which nothing can be written. A process beside this one serves it,
 * so that the programs that read it can be waited for; it ends with this one
 * whatever happens to that, and takes the directory away. It is in a session
 * of its own: what a terminal sends to a whole group must not end it first.
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "freemap.h"

#define FILE_NAME "/partition"
#define FILE_MODE (S_IFREG | 0600) /* some open for writing and then do not */

static const struct freemap_fs *served(void)
{
	return fuse_get_context()->private_data;
}

static int op_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *fi)
{
	(void)fi;
	memset(st, 0, sizeof(*st));
	st->st_uid = getuid();
	st->st_gid = getgid();
	if (!strcmp(path, "/")) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, FILE_NAME) != 0)
		return -ENOENT;
	st->st_mode = FILE_MODE;
	st->st_nlink = 1;
	st->st_size = (off_t)served()->len_bytes;
	st->st_blksize = 65536;
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	(void)fi;
	return strcmp(path, FILE_NAME) == 0 ? 0 : -ENOENT;
}

static int op_read(const char *path, char *buf, size_t len, off_t off,
		   struct fuse_file_info *fi)
{
	const struct freemap_fs *fs = served();
	uint64_t at = (uint64_t)off, from, end;
	uint8_t *whole;
	int rc;

	(void)path;
	(void)fi;
	if (at >= fs->len_bytes)
		return 0;
	if (len > fs->len_bytes - at)
		len = (size_t)(fs->len_bytes - at);
	from = at & ~(uint64_t)(VHD_SECTOR_BYTES - 1);
	end = (at + len + VHD_SECTOR_BYTES - 1) &
	      ~(uint64_t)(VHD_SECTOR_BYTES - 1);
	whole = malloc(end - from);
	if (!whole)
		return -ENOMEM;
	rc = vhd_read(fs->img, fs->off_bytes + from, whole, end - from, NULL);
	if (!rc)
		memcpy(buf, whole + (at - from), len);
	free(whole);
	return rc ? -EIO : (int)len;
}

static int op_write(const char *path, const char *buf, size_t len, off_t off,
		    struct fuse_file_info *fi)
{
	(void)path;
	(void)buf;
	(void)len;
	(void)off;
	(void)fi;
	return -EROFS;
}

static const struct fuse_operations ops = {
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
};

/* Its complaints would come between the program's own lines. */
static void silent(enum fuse_log_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
}

/* Until libfuse has its handler an end asked for must wait. */
static void hold_end(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(how, &set, NULL);
}

/* Says over `ready` where the file is, and serves it until told to end. */
static void serve(const struct freemap_mount *m, const struct freemap_fs *fs,
		  int ready)
{
	char *argv[] = {(char[]){"vhd"}, (char[]){"-o"},
			(char[]){"fsname=vhd,default_permissions"}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse *f;

	fuse_set_log_func(silent);
	f = fuse_new(&args, &ops, sizeof(ops), (void *)(uintptr_t)fs);
	if (f && fuse_mount(f, m->dir) == 0) {
		int rc = fuse_set_signal_handlers(fuse_get_session(f));

		hold_end(SIG_UNBLOCK);
		if (rc == 0 && write(ready, m->dir, sizeof(m->dir)) ==
				       (ssize_t)sizeof(m->dir))
			(void)fuse_loop(f);
		fuse_unmount(f);
	}
}

/* The process beside makes the directory and takes it away again, whatever it
 * is told, and however early.
 */
static void beside(struct freemap_mount *m, const struct freemap_fs *fs,
		   int ready, pid_t parent)
{
	(void)setsid(); /* a new process can */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent &&
	    mkdtemp(m->dir)) {
		serve(m, fs, ready);
		(void)rmdir(m->dir);
	}
	_exit(0);
}

static int no_mount(const struct freemap_fs *fs, struct vhd_err *err)
{
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			"%s must be shown to another program by FUSE, which "
			"does not work here: it needs /dev/fuse, the package "
			"fuse3, and a TMPDIR",
			fs->name);
}

static int wait_ready(struct freemap_mount *m, int fd)
{
	ssize_t n;

	do
		n = read(fd, m->dir, sizeof(m->dir));
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(m->dir))
		return 0;
	while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
	return -EIO;
}

int freemap_mount(struct freemap_mount *m, const struct freemap_fs *fs,
		  struct vhd_err *err)
{
	const char *tmp = getenv("TMPDIR");
	pid_t parent = getpid();
	int ready[2], rc;

	if (!tmp || strlen(tmp) > sizeof(m->dir) - 16)
		tmp = "/tmp";
	memset(m, 0, sizeof(*m));
	snprintf(m->dir, sizeof(m->dir), "%s/vhd.XXXXXX", tmp);
	if (pipe2(ready, O_CLOEXEC))
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	hold_end(SIG_BLOCK);
	m->pid = fork();
	if (m->pid == 0) {
		close(ready[0]);
		beside(m, fs, ready[1], parent);
	}
	hold_end(SIG_UNBLOCK);
	close(ready[1]);
	rc = m->pid < 0 ? -1 : wait_ready(m, ready[0]);
	close(ready[0]);
	if (rc)
		return no_mount(fs, err);
	snprintf(m->file, sizeof(m->file), "%s%s", m->dir, FILE_NAME);
	return 0;
}

void freemap_umount(struct freemap_mount *m)
{
	(void)kill(m->pid, SIGTERM);
	while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
