/* SPDX-License-Identifier: BSD-2-Clause */
/* The medium under an image: one table of functions through which all
 * metadata goes, so that memory, recording and fault layers stack under
 * unchanged code in tests. Data goes through the engines (engine.h); the
 * `sync` engine also uses this table, so it works on any medium.
 */
#ifndef VHD_FILE_H
#define VHD_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "vhd.h"

/* Each returns a count or 0 on success, a negative errno on failure, and may
 * transfer less than asked for; callers below handle that. Any thread.
 */
struct vhd_file_ops {
	const char *name;
	ssize_t (*pread)(void *state, void *buf, size_t len, uint64_t off);
	ssize_t (*pwrite)(void *state, const void *buf, size_t len,
			  uint64_t off);
	/* all bytes written before, and the length, are durable */
	int (*flush)(void *state);
	/* [off, off+len) reads as zero and takes no space; -EOPNOTSUPP makes
	 * the caller write
	 */
	int (*zero)(void *state, uint64_t off, uint64_t len);
	int (*truncate)(void *state, uint64_t len);
	int (*size)(void *state, uint64_t *len);
	int (*close)(void *state);
};

struct vhd_file {
	const struct vhd_file_ops *ops;
	void *state;
	int fd;        /* for engines; -1: only the sync engine can serve it */
	int direct_fd; /* same file opened O_DIRECT, or -1 */
	/* How buffers and offsets must be aligned there; 0: it is not for this
	 * file. Learned when it is opened: a queue's thread may not ask.
	 */
	uint32_t direct_mem_bytes, direct_off_bytes;
	bool no_sync;  /* vhd_file_flush does nothing */
	bool *sync_failed; /* set where it fails; NULL: nobody asks */
};

/* Of fallocate: the file system or device makes no holes, or not such ones;
 * nothing is wrong with the file.
 */
bool vhd_file_no_holes(int code);

/* Whole transfers: EINTR, EAGAIN and short counts are handled here. A read
 * that meets the end of the file fails with -EIO / VHD_WHY_SHORT_IO.
 */
int vhd_file_read(const struct vhd_file *f, void *buf, size_t len,
		  uint64_t off, struct vhd_err *err);
int vhd_file_write(const struct vhd_file *f, const void *buf, size_t len,
		   uint64_t off, struct vhd_err *err);
int vhd_file_flush(const struct vhd_file *f, struct vhd_err *err);
int vhd_file_zero(const struct vhd_file *f, uint64_t off, uint64_t len,
		  struct vhd_err *err);
int vhd_file_truncate(const struct vhd_file *f, uint64_t len,
		      struct vhd_err *err);
int vhd_file_size(const struct vhd_file *f, uint64_t *len, struct vhd_err *err);

/* Open a path: regular files (and block devices), locked (lock.c) before
 * anything is read. `create` makes it, locks it, then truncates it.
 */
struct vhd_file_open {
	bool writable;
	bool create;
	bool exclusive;
	bool direct;
	bool no_lock;
	bool no_sync;
};
int vhd_file_open(const char *path, const struct vhd_file_open *how,
		  struct vhd_file *out, struct vhd_err *err);
/* The same for a descriptor opened already, which is taken whatever happens;
 * `path` is for messages and never opened.
 */
int vhd_file_adopt(int fd, const char *path, const struct vhd_file_open *how,
		   struct vhd_file *out, struct vhd_err *err);
/* `fd`, which is taken whatever happens, is the same file, opened with O_DIRECT
 * and as it is otherwise: data goes through it from now on. -EINVAL (ARGUMENT).
 */
int vhd_file_direct(struct vhd_file *f, int fd, const char *path,
		    struct vhd_err *err);
void vhd_file_close(struct vhd_file *f);

/* The same as vhd_open and vhd_create over a medium the caller has. On
 * success takes `f`; on failure the caller still has it. Parents are not
 * looked for: with `parent_dir` set a differencing disk opens without its
 * parent, which is to be given to it next.
 */
int vhd_open_file(const struct vhd_file *f, const struct vhd_open_opts *opts,
		  struct vhd **out, struct vhd_err *err);
int vhd_create_file(const struct vhd_file *f,
		    const struct vhd_create_opts *opts, struct vhd **out,
		    struct vhd_err *err);
/* vhd_in_place over such a medium, which the caller keeps. */
int vhd_in_place_file(const struct vhd_file *f,
		      const struct vhd_in_place_opts *opts,
		      struct vhd_err *err);

#endif
