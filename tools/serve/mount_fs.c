/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk in an image and its partitions as files of a small file system in
 * user space. All of them show the same bytes: where the disk can be written,
 * nothing is cached by the kernel per file, so that they agree.
 *
 * Files take any offset and length; the image takes whole sectors. What is not
 * is read in whole ones, and written under a lock that keeps other writers out
 * meanwhile.
 */
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fuse.h>
#include <fuse_lowlevel.h>

#include "tools/inspect/extent.h"
#include "mount.h"

#define SECTOR_MASK ((uint64_t)VHD_SECTOR_BYTES - 1)

struct state {
	struct mount_fs *fs;
	uid_t uid;
	gid_t gid;
	int ready_fd;
	atomic_int opened;      /* files */
	atomic_bool once;       /* end with the last of them */
	pthread_rwlock_t write; /* exclusive: part of a sector is replaced */
};

static struct state *state_of(void)
{
	return fuse_get_context()->private_data;
}

void mount_fs_fill(struct mount_fs *fs, uint64_t size_bytes,
		   const struct inspect_content *content)
{
	struct mount_file *f = &fs->files[0];

	*f = (struct mount_file){.name = MOUNT_DISK, .len_bytes = size_bytes};
	fs->file_count = 1;
	for (unsigned i = 0; content->looked && i < content->part_count; i++) {
		const struct inspect_part *p = &content->parts[i];

		if (p->past_end || !p->len_bytes)
			continue;
		f = &fs->files[fs->file_count++];
		f->off_bytes = p->off_bytes;
		f->len_bytes = p->len_bytes;
		snprintf(f->name, sizeof(f->name), "p%d", p->number);
	}
}

static const struct mount_file *find(const struct mount_fs *fs,
				     const char *path)
{
	for (unsigned i = 0; *path == '/' && i < fs->file_count; i++)
		if (!strcmp(fs->files[i].name, path + 1))
			return &fs->files[i];
	return NULL;
}

static const struct mount_file *file_of(const struct fuse_file_info *fi)
{
	return (const struct mount_file *)(uintptr_t)fi->fh;
}

/* ---------------------------------------------------------------- facts -- */

static void *fs_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	struct state *s = state_of();
	char c = 0;

	(void)conn;
	cfg->direct_io = s->fs->writable;
	cfg->kernel_cache = !s->fs->writable;
	cfg->nullpath_ok = 1;
	if (s->ready_fd >= 0) {
		/* Who waited for it may be gone. */
		(void)!write(s->ready_fd, &c, 1);
		close(s->ready_fd);
	}
	return s;
}

static int fs_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *fi)
{
	struct state *s = state_of();
	const struct mount_file *f = fi ? file_of(fi) : find(s->fs, path);
	mode_t w = s->fs->writable ? 0222 : 0;

	*st = (struct stat){
		.st_uid = s->uid,
		.st_gid = s->gid,
		.st_nlink = 1,
		.st_blksize = 4096,
	};
	st->st_mtime = st->st_ctime = st->st_atime = s->fs->mtime_s;
	if (!f && strcmp(path, "/") != 0)
		return -ENOENT;
	if (!f) {
		st->st_mode = S_IFDIR | (s->fs->internal ? 0755 : 0555);
		st->st_nlink = 2;
		return 0;
	}
	st->st_mode = S_IFREG | 0444 | (w & 0200);
	st->st_size = (off_t)f->len_bytes;
	st->st_blocks = (blkcnt_t)(f->len_bytes / 512);
	return 0;
}

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
		      off_t off, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	const struct mount_fs *fs = state_of()->fs;
	const enum fuse_fill_dir_flags none = 0;

	(void)path;
	(void)off;
	(void)fi;
	(void)flags;
	fill(buf, ".", NULL, 0, none);
	fill(buf, "..", NULL, 0, none);
	for (unsigned i = 0; i < fs->file_count; i++)
		fill(buf, fs->files[i].name, NULL, 0, none);
	return 0;
}

static int fs_getxattr(const char *path, const char *name, char *value,
		       size_t size)
{
	char text[16];
	int n;

	if (strcmp(path, "/") != 0 || strcmp(name, MOUNT_ATTR_PID) != 0)
		return -ENODATA;
	n = snprintf(text, sizeof(text), "%d", (int)getpid());
	if (size && size < (size_t)n)
		return -ERANGE;
	if (size)
		memcpy(value, text, (size_t)n);
	return n;
}

/* It ends on SIGTERM as on being unmounted. */
static void end(void)
{
	kill(getpid(), SIGTERM);
}

static int fs_setxattr(const char *path, const char *name, const char *value,
		       size_t size, int flags)
{
	struct state *s = state_of();

	(void)value;
	(void)size;
	(void)flags;
	if (strcmp(path, "/") != 0 || strcmp(name, MOUNT_ATTR_ONCE) != 0)
		return -ENOTSUP;
	atomic_store(&s->once, true);
	if (!atomic_load(&s->opened))
		end();
	return 0;
}

