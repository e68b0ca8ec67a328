/* SPDX-License-Identifier: BSD-2-Clause */
/* What a disk may read as: the steps of its users, and the marks in the record
 * that tell which of them have begun and which are durable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"

/* Marks: what, and of which step or operation. */
enum mark {
	MARK_BEGUN = 1 << 16, /* all steps below this number */
	MARK_ONE = 2 << 16, /* durable: this step */
	MARK_OP = 3 << 16,
	MARK_DONE = 4 << 16,
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->was = need(calloc(1, DISK_MAX));
}

void model_fini(struct model *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		free(m->step[i].data);
		free(m->step[i].under);
	}
	free(m->was);
}

void expect_init(struct expect *e)
{
	memset(e, 0, sizeof(*e));
	e->base = need(malloc(DISK_MAX));
	e->loose = need(malloc(DISK_MAX / SECTOR));
}

void expect_fini(struct expect *e)
{
	free(e->base);
	free(e->loose);
}

/* ---------------------------------------------------------------- steps -- */

static void mark(struct env *e, int kind, unsigned value)
{
	if (e->rec)
		crash_record_mark(e->rec, kind | (int)value);
}

static int step_add(struct env *e, struct step s)
{
	struct model *m = &e->model;

	if (m->count == STEPS_MAX)
		broken("too many steps");
	m->step[m->count++] = s;
	if (s.kind == STEP_SIZE && s.size > m->max_size)
		m->max_size = s.size;
	if (m->max_size > DISK_MAX)
		broken("a disk of %llu bytes", (unsigned long long)s.size);
	mark(e, MARK_BEGUN, m->count);
	return (int)m->count - 1;
}

/* Bytes that say which sector and which write they belong to. */
static void stamp(uint8_t *b, uint64_t lba, unsigned number)
{
	uint64_t x = lba * 0x9e3779b97f4a7c15u + number;

	for (size_t i = 0; i < SECTOR; i += 8) {
		uint64_t v = random_next(&x);

		memcpy(b + i, &v, 8);
	}
	memcpy(b, &lba, 8);
	memcpy(b + 8, &number, sizeof(number));
}

int env_write(struct env *e, uint64_t lba, uint64_t count)
{
	struct step s = {.kind = STEP_WRITE, .lba = lba, .count = count};

	s.data = need(malloc(count * SECTOR));
	e->stamp++;
	for (uint64_t i = 0; i < count; i++)
		stamp(s.data + i * SECTOR, lba + i, e->stamp);
	return step_add(e, s);
}

int env_zero(struct env *e, uint64_t lba, uint64_t count)
{
	return step_add(e, (struct step){.kind = STEP_WRITE,
					 .lba = lba,
					 .count = count});
}

int env_size(struct env *e, uint64_t size)
{
	return step_add(e, (struct step){.kind = STEP_SIZE, .size = size});
}

int env_format(struct env *e, enum vhd_format format)
{
	return step_add(e,
			(struct step){.kind = STEP_FORMAT, .format = format});
}

int env_becomes(struct env *e, uint8_t *disk, uint64_t size)
{
	return step_add(e, (struct step){.kind = STEP_WRITE,
					 .count = size / SECTOR,
					 .data = disk});
}

int env_moves(struct env *e, uint64_t size)
{
	uint8_t *disk = need(malloc(size)), *under = need(malloc(size));

	env_content_over(e, &e->other, false, disk, size);
	layers_content(&e->other, under, size);
	return step_add(e, (struct step){.kind = STEP_WRITE,
					 .count = size / SECTOR,
					 .data = disk,
					 .under = under});
}

/* A flush makes what others left in the file durable, too; but not every
 * operation has one.
 */
void env_durable(struct env *e)
{
	for (unsigned i = env_info(e)->first; i < e->model.count; i++)
		env_durable_one(e, (int)i);
}

