/* SPDX-License-Identifier: BSD-2-Clause */
/* One open image, and what its parts ask of each other. Private to vhd/.
 *
 * Threads. What is marked "constant" is set before vhd_open returns. The BAT
 * and the block states are atomics, read without a lock by every queue:
 *   - a block's state is stored before its BAT entry (release), so whoever
 *     sees the entry (acquire) sees the state;
 *   - a block's sequence number is counted before its BAT entry is stored, so
 *     whoever can write to a block gets a ticket that covers it;
 *   - a state only moves unknown -> whole | partial (bitmap_lock) and
 *     partial -> whole (alloc_lock); an entry only none -> place (alloc_lock).
 * Lock order: commit_lock, then alloc_lock, then bitmap_lock.
 */
#ifndef VHD_IMAGE_H
#define VHD_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "alloc.h"
#include "file.h"
#include "format.h"

/* Cached bitmaps of partial blocks take at most this; the bits of further
 * ones are read from the file each time.
 */
#define VHD_BITMAP_CACHE_BYTES (64u << 20)

enum vhd_block_state {
	VHD_BLOCK_UNKNOWN = 0, /* bitmap not read yet */
	VHD_BLOCK_WHOLE,       /* every sector of the disk's part is valid */
	VHD_BLOCK_PARTIAL,     /* ask the bitmap */
};

struct vhd {
	/* constant */
	struct vhd_file file;
	struct vhd_info info;
	struct vhd_footer_wire footer; /* the one in force, unknown bytes too */
	bool writable;
	bool inspect;
	bool data_aligned;
	bool blocked;		  /* dynamic or differencing */
	uint64_t sectors;	  /* of the disk */
	uint64_t limit_bytes;	  /* at opening: blocks end before this */
	uint32_t block_shift;	  /* log2 of sectors per block */
	enum vhd_run_kind absent; /* what a missing block reads as */
	enum vhd_run_kind unset;  /* what a 0 in a bitmap reads as */

	/* constant: chain.c and parent.c */
	struct vhd *parent;	/* owned; NULL: none, or not followed */
	unsigned depth;		/* layers above this one */
	char *path;		/* absolute; only in a chain opened by path */
	bool follow;		/* a parent is or will be there */
	bool larger_child;	/* than the parent: allowed */
	uint32_t locator_count; /* usable ones, in the header's order */
	struct vhd_locator locator[VHD_LOCATORS];

	/* bat.c; NULL where not `blocked` */
	_Atomic uint32_t *bat;	/* host order, VHD_BAT_NONE for none */
	_Atomic uint8_t *state; /* of enum vhd_block_state */

	/* bitmap.c */
	pthread_mutex_t bitmap_lock;	     /* reading bitmaps in */
	_Atomic(uint8_t *) *_Atomic bitmaps; /* made with the first partial */
	uint64_t bitmaps_bytes;		     /* under bitmap_lock */

	/* alloc.c and tail.c, under alloc_lock once open */
	pthread_mutex_t alloc_lock;
	uint64_t alloc_end_bytes; /* everything in use ends before this */
	uint64_t file_end_bytes;  /* length of the file now */
	uint64_t zero_from_bytes; /* from here on the file is known zero, but
				   * for the trailing footer */
	bool tail_ok;		  /* footer in force in the last sector */
	bool settle;		  /* layout changed: settle on close */
	uint32_t used;		  /* blocks with a place */
	uint8_t *ones;		  /* bitmap_bytes of 0xff; constant */
	uint32_t *next;		  /* FIFO of blocks the disk's BAT lacks */
	uint32_t fifo_head;
	uint32_t fifo_tail;
	uint64_t head_seq; /* sequence number of fifo_head */

	/* commit.c */
	pthread_mutex_t commit_lock;
	be32 *table;		    /* BAT as on disk; under commit_lock */
	uint64_t *dirty;	    /* its touched sectors; under commit_lock */
	_Atomic uint64_t alloc_seq; /* blocks allocated so far */
	_Atomic uint64_t published_seq; /* ... written to the disk's BAT */
	_Atomic uint64_t durable_seq;	/* ... and synced */

	atomic_bool touched; /* something may need a sync on close */
	atomic_bool poisoned;
};

/* A fault that refuses normal use. Inspecting, it is noted and passed over;
 * otherwise it becomes the caller's error.
 */
int vhd_tolerate(struct vhd_info *info, bool inspect,
		 const struct vhd_err *fault, struct vhd_err *err);

