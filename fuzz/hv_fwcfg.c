/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg under any selector, descriptor and port access, against a model: what
 * is read is the item or zeros, a descriptor fills its whole buffer or nothing,
 * and nothing else of guest memory changes but its control word.
 *
 * An input is actions of one byte and their operands; `act` is the list.
 */
#include <string.h>

#include "hv/chip/fwcfg.h"
#include "tests/lib/fuzzin.h"
#include "vhd/endian.h"

#define RAM_BYTES  0x8000u
#define HIGH_GPA   0x100000000ull /* a second region, one page */
#define HIGH_BYTES 0x1000u

static const char text[] = "an item of some bytes, longer than a register";

struct world {
	struct hv_mem *mem;
	struct hv_fwcfg *f;
	uint8_t *ram, *high;
	uint8_t *want, *want_high; /* as the model has them */
	/* what is chosen */
	const uint8_t *bytes;
	uint32_t len, at;
	uint64_t dma_high;
	uint8_t directory[4 + 64 * HV_FWCFG_ITEMS_MAX];
};

static void choose(struct world *w, uint16_t key)
{
	static const uint8_t features[4] = {3};
	static const struct {
		uint16_t key;
		const void *bytes;
		uint32_t len;
	} items[] = {{0, "QEMU", 4},
		     {1, features, 4},
		     {5, text, sizeof(text)},
		     {0x20, text, 7},
		     {0x21, text, 0}};

	w->bytes = NULL;
	w->len = w->at = 0;
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (items[i].key == key) {
			w->bytes = items[i].bytes;
			w->len = items[i].len;
		}
	if (key == HV_FWCFG_DIRECTORY) {
		w->bytes = w->directory;
		w->len = sizeof(w->directory);
	}
}

static uint8_t next(struct world *w)
{
	return w->at < w->len ? w->bytes[w->at++] : 0;
}

/* The model's memory of a guest address, or NULL. */
static uint8_t *place(struct world *w, uint64_t gpa)
{
	if (gpa < RAM_BYTES)
		return w->want + gpa;
	if (gpa >= HIGH_GPA && gpa - HIGH_GPA < HIGH_BYTES)
		return w->want_high + (gpa - HIGH_GPA);
	return NULL;
}

static bool is_ram(struct world *w, uint64_t gpa, uint64_t len)
{
	if (len == 0)
		return hv_gpa_ok(w->mem, gpa, 0);
	return len <= HV_FWCFG_DMA_MAX && gpa + len - 1 >= gpa &&
	       place(w, gpa) && place(w, gpa + len - 1) &&
	       (gpa >= HIGH_GPA) == (gpa + len - 1 >= HIGH_GPA);
}

static void model_dma(struct world *w, uint64_t at)
{
	uint32_t control, len, result = 0;
	uint64_t gpa;
	be32 word;

	if (!is_ram(w, at, 16))
		return;
	memcpy(&word, place(w, at), 4);
	control = be32_get(word);
	memcpy(&word, place(w, at + 4), 4);
	len = be32_get(word);
	memcpy(&word, place(w, at + 8), 4);
	gpa = (uint64_t)be32_get(word) << 32;
	memcpy(&word, place(w, at + 12), 4);
	gpa |= be32_get(word);
	if (control & 8)
		choose(w, (uint16_t)(control >> 16));
	if (control & 16 || (control & 2 && !is_ram(w, gpa, len))) {
		result = 1;
	} else if (control & 2) {
		for (uint32_t i = 0; i < len; i++)
			*place(w, gpa + i) = next(w);
	} else if (control & 4) {
		w->at = len < w->len - w->at ? w->at + len : w->len;
	}
	word = be32_put(result);
	memcpy(place(w, at), &word, 4);
}

