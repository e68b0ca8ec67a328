/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID: what of KVM's leaves a guest sees, and what of Hyper-V's. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/cpuid.h"
#include "hv/irq.h"

/* What Linux 6.1's KVM reports (leaves 3 and 4), and more bits than we know. */
static void kvm_hyperv(struct hv_cpuid *c)
{
	memset(c, 0, sizeof(*c));
	c->nent = 3;
	c->entries[0] = (struct kvm_cpuid_entry2){
		.function = 0x40000000, .eax = 0x40000082, .ebx = 0x756e694c};
	c->entries[1] = (struct kvm_cpuid_entry2){.function = 0x40000003,
						  .eax = 0xffffffff,
						  .ebx = 0xffffffff,
						  .ecx = 0xffffffff,
						  .edx = 0xffffffff};
	c->entries[2] = (struct kvm_cpuid_entry2){
		.function = 0x40000004, .eax = 0xffffffff, .ebx = 0xfff};
}

static void kvm_host(struct hv_cpuid *c)
{
	static const struct kvm_cpuid_entry2 e[] = {
		{.function = 0, .eax = 0x1f},
		{.function = 1, .ebx = 0x12345678, .ecx = 1u << 5,
		 .edx = 1u << 28},
		{.function = 4, .index = 0, .eax = 0xffffc121},
		{.function = 4, .index = 1, .eax = 0},
		{.function = 0xb, .index = 0, .edx = 99},
		{.function = 0x1f, .index = 0, .edx = 99},
		{.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b},
		{.function = 0x40000100, .eax = 0x40000101, .ebx = 0x4b4d564b},
		{.function = 0x80000001, .ecx = 1u << 2 | 1u << 1},
		{.function = 0x80000008, .eax = 0x3028, .ecx = 0x7777},
		{.function = 0x8000000a, .eax = 1},
		{.function = 0x8000001e, .eax = 7, .ebx = 7, .ecx = 7},
	};

	memset(c, 0, sizeof(*c));
	memcpy(c->entries, e, sizeof(e));
	c->nent = sizeof(e) / sizeof(e[0]);
}

static struct hv_cpuid host, hyperv, out;

static void build(uint32_t vp, uint32_t cpus)
{
	kvm_host(&host);
	kvm_hyperv(&hyperv);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, vp, cpus, &out, NULL),
			 0);
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < out.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &out.entries[i];

		if (e->function != function || e->index != index)
			continue;
		assert_null(found); /* no leaf twice */
		found = e;
	}
	return found;
}

static void a_guest_sees_hyper_v_and_not_kvm(void **state)
{
	(void)state;
	const struct kvm_cpuid_entry2 *e;

	build(0, 1);
	assert_null(leaf(0x40000100, 0));
	e = leaf(0x40000000, 0);
	assert_int_equal(e->eax, 0x40000005);
	assert_memory_equal(&e->ebx, "Micr", 4);
	assert_memory_equal(&e->ecx, "osof", 4);
	assert_memory_equal(&e->edx, "t Hv", 4);
	assert_memory_equal(&leaf(0x40000001, 0)->eax, "Hv#1", 4);
	assert_int_equal(leaf(1, 0)->ecx >> 31, 1);
}

static void privileges_are_those_that_are_stood_behind(void **state)
{
	(void)state;
	const struct kvm_cpuid_entry2 *e;

	build(0, 1);
	e = leaf(0x40000003, 0);
	assert_int_equal(e->eax, 0xaff);
	assert_int_equal(e->ebx, 0x30);
	assert_int_equal(e->ecx, 0);
	assert_int_equal(e->edx, 0x80510);
	/* Each of these bits breaks a Linux guest. */
	assert_int_equal(e->ebx & (1u << 1 | 1u << 12 | 1u << 20 | 1u << 22),
			 0);
}

static void a_privilege_that_kvm_lacks_is_not_promised(void **state)
{
	(void)state;

	kvm_host(&host);
	kvm_hyperv(&hyperv);
	hyperv.entries[1].eax = 1u << 1 | 1u << 2 | 1u << 5 | 1u << 6;
	hyperv.entries[1].ebx = 0;
	hyperv.entries[1].edx = 0;
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(leaf(0x40000003, 0)->eax, 0x66);
	assert_int_equal(leaf(0x40000003, 0)->edx, 0);
}

