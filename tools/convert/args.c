/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of vhd-convert: its table of options, and what makes no
 * sense together.
 */
#include <string.h>

#include "convert.h"
#include "tools/verb/verb.h"
#include "tools/verb/preset.h"

static const char prog[] = CONVERT_PROG;

/* What the library creates; sizes but 512K and 2M are rare elsewhere. */

enum {
	OPT_FROM = 256,
	OPT_TO,
	OPT_BLOCK,
	OPT_ENGINE,
	OPT_DIRECT,
	OPT_VERIFY,
	OPT_NO_SYNC,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_RAW_PARENT,
	OPT_FOR,
	OPT_SPARSE,
	OPT_RATE,
	OPT_DIGEST,
	OPT_JSON,
	OPT_COMPRESS,
	OPT_DECOMPRESS,
	OPT_SIZE,
	OPT_IN_PLACE,
	OPT_REFLINK,
	OPT_RESUME,
	OPT_PARENT,
};

static const struct cli_option options[] = {
	{ "from", OPT_FROM, "FORMAT",
	  "what SRC is: raw, fixed, dynamic, or auto to find\n"
	  "out by looking (the default); qcow2, vmdk, vhdx and\n"
	  "vdi are read through qemu-nbd" },
	{ "to", OPT_TO, "FORMAT",
	  "what DST becomes: raw, fixed, dynamic or diff" },
	{ "block-size", OPT_BLOCK, "SIZE",
	  "bytes per block of a dynamic DST (default 2M)" },
	{ "for", OPT_FOR, "PRODUCT",
	  "as this product wants it: hyperv, azure, virtualpc,\n"
	  "xenserver, virtualbox or qemu; --to may be left out,\n"
	  "and the size may be rounded up" },
	{ "in-place", OPT_IN_PLACE, NULL,
	  "turn SRC itself from raw into fixed or back, without\n"
	  "copying; needs --from" },
	{ "sparse", OPT_SPARSE, "HOW",
	  "yes: holes and zeros take no space (the default);\n"
	  "no: all of DST's space is allocated; punch: zeros are\n"
	  "looked for everywhere" },
	{ "reflink", OPT_REFLINK, "HOW",
	  "whether DST shares SRC's blocks on a file system that\n"
	  "can: auto (the default), always (or fail), never" },
	{ "resume", OPT_RESUME, NULL,
	  "keep what there is when this is stopped, and go on\n"
	  "with it when the same command is given again" },
	{ "rate", OPT_RATE, "SIZE", "read no more than SIZE bytes a second" },
	{ "engine", OPT_ENGINE, "NAME",
	  "how I/O is done: auto, uring, aio or sync" },
	{ "direct", OPT_DIRECT, NULL, "go around the page cache" },
	{ "verify", OPT_VERIFY, NULL,
	  "read both again afterwards and compare" },
	{ "no-sync", OPT_NO_SYNC, NULL,
	  "do not wait until DST is on the disk" },
	{ "parent", OPT_PARENT, "FILE",
	  "with --to diff: the image that DST builds on; only\n"
	  "what differs from it is written" },
	{ "parent-dir", OPT_PARENT_DIR, "DIR",
	  "a differencing SRC, which is in or below DIR, may have\n"
	  "its parents there (default: SRC's own directory)" },
	{ "no-parent", OPT_NO_PARENT, NULL, "refuse a differencing SRC" },
	{ "larger-child", OPT_LARGER_CHILD, NULL,
	  "let it be larger than its parent; the rest is zero" },
	{ "raw-parent", OPT_RAW_PARENT, NULL,
	  "one that blktap made on a raw disk may name it" },
	{ "compress", OPT_COMPRESS, "HOW",
	  "gzip or gzip:LEVEL: DST becomes a gzip file, as it does\n"
	  "when its name ends in .gz; none: not even then" },
	{ "decompress", OPT_DECOMPRESS, "HOW",
	  "auto: inflate SRC if it is gzip and --from names no\n"
	  "type (the default); gzip: it is; none: as it is" },
	{ "size", OPT_SIZE, "SIZE",
	  "of the raw disk that comes by standard input or gzip" },
	{ "digest", OPT_DIGEST, "NAME[,NAME...]",
	  "print digests of the disk: sha256, sha1, sha224, sha384,\n"
	  "sha512, md5, sha3-256, blake2b, crc32c" },
	{ "json", OPT_JSON, NULL, "print JSON for programs when done" },
	{ "force", 'f', NULL, "replace DST if it exists" },
	{ "verbose", 'v', NULL, "tell more of what was done" },
	{ "quiet", 'q', NULL, "print nothing but errors" },
	{ 0 },
};

