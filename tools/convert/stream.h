/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources that come as one sequence of bytes. Private to tools/. */
#ifndef CONVERT_STREAM_H
#define CONVERT_STREAM_H

#include "convert.h"

/* ------------------------------------------------------------------ feed -- */

/* Bytes out of a descriptor, inflated where that is asked for. One thread at
 * a time; calls block.
 */
struct convert_feed;

/* As much is known of a stream's beginning before it is decided about. */
#define CONVERT_HEAD_BYTES 4096u

/* Borrows `fd`. Waits end when `stop_fd` (-1 for none) is readable. NULL: no
 * memory.
 */
struct convert_feed *convert_feed_open(int fd, int stop_fd);
/* Let another one end waits from now on. */
void convert_feed_heed(struct convert_feed *f, int stop_fd);
/* Whether it begins as gzip does; before anything is read. */
int convert_feed_is_gzip(struct convert_feed *f, bool *gzip,
			 struct vhd_err *err);
/* From now on what is read is inflated. */
int convert_feed_inflate(struct convert_feed *f, struct vhd_err *err);
/* Fill `buf`: less than asked for is the end. Errors: -EINTR: it was to stop
 * (`err` is not set), those of read(2), -EUCLEAN (PACKED, SHORT_IO) with the
 * place in the compressed stream.
 */
int64_t convert_feed_read(struct convert_feed *f, uint8_t *buf, size_t len,
			  struct vhd_err *err);
/* Put bytes back, up to CONVERT_HEAD_BYTES, to be read again. */
void convert_feed_unread(struct convert_feed *f, const uint8_t *bytes,
			 size_t len);
/* Whether bytes that are no gzip followed the last member. */
bool convert_feed_trailing(const struct convert_feed *f);
void convert_feed_close(struct convert_feed *f);

/* ---------------------------------------------------------------- source -- */

struct convert_stream;

struct convert_stream_opts {
	struct convert_feed *feed; /* taken, on failure too */
	enum vhd_format from; /* RAW, FIXED, or AUTO of those two */
	bool verbatim;        /* the file's own bytes, for a spool */
	uint64_t size_bytes;  /* of a RAW disk, or CONVERT_SIZE_UNKNOWN */
};

/* A thread reads ahead into the pieces asked for. What a stream is may show
 * only at its end: a fixed disk ends in a footer, which is checked and is not
 * part of the disk.
 */
int convert_stream_open(struct convert_stream **out, struct convert_job *job,
			const char *path,
			const struct convert_stream_opts *opts,
			struct vhd_err *err);
struct convert_source *convert_stream_source(struct convert_stream *s);
/* At its end: what it turned out to be, and what decided it. */
enum vhd_format convert_stream_verdict(const struct convert_stream *s,
				       const char **why);
bool convert_stream_trailing(const struct convert_stream *s);
/* Takes `s`, which may be NULL. */
void convert_stream_close(struct convert_stream *s);

/* ----------------------------------------------------------------- spool -- */

/* A file without a name: beside `dst` where that is a file to be made, else
 * where temporary files go. Returns the descriptor.
 */
int convert_spool_file(const char *dst, struct vhd_err *err);

/* A sink that makes a file of what comes, with holes for zeros; its length is
 * the size told at the end.
 */
struct convert_spool {
	struct convert_sink sink;
	int fd;
	struct convert_writeback wb;
};

void convert_spool_init(struct convert_spool *s, struct convert_job *job,
			int fd, const char *path, bool stream);

#endif
