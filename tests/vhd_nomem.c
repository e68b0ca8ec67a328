/* SPDX-License-Identifier: BSD-2-Clause */
/* The n-th allocation fails, for every n: each call says -ENOMEM and leaves
 * things as they were, or does without. Linked with --wrap, so that only this
 * program's calls are counted.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/scratch.h"
#include "vhd/compact_int.h"
#include "vhd/image.h"
#include "vhd/resize.h"

#define MIB  (1u << 20)
#define SIZE (4 * MIB)

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
char *__real_realpath(const char *path, char *out);
DIR *__real_fdopendir(int fd);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_realpath(const char *path, char *out);
DIR *__wrap_fdopendir(int fd);

static bool armed;
static bool failed;
static unsigned countdown;
static bool forever;

static bool refuse(void)
{
	if (!armed)
		return false;
	if (countdown) {
		countdown--;
		return false;
	}
	if (failed && !forever)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
	return refuse() ? NULL : __real_calloc(count, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return refuse() ? NULL : __real_aligned_alloc(align, n);
}

/* These allocate inside the C library, where nothing is wrapped. */
char *__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

char *__wrap_realpath(const char *path, char *out)
{
	if (!refuse())
		return __real_realpath(path, out);
	errno = ENOMEM;
	return NULL;
}

DIR *__wrap_fdopendir(int fd)
{
	if (!refuse())
		return __real_fdopendir(fd);
	errno = ENOMEM;
	return NULL;
}

static void arm(unsigned nth, bool for_good)
{
	countdown = nth;
	forever = for_good;
	failed = false;
	armed = true;
}

/* A partial block, a whole one, two holes; a table with entries behind. */
static struct memfile *mixed(void)
{
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(SIZE, MIB, order, 2);
	uint8_t map[256] = {0};

	assert_int_equal(
		memfile_poke(m, map, sizeof(map), img_place(SIZE, MIB, 0)), 0);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 6);
	return m;
}

/* A session with something of everything; the medium's own allocations count
 * like the library's.
 */
static int use(struct memfile *m, struct vhd_err *e)
{
	static uint8_t buf[512];
	struct vhd *img = NULL;
	struct vhd_run r;
	int rc = img_open(m, VHD_FORMAT_AUTO, true, &img, e);

	if (rc)
		return rc;
	rc = vhd_map(img, 2048, 1, &r, e);
	if (!rc)
		rc = vhd_read(img, 0, buf, 512, e);
	if (!rc)
		rc = vhd_map_write(img, 2048, 1, &r, e);
	if (!rc)
		rc = vhd_write(img, 3 * MIB, buf, 512, e);
	if (rc)
		vhd_abandon(img);
	else
		rc = vhd_close(img, e);
	return rc;
}

static void any_allocation_of_a_session_may_fail(void **state)
{
	(void)state;
	for (int for_good = 0; for_good < 2; for_good++) {
		unsigned n = 0, refused = 0;

		do {
			struct memfile *m = mixed();
			struct vhd_err e = {0};
			int rc;

			arm(n++, for_good);
			rc = use(m, &e);
			armed = false;
			if (rc) {
				assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
				refused++;
			}
			/* and then all is well */
			assert_int_equal(use(m, &e), 0);
			memfile_destroy(m);
		} while (failed);
		assert_true(refused >= 8);
	}
}

/* A session on a child that keeps bits and copies them. Returns at the first
 * fault; `*stage` is how far it came.
 */
static int use_child(struct memfile *base, struct memfile *top, int *stage,
		     struct vhd_err *e)
{
	static uint8_t buf[512];
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = ""};
	const struct vhd_open_opts ro = {0};
	struct vhd_file f = memfile_file(top), low = memfile_file(base);
	struct vhd *img = NULL, *parent = NULL;
	int rc = vhd_open_file(&f, &rw, &img, e);

	*stage = 0;
	if (rc)
		return rc;
	rc = vhd_open_file(&low, &ro, &parent, e);
	if (!rc)
		rc = vhd_chain_set_parent(img, parent, e);
	for (uint64_t i = 0; i < 3 && !rc; i++) {
		++*stage;
		rc = vhd_write(img, i * MIB, buf, 512, e);
		if (!rc)
			rc = vhd_flush(img, e);
	}
	/* Want of memory is no reason to give an image up. */
	assert_false(vhd_poisoned(img));
	if (rc && *stage) {
		armed = false;
		assert_int_equal(vhd_write(img, 0, buf, 512, NULL), 0);
		assert_int_equal(vhd_close(img, NULL), 0);
	} else if (rc) {
		vhd_abandon(img);
	} else {
		rc = vhd_close(img, e);
	}
	return rc;
}

