/* SPDX-License-Identifier: BSD-2-Clause */
/* See simmodel.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/simmodel.h"

#define NEVER SIMMODEL_NEVER

void simmodel_init(struct simmodel *m, uint32_t sectors, uint64_t salt)
{
	m->sectors = sectors;
	m->next = 1;
	m->salt = salt;
	for (uint32_t i = 0; i < sectors; i++) {
		m->sector[i].count = 1;
		m->sector[i].value[0] = (struct simmodel_value){
			.good = true,
			.safe = true,
			.unread = NEVER,
			.forgotten = NEVER,
		};
	}
}

static uint64_t word_of(const struct simmodel *m, uint32_t lba, uint32_t number)
{
	uint64_t z = m->salt + (uint64_t)number * 0x9e3779b97f4a7c15u +
		     (uint64_t)lba * 0xd1342543de82ef95u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	return (z ^ z >> 27) | 1;
}

void simmodel_fill(const struct simmodel *m, uint32_t lba, uint32_t number,
		   uint8_t out[512])
{
	uint64_t word[64], w = word_of(m, lba, number);

	if (!number) {
		memcpy(out, m->start[lba], 512);
		return;
	}
	if (number & SIMMODEL_ZEROS)
		w = 0;
	for (unsigned i = 0; i < 64; i++)
		word[i] = w * (2 * i + 1);
	memcpy(out, word, 512);
}

static bool is(const struct simmodel *m, uint32_t lba, uint32_t number,
	       const uint8_t got[512])
{
	uint8_t want[512];
	uint64_t first;

	memcpy(&first, got, 8);
	if (number && !(number & SIMMODEL_ZEROS) &&
	    first != word_of(m, lba, number))
		return false;
	simmodel_fill(m, lba, number, want);
	return !memcmp(got, want, 512);
}

static void prune(struct simmodel_sector *s, uint32_t oldest)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct simmodel_value *v = &s->value[i];

		if (v->unread >= oldest || v->forgotten == NEVER)
			s->value[kept++] = *v;
	}
	s->count = kept;
}

bool simmodel_room(struct simmodel *m, uint32_t lba, uint32_t n,
		   uint32_t oldest)
{
	bool room = true;

	for (uint32_t i = lba; i < lba + n; i++) {
		prune(&m->sector[i], oldest);
		if (m->sector[i].count == SIMMODEL_VALUES)
			room = false;
	}
	return room;
}

void simmodel_write(struct simmodel *m, uint32_t lba, uint32_t n,
		    uint32_t number, uint32_t now)
{
	m->next++;
	for (uint32_t i = lba; i < lba + n; i++) {
		struct simmodel_sector *s = &m->sector[i];

		if (s->count == SIMMODEL_VALUES)
			abort();
		s->value[s->count++] = (struct simmodel_value){
			.number = number,
			.posted = now,
			.ended = NEVER,
			.unread = NEVER,
			.forgotten = NEVER,
		};
	}
}

/* What had ended before `v` was posted is gone: from reads, from the medium. */
static void replace(struct simmodel_sector *s, const struct simmodel_value *v,
		    bool unread, bool forgotten, uint32_t now)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct simmodel_value *o = &s->value[i];

		if (o == v || o->ended >= v->posted)
			continue;
		if (unread && o->unread == NEVER)
			o->unread = now;
		if (forgotten && o->forgotten == NEVER)
			o->forgotten = now;
	}
}

static struct simmodel_value *find(struct simmodel_sector *s, uint32_t number)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->value[i].number == number)
			return &s->value[i];
	abort();
}

void simmodel_written(struct simmodel *m, uint32_t lba, uint32_t n,
		      uint32_t number, bool good, bool durable, uint32_t now)
{
	for (uint32_t i = lba; i < lba + n; i++) {
		struct simmodel_sector *s = &m->sector[i];
		struct simmodel_value *v = find(s, number);

		v->ended = now;
		v->good = good;
		v->safe = good && durable;
		replace(s, v, good, v->safe, now);
	}
}

void simmodel_flushed(struct simmodel *m, uint32_t posted, uint32_t now)
{
	for (uint32_t i = 0; i < m->sectors; i++) {
		struct simmodel_sector *s = &m->sector[i];

		for (uint32_t k = 0; k < s->count && s->count > 1; k++) {
			struct simmodel_value *v = &s->value[k];

			if (!v->good || v->safe || v->ended >= posted)
				continue;
			v->safe = true;
			replace(s, v, false, true, now);
		}
	}
}

/* Seen with nothing under way since before the read: what else had ended by
 * then is not there. Of zeros nobody can say whose they are.
 */
static void seen(struct simmodel_sector *s, const struct simmodel_value *v,
		 uint32_t posted, uint32_t now)
{
	if (v->ended >= posted || !v->number || v->number & SIMMODEL_ZEROS)
		return;
	for (uint32_t i = 0; i < s->count; i++) {
		struct simmodel_value *o = &s->value[i];

		if (o != v && o->ended < posted && o->unread == NEVER)
			o->unread = now;
	}
}

bool simmodel_read(struct simmodel *m, uint32_t lba, const uint8_t got[512],
		   uint32_t posted, uint32_t now)
{
	struct simmodel_sector *s = &m->sector[lba];

	for (uint32_t i = s->count; i-- > 0;) {
		const struct simmodel_value *v = &s->value[i];

		if (v->unread < posted || !is(m, lba, v->number, got))
			continue;
		seen(s, v, posted, now);
		return true;
	}
	return false;
}

bool simmodel_settle(struct simmodel *m, uint32_t lba, const uint8_t got[512],
		     bool cut)
{
	struct simmodel_sector *s = &m->sector[lba];

	for (uint32_t i = s->count; i-- > 0;) {
		const struct simmodel_value *v = &s->value[i];
		uint32_t gone = cut ? v->forgotten : v->unread;

		if (gone != NEVER || !is(m, lba, v->number, got))
			continue;
		s->value[0] = (struct simmodel_value){
			.number = v->number,
			.good = true,
			.safe = true,
			.unread = NEVER,
			.forgotten = NEVER,
		};
		s->count = 1;
		return true;
	}
	return false;
}

void simmodel_tell(const struct simmodel *m, uint32_t lba,
		   const uint8_t got[512])
{
	const struct simmodel_sector *s = &m->sector[lba];

	printf("sector %u:\n", lba);
	for (uint32_t i = 0; i < s->count; i++) {
		const struct simmodel_value *v = &s->value[i];

		printf("  number %u posted %u ended %d%s%s unread from %d, "
		       "forgotten at %d\n", v->number, v->posted,
		       (int)v->ended, v->good ? " good" : "",
		       v->safe ? " safe" : "", (int)v->unread,
		       (int)v->forgotten);
	}
	for (uint32_t n = 0; n < m->next; n++)
		if (is(m, lba, n, got))
			printf("  holds number %u\n", n);
}
