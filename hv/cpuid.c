/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID. See cpuid.h. */
#include "cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#define SYNTHETIC_FIRST 0x40000000u
#define SYNTHETIC_LAST 0x4fffffffu

enum {
	LEAF_TOPOLOGY = 0xb,
	LEAF_TOPOLOGY_V2 = 0x1f,
	LEAF_VENDOR = 0x40000000,
	LEAF_INTERFACE = 0x40000001,
	LEAF_VERSION = 0x40000002,
	LEAF_FEATURES = 0x40000003,
	LEAF_HINTS = 0x40000004,
	LEAF_LIMITS = 0x40000005,
};

#define LEAF_SVM 0x8000000au

#define BIT(n) (1u << (n))

/* Leaf 3: a guest gets what is listed here and KVM has; it runs only where KVM
 * has what is required. Left out on purpose: AccessPartitionId and extended
 * hypercalls (Linux calls, KVM refuses), CpuManagement (means "root
 * partition"), isolation, debugging, guest idle (no such MSR in KVM),
 * reenlightenment (nothing migrates).
 */
static const struct {
	uint32_t allowed, required;
} features[4] = {
	/* EAX: VP runtime, reference counter, SynIC, stimers, APIC MSRs,
	 * hypercall MSRs, VP index, reset MSR, reference TSC, frequencies
	 */
	{BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) |
		 BIT(9) | BIT(11),
	 BIT(1) | BIT(2) | BIT(5) | BIT(6)},
	/* EBX: PostMessages, SignalEvents */
	{BIT(4) | BIT(5), 0},
	{0, 0},
	/* EDX: XMM input, frequency MSRs, crash MSRs, direct-mode stimers */
	{BIT(4) | BIT(8) | BIT(10) | BIT(19), 0},
};

#define STIMERS BIT(3)         /* EAX */
#define STIMERS_DIRECT BIT(19) /* EDX */

/* Leaf 4: relaxed timing. Where the processor virtualizes interrupts AutoEOI is
 * deprecated, so that it goes on to. Where it does not, VMBus's interrupts get
 * AutoEOI, and the others the synthetic APIC MSRs: of these a guest with x2APIC
 * takes the EOI alone, for which it looks at its assist page first, and has no
 * exit for most of its interrupts. Flush and IPI hypercalls help only where
 * there is another processor.
 */
#define HINTS_ALWAYS BIT(5)
#define HINT_APIC_MSRS BIT(3)
#define HINT_NO_AUTO_EOI BIT(9)
#define HINT_REMOTE_FLUSH BIT(2)
#define HINTS_SMP (HINT_REMOTE_FLUSH | BIT(10) | BIT(11))
#define SPIN_NEVER_NOTIFY 0xffffffffu

bool hv_cpu_virtualizes(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && (c & BIT(5))) /* VMX */
		return true;
	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & BIT(2)); /* SVM */
}

static const struct kvm_cpuid_entry2 *find(const struct hv_cpuid *c,
					   uint32_t leaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf)
			return &c->entries[i];
	return NULL;
}

static bool append(struct hv_cpuid *out, const struct kvm_cpuid_entry2 *e)
{
	if (out->nent == HV_CPUID_ENTRIES_MAX)
		return false;
	out->entries[out->nent++] = *e;
	return true;
}

/* ---------------------------------------------------------- topology ---- */

/* Bits of an APIC id that number the cores. */
static uint32_t core_bits(uint32_t cpus)
{
	uint32_t bits = 0;

	while (1u << bits < cpus)
		bits++;
	return bits;
}

#define HTT BIT(28)                  /* 1.EDX: more than one logical CPU */
#define VMX BIT(5)                   /* 1.ECX */
#define TSC_DEADLINE BIT(24)         /* 1.ECX: a mode of the APIC's timer */
#define HYPERVISOR BIT(31)           /* 1.ECX: there are leaves 0x4000xxxx */
#define CMP_LEGACY BIT(1)            /* 80000001.ECX */
#define SVM BIT(2)                   /* 80000001.ECX */
#define LEVEL_THREAD 1u
#define LEVEL_CORE 2u

