/* SPDX-License-Identifier: BSD-2-Clause */
/* Engines: how a queue's file operations reach the kernel. A table of
 * functions, so that tests put a simulated engine (any order, late, short,
 * failing) under the unchanged queue.
 *
 * Thread: an engine belongs to its queue's owner thread.
 */
#ifndef VHD_ENGINE_H
#define VHD_ENGINE_H

#include "file.h"
#include "vhd.h"

enum vhd_io_op {
	VHD_IO_READ,
	VHD_IO_WRITE,
	VHD_IO_SYNC, /* fdatasync */
	VHD_IO_ZERO, /* punch a hole */
};

/* One file operation. The queue owns it; the engine borrows it from `prep`
 * until `reap` hands it back, exactly once. A SYNC has no buffers, and a ZERO
 * none but a length, all of which its result says where it is done.
 */
struct vhd_io {
	enum vhd_io_op op;
	bool dsync;               /* WRITE: RWF_DSYNC */
	bool direct;              /* use file->direct_fd */
	const struct vhd_file *file;
	uint32_t file_slot;       /* as returned by `attach` */
	uint64_t off_bytes;
	const struct iovec *iov;
	uint32_t iov_count;
	uint64_t zero_bytes;      /* ZERO */
	int64_t res;              /* bytes, or a negative errno; may be short */
	struct vhd_io *next;      /* the queue's, and the engine's in between */
	void *owner;              /* the queue's */
};

/* A chain of operations, oldest first; `tail` holds only where `head` is set.
 */
struct vhd_io_list {
	struct vhd_io *head;
	struct vhd_io *tail;
};

static inline void vhd_io_list_add(struct vhd_io_list *l, struct vhd_io *io)
{
	io->next = NULL;
	if (l->head)
		l->tail->next = io;
	else
		l->head = io;
	l->tail = io;
}

static inline struct vhd_io *vhd_io_list_take(struct vhd_io_list *l)
{
	struct vhd_io *io = l->head;

	if (io)
		l->head = io->next;
	return io;
}

/* The whole chain. */
static inline struct vhd_io *vhd_io_list_take_all(struct vhd_io_list *l)
{
	struct vhd_io *io = l->head;

	l->head = NULL;
	return io;
}

static inline bool vhd_io_list_remove(struct vhd_io_list *l, struct vhd_io *io)
{
	struct vhd_io *prev = NULL;

	for (struct vhd_io *i = l->head; i; prev = i, i = i->next) {
		if (i != io)
			continue;
		if (prev)
			prev->next = io->next;
		else
			l->head = io->next;
		if (l->tail == io)
			l->tail = prev;
		return true;
	}
	return false;
}

/* Files that one queue may have: its images and the parents of some. */
/* Two places each in the uring engine's table, and one more, are within the
 * usual limit of 1024 open files, which bounds the table.
 */
#define VHD_ENGINE_FILES_MAX (2 * VHD_QUEUE_IMAGES_MAX - 1)

struct vhd_engine_ops {
	const char *name;
	enum vhd_engine id;
	/* `depth` bounds what is prepared and not yet reaped. */
	int (*create)(uint32_t depth, void **state, struct vhd_err *err);
	void (*destroy)(void *state);
	/* Slot numbers are below VHD_ENGINE_FILES_MAX. -ENOTSUP: this engine
	 * cannot serve the file.
	 */
	int (*attach)(void *state, const struct vhd_file *f, uint32_t slot,
		      struct vhd_err *err);
	void (*detach)(void *state, const struct vhd_file *f, uint32_t slot);
	/* As vhd_queue_memory, with at least one and at most
	 * VHD_QUEUE_MEMORY_MAX pieces. NULL: no use for it.
	 */
	int (*memory)(void *state, const struct iovec *mem, unsigned count,
		      struct vhd_err *err);
	/* Accept an operation; it may reach the kernel at once or on submit. */
	void (*prep)(void *state, struct vhd_io *io);
	/* Push the prepared operations. What the kernel has no room for is
	 * kept and pushed later. -errno: the engine is broken.
	 */
	int (*submit)(void *state);
	/* Chain finished operations through `next`; NULL when there are none. */
	struct vhd_io *(*reap)(void *state);
	/* Submit, then block until there is something to reap, `wake_fd` is
	 * readable or the time is over. May return early with nothing, as
	 * after a signal. -errno: the engine is broken.
	 */
	int (*wait)(void *state, int wake_fd, int timeout_ms);
	/* Best effort; the operation still comes back through reap. */
	void (*cancel)(void *state, struct vhd_io *io);
};

extern const struct vhd_engine_ops vhd_engine_uring;
extern const struct vhd_engine_ops vhd_engine_aio;
extern const struct vhd_engine_ops vhd_engine_sync;

/* vhd_queue_create over a given engine (depth 0: the default): the seam for
 * tests.
 */
int vhd_queue_create_on(const struct vhd_engine_ops *engine, uint32_t depth,
			struct vhd_queue **out, struct vhd_err *err);

#endif
