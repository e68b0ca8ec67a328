/* SPDX-License-Identifier: BSD-2-Clause */
/* hv: run a guest. See hv.1. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "ctl.h"
#include "firmware.h"
#include "hv/clock.h"

/* A file named as console output must not be one of the guest's own. */
static bool is_input(const struct hv_args *args, const struct stat *st)
{
	const char *files[2 * HV_DISKS_MAX + 2] = {
		args->kernel ? args->kernel : args->firmware, args->initrd};
	struct stat other;

	for (unsigned i = 0; i < args->disk_count; i++) {
		files[2 + 2 * i] = args->disks[i].path;
		files[3 + 2 * i] = args->disks[i].keeper_path;
	}
	for (unsigned i = 0; i < 2 + 2 * args->disk_count; i++)
		if (files[i] && stat(files[i], &other) == 0 &&
		    other.st_dev == st->st_dev && other.st_ino == st->st_ino)
			return true;
	return false;
}

static int console_failed(const char *path, int code)
{
	struct vhd_err err;

	(void)vhd_fail(&err, -code, VHD_WHY_SYSTEM, 0, "cannot write to it: %s",
		       strerror(code));
	return cli_fail(hv_prog, path, &err);
}

/* Emptied only once it is known to be nothing that is needed. */
static int console_open(const struct hv_args *args, int *fd)
{
	struct stat st;
	int f = open(args->console,
		     O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_APPEND,
		     0666);

	if (f < 0)
		return console_failed(args->console, errno);
	if (fstat(f, &st) < 0 ||
	    (S_ISREG(st.st_mode) && is_input(args, &st))) {
		(void)close(f);
		fprintf(stderr, "%s: --console %s: this file is the guest's\n",
			hv_prog, args->console);
		return CLI_USAGE;
	}
	if (S_ISREG(st.st_mode) && ftruncate(f, 0) < 0) {
		int code = errno;

		(void)close(f);
		return console_failed(args->console, code);
	}
	*fd = f;
	return CLI_OK;
}

/* A guest that touched more than there is would be killed in the middle of its
 * work. Guests that have it only together are the user's business.
 */
static bool machine_has(const struct hv_args *args)
{
	char want[32], have[32];
	struct sysinfo s;
	uint64_t bytes;

	if (sysinfo(&s) < 0)
		return true;
	bytes = ((uint64_t)s.totalram + s.totalswap) * s.mem_unit;
	if (args->memory_bytes <= bytes)
		return true;
	fprintf(stderr, "%s: --memory: %s are more than the %s that this "
		"machine has, swap included\n", hv_prog,
		cli_size_text(args->memory_bytes, want, sizeof(want)),
		cli_size_text(bytes, have, sizeof(have)));
	return false;
}

static int run_with(const struct hv_args *args, struct hv_disks *disks,
		    int console_fd)
{
	struct hv_console con = {
		.in_fd = STDIN_FILENO,
		.out_fd = console_fd >= 0 ? console_fd : STDOUT_FILENO,
	};
	bool kvm = false;
	int status = hv_accel_choose(args, &kvm);

	if (status != CLI_OK)
		return status;
	con.terminal = hv_terminal_raw();
	/* A terminal that another job has is not read from. */
	if (!con.terminal && isatty(STDIN_FILENO))
		con.in_fd = -1;
	status = kvm ? hv_run_kvm(args, disks, &con)
		     : hv_run_nested(args, &con);
	hv_terminal_restore();
	return status;
}

/* What cannot work is said before a disk is opened. */
static int check_start(struct hv_args *args)
{
	struct hv_firmware f;
	struct vhd_err err;
	bool long_mode = true;

	if (args->kernel) {
		if (hv_boot_linux_check(args->memory_bytes, args->kernel,
					args->initrd, args->append, &long_mode,
					&err) < 0)
			return cli_fail(hv_prog, NULL, &err);
		args->kernel_32 = !long_mode;
		return CLI_OK;
	}
	if (!args->firmware)
		args->firmware = hv_firmware_find();
	if (!args->firmware)
		(void)vhd_fail(&err, -ENOENT, VHD_WHY_UNSUPPORTED, 0,
			       "no BIOS is installed here: install seabios, or "
			       "name one by --firmware, or a kernel by "
			       "--kernel");
	else if (hv_firmware_read(args->firmware, &f, &err) == 0) {
		hv_firmware_free(&f);
		return CLI_OK;
	}
	return cli_fail(hv_prog, NULL, &err);
}

static int run(struct hv_args *args)
{
	struct hv_disks disks;
	int console_fd = -1;
	int status = check_start(args);

	if (status != CLI_OK)
		return status;
	if (!machine_has(args))
		return CLI_REFUSED;
	status = hv_disks_open(&disks, args);
	if (status == CLI_OK && !args->kernel)
		status = hv_firmware_check(args, &disks);
	if (status == CLI_OK && args->console)
		status = console_open(args, &console_fd);
	if (status != CLI_OK) {
		hv_disks_abandon(&disks);
		return status;
	}
	status = run_with(args, &disks, console_fd);
	hv_disks_abandon(&disks); /* those that were not closed */
	if (console_fd >= 0 && close(console_fd) < 0 && status == CLI_OK)
		status = console_failed(args->console, errno);
	return status;
}

static int command_run(int argc, char **argv)
{
	const uint64_t began_ns = hv_now_ns();
	struct hv_args args;
	int status = hv_args_parse(argc, argv, &args);

	args.began_ns = began_ns;
	/* A console that went away, and a file that may not grow, are errors
	 * of write(2), not signals: the guest's disks are closed in order.
	 */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (status < 0)
		status = run(&args);
	hv_args_free(&args);
	return status;
}

static const struct cli_option no_options[] = {{0}};

/* What is opened later must not become a standard stream. */
static bool streams_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
	struct cli_options o = {
		.prog = hv_prog,
		.usage = "run [options] --disk FILE\n"
			 "run [options] --kernel FILE\n"
			 "ctl NAME COMMAND [options]\n"
			 "run --help\n"
			 "ctl --help",
		.about = "Run a Linux guest on KVM as Hyper-V would, its disks "
			 "VHD images.",
		.table = no_options,
		.argc = argc,
		.argv = argv,
	};
	int status = CLI_OK;

	if (!streams_open())
		return CLI_IO;
	if (argc > 1 && strcmp(argv[1], "run") == 0)
		return command_run(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return ctl_main(argc - 1, argv + 1);
	if (cli_options_next(&o, &status) != 0)
		return status;
	if (o.first_operand < argc)
		return cli_usage(hv_prog, "%s: no such command",
				 argv[o.first_operand]);
	return cli_usage(hv_prog, "needs a command");
}
