/* SPDX-License-Identifier: BSD-2-Clause */
/* The VHD library: fixed, dynamic and differencing Virtual Hard Disks (and raw
 * disks, so that every tool treats all alike), opened, created, mapped and
 * moved.
 *
 * Units: a "sector" is 512 bytes; `lba` counts sectors of the virtual disk;
 *   names end in the unit they carry.
 * Errors: every call that can fail returns 0 (or a count) on success and a
 *   negative errno on failure; `err`, which may be NULL, receives the reason.
 *   A pointer comes back through an out parameter, written only on success.
 * Threads: a `struct vhd` may be shared by any number of queues, each owned
 *   by one thread. Opening, closing and the plain vhd_read/vhd_write calls
 *   belong to one thread at a time.
 * Parts: vhd_check.h (check, repair, undo, salvage), vhd_edit.h (operations on
 *   whole images) and vhd_stream.h (images front to back), all included here.
 * Source: Microsoft "Virtual Hard Disk Image Format Specification", 1.0.
 */
#ifndef VHD_H
#define VHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VHD_SECTOR_BYTES 512u
#define VHD_BLOCK_BYTES_DEFAULT (2u << 20)

/* How the bytes of the file are to be understood. */
enum vhd_format {
	VHD_FORMAT_AUTO = 0, /* probe; see vhd_info.probe for the verdict */
	VHD_FORMAT_RAW,      /* the disk and nothing else */
	VHD_FORMAT_FIXED,
	VHD_FORMAT_DYNAMIC,
	VHD_FORMAT_DIFF,     /* a child; needs vhd_open_opts.parent_dir */
};

const char *vhd_format_name(enum vhd_format format);

/* One image. Opaque. */
struct vhd;

/* ------------------------------------------------------------- opening -- */

/* An NBD server's export as the place of an image. Its size never changes: a
 * dynamic image grows within it. NBD has no locks: nothing keeps two from
 * writing.
 * A lost connection is made again; what was acknowledged and not flushed is
 * written again then. Requests wait for that for `reconnect_ms`, and fail with
 * -ENOTCONN (SERVER) afterwards. A server that has requests and answers none of
 * them for `answer_ms` counts as lost: so no wait is longer than both. What it
 * still does with requests that it was given before is not known: this has to
 * be more than it ever needs for one.
 */
struct vhd_nbd_opts {
	uint32_t reconnect_ms; /* 0: VHD_NBD_RECONNECT_MS */
	uint32_t answer_ms;    /* 0: VHD_NBD_ANSWER_MS */
	/* Called by the connection's thread before the image is looked at; a
	 * negative errno with its reason keeps it from opening. NULL is
	 * allowed.
	 */
	int (*thread_begins)(void *arg, struct vhd_err *err);
	void *thread_arg;
	/* One line for people: nothing was answered for 2 s after a connection
	 * was lost; there is one again; what is there now cannot be used. By
	 * the connection's thread. NULL is allowed.
	 */
	void (*tell)(void *arg, const char *line);
	void *tell_arg;
};

#define VHD_NBD_RECONNECT_MS 30000u
#define VHD_NBD_ANSWER_MS    60000u
#define VHD_NBD_FOREVER	     UINT32_MAX

/* From now on nothing waits longer than `ms` for an NBD server to answer, nor
 * for a new connection to it, that has this image or one it builds on, whatever
 * was said at opening; what waits then fails with -ENOTCONN. VHD_NBD_FOREVER:
 * as opened again. Images in files have nothing of this kind.
 * Thread: any, while the image is sure to stay open.
 */
void vhd_hurry(struct vhd *img, uint32_t ms);

/* "nbd://...", "nbd+unix://...", "nbds://..." and the like. */
bool vhd_is_nbd_uri(const char *text);

/* Make connections to `uri`, without TLS, for a process that cannot make any:
 * each time the other end of `fd` asks, until it is closed. `fd` is one of two
 * sockets that are connected to each other and keep packets apart
 * (SOCK_SEQPACKET); the other one, in that process, is a descriptor for
 * vhd_open_fds.
 * Errors: -ENOTSUP (UNSUPPORTED: a URI with TLS), -EPROTO and what the system
 *   says of `fd`. A server that cannot be reached is no error here: who asks is
 *   told.
 * Thread: the caller's, for all that time. Borrows both.
 */
