/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines of the verbs of `vhd`, with all that follows from them, in a
 * folder that has a few small images: a disk and a child of it, a fixed and a
 * raw one, and two that are damaged.
 *
 * A verb ends with one of the exit codes; a command line that is refused
 * changes no file; a verb that fails leaves no new file behind; one that only
 * looks changes none; descriptors are closed.
 *
 * An input:
 *   0      which verb
 *   1..    words, each up to a NUL. A byte from 0x80 on stands for one of
 *          `pieces`. A slash becomes an underscore, so that nothing outside
 *          the folder is named.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fuzzin.h"
#include "tools/verb/verb.h"

#define WORDS_MAX 24
#define BYTES_MAX 1024u
#define FILE_MAX  (256u << 10)
#define LIMIT	  (4u << 20) /* no file grows beyond */

int LLVMFuzzerInitialize(int *argc, char ***argv);

static const struct verb {
	int (*run)(const char *prog, int argc, char **argv);
	bool looks; /* changes nothing */
} verbs[] = {
	{verb_check, true},	{verb_compact, false}, {verb_compare, true},
	{verb_create, false},	{verb_diff, true},     {verb_map, true},
	{verb_merge, false},	{verb_rebase, false},  {verb_repair, false},
	{verb_resize, false},	{verb_set, false},     {verb_snapshot, false},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* Files come first: an odd word is most likely one. */
static const char *const pieces[] = {
	"base.vhd",
	"child.vhd",
	"fixed.vhd",
	"raw.img",
	"broken.vhd",
	"bad.vhd",
	"new.vhd",
	"none.vhd",
	"bad.undo",
	".",
	"--all",
	"--block-size=",
	"--chain",
	"--content",
	"--count=",
	"--creator=",
	"--data",
	"--delete",
	"--depth=",
	"--dry-run",
	"--for=",
	"--force",
	"--format=",
	"--format-a=",
	"--format-b=",
	"--geometry=",
	"--gpt",
	"--hidden=",
	"--host-holes",
	"--id=",
	"--into=",
	"--json",
	"--larger-child",
	"--lossy",
	"--max-length=",
	"--no-parent",
	"--no-partitions",
	"--no-undo",
	"--parent=",
	"--parent-dir=",
	"--parent-equal",
	"--parent-id=",
	"--prealloc",
	"--prefer=",
	"--punch",
	"--quiet",
	"--raw-parent",
	"--rename",
	"--salvage=",
	"--saved-state=",
	"--shrink",
	"--size=",
	"--start-offset=",
	"--strict",
	"--time=",
	"--timestamp=",
	"--type=",
	"--undo=",
	"--undo-apply=",
	"--unsafe",
	"--yes",
	"--help",
	"--",
	"--free",
	"raw",
	"fixed",
	"dynamic",
	"diff",
	"auto",
	"hyperv",
	"azure",
	"virtualpc",
	"xenserver",
	"qemu",
	"yes",
	"no",
	"on",
	"off",
	"copy",
	"end",
	"new",
	"now",
	"1M",
	"64K",
	"256K",
	"128K",
	"4096",
	"16384",
	"512",
	"2T",
	"0",
	"1",
	"{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}",
	"2024-11-13T17:17:10Z",
	"1/2/3",
	"65535/16/255",
	"win ",
	"+",
	"-",
	",",
	":",
};
#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

/* ------------------------------------------------------------ the folder -- */

#define FILES 7u

static struct kept {
	const char *name;
	size_t len;
	uint8_t bytes[FILE_MAX];
} files[FILES] = {
	{.name = "base.vhd"},	{.name = "child.vhd"}, {.name = "fixed.vhd"},
	{.name = "raw.img"},	{.name = "broken.vhd"}, {.name = "bad.vhd"},
	{.name = "bad.undo"},
};

static char folder[64];
static int home = -1; /* libFuzzer's own files are named from there */

static size_t load(const char *name, uint8_t *bytes)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return SIZE_MAX;
	n = read(fd, bytes, FILE_MAX);
	must(n >= 0);
	close(fd);
	return (size_t)n;
}

static void store(const struct kept *k)
{
	int fd = open(k->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, k->bytes, k->len) == (ssize_t)k->len);
	close(fd);
}

static const struct kept *known(const char *name)
{
	for (size_t i = 0; i < FILES; i++)
		if (!strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}

static bool changed(const struct kept *k)
{
	static uint8_t bytes[FILE_MAX];
	struct stat st;

	return stat(k->name, &st) || (size_t)st.st_size != k->len ||
	       load(k->name, bytes) != k->len ||
	       memcmp(bytes, k->bytes, k->len) != 0;
}

/* How many names are there that were not; they are removed. */
static unsigned strangers(void)
{
	DIR *d = opendir(".");
	struct dirent *e;
	unsigned n = 0;

	must(d != NULL);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    known(e->d_name))
			continue;
		n++;
		must(unlinkat(dirfd(d), e->d_name, 0) == 0);
	}
	closedir(d);
	return n;
}

/* How many of the files are not what they were; all are put back. */
static unsigned restore(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < FILES; i++)
		if (changed(&files[i])) {
			n++;
			unlink(files[i].name);
			store(&files[i]);
		}
	return n;
}

/* ------------------------------------------------------------ templates --- */

