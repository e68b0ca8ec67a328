/* SPDX-License-Identifier: BSD-2-Clause */
/* See diffimg.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static void poke(struct memfile *m, const void *b, size_t len, uint64_t off)
{
	if (memfile_poke(m, b, len, off))
		abort();
}

void diff_id(uint8_t id[16], unsigned n)
{
	memset(id, 0x5a, 16);
	img_put32(id, n);
}

static void set_id(struct memfile *m, uint32_t type, unsigned n)
{
	uint8_t id[16];

	diff_id(id, n);
	if (type == IMG_TYPE_FIXED)
		img_set(m, memfile_len(m) - 512, 512, IMG_F_ID, id, 16);
	else
		img_footers(m, IMG_F_ID, id, 16);
	if (type != IMG_TYPE_DIFF)
		return;
	img_footers32(m, IMG_F_TYPE, type);
	diff_id(id, n - 1);
	diff_parent_id(m, id);
}

/* One run of equal bits after another, or all of one kind. */
static void bits(uint8_t *map, uint32_t sectors, uint64_t *rnd)
{
	uint64_t kind = random_below(rnd, 4);
	uint32_t at = 0;
	bool set = random_below(rnd, 2);

	while (at < sectors) {
		uint32_t n = 1 + (uint32_t)random_below(rnd, 40);

		for (; n-- && at < sectors; at++)
			if (kind == 0 || (kind > 1 && set))
				map[at / 8] |= (uint8_t)(0x80 >> at % 8);
		set = !set;
	}
}

static void put_block(struct memfile *m, uint64_t at, uint32_t number,
		      uint64_t size, uint32_t block, bool diff, uint8_t *model,
		      uint64_t *rnd)
{
	uint32_t bitmap = (block / 4096 + 511) / 512 * 512;
	uint8_t *b = need(calloc(1, (size_t)bitmap + block));
	uint32_t zeros = 0; /* of the next sectors that count */

	bits(b, block / 512, rnd);
	for (uint32_t s = 0; s < block / 512; s++) {
		uint8_t *data = b + bitmap + (size_t)s * 512;
		uint64_t disk = (uint64_t)number * block + (uint64_t)s * 512;
		bool set = b[s / 8] & (0x80 >> s % 8);

		memset(data, (int)random_below(rnd, 256), 512);
		if (!zeros && random_below(rnd, 40) == 0)
			zeros = 1 + (uint32_t)random_below(rnd, 60);
		if (zeros) {
			zeros--;
			if (set)
				memset(data, 0, 512);
		}
		if (disk >= size)
			continue;
		if (set)
			memcpy(model + disk, data, 512);
		else if (!diff)
			memset(model + disk, 0, 512);
	}
	poke(m, b, (size_t)bitmap + block, at);
	free(b);
}

static struct memfile *random_blocks(uint32_t type, uint64_t size,
				     uint32_t block, uint8_t *model,
				     uint64_t *rnd)
{
	uint32_t blocks = (uint32_t)((size + block - 1) / block);
	uint32_t *order = need(calloc(blocks, sizeof(*order)));
	uint64_t share = 1 + random_below(rnd, 4);
	unsigned count = 0;
	struct memfile *m;

	for (uint32_t b = 0; b < blocks; b++)
		if (random_below(rnd, 5) < share)
			order[count++] = b;
	for (unsigned i = count; i > 1; i--) {
		unsigned j = (unsigned)random_below(rnd, i);
		uint32_t t = order[j];

		order[j] = order[i - 1];
		order[i - 1] = t;
	}
	m = img_bare(size, block, order, count);
	for (unsigned k = 0; k < count; k++)
		put_block(m, img_place(size, block, k), order[k], size, block,
			  type == IMG_TYPE_DIFF, model, rnd);
	free(order);
	return m;
}

struct memfile *diff_random(uint32_t type, unsigned n, uint64_t size,
			    uint32_t block, uint8_t *model, uint64_t *rnd)
{
	struct memfile *m;

	if (type != IMG_TYPE_DIFF)
		memset(model, 0, size);
	if (type == IMG_TYPE_FIXED) {
		m = img_fixed(size);
		for (uint64_t at = 0; at < size; at += 512) {
			memset(model + at, (int)random_below(rnd, 256), 512);
			poke(m, model + at, 512, at);
		}
	} else {
		m = random_blocks(type, size, block, model, rnd);
	}
	set_id(m, type, n);
	return m;
}

struct memfile *diff_empty(unsigned n, uint64_t size, uint32_t block)
{
	struct memfile *m = img_bare(size, block, NULL, 0);

	set_id(m, IMG_TYPE_DIFF, n);
	return m;
}

void diff_locator(struct memfile *m, unsigned i, uint32_t platform,
		  const void *payload, size_t len)
{
	uint64_t at = memfile_len(m) - 512;
	size_t field = IMG_H_LOCATOR + (size_t)i * 24;
	uint64_t room = (len + 511) / 512 * 512;
	uint8_t footer[512];

	memfile_peek(m, footer, 512, at);
	poke(m, footer, 512, at + room);
	memset(footer, 0, 512);
	poke(m, footer, 512, at);
	poke(m, payload, len, at);
	img_set32(m, IMG_HEADER, 1024, field, platform);
	img_set32(m, IMG_HEADER, 1024, field + 4, (uint32_t)room);
	img_set32(m, IMG_HEADER, 1024, field + 8, (uint32_t)len);
	img_set64(m, IMG_HEADER, 1024, field + 16, at);
}

void diff_locator_text(struct memfile *m, unsigned i, uint32_t platform,
		       const char *text)
{
	uint8_t wide[512] = {0};
	size_t n = strlen(text);

	for (size_t c = 0; c < n; c++)
		wide[2 * c] = (uint8_t)text[c];
	diff_locator(m, i, platform, wide, 2 * n);
}

void diff_name(struct memfile *m, const char *text)
{
	uint8_t wide[512] = {0};

	for (size_t c = 0; text[c]; c++)
		wide[2 * c + 1] = (uint8_t)text[c];
	img_set(m, IMG_HEADER, 1024, DIFF_H_NAME, wide, 512);
}

void diff_parent_id(struct memfile *m, const uint8_t id[16])
{
	img_set(m, IMG_HEADER, 1024, DIFF_H_PARENT_ID, id, 16);
}

/* What is zero stays a hole: a file that grows is mostly that. */
void diff_save(const struct memfile *m, const char *path)
{
	static const uint8_t zeros[65536];
	uint8_t b[sizeof(zeros)];
	uint64_t len = memfile_len(m);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)len))
		abort();
	for (uint64_t at = 0; at < len; at += sizeof(b)) {
		size_t n = len - at < sizeof(b) ? (size_t)(len - at)
						: sizeof(b);

		memfile_peek(m, b, n, at);
		if (memcmp(b, zeros, n) &&
		    pwrite(fd, b, n, (off_t)at) != (ssize_t)n)
			abort();
	}
	if (close(fd))
		abort();
}
