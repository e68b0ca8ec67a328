/* SPDX-License-Identifier: BSD-2-Clause */
/* The program hv short of running a guest: its command line, the escape key,
 * and the terminal; the emulated machine's parts are in tools_nested.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/hv/hv.h"

/* -------------------------------------------------------- command line -- */

static struct hv_args args;

#define WORDS 300

/* Parse "run WORDS..."; -1 to go on. stderr is not of interest. */
static int parse(const char *first, ...)
{
	char *argv[WORDS] = {(char *)(uintptr_t)"run"};
	int argc = 1, status, saved = dup(2), null = open("/dev/null", O_WRONLY);
	va_list ap;

	va_start(ap, first);
	for (const char *w = first; w; w = va_arg(ap, const char *))
		argv[argc++] = (char *)(uintptr_t)w;
	va_end(ap);
	optind = 0; /* getopt starts anew */
	dup2(null, 2);
	status = hv_args_parse(argc, argv, &args);
	dup2(saved, 2);
	close(saved);
	close(null);
	return status;
}

static void defaults_are_modest(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", NULL), -1);
	assert_string_equal(args.kernel, "k");
	assert_null(args.initrd);
	assert_string_equal(args.append, "console=ttyS0");
	assert_int_equal(args.memory_bytes, 512ull << 20);
	assert_int_equal(args.cpus, 1);
	assert_int_equal(args.channels, 1);
	assert_int_equal(args.poll_us, HV_POLL_DEFAULT_US);
	assert_false(args.no_register);
	assert_int_equal(args.timeout_s, 0);
	assert_int_equal(args.accel, HV_ACCEL_AUTO);
	assert_int_equal(args.disk_count, 0);
	hv_args_free(&args);
}

static void disks_keep_their_names_and_words(void **state)
{
	(void)state;
	static const struct {
		const char *value, *path;
		bool read_only;
		enum vhd_format format;
		uint32_t sector, physical;
	} cases[] = {
		{"a.vhd", "a.vhd", false, VHD_FORMAT_AUTO, 0, 0},
		{"a.vhd,ro", "a.vhd", true, VHD_FORMAT_AUTO, 0, 0},
		{"a,b.vhd", "a,b.vhd", false, VHD_FORMAT_AUTO, 0, 0},
		{"a,ro.vhd", "a,ro.vhd", false, VHD_FORMAT_AUTO, 0, 0},
		{"a,ro,rw", "a", true, VHD_FORMAT_AUTO, 0, 0},
		{"a.img,raw,ro", "a.img", true, VHD_FORMAT_RAW, 0, 0},
		{"a,ro,fixed", "a", true, VHD_FORMAT_FIXED, 0, 0},
		{"a,dynamic", "a", false, VHD_FORMAT_DYNAMIC, 0, 0},
		{"a,direct,ro", "a", true, VHD_FORMAT_AUTO, 0, 0},
		{"a,", "a,", false, VHD_FORMAT_AUTO, 0, 0},
		{"a,x,rw", "a,x", false, VHD_FORMAT_AUTO, 0, 0},
		{"a,sector=4096", "a", false, VHD_FORMAT_AUTO, 4096, 0},
		{"a,physical=4096,sector=512", "a", false, VHD_FORMAT_AUTO, 512,
		 4096},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse("--kernel", "k", "--disk",
				       cases[i].value, NULL),
				 -1);
		assert_string_equal(args.disks[0].path, cases[i].path);
		assert_int_equal(args.disks[0].read_only, cases[i].read_only);
		assert_int_equal(args.disks[0].format, cases[i].format);
		assert_int_equal(args.disks[0].direct,
				 strstr(cases[i].value, ",direct") != NULL);
		assert_int_equal(args.disks[0].sector_bytes, cases[i].sector);
		assert_int_equal(args.disks[0].physical_bytes,
				 cases[i].physical);
		hv_args_free(&args);
	}
}

/* `word` once more than before; the status. */
static int parse_one_more(char **argv, int *argc, const char *word)
{
	argv[(*argc)++] = (char *)(uintptr_t)word;
	optind = 0;
	return hv_args_parse(*argc, argv, &args);
}

