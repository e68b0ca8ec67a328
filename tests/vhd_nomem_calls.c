/* SPDX-License-Identifier: BSD-2-Clause */
/* Every public call without memory: the n-th allocation fails, once and with
 * all that follow, for every n. The call says -ENOMEM, gives back what it took
 * (live allocations are counted), leaves images valid, as an independent
 * reader finds them, and can be made again.
 *
 * The library's allocations come here by the linker's --wrap; where they come
 * from is known by their return address (goals M1 and M2).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/engines.h"
#include "tests/lib/oracle.h"
#include "tests/lib/proof.h"
#include "tests/lib/qtest.h"
#include "tests/lib/scratch.h"

#define SIZE  (256u << 10)
#define BLOCK (16u << 10)
#define W2RU  0x57327275

/* -------------------------------------------------------- the allocator -- */

static bool armed;
static bool forever;
static unsigned countdown;
static unsigned refused; /* since it was armed */
static long live;

#define SITES_MAX 512
static struct {
	const void *from;
	bool failed;
} sites[SITES_MAX];
static unsigned site_count;

static bool refuse(const void *from)
{
	unsigned i;

	if (!armed)
		return false;
	for (i = 0; i < site_count && sites[i].from != from; i++)
		;
	if (i == site_count) {
		assert_true(site_count < SITES_MAX);
		sites[site_count++].from = from;
	}
	if (countdown) {
		countdown--;
		return false;
	}
	if (refused && !forever)
		return false;
	refused++;
	sites[i].failed = true;
	errno = ENOMEM;
	return true;
}

static void *counted(void *p)
{
	live += p != NULL;
	return p;
}

#define FROM __builtin_return_address(0)

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__real_realpath(const char *path, char *out);
DIR *__real_fdopendir(int fd);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
char *__wrap_realpath(const char *path, char *out);
DIR *__wrap_fdopendir(int fd);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n)
{
	return refuse(FROM) ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t count, size_t n)
{
	return refuse(FROM) ? NULL : counted(__real_calloc(count, n));
}

void *__wrap_realloc(void *p, size_t n)
{
	void *q = refuse(FROM) ? NULL : __real_realloc(p, n);

	live += q && !p;
	return q;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return refuse(FROM) ? NULL : counted(__real_aligned_alloc(align, n));
}

/* These allocate inside the C library, where nothing is wrapped. */
char *__wrap_strdup(const char *s)
{
	return refuse(FROM) ? NULL : counted(__real_strdup(s));
}

char *__wrap_strndup(const char *s, size_t n)
{
	return refuse(FROM) ? NULL : counted(__real_strndup(s, n));
}

char *__wrap_realpath(const char *path, char *out)
{
	if (!refuse(FROM))
		return out ? __real_realpath(path, out)
			   : counted(__real_realpath(path, out));
	errno = ENOMEM;
	return NULL;
}

DIR *__wrap_fdopendir(int fd)
{
	if (!refuse(FROM))
		return __real_fdopendir(fd);
	errno = ENOMEM;
	return NULL;
}

void __wrap_free(void *p)
{
	live -= p != NULL;
	__real_free(p);
}

/* ------------------------------------------------------------ the images -- */

static uint8_t models[3][SIZE]; /* what low, mid and top read as */
static const char *const layers[] = {"low.vhd", "mid.vhd", "top.vhd"};

