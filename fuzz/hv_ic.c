/* SPDX-License-Identifier: BSD-2-Clause */
/* Integration services: a guest that opens and shuts their channels, reads or
 * does not, answers rightly, wrongly or unasked, while the host asks for things
 * and time passes. Actions of one byte and its operands.
 *
 * Beyond memory safety: each request is told exactly once, with a reason where
 * it failed; texts that came from the guest end and are UTF-8; a guest is
 * frozen only while its service is there; the log is bounded.
 */
#include "tests/lib/fuzzin.h"
#include "tests/lib/icguest.h"

#define REQUESTS 24
#define ACTIONS	 400
#define LINE_MS	 10000

struct request {
	struct hv_ic_request r;
	bool busy;
};

struct world {
	struct icguest w;
	struct request request[REQUESTS];
	uint64_t began_ms;
	bool paused;
	bool spoilt[HV_IC_SERVICES]; /* the guest's own side is no good */
};

/* ------------------------------------------------------------- requests -- */

/* What json-c, and so hv ctl, would be given. */
static void check_text(const char *s, size_t bytes)
{
	const uint8_t *p = (const uint8_t *)s;

	must(memchr(s, 0, bytes));
	while (*p) {
		unsigned more = *p < 0x80   ? 0
				: *p < 0xc2 ? 9
				: *p < 0xe0 ? 1
				: *p < 0xf0 ? 2
				: *p < 0xf5 ? 3
					    : 9;

		must(more < 9);
		for (p++; more; more--, p++)
			must((*p & 0xc0) == 0x80);
	}
}

static void told(struct hv_ic_request *r)
{
	struct request *q = r->arg;

	must(q->busy);
	q->busy = false;
	must(r->result <= 0);
	must(r->result == 0 || r->err.text[0]);
	if (r->result == 0 && (r->op == HV_IC_OP_KVP_GET ||
			       r->op == HV_IC_OP_KVP_ENUMERATE))
		check_text(r->value, sizeof(r->value));
	if (r->result == 0 && r->op == HV_IC_OP_KVP_ENUMERATE)
		check_text(r->key, sizeof(r->key));
}

static void submit(struct world *w, struct input *in)
{
	struct request *q = NULL;

	for (unsigned i = 0; i < REQUESTS && !q; i++)
		if (!w->request[i].busy)
			q = &w->request[i];
	if (!q)
		return;
	memset(q, 0, sizeof(*q));
	q->r.op = (enum hv_ic_op)(take(in, 1) % HV_IC_OPS);
	q->r.pool = (enum hv_ic_pool)(take(in, 1) % HV_IC_POOLS);
	q->r.index = (uint32_t)take(in, 1);
	q->r.limit_s = (uint32_t)take(in, 2);
	q->r.force = take(in, 1) & 1;
	for (unsigned i = 0, n = (unsigned)take(in, 1) % 16; i < n; i++) {
		q->r.key[i] = (char)take(in, 1);
		q->r.value[i] = q->r.key[i];
	}
	q->r.done = told;
	q->r.arg = q;
	q->busy = true;
	hv_ic_submit(w->w.ic, &q->r);
}

/* ---------------------------------------------------------------- guest -- */

static void toggle(struct world *w, enum hv_ic_service s)
{
	if (w->w.ch[s])
		icguest_close(&w->w, s);
	else
		icguest_open(&w->w, s);
	w->spoilt[s] = false;
}

static void agree(struct world *w, enum hv_ic_service s, struct input *in)
{
	uint32_t framework = (uint32_t)take(in, 1) << 16;
	uint32_t message = (uint32_t)take(in, 1) << 16;

	message |= (uint32_t)take(in, 1);
	if (w->w.len < ICGUEST_HEADER + 16)
		w->w.len = ICGUEST_HEADER + 16;
	icguest_agree(&w->w, s, framework, message);
}

static void spoil(struct world *w, struct input *in)
{
	size_t at = take(in, 2) % (sizeof(w->w.m) - 16);

	for (unsigned n = (unsigned)take(in, 1) % 16; n; n--)
		w->w.m[at++] = (uint8_t)take(in, 1);
}