static void a_controller_has_64_disks_and_a_guest_four_controllers(void **state)
{
	static const char *const words[] = {
		"--disk=d", "--disk=d,controller=1,ro", "--disk=d,controller=2",
		"--disk=d,raw,controller=3"};
	(void)state;
	char *argv[WORDS] = {(char *)(uintptr_t)"run",
			     (char *)(uintptr_t)"--kernel=k"};
	int argc = 2;

	for (unsigned c = 0; c < HV_SCSI_CONTROLLERS; c++) {
		for (unsigned i = 0; i < HV_LUNS_MAX; i++) {
			const struct hv_disk_arg *d;

			assert_int_equal(parse_one_more(argv, &argc, words[c]),
					 -1);
			d = &args.disks[args.disk_count - 1];
			assert_int_equal(d->controller, c);
			assert_int_equal(d->lun, i);
			assert_string_equal(d->path, "d");
			hv_args_free(&args);
		}
		assert_int_equal(parse_one_more(argv, &argc, words[c]),
				 CLI_USAGE);
		argc--;
		hv_args_free(&args);
	}
	assert_int_equal(argc, 2 + HV_DISKS_MAX - HV_IDE_POSITIONS);
}

static void an_ide_position_has_one_disk_of_512_bytes_a_block(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--disk", "a.vhd,ide=3,ro",
			       "--disk", "b.vhd", "--dvd", "c.iso,ide=0", NULL),
			 -1);
	assert_int_equal(args.disks[0].controller, HV_IDE_CONTROLLER + 3);
	assert_int_equal(args.disks[0].lun, 0);
	assert_true(args.disks[0].read_only);
	assert_int_equal(args.disks[1].controller, 0);
	assert_int_equal(args.disks[1].lun, 0);
	assert_int_equal(args.disks[2].controller, HV_IDE_CONTROLLER);
	assert_true(args.disks[2].dvd);
	assert_int_equal(hv_ide_address(HV_IDE_CONTROLLER + 3).path, 1);
	assert_int_equal(hv_ide_address(HV_IDE_CONTROLLER + 3).target, 1);
	hv_args_free(&args);
	assert_int_equal(parse("--kernel", "k", "--disk", "a,ide=1", "--disk",
			       "b,ide=1", NULL), CLI_USAGE);
	hv_args_free(&args);
	assert_int_equal(parse("--kernel", "k", "--disk", "a,ide=4", NULL),
			 CLI_USAGE);
	hv_args_free(&args);
	assert_int_equal(parse("--kernel", "k", "--disk", "a,ide=0,sector=4096",
			       NULL), CLI_USAGE);
	hv_args_free(&args);
}

static void a_disk_has_one_place(void **state)
{
	static const char *const bad[] = {
		"a,ide=0,controller=1", "a,controller=1,ide=0",
		"a,ide=0,ide=1", "a,controller=0,controller=1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse("--kernel", "k", "--disk", bad[i], NULL),
				 CLI_USAGE);
		hv_args_free(&args);
	}
}

/* There is no storage controller that would see to them. */
static void a_dvd_drive_on_ide_has_no_limits(void **state)
{
	static const char *const words[] = {"iops=9", "bps=9", "depth=9",
					    "on-error=report"};
	char disc[64];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		snprintf(disc, sizeof(disc), "a.iso,%s", words[i]);
		assert_int_equal(parse("--kernel", "k", "--dvd", disc, NULL),
				 -1);
		hv_args_free(&args);
		snprintf(disc, sizeof(disc), "a.iso,ide=2,%s", words[i]);
		assert_int_equal(parse("--kernel", "k", "--dvd", disc, NULL),
				 CLI_USAGE);
		hv_args_free(&args);
	}
}

static void a_place_for_reservations_is_a_name_without_comma(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--disk", "a,b.vhd,pr=x/y,ro",
			       "--disk", "c,pr=1,pr=2", NULL),
			 -1);
	assert_string_equal(args.disks[0].path, "a,b.vhd");
	assert_string_equal(args.disks[0].keeper_path, "x/y");
	assert_true(args.disks[0].read_only);
	assert_string_equal(args.disks[1].keeper_path, "1");
	hv_args_free(&args);
}

static void a_dvd_drive_is_read_only_and_may_be_empty(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--dvd", "a.iso", "--disk",
			       "b.vhd,fixed,dvd", "--dvd", "none,controller=1",
			       "--disk", "none", NULL),
			 -1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(args.disks[i].dvd && args.disks[i].read_only);
		assert_int_equal(args.disks[i].no_disc, i == 2);
		assert_int_equal(args.disks[i].format,
				 i == 1 ? VHD_FORMAT_FIXED : VHD_FORMAT_RAW);
	}
	assert_string_equal(args.disks[0].path, "a.iso");
	assert_int_equal(args.disks[1].lun, 1);
	assert_int_equal(args.disks[2].controller, 1);
	assert_false(args.disks[3].dvd || args.disks[3].no_disc);
	hv_args_free(&args);
}

