/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of `hv run`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv.h"

static const char prog[] = "hv run";

#define MEMORY_DEFAULT (512ull << 20)
#define MEMORY_UNIT (2ull << 20)
#define TIMEOUT_MAX_S 10000000u
#define WAIT_MAX_S 86400u

enum {
	OPT_DISK = 256,
	OPT_DVD,
	OPT_KERNEL,
	OPT_FIRMWARE,
	OPT_BOOT,
	OPT_INITRD,
	OPT_APPEND,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_CHANNELS,
	OPT_POLL,
	OPT_REGISTER,
	OPT_ACCEL,
	OPT_CONSOLE,
	OPT_TIMEOUT,
	OPT_NAME,
	OPT_NO_REBOOT,
	OPT_ON_ERROR,
	OPT_STATS,
	OPT_PIN,
};

static const struct cli_option options[] = {
	{"kernel", OPT_KERNEL, "FILE",
	 "the guest's kernel, a bzImage; without it, the disk boots\n"
	 "by itself, as on a PC with a BIOS"},
	{"initrd", OPT_INITRD, "FILE", "its initramfs"},
	{"append", OPT_APPEND, "WORDS",
	 "its command line (default: console=ttyS0)"},
	{"disk", OPT_DISK, "FILE[,WORD]...",
	 "a VHD as SCSI disk, the first is /dev/sda; FILE may be\n"
	 "a block device or an NBD URI; words: ro\n"
	 "or rw (the default); fixed, dynamic or raw: what it is\n"
	 "instead of a look. A raw disk must be named as such;\n"
	 "unmap or nounmap: whether the guest may give space back;\n"
	 "direct: past the host's page cache;\n"
	 "controller=N: on which of four, 0 (the default) to 3;\n"
	 "ide=N: instead, at position 0 to 3 of an IDE controller,\n"
	 "which a guest without VMBus drivers finds, too;\n"
	 "sector=4096, physical=4096: its blocks, else of 512 bytes;\n"
	 "parent=FILE: of a differencing disk, may be a URI, too;\n"
	 "reconnect=SECONDS or forever: how long requests wait for\n"
	 "an NBD server that is gone (default 30); answer=SECONDS or\n"
	 "forever: for one that says nothing (default 60);\n"
	 "pr=FILE: where persistent reservations outlive a run;\n"
	 "iops=N, bps=SIZE: requests and bytes a second it may do,\n"
	 "iops-burst=N, bps-burst=SIZE: at once; depth=N: requests\n"
	 "in flight on a channel; on-error=pause: hold what fails\n"
	 "for the host's reasons instead of telling the guest"},
	{"dvd", OPT_DVD, "FILE[,WORD]...",
	 "a DVD drive with this ISO image as its disc, or with\n"
	 "none: empty; the same as --disk FILE,dvd"},
	{"boot", OPT_BOOT, "WHAT",
	 "what boots: disk, the first one (the default); dvd; or N,\n"
	 "the Nth of the disks and DVD drives named here"},
	{"firmware", OPT_FIRMWARE, "FILE",
	 "the BIOS (default: SeaBIOS where it is installed)"},
	{"memory", OPT_MEMORY, "SIZE", "memory of the guest (default 512M)"},
	{"cpus", OPT_CPUS, "N", "its processors (default 1)"},
	{"pin", OPT_PIN, "LIST",
	 "run them on these processors of the host, such as 2,4-6"},
	{"channels", OPT_CHANNELS, "N",
	 "channels of each disk controller, each with its own\n"
	 "thread (default: one a processor, which is the most)"},
	{"poll", OPT_POLL, "MICROSECONDS",
	 "how long a channel may look for more work before it\n"
	 "sleeps, where that paid off lately; 0: never (default 50)"},
	{"register-memory", OPT_REGISTER, "WHEN",
	 "auto: lock the guest's memory for faster I/O where\n"
	 "ulimit -l allows (the default); off: never"},
	{"accel", OPT_ACCEL, "NAME",
	 "kvm: this machine's; tcg: an emulated one, by QEMU;\n"
	 "auto: kvm where the processor has it (the default)"},
	{"console", OPT_CONSOLE, "FILE",
	 "the serial console's output goes there"},
	{"timeout", OPT_TIMEOUT, "SECONDS", "stop the guest after that time"},
	{"on-error", OPT_ON_ERROR, "WORD",
	 "report or pause: for disks that do not say it themselves"},
	{"no-reboot", OPT_NO_REBOOT, NULL,
	 "end with status 12 where the guest asks for a reset"},
	{"stats", OPT_STATS, NULL,
	 "say in the end how long the start took, and why how\n"
	 "often the guest was left"},
	{"name", OPT_NAME, "NAME",
	 "take commands of `hv ctl NAME` while the guest runs"},
	{0},
};

