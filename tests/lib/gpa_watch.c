/* SPDX-License-Identifier: BSD-2-Clause */
/* hv/gpa.c under other names, and in front of it the functions that count and
 * flip. See gpa_watch.h.
 */
#define hv_mem_create  plain_mem_create
#define hv_mem_destroy plain_mem_destroy
#define hv_mem_add     plain_mem_add
#define hv_mem_backing plain_mem_backing
#define hv_gpa_read    plain_gpa_read
#define hv_gpa_write   plain_gpa_write
#define hv_gpa_load32  plain_gpa_load32
#define hv_gpa_store32 plain_gpa_store32
#define hv_gpa_or32    plain_gpa_or32
#define hv_gpa_ok      plain_gpa_ok
#define hv_gpa_iov     plain_gpa_iov
#include "hv/gpa.c"
#undef hv_mem_create
#undef hv_mem_destroy
#undef hv_mem_add
#undef hv_mem_backing
#undef hv_gpa_read
#undef hv_gpa_write
#undef hv_gpa_load32
#undef hv_gpa_store32
#undef hv_gpa_or32
#undef hv_gpa_ok
#undef hv_gpa_iov

#include "gpa_watch.h"
#include "tally.h"

#include <stdio.h>

/* gpa.h has declared the other names only. */
int hv_mem_create(struct hv_mem **out);
void hv_mem_destroy(struct hv_mem *mem);
int hv_mem_add(struct hv_mem *mem, uint64_t gpa, uint64_t len, void *host);
unsigned hv_mem_backing(const struct hv_mem *mem, struct iovec *out);
int hv_gpa_read(const struct hv_mem *mem, uint64_t gpa, void *dst, size_t len);
int hv_gpa_write(const struct hv_mem *mem, uint64_t gpa, const void *src,
		 size_t len);
int hv_gpa_load32(const struct hv_mem *mem, uint64_t gpa, uint32_t *val);
int hv_gpa_store32(const struct hv_mem *mem, uint64_t gpa, uint32_t val);
int hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		uint32_t *old);
bool hv_gpa_ok(const struct hv_mem *mem, uint64_t gpa, uint64_t len);
int hv_gpa_iov(const struct hv_mem *mem, const uint64_t *pfns, size_t pfn_count,
	       uint32_t offset, uint64_t len, struct iovec *iov, unsigned max);

/* --------------------------------------------- fetched and not given back --
 */

/* What this thread has fetched of a packet: since it last published an index
 * or fetched a descriptor (16 bytes, or 8 where pages cut it), for the next
 * packet may name the same parameter list again. Beyond the limit the oldest
 * are forgotten.
 */
#define RECENT		 256u
#define DESCRIPTOR_BYTES 16u

static _Thread_local struct {
	uint64_t gpa;
	size_t len;
} recent[RECENT];
static _Thread_local unsigned recent_first, recent_count;

/* The second piece of a buffer that goes on in another page, which may be the
 * same page again: that is the guest's own list.
 */
static bool next_page(uint64_t gpa)
{
	unsigned last = (recent_first + recent_count + RECENT - 1) % RECENT;

	return recent_count > 0 && gpa % HV_PAGE_BYTES == 0 &&
	       (recent[last].gpa + recent[last].len) % HV_PAGE_BYTES == 0;
}

static void fetched_once(uint64_t gpa, size_t len)
{
	bool fresh = next_page(gpa);

	for (unsigned i = 0; i < recent_count && !fresh; i++) {
		unsigned at = (recent_first + i) % RECENT;

		if (gpa >= recent[at].gpa + recent[at].len ||
		    recent[at].gpa >= gpa + len)
			continue;
		tally_add(TALLY_FETCHED_2, len);
		fprintf(stderr, "fetched twice: %zu bytes at %#llx\n", len,
			(unsigned long long)gpa);
		abort();
	}
	if (len <= DESCRIPTOR_BYTES)
		recent_count = 0;
	tally_add(TALLY_FETCHED, len);
	if (recent_count == RECENT)
		recent_first = (recent_first + 1) % RECENT;
	else
		recent_count++;
	recent[(recent_first + recent_count - 1) % RECENT].gpa = gpa;
	recent[(recent_first + recent_count - 1) % RECENT].len = len;
}

static void published(void)
{
	recent_count = 0;
}

/* ------------------------------------------------------ windows and flips --
 */

struct window {
	uint64_t gpa;
	uint32_t len;
	uint8_t count[GPA_WATCH_BYTES];
};

static struct window windows[GPA_WATCH_WINDOWS];
static unsigned window_count;
static uint8_t flip_all;
static uint64_t flip_gpa;
static uint8_t flip_mask;