static void there_are_as_many_channels_as_processors_unless_told(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--cpus", "4", NULL), -1);
	assert_int_equal(args.channels, 4);
	assert_int_equal(parse("--channels", "2", "--kernel", "k", "--cpus",
			       "4", NULL), -1);
	assert_int_equal(args.channels, 2);
	assert_int_equal(parse("--channels", "4", "--kernel", "k", "--cpus",
			       "4", NULL), -1);
	assert_int_equal(parse("--channels", "5", "--kernel", "k", "--cpus",
			       "4", NULL), CLI_USAGE);
	assert_int_equal(parse("--kernel", "k", "--poll", "0", NULL), -1);
	assert_int_equal(args.poll_us, 0);
	assert_int_equal(parse("--kernel", "k", "--poll", "10000", NULL), -1);
	assert_int_equal(args.poll_us, 10000);
}

static void a_name_is_a_plain_word(void **state)
{
	static const char longest[] =
		"0123456789012345678901234567890123456789012345678901234567890"
		"1234";
	static const char *const bad[] = {"",	 ".",	".x",	   "-x",
					  "a/b", "a b", "\xc3\xa4", longest};

	(void)state;
	assert_int_equal(parse("--kernel", "k", "--name", "A_z-0.9", NULL), -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse("--kernel", "k", "--name", bad[i], NULL),
				 CLI_USAGE);
	assert_int_equal(parse("--kernel", "k", "--name", longest + 1, NULL),
			 -1);
}

static void limits_and_the_error_policy_are_words_of_a_disk(void **state)
{
	const struct hv_disk_arg *d = &args.disks[0];

	(void)state;
	assert_int_equal(parse("--kernel", "k", "--disk",
			       "a,iops=1000,iops-burst=50,bps=1M,bps-burst=64K,"
			       "depth=8,on-error=pause,ro",
			       "--name", "vm.1", NULL),
			 -1);
	assert_string_equal(d->path, "a");
	assert_int_equal(d->limits.iops, 1000);
	assert_int_equal(d->limits.iops_burst, 50);
	assert_int_equal(d->limits.bps, 1 << 20);
	assert_int_equal(d->limits.bps_burst, 64 << 10);
	assert_int_equal(d->limits.depth, 8);
	assert_int_equal(d->on_error, STORVSP_ON_ERROR_PAUSE);
	assert_string_equal(args.name, "vm.1");
	hv_args_free(&args);
	/* who would resume it? */
	assert_int_equal(parse("--kernel", "k", "--disk", "a,on-error=pause",
			       NULL),
			 CLI_USAGE);
	hv_args_free(&args);
	assert_int_equal(parse("--kernel", "k", "--disk",
			       "a,iops=10000000,bps=1T,depth=1024,"
			       "on-error=report",
			       NULL),
			 -1);
	hv_args_free(&args);
}

static void one_error_policy_for_all_disks_yields_to_their_own(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--disk", "a", "--on-error",
			       "pause", "--disk", "b,on-error=report",
			       "--disk", "c", "--name", "vm", NULL),
			 -1);
	assert_int_equal(args.disks[0].on_error, STORVSP_ON_ERROR_PAUSE);
	assert_int_equal(args.disks[1].on_error, STORVSP_ON_ERROR_REPORT);
	assert_int_equal(args.disks[2].on_error, STORVSP_ON_ERROR_PAUSE);
	hv_args_free(&args);
	assert_int_equal(parse("--kernel", "k", "--disk", "a", "--on-error",
			       "pause", NULL),
			 CLI_USAGE);
	hv_args_free(&args);
}

static void waits_for_a_server_are_words_of_a_disk(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--disk",
			       "nbd://h,reconnect=5,answer=86400", "--disk",
			       "nbd://h,reconnect=forever,answer=0", "--disk",
			       "nbd://h", NULL),
			 -1);
	assert_int_equal(args.disks[0].reconnect_ms, 5000);
	assert_int_equal(args.disks[0].answer_ms, 86400000);
	assert_int_equal(args.disks[1].reconnect_ms, VHD_NBD_FOREVER);
	assert_int_equal(args.disks[1].answer_ms, 1);
	assert_int_equal(args.disks[2].reconnect_ms, 0);
	assert_int_equal(args.disks[2].answer_ms, 0);
	hv_args_free(&args);
}

