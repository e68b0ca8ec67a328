/* SPDX-License-Identifier: BSD-2-Clause */
/* What other threads ask of a running guest. They put it into a list and wake
 * the control thread, which carries it out and says when it is done; neither
 * waits for the other. Each is told exactly once, at the latest when the run
 * ends.
 */
#include <errno.h>
#include <string.h>

#include "part.h"

static const char ended[] = "the guest has ended";

static void push(struct hv_ask **list, struct hv_ask *a)
{
	while (*list)
		list = &(*list)->next;
	a->next = NULL;
	*list = a;
}

static struct hv_ask *pop(struct hv_ask **list)
{
	struct hv_ask *a = *list;

	if (a)
		*list = a->next;
	return a;
}

static void tell(struct hv *hv, struct hv_ask *a)
{
	pthread_mutex_lock(&hv->life.lock);
	hv->life.open--;
	pthread_mutex_unlock(&hv->life.lock);
	a->done(a);
}

static void refuse(struct hv *hv, struct hv_ask *a, int code, const char *text)
{
	a->result = vhd_fail(&a->err, code, VHD_WHY_SERVER, 0, "%s", text);
	tell(hv, a);
}

static void refuse_all(struct hv *hv, struct hv_ask **list, int code,
		       const char *text)
{
	struct hv_ask *a;

	while ((a = pop(list)))
		refuse(hv, a, code, text);
}

int hv_ask(struct hv *hv, struct hv_ask *a, struct vhd_err *err)
{
	struct hv_life *l = &hv->life;
	bool closed, full;

	a->hv = hv;
	a->result = 0;
	atomic_store(&a->dropped, false);
	pthread_mutex_lock(&l->lock);
	closed = l->closed;
	full = l->open >= HV_ASKS_MAX;
	if (!closed && !full) {
		push(&l->asked, a);
		l->open++;
	}
	pthread_mutex_unlock(&l->lock);
	if (closed)
		return vhd_fail(err, -ECONNRESET, VHD_WHY_SERVER, 0, "%s",
				ended);
	if (full)
		return vhd_fail(err, -EAGAIN, VHD_WHY_SERVER, 0,
				"too many requests wait for the guest already");
	hv_wake(hv);
	return 0;
}

void hv_ask_drop(struct hv_ask *a)
{
	atomic_store(&a->dropped, true);
	hv_wake(a->hv);
}

/* --------------------------------------------------------- carrying out -- */

static void inform(struct hv *hv, struct hv_info *out)
{
	struct hv_board_output o;

	memset(out, 0, sizeof(*out));
	out->cpus = hv->opts.cpus;
	out->memory_bytes = hv->opts.memory_bytes;
	out->paused = hv->life.paused;
	out->uptime_ms = (uint64_t)(hv_now_ms() - hv->life.began_ms);
	out->vmbus_version = vmbus_version(hv->bus);
	hv_board_output_state(hv->board, &o);
	out->console_held_ms = o.held_ms;
	out->console_lost = o.lost;
	hv_ic_get_info(hv->life.ic, &out->ic);
}

/* A guest that is to come to an end does so whether somebody reads its console
 * or not.
 */
static bool ends(const struct hv_ask *a)
{
	return a->service.op == HV_IC_OP_POWER_OFF ||
	       a->service.op == HV_IC_OP_RESTART;
}

static void service_done(struct hv_ic_request *r)
{
	struct hv_ask *a = r->arg;

	if (ends(a) && r->result)
		hv_board_hurry_no_more(a->hv->board); /* it goes on */
	if (a->hv->life.serving == a)
		a->hv->life.serving = NULL;
	a->result = r->result;
	a->err = r->err;
	tell(a->hv, a);
}

/* Most that is refused is so at once, and was never in a hurry. */
static void serve(struct hv *hv, struct hv_ask *a)
{
	bool last = ends(a);

	a->service.done = service_done;
	a->service.arg = a;
	hv->life.serving = a;
	hv_ic_submit(hv->life.ic, &a->service);
	if (last && hv->life.serving)
		hv_console_hurry(hv);
	hv->life.serving = NULL;
}

