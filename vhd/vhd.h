/* SPDX-License-Identifier: BSD-2-Clause */
/* The VHD library: fixed and dynamic Virtual Hard Disks (and raw disks, so
 * that every tool treats both alike), opened, created, mapped and moved.
 *
 * Units: a "sector" is 512 bytes; `lba` counts sectors of the virtual disk;
 *   names end in the unit they carry.
 * Errors: every call that can fail returns 0 (or a count) on success and a
 *   negative errno on failure; `err`, which may be NULL, receives the reason.
 *   A pointer comes back through an out parameter, written only on success.
 * Threads: a `struct vhd` may be shared by any number of queues, each owned
 *   by one thread. Opening, closing and the plain vhd_read/vhd_write calls
 *   belong to one thread at a time.
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
};

/* Open an existing image by path.
 * AUTO never takes a file for raw unless it carries no VHD structure at all.
 * Locks the file (OFD) before the first metadata read.
 * Errors: -ENOENT and other open errors (SYSTEM), -EBUSY (LOCKED), -EISDIR
 *   and -EINVAL (NOT_FILE), -EUCLEAN for every malformed structure with its
 *   own `why`, -ENOTSUP (NEEDS_PARENT, UNSUPPORTED), -EROFS
 *   (READ_ONLY_LAYOUT), -ENOMEM.
 * A differencing disk is opened with all that it builds on: its parents, read
 *   only and under a shared lock, until one that is no child; they belong to
 *   it. Further errors: -ENOENT (PARENT_MISSING), -EUCLEAN (PARENT_ID: found
 *   by name, but another disk; PARENT_SIZE, CHAIN_CYCLE, CHAIN_DEPTH), and
 *   whatever opening a parent says. Those of parents name the parent.
 */
int vhd_open(const char *path, const struct vhd_open_opts *opts,
	     struct vhd **out, struct vhd_err *err);

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
	enum vhd_format format;    /* RAW, FIXED or DYNAMIC */
	uint64_t size_bytes;       /* virtual size, multiple of 512 */
	uint32_t block_size_bytes; /* DYNAMIC; 0 means the default */
	uint8_t unique_id[16];     /* bytes as they go into the footer */
	int64_t now_unix_s;        /* creation time */
	/* NULL: Windows 10's, which most readers treat best */
	const struct vhd_creator *creator;
	bool direct;               /* as in vhd_open_opts */
	bool exclusive;            /* fail with -EEXIST where a file exists */
	bool no_sync;              /* vhd_flush and vhd_close sync nothing: for
				    * a file that is worth nothing before it is
				    * finished; the caller syncs it then */
};

/* Create an image and open it for writing. The file is complete and valid
 * (all zero) on return, but not yet durable: vhd_flush or vhd_close does that.
 * An existing file is truncated only once it is locked and is not a directory.
 * Layout: Windows' own, data 4 KiB-aligned. Geometry: never such that a
 *   reader would truncate the disk.
 * Errors: -EINVAL (ARGUMENT, SIZE_*), -EEXIST, -EBUSY, -ENOSPC, ...
 */
int vhd_create(const char *path, const struct vhd_create_opts *opts,
	       struct vhd **out, struct vhd_err *err);

/* ------------------------------------------------------------ in place -- */

struct vhd_in_place_opts {
	enum vhd_format from; /* RAW or FIXED: what the file is */
	enum vhd_format to;   /* the other of the two */
	bool force;           /* even where the raw disk looks like a VHD */
	/* the rest: to FIXED only */
	uint64_t size_bytes;  /* of the disk then, not below what it is now;
			       * the rest is zero. 0: as it is */
	uint8_t unique_id[16];
	int64_t now_unix_s;
	const struct vhd_creator *creator; /* as in vhd_create_opts */
};

/* Turn a raw disk into a fixed VHD or back without copying: its footer is put
 * behind it or cut off. Locks the file exclusively. At every instant, a power
 * cut's included, the file is one of the two and whole; durable on return.
 * Errors: those of opening for writing; -EUCLEAN (what vhd_open says of a
 *   fixed disk; LOOKS_LIKE_VHD: the raw disk before or after would be taken
 *   for a VHD, as when this is done twice), -EINVAL (ARGUMENT, SIZE_*;
 *   NOT_FILE for devices), -ENOSPC. After a failed sync it is not known which
 *   of the two a power cut would leave.
 */