void env_durable_one(struct env *e, int step)
{
	mark(e, MARK_ONE, (unsigned)step);
}

void env_op_begins(struct env *e, unsigned op)
{
	struct op_info *info = &e->info[op];

	e->op = op;
	info->first = e->model.count;
	info->format = e->format;
	info->disk_bytes = env_sectors(e) * SECTOR;
	mark(e, MARK_OP, op);
}

void env_op_ends(struct env *e)
{
	env_info(e)->last = e->model.count;
	mark(e, MARK_DONE, 0);
}

/* ----------------------------------------------------------- expecting -- */

static bool covers(const struct step *s, uint64_t sector)
{
	return s->kind == STEP_WRITE && sector >= s->lba && sector - s->lba < s->count;
}

static const uint8_t *value_of(const struct step *s, uint64_t sector)
{
	static const uint8_t zeros[SECTOR];

	if (!s->data)
		return zeros;
	return s->data + (sector - s->lba) * SECTOR;
}

static bool is_durable(const struct expect *e, unsigned step)
{
	return e->durable >> step & 1;
}

static void take_write(struct expect *e, const struct model *m, unsigned i)
{
	const struct step *s = &m->step[i];

	for (uint64_t k = s->lba; k < s->lba + s->count; k++) {
		e->loose[k] = !is_durable(e, i) || (s->under && e->loose[k]);
		if (is_durable(e, i))
			memcpy(e->base + k * SECTOR, value_of(s, k), SECTOR);
	}
}

static void take_size(struct expect *e, const struct model *m, unsigned i)
{
	uint64_t size = m->step[i].size;

	if (is_durable(e, i)) {
		e->size_count = 0;
		memset(e->base + size, 0, m->max_size - size);
		memset(e->loose + size / SECTOR, 0,
		       (m->max_size - size) / SECTOR);
	}
	if (e->size_count == 4)
		broken("too many sizes");
	e->sizes[e->size_count++] = size;
}

static void take_steps(struct expect *e, const struct model *m)
{
	memcpy(e->base, m->was, m->max_size);
	memset(e->loose, 0, m->max_size / SECTOR);
	e->sizes[0] = m->size;
	e->size_count = 1;
	e->formats = 1u << m->format;
	for (unsigned i = 0; i < e->begun; i++) {
		const struct step *s = &m->step[i];

		if (s->kind == STEP_WRITE)
			take_write(e, m, i);
		else if (s->kind == STEP_SIZE)
			take_size(e, m, i);
		else if (is_durable(e, i))
			e->formats = 1u << s->format;
		else
			e->formats |= 1u << s->format;
	}
}

static void take_mark(struct expect *e, int what)
{
	unsigned value = (unsigned)what & 0xffff;

	switch (what & ~0xffff) {
	case MARK_BEGUN:
		e->begun = value;
		break;
	case MARK_ONE:
		e->durable |= 1ull << value;
		break;
	case MARK_OP:
		e->op = value;
		e->done = false;
		break;
	case MARK_DONE:
		e->done = true;
		break;
	}
}

void expect_at(struct expect *e, const struct model *m,
	       const struct crash_record *r, size_t n)
{
	e->begun = 0;
	e->durable = 0;
	e->op = 0;
	e->done = false;
	for (size_t i = 0; i < n; i++)
		if (r->events[i].kind == CRASH_MARK)
			take_mark(e, r->events[i].mark);
	take_steps(e, m);
}

void expect_end(struct expect *e, const struct expect *now,
		const struct model *m, const struct op_info *info)
{
	e->begun = info->last > now->begun ? info->last : now->begun;
	e->durable = now->durable;
	for (unsigned i = info->first; i < info->last; i++)
		e->durable |= 1ull << i;
	e->op = now->op;
	e->done = true;
	take_steps(e, m);
}

void expect_widen(struct expect *e, const struct model *m,
		  const struct op_info *info)
{
	e->begun = info->last > e->begun ? info->last : e->begun;
	take_steps(e, m);
}