static void any_allocation_of_a_childs_session_may_fail(void **state)
{
	(void)state;
	unsigned n = 0, refused = 0, running = 0;

	do {
		struct memfile *base = img_dynamic(SIZE, MIB, NULL, 0);
		struct memfile *top = diff_empty(1, SIZE, MIB);
		uint8_t id[16];
		struct vhd_err e = {0};
		int rc, stage;

		diff_id(id, 0);
		img_footers(base, IMG_F_ID, id, 16);
		arm(n++, false);
		rc = use_child(base, top, &stage, &e);
		armed = false;
		if (rc) {
			assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
			refused++;
			running += stage > 0;
		}
		assert_int_equal(use_child(base, top, &stage, &e), 0);
		memfile_destroy(base);
		memfile_destroy(top);
	} while (failed);
	assert_true(refused >= 12 && running >= 5);
}

/* Bits that are written to must be kept, however many are kept already. */
static void bits_to_be_written_need_memory(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true, .parent_dir = ""};
	static uint8_t buf[512];
	struct memfile *top = diff_empty(1, SIZE, MIB);
	struct vhd_file f = memfile_file(top);
	unsigned n = 0, refused = 0;
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &rw, &img, &e), 0);
	assert_int_equal(vhd_write(img, 0, buf, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	do {
		int rc;

		assert_int_equal(vhd_open_file(&f, &rw, &img, &e), 0);
		img->bitmaps_bytes = VHD_BITMAP_CACHE_BYTES;
		arm(n++, false);
		rc = vhd_write(img, n * 512, buf, 512, &e);
		armed = false;
		if (rc) {
			assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
			refused++;
		}
		assert_false(vhd_poisoned(img));
		assert_int_equal(vhd_write(img, n * 512, buf, 512, &e), 0);
		assert_int_equal(vhd_close(img, &e), 0);
	} while (failed);
	assert_true(refused >= 2);
	memfile_destroy(top);
}

/* A longer table and a shorter one, blocks given back, a copy. */
static int edit(int what, struct memfile *m, struct memfile *out,
		struct vhd_err *e)
{
	struct vhd_resize_opts ro = {
		.size_bytes = what ? MIB : 900ull * MIB,
		.write = true,
		.shrink = true,
		.force = true,
	};
	const struct vhd_compact_opts co = {.write = true};
	struct vhd_file f = memfile_file(m), g = memfile_file(out);

	if (what < 2)
		return vhd_resize_file(&f, &ro, NULL, e);
	if (what == 2)
		return vhd_compact_file(&f, &co, NULL, e);
	return vhd_compact_to_file(&f, &g, &co, NULL, e);
}

static void any_allocation_of_a_resize_or_compaction_may_fail(void **state)
{
	(void)state;
	for (int what = 0; what < 4; what++) {
		unsigned n = 0, refused = 0;

		do {
			struct memfile *m = mixed(), *out = memfile_create();
			struct vhd_err e = {0};
			int rc;

			arm(n++, false);
			rc = edit(what, m, out, &e);
			armed = false;
			if (rc) {
				assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
				refused++;
			}
			/* and then all is well */
			assert_int_equal(edit(what, m, out, &e), 0);
			assert_int_equal(use(m, &e) && what != 1, 0);
			memfile_destroy(out);
			memfile_destroy(m);
		} while (failed);
		assert_true(refused >= 8);
	}
}

static void any_allocation_of_a_creation_may_fail(void **state)
{
	(void)state;
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SIZE,
	};
	unsigned n = 0, refused = 0;

	do {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd_err e = {0};
		struct vhd *img;
		uint8_t one = 1;
		int rc;

		assert_int_equal(memfile_poke(m, &one, 1, 0), 0);
		arm(n++, false);
		rc = vhd_create_file(&f, &o, &img, &e);
		armed = false;
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			refused += e.why == VHD_WHY_NOMEM;
		} else {
			vhd_abandon(img);
		}
		memfile_destroy(m);
	} while (failed);
	assert_true(refused >= 5);
}

/* A chain of three, the middle one found by its name in another case. */
static void chain_save(void)
{
	struct memfile *low = diff_empty(1, SIZE, MIB);
	struct memfile *mid = diff_empty(2, SIZE, MIB);
	struct memfile *top = diff_empty(3, SIZE, MIB);

	img_footers32(low, IMG_F_TYPE, IMG_TYPE_DYNAMIC);
	diff_locator_text(mid, 0, 0x57327275, ".\\low.vhd"); /* W2ru */
	diff_name(mid, "low.vhd");
	diff_locator_text(top, 0, 0x57327275, ".\\Mid.vhd");
	diff_save(low, "low.vhd");
	diff_save(mid, "mid.vhd");
	diff_save(top, "top.vhd");
	memfile_destroy(low);
	memfile_destroy(mid);
	memfile_destroy(top);
}

