/* SPDX-License-Identifier: BSD-2-Clause */
/* The journal of a copy that can be resumed: one record, written in turn to
 * two places 4 KiB apart, so that a power cut while one is written leaves the
 * other. The newer of those whose checksum is right is in force. The file is
 * locked as long as the copy runs.
 *
 * A record: magic, CRC-32C of what follows, number of the record, how far the
 * copy is, and what it is a copy of; all little-endian.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <isa-l/crc.h>

#include "resume.h"
#include "vhd/endian.h"

#define PLACES 2u
#define PLACE_BYTES 4096u

struct record {
	uint8_t magic[8];
	le32 crc;
	uint8_t zero[4];
	le64 seq;
	le64 mark_bytes;
	le64 id[CONVERT_ID_COUNT];
};

static const uint8_t magic[8] = "vhdcopy1";

static uint32_t crc_of(const struct record *r)
{
	const size_t from = offsetof(struct record, seq);

	return crc32_iscsi((unsigned char *)r + from, (int)(sizeof(*r) - from),
			   UINT32_MAX);
}

static int fail(struct vhd_err *err, const char *what)
{
	int code = -errno;

	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s its journal: %s",
			what, strerror(-code));
}

/* ------------------------------------------------------------- reading -- */

static bool read_place(struct convert_journal *j, unsigned place,
		       struct convert_mark *m)
{
	struct record r;

	if (pread(j->fd, &r, sizeof(r), (off_t)place * PLACE_BYTES) !=
		    (ssize_t)sizeof(r) ||
	    memcmp(r.magic, magic, sizeof(magic)) != 0 ||
	    le32_get(r.crc) != crc_of(&r) || le64_get(r.seq) <= j->seq)
		return false;
	j->seq = le64_get(r.seq);
	m->mark_bytes = le64_get(r.mark_bytes);
	for (unsigned i = 0; i < CONVERT_ID_COUNT; i++)
		m->id[i] = le64_get(r.id[i]);
	return true;
}

bool convert_journal_read(struct convert_journal *j, struct convert_mark *m)
{
	bool found = false;

	j->seq = 0;
	for (unsigned i = 0; i < PLACES; i++)
		if (read_place(j, i, m))
			found = true;
	return found;
}

/* -------------------------------------------------- opening and writing -- */

static int lock(struct convert_journal *j, struct vhd_err *err)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(j->fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
				"another copy to it is under way");
	return fail(err, "cannot lock");
}

int convert_journal_open(struct convert_journal *j, int dir_fd,
			 const char *name, bool make, struct vhd_err *err)
{
	struct stat st;
	int rc;

	*j = (struct convert_journal){ .dir_fd = dir_fd, .fd = -1 };
	snprintf(j->name, sizeof(j->name), "%s", name);
	j->fd = openat(dir_fd, name,
		       O_RDWR | O_NOFOLLOW | O_CLOEXEC | (make ? O_CREAT : 0),
		       0600);
	if (j->fd < 0)
		return fail(err, "cannot open");
	rc = lock(j, err);
	/* Whoever had it until now may have finished and removed it. */
	if (!rc && (fstat(j->fd, &st) < 0 || st.st_nlink == 0))
		rc = vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
			      "another copy to it has just ended");
	if (rc)
		convert_journal_close(j);
	return rc;
}

int convert_journal_write(struct convert_journal *j,
			  const struct convert_mark *m, struct vhd_err *err)
{
	struct record r = {
		.seq = le64_put(j->seq + 1),
		.mark_bytes = le64_put(m->mark_bytes),
	};
	ssize_t n;

	memcpy(r.magic, magic, sizeof(magic));
	for (unsigned i = 0; i < CONVERT_ID_COUNT; i++)
		r.id[i] = le64_put(m->id[i]);
	r.crc = le32_put(crc_of(&r));
	n = pwrite(j->fd, &r, sizeof(r),
		   (off_t)((j->seq + 1) % PLACES * PLACE_BYTES));
	if (n >= 0 && n < (ssize_t)sizeof(r))
		errno = ENOSPC;
	if (n < (ssize_t)sizeof(r) || fdatasync(j->fd) < 0)
		return fail(err, "cannot write");
	j->seq++;
	return 0;
}

void convert_journal_remove(struct convert_journal *j)
{
	if (j->fd >= 0)
		(void)unlinkat(j->dir_fd, j->name, 0);
	convert_journal_close(j);
}

void convert_journal_close(struct convert_journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}
