/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg. See fwcfg.h. */
#include "fwcfg.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vhd/endian.h"

/* Offsets of the ports. */
enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8 };

enum { FEATURE_FILES = 1u << 0, FEATURE_DMA = 1u << 1 };

enum {
	DMA_ERROR = 1u << 0,
	DMA_READ = 1u << 1,
	DMA_SKIP = 1u << 2,
	DMA_SELECT = 1u << 3,
	DMA_WRITE = 1u << 4,
};

struct dma_wire {
	be32 control; /* the item to choose in its upper half */
	be32 length;
	be64 address;
};
static_assert(sizeof(struct dma_wire) == 16, "fw_cfg DMA descriptor");

struct file_wire {
	be32 size;
	be16 key;
	uint8_t reserved[2];
	uint8_t name[HV_FWCFG_NAME_BYTES];
};
static_assert(sizeof(struct file_wire) == 64, "fw_cfg directory entry");

struct directory {
	be32 count;
	struct file_wire file[HV_FWCFG_ITEMS_MAX];
};

struct item {
	uint16_t key;
	uint8_t *bytes;
	uint32_t len;
};

struct hv_fwcfg {
	const struct hv_mem *mem;
	struct item item[HV_FWCFG_ITEMS_MAX];
	unsigned items;
	struct directory directory;

	pthread_mutex_t lock; /* all below */
	const struct item *chosen; /* NULL: nothing but zeros */
	uint32_t at;
	uint32_t dma_high;
};

/* ------------------------------------------------------------- the items */

static const struct item *find(const struct hv_fwcfg *f, uint16_t key)
{
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].key == key)
			return &f->item[i];
	return NULL;
}

int hv_fwcfg_add(struct hv_fwcfg *f, uint16_t key, const void *bytes,
		 size_t len)
{
	struct item *item = &f->item[f->items];

	if (find(f, key))
		return -EEXIST;
	if (f->items == HV_FWCFG_ITEMS_MAX || len > HV_FWCFG_DMA_MAX)
		return -ENOSPC;
	item->bytes = malloc(len ? len : 1);
	if (!item->bytes)
		return -ENOMEM;
	memcpy(item->bytes, bytes, len);
	item->key = key;
	item->len = (uint32_t)len;
	f->items++;
	return 0;
}

int hv_fwcfg_add_file(struct hv_fwcfg *f, const char *name, const void *bytes,
		      size_t len)
{
	uint32_t n = be32_get(f->directory.count);
	uint16_t key = (uint16_t)(HV_FWCFG_FILE_FIRST + n);
	struct file_wire *file = &f->directory.file[n];
	int ret;

	if (strlen(name) >= sizeof(file->name))
		return -EINVAL;
	ret = hv_fwcfg_add(f, key, bytes, len);
	if (ret < 0)
		return ret;
	file->size = be32_put((uint32_t)len);
	file->key = be16_put(key);
	memcpy(file->name, name, strlen(name) + 1);
	f->directory.count = be32_put(n + 1);
	return 0;
}

/* Up to `len` bytes of what is chosen, zeros behind its end. */
static void take(struct hv_fwcfg *f, uint8_t *out, uint32_t len)
{
	uint32_t left = f->chosen && f->at < f->chosen->len
				? f->chosen->len - f->at : 0;
	uint32_t n = len < left ? len : left;

	if (n)
		memcpy(out, f->chosen->bytes + f->at, n);
	memset(out + n, 0, len - n);
	f->at += n;
}

static void choose(struct hv_fwcfg *f, uint16_t key)
{
	f->chosen = find(f, key);
	f->at = 0;
}

/* -------------------------------------------------------------------- DMA */

/* False: not all of it is RAM, or it is too much; nothing has moved. */
static bool to_memory(struct hv_fwcfg *f, uint64_t gpa, uint32_t len)
{
	uint8_t buf[HV_PAGE_BYTES];

	if (len > HV_FWCFG_DMA_MAX || !hv_gpa_ok(f->mem, gpa, len))
		return false;
	while (len > 0) {
		uint32_t n = len < sizeof(buf) ? len : (uint32_t)sizeof(buf);

		take(f, buf, n);
		if (hv_gpa_write(f->mem, gpa, buf, n) < 0)
			return false;
		gpa += n;
		len -= n;
	}
	return true;
}

