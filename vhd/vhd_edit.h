/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on whole images: in place, resized, merged. Part of vhd.h, which
 * includes this; rules as there.
 */
#ifndef VHD_PUBLIC_EDIT_H
#define VHD_PUBLIC_EDIT_H

#include "vhd.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* Make the disk of an image that is open for writing larger; `img` stays valid
 * and its info says the new size. Nothing of it may be in flight, and it must
 * be attached to no queue, which would not learn of it. `size_bytes` 0, for a
 * raw disk: it has the size that its file or device has by now.
 * Crash safety is that of vhd_resize. Not for differencing disks.
 * Errors: -EROFS, -EIO (POISONED: also by a failed sync in here), -ENOTSUP
 *   (UNSUPPORTED), and those of vhd_resize; the disk is as it was then.
 */
int vhd_grow(struct vhd *img, uint64_t size_bytes, struct vhd_err *err);

/* The first byte that is not zero in [off, end) of the disk, as a multiple of
 * 512: into `*at_bytes`, `end` where there is none. Holes are not read.
 */
int vhd_find_data(struct vhd *img, uint64_t off_bytes, uint64_t end_bytes,
		  uint64_t *at_bytes, struct vhd_err *err);

/* --------------------------------------------------------------- merge -- */

struct vhd_merge_result {
	uint32_t layers;         /* that are, or were, brought down */
	enum vhd_format target_format;
	uint64_t size_bytes;     /* of the disk */
	uint64_t held_bytes;     /* what the layers hold, each sector once */
	uint64_t write_bytes;    /* of that, what is written to the target */
	uint64_t zero_bytes;     /* and what is zero and reads so there anyway;
				  * counted apart only where data was read */
	uint32_t new_blocks;     /* that the target gets */
	uint64_t need_bytes;     /* of its file system, at most */
	uint64_t free_bytes;     /* that has; UINT64_MAX: not known */
	uint64_t old_file_bytes;
	uint64_t new_file_bytes;
};

struct vhd_merge_opts {
	const char *parent_dir;  /* as in vhd_open_opts; not NULL */
	const char *into;        /* the layer to merge into, by any path of its
				  * file; NULL: the image's parent */
	bool all;                /* into the lowest layer */
	bool larger_child;       /* as in vhd_open_opts, of layers below the
				  * target; those above it have its size */
	bool dry_run;            /* plan only */
	bool remove;             /* when all is durable, remove the files of
				  * the layers brought down, lowest first */
	bool direct;             /* O_DIRECT for data */
	enum vhd_engine engine;
	/* Called once, when all that can be known is known and before the
	 * first byte is written. `layers` are `plan->layers` that will be
	 * brought down, topmost first, and the target; all of it is valid
	 * during the call only. What is not 0 ends the merge with -ECANCELED.
	 * NULL: none.
	 */
	int (*planned)(void *ctx, const struct vhd_layer *layers,
		       const struct vhd_merge_result *plan);
	/* Called often while data moves: where on the disk, and how much was
	 * moved. The same of its value and of NULL.
	 */
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t moved_bytes);
	void *ctx;
};

/* Write what a differencing disk and the layers below it hold into one of its
 * ancestors, which then reads by itself as the disk did; of each sector only
 * the topmost content is moved. The layers brought down are not changed and,
 * at every instant, read through the topmost of them as before. So a merge
 * that ends early, for whatever reason, is simply run again.
 * What builds on the target or on a layer in between is a different disk
 * afterwards; that is the caller's to find out (`planned`).
 * Ids, names and dates of all images stay as they are.
 * The target is left alone if this cannot be done: -EBUSY (LOCKED: it or one
 * of the others is in use), -EROFS (READ_ONLY_LAYOUT), -EUCLEAN (SAVED_STATE;
 * PARENT_SIZE: the target has another size), -ENOSPC and -EFBIG
 * (NO_SPACE: the file system, the process's limit on files, or the reach of
 * the format), -ENOTSUP (UNSUPPORTED: the image is no differencing disk),
 * -EINVAL (ARGUMENT: no such layer), and whatever opening says.
 * Later: -ECANCELED (CANCELLED), and those of reading and writing.
 * Thread: any; the files are opened for the call.
 */
int vhd_merge(const char *path, const struct vhd_merge_opts *opts,
	      struct vhd_merge_result *result, struct vhd_err *err);

/* ----------------------------------------------------------------- set -- */

/* What vhd_set can change: fields of the footer, and one of the dynamic header,
 * that move no data.
 */
#define VHD_SET_ID	    (1u << 0)
#define VHD_SET_HIDDEN	    (1u << 1) /* blktap: inner node of a chain */
#define VHD_SET_SAVED_STATE (1u << 2) /* a suspended machine needs it */
#define VHD_SET_GEOMETRY    (1u << 3)
#define VHD_SET_CREATOR	    (1u << 4)
#define VHD_SET_TIMESTAMP   (1u << 5)
#define VHD_SET_PARENT_ID   (1u << 6) /* DIFF: in the dynamic header */

