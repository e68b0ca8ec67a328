/* SPDX-License-Identifier: BSD-2-Clause */
/* The shape of packets: where payload and pages are, and which headers
 * contradict themselves.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/vmbus/ring.h"

#define BYTES 4096

struct builder {
	uint8_t b[BYTES];
	uint32_t at;
};

static void add(struct builder *p, uint64_t v, unsigned len)
{
	memcpy(p->b + p->at, &v, len);
	p->at += len;
}

/* Descriptor of a packet with this type; sizes are set by finish. */
static void begin(struct builder *p, uint16_t type)
{
	memset(p, 0, sizeof(*p));
	add(p, type, 2);
	add(p, 0, 4);
	add(p, 1, 2);
	add(p, 0xFFFFFFFFFFFFFFFD, 8);
}

static void begin_gpa(struct builder *p, uint32_t count)
{
	begin(p, VMBUS_PACKET_GPA_DIRECT);
	add(p, 0xDEADBEEF, 4);
	add(p, count, 4);
}

static void add_range(struct builder *p, uint32_t len, uint32_t offset,
		      unsigned pfns)
{
	add(p, len, 4);
	add(p, offset, 4);
	for (unsigned i = 0; i < pfns; i++)
		add(p, 0x1000 + i, 8);
}

/* The header ends here; then the payload. */
static void finish(struct builder *p, uint32_t payload,
		   struct vmbus_packet *out)
{
	uint16_t off8 = (uint16_t)(p->at / 8);
	uint16_t len8 = (uint16_t)((p->at + payload) / 8);

	memcpy(p->b + 2, &off8, 2);
	memcpy(p->b + 4, &len8, 2);
	memset(out, 0xEE, sizeof(*out));
	vmbus_packet_parse(p->b, p->at + payload, out);
}

static void in_band_payload_follows_the_header(void **state)
{
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	begin(&p, VMBUS_PACKET_INBAND);
	finish(&p, 48, &out);
	assert_int_equal(out.type, VMBUS_PACKET_INBAND);
	assert_int_equal(out.flags, 1);
	assert_true(out.trans_id == 0xFFFFFFFFFFFFFFFD);
	assert_ptr_equal(out.payload, p.b + 16);
	assert_int_equal(out.payload_len, 48);
	assert_int_equal(out.range_count, 0);
	assert_null(out.pfns);
	/* a longer header is skipped */
	begin(&p, VMBUS_PACKET_COMPLETION);
	add(&p, 0, 8);
	finish(&p, 0, &out);
	assert_int_equal(out.type, VMBUS_PACKET_COMPLETION);
	assert_ptr_equal(out.payload, p.b + 24);
	assert_int_equal(out.payload_len, 0);
}

static void unknown_types_come_back_as_they_are(void **state)
{
	static const uint16_t types[] = {0, 1, 5, 7, 8, 10, 13, 0xFFFF};
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		begin(&p, types[i]);
		finish(&p, 8, &out);
		assert_int_equal(out.type, types[i]);
		assert_int_equal(out.payload_len, 8);
		assert_int_equal(out.range_count, 0);
	}
}

static void one_range_tells_all_pages_that_are_present(void **state)
{
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	begin_gpa(&p, 1);
	add_range(&p, 8192, 512, 3);
	add(&p, 0x99, 8); /* room that Linux leaves unused */
	finish(&p, 56, &out);
	assert_int_equal(out.type, VMBUS_PACKET_GPA_DIRECT);
	assert_int_equal(out.range_count, 1);
	assert_int_equal(out.range_len, 8192);
	assert_int_equal(out.range_offset, 512);
	assert_ptr_equal(out.pfns, p.b + 32);
	assert_int_equal(out.pfn_count, 4);
	assert_int_equal(out.payload_len, 56);
	assert_ptr_equal(out.payload, p.b + 64);
}

static void of_several_ranges_the_first_tells_its_own_pages(void **state)
{
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	begin_gpa(&p, 3);
	add_range(&p, 4096, 1, 2);
	add_range(&p, 100, 0, 1);
	add_range(&p, 1, 4095, 1);
	finish(&p, 8, &out);
	assert_int_equal(out.type, VMBUS_PACKET_GPA_DIRECT);
	assert_int_equal(out.range_count, 3);
	assert_int_equal(out.range_len, 4096);
	assert_int_equal(out.range_offset, 1);
	assert_int_equal(out.pfn_count, 2);
}