/* Leaf 0xb, which KVM leaves empty: a thread level of one, a core level of
 * all. Leaf 0x1f is left out: it would only say the same.
 */
static bool append_topology(uint32_t vp, uint32_t cpus, struct hv_cpuid *out)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{.function = LEAF_TOPOLOGY,
		 .index = 0,
		 .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		 .eax = 0,
		 .ebx = 1,
		 .ecx = LEVEL_THREAD << 8 | 0,
		 .edx = vp},
		{.function = LEAF_TOPOLOGY,
		 .index = 1,
		 .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		 .eax = core_bits(cpus),
		 .ebx = cpus,
		 .ecx = LEVEL_CORE << 8 | 1,
		 .edx = vp},
	};

	return append(out, &levels[0]) && append(out, &levels[1]);
}

/* No nested virtualization: the guest gets no door to another hypervisor. */
static void adjust(struct kvm_cpuid_entry2 *e, uint32_t vp, uint32_t cpus)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0x0000ffff) | cpus << 16 | vp << 24;
		e->ecx = (e->ecx & ~VMX) | HYPERVISOR;
		e->edx = cpus > 1 ? e->edx | HTT : e->edx & ~HTT;
		break;
	case 4: /* Intel: cores in the package; caches not shared by threads */
		e->eax &= 0x00003fff;
		if (e->eax & 0x1f)
			e->eax |= ((1u << core_bits(cpus)) - 1) << 26;
		break;
	case 0x80000001:
		e->ecx &= ~(SVM | CMP_LEGACY);
		if (cpus > 1)
			e->ecx |= CMP_LEGACY;
		break;
	case 0x80000008: /* AMD: cores and their id bits */
		e->ecx = (cpus - 1) | core_bits(cpus) << 12;
		break;
	case 0x8000001e: /* AMD: one thread a core, one node */
		e->eax = vp;
		e->ebx = vp & 0xff;
		e->ecx = 0;
		break;
	}
}

static bool is_dropped(uint32_t leaf)
{
	return (leaf >= SYNTHETIC_FIRST && leaf <= SYNTHETIC_LAST) ||
	       leaf == LEAF_TOPOLOGY || leaf == LEAF_TOPOLOGY_V2 ||
	       leaf == LEAF_SVM;
}

/* ----------------------------------------------------------- Hyper-V ---- */

/* Where an EOI is an exit the guest's assist page can spare it that, unless it
 * leaves for something else between the interrupt and the EOI: KVM then takes the
 * bit back. Linux sets an stimer anew, an exit, before it says EOI; at its APIC's
 * timer it says EOI first. Newer KVMs, and older ones on Intel's processors, also
 * take a new deadline of that timer on a shorter way.
 * Source: Linux sysvec_hyperv_stimer0, sysvec_apic_timer_interrupt,
 * hv_apic_eoi_write; arch/x86/kvm: apic_sync_pv_eoi_from_guest,
 * handle_fastpath_set_tscdeadline and kvm_can_use_hv_timer.
 */
static bool apic_timer_is_better(const struct hv_cpuid *host,
				 const struct hv_cpuid *hyperv)
{
	const struct kvm_cpuid_entry2 *basic = find(host, 1);
	const struct kvm_cpuid_entry2 *hints = find(hyperv, LEAF_HINTS);

	return basic && (basic->ecx & TSC_DEADLINE) && hints &&
	       (hints->eax & HINT_APIC_MSRS);
}

static int set_features(const struct hv_cpuid *host,
			const struct hv_cpuid *hyperv,
			struct kvm_cpuid_entry2 *e, struct vhd_err *err)
{
	const struct kvm_cpuid_entry2 *k = find(hyperv, LEAF_FEATURES);
	uint32_t have[4] = {0, 0, 0, 0};

