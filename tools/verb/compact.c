/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd compact: a shorter file with the same disk in it, in place or, with its
 * blocks in order, as a new file that takes the old one's name when it is
 * complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/convert/convert.h"
#include "freemap.h"
#include "verb.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_REWRITE = 256,
	OPT_FREE,
	OPT_PUNCH,
	OPT_PARENT_EQUAL,
	OPT_FORMAT,
	OPT_PARENT_DIR,
	OPT_LARGER_CHILD,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"rewrite", OPT_REWRITE, NULL,
	 "write a new file, its blocks in order and on 4 KiB\n"
	 "boundaries, which then replaces FILE; needs its space"},
	{"free", OPT_FREE, NULL,
	 "give back what file systems call free as well (ext2,\n"
	 "ext3, ext4, XFS, NTFS, FAT); it reads as anything then"},
	{"parent-equal", OPT_PARENT_EQUAL, NULL,
	 "of a differencing disk: give back what the parent has\n"
	 "as well"},
	{"punch", OPT_PUNCH, NULL,
	 "of a fixed disk: make holes of what is zero"},
	{"dry-run", 'n', NULL, "only show what would be done"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "a differencing disk, which is in or below DIR, may have\n"
	 "its parents there (default: its own directory)"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "it may be larger than its parent"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

struct compact_verb {
	const char *prog;
	const char *path;
	char shown[VERB_SHOWN_BYTES];
	struct vhd_compact_opts opts;
	struct verb_parents parents;
	bool rewrite;
	bool free;
	struct freemap map;
	bool json;
	bool quiet;
	struct cli_progress progress;
	uint64_t host_before; /* HOST_UNKNOWN: nobody could say */
	uint64_t host_after;
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_REWRITE, CLI_SETS(struct compact_verb, rewrite)},
	{OPT_FREE, CLI_SETS(struct compact_verb, free)},
	{OPT_PUNCH, CLI_SETS(struct compact_verb, opts.punch)},
	{OPT_PARENT_EQUAL, CLI_SETS(struct compact_verb, opts.parent_equal)},
	{'n', CLI_CLEARS(struct compact_verb, opts.write)},
	{OPT_PARENT_DIR, CLI_TAKES(struct compact_verb, parents.dir)},
	{OPT_LARGER_CHILD, CLI_SETS(struct compact_verb, opts.larger_child)},
	{OPT_JSON, CLI_SETS(struct compact_verb, json)},
	{'q', CLI_SETS(struct compact_verb, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct compact_verb *v = into;

	(void)id; /* the only one */
	return verb_format(v->prog, "format", value, false,
			   &v->opts.format);
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct compact_verb *v, int argc, char **argv)
{
	struct cli_options o = {
		.prog = v->prog,
		.usage = "[options] FILE",
		.about = "Make a VHD image's file as short as its disk "
			 "allows.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = v,
		.argc = argc,
		.argv = argv,
	};
	int status;

	v->opts.write = true;
	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	if (v->rewrite && v->opts.punch)
		return cli_usage(v->prog, "--rewrite or --punch, not both");
	if (argc - o.first_operand != 1)
		return cli_usage(v->prog, "needs one file");
	v->path = argv[o.first_operand];
	return -1;
}

/* ---------------------------------------------------------- the callers -- */

static int show(void *ctx, uint64_t pos_bytes, uint64_t total_bytes)
{
	struct compact_verb *v = ctx;

	v->progress.total = total_bytes;
	cli_progress_show(&v->progress, pos_bytes, pos_bytes);
	return 0;
}

static int sandbox(struct compact_verb *v, struct vhd_err *err)
{
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, v->path, v->opts.parent_dir);
	sandbox_allow(&s, v->path, SANDBOX_CHANGE);
	if (v->rewrite)
		sandbox_allow_dir_of(&s, v->path, SANDBOX_MAKE);
	return sandbox_try(&s, v->prog, err);
}

/* Other programs tell what is free in NTFS, FAT and XFS, and read the disk
 * through a mount of ours: no sandbox before they are done.
 */
static int look(void *ctx, struct vhd *img, struct vhd_err *err)
{
	struct compact_verb *v = ctx;
	int rc = freemap_find(&v->map, img, v->path, err);

	return rc ? rc : sandbox(v, err);
}

static bool is_free(void *ctx, uint64_t off_bytes, uint64_t len_bytes)
{
	const struct compact_verb *v = ctx;

	return freemap_has(&v->map, off_bytes, len_bytes);
}

#define HOST_UNKNOWN UINT64_MAX

static uint64_t host_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) ? HOST_UNKNOWN : (uint64_t)st.st_blocks * 512;
}