static bool carry_out(struct hv_fwcfg *f, uint32_t control, uint32_t len,
		      uint64_t gpa)
{
	if (control & DMA_SELECT)
		choose(f, (uint16_t)(control >> 16));
	if (control & DMA_WRITE)
		return false;
	if (control & DMA_READ)
		return to_memory(f, gpa, len);
	if (control & DMA_SKIP && f->chosen) {
		uint32_t left = f->chosen->len - f->at;

		f->at += len < left ? len : left;
	}
	return true;
}

/* Where the descriptor is not in RAM there is nobody to tell. */
static void dma(struct hv_fwcfg *f, uint64_t gpa)
{
	struct dma_wire d;
	be32 result;

	if (hv_gpa_read(f->mem, gpa, &d, sizeof(d)) < 0)
		return;
	result = be32_put(carry_out(f, be32_get(d.control), be32_get(d.length),
				    be64_get(d.address))
				  ? 0
				  : DMA_ERROR);
	(void)hv_gpa_write(f->mem, gpa + offsetof(struct dma_wire, control),
			   &result, sizeof(result));
}

/* ------------------------------------------------------------------ ports */

static void fwcfg_in(void *arg, unsigned off, unsigned size, uint32_t count,
		     uint8_t *data)
{
	static const char signature[] = "QEMU CFG";
	struct hv_fwcfg *f = arg;

	pthread_mutex_lock(&f->lock);
	if (off == DATA && size == 1)
		take(f, data, count);
	else if ((off == DMA_HIGH || off == DMA_LOW) && size == 4)
		for (uint32_t i = 0; i < count; i++)
			memcpy(data + 4 * i, signature + (off - DMA_HIGH), 4);
	else
		memset(data, 0xff, (size_t)size * count);
	pthread_mutex_unlock(&f->lock);
}

static void fwcfg_out(void *arg, unsigned off, unsigned size, uint32_t count,
		      const uint8_t *data)
{
	struct hv_fwcfg *f = arg;
	uint8_t v[4] = {0};

	if (count == 0)
		return;
	memcpy(v, data + (size_t)size * (count - 1), size);
	pthread_mutex_lock(&f->lock);
	if (off == SELECTOR && size == 2)
		choose(f, (uint16_t)(v[0] | v[1] << 8));
	else if (off == DMA_HIGH && size == 4)
		f->dma_high = be32_get((be32){{v[0], v[1], v[2], v[3]}});
	else if (off == DMA_LOW && size == 4)
		dma(f, (uint64_t)f->dma_high << 32 |
			       be32_get((be32){{v[0], v[1], v[2], v[3]}}));
	pthread_mutex_unlock(&f->lock);
}

const struct hv_port_range hv_fwcfg_ports = {
	.first = HV_FWCFG_PORT,
	.count = HV_FWCFG_PORT_LAST - HV_FWCFG_PORT + 1,
	.widths = 1u | 2u | 4u,
	.in = fwcfg_in,
	.out = fwcfg_out,
};

/* --------------------------------------------------------- life and death */

void hv_fwcfg_reset(struct hv_fwcfg *f)
{
	pthread_mutex_lock(&f->lock);
	f->chosen = NULL;
	f->at = 0;
	f->dma_high = 0;
	pthread_mutex_unlock(&f->lock);
}

static int add_fixed(struct hv_fwcfg *f)
{
	const le32 features = le32_put(FEATURE_FILES | FEATURE_DMA);
	struct item *directory;
	int ret = hv_fwcfg_add(f, HV_FWCFG_SIGNATURE, "QEMU", 4);

	if (ret == 0)
		ret = hv_fwcfg_add(f, HV_FWCFG_FEATURES, &features,
				   sizeof(features));
	if (ret < 0)
		return ret;
	/* It grows in its place. */
	directory = &f->item[f->items++];
	directory->key = HV_FWCFG_DIRECTORY;
	directory->bytes = (uint8_t *)&f->directory;
	directory->len = sizeof(f->directory);
	return 0;
}

int hv_fwcfg_create(const struct hv_mem *mem, struct hv_fwcfg **out)
{
	struct hv_fwcfg *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->mem = mem;
	pthread_mutex_init(&f->lock, NULL);
	ret = add_fixed(f);
	if (ret < 0)
		hv_fwcfg_destroy(f);
	else
		*out = f;
	return ret;
}

void hv_fwcfg_destroy(struct hv_fwcfg *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].key != HV_FWCFG_DIRECTORY)
			free(f->item[i].bytes);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
