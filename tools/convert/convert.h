/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd-convert. Private to tools/.
 *
 *   args      the command line
 *   inplace   raw and fixed into one another without copying
 *   confine   the sandbox: what the command line puts within reach
 *   input     the source: opened, locked, known by its inode
 *   extents   where the source has data at all
 *   place     how large the output is, and all its space at once
 *   share     file-system blocks in common instead of copied
 *   output    a nameless file that gets its name when it is complete
 *   from      what SRC is read as; nbd and qemu are servers and ours
 *   writeback what was written goes to the disk while copying goes on
 *   resume    a copy that goes on later; its journal
 *   door      sources and sinks; image is the files among them
 *   file      an image file as the destination, from nothing to its name
 *   diff      a differencing image as the destination
 *   digest    of what is copied, as it goes by
 *   report    what a finished conversion tells
 *   copy      read, scan for zeros, write; many requests in flight
 *   verify    read both again and compare
 */
#ifndef CONVERT_H
#define CONVERT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "tools/cli/cli.h"
#include "door.h"
#include "vhd/vhd.h"

/* What lines to the user begin with. */
#define CONVERT_PROG "vhd-convert"

/* Zeros are found and left out in units of this. */
#define CONVERT_GRAIN_BYTES 4096u

/* What becomes of zeros. */
enum convert_sparse {
	CONVERT_SPARSE_YES = 0, /* holes stay holes, zeros read become some */
	CONVERT_SPARSE_NO,      /* all space is allocated */
	CONVERT_SPARSE_PUNCH,   /* whatever is zero becomes a hole */
};

/* Whether blocks are shared with the source instead of copied. */
enum convert_reflink {
	CONVERT_REFLINK_AUTO = 0, /* where the file system can */
	CONVERT_REFLINK_ALWAYS,   /* or fail */
	CONVERT_REFLINK_NEVER,
};

/* What is done with a source that is gzip. */
enum convert_decompress {
	CONVERT_DECOMPRESS_AUTO = 0, /* inflate it where nothing is named */
	CONVERT_DECOMPRESS_GZIP,     /* it must be */
	CONVERT_DECOMPRESS_NONE,     /* take it as it is */
};

struct convert_opts {
	const char *src;
	const char *dst;
	enum vhd_format from;
	const char *foreign;       /* word of another format of SRC, or NULL */
	enum vhd_format to;
	enum vhd_target target;    /* whose demands DST is to meet */
	enum convert_sparse sparse;
	enum convert_reflink reflink;
	enum convert_decompress decompress;
	int gzip_level;            /* of DST; 0: not compressed */
	uint64_t stream_bytes;     /* size of a raw stream; 0: not told */
	uint64_t rate;             /* bytes a second; 0: no limit */
	uint32_t block_size_bytes; /* 0: the library's default */
	enum vhd_engine engine;
	bool direct;
	bool verify;
	bool no_sync;
	bool force;
	bool quiet;
	bool json;
	const char *digest;        /* words parted by commas, or NULL */
	bool verbose;
	bool resume;               /* keep what there is, and go on with it */
	bool in_place;             /* SRC itself; there is no DST */
	bool no_parent;
	bool larger_child;
	bool raw_parent;
	const char *parent_dir;    /* NULL: the source's own */
	const char *parent;        /* --to diff: what DST is to build on */
};

/* Fill `opts`, which is all zero. Returns -1 to go on, or the exit code to
 * end with.
 */
int convert_args(int argc, char **argv, struct convert_opts *opts);

/* Enter the sandbox: before anything of an image is read; but only after the
 * source was opened where convert_confine_late says so.
 */
int convert_confine(const struct convert_opts *opts, struct vhd_err *err);
bool convert_confine_late(const struct convert_opts *opts);

/* The whole of --in-place; returns the exit code. */
int convert_in_place(const struct convert_opts *opts);

struct convert_resume; /* resume.h */

