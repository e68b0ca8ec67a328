/* SPDX-License-Identifier: BSD-2-Clause */
/* The store, a case's folder, and what is judged of it; see toolcase.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/proof/toolcase.h"
#include "vhd/vhd.h"

#define DISK_BYTES  (256u << 10)
#define LARGE_BYTES (2u << 20)
#define SMALL_BYTES (128u << 10)
#define ZERO4M	    (4u << 20)
#define BLOCK	    (16u << 10)
#define FILES_MAX   32
#define CHAIN_MAX   4
#define NAME_BYTES  64
#define AGAIN_TRIES 100

struct file {
	char name[NAME_BYTES];
	uint8_t *bytes;
	size_t len;
	struct timespec changed;
};

struct flat {
	const char *name;
	uint8_t *bytes;
	size_t len;
};

static struct file store[FILES_MAX];
static unsigned stored;
static struct flat flats[] = {
	{.name = "disk", .len = DISK_BYTES},
	{.name = "child", .len = DISK_BYTES},
	{.name = "other", .len = DISK_BYTES},
	{.name = "holes", .len = DISK_BYTES},
	{.name = "zero", .len = DISK_BYTES},
	{.name = "large", .len = LARGE_BYTES},
	{.name = "small", .len = SMALL_BYTES},
	{.name = "zero4m", .len = ZERO4M},
};

/* Of the last case measured. */
static struct run measured;
static struct file made; /* its first want, for "=" */
static struct run again;

_Noreturn static void broken(const char *what, const char *name)
{
	fprintf(stderr, "%s: %s: %s\n", what, name, strerror(errno));
	if (again.err_len)
		fprintf(stderr, "%s", again.err);
	exit(1);
}

/* --------------------------------------------------------------- files -- */

static bool load(const char *dir, const char *name, struct file *f)
{
	char path[512];
	struct stat st;
	size_t have = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		broken("stat", path);
	snprintf(f->name, sizeof(f->name), "%.60s", name);
	f->len = (size_t)st.st_size;
	f->changed = st.st_mtim;
	f->bytes = malloc(f->len + 1);
	while (f->bytes && have < f->len) {
		ssize_t n = read(fd, f->bytes + have, f->len - have);

		if (n <= 0)
			broken("read", path);
		have += (size_t)n;
	}
	if (!f->bytes)
		broken("memory", path);
	close(fd);
	return true;
}

static void save(const char *dir, const char *name, const void *bytes,
		 size_t len)
{
	const uint8_t *p = bytes;
	char path[512];
	size_t done = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		broken("open", path);
	while (done < len) {
		ssize_t n = write(fd, p + done, len - done);

		if (n <= 0)
			broken("write", path);
		done += (size_t)n;
	}
	close(fd);
}

static const struct file *stored_file(const char *name)
{
	for (unsigned i = 0; i < stored; i++)
		if (!strcmp(store[i].name, name))
			return &store[i];
	broken("not in the store", name);
}

static const struct flat *flat_of(const char *name)
{
	size_t len = strcspn(name, "|");

	for (size_t i = 0; i < sizeof(flats) / sizeof(flats[0]); i++)
		if (strlen(flats[i].name) == len &&
		    !strncmp(flats[i].name, name, len))
			return &flats[i];
	broken("no such content", name);
}

/* ----------------------------------------------------------- the store -- */

static void must(const char *first, ...)
{
	const char *words[CASE_WORDS_MAX + 1] = {first};
	const struct run_how how = {.dir = "store"};
	va_list ap;
	unsigned n = 0;

	va_start(ap, first);
	while (words[n])
		words[++n] = va_arg(ap, const char *);
	va_end(ap);
	run_words(words, &how, &again);
	if (again.status)
		broken("cannot make the store", words[1]);
}

