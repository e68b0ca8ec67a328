/* SPDX-License-Identifier: BSD-2-Clause */
/* A copy that goes on later, and its journal. Private to tools/.
 * How the two keep what was copied safe: resume.c.
 */
#ifndef CONVERT_RESUME_H
#define CONVERT_RESUME_H

#include "convert.h"

/* What a copy is a copy of. */
enum convert_id {
	CONVERT_ID_INODE,
	CONVERT_ID_BYTES,
	CONVERT_ID_MTIME_S,
	CONVERT_ID_MTIME_NS,
	CONVERT_ID_FORMAT,
	CONVERT_ID_SIZE,
	CONVERT_ID_PARENTS,
	CONVERT_ID_PARTIAL, /* inode of the partial file */
	CONVERT_ID_TO,
	CONVERT_ID_BLOCK,
	CONVERT_ID_TARGET,
	CONVERT_ID_DST_SIZE,
	CONVERT_ID_COUNT
};

struct convert_mark {
	uint64_t mark_bytes; /* the disk before it is copied and durable */
	uint64_t id[CONVERT_ID_COUNT];
};

struct convert_journal {
	int dir_fd; /* borrowed */
	int fd;
	uint64_t seq;
	char name[NAME_MAX + 1];
};

/* Open, or `make`, and lock. Errors: -EBUSY (LOCKED), SYSTEM. */
int convert_journal_open(struct convert_journal *j, int dir_fd,
			 const char *name, bool make, struct vhd_err *err);
/* The record in force; false: none. */
bool convert_journal_read(struct convert_journal *j, struct convert_mark *m);
/* The next one, durable on return. */
int convert_journal_write(struct convert_journal *j,
			  const struct convert_mark *m, struct vhd_err *err);
void convert_journal_remove(struct convert_journal *j);
void convert_journal_close(struct convert_journal *j);

/* A copy that can be resumed, or is. */
struct convert_resume {
	struct convert_output *out;
	struct convert_journal journal;
	struct convert_mark mark;
	struct vhd *dst;
	struct convert_job *job;
	int64_t last_ms;
	bool flushing;
	uint64_t next_bytes; /* the mark after the flush */
	struct convert_io flush;
};

/* The destination's file, for --resume or not. 1: such a copy was finished
 * but for its journal, and now is.
 */
int convert_resume_output(struct convert_output *out,
			  const struct convert_opts *opts,
			  const struct convert_input *in, struct vhd_err *err);
/* Find out whether there is something to go on with: then the mark is above 0.
 * Sets the job's `resume`. `src` is an image.
 */
int convert_resume_begin(struct convert_resume *r, struct convert_job *job,
			 const struct convert_opts *opts,
			 const struct convert_source *src,
			 struct convert_output *out, uint64_t dst_bytes,
			 struct vhd_err *err);
/* Open what is there, all zero behind the mark. */
int convert_resume_image(struct convert_resume *r,
			 const struct convert_opts *opts, struct vhd **dst,
			 struct vhd_err *err);
/* Whether it is time for another mark; make one at `done_bytes`, before which
 * every write has come back.
 */
bool convert_resume_due(const struct convert_job *job);
void convert_resume_turn(struct convert_job *job, uint64_t done_bytes);
/* The same where everything is durable already. */
int convert_resume_mark(struct convert_resume *r, uint64_t done_bytes,
			struct vhd_err *err);
/* Without the job's `resume` nothing happens. `keep`: for another run. */
void convert_resume_end(struct convert_job *job, bool keep);

#endif