static void nonsense_is_a_usage_error(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
		{"--memory", "1"},     {"--memory", "31M"},
		{"--memory", "33M"},   {"--memory", "2T"},
		{"--memory", "lots"},  {"--memory", ""},
		{"--memory", "-1"},    {"--memory", "99999999999G"},
		{"--cpus", "0"},       {"--cpus", "65"},
		{"--cpus", "1x"},      {"--cpus", "-1"},
		{"--cpus", " 1"},      {"--cpus", "4294967297"},
		{"--accel", "xen"},    {"--timeout", "0"},
		{"--timeout", "1s"},   {"--disk", ""},
		{"--disk", ",ro"},     {"--nothing", "x"},
		{"--disk", "a,pr="}, {"--dvd", ""},
		{"--dvd", "a,sector=4096"}, {"--dvd", "a,pr=b"},
		{"--disk", "a,sector=1024"}, {"--disk", "a,physical=,ro"},
		{"--channels", "0"},   {"--channels", "65"},
		{"--channels", "2"},   {"--poll", "10001"},
		{"--poll", ""},	       {"--poll", "-1"},
		{"--register-memory", "on"},
		{"--disk", "d,controller=4"},
		{"--disk", "d,controller="},
		{"--disk", "d,controller=-1"},
		{"--disk", "d,iops="},
		{"--disk", "d,iops=10000001"},
		{"--disk", "d,iops=1k"},
		{"--disk", "d,bps=1048577M"},
		{"--disk", "d,bps=-1"},
		{"--disk", "d,iops-burst=5"},
		{"--disk", "d,bps-burst=5"},
		{"--disk", "d,depth=1025"},
		{"--disk", "d,on-error=stop"},
		{"--on-error", "stop"},
		{"--disk", "nbd://h,answer=86401"},
		{"--disk", "nbd://h,answer="},
		{"--pin", ""},	       {"--pin", "0,"},
		{"--pin", ","},	       {"--pin", "-1"},
		{"--pin", "1-"},       {"--pin", "3-2"},
		{"--pin", "1024"},     {"--pin", "0x1"},
		{"--pin", "0 1"},      {"--pin", "0,1"},
		{"operand", "x"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse("--kernel", "k", bad[i][0], bad[i][1], NULL) !=
		    CLI_USAGE)
			fail_msg("%s %s", bad[i][0], bad[i][1]);
		hv_args_free(&args);
	}
	assert_int_equal(parse("--memory", "64M", NULL), CLI_USAGE);
	assert_int_equal(parse("--kernel", NULL), CLI_USAGE);
}

static void bounds_are_inclusive(void **state)
{
	(void)state;
	assert_int_equal(parse("--kernel", "k", "--memory", "32M", "--cpus",
			       "64", "--timeout", "1", "--accel", "tcg", NULL),
			 -1);
	assert_int_equal(args.memory_bytes, 32 << 20);
	assert_int_equal(args.cpus, 64);
	assert_int_equal(args.timeout_s, 1);
	assert_int_equal(args.accel, HV_ACCEL_TCG);
	assert_int_equal(parse("--kernel", "k", "--memory", "1T", NULL), -1);
}

static void pins_name_each_processor_once(void **state)
{
	(void)state;
	struct hv_pin pin;
	cpu_set_t mine;

	assert_int_equal(parse("--kernel", "k", "--cpus", "4", "--pin",
			       "2,4-5,1023", NULL), -1);
	assert_int_equal(args.pin.count, 4);
	assert_int_equal(args.pin.cpu[0], 2);
	assert_int_equal(args.pin.cpu[1], 4);
	assert_int_equal(args.pin.cpu[2], 5);
	assert_int_equal(args.pin.cpu[3], 1023);
	assert_int_equal(hv_pin_parse("0-63", &pin), 0);
	assert_int_equal(pin.count, 64);
	assert_int_equal(hv_pin_parse("0-64", &pin), -E2BIG);
	assert_int_equal(hv_pin_parse("1,0-2", &pin), -EEXIST);
	assert_int_equal(pin.count, 64);
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	pin.count = 1;
	for (unsigned n = 0; n < CPU_SETSIZE; n++) {
		pin.cpu[0] = (uint16_t)n;
		assert_int_equal(hv_pin_check(&pin),
				 CPU_ISSET(n, &mine) ? -1 : (int)n);
	}
}