struct word {
	const char *text;
	int value;
};

static const struct word formats[] = {
	{ "auto", VHD_FORMAT_AUTO },
	{ "raw", VHD_FORMAT_RAW },
	{ "fixed", VHD_FORMAT_FIXED },
	{ "dynamic", VHD_FORMAT_DYNAMIC },
	{ "diff", VHD_FORMAT_DIFF },
	{ "differencing", VHD_FORMAT_DIFF },
	{ 0 },
};

static const struct word engines[] = {
	{ "auto", VHD_ENGINE_AUTO },
	{ "uring", VHD_ENGINE_URING },
	{ "aio", VHD_ENGINE_AIO },
	{ "sync", VHD_ENGINE_SYNC },
	{ 0 },
};

static const struct word sparses[] = {
	{ "yes", CONVERT_SPARSE_YES },
	{ "no", CONVERT_SPARSE_NO },
	{ "punch", CONVERT_SPARSE_PUNCH },
	{ 0 },
};

static const struct word reflinks[] = {
	{ "auto", CONVERT_REFLINK_AUTO },
	{ "always", CONVERT_REFLINK_ALWAYS },
	{ "never", CONVERT_REFLINK_NEVER },
	{ 0 },
};

static const struct word decompresses[] = {
	{ "auto", CONVERT_DECOMPRESS_AUTO },
	{ "gzip", CONVERT_DECOMPRESS_GZIP },
	{ "none", CONVERT_DECOMPRESS_NONE },
	{ 0 },
};

/* zlib's own choice; and while parsing: not even for a name in .gz. */
#define GZIP_LEVEL 6
#define GZIP_NONE  (-1)

static int word_find(const struct word *words, const char *text)
{
	for (; words->text; words++)
		if (!strcmp(words->text, text))
			return words->value;
	return -1;
}

/* --------------------------------------------------------- command line -- */

static int from_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(formats, text);

	opts->foreign = convert_foreign_known(text) ? text : NULL;
	if (value < 0 && !opts->foreign)
		return cli_usage(prog, "--from %s: not one of raw, fixed, "
				       "dynamic, diff, auto, qcow2, vmdk, "
				       "vhdx, vdi",
				 text);
	opts->from = value < 0 ? VHD_FORMAT_AUTO : (enum vhd_format)value;
	return CLI_OK;
}

static int to_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(formats, text);

	if (value == VHD_FORMAT_AUTO)
		return cli_usage(prog, "--to auto: name the type to make");
	if (value < 0)
		return cli_usage(prog, "--to %s: not one of raw, fixed, "
				       "dynamic, diff", text);
	opts->to = (enum vhd_format)value;
	return CLI_OK;
}

static int engine_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(engines, text);

	if (value < 0)
		return cli_usage(prog, "--engine %s: not one of auto, uring, "
				       "aio, sync", text);
	opts->engine = (enum vhd_engine)value;
	return CLI_OK;
}

static int sparse_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(sparses, text);

	if (value < 0)
		return cli_usage(prog, "--sparse %s: not one of yes, no, "
				       "punch", text);
	opts->sparse = (enum convert_sparse)value;
	return CLI_OK;
}

