/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI tables. See acpi.h. Tables are written front to back at 64-byte steps
 * (the FACS wants that); addresses are known as soon as lengths are.
 */
#include "acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "board.h"
#include "dsdt.h"
#include "ssdt_pci.h"
#include "vhd/endian.h"

#define TABLE_ALIGN 64u
#define LAPIC_GPA 0xfee00000u
#define IOAPIC_GPA 0xfec00000u
#define SCI_IRQ 9

struct sdt_header {
	uint8_t signature[4];
	le32 length;
	uint8_t revision;
	uint8_t checksum;
	uint8_t oem_id[6];
	uint8_t oem_table_id[8];
	le32 oem_revision;
	uint8_t creator_id[4];
	le32 creator_revision;
};
static_assert(sizeof(struct sdt_header) == 36, "ACPI table header");

struct rsdp {
	uint8_t signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	uint8_t oem_id[6];
	uint8_t revision;
	le32 rsdt;
	le32 length;
	le64 xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
};
static_assert(sizeof(struct rsdp) == 36, "RSDP");

#define TABLES_MAX 3 /* the last one for a PCI bus */

struct xsdt {
	struct sdt_header h;
	le64 entry[TABLES_MAX];
};

/* The same list for who knows no other, as GRUB's halt. */
struct rsdt {
	struct sdt_header h;
	le32 entry[TABLES_MAX];
};

struct gas { /* generic address */
	uint8_t space; /* 1: I/O port */
	uint8_t bits;
	uint8_t shift;
	uint8_t access; /* 1 byte, 2 word */
	le64 address;
};
static_assert(sizeof(struct gas) == 12, "generic address structure");

struct fadt {
	struct sdt_header h;
	le32 facs;
	le32 dsdt;
	uint8_t reserved44;
	uint8_t profile;
	le16 sci_irq;
	le32 smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	le32 pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	le32 pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst;
	le16 c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	le16 boot_flags;
	uint8_t reserved111;
	le32 flags;
	struct gas reset_register;
	uint8_t reset_value;
	le16 arm_flags;
	uint8_t minor;
	le64 x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control;
	struct gas x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct gas sleep_control, sleep_status;
	uint8_t hypervisor_id[8];
};
static_assert(sizeof(struct fadt) == 276, "FADT revision 6");
static_assert(offsetof(struct fadt, flags) == 112, "FADT flags");
static_assert(offsetof(struct fadt, x_dsdt) == 140, "FADT X_DSDT");

enum {
	FADT_NO_8042 = 0, /* boot flag bit 1 clear */
	FADT_NO_VGA = 1u << 2,
	FADT_NO_CMOS_RTC = 1u << 5, /* no alarm: not a device for drivers */
	FADT_WBINVD = 1u << 0,
	FADT_PROC_C1 = 1u << 2,
	FADT_POWER_BUTTON_NONE = 1u << 4,
	FADT_SLEEP_BUTTON_NONE = 1u << 5,
	FADT_RESET_REG = 1u << 10,
};

struct facs {
	uint8_t signature[4];
	le32 length;
	le32 hardware_signature, waking_vector, global_lock, flags;
	le64 x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
};
static_assert(sizeof(struct facs) == 64, "FACS");

struct madt {
	struct sdt_header h;
	le32 lapic;
	le32 flags; /* 1: has 8259s, too */
};

struct madt_lapic {
	uint8_t type, length; /* 0 */
	uint8_t uid, apic_id;
	le32 flags; /* 1: enabled */
};
static_assert(sizeof(struct madt_lapic) == 8, "MADT local APIC");

struct madt_ioapic {
	uint8_t type, length; /* 1 */
	uint8_t id, reserved;
	le32 address, gsi_base;
};
static_assert(sizeof(struct madt_ioapic) == 12, "MADT I/O APIC");

struct madt_override {
	uint8_t type, length; /* 2 */
	uint8_t bus, irq;
	le32 gsi;
	le16 flags;
};
static_assert(sizeof(struct madt_override) == 10, "MADT override");

struct madt_nmi {
	uint8_t type, length; /* 4 */
	uint8_t uid;          /* 0xff: all */
	le16 flags;
	uint8_t lint;
};
static_assert(sizeof(struct madt_nmi) == 6, "MADT local APIC NMI");