static void send_any(struct world *w, enum hv_ic_service s, struct input *in)
{
	uint16_t kind = (uint16_t)take(in, 1);
	uint32_t len = (uint32_t)take(in, 2) % sizeof(w->w.m);
	unsigned how = (unsigned)take(in, 1);
	uint64_t id = w->w.id + how % 3 - 1;

	(void)guest_send(w->w.ch[s], kind, 0, id, w->w.m, len);
	if (how < 128) /* else several before anybody looks */
		icguest_serve(&w->w);
}

static void spoil_ring(struct world *w, enum hv_ic_service s, struct input *in)
{
	uint64_t gpa = take(in, 1) & 1 ? guest_out_ctrl(w->w.ch[s])
				       : guest_in_ctrl(w->w.ch[s]);

	w->spoilt[s] = true;
	set32((uint8_t *)guest_ptr(w->w.g, gpa) + take(in, 1) % 5 * 4,
	      (uint32_t)take(in, 2));
	icguest_serve(&w->w);
}

static void reset(struct world *w)
{
	vmbus_reset(guest_bus(w->w.g));
	for (unsigned s = 0; s < HV_IC_SERVICES; s++) {
		if (w->w.ch[s])
			guest_drop(w->w.ch[s]);
		w->w.ch[s] = NULL;
		w->spoilt[s] = false;
	}
	guest_start(w->w.g);
}

/* With a channel. */
static void act_on(struct world *w, unsigned what, enum hv_ic_service s,
		   struct input *in)
{
	static const uint32_t status[] = {0, 0x80070103, 0x80004005};

	if (w->spoilt[s])
		what = 4;
	switch (what) {
	case 0:
		(void)icguest_hear(&w->w, s);
		break;
	case 1:
		icguest_answer(&w->w, s, status[take(in, 1) % 3]);
		break;
	case 2:
		agree(w, s, in);
		break;
	case 3:
		send_any(w, s, in);
		break;
	case 4:
		spoil_ring(w, s, in);
		break;
	}
}

static void act(struct world *w, struct input *in)
{
	unsigned what = (unsigned)take(in, 1);
	enum hv_ic_service s = (enum hv_ic_service)(what / 16 % HV_IC_SERVICES);

	what %= 16;
	if (what < 5) {
		if (w->w.ch[s])
			act_on(w, what, s, in);
		return;
	}
	switch (what) {
	case 5:
	case 6:
		toggle(w, s);
		break;
	case 7:
	case 8:
		spoil(w, in);
		break;
	case 9:
	case 10:
		submit(w, in);
		break;
	case 11:
	case 12:
		(void)icguest_pass(&w->w, take(in, 3));
		break;
	case 13:
		w->paused = !w->paused;
		hv_ic_paused(w->w.ic, w->paused);
		break;
	case 14:
		w->w.time_at_once = take(in, 1) & 1;
		hv_ic_time(w->w.ic, take(in, 4), take(in, 4));
		break;
	default:
		reset(w);
	}
}

static void judge(struct world *w)
{
	struct hv_ic_info i;

	hv_ic_get_info(w->w.ic, &i);
	must(!i.frozen || i.service[HV_IC_VSS].state == HV_IC_READY ||
	     i.service[HV_IC_VSS].state == HV_IC_UNSUITABLE);
	must(!i.alive || i.heard);
	for (unsigned s = 0; s < HV_IC_SERVICES; s++)
		must(!w->w.ch[s] ==
		     (i.service[s].state == HV_IC_CLOSED));
	/* and one that says that a freeze had to end, at most every freeze */
	must(w->w.lines <=
	     2 + (w->w.now_ms - w->began_ms) / LINE_MS + ACTIONS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = {data, size};

	memset(&w, 0, sizeof(w));
	icguest_create(&w.w);
	w.began_ms = w.w.now_ms;
	for (unsigned n = 0; in.left && n < ACTIONS; n++) {
		act(&w, &in);
		judge(&w);
	}
	hv_ic_end(w.w.ic);
	for (unsigned i = 0; i < REQUESTS; i++)
		must(!w.request[i].busy);
	for (unsigned s = 0; s < HV_IC_SERVICES; s++)
		if (w.w.ch[s])
			icguest_close(&w.w, (enum hv_ic_service)s);
	icguest_destroy(&w.w);
	return 0;
}
