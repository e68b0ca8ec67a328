/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's insides, shared by queue*.c. Private to vhd/.
 *
 * A request is cut by the map into pieces, each in one slot of a fixed array;
 * a slot carries one file operation at a time and keeps going until its piece
 * is through. Slots are the only resource that runs out; who finds none waits
 * in order. All of it belongs to the queue's owner thread: no lock, and after
 * create and attach no allocation.
 *
 *   submit -> [waiting for slots] -> pieces out -> [flush] -> done -> reaped
 *
 *   queue.c        requests come, wait and go
 *   queue_engine.c the engine under them, chosen and changed
 *   queue_image.c  attached images, and when O_DIRECT may be used
 *   queue_io.c     request -> pieces -> operations, and their completion
 *   queue_flush.c  the flush sequence of alloc.h, shared by who comes in time
 *   queue_req.c    a request's fault and its end
 */
#ifndef VHD_QUEUE_INT_H
#define VHD_QUEUE_INT_H

#include "alloc.h"
#include "engine.h"
#include "file.h"
#include "vhd.h"

#define QUEUE_SLOT_IOV 16u
/* One operation stays below what Linux moves in one call (MAX_RW_COUNT) and
 * what a 32-bit length holds.
 */
#define QUEUE_IO_BYTES_MAX (1u << 30)
/* EINTR or EAGAIN in a row, without progress, before it is an error. */
#define QUEUE_RETRIES_MAX 64
#define QUEUE_HASH_BITS 9 /* twice VHD_QUEUE_IMAGES_MAX places */
#define QUEUE_NO_IMAGE UINT16_MAX

/* vhd_req.state_ */
#define REQ_WAITING (1u << 0)    /* in the waiting list */
#define REQ_FAILED (1u << 1)     /* result and why are set */
#define REQ_CANCELLED (1u << 2)
#define REQ_SYNC_AFTER (1u << 3) /* FUA on new blocks: flush at the end */
#define REQ_FLUSHING (1u << 4)   /* in one of its image's flush lists */
#define REQ_DONE (1u << 5)

struct queue_list {
	struct vhd_req *head;
	struct vhd_req *tail;
};

enum queue_flush_state {
	FLUSH_IDLE,
	FLUSH_ONLY, /* one sync is the whole flush */
	FLUSH_DATA, /* first of two: data before the BAT */
	FLUSH_BAT,  /* second: the BAT */
};

struct queue_flush {
	enum queue_flush_state state;
	bool starting;             /* in the queue's list of images to start */
	struct vhd_commit commit;
	struct queue_list running; /* covered by the sequence under way */
	struct queue_list waiting; /* came after its first sync was issued */
};

/* How data may go past the page cache: see queue_image.c. */
struct queue_direct {
	uint32_t mem_mask;
	uint32_t read_mask;
	uint32_t write_mask;
};

/* One file known to the engine. */
struct queue_file {
	const struct vhd_file *file;
	uint32_t slot;             /* the engine's name for it */
	bool use_direct;
	bool no_holes;             /* its file system makes none */
	struct queue_direct direct;
};

struct queue_image {
	struct vhd *img;           /* NULL: place is free */
	struct queue_file own;
	uint64_t sectors;
	bool writable;
	bool grows;                /* blocks may be allocated */
	bool marks;                /* bits are set behind writes */
	uint32_t below_count;      /* parents */
	struct queue_file *below;  /* theirs, nearest first; owned */
	struct queue_flush flush;
	struct queue_image *next_start;
};

struct queue_slot {
	struct vhd_io io;
	struct queue_image *im;
	struct queue_file *file;   /* the image's own or a parent's */
	struct vhd_req *req;       /* NULL: the image's flush */
	uint64_t from_bytes;       /* in the request: start of the piece */
	uint64_t pos_bytes;        /* in the request: start of what is left */
	uint64_t left_bytes;       /* of the piece */
	uint64_t asked_bytes;      /* by the operation under way */
	uint64_t iov_skip_bytes;   /* into the request's iov[iov_index] */
	uint32_t iov_index;
	uint8_t retries;
	bool busy;
	bool zeros;                /* WRITE: of zeros, not of the buffers */
	struct queue_slot *next_free;
	struct iovec iov[QUEUE_SLOT_IOV];
};