/* ------------------------------------------------------------ one disk -- */

static const struct disk_word {
	const char *word;
	bool read_only;
	enum vhd_format format;
	enum storvsp_unmap unmap;
	bool dvd, direct;
} disk_words[] = {
	{"ro", .read_only = true},
	{"rw", .read_only = false},
	{"raw", .format = VHD_FORMAT_RAW},
	{"fixed", .format = VHD_FORMAT_FIXED},
	{"dynamic", .format = VHD_FORMAT_DYNAMIC},
	{"unmap", .unmap = STORVSP_UNMAP_ON},
	{"nounmap", .unmap = STORVSP_UNMAP_OFF},
	{"dvd", .dvd = true},
	{"direct", .direct = true},
};

static const struct disk_word *disk_word(const char *text)
{
	for (size_t i = 0; i < sizeof(disk_words) / sizeof(disk_words[0]); i++)
		if (strcmp(disk_words[i].word, text) == 0)
			return &disk_words[i];
	return NULL;
}

static int number(const char *option, const char *text, uint32_t min,
		  uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (cli_number_parse(text, min, max, &n))
		return cli_usage(prog, "%s %s: not a number from %u to %u",
				 option, text, min, max);
	*out = (uint32_t)n;
	return CLI_OK;
}

/* A disk is in one place. */
static int place_take(struct hv_disk_arg *d, uint32_t controller)
{
	if (d->placed) {
		(void)cli_usage(prog, "--disk: a disk has one place: "
				      "controller= or ide=, and once");
		return -1;
	}
	d->placed = true;
	d->controller = (uint8_t)controller;
	return 1;
}

static int controller_take(struct hv_disk_arg *d, const char *text)
{
	uint32_t n = 0;

	if (number("--disk: controller", text, 0, HV_SCSI_CONTROLLERS - 1, &n))
		return -1;
	return place_take(d, n);
}

static int ide_take(struct hv_disk_arg *d, const char *text)
{
	uint32_t n = 0;

	if (number("--disk: ide", text, 0, HV_IDE_POSITIONS - 1, &n))
		return -1;
	return place_take(d, HV_IDE_CONTROLLER + n);
}

/* The size of a block. */
static int block_take(const char *word, const char *text, uint32_t *out)
{
	if (strcmp(text, "512") != 0 && strcmp(text, "4096") != 0) {
		(void)cli_usage(prog, "--disk: %s%s: must be 512 or 4096", word,
				text);
		return -1;
	}
	*out = *text == '5' ? 512 : 4096;
	return 1;
}

static int sector_take(struct hv_disk_arg *d, const char *text)
{
	return block_take("sector=", text, &d->sector_bytes);
}

static int physical_take(struct hv_disk_arg *d, const char *text)
{
	return block_take("physical=", text, &d->physical_bytes);
}

static int parent_take(struct hv_disk_arg *d, const char *text)
{
	if (!*text) {
		(void)cli_usage(prog, "--disk: parent=: names no file");
		return -1;
	}
	d->parent = text; /* lives as long as the path, behind which it is */
	return 1;
}