int vhd_in_place(const char *path, const struct vhd_in_place_opts *opts,
		 struct vhd_err *err);

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
	VHD_NOTE_COUNT_BITS = 15,
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

/* Everything written before is readable after a power cut on return. */
int vhd_flush(struct vhd *img, struct vhd_err *err);

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
};

#define VHD_REQ_FUA 1u /* WRITE: durable before completion; else no effect */

/* One request. The caller owns the memory and keeps it, `iov` and the buffers
 * alive from vhd_queue_submit until vhd_queue_reap returns it.
 * Order: requests in flight together are independent of each other. A FLUSH
 *   covers every write to the image, through any queue, that completed before
 *   the FLUSH was submitted, and no other.
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
	enum vhd_engine engine; /* AUTO chooses; naming one forbids others */
	uint32_t depth;         /* file operations in flight; 0: the default */
};

/* Errors: -EINVAL, -ENOMEM, -ENOSYS/-EPERM where a named engine is barred. */
int vhd_queue_create(const struct vhd_queue_opts *opts, struct vhd_queue **out,
		     struct vhd_err *err);
/* Nothing may be in flight. Takes `q` (may be NULL). */
void vhd_queue_destroy(struct vhd_queue *q);

enum vhd_engine vhd_queue_engine(const struct vhd_queue *q);

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

/* Requests submitted and not yet reaped. */
unsigned vhd_queue_in_flight(const struct vhd_queue *q);

/* Ask for an early end: the request still completes exactly once, with
 * -ECANCELED unless it had finished anyway.
 */
void vhd_queue_cancel(struct vhd_queue *q, struct vhd_req *req);

/* --------------------------------------------------------------- check -- */

enum vhd_severity {
	VHD_SEVERITY_INFO,    /* worth knowing; nothing is wrong */
	VHD_SEVERITY_WARNING, /* some program will misread or refuse it */
	VHD_SEVERITY_ERROR,   /* against the format, or data is at risk */
};

/* Products whose demands can be asked for. */
enum vhd_target {
	VHD_TARGET_NONE = 0,
	VHD_TARGET_HYPERV,     /* Hyper-V and Windows 7 or later */
	VHD_TARGET_AZURE,      /* upload as a managed disk or page blob */
	VHD_TARGET_VIRTUALPC,  /* Virtual PC 2004 and 2007 */
	VHD_TARGET_XENSERVER,  /* XenServer and XCP-ng (blktap) */
	VHD_TARGET_VIRTUALBOX,
	VHD_TARGET_QEMU,
	VHD_TARGET_COUNT
};

/* "hyperv", ...; NULL for NONE and what is none. */
const char *vhd_target_name(enum vhd_target target);

