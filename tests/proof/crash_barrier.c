/* SPDX-License-Identifier: BSD-2-Clause */
/* Is each flush needed? A barrier is a place in the source that asks for one,
 * found by the return addresses when it does. Each is skipped, in one workload
 * after another, until a state appears that breaks a promise. One that is
 * missed nowhere has to go, or to have its reason in the table.
 *
 * A barrier is named by the function that asks, and where that is a helper for
 * several others by its caller, and told from others of the same name by the
 * order of their lines. What a queue's engine does is told apart by what it
 * covers: sectors of the block table and bitmaps, or data.
 */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/proof/crash.h"

#define FRAMES	  16
#define SITES_MAX 128u
#define LINES_MAX 48u

/* Other compilers and optimisations inline other functions and end in other
 * calls; the table has the names of gcc's optimised build. There, what nothing
 * needs is only told.
 */
#if defined(__clang__) || defined(__SANITIZE_ADDRESS__)
static const bool names_hold = false;
#else
static const bool names_hold = true;
#endif

/* Functions that flush for others. */
static const char *const helpers[] = {
	"sync_or_poison", "put", "header_write", "write_footer", "settle",
	"vhd_tail_settle", "compact_publish", "vhd_flush", "vhd_finish",
	"append", "sync_submit", "perform", "write_footers",
	"layout_unit_switch",
};

struct site {
	void *frame[FRAMES]; /* of its first appearance; [0] is innermost */
	int frames;
	char name[200];  /* with the lines */
	char plain[220]; /* without, and a number where several are alike */
	bool killed;
	unsigned runs, seen;
	char by[300];
};

struct barriers {
	struct site site[SITES_MAX];
	unsigned count;
	/* of the recording under way: the site of each flush */
	unsigned of[1024];
	struct addresses {
		void *addr;
		char text[400]; /* "function file;function file;..." */
	} known[512];
	unsigned known_count;
};

/* ---------------------------------------------------------------- names -- */

/* The program's first byte, which positions are counted from. */
extern const char __executable_start;

/* "function file:line" of an address, with what is inlined there, innermost
 * first, each followed by ';'.
 */
static const char *describe(struct barriers *b, void *addr)
{
	char command[200], line[300];
	struct addresses *a;
	FILE *p;

	for (unsigned i = 0; i < b->known_count; i++)
		if (b->known[i].addr == addr)
			return b->known[i].text;
	if (b->known_count == 512)
		broken("too many addresses");
	a = &b->known[b->known_count++];
	a->addr = addr;
	snprintf(command, sizeof(command),
		 "addr2line -s -f -i -e /proc/%d/exe %#lx", (int)getpid(),
		 (unsigned long)((const char *)addr - &__executable_start - 1));
	p = popen(command, "r");
	if (!p)
		broken("addr2line");
	for (int i = 0; fgets(line, sizeof(line), p); i++) {
		line[strcspn(line, " \n")] = '\0';
		if (strlen(a->text) + strlen(line) + 2 < sizeof(a->text))
			strcat(strcat(a->text, line), i & 1 ? ";" : " ");
	}
	pclose(p);
	return a->text;
}

static bool is_helper(const char *function)
{
	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++)
		if (!strcmp(function, helpers[i]))
			return true;
	return false;
}

struct line {
	char function[80];
	char file[80];
};

/* The calls inside the library, innermost first, without those of file.c. */
static unsigned flatten(struct barriers *b, const struct site *s,
			struct line *out)
{
	unsigned n = 0;

	for (int i = 0; i < s->frames; i++) {
		char text[400], *rest = text, *one;

		snprintf(text, sizeof(text), "%s", describe(b, s->frame[i]));
		while ((one = strsep(&rest, ";")) && *one && n < LINES_MAX) {
			struct line *l = &out[n];

			if (sscanf(one, "%79s %79s", l->function, l->file) != 2 ||
			    !strncmp(l->file, "file.c:", 7) ||
			    !strncmp(l->file, "crash", 5) || *l->file == '?')
				continue;
			n++;
		}
	}
	return n;
}

/* file:function, its callers as long as they are helpers, and the lines. */
static void site_name(struct barriers *b, struct site *s, const char *covers)
{
	struct line line[LINES_MAX];
	unsigned n = flatten(b, s, line), at = 0;
	size_t len = 0;

	if (covers) {
		snprintf(s->name, sizeof(s->name), "queue: a sync of %s",
			 covers);
		return;
	}
	do {
		len += (size_t)snprintf(s->name + len, sizeof(s->name) - len,
					"%s%s %s", at ? " < " : "",
					line[at].function, line[at].file);
	} while (at < n && is_helper(line[at++].function) &&
		 len < sizeof(s->name) - 80 && at < n);
}

/* ------------------------------------------------------------- collecting -- */

struct collecting {
	struct barriers *b;
	const struct crash_record *rec;
};

static bool from_queue(const struct line *line, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strncmp(line[i].file, "engine_", 7) ||
		    !strncmp(line[i].file, "simengine", 9))
			return true;
	return false;
}

