/* SPDX-License-Identifier: BSD-2-Clause */
/* An image in memory, before it is opened and after. */
#include "image.h"

#include <stdlib.h>

void vhd_image_init(struct vhd *img, const struct vhd_file *f,
		       const struct vhd_open_opts *opts)
{
	img->file = *f;
	img->writable = opts->writable;
	img->inspect = opts->inspect;
	img->follow = opts->parent_dir || opts->parent_path;
	img->larger_child = opts->larger_child;
	img->raw_parent = opts->raw_parent;
	img->info.layers = 1;
	img->absent = VHD_RUN_HOLE;
	img->unset = VHD_RUN_ZERO;
	pthread_mutex_init(&img->bitmap_lock, NULL);
	pthread_mutex_init(&img->bits_lock, NULL);
	pthread_mutex_init(&img->alloc_lock, NULL);
	pthread_mutex_init(&img->commit_lock, NULL);
}

struct vhd *vhd_image_new(const struct vhd_file *f,
			     const struct vhd_open_opts *opts)
{
	struct vhd *img = calloc(1, sizeof(*img));

	if (img)
		vhd_image_init(img, f, opts);
	return img;
}

void vhd_image_fini(struct vhd *img)
{
	vhd_bitmap_close(img);
	vhd_alloc_close(img);
	vhd_bat_close(img);
	vhd_commit_fini(&img->commit);
	pthread_mutex_destroy(&img->bitmap_lock);
	pthread_mutex_destroy(&img->bits_lock);
	pthread_mutex_destroy(&img->alloc_lock);
	pthread_mutex_destroy(&img->commit_lock);
}

void vhd_image_free(struct vhd *img)
{
	vhd_image_fini(img);
	free(img->path);
	free(img);
}