/* One row: `count` announced, then up to two ranges. */
struct shape {
	uint32_t count;
	uint32_t len1, off1;
	unsigned pfns1;
	uint32_t len2, off2;
	unsigned pfns2;
	bool second, good;
};

static void gpa_headers_that_contradict_themselves_have_type_0(void **state)
{
	static const struct shape rows[] = {
		{1, 4096, 0, 1, 0, 0, 0, false, true},
		{0, 4096, 0, 1, 0, 0, 0, false, false}, /* no ranges */
		{2, 4096, 0, 1, 0, 0, 0, false, false}, /* one missing */
		{0xFFFFFFFF, 4096, 0, 1, 0, 0, 0, false, false},
		{0x20000001, 4096, 0, 1, 0, 0, 0, false, false}, /* x8 wraps */
		{1, 4096, 1, 1, 0, 0, 0, false,
		 false}, /* second page missing */
		{1, 4096, 1, 2, 0, 0, 0, false, true},
		{1, 4097, 0, 1, 0, 0, 0, false, false},
		{1, 1, 4095, 1, 0, 0, 0, false, true},
		{1, 1, 4096, 2, 0, 0, 0, false, false}, /* starts behind */
		{1, 1, 0xFFFFFFFF, 2, 0, 0, 0, false, false},
		{1, 0xFFFFFFFF, 0, 2, 0, 0, 0, false, false},
		{1, 0xFFFFFFFF, 4095, 2, 0, 0, 0, false, false},
		{1, 0, 0, 0, 0, 0, 0, false, true}, /* nothing, honestly */
		{2, 0, 0, 0, 0, 0, 0, true, true},
		{2, 4096, 0, 1, 4096, 1, 1, true, false},
		{2, 4096, 0, 1, 4096, 1, 2, true, true},
		{2, 4096, 0, 1, 1, 4096, 1, true, false},
	};
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct shape *r = &rows[i];

		begin_gpa(&p, r->count);
		add_range(&p, r->len1, r->off1, r->pfns1);
		if (r->second)
			add_range(&p, r->len2, r->off2, r->pfns2);
		finish(&p, 16, &out);
		if (out.type != (r->good ? VMBUS_PACKET_GPA_DIRECT : 0))
			fail_msg("row %zu: type %u", i, out.type);
		assert_int_equal(out.payload_len, 16);
		assert_int_equal(out.flags, 1);
		assert_true(out.trans_id == 0xFFFFFFFFFFFFFFFD);
		if (!r->good) {
			assert_int_equal(out.range_count, 0);
			assert_int_equal(out.pfn_count, 0);
			assert_null(out.pfns);
		}
	}
}

static void a_gpa_header_without_room_for_its_count_has_type_0(void **state)
{
	struct builder p;
	struct vmbus_packet out;

	(void)state;
	begin(&p, VMBUS_PACKET_GPA_DIRECT);
	finish(&p, 64, &out); /* the list would be payload */
	assert_int_equal(out.type, 0);
	begin_gpa(&p, 1);
	finish(&p, 64, &out);
	assert_int_equal(out.type, 0);
}

static void ranges_of_4_gib_in_all_have_type_0(void **state)
{
	struct builder p;
	struct vmbus_packet out;
	static uint8_t big[65535 * 8];

	/* Two ranges of 2 GiB would need 1 Mi PFNs: no packet holds them, so
	 * the sum can only be reached by lying, which the PFN check catches.
	 */
	(void)state;
	begin_gpa(&p, 2);
	add_range(&p, 0x80000000, 0, 0);
	memcpy(big, p.b, p.at);
	uint16_t off8 = 65535, len8 = 65535;

	memcpy(big + 2, &off8, 2);
	memcpy(big + 4, &len8, 2);
	vmbus_packet_parse(big, sizeof(big), &out);
	assert_int_equal(out.type, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_band_payload_follows_the_header),
		cmocka_unit_test(unknown_types_come_back_as_they_are),
		cmocka_unit_test(one_range_tells_all_pages_that_are_present),
		cmocka_unit_test(
			of_several_ranges_the_first_tells_its_own_pages),
		cmocka_unit_test(
			gpa_headers_that_contradict_themselves_have_type_0),
		cmocka_unit_test(
			a_gpa_header_without_room_for_its_count_has_type_0),
		cmocka_unit_test(ranges_of_4_gib_in_all_have_type_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
