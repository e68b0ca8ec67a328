/* SPDX-License-Identifier: BSD-2-Clause */
/* The partition's side of the bus over plain memory: message slots, event
 * flags, and when the guest must be left alone. The virtual machine is
 * replaced by an eventfd a processor.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "hv/part.h"
#include "tests/lib/rounds.h"

#define VPS 2
#define SIMP 0x1000ull
#define SIEFP 0x3000ull
#define SLOT(vp) (SIMP + 0x1000u * (vp) + 0x200)
#define FLAGS(vp) (SIEFP + 0x1000u * (vp) + 0x200)

static uint8_t memory[8 * 4096] __attribute__((aligned(4096)));

static int set_up(void **state)
{
	struct hv *hv = calloc(1, sizeof(*hv) + VPS * sizeof(hv->vcpu[0]));
	struct vmbus_opts o = {.ops = &hv_synic_ops, .host = hv};

	assert_non_null(hv);
	memset(memory, 0, sizeof(memory));
	hv->opts.cpus = VPS;
	hv->vm_fd = -1;
	assert_int_equal(hv_mem_create(&hv->mem), 0);
	assert_int_equal(hv_mem_add(hv->mem, 0, sizeof(memory), memory), 0);
	o.mem = hv->mem;
	assert_int_equal(vmbus_create(&o, &hv->bus, NULL), 0);
	for (uint32_t i = 0; i < VPS; i++) {
		hv->vcpu[i].hv = hv;
		hv->vcpu[i].index = i;
		hv->vcpu[i].sint_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(hv->vcpu[i].sint_fd >= 0);
		hv_synic_init(&hv->vcpu[i].synic);
	}
	*state = hv;
	return 0;
}

static int tear_down(void **state)
{
	struct hv *hv = *state;

	vmbus_destroy(hv->bus);
	for (uint32_t i = 0; i < VPS; i++) {
		hv_synic_fini(&hv->vcpu[i].synic);
		close(hv->vcpu[i].sint_fd);
	}
	hv_mem_destroy(hv->mem);
	free(hv);
	return 0;
}

/* As Linux leaves it once a processor is up. */
static void enable(struct hv *hv, uint32_t vp)
{
	hv_synic_update(&hv->vcpu[vp], 1, (SIMP + 0x1000 * vp) | 1,
			(SIEFP + 0x1000 * vp) | 1);
}

/* How often the SINT was raised since the last look. */
static uint64_t raised(struct hv *hv, uint32_t vp)
{
	uint64_t n = 0;

	return read(hv->vcpu[vp].sint_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int post(struct hv *hv, uint32_t vp, const char *text)
{
	return hv_synic_ops.post(hv, vp, VMBUS_SINT, text, strlen(text));
}

static void put_signal(struct hv *hv, uint32_t vp, uint16_t flag)
{
	hv_synic_ops.signal(hv, vp, VMBUS_SINT, flag);
}

static void a_message_fills_its_slot_and_raises_the_sint(void **state)
{
	struct hv *hv = *state;
	const uint8_t *slot = memory + SLOT(1);

	enable(hv, 1);
	memset(memory + SLOT(1) + 4, 0xee, 252);
	assert_int_equal(post(hv, 1, "hello"), 0);
	assert_memory_equal(slot, "\1\0\0\0", 4); /* a channel message */
	assert_int_equal(slot[4], 5);
	assert_int_equal(slot[5], 0); /* nothing behind it */
	assert_memory_equal(slot + 8, "\0\0\0\0\0\0\0\0", 8);
	assert_memory_equal(slot + 16, "hello", 5);
	assert_int_equal(raised(hv, 1), 1);
	assert_int_equal(raised(hv, 0), 0);
	assert_int_equal(slot[21], 0xee); /* not a byte more */
}

static void a_full_slot_is_left_alone_and_marked(void **state)
{
	struct hv *hv = *state;
	uint8_t *slot = memory + SLOT(0);

	enable(hv, 0);
	assert_int_equal(post(hv, 0, "first"), 0);
	assert_false(hv->ack_wanted);
	assert_int_equal(post(hv, 0, "second"), -EAGAIN);
	assert_true(hv->ack_wanted);
	assert_memory_equal(slot + 16, "first", 5);
	assert_int_equal(slot[5], 1); /* the guest shall write EOM */
	assert_int_equal(raised(hv, 0), 1);
	slot[0] = 0; /* the guest took it */
	assert_int_equal(post(hv, 0, "second"), 0);
	assert_memory_equal(slot + 16, "second", 6);
	assert_int_equal(slot[5], 0);
	assert_int_equal(raised(hv, 0), 1);
}

/* What the guest does between the host's mark and its second look. */
static uint8_t *emptied;

int __real_hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		       uint32_t *old);
int __wrap_hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		       uint32_t *old);

