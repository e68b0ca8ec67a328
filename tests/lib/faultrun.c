/* SPDX-License-Identifier: BSD-2-Clause */
/* See faultrun.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/faultrun.h"
#include "tests/lib/proof.h"

/* A run that hangs: of processor time, or by the clock, however slow the machine
 * is, in ticks: while the process is stopped there is one at most.
 */
#define RUN_CPU_SECONDS_MAX 20
#define TICK_SECONDS	    10
#define RUN_TICKS_MAX	    60
#define TOLD_MAX	400u

struct faultrun_totals faultrun_totals;

static char doing[400]; /* for whoever kills the run */

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* --------------------------------------------------------------- fixture -- */

void fx_add(struct fx *f, const char *name, struct memfile *m)
{
	struct fx_file *file = &f->file[f->files++];

	snprintf(file->name, sizeof(file->name), "%s", name);
	file->len = memfile_len(m);
	file->bytes = need(malloc(file->len + 1));
	memfile_peek(m, file->bytes, file->len, 0);
	memfile_destroy(m);
}

void fx_wrong(struct fx *f, const char *fmt, ...)
{
	va_list ap;

	if (f->fault[0])
		return;
	va_start(ap, fmt);
	vsnprintf(f->fault, sizeof(f->fault), fmt, ap);
	va_end(ap);
}

bool fx_struck(const struct fx *f)
{
	return !f->clean && fault_fired();
}

void fx_wrote(struct fx *f, uint64_t off, const void *bytes, size_t len)
{
	memcpy(f->high + off, bytes, len);
}

void fx_durable(struct fx *f)
{
	memcpy(f->low, f->high, f->room);
	f->low_size = f->high_size;
}

void fx_check(struct fx *f, const void *got, uint64_t off, size_t len)
{
	const uint8_t *b = got;

	for (size_t at = 0; at < len; at += 512)
		if (memcmp(b + at, f->high + off + at, 512) != 0) {
			fx_wrong(f, "sector %llu is read wrong",
				 (unsigned long long)(off + at) / 512);
			return;
		}
}

static void put_file(const struct fx_file *file)
{
	int fd = open(file->name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, file->bytes, file->len) != (ssize_t)file->len ||
	    close(fd))
		abort();
}

/* Everything as it was made, and nothing else there. The files are new ones: a
 * ring that broke gives up the old ones, and their locks, only when the kernel
 * gets to its end.
 */
static void restore(struct fx *f)
{
	DIR *d = need(opendir("."));
	struct dirent *e;

	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			(void)unlink(e->d_name);
	closedir(d);
	for (unsigned i = 0; i < f->files; i++)
		put_file(&f->file[i]);
	f->fault[0] = '\0';
	memcpy(f->low, f->start, f->room);
	memcpy(f->high, f->start, f->room);
	f->low_size = f->high_size = f->size;
	memset(f->any, 0, sizeof(f->any));
}

static void build(struct fx *f, const struct work *w)
{
	*f = (struct fx){
		.work = w,
		.room = w->flags & WORK_LARGE ? FX_ROOM : FX_ROOM / 10,
	};
	f->low = need(calloc(1, FX_ROOM));
	f->high = need(calloc(1, FX_ROOM));
	for (unsigned i = 0; i < FX_LAYERS; i++)
		f->model[i] = need(calloc(1, FX_ROOM));
	w->make(f);
}

static void drop(struct fx *f)
{
	for (unsigned i = 0; i < f->files; i++)
		free(f->file[i].bytes);
	for (unsigned i = 0; i < FX_LAYERS; i++)
		free(f->model[i]);
	free(f->low);
	free(f->high);
}

/* ----------------------------------------------------------- the verdict -- */

static const struct fault_cell *cell_of(enum fault_call call,
					enum fault_kind kind)
{
	const struct fault_cell *c = fault_row(call)->cells;

	for (unsigned k = 0; k < FAULT_CELLS_MAX; k++)
		if (c[k].kind == kind)
			return &c[k];
	abort();
}

static bool told_place(enum fault_call call)
{
	return call == FAULT_PREAD || call == FAULT_PWRITE ||
	       call == FAULT_FALLOCATE || call == FAULT_FTRUNCATE;
}

