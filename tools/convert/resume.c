/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-convert --resume: a copy that goes on where an earlier one was stopped,
 * by a signal, an error, SIGKILL or a power cut.
 *
 *   .NAME.partial           the destination as far as it is
 *   .NAME.partial.journal   what it is a copy of, and its mark
 *
 * The mark. All of the disk before it is in the partial file and durable: it
 * is written to the journal only after a flush that covers every write before
 * it, and synced itself. What lies behind it is unknown, and made zero before
 * a copy goes on, because zeros are not written.
 *
 * Order: the journal names the partial file (mark 0, synced with the
 * directory) before anything is written to it; the partial file gets its name
 * before the journal goes. So a partial file with content always has a journal,
 * and a journal without a partial file belongs to a destination that is
 * complete, or to nothing.
 *
 * A source that was changed, other options or another partial file are told
 * and refused; nothing is guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <isa-l/crc.h>

#include "resume.h"

#define EVERY_MS 2000
#define ZERO_BYTES (1u << 20)

/* ------------------------------------------------------------ identity -- */

/* What differs, for the one line of a refusal. */
static const char *const id_words[CONVERT_ID_COUNT] = {
	[CONVERT_ID_INODE] = "SRC is another file",
	[CONVERT_ID_BYTES] = "SRC has another length",
	[CONVERT_ID_MTIME_S] = "SRC was changed since",
	[CONVERT_ID_MTIME_NS] = "SRC was changed since",
	[CONVERT_ID_FORMAT] = "SRC is taken for another type",
	[CONVERT_ID_SIZE] = "SRC's disk has another size",
	[CONVERT_ID_PARENTS] = "a parent of SRC was changed since",
	[CONVERT_ID_PARTIAL] = "the partial file is another one",
	[CONVERT_ID_TO] = "--to differs",
	[CONVERT_ID_BLOCK] = "--block-size differs",
	[CONVERT_ID_TARGET] = "--for differs",
	[CONVERT_ID_DST_SIZE] = "the new disk's size differs",
};

static uint64_t parents_of(const struct vhd *img)
{
	struct vhd_layer layer;
	uint32_t crc = 0;

	for (unsigned i = 1; !vhd_layer(img, i, &layer); i++) {
		uint64_t facts[4] = { 0 };
		struct stat st;

		if (layer.fd >= 0 && fstat(layer.fd, &st) == 0) {
			facts[0] = st.st_ino;
			facts[1] = (uint64_t)st.st_size;
			facts[2] = (uint64_t)st.st_mtim.tv_sec;
			facts[3] = (uint64_t)st.st_mtim.tv_nsec;
		}
		crc = crc32_iscsi((unsigned char *)facts, sizeof(facts), crc);
	}
	return crc;
}

static int identity(const struct convert_opts *opts,
		    const struct convert_image_source *src, int partial_fd,
		    uint64_t dst_bytes, uint64_t id[CONVERT_ID_COUNT],
		    struct vhd_err *err)
{
	const struct vhd_info *info = vhd_get_info(src->img);
	struct stat st, partial;

	if (src->extents.fd < 0)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"--resume needs SRC to be one file");
	if (fstat(src->extents.fd, &st) < 0 || fstat(partial_fd, &partial) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot examine: %s", strerror(errno));
	if (S_ISBLK(st.st_mode) && !opts->verify)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"SRC is a device, which does not tell whether "
				"it was changed: --resume needs --verify");
	id[CONVERT_ID_INODE] = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_ino;
	id[CONVERT_ID_BYTES] = info->file_bytes;
	if (!S_ISBLK(st.st_mode)) {
		id[CONVERT_ID_MTIME_S] = (uint64_t)st.st_mtim.tv_sec;
		id[CONVERT_ID_MTIME_NS] = (uint64_t)st.st_mtim.tv_nsec;
	}
	id[CONVERT_ID_FORMAT] = info->format;
	id[CONVERT_ID_SIZE] = info->size_bytes;
	id[CONVERT_ID_PARENTS] = parents_of(src->img);
	id[CONVERT_ID_PARTIAL] = partial.st_ino;
	id[CONVERT_ID_TO] = opts->to;
	id[CONVERT_ID_BLOCK] = opts->block_size_bytes;
	id[CONVERT_ID_TARGET] = opts->target;
	id[CONVERT_ID_DST_SIZE] = dst_bytes;
	return 0;
}

