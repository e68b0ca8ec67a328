/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd bench: how fast an image is read or written through the library's
 * queue. Writing goes to a nameless differencing disk over the image, unless
 * the user gives the image up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "tools/convert/convert.h"
#include "verb.h"
#include "tools/sandbox/sandbox.h"

#define DEPTH_DEFAULT 64u
#define SIZE_DEFAULT 4096u
#define SIZE_MAX_BYTES (16u << 20)
#define BUFFERS_MAX_BYTES (1ull << 30)
#define TIME_DEFAULT_MS 5000u
#define TIME_MAX_S 86400u
#define SEED_DEFAULT 88172645463325252u

enum {
	OPT_ENGINE = 256,
	OPT_DEPTH,
	OPT_SIZE,
	OPT_PATTERN,
	OPT_COUNT,
	OPT_TIME,
	OPT_DIRECT,
	OPT_FLUSH_INTERVAL,
	OPT_SEED,
	OPT_DESTROY,
	OPT_FORMAT,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"write", 'w', NULL,
	 "write rather than read: to a throw-away differencing\n"
	 "disk over the image"},
	{"destroy", OPT_DESTROY, NULL,
	 "write to the image itself, whose content is lost"},
	{"engine", OPT_ENGINE, "ENGINE",
	 "uring, aio, sync; auto takes the first that works"},
	{"depth", OPT_DEPTH, "N", "requests in flight, 1 to 1024 (64)"},
	{"size", OPT_SIZE, "SIZE", "of each request (4K)"},
	{"pattern", OPT_PATTERN, "WHICH", "rand (the default) or seq"},
	{"count", OPT_COUNT, "N", "end after so many requests"},
	{"time", OPT_TIME, "SECONDS", "end after this time (5)"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{"flush-interval", OPT_FLUSH_INTERVAL, "N",
	 "flush after every so many writes"},
	{"seed", OPT_SEED, "N", "of the random places, to repeat a run"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as raw, fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "differencing disks, which are in or below DIR, may have\n"
	 "their parents there (default: their own directories)"},
	{"no-parent", OPT_NO_PARENT, NULL, "refuse differencing disks"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let them be larger than their parents; the rest is zero"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{0},
};

struct bench_verb {
	const char *prog;
	const char *path;
	struct vhd_open_opts open;
	struct verb_parents parents;
	struct bench_opts opts;
	bool destroy;
	bool json;
	struct vhd *img;
	struct convert_output overlay; /* never gets a name */
	uint64_t blocks, blocks_used;  /* of FILE before; 0: has none */
	enum vhd_format format;
	uint64_t size_bytes;
	struct bench_result result;
};

static volatile sig_atomic_t stop;

/* -------------------------------------------------------- command line -- */

static int number(struct bench_verb *b, const char *option, const char *text,
		  uint64_t most, uint64_t *to)
{
	if (cli_number_parse(text, 1, most, to))
		return cli_usage(b->prog, "--%s %s: not a number from 1 to "
					  "%" PRIu64,
				 option, text, most);
	return CLI_OK;
}

static int engine_apply(struct bench_verb *b, const char *text)
{
	for (int e = VHD_ENGINE_AUTO; e <= VHD_ENGINE_SYNC; e++)
		if (!strcmp(text, vhd_engine_name((enum vhd_engine)e))) {
			b->opts.engine = (enum vhd_engine)e;
			return CLI_OK;
		}
	return cli_usage(b->prog,
			 "--engine %s: not one of auto, uring, aio, sync",
			 text);
}

static int size_apply(struct bench_verb *b, const char *text)
{
	uint64_t n;
	int status = verb_size(b->prog, "size", text, &n);

	if (status)
		return status;
	if (!n || n % VHD_SECTOR_BYTES || n > SIZE_MAX_BYTES)
		return cli_usage(b->prog,
				 "--size %s: not whole sectors of 512 bytes, "
				 "up to 16M",
				 text);
	b->opts.size_bytes = (uint32_t)n;
	return CLI_OK;
}

static int pattern_apply(struct bench_verb *b, const char *text)
{
	b->opts.sequential = !strcmp(text, "seq");
	if (!b->opts.sequential && strcmp(text, "rand") != 0)
		return cli_usage(b->prog, "--pattern %s: not seq or rand",
				 text);
	return CLI_OK;
}

static int number_apply(struct bench_verb *b, int id, const char *text)
{
	uint64_t n;
	int status;

	switch (id) {
	case OPT_DEPTH:
		status = number(b, "depth", text, BENCH_DEPTH_MAX, &n);
		if (!status)
			b->opts.depth = (unsigned)n;
		return status;
	case OPT_COUNT:
		return number(b, "count", text, UINT64_MAX / 2,
			      &b->opts.count);
	case OPT_TIME:
		status = number(b, "time", text, TIME_MAX_S, &n);
		if (!status)
			b->opts.time_ms = n * 1000;
		return status;
	case OPT_FLUSH_INTERVAL:
		return number(b, "flush-interval", text, UINT64_MAX / 2,
			      &b->opts.flush_interval);
	default:
		return number(b, "seed", text, UINT64_MAX - 1, &b->opts.seed);
	}
}

static const struct cli_set sets[] = {
	{'w', CLI_SETS(struct bench_verb, opts.write)},
	{OPT_DESTROY, CLI_SETS(struct bench_verb, destroy)},
	{OPT_DIRECT, CLI_SETS(struct bench_verb, open.direct)},
	{OPT_NO_PARENT, CLI_SETS(struct bench_verb, parents.none)},
	{OPT_LARGER_CHILD, CLI_SETS(struct bench_verb, open.larger_child)},
	{OPT_PARENT_DIR, CLI_TAKES(struct bench_verb, parents.dir)},
	{OPT_JSON, CLI_SETS(struct bench_verb, json)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct bench_verb *b = into;

	switch (id) {
	case OPT_ENGINE:
		return engine_apply(b, value);
	case OPT_SIZE:
		return size_apply(b, value);
	case OPT_PATTERN:
		return pattern_apply(b, value);
	case OPT_FORMAT:
		return verb_format(b->prog, "format", value, true,
				   &b->open.format);
	default:
		return number_apply(b, id, value);
	}
}

static int combination_check(struct bench_verb *b)
{
	int status = verb_parents_check(b->prog, &b->parents);

	if (status)
		return status;
	if (b->destroy && !b->opts.write)
		return cli_usage(b->prog, "--destroy is for --write");
	if (b->opts.flush_interval && !b->opts.write)
		return cli_usage(b->prog, "--flush-interval is for --write");
	if (b->opts.count && b->opts.time_ms)
		return cli_usage(b->prog, "--count excludes --time");
	if ((uint64_t)b->opts.depth * b->opts.size_bytes > BUFFERS_MAX_BYTES)
		return cli_usage(b->prog, "--depth times --size is more than "
					  "1 GiB of buffers");
	if (!b->opts.count && !b->opts.time_ms)
		b->opts.time_ms = TIME_DEFAULT_MS;
	return CLI_OK;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct bench_verb *b, int argc, char **argv)
{
	struct cli_options o = {
		.prog = b->prog,
		.usage = "[options] FILE",
		.about = "Measure how fast an image is read or written.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = b,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	status = combination_check(b);
	if (status)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(b->prog, "needs one file");
	b->path = argv[o.first_operand];
	return -1;
}

/* ----------------------------------------------------------- the image -- */

/* A differencing disk without a name over the image, in its directory. */
static int open_overlay(struct bench_verb *b, const char *dir,
			struct vhd_err *err)
{
	struct vhd_create_opts how = {
		.format = VHD_FORMAT_DIFF,
		.now_unix_s = time(NULL),
		.direct = b->open.direct,
		.parent_path = b->path,
		.parent_dir = b->open.parent_dir,
		.larger_child = b->open.larger_child,
	};
	const struct stat none = {0};
	char path[PATH_MAX];
	int rc, n = snprintf(path, sizeof(path), "%s/.vhd-bench.%ld", dir,
			     (long)getpid());

	if (n < 0 || (size_t)n >= sizeof(path))
		return vhd_fail(err, -ENAMETOOLONG, VHD_WHY_SYSTEM, 0,
				"its directory has too long a name");
	if (b->format == VHD_FORMAT_RAW)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a raw disk cannot have a differencing disk "
				"over it; --destroy writes to the disk itself");
	how.final_path = path;
	rc = verb_new_id(how.unique_id, err);
	if (!rc)
		rc = convert_output_open(&b->overlay, path, false, &none, err);
	if (!rc)
		rc = vhd_create(b->overlay.path, &how, &b->img, err);
	if (rc)
		cli_strip_path(err, b->overlay.path);
	return rc;
}

static int open_image(struct bench_verb *b, struct vhd_err *err)
{
	static const struct vhd_nbd_opts remote; /* all by default */
	const struct vhd_info *info;
	char *dir;
	int rc;

	b->open.nbd = &remote;
	b->open.parent_dir = verb_parent_dir(&b->parents, b->path);
	b->open.writable = b->destroy;
	rc = vhd_open(b->path, &b->open, &b->img, err);
	if (rc)
		return rc;
	info = vhd_get_info(b->img);
	b->format = info->format;
	b->size_bytes = info->size_bytes;
	b->blocks = info->blocks;
	b->blocks_used = info->blocks_used;
	if (b->size_bytes < b->opts.size_bytes)
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"the disk has %" PRIu64 " bytes, fewer than "
				"one request",
				b->size_bytes);
	if (!b->opts.write || b->destroy)
		return 0;
	vhd_abandon(b->img);
	b->img = NULL;
	dir = cli_parent_dir(b->path);
	if (!dir)
		return vhd_fail(err, -ENOENT, VHD_WHY_SYSTEM, 0,
				"cannot find its directory");
	rc = open_overlay(b, dir, err);
	free(dir);
	return rc;
}

/* -------------------------------------------------------------- report -- */

static const char *time_text(uint64_t ns, char buf[32])
{
	if (ns < 10000)
		snprintf(buf, 32, "%" PRIu64 " ns", ns);
	else if (ns < 10000000)
		snprintf(buf, 32, "%.1f us", (double)ns / 1e3);
	else if (ns < 10000000000u)
		snprintf(buf, 32, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(buf, 32, "%.1f s", (double)ns / 1e9);
	return buf;
}

static double iops(const struct bench_verb *b)
{
	return b->result.elapsed_ns ? (double)b->result.times.count * 1e9 /
					      (double)b->result.elapsed_ns
				    : 0;
}

static uint64_t mean_ns(const struct bench_times *t)
{
	return t->count ? t->sum_ns / t->count : 0;
}

static const unsigned parts[] = {500, 900, 990, 999};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void times_row(const char *label, const struct bench_times *t)
{
	static const char *const names[PARTS] = {"50", "90", "99", "99.9"};
	char buf[32];

	printf("  %-9s mean %s", label, time_text(mean_ns(t), buf));
	for (size_t i = 0; i < PARTS; i++)
		printf(", %s %% %s", names[i],
		       time_text(bench_times_part(t, parts[i]), buf));
	printf(", max %s\n", time_text(t->max_ns, buf));
}

static const char *target_text(const struct bench_verb *b)
{
	if (!b->opts.write)
		return "read";
	return b->destroy ? "write" : "write to a throw-away child";
}

static void report_text(const struct bench_verb *b)
{
	const struct bench_result *r = &b->result;
	char shown[VERB_SHOWN_BYTES], size[CLI_SIZE_TEXT], buf[32];
	double per_s = iops(b);

	printf("%s: %s, %s", verb_shown(b->path, shown),
	       vhd_format_name(b->format),
	       cli_size_text(b->size_bytes, size, sizeof(size)));
	if (b->blocks)
		printf(", %" PRIu64 " of %" PRIu64 " blocks in use",
		       b->blocks_used, b->blocks);
	printf("\n%s, %s, %s each, depth %u, %s, %s\n", target_text(b),
	       b->opts.sequential ? "sequential" : "random",
	       cli_size_text(b->opts.size_bytes, size, sizeof(size)),
	       b->opts.depth, vhd_engine_name(r->engine),
	       b->open.direct ? "direct" : "page cache");
	printf("  %-9s %.0f IOPS, %.1f MiB/s\n", "rate", per_s,
	       per_s * b->opts.size_bytes / (1 << 20));
	times_row("latency", &r->times);
	if (r->flushes)
		times_row("flushes", &r->flush_times);
	printf("  %-9s %" PRIu64 " requests", "done", r->times.count);
	if (r->flushes)
		printf(", %" PRIu64 " flushes", r->flushes);
	printf(" in %s", time_text(r->elapsed_ns, buf));
	printf(", %s of processor each",
	       time_text(r->times.count ? r->cpu_ns / r->times.count : 0, buf));
	if (b->opts.write)
		printf("; %s more to have all durable",
		       time_text(r->end_flush_ns, buf));
	printf("%s\n", stop ? "; ended early" : "");
}

static struct json_object *times_json(const struct bench_times *t)
{
	static const char *const keys[PARTS] = {"p50", "p90", "p99", "p99.9"};
	struct json_object *o;

	if (!t->count)
		return NULL;
	o = cli_json_object();
	verb_put_number(o, "min", t->min_ns);
	verb_put_number(o, "mean", mean_ns(t));
	for (size_t i = 0; i < PARTS; i++)
		verb_put_number(o, keys[i], bench_times_part(t, parts[i]));
	verb_put_number(o, "max", t->max_ns);
	return o;
}

static struct json_object *report(const struct bench_verb *b)
{
	struct json_object *o = cli_json_object();
	const struct bench_result *r = &b->result;

	verb_put_text(o, "path", b->path);
	verb_put_text(o, "format", vhd_format_name(b->format));
	verb_put_number(o, "virtual-size", b->size_bytes);
	verb_put_text(o, "operation", b->opts.write ? "write" : "read");
	verb_put_bool(o, "overlay", b->opts.write && !b->destroy);
	verb_put_text(o, "pattern", b->opts.sequential ? "seq" : "rand");
	verb_put_number(o, "size", b->opts.size_bytes);
	verb_put_number(o, "depth", b->opts.depth);
	verb_put_text(o, "engine", vhd_engine_name(r->engine));
	verb_put_bool(o, "direct", b->open.direct);
	verb_put_number(o, "requests", r->times.count);
	verb_put_number(o, "elapsed-ns", r->elapsed_ns);
	verb_put_number(o, "cpu-ns", r->cpu_ns);
	cli_json_put(o, "iops", cli_json_real(iops(b)));
	cli_json_put(o, "bytes-per-second",
		 cli_json_real(iops(b) * b->opts.size_bytes));
	cli_json_put(o, "latency-ns", times_json(&r->times));
	verb_put_number(o, "flushes", r->flushes);
	cli_json_put(o, "flush-latency-ns", times_json(&r->flush_times));
	cli_json_put(o, "end-flush-ns",
		 b->opts.write ? cli_json_number(r->end_flush_ns)
			       : NULL);
	verb_put_bool(o, "ended-early", stop);
	return o;
}

/* ----------------------------------------------------------------- run -- */

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

/* An end that the user asks for early is one that has its report. */
static void hear_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static int run(struct bench_verb *b, struct vhd_err *err)
{
	int rc = open_image(b, err);

	if (rc)
		return rc;
	hear_signals();
	rc = bench_run(b->img, &b->opts, &stop, &b->result, err);
	/* What was thrown away need not be put in order. */
	if (!rc && b->destroy) {
		rc = vhd_close(b->img, err);
		b->img = NULL;
	}
	return rc;
}

static int sandbox(struct bench_verb *b)
{
	struct sandbox s = {
		.role = b->opts.write ? SANDBOX_WRITER : SANDBOX_READER,
	};

	sandbox_allow_image(&s, b->path, verb_parent_dir(&b->parents, b->path));
	if (b->destroy)
		sandbox_allow(&s, b->path, SANDBOX_CHANGE);
	else if (b->opts.write)
		sandbox_allow_dir_of(&s, b->path, SANDBOX_MAKE);
	verb_parents_fini(&b->parents);
	return sandbox_enter(&s, b->prog);
}

int verb_bench(const char *prog, int argc, char **argv)
{
	struct bench_verb *b = calloc(1, sizeof(*b));
	struct vhd_err err = {0};
	int rc, status;

	if (!b) {
		fprintf(stderr, "%s: out of memory\n", prog);
		return CLI_IO;
	}
	b->prog = prog;
	b->opts.depth = DEPTH_DEFAULT;
	b->opts.size_bytes = SIZE_DEFAULT;
	b->opts.seed = SEED_DEFAULT;
	b->overlay.dir_fd = b->overlay.fd = b->overlay.old_fd = -1;
	status = parse(b, argc, argv);
	if (status < 0)
		status = sandbox(b) == CLI_OK ? -1 : CLI_IO;
	if (status < 0) {
		rc = run(b, &err);
		if (rc)
			status = cli_fail(prog, b->path, &err);
		else if (!b->json)
			report_text(b);
		if (!rc)
			status = cli_json_end(prog, b->json ? report(b) : NULL,
					     CLI_OK);
	}
	vhd_abandon(b->img);
	convert_output_close(&b->overlay);
	verb_parents_fini(&b->parents);
	free(b);
	return status;
}
