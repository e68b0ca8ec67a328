/* SPDX-License-Identifier: BSD-2-Clause */
/* NBD exports as the ends of a conversion, through libnbd. Private to tools/.
 */
#ifndef CONVERT_NBD_H
#define CONVERT_NBD_H

#include <sys/types.h>

#include <libnbd.h>

#include "convert.h"

/* Connections to one server, where it says that several see the same. */
#define CONVERT_NBD_CONNS_MAX 4u

/* ------------------------------------------------------------ qemu-nbd -- */

/* A qemu-nbd of our own, which serves one file for reading to sockets that
 * nobody else can reach.
 */
struct convert_qemu {
	pid_t pid;      /* 0: none */
	int said_fd;    /* what it said on its standard error; or -1 */
	int fds[CONVERT_NBD_CONNS_MAX]; /* connected sockets; the taker sets
					 * them to -1 */
};

/* Start it. `format` is qemu's word for the type of `path`. */
int convert_qemu_start(struct convert_qemu *q, const char *format,
		       const char *path, struct vhd_err *err);
/* If it said anything, that is why its connection failed. */
void convert_qemu_explain(struct convert_qemu *q, struct vhd_err *err);
/* End it and wait for it. Also of one that is all zero but for its fds. */
void convert_qemu_stop(struct convert_qemu *q);

/* --------------------------------------------------------- connections -- */

struct convert_nbd_conn {
	struct nbd_handle *h;
	uint32_t watched; /* epoll events, 0: none */
	int fd;
};

struct convert_nbd {
	struct convert_job *job;
	const char *path;  /* to blame */
	struct convert_nbd_conn conn[CONVERT_NBD_CONNS_MAX];
	unsigned count;
	unsigned next;     /* whose turn it is */
	unsigned in_flight; /* pieces */
	uint64_t size_bytes;
	uint32_t min_bytes; /* requests are multiples of this */
	uint32_t max_bytes; /* data of one request */
	bool read_only;
	bool can_zero;
	bool can_flush;
	bool can_fua;
	bool knows_zeros; /* base:allocation */
};

/* Connect to `uri`, or to the sockets of `qemu`. `path` is blamed. */
int convert_nbd_open(struct convert_nbd *n, struct convert_job *job,
		     const char *path, const char *uri,
		     struct convert_qemu *qemu, struct vhd_err *err);
/* Say goodbye where the server still listens. */
void convert_nbd_close(struct convert_nbd *n);

/* Send a piece; it comes back through its `done`. */
void convert_nbd_read(struct convert_nbd *n, struct convert_io *io);
void convert_nbd_write(struct convert_nbd *n, struct convert_io *io);
/* The same of zeros, without a buffer. Only where can_zero. */
void convert_nbd_zero(struct convert_nbd *n, struct convert_io *io);

/* Bring back what has been answered. */
void convert_nbd_turn(struct convert_nbd *n);
/* Give up what has not. */
void convert_nbd_drain(struct convert_nbd *n);
/* Wait a short while for the server or a signal. */
int convert_nbd_wait(struct convert_nbd *n, struct vhd_err *err);
int convert_nbd_flush(struct convert_nbd *n, struct vhd_err *err);

/* What libnbd complained about last, as an error. */
int convert_nbd_fail(const struct convert_nbd *n, enum vhd_why why,
		     const char *what, struct vhd_err *err);

/* ------------------------------------------------------------- extents -- */

#define CONVERT_NBD_EXTENTS_MAX 1024u

/* What the server told last of where it has data. */
struct convert_nbd_extents {
	struct convert_nbd *n;
	uint64_t asked_bytes; /* where the answer starts */
	unsigned count;
	unsigned last;        /* the extent found last, ... */
	uint64_t last_bytes;  /* ... and where it starts */
	bool answered;
	int error;
	struct {
		uint64_t len_bytes;
		bool zero;
	} extent[CONVERT_NBD_EXTENTS_MAX];
};

/* Whether the export reads as zero at `at`, and until where that is known.
 * Blocks on the server.
 */
int convert_nbd_zero_at(struct convert_nbd_extents *x, uint64_t at_bytes,
			bool *zero, uint64_t *until_bytes,
			struct vhd_err *err);

/* ---------------------------------------------------------------- ends -- */

struct convert_nbd_source {
	struct convert_source source;
	struct convert_nbd nbd;
	struct convert_nbd_extents extents;
	struct convert_qemu qemu;
};

/* `format`: serve the file `path` of that type by a qemu-nbd of our own;
 * NULL: `path` is a URI.
 */
int convert_nbd_source_open(struct convert_nbd_source *s,
			    struct convert_job *job, const char *path,
			    const char *format, struct vhd_err *err);

#define CONVERT_NBD_ZEROS_MAX 16u

struct convert_nbd_sink {
	struct convert_sink sink;
	struct convert_nbd nbd;
	uint64_t pos_bytes;       /* settled, or on its way, up to here */
	bool blank;               /* it was all zero before */
	struct convert_io *first; /* pieces that wait for zeros before them */
	struct convert_io *last;
	struct convert_io zero[CONVERT_NBD_ZEROS_MAX];
	struct convert_io *free;  /* of those */
	uint8_t *zeros;           /* where the server cannot zero; owned */
	bool flush;               /* durable at the end */
	bool quiet;
};

/* `size_bytes`: of the disk to come, or CONVERT_SIZE_UNKNOWN. `sync`: the
 * data is to be durable at the end.
 */
int convert_nbd_sink_open(struct convert_nbd_sink *s, struct convert_job *job,
			  const char *uri, uint64_t size_bytes, bool sync,
			  struct vhd_err *err);

#endif
