/* SPDX-License-Identifier: BSD-2-Clause */
/* The nested machine's first and only file system. */
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "init.h"
#include "nested.h"

/* Our first process, built beside us and carried along (blob.c). */
extern const char hv_init_blob[], hv_init_blob_end[];

/* ------------------------------------------------------------ the plan -- */

struct plan {
	struct cli_text_stream words;
	FILE *f;
};

static void entry(struct plan *p, char kind, const char *value)
{
	fprintf(p->f, "%c%s", kind, value);
	fputc('\0', p->f);
}

static void module_entry(struct plan *p, char kind, const char *path,
			 const char *options)
{
	const char *slash = strrchr(path, '/');

	fprintf(p->f, "%c/mod%s", kind, slash);
	if (options)
		fprintf(p->f, " %s", options);
	fputc('\0', p->f);
}

static void number_words(struct plan *p, const char *option, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	entry(p, 'a', option);
	entry(p, 'a', text);
}

static void limit_words(struct plan *p, const struct hv_disk_arg *d)
{
	const struct storvsp_limits *l = &d->limits;
	const struct {
		const char *word;
		uint64_t n;
	} words[] = {
		{"iops", l->iops}, {"iops-burst", l->iops_burst},
		{"bps", l->bps},   {"bps-burst", l->bps_burst},
		{"depth", l->depth},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].n)
			fprintf(p->f, ",%s=%llu", words[i].word,
				(unsigned long long)words[i].n);
	fprintf(p->f, ",on-error=%s", hv_on_error_name(d->on_error));
}

static void disk_words(struct plan *p, const struct hv_disk_arg *d,
		       const char *inner, const char *keeper)
{
	static const char *const unmap[] = {
		[STORVSP_UNMAP_AUTO] = "",
		[STORVSP_UNMAP_OFF] = ",nounmap",
		[STORVSP_UNMAP_ON] = ",unmap",
	};
	bool ide = hv_is_ide(d->controller);

	/* Always a word at the end, so that no name is mistaken for one. */
	fprintf(p->f, "a%s%s%s%s,%s=%u", inner,
		d->format == VHD_FORMAT_AUTO ? "" : ",",
		d->format == VHD_FORMAT_AUTO ? ""
					     : vhd_format_name(d->format),
		unmap[d->unmap], ide ? "ide" : "controller",
		(unsigned)(d->controller - (ide ? HV_IDE_CONTROLLER : 0)));
	if (d->sector_bytes)
		fprintf(p->f, ",sector=%u", d->sector_bytes);
	if (d->physical_bytes)
		fprintf(p->f, ",physical=%u", d->physical_bytes);
	if (!ide || !d->dvd) /* such a drive is not asked by the VSP */
		limit_words(p, d);
	if (d->keeper_path)
		fprintf(p->f, ",pr=%s", keeper);
	if (d->direct)
		fprintf(p->f, ",direct");
	if (d->dvd)
		fprintf(p->f, ",dvd");
	fprintf(p->f, ",%s", d->read_only ? "ro" : "rw");
	fputc('\0', p->f);
}

static void boot_words(struct plan *p, const struct hv_args *args,
		       const char *inner)
{
	entry(p, 'a', args->kernel ? "--kernel" : "--firmware");
	entry(p, 'a', inner);
	if (args->kernel)
		return;
	if (args->boot > 0) {
		number_words(p, "--boot", (uint64_t)args->boot);
		return;
	}
	if (args->boot == HV_BOOT_DVD) {
		entry(p, 'a', "--boot");
		entry(p, 'a', "dvd");
	}
}