static bool why_fits(const struct fault_event *hit, int code,
		     const struct vhd_err *e)
{
	switch (hit->call) {
	case FAULT_PREAD:
	case FAULT_PWRITE:
	case FAULT_PREADV:
	case FAULT_PWRITEV:
	case FAULT_FSYNC:
	case FAULT_FALLOCATE:
	case FAULT_FTRUNCATE:
	case FAULT_CLOSE:
	case FAULT_DONE_READ:
	case FAULT_DONE_WRITE:
	case FAULT_DONE_SYNC:
	case FAULT_DONE_ZERO:
		if (code == -ECANCELED && hit->call == FAULT_DONE_SYNC)
			return e->why == VHD_WHY_IO;
		if (code == -ENOSPC || code == -EDQUOT || code == -EFBIG)
			return e->why == VHD_WHY_NO_SPACE;
		if (code == -ENOMEM)
			return e->why == VHD_WHY_NOMEM;
		if (code == -ECANCELED)
			return e->why == VHD_WHY_CANCELLED;
		return e->why == VHD_WHY_IO;
	default:
		return e->why == VHD_WHY_SYSTEM || e->why == VHD_WHY_IO ||
		       (code == -ENOMEM && e->why == VHD_WHY_NOMEM);
	}
}

/* Whether what was told is what the table asks for. */
static void compare(struct fx *f, enum fault_want want, enum fault_kind kind,
		    int rc, const struct vhd_err *e)
{
	const struct fault_event *hit = fault_hit();
	int code = -fault_errno(kind);
	bool fits;

	if (want == FAULT_WANT_DONE) {
		if (rc)
			fx_wrong(f, "noticed: %s", e->text);
		return;
	}
	if (want == FAULT_WANT_EIO || want == FAULT_WANT_EOF)
		code = -EIO;
	if (want == FAULT_WANT_LOCKED)
		code = -EBUSY;
	if (rc != code || e->code != code) {
		fx_wrong(f, "code %d (err %d): %s", rc, e->code,
			 rc ? e->text : "success");
		return;
	}
	if (want == FAULT_WANT_EOF)
		fits = e->why == VHD_WHY_SHORT_IO;
	else if (want == FAULT_WANT_LOCKED)
		fits = e->why == VHD_WHY_LOCKED;
	else
		fits = why_fits(hit, code, e);
	if (!fits)
		fx_wrong(f, "why %d: %s", e->why, e->text);
	else if (told_place(hit->call) && !f->cannot_tell &&
		 (e->at_bytes < hit->off || e->at_bytes > hit->off + hit->len))
		fx_wrong(f, "place %llu, not %llu: %s",
			 (unsigned long long)e->at_bytes,
			 (unsigned long long)hit->off, e->text);
}

static const struct fault_allow *allowed(const struct fault_allow *a,
					 const struct fx *f,
					 enum fault_kind kind, int rc,
					 const struct vhd_err *e)
{
	const struct fault_event *hit = fault_hit();

	for (; a->work; a++)
		if (!strncmp(f->work->name, a->work, strlen(a->work)) &&
		    (a->call == FAULT_CALLS || a->call == hit->call) &&
		    (a->kind == FAULT_NONE || a->kind == kind) &&
		    rc == a->code && (!rc || !a->why || e->why == a->why) &&
		    (!a->site[0] ||
		     strstr(fault_site_name(hit->site), a->site)))
			return a;
	return NULL;
}

/* ------------------------------------------------------------------ runs -- */

static void on_death(int sig)
{
	static const char text[] = "\nended while: ";

	(void)!write(2, text, sizeof(text) - 1);
	(void)!write(2, doing, strlen(doing));
	(void)!write(2, "\n", 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

static volatile sig_atomic_t ticks; /* of this run */

static void on_tick(int sig)
{
	if (++ticks >= RUN_TICKS_MAX)
		on_death(sig);
}

static void watch_over(void)
{
	static bool on;

	if (on)
		return;
	on = true;
	signal(SIGALRM, on_tick);
	signal(SIGPROF, on_death);
	signal(SIGABRT, on_death);
#ifndef __SANITIZE_ADDRESS__
	signal(SIGSEGV, on_death);
#endif
}

static int free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0)
		abort();
	close(fd);
	return fd;
}