/* What a check can find. New codes go to the end of their group. */
enum vhd_finding_code {
	/* footers */
	VHD_FIND_FOOTER_MISSING,    /* none at the end */
	VHD_FIND_FOOTER_CHECKSUM,
	VHD_FIND_FOOTER_VERSION,
	VHD_FIND_FOOTER_TYPE,
	VHD_FIND_FOOTER_511,        /* 511 bytes, before Virtual PC 2004 */
	VHD_FIND_COPY_MISSING,      /* none at offset 0 */
	VHD_FIND_COPY_CHECKSUM,
	VHD_FIND_FOOTERS_DIFFER,
	VHD_FIND_POISON_COOKIE,
	VHD_FIND_SIZE,              /* 0, not whole sectors, past the limit */
	VHD_FIND_ORIGINAL_SIZE,     /* differs from the size now */
	VHD_FIND_FILE_LENGTH,       /* fixed: file is not size + footer */
	VHD_FIND_GEOMETRY,          /* none that any rule gives */
	VHD_FIND_GEOMETRY_CUTS,     /* readers that trust it lose the tail */
	VHD_FIND_FEATURES,
	VHD_FIND_DATA_OFFSET,
	VHD_FIND_FORGED_START,      /* fixed disk whose LBA 0 imitates a VHD */
	VHD_FIND_ID_ZERO,
	VHD_FIND_TIMESTAMP,         /* in the future */
	VHD_FIND_SAVED_STATE,
	VHD_FIND_HIDDEN,            /* blktap: inner node of a chain */
	VHD_FIND_RESERVED,          /* reserved bytes are not zero */
	VHD_FIND_CREATOR,           /* unknown, or not handled */
	/* dynamic header */
	VHD_FIND_HEADER_COOKIE,
	VHD_FIND_HEADER_CHECKSUM,
	VHD_FIND_HEADER_VERSION,
	VHD_FIND_NEXT_OFFSET,
	VHD_FIND_BLOCK_SIZE,
	VHD_FIND_BLOCK_SIZE_RARE,   /* neither 512 KiB nor 2 MiB */
	VHD_FIND_TABLE_OFFSET,
	VHD_FIND_TABLE_ENTRIES,
	VHD_FIND_TABLE_SHORT,
	VHD_FIND_TABLE_LONG,
	VHD_FIND_TABLE_PAST_END,
	/* parent */
	VHD_FIND_PARENT,            /* differencing: parent not looked at */
	VHD_FIND_PARENT_NAME,
	VHD_FIND_LOCATOR_LENGTH,
	VHD_FIND_LOCATOR_PLACE,
	VHD_FIND_LOCATOR_PLATFORM,
	VHD_FIND_LOCATOR_NONE,
	VHD_FIND_PARENT_MISSING,    /* none where one may be looked for */
	VHD_FIND_PARENT_ID,         /* another disk has its name */
	VHD_FIND_PARENT_SIZE,
	VHD_FIND_PARENT_TIME,       /* changed since, perhaps */
	VHD_FIND_PARENT_FAULT,      /* it is there, but refused */
	VHD_FIND_CHAIN,             /* a cycle, or too deep */
	/* block allocation table */
	VHD_FIND_BAT_IN_METADATA,
	VHD_FIND_BAT_PAST_END,
	VHD_FIND_BAT_CUT,           /* file or footer begins inside a block */
	VHD_FIND_BAT_SHORT_LAST,    /* the same, but behind the disk's end */
	VHD_FIND_BAT_DUPLICATE,
	VHD_FIND_BAT_OVERLAP,
	VHD_FIND_BAT_EXTRA,         /* entry behind the disk's last is used */
	VHD_FIND_BAT_PADDING,       /* neither all 0 nor all 1 */
	VHD_FIND_UNALIGNED,
	VHD_FIND_ORPHAN_SPACE,      /* between blocks, belongs to nothing */
	VHD_FIND_TAIL_GAP,          /* between last block and footer */
	/* blktap's batmap */
	VHD_FIND_BATMAP_PLACE,
	VHD_FIND_BATMAP_SIZE,
	VHD_FIND_BATMAP_CHECKSUM,
	VHD_FIND_BATMAP_STALE,      /* says full of a block that is not */
	/* bitmaps and data */
	VHD_FIND_BITMAP_HIDES,      /* 0 over bytes that are not zero */
	VHD_FIND_UNREADABLE,        /* the medium fails */
	/* the host's file */
	VHD_FIND_HOST_SPARSE,
	VHD_FIND_HOST_ATTRIBUTE,    /* compressed or encrypted */
	/* demands of a product */
	VHD_FIND_WANTS_TYPE,
	VHD_FIND_WANTS_SIZE,
	VHD_FIND_WANTS_BLOCK_SIZE,
	VHD_FIND_WANTS_CREATOR,
	VHD_FIND_WANTS_GEOMETRY,
	VHD_FIND_WANTS_TABLE,
	VHD_FIND_WANTS_NAME,
	VHD_FIND_WANTS_BATMAP,
	VHD_FIND_WANTS_ALIGNMENT,
	VHD_FIND_COUNT
};

/* "bat-duplicate", ...: stable words. */
const char *vhd_finding_name(enum vhd_finding_code code);

#define VHD_NO_BLOCK UINT64_MAX

struct vhd_finding {
	enum vhd_severity severity;
	enum vhd_finding_code code;
	enum vhd_why why;  /* for which vhd_open refuses the image, or NONE */
	uint32_t hresult;  /* what Windows would say, 0xC03A00xx, or 0 */
	bool refuses;      /* the target asked for does not take it so */
	uint64_t at_bytes; /* in the file */
	uint64_t block;    /* or VHD_NO_BLOCK */
	char text[240];    /* for people; never parsed */
};