/* What every long step needs: the queue, whom to blame, when to stop. */
struct convert_job {
	const char *src; /* paths, for the blame */
	const char *dst;
	struct vhd_queue *queue;
	int signal_fd;            /* readable when the user wants an end */
	int wake_fd;              /* epoll: the signals, and what ends watch;
				   * -1: nothing but the queue */
	struct cli_progress progress;
	struct cli_rate rate;     /* of bytes read */
	const char *blame;        /* path an error is about */
	int signal;               /* the signal that ended the job, or 0 */
	struct convert_resume *resume; /* or NULL */
	struct convert_sink *onlooker; /* sees all that is copied, or NULL */
	struct convert_share *share; /* what the copy may share, or NULL */
	struct vhd_err fault;     /* of the first piece that failed */
	const char *fault_path;
};

/* The queue, and the descriptor that wakes its waits. `signal_fd` is set
 * before and closed by the caller afterwards.
 */
int convert_job_init(struct convert_job *job, enum vhd_engine engine,
		     struct vhd_err *err);
void convert_job_fini(struct convert_job *job);

/* Have waits end when `fd` is ready for `events` of epoll; 0: no more. The
 * number is the descriptor's until it is unwatched.
 */
int convert_watch(struct convert_job *job, int fd, uint32_t events,
		  struct vhd_err *err);
void convert_unwatch(struct convert_job *job, int fd);
/* End a wait from another thread, by an eventfd that is watched. */
void convert_wake(int event_fd);

/* Note why a piece failed, unless one failed before; returns `code`. */
__attribute__((format(printf, 5, 6))) int
convert_fault(struct convert_job *job, const char *path, int code,
	      enum vhd_why why, const char *fmt, ...);
/* 0, or the noted fault as this call's own. */
int convert_faulted(struct convert_job *job, struct vhd_err *err);

/* Hand an image's piece to the queue. */
void convert_submit(struct convert_job *job, struct vhd *img, enum vhd_op op,
		    const char *path, struct convert_io *io);
/* Give back what the queue has finished. */
void convert_reap(struct convert_job *job);

/* True when a signal asked for an end; remembers which. */
bool convert_interrupted(struct convert_job *job, struct vhd_err *err);

/* --------------------------------------------------------------- input -- */

struct convert_input {
	int fd;          /* our own, for SEEK_DATA and the inode */
	struct stat st;
	struct vhd *img; /* read-only, locked */
};

/* Both ends are reached by what /proc calls our descriptors: say so where it
 * is not mounted. Errors: -ENOSYS.
 */
int convert_proc_check(struct vhd_err *err);

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
	bool keep;            /* what was not published stays */
	char temp[NAME_MAX + 1]; /* its name until published, or "" */
	char path[32];           /* by which the library opens it */
};

/* Make the file. Refuses a destination that exists (unless `force` and a
 * regular file) or that is the source. `src` gives inode and permissions.
 */
int convert_output_open(struct convert_output *out, const char *path,
			bool force, const struct stat *src,
			struct vhd_err *err);
/* The same for a file that is called ".NAME.partial" until published, may be
 * there already, and stays where it is not published.
 */
int convert_output_open_partial(struct convert_output *out, const char *path,
				bool force, const struct stat *src,
				struct vhd_err *err);
/* Give it its name; only then does it exist. `durable`: content and name are
 * on the disk on return, in this order.
 */
int convert_output_publish(struct convert_output *out, bool durable,
			   struct vhd_err *err);
/* The name is to be this one instead, in the same directory, and who has it is
 * replaced. Whoever keeps that file from being written to is the caller.
 */
int convert_output_take(struct convert_output *out, const char *name,
			struct vhd_err *err);
/* `file` is called as files are before they get the name `name`. */
bool convert_output_is_temp(const char *file, const char *name);
/* Release; what was not published is gone. */
void convert_output_close(struct convert_output *out);

/* -------------------------------------------------------------- placing -- */

/* The size of DST for a disk of `size_bytes`: the same, or as much larger as
 * the product asked for wants.
 */
int convert_size(const struct convert_opts *opts, uint64_t size_bytes,
		 uint64_t *dst_bytes, struct vhd_err *err);
/* Allocate what the file does not have yet, up to its end. */
int convert_reserve(int fd, struct vhd_err *err);

/* ------------------------------------------------------------- sharing -- */

