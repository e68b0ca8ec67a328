/* SPDX-License-Identifier: BSD-2-Clause */
/* What the verbs share: words that options take, new ids, JSON, the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "verb.h"

#define BLOCK_MIN_BYTES 4096u
#define BLOCK_MAX_BYTES (256u << 20)

int verb_format(const char *prog, const char *option, const char *text,
		bool raw, enum vhd_format *out)
{
	static const struct {
		const char *text;
		enum vhd_format format;
	} words[] = {
		{"auto", VHD_FORMAT_AUTO},
		{"raw", VHD_FORMAT_RAW},
		{"fixed", VHD_FORMAT_FIXED},
		{"dynamic", VHD_FORMAT_DYNAMIC},
		{"differencing", VHD_FORMAT_DIFF},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].text, text) != 0 ||
		    (words[i].format == VHD_FORMAT_RAW && !raw))
			continue;
		*out = words[i].format;
		return CLI_OK;
	}
	return cli_usage(prog,
			 "--%s %s: not one of auto, %sfixed, dynamic, "
			 "differencing",
			 option, text, raw ? "raw, " : "");
}

int verb_target(const char *prog, const char *text, enum vhd_target *out)
{
	for (int i = 1; i < VHD_TARGET_COUNT; i++)
		if (!strcmp(vhd_target_name((enum vhd_target)i), text)) {
			*out = (enum vhd_target)i;
			return CLI_OK;
		}
	return cli_usage(prog,
			 "--for %s: not one of hyperv, azure, virtualpc, "
			 "xenserver, virtualbox, qemu",
			 text);
}

int verb_size(const char *prog, const char *option, const char *text,
	      uint64_t *out)
{
	int rc = cli_size_parse(text, out);

	if (rc == -ERANGE)
		return cli_usage(prog, "--%s %s: too large a number", option,
				 text);
	if (rc)
		return cli_usage(prog,
				 "--%s %s: not a size such as 512, 64K, "
				 "20M or 1T",
				 option, text);
	return CLI_OK;
}

int verb_block_size(const char *prog, const char *text, uint32_t *out)
{
	uint64_t n;

	if (cli_size_parse(text, &n) || n < BLOCK_MIN_BYTES ||
	    n > BLOCK_MAX_BYTES || n & (n - 1))
		return cli_usage(prog,
				 "--block-size %s: not a power of two from 4K "
				 "to 256M",
				 text);
	*out = (uint32_t)n;
	return CLI_OK;
}

int verb_new_id(uint8_t id[16], struct vhd_err *err)
{
	if (getrandom(id, 16, 0) != 16)
		return vhd_fail(err, -EIO, VHD_WHY_SYSTEM, 0,
				"no random numbers for an id");
	id[7] = (uint8_t)((id[7] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	return 0;
}

const char *verb_shown(const char *path, char *buf)
{
	snprintf(buf, VERB_SHOWN_BYTES, "%s", path);
	cli_text_clean(buf);
	return buf;
}

/* ------------------------------------------------------------- parents -- */

const char *verb_parent_dir(struct verb_parents *p, const char *path)
{
	if (p->none || p->dir)
		return p->dir;
	free(p->own);
	p->own = cli_parent_dir(path);
	return p->own;
}

void verb_parents_fini(struct verb_parents *p)
{
	free(p->own);
	p->own = NULL;
}

int verb_parents_check(const char *prog, const struct verb_parents *p)
{
	if (p->none && p->dir)
		return cli_usage(prog, "--no-parent excludes --parent-dir");
	return CLI_OK;
}

/* ---------------------------------------------------------------- JSON -- */

void verb_put_text(struct json_object *o, const char *key, const char *text)
{
	cli_json_put(o, key, cli_json_text(text));
}

void verb_put_number(struct json_object *o, const char *key, uint64_t n)
{
	cli_json_put(o, key, cli_json_number(n));
}

void verb_put_bool(struct json_object *o, const char *key, bool yes)
{
	cli_json_put(o, key, cli_json_bool(yes));
}

void verb_put_hresult(struct json_object *o, uint32_t hresult)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%08X", hresult);
	verb_put_text(o, "hresult", hresult ? text : NULL);
}
