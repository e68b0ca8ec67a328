/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person, or a program that calls ours, may put on a command line: the
 * parsers of vhd-convert and of `hv run`, and the words that options of all
 * tools take (sizes, ids, times, foreign text, the console's escape key).
 * Nothing is opened: it is parsed, and what was accepted must make sense.
 *
 * An input:
 *   0      which parser
 *   1..    words, each up to a NUL. A byte from 0x80 on stands for one of
 *          `pieces`, so that options and values are whole from the start;
 *          0xff is taken literally together with the byte behind it.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tools/convert/convert.h"
#include "tools/convert/nbd.h"
#include "tools/hv/hv.h"
#include "tools/verb/verb.h"

#define WORDS_MAX 96
#define BYTES_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *const pieces[] = {
	"--from=",
	"--to=",
	"--in-place",
	"--block-size=",
	"--for=",
	"--sparse=",
	"--reflink=",
	"--rate=",
	"--engine=",
	"--direct",
	"--verify",
	"--no-sync",
	"--parent=",
	"--parent-dir=",
	"--no-parent",
	"--larger-child",
	"--raw-parent",
	"--compress=",
	"--decompress=",
	"--size=",
	"--digest=",
	"--json",
	"--force",
	"--resume",
	"--quiet",
	"--verbose",
	"--kernel=",
	"--initrd=",
	"--append=",
	"--disk=",
	"--memory=",
	"--cpus=",
	"--accel=",
	"--console=",
	"--timeout=",
	"--help",
	"--version",
	"--",
	"raw",
	"fixed",
	"dynamic",
	"diff",
	"auto",
	"qcow2",
	"vhdx",
	"yes",
	"no",
	"punch",
	"always",
	"never",
	"none",
	"gzip",
	"gzip:",
	"hyperv",
	"azure",
	"virtualpc",
	"xenserver",
	"virtualbox",
	"qemu",
	"uring",
	"sync",
	"kvm",
	"tcg",
	",ro",
	",rw",
	",raw",
	"nbd://",
	"nbd+unix:///x?socket=",
	".gz",
	".vhd",
	"KiB",
	"MiB",
	"18446744073709551615",
	"18446744073709551616",
	"4096",
	"2M",
	"256M",
	"512",
	"64",
	"{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}",
	"0a1b2c3d4e5f60718293a4b5c6d7e8f9",
	"2000-01-01",
	"2136-02-07",
	"2024-11-13T17:17:10Z",
	"\xd8\x3d\xde\x00",
	"\xf0\x9f\x98\x80",
	"\1x",
};

/* The parsers talk; nobody listens. libFuzzer keeps its own stream. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	FILE *null = fopen("/dev/null", "w");

	(void)argc;
	(void)argv;
	must(null != NULL);
	stdout = null;
	stderr = null;
	return 0;
}

/* --------------------------------------------------------------- words -- */

struct words {
	char bytes[BYTES_MAX];
	char *argv[WORDS_MAX + 1];
	size_t len[WORDS_MAX];
	int argc;
};

static size_t piece(char *to, size_t room, uint8_t b)
{
	const char *p =
		pieces[(b & 0x7f) % (sizeof(pieces) / sizeof(pieces[0]))];
	size_t n = strlen(p);

	if (n > room)
		return 0;
	memcpy(to, p, n);
	return n;
}

static void cut(struct words *w, const uint8_t *data, size_t size)
{
	size_t at = 0, start = 0;

	w->argv[w->argc++] = (char *)(uintptr_t) "prog";
	for (size_t i = 0; i < size && at < BYTES_MAX - 2; i++) {
		if (data[i] == 0xff && i + 1 < size)
			w->bytes[at++] = (char)data[++i];
		else if (data[i] >= 0x80)
			at += piece(w->bytes + at, BYTES_MAX - 2 - at, data[i]);
		else
			w->bytes[at++] = (char)data[i];
		if (data[i] != 0 || w->argc == WORDS_MAX - 1)
			continue;
		w->len[w->argc] = at - start;
		w->argv[w->argc++] = w->bytes + start;
		start = at;
	}
	w->bytes[at] = '\0';
	w->len[w->argc] = at - start;
	w->argv[w->argc++] = w->bytes + start;
}

/* ------------------------------------------------------- command lines -- */