int vhd_nbd_connector(int fd, const char *uri, struct vhd_err *err);

struct vhd_open_opts {
	enum vhd_format format; /* AUTO probes; naming one forbids guessing */
	bool writable;          /* takes the exclusive lock, else the shared */
	bool direct;            /* O_DIRECT for data where alignment permits */
	bool force_read;        /* read-only without any lock */
	bool inspect;           /* read-only, tolerate what refuses normal use
				 * as long as the structures can be shown */
	const char *parent_dir; /* DIFF: parents are looked for below this
				 * directory, in which the image must be, and
				 * nowhere else; NULL: they are not followed */
	bool larger_child;      /* DIFF: a child may be larger than its parent;
				 * what the parent lacks reads as zero */
	bool raw_parent;        /* DIFF: one that blktap made on a raw disk may
				 * name it. Such a disk has no id: any file
				 * below `parent_dir` can be named so */
	const char *parent_path; /* DIFF: its parent, in place of what the
				  * image says; NULL: as the image says. It
				  * must be the disk the image was made on */
	const struct vhd_nbd_opts *nbd; /* `path` and `parent_path` may be NBD
					 * URIs; NULL: they are files. No name
					 * out of an image is taken for one */
};

/* Open an existing image by path. NAME.vhd that has no footer of its own and
 * has NAME.v01 beside it is a split set, which is read as one file.
 * AUTO never takes a file for raw unless it carries no VHD structure at all.
 * Locks the file (OFD) before the first metadata read: exclusively where it is
 * writable, else shared with other readers. Such locks are advisory and of this
 * host; whether they reach over a network file system is its own affair.
 * Errors: -ENOENT and other open errors (SYSTEM), -EBUSY (LOCKED), -EISDIR
 *   and -EINVAL (NOT_FILE), -EUCLEAN for every malformed structure with its
 *   own `why`, -ENOTSUP (NEEDS_PARENT, UNSUPPORTED), -EROFS
 *   (READ_ONLY_LAYOUT), -ENOMEM.
 * A differencing disk is opened with all that it builds on: its parents, read
 *   only and under a shared lock, until one that is no child; they belong to
 *   it. Further errors: -ENOENT (PARENT_MISSING), -EUCLEAN (PARENT_ID: found
 *   by name, but another disk; PARENT_SIZE, CHAIN_CYCLE, CHAIN_DEPTH),
 *   -ENOTSUP (PARENT_RAW: not without `raw_parent`), and
 *   whatever opening a parent says. Those of parents name the parent.
 */
int vhd_open(const char *path, const struct vhd_open_opts *opts,
	     struct vhd **out, struct vhd_err *err);

/* The same from descriptors that somebody opened: `fds[0]` is the image, for
 * reading and writing where it is to be `writable`, and then not for
 * appending; its parents come in order, `count` in all. With `direct`, `fds[1]`
 * is the image opened with O_DIRECT, and parents come after it. Takes all of
 * them, whatever happens. `path` is for messages; no name is followed, whatever
 * `parent_dir` says. With `nbd`, one that is a socket stands for an image on a
 * server, and connections come from its other end (vhd_nbd_connector); an
 * answer that opening needs of that server is waited for no longer than some
 * seconds, all of them no longer than VHD_NBD_RECONNECT_MS. A lock that came
 * with a descriptor is kept or made what it must be.
 * Errors: as vhd_open; -ENOENT (PARENT_MISSING): too few descriptors;
 *   -EUCLEAN (PARENT_ID): one of them is not the parent.
 */
int vhd_open_fds(const int *fds, unsigned count, const char *path,
		 const struct vhd_open_opts *opts, struct vhd **out,
		 struct vhd_err *err);

/* Commit, restore the trailing footer to its place and release everything.
 * Takes `img` (may be NULL). No queue may still be attached.
 * A non-zero return says that the last data may not be durable.
 */