struct vhd_queue {
	const struct vhd_engine_ops *engine;
	void *state;
	void *spare;		   /* for the engine of NBD exports, or NULL */
	bool automatic;            /* the engine was ours to choose */
	int broken;                /* 0, or why the engine is no use */
	uint32_t depth;
	unsigned in_flight;
	struct queue_slot *free;
	struct queue_list waiting; /* need a slot */
	struct queue_list done;
	struct queue_image *start_head; /* images with a flush to start */
	struct queue_image *start_tail;
	struct queue_slot *slots;
	uint16_t hash[1u << QUEUE_HASH_BITS];
	struct queue_image images[VHD_QUEUE_IMAGES_MAX];
	bool slot_used[VHD_ENGINE_FILES_MAX];
	struct vhd_err err;        /* room for map errors */
};

static inline void queue_list_add(struct queue_list *l, struct vhd_req *req)
{
	req->next_ = NULL;
	if (l->head)
		l->tail->next_ = req;
	else
		l->head = req;
	l->tail = req;
}

static inline struct vhd_req *queue_list_take(struct queue_list *l)
{
	struct vhd_req *req = l->head;

	if (req)
		l->head = req->next_;
	return req;
}

static inline struct queue_slot *queue_slot_get(struct vhd_queue *q)
{
	struct queue_slot *slot = q->free;

	if (slot) {
		q->free = slot->next_free;
		slot->busy = true;
	}
	return slot;
}

static inline void queue_slot_put(struct vhd_queue *q, struct queue_slot *slot)
{
	slot->busy = false;
	slot->next_free = q->free;
	q->free = slot;
}

/* queue_engine.c */
/* Change to the engine that serves any medium, where that is ours to choose
 * and nothing is in flight; attached images stay so. -ENOTSUP otherwise.
 */
int queue_go_sync(struct vhd_queue *q, struct vhd_err *err);
/* Have the queue serve images on NBD exports, too; at any time. */
int queue_go_nbd(struct vhd_queue *q, struct vhd_err *err);

/* queue_req.c */
bool queue_list_remove(struct queue_list *l, struct vhd_req *req);
/* Note a fault at `pos_bytes` of the request; the first one names it, the
 * lowest position is what the caller learns.
 */
void queue_fault(struct vhd_req *req, int code, enum vhd_why why,
		 uint64_t pos_bytes);
/* The request is over. */
void queue_finish(struct vhd_queue *q, struct vhd_req *req);

/* queue_image.c */
struct queue_image *queue_image_find(struct vhd_queue *q,
				     const struct vhd *img);
/* The end of the queue, before that of its engine. */
void queue_images_release(struct vhd_queue *q);

/* queue_io.c */
/* Send out what is left of a request. False: it needs a slot to go on. */
bool queue_advance(struct vhd_queue *q, struct queue_image *im,
		   struct vhd_req *req);
/* Everything sent out is back. */
void queue_settle(struct vhd_queue *q, struct queue_image *im,
		  struct vhd_req *req);
void queue_io_done(struct vhd_queue *q, struct vhd_io *io);

/* queue_flush.c */
/* Let `req` end with a flush that starts from now on. */
void queue_flush_join(struct vhd_queue *q, struct queue_image *im,
		      struct vhd_req *req);
/* Start the flushes that wait for it, as slots permit. */
void queue_flush_start(struct vhd_queue *q);
void queue_flush_done(struct vhd_queue *q, struct queue_slot *slot);
/* Finish a request early if its flush has not begun. */
void queue_flush_cancel(struct vhd_queue *q, struct queue_image *im,
			struct vhd_req *req);
/* The image goes: take it off the list of flushes to start, and let go of what
 * its flushes hold.
 */
void queue_flush_forget(struct vhd_queue *q, struct queue_image *im);
/* The engine broke: all flushes fail. */
void queue_flush_abort(struct vhd_queue *q, struct queue_image *im);

#endif