static bool given(const struct words *w, const char *word)
{
	for (int i = 1; i < w->argc; i++)
		if (strcmp(w->argv[i], word) == 0)
			return true;
	return false;
}

static void convert_blocks(const struct convert_opts *o)
{
	uint32_t b = o->block_size_bytes;

	if (b == 0)
		return;
	must(b >= 4096 && b <= 256u << 20 && (b & (b - 1)) == 0);
	must(o->to == VHD_FORMAT_DYNAMIC || o->to == VHD_FORMAT_DIFF);
}

static void convert_sense(const struct words *w, const struct convert_opts *o)
{
	must(o->src && (o->in_place ? o->dst == o->src : o->dst != NULL));
	must(o->to >= VHD_FORMAT_RAW && o->to <= VHD_FORMAT_DIFF);
	must((o->to == VHD_FORMAT_DIFF) == (o->parent != NULL));
	must(!o->target || o->to != VHD_FORMAT_RAW);
	must(o->gzip_level >= 0 && o->gzip_level <= 9);
	must(o->stream_bytes % VHD_SECTOR_BYTES == 0);
	must(!(o->quiet && o->verbose) && !(o->no_parent && o->parent_dir));
	must(!o->in_place || (o->from != o->to && !o->resume && !o->verify &&
			      !o->digest && !o->gzip_level));
	must(!o->in_place
		     ? !convert_nbd_is_uri(o->dst) || o->to == VHD_FORMAT_RAW
		     : o->to <= VHD_FORMAT_FIXED);
	must(!o->resume || (!o->digest && !o->no_sync && !o->gzip_level));
	must(!o->verify || strcmp(o->dst, "-") != 0);
	convert_blocks(o);
	must(!given(w, "--rate=0"));
}

static void convert_line(struct words *w)
{
	struct convert_opts o = {0};
	int ret;

	optind = 0; /* getopt starts anew */
	ret = convert_args(w->argc, w->argv, &o);
	must(ret == -1 || ret == CLI_OK || ret == CLI_USAGE);
	if (ret == -1)
		convert_sense(w, &o);
}

static void hv_line(struct words *w)
{
	struct hv_args a;
	int ret;

	optind = 0;
	ret = hv_args_parse(w->argc, w->argv, &a);
	must(ret == -1 || ret == CLI_OK || ret == CLI_USAGE);
	must(a.disk_count <= HV_DISKS_MAX);
	for (unsigned i = 0; i < a.disk_count && ret == -1; i++) {
		must(a.disks[i].path[0] != '\0');
		must(a.disks[i].format != VHD_FORMAT_DIFF);
		must(a.disks[i].controller < HV_CONTROLLERS_MAX);
		must(a.disks[i].lun < hv_luns(a.disks[i].controller));
	}
	if (ret == -1) {
		must(a.kernel ? a.append != NULL : a.disk_count > 0);
		must(a.memory_bytes >= HV_MEMORY_MIN &&
		     a.memory_bytes <= HV_MEMORY_MAX &&
		     a.memory_bytes % (2u << 20) == 0);
		must(a.cpus >= 1 && a.cpus <= HV_CPUS_MAX);
		must(a.channels >= 1 && a.channels <= a.cpus);
		must(a.poll_us <= HV_POLL_MAX_US);
		must(a.accel <= HV_ACCEL_TCG);
	}
	hv_args_free(&a);
}

/* --------------------------------------------------------------- values -- */

/* A size once more, in wider numbers and by another way. */
static int size_expected(const char *t, uint64_t *out)
{
	static const char letters[] = "KMGTPE";
	unsigned __int128 n = 0;
	bool huge = false;
	const char *l;

	if (*t < '0' || *t > '9')
		return -EINVAL;
	for (; *t >= '0' && *t <= '9'; t++) {
		n = n * 10 + (unsigned)(*t - '0');
		huge |= n > UINT64_MAX;
		n = huge ? 1 : n;
	}
	if (*t) {
		l = strchr(letters, *t & ~0x20);
		if (!l || !*l || (t[1] && strcasecmp(t + 1, "ib") != 0))
			return -EINVAL;
		n <<= 10 * (l - letters + 1);
	}
	if (huge || n > UINT64_MAX)
		return -ERANGE;
	*out = (uint64_t)n;
	return 0;
}

