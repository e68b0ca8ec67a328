/* SPDX-License-Identifier: BSD-2-Clause */
/* Which installed kernel can be the nested machine's, and which modules it
 * must load there: KVM for AMD's SVM, which is what QEMU emulates, and the way
 * to our files and ports. Debian's cloud kernel has no 9p, so it is not one.
 * Source: modules.dep(5).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nested.h"

static const char *const kvm_modules[] = {"kvm_amd", NULL};
static const char *const device_modules[] = {
	"virtio_pci", "virtio_console", "9pnet_virtio", "9p", NULL};

/* Two names of a module differ in dashes and in packing. */
static bool same_module(const char *path, size_t len, const char *name)
{
	const char *slash = memrchr(path, '/', len);
	const char *base = slash ? slash + 1 : path;
	const char *end = path + len;

	for (; *name; name++, base++) {
		if (base >= end || (*base == '-' ? '_' : *base) != *name)
			return false;
	}
	return end - base >= 3 && memcmp(base, ".ko", 3) == 0;
}

static bool list_add(char **list, unsigned *count, const char *dir,
		     const char *path, size_t len)
{
	char full[HV_PATH_MAX];

	snprintf(full, sizeof(full), "%s/%.*s", dir, (int)len, path);
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(list[i], full) == 0)
			return true;
	if (*count == HV_MODULES_MAX)
		return false;
	list[*count] = strdup(full);
	return list[*count] && ++*count;
}

/* A line "path: dependency ...": the dependencies are loaded from the last to
 * the first, then the module.
 */
static bool add_line(char **list, unsigned *count, const char *dir,
		     const char *line, size_t module_len)
{
	const char *deps = line + module_len + 1;
	const char *end = deps + strlen(deps);

	while (end > deps) {
		const char *word;

		while (end > deps && (end[-1] == ' ' || end[-1] == '\n'))
			end--;
		word = end;
		while (word > deps && word[-1] != ' ')
			word--;
		if (end > word &&
		    !list_add(list, count, dir, word, (size_t)(end - word)))
			return false;
		end = word;
	}
	return list_add(list, count, dir, line, module_len);
}

/* Go through DIR/FILE for the module; with `count`, add what it needs. */
static bool search(const char *dir, const char *file, const char *name,
		   char **list, unsigned *count)
{
	char path[HV_PATH_MAX];
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &cap, f) > 0) {
		size_t len = strcspn(line, ":\n");

		if (!same_module(line, len, name))
			continue;
		found = !count || (line[len] == ':' &&
				   add_line(list, count, dir, line, len));
	}
	free(line);
	(void)fclose(f);
	return found;
}

static bool find_all(const char *dir, const char *const *names, char **list,
		     unsigned *count)
{
	for (; *names; names++)
		if (!search(dir, "modules.dep", *names, list, count) &&
		    !search(dir, "modules.builtin", *names, NULL, NULL))
			return false;
	return true;
}

void hv_l1_kernel_free(struct hv_l1_kernel *k)
{
	for (unsigned i = 0; i < k->kvm_count; i++)
		free(k->kvm[i]);
	for (unsigned i = 0; i < k->device_count; i++)
		free(k->devices[i]);
	memset(k, 0, sizeof(*k));
}

static bool try_version(const char *boot_dir, const char *modules_dir,
			const char *version, struct hv_l1_kernel *k)
{
	char dir[HV_PATH_MAX];

	memset(k, 0, sizeof(*k));
	if (snprintf(k->version, sizeof(k->version), "%s", version) >=
	    (int)sizeof(k->version))
		return false;
	snprintf(k->image, sizeof(k->image), "%s/vmlinuz-%s", boot_dir,
		 version);
	snprintf(dir, sizeof(dir), "%s/%s", modules_dir, version);
	if (access(k->image, R_OK) == 0 &&
	    find_all(dir, kvm_modules, k->kvm, &k->kvm_count) &&
	    find_all(dir, device_modules, k->devices, &k->device_count))
		return true;
	hv_l1_kernel_free(k);
	return false;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*b)->d_name, (*a)->d_name);
}

static int not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

int hv_l1_kernel_find(const char *boot_dir, const char *modules_dir,
		      struct hv_l1_kernel *out, struct vhd_err *err)
{
	struct dirent **names = NULL;
	int n = scandir(modules_dir, &names, not_hidden, newest_first);
	bool found = false;

	for (int i = 0; i < n; i++) {
		if (!found)
			found = try_version(boot_dir, modules_dir,
					    names[i]->d_name, out);
		free(names[i]);
	}
	free(names);
	if (found)
		return 0;
	return vhd_fail(err, -ENOENT, VHD_WHY_UNSUPPORTED, 0,
			"no kernel for the emulated machine in %s (one with "
			"kvm_amd, 9p and virtio): install linux-image-amd64",
			boot_dir);
}
