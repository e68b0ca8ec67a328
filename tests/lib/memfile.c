/* SPDX-License-Identifier: BSD-2-Clause */
/* See memfile.h. Two levels: groups of pages, each made with its first byte.
 * What lies past the length is always zero, so growing needs no clearing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/memfile.h"

#define PAGE_BYTES  16384u
#define GROUP_PAGES 1024u
#define GROUP_BYTES ((uint64_t)PAGE_BYTES * GROUP_PAGES)

struct group {
	uint8_t *page[GROUP_PAGES];
};

struct memfile {
	pthread_mutex_t lock;
	struct group **groups;
	size_t group_count;
	uint64_t len;
	uint64_t held;
	memfile_hook before;
	void *ctx;
	size_t chunk;
	bool no_zero;
	uint64_t counts[MEMFILE_OPS];
};

/* ----------------------------------------------------------------- pages -- */

static const uint8_t *page_at(const struct memfile *m, uint64_t off)
{
	uint64_t g = off / GROUP_BYTES;

	if (g >= m->group_count || !m->groups[g])
		return NULL;
	return m->groups[g]->page[off % GROUP_BYTES / PAGE_BYTES];
}

static int group_make(struct memfile *m, uint64_t g)
{
	if (g >= m->group_count) {
		size_t n = (size_t)g + 1;
		struct group **p = realloc(m->groups, n * sizeof(*p));

		if (!p)
			return -ENOMEM;
		memset(p + m->group_count, 0,
		       (n - m->group_count) * sizeof(*p));
		m->groups = p;
		m->group_count = n;
	}
	if (!m->groups[g])
		m->groups[g] = calloc(1, sizeof(struct group));
	return m->groups[g] ? 0 : -ENOMEM;
}

static uint8_t *page_make(struct memfile *m, uint64_t off)
{
	uint64_t g = off / GROUP_BYTES;
	uint8_t **slot;

	if (group_make(m, g))
		return NULL;
	slot = &m->groups[g]->page[off % GROUP_BYTES / PAGE_BYTES];
	if (!*slot) {
		*slot = calloc(1, PAGE_BYTES);
		if (*slot)
			m->held += PAGE_BYTES;
	}
	return *slot;
}

static size_t in_page(uint64_t off, uint64_t len)
{
	uint64_t left = PAGE_BYTES - off % PAGE_BYTES;

	return (size_t)(len < left ? len : left);
}

static void get(const struct memfile *m, uint8_t *buf, uint64_t len,
		uint64_t off)
{
	while (len) {
		size_t n = in_page(off, len);
		const uint8_t *p = page_at(m, off);

		if (p)
			memcpy(buf, p + off % PAGE_BYTES, n);
		else
			memset(buf, 0, n);
		buf += n;
		off += n;
		len -= n;
	}
}

static int put(struct memfile *m, const uint8_t *buf, uint64_t len,
	       uint64_t off)
{
	while (len) {
		size_t n = in_page(off, len);
		uint8_t *p = page_make(m, off);

		if (!p)
			return -ENOMEM;
		memcpy(p + off % PAGE_BYTES, buf, n);
		buf += n;
		off += n;
		len -= n;
		if (off > m->len)
			m->len = off;
	}
	return 0;
}

static void clear_page(struct memfile *m, uint8_t **page, uint64_t at, size_t n)
{
	if (!*page)
		return;
	if (n < PAGE_BYTES) {
		memset(*page + at, 0, n);
		return;
	}
	free(*page);
	*page = NULL;
	m->held -= PAGE_BYTES;
}

static void clear(struct memfile *m, uint64_t len, uint64_t off)
{
	uint64_t top = m->group_count * GROUP_BYTES;

	if (off >= top)
		return;
	if (len > top - off)
		len = top - off;
	while (len) {
		struct group *g = m->groups[off / GROUP_BYTES];
		uint64_t n = GROUP_BYTES - off % GROUP_BYTES;

		if (n > len)
			n = len;
		if (g)
			n = in_page(off, len);
		if (g)
			clear_page(m, &g->page[off % GROUP_BYTES / PAGE_BYTES],
				   off % PAGE_BYTES, (size_t)n);
		off += n;
		len -= n;
	}
}

static void resize(struct memfile *m, uint64_t len)
{
	if (len < m->len)
		clear(m, m->len - len, len);
	m->len = len;
}

/* ------------------------------------------------------------ operations -- */

static int enter(struct memfile *m, enum memfile_op op, uint64_t off,
		 uint64_t len)
{
	pthread_mutex_lock(&m->lock);
	m->counts[op]++;
	return m->before ? m->before(m->ctx, op, off, len) : 0;
}