/* Data in several places, and what is derived from it. */
static void flats_make(void)
{
	static const unsigned at[] = {0, 1, 4, 5, 7, 11, 15};
	uint64_t rnd = 42;

	for (size_t i = 0; i < sizeof(flats) / sizeof(flats[0]); i++) {
		flats[i].bytes = calloc(1, flats[i].len);
		if (!flats[i].bytes)
			broken("memory", flats[i].name);
	}
	for (unsigned f = 0; f < 4; f++) {
		if (f == 1 || f == 3) /* child and holes begin as disk */
			memcpy(flats[f].bytes, flats[0].bytes, DISK_BYTES);
		for (unsigned k = f; f < 3 && k < 7; k += f + 1)
			for (unsigned i = 0; i < BLOCK; i++)
				flats[f].bytes[at[k] * BLOCK + i] =
					(uint8_t)random_next(&rnd);
	}
	memset(flats[3].bytes + 4 * BLOCK, 0, 2 * BLOCK);
	memcpy(flats[5].bytes, flats[0].bytes, DISK_BYTES);
	memcpy(flats[6].bytes, flats[0].bytes, SMALL_BYTES);
}

/* The child's content written over its parent, the holes' zeros over data. */
static void write_over(const char *path, const struct flat *f)
{
	const struct vhd_open_opts o = {.writable = true,
					.parent_dir = "store"};
	struct vhd *img;
	struct vhd_err e = {0};

	if (vhd_open(path, &o, &img, &e))
		broken(e.text, path);
	for (size_t at = 0; at < f->len; at += BLOCK)
		if (memcmp(f->bytes + at, flats[0].bytes + at, BLOCK) &&
		    vhd_write(img, at, f->bytes + at, BLOCK, &e))
			broken(e.text, path);
	if (vhd_close(img, &e))
		broken(e.text, path);
}

static void damage(const char *from, const char *to, bool cut)
{
	struct file f;

	if (!load("store", from, &f))
		broken("store", from);
	if (!cut)
		memset(f.bytes, 0, 512);
	save("store", to, f.bytes, cut ? f.len - 512 : f.len);
	free(f.bytes);
}

static void images_make(void)
{
	save("store", "disk.img", flats[0].bytes, flats[0].len);
	for (unsigned i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s.raw", flats[i].name);
		save("store", name, flats[i].bytes, flats[i].len);
	}
	must("vhd-convert", "--from", "raw", "--to", "dynamic",
	     "--block-size", "16K", "disk.raw", "disk.vhd", NULL);
	must("vhd-convert", "--from", "raw", "--to", "dynamic",
	     "--block-size", "16K", "disk.raw", "holes.vhd", NULL);
	must("vhd-convert", "--from", "raw", "--to", "dynamic",
	     "--block-size", "16K", "other.raw", "other.vhd", NULL);
	must("vhd-convert", "--from", "raw", "--to", "fixed", "disk.raw",
	     "fixed.vhd", NULL);
	must("vhd-convert", "--to", "raw", "--compress", "gzip", "disk.vhd",
	     "disk.raw.gz", NULL);
	must("vhd", "create", "--parent", "disk.vhd", "child.vhd", NULL);
	must("vhd", "create", "--size", "256K", "--block-size", "16K",
	     "zero.vhd", NULL);
	write_over("store/child.vhd", &flats[1]);
	write_over("store/holes.vhd", &flats[3]);
	damage("disk.vhd", "cut.vhd", true);
	damage("disk.vhd", "blind.vhd", false);
	damage("disk.vhd", "mended.vhd", true);
	must("vhd", "repair", "--yes", "--undo", "mended.undo", "mended.vhd",
	     NULL);
}

void store_make(void)
{
	struct dirent *e;
	DIR *d;

	if (mkdir("store", 0755))
		broken("mkdir", "store");
	flats_make();
	images_make();
	d = opendir("store");
	if (!d)
		broken("opendir", "store");
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (stored == FILES_MAX || !load("store", e->d_name,
						 &store[stored++]))
			broken("store", e->d_name);
	}
	closedir(d);
}

/* ---------------------------------------------------------- the folder -- */

static bool dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static void empty(const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	if (!d)
		broken("opendir", dir);
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%.200s", dir, e->d_name);
		if (!dots(e->d_name) && unlink(path))
			broken("unlink", path);
	}
	closedir(d);
}