/* Blocks of the file system that two files have in common. */
struct convert_share {
	bool off;             /* this cannot be done here, or must not */
	bool always;          /* what cannot be shared is an error */
	bool ahead;           /* share without reading */
	struct vhd *src;
	struct vhd *dst;
	int src_fd;           /* of the source's own file; borrowed */
	int dst_fd;
	uint64_t unit_bytes;  /* the file system's block */
	unsigned refused;     /* in a row */
	int why;              /* errno of the first refusal, or 0 */
	uint64_t shared_bytes;
};

struct convert_image_source;
/* Borrows all. `image`: the source, if it is one, else NULL. `must_read`: all
 * data is wanted for something else, too.
 * Errors: -ENOTSUP: always, and it is clear that it cannot be. */
int convert_share_init(struct convert_share *sh,
		       const struct convert_opts *opts, bool must_read,
		       const struct convert_image_source *image,
		       struct vhd *dst, int dst_fd, struct vhd_err *err);
/* The first `*n` bytes of a part of the disk, all of which may or all of which
 * cannot be shared.
 */
int convert_share_plan(const struct convert_share *sh, uint64_t off_bytes,
		       uint64_t len_bytes, bool *may, uint64_t *n,
		       struct vhd_err *err);
/* Share a part: `*done` bytes of it are. Returns 0, 1 when the rest must be
 * copied, or a negative errno.
 */
int convert_share_do(struct convert_share *sh, uint64_t off_bytes,
		     uint64_t len_bytes, uint64_t *done, struct vhd_err *err);

/* ----------------------------------------------------------- writeback -- */

#define CONVERT_BEHIND 128u

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

/* ------------------------------------------------ images as both ends -- */

struct convert_image_source {
	struct convert_source source;
	struct vhd *img;
	struct convert_extents extents;
};

/* Borrows the image. Close detaches it from the queue, and no more. */
int convert_image_source_init(struct convert_image_source *s,
			      struct convert_job *job,
			      struct convert_input *in, const char *path,
			      struct vhd_err *err);

/* The image behind a source, or NULL where it is none. */
const struct convert_image_source *
convert_image_source_of(const struct convert_source *s);

struct convert_image_sink {
	struct convert_sink sink;
	struct vhd *img;
	struct convert_writeback *wb;
};

/* The same for a new, all-zero image; `wb` is on its file. */
int convert_image_sink_init(struct convert_image_sink *s,
			    struct convert_job *job, struct vhd *img,
			    struct convert_writeback *wb, struct vhd_err *err);

/* ---------------------------------------------------------------- from -- */

struct convert_stats {
	uint64_t read_bytes;
	uint64_t written_bytes;
	uint64_t shared_bytes;
	int not_shared; /* errno that was in the way of sharing, or 0 */
	uint64_t done_bytes; /* the disk before this has been dealt with */
	uint64_t size_bytes; /* of the disk */
	uint64_t resumed_bytes; /* where this run began */
	bool finished; /* there was nothing left to do */
	uint64_t grown_bytes; /* by which the new one is larger */
	int64_t took_ms;
};

struct convert_stream;

/* What SRC is read as. */
struct convert_from {
	struct convert_source *source;
	struct convert_input in; /* an image file's; img NULL: it is none */
	struct convert_image_source image;
	struct convert_nbd_source *nbd;
	struct convert_stream *stream;
	struct stat st; /* of SRC; all zero: it is no file */
	int fd;         /* of a file that is a stream; or -1 */
	int spool_fd;   /* `in` is this temporary file; or -1 */
	bool gzip;      /* SRC was inflated */
	bool trailing;  /* ... and had something else behind that */
	const char *spool_why; /* what kept it from being used as it came */
};

/* The stream of `fd`, compressed or not, as `from`. */
int convert_from_stream(struct convert_from *from, struct convert_job *job,
			const struct convert_opts *opts, int fd,
			struct vhd_err *err);
/* Whether a file is to be read as a compressed stream. */
int convert_file_is_gzip(const struct convert_opts *opts, int fd, bool *stream,
			 struct vhd_err *err);

/* Bring a source whose size shows at its end into a raw or fixed file. */
int convert_to_grown(struct convert_job *job, const struct convert_opts *opts,
		     struct convert_source *src, struct convert_output *out,
		     struct convert_stats *stats, struct vhd_err *err);

/* Bring `from` into standard output or a compressed file. Returns 1 when what
 * was written differs.
 */