/* A time in seconds, none at all, or "forever". */
static int wait_take(const char *word, const char *text, uint32_t *out_ms)
{
	uint32_t n = 0;

	if (strcmp(text, "forever") == 0) {
		*out_ms = VHD_NBD_FOREVER;
		return 1;
	}
	if (number(word, text, 0, WAIT_MAX_S, &n))
		return -1;
	*out_ms = n ? n * 1000 : 1;
	return 1;
}

static int reconnect_take(struct hv_disk_arg *d, const char *text)
{
	return wait_take("--disk: reconnect", text, &d->reconnect_ms);
}

static int answer_take(struct hv_disk_arg *d, const char *text)
{
	return wait_take("--disk: answer", text, &d->answer_ms);
}

static int on_error_take(struct hv_disk_arg *d, const char *text)
{
	d->on_error_said = true;
	if (hv_on_error_parse(text, &d->on_error) == 0)
		return 1;
	(void)cli_usage(prog, "--disk: on-error=%s: must be report or pause",
			text);
	return -1;
}

static int keeper_take(struct hv_disk_arg *d, const char *text)
{
	if (!*text) {
		(void)cli_usage(prog, "--disk: pr=: names no file");
		return -1;
	}
	free(d->keeper_path);
	d->keeper_path = strdup(text);
	if (!d->keeper_path)
		(void)cli_usage(prog, "out of memory");
	return d->keeper_path ? 1 : -1;
}

/* Words with a value. Each takes it: 1, or -1 after a complaint. */
static const struct value_word {
	const char *word;
	int (*take)(struct hv_disk_arg *d, const char *text);
} value_words[] = {
	{"controller=", controller_take},
	{"ide=", ide_take},
	{"sector=", sector_take},
	{"physical=", physical_take},
	{"parent=", parent_take},
	{"reconnect=", reconnect_take},
	{"answer=", answer_take},
	{"on-error=", on_error_take},
	{"pr=", keeper_take},
};

static int limit_take(struct hv_disk_arg *d, const char *text)
{
	int taken = hv_limit_word(text, &d->limits);

	if (taken >= 0)
		return taken;
	(void)cli_usage(prog, "--disk: %s: not such a number or size, or too "
			      "large a one", text);
	return -1;
}

/* Take one word into `d`: 1 when it is one, 0, or -1 after a complaint. */
static int disk_word_take(struct hv_disk_arg *d, const char *text)
{
	const struct disk_word *w = disk_word(text);

	for (size_t i = 0; i < sizeof(value_words) / sizeof(value_words[0]);
	     i++) {
		const struct value_word *v = &value_words[i];

		if (strncmp(text, v->word, strlen(v->word)) == 0)
			return v->take(d, text + strlen(v->word));
	}
	if (!w)
		return limit_take(d, text);
	d->read_only |= w->read_only;
	if (w->format != VHD_FORMAT_AUTO)
		d->format = w->format;
	if (w->unmap != STORVSP_UNMAP_AUTO)
		d->unmap = w->unmap;
	d->dvd |= w->dvd;
	d->direct |= w->direct;
	return 1;
}

/* A disc is read only, and what is not called a VHD is an ISO image. */
static int dvd_finish(struct hv_disk_arg *d, const char *value)
{
	if (d->sector_bytes || d->physical_bytes || d->keeper_path)
		return cli_usage(prog, "%s: a DVD drive takes no sector=, "
				       "physical= or pr=", value);
	if (hv_is_ide(d->controller) &&
	    (d->limits.iops || d->limits.bps || d->limits.depth ||
	     d->on_error_said))
		return cli_usage(prog, "%s: a DVD drive on IDE takes no limit "
				       "and no on-error=", value);
	d->read_only = true;
	if (d->format == VHD_FORMAT_AUTO)
		d->format = VHD_FORMAT_RAW;
	d->no_disc = strcmp(d->path, "none") == 0;
	return CLI_OK;
}