void place_prepare(const struct tool_case *c, const char *dir)
{
	empty(dir);
	for (unsigned i = 0; i < CASE_FILES_MAX && c->files[i]; i++) {
		const struct file *f = stored_file(c->files[i]);
		const struct timespec times[] = {f->changed, f->changed};
		char path[512];

		save(dir, f->name, f->bytes, f->len);
		/* a child tells when its parent has another date */
		snprintf(path, sizeof(path), "%s/%.60s", dir, f->name);
		if (utimensat(AT_FDCWD, path, times, 0))
			broken("utimensat", path);
	}
}

void place_measure(const struct tool_case *c, const char *dir)
{
	const struct run_how how = {.dir = dir};
	const char *fault;

	place_prepare(c, dir);
	run_words(c->words, &how, &measured);
	if (measured.status != c->status || measured.hung) {
		fprintf(stderr, "%s: status %d undisturbed: %s\n", c->name,
			measured.status, measured.err);
		exit(1);
	}
	free(made.bytes);
	made.bytes = NULL;
	if (c->wants[0].after && !strcmp(c->wants[0].after, "=") &&
	    !load(dir, c->wants[0].file, &made))
		broken(c->name, c->wants[0].file);
	fault = place_judge(c, dir, &measured);
	if (fault) {
		fprintf(stderr, "%s: undisturbed: %s\n", c->name, fault);
		exit(1);
	}
}

/* ------------------------------------------------------------- judging -- */

static char verdict[400];

__attribute__((format(printf, 1, 2))) static const char *wrong(const char *fmt,
							       ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict, sizeof(verdict), fmt, ap);
	va_end(ap);
	return verdict;
}

/* The id in the footer that is in force, or NULL. */
static const uint8_t *id_of(const struct file *f)
{
	static const char cookie[] = "conectix";

	if (f->len >= 512 && !memcmp(f->bytes + f->len - 512, cookie, 8))
		return f->bytes + f->len - 512 + 68;
	if (f->len >= 512 && !memcmp(f->bytes, cookie, 8))
		return f->bytes + 68;
	return NULL;
}

/* The image in `dir` whose id the child's header asks for. */
static bool load_parent(const char *dir, const struct oracle *child,
			struct file *out)
{
	struct dirent *e;
	bool found = false;
	DIR *d = opendir(dir);

	if (!d)
		broken("opendir", dir);
	while (!found && (e = readdir(d))) {
		const uint8_t *id;

		if (!strstr(e->d_name, ".vhd") || !load(dir, e->d_name, out))
			continue;
		id = id_of(out);
		found = id && !memcmp(id, child->bytes + child->header + 40,
				      16);
		if (!found)
			free(out->bytes);
	}
	closedir(d);
	return found;
}

/* The sectors of an opened chain are those of the flat disk. */
static const char *compare(const char *name, const struct oracle *chain,
			   unsigned layers, const char *content)
{
	const char *bar = strchr(content, '|');
	const struct flat *f = flat_of(content);
	const struct flat *or = bar ? flat_of(bar + 1) : f;
	uint8_t b[512];

	if (f->len != chain[0].size)
		return wrong("%s has %llu bytes, not those of '%s'", name,
			     (unsigned long long)chain[0].size, f->name);
	for (uint64_t lba = 0; lba < f->len / 512; lba++)
		if (!oracle_chain(chain, layers, lba, b) ||
		    (memcmp(b, f->bytes + lba * 512, 512) &&
		     memcmp(b, or->bytes + lba * 512, 512)))
			return wrong("%s does not read as '%s' at sector %llu",
				     name, f->name, (unsigned long long)lba);
	return NULL;
}

static const char *judge_image(const char *dir, const struct file *f,
			       const char *content)
{
	struct file files[CHAIN_MAX];
	struct oracle chain[CHAIN_MAX];
	unsigned n = 0;
	const char *fault = NULL;
	bool diff = !strncmp(content, "diff:", 5);

	files[0] = *f;
	for (;;) {
		struct oracle *o = &chain[n];

		if (!oracle_open(o, files[n].bytes, files[n].len) ||
		    !oracle_check(o)) {
			fault = wrong("%s is not valid: %s", f->name, o->fault);
			break;
		}
		n++;
		if (!o->diff)
			break;
		if (n == CHAIN_MAX || !load_parent(dir, o, &files[n])) {
			fault = wrong("%s has no parent", f->name);
			n--;
			break;
		}
	}
	if (!fault && diff && n == 1)
		fault = wrong("%s is no differencing disk", f->name);
	if (!fault && strcmp(content, "?"))
		fault = compare(f->name, chain, n, content + (diff ? 5 : 0));
	for (unsigned i = 1; i < n; i++)
		free(files[i].bytes);
	return fault;
}

