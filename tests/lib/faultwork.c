/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads that open, read, write and close; and the images of all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/faultwork.h"
#include "vhd/image.h"

/* ---------------------------------------------------------------- images -- */

uint64_t fw_seed;

void fw_chain(struct fx *f, unsigned count, uint32_t type)
{
	uint64_t rnd = fw_seed;
	char name[24];

	f->size = FW_BYTES;
	for (unsigned i = 0; i < count; i++) {
		struct memfile *m = NULL;

		do { /* a child without data asks for no I/O */
			memfile_destroy(m);
			if (i)
				memcpy(f->model[i], f->model[i - 1], FW_BYTES);
			m = diff_random(i ? IMG_TYPE_DIFF : type, i, FW_BYTES,
					FW_BLOCK, f->model[i], &rnd);
		} while (i && !memcmp(f->model[i], f->model[i - 1], FW_BYTES));
		if (i)
			diff_locator_text(m, 0, 0x57327275, name); /* W2ru */
		snprintf(name, sizeof(name), "l%u.vhd", i);
		fx_add(f, name, m);
	}
	f->start = f->model[count - 1];
}

void fw_fixed(struct fx *f)
{
	fw_chain(f, 1, IMG_TYPE_FIXED);
}

void fw_dynamic(struct fx *f)
{
	fw_chain(f, 1, IMG_TYPE_DYNAMIC);
}

void fw_diff(struct fx *f)
{
	fw_chain(f, 3, IMG_TYPE_DYNAMIC);
}

void fw_blocks(struct fx *f)
{
	static const uint32_t order[] = {3, 7, 0, 5, 2, 1, 6};
	static const uint8_t zeros[FW_BLOCK];
	const uint64_t size = 8 * FW_BLOCK;
	struct memfile *m = img_dynamic(size, FW_BLOCK, order, 7);

	for (unsigned k = 0; k < 7; k++) {
		bool zero = order[k] == 0 || order[k] == 5;

		if (zero && memfile_poke(m, zeros, FW_BLOCK,
					 img_place(size, FW_BLOCK, k) + 512))
			abort();
		memset(f->model[0] + (size_t)order[k] * FW_BLOCK,
		       zero ? 0 : img_byte(order[k]), FW_BLOCK);
	}
	fx_add(f, "l0.vhd", m);
	f->size = size;
	f->start = f->model[0];
}

/* The parent's name is in another case. */
static void folded(struct fx *f)
{
	fw_chain(f, 2, IMG_TYPE_DYNAMIC);
	strcpy(f->file[0].name, "L0.vhd");
}

static void raw(struct fx *f)
{
	struct memfile *m = memfile_create();

	for (uint64_t at = 0; at < FW_BYTES; at++)
		f->model[0][at] = (uint8_t)(at / 512 + 1);
	if (!m || memfile_poke(m, f->model[0], FW_BYTES, 0))
		abort();
	f->size = FW_BYTES;
	f->start = f->model[0];
	fx_add(f, "l0.raw", m);
}

/* A dynamic image in parts of 32 KiB. */
static void split(struct fx *f)
{
	const uint64_t part = 32 << 10;
	struct memfile *whole;
	struct fx_file file;
	unsigned n = 0;

	fw_blocks(f);
	file = f->file[--f->files];
	for (uint64_t at = 0; at < file.len; at += part, n++) {
		uint64_t left = file.len - at;
		char name[24];

		whole = memfile_create();
		if (!whole || memfile_poke(whole, file.bytes + at,
					   left < part ? left : part, 0))
			abort();
		snprintf(name, sizeof(name), n ? "s.v%02u" : "s.vhd", n);
		fx_add(f, name, whole);
	}
	free(file.bytes);
	f->cannot_tell = true; /* places are those of the set, not of a part */
}

/* --------------------------------------------------------------- reading -- */