/* ----------------------------------------------------------- beginning -- */

static int journal_name(const char *name, char *buf, size_t n,
			struct vhd_err *err)
{
	if (snprintf(buf, n, ".%s.partial.journal", name) < (int)n)
		return 0;
	return vhd_fail(err, -ENAMETOOLONG, VHD_WHY_SYSTEM, 0,
			"too long a name for --resume, which adds to it");
}

/* Whether `have` is the mark of the copy that `want` is about. */
static int same_copy(const struct convert_resume *r,
		     const struct convert_mark *have, struct vhd_err *err)
{
	for (unsigned i = 0; i < CONVERT_ID_COUNT; i++)
		if (have->id[i] != r->mark.id[i])
			return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
					"%.48s is of another copy: %s; delete "
					"it and its .journal to begin again",
					r->out->temp, id_words[i]);
	return 0;
}

static int begin_new(struct convert_resume *r, struct vhd_err *err)
{
	int rc;

	rc = convert_journal_write(&r->journal, &r->mark, err);
	if (!rc && fsync(r->out->dir_fd) < 0 && errno != EINVAL)
		rc = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot sync the directory: %s", strerror(errno));
	return rc;
}

/* With the journal locked: from the mark, or from the beginning. */
static int begin(struct convert_resume *r, bool empty, struct vhd_err *err)
{
	struct convert_mark have;
	bool found = convert_journal_read(&r->journal, &have);
	int rc;

	/* Whatever the journal is of, nothing has come of it. */
	if (empty)
		return begin_new(r, err);
	if (!found)
		return vhd_fail(err, -EEXIST, VHD_WHY_UNSUPPORTED, 0,
				"%.48s is there, but no journal tells what it "
				"is: delete it to begin", r->out->temp);
	rc = same_copy(r, &have, err);
	r->mark.mark_bytes = have.mark_bytes;
	return rc;
}

int convert_resume_begin(struct convert_resume *r, struct convert_job *job,
			 const struct convert_opts *opts,
			 const struct convert_source *src,
			 struct convert_output *out, uint64_t dst_bytes,
			 struct vhd_err *err)
{
	const struct convert_image_source *image = convert_image_source_of(src);
	char name[NAME_MAX + 1];
	bool empty;
	int rc;

	*r = (struct convert_resume){ .out = out, .journal.fd = -1 };
	rc = journal_name(out->name, name, sizeof(name), err);
	if (!rc)
		rc = convert_journal_open(&r->journal, out->dir_fd, name, true,
					  err);
	if (rc)
		return rc;
	empty = lseek(out->fd, 0, SEEK_END) == 0;
	rc = identity(opts, image, out->fd, dst_bytes, r->mark.id, err);
	if (!rc)
		rc = begin(r, empty, err);
	job->resume = r;
	/* A journal that this call made tells nothing. */
	if (rc && lseek(r->journal.fd, 0, SEEK_END) == 0)
		convert_journal_remove(&r->journal);
	if (rc)
		convert_resume_end(job, !empty);
	r->last_ms = cli_now_ms();
	return rc;
}

/* ------------------------------------------------------------ going on -- */

/* Zeros over all that lies behind the mark; where the disk lies in the file as
 * it is, holes if that can be.
 */
static int clean(struct convert_resume *r, bool plain, struct vhd *dst,
		 struct vhd_err *err)
{
	struct convert_extents *x = malloc(sizeof(*x));
	uint8_t *zeros = calloc(1, ZERO_BYTES);
	uint64_t at = r->mark.mark_bytes, len = 0;
	int rc = 0;

	if (!x || !zeros)
		rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
	if (!rc && plain)
		(void)fallocate(r->out->fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)at,
				(off_t)(vhd_get_info(dst)->size_bytes - at));
	if (!rc)
		convert_extents_init(x, dst, r->out->fd);
	while (!rc) {
		rc = convert_extents_next(x, ZERO_BYTES, &at, &len, err);
		if (rc || !len)
			break;
		rc = vhd_write(dst, at, zeros, len, err);
		at += len;
	}
	free(zeros);
	free(x);
	return rc ? rc : vhd_flush(dst, err);
}