/* NULL: the file has this content. */
static const char *judge_file(const char *dir, const char *name,
			      const char *content)
{
	struct file f;
	const char *fault = NULL;
	const struct flat *flat;

	if (!load(dir, name, &f))
		return content ? wrong("%s is missing", name) : NULL;
	if (!content)
		fault = wrong("%s is there", name);
	else if (!strcmp(content, "="))
		fault = f.len == made.len && !memcmp(f.bytes, made.bytes, f.len)
				? NULL
				: wrong("%s is not what it was", name);
	else if (strstr(name, ".raw") || !strncmp(content, "raw:", 4)) {
		flat = flat_of(strchr(content, ':') ? content + 4 : content);
		fault = f.len != flat->len ||
					memcmp(f.bytes, flat->bytes, f.len)
				? wrong("%s is not '%s'", name, content)
				: NULL;
	} else {
		fault = judge_image(dir, &f, content);
	}
	free(f.bytes);
	return fault;
}

static bool is_wanted(const struct tool_case *c, const char *name)
{
	for (unsigned i = 0; i < CASE_WANTS_MAX && c->wants[i].file; i++)
		if (!strcmp(c->wants[i].file, name))
			return true;
	return false;
}

static bool killed; /* what is judged */

/* `name` is .FILE.xxxxxx of a file that is replaced, and complete. */
static bool is_left(const struct tool_case *c, const char *dir,
		    const char *name)
{
	for (unsigned i = 0; i < CASE_WANTS_MAX && c->wants[i].file; i++) {
		const struct want *w = &c->wants[i];
		size_t n = strlen(w->file);

		if (killed && w->before && name[0] == '.' &&
		    !strncmp(name + 1, w->file, n) && name[n + 1] == '.' &&
		    strlen(name) == n + 8 &&
		    strspn(name + n + 2, "0123456789abcdef") == 6)
			return !judge_file(dir, name, w->after);
	}
	return false;
}

/* Nothing beside what belongs there, and what was only read as it was. */
static const char *judge_rest(const struct tool_case *c, const char *dir)
{
	const char *fault = NULL;
	struct dirent *e;
	DIR *d = opendir(dir);

	if (!d)
		broken("opendir", dir);
	while (!fault && (e = readdir(d))) {
		bool known = dots(e->d_name) || is_wanted(c, e->d_name) ||
			     (c->keep && !strncmp(e->d_name, c->keep,
						  strlen(c->keep))) ||
			     is_left(c, dir, e->d_name);

		for (unsigned i = 0; i < CASE_FILES_MAX && c->files[i]; i++)
			known |= !strcmp(c->files[i], e->d_name);
		if (!known)
			fault = wrong("%s is left behind", e->d_name);
	}
	closedir(d);
	for (unsigned i = 0; !fault && i < CASE_FILES_MAX && c->files[i];
	     i++) {
		const struct file *was = stored_file(c->files[i]);
		struct file f = {.bytes = NULL};

		if (is_wanted(c, was->name))
			continue;
		if (!load(dir, was->name, &f) || f.len != was->len ||
		    memcmp(f.bytes, was->bytes, f.len))
			fault = wrong("%s was changed", was->name);
		free(f.bytes);
	}
	return fault;
}

/* The kernel ends the ring of a killed process after the process, and holds its
 * files and their locks so long.
 */
static void run_again(const char *const *words, const struct run_how *how)
{
	unsigned tries = 0;

	do {
		if (tries)
			usleep(50000);
		run_words(words, how, &again);
	} while (killed && strstr(again.err, " is open elsewhere") &&
		 ++tries < AGAIN_TRIES);
}