static int open_top(struct fx *f, bool writable, struct vhd **img,
		    struct vhd_err *e)
{
	struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = ".",
		.direct = strstr(f->work->name, "direct"),
	};

	if (f->file[f->files - 1].name[1] == '0' &&
	    strstr(f->file[f->files - 1].name, ".raw"))
		o.format = VHD_FORMAT_RAW;
	return vhd_open(f->file[0].name[0] == 's' ? "s.vhd"
						  : f->file[f->files - 1].name,
			&o, img, e);
}

static int read_all(struct fx *f, struct vhd *img, struct vhd_err *e)
{
	size_t half = (size_t)f->size / 1024 * 512;
	uint8_t *b = malloc(f->size);
	int rc;

	if (!b)
		abort();
	rc = vhd_read(img, half, b + half, f->size - half, e);
	if (!rc)
		rc = vhd_read(img, 0, b, half, e);
	if (!rc)
		fx_check(f, b, 0, f->size);
	free(b);
	return rc;
}

/* What is opened is closed however far one comes; the first fault is told. */
static int end(struct vhd *img, int rc, struct vhd_err *e)
{
	if (!rc)
		return vhd_close(img, e);
	vhd_abandon(img);
	return rc;
}

static int run_read(struct fx *f, struct vhd_err *e)
{
	struct vhd *img = NULL;
	struct vhd_run r;
	unsigned layer;
	uint64_t at;
	int rc = open_top(f, false, &img, e);

	if (rc)
		return rc;
	rc = read_all(f, img, e);
	for (uint64_t lba = 0; lba < f->size / 512 && !rc; lba += r.sectors)
		rc = vhd_map_chain(img, lba, f->size / 512 - lba, &r, &layer,
				   e);
	if (!rc)
		rc = vhd_find_data(img, 0, f->size, &at, e);
	return end(img, rc, e);
}

static int run_inspect(struct fx *f, struct vhd_err *e)
{
	const struct vhd_open_opts o = {.inspect = true, .parent_dir = "."};
	struct vhd *img = NULL;
	int rc = vhd_open(f->file[f->files - 1].name, &o, &img, e);

	if (rc)
		return rc;
	if (fx_struck(f) && fault_is_error() && !vhd_get_info(img)->faults &&
	    fault_hit()->call != FAULT_STAT &&
	    fault_hit()->call != FAULT_REALPATH)
		fx_wrong(f, "a fault is not noted");
	return end(img, 0, e);
}

/* --------------------------------------------------------------- writing -- */

static uint8_t fresh[4 * FW_BLOCK];

static int put(struct fx *f, struct vhd *img, uint64_t lba, unsigned sectors,
	       uint8_t byte, struct vhd_err *e)
{
	size_t len = (size_t)sectors * 512;

	memset(fresh, byte, len);
	fx_wrote(f, lba * 512, fresh, len);
	return vhd_write(img, lba * 512, fresh, len, e);
}

static int sync_all(struct fx *f, struct vhd *img, struct vhd_err *e)
{
	int rc = vhd_flush(img, e);

	if (!rc)
		fx_durable(f);
	return rc;
}

static int zero(struct fx *f, struct vhd *img, uint64_t lba, uint64_t sectors,
		struct vhd_err *e)
{
	uint64_t done = 0;
	int rc = vhd_zero(img, lba, sectors, &done, e);

	/* Only a write can do it: part of the contract. */
	if (rc == -EOPNOTSUPP && done)
		return put(f, img, lba, (unsigned)done, 0, e);
	memset(fresh, 0, done * 512);
	fx_wrote(f, lba * 512, fresh, done * 512);
	return rc;
}

static int write_some(struct fx *f, struct vhd *img, struct vhd_err *e)
{
	int rc = put(f, img, 3, 37, 0xA1, e);

	if (!rc)
		rc = sync_all(f, img, e);
	for (unsigned at = 1; at < 8 && !rc; at++)
		rc = put(f, img, at * 16 + at, 5, (uint8_t)(0xB0 + at), e);
	if (!rc)
		rc = sync_all(f, img, e);
	if (!rc)
		rc = zero(f, img, 64, 16, e);
	if (!rc)
		rc = sync_all(f, img, e);
	return rc ? rc : put(f, img, 120, 11, 0xC3, e);
}

