/* SPDX-License-Identifier: BSD-2-Clause */
/* What a run left: files that must be as they were, and the disk by the
 * independent reader. See faultrun.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/faultrun.h"
#include "tests/lib/oracle.h"

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

const struct fx_file *fx_named(const struct fx *f, const char *name)
{
	for (unsigned i = 0; i < f->files; i++)
		if (strcmp(f->file[i].name, name) == 0)
			return &f->file[i];
	return NULL;
}

static uint8_t *slurp(const char *name, uint64_t *len)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	uint8_t *b;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		abort();
	*len = (uint64_t)st.st_size;
	b = need(malloc(*len + 1));
	if (pread(fd, b, *len, 0) != (ssize_t)*len)
		abort();
	close(fd);
	return b;
}

static bool word_of(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; p && (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') &&
		    (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

/* Whether taking things away was itself made to fail, or is not done: somebody
 * else has what is there.
 */
static bool cannot_remove(void)
{
	return (fault_fired() && (fault_hit()->call == FAULT_UNLINK ||
				  fault_hit()->call == FAULT_LOCK)) ||
	       (fault_second_fired() &&
		fault_site_call(fault_second_site()) == FAULT_UNLINK);
}

/* What must not change has not; nothing is left behind. */
static void judge_files(struct fx *f, bool done)
{
	const struct work *w = f->work;
	DIR *d = need(opendir("."));
	struct dirent *e;

	for (unsigned i = 0; i < f->files; i++) {
		const struct fx_file *file = &f->file[i];
		uint64_t len = 0;
		uint8_t *b;

		if (!(w->flags & WORK_READS) && word_of(w->target, file->name))
			continue;
		b = slurp(file->name, &len);
		if (!b)
			fx_wrong(f, "%s is gone", file->name);
		else if (len != file->len || memcmp(b, file->bytes, len) != 0)
			fx_wrong(f, "%s has changed", file->name);
		free(b);
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || fx_named(f, e->d_name) ||
		    word_of(w->target, e->d_name))
			continue;
		if (w->flags & WORK_MAKES && !strcmp(e->d_name, "out.vhd") &&
		    (done || w->flags & WORK_LEAVES || cannot_remove()))
			continue;
		fx_wrong(f, "%s is left behind", e->d_name);
	}
	closedir(d);
}

/* A sector whose write failed may be torn where a buffer ended. */
static bool mixed(const uint8_t *got, const uint8_t *low, const uint8_t *high)
{
	for (unsigned i = 0; i < 512; i++)
		if (got[i] != low[i] && got[i] != high[i])
			return false;
	return true;
}

static void judge_sectors(struct fx *f, const struct oracle *o, unsigned count,
			  bool exact)
{
	uint64_t size = o->size;
	uint8_t got[512];

	if (size != f->high_size && (exact || size != f->low_size)) {
		fx_wrong(f, "the disk has %llu bytes",
			 (unsigned long long)size);
		return;
	}
	for (uint64_t at = 0; at < size; at += 512) {
		if (!oracle_chain(o, count, at / 512, got))
			break;
		if (f->any[at / 512] || memcmp(got, f->high + at, 512) == 0 ||
		    (!exact && mixed(got, f->low + at, f->high + at)))
			continue;
		fx_wrong(f, "sector %llu is wrong on the disk",
			 (unsigned long long)at / 512);
		return;
	}
}

static void judge_disk(struct fx *f, const char *chain, bool exact)
{
	struct oracle o[FX_LAYERS];
	uint8_t *bytes[FX_LAYERS] = {0};
	char words[100], *save = NULL;
	unsigned n = 0;
	uint64_t len;

	snprintf(words, sizeof(words), "%s", chain);
	for (char *p = strtok_r(words, " ", &save); p && !f->fault[0];
	     p = strtok_r(NULL, " ", &save)) {
		bytes[n] = slurp(p, &len);
		if (!bytes[n])
			fx_wrong(f, "%s is not there", p);
		else if (!oracle_open(&o[n], bytes[n], len) ||
			 !oracle_check(&o[n]))
			fx_wrong(f, "%s: %s", p, o[n].fault);
		n++;
	}
	if (!f->fault[0])
		judge_sectors(f, o, n, exact);
	while (n--)
		free(bytes[n]);
}

static void judge_once(struct fx *f, bool done)
{
	const struct work *w = f->work;
	const char *chain = done && w->chain_done ? w->chain_done : w->chain;

	faultrun_totals.judged++;
	judge_files(f, done);
	if (!chain || f->fault[0])
		return;
	judge_disk(f, chain, done);
	if (!f->fault[0] || done || !(w->flags & WORK_EITHER))
		return;
	f->fault[0] = '\0';
	judge_disk(f, w->chain_done, false);
}

/* I1: what does not stand by itself is put right by the one command for it. */
static void repair(struct fx *f)
{
	const struct vhd_repair_opts o = {
		.write = true,
		.lossy = true,
		.new_id = "repaired by test",
	};
	char first[64];
	struct vhd_err e;

	snprintf(first, sizeof(first), "%.*s",
		 (int)strcspn(f->work->target, " "), f->work->target);
	f->fault[0] = '\0';
	if (vhd_repair(first, &o, NULL, &e))
		fx_wrong(f, "%s is not repaired: %s", first, e.text);
}

void fx_judge(struct fx *f, bool done)
{
	if (f->fault[0])
		return;
	judge_once(f, done);
	if (!f->fault[0] || done || !(f->work->flags & WORK_REPAIR))
		return;
	repair(f);
	if (!f->fault[0])
		judge_once(f, false);
}