static void report(const struct fx *f, const struct fault_plan *p)
{
	const struct fault_event *hit = fault_hit();

	if (++faultrun_totals.wrong > TOLD_MAX)
		return;
	if (!fault_fired()) {
		printf("%s: %s\n", f->work->name, f->fault);
		return;
	}
	printf("%s: call %u %s %s%s at %s", f->work->name, p->at,
	       fault_call_name(hit->call), fault_kind_name(p->kind),
	       p->forever ? " for ever" : "", fault_site_name(hit->site));
	if (p->second)
		printf(", then %s at %s", fault_kind_name(p->second),
		       fault_site_name(p->second_site));
	printf(": %s\n", f->fault);
}

static void time_limit(bool on)
{
	const struct itimerval cpu = {
		.it_value.tv_sec = on ? RUN_CPU_SECONDS_MAX : 0};
	const struct itimerval tick = {
		.it_interval.tv_sec = on ? TICK_SECONDS : 0,
		.it_value.tv_sec = on ? TICK_SECONDS : 0};

	ticks = 0;
	if (setitimer(ITIMER_PROF, &cpu, NULL) ||
	    setitimer(ITIMER_REAL, &tick, NULL))
		abort();
}

/* The operation, with a plan or clean (NULL). */
static int operate(struct fx *f, const struct fault_plan *p, struct vhd_err *e)
{
	int before = free_descriptor(), rc;

	*e = (struct vhd_err){0};
	f->clean = !p;
	fault_no_holes(f->work->flags & WORK_NO_HOLES);
	if (p)
		fault_arm(p);
	time_limit(true);
	rc = f->work->run(f, e);
	time_limit(false);
	fault_disarm();
	if (free_descriptor() != before)
		fx_wrong(f, "a descriptor is left open");
	return rc;
}

/* Once more, without a fault. Who could not unlock a file of a ring's left it
 * to the kernel, which takes its time.
 */
static int operate_again(struct fx *f, struct vhd_err *e)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	bool unlock = fault_hit()->call == FAULT_UNLOCK;
	int rc = operate(f, NULL, e);

	for (unsigned i = 0; rc == -EBUSY && unlock && i < 5000; i++) {
		nanosleep(&moment, NULL);
		rc = operate(f, NULL, e);
	}
	return rc;
}

/* With two faults either may be told, or the like of it. */
static void verdict(struct fx *f, const struct fault_plan *p,
		    const struct fault_allow *allow, int rc,
		    const struct vhd_err *e)
{
	const struct fault_cell *c = cell_of(fault_hit()->call, p->kind);

	if (fault_second_fired())
		return;
	if (allowed(allow, f, p->kind, rc, e))
		return;
	compare(f, p->forever ? c->forever : c->once, p->kind, rc, e);
}

static void run_planned(struct fx *f, const struct fault_plan *p,
			const struct fault_allow *allow)
{
	struct vhd_err e;
	int rc;

	restore(f);
	snprintf(doing, sizeof(doing), "%s, call %u, %s%s, then %s",
		 f->work->name, p->at, fault_kind_name(p->kind),
		 p->forever ? " for ever" : "", fault_kind_name(p->second));
	rc = operate(f, p, &e);
	faultrun_totals.runs++;
	faultrun_totals.deep += p->second != FAULT_NONE;
	if (!fault_fired())
		return;
	verdict(f, p, allow, rc, &e);
	fx_judge(f, rc == 0);
	if (rc && !f->fault[0] && !(f->work->flags & WORK_ONCE)) {
		rc = operate_again(f, &e);
		if (rc)
			fx_wrong(f, "not done when run again: %s", e.text);
		fx_judge(f, true);
	}
	if (f->fault[0])
		report(f, p);
}

/* What first led to a site that the clean run does not come to. */
struct lead {
	bool is;
	struct fault_plan plan;
};

static struct lead leads[FAULT_SITES_MAX];

