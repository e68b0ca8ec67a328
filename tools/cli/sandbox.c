/* SPDX-License-Identifier: BSD-2-Clause */
/* --sandbox and VHD_SANDBOX: how much of tools/sandbox/ is insisted on. A
 * process has one sandbox, so that there is one mode a process, set while it
 * has one thread.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define VARIABLE "VHD_SANDBOX"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static bool chosen;
static enum cli_sandbox mode;

static const struct {
	const char *word;
	enum cli_sandbox mode;
} words[] = {
	{"on", CLI_SANDBOX_ON},
	{"best-effort", CLI_SANDBOX_BEST_EFFORT},
	{"off", CLI_SANDBOX_OFF},
};

static bool read_word(const char *text, enum cli_sandbox *out)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].word, text)) {
			*out = words[i].mode;
			return true;
		}
	return false;
}

int cli_sandbox_set(const char *prog, const char *text)
{
	if (!read_word(text, &mode))
		return cli_usage(prog, "--sandbox %s: not one of on, "
				       "best-effort, off", text);
	chosen = true;
	return CLI_OK;
}

int cli_sandbox_check(const char *prog)
{
	const char *text = getenv(VARIABLE);
	enum cli_sandbox ignored;

	if (chosen || !text || read_word(text, &ignored))
		return CLI_OK;
	return cli_usage(prog, VARIABLE "=%s: not one of on, best-effort, off",
			 text);
}

enum cli_sandbox cli_sandbox_mode(void)
{
	const char *text = getenv(VARIABLE);
	enum cli_sandbox said;

	if (chosen)
		return mode;
	if (text && read_word(text, &said))
		return said;
	return SANITIZED ? CLI_SANDBOX_OFF : CLI_SANDBOX_ON;
}

const char *cli_sandbox_word(void)
{
	enum cli_sandbox m = cli_sandbox_mode();
	size_t i = 0;

	while (words[i].mode != m)
		i++;
	return words[i].word;
}