static void port_in(struct world *w, unsigned off, unsigned size, unsigned n)
{
	uint8_t got[4 * 64];

	memset(got, 0x5a, sizeof(got));
	hv_fwcfg_ports.in(w->f, off, size, n, got);
	for (unsigned i = 0; i < size * n; i++)
		if (off == 1 && size == 1)
			must(got[i] == next(w));
		else if ((off == 4 || off == 8) && size == 4)
			must(got[i] == (uint8_t)"QEMU CFG"[off - 4 + i % 4]);
		else
			must(got[i] == 0xff);
	for (unsigned i = size * n; i < sizeof(got); i++)
		must(got[i] == 0x5a);
}

static void port_out(struct world *w, unsigned off, unsigned size, uint32_t val)
{
	const le32 v = le32_put(val);
	uint32_t swapped = be32_get((be32){{v.b[0], v.b[1], v.b[2], v.b[3]}});

	hv_fwcfg_ports.out(w->f, off, size, 1, v.b);
	if (off == 0 && size == 2)
		choose(w, (uint16_t)val);
	else if (off == 4 && size == 4)
		w->dma_high = swapped;
	else if (off == 8 && size == 4)
		model_dma(w, w->dma_high << 32 | swapped);
}

static void poke(struct world *w, struct input *in)
{
	uint64_t gpa = take(in, 2);
	unsigned n = (unsigned)take(in, 1) % 24;

	for (unsigned i = 0; i < n; i++) {
		uint8_t v = (uint8_t)take(in, 1);

		if (gpa + i >= RAM_BYTES)
			return;
		w->ram[gpa + i] = w->want[gpa + i] = v;
	}
}

static void act(struct world *w, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);
	unsigned size = 1u << what / 8 % 3;

	switch (what % 8) {
	case 0:
		port_out(w, 0, 2, (uint32_t)take(in, 2));
		break;
	case 1:
		port_in(w, 1, 1, (unsigned)take(in, 1));
		break;
	case 2:
	case 3:
		poke(w, in);
		break;
	case 4: /* a descriptor in low memory, as everybody has it */
		port_out(w, 4, 4, 0);
		port_out(w, 8, 4, __builtin_bswap32((uint32_t)take(in, 2)));
		break;
	case 5:
		port_out(w, take(in, 1) % 12, size, (uint32_t)take(in, 4));
		break;
	case 6:
		port_in(w, take(in, 1) % 12, size, (unsigned)take(in, 1) % 64);
		break;
	default:
		hv_fwcfg_reset(w->f);
		choose(w, 0xffff);
		w->dma_high = 0;
	}
}

static void begin(struct world *w)
{
	*w = (struct world){0};
	w->ram = calloc(1, RAM_BYTES);
	w->want = calloc(1, RAM_BYTES);
	w->high = calloc(1, HIGH_BYTES);
	w->want_high = calloc(1, HIGH_BYTES);
	must(w->ram && w->want && w->high && w->want_high);
	must(hv_mem_create(&w->mem) == 0);
	must(hv_mem_add(w->mem, 0, RAM_BYTES, w->ram) == 0);
	must(hv_mem_add(w->mem, HIGH_GPA, HIGH_BYTES, w->high) == 0);
	must(hv_fwcfg_create(w->mem, &w->f) == 0);
	must(hv_fwcfg_add(w->f, 5, text, sizeof(text)) == 0);
	must(hv_fwcfg_add_file(w->f, "a", text, 7) == 0);
	must(hv_fwcfg_add_file(w->f, "b", text, 0) == 0);
	memcpy(w->directory, "\0\0\0\2\0\0\0\7\0\x20\0\0a", 13);
	memcpy(w->directory + 68, "\0\0\0\0\0\x21\0\0b", 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w;

	begin(&w);
	for (unsigned n = 0; in.left > 0 && n < 200; n++)
		act(&w, &in);
	must(memcmp(w.ram, w.want, RAM_BYTES) == 0);
	must(memcmp(w.high, w.want_high, HIGH_BYTES) == 0);
	hv_fwcfg_destroy(w.f);
	hv_mem_destroy(w.mem);
	free(w.ram);
	free(w.want);
	free(w.high);
	free(w.want_high);
	return 0;
}
