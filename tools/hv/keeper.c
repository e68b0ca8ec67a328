/* SPDX-License-Identifier: BSD-2-Clause */
/* The file in which a disk's persistent reservations outlive a run (pr=FILE):
 * one record, written in turn to two places 4 KiB apart, so that a power cut
 * while one is written leaves the other. The newer of those whose checksum is
 * right is in force. A new file appears under its name with a record in it;
 * it stays open and locked for the whole run, as nothing can be opened once
 * the guest is there.
 *
 * A record, 64 bytes: magic, CRC-32C of what follows, number of the record,
 * the disk's id, the registered key, whether there is one, the reservation's
 * type; little-endian.
 * Thread: the channel's that runs the command, one at a time.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <isa-l/crc.h>

#include "hv.h"
#include "vhd/endian.h"

#define PLACES	    2u
#define PLACE_BYTES 4096u

struct record {
	uint8_t magic[8];
	le32 crc;
	uint8_t zero0[4];
	le64 seq;
	uint8_t disk_id[16];
	le64 key;
	uint8_t registered;
	uint8_t type;
	uint8_t zero1[14];
};

static_assert(sizeof(struct record) == 64, "record");

static const uint8_t magic[8] = "vhdkeys1";

struct hv_keeper {
	int fd;
	uint64_t seq;
	bool failed; /* a failed sync is not tried again */
	uint8_t disk_id[16];
	struct storvsp_reservations kept;
};

static uint32_t crc_of(const struct record *r)
{
	const size_t from = offsetof(struct record, seq);

	return crc32_iscsi((unsigned char *)(uintptr_t)r + from,
			   (int)(sizeof(*r) - from), UINT32_MAX);
}

static struct record encode(const struct hv_keeper *k,
			    const struct storvsp_reservations *now,
			    uint64_t seq)
{
	struct record r = {
		.seq = le64_put(seq),
		.key = le64_put(now->key),
		.registered = now->registered,
		.type = now->type,
	};

	memcpy(r.magic, magic, sizeof(magic));
	memcpy(r.disk_id, k->disk_id, sizeof(r.disk_id));
	r.crc = le32_put(crc_of(&r));
	return r;
}

/* 1: a newer record than any before, now in `k`; 0: none; or -EUCLEAN. */
static int read_place(struct hv_keeper *k, unsigned place)
{
	struct record r;

	if (pread(k->fd, &r, sizeof(r), (off_t)place * PLACE_BYTES) !=
		    (ssize_t)sizeof(r) ||
	    memcmp(r.magic, magic, sizeof(magic)) != 0 ||
	    le32_get(r.crc) != crc_of(&r) || le64_get(r.seq) <= k->seq)
		return 0;
	if (memcmp(r.disk_id, k->disk_id, sizeof(r.disk_id)) != 0)
		return -EUCLEAN;
	k->seq = le64_get(r.seq);
	k->kept = (struct storvsp_reservations){
		.registered = r.registered != 0,
		.key = r.registered ? le64_get(r.key) : 0,
		.type = r.registered ? r.type : 0,
	};
	return 1;
}

static int read_record(struct hv_keeper *k, struct vhd_err *err)
{
	bool found = false;

	for (unsigned i = 0; i < PLACES; i++) {
		int rc = read_place(k, i);

		if (rc < 0)
			return vhd_fail(err, rc, VHD_WHY_UNSUPPORTED, 0,
					"holds the reservations of another "
					"disk");
		found |= rc > 0;
	}
	if (found)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
			"not a file of reservations; name one that does not "
			"exist to begin with none");
}

/* Two hosts of one file would undo one another's records. */
static int lock(int fd, struct vhd_err *err)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0, "%s",
				strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"not a regular file");
	if (fcntl(fd, F_OFD_SETLK, &l) < 0)
		return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
				"in use by another program");
	return 0;
}

/* ------------------------------------------------------------ a new file -- */

static int sync_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path + 1))
			  : strdup(".");
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		(void)close(fd);
	free(dir);
	return rc;
}

