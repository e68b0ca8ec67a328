/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of a partition tell each other across threads (look around, it
 * is over, leave the guest, look after this), and the person in front of it.
 */
#include "part.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void hv_wake(struct hv *hv)
{
	uint64_t one = 1;

	while (write(hv->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void hv_end_set(struct hv *hv, enum hv_end end, uint32_t vcpu)
{
	uint32_t none = HV_END_NONE;

	if (atomic_compare_exchange_strong(&hv->end, &none,
					   (uint32_t)end | vcpu << 8))
		hv_wake(hv);
}

void hv_stop(struct hv *hv)
{
	int saved = errno;

	atomic_store(&hv->stop, true);
	hv_end_set(hv, HV_END_STOPPED, 0);
	errno = saved;
}

void hv_say(struct hv *hv, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!hv->opts.log)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	hv->opts.log(hv->opts.log_arg, line);
}

void hv_vcpu_kick(struct hv_vcpu *v)
{
	if (v->started)
		(void)pthread_kill(v->thread, HV_KICK_SIGNAL);
}

int hv_source_add(struct hv *hv, struct hv_source *s)
{
	struct hv_life *l = &hv->life;

	if (l->source_count == HV_SOURCES_MAX)
		return -ENOSPC;
	l->source[l->source_count++] = s;
	return 0;
}
