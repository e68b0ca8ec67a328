/* SPDX-License-Identifier: BSD-2-Clause */
/* Every place in a tool from which memory is asked for is refused once, and
 * from then on for good; in the long column every allocation is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/proof.h"
#include "tests/proof/nomem.h"
#include "tests/proof/tools.h"

static struct nomem_page *page;
static char preload[600], where[600];
static unsigned runs, seen, refused, cases;

void memory_begin(void)
{
	const char *so = getenv("NOMEM_SO");
	int fd = open("page", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (!so || fd < 0 || ftruncate(fd, sizeof(*page))) {
		perror("NOMEM_SO, page");
		exit(1);
	}
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (page == MAP_FAILED || !getcwd(where + 6, 500)) {
		perror("page");
		exit(1);
	}
	memcpy(where, "NOMEM=", 6);
	strcat(where, "/page");
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%.500s", so);
	close(fd);
}

/* Run with these refusals; true if one was made. */
static bool run_refusing(const struct tool_case *c, uint64_t site,
			 uint64_t index, bool forever)
{
	const char *const env[] = {preload, where, NULL};
	const struct run_how how = {.dir = "place", .env = env};

	memset(page, 0, sizeof(*page));
	page->fail_site = site;
	page->fail_index = index;
	page->forever = forever;
	place_prepare(c, "place");
	run_words(c->words, &how, tools_run());
	return atomic_load(&page->refused) > 0;
}

static void refuse_one(const struct tool_case *c, uint64_t site,
		       uint64_t index, bool *hit)
{
	for (int forever = 0; forever < 2; forever++) {
		char how[80];

		runs++;
		if (run_refusing(c, site, index, forever))
			*hit = true;
		snprintf(how, sizeof(how), "no memory %s at site 0x%llx #%llu",
			 forever ? "from then on" : "once",
			 (unsigned long long)site, (unsigned long long)index);
		tools_judge(c, "place", how);
	}
}

void memory_case(const struct tool_case *c)
{
	static uint64_t sites[NOMEM_SITES_MAX];
	uint32_t count, asked;
	bool hit = false;

	cases++;
	place_measure(c, "place");
	run_refusing(c, 0, 0, false);
	tools_judge(c, "place", "counted only");
	count = atomic_load(&page->sites);
	asked = atomic_load(&page->asked);
	if (count > NOMEM_SITES_MAX) {
		fprintf(stderr, "%s: %u sites\n", c->name, count);
		exit(1);
	}
	memcpy(sites, page->site, count * sizeof(*sites));
	seen += count;
	for (uint32_t i = 0; i < count; i++) {
		hit = false;
		refuse_one(c, sites[i], 0, &hit);
		refused += hit;
		if (!hit)
			printf("  %s: site 0x%llx was not met again\n", c->name,
			       (unsigned long long)sites[i]);
	}
	for (uint32_t n = 1; proof_long() && n <= asked; n++)
		refuse_one(c, 0, n, &hit);
	if (getenv("TELL"))
		printf("  %s: %u sites, %u allocations\n", c->name, count,
		       asked);
}

void memory_end(bool all)
{
	const char *san = getenv("SAN");

	printf("  memory: %u of %u sites refused in %u runs of %u commands, "
	       "%u faults\n",
	       refused, seen, runs, cases, tools_faults());
	if (!san) /* make hands on an empty one */
		san = "";
	if (!all)
		return;
	proof_figure("M1", refused == seen && !tools_faults(),
		     "tools: %u of %u sites in %u runs of %u commands", refused,
		     seen, runs, cases);
	proof_figure("M2", !tools_faults(),
		     "tools: %u runs%s, %u with a wrong end", runs,
		     *san == '1' ? " under ASan and LSan" : "",
		     tools_faults());
}