size_t expect_begins(const struct crash_record *r, unsigned op)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->events[i].kind == CRASH_MARK &&
		    r->events[i].mark == (MARK_OP | (int)op))
			return i + 1;
	return 0;
}

uint64_t expect_key(const struct expect *e)
{
	uint64_t x = e->durable * 0x9e3779b97f4a7c15u + e->begun * 131u +
		     e->op * 2u + e->done;

	return random_next(&x);
}

bool expect_size(const struct expect *e, uint64_t size)
{
	for (unsigned i = 0; i < e->size_count; i++)
		if (e->sizes[i] == size)
			return true;
	return false;
}

/* -------------------------------------------------------------- judging -- */

/* Is there a write of it that was never durable? */
static bool may_be_lost(const struct model *m, const struct expect *e,
			unsigned before, uint64_t sector)
{
	for (unsigned i = before; i-- > 0;)
		if (covers(&m->step[i], sector))
			return !is_durable(e, i);
	return false;
}

/* Does a step that has begun, and is not older than a durable one, say so? */
static bool some_version(const struct model *m, const struct expect *e,
			 uint64_t sector, const uint8_t *got)
{
	for (unsigned i = e->begun; i-- > 0;) {
		const struct step *s = &m->step[i];

		if (!covers(s, sector))
			continue;
		if (!memcmp(got, value_of(s, sector), SECTOR))
			return true;
		if (s->under && may_be_lost(m, e, i, sector)) {
			if (!memcmp(got, s->under + sector * SECTOR, SECTOR))
				return true;
		} else if (is_durable(e, i)) {
			return false;
		}
	}
	return !memcmp(got, m->was + sector * SECTOR, SECTOR);
}

/* Where one of two sizes ends that the disk may have. */
static bool at_an_end(const struct expect *e, uint64_t size, uint64_t sector,
		      unsigned lax)
{
	uint64_t newest = e->sizes[e->size_count - 1];

	if (e->size_count < 2 || !expect_size(e, sector * SECTOR))
		return false;
	return lax & (size == newest ? LAX_GROWN : LAX_CUT);
}

static bool sector_ok(const struct model *m, const struct expect *e,
		      uint64_t size, uint64_t sector, const uint8_t *got,
		      unsigned lax)
{
	if (!memcmp(got, e->base + sector * SECTOR, SECTOR))
		return true;
	if (at_an_end(e, size, sector, lax) && !memcmp(got, "conectix", 8))
		return true;
	if (!e->loose[sector])
		return false;
	return some_version(m, e, sector, got) ||
	       (lax & LAX_TORN && !memcmp(got, crash_garbage, SECTOR));
}

const char *model_judge(const struct model *m, const struct expect *e,
			const uint8_t *got, uint64_t size,
			enum vhd_format format, unsigned lax)
{
	static char text[120];

	if (!(e->formats >> format & 1)) {
		snprintf(text, sizeof(text), "it is %s",
			 vhd_format_name(format));
		return text;
	}
	if (!expect_size(e, size)) {
		snprintf(text, sizeof(text), "the disk has %llu bytes",
			 (unsigned long long)size);
		return text;
	}
	for (uint64_t at = 0; at < size; at += 4096) {
		uint64_t n = size - at < 4096 ? size - at : 4096;

		if (!memcmp(got + at, e->base + at, n))
			continue;
		for (uint64_t k = at; k < at + n; k += SECTOR) {
			if (sector_ok(m, e, size, k / SECTOR, got + k, lax))
				continue;
			snprintf(text, sizeof(text),
				 "sector %llu holds nothing that it may "
				 "(%02x%02x%02x%02x...)",
				 (unsigned long long)(k / SECTOR), got[k],
				 got[k + 1], got[k + 2], got[k + 3]);
			return text;
		}
	}
	return NULL;
}