int vhd_close(struct vhd *img, struct vhd_err *err);

/* Release without writing anything more: after a failure or for a file that
 * is going to be deleted. Takes `img` (may be NULL).
 */
void vhd_abandon(struct vhd *img);

/* ------------------------------------------------------------ creating -- */

/* Whose work an image claims to be, as it goes into the footer. */
struct vhd_creator {
	uint8_t app[4];
	uint32_t version;
	uint8_t os[4];
};

struct vhd_create_opts {
	enum vhd_format format;    /* RAW, FIXED, DYNAMIC or DIFF */
	/* virtual size, multiple of 512; DIFF: 0 means the parent's */
	uint64_t size_bytes;
	/* DYNAMIC and DIFF; 0 means the default, which for a DIFF is what its
	 * parent has, because some readers assume so */
	uint32_t block_size_bytes;
	uint8_t unique_id[16];     /* bytes as they go into the footer */
	int64_t now_unix_s;        /* creation time */
	/* NULL: Windows 10's, which most readers treat best */
	const struct vhd_creator *creator;
	bool batmap;               /* with room for blktap's map of full
				    * blocks, none of them set; only where the
				    * creator is blktap's */
	bool direct;               /* as in vhd_open_opts */
	bool exclusive;            /* fail with -EEXIST where a file exists */
	bool no_sync;              /* vhd_flush and vhd_close sync nothing: for
				    * a file that is worth nothing before it is
				    * finished; the caller syncs it then */
	/* DIFF only, and both needed: the disk to build on, and the directory
	 * in which it, its own parents and the new image must be, as in
	 * vhd_open_opts */
	const char *parent_path;
	const char *parent_dir;
	bool larger_child;         /* DIFF: as in vhd_open_opts; allows
				    * `size_bytes` beyond the parent's */
	const char *final_path;    /* DIFF: where the file is going to be once
				    * it is finished, as its parent's name
				    * depends on that; NULL: where it is */
};

/* Create an image and open it for writing. The file is complete and valid
 * (all zero) on return, but not yet durable: vhd_flush or vhd_close does that.
 * An existing file is truncated only once it is locked and is not a directory.
 * Layout: Windows' own, data 4 KiB-aligned. Geometry: never such that a
 *   reader would truncate the disk.
 * A DIFF comes with its chain opened, as by vhd_open. It names its parent by a
 *   path relative to itself, an absolute one and the bare name, and by the
 *   parent's id. The parent is only read, and nobody may write to it from now
 *   on: nothing in the format would tell.
 * Errors: -EINVAL (ARGUMENT, SIZE_*), -EEXIST, -EBUSY, -ENOSPC, ...; DIFF:
 *   those of opening the parent; -EINVAL (ARGUMENT) smaller than it, or
 *   larger without leave; (PARENT_MISSING) not below `parent_dir`; -ENOTSUP
 *   (UNSUPPORTED) a raw disk or one without an id as the parent; -EUCLEAN
 *   (CHAIN_DEPTH, CHAIN_CYCLE).
 */
int vhd_create(const char *path, const struct vhd_create_opts *opts,
	       struct vhd **out, struct vhd_err *err);

/* --------------------------------------------------------------- facts -- */

struct vhd_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors_per_track;
};

enum vhd_footer_state {
	VHD_FOOTER_ABSENT = 0,   /* this place has no footer by design */
	VHD_FOOTER_OK,
	VHD_FOOTER_MISSING,      /* should be there; is not */
	VHD_FOOTER_BAD_CHECKSUM,
	VHD_FOOTER_DIFFERS,      /* valid, but not the one in force */
};