static int reflink_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(reflinks, text);

	if (value < 0)
		return cli_usage(prog, "--reflink %s: not one of auto, always, "
				       "never", text);
	opts->reflink = (enum convert_reflink)value;
	return CLI_OK;
}

static int rate_set(struct convert_opts *opts, const char *text)
{
	int status = verb_size(prog, "rate", text, &opts->rate);

	if (!status && !opts->rate)
		return cli_usage(prog, "--rate 0: nothing would ever arrive");
	return status;
}

static int compress_set(struct convert_opts *opts, const char *text)
{
	bool level = !strncmp(text, "gzip:", 5) && text[5] >= '1' &&
		     text[5] <= '9' && !text[6];

	if (!level && strcmp(text, "gzip") != 0 && strcmp(text, "none") != 0)
		return cli_usage(prog, "--compress %s: not gzip, gzip:1 to "
				       "gzip:9, or none", text);
	opts->gzip_level = level		 ? text[5] - '0'
			   : !strcmp(text, "gzip") ? GZIP_LEVEL
						   : GZIP_NONE;
	return CLI_OK;
}

static int decompress_set(struct convert_opts *opts, const char *text)
{
	int value = word_find(decompresses, text);

	if (value < 0)
		return cli_usage(prog, "--decompress %s: not one of auto, "
				       "gzip, none", text);
	opts->decompress = (enum convert_decompress)value;
	return CLI_OK;
}

static int size_set(struct convert_opts *opts, const char *text)
{
	int status = verb_size(prog, "size", text, &opts->stream_bytes);

	if (!status && (!opts->stream_bytes ||
			opts->stream_bytes % VHD_SECTOR_BYTES))
		return cli_usage(prog, "--size %s: not a multiple of 512",
				 text);
	return status;
}

/* The options that are said or not. */
static bool *flag_of(struct convert_opts *opts, int id)
{
	switch (id) {
	case OPT_DIRECT:
		return &opts->direct;
	case OPT_VERIFY:
		return &opts->verify;
	case OPT_NO_SYNC:
		return &opts->no_sync;
	case OPT_NO_PARENT:
		return &opts->no_parent;
	case OPT_LARGER_CHILD:
		return &opts->larger_child;
	case OPT_RAW_PARENT:
		return &opts->raw_parent;
	case OPT_JSON:
		return &opts->json;
	case 'f':
		return &opts->force;
	case OPT_IN_PLACE:
		return &opts->in_place;
	case OPT_RESUME:
		return &opts->resume;
	case 'q':
		return &opts->quiet;
	case 'v':
		return &opts->verbose;
	default:
		return NULL;
	}
}

static int option_apply(struct convert_opts *opts, int id, const char *value)
{
	bool *flag = flag_of(opts, id);

	if (flag) {
		*flag = true;
		return CLI_OK;
	}
	switch (id) {
	case OPT_FROM:
		return from_set(opts, value);
	case OPT_TO:
		return to_set(opts, value);
	case OPT_BLOCK:
		return verb_block_size(prog, value, &opts->block_size_bytes);
	case OPT_ENGINE:
		return engine_set(opts, value);
	case OPT_FOR:
		return verb_target(prog, value, &opts->target);
	case OPT_SPARSE:
		return sparse_set(opts, value);
	case OPT_PARENT:
		opts->parent = value;
		return CLI_OK;
	case OPT_REFLINK:
		return reflink_set(opts, value);
	case OPT_RATE:
		return rate_set(opts, value);
	case OPT_DIGEST:
		opts->digest = value;
		return CLI_OK;
	case OPT_COMPRESS:
		return compress_set(opts, value);
	case OPT_DECOMPRESS:
		return decompress_set(opts, value);
	case OPT_SIZE:
		return size_set(opts, value);
	default:
		opts->parent_dir = value;
		return CLI_OK;
	}
}