static struct json_object *host_json(uint64_t bytes)
{
	return bytes == HOST_UNKNOWN ? NULL : cli_json_number(bytes);
}

/* ---------------------------------------------------------- a new file -- */

/* Said before hours of copying: the new file needs no more than the old one. */
static int room_check(const struct compact_verb *v, int dir_fd,
		      const struct stat *st, struct vhd_err *err)
{
	uint64_t host = (uint64_t)st->st_blocks * 512;
	uint64_t need =
		host < (uint64_t)st->st_size ? host : (uint64_t)st->st_size;
	struct statvfs fs;

	if (!v->opts.write || fstatvfs(dir_fd, &fs))
		return 0;
	if ((uint64_t)fs.f_bavail * fs.f_frsize >= need)
		return 0;
	return vhd_fail(err, -ENOSPC, VHD_WHY_NO_SPACE, 0,
			"a rewrite may need %" PRIu64 " bytes beside it, and "
			"%" PRIu64 " are free; without --rewrite none are "
			"needed",
			need, (uint64_t)fs.f_bavail * fs.f_frsize);
}

static int names_check(const struct stat *st, struct vhd_err *err)
{
	if (!S_ISREG(st->st_mode))
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"is not a regular file");
	if (st->st_nlink > 1)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"has %lu names (hard links), and a new file "
				"would get one of them only",
				(unsigned long)st->st_nlink);
	return 0;
}

/* Who may do what with the file stays as it is. */
static int same_rights(int fd, const struct stat *st, struct vhd_err *err)
{
	struct stat now;
	int rc = 0;

	if (fstat(fd, &now))
		rc = -errno;
	else if ((now.st_uid != st->st_uid || now.st_gid != st->st_gid) &&
		 fchown(fd, st->st_uid, st->st_gid))
		rc = -errno;
	if (!rc && fchmod(fd, st->st_mode & 07777))
		rc = -errno;
	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"cannot give the new file the old one's owner and "
			"rights: %s",
			strerror(-rc));
}

static int into(struct compact_verb *v, struct convert_output *out,
		const struct stat *st, struct vhd_compact_result *r,
		struct vhd_err *err)
{
	int rc = room_check(v, out->dir_fd, st, err);

	if (!rc)
		rc = vhd_compact_to(v->path, out->old_fd >= 0, out->path,
				    &v->opts, r, err);
	if (rc || !v->opts.write)
		return rc;
	rc = same_rights(out->fd, st, err);
	return rc ? rc : convert_output_publish(out, true, err);
}

static int rewrite(struct compact_verb *v, struct vhd_compact_result *r,
		   struct vhd_err *err)
{
	struct convert_output out;
	struct stat st, src;
	int rc;

	if (stat(v->path, &st))
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open: %s", strerror(errno));
	rc = names_check(&st, err);
	if (rc)
		return rc;
	/* the output may replace its source here */
	src = (struct stat){.st_mode = st.st_mode};
	rc = convert_output_open(&out, v->path, true, &src, err);
	if (rc)
		return rc;
	rc = into(v, &out, &st, r, err);
	convert_output_close(&out);
	return rc;
}

/* --------------------------------------------------------------- report -- */

static uint32_t blocks_given(const struct vhd_compact_result *r)
{
	return r->blocks_zero + r->blocks_unset + r->blocks_equal +
	       r->blocks_free;
}

static struct json_object *report(const struct compact_verb *v,
				  const struct vhd_compact_result *r)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "path", v->path);
	verb_put_bool(o, "written", v->opts.write);
	verb_put_bool(o, "rewritten", v->opts.write && v->rewrite);
	verb_put_text(o, "format", vhd_format_name(r->format));
	verb_put_number(o, "size", r->size_bytes);
	verb_put_number(o, "file-size-before", r->old_file_bytes);
	verb_put_number(o, "file-size-after", r->new_file_bytes);
	cli_json_put(o, "host-bytes-before", host_json(v->host_before));
	cli_json_put(o, "host-bytes-after",
		     v->opts.write ? host_json(v->host_after) : NULL);
	verb_put_number(o, "blocks-before", r->blocks_before);
	verb_put_number(o, "blocks-after", r->blocks_before - blocks_given(r));
	verb_put_number(o, "blocks-zero", r->blocks_zero);
	verb_put_number(o, "blocks-unset", r->blocks_unset);
	verb_put_number(o, "blocks-equal", r->blocks_equal);
	verb_put_number(o, "blocks-free", r->blocks_free);
	verb_put_number(o, "blocks-moved", r->blocks_moved);
	verb_put_bool(o, "table-moved", r->table_moved);
	verb_put_number(o, "punched-bytes", r->punched_bytes);
	cli_json_put(o, "free-bytes",
		 v->free ? cli_json_number(v->map.bytes) : NULL);
	cli_json_put(o, "unknown-partitions",
		 v->free ? cli_json_number(v->map.unknown) : NULL);
	return o;
}

