/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory as a handful of regions, sorted by address and not touching
 * unless their backing touches, too. Every access looks its region up: two or
 * three comparisons, no cache and so nothing to keep coherent.
 *
 * Bytes are moved by memcpy while the guest may write them: each byte is taken
 * from memory by one pass, and what arrives is a copy that nobody else can
 * reach. Ordering comes from the 32-bit words only.
 */
#include "gpa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhd/checked.h"

struct region {
	uint64_t gpa;
	uint64_t len;
	uint8_t *host;
};

struct hv_mem {
	unsigned count;
	struct region region[HV_MEM_REGIONS_MAX];
};

int hv_mem_create(struct hv_mem **out)
{
	struct hv_mem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	*out = mem;
	return 0;
}

void hv_mem_destroy(struct hv_mem *mem)
{
	free(mem);
}

int hv_mem_add(struct hv_mem *mem, uint64_t gpa, uint64_t len, void *host)
{
	unsigned at = mem->count;
	uint64_t end;

	if (!host || len == 0 || (gpa | len) % HV_PAGE_BYTES != 0 ||
	    add_ovf(gpa, len, &end))
		return -EINVAL;
	for (unsigned i = 0; i < mem->count; i++) {
		const struct region *r = &mem->region[i];

		if (gpa < r->gpa + r->len && r->gpa < end)
			return -EINVAL;
	}
	if (mem->count == HV_MEM_REGIONS_MAX)
		return -ENOSPC;
	while (at > 0 && mem->region[at - 1].gpa > gpa) {
		mem->region[at] = mem->region[at - 1];
		at--;
	}
	mem->region[at] = (struct region){gpa, len, host};
	mem->count++;
	return 0;
}

unsigned hv_mem_backing(const struct hv_mem *mem, struct iovec *out)
{
	for (unsigned i = 0; i < mem->count; i++)
		out[i] = (struct iovec){mem->region[i].host,
					(size_t)mem->region[i].len};
	return mem->count;
}

/* The region that holds `gpa`, with the bytes from there to its end. */
static inline const struct region *find(const struct hv_mem *mem, uint64_t gpa,
					uint64_t *left)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct region *r = &mem->region[i];

		if (gpa - r->gpa < r->len) { /* wraps to huge when below */
			*left = r->len - (gpa - r->gpa);
			return r;
		}
	}
	return NULL;
}

bool hv_gpa_ok(const struct hv_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t left;

	/* Regions may be adjacent: walk until the range is covered. */
	while (len > 0) {
		if (!find(mem, gpa, &left))
			return false;
		if (len <= left)
			return true;
		len -= left;
		gpa += left;
	}
	return true;
}

/* Direct pointer to a range inside one region, or NULL. */
static inline uint8_t *whole(const struct hv_mem *mem, uint64_t gpa,
			     uint64_t len)
{
	uint64_t left;
	const struct region *r = find(mem, gpa, &left);

	return r && len <= left ? r->host + (gpa - r->gpa) : NULL;
}

int hv_gpa_read(const struct hv_mem *mem, uint64_t gpa, void *dst, size_t len)
{
	const uint8_t *src = whole(mem, gpa, len);
	uint8_t *to = dst;

	if (src) {
		memcpy(to, src, len);
		return 0;
	}
	if (!hv_gpa_ok(mem, gpa, len))
		return -EFAULT;
	while (len > 0) {
		uint64_t left = 0;
		const struct region *r = find(mem, gpa, &left);
		size_t n = len < left ? len : (size_t)left;

		memcpy(to, r->host + (gpa - r->gpa), n);
		to += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int hv_gpa_write(const struct hv_mem *mem, uint64_t gpa, const void *src,
		 size_t len)
{
	uint8_t *dst = whole(mem, gpa, len);
	const uint8_t *from = src;

	if (dst) {
		memcpy(dst, from, len);
		return 0;
	}
	if (!hv_gpa_ok(mem, gpa, len))
		return -EFAULT;
	while (len > 0) {
		uint64_t left = 0;
		const struct region *r = find(mem, gpa, &left);
		size_t n = len < left ? len : (size_t)left;

		memcpy(r->host + (gpa - r->gpa), from, n);
		from += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

/* An aligned word never straddles regions: these are page-aligned. The host
 * is little-endian, as its guests are (checked here once).
 */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86 only");

static inline uint32_t *word(const struct hv_mem *mem, uint64_t gpa)
{
	return gpa % 4 == 0 ? (uint32_t *)(void *)whole(mem, gpa, 4) : NULL;
}

int hv_gpa_load32(const struct hv_mem *mem, uint64_t gpa, uint32_t *val)
{
	const uint32_t *p = word(mem, gpa);

	if (!p)
		return -EFAULT;
	*val = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	return 0;
}

int hv_gpa_store32(const struct hv_mem *mem, uint64_t gpa, uint32_t val)
{
	uint32_t *p = word(mem, gpa);

	if (!p)
		return -EFAULT;
	__atomic_store_n(p, val, __ATOMIC_RELEASE);
	return 0;
}

int hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		uint32_t *old)
{
	uint32_t *p = word(mem, gpa);

	if (!p)
		return -EFAULT;
	*old = __atomic_fetch_or(p, bits, __ATOMIC_SEQ_CST);
	return 0;
}

/* Append [host, host + len) to the vector, joined to its last entry where it
 * continues that. False when the vector is full.
 */
static bool iov_append(struct iovec *iov, unsigned *count, unsigned max,
		       uint8_t *host, size_t len)
{
	if (*count > 0) {
		struct iovec *last = &iov[*count - 1];

		if ((uint8_t *)last->iov_base + last->iov_len == host) {
			last->iov_len += len;
			return true;
		}
	}
	if (*count == max)
		return false;
	iov[(*count)++] = (struct iovec){host, len};
	return true;
}

int hv_gpa_iov(const struct hv_mem *mem, const uint64_t *pfns, size_t pfn_count,
	       uint32_t offset, uint64_t len, struct iovec *iov, unsigned max)
{
	unsigned count = 0;

	if (offset >= HV_PAGE_BYTES)
		return -EINVAL;
	for (size_t i = 0; len > 0; i++) {
		size_t n = HV_PAGE_BYTES - offset;
		uint64_t gpa;
		uint8_t *host;

		if (i == pfn_count)
			return -EINVAL;
		if (n > len)
			n = (size_t)len;
		if (mul_ovf(pfns[i], HV_PAGE_BYTES, &gpa))
			return -EFAULT;
		host = whole(mem, gpa, HV_PAGE_BYTES);
		if (!host)
			return -EFAULT;
		if (!iov_append(iov, &count, max, host + offset, n))
			return -E2BIG;
		len -= n;
		offset = 0;
	}
	return (int)count;
}