struct vhd_set_values {
	uint8_t unique_id[16];
	uint8_t hidden;      /* to be set: 0 or 1 */
	uint8_t saved_state; /* the same */
	struct vhd_geometry geometry;
	struct vhd_creator creator;
	uint32_t timestamp_s; /* since 2000-01-01 UTC */
	uint8_t parent_id[16]; /* of none but a DIFF: zero */
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

/* Change fields of the footer and its copy, and nothing else. After a crash
 * the image opens with the old fields or the new ones; the same call again
 * ends the work. Children find their parent by its id: after VHD_SET_ID none
 * does. VHD_SET_PARENT_ID makes a child ask for another disk, on which its
 * content makes sense only if that holds the same. Takes the exclusive lock,
 * without `write` the shared one.
 * Errors: those of opening; -EROFS (READ_ONLY_LAYOUT) where the footers are
 *   damaged, differ in more than these fields, or are not a whole sector;
 *   -EUCLEAN, for the parent's id, what is wrong with the dynamic header;
 *   -EINVAL (ARGUMENT) values that no image may have.
 */
int vhd_set(const char *path, const struct vhd_set_opts *opts,
	    struct vhd_set_result *result, struct vhd_err *err);

/* ------------------------------------------------------------- compact -- */

struct vhd_compact_result {
	enum vhd_format format;
	uint64_t size_bytes;      /* of the disk; it stays */
	uint64_t old_file_bytes;
	uint64_t new_file_bytes;
	uint32_t blocks_before;
	uint32_t blocks_zero;     /* given back: nothing but zeros */
	uint32_t blocks_unset;    /* ...: no sector of it is valid */
	uint32_t blocks_equal;    /* ...: what the parent has there */
	uint32_t blocks_free;     /* ...: the caller calls the rest free */
	uint32_t blocks_moved;    /* into places that were free */
	bool table_moved;
	uint64_t punched_bytes;   /* FIXED: made holes, or could be */
};

struct vhd_compact_opts {
	enum vhd_format format; /* AUTO, FIXED, DYNAMIC or DIFF */
	bool write;             /* else only the plan is made */
	bool punch;             /* FIXED: zeros become holes of the file */
	bool parent_equal;      /* DIFF: give back what the parent has, too */
	const char *parent_dir; /* as in vhd_open_opts */
	bool larger_child;
	/* The disk is open and nothing has changed; `img` is lent to be read.
	 * What is not 0 ends the call with that and `err`. NULL: no matter.
	 */
	int (*look)(void *ctx, struct vhd *img, struct vhd_err *err);
	/* Is nothing kept in this part of the disk (whole sectors)? What it
	 * reads as afterwards is anything. NULL: all of it is used.
	 */
	bool (*is_free)(void *ctx, uint64_t off_bytes, uint64_t len_bytes);
	/* What is not 0 ends the call with -ECANCELED. */
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t total_bytes);
	void *ctx;
};

/* Make the file as short as it can be without changing what the disk holds:
 * blocks that need not be there are given back, the last ones go into the
 * places of those, and the file ends behind what is left. Each step is durable
 * before the next one needs it; a power cut leaves a valid image with the same
 * content, which the same call takes further.
 * Errors: those of opening for writing (without `write`: for reading);
 *   -EUCLEAN (SAVED_STATE), -ENOTSUP (UNSUPPORTED), -ECANCELED.
 */
int vhd_compact(const char *path, const struct vhd_compact_opts *opts,
		struct vhd_compact_result *result, struct vhd_err *err);

/* The same into a new file, `out_path`, made or emptied; the source is only
 * read (without a lock, which the caller must hold, where `no_lock`). Blocks
 * come in order there, their data on 4 KiB boundaries; footer, header and
 * parent locators say what they said. Not for FIXED. The new file is not
 * durable yet, and after a failure worth nothing.
 */
int vhd_compact_to(const char *path, bool no_lock, const char *out_path,
		   const struct vhd_compact_opts *opts,
		   struct vhd_compact_result *result, struct vhd_err *err);

/* -------------------------------------------------------------- rebase -- */

struct vhd_rebase_result {
	bool same_parent;         /* by its id: nothing had to be compared */
	uint64_t size_bytes;      /* of the disk */
	uint64_t lacking_bytes;   /* of it, what the image does not hold */
	uint64_t differing_bytes; /* of that, what the parents differ in, and
				   * the image now holds; sectors are counted
				   * whole */
	uint64_t old_file_bytes;
	uint64_t new_file_bytes;
};

struct vhd_rebase_opts {
	const char *parent_path; /* the new parent; not NULL */
	const char *parent_dir;  /* as in vhd_open_opts, of the image, its
				  * parents and the new ones; not NULL */
	bool larger_child;       /* as in vhd_open_opts */
	bool unsafe;             /* only name the new parent: the caller knows
				  * that it holds the same, or means what comes
				  * of it. The old one need not be there. */
	bool dry_run;            /* compare, and change nothing */
	/* Called often while data is compared: where on the disk, and how much
	 * was found to differ. What is not 0 ends the call with -ECANCELED;
	 * the image is then whole, on its old parent. NULL: none.
	 */
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t moved_bytes);
	void *ctx;
};

/* Put a differencing disk onto another parent without a change to what it
 * reads as: what the old parents hold and the new ones do not is written into
 * the image, made durable, and only then does it name the new parent. All
 * parents are only read. Where the new one has the id that the image asks for
 * already, as when it was moved, it is only named.
 * A power cut leaves the image whole, on the one parent or the other, but for
 * an instant in which its header has a wrong checksum and vhd_repair puts that
 * right; the same call again finishes it.
 * Errors: those of opening all of them; -ENOTSUP (UNSUPPORTED) no differencing
 *   disk, or what cannot be a parent; -EUCLEAN (CHAIN_CYCLE, CHAIN_DEPTH,
 *   PARENT_SIZE) of the new parent; -EINVAL (ARGUMENT, PARENT_MISSING: not
 *   below `parent_dir`); -ENOSPC; -ECANCELED.
 * Thread: any; the files are opened for the call.
 */
int vhd_rebase(const char *path, const struct vhd_rebase_opts *opts,
	       struct vhd_rebase_result *result, struct vhd_err *err);

#ifdef __cplusplus
}
#endif

#endif