	if (k) {
		have[0] = k->eax;
		have[1] = k->ebx;
		have[2] = k->ecx;
		have[3] = k->edx;
	}
	for (unsigned i = 0; i < 4; i++) {
		uint32_t missing = features[i].required & ~have[i];

		if (missing != 0)
			return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
					"KVM lacks Hyper-V features 0x%x that "
					"a guest needs (leaf 0x40000003)",
					missing);
		have[i] &= features[i].allowed;
	}
	/* Message-mode timers would share the bus's message slot. */
	if (!(have[3] & STIMERS_DIRECT) || apic_timer_is_better(host, hyperv))
		have[0] &= ~STIMERS;
	e->eax = have[0];
	e->ebx = have[1];
	e->ecx = have[2];
	e->edx = have[3];
	return 0;
}

static bool append_hyperv(const struct hv_cpuid *hyperv, uint32_t cpus,
			  const struct kvm_cpuid_entry2 *leaf3,
			  struct hv_cpuid *out)
{
	const struct kvm_cpuid_entry2 *hints = find(hyperv, LEAF_HINTS);
	uint32_t have = hints ? hints->eax : 0;
	const struct kvm_cpuid_entry2 leaves[] = {
		{.function = LEAF_VENDOR,
		 .eax = LEAF_LIMITS,
		 .ebx = 0x7263694d, /* "Micr" */
		 .ecx = 0x666f736f, /* "osof" */
		 .edx = 0x76482074},/* "t Hv" */
		/* "Hv#1"; KVM's emulation hangs on this value */
		{.function = LEAF_INTERFACE, .eax = 0x31237648},
		/* build 20348, version 10.0: the first host with VMBus 5.3 */
		{.function = LEAF_VERSION, .eax = 20348, .ebx = 10u << 16},
		*leaf3,
		{.function = LEAF_HINTS,
		 .eax = HINTS_ALWAYS |
			(have & HINT_APIC_MSRS ? HINT_APIC_MSRS
					       : HINT_NO_AUTO_EOI) |
			(cpus > 1 ? have & HINTS_SMP : 0),
		 .ebx = SPIN_NEVER_NOTIFY},
		{.function = LEAF_LIMITS, .eax = cpus, .ebx = cpus},
	};

	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		if (!append(out, &leaves[i]))
			return false;
	return true;
}

void hv_cpuid_tsc_deadline(struct hv_cpuid *host)
{
	for (uint32_t i = 0; i < host->nent; i++)
		if (host->entries[i].function == 1)
			host->entries[i].ecx |= TSC_DEADLINE;
}

void hv_cpuid_hardware_apic(struct hv_cpuid *hyperv)
{
	for (uint32_t i = 0; i < hyperv->nent; i++)
		if (hyperv->entries[i].function == LEAF_HINTS)
			hyperv->entries[i].eax &= ~HINT_APIC_MSRS;
}

int hv_cpuid_build(const struct hv_cpuid *host, const struct hv_cpuid *hyperv,
		   uint32_t vp, uint32_t cpus, struct hv_cpuid *out,
		   struct vhd_err *err)
{
	struct kvm_cpuid_entry2 leaf3 = {.function = LEAF_FEATURES};
	const struct kvm_cpuid_entry2 *max = find(host, 0);
	bool fits = true;
	int ret = set_features(host, hyperv, &leaf3, err);

	if (ret < 0)
		return ret;
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; fits && i < host->nent; i++) {
		struct kvm_cpuid_entry2 e = host->entries[i];

		if (is_dropped(e.function))
			continue;
		adjust(&e, vp, cpus);
		fits = append(out, &e);
	}
	if (fits && max && max->eax >= LEAF_TOPOLOGY)
		fits = append_topology(vp, cpus, out);
	if (!fits || !append_hyperv(hyperv, cpus, &leaf3, out))
		return vhd_fail(err, -E2BIG, VHD_WHY_UNSUPPORTED, 0,
				"more than %d CPUID entries",
				HV_CPUID_ENTRIES_MAX);
	return 0;
}

void hv_cpuid_forget_flush(struct hv_cpuid *hyperv)
{
	for (uint32_t i = 0; i < hyperv->nent; i++)
		if (hyperv->entries[i].function == LEAF_HINTS)
			hyperv->entries[i].eax &= ~HINT_REMOTE_FLUSH;
}