static int chain_use(struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = "."};
	struct vhd *img = NULL;
	int rc = vhd_open("top.vhd", &o, &img, e);

	if (rc)
		return rc;
	assert_int_equal(vhd_get_info(img)->layers, 3);
	vhd_abandon(img);
	return 0;
}

/* The same for descriptors: the n-th is one too many. */
static void chain_without_descriptors(void)
{
	struct rlimit old, now;
	unsigned refused = 0;
	int rc;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	now = old;
	for (now.rlim_cur = 0;; now.rlim_cur++) {
		struct vhd_err e = {0};

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
		rc = chain_use(&e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (!rc)
			break;
		assert_refused(rc, &e, EMFILE, VHD_WHY_SYSTEM);
		refused++;
	}
	assert_true(refused >= 4);
}

/* Nothing but the truth is said: not that the parent is missing. */
static void any_allocation_of_a_search_for_parents_may_fail(void **state)
{
	char dir[] = "/tmp/vhdnomem.XXXXXX", text[1024];
	unsigned n = 0, refused = 0;
	struct vhd *img = NULL;
	struct vhd_err e = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	chain_save();
	assert_int_equal(chain_use(&e), 0);
	do {
		int rc;

		arm(n++, false);
		rc = chain_use(&e);
		armed = false;
		if (rc) {
			assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
			refused++;
		}
	} while (failed);
	assert_true(refused >= 20);
	chain_without_descriptors();
	/* So is the question for the names alone. */
	{
		const struct vhd_open_opts o = {.inspect = true,
						.parent_dir = "."};

		assert_int_equal(unlink("low.vhd"), 0);
		assert_int_equal(vhd_open("top.vhd", &o, &img, &e), 0);
	}
	arm(0, false);
	assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)), -ENOMEM);
	armed = false;
	assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)), 7);
	vhd_abandon(img);
	assert_int_equal(unlink("mid.vhd") | unlink("top.vhd"), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* Layers with data, of which the middle one is the target. */
static void layers_save(uint8_t *model)
{
	static const char *const names[] = {"low.vhd", "mid.vhd", "top.vhd"};
	uint64_t rnd = 5;

	for (unsigned i = 0; i < 3; i++) {
		struct memfile *m =
			diff_random(i ? IMG_TYPE_DIFF : IMG_TYPE_DYNAMIC, i,
				    SIZE, MIB / 8, model, &rnd);

		if (i)
			diff_locator_text(m, 0, 0x57327275, names[i - 1]);
		diff_save(m, names[i]);
		memfile_destroy(m);
	}
}

static void layers_read(const char *path, const uint8_t *model)
{
	const struct vhd_open_opts o = {.parent_dir = "."};
	uint8_t *b = malloc(SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_non_null(b);
	assert_int_equal(vhd_open(path, &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, SIZE, &e), 0);
	assert_memory_equal(b, model, SIZE);
	vhd_abandon(img);
	free(b);
}

static void any_allocation_of_a_merge_may_fail(void **state)
{
	const struct vhd_merge_opts o = {
		.parent_dir = ".",
		.engine = VHD_ENGINE_SYNC,
	};
	struct scratch place;
	uint8_t *model = calloc(1, SIZE);
	unsigned n = 0, refused = 0;

	(void)state;
	assert_non_null(model);
	scratch_enter(&place, "nomem", true);
	do {
		struct vhd_err e = {0};
		int rc;

		layers_save(model);
		arm(n++, false);
		rc = vhd_merge("top.vhd", &o, NULL, &e);
		armed = false;
		if (rc) {
			assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
			refused++;
		}
		layers_read("top.vhd", model);
		assert_int_equal(vhd_merge("top.vhd", &o, NULL, &e), 0);
		layers_read("mid.vhd", model);
	} while (failed);
	assert_true(refused >= 40);
	scratch_leave(&place);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_allocation_of_a_session_may_fail),
		cmocka_unit_test(any_allocation_of_a_childs_session_may_fail),
		cmocka_unit_test(bits_to_be_written_need_memory),
		cmocka_unit_test(
			any_allocation_of_a_resize_or_compaction_may_fail),
		cmocka_unit_test(any_allocation_of_a_creation_may_fail),
		cmocka_unit_test(
			any_allocation_of_a_search_for_parents_may_fail),
		cmocka_unit_test(any_allocation_of_a_merge_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
