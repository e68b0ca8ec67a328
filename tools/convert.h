/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd-convert. Private to tools/.
 *
 *   args      the command line
 *   input     the source: opened, locked, known by its inode
 *   extents   where the source has data at all
 *   output    a nameless file that gets its name when it is complete
 *   writeback what was written goes to the disk while copying goes on
 *   copy      read, scan for zeros, write; many requests in flight
 *   verify    read both again and compare
 */
#ifndef CONVERT_H
#define CONVERT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "vhd/vhd.h"

/* Zeros are found and left out in units of this. */
#define CONVERT_GRAIN_BYTES 4096u

struct convert_opts {
	const char *src;
	const char *dst;
	enum vhd_format from;
	enum vhd_format to;
	uint32_t block_size_bytes; /* 0: the library's default */
	enum vhd_engine engine;
	bool direct;
	bool verify;
	bool no_sync;
	bool force;
	bool quiet;
	bool no_parent;
	bool larger_child;
	const char *parent_dir;    /* NULL: the source's own */
};

/* Fill `opts`, which is all zero. Returns -1 to go on, or the exit code to
 * end with.
 */
int convert_args(int argc, char **argv, struct convert_opts *opts);

/* What every long step needs: the queue, whom to blame, when to stop. */
struct convert_job {
	const char *src; /* paths, for the blame */
	const char *dst;
	struct vhd_queue *queue;
	int signal_fd;            /* readable when the user wants an end */
	struct cli_progress progress;
	const char *blame;        /* path an error is about */
	int signal;               /* the signal that ended the job, or 0 */
};

/* True when a signal asked for an end; remembers which. */
bool convert_interrupted(struct convert_job *job, struct vhd_err *err);

/* --------------------------------------------------------------- input -- */

struct convert_input {
	int fd;          /* our own, for SEEK_DATA and the inode */
	struct stat st;
	struct vhd *img; /* read-only, locked */
};

int convert_input_open(struct convert_input *in, const char *path,
		       const struct vhd_open_opts *opts, struct vhd_err *err);
/* Whether `path` names one of the images that the source builds on. */
bool convert_input_has_parent(const struct convert_input *in, const char *path);
void convert_input_close(struct convert_input *in);

/* ------------------------------------------------------------- extents -- */

/* What is known of one file's holes. */
struct convert_holes {
	uint64_t data_from_bytes; /* file range known to hold data */
	uint64_t data_to_bytes;
	uint64_t hole_from_bytes; /* file range known to be a hole */
	uint64_t hole_to_bytes;
};

/* Walks the parts of an image that may hold data: neither unallocated, nor
 * marked as zero, nor a hole of the file that has them, be it a parent's.
 * Borrows the image and the fd.
 */
struct convert_extents {
	struct vhd *img;
	int fd;                   /* of the image's own file */
	uint64_t size_bytes;
	struct convert_holes holes[VHD_CHAIN_MAX]; /* one a layer */
};

void convert_extents_init(struct convert_extents *x, struct vhd *img, int fd);

/* The next piece of data at or behind `*off_bytes`: its start goes into
 * `*off_bytes`, its length into `*len_bytes`. It starts on a grain, ends on
 * one or at the end of the disk, and never crosses a multiple of
 * `unit_bytes`, a power of two. Length 0: no more data.
 */
int convert_extents_next(struct convert_extents *x, uint64_t unit_bytes,
			 uint64_t *off_bytes, uint64_t *len_bytes,
			 struct vhd_err *err);

/* -------------------------------------------------------------- output -- */

struct convert_output {
	char *dir;               /* owned */
	char *name;              /* owned; last component */
	int dir_fd;
	int old_fd;           /* the file to replace, locked; or -1 */
	int fd;
	bool replace;
	char temp[NAME_MAX + 1]; /* its name until published, or "" */
	char path[32];           /* by which the library opens it */
};

/* Make the file. Refuses a destination that exists (unless `force` and a
 * regular file) or that is the source. `src` gives inode and permissions.
 */
int convert_output_open(struct convert_output *out, const char *path,
			bool force, const struct stat *src,
			struct vhd_err *err);
/* Give it its name; only then does it exist. `durable`: content and name are
 * on the disk on return, in this order.
 */
int convert_output_publish(struct convert_output *out, bool durable,
			   struct vhd_err *err);
/* Release; what was not published is gone. */
void convert_output_close(struct convert_output *out);

/* ----------------------------------------------------------- writeback -- */

#define CONVERT_BEHIND 16u

/* Starts writing out each finished range at once, so that the disk works
 * while the copy goes on and the sync at the end finds nothing left to do;
 * and drops ranges that have reached the disk from the page cache, so that a
 * large copy neither fills the memory nor evicts what others use.
 */
struct convert_writeback {
	int fd;      /* of the destination; borrowed */
	bool ahead;  /* allocating before writing pays here */
	bool stream; /* write out behind */
	struct {
		uint64_t off_bytes;
		uint64_t len_bytes;
	} behind[CONVERT_BEHIND];
	unsigned head;
	unsigned count;
};

void convert_writeback_init(struct convert_writeback *wb, int fd, bool stream);
/* Before a range of new file space is written. */
void convert_writeback_ahead(struct convert_writeback *wb, uint64_t off_bytes,
			     uint64_t len_bytes);
/* After it was written. */
int convert_writeback_add(struct convert_writeback *wb, uint64_t off_bytes,
			  uint64_t len_bytes, struct vhd_err *err);

/* ------------------------------------------------------ copy and verify -- */

struct convert_stats {
	uint64_t read_bytes;
	uint64_t written_bytes;
};

/* Bring the data of `in` into the new, all-zero `dst`; both attached to the
 * job's queue here. `wb` is on the file of `dst`.
 */
int convert_copy(struct convert_job *job, struct convert_input *in,
		 struct vhd *dst, struct convert_writeback *wb,
		 struct convert_stats *stats, struct vhd_err *err);

/* Compare what the two hold; the shorter one counts as zero behind its end.
 * Returns 0, or 1 with the first differing byte's offset on the disk in
 * `*at_bytes`, or a negative errno.
 */
int convert_compare(struct convert_job *job, struct convert_input *a,
		    struct convert_input *b, uint64_t *at_bytes,
		    struct vhd_err *err);

/* The same of two whose sizes must be equal, too. */
int convert_verify(struct convert_job *job, struct convert_input *a,
		   struct convert_input *b, uint64_t *at_bytes,
		   struct vhd_err *err);

/* Buffers that both use: `count` of `each_bytes`, page-aligned. NULL: no
 * memory, told in `err`.
 */
void *convert_buffers(size_t count, size_t each_bytes, struct vhd_err *err);
void convert_buffers_free(void *buffers, size_t count, size_t each_bytes);

/* A finished request that failed, as an error about `path`. */
int convert_req_fail(struct convert_job *job, const struct vhd_req *req,
		     const char *path, struct vhd_err *err);

/* Wait for a request to finish, a signal, or a short while. */
int convert_wait(struct convert_job *job, struct vhd_err *err);

/* Wait until everything in flight has come back; the results are dropped. */
void convert_drain(struct convert_job *job);

#endif
