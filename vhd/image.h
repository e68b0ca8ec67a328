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
 *     partial -> whole (alloc_lock, or bits_lock in a differencing disk); an
 *     entry only none -> place (alloc_lock);
 *   - a bit kept in memory only moves 0 -> 1 (bits_lock).
 * Lock order: commit_lock, then alloc_lock, then bitmap_lock; bits_lock is
 * innermost.
 */
#ifndef VHD_IMAGE_H
#define VHD_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "alloc.h"
#include "file.h"
#include "format.h"

/* Bitmaps that reading keeps take at most this; the bits of further partial
 * blocks are read from the file each time. Those of blocks that are written to
 * are always kept: 1/4096 of what is written, twice.
 */
#define VHD_BITMAP_CACHE_BYTES (64u << 20)

enum vhd_block_state {
	VHD_BLOCK_UNKNOWN = 0, /* bitmap not read yet */
	VHD_BLOCK_WHOLE,       /* every sector of the disk's part is valid */
	VHD_BLOCK_PARTIAL,     /* ask the bitmap */
};

/* The bits of one partial block. Never freed before close: a reader without a
 * lock may be looking.
 */
struct vhd_bitmap {
	/* constant */
	uint32_t block;
	uint32_t len_bytes; /* of the disk's part */
	uint8_t *disk;	    /* as in the file, under commit_lock; NULL where
			     * this image's bits do not change */
	/* written.c: on the list of bits that are not durable, or NULL */
	struct vhd_bitmap *prev, *next;
	bool listed;
	_Atomic uint64_t changed_seq; /* of the last bit that was set */
	uint8_t map[];		      /* each byte atomic: set (release) under
				       * bits_lock, read (acquire) without */
};

struct vhd {
	/* constant */
	struct vhd_file file;
	struct vhd_info info;
	struct vhd_footer_wire footer; /* the one in force, unknown bytes too */
	bool writable;
	bool inspect;
	bool fixed_len;		  /* blocked and writable, on a device */
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
	bool raw_parent;	/* of blktap's: allowed */
	uint64_t batmap_bytes;	/* where blktap's map lies; 0: none usable */
	uint64_t batmap_len_bytes;
	uint32_t locator_count; /* usable ones, in the header's order */
	struct vhd_locator locator[VHD_LOCATORS];
	const char *outside; /* metadata that lies outside the file, or NULL */
	/* Metadata across the file's end, or NULL, and where it begins. */
	const char *across;
	uint64_t across_off_bytes;

	/* bat.c; NULL where not `blocked` */
	_Atomic uint32_t *bat;	/* host order, VHD_BAT_NONE for none */
	_Atomic uint8_t *state; /* of enum vhd_block_state */

	/* bitmap.c */
	pthread_mutex_t bitmap_lock;	     /* reading bitmaps in */
	/* made with the first partial block */
	_Atomic(struct vhd_bitmap *) *_Atomic bitmaps;
	uint64_t bitmaps_bytes; /* under bitmap_lock, like these two: */
	uint32_t loaded_block;	/* whose bits were read last */
	uint32_t asked_block;	/* bits before this were asked for ahead */

	/* written.c: a differencing disk being written */
	bool marks; /* constant: it is one */
	pthread_mutex_t bits_lock;
	struct vhd_bitmap *bits_head; /* oldest change first */
	struct vhd_bitmap *bits_tail;
	uint64_t bits_bytes;		   /* what a copy of them takes */
	_Atomic uint64_t bits_seq;	   /* changes so far */
	_Atomic uint64_t bits_durable_seq; /* ... that are durable */

	/* alloc.c and tail.c, under alloc_lock once open */
	pthread_mutex_t alloc_lock;
	uint64_t alloc_end_bytes; /* everything in use ends before this */
	uint64_t file_end_bytes;  /* length of the file now */
	uint64_t zero_from_bytes; /* from here on the file is known zero, but
				   * for the trailing footer */
	bool tail_ok;		  /* footer in force in the last sector */
	bool settle;		  /* layout changed: settle on close */
	uint32_t used;		  /* blocks with a place */
	uint8_t *new_map;	  /* bitmap of a new block; constant */
	uint32_t *next;		  /* FIFO of blocks the disk's BAT lacks */
	uint32_t fifo_head;
	uint32_t fifo_tail;
	uint64_t head_seq; /* sequence number of fifo_head */

