/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a conversion reads from and where it writes to. The copy and the
 * comparison know these two tables only; images, NBD exports and streams are
 * behind them. Private to tools/.
 *
 * Rules of both:
 *   - one thread calls; nothing blocks but what says so;
 *   - a piece handed over comes back exactly once, through its `done`, from
 *     convert_turn() or from the call itself; a failure is noted in the job
 *     (convert_fault) first;
 *   - its buffer and the piece itself belong to the end until then.
 */
#ifndef CONVERT_DOOR_H
#define CONVERT_DOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhd/vhd.h"

struct convert_job;

/* One piece on its way into or out of a buffer. */
struct convert_io {
	uint64_t off_bytes;
	uint64_t len_bytes; /* a source at its end may make it shorter */
	uint8_t *buf;
	int result;         /* 0 or a negative errno */
	void (*done)(struct convert_io *io);
	void *user;

	/* the end's own */
	const char *path_;
	struct convert_io *next_;
	struct vhd_req req_;
	struct iovec iov_;
};

/* -------------------------------------------------------------- source -- */

/* The size of a disk that is known only at its end. */
#define CONVERT_SIZE_UNKNOWN UINT64_MAX

struct convert_source;

struct convert_source_ops {
	/* The next piece that may hold data, at or behind `*off_bytes`, as
	 * convert_extents_next has it. A source that `streams` gives
	 * everything, one unit after the other. May block on the answer of
	 * a server, heeding signals.
	 */
	int (*next)(struct convert_source *s, uint64_t unit_bytes,
		    uint64_t *off_bytes, uint64_t *len_bytes,
		    struct vhd_err *err);
	void (*read)(struct convert_source *s, struct convert_io *io);
	/* Bring back what has finished. NULL: the queue does that. */
	void (*turn)(struct convert_source *s);
	/* Make sure that nothing is in flight any more; each piece comes
	 * back. NULL: the queue does that.
	 */
	void (*drain)(struct convert_source *s);
	void (*close)(struct convert_source *s);
};

struct convert_source {
	const struct convert_source_ops *ops;
	struct convert_job *job;
	const char *path;    /* to blame; borrowed */
	uint64_t size_bytes; /* or CONVERT_SIZE_UNKNOWN until the end */
	bool streams;        /* each byte once, in order */
};

/* ---------------------------------------------------------------- sink -- */

struct convert_sink;

/* Pieces come in disk order. What no piece covers is zero, and that the sink
 * sees to: a new file is zero anyway, others are told.
 */
struct convert_sink_ops {
	/* Whether write() may be called now. NULL: always. */
	bool (*room)(struct convert_sink *s);
	void (*write)(struct convert_sink *s, struct convert_io *io);
	/* All pieces of [off, off + len) have come back. May be NULL. */
	int (*written)(struct convert_sink *s, uint64_t off_bytes,
		       uint64_t len_bytes, struct vhd_err *err);
	/* All pieces of a disk of this size have come back: settle the rest
	 * and make it durable as far as that is this end's business. May
	 * block, heeding signals. NULL: nothing to do.
	 */
	int (*finish)(struct convert_sink *s, uint64_t size_bytes,
		      struct vhd_err *err);
	void (*turn)(struct convert_sink *s);
	void (*drain)(struct convert_sink *s);
	void (*close)(struct convert_sink *s);
};

struct convert_sink {
	const struct convert_sink_ops *ops;
	struct convert_job *job;
	const char *path;
	uint32_t grain_bytes; /* pieces are multiples of this but at the disk's
			       * end, a power of two up to the copy's unit;
			       * grains of zeros are left out */
	bool whole;           /* no zeros are looked for in what is read */
};

static inline void convert_source_close(struct convert_source *s)
{
	if (s && s->ops->close)
		s->ops->close(s);
}

static inline void convert_sink_close(struct convert_sink *s)
{
	if (s && s->ops->close)
		s->ops->close(s);
}

#endif