#define OVERRIDE_LEVEL_HIGH 0x000d

static uint8_t sum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t s = 0;

	while (n-- > 0)
		s = (uint8_t)(s + *b++);
	return s;
}

static void copy_text(uint8_t *dst, const char *src, size_t n)
{
	memcpy(dst, src, n);
}

static void start(struct sdt_header *h, const char *signature,
		  uint8_t revision, size_t length)
{
	copy_text(h->signature, signature, 4);
	h->length = le32_put((uint32_t)length);
	h->revision = revision;
	copy_text(h->oem_id, "VHDTK ", 6);
	copy_text(h->oem_table_id, "HVPC    ", 8);
	h->oem_revision = le32_put(1);
	copy_text(h->creator_id, "VHDT", 4);
	h->creator_revision = le32_put(1);
}

/* Sets the checksum last. */
static void finish(struct sdt_header *h)
{
	h->checksum = 0;
	h->checksum = (uint8_t)-sum(h, le32_get(h->length));
}

/* A bump allocator over the buffer; NULL once it was too small. */
struct room {
	uint8_t *buf;
	size_t cap, used;
	uint64_t gpa;
};

static void *take(struct room *r, size_t n, uint64_t *gpa)
{
	size_t at = (r->used + TABLE_ALIGN - 1) & ~(size_t)(TABLE_ALIGN - 1);

	*gpa = 0;
	if (at > r->cap || n > r->cap - at)
		return NULL;
	r->used = at + n;
	*gpa = r->gpa + at;
	return memset(r->buf + at, 0, n);
}

static struct gas port(uint16_t address, uint8_t bits, uint8_t access)
{
	return (struct gas){.space = 1,
			    .bits = bits,
			    .access = access,
			    .address = le64_put(address)};
}

static void fill_fadt(struct fadt *f, uint64_t facs, uint64_t dsdt)
{
	start(&f->h, "FACP", 6, sizeof(*f));
	f->minor = 3;
	f->facs = le32_put((uint32_t)facs);
	f->dsdt = le32_put((uint32_t)dsdt);
	f->x_dsdt = le64_put(dsdt);
	f->sci_irq = le16_put(SCI_IRQ);
	f->pm1a_event = le32_put(HV_PORT_PM1_EVENT);
	f->pm1a_control = le32_put(HV_PORT_PM1_CONTROL);
	f->pm1_event_len = HV_PM1_EVENT_BYTES;
	f->pm1_control_len = HV_PM1_CONTROL_BYTES;
	f->x_pm1a_event = port(HV_PORT_PM1_EVENT, 8 * HV_PM1_EVENT_BYTES, 2);
	f->x_pm1a_control =
		port(HV_PORT_PM1_CONTROL, 8 * HV_PM1_CONTROL_BYTES, 2);
	/* No C2, C3: latencies beyond the limits say so. */
	f->c2_latency = le16_put(0xffff);
	f->c3_latency = le16_put(0xffff);
	f->century = 0x32;
	f->boot_flags =
		le16_put(FADT_NO_8042 | FADT_NO_VGA | FADT_NO_CMOS_RTC);
	f->flags = le32_put(FADT_WBINVD | FADT_PROC_C1 |
			    FADT_POWER_BUTTON_NONE | FADT_SLEEP_BUTTON_NONE |
			    FADT_RESET_REG);
	f->reset_register = port(HV_PORT_RESET, 8, 1);
	f->reset_value = 6;
	finish(&f->h);
}

static size_t madt_bytes(uint32_t cpus)
{
	return sizeof(struct madt) + cpus * sizeof(struct madt_lapic) +
	       sizeof(struct madt_ioapic) + 2 * sizeof(struct madt_override) +
	       sizeof(struct madt_nmi);
}