static ssize_t leave(struct memfile *m, ssize_t rc)
{
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static ssize_t mem_pread(void *state, void *buf, size_t len, uint64_t off)
{
	struct memfile *m = state;
	int rc = enter(m, MEMFILE_READ, off, len);

	if (rc)
		return leave(m, rc);
	if (off >= m->len)
		return leave(m, 0);
	if (len > m->len - off)
		len = (size_t)(m->len - off);
	if (m->chunk && len > m->chunk)
		len = m->chunk;
	get(m, buf, len, off);
	return leave(m, (ssize_t)len);
}

static ssize_t mem_pwrite(void *state, const void *buf, size_t len,
			  uint64_t off)
{
	struct memfile *m = state;
	int rc = enter(m, MEMFILE_WRITE, off, len);

	if (rc)
		return leave(m, rc);
	if (m->chunk && len > m->chunk)
		len = m->chunk;
	if (off > MEMFILE_BYTES_MAX || len > MEMFILE_BYTES_MAX - off)
		return leave(m, -EFBIG);
	rc = put(m, buf, len, off);
	return leave(m, rc ? rc : (ssize_t)len);
}

static int mem_flush(void *state)
{
	struct memfile *m = state;

	return (int)leave(m, enter(m, MEMFILE_FLUSH, 0, 0));
}

static int mem_zero(void *state, uint64_t off, uint64_t len)
{
	struct memfile *m = state;
	int rc = enter(m, MEMFILE_ZERO, off, len);

	if (!rc && m->no_zero)
		rc = -EOPNOTSUPP;
	if (!rc)
		clear(m, len, off);
	return (int)leave(m, rc);
}

static int mem_truncate(void *state, uint64_t len)
{
	struct memfile *m = state;
	int rc = enter(m, MEMFILE_TRUNCATE, len, 0);

	if (!rc && len > MEMFILE_BYTES_MAX)
		rc = -EFBIG;
	if (!rc)
		resize(m, len);
	return (int)leave(m, rc);
}

static int mem_size(void *state, uint64_t *len)
{
	struct memfile *m = state;
	int rc = enter(m, MEMFILE_SIZE, 0, 0);

	if (!rc)
		*len = m->len;
	return (int)leave(m, rc);
}

/* The bytes stay; memfile_destroy is the owner's. */
static int mem_close(void *state)
{
	(void)state;
	return 0;
}

static const struct vhd_file_ops mem_ops = {
	.name = "memory",
	.pread = mem_pread,
	.pwrite = mem_pwrite,
	.flush = mem_flush,
	.zero = mem_zero,
	.truncate = mem_truncate,
	.size = mem_size,
	.close = mem_close,
};

/* ------------------------------------------------------------- the owner -- */

struct memfile *memfile_create(void)
{
	struct memfile *m = calloc(1, sizeof(*m));

	if (m)
		pthread_mutex_init(&m->lock, NULL);
	return m;
}

void memfile_destroy(struct memfile *m)
{
	if (!m)
		return;
	for (size_t g = 0; g < m->group_count; g++) {
		if (!m->groups[g])
			continue;
		for (unsigned p = 0; p < GROUP_PAGES; p++)
			free(m->groups[g]->page[p]);
		free(m->groups[g]);
	}
	free(m->groups);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

struct memfile *memfile_clone(const struct memfile *m)
{
	struct memfile *copy = memfile_create();

	if (!copy)
		return NULL;
	for (size_t g = 0; g < m->group_count; g++) {
		for (unsigned p = 0; m->groups[g] && p < GROUP_PAGES; p++) {
			uint64_t off =
				g * GROUP_BYTES + (uint64_t)p * PAGE_BYTES;

			if (!m->groups[g]->page[p])
				continue;
			if (put(copy, m->groups[g]->page[p], PAGE_BYTES, off)) {
				memfile_destroy(copy);
				return NULL;
			}
		}
	}
	copy->len = m->len;
	return copy;
}

struct vhd_file memfile_file(struct memfile *m)
{
	return (struct vhd_file){
		.ops = &mem_ops,
		.state = m,
		.fd = -1,
		.direct_fd = -1,
	};
}

void memfile_set_hook(struct memfile *m, memfile_hook before, void *ctx)
{
	m->before = before;
	m->ctx = ctx;
}

void memfile_set_chunk(struct memfile *m, size_t bytes)
{
	m->chunk = bytes;
}

void memfile_set_no_zero(struct memfile *m, bool on)
{
	m->no_zero = on;
}

uint64_t memfile_count(const struct memfile *m, enum memfile_op op)
{
	return m->counts[op];
}

uint64_t memfile_len(const struct memfile *m)
{
	return m->len;
}

void memfile_peek(const struct memfile *m, void *buf, size_t len, uint64_t off)
{
	get(m, buf, len, off);
}

int memfile_poke(struct memfile *m, const void *buf, size_t len, uint64_t off)
{
	return put(m, buf, len, off) ? -1 : 0;
}

void memfile_resize(struct memfile *m, uint64_t len)
{
	resize(m, len);
}

static bool covers(const struct memfile *a, const struct memfile *b)
{
	static const uint8_t zeros[PAGE_BYTES];

	for (size_t g = 0; g < a->group_count; g++) {
		for (unsigned p = 0; a->groups[g] && p < GROUP_PAGES; p++) {
			uint64_t off =
				g * GROUP_BYTES + (uint64_t)p * PAGE_BYTES;
			const uint8_t *mine = a->groups[g]->page[p];
			const uint8_t *other = page_at(b, off);

			if (mine && memcmp(mine, other ? other : zeros,
					   PAGE_BYTES) != 0)
				return false;
		}
	}
	return true;
}

bool memfile_equal(const struct memfile *a, const struct memfile *b)
{
	return a->len == b->len && covers(a, b) && covers(b, a);
}

uint64_t memfile_held(const struct memfile *m)
{
	return m->held;
}
