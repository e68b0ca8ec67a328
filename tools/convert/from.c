/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operand is read as: an image file, a stream, an NBD export, or a
 * file of another program's format, which qemu-nbd reads for us.
 *
 * Only the command line decides that. A file found to be of another format is
 * refused with what to type: taking it for a raw disk would be wrong, and
 * another program is not handed a file that nobody vouched for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nbd.h"
#include "stream.h"

/* First bytes of formats that are no VHD's. `from`: what --from calls it;
 * NULL: nothing here reads it.
 */
static const struct {
	uint64_t off_bytes;
	const char *bytes;
	size_t len;
	const char *name;
	const char *from;
} magics[] = {
	{ 0, "QFI\xfb", 4, "qcow2", "qcow2" },
	{ 0, "KDMV", 4, "VMDK", "vmdk" },
	{ 0, "COWD", 4, "VMDK", "vmdk" },
	{ 0, "# Disk DescriptorFile", 21, "VMDK", "vmdk" },
	{ 0, "vhdxfile", 8, "VHDX", "vhdx" },
	{ 64, "\x7f\x10\xda\xbe", 4, "VDI", "vdi" },
	{ 0, "QED\0", 4, "QED", NULL },
	{ 0, "\xfd" "7zXZ\0", 6, "xz", NULL },
	{ 0, "\x28\xb5\x2f\xfd", 4, "zstd", NULL },
	{ 0, "BZh", 3, "bzip2", NULL },
	{ 0, "PK\3\4", 4, "zip", NULL },
};

#define MAGICS (sizeof(magics) / sizeof(magics[0]))

bool convert_foreign_known(const char *word)
{
	for (size_t i = 0; i < MAGICS; i++)
		if (magics[i].from && !strcmp(magics[i].from, word))
			return true;
	return false;
}

/* A raw disk's first bytes are rarely any of these. */
static int foreign_check(int fd, struct vhd_err *err)
{
	uint8_t head[512] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return vhd_fail(err, -errno, VHD_WHY_IO, 0,
				"cannot read the first sector: %s",
				strerror(errno));
	for (size_t i = 0; n > 0 && i < MAGICS; i++) {
		if (memcmp(head + magics[i].off_bytes, magics[i].bytes,
			   magics[i].len) != 0)
			continue;
		if (magics[i].from)
			return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
					"is a %s image: --from %s reads it "
					"through qemu-nbd, --from raw takes "
					"its bytes as they are",
					magics[i].name, magics[i].from);
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"is a %s file: unpack or convert it first; "
				"--from raw takes its bytes as they are",
				magics[i].name);
	}
	return 0;
}

static int image_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, const char *path,
		      struct vhd_err *err)
{
	static const struct vhd_nbd_opts remote; /* all by default */
	char *own = opts->no_parent || opts->parent_dir
			    ? NULL
			    : cli_parent_dir(path);
	const struct vhd_open_opts how = {
		.format = opts->from,
		.direct = opts->direct,
		.parent_dir = opts->parent_dir ? opts->parent_dir : own,
		.larger_child = opts->larger_child,
		.raw_parent = opts->raw_parent,
		.nbd = &remote,
	};
	int rc = convert_input_open(&from->in, path, &how, err);

	free(own);
	from->st = from->in.st;
	if (rc == -EUCLEAN && err->why == VHD_WHY_IS_VHDX)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"is a VHDX image: --from vhdx reads it "
				"through qemu-nbd");
	if (!rc && vhd_get_info(from->in.img)->probed &&
	    vhd_get_info(from->in.img)->format == VHD_FORMAT_RAW)
		rc = foreign_check(from->in.fd, err);
	if (!rc)
		rc = convert_image_source_init(&from->image, job, &from->in,
					       job->src, err);
	if (!rc)
		from->source = &from->image.source;
	return rc;
}

static int lock_shared(int fd, struct vhd_err *err)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0 ||
	    (errno != EAGAIN && errno != EACCES))
		return 0; /* or no locks on this file system */
	return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
			"is being written to; close it there first");
}