/* Things worth telling that do not keep the image from being used. */
enum vhd_note {
	VHD_NOTE_DIRTY = 1u << 0,          /* writer was interrupted */
	VHD_NOTE_FOOTER_511 = 1u << 1,     /* pre-2004 511-byte footer */
	VHD_NOTE_FORGED_START = 1u << 2,   /* fixed, LBA 0 looks like a VHD */
	VHD_NOTE_NEXT_OFFSET = 1u << 3,    /* dynamic header: next != -1 */
	VHD_NOTE_TABLE_LONG = 1u << 4,     /* more BAT entries than needed */
	VHD_NOTE_SAVED_STATE = 1u << 5,
	VHD_NOTE_UNKNOWN_FEATURES = 1u << 6,
	VHD_NOTE_BATMAP = 1u << 7,         /* blktap batmap present */
	VHD_NOTE_RESERVED_NONZERO = 1u << 8,
	VHD_NOTE_LAST_BLOCK_SHORT = 1u << 9, /* file ends inside last block */
	VHD_NOTE_FOOTERS_DIFFER = 1u << 10,  /* both valid, not identical */
	VHD_NOTE_BATMAP_BAD = 1u << 11,      /* ... and points nowhere */
	VHD_NOTE_LOCATOR_BAD = 1u << 12,     /* parent locator is ignored */
	VHD_NOTE_PARENT_TIME = 1u << 13,     /* parent changed since, perhaps */
	VHD_NOTE_RESIZE_CUT = 1u << 14,      /* a resize was interrupted */
	VHD_NOTE_SPLIT = 1u << 15,           /* several files; only read */
	VHD_NOTE_TABLE_EXTRA = 1u << 16,     /* entries behind the disk in use */
	VHD_NOTE_HIDDEN = 1u << 17,          /* blktap: inner node of a chain */
	VHD_NOTE_COUNT_BITS = 18,
};

/* All that is known about an open image. Owned by the image. */
struct vhd_info {
	enum vhd_format format;
	bool probed;               /* `format` was found, not named */
	char probe[120];           /* what decided it, for people */
	uint64_t size_bytes;       /* virtual size in use */
	uint64_t file_bytes;       /* length of the file at opening */
	uint32_t notes;            /* of enum vhd_note */
	/* opened with `inspect`: what would have refused normal use */
	uint32_t faults;
	struct vhd_err fault;      /* the first of them; why NONE for none */

	/* VHD only (all zero for RAW) */
	uint64_t original_size_bytes;
	struct vhd_geometry geometry;
	uint64_t geometry_bytes;   /* C * H * S * 512 */
	uint32_t features;
	uint32_t version;
	uint8_t creator_app[4];
	uint32_t creator_version;
	uint8_t creator_os[4];
	uint32_t timestamp_s;      /* since 2000-01-01 UTC */
	uint8_t unique_id[16];
	uint8_t saved_state;
	uint32_t footer_checksum;
	enum vhd_footer_state footer_end;
	enum vhd_footer_state footer_copy;
	uint64_t footer_end_bytes; /* where the trailing one is or belongs */

	/* DYNAMIC and DIFF only */
	uint64_t header_bytes;     /* offset of the dynamic header */
	uint64_t table_bytes;      /* offset of the BAT */
	uint32_t table_entries;    /* as the header says */
	uint32_t blocks;           /* ceil(size / block size) */
	uint32_t block_size_bytes;
	uint32_t bitmap_bytes;     /* in front of each block's data */
	uint32_t blocks_used;
	uint32_t blocks_aligned;   /* used, data on a 4 KiB boundary */
	uint32_t fragments;        /* runs of blocks adjacent in the file */
	uint8_t parent_id[16];
	uint32_t parent_timestamp_s;
	uint8_t parent_name_utf16be[512];
	uint32_t layers;           /* this image and the parents below it */
};

const struct vhd_info *vhd_get_info(const struct vhd *img);

/* The most images that may stand on one another. */
#define VHD_CHAIN_MAX 256u

/* One image of a chain. */
struct vhd_layer {
	const char *path; /* absolute; NULL: not opened by path as a chain */
	const struct vhd_info *info;
	int fd;           /* of the file, or -1: for questions such as where
			   * its holes are, neither to be read nor closed */
};

/* Layer `i` of an image: 0 is the image itself, info.layers - 1 the lowest.
 * Everything in `out` belongs to the image. Errors: -EINVAL: no such layer.
 */
int vhd_layer(const struct vhd *img, unsigned i, struct vhd_layer *out);

