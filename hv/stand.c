/* SPDX-License-Identifier: BSD-2-Clause */
/* What processors do for the control thread between two runs in the guest:
 * stand still, and read the partition's clock, which KVM tells nobody else
 * while the processor runs.
 *
 * A processor is asked by a bit in `attend` and a kick; it looks at the bits
 * after each exit, so a kick that comes at any moment is enough. One that waits
 * for the console in the middle of an exit stands right there.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <time.h>

#include "part.h"

#define MSR_TIME_REF_COUNT 0x40000020u
#define MSR_TSC		   0x10u
#define UNIX_EPOCH_100NS   116444736000000000ull /* since 1601 */

struct one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};

static uint64_t utc_100ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return UNIX_EPOCH_100NS + (uint64_t)t.tv_sec * 10000000u +
	       (uint64_t)t.tv_nsec / 100;
}

/* The moment is the middle between two looks at the host's clock. */
static bool sample(struct hv_vcpu *v, uint64_t *utc, uint64_t *ref)
{
	struct one_msr m = {.nmsrs = 1, .entry.index = MSR_TIME_REF_COUNT};
	uint64_t before = utc_100ns(), after;

	if (ioctl(v->fd, KVM_GET_MSRS, &m) != 1)
		return false;
	after = utc_100ns();
	*utc = after > before ? before + (after - before) / 2 : after;
	*ref = m.entry.data;
	return true;
}

static void tell_time(struct hv_vcpu *v)
{
	struct hv_life *l = &v->hv->life;
	uint64_t utc = 0, ref = 0;
	bool ok = sample(v, &utc, &ref);

	pthread_mutex_lock(&l->stand_lock);
	atomic_fetch_and(&l->attend, ~HV_ATTEND_TIME);
	l->sampled = ok;
	l->utc_100ns = utc;
	l->ref_100ns = ref;
	pthread_mutex_unlock(&l->stand_lock);
	hv_wake(v->hv);
}

static void stand(struct hv_life *l, struct hv *hv)
{
	pthread_mutex_lock(&l->stand_lock);
	if (++l->standing == hv->opts.cpus)
		hv_wake(hv);
	while (atomic_load(&l->attend) & HV_ATTEND_STAND)
		pthread_cond_wait(&l->go, &l->stand_lock);
	l->standing--;
	pthread_mutex_unlock(&l->stand_lock);
}

void hv_vcpu_attend(struct hv_vcpu *v)
{
	struct hv_life *l = &v->hv->life;
	uint32_t bits = atomic_load_explicit(&l->attend, memory_order_acquire);

	if (bits & HV_ATTEND_TIME && v->index == 0)
		tell_time(v);
	if (bits & HV_ATTEND_STAND)
		stand(l, v->hv);
}

void hv_stand_here(void *arg)
{
	struct hv *hv = arg;

	if (atomic_load_explicit(&hv->life.attend, memory_order_acquire) &
	    HV_ATTEND_STAND)
		stand(&hv->life, hv);
}

/* ---------------------------------------------------- time stands still -- */

/* No processor runs: KVM's answers are those of one moment, and what is set
 * holds from the next instruction on. A guest whose time went on would find its
 * processors stuck, and timers of all sorts due at once.
 */
void hv_time_hold(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	bool ok = ioctl(hv->vm_fd, KVM_GET_CLOCK, &l->clock) == 0;

	for (uint32_t i = 0; i < hv->opts.cpus && ok; i++) {
		struct one_msr m = {.nmsrs = 1, .entry.index = MSR_TSC};

		ok = ioctl(hv->vcpu[i].fd, KVM_GET_MSRS, &m) == 1;
		l->tsc[i] = m.entry.data;
	}
	l->held = ok;
}

/* The TSCs before KVM's clock, from which KVM makes the guest's page of
 * reference time anew. KVM takes TSCs that are set to about the same for
 * synchronous ones.
 */
void hv_time_release(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	struct kvm_clock_data clock = {.clock = l->clock.clock};
	bool ok = l->held;

	for (uint32_t i = 0; i < hv->opts.cpus && ok; i++) {
		struct one_msr m = {.nmsrs = 1,
				    .entry = {.index = MSR_TSC,
					      .data = l->tsc[i]}};

		ok = ioctl(hv->vcpu[i].fd, KVM_SET_MSRS, &m) == 1;
	}
	if (ok)
		ok = ioctl(hv->vm_fd, KVM_SET_CLOCK, &clock) == 0;
	if (!ok)
		hv_say(hv, "KVM did not let the guest's time stand still");
	l->held = false;
}

/* ----------------------------------------------------- control thread ---- */

static void attend(struct hv *hv, uint32_t bits)
{
	struct hv_life *l = &hv->life;

	pthread_mutex_lock(&l->stand_lock);
	atomic_fetch_or(&l->attend, bits);
	pthread_mutex_unlock(&l->stand_lock);
}

void hv_stand(struct hv *hv)
{
	attend(hv, HV_ATTEND_STAND);
	hv_board_stir(hv->board);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_kick(&hv->vcpu[i]);
}

bool hv_all_stand(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	bool all;

	pthread_mutex_lock(&l->stand_lock);
	all = atomic_load(&l->attend) & HV_ATTEND_STAND &&
	      l->standing == hv->opts.cpus;
	pthread_mutex_unlock(&l->stand_lock);
	return all;
}

void hv_go_on(struct hv *hv)
{
	struct hv_life *l = &hv->life;

	pthread_mutex_lock(&l->stand_lock);
	atomic_fetch_and(&l->attend, ~HV_ATTEND_STAND);
	pthread_cond_broadcast(&l->go);
	pthread_mutex_unlock(&l->stand_lock);
}

void hv_time_want(struct hv *hv)
{
	attend(hv, HV_ATTEND_TIME);
	hv_vcpu_kick(&hv->vcpu[0]);
}

bool hv_time_take(struct hv *hv, uint64_t *utc, uint64_t *ref)
{
	struct hv_life *l = &hv->life;
	bool had;

	pthread_mutex_lock(&l->stand_lock);
	had = l->sampled;
	l->sampled = false;
	*utc = l->utc_100ns;
	*ref = l->ref_100ns;
	pthread_mutex_unlock(&l->stand_lock);
	return had;
}