/* A file by its name: compressed, or an image. */
static int file_open(struct convert_from *from, struct convert_job *job,
		     const struct convert_opts *opts, const char *path,
		     struct vhd_err *err)
{
	bool stream = false;
	int rc = 0;

	/* O_NONBLOCK: a FIFO must be refused, not waited for. */
	from->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (from->fd >= 0 && fstat(from->fd, &from->st) == 0 &&
	    S_ISREG(from->st.st_mode))
		rc = convert_file_is_gzip(opts, from->fd, &stream, err);
	if (!rc && !stream && opts->stream_bytes)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      "--size is for standard input and compressed "
			      "files: this file has a size");
	if (!rc && !stream)
		return image_open(from, job, opts, path, err);
	if (!rc)
		rc = lock_shared(from->fd, err);
	from->in.st = from->st;
	return rc ? rc : convert_from_stream(from, job, opts, from->fd, err);
}

static int stdin_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd_err *err)
{
	struct stat st;

	/* A closed one is held by what main() put there. */
	if (fstat(STDIN_FILENO, &st) < 0 ||
	    fcntl(STDIN_FILENO, F_GETFL) & O_PATH)
		return vhd_fail(err, -EBADF, VHD_WHY_NOT_FILE, 0,
				"is not open");
	if (isatty(STDIN_FILENO))
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"is a terminal");
	/* A file behind it can be read as any other. */
	if ((S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
	    lseek(STDIN_FILENO, 0, SEEK_CUR) == 0)
		return file_open(from, job, opts, "/proc/self/fd/0", err);
	return convert_from_stream(from, job, opts, STDIN_FILENO, err);
}

/* qcow2's counterpart of a parent, which --no-parent is about as well: its
 * name's place is the big-endian number at offset 8.
 */
static int backing_check(const struct convert_opts *opts, struct vhd_err *err)
{
	static const uint8_t none[8];
	uint8_t head[16] = { 0 };
	int fd = open(opts->src, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (fd >= 0)
		close(fd);
	/* What cannot be read is for qemu-nbd to tell. */
	if (n != sizeof(head) || memcmp(head, "QFI\xfb", 4) != 0 ||
	    memcmp(head + 8, none, sizeof(none)) == 0)
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			"has a backing file, which --no-parent excludes");
}

static int nbd_open(struct convert_from *from, struct convert_job *job,
		    const struct convert_opts *opts, struct vhd_err *err)
{
	int rc;

	if (opts->foreign && opts->no_parent) {
		rc = backing_check(opts, err);
		if (rc)
			return rc;
	}
	from->nbd = malloc(sizeof(*from->nbd));
	if (!from->nbd)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = convert_nbd_source_open(from->nbd, job, opts->src, opts->foreign,
				     err);
	if (!rc)
		from->source = &from->nbd->source;
	return rc;
}

int convert_from_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd_err *err)
{
	int rc;

	*from = (struct convert_from){
		.in = { .fd = -1 },
		.fd = -1,
		.spool_fd = -1,
	};
	job->blame = job->src;
	if (opts->foreign || convert_nbd_is_raw(opts))
		rc = nbd_open(from, job, opts, err);
	else if (convert_nbd_is_uri(opts->src))
		rc = image_open(from, job, opts, opts->src, err);
	else if (!strcmp(opts->src, "-"))
		rc = stdin_open(from, job, opts, err);
	else
		rc = file_open(from, job, opts, opts->src, err);
	if (rc)
		convert_from_close(from);
	return rc;
}

void convert_from_close(struct convert_from *from)
{
	convert_source_close(from->source);
	convert_stream_close(from->stream);
	convert_input_close(&from->in);
	free(from->nbd);
	if (from->fd >= 0)
		close(from->fd);
	if (from->spool_fd >= 0)
		close(from->spool_fd);
	*from = (struct convert_from){
		.in = { .fd = -1 },
		.fd = -1,
		.spool_fd = -1,
	};
}