int __wrap_hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		       uint32_t *old)
{
	if (emptied)
		*emptied = 0;
	return __real_hv_gpa_or32(mem, gpa, bits, old);
}

/* It took the message just before the mark, so it will write no EOM for it. */
static void a_slot_emptied_just_before_the_mark_is_used_at_once(void **state)
{
	struct hv *hv = *state;
	uint8_t *slot = memory + SLOT(0);

	enable(hv, 0);
	assert_int_equal(post(hv, 0, "first"), 0);
	emptied = slot;
	assert_int_equal(post(hv, 0, "second"), 0);
	emptied = NULL;
	assert_memory_equal(slot + 16, "second", 6);
	assert_false(hv->ack_wanted);
}

static void nothing_is_sent_before_all_is_enabled(void **state)
{
	struct hv *hv = *state;
	static const struct {
		uint64_t control, simp, siefp;
	} off[] = {
		{0, 0, 0},
		{0, SIMP | 1, SIEFP | 1},
		{1, SIMP, SIEFP},
	};

	for (unsigned i = 0; i < 3; i++) {
		hv_synic_update(&hv->vcpu[0], off[i].control, off[i].simp,
				off[i].siefp);
		assert_int_equal(post(hv, 0, "x"), -ENXIO);
		put_signal(hv, 0, 7);
		assert_int_equal(raised(hv, 0), 0);
	}
	for (size_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0);
}

static void a_page_taken_back_is_not_touched_again(void **state)
{
	struct hv *hv = *state;

	enable(hv, 0);
	assert_int_equal(post(hv, 0, "x"), 0);
	hv_synic_update(&hv->vcpu[0], 0, 0, 0);
	memset(memory, 0, sizeof(memory));
	(void)raised(hv, 0);
	assert_int_equal(post(hv, 0, "y"), -ENXIO);
	put_signal(hv, 0, 1);
	for (size_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0);
	assert_int_equal(raised(hv, 0), 0);
}

static void a_page_outside_memory_hurts_nobody(void **state)
{
	struct hv *hv = *state;
	static const uint64_t bad[] = {sizeof(memory), 0xfffff000,
				       ~0xfffull, 1ull << 52};

	for (unsigned i = 0; i < 4; i++) {
		hv_synic_update(&hv->vcpu[0], ~0ull, bad[i] | 0xfff,
				bad[i] | 0xfff);
		assert_int_equal(post(hv, 0, "x"), -ENXIO);
		put_signal(hv, 0, 2047);
		assert_int_equal(raised(hv, 0), 0);
	}
}

static void a_flag_raises_only_when_it_was_clear(void **state)
{
	struct hv *hv = *state;

	enable(hv, 0);
	put_signal(hv, 0, 1);
	put_signal(hv, 0, 1);
	assert_int_equal(raised(hv, 0), 1);
	assert_int_equal(memory[FLAGS(0)], 1u << 1);
	memory[FLAGS(0)] = 0;
	put_signal(hv, 0, 1);
	assert_int_equal(raised(hv, 0), 1);
}

static void every_flag_has_its_own_bit(void **state)
{
	struct hv *hv = *state;

	enable(hv, 0);
	for (unsigned flag = 0; flag < 2048; flag++) {
		put_signal(hv, 0, (uint16_t)flag);
		for (unsigned i = 0; i < 256; i++) {
			assert_int_equal(memory[FLAGS(0) + i],
					 i == flag / 8 ? 1u << flag % 8 : 0);
			memory[FLAGS(0) + i] = 0;
		}
	}
	assert_int_equal(raised(hv, 0), 2048);
	put_signal(hv, 0, 2048); /* one too many */
	put_signal(hv, 0, 0xffff);
	assert_int_equal(raised(hv, 0), 0);
	for (size_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0);
}

static void strangers_are_refused(void **state)
{
	struct hv *hv = *state;
	uint8_t big[VMBUS_MESSAGE_BYTES_MAX + 1] = {0};

	enable(hv, 0);
	enable(hv, 1);
	assert_int_equal(post(hv, VPS, "x"), -ENXIO);
	assert_int_equal(post(hv, UINT32_MAX, "x"), -ENXIO);
	assert_int_equal(hv_synic_ops.post(hv, 0, 3, "x", 1), -ENXIO);
	assert_int_equal(hv_synic_ops.post(hv, 0, VMBUS_SINT, big,
					   sizeof(big)),
			 -ENXIO);
	assert_int_equal(hv_synic_ops.post(hv, 0, VMBUS_SINT, big,
					   sizeof(big) - 1),
			 0);
	put_signal(hv, VPS, 1);
	hv_synic_ops.signal(hv, 0, 3, 1);
	assert_int_equal(hv_synic_ops.bind(hv, 0x01000000, 0), -EINVAL);
	assert_int_equal(hv_synic_ops.vp_count(hv), VPS);
	assert_int_equal(raised(hv, 1), 0);
}