/* What its owner does with an image that is not in order: repair it, or, where
 * that would have to guess, give the same command again.
 */
static void mend(const struct tool_case *c, const char *dir, const char *name)
{
	const char *const words[] = {"vhd",	  "repair", "--yes",
				     "--no-undo", name,	    NULL};
	const struct run_how how = {.dir = dir};

	run_again(words, &how);
	if (again.status == 3)
		run_again(c->words, &how);
}

static bool same_content(const struct want *w)
{
	return w->before && w->after && !strcmp(w->before, w->after);
}

/* Each in its old or its new state; `*done`: all in the new one. */
static const char *judge_cut(const struct tool_case *c, const char *dir,
			     bool *done)
{
	*done = true;
	for (unsigned i = 0; i < CASE_WANTS_MAX && c->wants[i].file; i++) {
		const struct want *w = &c->wants[i];
		const char *fault;

		if (!same_content(w) && !judge_file(dir, w->file, w->after))
			continue;
		*done = false;
		if (!judge_file(dir, w->file, w->before))
			continue;
		if (!w->before)
			return wrong("%s is there, but not complete", w->file);
		mend(c, dir, w->file);
		fault = judge_file(dir, w->file, w->before);
		if (fault && judge_file(dir, w->file, w->after))
			return wrong("neither old nor new, after repair: %.300s",
				     fault);
	}
	return NULL;
}

static const char *judge_new(const struct tool_case *c, const char *dir)
{
	const char *fault = NULL;

	for (unsigned i = 0; !fault && i < CASE_WANTS_MAX && c->wants[i].file;
	     i++)
		fault = judge_file(dir, c->wants[i].file, c->wants[i].after);
	return fault;
}

static const char *judge_failure(const struct tool_case *c, const char *dir)
{
	const struct run_how how = {.dir = dir};
	bool done;
	const char *fault = judge_cut(c, dir, &done);

	if (!fault)
		fault = judge_rest(c, dir);
	if (fault || done || !c->wants[0].file)
		return fault;
	run_again(c->words, &how);
	if (again.status != c->status)
		return wrong("cannot be run again: %.300s", again.err);
	fault = judge_new(c, dir);
	if (fault)
		return fault;
	return judge_rest(c, dir);
}

/* The one line of a failure. */
static const char *judge_line(const struct tool_case *c, const struct run *r)
{
	const char *end = memchr(r->err, '\n', r->err_len);
	char begin[NAME_BYTES];

	if (strcmp(c->words[0], "vhd"))
		snprintf(begin, sizeof(begin), "%s: ", c->words[0]);
	else
		snprintf(begin, sizeof(begin), "vhd %s: ", c->words[1]);
	if (!end)
		return wrong("says nothing");
	if (end != r->err + r->err_len - 1)
		return wrong("more than a line");
	if (strncmp(r->err, begin, strlen(begin)))
		return wrong("does not begin with '%s'", begin);
	if (strstr(r->err, "Success"))
		return wrong("does not say what failed");
	return NULL;
}

const char *place_judge(const struct tool_case *c, const char *dir,
			const struct run *r)
{
	const char *fault;

	if (r->hung)
		return wrong("hangs");
	if (r->status >= 5)
		return wrong("ends with status %d", r->status);
	if (r->status != c->status) {
		if (r->status == 1 && c->finds)
			return judge_rest(c, dir);
		if (r->status < 3)
			return wrong("status %d", r->status);
		fault = judge_line(c, r);
		return fault ? fault : judge_failure(c, dir);
	}
	if (r->err_len != measured.err_len)
		return wrong("complains, but succeeds");
	if (c->out == OUT_SAME && (r->out_len != measured.out_len ||
				   memcmp(r->out, measured.out, r->out_len)))
		return wrong("succeeds with other output");
	if (c->out == OUT_ANY && !r->out_len != !measured.out_len)
		return wrong("succeeds without output");
	fault = judge_new(c, dir);
	return fault ? fault : judge_rest(c, dir);
}

const char *place_judge_killed(const struct tool_case *c, const char *dir)
{
	const char *fault;

	killed = true;
	fault = judge_failure(c, dir);
	killed = false;
	return fault;
}