/* The `i`th path at which the lowest layer's parent is looked for, relative
 * to that layer's directory: what its locators and its header say, without
 * repetition. Returns the length; -ENOENT: no more of them; -ENAMETOOLONG.
 */
int vhd_parent_path(const struct vhd *img, unsigned i, char *buf, size_t n);

/* One line for a note bit, "" for an unknown one. */
const char *vhd_note_text(enum vhd_note note);

/* Product behind a creator tag ("Hyper-V / Windows", ...), or NULL. */
const char *vhd_creator_name(const uint8_t app[4], uint32_t version);

/* Virtual size a reader that trusts the geometry would show: QEMU before 10
 * for most creators, Virtual PC. Equal to size_bytes where none truncates.
 */
uint64_t vhd_chs_reader_bytes(const struct vhd_info *info);

/* The geometry the specification's appendix gives for a size. */
struct vhd_geometry vhd_geometry_from_size(uint64_t size_bytes);

/* ----------------------------------------------------------------- map -- */

enum vhd_run_kind {
	VHD_RUN_FILE,   /* bytes at `off_bytes` in the file */
	VHD_RUN_ZERO,   /* reads as zero although the block has space */
	VHD_RUN_HOLE,   /* reads as zero; nothing allocated */
	VHD_RUN_PARENT, /* lives in the parent (differencing) */
};

struct vhd_run {
	enum vhd_run_kind kind;
	uint64_t off_bytes; /* VHD_RUN_FILE: absolute offset, else 0 */
	uint64_t sectors;   /* length of the run, at least 1 */
};

/* Map the start of [lba, lba + sectors) to where its bytes live; the run is
 * as long as one answer covers, at most `sectors`. Never allocates.
 * May read the block's sector bitmap once. Any thread.
 * Errors: -EINVAL (RANGE) past the end or sectors == 0; -EIO.
 */
int vhd_map(struct vhd *img, uint64_t lba, uint64_t sectors,
	    struct vhd_run *run, struct vhd_err *err);

/* The same down through the parents: never VHD_RUN_PARENT where they are
 * open. `*layer` becomes the number of the layer that decided, in whose file
 * VHD_RUN_FILE lies. A run may be cut short of what it could be.
 */
int vhd_map_chain(struct vhd *img, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, unsigned *layer, struct vhd_err *err);

/* The same of layer `i` alone, as if it had no parents open: what it lacks is
 * VHD_RUN_PARENT. The range is of that layer's disk, which may be smaller.
 */
int vhd_layer_map(struct vhd *img, unsigned i, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, struct vhd_err *err);

/* Where a block of layer `i` lies in that layer's file: `*off_bytes` becomes
 * the offset of its bitmap, behind which is its data, or 0 where it has no
 * place. No I/O. Any thread.
 * Errors: -EINVAL: no such layer or block, or a layer without blocks.
 */
int vhd_layer_block(const struct vhd *img, unsigned i, uint32_t block,
		    uint64_t *off_bytes);

/* Like vhd_map of an image open for writing, but what has no place gets one,
 * so that the run is always VHD_RUN_FILE: for a caller that puts the bytes
 * there by other means than writing, such as sharing another file's blocks.
 * All of the run reads as zero or as before until they are there; vhd_flush
 * covers them then.
 * Errors: those of a write; -ENOTSUP (UNSUPPORTED) for a differencing disk,
 *   where a sector counts only once it is written.
 */
int vhd_place(struct vhd *img, uint64_t lba, uint64_t sectors,
	      struct vhd_run *run, struct vhd_err *err);

/* -------------------------------------------- simple synchronous bytes -- */

/* Whole-range transfers at byte offsets that are multiples of 512.
 * Not to be mixed with queues on the same image at the same time.
 */
int vhd_read(struct vhd *img, uint64_t off_bytes, void *buf, size_t len_bytes,
	     struct vhd_err *err);
int vhd_write(struct vhd *img, uint64_t off_bytes, const void *buf,
	      size_t len_bytes, struct vhd_err *err);

