/* SPDX-License-Identifier: BSD-2-Clause */
/* CHS geometry against known vectors and range edges. */
#include "tests/lib/cm.h"
#include "vhd/format.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

struct vector {
	uint64_t size;
	unsigned c, h, s;
	uint64_t loss;
};

static const struct vector vectors[] = {
	{1 * MIB, 30, 4, 17, 4096},
	{3 * MIB, 90, 4, 17, 12288},
	{10 * MIB, 301, 4, 17, 6144},
	{63 * MIB, 948, 8, 17, 49152},
	{100 * MIB, 1003, 12, 17, 96256},
	{127 * MIB, 1019, 15, 17, 128512},
	{128 * MIB, 963, 16, 17, 106496},
	{136 * MIB, 561, 16, 31, 139264},
	{248 * MIB, 503, 16, 63, 450560},
	{256 * MIB, 520, 16, 63, 65536},
	{512 * MIB, 1040, 16, 63, 131072},
	{1 * GIB, 2080, 16, 63, 262144},
	{2 * GIB, 4161, 16, 63, 8192},
	{4 * GIB, 8322, 16, 63, 16384},
	{8 * GIB, 16644, 16, 63, 32768},
	{10 * GIB, 20805, 16, 63, 40960},
	{16 * GIB, 33288, 16, 63, 65536},
	{30 * GIB, 62415, 16, 63, 122880},
	{32 * GIB, 16448, 16, 255, 524288},
	{64 * GIB, 32896, 16, 255, 1048576},
	{100 * GIB, 51400, 16, 255, 1638400},
	{127 * GIB, 65278, 16, 255, 2080768},
	{128 * GIB, 65535, 16, 255, 538959872},
	{1024 * GIB, 65535, 16, 255, 1024 * GIB - 136899993600},
	{2040 * GIB, 65535, 16, 255, 2040 * GIB - 136899993600},
};

static void the_specifications_algorithm_meets_known_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		struct vhd_geometry g = vhd_geometry_from_size(v->size);

		assert_int_equal(g.cylinders, v->c);
		assert_int_equal(g.heads, v->h);
		assert_int_equal(g.sectors_per_track, v->s);
		assert_true(v->size - vhd_geometry_product_bytes(&g) ==
			    v->loss);
	}
}

static unsigned spt(uint64_t size)
{
	return vhd_geometry_from_size(size).sectors_per_track;
}

static void ranges_change_at_their_edges(void **state)
{
	(void)state;
	assert_int_equal(spt(136 * MIB - 512), 17);
	assert_int_equal(spt(136 * MIB), 31);
	assert_int_equal(spt(248 * MIB - 512), 31);
	assert_int_equal(spt(248 * MIB), 63);
	assert_int_equal(spt(33822351360 - 512), 63);
	assert_int_equal(spt(33822351360), 255);
	assert_int_equal(spt(136899993600), 255);
}

static void isolated_points_below_136_mib_have_31_sectors(void **state)
{
	(void)state;
	/* in half MiB: 34, 42.5, 51, ... 127.5 */
	for (uint64_t half = 68; half <= 255; half += 17) {
		uint64_t size = half * (MIB / 2);
		struct vhd_geometry g = vhd_geometry_from_size(size);

		assert_int_equal(g.sectors_per_track, 31);
		assert_int_equal(g.heads, 16);
		assert_int_equal(spt(size - 512), 17);
		assert_int_equal(spt(size + 17 * 512), 17);
	}
}

static void the_clamp_holds_from_127_498_gib(void **state)
{
	(void)state;
	struct vhd_geometry g = vhd_geometry_from_size(136899993600);

	assert_true(vhd_geometry_is_marker(&g));
	assert_true(vhd_geometry_product_bytes(&g) == 136899993600);
	g = vhd_geometry_from_size(136899993600 - 512);
	assert_false(vhd_geometry_is_marker(&g));
	g = vhd_geometry_from_size(UINT64_MAX);
	assert_true(vhd_geometry_is_marker(&g));
}

static void tiny_disks_have_a_geometry(void **state)
{
	(void)state;
	struct vhd_geometry g = vhd_geometry_from_size(512);

	assert_int_equal(g.cylinders, 0);
	assert_int_equal(g.heads, 4);
	g = vhd_geometry_from_size(0);
	assert_int_equal(g.cylinders, 0);
}

/* No size makes a reader that multiplies C*H*S, or knows the marker, lose or
 * gain a byte.
 */
static void a_created_geometry_never_truncates(void **state)
{
	(void)state;
	for (uint64_t mib = 1; mib < 140000; mib++) {
		uint64_t size = mib * MIB;
		struct vhd_geometry g = vhd_geometry_for_create(size);

		assert_true(vhd_geometry_is_marker(&g) ||
			    vhd_geometry_product_bytes(&g) == size);
	}
	/* exact ones keep their own */
	struct vhd_geometry g = vhd_geometry_for_create(63 * 16 * 516096ull);

	assert_false(vhd_geometry_is_marker(&g));
}

/* Each of the three numbers counts. */
static void the_marker_is_all_three_numbers(void **state)
{
	(void)state;
	struct vhd_geometry g = {65535, 16, 255};

	assert_true(vhd_geometry_is_marker(&g));
	g.sectors_per_track = 254;
	assert_false(vhd_geometry_is_marker(&g));
	g = (struct vhd_geometry){65535, 15, 255};
	assert_false(vhd_geometry_is_marker(&g));
	g = (struct vhd_geometry){65534, 16, 255};
	assert_false(vhd_geometry_is_marker(&g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_specifications_algorithm_meets_known_sizes),
		cmocka_unit_test(ranges_change_at_their_edges),
		cmocka_unit_test(isolated_points_below_136_mib_have_31_sectors),
		cmocka_unit_test(the_clamp_holds_from_127_498_gib),
		cmocka_unit_test(tiny_disks_have_a_geometry),
		cmocka_unit_test(a_created_geometry_never_truncates),
		cmocka_unit_test(the_marker_is_all_three_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