int convert_to_stream(struct convert_job *job, const struct convert_opts *opts,
		      struct convert_from *from, struct convert_stats *stats,
		      struct vhd_err *err);

int convert_from_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd_err *err);
void convert_from_close(struct convert_from *from);

/* Whether --from takes this word for a format that qemu-nbd reads. */
bool convert_foreign_known(const char *word);
/* Whether an operand is an NBD export's. */
bool convert_nbd_is_uri(const char *text);
/* The source is an export whose bytes are the disk's. */
bool convert_nbd_is_raw(const struct convert_opts *opts);

/* Bring `src` into the export that opts->dst names. Returns 1 when what was
 * written differs.
 */
int convert_to_nbd(struct convert_job *job, const struct convert_opts *opts,
		   struct convert_source *src, struct convert_stats *stats,
		   struct vhd_err *err);

/* ------------------------------------------------------------- children -- */

/* A sink that writes what differs from `opts->parent` to its new child, and
 * how much that was. Borrows the child; close releases the rest.
 */
int convert_diff_open(struct convert_sink **sink, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd *child,
		      const char *parent_dir, struct vhd_err *err);
uint64_t convert_diff_written(struct convert_sink *sink);

/* ------------------------------------------------------ copy and verify -- */

/* Pieces are cut at multiples of this. */
#define CONVERT_UNIT_BYTES (512u << 10)

/* Bring the data of `src` into `sink`, past the job's onlooker. The disk gets
 * stats->grown_bytes of zeros at its end.
 */
int convert_copy(struct convert_job *job, struct convert_source *src,
		 struct convert_sink *sink, struct convert_stats *stats,
		 struct vhd_err *err);

/* Tell what was done: the last step. `digest` may be NULL. */
struct convert_digest;
int convert_report(struct convert_job *job, const struct convert_opts *opts,
		   const struct convert_from *from,
		   const struct convert_stats *stats,
		   const struct convert_digest *digest, struct vhd_err *err);

/* How the library is to make DST. */
int convert_create_opts(const struct convert_opts *opts, uint64_t size_bytes,
			struct vhd_create_opts *create, struct vhd_err *err);

/* Everything between a source and a durable, named image file: `out` is open
 * and still without its name. Returns 1 when what was written differs.
 */
int convert_to_file(struct convert_job *job, const struct convert_opts *opts,
		    struct convert_source *src, struct convert_output *out,
		    struct convert_stats *stats, struct vhd_err *err);

/* Compare what two ends hold; the shorter one counts as zero behind its end.
 * Returns 0, or 1 with the first differing byte's offset on the disk in
 * `*at_bytes`, or a negative errno.
 */
int convert_compare_ends(struct convert_job *job, struct convert_source *a,
			 struct convert_source *b, uint64_t *at_bytes,
			 struct vhd_err *err);

/* Who wants to hear of every difference: runs of whole sectors, in the disk's
 * order. What is not 0 ends the comparison and is its result.
 */
struct convert_differ {
	int (*differ)(void *ctx, uint64_t off_bytes, uint64_t len_bytes);
	void *ctx;
};

/* Compare to the end. Returns 0 whatever was found, or a negative errno. */
int convert_differences(struct convert_job *job, struct convert_source *a,
			struct convert_source *b,
			const struct convert_differ *differ,
			struct vhd_err *err);

/* convert_compare_ends of two images. */
int convert_compare(struct convert_job *job, struct convert_input *a,
		    struct convert_input *b, uint64_t *at_bytes,
		    struct vhd_err *err);

/* Buffers that both use: `count` of `each_bytes`, page-aligned. NULL: no
 * memory, told in `err`.
 */
void *convert_buffers(size_t count, size_t each_bytes, struct vhd_err *err);
void convert_buffers_free(void *buffers, size_t count, size_t each_bytes);

/* Whether more may be read now; bytes read are told by convert_paid. */
bool convert_may_read(struct convert_job *job);
void convert_paid(struct convert_job *job, uint64_t bytes);

/* Wait for a request to finish, a signal, what is watched, time to read more,
 * or a short while.
 */
int convert_wait(struct convert_job *job, struct vhd_err *err);

/* Wait until everything in the queue has come back. */
void convert_drain(struct convert_job *job);

#endif