/* The next free place on its controller. */
static int disk_place(const struct hv_args *args, struct hv_disk_arg *d)
{
	unsigned n = 0;

	for (const struct hv_disk_arg *o = args->disks; o < d; o++)
		n += o->controller == d->controller;
	if (n == 1 && hv_is_ide(d->controller))
		return cli_usage(prog, "--disk %s: IDE position %d has a disk "
				       "already",
				 d->path, d->controller - HV_IDE_CONTROLLER);
	if (n == HV_LUNS_MAX)
		return cli_usage(prog, "--disk %s: controller %u has %d disks, "
				       "no more; name another by controller=N",
				 d->path, d->controller, HV_LUNS_MAX);
	d->lun = (uint8_t)n;
	return CLI_OK;
}

/* Words are taken off the end; what is no known word is part of the name. */
int hv_disk_arg_parse(const char *value, struct hv_disk_arg *d)
{
	char *comma;

	d->path = strdup(value);
	if (!d->path)
		return cli_usage(prog, "out of memory");
	while ((comma = strrchr(d->path, ',')) != NULL) {
		int taken = disk_word_take(d, comma + 1);

		if (taken < 0)
			return CLI_USAGE;
		if (!taken)
			break;
		*comma = '\0';
	}
	if (!*d->path)
		return cli_usage(prog, "%s '%s': names no file",
				 d->dvd ? "--dvd" : "--disk", value);
	if (hv_limit_fault(&d->limits))
		return cli_usage(prog, "--disk %s: %s", value,
				 hv_limit_fault(&d->limits));
	if (hv_is_ide(d->controller) && d->sector_bytes == 4096)
		return cli_usage(prog, "--disk %s: an IDE disk has blocks of "
				       "512 bytes", value);
	return d->dvd ? dvd_finish(d, value) : CLI_OK;
}

void hv_disk_arg_free(struct hv_disk_arg *d)
{
	free(d->path);
	free(d->keeper_path);
}

static int disk_add(struct hv_args *args, const char *value, bool dvd)
{
	struct hv_disk_arg *d = &args->disks[args->disk_count];
	int status;

	if (args->disk_count == HV_DISKS_MAX)
		return cli_usage(prog, "--disk %s: a guest has at most %d",
				 value, HV_DISKS_MAX);
	args->disk_count++;
	d->dvd = dvd;
	status = hv_disk_arg_parse(value, d);
	return status ? status : disk_place(args, d);
}

bool hv_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= HV_GUEST_NAME_MAX && *name != '.' &&
	       *name != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static int name_set(struct hv_args *args, const char *text)
{
	if (!hv_name_ok(text))
		return cli_usage(prog, "--name %s: up to %d letters, digits, "
				       "'.', '_', '-', not '.' or '-' first",
				 text, HV_GUEST_NAME_MAX);
	args->name = text;
	return CLI_OK;
}

/* ------------------------------------------------------ other options --- */

static int memory_set(struct hv_args *args, const char *text)
{
	uint64_t n;

	if (cli_size_parse(text, &n))
		return cli_usage(prog, "--memory %s: not a size such as 512M "
				       "or 2G", text);
	if (n < HV_MEMORY_MIN)
		return cli_usage(prog, "--memory %s: a guest needs at least "
				       "%lluM", text, HV_MEMORY_MIN >> 20);
	if (n > HV_MEMORY_MAX)
		return cli_usage(prog, "--memory %s: a guest has at most %lluG",
				 text, HV_MEMORY_MAX >> 30);
	if (n % MEMORY_UNIT)
		return cli_usage(prog, "--memory %s: not a multiple of 2M",
				 text);
	args->memory_bytes = n;
	return CLI_OK;
}

