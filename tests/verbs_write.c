/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests/verbs.sh: write some bytes to the disk of an image, as a guest
 * would; its parents are in or below the working directory.
 *
 * usage: write FILE OFFSET BYTESFILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhd/vhd.h"

#define MOST 65536u

static int put(struct vhd *img, uint64_t at, const uint8_t *b, size_t len,
	       struct vhd_err *err)
{
	static uint8_t buf[MOST + 1024];
	uint64_t from = at / 512 * 512;
	size_t n = ((size_t)(at - from) + len + 511) / 512 * 512;
	int rc = vhd_read(img, from, buf, n, err);

	memcpy(buf + (at - from), b, len);
	if (!rc)
		rc = vhd_write(img, from, buf, n, err);
	return rc;
}

int main(int argc, char **argv)
{
	const struct vhd_open_opts how = {.writable = true, .parent_dir = "."};
	static uint8_t b[MOST];
	struct vhd_err err;
	struct vhd *img;
	FILE *f = argc == 4 ? fopen(argv[3], "rb") : NULL;
	size_t len;
	int rc;

	if (!f)
		return 2;
	len = fread(b, 1, sizeof(b), f);
	fclose(f);
	rc = vhd_open(argv[1], &how, &img, &err);
	if (!rc) {
		rc = put(img, strtoull(argv[2], NULL, 0), b, len, &err);
		if (rc)
			vhd_abandon(img);
		else
			rc = vhd_close(img, &err);
	}
	if (rc)
		fprintf(stderr, "%s: %s\n", argv[1], err.text);
	return rc != 0;
}