/* One operand, one change, nothing of how bytes are copied. */
static int in_place_together(struct convert_opts *opts)
{
	if (opts->from != VHD_FORMAT_RAW && opts->from != VHD_FORMAT_FIXED)
		return cli_usage(prog, "--in-place needs --from raw or --from "
				       "fixed: what is cut off must not be "
				       "guessed");
	if (opts->to == VHD_FORMAT_AUTO)
		opts->to = opts->from == VHD_FORMAT_RAW ? VHD_FORMAT_FIXED
							: VHD_FORMAT_RAW;
	if (opts->to == opts->from || (opts->to != VHD_FORMAT_RAW &&
				       opts->to != VHD_FORMAT_FIXED))
		return cli_usage(prog, "--in-place turns raw into fixed or "
				       "fixed into raw");
	if (opts->block_size_bytes || opts->direct || opts->verify ||
	    opts->no_sync || opts->rate || opts->sparse || opts->reflink ||
	    opts->resume || opts->parent || opts->parent_dir ||
	    opts->digest || opts->json || opts->gzip_level ||
	    opts->decompress || opts->stream_bytes)
		return cli_usage(prog, "--in-place copies nothing: only --for, "
				       "--force and --quiet go with it");
	return -1;
}

/* What the product wants, as far as it does not depend on the source. */
static int preset_apply(struct convert_opts *opts)
{
	const struct verb_preset *p = verb_preset(opts->target);

	if (!p)
		return -1;
	if (opts->to == VHD_FORMAT_AUTO)
		opts->to = p->format;
	if (opts->to == VHD_FORMAT_RAW)
		return cli_usage(prog, "--for is for VHDs, not --to raw");
	if (p->format_only && opts->to != p->format)
		return cli_usage(prog, "--to: %s takes %s images only",
				 vhd_target_name(opts->target),
				 vhd_format_name(p->format));
	if (p->block_size_bytes && opts->block_size_bytes &&
	    opts->block_size_bytes != p->block_size_bytes)
		return cli_usage(prog, "--block-size: %s takes 2M only",
				 vhd_target_name(opts->target));
	return -1;
}

static bool ends_in_gz(const char *path)
{
	size_t len = strlen(path);

	return len > 3 && !strcmp(path + len - 3, ".gz");
}

static int streams_check(struct convert_opts *opts)
{
	bool std = !strcmp(opts->dst, "-");

	if (!opts->gzip_level && ends_in_gz(opts->dst) &&
	    !convert_nbd_is_uri(opts->dst))
		opts->gzip_level = GZIP_LEVEL;
	if (opts->gzip_level == GZIP_NONE)
		opts->gzip_level = 0;
	if (std && opts->verify)
		return cli_usage(prog, "--verify: standard output cannot be "
				       "read again; --digest can be compared");
	if ((std || opts->gzip_level) &&
	    (opts->sparse == CONVERT_SPARSE_NO || opts->parent ||
	     opts->reflink == CONVERT_REFLINK_ALWAYS || opts->resume))
		return cli_usage(prog, "--sparse no, --reflink always, "
				       "--resume and --parent are for image "
				       "files");
	if (opts->stream_bytes &&
	    (opts->foreign || convert_nbd_is_uri(opts->src)))
		return cli_usage(prog, "--size is for standard input and "
				       "compressed files");
	return -1;
}

/* What operands that are no image files go with. */
static int doors_check(struct convert_opts *opts)
{
	bool src_nbd = convert_nbd_is_uri(opts->src);
	int status = streams_check(opts);

	if (status >= 0)
		return status;
	if (src_nbd && opts->foreign)
		return cli_usage(prog, "--from: an NBD export is read as the "
				       "raw disk that it shows, or as a VHD");
	if (src_nbd && opts->resume)
		return cli_usage(prog, "--resume is for image files");
	if (!convert_nbd_is_uri(opts->dst))
		return -1;
	if (opts->target || opts->parent || opts->to == VHD_FORMAT_FIXED ||
	    opts->to == VHD_FORMAT_DYNAMIC || opts->to == VHD_FORMAT_DIFF)
		return cli_usage(prog, "--to: an NBD export becomes the raw "
				       "disk that it shows");
	if (opts->gzip_level)
		return cli_usage(prog, "--compress: an NBD export is not a "
				       "file");
	if (opts->resume)
		return cli_usage(prog, "--resume is for image files");
	if (opts->sparse == CONVERT_SPARSE_NO)
		return cli_usage(prog, "--sparse no: the server of an NBD "
				       "export decides about its space");
	opts->to = VHD_FORMAT_RAW;
	return -1;
}

