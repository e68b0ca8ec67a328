/* SPDX-License-Identifier: BSD-2-Clause */
/* What a bzImage's header says, and what follows for memory: pure functions.
 * See boot_linux.h.
 */
#include "boot_linux.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vhd/checked.h"
#include "vhd/endian.h"

#define SECTOR 512u
#define PROTOCOL_MIN 0x020c /* 2.12: xloadflags, so which entries it has */
#define SETUP_SECTS_DEFAULT 4u
#define LOW_MIB 0x100000u

/* The setup header, at 0x1f1 of file and zero page alike. */
struct setup_header {
	uint8_t setup_sects;
	le16 root_flags;
	le32 syssize;
	le16 ram_size, vid_mode, root_dev, boot_flag;
	uint8_t jump[2]; /* the second byte: length of what follows */
	uint8_t magic[4];
	le16 version;
	le32 realmode_switch;
	le16 start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	le16 setup_move_size;
	le32 code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	le16 heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	le32 cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	le16 xloadflags;
	le32 cmdline_size, hardware_subarch;
	le64 hardware_subarch_data;
	le32 payload_offset, payload_length;
	le64 setup_data, pref_address;
	le32 init_size, handover_offset;
};
static_assert(offsetof(struct setup_header, magic) == 0x202 - HV_SETUP_OFF,
	      "HdrS");
static_assert(offsetof(struct setup_header, version) == 0x206 - HV_SETUP_OFF,
	      "protocol version");
static_assert(offsetof(struct setup_header, xloadflags) ==
		      0x236 - HV_SETUP_OFF,
	      "xloadflags");
static_assert(offsetof(struct setup_header, init_size) == 0x260 - HV_SETUP_OFF,
	      "init_size");

enum {
	BOOT_FLAG = 0xaa55,
	LOADED_HIGH = 0x01,
	KERNEL_64 = 0x01, /* xloadflags */
	LOADER_UNDEFINED = 0xff,

	/* What a 2.12 header has at least, and the zero page has room for. */
	HEADER_END_MIN = 0x268,
	HEADER_END_MAX = 0x290,

	ZP_RSDP = 0x70,
	ZP_E820_COUNT = 0x1e8,
	ZP_E820 = 0x2d0,
	E820_ENTRY = 20,
};

static int refuse(struct vhd_err *err, uint64_t at, const char *text)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_KERNEL_FORMAT, at, "%s", text);
}