static void report_blocks(const struct compact_verb *v,
			  const struct vhd_compact_result *r)
{
	const struct {
		uint32_t n;
		const char *what;
	} parts[] = {
		{r->blocks_zero, "zero"},
		{r->blocks_unset, "not set"},
		{r->blocks_equal, "as in the parent"},
		{r->blocks_free, "free"},
	};
	const char *sep = " (";

	printf("%s: %u of %u blocks%s given back", v->shown, blocks_given(r),
	       r->blocks_before, v->opts.write ? "" : " would be");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!parts[i].n)
			continue;
		printf("%s%u %s", sep, parts[i].n, parts[i].what);
		sep = ", ";
	}
	printf("%s", *sep == ',' ? ")" : "");
	if (r->blocks_moved)
		printf(", %u moved", r->blocks_moved);
	putchar('\n');
}

static void report_text(const struct compact_verb *v,
			const struct vhd_compact_result *r)
{
	char old[CLI_SIZE_TEXT], now[CLI_SIZE_TEXT];

	if (r->format == VHD_FORMAT_FIXED) {
		cli_size_text(r->punched_bytes, now, sizeof(now));
		printf("%s: %s of it %s\n", v->shown, now,
		       v->opts.write ? "made holes" : "could be holes");
	} else {
		report_blocks(v, r);
		cli_size_text(r->old_file_bytes, old, sizeof(old));
		cli_size_text(r->new_file_bytes, now, sizeof(now));
		printf("%s: the file %s %s, had %s\n", v->shown,
		       v->opts.write ? "has" : "would have", now, old);
	}
	if (v->map.unknown)
		printf("%s: nothing is known of %u partition%s, which count%s "
		       "as used\n",
		       v->shown, v->map.unknown, v->map.unknown == 1 ? "" : "s",
		       v->map.unknown == 1 ? "s" : "");
	if (!v->opts.write || v->host_before == HOST_UNKNOWN ||
	    v->host_after == HOST_UNKNOWN)
		return;
	cli_size_text(v->host_before, old, sizeof(old));
	cli_size_text(v->host_after, now, sizeof(now));
	printf("%s: takes %s on the host, took %s\n", v->shown, now, old);
}

static int run(struct compact_verb *v, struct vhd_compact_result *r,
	       struct vhd_err *err)
{
	int rc;

	v->host_before = host_bytes(v->path);
	v->opts.parent_dir = verb_parent_dir(&v->parents, v->path);
	v->opts.progress = show;
	if (v->free) {
		v->opts.look = look;
		v->opts.is_free = is_free;
	} else if ((rc = sandbox(v, err))) {
		return rc;
	}
	v->opts.ctx = v;
	cli_progress_start(&v->progress, "compacting", 0, v->quiet || v->json);
	rc = v->rewrite ? rewrite(v, r, err)
			: vhd_compact(v->path, &v->opts, r, err);
	cli_progress_end(&v->progress);
	verb_parents_fini(&v->parents);
	v->host_after = host_bytes(v->path);
	return rc;
}

int verb_compact(const char *prog, int argc, char **argv)
{
	struct compact_verb v = {.prog = prog};
	struct vhd_compact_result r;
	struct vhd_err err = {0};
	int status = parse(&v, argc, argv);

	if (status >= 0)
		return status;
	verb_shown(v.path, v.shown);
	status = run(&v, &r, &err);
	freemap_fini(&v.map);
	if (status)
		return cli_fail(prog, v.path, &err);
	if (!v.json && !v.quiet)
		report_text(&v, &r);
	return cli_json_end(prog, v.json ? report(&v, &r) : NULL, CLI_OK);
}