static void each_required_privilege_is_insisted_on(void **state)
{
	(void)state;
	static const unsigned required[] = {1, 2, 5, 6};
	struct vhd_err err;

	for (unsigned i = 0; i < 4; i++) {
		kvm_host(&host);
		kvm_hyperv(&hyperv);
		hyperv.entries[1].eax &= ~(1u << required[i]);
		assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out,
						&err),
				 -ENOTSUP);
		assert_int_equal(err.why, VHD_WHY_UNSUPPORTED);
	}
	hyperv.nent = 0;
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, &err),
			 -ENOTSUP);
}

static void timers_without_direct_mode_are_withheld(void **state)
{
	(void)state;

	kvm_host(&host);
	kvm_hyperv(&hyperv);
	hyperv.entries[1].edx &= ~(1u << 19);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(leaf(0x40000003, 0)->eax & 1u << 3, 0);
}

static void the_timer_that_costs_fewer_exits_is_offered(void **state)
{
	(void)state;

	kvm_host(&host);
	kvm_hyperv(&hyperv);
	hv_cpuid_tsc_deadline(&host);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(leaf(1, 0)->ecx >> 24 & 1, 1);
	assert_int_equal(leaf(0x40000003, 0)->eax & 1u << 3, 0);
	/* where an EOI is no exit, both cost the same: Hyper-V's own then */
	hv_cpuid_hardware_apic(&hyperv);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(leaf(0x40000003, 0)->eax >> 3 & 1, 1);
}

/* One that the processor answers costs nothing, and the other an exit. */
static void a_processor_that_takes_eois_is_left_to_do_it(void **state)
{
	(void)state;

	kvm_host(&host);
	kvm_hyperv(&hyperv);
	hv_cpuid_hardware_apic(&hyperv);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(leaf(0x40000004, 0)->eax, 0x220);
}

static void hints_for_others_need_another(void **state)
{
	(void)state;

	build(0, 1);
	assert_int_equal(leaf(0x40000004, 0)->eax, 0x28);
	assert_int_equal(leaf(0x40000004, 0)->ebx, 0xffffffff);
	build(1, 2);
	assert_int_equal(leaf(0x40000004, 0)->eax, 0xc2c);
	assert_int_equal(leaf(0x40000005, 0)->eax, 2);
}

static void there_is_no_virtualization_inside(void **state)
{
	(void)state;

	build(0, 1);
	assert_int_equal(leaf(1, 0)->ecx & 1u << 5, 0);
	assert_int_equal(leaf(0x80000001, 0)->ecx & 1u << 2, 0);
	assert_null(leaf(0x8000000a, 0));
}

static void processors_are_cores_of_one_socket(void **state)
{
	(void)state;

	build(2, 3);
	assert_int_equal(leaf(1, 0)->ebx, 2u << 24 | 3u << 16 | 0x5678);
	assert_int_equal(leaf(1, 0)->edx >> 28 & 1, 1);
	assert_int_equal(leaf(4, 0)->eax, 3u << 26 | 0x121);
	assert_int_equal(leaf(4, 1)->eax, 0); /* the end of the list */
	assert_int_equal(leaf(0xb, 0)->eax, 0);
	assert_int_equal(leaf(0xb, 0)->ebx, 1);
	assert_int_equal(leaf(0xb, 0)->ecx, 0x100);
	assert_int_equal(leaf(0xb, 1)->eax, 2);
	assert_int_equal(leaf(0xb, 1)->ebx, 3);
	assert_int_equal(leaf(0xb, 1)->ecx, 0x201);
	assert_int_equal(leaf(0xb, 1)->edx, 2);
	assert_null(leaf(0x1f, 0));
	assert_int_equal(leaf(0x80000001, 0)->ecx & 2, 2);
	assert_int_equal(leaf(0x80000008, 0)->eax, 0x3028);
	assert_int_equal(leaf(0x80000008, 0)->ecx, 2u << 12 | 2);
	assert_int_equal(leaf(0x8000001e, 0)->eax, 2);
	assert_int_equal(leaf(0x8000001e, 0)->ebx, 2);
	assert_int_equal(leaf(0x8000001e, 0)->ecx, 0);
	build(0, 1);
	assert_int_equal(leaf(1, 0)->edx >> 28 & 1, 0);
	assert_int_equal(leaf(0x80000008, 0)->ecx, 0);
	assert_int_equal(leaf(0x80000001, 0)->ecx & 2, 0);
}