/* Have the start of [lba, lba + sectors) read as zero without writing zeros:
 * what reads so is left alone, what is in the image's own file becomes a hole
 * of it. As far as one run of the map goes: `*done_sectors`, at least 1.
 * Durable with the next flush. Any thread, beside queues, too.
 * Errors: -EOPNOTSUPP (UNSUPPORTED): only a write can do it, for the
 *   `*done_sectors` that are set then as well; a parent has the bytes, or the
 *   host's file system has no holes. -EROFS (READ_ONLY), -EIO (IO, POISONED),
 *   -EINVAL (RANGE), ...
 */
int vhd_zero(struct vhd *img, uint64_t lba, uint64_t sectors,
	     uint64_t *done_sectors, struct vhd_err *err);

/* Everything written before is readable after a power cut on return. */
int vhd_flush(struct vhd *img, struct vhd_err *err);
/* Whether a sync or metadata write has failed: all later writes and flushes
 * fail, too, until the image is opened again. Any thread.
 */
bool vhd_poisoned(const struct vhd *img);

/* --------------------------------------------------------------- queue -- */

enum vhd_engine {
	VHD_ENGINE_AUTO = 0, /* uring, else aio, else sync */
	VHD_ENGINE_URING,
	VHD_ENGINE_AIO,
	VHD_ENGINE_SYNC,
};

const char *vhd_engine_name(enum vhd_engine engine);

enum vhd_op {
	VHD_OP_READ,
	VHD_OP_WRITE,
	VHD_OP_FLUSH,
	VHD_OP_ZERO, /* `sectors` from `lba` read as zero; no buffers */
};

/* WRITE: durable before completion; nothing to a READ or FLUSH, and refused with
 * a ZERO.
 */
#define VHD_REQ_FUA 1u
/* ZERO: sectors that only writing zeros could reach (a parent's, or of a host
 * file system without holes) stay as they are.
 */
#define VHD_REQ_UNMAP 2u

/* One request. The caller owns the memory and keeps it, `iov` and the buffers
 * alive from vhd_queue_submit until vhd_queue_reap returns it.
 * Order: requests in flight together are independent of each other. A FLUSH
 *   covers every write to the image, through any queue, that completed before
 *   the FLUSH was submitted, and no other.
 * ZERO gives the image's own file space back where it can and takes none for
 *   what reads as zero already. It is a write in all else.
 * Errors: -EINVAL (ARGUMENT: not attached, unknown op or flag, buffers not
 *   whole sectors; RANGE), -EROFS (READ_ONLY), -EIO (IO, SHORT_IO, POISONED),
 *   -ENOSPC, -EDQUOT and -EFBIG (NO_SPACE), -ECANCELED (CANCELLED), -ENOTSUP
 *   (NEEDS_PARENT). A failed sync poisons the image: the requests that waited
 *   for it fail, and so do all later writes and flushes.
 */
struct vhd_req {
	/* set by the caller */
	struct vhd *img;         /* attached to the queue */
	enum vhd_op op;
	uint32_t flags;          /* of VHD_REQ_* */
	uint64_t lba;
	uint64_t sectors;        /* ZERO; others: as long as the buffers */
	const struct iovec *iov; /* lengths sum to a multiple of 512 */
	uint32_t iov_count;
	void *user;              /* not touched */

	/* result: 0, or a negative errno with its reason; of several faults
	 * in one request the first one that was seen
	 */
	int result;
	enum vhd_why why;
	uint64_t bad_lba;        /* on failure: first sector not known done */

	/* the queue's own */
	struct vhd_req *next_;
	uint64_t len_bytes_;
	uint64_t cursor_bytes_;   /* sent out up to here */
	uint64_t bad_bytes_;      /* lowest position of a fault */
	uint64_t iov_skip_bytes_; /* the cursor, in iov[iov_index_] */
	uint32_t iov_index_;
	uint32_t pending_;        /* pieces out */
	uint32_t state_;
};

/* A queue: one owner thread, any number of images, one engine. It may be made
 * and given its first images by one thread and then handed to another; from
 * the first kick, reap or wait on that one is the owner.
 */