#define VHD_CHECK_LIMIT_DEFAULT 32u

struct vhd_check_opts {
	enum vhd_format format;  /* AUTO, FIXED, DYNAMIC or DIFF */
	bool data;               /* read every allocated byte, too */
	bool force_read;         /* without the shared lock */
	const char *parent_dir;  /* as in vhd_open_opts; NULL: parents are not
				  * looked at */
	enum vhd_target target;
	const char *name;        /* of the file, for demands on it; or NULL */
	int64_t now_unix_s;      /* 0: dates are not judged */
	uint32_t limit;          /* findings of one code told; the rest is
				  * only counted. 0: the default */
	/* Called for each finding, and now and then while data is read.
	 * What is not 0 ends the check with -ECANCELED. Either may be NULL.
	 */
	int (*found)(void *ctx, const struct vhd_finding *f);
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t total_bytes);
	void *ctx;
};

struct vhd_check_result {
	enum vhd_format format;
	uint64_t size_bytes;    /* virtual, as the footer in force has it */
	uint64_t file_bytes;
	uint32_t blocks_used;
	uint32_t layers;        /* with the parents, where they were opened */
	uint64_t orphan_bytes;  /* in the file, used by nothing */
	uint64_t count[VHD_FIND_COUNT];
	uint64_t severity_count[3];
	uint64_t refusals;      /* findings for which `target` refuses */
};

/* Look at everything that metadata says and tell each fault, not only the
 * first. Reads only. O(n log n) in the blocks; memory: 16 bytes a block.
 * Errors: those of opening the file; -EUCLEAN with NOT_VHD, IS_VHDX or
 *   TOO_SMALL where there is nothing of a VHD to check; -ECANCELED.
 * Thread: any; the file is opened for the call.
 */
int vhd_check(const char *path, const struct vhd_check_opts *opts,
	      struct vhd_check_result *result, struct vhd_err *err);

/* -------------------------------------------------------------- repair -- */

enum vhd_repair_code {
	VHD_REPAIR_FOOTER_END,      /* trailing footer written anew */
	VHD_REPAIR_FOOTER_COPY,     /* copy at offset 0 likewise */
	VHD_REPAIR_FOOTER_CHECKSUM,
	VHD_REPAIR_FOOTER_MOVE,     /* footer put behind the last block */
	VHD_REPAIR_FOOTER_REBUILD,  /* both were lost */
	VHD_REPAIR_GEOMETRY,
	VHD_REPAIR_ID,              /* all zero before */
	VHD_REPAIR_HEADER_CHECKSUM,
	VHD_REPAIR_NEXT_OFFSET,
	VHD_REPAIR_BAT_CLEAR,       /* a block given up */
	VHD_REPAIR_BAT_EXTRA,       /* entry behind the disk's end cleared */
	VHD_REPAIR_BATMAP,
	VHD_REPAIR_COUNT
};

const char *vhd_repair_name(enum vhd_repair_code code);

/* Which footer is in force where two sound ones describe different disks. */
enum vhd_prefer {
	VHD_PREFER_NONE = 0, /* that is left as it is */
	VHD_PREFER_END,
	VHD_PREFER_COPY,
};

struct vhd_repair_step {
	enum vhd_repair_code code;
	bool lossy;          /* content of the disk changes */
	bool held_back;      /* not done: needs `lossy` */
	uint64_t at_bytes;
	uint64_t block;      /* or VHD_NO_BLOCK */
	uint64_t lost_bytes; /* lossy: part of the disk from here on ... */
	uint64_t lost_len_bytes; /* ... that will read otherwise */
	char text[240];
};

struct vhd_repair_opts {
	enum vhd_format format;  /* as in vhd_check_opts */
	bool write;              /* else only the plan is told */
	bool lossy;              /* give up blocks that cannot be right */
	enum vhd_prefer prefer;
	uint64_t size_bytes;     /* both footers lost: the disk's size */
	uint8_t new_id[16];      /* for an image without one; not all zero */
	int64_t now_unix_s;      /* for a footer made anew */
	const char *undo_path;   /* file to make for the replaced bytes; must
				  * not exist. NULL: none is kept */
	int (*step)(void *ctx, const struct vhd_repair_step *s);
	void *ctx;
};

