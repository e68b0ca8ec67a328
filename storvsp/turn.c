/* SPDX-License-Identifier: BSD-2-Clause */
/* See turn.h. */
#include "mail.h"
#include "state.h"
#include "turn.h"

static bool writes(const struct request *r)
{
	return r->io.op == VHD_OP_WRITE || r->io.op == VHD_OP_ZERO;
}

/* Single writer: load and store need not be one operation. */
static void count(struct gate *g, int by)
{
	unsigned n = atomic_load_explicit(&g->writers, memory_order_relaxed);

	atomic_store(&g->writers, n + (unsigned)by);
}

static bool take_with_others(struct channel *ch, struct gate *g,
			     struct request *r)
{
	_Atomic uint32_t *word = &g->disk->switches->turn;

	if (atomic_load(word) != TURN_FREE)
		return false;
	count(g, 1);
	if (atomic_load(word) == TURN_FREE) {
		r->turn = TURN_WRITES;
		return true;
	}
	/* who came in between may have seen the count, and waits */
	count(g, -1);
	storvsp_mail_look(ch->vsp);
	return false;
}

static unsigned writers_locked(const struct storvsp *vsp,
			       const struct storvsp_disk *d)
{
	unsigned n = 0;

	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		if (ch->gates[d->slot])
			n += atomic_load(&ch->gates[d->slot]->writers);
	return n;
}

static bool take_alone(struct channel *ch, struct gate *g, struct request *r)
{
	_Atomic uint32_t *word = &g->disk->switches->turn;

	pthread_mutex_lock(&ch->vsp->lock);
	r->turn = TURN_WAITS;
	if (atomic_load(word) != TURN_ALONE) {
		atomic_store(word, TURN_WANTED);
		if (writers_locked(ch->vsp, g->disk) == 0) {
			atomic_store(word, TURN_ALONE);
			r->turn = TURN_IS_ALONE;
		}
	}
	pthread_mutex_unlock(&ch->vsp->lock);
	return r->turn == TURN_IS_ALONE;
}

bool storvsp_turn_take(struct channel *ch, struct gate *g, struct request *r)
{
	if (r->turn == TURN_WRITES || r->turn == TURN_IS_ALONE || !writes(r))
		return true;
	return r->io.compare ? take_alone(ch, g, r)
			     : take_with_others(ch, g, r);
}

/* Others that want to be alone, too, say so again when they are woken. */
static void leave_alone(struct channel *ch, const struct gate *g,
			enum turn turn)
{
	_Atomic uint32_t *word = &g->disk->switches->turn;

	pthread_mutex_lock(&ch->vsp->lock);
	if (turn == TURN_IS_ALONE || atomic_load(word) == TURN_WANTED)
		atomic_store(word, TURN_FREE);
	storvsp_mail_look_locked(ch->vsp);
	pthread_mutex_unlock(&ch->vsp->lock);
}

void storvsp_turn_give(struct channel *ch, struct gate *g, struct request *r)
{
	enum turn turn = r->turn;

	r->turn = TURN_NONE;
	if (turn == TURN_NONE)
		return;
	if (turn != TURN_WRITES) {
		leave_alone(ch, g, turn);
		return;
	}
	count(g, -1);
	if (atomic_load(&g->disk->switches->turn) != TURN_FREE)
		storvsp_mail_look(ch->vsp);
}
