/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracepoints are in the program: its own file has their notes, each with
 * as many arguments as the manual page says, at a place that holds a
 * no-operation.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/storvsp.h"
#include "tests/lib/cm.h"

static unsigned char *file;
static size_t file_bytes;

static int load(void **state)
{
	FILE *f = fopen("/proc/self/exe", "r");

	(void)state;
	if (!f || fseek(f, 0, SEEK_END))
		return -1;
	file_bytes = (size_t)ftell(f);
	file = malloc(file_bytes);
	rewind(f);
	if (!file || fread(file, 1, file_bytes, f) != file_bytes)
		return -1;
	return fclose(f);
}

static int unload(void **state)
{
	(void)state;
	free(file);
	return 0;
}

static const Elf64_Shdr *section(const char *name)
{
	const Elf64_Ehdr *e = (const void *)file;
	const Elf64_Shdr *s = (const void *)(file + e->e_shoff);
	const char *names = (const char *)file + s[e->e_shstrndx].sh_offset;

	for (unsigned i = 0; i < e->e_shnum; i++)
		if (!strcmp(names + s[i].sh_name, name))
			return &s[i];
	return NULL;
}

/* The byte that is run at an address. */
static unsigned char code_at(uint64_t address)
{
	const Elf64_Ehdr *e = (const void *)file;
	const Elf64_Phdr *p = (const void *)(file + e->e_phoff);

	for (unsigned i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_flags & PF_X &&
		    address - p[i].p_vaddr < p[i].p_filesz)
			return file[p[i].p_offset + address - p[i].p_vaddr];
	return 0;
}

static unsigned arguments(const char *text)
{
	unsigned n = *text != '\0';

	while ((text = strchr(text, ' ')) != NULL)
		n++, text++;
	return n;
}

/* Times that a probe is in the file; each note must be as it should. */
static unsigned count(const char *name, unsigned args)
{
	const Elf64_Shdr *s = section(".note.stapsdt");
	const Elf64_Shdr *base = section(".stapsdt.base");
	unsigned n = 0;
	size_t at = 0;

	assert_non_null(s);
	assert_non_null(base);
	while (at < s->sh_size) {
		const unsigned char *p = file + s->sh_offset + at;
		const Elf64_Nhdr *h = (const void *)p;
		const unsigned char *desc = p + sizeof(*h) + 8;
		const char *text = (const char *)desc + 24;
		uint64_t where, linked, semaphore;

		assert_int_equal(h->n_namesz, 8);
		assert_int_equal(h->n_type, 3);
		assert_string_equal((const char *)p + sizeof(*h), "stapsdt");
		memcpy(&where, desc, 8);
		memcpy(&linked, desc + 8, 8);
		memcpy(&semaphore, desc + 16, 8);
		at += sizeof(*h) + 8 + ((h->n_descsz + 3) & ~3u);
		assert_string_equal(text, "storvsp");
		text += strlen(text) + 1;
		if (strcmp(text, name) != 0)
			continue;
		n++;
		assert_int_equal(arguments(text + strlen(text) + 1), args);
		assert_int_equal(linked, base->sh_addr);
		assert_int_equal(semaphore, 0);
		assert_int_equal(code_at(where), 0x90);
	}
	return n;
}

static void every_tracepoint_is_in_the_program(void **state)
{
	/* so that all of the library is linked: what is offered calls it */
	int (*volatile offer)(struct storvsp *, struct vmbus *,
			      struct vhd_err *) = storvsp_offer;

	(void)state;
	assert_non_null(offer);
	assert_true(count("request_start", 6) > 0);
	assert_true(count("request_submit", 5) > 0);
	assert_true(count("request_complete", 3) > 0);
	assert_int_equal(count("request_lost", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_tracepoint_is_in_the_program),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