/* Does what came since the last flush change what leads to data? */
static const char *covered(const struct crash_record *r)
{
	for (size_t i = r->count; i-- > 0;) {
		const struct crash_event *e = &r->events[i];

		if (e->kind == CRASH_FLUSH)
			break;
		if (e->kind == CRASH_WRITE && e->off >= IMG_TABLE &&
		    e->off < IMG_TABLE + 4096 && e->len == 512)
			return "the block table";
	}
	return "data";
}

static unsigned site_of(struct barriers *b, const struct site *s)
{
	for (unsigned i = 0; i < b->count; i++)
		if (!strcmp(b->site[i].name, s->name))
			return i;
	if (b->count == SITES_MAX)
		broken("too many barriers");
	b->site[b->count] = *s;
	return b->count++;
}

static void at_flush(void *ctx, int number)
{
	struct collecting *c = ctx;
	struct site s = {0};
	struct line line[LINES_MAX];

	s.frames = backtrace(s.frame, FRAMES);
	site_name(c->b, &s,
		  from_queue(line, flatten(c->b, &s, line)) ? covered(c->rec)
							    : NULL);
	if (number < 1024)
		c->b->of[number] = site_of(c->b, &s);
}

/* --------------------------------------------------------------- skipping -- */

static void try_workload(struct barriers *b, const struct workload *w,
			 struct barrier_stats *stats)
{
	struct collecting c = {.b = b};
	unsigned of[1024];
	const char *fault;
	int flushes = workload_lose(w, CRASH_LOSE_NOTHING, at_flush, &c,
				    &c.rec, &fault);

	if (flushes > 1024)
		broken("too many flushes");
	memcpy(of, b->of, sizeof(of));
	for (int k = 0; k < flushes; k++) {
		struct site *s = &b->site[of[k]];

		s->seen++;
		if (s->killed)
			continue;
		s->runs++;
		stats->runs++;
		workload_lose(w, k, NULL, NULL, NULL, &fault);
		if (!fault)
			continue;
		s->killed = true;
		snprintf(s->by, sizeof(s->by), "%s", fault);
	}
}

/* Lines change with every edit; their order does not. */
static void plain_names(struct barriers *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct site *s = &b->site[i];
		char *to = s->plain;

		for (const char *n = s->name; *n;) {
			if (*n == ':' && n[1] >= '0' && n[1] <= '9')
				n += 1 + strspn(n + 1, "0123456789");
			else
				*to++ = *n++;
		}
	}
	for (unsigned i = 0; i < b->count; i++) {
		unsigned before = 1, all = 0;
		char *mine = b->site[i].plain;
		size_t len = strcspn(mine, "#");

		for (unsigned k = 0; k < b->count; k++) {
			const char *other = b->site[k].plain;

			if (strcspn(other, "#") != len ||
			    strncmp(mine, other, len) != 0)
				continue;
			all++;
			before += strverscmp(b->site[k].name, b->site[i].name) < 0;
		}
		if (all > 1)
			snprintf(mine + len, sizeof(b->site[i].plain) - len,
				 "#%u", before);
	}
}

/* "NAME<TAB>reason" for a barrier that breaks nothing by itself. */
static bool excused(FILE *table, const char *name)
{
	char row[600];

	rewind(table);
	while (fgets(row, sizeof(row), table))
		if (!strncmp(row, name, strlen(name)) &&
		    row[strlen(name)] == '\t')
			return true;
	return false;
}

static bool tell(struct barriers *b, FILE *table, struct barrier_stats *stats)
{
	bool good = true;

	for (unsigned i = 0; i < b->count; i++) {
		const struct site *s = &b->site[i];
		bool excuse = excused(table, s->plain);

		stats->killed += s->killed;
		stats->excused += excuse && !s->killed;
		printf("barrier %s: %s%.150s\n", s->plain,
		       s->killed ? "needed: "
		       : excuse	 ? "excused"
		       : names_hold ? "BROKEN: nothing needs it"
				    : "nothing needs it",
		       s->by);
		if (s->killed == excuse) {
			good = false;
			if (excuse && names_hold)
				printf("BROKEN %s is excused and needed\n",
				       s->plain);
		}
	}
	stats->sites = b->count;
	return good;
}

bool barriers_run(const char *excuses, struct barrier_stats *stats)
{
	struct barriers *b = calloc(1, sizeof(*b));
	FILE *table = fopen(excuses, "r");
	bool good;

	if (!b || !table)
		broken("cannot read %s", excuses);
	memset(stats, 0, sizeof(*stats));
	for (unsigned c = 0; c < class_count; c++)
		for (unsigned i = 0; i < op_count(); i++) {
			const struct workload w = {
				&classes[c], {op_get(i)}, 1};

			if (workload_fits(&w))
				try_workload(b, &w, stats);
		}
	plain_names(b);
	good = tell(b, table, stats);
	fclose(table);
	free(b);
	return good || !names_hold;
}
