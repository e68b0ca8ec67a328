/* SPDX-License-Identifier: BSD-2-Clause */
/* See stack.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/stack.h"
#include "vhd/check.h"
#include "vhd/image.h"

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void stack_random(struct stack *s, unsigned count, uint32_t type, uint64_t size,
		  uint64_t *rnd)
{
	*s = (struct stack){.count = count, .size = size};
	s->model = need(calloc(1, size));
	for (unsigned i = 0; i < count; i++)
		s->m[i] = diff_random(i ? IMG_TYPE_DIFF : type, i, size,
				      4096u << random_below(rnd, 6), s->model,
				      rnd);
}

void stack_clone(struct stack *to, const struct stack *from)
{
	*to = *from;
	to->model = need(malloc(from->size));
	memcpy(to->model, from->model, from->size);
	for (unsigned i = 0; i < from->count; i++)
		to->m[i] = need(memfile_clone(from->m[i]));
}

void stack_free(struct stack *s)
{
	for (unsigned i = 0; i < s->count; i++)
		memfile_destroy(s->m[i]);
	free(s->model);
}

struct vhd *stack_open(struct memfile *const *m, unsigned low, unsigned top)
{
	const struct vhd_open_opts o = {.parent_dir = ""};
	struct vhd *below = NULL;

	for (unsigned i = low; i <= top; i++) {
		struct vhd_file f = memfile_file(m[i]);
		struct vhd *img;
		struct vhd_err e;

		if (vhd_open_file(&f, &o, &img, &e) ||
		    (below && vhd_chain_set_parent(img, below, &e))) {
			fprintf(stderr, "layer %u: %s\n", i, e.text);
			abort();
		}
		below = img;
	}
	return below;
}

static const char *judge_library(struct memfile *const *m, unsigned low,
				 unsigned top, const uint8_t *model,
				 uint64_t size)
{
	struct vhd *img = stack_open(m, low, top);
	uint8_t *b = need(malloc(size));
	const char *fault = NULL;

	if (vhd_get_info(img)->size_bytes != size)
		fault = "the library sees another size";
	else if (vhd_read(img, 0, b, size, NULL))
		fault = "the library cannot read";
	else if (memcmp(b, model, size) != 0)
		fault = "the library reads something else";
	vhd_abandon(img);
	free(b);
	return fault;
}

static const char *judge_sectors(const struct oracle *o, unsigned count,
				 const uint8_t *model, uint64_t size)
{
	uint8_t got[512];

	for (uint64_t lba = 0; lba < size / 512; lba++)
		if (!oracle_chain(o, count, lba, got) ||
		    memcmp(got, model + lba * 512, 512) != 0)
			return "the independent reader reads something else";
	return NULL;
}

const char *stack_judge(struct memfile *const *m, unsigned low, unsigned top,
			const uint8_t *model, uint64_t size)
{
	static char text[200];
	struct oracle o[STACK_MAX];
	uint8_t *bytes[STACK_MAX] = {0};
	unsigned count = top - low + 1;
	const char *fault = judge_library(m, low, top, model, size);

	for (unsigned i = 0; i < count && !fault; i++) {
		uint64_t len = memfile_len(m[top - i]);

		bytes[i] = need(malloc(len));
		memfile_peek(m[top - i], bytes[i], len, 0);
		if (oracle_open(&o[i], bytes[i], len) && oracle_check(&o[i]))
			continue;
		snprintf(text, sizeof(text), "layer %u: %s", top - i,
			 o[i].fault);
		fault = text;
	}
	if (!fault)
		fault = judge_sectors(o, count, model, size);
	for (unsigned i = 0; i < count; i++)
		free(bytes[i]);
	return fault;
}

uint64_t stack_errors(struct memfile *m)
{
	const struct vhd_check_opts o = {.data = true};
	const struct vhd_file f = memfile_file(m);
	struct vhd_check_result r;

	if (vhd_check_file(&f, &o, &r, NULL))
		return UINT64_MAX;
	return r.severity_count[VHD_SEVERITY_ERROR];
}