/* A child and its parent. */
static int child_check(struct convert_opts *opts)
{
	if (opts->parent && opts->to == VHD_FORMAT_AUTO)
		opts->to = VHD_FORMAT_DIFF;
	if (!opts->parent != (opts->to != VHD_FORMAT_DIFF))
		return cli_usage(prog, "--to diff and --parent go together");
	if (!opts->parent)
		return -1;
	if (opts->resume)
		return cli_usage(prog, "--resume excludes --to diff");
	if (opts->reflink == CONVERT_REFLINK_ALWAYS)
		return cli_usage(prog, "--reflink=always excludes --to diff, "
				       "which has only what differs");
	return -1;
}

/* How the copy is made. */
static int copy_check(const struct convert_opts *opts)
{
	if (opts->reflink == CONVERT_REFLINK_ALWAYS &&
	    opts->sparse == CONVERT_SPARSE_NO)
		return cli_usage(prog, "--reflink=always excludes "
				       "--sparse=no: shared blocks are not "
				       "allocated for DST alone");
	if (opts->resume && opts->digest)
		return cli_usage(prog, "--resume excludes --digest, which "
				       "must see all of the disk");
	if (opts->resume && opts->no_sync)
		return cli_usage(prog, "--resume excludes --no-sync: it goes "
				       "on from what is on the disk");
	return -1;
}

/* What makes no sense together. Returns -1 to go on, or the exit code. */
static int together(struct convert_opts *opts)
{
	int status = opts->in_place ? in_place_together(opts)
				    : doors_check(opts);

	if (status < 0)
		status = child_check(opts);
	if (status < 0)
		status = preset_apply(opts);
	if (status < 0)
		status = copy_check(opts);
	if (status >= 0)
		return status;
	if (opts->to == VHD_FORMAT_AUTO)
		return cli_usage(prog, "needs --to raw, fixed, dynamic or "
				       "diff, or --for");
	if (opts->quiet && opts->verbose)
		return cli_usage(prog, "--quiet excludes --verbose");
	if (opts->block_size_bytes && opts->to != VHD_FORMAT_DYNAMIC &&
	    opts->to != VHD_FORMAT_DIFF)
		return cli_usage(prog, "--block-size is for --to dynamic and "
				       "diff");
	if (opts->no_parent && opts->parent_dir)
		return cli_usage(prog, "--no-parent excludes --parent-dir");
	return -1;
}

int convert_args(int argc, char **argv, struct convert_opts *opts)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "[--from FORMAT] --to FORMAT [options] SRC DST\n"
			 "--in-place --from FORMAT [options] SRC",
		.about = "Convert disk images between raw, fixed VHD and "
			 "dynamic VHD.\nSRC and DST may be NBD exports "
			 "(nbd://HOST/NAME, nbd+unix:///NAME?socket=PATH),\n"
			 "gzip files, and - for standard input and output.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int id, status = CLI_OK;

	while ((id = cli_options_next(&o, &status)) > 0) {
		status = option_apply(opts, id, o.value);
		if (status)
			return status;
	}
	if (id < 0)
		return status;
	if (argc - o.first_operand != (opts->in_place ? 1 : 2))
		return cli_usage(prog, opts->in_place
					       ? "--in-place needs one file"
					       : "needs a source and a "
						 "destination");
	opts->src = argv[o.first_operand];
	opts->dst = argv[o.first_operand + !opts->in_place];
	return together(opts);
}