/* ---------------------------------------------------------- escape key -- */

static void escapes_are_taken_out_however_input_is_cut(void **state)
{
	(void)state;
	static const char in[] = "ab\1\1c\1hd\1qe\3f\1xg";

	for (size_t cut = 0; cut < sizeof(in); cut++) {
		struct hv_escape e = {false};
		uint8_t buf[sizeof(in)];
		size_t n;

		memcpy(buf, in, sizeof(in) - 1);
		n = hv_escape_filter(&e, buf, cut);
		if (cut < sizeof(in) - 1) {
			uint8_t rest[sizeof(in)];
			size_t m = sizeof(in) - 1 - cut;

			memcpy(rest, in + cut, m);
			m = hv_escape_filter(&e, rest, m);
			memcpy(buf + n, rest, m);
			n += m;
		}
		assert_int_equal(n, 9);
		assert_memory_equal(buf, "ab\1cde\3fg", 9);
		assert_true(e.help && e.quit && !e.pending);
	}
}

/* ------------------------------------------------------------ terminal -- */

static bool is_raw(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

/* A child with a terminal of its own goes raw, says so, and then `leave`s. */
static void leaves_the_terminal_as_it_was(void (*leave)(void), int want_signal)
{
	struct termios before, after;
	int master, slave, ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	pid = fork();
	if (pid == 0) {
		close(master);
		setsid();
		if (ioctl(slave, TIOCSCTTY, 0) < 0 || dup2(slave, 0) < 0 ||
		    !hv_terminal_raw() || write(ready[1], "r", 1) != 1)
			_exit(99);
		leave();
		_exit(98);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	if (want_signal == SIGTERM) {
		assert_true(is_raw(slave));
		kill(pid, SIGTERM);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (want_signal)
		assert_true(WIFSIGNALED(status) &&
			    WTERMSIG(status) == want_signal);
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_int_equal(before.c_iflag, after.c_iflag);
	assert_int_equal(before.c_oflag, after.c_oflag);
	close(ready[0]);
	close(master);
	close(slave);
}

static void leave_by_exit(void)
{
	exit(7);
}

static void leave_by_crash(void)
{
	(void)raise(SIGSEGV);
}

static void leave_by_waiting(void)
{
	for (;;)
		pause();
}

static void the_terminal_is_restored_on_every_way_out(void **state)
{
	(void)state;
	leaves_the_terminal_as_it_was(leave_by_exit, 0);
	leaves_the_terminal_as_it_was(leave_by_crash, SIGSEGV);
	leaves_the_terminal_as_it_was(leave_by_waiting, SIGTERM);
}

static void what_is_no_terminal_is_left_alone(void **state)
{
	(void)state;
	int saved = dup(0), null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	assert_false(hv_terminal_raw());
	dup2(saved, 0);
	close(saved);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_modest),
		cmocka_unit_test(disks_keep_their_names_and_words),
		cmocka_unit_test(
			a_place_for_reservations_is_a_name_without_comma),
		cmocka_unit_test(a_dvd_drive_is_read_only_and_may_be_empty),
		cmocka_unit_test(
			a_controller_has_64_disks_and_a_guest_four_controllers),
		cmocka_unit_test(
			an_ide_position_has_one_disk_of_512_bytes_a_block),
		cmocka_unit_test(a_disk_has_one_place),
		cmocka_unit_test(a_dvd_drive_on_ide_has_no_limits),
		cmocka_unit_test(
			there_are_as_many_channels_as_processors_unless_told),
		cmocka_unit_test(a_name_is_a_plain_word),
		cmocka_unit_test(
			limits_and_the_error_policy_are_words_of_a_disk),
		cmocka_unit_test(
			one_error_policy_for_all_disks_yields_to_their_own),
		cmocka_unit_test(waits_for_a_server_are_words_of_a_disk),
		cmocka_unit_test(nonsense_is_a_usage_error),
		cmocka_unit_test(bounds_are_inclusive),
		cmocka_unit_test(pins_name_each_processor_once),
		cmocka_unit_test(escapes_are_taken_out_however_input_is_cut),
		cmocka_unit_test(the_terminal_is_restored_on_every_way_out),
		cmocka_unit_test(what_is_no_terminal_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