/* After a sync that failed nothing can be called safe any more. */
static void expect_poison(struct fx *f, struct vhd *img)
{
	struct vhd_err e = {0};
	uint8_t b[512];
	int rc;

	if (!fx_struck(f) || fault_hit()->call != FAULT_FSYNC)
		return;
	fault_suspend(true);
	if (!vhd_poisoned(img))
		fx_wrong(f, "a failed sync does not poison");
	memset(b, 0, sizeof(b));
	rc = vhd_write(img, 0, b, sizeof(b), &e);
	if (rc != -EIO || e.why != VHD_WHY_POISONED)
		fx_wrong(f, "a poisoned image takes a write: %d", rc);
	rc = vhd_flush(img, &e);
	if (rc != -EIO || e.why != VHD_WHY_POISONED)
		fx_wrong(f, "a poisoned image is flushed again: %d", rc);
	fault_suspend(false);
}

static int run_write(struct fx *f, struct vhd_err *e)
{
	struct vhd *img = NULL;
	int rc = open_top(f, true, &img, e);

	if (rc)
		return rc;
	rc = write_some(f, img, e);
	if (!rc)
		rc = read_all(f, img, e);
	if (rc)
		expect_poison(f, img);
	return end(img, rc, e);
}

static int run_place(struct fx *f, struct vhd_err *e)
{
	struct vhd *img = NULL;
	struct vhd_run r;
	int rc = open_top(f, true, &img, e);

	if (rc)
		return rc;
	for (uint64_t lba = 0; lba < f->size / 512 && !rc; lba += r.sectors)
		rc = vhd_place(img, lba, f->size / 512 - lba, &r, e);
	if (!rc)
		rc = vhd_flush(img, e);
	if (!rc)
		rc = read_all(f, img, e);
	if (rc)
		expect_poison(f, img);
	return end(img, rc, e);
}

const struct work fault_work_bytes[] = {
	{"read raw", WORK_READS, raw, run_read, "l0.raw", NULL, NULL},
	{"read fixed", WORK_READS, fw_fixed, run_read, "l0.vhd", "l0.vhd",
	 NULL},
	{"read dynamic", WORK_READS, fw_dynamic, run_read, "l0.vhd", "l0.vhd",
	 NULL},
	{"read diff", WORK_READS, fw_diff, run_read, "l2.vhd",
	 "l2.vhd l1.vhd l0.vhd", NULL},
	{"read folded", WORK_READS, folded, run_read, "l1.vhd", "l1.vhd L0.vhd",
	 NULL},
	{"read direct", WORK_READS, fw_diff, run_read, "l2.vhd",
	 "l2.vhd l1.vhd l0.vhd", NULL},
	{"read split", WORK_READS, split, run_read, "s.vhd", NULL, NULL},
	{"inspect diff", WORK_READS, fw_diff, run_inspect, "l2.vhd",
	 "l2.vhd l1.vhd l0.vhd", NULL},
	{"write raw", 0, raw, run_write, "l0.raw", NULL, NULL},
	{"write fixed", 0, fw_fixed, run_write, "l0.vhd", "l0.vhd", NULL},
	{"write dynamic", 0, fw_dynamic, run_write, "l0.vhd", "l0.vhd", NULL},
	{"write diff", 0, fw_diff, run_write, "l2.vhd", "l2.vhd l1.vhd l0.vhd",
	 NULL},
	{"write direct", 0, fw_dynamic, run_write, "l0.vhd", "l0.vhd", NULL},
	{"write dynamic, no holes", WORK_NO_HOLES, fw_dynamic, run_write,
	 "l0.vhd", "l0.vhd", NULL},
	{"write diff, no holes", WORK_NO_HOLES, fw_diff, run_write, "l2.vhd",
	 "l2.vhd l1.vhd l0.vhd", NULL},
	{"place, no holes", WORK_NO_HOLES, fw_dynamic, run_place, "l0.vhd",
	 "l0.vhd", NULL},
	{"place", 0, fw_dynamic, run_place, "l0.vhd", "l0.vhd", NULL},
	{0},
};