static void put(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

/* A chain of three, the same disk fixed, and one that lacks a footer. */
static void images_make(void)
{
	uint64_t rnd = 5;
	struct memfile *m;

	for (unsigned i = 0; i < 3; i++) {
		if (i)
			memcpy(models[i], models[i - 1], SIZE);
		m = diff_random(i ? IMG_TYPE_DIFF : IMG_TYPE_DYNAMIC, i, SIZE,
				BLOCK, models[i], &rnd);
		if (i)
			diff_locator_text(m, 0, W2RU, layers[i - 1]);
		put(m, layers[i]);
	}
	put(img_fixed(SIZE), "fixed.vhd");
	m = memfile_create();
	assert_int_equal(memfile_poke(m, models[0], SIZE, 0), 0);
	put(m, "raw");
	m = img_dynamic(SIZE, BLOCK, (const uint32_t[]){3, 1}, 2);
	memfile_resize(m, memfile_len(m) - 512);
	put(m, "cut.vhd");
	m = img_dynamic(SIZE, BLOCK, (const uint32_t[]){3, 1}, 2);
	diff_id((uint8_t[16]){0}, 0);
	put(m, "other.vhd");
	(void)unlink("new.vhd");
	(void)unlink("undo");
}

static uint8_t *load(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *b;
	long n;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = ftell(f);
	assert_true(n >= 0);
	rewind(f);
	b = malloc((size_t)n + 1);
	assert_non_null(b);
	*len = fread(b, 1, (size_t)n, f);
	assert_int_equal(*len, n);
	fclose(f);
	return b;
}

/* `layer` of the chain is valid and reads, with what is below it, as it did;
 * a disk that became longer is zero there.
 */
static void chain_judge(unsigned layer)
{
	struct oracle chain[3];
	uint8_t *bytes[3], s[512];

	for (unsigned i = 0; i <= layer; i++) {
		size_t len;

		bytes[i] = load(layers[layer - i], &len);
		if (!oracle_open(&chain[i], bytes[i], len) ||
		    !oracle_check(&chain[i]))
			fail_msg("%s: %s", layers[layer - i], chain[i].fault);
	}
	for (uint64_t lba = 0; lba < SIZE / 512; lba++) {
		assert_true(oracle_chain(chain, layer + 1, lba, s));
		assert_memory_equal(s, models[layer] + lba * 512, 512);
	}
	for (unsigned i = 0; i <= layer; i++)
		free(bytes[i]);
}

/* ------------------------------------------------------------- the calls -- */

static const struct vhd_open_opts chained = {.parent_dir = "."};

static int open_top(bool writable, struct vhd **img, struct vhd_err *e)
{
	struct vhd_open_opts o = chained;

	o.writable = writable;
	return vhd_open("top.vhd", &o, img, e);
}

static int call_open(struct vhd_err *e)
{
	struct vhd *img;
	int rc = open_top(true, &img, e);

	return rc ? rc : vhd_close(img, e);
}

/* All that looks at an open image. Its bitmaps are read on the way. */
static int call_look(struct vhd_err *e)
{
	static uint8_t b[SIZE];
	char path[256];
	struct vhd_layer l;
	struct vhd_run r;
	struct vhd *img;
	uint64_t at;
	unsigned which;
	int rc = open_top(false, &img, e);

	if (rc)
		return rc;
	(void)vhd_chs_reader_bytes(vhd_get_info(img));
	(void)vhd_layer(img, 1, &l);
	(void)vhd_layer_block(img, 1, 0, &at);
	rc = vhd_map(img, 0, SIZE / 512, &r, e);
	if (!rc)
		rc = vhd_map_chain(img, 0, SIZE / 512, &r, &which, e);
	if (!rc)
		rc = vhd_layer_map(img, 2, 0, SIZE / 512, &r, e);
	if (!rc)
		rc = vhd_read(img, 0, b, SIZE, e);
	if (!rc)
		assert_memory_equal(b, models[2], SIZE);
	if (!rc)
		rc = vhd_find_data(img, 0, SIZE, &at, e);
	if (!rc && vhd_parent_path(img, 0, path, sizeof(path)) == -ENOMEM)
		rc = vhd_fail(e, -ENOMEM, VHD_WHY_NOMEM, 0, "parent path");
	vhd_abandon(img);
	return rc;
}

/* What the disk has already is written, so that its content stays. */
static int call_write(struct vhd_err *e)
{
	struct vhd *img;
	int rc = open_top(true, &img, e), end;

	if (rc)
		return rc;
	for (uint64_t at = 0; at < SIZE && !rc; at += BLOCK) {
		rc = vhd_write(img, at, models[2] + at, 4096, e);
		if (!rc && at % (4 * BLOCK) == 0)
			rc = vhd_flush(img, e);
	}
	if (rc) {
		armed = false;
		end = vhd_close(img, NULL);
		assert_int_equal(end, 0);
		return rc;
	}
	return vhd_close(img, e);
}

static int call_place(struct vhd_err *e)
{
	const struct vhd_open_opts o = {.writable = true};
	struct vhd_run r;
	struct vhd *img;
	uint64_t done;
	int rc = vhd_open("other.vhd", &o, &img, e);

	if (rc)
		return rc;
	rc = vhd_place(img, 0, 32, &r, e);
	if (!rc)
		rc = vhd_zero(img, BLOCK / 512 * 3, 8, &done, e);
	if (rc == -EOPNOTSUPP)
		rc = 0; /* a file system without holes */
	if (rc) {
		armed = false;
		assert_int_equal(vhd_close(img, NULL), 0);
		return rc;
	}
	return vhd_close(img, e);
}

static int create(enum vhd_format format, struct vhd_err *e)
{
	const struct vhd_create_opts o = {
		.format = format,
		.size_bytes = format == VHD_FORMAT_DIFF ? 0 : SIZE,
		.block_size_bytes = format == VHD_FORMAT_DYNAMIC ? BLOCK : 0,
		.unique_id = {7},
		.parent_path = format == VHD_FORMAT_DIFF ? "top.vhd" : NULL,
		.parent_dir = format == VHD_FORMAT_DIFF ? "." : NULL,
	};
	struct vhd *img;
	int rc = vhd_create("new.vhd", &o, &img, e);

	return rc ? rc : vhd_close(img, e);
}

static int call_create(struct vhd_err *e)
{
	int rc = create(VHD_FORMAT_DYNAMIC, e);

	return rc ? rc : create(VHD_FORMAT_FIXED, e);
}

static int call_create_child(struct vhd_err *e)
{
	return create(VHD_FORMAT_DIFF, e);
}

static int call_check(struct vhd_err *e)
{
	const struct vhd_check_opts o = {
		.data = true, .parent_dir = ".", .target = VHD_TARGET_AZURE};
	struct vhd_check_result r;

	return vhd_check("top.vhd", &o, &r, e);
}

static int call_repair(struct vhd_err *e)
{
	const struct vhd_repair_opts o = {
		.write = true, .new_id = {9}, .undo_path = "undo"};
	struct vhd_repair_result r;
	struct vhd_undo_result u;
	int rc = vhd_repair("cut.vhd", &o, &r, e);

	if (!rc)
		rc = vhd_undo("cut.vhd", "undo", false, &u, e);
	(void)unlink("undo"); /* a second repair makes its own */
	return rc;
}

static int call_salvage(struct vhd_err *e)
{
	const struct vhd_salvage_opts o = {
		.replace = true, .parent_dir = ".", .unique_id = {3}};
	struct vhd_salvage_result r;

	return vhd_salvage("top.vhd", "new.vhd", &o, &r, e);
}

static int call_in_place(struct vhd_err *e)
{
	struct vhd_in_place_opts o = {.from = VHD_FORMAT_RAW,
				      .to = VHD_FORMAT_FIXED,
				      .unique_id = {4}};
	int rc = vhd_in_place("raw", &o, e);

	if (rc)
		return rc;
	o.from = VHD_FORMAT_FIXED;
	o.to = VHD_FORMAT_RAW;
	rc = vhd_in_place("raw", &o, e);
	if (rc) {
		armed = false;
		assert_int_equal(vhd_in_place("raw", &o, NULL), 0);
	}
	return rc;
}

static int call_resize(struct vhd_err *e)
{
	struct vhd_resize_opts o = {.write = true,
				    .by = VHD_RESIZE_TO,
				    .size_bytes = 64ull << 20};
	struct vhd_resize_result r;
	int rc = vhd_resize("low.vhd", &o, &r, e);

	if (rc)
		return rc;
	o.size_bytes = SIZE;
	o.shrink = o.force = true;
	return vhd_resize("low.vhd", &o, &r, e);
}

static int call_compact(struct vhd_err *e)
{
	const struct vhd_compact_opts o = {
		.write = true, .parent_equal = true, .parent_dir = "."};
	struct vhd_compact_result r;
	int rc = vhd_compact("top.vhd", &o, &r, e);

	return rc ? rc
		  : vhd_compact_to("low.vhd", false, "new.vhd", &o, &r, e);
}

static int call_rebase(struct vhd_err *e)
{
	const struct vhd_rebase_opts o = {.parent_path = "low.vhd",
					  .parent_dir = "."};
	struct vhd_rebase_result r;

	return vhd_rebase("top.vhd", &o, &r, e);
}

static int call_merge(struct vhd_err *e)
{
	const struct vhd_merge_opts o = {.parent_dir = ".", .all = true,
					 .engine = VHD_ENGINE_SYNC};
	struct vhd_merge_result r;

	return vhd_merge("top.vhd", &o, &r, e);
}

static int call_set(struct vhd_err *e)
{
	struct vhd_set_opts o = {
		.fields = VHD_SET_GEOMETRY | VHD_SET_PARENT_ID |
			  VHD_SET_TIMESTAMP,
		.values.geometry = vhd_geometry_from_size(SIZE),
		.write = true,
	};
	struct vhd_set_result r;

	diff_id(o.values.parent_id, 1);
	return vhd_set("top.vhd", &o, &r, e);
}

static int call_stream(struct vhd_err *e)
{
	const struct vhd_create_opts o = {.format = VHD_FORMAT_DYNAMIC,
					  .size_bytes = SIZE,
					  .block_size_bytes = BLOCK};
	const uint8_t used[2] = {0x55, 0xaa};
	struct vhd_stream_run run;
	struct vhd_stream *s;
	uint8_t b[512];
	int rc = vhd_stream_create(&o, used, &s, e);

	if (rc)
		return rc;
	for (uint64_t at = 0; at < vhd_stream_bytes(s); at += run.len_bytes) {
		vhd_stream_at(s, at, &run);
		if (run.kind == VHD_STREAM_META)
			vhd_stream_meta(s, at, b, 512);
	}
	vhd_stream_destroy(s);
	return 0;
}

/* From making a queue to its end; every engine. */
static int queue(enum vhd_engine engine, struct vhd_err *e)
{
	const struct vhd_queue_opts o = {.engine = engine, .depth = 4};
	struct vhd_queue *q = NULL;
	struct vhd *img;
	struct iovec iov = {models[2], 4096};
	struct vhd_req req;
	int rc = open_top(true, &img, e);

	if (rc)
		return rc;
	rc = vhd_queue_create(&o, &q, e);
	if (!rc)
		rc = vhd_queue_attach(q, img, e);
	if (!rc && engine == VHD_ENGINE_URING)
		rc = vhd_queue_memory(q, &iov, 1, e);
	for (unsigned i = 0; i < 3 && !rc; i++) {
		req = (struct vhd_req){.img = img, .iov = &iov, .iov_count = 1,
				       .op = VHD_OP_WRITE};
		if (i)
			req = (struct vhd_req){.img = img, .op = VHD_OP_FLUSH};
		vhd_queue_submit(q, &req);
		vhd_queue_kick(q);
		if (i == 2)
			vhd_queue_cancel(q, &req);
		assert_ptr_equal(qtest_next(q), &req);
		if (i == 2 && req.result == -ECANCELED)
			continue;
		if (req.result)
			rc = vhd_fail(e, req.result, req.why, 0, "a request");
	}
	armed = false;
	if (q)
		vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	assert_int_equal(vhd_close(img, NULL), 0);
	return rc;
}

static int call_queue(struct vhd_err *e)
{
	static const enum vhd_engine engines[] = {
		VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};
	bool was = armed;
	int rc = 0;

	for (unsigned i = 0; i < 3 && !rc; i++) {
		if (!engine_there(engines[i]))
			continue;
		armed = was;
		rc = queue(engines[i], e);
	}
	return rc;
}

/* These ask for nothing. */
static int call_names(struct vhd_err *e)
{
	const struct vhd_geometry g = vhd_geometry_from_size(SIZE);
	unsigned before = refused;

	(void)e;
	assert_true(g.cylinders && vhd_format_name(VHD_FORMAT_RAW) &&
		    vhd_note_text(VHD_NOTE_DIRTY) &&
		    vhd_engine_name(VHD_ENGINE_AIO) &&
		    vhd_target_name(VHD_TARGET_AZURE) &&
		    vhd_finding_name(VHD_FIND_HIDDEN) &&
		    vhd_repair_name(VHD_REPAIR_ID) &&
		    vhd_creator_name((const uint8_t *)"win ", 0xa0000));
	assert_int_equal(refused, before);
	return 0;
}

static const struct {
	const char *name;
	int (*call)(struct vhd_err *e);
	unsigned least; /* allocations there are at least */
} rows[] = {
	{"open", call_open, 12},	{"look", call_look, 12},
	{"write", call_write, 16},	{"place", call_place, 4},
	{"create", call_create, 6},	{"create child", call_create_child, 12},
	{"check", call_check, 8},	{"repair, undo", call_repair, 4},
	{"salvage", call_salvage, 10},	{"in place", call_in_place, 0},
	{"resize", call_resize, 8},	{"compact", call_compact, 10},
	{"rebase", call_rebase, 20},	{"merge", call_merge, 20},
	{"set", call_set, 1},		{"stream", call_stream, 1},
	{"queue", call_queue, 20},	{"names", call_names, 0},
};

static unsigned runs;

/* One refusal, and what must hold then. True: there was none to make. */
static bool refuse_one(unsigned row, unsigned n, bool for_good)
{
	struct vhd_err e = {0};
	long before;
	int rc;

	images_make();
	before = live;
	countdown = n;
	forever = for_good;
	refused = 0;
	armed = true;
	rc = rows[row].call(&e);
	armed = false;
	runs++;
	if (rc && (rc != -ENOMEM || e.why != VHD_WHY_NOMEM || !e.text[0]))
		fail_msg("%s, %u%s: %d, %s", rows[row].name, n,
			 for_good ? " and on" : "", rc, e.text);
	if (live != before)
		fail_msg("%s, %u%s: %ld allocations stay", rows[row].name, n,
			 for_good ? " and on" : "", live - before);
	if (rc && !refused)
		fail_msg("%s: no memory, but it had all", rows[row].name);
	chain_judge(2);
	rc = rows[row].call(&e);
	if (rc)
		fail_msg("%s, %u: not again: %s", rows[row].name, n, e.text);
	if (rows[row].call == call_merge)
		memcpy(models[0], models[2], SIZE);
	chain_judge(rows[row].call == call_merge ? 0 : 2);
	return !refused;
}

static void every_public_call_does_without_any_of_its_allocations(void **state)
{
	struct scratch place;
	unsigned failed = 0;

	(void)state;
	scratch_enter(&place, "nomem", true);
	for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++)
		for (int for_good = 0; for_good < 2; for_good++) {
			unsigned n = 0;

			while (!refuse_one(row, n, for_good))
				n++;
			if (n < rows[row].least)
				fail_msg("%s: only %u allocations",
					 rows[row].name, n);
		}
	scratch_leave(&place);
	for (unsigned i = 0; i < site_count; i++)
		failed += sites[i].failed;
	proof_figure("M1", failed == site_count && site_count > 50,
		     "library: %u of %u sites in %u runs of %zu groups of calls",
		     failed, site_count, runs, sizeof(rows) / sizeof(rows[0]));
	proof_figure("M2", failed == site_count,
		     "library: %u runs, nothing kept, images valid", runs);
	assert_int_equal(failed, site_count);
	assert_true(site_count > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_public_call_does_without_any_of_its_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
