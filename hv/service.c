/* SPDX-License-Identifier: BSD-2-Clause */
/* The integration services in their partition: when they are served, and where
 * their clocks come from.
 */
#include <string.h>

#include "part.h"

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return (uint64_t)hv_now_ms();
}

static void sample(void *arg)
{
	hv_time_want(arg);
}

static void say(void *arg, const char *line)
{
	hv_say(arg, "%s", line);
}

static void serve_service(struct hv_source *s)
{
	struct hv *hv = s->arg;

	hv_ic_serve(hv->life.ic, (enum hv_ic_service)(s - hv->life.service));
	hv_services_plan(hv);
}

static void serve_timer(struct hv_source *s)
{
	hv_services_plan(s->arg);
}

void hv_services_plan(struct hv *hv)
{
	int ms = hv_ic_tick(hv->life.ic);

	hv->life.timer.due_ms = ms < 0 ? -1 : hv_now_ms() + ms;
}

int hv_services_create(struct hv *hv, struct vhd_err *err)
{
	struct hv_life *l = &hv->life;
	struct hv_ic_opts o = {
		.bus = hv->bus,
		.now_ms = now_ms,
		.sample = sample,
		.log = say,
		.arg = hv,
	};
	int rc = hv_ic_create(&o, &l->ic, err);

	l->timer = (struct hv_source){-1, -1, serve_timer, hv};
	if (rc == 0)
		rc = hv_source_add(hv, &l->timer);
	for (unsigned i = 0; i < HV_IC_SERVICES && rc == 0; i++) {
		l->service[i] = (struct hv_source){
			hv_ic_fd(l->ic, (enum hv_ic_service)i), -1,
			serve_service, hv};
		rc = hv_source_add(hv, &l->service[i]);
	}
	return rc;
}
