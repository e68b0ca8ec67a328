/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between threads: written into the channel under the controller's
 * lock, then announced by a flag and the channel's eventfd, which its thread
 * sleeps on anyway. Messages of one kind merge.
 *
 * mail_waiting: the release in post() pairs with the acquire in
 * storvsp_mail_take(); the mail itself is guarded by the lock.
 */
#include <stdint.h>
#include <sys/eventfd.h>

#include "mail.h"
#include "state.h"

static void post_locked(struct channel *ch)
{
	atomic_store_explicit(&ch->mail_waiting, true, memory_order_release);
	/* fails only when the counter is full, and then it is readable */
	(void)eventfd_write(vmbus_channel_eventfd(ch->bus), 1);
}

bool storvsp_mail_take(struct channel *ch, struct mail *out,
		       struct storvsp_luns *luns)
{
	if (!atomic_load_explicit(&ch->mail_waiting, memory_order_acquire))
		return false;
	pthread_mutex_lock(&ch->vsp->lock);
	atomic_store_explicit(&ch->mail_waiting, false, memory_order_relaxed);
	*out = ch->mail;
	ch->mail = (struct mail){0};
	if (out->luns) {
		*luns = ch->vsp->luns;
		out->luns_number = ch->vsp->luns_number;
		out->frozen = ch->vsp->frozen;
	}
	pthread_mutex_unlock(&ch->vsp->lock);
	return true;
}

void storvsp_mail_stop(struct channel *ch)
{
	pthread_mutex_lock(&ch->vsp->lock);
	ch->mail.stop = true;
	post_locked(ch);
	pthread_mutex_unlock(&ch->vsp->lock);
}

void storvsp_mail_luns_locked(struct storvsp *vsp)
{
	for (struct channel *ch = vsp->channels; ch; ch = ch->next) {
		ch->mail.luns = true;
		post_locked(ch);
	}
}

void storvsp_mail_look_locked(struct storvsp *vsp)
{
	for (struct channel *ch = vsp->channels; ch; ch = ch->next) {
		ch->mail.look = true;
		post_locked(ch);
	}
}

void storvsp_mail_look(struct storvsp *vsp)
{
	pthread_mutex_lock(&vsp->lock);
	storvsp_mail_look_locked(vsp);
	pthread_mutex_unlock(&vsp->lock);
}

void storvsp_mail_session_locked(struct storvsp *vsp)
{
	for (struct channel *ch = vsp->channels; ch; ch = ch->next) {
		if (!ch->sub)
			continue;
		ch->mail.session = true;
		ch->mail.ready = vsp->ready;
		ch->mail.version = vsp->version;
		post_locked(ch);
	}
}

uint64_t storvsp_mail_reset(struct channel *from,
			    const struct reset_scope *scope)
{
	struct storvsp *vsp = from->vsp;
	uint64_t ticket;

	pthread_mutex_lock(&vsp->lock);
	ticket = ++vsp->ticket;
	for (struct channel *ch = vsp->channels; ch; ch = ch->next) {
		struct mail *m = &ch->mail;

		if (ch == from)
			continue;
		m->scope = m->reset ? storvsp_scope_join(&m->scope, scope)
				    : *scope;
		m->reset = true;
		m->ticket = ticket;
		post_locked(ch);
	}
	pthread_mutex_unlock(&vsp->lock);
	return ticket;
}

void storvsp_mail_drained(struct channel *ch, uint64_t ticket)
{
	struct storvsp *vsp = ch->vsp;

	pthread_mutex_lock(&vsp->lock);
	ch->drained_ticket = ticket;
	for (struct channel *c = vsp->channels; c; c = c->next) {
		if (c == ch)
			continue;
		c->mail.look = true;
		post_locked(c);
	}
	pthread_mutex_unlock(&vsp->lock);
}

bool storvsp_mail_all_drained(struct channel *ch, uint64_t ticket)
{
	struct storvsp *vsp = ch->vsp;
	bool all = true;

	pthread_mutex_lock(&vsp->lock);
	for (struct channel *c = vsp->channels; c; c = c->next)
		if (c != ch && c->drained_ticket < ticket)
			all = false;
	pthread_mutex_unlock(&vsp->lock);
	return all;
}