struct vhd_queue;

#define VHD_QUEUE_DEPTH_DEFAULT 128u
#define VHD_QUEUE_DEPTH_MAX 4096u

struct vhd_queue_opts {
	enum vhd_engine engine; /* AUTO chooses, and while the queue is idle
				 * changes to SYNC for an image that only this
				 * can serve, such as a split set; naming one
				 * forbids others */
	uint32_t depth;         /* file operations in flight; 0: the default */
	bool nbd_later; /* an image on an NBD server may be attached where its
			 * thread can make no descriptors any more: so what
			 * that needs is made now */
};

/* Errors: -EINVAL, -ENOMEM, -ENOSYS/-EPERM where a named engine is barred. */
int vhd_queue_create(const struct vhd_queue_opts *opts, struct vhd_queue **out,
		     struct vhd_err *err);
/* Nothing may be in flight. Takes `q` (may be NULL). */
void vhd_queue_destroy(struct vhd_queue *q);

enum vhd_engine vhd_queue_engine(const struct vhd_queue *q);

/* Say in which memory the buffers of most requests will lie, once and before
 * the first request. An engine that can (uring) has the kernel keep it at hand:
 * the pages are there from now on and counted as locked (RLIMIT_MEMLOCK), for
 * each queue anew. Requests with one buffer in it save the kernel a look at
 * each page; all others work as before, and all do after an error.
 * Borrows the memory until the queue is destroyed; `mem` until return.
 * Errors: -ENOTSUP (this engine has no use for it), -EINVAL, -EBUSY (too
 *   late), -ENOMEM (more than may be locked), and what the system says.
 */
#define VHD_QUEUE_MEMORY_MAX 8
int vhd_queue_memory(struct vhd_queue *q, const struct iovec *mem,
		     unsigned count, struct vhd_err *err);

/* Make an image's requests acceptable to this queue (registers its files).
 * Borrows `img` until detached. At most VHD_QUEUE_IMAGES_MAX images. Nothing
 * of `img` may be in flight when it is detached.
 * Errors: -EEXIST (attached already), -ENOSPC (too many), -ENOTSUP (the engine
 *   cannot serve the file), and what the system says.
 */
#define VHD_QUEUE_IMAGES_MAX 256
int vhd_queue_attach(struct vhd_queue *q, struct vhd *img, struct vhd_err *err);
void vhd_queue_detach(struct vhd_queue *q, struct vhd *img);

/* Take a request. Never blocks on data, never fails: a bad request completes
 * with its error. It may stay in the queue until vhd_queue_kick, _reap or
 * _wait, so that a batch costs one system call.
 */
void vhd_queue_submit(struct vhd_queue *q, struct vhd_req *req);
void vhd_queue_kick(struct vhd_queue *q);

/* Collect up to `max` finished requests; each exactly once. Does not block.
 * Returns how many.
 */
unsigned vhd_queue_reap(struct vhd_queue *q, struct vhd_req **done,
			unsigned max);

/* Block until a request is finished, `wake_fd` (-1 for none) is readable, or
 * `timeout_ms` (-1 for none) has passed; with nothing of the three to wait
 * for, return. May return early, as after a signal. Returns 0, or a negative
 * errno when the engine itself broke (every request then completes with -EIO).
 * A descriptor given as `wake_fd` is watched until another one is given: close
 * it only after that or after vhd_queue_destroy.
 */
int vhd_queue_wait(struct vhd_queue *q, int wake_fd, int timeout_ms);

/* Whether the engine broke: nothing but closing the queue helps. */
bool vhd_queue_broken(const struct vhd_queue *q);

/* Requests submitted and not yet reaped. */
unsigned vhd_queue_in_flight(const struct vhd_queue *q);

/* Ask for an early end: the request still completes exactly once, with
 * -ECANCELED unless it had finished anyway.
 */
void vhd_queue_cancel(struct vhd_queue *q, struct vhd_req *req);

#ifdef __cplusplus
}
#endif

#include "vhd_check.h"
#include "vhd_edit.h"
#include "vhd_stream.h"

#endif
