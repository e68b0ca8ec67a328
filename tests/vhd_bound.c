/* SPDX-License-Identifier: BSD-2-Clause */
/* What an image can make the library allocate: at each limit, and one past it.
 * Bounds: opening takes 5 bytes a block to read and 16 to write, 64 KiB for a
 * locator, 4 KiB a layer, and 1 MiB for all else; what is refused for its size
 * takes no more than 64 KiB.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/peak.h"
#include "tests/lib/proof.h"
#include "tests/lib/scratch.h"
#include "vhd/format.h"
#include "vhd/image.h"
#include "vhd/locator.h"

#define KIB 1024u
#define MIB (1u << 20)

#define BLOCK	    4096u
#define ELSE_BYTES  MIB
#define REFUSE_BYTES (64 * KIB)

static void within(const char *what, size_t bound)
{
	proof_figure("M4", peak_most <= bound, "%s %zu of %zu bytes", what,
		     peak_most, bound);
	if (peak_most > bound)
		fail_msg("%s: %zu bytes, %zu are allowed", what, peak_most,
			 bound);
}

static int opened(struct memfile *m, bool writable, struct vhd_err *e)
{
	struct vhd *img = NULL;
	int rc;

	peak_begin();
	rc = img_open(m, VHD_FORMAT_DYNAMIC, writable, &img, e);
	vhd_abandon(img);
	return rc;
}

static void the_most_blocks_there_may_be(void **state)
{
	struct memfile *m = img_bare((uint64_t)VHD_BLOCKS_MAX * BLOCK, BLOCK,
				     NULL, 0);
	struct vhd_err e;

	(void)state;
	assert_int_equal(opened(m, false, &e), 0);
	within("blocks, read", VHD_BLOCKS_MAX * 5ull + ELSE_BYTES);
	assert_int_equal(opened(m, true, &e), 0);
	within("blocks, written", VHD_BLOCKS_MAX * 16ull + ELSE_BYTES);
	/* one more, in the same file */
	img_footers64(m, IMG_F_CURRENT_SIZE,
		      ((uint64_t)VHD_BLOCKS_MAX + 1) * BLOCK);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, VHD_BLOCKS_MAX + 1);
	assert_true(opened(m, true, &e) < 0);
	within("blocks + 1", REFUSE_BYTES);
	memfile_destroy(m);
}

/* More entries than the disk has blocks are read by pieces. */
static void a_table_of_any_length(void **state)
{
	struct memfile *m = img_bare(MIB, BLOCK, NULL, 0);
	struct vhd_err e;

	(void)state;
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, UINT32_MAX);
	(void)opened(m, true, &e);
	within("table of 2^32-1 entries", ELSE_BYTES);
	memfile_destroy(m);
}

static void names_of_a_parent(void **state)
{
	static uint8_t text[VHD_LOCATOR_PAYLOAD_MAX + 2];

	(void)state;
	for (unsigned more = 0; more <= 2; more += 2) {
		struct memfile *m = diff_empty(1, MIB, 64 * KIB);
		struct vhd_file f = memfile_file(m);
		const struct vhd_open_opts o = {.parent_dir = ""};
		struct vhd *img = NULL;
		struct vhd_err e;
		char path[1024];

		memset(text, 'a', sizeof(text));
		for (unsigned i = 0; i < VHD_LOCATORS; i++)
			diff_locator(m, i, VHD_LOCATOR_W2RU, text,
				     VHD_LOCATOR_PAYLOAD_MAX + more);
		peak_begin();
		assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
		for (unsigned i = 0; i <= VHD_LOCATORS; i++)
			(void)vhd_parent_path(img, i, path, sizeof(path));
		vhd_abandon(img);
		within(more ? "locator + 2" : "locator",
		       VHD_LOCATOR_PAYLOAD_MAX + ELSE_BYTES);
		memfile_destroy(m);
	}
}

static void chain_save(unsigned n)
{
	struct memfile *m = n ? diff_empty(n, MIB, 64 * KIB) : img_fixed(MIB);
	uint8_t id[16];
	char name[32];

	if (n) {
		snprintf(name, sizeof(name), "%u.vhd", n - 1);
		diff_locator_text(m, 0, VHD_LOCATOR_W2RU, name);
	} else {
		diff_id(id, 0);
		img_set(m, MIB, 512, IMG_F_ID, id, 16);
	}
	snprintf(name, sizeof(name), "%u.vhd", n);
	diff_save(m, name);
	memfile_destroy(m);
}

/* And a circle, which has no end. */
static void chains_of_any_depth(void **state)
{
	const struct vhd_open_opts o = {.parent_dir = "."};
	struct scratch home;
	struct vhd *img = NULL;
	struct vhd_err e;
	char name[32];

	(void)state;
	scratch_enter(&home, "bound", true);
	for (unsigned n = 0; n <= VHD_CHAIN_MAX; n++)
		chain_save(n);
	for (unsigned n = VHD_CHAIN_MAX - 1; n <= VHD_CHAIN_MAX; n++) {
		snprintf(name, sizeof(name), "%u.vhd", n);
		peak_begin();
		img = NULL;
		assert_int_equal(vhd_open(name, &o, &img, &e) == 0,
				 n < VHD_CHAIN_MAX);
		vhd_abandon(img);
		within(n < VHD_CHAIN_MAX ? "layers" : "layers + 1",
		       VHD_CHAIN_MAX * 16 * KIB + ELSE_BYTES);
	}
	scratch_leave(&home);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_most_blocks_there_may_be),
		T(a_table_of_any_length),
		T(names_of_a_parent),
		T(chains_of_any_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