static bool fresh(unsigned site)
{
	const struct fault_cell *c = fault_row(fault_site_call(site))->cells;

	for (unsigned k = 0; k < FAULT_CELLS_MAX && c[k].kind; k++)
		if (!fault_cell_executed(site, c[k].kind, false) ||
		    !fault_cell_executed(site, c[k].kind, true))
			return true;
	return false;
}

static void follow(const struct fault_plan *p)
{
	unsigned calls = fault_count();

	for (unsigned i = 0; i < calls; i++) {
		unsigned site = fault_event(i)->site;

		if (!leads[site].is && fresh(site))
			leads[site] = (struct lead){true, *p};
	}
}

static void each_kind(struct fx *f, unsigned at, enum fault_call call,
		      const struct fault_allow *allow)
{
	const struct fault_cell *c = fault_row(call)->cells;

	for (unsigned k = 0; k < FAULT_CELLS_MAX && c[k].kind; k++)
		for (int forever = 0; forever < 2; forever++) {
			struct fault_plan p = {
				.call = call,
				.at = at,
				.kind = c[k].kind,
				.forever = forever,
			};

			run_planned(f, &p, allow);
			follow(&p);
		}
}

static void lead_on(struct fx *f, unsigned site,
		    const struct fault_allow *allow)
{
	const struct fault_cell *c = fault_row(fault_site_call(site))->cells;

	for (unsigned k = 0; k < FAULT_CELLS_MAX && c[k].kind; k++)
		for (int forever = 0; forever < 2; forever++) {
			struct fault_plan p = leads[site].plan;

			p.second_site = site;
			p.second = c[k].kind;
			p.second_forever = forever;
			if (!fault_cell_executed(site, c[k].kind, forever))
				run_planned(f, &p, allow);
		}
}

/* Sites that only a fault leads to get theirs as a second one. What a kernel's
 * own threads take part in may need more than one attempt.
 */
static void deepen(struct fx *f, const struct fault_allow *allow)
{
	for (unsigned attempt = 0; attempt < 3; attempt++)
		for (unsigned site = 0; site < fault_sites(); site++)
			if (leads[site].is && fresh(site))
				lead_on(f, site, allow);
}

/* The calls of a clean run: of which kind, from where. */
struct trace {
	unsigned count;
	struct fault_event *events;
};

static struct trace look(struct fx *f)
{
	const struct fault_plan none = {0};
	struct trace t = {0};
	struct vhd_err e;

	restore(f);
	if (operate(f, &none, &e))
		fx_wrong(f, "fails without a fault: %s", e.text);
	fx_judge(f, true);
	t.events = need(calloc(fault_count() + 1, sizeof(*t.events)));
	for (; t.count < fault_count(); t.count++)
		t.events[t.count] = *fault_event(t.count);
	return t;
}

/* Where runs take long, a call from one site after the other is as good as a
 * call from the same one: the first two and the last are taken.
 */
static bool left_out(const struct fx *f, const struct trace *t, unsigned i)
{
	unsigned before = 0;
	bool last = true;

	if (!(f->work->flags & WORK_SLOW) || proof_long())
		return false;
	for (unsigned j = 0; j < t->count; j++) {
		if (j == i || t->events[j].site != t->events[i].site)
			continue;
		before += j < i;
		last &= j < i;
	}
	if (f->work->flags & WORK_FEW)
		return before >= 1;
	return before >= 2 && !last;
}

void faultrun(const struct work *w, const struct fault_allow *allow)
{
	unsigned nth[FAULT_CALLS] = {0};
	const char *only = getenv("CALL"); /* to look at one kind */
	struct trace t;
	struct fx f;

	watch_over();
	build(&f, w);
	memset(leads, 0, sizeof(leads));
	t = look(&f);
	if (f.fault[0]) {
		report(&f, &(struct fault_plan){0});
		t.count = 0;
	}
	for (unsigned i = 0; i < t.count; i++) {
		enum fault_call call = t.events[i].call;

		if (only && strcmp(only, fault_call_name(call)))
			continue;
		if (!left_out(&f, &t, i))
			each_kind(&f, nth[call], call, allow);
		nth[call]++;
	}
	deepen(&f, allow);
	free(t.events);
	drop(&f);
}
