/* SPDX-License-Identifier: BSD-2-Clause */
/* A bit a kind, the lowest first. The release in raise() pairs with the
 * acquire in take(): who hears of a new capacity reads the new capacity.
 */
#include <assert.h>

#include "attention.h"

static_assert(SCSI_UA_LAST - SCSI_UA_FIRST < 32, "a bit each");

void scsi_attention_raise(struct storvsp_switches *s, enum scsi_verdict kind)
{
	assert(kind >= SCSI_UA_FIRST && kind <= SCSI_UA_LAST);
	atomic_fetch_or_explicit(&s->attentions, 1u << (kind - SCSI_UA_FIRST),
				 memory_order_release);
}

enum scsi_verdict scsi_attention_take(struct storvsp_switches *s)
{
	uint32_t old =
		atomic_load_explicit(&s->attentions, memory_order_relaxed);
	uint32_t lowest;

	do {
		if (!old)
			return SCSI_GOOD;
		lowest = old & -old;
	} while (!atomic_compare_exchange_weak_explicit(
		&s->attentions, &old, old & ~lowest, memory_order_acquire,
		memory_order_relaxed));
	return (enum scsi_verdict)(SCSI_UA_FIRST + __builtin_ctz(lowest));
}

void scsi_attention_clear(struct storvsp_switches *s)
{
	atomic_store_explicit(&s->attentions, 0, memory_order_relaxed);
}