static int accel_set(struct hv_args *args, const char *text)
{
	static const char *const names[] = {
		[HV_ACCEL_AUTO] = "auto",
		[HV_ACCEL_KVM] = "kvm",
		[HV_ACCEL_TCG] = "tcg",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], text) == 0) {
			args->accel = (enum hv_accel)i;
			return CLI_OK;
		}
	}
	return cli_usage(prog, "--accel %s: not one of auto, kvm, tcg", text);
}

static int register_set(struct hv_args *args, const char *text)
{
	args->no_register = strcmp(text, "off") == 0;
	if (args->no_register || strcmp(text, "auto") == 0)
		return CLI_OK;
	return cli_usage(prog, "--register-memory %s: not one of auto, off",
			 text);
}

/* Whether there are so many disks is known at the end. */
static int boot_set(struct hv_args *args, const char *text)
{
	uint64_t n;

	args->boot_named = true;
	if (strcmp(text, "disk") == 0)
		args->boot = HV_BOOT_DISK;
	else if (strcmp(text, "dvd") == 0)
		args->boot = HV_BOOT_DVD;
	else if (cli_number_parse(text, 1, HV_DISKS_MAX, &n) == 0)
		args->boot = (int)n;
	else
		return cli_usage(prog, "--boot %s: not one of disk, dvd, or a "
				       "number from 1 to %d",
				 text, HV_DISKS_MAX);
	return CLI_OK;
}

static int on_error_set(struct hv_args *args, const char *text)
{
	if (hv_on_error_parse(text, &args->on_error) == 0)
		return CLI_OK;
	return cli_usage(prog, "--on-error %s: must be report or pause", text);
}

static int pin_set(struct hv_args *args, const char *text)
{
	switch (hv_pin_parse(text, &args->pin)) {
	case 0:
		return CLI_OK;
	case -EEXIST:
		return cli_usage(prog, "--pin %s: names a processor twice",
				 text);
	case -E2BIG:
		return cli_usage(prog, "--pin %s: names more than %d "
				       "processors", text, HV_CPUS_MAX);
	default:
		return cli_usage(prog, "--pin %s: not a list of processors "
				       "such as 2,4-6", text);
	}
}

static int apply(struct hv_args *args, int id, const char *value)
{
	switch (id) {
	case OPT_DISK:
		return disk_add(args, value, false);
	case OPT_DVD:
		return disk_add(args, value, true);
	case OPT_KERNEL:
		args->kernel = value;
		return CLI_OK;
	case OPT_FIRMWARE:
		args->firmware = value;
		return CLI_OK;
	case OPT_BOOT:
		return boot_set(args, value);
	case OPT_INITRD:
		args->initrd = value;
		return CLI_OK;
	case OPT_APPEND:
		args->append = value;
		return CLI_OK;
	case OPT_MEMORY:
		return memory_set(args, value);
	case OPT_CPUS:
		return number("--cpus", value, 1, HV_CPUS_MAX, &args->cpus);
	case OPT_CHANNELS:
		return number("--channels", value, 1, HV_CPUS_MAX,
			      &args->channels);
	case OPT_POLL:
		return number("--poll", value, 0, HV_POLL_MAX_US,
			      &args->poll_us);
	case OPT_REGISTER:
		return register_set(args, value);
	case OPT_ACCEL:
		return accel_set(args, value);
	case OPT_CONSOLE:
		args->console = value;
		return CLI_OK;
	case OPT_PIN:
		return pin_set(args, value);
	case OPT_STATS:
		args->stats = true;
		return CLI_OK;
	case OPT_NO_REBOOT:
		args->no_reboot = true;
		return CLI_OK;
	case OPT_ON_ERROR:
		return on_error_set(args, value);
	case OPT_NAME:
		return name_set(args, value);
	default:
		return number("--timeout", value, 1, TIMEOUT_MAX_S,
			      &args->timeout_s);
	}
}

static bool has(const struct hv_args *args, bool dvd)
{
	for (unsigned i = 0; i < args->disk_count; i++)
		if (args->disks[i].dvd == dvd)
			return true;
	return false;
}

