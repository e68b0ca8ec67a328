/* SPDX-License-Identifier: BSD-2-Clause */
/* In front of a program's allocations (LD_PRELOAD): tells from where each was
 * asked for, and refuses those that tests/proof/tools.c names. Only from the
 * first line of main on, and only in the first process: what a tool runs is
 * not touched. See nomem.h.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/proof/nomem.h"

#define FRAMES_MAX 64

typedef int main_function(int, char **, char **);

int __libc_start_main(main_function *program, int argc, char **argv,
		      void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end);

static struct nomem_page *page;
static _Atomic uint32_t armed;
static __thread bool inside; /* of the code that looks at the stack */
static uintptr_t low, high;  /* of the program's own code */
static main_function *real_main;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_aligned)(size_t, size_t);
static int (*real_posix)(void **, size_t, size_t);
static void (*real_free)(void *);

/* What dlsym itself may ask for, before there is anything to ask. */
static char early[8192];
static size_t early_used;

static void *early_take(size_t n)
{
	void *p = early + early_used;

	n = (n + 15) & ~(size_t)15;
	if (n > sizeof(early) - early_used)
		_exit(124);
	early_used += n;
	return p;
}

static bool is_early(const void *p)
{
	return (const char *)p >= early &&
	       (const char *)p < early + sizeof(early);
}

static void find_all(void)
{
	static bool busy;

	if (real_posix || busy)
		return;
	busy = true;
	real_free = dlsym(RTLD_NEXT, "free");
	real_malloc = dlsym(RTLD_NEXT, "malloc");
	real_calloc = dlsym(RTLD_NEXT, "calloc");
	real_realloc = dlsym(RTLD_NEXT, "realloc");
	real_aligned = dlsym(RTLD_NEXT, "aligned_alloc");
	real_posix = dlsym(RTLD_NEXT, "posix_memalign");
	busy = false;
}

/* --------------------------------------------------------------- sites -- */

static uint64_t foreign_site(void *address)
{
	Dl_info info;

	if (!dladdr(address, &info))
		return SITE_FOREIGN;
	return SITE_FOREIGN |
	       (uint64_t)((uintptr_t)address - (uintptr_t)info.dli_fbase);
}

/* libseccomp 2.5.4 goes on with half a filter when some of its allocations
 * fail, and dies of it: before an image is read, and of its own. The first
 * allocation of each call into it is refused as any other (by its site).
 */
static bool in_libseccomp(void *address)
{
	Dl_info info;

	return dladdr(address, &info) &&
	       strstr(info.dli_fname, "/libseccomp.so");
}

/* A sanitizer asks for memory of its own, as when a thread begins, and ends the
 * program when there is none: that is no doing of the program's.
 */
static bool of_sanitizer(void *const *frames, int n)
{
	Dl_info info;

	for (int i = 0; i < n; i++)
		if (dladdr(frames[i], &info) &&
		    strstr(info.dli_fname, "/libasan.so"))
			return true;
	return false;
}

/* From where memory is asked for; 0: not by the program. */
static uint64_t site_now(bool *excused)
{
	void *frames[FRAMES_MAX];
	int n = backtrace(frames, FRAMES_MAX);
	uint64_t site = 0;

	for (int i = 0; i < n; i++) {
		uintptr_t a = (uintptr_t)frames[i];

		if (a < low || a >= high)
			continue;
		if (i > 0 && !site)
			*excused = in_libseccomp(frames[i - 1]);
		if (site)
			return site | (uint64_t)(a - low) << 32;
		site = (uint64_t)(a - low);
	}
	if (site)
		return site;
	if (of_sanitizer(frames, n))
		return 0;
	return foreign_site(frames[n > 3 ? 3 : n - 1]);
}

static void note(uint64_t site)
{
	uint32_t n = atomic_load(&page->sites);

	for (uint32_t i = 0; i < n && i < NOMEM_SITES_MAX; i++)
		if (page->site[i] == site)
			return;
	n = atomic_fetch_add(&page->sites, 1);
	if (n < NOMEM_SITES_MAX)
		page->site[n] = site;
}

static bool refuse(void)
{
	bool due, excused = false;
	uint64_t site;
	uint32_t index;

	if (!atomic_load(&armed) || inside)
		return false;
	inside = true;
	site = site_now(&excused);
	inside = false;
	if (!site)
		return false;
	index = atomic_fetch_add(&page->asked, 1) + 1;
	note(site);
	due = (page->fail_site && page->fail_site == site) ||
	      (page->fail_index && page->fail_index == index && !excused);
	if (atomic_load(&page->refused))
		due = page->forever;
	if (!due)
		return false;
	atomic_fetch_add(&page->refused, 1);
	errno = ENOMEM;
	return true;
}

/* ------------------------------------------------------ in front of libc -- */

void *malloc(size_t n)
{
	find_all();
	if (!real_malloc)
		return early_take(n);
	return refuse() ? NULL : real_malloc(n);
}

void *calloc(size_t count, size_t n)
{
	find_all();
	if (!real_calloc)
		return early_take(count * n); /* is zero */
	return refuse() ? NULL : real_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
	find_all();
	if (!real_realloc || is_early(p)) {
		void *q = malloc(n);

		if (q && p)
			memcpy(q, p, n);
		return q;
	}
	return refuse() ? NULL : real_realloc(p, n);
}

void free(void *p)
{
	if (is_early(p))
		return;
	find_all();
	if (real_free) /* what dlsym gives back meanwhile is forgotten */
		real_free(p);
}

void *aligned_alloc(size_t align, size_t n)
{
	find_all();
	return refuse() ? NULL : real_aligned(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	find_all();
	return refuse() ? ENOMEM : real_posix(out, align, n);
}

/* --------------------------------------------------------------- begin -- */

static int first_object(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	low = (uintptr_t)info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type == PT_LOAD &&
		    low + h->p_vaddr + h->p_memsz > high)
			high = low + h->p_vaddr + h->p_memsz;
	}
	return 1; /* the program itself comes first */
}

static void take_page(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p = MAP_FAILED;
	uint32_t free_one = 0;

	if (fd >= 0)
		p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		_exit(124);
	close(fd);
	page = p;
	if (!atomic_compare_exchange_strong(&page->taken, &free_one, 1))
		page = NULL;
}

static int armed_main(int argc, char **argv, char **envp)
{
	const char *path = getenv("NOMEM");
	void *frames[4];

	dl_iterate_phdr(first_object, NULL);
	backtrace(frames, 4); /* loads what it needs */
	if (path)
		take_page(path);
	unsetenv("LD_PRELOAD");
	unsetenv("NOMEM");
	atomic_store(&armed, page != NULL);
	return real_main(argc, argv, envp);
}

int __libc_start_main(main_function *program, int argc, char **argv,
		      void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	int (*next)(main_function *, int, char **, void (*)(void),
		    void (*)(void), void (*)(void), void *);

	next = dlsym(RTLD_NEXT, "__libc_start_main");
	real_main = program;
	return next(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}