void hv_life_go_on(struct hv *hv)
{
	struct hv_life *l = &hv->life;

	refuse_all(hv, &l->pausing, -ECANCELED, "the guest goes on, or ends");
	if (l->paused)
		hv_time_release(hv);
	hv_go_on(hv);
	l->paused = false;
	hv_ic_paused(l->ic, false);
}

static void pause_begin(struct hv *hv, struct hv_ask *a)
{
	if (hv->life.paused) {
		tell(hv, a);
		return;
	}
	push(&hv->life.pausing, a);
	hv_stand(hv);
}

static void carry_out(struct hv *hv, struct hv_ask *a)
{
	switch (a->what) {
	case HV_ASK_INFO:
		inform(hv, &a->info);
		tell(hv, a);
		return;
	case HV_ASK_PAUSE:
		pause_begin(hv, a);
		return;
	case HV_ASK_RESUME:
		hv_life_go_on(hv);
		tell(hv, a);
		return;
	case HV_ASK_INPUT:
		a->given = 0;
		push(&hv->life.input, a);
		return;
	case HV_ASK_SERVICE:
		serve(hv, a);
		return;
	}
	refuse(hv, a, -EINVAL, "no such request");
}

/* As much as the guest takes; the board wakes us when there is room. Who typed
 * and went has typed all the same: only what would have to wait is dropped.
 */
static void give_input(struct hv *hv)
{
	struct hv_ask *a;

	while ((a = hv->life.input)) {
		a->given += hv_board_input(hv->board, a->bytes + a->given,
					   a->len - a->given);
		if (a->given < a->len && !atomic_load(&a->dropped))
			return;
		tell(hv, pop(&hv->life.input));
	}
}

/* ... wherever it stands. */
static void forget_input(struct hv *hv)
{
	struct hv_ask **at = &hv->life.input, *a;

	while ((a = *at)) {
		if (!atomic_load(&a->dropped)) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		tell(hv, a);
	}
}

static void paused(struct hv *hv)
{
	struct hv_ask *a;

	hv->life.paused = true;
	hv_time_hold(hv);
	hv_ic_paused(hv->life.ic, true);
	while ((a = pop(&hv->life.pausing)))
		tell(hv, a);
}

void hv_asks_serve(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	uint64_t utc, ref;

	for (unsigned n = 0; n < HV_ASKS_MAX; n++) {
		struct hv_ask *a;

		pthread_mutex_lock(&l->lock);
		a = pop(&l->asked);
		pthread_mutex_unlock(&l->lock);
		if (!a)
			break;
		carry_out(hv, a);
	}
	give_input(hv);
	forget_input(hv);
	if (l->pausing && hv_all_stand(hv))
		paused(hv);
	if (hv_time_take(hv, &utc, &ref))
		hv_ic_time(l->ic, utc, ref);
	hv_services_plan(hv);
}

void hv_asks_end(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	struct hv_ask *rest;

	pthread_mutex_lock(&l->lock);
	l->closed = true;
	rest = l->asked;
	l->asked = NULL;
	pthread_mutex_unlock(&l->lock);
	refuse_all(hv, &rest, -ECONNRESET, ended);
	refuse_all(hv, &l->pausing, -ECONNRESET, ended);
	refuse_all(hv, &l->input, -ECONNRESET, ended);
	if (l->ic)
		hv_ic_end(l->ic);
}

/* ----------------------------------------------------------------- life -- */

/* None of these can fail: they allocate nothing. */
void hv_life_init(struct hv *hv)
{
	struct hv_life *l = &hv->life;

	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->stand_lock, NULL);
	pthread_cond_init(&l->go, NULL);
	l->began_ms = hv_now_ms();
}

void hv_life_fini(struct hv *hv)
{
	struct hv_life *l = &hv->life;

	hv_asks_end(hv);
	hv_ic_destroy(l->ic);
	pthread_cond_destroy(&l->go);
	pthread_mutex_destroy(&l->stand_lock);
	pthread_mutex_destroy(&l->lock);
}