/* probe.c: what a file is, and which footer is in force. Fills the probe and
 * footer fields of `info`.
 */
struct vhd_probe {
	struct vhd_footer_wire wire; /* VHD only */
	struct vhd_footer footer;
	uint64_t footer_at_bytes;
	uint64_t limit_bytes;  /* where disk and structures must end */
	bool footers_disagree; /* about more than dates and flags */
	bool resize_cut;       /* they do about the size and nothing else */
};

int vhd_probe(const struct vhd_file *f, const struct vhd_open_opts *opts,
	      struct vhd_info *info, struct vhd_probe *p, struct vhd_err *err);

/* create.c: the footer of such an image, once the options are found good. */
int vhd_create_footer(const struct vhd_create_opts *opts,
		      struct vhd_footer_wire *w, struct vhd_err *err);

/* bat.c: bytes of the file that no block may touch. */
#define VHD_RANGES_MAX (5 + VHD_LOCATORS)
struct vhd_range {
	uint64_t off_bytes;
	uint64_t end_bytes;
	const char *what;
};

/* Read the table and check every entry against the file, `ranges` and each
 * other. Fills info's block counts.
 */
int vhd_bat_open(struct vhd *img, const struct vhd_range *ranges,
		 unsigned range_count, struct vhd_err *err);
void vhd_bat_close(struct vhd *img);

static inline uint32_t vhd_block_sectors(const struct vhd *img)
{
	return 1u << img->block_shift;
}

/* Where a block's data starts. */
static inline uint64_t vhd_block_data(const struct vhd *img, uint32_t entry)
{
	return (uint64_t)entry * VHD_SECTOR_BYTES + img->info.bitmap_bytes;
}

/* open.c: everything but the file, of this layer only. */
void vhd_image_free(struct vhd *img);
/* Commit what was written and give the file its final length, as closing does;
 * nothing is released.
 */
int vhd_finish(struct vhd *img, struct vhd_err *err);

/* chain.c. Give a child its parent, which may have one in turn. Takes
 * `parent`; on failure the caller still has it. `child` is the lowest layer
 * of `top`, which is what all ancestors are compared with.
 */
int vhd_chain_link(struct vhd *top, struct vhd *child, struct vhd *parent,
		   struct vhd_err *err);
/* The same for a child that stands alone. */
int vhd_chain_set_parent(struct vhd *child, struct vhd *parent,
			 struct vhd_err *err);
/* Part a chain above its layer `i`, at least 1: what `top` then asks its last
 * layer's parent for is VHD_RUN_PARENT again. Returns the lower part, which
 * the caller owns from now on.
 */
struct vhd *vhd_chain_cut(struct vhd *top, unsigned i);
/* Release the layers below `img`. */
void vhd_chain_free(struct vhd *img);
/* vhd_map_chain with the layer itself. Without a parent it is vhd_map. */
int vhd_resolve(struct vhd *img, uint64_t lba, uint64_t sectors,
		struct vhd **layer, struct vhd_run *run, struct vhd_err *err);

/* parent.c. Find, open and link all parents of `top`, opened at `path`. */
int vhd_parents_open(struct vhd *top, const char *path,
		     const struct vhd_open_opts *opts, struct vhd_err *err);

/* bitmap.c. `entry` is the block's place. Tells whether sector `in` of the
 * block is valid and how many of the `n` sectors from there agree with it.
 */
int vhd_bitmap_run(struct vhd *img, uint32_t block, uint32_t entry, uint32_t in,
		   uint32_t n, bool *set, uint32_t *len, struct vhd_err *err);
/* The length of the run of equal bits at `from`, up to `to`. */
uint32_t vhd_bits_run(const uint8_t *map, uint32_t from, uint32_t to,
		      bool *set);
void vhd_bitmap_close(struct vhd *img);

/* alloc.c */
int vhd_alloc_open(struct vhd *img, uint64_t used_end_bytes,
		   struct vhd_err *err);
void vhd_alloc_close(struct vhd *img);

/* tail.c, under alloc_lock. Room: the file reaches `need_bytes`, with the
 * footer behind that. Settle: the footer moves to its place right behind the
 * last block and the file ends there.
 */
int vhd_tail_room(struct vhd *img, uint64_t need_bytes, struct vhd_err *err);
int vhd_tail_settle(struct vhd *img, struct vhd_err *err);

#endif