void gpa_watch_clear(void)
{
	published(); /* what comes is something else */
	window_count = 0;
	flip_all = 0;
	flip_mask = 0;
}

void gpa_watch(uint64_t gpa, uint32_t len)
{
	struct window *w = &windows[window_count++];

	if (window_count > GPA_WATCH_WINDOWS || len > GPA_WATCH_BYTES)
		abort();
	w->gpa = gpa;
	w->len = len;
	memset(w->count, 0, sizeof(w->count));
}

void gpa_watch_restart(void)
{
	for (unsigned i = 0; i < window_count; i++)
		memset(windows[i].count, 0, sizeof(windows[i].count));
}

void gpa_watch_flip_all(uint8_t mask)
{
	flip_all = mask;
}

void gpa_watch_flip(uint64_t gpa, uint8_t mask)
{
	flip_gpa = gpa;
	flip_mask = mask;
}

unsigned gpa_watch_max(uint64_t *gpa)
{
	unsigned max = 0;

	for (unsigned i = 0; i < window_count; i++)
		for (uint32_t b = 0; b < windows[i].len; b++) {
			if (windows[i].count[b] <= max)
				continue;
			max = windows[i].count[b];
			if (gpa)
				*gpa = windows[i].gpa + b;
		}
	return max;
}

unsigned gpa_watch_touched(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < window_count; i++)
		for (uint32_t b = 0; b < windows[i].len; b++)
			n += windows[i].count[b] > 0;
	return n;
}

static void flip(const struct hv_mem *mem, uint64_t gpa, uint8_t mask)
{
	uint8_t v;

	if (plain_gpa_read(mem, gpa, &v, 1))
		return;
	v ^= mask;
	plain_gpa_write(mem, gpa, &v, 1);
}

static void fetched(const struct hv_mem *mem, uint64_t gpa, size_t len)
{
	for (unsigned i = 0; i < window_count; i++) {
		struct window *w = &windows[i];

		for (size_t b = 0; b < len; b++) {
			uint64_t at = gpa + b - w->gpa;

			if (at >= w->len)
				continue;
			if (w->count[at] < UINT8_MAX)
				w->count[at]++;
			if (flip_all && w->count[at] == 1)
				flip(mem, gpa + b, flip_all);
		}
	}
	if (flip_mask && flip_gpa - gpa < len) {
		flip(mem, flip_gpa, flip_mask);
		flip_mask = 0;
	}
}

int hv_gpa_read(const struct hv_mem *mem, uint64_t gpa, void *dst, size_t len)
{
	int rc = plain_gpa_read(mem, gpa, dst, len);

	if (rc == 0) {
		fetched_once(gpa, len);
		fetched(mem, gpa, len);
	}
	return rc;
}

int hv_gpa_load32(const struct hv_mem *mem, uint64_t gpa, uint32_t *val)
{
	int rc = plain_gpa_load32(mem, gpa, val);

	if (rc == 0)
		fetched(mem, gpa, 4);
	return rc;
}

int hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		uint32_t *old)
{
	int rc = plain_gpa_or32(mem, gpa, bits, old);

	if (rc == 0)
		fetched(mem, gpa, 4);
	return rc;
}

int hv_mem_create(struct hv_mem **out)
{
	published(); /* another guest */
	return plain_mem_create(out);
}

void hv_mem_destroy(struct hv_mem *mem)
{
	plain_mem_destroy(mem);
}

int hv_mem_add(struct hv_mem *mem, uint64_t gpa, uint64_t len, void *host)
{
	return plain_mem_add(mem, gpa, len, host);
}

unsigned hv_mem_backing(const struct hv_mem *mem, struct iovec *out)
{
	return plain_mem_backing(mem, out);
}

int hv_gpa_write(const struct hv_mem *mem, uint64_t gpa, const void *src,
		 size_t len)
{
	return plain_gpa_write(mem, gpa, src, len);
}

int hv_gpa_store32(const struct hv_mem *mem, uint64_t gpa, uint32_t val)
{
	published();
	return plain_gpa_store32(mem, gpa, val);
}

bool hv_gpa_ok(const struct hv_mem *mem, uint64_t gpa, uint64_t len)
{
	return plain_gpa_ok(mem, gpa, len);
}

int hv_gpa_iov(const struct hv_mem *mem, const uint64_t *pfns, size_t pfn_count,
	       uint32_t offset, uint64_t len, struct iovec *iov, unsigned max)
{
	return plain_gpa_iov(mem, pfns, pfn_count, offset, len, iov, max);
}