/* ---------------------------------------------------------------- files -- */

static int fs_open(const char *path, struct fuse_file_info *fi)
{
	struct state *s = state_of();
	const struct mount_file *f = find(s->fs, path);

	if (!f)
		return -ENOENT;
	if ((fi->flags & O_ACCMODE) != O_RDONLY && !s->fs->writable)
		return -EROFS;
	fi->fh = (uintptr_t)f;
	fi->direct_io = s->fs->writable;
	atomic_fetch_add(&s->opened, 1);
	return 0;
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
	struct state *s = state_of();

	(void)path;
	(void)fi;
	if (atomic_fetch_sub(&s->opened, 1) == 1 && atomic_load(&s->once))
		end();
	return 0;
}

static int read_sectors(const struct mount_fs *fs, void *buf, size_t len,
			uint64_t off)
{
	return fs->overlay ? overlay_read(fs->overlay, buf, len, off, NULL)
			   : served_read(fs->served, buf, len, off, NULL);
}

static int write_sectors(const struct mount_fs *fs, const void *buf, size_t len,
			 uint64_t off)
{
	return fs->overlay ? overlay_write(fs->overlay, buf, len, off, NULL)
			   : served_write(fs->served, buf, len, off, 0, NULL);
}

/* Clip a request to the file; where it is on the disk. Returns its length. */
static size_t place(const struct mount_file *f, size_t len, off_t at,
		    uint64_t *off)
{
	uint64_t from = (uint64_t)at;

	if (from >= f->len_bytes)
		return 0;
	*off = f->off_bytes + from;
	return len < f->len_bytes - from ? len : (size_t)(f->len_bytes - from);
}

/* The whole sectors around a range, in memory that the caller frees. */
static uint8_t *around(uint64_t off, size_t len, uint64_t *first, size_t *whole)
{
	*first = off & ~SECTOR_MASK;
	*whole = (size_t)(((off + len + SECTOR_MASK) & ~SECTOR_MASK) - *first);
	return malloc(*whole);
}

static int fs_read(const char *path, char *buf, size_t size, off_t at,
		   struct fuse_file_info *fi)
{
	const struct mount_fs *fs = state_of()->fs;
	uint64_t off = 0, first;
	size_t len = place(file_of(fi), size, at, &off), whole;
	uint8_t *b;
	int rc;

	(void)path;
	if (((off | len) & SECTOR_MASK) == 0) {
		rc = len ? read_sectors(fs, buf, len, off) : 0;
		return rc ? rc : (int)len;
	}
	b = around(off, len, &first, &whole);
	if (!b)
		return -ENOMEM;
	rc = read_sectors(fs, b, whole, first);
	if (!rc)
		memcpy(buf, b + (off - first), len);
	free(b);
	return rc ? rc : (int)len;
}

static int write_parts(struct state *s, const char *buf, size_t len,
		       uint64_t off)
{
	uint64_t first;
	size_t whole;
	uint8_t *b = around(off, len, &first, &whole);
	int rc;

	if (!b)
		return -ENOMEM;
	pthread_rwlock_wrlock(&s->write);
	rc = read_sectors(s->fs, b, whole, first);
	if (!rc) {
		memcpy(b + (off - first), buf, len);
		rc = write_sectors(s->fs, b, whole, first);
	}
	pthread_rwlock_unlock(&s->write);
	free(b);
	return rc;
}

static int fs_write(const char *path, const char *buf, size_t size, off_t at,
		    struct fuse_file_info *fi)
{
	struct state *s = state_of();
	uint64_t off = 0;
	size_t len = place(file_of(fi), size, at, &off);
	int rc;

	(void)path;
	if (!len)
		return size ? -ENOSPC : 0;
	if ((off | len) & SECTOR_MASK) {
		rc = write_parts(s, buf, len, off);
	} else {
		pthread_rwlock_rdlock(&s->write);
		rc = write_sectors(s->fs, buf, len, off);
		pthread_rwlock_unlock(&s->write);
	}
	return rc ? rc : (int)len;
}

/* Who opens to write truncates first, which a disk, like a block device, does
 * not mind; it has the length it has.
 */
static int fs_truncate(const char *path, off_t len, struct fuse_file_info *fi)
{
	struct state *s = state_of();
	const struct mount_file *f = fi ? file_of(fi) : find(s->fs, path);

	if (!f)
		return -ENOENT;
	if (!s->fs->writable)
		return -EROFS;
	return !len || (uint64_t)len == f->len_bytes ? 0 : -EINVAL;
}

static int fs_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	const struct mount_fs *fs = state_of()->fs;

	(void)path;
	(void)data;
	(void)fi;
	return fs->overlay ? 0 : served_flush(fs->served, NULL);
}

