/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between threads: see mail.c. */
#ifndef STORVSP_MAIL_H
#define STORVSP_MAIL_H

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct mail;
struct reset_scope;
struct storvsp;
struct storvsp_luns;

/* Take the mail; false when there is none. `luns` is filled when the list of
 * disks has changed.
 */
bool storvsp_mail_take(struct channel *ch, struct mail *out,
		       struct storvsp_luns *luns);
void storvsp_mail_stop(struct channel *ch);
/* To every channel. Locked: the caller holds the controller's lock. */
void storvsp_mail_luns_locked(struct storvsp *vsp);
/* What holds requests may hold them no longer. */
void storvsp_mail_look_locked(struct storvsp *vsp);
void storvsp_mail_look(struct storvsp *vsp);
/* The primary's session is another: to every sub-channel. */
void storvsp_mail_session_locked(struct storvsp *vsp);

/* A reset on `from`: tells the other channels and returns its ticket. */
uint64_t storvsp_mail_reset(struct channel *from,
			    const struct reset_scope *scope);
/* Nothing is in flight here that resets up to this ticket named. */
void storvsp_mail_drained(struct channel *ch, uint64_t ticket);
/* Whether that holds for all channels but this. */
bool storvsp_mail_all_drained(struct channel *ch, uint64_t ticket);

#endif