	/* commit.c */
	pthread_mutex_t commit_lock;
	be32 *table;		    /* BAT as on disk; under commit_lock */
	uint64_t *dirty;	    /* its touched sectors; under commit_lock */
	/* none is outside; none at all: UINT32_MAX, 0; under commit_lock */
	uint32_t dirty_first, dirty_last;
	_Atomic uint64_t alloc_seq; /* blocks allocated so far */
	_Atomic uint64_t published_seq; /* ... written to the disk's BAT */
	_Atomic uint64_t durable_seq;	/* ... and synced */
	struct vhd_commit commit;	/* vhd_flush's own */

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

/* batmap.c. blktap's creator tag. */
bool vhd_is_blktap(const struct vhd_info *info);
/* Note blktap's map of full blocks and what it takes of the file. */
struct vhd_range;
int vhd_batmap_find(struct vhd *img, struct vhd_range *ranges, unsigned *count,
		    uint64_t table_end_bytes, struct vhd_err *err);
/* Refuse a map that has blocks which are not there: in a differencing disk
 * they come to be without being full.
 */
int vhd_batmap_writable(const struct vhd *img, struct vhd_err *err);
/* create_write.c: the footer of such an image, once the options are found good.
 */
int vhd_create_footer(const struct vhd_create_opts *opts,
		      struct vhd_footer_wire *w, struct vhd_err *err);

/* bat.c: bytes of the file that no block may touch. */
#define VHD_RANGES_MAX (5 + VHD_LOCATORS)
struct vhd_range {
	uint64_t off_bytes;
	uint64_t end_bytes;
	const char *what;
};

/* Metadata that would be `outside`, as its place ends behind the end of the
 * file. Up to this far, new blocks leave it its place; if blocks of
 * the file have taken its place, bat.c makes it `outside`.
 */
#define VHD_OUTSIDE_ROOM_BYTES (1ull << 20)
void vhd_outside(struct vhd *img, const char *what, uint64_t off_bytes,
		 uint64_t end_bytes);

static inline void vhd_range_add(struct vhd_range *ranges, unsigned *count,
				 uint64_t off_bytes, uint64_t end_bytes,
				 const char *what)
{
	ranges[(*count)++] = (struct vhd_range){off_bytes, end_bytes, what};
}

static inline bool vhd_range_hit(const struct vhd_range *ranges, unsigned count,
				 uint64_t off_bytes, uint64_t end_bytes)
{
	for (unsigned i = 0; i < count; i++)
		if (off_bytes < ranges[i].end_bytes &&
		    ranges[i].off_bytes < end_bytes)
			return true;
	return false;
}

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

static inline uint64_t vhd_aligned(uint64_t bytes)
{
	return (bytes + VHD_ALIGN_BYTES - 1) & ~(uint64_t)(VHD_ALIGN_BYTES - 1);
}

/* The length of a file whose last part ends at `end_bytes`: the footer follows.
 * Callers pass numbers below VHD_FILE_BYTES_MAX, far from wrapping.
 */
static inline uint64_t vhd_length_for(uint64_t end_bytes)
{
	return vhd_aligned(end_bytes + VHD_FOOTER_BYTES);
}

/* Where a block's data starts. */
static inline uint64_t vhd_block_data(const struct vhd *img, uint32_t entry)
{
	return (uint64_t)entry * VHD_SECTOR_BYTES + img->info.bitmap_bytes;
}

/* image_life.c. `img` is all zero; the file stays the caller's until it is open. */
void vhd_image_init(struct vhd *img, const struct vhd_file *f,
		    const struct vhd_open_opts *opts);
/* NULL: no memory. */
struct vhd *vhd_image_new(const struct vhd_file *f,
			  const struct vhd_open_opts *opts);
/* All but the file, the path and the memory of `img` itself. */
void vhd_image_fini(struct vhd *img);
/* Everything but the file, of this layer only. */
void vhd_image_free(struct vhd *img);

/* open_file.c. -EINVAL. */
int vhd_open_check(const struct vhd_open_opts *opts, struct vhd_err *err);
/* Forget what is known of the file and read it anew, in the same place. No
 * differencing disk. Where that fails nothing can be read or written any more.
 */
int vhd_image_again(struct vhd *img, struct vhd_err *err);
/* open.c. Commit what was written and give the file its final length, as closing does;
 * nothing is released.
 */
int vhd_finish(struct vhd *img, struct vhd_err *err);

/* chain.c. Give a child its parent, which may have one in turn. Takes
 * `parent`; on failure the caller still has it. `child` is the lowest layer
 * of `top`, which is what all ancestors are compared with.
 */
int vhd_chain_link(struct vhd *top, struct vhd *child, struct vhd *parent,
		   struct vhd_err *err);
/* blktap says by an id of zeros that the parent is a raw disk. */
bool vhd_chain_wants_raw(const struct vhd *child);
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
/* Keep where `img` was opened; a server's URI as it is. -errno. */
int vhd_path_note(struct vhd *img, const char *path);

/* bitmap.c. `entry` is the block's place. Tells whether sector `in` of the
 * block is valid and how many of the `n` sectors from there agree with it.
 */
int vhd_bitmap_run(struct vhd *img, uint32_t block, uint32_t entry, uint32_t in,
		   uint32_t n, bool *set, uint32_t *len, struct vhd_err *err);
/* Keep the block's bits, whatever they take, unless it is whole. */
int vhd_bitmap_hold(struct vhd *img, uint32_t block, uint32_t entry,
		    struct vhd_err *err);
/* Keep those of a new block: none is set. */
int vhd_bitmap_add(struct vhd *img, uint32_t block, struct vhd_err *err);
/* The kept bits, or NULL. */
struct vhd_bitmap *vhd_bitmap_kept(const struct vhd *img, uint32_t block);
/* Sectors of this block that belong to the disk. */
uint32_t vhd_bitmap_sectors(const struct vhd *img, uint32_t block);
/* The length of the run of equal bits at `from`, up to `to`. The bits may be
 * set meanwhile.
 */
uint32_t vhd_bits_run(const uint8_t *map, uint32_t from, uint32_t to,
		      bool *set);
void vhd_bitmap_close(struct vhd *img);

/* written.c, for commit.c. Copy the bits that are not durable, with their
 * sequence number; -ENOMEM.
 */
int vhd_written_copy(struct vhd *img, struct vhd_commit *c,
		     struct vhd_err *err);
/* Put the copied bits into the file's bitmaps. Under commit_lock. */
int vhd_written_publish(struct vhd *img, const struct vhd_commit *c,
			struct vhd_err *err);
/* The copied bits are durable. */
void vhd_written_end(struct vhd *img, const struct vhd_commit *c);

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