static void make(const char *name, struct vhd_create_opts o, uint64_t from)
{
	uint8_t b[4096];
	struct vhd *img;

	o.now_unix_s = 1700000000;
	o.unique_id[0] = (uint8_t)name[0];
	must(vhd_create(name, &o, &img, NULL) == 0);
	memset(b, name[0], sizeof(b));
	for (uint64_t at = from; at < from + (96u << 10) &&
				 at < vhd_get_info(img)->size_bytes;
	     at += 32u << 10)
		must(vhd_write(img, at, b, sizeof(b), NULL) == 0);
	must(vhd_close(img, NULL) == 0);
}

static void copy_harmed(const char *from, const char *to, long at, size_t n,
			int value)
{
	static struct kept k;

	k.name = to;
	k.len = load(from, k.bytes);
	must(k.len != SIZE_MAX);
	memset(k.bytes + (at < 0 ? (long)k.len + at : at), value, n);
	store(&k);
}

static void templates(void)
{
	struct vhd_repair_opts how = {.write = true,
				      .undo_path = "bad.undo",
				      .new_id = "an id for fuzzer"};

	make("base.vhd",
	     (struct vhd_create_opts){.format = VHD_FORMAT_DYNAMIC,
				      .size_bytes = 256u << 10,
				      .block_size_bytes = 16384},
	     0);
	make("child.vhd",
	     (struct vhd_create_opts){.format = VHD_FORMAT_DIFF,
				      .parent_path = "base.vhd",
				      .parent_dir = "."},
	     64u << 10);
	make("fixed.vhd",
	     (struct vhd_create_opts){.format = VHD_FORMAT_FIXED,
				      .size_bytes = 64u << 10},
	     0);
	make("raw.img",
	     (struct vhd_create_opts){.format = VHD_FORMAT_RAW,
				      .size_bytes = 64u << 10},
	     0);
	copy_harmed("base.vhd", "broken.vhd", -512, 512, 0);
	/* a repair's undo file, and the image as that repair left it */
	copy_harmed("base.vhd", "bad.vhd", 1536, 4, 0);
	(void)vhd_repair("bad.vhd", &how, NULL, NULL);
	for (size_t i = 0; i < FILES; i++) {
		files[i].len = load(files[i].name, files[i].bytes);
		if (files[i].len == SIZE_MAX)
			files[i].len = 0;
		store(&files[i]);
	}
}

static void leave(void)
{
	if (chdir(folder))
		return;
	for (size_t i = 0; i < FILES; i++)
		unlink(files[i].name);
	(void)strangers();
	rmdir(folder);
}

/* The verbs talk; nobody listens. libFuzzer keeps its own stream. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rlimit limit = {LIMIT, LIMIT};
	FILE *null = fopen("/dev/null", "w");
	FILE *nothing = fopen("/dev/null", "r");

	(void)argc;
	(void)argv;
	strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/vhdverbs.XXXXXX"
						: "/dev/shm/vhdverbs.XXXXXX");
	home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(home >= 0 && null && nothing && mkdtemp(folder));
	setenv("VHD_SANDBOX", "off", 1);
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	stdout = null;
	stdin = nothing;
	stderr = null;
	return 0;
}

/* --------------------------------------------------------------- words -- */

struct words {
	char bytes[BYTES_MAX];
	char *argv[WORDS_MAX + 2];
	int argc;
};

static void cut(struct words *w, const uint8_t *data, size_t size)
{
	size_t at = 0;
	char *start = w->bytes;

	w->argv[w->argc++] = (char *)(uintptr_t) "verb";
	for (size_t i = 0; i < size && w->argc < WORDS_MAX; i++) {
		const char one[2] = {data[i] == '/' ? '_' : (char)data[i], 0};
		const char *text = data[i] < 0x80
					   ? one
					   : pieces[(data[i] & 0x7f) % PIECES];
		size_t n = data[i] ? strlen(text) : 1;

		if (at + n + 1 >= sizeof(w->bytes))
			break;
		memcpy(w->bytes + at, data[i] ? text : "", n);
		at += n;
		if (data[i] == 0) {
			w->argv[w->argc++] = start;
			start = w->bytes + at;
		}
	}
	w->bytes[at] = '\0';
	if (w->bytes + at > start)
		w->argv[w->argc++] = start;
	w->argv[w->argc] = NULL;
}

/* What the process cannot take back: an own sandbox; a word for it. */
static bool harmful(const struct words *w)
{
	for (int i = 1; i < w->argc; i++)
		if (!strncmp(w->argv[i], "--sa", 4) &&
		    strncmp(w->argv[i], "--salvage", 9) != 0 &&
		    strncmp(w->argv[i], "--saved-state", 13) != 0)
			return true;
	return false;
}

static int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	must(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct words w;
	const struct verb *v;
	unsigned made, touched;
	int rc, fd;

	if (size == 0)
		return 0;
	memset(&w, 0, sizeof(w));
	cut(&w, data + 1, size - 1);
	if (harmful(&w))
		return 0;
	must(chdir(folder) == 0);
	if (files[0].len == 0) {
		must(atexit(leave) == 0);
		/* libFuzzer has set a handler meanwhile */
		signal(SIGXFSZ, SIG_IGN);
		templates();
	}
	v = &verbs[data[0] % VERBS];
	fd = lowest_free();
	optind = 0; /* getopt starts anew */
	rc = v->run("verb", w.argc, w.argv);
	must(rc >= CLI_OK && rc <= CLI_IO);
	must(lowest_free() == fd);
	made = strangers();
	touched = restore();
	must(fchdir(home) == 0);
	must(!v->looks || (!made && !touched));
	must(rc != CLI_USAGE || (!made && !touched));
	must(rc < CLI_REFUSED || !made);
	return 0;
}