struct vhd_repair_result {
	uint64_t steps;          /* to be done, or done */
	uint64_t held_back;
	uint64_t written_bytes;  /* to be replaced, or replaced */
	uint64_t old_file_bytes;
	uint64_t new_file_bytes;
};

/* Plan what can be put right and, with `write`, do it: the undo file is made
 * and durable before the first byte changes. Each step leads from one state
 * that can be repaired to another, so a repair that was cut off is simply run
 * again. A repaired image gives an empty plan.
 * Errors: those of opening; -EUCLEAN with its reason where there is no safe
 *   repair; -EEXIST (SYSTEM) the undo file; -ECANCELED: `step` said so, and
 *   nothing was written.
 */
int vhd_repair(const char *path, const struct vhd_repair_opts *opts,
	       struct vhd_repair_result *result, struct vhd_err *err);

struct vhd_undo_result {
	uint64_t records;
	uint64_t restored_bytes; /* that were not yet as before */
	uint64_t old_file_bytes; /* before the repair, and now again */
};

/* Bring back what a repair replaced, byte for byte, and the file's length.
 * May be repeated. Refuses an image that was changed since the repair, unless
 * `force`.
 * Errors: -EUCLEAN (UNDO_FILE) the undo file is damaged or not one;
 *   (UNDO_MISMATCH) it belongs to another image or another state of it.
 */
int vhd_undo(const char *path, const char *undo_path, bool force,
	     struct vhd_undo_result *result, struct vhd_err *err);

/* A part of the disk that could not be copied as it was. */
struct vhd_salvage_loss {
	uint64_t off_bytes;  /* on the disk */
	uint64_t len_bytes;
	enum vhd_why why;
	bool doubtful;       /* copied, but may be another block's content */
};

struct vhd_salvage_opts {
	enum vhd_format format;
	uint64_t size_bytes;   /* where no footer tells it */
	bool force_read;       /* without the shared lock */
	bool replace;          /* `out_path` may exist and is then emptied */
	uint8_t unique_id[16]; /* of the new image */
	int64_t now_unix_s;
	int (*lost)(void *ctx, const struct vhd_salvage_loss *loss);
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t total_bytes);
	void *ctx;
};

struct vhd_salvage_result {
	uint64_t size_bytes;
	uint64_t copied_bytes;   /* that were not zero */
	uint64_t lost_bytes;
	uint64_t doubtful_bytes;
};

/* Copy all that can be read of a damaged image into a new dynamic one, and
 * tell what cannot. Sectors the medium does not give are left zero and told.
 * The source is only read. After a failure the new image is worth nothing,
 * and removed if this call made it.
 * Errors: those of vhd_create for `out_path`; -EUCLEAN where nothing tells
 *   size or place of the data; -ENOTSUP (NEEDS_PARENT); -ECANCELED.
 */
int vhd_salvage(const char *path, const char *out_path,
		const struct vhd_salvage_opts *opts,
		struct vhd_salvage_result *result, struct vhd_err *err);

/* -------------------------------------------------------------- resize -- */

enum vhd_resize_by {
	VHD_RESIZE_TO,   /* size_bytes */
	VHD_RESIZE_GROW, /* larger by size_bytes */
	VHD_RESIZE_CUT,  /* smaller by size_bytes */
};

struct vhd_resize_result {
	enum vhd_format format;
	uint64_t old_size_bytes;
	uint64_t new_size_bytes;
	uint64_t old_file_bytes;
	uint64_t new_file_bytes; /* 0 in the plan of one that has blocks */
	struct vhd_geometry geometry;
	uint32_t blocks_dropped; /* they lay behind the new end */
	bool table_moved;        /* a new block table, behind the blocks */
	bool data_dropped;       /* `force`: there was data in them */
};

/* When the caller is asked about the disk's content. */
enum vhd_resize_moment {
	VHD_RESIZE_LOOK,   /* nothing is written; a refusal ends it */
	VHD_RESIZE_BEFORE, /* the size changes next; the disk may be written */
	VHD_RESIZE_AFTER,  /* it has changed; likewise */
};

/* What the caller says when it looked: a part of the disk behind its new end
 * that counts as free although there is data in it.
 */
struct vhd_resize_free {
	uint64_t off_bytes;
	uint64_t len_bytes;
};

