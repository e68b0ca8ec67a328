/* SPDX-License-Identifier: BSD-2-Clause */
/* RESET_LUN, RESET_BUS, RESET_ADAPTER: what they name and is in flight, on
 * any channel, is doomed: asked to end early; what waits at its disk's gate
 * ends at once. When all of it has ended the
 * reset is answered; its own channel takes no packets meanwhile. Each request
 * ends once: well if it was faster, else as aborted. A sync under way is
 * waited for. A disk that was removed is waited for by whoever removed it: what
 * the host does not end of it holds up no reset of those that are there.
 * Sources: Linux storvsc_host_reset_handler; OpenVMM's notes on Hyper-V.
 */
#include "gate.h"
#include "mail.h"
#include "request.h"
#include "reset.h"
#include "scsi/holds.h"
#include "state.h"

static void abort_waiting(struct channel *ch, const struct reset_scope *scope)
{
	struct request *r = storvsp_gate_take_out(ch, scope), *next;

	for (; r; r = next) {
		next = r->next;
		storvsp_request_abort(ch, r);
	}
}

void storvsp_reset_cancel(struct channel *ch, const struct reset_scope *scope)
{
	abort_waiting(ch, scope);
	for (unsigned i = 0;
	     i < ch->slots_used && level_get(&ch->on_disk) > 0; i++) {
		struct request *r = &ch->slots[i];

		if (r->state != REQUEST_DISK || r->doomed ||
		    !storvsp_scope_has(scope, r->disk))
			continue;
		r->doomed = true;
		r->gate->doomed++;
		vhd_queue_cancel(ch->queue, &r->req);
	}
}

static void release_holds(const struct channel *ch,
			  const struct reset_scope *scope)
{
	for (unsigned i = 0; i < ch->luns.count; i++)
		if (storvsp_scope_has(scope, ch->luns.disk[i]))
			scsi_holds_end(ch->luns.disk[i]->switches);
}

void storvsp_reset_start(struct channel *ch, struct request *r,
			 const struct storvsp_packet_wire *in)
{
	const struct reset_scope scope = {
		.op = le32_get(in->op),
		.path = in->u.request.path,
		.target = in->u.request.target,
		.lun = in->u.request.lun,
	};

	ch->reset = r;
	ch->reset_ticket = storvsp_mail_reset(ch, &scope);
	storvsp_reset_cancel(ch, &scope);
	release_holds(ch, &scope);
}

void storvsp_reset_join(struct channel *ch, const struct reset_scope *scope,
			uint64_t ticket)
{
	ch->drain_ticket = ticket;
	storvsp_reset_cancel(ch, scope);
}

/* Something of the disks that the guest has is still to end early. */
static bool doomed(const struct channel *ch)
{
	const struct storvsp_disk *f = ch->frozen;

	for (unsigned i = 0; i < ch->luns.count; i++)
		if (ch->gates[ch->luns.disk[i]->slot]->doomed)
			return true;
	return f && ch->gates[f->slot] && ch->gates[f->slot]->doomed;
}

bool storvsp_reset_check(struct channel *ch)
{
	bool did = false;

	if ((!ch->drain_ticket && !ch->reset) || doomed(ch))
		return false;
	if (ch->drain_ticket) {
		storvsp_mail_drained(ch, ch->drain_ticket);
		ch->drain_ticket = 0;
		did = true;
	}
	if (ch->reset && storvsp_mail_all_drained(ch, ch->reset_ticket)) {
		struct request *r = ch->reset;

		ch->reset = NULL;
		channel_answer(ch, r);
		did = true;
	}
	return did;
}
