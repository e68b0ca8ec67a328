/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operand is read as: an image file, an NBD export, or a file of
 * another program's format, which qemu-nbd reads for us.
 *
 * Only the command line decides that. A file found to be of another format is
 * refused with what to type: taking it for a raw disk would be wrong, and
 * another program is not handed a file that nobody vouched for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convert_nbd.h"

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
	{ 0, "\x1f\x8b", 2, "gzip", NULL },
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
		      const struct convert_opts *opts, struct vhd_err *err)
{
	char *own = opts->no_parent || opts->parent_dir
			    ? NULL
			    : cli_parent_dir(opts->src);
	const struct vhd_open_opts how = {
		.format = opts->from,
		.direct = opts->direct,
		.parent_dir = opts->parent_dir ? opts->parent_dir : own,
		.larger_child = opts->larger_child,
		.raw_parent = opts->raw_parent,
	};
	int rc = convert_input_open(&from->in, opts->src, &how, err);

	free(own);
	if (rc == -EUCLEAN && err->why == VHD_WHY_IS_VHDX)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"is a VHDX image: --from vhdx reads it "
				"through qemu-nbd");
	if (!rc && vhd_get_info(from->in.img)->probed &&
	    vhd_get_info(from->in.img)->format == VHD_FORMAT_RAW)
		rc = foreign_check(from->in.fd, err);
	if (!rc)
		rc = convert_image_source_init(&from->image, job, &from->in,
					       opts->src, err);
	if (!rc)
		from->source = &from->image.source;
	else
		convert_input_close(&from->in);
	return rc;
}

static int nbd_open(struct convert_from *from, struct convert_job *job,
		    const struct convert_opts *opts, struct vhd_err *err)
{
	int rc;

	from->nbd = malloc(sizeof(*from->nbd));
	if (!from->nbd)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = convert_nbd_source_open(from->nbd, job, opts->src, opts->foreign,
				     err);
	if (!rc)
		from->source = &from->nbd->source;
	else
		free(from->nbd);
	return rc;
}

int convert_from_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd_err *err)
{
	*from = (struct convert_from){ .in = { .fd = -1 } };
	job->blame = opts->src;
	if (opts->foreign || convert_nbd_is_uri(opts->src))
		return nbd_open(from, job, opts, err);
	return image_open(from, job, opts, err);
}

void convert_from_close(struct convert_from *from)
{
	convert_source_close(from->source);
	convert_input_close(&from->in);
	free(from->nbd);
	from->nbd = NULL;
	from->source = NULL;
}
