/* SPDX-License-Identifier: BSD-2-Clause */
/* The dynamic header, and what a differencing disk says of its parent. The
 * parent itself is looked for in check_chain.c.
 * Source: VHD specification 1.0, "Dynamic Disk Header Format", "Parent
 * Locator Entries"; what writers put there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checked.h"
#include "locator.h"

#define BLOCK_BYTES_SMALL (512u << 10)

#define AT(c, field)                                                           \
	((c)->s.header_at + offsetof(struct vhd_header_wire, field))

static void tell_fault(void *ctx, const struct vhd_err *fault)
{
	struct check *c = ctx;

	check_tell_fault(c, check_code_of(fault->why), fault);
}

/* ------------------------------------------------------------ locators -- */

static void locator_payload(struct check *c, int i, uint64_t at)
{
	const struct vhd_locator *l = &c->s.header.locator[i];
	bool utf16 = l->platform == VHD_LOCATOR_W2RU ||
		     l->platform == VHD_LOCATOR_W2KU;
	uint64_t end;

	if (l->len_bytes > VHD_LOCATOR_PAYLOAD_MAX ||
	    (utf16 && l->len_bytes % 2))
		check_tell(c, VHD_FIND_LOCATOR_LENGTH, at, VHD_NO_BLOCK,
			   "parent locator %d: %u bytes%s", i, l->len_bytes,
			   utf16 && l->len_bytes % 2 ? " of UTF-16" : "");
	if (l->space_bytes < l->len_bytes)
		check_tell(c, VHD_FIND_LOCATOR_LENGTH, at, VHD_NO_BLOCK,
			   "parent locator %d: %u bytes in a space of %u", i,
			   l->len_bytes, l->space_bytes);
	if (add_ovf(l->off_bytes, l->len_bytes, &end) ||
	    end > c->s.limit_bytes) {
		check_tell(c, VHD_FIND_LOCATOR_PLACE, at, VHD_NO_BLOCK,
			   "parent locator %d: offset %llu is not in the "
			   "file",
			   i, (unsigned long long)l->off_bytes);
		return;
	}
	for (unsigned r = 0; r < c->s.range_count; r++) {
		const struct vhd_range *o = &c->s.ranges[r];

		if (l->off_bytes >= o->end_bytes || o->off_bytes >= end ||
		    (o->off_bytes == l->off_bytes && o->end_bytes == end))
			continue;
		check_tell(c, VHD_FIND_LOCATOR_PLACE, at, VHD_NO_BLOCK,
			   "parent locator %d at offset %llu lies over the "
			   "%s",
			   i, (unsigned long long)l->off_bytes, o->what);
		return;
	}
}

/* A locator that leads to a name; only such a one is of use. */
static int locator_usable(struct check *c, int i, bool *usable,
			  struct vhd_err *err)
{
	const struct vhd_locator *l = &c->s.header.locator[i];
	char path[VHD_PARENT_PATH_MAX];
	uint8_t *payload;
	int rc;

	*usable = false;
	if (!l->len_bytes || l->len_bytes > VHD_LOCATOR_PAYLOAD_MAX ||
	    !range_ok(l->off_bytes, l->len_bytes, c->s.limit_bytes))
		return 0;
	payload = malloc(l->len_bytes);
	if (!payload)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = vhd_file_read(c->s.file, payload, l->len_bytes, l->off_bytes, err);
	if (!rc)
		*usable = vhd_locator_path(l->platform, payload, l->len_bytes,
					   path, sizeof(path)) > 0;
	free(payload);
	return rc;
}

static int locators(struct check *c, struct vhd_err *err)
{
	bool any = false, usable;

	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &c->s.header.locator[i];
		uint64_t at = AT(c, locator) +
			      (uint64_t)i * sizeof(struct vhd_locator_wire);
		int rc;

		if (!l->platform)
			continue;
		if (!vhd_locator_name(l->platform))
			check_tell(c, VHD_FIND_LOCATOR_PLATFORM, at,
				   VHD_NO_BLOCK,
				   "parent locator %d: unknown platform "
				   "0x%08x",
				   i, l->platform);
		locator_payload(c, i, at);
		rc = locator_usable(c, i, &usable, err);
		if (rc)
			return rc;
		any |= usable;
	}
	if (!any)
		check_tell(c, VHD_FIND_LOCATOR_NONE, AT(c, locator),
			   VHD_NO_BLOCK, "no parent locator gives a path");
	return 0;
}

/* -------------------------------------------------------------- parent -- */

