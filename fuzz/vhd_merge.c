/* SPDX-License-Identifier: BSD-2-Clause */
/* A child that wants to do harm, merged into a target that does: what the two
 * read as together does not change, whatever becomes of the merge; if it comes
 * to its end, the target reads so alone; the child is only read.
 *
 * An input is two sparse files, each as in fuzz/vhd_open.c, the length of the
 * first (3 bytes, little-endian) and flags (1 byte) before them. The child
 * comes first. Of the control bytes of each only its length is used, and the
 * flag that puts checksums right.
 *   flags 1: the child asks for the target, whatever its header says
 *         2: the target's medium fails at its n-th change, n from byte 2 of
 *            the target's control bytes
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "tests/lib/random.h"
#include "vhd/checked.h"
#include "vhd/merge_int.h"

#define FLAG_ADOPT 0x01
#define FLAG_FAULT 0x02

#define HEAD_BYTES    4u
#define DISK_MAX      (2u << 20)
#define FILE_MAX      (16u << 20)

/* --------------------------------------------------------------- chains -- */

static struct vhd *image(struct memfile *m, bool writable)
{
	const struct vhd_open_opts o = {.writable = writable, .parent_dir = ""};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;

	return vhd_open_file(&f, &o, &img, NULL) ? NULL : img;
}

/* What a differencing target builds on: an empty disk. */
static struct vhd *ground(const struct vhd *child, struct memfile *m)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = child->info.size_bytes,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;

	memcpy(o.unique_id, child->info.parent_id, sizeof(o.unique_id));
	return vhd_create_file(&f, &o, &img, NULL) ? NULL : img;
}

/* The target over its ground, if it wants one; or NULL. */
static struct vhd *target_image(struct memfile *m, struct memfile *below,
				bool writable)
{
	struct vhd *img = image(m, writable), *low = NULL;

	if (!img || img->info.format != VHD_FORMAT_DIFF)
		return img;
	low = ground(img, below);
	if (low && vhd_chain_set_parent(img, low, NULL) == 0)
		return img;
	vhd_abandon(low);
	vhd_abandon(img);
	return NULL;
}

static bool link_up(struct vhd *child, struct vhd *target, bool adopt)
{
	if (adopt)
		memcpy(child->info.parent_id, target->info.unique_id, 16);
	return child->info.size_bytes == target->info.size_bytes &&
	       vhd_chain_set_parent(child, target, NULL) == 0;
}

static uint8_t *content(struct vhd *img)
{
	uint8_t *b = malloc(img->info.size_bytes);

	must(b != NULL);
	must(vhd_read(img, 0, b, img->info.size_bytes, NULL) == 0);
	return b;
}

struct pair {
	struct memfile *child, *target, *below;
	bool adopt;
};

/* What the two read as together; NULL where they are no chain. */
static uint8_t *together(const struct pair *p)
{
	struct vhd *top = image(p->child, false);
	struct vhd *low = target_image(p->target, p->below, false);
	uint8_t *b = NULL;

	if (top && low && top->info.format == VHD_FORMAT_DIFF &&
	    top->info.size_bytes <= DISK_MAX && link_up(top, low, p->adopt)) {
		low = NULL; /* is top's */
		b = content(top);
	}
	vhd_abandon(low);
	vhd_abandon(top);
	return b;
}

/* ---------------------------------------------------------------- merge -- */

struct fault {
	unsigned left;
};

static int strike(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct fault *f = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_READ || op == MEMFILE_SIZE)
		return 0;
	if (f->left) {
		f->left--;
		return 0;
	}
	return -EIO;
}

/* 0: done; 1: refused before it began; or it failed. */
static int merge(const struct pair *p, struct fault *fault)
{
	const struct vhd_merge_opts o = {.engine = VHD_ENGINE_SYNC};
	struct vhd *upper = image(p->child, false);
	struct vhd *target = target_image(p->target, p->below, true);
	struct vhd_merge_result r;
	struct vhd_err e = {0};
	int rc = 1;

	if (upper && target)
		rc = merge_room(upper, target, false, &r, &e);
	if (fault)
		memfile_set_hook(p->target, strike, fault);
	if (!rc)
		rc = merge_copy(upper, target, &o, &r, &e);
	if (rc < 0)
		must(e.code == rc && e.why != VHD_WHY_NONE && e.text[0]);
	if (vhd_close(target, NULL) && !rc)
		rc = -EIO;
	memfile_set_hook(p->target, NULL, NULL);
	if (!rc && !fault)
		must(r.held_bytes == r.write_bytes + r.zero_bytes);
	vhd_abandon(upper);
	return rc;
}

static void check(const struct pair *p, const uint8_t *was, bool done)
{
	uint8_t *now = together(p);
	struct vhd *target;
	size_t size;

	must(now != NULL);
	target = target_image(p->target, p->below, false);
	must(target != NULL);
	size = target->info.size_bytes;
	must(memcmp(now, was, size) == 0);
	free(now);
	if (done) {
		now = content(target);
		must(memcmp(now, was, size) == 0);
		free(now);
	}
	vhd_abandon(target);
}

static void run(struct pair *p, unsigned faults)
{
	struct fault f = {.left = faults & 0xff};
	struct memfile *child = memfile_clone(p->child);
	uint8_t *was = together(p);

	must(child != NULL);
	if (was) {
		if (faults & 0x100)
			check(p, was, merge(p, &f) == 0);
		check(p, was, merge(p, NULL) == 0);
		must(memfile_equal(child, p->child));
	}
	memfile_destroy(child);
	free(was);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	uint64_t rnd = seed;
	size_t n = size < HEAD_BYTES ? 0 : (size_t)little(data, 3);

	if (size < HEAD_BYTES + 2 * FUZZIMG_CONTROL_BYTES ||
	    n < FUZZIMG_CONTROL_BYTES ||
	    n > size - HEAD_BYTES - FUZZIMG_CONTROL_BYTES ||
	    random_below(&rnd, 2))
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size)
					: size;
	if (random_below(&rnd, 2))
		fuzzimg_tweak(data + HEAD_BYTES, n, &rnd);
	else
		fuzzimg_tweak(data + HEAD_BYTES + n, size - HEAD_BYTES - n,
			      &rnd);
	return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *low;
	struct pair p;
	size_t n;

	if (size < HEAD_BYTES + 2 * FUZZIMG_CONTROL_BYTES)
		return 0;
	n = (size_t)little(data, 3);
	size -= HEAD_BYTES;
	if (n < FUZZIMG_CONTROL_BYTES || n > size - FUZZIMG_CONTROL_BYTES)
		return 0;
	low = data + HEAD_BYTES + n;
	p.child = fuzzimg_make(data + HEAD_BYTES, n, FILE_MAX);
	p.target = fuzzimg_make(low, size - n, FILE_MAX);
	p.below = memfile_create();
	p.adopt = data[3] & FLAG_ADOPT;
	must(p.below != NULL);
	run(&p, (data[3] & FLAG_FAULT ? 0x100u : 0) | low[2]);
	memfile_destroy(p.child);
	memfile_destroy(p.target);
	memfile_destroy(p.below);
	return 0;
}