struct vhd_resize_opts {
	enum vhd_format format; /* AUTO, FIXED, DYNAMIC or DIFF */
	enum vhd_resize_by by;
	uint64_t size_bytes;    /* whole sectors */
	bool write;             /* else only the plan is made */
	bool shrink;            /* a smaller disk is meant */
	bool force;             /* although data behind the new end is lost, or
				 * blktap says that other disks build on it */
	bool prealloc;          /* FIXED: reserve the new space */
	const char *parent_dir; /* as in vhd_open_opts */
	bool larger_child;
	/* Called at each moment, or NULL; AFTER and BEFORE only with `write`.
	 * `img` is open for writing then and only lent; `gone` is NULL but at
	 * the first. What is not 0 ends the call with that and `err`.
	 */
	int (*disk)(void *ctx, enum vhd_resize_moment moment, struct vhd *img,
		    const struct vhd_resize_result *plan,
		    struct vhd_resize_free *gone, struct vhd_err *err);
	void *ctx;
};

/* Make the disk larger or smaller in place. New space reads as zero. Geometry
 * becomes one by which no reader cuts the disk; original_size, ids, creator
 * and unknown bytes stay. A power cut leaves the old size or the new one;
 * opening for writing, or the same call again, finishes what it left. Other
 * images that build on this one are not looked for: they need its size.
 * Errors: those of opening for writing (without `write`: for reading);
 *   -EINVAL (ARGUMENT, SIZE_*), -EUCLEAN (SHRINK: smaller, but that was not
 *   asked for; DATA_BEHIND; SAVED_STATE; PARENT_SIZE), -ENOTSUP
 *   (UNSUPPORTED), -ENOSPC and its like: nothing has changed then.
 */
int vhd_resize(const char *path, const struct vhd_resize_opts *opts,
	       struct vhd_resize_result *result, struct vhd_err *err);

/* The first byte that is not zero in [off, end) of the disk, as a multiple of
 * 512: into `*at_bytes`, `end` where there is none. Holes are not read.
 */
int vhd_find_data(struct vhd *img, uint64_t off_bytes, uint64_t end_bytes,
		  uint64_t *at_bytes, struct vhd_err *err);

/* ----------------------------------------------------------------- set -- */

/* What vhd_set can change: fields of the footer that move no data. */
#define VHD_SET_ID	    (1u << 0)
#define VHD_SET_HIDDEN	    (1u << 1) /* blktap: inner node of a chain */
#define VHD_SET_SAVED_STATE (1u << 2) /* a suspended machine needs it */
#define VHD_SET_GEOMETRY    (1u << 3)
#define VHD_SET_CREATOR	    (1u << 4)
#define VHD_SET_TIMESTAMP   (1u << 5)

struct vhd_set_values {
	uint8_t unique_id[16];
	uint8_t hidden;      /* to be set: 0 or 1 */
	uint8_t saved_state; /* the same */
	struct vhd_geometry geometry;
	struct vhd_creator creator;
	uint32_t timestamp_s; /* since 2000-01-01 UTC */
};

struct vhd_set_opts {
	enum vhd_format format; /* AUTO, FIXED, DYNAMIC or DIFF */
	uint32_t fields;        /* of VHD_SET_*: which of `values` to take */
	struct vhd_set_values values;
	bool write;             /* else only told what would change */
};

struct vhd_set_result {
	enum vhd_format format;
	uint64_t size_bytes;     /* of the disk */
	uint32_t changed;        /* of VHD_SET_*: that differ now */
	struct vhd_set_values before;
	struct vhd_set_values after;
	uint64_t written_bytes;  /* 0 where all was so already */
};

/* Change fields of the footer, and its copy, and nothing else. After a crash
 * the image opens with the old fields or the new ones; the same call again
 * ends the work. Children find their parent by its id: after VHD_SET_ID none
 * does. Takes the exclusive lock, without `write` the shared one.
 * Errors: those of opening; -EROFS (READ_ONLY_LAYOUT) where the footers are
 *   damaged, differ in more than these fields, or are not a whole sector;
 *   -EINVAL (ARGUMENT) values that no image may have.
 */
int vhd_set(const char *path, const struct vhd_set_opts *opts,
	    struct vhd_set_result *result, struct vhd_err *err);

#ifdef __cplusplus
}
#endif

#endif
