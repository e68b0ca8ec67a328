/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes on beside the guest's own doing: what the control thread looks
 * after, what others ask of it, integration services, and processors that stand
 * still. A part of struct hv; private to hv/.
 *
 * Threads: the control thread's, but for what a lock is named beside.
 */
#ifndef HV_LIFE_H
#define HV_LIFE_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "hv.h"
#include "ic.h"

#define HV_SOURCES_MAX 16
#define HV_ASKS_MAX    32 /* not answered yet */

struct hv_vcpu;

/* Something that the control thread serves when a descriptor is readable or a
 * moment has come. Serving is bounded: the others wait meanwhile.
 */
struct hv_source {
	int fd;		/* -1: none */
	int64_t due_ms; /* CLOCK_MONOTONIC; -1: never */
	void (*serve)(struct hv_source *s);
	void *arg;
};

/* What a processor looks at before it enters the guest. */
#define HV_ATTEND_STAND 1u
#define HV_ATTEND_TIME	2u /* the first one */

struct hv_life {
	struct hv_source *source[HV_SOURCES_MAX];
	unsigned source_count;
	int64_t began_ms;

	/* service.c */
	struct hv_ic *ic;
	struct hv_source service[HV_IC_SERVICES], timer;

	/* rouse.c */
	struct hv_source rouse;
	uint32_t rouse_next;

	/* ask.c; `lock` guards the first three */
	pthread_mutex_t lock;
	struct hv_ask *asked;
	unsigned open;
	bool closed;
	struct hv_ask *pausing, *input;
	struct hv_ask *serving; /* being submitted, and not answered yet */

	/* console.c */
	struct hv_outlet *console; /* takes the board's output; or NULL */
	uint64_t told_lost;	   /* bytes */

	/* stand.c; `stand_lock` guards what follows, but for the first */
	_Atomic uint32_t attend; /* HV_ATTEND_*; written under the lock */
	pthread_mutex_t stand_lock;
	pthread_cond_t go;
	uint32_t standing;
	bool sampled;
	uint64_t utc_100ns, ref_100ns;
	/* control thread */
	bool paused;
	bool held; /* the guest's time, at these values */
	uint64_t tsc[HV_CPUS_MAX];
	struct kvm_clock_data clock;
};

/* partition.c calls these. */
void hv_life_init(struct hv *hv);
void hv_life_fini(struct hv *hv); /* bus is gone */

/* notice.c; before hv_run or by the control thread. -ENOSPC. */
int hv_source_add(struct hv *hv, struct hv_source *s);

/* service.c: offer them; once, before any processor runs. */
int hv_services_create(struct hv *hv, struct vhd_err *err);
/* After any call into hv/ic.h: when it wants to be looked at next. */
void hv_services_plan(struct hv *hv);

/* rouse.c: whether processors sleep through interrupts here; once, before any
 * runs, to have them roused where they do (-ENOSPC); and a processor, before it
 * enters the guest.
 */
bool hv_rouse_needed(void);
int hv_rouse_create(struct hv *hv);
void hv_vcpu_rouse(struct hv_vcpu *v);

/* ask.c: carry out what was asked; then, and when the run ends, refuse the
 * rest.
 */
void hv_asks_serve(struct hv *hv);
void hv_asks_end(struct hv *hv);
/* No processor stands still any more, or is to. */
void hv_life_go_on(struct hv *hv);

/* stand.c: a processor, before it enters the guest. */
void hv_vcpu_attend(struct hv_vcpu *v);
/* One that waits for the console; `hv`. Only standing still is looked at. */
void hv_stand_here(void *hv);
/* The control thread: let all stand; whether all do; go on. */
void hv_stand(struct hv *hv);
bool hv_all_stand(struct hv *hv);
void hv_go_on(struct hv *hv);
/* While all stand: keep the guest's time, and give it back to it. */
void hv_time_hold(struct hv *hv);
void hv_time_release(struct hv *hv);
/* The first processor takes a sample of the time, and wakes the control
 * thread, which takes it: false while there is none.
 */
void hv_time_want(struct hv *hv);
bool hv_time_take(struct hv *hv, uint64_t *utc_100ns, uint64_t *ref_100ns);

#endif