int convert_resume_image(struct convert_resume *r,
			 const struct convert_opts *opts, struct vhd **dst,
			 struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.format = opts->to,
		.writable = true,
		.direct = opts->direct,
	};
	uint64_t size = r->mark.id[CONVERT_ID_DST_SIZE];
	int rc = vhd_open(r->out->path, &how, dst, err);

	if (rc) {
		cli_strip_path(err, r->out->path);
		return rc;
	}
	if (vhd_get_info(*dst)->size_bytes != size ||
	    r->mark.mark_bytes > size)
		rc = vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
			      "%.48s is damaged: delete it and its .journal to "
			      "begin again", r->out->temp);
	else
		rc = clean(r, opts->to != VHD_FORMAT_DYNAMIC, *dst, err);
	if (rc)
		vhd_abandon(*dst);
	return rc;
}

static void flushed(struct convert_io *io)
{
	struct convert_resume *r = io->user;
	struct vhd_err err = { 0 };

	r->flushing = false;
	if (io->result)
		return; /* noted */
	r->mark.mark_bytes = r->next_bytes;
	if (convert_journal_write(&r->journal, &r->mark, &err))
		convert_fault(r->job, r->job->dst, err.code, err.why, "%s",
			      err.text);
}

void convert_resume_turn(struct convert_job *job, uint64_t done_bytes)
{
	struct convert_resume *r = job->resume;

	if (r->flushing || done_bytes <= r->mark.mark_bytes)
		return;
	r->flushing = true;
	r->last_ms = cli_now_ms();
	r->next_bytes = done_bytes;
	r->job = job;
	r->flush = (struct convert_io){ .done = flushed, .user = r };
	convert_submit(job, r->dst, VHD_OP_FLUSH, job->dst, &r->flush);
}

bool convert_resume_due(const struct convert_job *job)
{
	return job->resume && !job->resume->flushing &&
	       cli_now_ms() - job->resume->last_ms >= EVERY_MS;
}

/* -------------------------------------------------------------- ending -- */

int convert_resume_mark(struct convert_resume *r, uint64_t done_bytes,
			struct vhd_err *err)
{
	if (done_bytes <= r->mark.mark_bytes)
		return 0;
	r->mark.mark_bytes = done_bytes;
	return convert_journal_write(&r->journal, &r->mark, err);
}

void convert_resume_end(struct convert_job *job, bool keep)
{
	struct convert_resume *r = job->resume;

	if (!r)
		return;
	if (keep)
		convert_journal_close(&r->journal);
	else
		convert_journal_remove(&r->journal);
	r->out->keep = keep;
	job->resume = NULL;
}

/* ------------------------------------------------------------ the file -- */

/* A copy that had nothing left to do but to remove its journal. */
static bool finished(const char *dst)
{
	char *path = realpath(dst, NULL);
	char *slash = path ? strrchr(path, '/') : NULL;
	char name[NAME_MAX + 1];
	struct convert_journal j;
	struct convert_mark m;
	struct stat st, partial;
	bool yes = false;
	int dir_fd = -1;

	if (slash && stat(path, &st) == 0 &&
	    !journal_name(slash + 1, name, sizeof(name), NULL)) {
		slash[slash == path] = '\0';
		dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	free(path);
	if (dir_fd < 0)
		return false;
	if (!convert_journal_open(&j, dir_fd, name, false, NULL)) {
		name[strlen(name) - strlen(".journal")] = '\0';
		yes = convert_journal_read(&j, &m) &&
		      m.id[CONVERT_ID_PARTIAL] == st.st_ino &&
		      fstatat(dir_fd, name, &partial, AT_SYMLINK_NOFOLLOW) < 0;
		if (yes)
			convert_journal_remove(&j);
		else
			convert_journal_close(&j);
	}
	close(dir_fd);
	return yes;
}

int convert_resume_output(struct convert_output *out,
			  const struct convert_opts *opts,
			  const struct convert_input *in, struct vhd_err *err)
{
	int rc;

	if (!opts->resume)
		return convert_output_open(out, opts->dst, opts->force, &in->st,
					   err);
	if (!in->img)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"--resume needs an image file to read from");
	rc = convert_output_open_partial(out, opts->dst, opts->force, &in->st,
					 err);
	return rc == -EEXIST && finished(opts->dst) ? 1 : rc;
}