/* Zeros, and space given back. */
static int fs_fallocate(const char *path, int mode, off_t at, off_t count,
			struct fuse_file_info *fi)
{
	const struct mount_fs *fs = state_of()->fs;
	uint64_t off = 0;
	size_t len = place(file_of(fi), (size_t)count, at, &off);
	bool zero = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);

	(void)path;
	if (!fs->writable)
		return -EROFS;
	if (!zero || fs->overlay || !len || (off | len) & SECTOR_MASK)
		return -EOPNOTSUPP;
	return served_zero(fs->served, len, off, 0, NULL);
}

/* Data and holes as the image has them. */
static off_t fs_lseek(const char *path, off_t at, int whence,
		      struct fuse_file_info *fi)
{
	const struct mount_fs *fs = state_of()->fs;
	const struct mount_file *f = file_of(fi);
	uint64_t off = (uint64_t)at & ~SECTOR_MASK, end_off = f->len_bytes;
	struct extents x;
	struct extent e;

	(void)path;
	if ((uint64_t)at >= f->len_bytes)
		return -ENXIO;
	if (fs->overlay)
		return whence == SEEK_DATA ? at : (off_t)f->len_bytes;
	extents_init(&x, served_image(fs->served));
	x.size_bytes = f->off_bytes + f->len_bytes;
	for (; off < end_off; off += e.len_bytes) {
		int rc = extents_at(&x, f->off_bytes + off, &e, NULL);
		bool data;

		if (rc)
			return rc;
		data = e.kind == EXTENT_DATA;
		if (data == (whence == SEEK_DATA))
			return off > (uint64_t)at ? (off_t)off : at;
	}
	return whence == SEEK_DATA ? -ENXIO : (off_t)f->len_bytes;
}

static const struct fuse_operations operations = {
	.init = fs_init,
	.getattr = fs_getattr,
	.readdir = fs_readdir,
	.getxattr = fs_getxattr,
	.setxattr = fs_setxattr,
	.open = fs_open,
	.release = fs_release,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
	.fsync = fs_fsync,
	.fallocate = fs_fallocate,
	.lseek = fs_lseek,
};

/* -------------------------------------------------------------- running -- */

static int add_option(struct fuse_args *args, const char *option)
{
	return fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, option);
}

/* A comma would end it, among options. The caller frees it. */
static char *escaped(const char *text)
{
	char *out = malloc(2 * strlen(text) + 1), *at = out;

	for (; out && *text; text++) {
		if (*text == ',' || *text == '\\')
			*at++ = '\\';
		*at++ = *text;
	}
	if (out)
		*at = '\0';
	return out;
}

static int arguments(struct fuse_args *args, const char *source,
		     const char *options, bool read_only)
{
	char *clean = escaped(source), *name = NULL;
	int rc;

	if (!clean ||
	    asprintf(&name, "fsname=%s,subtype=" MOUNT_FSTYPE, clean) < 0) {
		free(clean);
		return -1;
	}
	free(clean);
	rc = fuse_opt_add_arg(args, "vhd-mount") || add_option(args, name) ||
	     add_option(args, "default_permissions") ||
	     (read_only && add_option(args, "ro")) ||
	     (options && add_option(args, options));
	free(name);
	return rc ? -1 : 0;
}

/* Until it is unmounted, or SIGINT, SIGTERM or SIGHUP comes. */
static int loop(struct fuse *fuse)
{
	struct fuse_loop_config config = {.max_idle_threads = 10};

	return fuse_loop_mt(fuse, &config) < 0 ? CLI_IO : CLI_OK;
}

int mount_fs_run(struct mount_fs *fs, const char *prog, const char *dir,
		 const char *source, const char *options, bool background,
		 int ready_fd)
{
	struct state s = {
		.fs = fs,
		.uid = getuid(),
		.gid = getgid(),
		.ready_fd = ready_fd,
		.write = PTHREAD_RWLOCK_INITIALIZER,
	};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse *fuse = NULL;
	int status = CLI_IO;

	if (!arguments(&args, source, options, !fs->writable && !fs->internal))
		fuse = fuse_new(&args, &operations, sizeof(operations), &s);
	if (!fuse) {
		fprintf(stderr, "%s: cannot set up FUSE%s%s\n", prog,
			options ? ": check the options " : "",
			options ? options : "");
		goto out;
	}
	if (fuse_mount(fuse, dir)) {
		fprintf(stderr,
			"%s: %s: cannot mount here: FUSE does not permit it\n",
			prog, dir);
		goto out;
	}
	if (!fuse_set_signal_handlers(fuse_get_session(fuse)) &&
	    !fuse_daemonize(!background))
		status = loop(fuse);
	fuse_remove_signal_handlers(fuse_get_session(fuse));
	fuse_unmount(fuse);
out:
	if (fuse)
		fuse_destroy(fuse);
	fuse_opt_free_args(&args);
	return status;
}