/* Paired surrogates, and an end within the field. */
static bool name_ok(const uint8_t *name, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		uint32_t u = (uint32_t)name[i] << 8 | name[i + 1];
		uint32_t v = i + 3 < len
				     ? (uint32_t)name[i + 2] << 8 | name[i + 3]
				     : 0;

		if (!u)
			return true;
		if (u >= 0xdc00 && u < 0xe000)
			return false;
		if (u < 0xd800 || u >= 0xdc00)
			continue;
		if (v < 0xdc00 || v >= 0xe000)
			return false;
		i += 2;
	}
	return false;
}

static int parent(struct check *c, struct vhd_err *err)
{
	const struct vhd_header *h = &c->s.header;
	bool blktap = memcmp(c->s.probe.footer.creator_app, "tap", 4) == 0;

	if (c->s.info.format != VHD_FORMAT_DIFF)
		return 0;
	if (!vhd_any_nonzero(h->parent_id, sizeof(h->parent_id)))
		check_tell_as(c,
			      blktap ? VHD_SEVERITY_INFO : VHD_SEVERITY_WARNING,
			      VHD_FIND_ID_ZERO, AT(c, parent_id), VHD_NO_BLOCK,
			      "the parent's id is all zero%s",
			      blktap ? ": blktap's word for a raw disk" : "");
	if (!name_ok(h->parent_name, sizeof(h->parent_name)))
		check_tell(c, VHD_FIND_PARENT_NAME, AT(c, parent_name),
			   VHD_NO_BLOCK,
			   "the parent's name is not terminated or holds half "
			   "of a surrogate pair");
	return locators(c, err);
}

/* -------------------------------------------------------------- header -- */

static void fields(struct check *c)
{
	const struct vhd_header *h = &c->s.header;
	uint64_t need = vhd_blocks_for(c->s.size_bytes, h->block_size_bytes);

	if (h->block_size_bytes != VHD_BLOCK_BYTES_DEFAULT &&
	    h->block_size_bytes != BLOCK_BYTES_SMALL)
		check_tell(c, VHD_FIND_BLOCK_SIZE_RARE, AT(c, block_size),
			   VHD_NO_BLOCK,
			   "blocks of %u bytes; few programs write others "
			   "than 2 MiB and 512 KiB",
			   h->block_size_bytes);
	if (h->table_entries > need)
		check_tell(c, VHD_FIND_TABLE_LONG, AT(c, table_entries),
			   VHD_NO_BLOCK,
			   "the block table has %u entries, the disk needs "
			   "%llu",
			   h->table_entries, (unsigned long long)need);
}

static void tell_place(struct check *c)
{
	check_tell(c, VHD_FIND_DATA_OFFSET,
		   c->s.probe.footer_at_bytes +
			   offsetof(struct vhd_footer_wire, data_offset),
		   VHD_NO_BLOCK,
		   "the footer puts the dynamic header at offset %llu, where "
		   "it cannot be",
		   (unsigned long long)c->s.header_at);
}

int check_header(struct check *c, struct vhd_err *err)
{
	const struct vhd_header *h = &c->s.header;

	if (!c->s.header_read) {
		tell_place(c);
		return 0;
	}
	if (!h->cookie_ok) {
		check_tell(c, VHD_FIND_HEADER_COOKIE, c->s.header_at,
			   VHD_NO_BLOCK,
			   "no dynamic header (`cxsparse`) at offset %llu, "
			   "where the footer says",
			   (unsigned long long)c->s.header_at);
		return 0;
	}
	if (!h->checksum_ok)
		check_tell(c, VHD_FIND_HEADER_CHECKSUM, AT(c, checksum),
			   VHD_NO_BLOCK,
			   "dynamic header: checksum is 0x%08x, its bytes "
			   "give 0x%08x",
			   be32_get(c->s.header_wire.checksum),
			   vhd_wire_checksum(
				   &c->s.header_wire, sizeof(c->s.header_wire),
				   offsetof(struct vhd_header_wire, checksum)));
	(void)survey_header_faults(&c->s, tell_fault, c);
	if (h->next_offset_bytes != VHD_NO_OFFSET)
		check_tell(c, VHD_FIND_NEXT_OFFSET, AT(c, next_offset),
			   VHD_NO_BLOCK,
			   "the dynamic header points to a further one at "
			   "%llu; it is ignored",
			   (unsigned long long)h->next_offset_bytes);
	if (h->reserved_nonzero)
		check_tell(c, VHD_FIND_RESERVED, AT(c, reserved2), VHD_NO_BLOCK,
			   "reserved bytes of the dynamic header are not "
			   "zero");
	if (c->s.table_ok)
		fields(c);
	return parent(c, err);
}
