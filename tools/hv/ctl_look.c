/* SPDX-License-Identifier: BSD-2-Clause */
/* What `hv ctl` is told: answers, the list of disks, statistics of one. */
#include <string.h>

#include "ctl_disk_int.h"
#include "tools/cli/json.h"

/* ------------------------------------------------------------- answers --- */

struct json_object *ctl_refusal(const struct vhd_err *err)
{
	int code = cli_exit_code(err);

	/* what was typed made sense, but not with this guest */
	return ctl_refusal_as(err, code == CLI_USAGE ? CLI_REFUSED : code);
}

struct json_object *ctl_refusal_as(const struct vhd_err *err, int code)
{
	struct json_object *o = cli_json_object();

	cli_json_put(o, "ok", cli_json_bool(false));
	cli_json_put(o, "error", cli_json_text(err->text));
	cli_json_put(o, "why", cli_json_string(cli_why_name(err->why)));
	cli_json_put(o, "exit", cli_json_number((uint64_t)code));
	return o;
}

struct json_object *ctl_yes(void)
{
	struct json_object *o = cli_json_object();

	cli_json_put(o, "ok", cli_json_bool(true));
	return o;
}

void ctl_put_number(struct json_object *o, const char *key, uint64_t n)
{
	cli_json_put(o, key, cli_json_number(n));
}

void ctl_put_place(struct json_object *o, unsigned c, unsigned lun)
{
	ctl_put_number(o, "controller", c);
	ctl_put_number(o, "lun", lun);
}

/* -------------------------------------------------------------- looking -- */

void ctl_put_limits(struct json_object *o, const struct storvsp_limits *l)
{
	ctl_put_number(o, "iops", l->iops);
	ctl_put_number(o, "iops-burst", l->iops_burst);
	ctl_put_number(o, "bps", l->bps);
	ctl_put_number(o, "bps-burst", l->bps_burst);
	ctl_put_number(o, "depth", l->depth);
}

const struct storvsp_disk_stats *ctl_look_at(struct ctl_disks *d, unsigned c,
					     unsigned lun)
{
	struct storvsp *vsp = d->controllers->vsp[c];

	memset(&d->seen, 0, sizeof(d->seen)); /* a drive that is emulated only */
	if (vsp)
		(void)storvsp_disk_get_stats(vsp, ctl_place(c, lun), &d->seen);
	return &d->seen;
}

static const char *state_word(const struct ctl_disk *e,
			      const struct storvsp_disk_stats *s)
{
	if (e->state == CTL_LEAVING)
		return "leaving";
	return s->poisoned ? "failed" : s->paused ? "paused" : "ok";
}

static struct json_object *list_one(struct ctl_disks *d, unsigned c, unsigned l)
{
	struct ctl_disk *e = &d->at[c][l];
	const struct vhd_info *info = e->img ? vhd_get_info(e->img) : NULL;
	struct json_object *o = cli_json_object();
	const struct storvsp_disk_stats *s = ctl_look_at(d, c, l);

	ctl_put_place(o, c, l);
	if (hv_is_ide(c))
		ctl_put_number(o, "ide", c - HV_IDE_CONTROLLER);
	cli_json_put(o, "name", cli_json_text(e->name));
	cli_json_put(o, "format",
		     cli_json_string(info ? vhd_format_name(info->format)
					  : "none"));
	ctl_put_number(o, "size", info ? info->size_bytes : 0);
	cli_json_put(o, "read-only", cli_json_bool(e->read_only));
	cli_json_put(o, "dvd", cli_json_bool(e->dvd));
	cli_json_put(o, "state", cli_json_string(state_word(e, s)));
	return o;
}

struct json_object *ctl_list(struct ctl_disks *d)
{
	struct json_object *o = ctl_yes(), *all = cli_json_array();

	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++)
			if (d->at[c][l].state != CTL_ABSENT)
				cli_json_add(all, list_one(d, c, l));
	cli_json_put(o, "disks", all);
	return o;
}

/* Nanoseconds. */
static struct json_object *latency(const struct storvsp_histogram *h)
{
	static const struct {
		const char *name;
		unsigned per_100000;
	} at[] = {{"p50", 50000},   {"p90", 90000},    {"p99", 99000},
		  {"p99.9", 99900}, {"p99.99", 99990}, {"max", 100000}};
	struct json_object *o = cli_json_object();

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		ctl_put_number(o, at[i].name,
			   storvsp_histogram_ns(h, at[i].per_100000));
	return o;
}

static void put_kinds(struct json_object *o, const struct storvsp_disk_stats *s)
{
	for (unsigned k = 0; k < STORVSP_KINDS; k++) {
		struct json_object *one = cli_json_object();

		ctl_put_number(one, "count", s->kind[k].count);
		ctl_put_number(one, "errors", s->kind[k].errors);
		ctl_put_number(one, "bytes", s->kind[k].bytes);
		cli_json_put(one, "latency-ns", latency(&s->kind[k].latency));
		cli_json_put(o, storvsp_kind_name((enum storvsp_kind)k), one);
	}
}

static void put_counts(struct json_object *o,
		       const struct storvsp_disk_stats *s)
{
	ctl_put_number(o, "aborted", s->aborted);
	ctl_put_number(o, "in-flight", s->in_flight);
	ctl_put_number(o, "in-flight-max", s->in_flight_max);
	ctl_put_number(o, "waiting", s->waiting);
	ctl_put_number(o, "waiting-max", s->waiting_max);
	ctl_put_number(o, "queue-full", s->full);
	ctl_put_number(o, "throttled", s->throttled);
	ctl_put_number(o, "throttled-ns", s->throttled_ns);
	ctl_put_number(o, "stalls", s->stalls);
	ctl_put_number(o, "stalled", s->stalled);
	ctl_put_number(o, "pauses", s->pauses);
	ctl_put_number(o, "held", s->held);
}

struct json_object *ctl_stats(struct ctl_disks *d, const struct ctl_request *r)
{
	const struct storvsp_disk_stats *s =
		ctl_look_at(d, r->controller, r->lun);
	struct json_object *o = ctl_yes();

	ctl_put_place(o, r->controller, r->lun);
	cli_json_put(o, "state",
		     cli_json_string(state_word(ctl_disk_at(d, r), s)));
	cli_json_put(o, "on-error",
		     cli_json_string(hv_on_error_name(s->on_error)));
	ctl_put_limits(o, &s->limits);
	put_counts(o, s);
	put_kinds(o, s);
	return o;
}