static int fill(const struct hv_keeper *k, int fd)
{
	static const struct storvsp_reservations none;
	struct record r = encode(k, &none, 1);

	if (ftruncate(fd, PLACES * PLACE_BYTES) < 0)
		return -errno;
	if (pwrite(fd, &r, sizeof(r), PLACE_BYTES) != (ssize_t)sizeof(r))
		return errno ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Never over a file that is there: then it is that which counts. */
static int make_new(const struct hv_keeper *k, const char *path, bool *made,
		    struct vhd_err *err)
{
	char *temp = NULL;
	int fd, rc;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	errno = 0;
	fd = mkostemp(temp, O_CLOEXEC);
	rc = fd < 0 ? -errno : fill(k, fd);
	if (fd >= 0 && close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && linkat(AT_FDCWD, temp, AT_FDCWD, path, 0) == 0)
		*made = true;
	else if (rc == 0 && errno != EEXIST)
		rc = -errno;
	if (fd >= 0)
		(void)unlink(temp);
	free(temp);
	if (rc == 0)
		rc = sync_dir_of(path);
	if (rc == 0)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0, "cannot be made: %s",
			strerror(-rc));
}

int hv_keeper_file(const char *path, const uint8_t disk_id[16], bool *made,
		   struct vhd_err *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct hv_keeper k = {.fd = -1};
	int rc;

	*made = false;
	memcpy(k.disk_id, disk_id, sizeof(k.disk_id));
	if (fd < 0 && errno == ENOENT) {
		rc = make_new(&k, path, made, err);
		if (rc < 0)
			return rc;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	}
	if (fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open: %s", strerror(errno));
	return fd;
}

/* ----------------------------------------------------------------- calls -- */

/* Whoever hands one over may have opened it otherwise. */
static int mode_check(int fd, struct vhd_err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (flags & O_ACCMODE) == O_RDWR && !(flags & O_APPEND))
		return 0;
	return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
			"the file of reservations is not open for reading and "
			"writing");
}

int hv_keeper_take(int fd, const uint8_t disk_id[16], struct hv_keeper **out,
		   struct vhd_err *err)
{
	struct hv_keeper *k = calloc(1, sizeof(*k));
	int rc;

	if (!k) {
		(void)close(fd);
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	}
	k->fd = fd;
	memcpy(k->disk_id, disk_id, sizeof(k->disk_id));
	rc = mode_check(fd, err);
	if (rc == 0)
		rc = lock(fd, err);
	if (rc == 0)
		rc = read_record(k, err);
	if (rc < 0) {
		hv_keeper_close(k);
		return rc;
	}
	*out = k;
	return 0;
}

int hv_keeper_open(const char *path, const uint8_t disk_id[16],
		   struct hv_keeper **out, struct vhd_err *err)
{
	bool made;
	int fd = hv_keeper_file(path, disk_id, &made, err);

	return fd < 0 ? fd : hv_keeper_take(fd, disk_id, out, err);
}

void hv_keeper_close(struct hv_keeper *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		(void)close(k->fd); /* all that counts was synced */
	free(k);
}

const struct storvsp_reservations *hv_keeper_kept(const struct hv_keeper *k)
{
	return &k->kept;
}

int hv_keeper_keep(void *arg, const struct storvsp_reservations *now)
{
	struct hv_keeper *k = arg;
	struct record r = encode(k, now, k->seq + 1);
	off_t at = (off_t)((k->seq + 1) % PLACES * PLACE_BYTES);

	if (k->failed)
		return -EIO;
	if (pwrite(k->fd, &r, sizeof(r), at) != (ssize_t)sizeof(r) ||
	    fdatasync(k->fd) < 0) {
		k->failed = true;
		hv_say_line(NULL, "a disk's reservations cannot be kept: its "
				  "file cannot be written");
		return -EIO;
	}
	k->seq++;
	k->kept = *now;
	return 0;
}