static void size_word(const char *t)
{
	uint64_t got = 77, want = 77;
	char text[CLI_SIZE_TEXT];

	must(cli_size_parse(t, &got) == size_expected(t, &want));
	must(got == want);
	must(strlen(cli_size_text(got, text, sizeof(text))) < sizeof(text));
}

static void id_word(const char *t)
{
	uint8_t id[16] = {0}, again[16] = {0};
	char text[CLI_ID_TEXT];

	if (cli_id_parse(t, id) < 0) {
		for (unsigned i = 0; i < sizeof(id); i++)
			must(id[i] == 0);
		return;
	}
	must(cli_id_parse(cli_id_windows(id, text), again) == 0);
	must(memcmp(id, again, sizeof(id)) == 0);
	must(cli_id_parse(cli_id_hex(id, text), again) == 0);
	must(memcmp(id, again, sizeof(id)) == 0);
	must(strlen(cli_id_rfc4122(id, text)) == 36);
}

static void time_word(const char *t)
{
	uint32_t s = 77, again = 78;
	char text[CLI_TIME_TEXT];
	int ret = cli_time_parse(t, &s);

	must(ret == 0 || ((ret == -EINVAL || ret == -ERANGE) && s == 77));
	must(cli_time_parse(cli_time_text(s, text), &again) == 0);
	must(s == again);
}

/* Clean text has no control characters and is not cleaned any further. */
static void clean(char *t)
{
	char *once = strdup(t);

	must(once != NULL);
	cli_text_clean(once);
	must(strlen(once) <= strlen(t));
	for (const char *p = once; *p; p++)
		must((unsigned char)*p >= 0x20 && *p != 0x7f);
	strcpy(t, once);
	cli_text_clean(t);
	must(strcmp(t, once) == 0);
	free(once);
}

static void text_word(char *t, size_t len)
{
	char small[9], large[1024];
	size_t n = len < 256 ? len : 256;

	must(strlen(cli_text_utf16be((uint8_t *)t, n, small, sizeof(small))) <
	     sizeof(small));
	(void)cli_text_utf16be((uint8_t *)t, n, large, sizeof(large));
	clean(large);
	clean(t);
}

/* However the input is cut, what is left is the same. */
static void escape_word(const char *t, size_t len)
{
	struct hv_escape a = {false}, b = {false};
	uint8_t *whole = malloc(len + 1), *bytes = malloc(len + 1);
	size_t n, m = 0;

	must(whole && bytes);
	memcpy(whole, t, len);
	n = hv_escape_filter(&a, whole, len);
	must(n <= len);
	for (size_t i = 0; i < len; i++) {
		bytes[m] = (uint8_t)t[i];
		m += hv_escape_filter(&b, bytes + m, 1);
		must(m <= i + 1);
	}
	must(m == n && memcmp(whole, bytes, n) == 0);
	must(a.quit == b.quit && a.help == b.help && a.pending == b.pending);
	free(whole);
	free(bytes);
}

static void option_words(const char *t)
{
	enum vhd_format format = VHD_FORMAT_RAW;
	enum vhd_target target = (enum vhd_target)0;
	uint64_t bytes;

	if (verb_format("prog", "from", t, true, &format) == CLI_OK)
		must(!strcmp(t, vhd_format_name(format)) ||
		     !strcmp(t, "auto") || !strcmp(t, "differencing"));
	if (verb_target("prog", t, &target) == CLI_OK)
		must(!strcmp(t, vhd_target_name(target)));
	must((verb_size("prog", "size", t, &bytes) == CLI_OK) ==
	     (cli_size_parse(t, &bytes) == 0));
	(void)convert_nbd_is_uri(t);
}

static void values(struct words *w, unsigned which)
{
	for (int i = 1; i < w->argc; i++) {
		char *t = w->argv[i];

		if (which == 0)
			size_word(t);
		else if (which == 1)
			id_word(t);
		else if (which == 2)
			time_word(t);
		else if (which == 3)
			escape_word(t, w->len[i]);
		else if (which == 4)
			option_words(t);
		else
			text_word(t, w->len[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct words w;

	if (size == 0)
		return 0;
	memset(&w, 0, sizeof(w));
	cut(&w, data + 1, size - 1);
	if (data[0] % 8 == 6)
		convert_line(&w);
	else if (data[0] % 8 == 7)
		hv_line(&w);
	else
		values(&w, data[0] % 8);
	return 0;
}