/* How it boots: by a kernel or by firmware, and what goes with either. */
static int way_check(struct hv_args *args)
{
	const char *stray = args->firmware ? "--firmware"
			    : args->boot_named ? "--boot" : NULL;

	if (args->kernel) {
		if (stray)
			return cli_usage(prog, "%s: not with --kernel, which "
					       "boots without firmware", stray);
		if (!args->append)
			args->append = "console=ttyS0";
		return CLI_OK;
	}
	stray = args->initrd ? "--initrd" : args->append ? "--append" : NULL;
	if (stray)
		return cli_usage(prog, "%s: needs --kernel; a disk that boots "
				       "by itself has its own", stray);
	if (args->disk_count == 0)
		return cli_usage(prog, "needs --kernel, or a --disk to boot "
				       "from");
	if (args->boot == HV_BOOT_DVD && !has(args, true))
		return cli_usage(prog, "--boot dvd: no DVD drive is named; "
				       "add --dvd FILE");
	if (args->boot == HV_BOOT_DISK && args->boot_named &&
	    !has(args, false))
		return cli_usage(prog, "--boot disk: no disk is named; add "
				       "--disk FILE");
	if (args->boot > (int)args->disk_count)
		return cli_usage(prog, "--boot %d: only %u disk%s named",
				 args->boot, args->disk_count,
				 args->disk_count == 1 ? " is" : "s are");
	return CLI_OK;
}

/* Disks that do not say it themselves do as all. */
static int on_error_finish(struct hv_args *args)
{
	for (unsigned i = 0; i < args->disk_count; i++) {
		struct hv_disk_arg *d = &args->disks[i];

		if (!d->on_error_said)
			d->on_error = args->on_error;
		if (d->on_error == STORVSP_ON_ERROR_PAUSE && !args->name)
			return cli_usage(prog, "--disk %s: on-error=pause "
					       "needs --name, or nobody could "
					       "resume it", d->path);
	}
	return CLI_OK;
}

int hv_args_parse(int argc, char **argv, struct hv_args *args)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "[options] --disk FILE\n"
			 "[options] --kernel FILE",
		.about = "Run a Linux guest until it switches itself off.\n"
			 "On a terminal, Ctrl-A x ends it and Ctrl-A h helps.\n"
			 "Exit status: 0 the guest powered off, 2 usage, 3 "
			 "refused input, 4 I/O or\n"
			 "system failure, 10 guest crash, 11 triple fault, 12 "
			 "reset\n(--no-reboot), 13 timeout, 14 stopped.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int id, status = CLI_OK;

	memset(args, 0, sizeof(*args));
	args->memory_bytes = MEMORY_DEFAULT;
	args->cpus = 1;
	args->poll_us = HV_POLL_DEFAULT_US;
	while ((id = cli_options_next(&o, &status)) > 0) {
		status = apply(args, id, o.value);
		if (status)
			return status;
	}
	if (id < 0)
		return status;
	if (o.first_operand < argc)
		return cli_usage(prog, "%s: not an option; disks are named by "
				       "--disk", argv[o.first_operand]);
	status = way_check(args);
	if (status)
		return status;
	status = on_error_finish(args);
	if (status)
		return status;
	if (args->channels > args->cpus)
		return cli_usage(prog, "--channels %u: a guest uses no more "
				       "than one for each of its processors "
				       "(--cpus %u)",
				 args->channels, args->cpus);
	if (args->channels == 0)
		args->channels = args->cpus;
	if (args->pin.count && args->pin.count != args->cpus)
		return cli_usage(prog, "--pin: names %u processor%s, and the "
				       "guest has %u (--cpus)",
				 args->pin.count,
				 args->pin.count == 1 ? "" : "s", args->cpus);
	return -1;
}

void hv_args_free(struct hv_args *args)
{
	for (unsigned i = 0; i < args->disk_count; i++)
		hv_disk_arg_free(&args->disks[i]);
	args->disk_count = 0;
}