static void more_leaves_than_fit_are_an_error(void **state)
{
	(void)state;

	kvm_hyperv(&hyperv);
	memset(&host, 0, sizeof(host));
	/* 6 leaves are ours */
	for (host.nent = 0; host.nent < HV_CPUID_ENTRIES_MAX - 6; host.nent++)
		host.entries[host.nent].function = 0x80001000 + host.nent;
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL), 0);
	assert_int_equal(out.nent, HV_CPUID_ENTRIES_MAX);
	host.entries[host.nent].function = 0x80001000 + host.nent;
	host.nent++;
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 1, &out, NULL),
			 -E2BIG);
}

/* ------------------------------------------------- interrupt routing ---- */

static void interrupts_reach_both_chips_and_each_sint_its_processor(void **st)
{
	(void)st;
	struct hv_irq_table t;
	unsigned pic = 0, ioapic = 0, sints = 0;

	hv_irq_table_fill(HV_CPUS_MAX, &t);
	for (uint32_t i = 0; i < t.nr; i++) {
		const struct kvm_irq_routing_entry *e = &t.entries[i];

		if (e->type == KVM_IRQ_ROUTING_HV_SINT) {
			assert_int_equal(e->gsi, HV_GSI_SINT + sints);
			assert_int_equal(e->u.hv_sint.vcpu, sints);
			assert_int_equal(e->u.hv_sint.sint, 2);
			sints++;
		} else if (e->u.irqchip.irqchip == KVM_IRQCHIP_IOAPIC) {
			assert_int_equal(e->u.irqchip.pin,
					 e->gsi == 0 ? 2 : e->gsi);
			assert_int_not_equal(e->gsi, 2);
			ioapic++;
		} else {
			assert_int_equal(e->u.irqchip.pin, e->gsi % 8);
			assert_int_equal(e->u.irqchip.irqchip, e->gsi / 8);
			assert_int_not_equal(e->gsi, 2);
			pic++;
		}
	}
	assert_int_equal(pic, 15);
	assert_int_equal(ioapic, 23);
	assert_int_equal(sints, HV_CPUS_MAX);
	assert_true(t.nr <= HV_IRQ_ENTRIES_MAX);
}

static void the_flush_call_can_be_left_out(void **state)
{
	(void)state;
	uint32_t with, without;

	build(0, 2);
	with = leaf(0x40000004, 0)->eax;
	hv_cpuid_forget_flush(&hyperv);
	assert_int_equal(hv_cpuid_build(&host, &hyperv, 0, 2, &out, NULL), 0);
	without = leaf(0x40000004, 0)->eax;
	assert_int_equal(with & ~without, 1u << 2);
	assert_int_equal(without & ~with, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_flush_call_can_be_left_out),
		cmocka_unit_test(a_guest_sees_hyper_v_and_not_kvm),
		cmocka_unit_test(privileges_are_those_that_are_stood_behind),
		cmocka_unit_test(a_privilege_that_kvm_lacks_is_not_promised),
		cmocka_unit_test(each_required_privilege_is_insisted_on),
		cmocka_unit_test(timers_without_direct_mode_are_withheld),
		cmocka_unit_test(the_timer_that_costs_fewer_exits_is_offered),
		cmocka_unit_test(a_processor_that_takes_eois_is_left_to_do_it),
		cmocka_unit_test(hints_for_others_need_another),
		cmocka_unit_test(there_is_no_virtualization_inside),
		cmocka_unit_test(processors_are_cores_of_one_socket),
		cmocka_unit_test(more_leaves_than_fit_are_an_error),
		cmocka_unit_test(
			interrupts_reach_both_chips_and_each_sint_its_processor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