static void fill_madt(struct madt *m, uint32_t cpus)
{
	struct madt_lapic *lapic = (void *)(m + 1);
	struct madt_ioapic *ioapic = (void *)(lapic + cpus);
	struct madt_override *over = (void *)(ioapic + 1);
	struct madt_nmi *nmi = (void *)(over + 2);

	start(&m->h, "APIC", 5, madt_bytes(cpus));
	m->lapic = le32_put(LAPIC_GPA);
	m->flags = le32_put(1);
	for (uint32_t i = 0; i < cpus; i++)
		lapic[i] = (struct madt_lapic){
			0, sizeof(*lapic), (uint8_t)(i + 1), (uint8_t)i,
			le32_put(1)};
	*ioapic = (struct madt_ioapic){1, sizeof(*ioapic), 0, 0,
				       le32_put(IOAPIC_GPA), le32_put(0)};
	/* The timer comes in at pin 2; the SCI is level, active high. */
	over[0] = (struct madt_override){2, sizeof(*over), 0, 0, le32_put(2),
					 le16_put(0)};
	over[1] = (struct madt_override){2,       sizeof(*over),
					 0,       SCI_IRQ,
					 le32_put(SCI_IRQ),
					 le16_put(OVERRIDE_LEVEL_HIGH)};
	*nmi = (struct madt_nmi){4, sizeof(*nmi), 0xff, le16_put(0), 1};
	finish(&m->h);
}

static void fill_rsdp(struct rsdp *r, uint64_t rsdt, uint64_t xsdt)
{
	copy_text(r->signature, "RSD PTR ", 8);
	copy_text(r->oem_id, "VHDTK ", 6);
	r->revision = 2;
	r->length = le32_put(sizeof(*r));
	r->rsdt = le32_put((uint32_t)rsdt);
	r->xsdt = le64_put(xsdt);
	r->checksum = (uint8_t)-sum(r, 20);
	r->extended_checksum = (uint8_t)-sum(r, sizeof(*r));
}

static void fill_xsdt(struct xsdt *x, const uint64_t *table, unsigned count)
{
	start(&x->h, "XSDT", 1,
	      sizeof(x->h) + count * sizeof(x->entry[0]));
	for (unsigned i = 0; i < count; i++)
		x->entry[i] = le64_put(table[i]);
	finish(&x->h);
}

static void fill_rsdt(struct rsdt *x, const uint64_t *table, unsigned count)
{
	start(&x->h, "RSDT", 1,
	      sizeof(x->h) + count * sizeof(x->entry[0]));
	for (unsigned i = 0; i < count; i++)
		x->entry[i] = le32_put((uint32_t)table[i]);
	finish(&x->h);
}

int hv_acpi_build(uint8_t *buf, size_t cap, uint64_t gpa, uint32_t cpus,
		  bool pci)
{
	struct room room = {buf, cap, 0, gpa};
	uint64_t rsdp_at, rsdt_at, xsdt_at, facs_at, dsdt_at;
	uint64_t table[TABLES_MAX]; /* as they are listed */
	struct rsdp *rsdp = take(&room, sizeof(*rsdp), &rsdp_at);
	struct xsdt *xsdt = take(&room, sizeof(*xsdt), &xsdt_at);
	struct rsdt *rsdt = take(&room, sizeof(*rsdt), &rsdt_at);
	struct fadt *fadt = take(&room, sizeof(*fadt), &table[0]);
	struct facs *facs = take(&room, sizeof(*facs), &facs_at);
	struct madt *madt = take(&room, madt_bytes(cpus), &table[1]);
	uint8_t *dsdt = take(&room, sizeof(dsdt_aml_code), &dsdt_at);
	uint8_t *ssdt = pci ? take(&room, sizeof(ssdt_pci_aml_code), &table[2])
			    : NULL;

	if (!rsdp || !xsdt || !rsdt || !fadt || !facs || !madt || !dsdt ||
	    (pci && !ssdt))
		return -ENOSPC;
	memcpy(dsdt, dsdt_aml_code, sizeof(dsdt_aml_code));
	if (pci)
		memcpy(ssdt, ssdt_pci_aml_code, sizeof(ssdt_pci_aml_code));
	copy_text(facs->signature, "FACS", 4);
	facs->length = le32_put(sizeof(*facs));
	facs->version = 2;
	fill_madt(madt, cpus);
	fill_fadt(fadt, facs_at, dsdt_at);
	fill_xsdt(xsdt, table, pci ? 3 : 2);
	fill_rsdt(rsdt, table, pci ? 3 : 2);
	fill_rsdp(rsdp, rsdt_at, xsdt_at);
	return (int)room.used;
}