/* A guest that takes messages as Linux does: copy, empty, and look whether an
 * end-of-message is wanted. None may be lost, doubled or torn.
 */
#define MESSAGES 20000u

struct guest {
	struct hv *hv;
	_Atomic bool eom; /* it wrote EOM */
	_Atomic uint32_t messages; /* to come, from the first one */
	unsigned bad;
};

static void *take_messages(void *arg)
{
	struct guest *g = arg;
	uint32_t *type = (uint32_t *)(void *)(memory + SLOT(0));
	const uint32_t *payload = (uint32_t *)(void *)(memory + SLOT(0) + 16);
	const uint8_t *flags = memory + SLOT(0) + 5;
	unsigned spins = 0;

	for (uint32_t want = 0; want < g->messages; want++) {
		while (__atomic_load_n(type, __ATOMIC_ACQUIRE) == 0)
			rounds_spin(&spins);
		g->bad += __atomic_load_n(payload, __ATOMIC_RELAXED) != want;
		__atomic_store_n(type, 0, __ATOMIC_SEQ_CST);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & 1)
			g->eom = true;
	}
	return NULL;
}

static void no_message_is_lost_between_full_slot_and_eom(void **state)
{
	struct hv *hv = *state;
	struct guest g = {.hv = hv, .messages = MESSAGES};
	uint64_t end = rounds_end_ns();
	unsigned spins = 0;
	pthread_t t;

	enable(hv, 0);
	assert_int_equal(pthread_create(&t, NULL, take_messages, &g), 0);
	for (uint32_t n = 0; n < g.messages; n++) {
		if (rounds_over(end))
			g.messages = n + 1; /* known before it comes */
		while (hv_synic_ops.post(hv, 0, VMBUS_SINT, &n, sizeof(n)) ==
		       -EAGAIN) {
			/* Without an EOM now, none would ever come. */
			while (!g.eom)
				rounds_spin(&spins);
			g.eom = false;
		}
	}
	pthread_join(t, NULL);
	print_message("%u messages\n", g.messages);
	assert_int_equal(g.bad, 0);
}

/* A processor that goes in and out. While it is inside (where KVM's timers use
 * the slot), the slot must not change under it.
 */
static void *go_in_and_out(void *arg)
{
	struct guest *g = arg;
	struct hv_synic *s = &g->hv->vcpu[0].synic;
	uint32_t *type = (uint32_t *)(void *)(memory + SLOT(0));
	uint64_t end = rounds_end_ns();
	unsigned taken = 0, spins = 0;

	while (taken < MESSAGES / 10 && !(taken && rounds_over(end))) {
		uint32_t before, after;

		hv_synic_enter(s);
		before = __atomic_load_n(type, __ATOMIC_ACQUIRE);
		for (int i = 0; i < 100; i++)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		after = __atomic_load_n(type, __ATOMIC_ACQUIRE);
		hv_synic_leave(s);
		g->bad += before != after;
		if (after != 0) {
			taken++;
			__atomic_store_n(type, 0, __ATOMIC_SEQ_CST);
		} else {
			rounds_spin(&spins);
		}
	}
	g->eom = true; /* done */
	return NULL;
}

static void a_slot_does_not_change_while_its_processor_is_inside(void **state)
{
	struct hv *hv = *state;
	struct guest g = {.hv = hv};
	unsigned spins = 0;
	pthread_t t;

	enable(hv, 0);
	assert_int_equal(pthread_create(&t, NULL, go_in_and_out, &g), 0);
	while (!g.eom)
		if (post(hv, 0, "x") == -EAGAIN)
			rounds_spin(&spins);
	pthread_join(t, NULL);
	assert_int_equal(g.bad, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_message_fills_its_slot_and_raises_the_sint),
		T(a_full_slot_is_left_alone_and_marked),
		T(a_slot_emptied_just_before_the_mark_is_used_at_once),
		T(nothing_is_sent_before_all_is_enabled),
		T(a_page_taken_back_is_not_touched_again),
		T(a_page_outside_memory_hurts_nobody),
		T(a_flag_raises_only_when_it_was_clear),
		T(every_flag_has_its_own_bit),
		T(strangers_are_refused),
		T(no_message_is_lost_between_full_slot_and_eom),
		T(a_slot_does_not_change_while_its_processor_is_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