/* Say what it is instead, where that is easy to see. */
static const char *what_else(const uint8_t *head, size_t len)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *text;
	} known[] = {
		{"\177ELF", 4, "not a bzImage but an ELF file (a vmlinux?)"},
		{"\x1f\x8b", 2, "not a bzImage but a gzip file"},
		{"\xfd" "7zXZ", 5, "not a bzImage but an xz file"},
		{"070701", 6, "not a bzImage but a cpio archive (an initrd?)"},
		{"conectix", 8, "not a bzImage but a VHD"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (len >= known[i].len &&
		    memcmp(head, known[i].magic, known[i].len) == 0)
			return known[i].text;
	return "not a bzImage (no Linux boot header)";
}

/* Identity: enough to read any further field. */
static int check_magic(const uint8_t *head, size_t head_len,
		       struct setup_header *h, struct vhd_err *err)
{
	if (head_len < HEADER_END_MIN)
		return refuse(err, 0, what_else(head, head_len));
	memcpy(h, head + HV_SETUP_OFF, sizeof(*h));
	if (le16_get(h->boot_flag) != BOOT_FLAG ||
	    memcmp(h->magic, "HdrS", 4) != 0)
		return refuse(err, 0x1fe, what_else(head, head_len));
	if (le16_get(h->version) < PROTOCOL_MIN)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_KERNEL_OLD, 0x206,
				"boot protocol %u.%02u is too old; 2.12 (Linux "
				"3.8) or newer is needed",
				le16_get(h->version) >> 8,
				le16_get(h->version) & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return refuse(err, 0x211, "a zImage, not a bzImage");
	return 0;
}

int hv_bzimage_parse(const uint8_t *head, size_t head_len, uint64_t file_len,
		     struct hv_bzimage *out, struct vhd_err *err)
{
	struct setup_header h;
	struct hv_bzimage k;
	uint64_t setup_sects, end;
	int ret = check_magic(head, head_len, &h, err);

	if (ret < 0)
		return ret;
	memset(&k, 0, sizeof(k));
	k.protocol = le16_get(h.version);
	end = 0x202u + h.jump[1];
	if (end < HEADER_END_MIN)
		return refuse(err, 0x201, "boot header shorter than its "
					  "protocol version says");
	if (end > HEADER_END_MAX)
		end = HEADER_END_MAX; /* newer fields: not known here */
	if (end > head_len)
		return refuse(err, 0x201, "the file ends inside its boot "
					  "header");
	k.header_bytes = (size_t)(end - HV_SETUP_OFF);
	setup_sects = h.setup_sects ? h.setup_sects : SETUP_SECTS_DEFAULT;
	k.load_off = (setup_sects + 1) * SECTOR;
	k.long_mode = (le16_get(h.xloadflags) & KERNEL_64) != 0;
	if (file_len <= k.load_off + (k.long_mode ? HV_BOOT_ENTRY_64 : 0))
		return refuse(err, k.load_off, "the file ends before its "
					       "entry");
	k.load_bytes = file_len - k.load_off;
	/* A file cut short would boot and then fail to decompress. */
	if ((uint64_t)le32_get(h.syssize) * 16 > k.load_bytes + 15)
		return refuse(err, 0x1f4, "the file is shorter than its header "
					  "says; cut off?");
	if (!range_ok(le32_get(h.payload_offset), le32_get(h.payload_length),
		      k.load_bytes))
		return refuse(err, 0x248, "the compressed kernel is not inside "
					  "the file");
	k.load_gpa = le64_get(h.pref_address);
	k.init_bytes = le32_get(h.init_size);
	if (k.init_bytes < k.load_bytes)
		k.init_bytes = k.load_bytes;
	if (k.load_gpa < LOW_MIB || k.load_gpa % 4096 != 0)
		return refuse(err, 0x258, "the preferred load address is not "
					  "usable");
	k.initrd_top = (uint64_t)le32_get(h.initrd_addr_max) + 1;
	k.cmdline_max = le32_get(h.cmdline_size);
	if (k.cmdline_max > HV_BOOT_CMDLINE_MAX - 1)
		k.cmdline_max = HV_BOOT_CMDLINE_MAX - 1;
	*out = k;
	return 0;
}

int hv_bzimage_place(const struct hv_bzimage *k, const struct hv_layout *l,
		     uint64_t initrd_bytes, uint64_t *initrd_gpa,
		     struct vhd_err *err)
{
	uint64_t kernel_end, top = l->low_bytes, gpa;

	if (add_ovf(k->load_gpa, k->init_bytes, &kernel_end) ||
	    kernel_end > l->low_bytes)
		return vhd_fail(err, -EFBIG, VHD_WHY_KERNEL_FIT, 0,
				"does not fit: the kernel needs %llu MiB up to "
				"address %llu MiB, the guest has %llu MiB",
				(unsigned long long)(k->init_bytes >> 20),
				(unsigned long long)(kernel_end >> 20),
				(unsigned long long)(l->low_bytes >> 20));
	*initrd_gpa = 0;
	if (initrd_bytes == 0)
		return 0;
	if (top > k->initrd_top)
		top = k->initrd_top;
	if (initrd_bytes > top)
		gpa = 0;
	else
		gpa = (top - initrd_bytes) & ~(HV_RAM_ALIGN - 1);
	if (gpa < kernel_end || initrd_bytes > UINT32_MAX)
		return vhd_fail(err, -EFBIG, VHD_WHY_KERNEL_FIT, 0,
				"the initrd (%llu MiB) does not fit above the "
				"kernel",
				(unsigned long long)(initrd_bytes >> 20));
	*initrd_gpa = gpa;
	return 0;
}

struct hv_boot_entry hv_bzimage_entry(const struct hv_bzimage *k)
{
	return (struct hv_boot_entry){
		.gpa = k->load_gpa + (k->long_mode ? HV_BOOT_ENTRY_64 : 0),
		.long_mode = k->long_mode,
	};
}

static void put32(uint8_t *page, size_t off, uint32_t val)
{
	le32 v = le32_put(val);

	memcpy(page + off, &v, sizeof(v));
}

static void put64(uint8_t *page, size_t off, uint64_t val)
{
	le64 v = le64_put(val);

	memcpy(page + off, &v, sizeof(v));
}

void hv_boot_params_fill(const struct hv_boot_params *p, uint8_t page[4096])
{
	struct hv_e820 map[HV_E820_MAX];
	unsigned n = hv_layout_e820(p->layout, map);
	struct setup_header h;

	memset(page, 0, 4096);
	memcpy(page + HV_SETUP_OFF, p->head + HV_SETUP_OFF,
	       p->kernel->header_bytes);
	memcpy(&h, page + HV_SETUP_OFF, sizeof(h));
	h.type_of_loader = LOADER_UNDEFINED;
	h.code32_start = le32_put((uint32_t)p->kernel->load_gpa);
	h.cmd_line_ptr = le32_put(HV_BOOT_CMDLINE_GPA);
	h.ramdisk_image = le32_put((uint32_t)p->initrd_gpa);
	h.ramdisk_size = le32_put((uint32_t)p->initrd_bytes);
	h.setup_data = le64_put(0);
	memcpy(page + HV_SETUP_OFF, &h, sizeof(h));
	put64(page, ZP_RSDP, p->rsdp_gpa);
	page[ZP_E820_COUNT] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		size_t at = ZP_E820 + i * E820_ENTRY;

		put64(page, at, map[i].start);
		put64(page, at + 8, map[i].bytes);
		put32(page, at + 16, map[i].type);
	}
}

enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_LARGE = 0x80 };

void hv_boot_pages_fill(uint8_t *pages)
{
	const uint64_t pml4 = HV_BOOT_PAGES_GPA;

	memset(pages, 0, HV_BOOT_PAGES_BYTES);
	put64(pages, 0, (pml4 + 4096) | PTE_PRESENT | PTE_WRITE);
	for (unsigned i = 0; i < 4; i++)
		put64(pages, 4096 + 8 * i,
		      (pml4 + (2 + i) * 4096) | PTE_PRESENT | PTE_WRITE);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put64(pages, 2 * 4096 + 8 * (size_t)i,
		      i << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
}

void hv_boot_gdt_fill(uint8_t *gdt, bool long_mode)
{
	const uint64_t code_64 = 0x00af9b000000ffff;
	const uint64_t code_32 = 0x00cf9b000000ffff; /* flat */

	memset(gdt, 0, HV_BOOT_GDT_BYTES);
	put64(gdt, HV_BOOT_CS, long_mode ? code_64 : code_32);
	put64(gdt, HV_BOOT_DS, 0x00cf93000000ffff); /* flat data */
}