/* `inner`: kernel or firmware, initrd (or NULL), then the disks, then their keepers. */
static void command(struct plan *p, const struct hv_args *args,
		    char *const inner[])
{
	entry(p, 'a', hv_prog);
	entry(p, 'a', "run");
	entry(p, 'a', "--accel");
	entry(p, 'a', "kvm");
	entry(p, 'a', "--sandbox");
	entry(p, 'a', cli_sandbox_word());
	boot_words(p, args, inner[0]);
	if (args->initrd) {
		entry(p, 'a', "--initrd");
		entry(p, 'a', inner[1]);
	}
	if (args->append) {
		entry(p, 'a', "--append");
		entry(p, 'a', args->append);
	}
	number_words(p, "--memory", args->memory_bytes);
	number_words(p, "--cpus", args->cpus);
	number_words(p, "--channels", args->channels);
	number_words(p, "--poll", args->poll_us);
	entry(p, 'a', "--register-memory");
	entry(p, 'a', args->no_register ? "off" : "auto");
	if (args->no_reboot)
		entry(p, 'a', "--no-reboot");
	if (args->stats)
		entry(p, 'a', "--stats");
	for (unsigned i = 0; i < args->disk_count; i++) {
		entry(p, 'a', "--disk");
		disk_words(p, &args->disks[i], inner[2 + i],
			   inner[2 + args->disk_count + i]);
	}
}

/* What makes this program find its libraries or behave under test. */
static void environment(struct plan *p)
{
	static const char *const names[] = {"LD_LIBRARY_PATH", "ASAN_OPTIONS",
					    "UBSAN_OPTIONS", "LSAN_OPTIONS"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (!value)
			continue;
		fprintf(p->f, "e%s=%s", names[i], value);
		fputc('\0', p->f);
	}
}

static bool make_plan(struct plan *p, const struct hv_args *args,
		      const struct hv_l1_kernel *k,
		      const struct hv_shares *shares, char *const inner[])
{
	char tag[8];

	p->f = cli_text_stream_open(&p->words);
	if (!p->f)
		return false;
	for (unsigned i = 0; i < k->kvm_count; i++)
		module_entry(p, 'k', k->kvm[i],
			     i + 1 == k->kvm_count ? k->kvm_options : NULL);
	for (unsigned i = 0; i < k->device_count; i++)
		module_entry(p, 'm', k->devices[i], NULL);
	for (unsigned i = 0; i < shares->count; i++) {
		hv_share_tag(shares, i, tag);
		entry(p, tag[0], tag);
	}
	command(p, args, inner);
	environment(p);
	return cli_text_stream_close(p->f);
}

/* ----------------------------------------------------------- the files -- */

static void add_modules(struct hv_cpio *c, char *const *paths, unsigned count)
{
	char name[HV_PATH_MAX];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "mod%s",
			 strrchr(paths[i], '/'));
		hv_cpio_file(c, name, 0644, paths[i]);
	}
}

/* Each shared object at its own place, where the linker looks for it. */
static int add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	if (info->dlpi_name[0] == '/')
		hv_cpio_file(arg, info->dlpi_name + 1, 0755, info->dlpi_name);
	return 0;
}

static void add_files(struct hv_cpio *c, const struct hv_l1_kernel *k,
		      const struct plan *plan)
{
	hv_cpio_dir(c, "dev");
	hv_cpio_dir(c, "proc");
	hv_cpio_dir(c, "sys");
	hv_cpio_data(c, "init", 0755, hv_init_blob,
		     (size_t)(hv_init_blob_end - hv_init_blob));
	hv_cpio_data(c, &HV_INIT_PLAN[1], 0644, plan->words.text, plan->words.len);
	hv_cpio_file(c, &HV_INIT_COMMAND[1], 0755, "/proc/self/exe");
	(void)dl_iterate_phdr(add_object, c);
	add_modules(c, k->kvm, k->kvm_count);
	add_modules(c, k->devices, k->device_count);
	hv_cpio_end(c);
}

int hv_initramfs_make(const struct hv_args *args, const struct hv_l1_kernel *k,
		      const struct hv_shares *shares, char *const inner[],
		      struct vhd_err *err)
{
	struct plan plan = {0};
	struct hv_cpio cpio = {.fd = memfd_create("initramfs", MFD_CLOEXEC)};

	if (cpio.fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot create a file in memory: %s",
				strerror(errno));
	if (make_plan(&plan, args, k, shares, inner))
		add_files(&cpio, k, &plan);
	else
		(void)vhd_fail(&cpio.err, -ENOMEM, VHD_WHY_NOMEM, 0,
			       "out of memory");
	free(plan.words.text);
	if (cpio.err.code < 0) {
		(void)close(cpio.fd);
		if (err)
			*err = cpio.err;
		return cpio.err.code;
	}
	return cpio.fd;
}
